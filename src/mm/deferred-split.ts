/**
 * Large folios of which a part is no longer mapped, or perhaps never used: they wait to be split when memory is short (mm/huge_memory.c: deferred_split_folio,
 * __folio_unqueue_deferred_split; one queue for the whole machine; deferred-split-scan.ts).
 *
 * Invariants: the list goes through the second tails of its folios (memory/folio.ts), newest last, and changes under its lock; a folio leaves it when
 * it is freed or split.
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, get, set, setFlags, spinLock, spinUnlock } from '../kernel/ops.ts';
import { compoundOrder, folioOnSplitList, setOnSplitList, setSplitListNext, setSplitListPrev, splitListNext, splitListPrev } from '../memory/folio.ts';
import { PG_PARTIALLY_MAPPED } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { globals } from './globals.ts';
import { pmdOrder } from './huge-orders.ts';
import { Globals, type Page } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_DEFERRED_SPLIT_PAGE } from './vm-event-types.ts';

/** The lock of the list. */
export const splitListLock = (): number => globals + Globals.splitListLock;

/** Puts a folio at the list's end. Needs the list's lock. */
export function splitListAdd(folio: Page): void {
  const last = get(globals, Globals.splitListLast);
  setSplitListPrev(folio, last);
  setSplitListNext(folio, 0);
  if (last === 0) set(globals, Globals.splitListFirst, folio);
  else setSplitListNext(last, folio);
  set(globals, Globals.splitListLast, folio);
  setOnSplitList(folio, true);
}

/** Takes a folio off the list, on which it is. Needs the list's lock. */
export function splitListRemove(folio: Page): void {
  const prev = splitListPrev(folio);
  const next = splitListNext(folio);
  if (prev === 0) set(globals, Globals.splitListFirst, next);
  else setSplitListNext(prev, next);
  if (next === 0) set(globals, Globals.splitListLast, prev);
  else setSplitListPrev(next, prev);
  setSplitListPrev(folio, 0);
  setSplitListNext(folio, 0);
  setOnSplitList(folio, false);
}

/** deferred_split_folio: a folio joins the list; `partial` says that a part of it has lost its mapping. Others only while shrink_underused is set. */
export function* deferredSplitFolio(folio: Page, partial: number): Op<number> {
  if (compoundOrder(folio) <= 1) return 0;
  if (partial === 0 && get(globals, Globals.thpKeepUnderused) !== 0) return 0;
  yield* spinLock(splitListLock());
  if (partial !== 0 && ((yield* setFlags(folio, PG_PARTIALLY_MAPPED)) & PG_PARTIALLY_MAPPED) === 0 && compoundOrder(folio) === pmdOrder())
    countVmEvent(THP_DEFERRED_SPLIT_PAGE);
  if (!folioOnSplitList(folio)) splitListAdd(folio);
  return yield* spinUnlock(splitListLock());
}

/** folio_unqueue_deferred_split: a folio leaves the list, if it is there. */
export function* deferredSplitUnqueue(folio: Page): Op<number> {
  if (compoundOrder(folio) <= 1 || !folioOnSplitList(folio)) return 0;
  yield* spinLock(splitListLock());
  if (folioOnSplitList(folio)) {
    splitListRemove(folio);
    if ((pageFlags[folio] & PG_PARTIALLY_MAPPED) !== 0) yield* clearFlags(folio, PG_PARTIALLY_MAPPED);
  }
  return yield* spinUnlock(splitListLock());
}
