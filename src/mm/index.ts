/** All kernel code of the mm: what the two programs (pxd:direct, pxd:step) are made of. */
export * from './copy-page-range.ts';
export * from './fault.ts';
export * from './gup.ts';
export * from './memory.ts';
export * from './mlock.ts';
export * from './mmu-gather.ts';
export * from './pgtable.ts';
export * from './process.ts';
export * from './rmap.ts';
export * from './swap.ts';
export * from './uaccess.ts';
export * from './zap.ts';
