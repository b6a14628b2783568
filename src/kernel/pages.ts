/** Pages for kernel code: the allocator with fault injection in front. */
import { allocPages, freePages } from '../memory/buddy.ts';
import { cpu } from './current.ts';
import { allocationFails } from './effects.ts';
import { running } from './task.ts';
import { checkPageFree } from './tlb.ts';

/** alloc_pages: the first page of a block of `1 << order`, reference count 1, or 0 when there is none. */
export function allocPage(gfp: number, order: number): number {
  return allocationFails() ? 0 : allocPages(order, gfp, cpu);
}

/** __free_pages of a block whose last reference is gone. */
export function freePage(page: number, order: number): number {
  if (running !== 0) checkPageFree(page, order);
  freePages(page, order, cpu);
  return 0;
}
