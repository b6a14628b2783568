/**
 * The page cache (mm/filemap.c): which pages hold a file's content.
 *
 * Invariants: a page at index i of an inode's xarray has `mapping` = the inode, `index` = i, one reference for being there, and stays there while
 * it is locked and its mapping was seen right under that lock. Entries change under i_pages' lock; readers look without it, take a reference
 * and look again. Negative values of the xarray are no pages but swap entries of shared memory.
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
  spinLock,
  spinUnlock,
  switched,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PG_READAHEAD, PG_UPTODATE } from '../memory/page-flags.ts';
import { pageFlags, pageMapping, pagePrivate, setPageIndex, setPageMapping, setPagePrivate } from '../memory/state.ts';
import { xaErase, xaFind, xaLoad, xaStore } from '../memory/xarray.ts';
import { EEXIST, ENOMEM } from './errno.ts';
import { INODE_SECRETMEM } from './file-types.ts';
import { secretmemFreeFolio } from './secretmem.ts';
import { folioPut } from './swap.ts';
import { Inode, type InodeRef, type Page } from './types.ts';

/** Above the index of any page of any file. */
export const LAST_INDEX = 2 ** 52;

export const folioTestUptodate = (page: Page): boolean => (pageFlags[page] & PG_UPTODATE) !== 0;
/** xa_is_value: an entry of the page cache that is no page. */
export const isShadow = (entry: number): boolean => entry < 0;
/** What stands at an index: a page, a negative value, or 0. To be confirmed by whoever uses it without i_pages' lock. */
export const pageCacheEntry = (inode: InodeRef, index: number): number => xaLoad(inode + Inode.pages, index);
/** Lowest index from `first` to `last` at which something stands, −1 if none. */
export const pageCacheFind = (inode: InodeRef, first: number, last: number): number => xaFind(inode + Inode.pages, first, last);

/** filemap_get_entry: the page at an index with a reference taken, a negative value as it stands, or 0. */
export function* filemapGetEntry(inode: InodeRef, index: number): Op<number> {
  yield* rcuReadLock();
  let page = xaLoad(inode + Inode.pages, index);
  while (page > 0) {
    if (switched(SW.filemapPlainGet)) yield* refAdd(page, 1);
    if (switched(SW.filemapPlainGet) || (yield* refGetUnlessZero(page)) !== 0) {
      // It may have been removed, freed and used again between the look and the reference.
      if (xaLoad(inode + Inode.pages, index) === page || switched(SW.filemapNoReload)) break;
      yield* folioPut(page);
    }
    page = xaLoad(inode + Inode.pages, index);
  }
  yield* rcuReadUnlock();
  return page;
}

/** Whether a page that was found at its place in a file, and is locked now, has left it in between. */
export const folioLeft = (inode: InodeRef, page: Page): boolean => pageMapping[page] !== inode && !switched(SW.faultNoMappingCheck);

/** filemap_lock_folio: the page at an index, referenced and locked; 0 when there is none. */
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

/** filemap_add_folio without the LRU: puts a locked page into the cache. 0, −EEXIST when the place is taken, −ENOMEM. */
export function* filemapAddFolio(inode: InodeRef, page: Page, index: number): Op<number> {
  yield* refAdd(page, 1);
  setPageMapping(page, inode);
  setPageIndex(page, index);
  let error = allocationFails() ? -ENOMEM : 0;
  if (error === 0) {
    yield* spinLock(inode + Inode.pagesLock);
    if (xaLoad(inode + Inode.pages, index) !== 0) error = -EEXIST;
    else {
      xaStore(inode + Inode.pages, index, page);
      add(inode, Inode.nrPages, 1);
    }
    yield* spinUnlock(inode + Inode.pagesLock);
  }
  if (error === 0) return 0;
  setPageMapping(page, 0);
  yield* refAdd(page, -1);
  return error;
}

/** filemap_remove_folio: takes a locked page out of the cache, with the reference that was held for it. */
export function* filemapRemoveFolio(inode: InodeRef, page: Page, index: number): Op<number> {
  yield* spinLock(inode + Inode.pagesLock);
  xaErase(inode + Inode.pages, index);
  add(inode, Inode.nrPages, -1);
  // Who follows entries without locks may look at it at this very moment.
  yield* mappingSet(page, 0);
  if (pagePrivate[page] !== 0) setPagePrivate(page, 0);
  yield* spinUnlock(inode + Inode.pagesLock);
  yield* clearFlags(page, PG_READAHEAD);
  if (get(inode, Inode.kind) === INODE_SECRETMEM) yield* secretmemFreeFolio(page);
  return yield* folioPut(page);
}

/** filemap_get_incore_folio for mincore(): whether the content of an index is in memory. */
export function filemapIsUptodate(inode: InodeRef, index: number): boolean {
  const page = xaLoad(inode + Inode.pages, index);
  return page > 0 && folioTestUptodate(page);
}

/** Pages that `bytes` bytes take. */
export const pagesOf = (bytes: number, pageBytes: number): number => Math.ceil(bytes / pageBytes);

/** Number of pages in the cache of an inode. */
export const nrPages = (inode: InodeRef): number => get(inode, Inode.nrPages);
