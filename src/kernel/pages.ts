/** Pages for kernel code: the allocator with fault injection in front. */
import { allocPages, allocPagesNode, freePages } from '../memory/buddy.ts';
import { allocContigPages, freeContigPages, isContigOrder } from '../memory/huge-frames.ts';
import { nodeOfCpu } from '../memory/zone.ts';
import { KernelBug } from './bug.ts';
import { cpu, current } from './current.ts';
import { allocationFails } from './effects.ts';
import { running } from './task.ts';
import { checkPageFree } from './tlb.ts';

/** numa_node_id: the node of the CPU that runs. */
export const localNode = (): number => nodeOfCpu(cpu);

/** alloc_pages: the first page of a block of `1 << order` (larger than the allocator's blocks: as one compound page), reference count 1, or 0 when there is none. `node`: of that one alone. */
export function allocPage(gfp: number, order: number, node = -1): number {
  if (allocationFails()) return 0;
  if (node >= 0) return order !== 0 && isContigOrder(order) ? allocContigPages(order, node) : allocPagesNode(order, gfp, node, cpu);
  return order !== 0 && isContigOrder(order) ? allocContigPages(order) : allocPages(order, gfp, cpu);
}

/** __free_pages of a block whose last reference is gone. @throws {KernelBug} I4, I26 */
export function freePage(page: number, order: number): number {
  if (running === 0) {
    give(page, order);
    return 0;
  }
  checkPageFree(page, order);
  try {
    give(page, order);
  } catch (error) {
    // What the allocator finds wrong with a page is a rule that kernel code has broken.
    throw new KernelBug('I26', `task ${current}: ${(error as Error).message}`);
  }
  return 0;
}

function give(page: number, order: number): void {
  if (order !== 0 && isContigOrder(order)) freeContigPages(page, order);
  else freePages(page, order, cpu);
}
