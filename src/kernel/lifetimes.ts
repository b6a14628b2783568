/**
 * Nobody uses what was freed (I1, I19): pages that lie with the allocator, and locks that live in freed objects. Page tables are looked at in tlb.ts.
 *
 * Invariants: only tasks are asked, and only where Linux has no excuse: who reads under RCU may take the lock of an object whose slab keeps its type, and
 * anybody may try to take a reference to a page, whatever has become of it.
 */
import { PG_BUDDY, PG_PCP } from '../memory/page-flags.ts';
import { heap, pageFlags } from '../memory/state.ts';
import { KernelBug } from './bug.ts';
import { current } from './current.ts';
import { running, Task } from './task.ts';

/** The running task touches a page. @throws {KernelBug} I1 when the page is free */
export function checkInUse(page: number, what: string): void {
  if (running !== 0 && (pageFlags[page] & (PG_BUDDY | PG_PCP)) !== 0) throw new KernelBug('I1', `task ${current} ${what} page ${page}, which is free`);
}

/** Whether a lock that the running task takes lies in an object that was freed, and not under RCU. */
export const liesInFreed = (object: number): boolean => heap[object] < 0 && !(heap[running + Task.rcuDepth] > 0);
