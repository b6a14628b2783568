/**
 * Page reclaim (mm/vmscan.c), as far as somebody asks for given pages to go: MADV_PAGEOUT. Nothing here scans lists.
 *
 * Invariants: a page to be reclaimed is isolated: off the LRU (PG_lru clear) with a reference of the one who isolated it; lists of such pages are
 * linked through the column `prev`, first to last, and end in 0. A page leaves the page cache only when nobody but the cache and the
 * isolator holds a reference, and clean: both are seen under i_pages' lock with the reference count frozen at 0.
 * There is no swap: anonymous pages go only when their content is not needed (MADV_FREE, droppable memory), pages of shared memory when clean. A large anonymous
 * folio is split on the way to a swap that is not there, and loses its pages that are all zero.
 */
import type { Op } from '../kernel/op.ts';
import { add, clearFlags, folioTrylock, folioUnlock, get, refAdd, refFreeze, refGetUnlessZero, setFlags, spinLock, spinUnlock } from '../kernel/ops.ts';
import { folioMapcount, folioTestLarge } from '../memory/folio.ts';
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_READAHEAD, PG_REFERENCED, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapping, pagePincount, pagePrev, pageRefcount, setPageMapping, setPagePrev } from '../memory/state.ts';
import { xaErase } from '../memory/xarray.ts';
import { pagesInCache } from './filemap.ts';
import { allocPra, freePra, Pra } from './pra.ts';
import { pageIsMapped } from './rmap.ts';
import { folioReferenced, folioTestClearReferenced, tryToUnmap } from './rmap-walk.ts';
import { tryToUnmapLarge } from './split-file-folio.ts';
import { trySplitFolio } from './split-folio.ts';
import { folioAddLru, folioGet, folioPut, folioTestAnon, folioTestDirty, folioTestSwapbacked, freeFolio } from './swap.ts';
import { Inode, type InodeRef, type Page } from './types.ts';
import { VM_EXEC, VM_LOCKED } from './vm-flags.ts';

// What a look at the references of a page leads to (enum folio_references).
const FOLIOREF_RECLAIM = 0;
const FOLIOREF_RECLAIM_CLEAN = 1;
const FOLIOREF_KEEP = 2;
const FOLIOREF_ACTIVATE = 3;

/** folio_is_file_lru: belongs to the lists of pages that need no swap. */
const folioIsFileLru = (page: Page): boolean => !folioTestSwapbacked(page);

/** folio_isolate_lru: takes a page off the LRU, with a reference; 0 when it is not there. */
export function* folioIsolateLru(page: Page): Op<number> {
  if (((yield* clearFlags(page, PG_LRU)) & PG_LRU) === 0) return 0;
  yield* folioGet(page);
  return 1;
}

/**
 * Reclaims one page of the LRU, as kswapd does with one of its list (isolate_lru_folios, shrink_folio_list, move_folios_to_lru): 1 when it was freed,
 * 0 when it stays, also when it is not on the LRU or free by now. `ignoreReferences`: also when it was accessed of late.
 */
export function* reclaimFolio(page: Page, ignoreReferences: number): Op<number> {
  if ((yield* refGetUnlessZero(page)) === 0) return 0;
  if (((yield* clearFlags(page, PG_LRU)) & PG_LRU) === 0) {
    yield* folioPut(page);
    return 0;
  }
  if ((yield* shrinkFolio(page, ignoreReferences)) !== 0) return 1;
  yield* folioPutbackLru(page);
  return 0;
}

/** folio_putback_lru: the reverse. */
export function* folioPutbackLru(page: Page): Op<number> {
  yield* folioAddLru(page);
  return yield* folioPut(page);
}

/** Takes the first page off a list of isolated pages; the next. */
function unlinkFirst(page: Page): Page {
  const next = pagePrev[page];
  if (next !== 0) setPagePrev(page, 0);
  return next;
}

/** reclaim_pages: frees what it can of a list of isolated pages, whether accessed of late or not. The list is empty then. */
export function* reclaimPages(first: Page): Op<number> {
  let page = first;
  while (page !== 0) {
    const next = unlinkFirst(page);
    yield* clearFlags(page, PG_ACTIVE);
    if ((yield* shrinkFolio(page, 1)) === 0) yield* folioPutbackLru(page);
    page = next;
  }
  return 0;
}

/**
 * shrink_folio_list for one isolated page; 1 when it was freed, 0 when the caller still has it. With `ignoreReferences` it goes even when it was
 * accessed of late.
 */
export function* shrinkFolio(page: Page, ignoreReferences: number): Op<number> {
  if ((yield* folioTrylock(page)) === 0) return 0;
  const result = yield* shrinkLocked(page, ignoreReferences);
  if (result === FREED) {
    yield* folioUnlock(page);
    yield* freeFolio(page);
    return 1;
  }
  if (result === SPLIT) return 0;
  if (result === ACTIVATE && (pageFlags[page] & PG_UNEVICTABLE) === 0) yield* setFlags(page, PG_ACTIVE);
  yield* folioUnlock(page);
  return 0;
}

// What becomes of a page.
const KEEP = 0;
const ACTIVATE = 1;
const FREED = 2;
const SPLIT = 3;

/** The part of shrink_folio_list that holds the page's lock. FREED leaves it frozen, without a reference; SPLIT unlocked, a small page that stays. */
function* shrinkLocked(page: Page, ignoreReferences: number): Op<number> {
  if ((pageFlags[page] & PG_UNEVICTABLE) !== 0) return ACTIVATE;
  let references = FOLIOREF_RECLAIM;
  if (ignoreReferences === 0) references = yield* folioCheckReferences(page);
  if (references === FOLIOREF_KEEP) return KEEP;
  if (references === FOLIOREF_ACTIVATE) return ACTIVATE;
  if (folioTestAnon(page) && folioTestSwapbacked(page)) {
    if (pagePincount[page] > 0) return KEEP;
    // Swap that is full may have room for a part of it: without a place for the whole it is split.
    if (!folioTestLarge(page) || pageRefcount[page] !== folioMapcount(page) + 1) return ACTIVATE;
    return (yield* trySplitFolio(page)) === 0 ? SPLIT : ACTIVATE;
  }
  if (pageIsMapped(page)) {
    if (folioTestLarge(page) && !folioTestAnon(page)) yield* tryToUnmapLarge(page, 0);
    else yield* tryToUnmap(page, 0);
    if (pageIsMapped(page)) return ACTIVATE;
  }
  if (pagePincount[page] > 0) return ACTIVATE;
  if (folioTestDirty(page)) {
    if (!folioIsFileLru(page) && references === FOLIOREF_RECLAIM_CLEAN) return KEEP;
    // Files are written back by others; shared memory would go to swap (pageout() gives both back as active).
    return ACTIVATE;
  }
  if ((pageFlags[page] & PG_ANON) !== 0) return (yield* refFreeze(page, 1)) !== 0 ? FREED : KEEP;
  const inode = pageMapping[page];
  return inode !== 0 && (yield* removeMapping(inode, page)) !== 0 ? FREED : KEEP;
}

/** __remove_mapping: takes a locked page out of the cache if it is clean and nobody uses it; 1 when done, with its references frozen. */
export function* removeMapping(inode: InodeRef, page: Page): Op<number> {
  const lock = inode + Inode.pagesLock;
  const pages = pagesInCache(inode, page);
  yield* spinLock(lock);
  if ((yield* refFreeze(page, 1 + pages)) === 0) {
    yield* spinUnlock(lock);
    return 0;
  }
  // Whoever had a reference may have written before it was dropped: the flag is looked at after the count.
  if ((pageFlags[page] & PG_DIRTY) !== 0) {
    yield* refAdd(page, 1 + pages);
    yield* spinUnlock(lock);
    return 0;
  }
  xaErase(inode + Inode.pages, pageIndex[page]);
  add(inode, Inode.nrPages, -pages);
  setPageMapping(page, 0);
  yield* spinUnlock(lock);
  yield* clearFlags(page, PG_READAHEAD);
  return 1;
}

/** folio_check_references: whether a page was used enough to be kept. */
function* folioCheckReferences(page: Page): Op<number> {
  const pra = allocPra();
  const entries = yield* folioReferenced(page, pra);
  const vmFlags = get(pra, Pra.vmFlags);
  freePra(pra);
  if ((vmFlags & VM_LOCKED) !== 0) return FOLIOREF_ACTIVATE;
  if (entries < 0) return FOLIOREF_KEEP;
  const before = yield* folioTestClearReferenced(page);
  if (entries > 0) {
    yield* setFlags(page, PG_REFERENCED);
    // Used twice, or by several; code of programs is kept from the first time on.
    if (before || entries > 1 || ((vmFlags & VM_EXEC) !== 0 && folioIsFileLru(page))) return FOLIOREF_ACTIVATE;
    return FOLIOREF_KEEP;
  }
  if (before && folioIsFileLru(page)) return FOLIOREF_RECLAIM_CLEAN;
  return FOLIOREF_RECLAIM;
}
