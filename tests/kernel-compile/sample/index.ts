/** Entry of the sample kernel's programs. */
export * from './fault.ts';
