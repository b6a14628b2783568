/**
 * Giving back page tables that an unmapping has emptied (mm/pt_reclaim.c, CONFIG_PT_RECLAIM).
 *
 * Invariant: a table leaves the tree under the locks of its upper entry and of itself, empty; whoever waits for its lock sees by the upper entry
 * that it is gone (pteOffsetMapLock). Its memory goes after the flush and a grace period.
 */
import { codec, entryAt, entryStride, tableEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, entryGet, entrySet, spinLock, spinTrylock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { tlbRemoveTable } from './mmu-gather.ts';
import { pteLockptr, tablePage } from './pgtable.ts';
import { pmdLockptr } from './pgtable-generic.ts';
import { type GatherRef, Mm, type MmRef } from './types.ts';

/**
 * try_get_and_clear_pmd: takes a table that is known to be empty, and whose lock `ptl` is held, out of the tree. Its upper entry as it was, 0 where that one's
 * lock is not to be had at once (it comes before the lock that is held).
 */
export function* tryGetAndClearPmd(mm: MmRef, pmdp: number, ptl: number): Op<number> {
  const lock = pmdLockptr(mm, pmdp);
  if (lock !== ptl && (yield* spinTrylock(lock)) === 0) return 0;
  const pmd = yield* entryGet(pmdp, 1);
  yield* entrySet(pmdp, 1, 0);
  if (lock !== ptl) yield* spinUnlock(lock);
  return pmd;
}

/** free_pte: gives a table to the gather that has left the tree. */
export function* freePte(tlb: GatherRef, mm: MmRef, pmd: number): Op<number> {
  add(mm, Mm.pgtablesBytes, -codec.levels[0].tableBytes);
  return yield* tlbRemoveTable(tlb, tablePage(pmd), 0);
}

/** try_to_free_pte: takes a table out if it is empty, under both locks in their order. */
export function* tryToFreePte(tlb: GatherRef, mm: MmRef, pmdp: number): Op<number> {
  const lock = pmdLockptr(mm, pmdp);
  const before = switched(SW.reclaimStaleUpper) ? yield* entryGet(pmdp, 1) : 0;
  yield* spinLock(lock);
  const pmd = before !== 0 ? before : yield* entryGet(pmdp, 1);
  if ((pmd & PTE_TABLE) === 0) return yield* spinUnlock(lock);
  const first = entryAt(tablePage(pmd), 0, 0);
  const ptl = pteLockptr(first);
  if (ptl !== lock) yield* spinLock(ptl);
  const empty = switched(SW.reclaimUnverified) ? 1 : yield* isEmpty(first);
  if (empty !== 0) yield* entrySet(pmdp, 1, 0);
  if (ptl !== lock) yield* spinUnlock(ptl);
  yield* spinUnlock(lock);
  return empty !== 0 ? yield* freePte(tlb, mm, pmd) : 0;
}

/** 1 when no entry of a table holds anything. Needs its lock. */
function* isEmpty(first: number): Op<number> {
  let ptep = first;
  for (let i = 0; i < tableEntries(0); i++) {
    if ((yield* entryGet(ptep, 0)) !== 0) return 0;
    ptep += entryStride(0);
  }
  return 1;
}
