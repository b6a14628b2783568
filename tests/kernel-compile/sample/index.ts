/** Entry of the sample kernel's programs. */
export * from './constructs.ts';
export * from './fault.ts';
export * from './measured.ts';
