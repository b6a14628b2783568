/**
 * The page cache (mm/filemap.c): which pages hold a file's content.
 *
 * Invariants: a folio at index i of an inode's xarray has `mapping` = the inode, `index` = i, one reference a page for being there, and stays there while
 * it is locked and its mapping was seen right under that lock. Entries change under i_pages' lock; readers look without it, take a reference
 * and look again. Negative values of the xarray are no pages but swap entries of shared memory.
 *
 * A large folio stands at its first index, which is a multiple of its size, and nothing at its other ones: where Linux has an entry of many indices, the
 * lookup asks at the multiples of the orders that the inode has had (`Inode.orders`). Hugetlbfs has indices of its own and counts each folio as one page.
 */
import { allocationFails } from '../kernel/effects.ts';
import type { Op } from '../kernel/op.ts';
import {
  add,
  clearFlags,
  folioLock,
  folioUnlock,
  get,
  mappingSet,
  rcuReadLock,
  rcuReadUnlock,
  refAdd,
  refGetUnlessZero,
  set,
  spinLock,
  spinUnlock,
  switched,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioTestLarge, subPage } from '../memory/folio.ts';
import { PG_READAHEAD, PG_UPTODATE } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapping, pageShift, setPageIndex, setPageMapping } from '../memory/state.ts';
import { xaErase, xaFind, xaLoad, xaStore } from '../memory/xarray.ts';
import { EEXIST, ENOMEM } from './errno.ts';
import { INODE_SECRETMEM, kindIsHugetlb, kindIsShmem } from './file-types.ts';
import { secretmemFreeFolio } from './secretmem.ts';
import { folioPut, folioPutRefs } from './swap.ts';
import { Inode, type InodeRef, type Page } from './types.ts';

/** Above the index of any page of any file. */
export const LAST_INDEX = 2 ** 52;

export const folioTestUptodate = (page: Page): boolean => (pageFlags[page] & PG_UPTODATE) !== 0;

/** The large folio that covers an index at which it does not begin, 0 if none. */
function coveringFolio(inode: InodeRef, index: number): Page {
  for (let orders = get(inode, Inode.orders) & ~1; orders !== 0; ) {
    const order = 31 - Math.clz32(orders);
    const at = index % 2 ** order;
    const entry = at === 0 ? 0 : xaLoad(inode + Inode.pages, index - at);
    if (entry > 0 && compoundPages(entry) > at) return entry;
    orders &= ~(1 << order);
  }
  return 0;
}

/** What stands at an index: a folio, a negative value, or 0. To be confirmed by whoever uses it without i_pages' lock. */
export function pageCacheEntry(inode: InodeRef, index: number): number {
  const entry = xaLoad(inode + Inode.pages, index);
  return entry !== 0 || get(inode, Inode.orders) <= 1 ? entry : coveringFolio(inode, index);
}

/** Lowest index from `first` to `last` at which something stands, −1 if none. */
export function pageCacheFind(inode: InodeRef, first: number, last: number): number {
  if (get(inode, Inode.orders) > 1 && first <= last && coveringFolio(inode, first) !== 0) return first;
  return xaFind(inode + Inode.pages, first, last);
}

/** folio_next_index of what stands at an index: the index behind it. */
export function pageCacheNext(inode: InodeRef, index: number): number {
  const entry = get(inode, Inode.orders) > 1 ? pageCacheEntry(inode, index) : 0;
  if (entry <= 0) return index + 1;
  const pages = compoundPages(entry);
  return index - (index % pages) + pages;
}

/** folio_file_page: the page of an index, by the folio that stands there. */
export const folioFilePage = (folio: Page, index: number): Page => (folioTestLarge(folio) ? subPage(folio, index % compoundPages(folio)) : folio);

/** The page of an index, 0 if none: what an entry that maps the index leads to. */
export function pageCachePage(inode: InodeRef, index: number): Page {
  const entry = pageCacheEntry(inode, index);
  return entry > 0 && get(inode, Inode.orders) > 1 ? folioFilePage(entry, index) : Math.max(0, entry);
}

/** Pages that a folio counts for in the cache of an inode. */
export const pagesInCache = (inode: InodeRef, folio: Page): number =>
  folioTestLarge(folio) && !kindIsHugetlb(get(inode, Inode.kind)) ? compoundPages(folio) : 1;

/** Whether one entry may map a folio: past the end of a file each access is to be answered with SIGBUS, but in shared memory. */
export const mayMapWhole = (inode: InodeRef, folio: Page): boolean =>
  kindIsShmem(get(inode, Inode.kind)) || pageIndex[folio] + compoundPages(folio) <= Math.ceil(get(inode, Inode.size) / 2 ** pageShift);

/** filemap_get_entry: the folio at an index with a reference taken, a negative value as it stands, or 0. */
export function* filemapGetEntry(inode: InodeRef, index: number): Op<number> {
  yield* rcuReadLock();
  let page = pageCacheEntry(inode, index);
  while (page > 0) {
    if (switched(SW.filemapPlainGet)) yield* refAdd(page, 1);
    if (switched(SW.filemapPlainGet) || (yield* refGetUnlessZero(page)) !== 0) {
      // It may have been removed, freed and used again between the look and the reference.
      if (pageCacheEntry(inode, index) === page || switched(SW.filemapNoReload)) break;
      yield* folioPut(page);
    }
    page = pageCacheEntry(inode, index);
  }
  yield* rcuReadUnlock();
  return page;
}

/** Whether a page that was found at its place in a file, and is locked now, has left it in between. */
export const folioLeft = (inode: InodeRef, page: Page): boolean => pageMapping[page] !== inode && !switched(SW.faultNoMappingCheck);

/** filemap_lock_folio: the folio at an index, referenced and locked; 0 when there is none. */
export function* filemapLockFolio(inode: InodeRef, index: number): Op<number> {
  for (;;) {
    const page = yield* filemapGetEntry(inode, index);
    if (page <= 0) return 0;
    yield* folioLock(page);
    if (!folioLeft(inode, page)) return page;
    yield* folioUnlock(page);
    yield* folioPut(page);
  }
}

/** filemap_add_folio without the LRU: puts a locked folio into the cache. 0, −EEXIST when (a part of) the place is taken, −ENOMEM. */
export function* filemapAddFolio(inode: InodeRef, page: Page, index: number): Op<number> {
  const pages = pagesInCache(inode, page);
  yield* refAdd(page, pages);
  setPageMapping(page, inode);
  setPageIndex(page, index);
  let error = allocationFails() ? -ENOMEM : 0;
  if (error === 0) {
    yield* spinLock(inode + Inode.pagesLock);
    if (pageCacheFind(inode, index, index + pages - 1) >= 0) error = -EEXIST;
    else {
      xaStore(inode + Inode.pages, index, page);
      if (pages > 1) set(inode, Inode.orders, get(inode, Inode.orders) | pages);
      add(inode, Inode.nrPages, pages);
    }
    yield* spinUnlock(inode + Inode.pagesLock);
  }
  if (error === 0) return 0;
  setPageMapping(page, 0);
  yield* refAdd(page, -pages);
  return error;
}

/** filemap_remove_folio: takes a locked folio out of the cache, with the references that were held for it. `index` is its first. */
export function* filemapRemoveFolio(inode: InodeRef, page: Page, index: number): Op<number> {
  const pages = pagesInCache(inode, page);
  yield* spinLock(inode + Inode.pagesLock);
  xaErase(inode + Inode.pages, index);
  add(inode, Inode.nrPages, -pages);
  // Who follows entries without locks may look at it at this very moment.
  yield* mappingSet(page, 0);
  yield* spinUnlock(inode + Inode.pagesLock);
  yield* clearFlags(page, PG_READAHEAD);
  if (get(inode, Inode.kind) === INODE_SECRETMEM) yield* secretmemFreeFolio(page);
  return yield* folioPutRefs(page, pages);
}

/** filemap_get_incore_folio for mincore(): whether the content of an index is in memory. */
export function filemapIsUptodate(inode: InodeRef, index: number): boolean {
  const page = pageCacheEntry(inode, index);
  return page > 0 && folioTestUptodate(page);
}

/** Pages that `bytes` bytes take. */
export const pagesOf = (bytes: number, pageBytes: number): number => Math.ceil(bytes / pageBytes);

/** Number of pages in the cache of an inode. */
export const nrPages = (inode: InodeRef): number => get(inode, Inode.nrPages);
