/**
 * What is done when memory is short with the folios that wait to be split (mm/huge_memory.c: deferred_split_scan, thp_underused): partially mapped ones give back what
 * nobody maps any longer, underused ones their pages of zeroes.
 *
 * Invariants: a folio that is looked at is kept by a reference and stays on the list, at its end; it leaves the list when it was split, or when it is mapped as a whole and not
 * worth it: then nobody looks at it again before a part of it loses its mapping.
 */
import type { Op } from '../kernel/op.ts';
import { folioTrylock, get, refGetUnlessZero, spinLock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, splitListNext } from '../memory/folio.ts';
import { PG_MLOCKED, PG_PARTIALLY_MAPPED } from '../memory/page-flags.ts';
import { pageFlags, pageOfPfn, pfnOfPage } from '../memory/state.ts';
import { deferredSplitUnqueue, splitListAdd, splitListLock, splitListRemove } from './deferred-split.ts';
import { globals } from './globals.ts';
import { pmdOrder } from './huge-orders.ts';
import { Khugepaged } from './khugepaged-types.ts';
import { isZeroFilled, splitFolioOf } from './split-folio.ts';
import { folioPut } from './swap.ts';
import { Globals, type Page } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_UNDERUSED_SPLIT_PAGE } from './vm-event-types.ts';

/** deferred_split_scan of at most so many folios, oldest first; how many were split. */
export function* deferredSplitScan(most: number): Op<number> {
  let split = 0;
  yield* spinLock(splitListLock());
  let left = Math.min(most, listLength());
  yield* spinUnlock(splitListLock());
  while (left > 0) {
    left--;
    const folio = yield* nextFolio();
    if (folio !== 0) {
      const partial = (pageFlags[folio] & PG_PARTIALLY_MAPPED) !== 0;
      let done = 0;
      // Pages of locked memory are not exchanged for the zero page.
      if ((partial || ((pageFlags[folio] & PG_MLOCKED) === 0 && thpUnderused(folio))) && (yield* folioTrylock(folio)) !== 0) {
        done = (yield* splitFolioOf(folio)) === 0 ? 1 : 0;
        if (done !== 0) {
          split++;
          if (!partial) countVmEvent(THP_UNDERUSED_SPLIT_PAGE);
        }
      }
      if (done === 0 && (pageFlags[folio] & PG_PARTIALLY_MAPPED) === 0) yield* deferredSplitUnqueue(folio);
      yield* folioPut(folio);
    }
  }
  return split;
}

/** deferred_split_count. Needs the list's lock. */
function listLength(): number {
  let count = 0;
  for (let folio = get(globals, Globals.splitListFirst); folio !== 0; folio = splitListNext(folio)) count++;
  return count;
}

/** The oldest of the list, with a reference, put to its end; 0 when it is about to be freed, and off the list then. */
function* nextFolio(): Op<number> {
  yield* spinLock(splitListLock());
  let folio = get(globals, Globals.splitListFirst);
  if (folio !== 0) {
    const kept = yield* refGetUnlessZero(folio);
    splitListRemove(folio);
    if (kept !== 0) splitListAdd(folio);
    else folio = 0;
  }
  yield* spinUnlock(splitListLock());
  return folio;
}

/** thp_underused: more pages are full of zeroes than khugepaged would fill with such when it makes a huge page. */
function thpUnderused(folio: Page): boolean {
  const khugepaged = get(globals, Globals.khugepaged);
  const none = get(khugepaged, Khugepaged.maxPtesNone);
  const whole = 2 ** pmdOrder();
  if (none === whole - 1) return false;
  let zero = 0;
  let filled = 0;
  for (let i = 0; i < compoundPages(folio); i++) {
    if (isZeroFilled(pageOfPfn(pfnOfPage(folio) + i))) {
      if (++zero > none) return true;
    } else if (++filled >= whole - none) return false;
  }
  return false;
}
