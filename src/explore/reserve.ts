/**
 * Memory that tasks and CPUs have for themselves before a search begins, so that what one allocates does not hang on what others allocated before it:
 * objects (memory/pools.ts) and free pages of each CPU. Without it, states that differ in nothing but addresses are many states.
 */
import { allocPages, freePages } from '../memory/buddy.ts';
import { GFP_HIGHUSER_MOVABLE, GFP_KERNEL } from '../memory/gfp.ts';
import { get, set } from '../memory/heap.ts';
import { makePools } from '../memory/pools.ts';
import { heap, setPageRefcount } from '../memory/state.ts';
import { Memory, memory, Pcp, Zone } from '../memory/zone.ts';

/** Pages of a kind that a CPU's lists begin with. */
const PAGES = 8;

/** Gives tasks 0 … tasks − 1 objects, and CPUs 0 … cpus − 1 pages. */
export function reserve(tasks: number, cpus: number): void {
  for (let cpu = 0; cpu < cpus; cpu++) {
    raiseLimits(cpu);
    for (const gfp of [GFP_KERNEL, GFP_HIGHUSER_MOVABLE]) {
      const pages = Array.from({ length: PAGES }, () => allocPages(0, gfp, cpu)).filter((page) => page !== 0);
      for (const page of pages.reverse()) {
        setPageRefcount(page, 0);
        freePages(page, 0, cpu);
      }
    }
  }
  makePools(tasks);
}

/** A CPU keeps what it frees: the lists of the zones are everybody's. */
function raiseLimits(cpu: number): void {
  for (let i = 0; i < get(memory(), Memory.nrZones); i++) {
    const pcp = heap[get(memory(), Memory.zones + i) + Zone.pcps + cpu];
    if (pcp !== 0) set(pcp, Pcp.high, get(pcp, Pcp.high) + 8 * PAGES);
  }
}
