/**
 * Frames that shall not be used any longer (mm/memory-failure.c): soft offline, as an administrator or madvise(MADV_SOFT_OFFLINE) asks for it.
 *
 * Invariants: a frame that was taken out has PG_HWPOISON and one reference, which nobody gives back; all other frames of a huge page that it was part of are free, or in
 * use as before. What is in use moves to another place first; what cannot be moved stays, and the answer is −EBUSY.
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, folioLock, folioUnlock, get, refAdd, refGetUnlessZero, setFlags } from '../kernel/ops.ts';
import { allocContigRange, zoneOfPfn } from '../memory/cma.ts';
import { compoundOrder, folioTestLarge, pageFolio, subPage } from '../memory/folio.ts';
import { __GFP_MOVABLE, GFP_USER } from '../memory/gfp.ts';
import { PG_BUDDY, PG_DIRTY, PG_HEAD, PG_HUGETLB, PG_HWPOISON, PG_LRU, PG_PCP, PG_RESERVED, PG_TABLE } from '../memory/page-flags.ts';
import {
  knownPageOfPfn,
  pageFlags,
  pageMapping,
  pageNext,
  pageOfPfn,
  pageOrder,
  pageRefcount,
  pageShift,
  pfnOfPage,
  setPageIndex,
  setPageMapping,
  setPageNext,
} from '../memory/state.ts';
import { EAGAIN, EBUSY, EIO, ENXIO, EPERM } from './errno.ts';
import { pagesInCache } from './filemap.ts';
import { getUserPagesFast } from './gup-fast.ts';
import { allocPageVector, freePageVector, PageVector } from './gup-types.ts';
import { dissolveFreeHugetlbFolio } from './hugetlb-dissolve.ts';
import { MADV_SOFT_OFFLINE } from './madv.ts';
import { migrateFolio, migrateHugetlbFolio } from './migrate.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioGet, folioPut, folioTestAnon } from './swap.ts';
import type { MmRef, Page } from './types.ts';
import { CAP_SYS_ADMIN, capable } from './util.ts';
import { folioIsolateLru, folioPutbackLru, removeMapping } from './vmscan.ts';

/** Of the largest huge page of any mode, with pages of 4 KiB. */
const LARGEST_ORDER = 24;

/** The folio that a frame is part of: parts of it that nobody has asked for say nothing of it themselves. */
export function folioOfFrame(pfn: number): Page {
  for (let order = 1; order <= LARGEST_ORDER; order++) {
    const head = knownPageOfPfn(pfn - (pfn % 2 ** order));
    if (head !== 0 && (pageFlags[head] & PG_HEAD) !== 0 && pageOrder[head] >= order) return head;
  }
  return pageFolio(pageOfPfn(pfn));
}

/** __page_handle_poison and page_handle_poison of a free page or one of a free huge page: 0, or −EBUSY where it is in use by now or cannot be had. */
function* takeFree(page: Page): Op<number> {
  const pfn = pfnOfPage(page);
  if ((yield* dissolveFreeHugetlbFolio(folioOfFrame(pfn))) !== 0) return -EBUSY;
  if (allocContigRange(pfn, pfn + 1) !== 0) return -EBUSY;
  yield* setFlags(page, PG_HWPOISON);
  return 0;
}

/** mapping_evict_folio: a locked page of a file that is clean and that nobody uses leaves its cache; 1 when the caller's reference is the last. */
function* mappingEvictFolio(page: Page): Op<number> {
  const inode = pageMapping[page];
  if (inode === 0 || (pageFlags[page] & PG_DIRTY) !== 0 || pageRefcount[page] > pagesInCache(inode, page) + 1) return 0;
  if ((yield* removeMapping(inode, page)) === 0) return 0;
  yield* refAdd(page, 1);
  return 1;
}

/** page_handle_poison of a page that has moved, or was thrown away, and has one reference left: this is the one that nobody gives back. */
function* keepOut(page: Page): Op<number> {
  yield* clearFlags(page, ~PG_HWPOISON);
  setPageMapping(page, 0);
  setPageIndex(page, 0);
  if (pageNext[page] !== 0) setPageNext(page, 0);
  return yield* setFlags(page, PG_HWPOISON);
}

/**
 * try_to_split_thp_page: the one page is to go, not all of its folio; 1 when it is for itself and the caller's reference is its own, 0 when nobody needed it: it is free
 * then. −EBUSY when somebody has a reference of the folio: the caller's is gone.
 */
function* trySplitThpPage(folio: Page, page: Page): Op<number> {
  yield* folioLock(folio);
  if ((yield* splitFolioOf(folio)) !== 0) {
    yield* folioUnlock(folio);
    yield* folioPut(folio);
    return -EBUSY;
  }
  if (page === folio) return 1;
  const kept = yield* refGetUnlessZero(page);
  yield* folioPut(folio);
  return kept;
}

/** The part of soft_offline_in_use_page for hugetlb: all that the page is part of moves, and is small pages where it was. */
function* softOfflineHugetlb(folio: Page, page: Page): Op<number> {
  const error = yield* migrateHugetlbFolio(folio);
  yield* folioPut(folio);
  if (error !== 0) return error === -EAGAIN ? -EBUSY : error;
  return yield* takeFree(page);
}

/**
 * soft_offline_in_use_page: a page that somebody uses, of which the caller has a reference, goes out of use: what is thrown away easily is, the rest is moved. 0, or
 * −EBUSY, and −ENOMEM where there is no other place; the caller's reference is gone.
 */
function* softOfflineInUsePage(page: Page): Op<number> {
  const folio = pageFolio(page);
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) return yield* softOfflineHugetlb(folio, page);
  if (folioTestLarge(folio)) {
    const split = yield* trySplitThpPage(folio, page);
    if (split <= 0) return split === 0 ? yield* takeFree(page) : split;
  }
  yield* folioLock(page);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) {
    yield* folioUnlock(page);
    yield* folioPut(page);
    return 0;
  }
  const evicted = (pageFlags[page] & PG_LRU) !== 0 && !folioTestAnon(page) ? yield* mappingEvictFolio(page) : 0;
  yield* folioUnlock(page);
  if (evicted !== 0) {
    yield* keepOut(page);
    return 0;
  }
  const isolated = yield* folioIsolateLru(page);
  yield* folioPut(page);
  if (isolated === 0) return -EBUSY;
  const error = yield* migrateFolio(page, GFP_USER | __GFP_MOVABLE);
  if (error !== 0) yield* folioPutbackLru(page);
  else yield* keepOut(page);
  return error === -EAGAIN ? -EBUSY : error;
}

/** Whether nobody uses a frame: it is free, or part of a huge page that waits in its pool. */
const isUnused = (page: Page): boolean => (pageFlags[page] & (PG_BUDDY | PG_PCP)) !== 0 || pageRefcount[folioOfFrame(pfnOfPage(page))] === 0;

/** soft_offline_page: a frame is taken out of use. 0, also where it was before; −ENXIO where there is no memory; −EIO for what the kernel uses itself; −EBUSY. */
export function* softOfflinePage(pfn: number): Op<number> {
  if (zoneOfPfn(pfn) === 0) return -ENXIO;
  const page = pageOfPfn(pfn);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) return 0;
  if ((pageFlags[page] & (PG_TABLE | PG_RESERVED)) !== 0) return -EIO;
  if (isUnused(page)) return yield* takeFree(page);
  const folio = folioOfFrame(pfn);
  yield* folioGet(folio);
  return yield* softOfflineHeld(subPage(folio, pfn - pfnOfPage(folio)));
}

/** The same of a page of which the caller has a reference (MF_COUNT_INCREASED), which is gone afterwards. −EIO for what is no page of a process or a file. */
function* softOfflineHeld(page: Page): Op<number> {
  const folio = pageFolio(page);
  const poisoned = (pageFlags[page] & PG_HWPOISON) !== 0;
  const handled = (pageFlags[folio] & (PG_LRU | PG_HUGETLB)) !== 0;
  if (!poisoned && handled) return yield* softOfflineInUsePage(page);
  yield* folioPut(page);
  return poisoned ? 0 : -EIO;
}

/** madvise_inject_error: for each page of [start, end), bytes. 0 or −errno of the first that failed. The mmap lock is not held. */
export function* madviseInjectError(mm: MmRef, start: number, end: number, behavior: number): Op<number> {
  if (!capable(mm, CAP_SYS_ADMIN)) return -EPERM;
  const vector = allocPageVector();
  let error = 0;
  let at = start;
  while (at < end && error === 0) {
    const got = yield* getUserPagesFast(mm, Math.floor(at / 2 ** pageShift), 1, 0, vector);
    if (got !== 1) {
      error = got;
      break;
    }
    const page = get(vector, PageVector.pages + get(vector, PageVector.count) - 1);
    at += 2 ** (compoundOrder(page) + pageShift);
    if (behavior === MADV_SOFT_OFFLINE) error = yield* softOfflineHeld(page);
    else {
      yield* folioPut(pageFolio(page));
      error = -EBUSY;
    }
  }
  freePageVector(vector);
  return error;
}
