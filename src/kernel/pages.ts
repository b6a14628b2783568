/** Pages for kernel code: the allocator with fault injection in front. */
import { allocPages, freePages } from '../memory/buddy.ts';
import { KernelBug } from './bug.ts';
import { cpu, current } from './current.ts';
import { allocationFails } from './effects.ts';
import { running } from './task.ts';
import { checkPageFree } from './tlb.ts';

/** alloc_pages: the first page of a block of `1 << order`, reference count 1, or 0 when there is none. */
export function allocPage(gfp: number, order: number): number {
  return allocationFails() ? 0 : allocPages(order, gfp, cpu);
}

/** __free_pages of a block whose last reference is gone. @throws {KernelBug} I4, I26 */
export function freePage(page: number, order: number): number {
  if (running === 0) {
    freePages(page, order, cpu);
    return 0;
  }
  checkPageFree(page, order);
  try {
    freePages(page, order, cpu);
  } catch (error) {
    // What the allocator finds wrong with a page is a rule that kernel code has broken.
    throw new KernelBug('I26', `task ${current}: ${(error as Error).message}`);
  }
  return 0;
}
