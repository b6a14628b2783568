/** `pxd/pagetable`: paging modes, and what works on all of them. Everything here loads in a browser. */

export type * from '../arch/mode.ts';
export { allModes, findMode, guessModes, modeNames } from '../arch/registry.ts';
export * from './attributes.ts';
export * from './columns.ts';
export * from './compile.ts';
export * from './entry.ts';
export * from './error.ts';
export * from './extents.ts';
export * from './hpt32.ts';
export * from './hpt64.ts';
export * from './leafsize.ts';
export * from './linux.ts';
export * from './root.ts';
export * from './source.ts';
export * from './swap.ts';
export * from './tree.ts';
