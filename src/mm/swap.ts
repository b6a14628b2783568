/**
 * References of folios and what they carry on the LRU (mm/swap.c, mm/mlock.c's folio side).
 *
 * Every function takes any page of a folio: it is the folio's references, flags and state that are meant.
 * Invariants: per-CPU batches are drained at once, so that a folio's flags are always those that Linux shows once its batches are empty.
 * While PG_UNEVICTABLE is set for a mapped folio, the column `next` counts the VM_LOCKED mappings (folio->mlock_count).
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, freePage, get, refAdd, setFlags } from '../kernel/ops.ts';
import { compoundOrder, compoundPages, destroyCompound, pageFolio } from '../memory/folio.ts';
import {
  PG_ACTIVE,
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_BLOCK_DIRTY,
  PG_DIRTY,
  PG_HUGETLB,
  PG_LRU,
  PG_MLOCKED,
  PG_PARTIALLY_MAPPED,
  PG_PARTLY_DIRTY,
  PG_REFERENCED,
  PG_SWAPBACKED,
  PG_UNEVICTABLE,
  PG_UPTODATE,
} from '../memory/page-flags.ts';
import { knownPageOfPfn, pageFlags, pageNext, pfnOfPage, setPageFlags, setPageIndex, setPageMapping, setPageNext } from '../memory/state.ts';
import { deferredSplitUnqueue } from './deferred-split.ts';
import { freeHugeFolio } from './hugetlb-pool.ts';
import { type Page, Vma, type VmaRef } from './types.ts';
import { VM_LOCKED, VM_SPECIAL } from './vm-flags.ts';

/** Flags that a page loses when it is freed. */
const PG_CLEARED_AT_FREE =
  PG_ACTIVE | PG_ANON | PG_ANON_EXCLUSIVE | PG_DIRTY | PG_LRU | PG_MLOCKED | PG_PARTIALLY_MAPPED | PG_REFERENCED | PG_SWAPBACKED | PG_UNEVICTABLE | PG_UPTODATE;

/** folio_get of the folio that a page belongs to. */
export function* folioGet(page: Page): Op<number> {
  return yield* refAdd(pageFolio(page), 1);
}

/** folio_put of the folio that a page belongs to: the last reference frees it. */
export function* folioPut(page: Page): Op<number> {
  return yield* folioPutRefs(pageFolio(page), 1);
}

/** folio_put_refs. */
export function* folioPutRefs(folio: Page, refs: number): Op<number> {
  if ((yield* refAdd(folio, -refs)) !== 0) return 0;
  return yield* freeFolio(folio);
}

/** Frees a folio to which nobody has a reference any longer (free_unref_folios). */
export function* freeFolio(folio: Page): Op<number> {
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) return yield* freeHugeFolio(folio);
  const order = compoundOrder(folio);
  if (order > 0) yield* deferredSplitUnqueue(folio);
  yield* clearFlags(folio, PG_CLEARED_AT_FREE);
  resetPage(folio);
  if (order > 0) resetTails(folio);
  return yield* freePage(folio, order);
}

/** What parts of a folio keep of their own. */
function resetTails(folio: Page): void {
  for (let i = 1; i < compoundPages(folio); i++) {
    const page = knownPageOfPfn(pfnOfPage(folio) + i);
    if (page !== 0 && (pageFlags[page] & PG_ANON_EXCLUSIVE) !== 0) setPageFlags(page, pageFlags[page] & ~PG_ANON_EXCLUSIVE);
  }
  destroyCompound(folio);
}

/** What a page of nobody looks like. */
function resetPage(page: Page): void {
  setPageMapping(page, 0);
  setPageIndex(page, 0);
  if (pageNext[page] !== 0) setPageNext(page, 0);
}

export const folioTestAnon = (page: Page): boolean => (pageFlags[pageFolio(page)] & PG_ANON) !== 0;
export const folioTestDirty = (page: Page): boolean => (pageFlags[pageFolio(page)] & PG_DIRTY) !== 0;
export const folioTestSwapbacked = (page: Page): boolean => (pageFlags[pageFolio(page)] & PG_SWAPBACKED) !== 0;

/** folio_mark_dirty; true when it was clean. All its blocks are dirty then (mm/folio-buffers.ts). */
export function* folioMarkDirty(page: Page): Op<boolean> {
  const old = yield* setFlags(pageFolio(page), PG_DIRTY);
  if ((old & PG_PARTLY_DIRTY) !== 0) forgetBlocks(pageFolio(page));
  return (old & PG_DIRTY) === 0;
}

/** Which blocks of a folio are dirty need not be known any longer: all of them, or none. */
export function forgetBlocks(folio: Page): void {
  const first = pfnOfPage(folio);
  setPageFlags(folio, pageFlags[folio] & ~PG_PARTLY_DIRTY);
  for (let i = 0; i < compoundPages(folio); i++) {
    const page = knownPageOfPfn(first + i);
    if (page !== 0 && (pageFlags[page] & PG_BLOCK_DIRTY) !== 0) setPageFlags(page, pageFlags[page] & ~PG_BLOCK_DIRTY);
  }
}

/** folio_mark_accessed: inactive, inactive and referenced, active, active and referenced. */
export function* folioMarkAccessed(any: Page): Op<number> {
  const page = pageFolio(any);
  const old = yield* setFlags(page, PG_REFERENCED);
  if ((old & PG_REFERENCED) === 0 || (old & (PG_UNEVICTABLE | PG_ACTIVE)) !== 0) return old;
  if ((old & PG_LRU) !== 0) yield* setFlags(page, PG_ACTIVE);
  return yield* clearFlags(page, PG_REFERENCED);
}

/** folio_add_lru. */
export function* folioAddLru(any: Page): Op<number> {
  const page = pageFolio(any);
  return yield* setFlags(page, PG_LRU);
}

/** folio_add_lru_vma: a new page of a locked VMA starts on the unevictable list. */
export function* folioAddLruVma(page: Page, vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & (VM_LOCKED | VM_SPECIAL)) === VM_LOCKED) return yield* mlockFolio(page);
  return yield* folioAddLru(page);
}

/** mlock_folio and mlock_new_folio: one more VM_LOCKED mapping. */
export function* mlockFolio(any: Page): Op<number> {
  const page = pageFolio(any);
  const old = yield* setFlags(page, PG_MLOCKED | PG_UNEVICTABLE | PG_LRU);
  if ((old & PG_UNEVICTABLE) === 0) {
    yield* clearFlags(page, PG_ACTIVE);
    setPageNext(page, 1);
  } else setPageNext(page, pageNext[page] + 1);
  return 0;
}

/** munlock_folio: one fewer; the last makes the folio evictable again. */
export function* munlockFolio(any: Page): Op<number> {
  const page = pageFolio(any);
  if ((pageFlags[page] & PG_UNEVICTABLE) !== 0 && pageNext[page] > 0) {
    setPageNext(page, pageNext[page] - 1);
    if (pageNext[page] > 0) return 0;
  }
  yield* clearFlags(page, PG_MLOCKED | PG_UNEVICTABLE);
  return 0;
}

/** mlock_vma_folio: after a mapping was made in a VMA. */
export function* mlockVmaFolio(page: Page, vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & (VM_LOCKED | VM_SPECIAL)) === VM_LOCKED) yield* mlockFolio(page);
  return 0;
}

/** munlock_vma_folio: after a mapping was removed from a VMA. */
export function* munlockVmaFolio(page: Page, vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & VM_LOCKED) !== 0) yield* munlockFolio(page);
  return 0;
}
