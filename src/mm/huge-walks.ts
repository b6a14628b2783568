/**
 * What walks over page tables do where one entry maps a huge page (the pmd_trans_huge parts of fs/proc/task_mmu.c, mm/mincore.c, mm/mlock.c, mm/madvise.c).
 *
 * Each function finds a huge entry that may be none any longer when it has its lock: it sets ACTION_AGAIN then, and the entry is looked at again, as it is
 * when the function has split it.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryClearBits, entryGet, folioTrylock, folioUnlock, get, set, spinUnlock } from '../kernel/ops.ts';
import { folioMaybeMappedShared } from '../memory/folio.ts';
import { PG_ACTIVE, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { hugePmdPage, pmdTransHugeLock } from './huge-memory.ts';
import { isolateForReclaim } from './madvise-cold.ts';
import { folioMarkLazyfree } from './madvise-free.ts';
import { ACTION_AGAIN, ACTION_CONTINUE, MmWalk, type MmWalkRef } from './mm-walk.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioGet, folioPut, mlockFolio, munlockFolio } from './swap.ts';
import { Vma, type Vpn } from './types.ts';
import { VM_LOCKED } from './vm-flags.ts';
import { reclaimPages } from './vmscan.ts';

/** The lock of the huge entry; 0 with ACTION_AGAIN set when it is none. */
function* lockHuge(walk: MmWalkRef, pmdp: number): Op<number> {
  set(walk, MmWalk.action, ACTION_CONTINUE);
  const lock = yield* pmdTransHugeLock(get(walk, MmWalk.mm), pmdp);
  if (lock === 0) set(walk, MmWalk.action, ACTION_AGAIN);
  return lock;
}

/** mlock_pte_range of a huge page. */
export function* mlockHuge(walk: MmWalkRef, pmdp: number): Op<number> {
  const lock = yield* lockHuge(walk, pmdp);
  if (lock === 0) return 0;
  const folio = hugePmdPage(yield* entryGet(pmdp, 1));
  if (folio !== 0) {
    if ((get(get(walk, MmWalk.vma), Vma.flags) & VM_LOCKED) !== 0) yield* mlockFolio(folio);
    else yield* munlockFolio(folio);
  }
  return yield* spinUnlock(lock);
}

/** madvise_free_huge_pmd. What cannot be freed lazily as a whole, or split, stays as it is. */
export function* freeHuge(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const tlb = get(walk, MmWalk.arg);
  const lock = yield* lockHuge(walk, pmdp);
  if (lock === 0) return 0;
  const pmd = yield* entryGet(pmdp, 1);
  const folio = hugePmdPage(pmd);
  if (folio === 0 || folioMaybeMappedShared(folio) || (yield* folioTrylock(folio)) === 0) return yield* spinUnlock(lock);
  if (end - start !== spanPages(1)) {
    yield* folioGet(folio);
    yield* spinUnlock(lock);
    // In pieces the part that is meant can be freed.
    const split = yield* splitFolioOf(folio);
    yield* folioPut(folio);
    if (split === 0) set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  if ((pageFlags[folio] & PG_DIRTY) !== 0) yield* clearFlags(folio, PG_DIRTY);
  yield* folioUnlock(folio);
  if ((pmd & (PTE_ACCESSED | PTE_DIRTY)) !== 0) {
    yield* entryClearBits(pmdp, 1, PTE_ACCESSED | PTE_DIRTY);
    tlbRemoveEntry(tlb, start, end);
  }
  yield* folioMarkLazyfree(folio);
  return yield* spinUnlock(lock);
}

/** madvise_cold_or_pageout_pte_range of a huge page. */
export function* coldOrPageoutHuge(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn, pageout: number): Op<number> {
  const tlb = get(walk, MmWalk.arg);
  const lock = yield* lockHuge(walk, pmdp);
  if (lock === 0) return 0;
  const pmd = yield* entryGet(pmdp, 1);
  const folio = hugePmdPage(pmd);
  if (folio === 0 || folioMaybeMappedShared(folio)) return yield* spinUnlock(lock);
  if (end - start !== spanPages(1)) {
    yield* folioGet(folio);
    yield* spinUnlock(lock);
    const split = (yield* folioTrylock(folio)) !== 0 ? yield* splitFolioOf(folio) : 1;
    yield* folioPut(folio);
    if (split === 0) set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  if (pageout === 0 && (pmd & PTE_ACCESSED) !== 0) {
    yield* entryClearBits(pmdp, 1, PTE_ACCESSED);
    tlbRemoveEntry(tlb, start, end);
  }
  if (pageout === 0) {
    yield* clearFlags(folio, (pageFlags[folio] & PG_UNEVICTABLE) !== 0 ? PG_REFERENCED : PG_REFERENCED | PG_ACTIVE);
    return yield* spinUnlock(lock);
  }
  const isolated = (pageFlags[folio] & PG_LRU) !== 0 ? yield* isolateForReclaim(folio) : 0;
  yield* spinUnlock(lock);
  return isolated !== 0 ? yield* reclaimPages(folio) : 0;
}
