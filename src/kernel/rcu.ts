/**
 * Read-copy-update: what readers may still look at is freed after a grace period.
 *
 * While nobody reads, a grace period is over at once, so a lone task frees at the place where it asks to.
 */

import { freePages } from '../memory/buddy.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { setPageRefcount } from '../memory/state.ts';
import { clearFlags } from './effects.ts';

export const rcuReadLock = (): number => 0;
export const rcuReadUnlock = (): number => 0;

/** tlb_remove_table: frees a page table after the grace period. */
export function callRcuFreeTable(table: number, order: number): number {
  clearFlags(table, PG_TABLE);
  setPageRefcount(table, 0);
  freePages(table, order);
  return 0;
}
