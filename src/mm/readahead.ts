/**
 * Read-ahead of disk files (mm/readahead.c): which pages come into the page cache when one is missing.
 *
 * Invariants: a page that is read is in the cache, locked, until its content is there; reading takes no time here, so no page is ever seen without
 * content but by those who looked while it was locked; invalidate_lock is held for reading, so that no block goes meanwhile. Each open file has its own window (File.ra…).
 */
import type { Op } from '../kernel/op.ts';
import { allocPage, clearFlags, downRead, folioLock, folioUnlock, get, set, setFlags, upRead } from '../kernel/ops.ts';
import { compoundPages, subPage } from '../memory/folio.ts';
import { __GFP_COMP, __GFP_NORETRY, __GFP_NOWARN, GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_READAHEAD, PG_UPTODATE } from '../memory/page-flags.ts';
import { clearFrame, knownPageOfPfn, pageShift, pfnOfPage } from '../memory/state.ts';
import { blockHasContent, readBlock } from './disk-block.ts';
import { EEXIST, ENOMEM } from './errno.ts';
import { filemapAddFolio, pageCacheEntry, pageCacheFind } from './filemap.ts';
import { globals } from './globals.ts';
import { maxPageCacheOrder, pmdOrder } from './huge-orders.ts';
import { folioAddLru, folioPut } from './swap.ts';
import { File, type FileRef, Globals, Inode, type InodeRef, type Page } from './types.ts';

/** What is read ahead unless Globals.readAheadPages says otherwise, bytes: read_ahead_kb of the disk on which the recordings were made. */
const DEFAULT_READ_AHEAD = 2 ** 23;

/** ra_pages of the disk. */
export function readAheadPages(): number {
  const pages = get(globals, Globals.readAheadPages);
  return pages > 0 ? pages : Math.max(1, DEFAULT_READ_AHEAD / 2 ** pageShift);
}

/** Reads a folio of 2^order pages whose place is not cached; it stays locked and referenced. −EEXIST when (a part of) its place is cached by now, −ENOMEM. */
export function* readFolio(inode: InodeRef, index: number, order: number, gfp: number): Op<number> {
  if (order > 0 && pageCacheFind(inode, index, index + 2 ** order - 1) >= 0) return -EEXIST;
  const folio = yield* allocPage(order > 0 ? gfp | __GFP_COMP | __GFP_NORETRY | __GFP_NOWARN : gfp, order);
  if (folio === 0) return -ENOMEM;
  yield* folioLock(folio);
  const error = yield* filemapAddFolio(inode, folio, index);
  if (error !== 0) {
    yield* folioUnlock(folio);
    yield* folioPut(folio);
    return error;
  }
  yield* folioAddLru(folio);
  readBlocks(inode, index, folio, order);
  yield* setFlags(folio, PG_UPTODATE);
  return folio;
}

/** Reads the blocks of a folio. Pages of a large one that nobody has ever looked at hold zeroes. */
function readBlocks(inode: InodeRef, index: number, folio: Page, order: number): void {
  if (order === 0) {
    readBlock(inode, index, folio);
    return;
  }
  for (let i = 0; i < 2 ** order; i++) {
    if (blockHasContent(inode, index + i)) readBlock(inode, index + i, subPage(folio, i));
    else {
      const page = knownPageOfPfn(pfnOfPage(folio) + i);
      if (page !== 0) clearFrame(page);
    }
  }
}

/** page_cache_ra_unbounded: readRange() while nobody takes blocks away. */
function* readRange(inode: InodeRef, first: number, end: number, mark: number): Op<number> {
  yield* downRead(inode + Inode.invalidateLock);
  yield* readRangeLocked(inode, first, end, mark);
  return yield* upRead(inode + Inode.invalidateLock);
}

/** Reads pages [first, end) of a file as far as they exist and are not cached; the page at `mark` is marked for the next read-ahead. */
function* readRangeLocked(inode: InodeRef, first: number, end: number, mark: number): Op<number> {
  const limit = Math.min(end, Math.ceil(get(inode, Inode.size) / 2 ** pageShift));
  for (let index = first; index < limit; index++) {
    if (pageCacheEntry(inode, index) !== 0) continue;
    const page = yield* readFolio(inode, index, 0, GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN);
    if (page === -EEXIST) continue;
    if (page < 0) return 0;
    if (index === mark) yield* setFlags(page, PG_READAHEAD);
    yield* folioUnlock(page);
    yield* folioPut(page);
  }
  return 0;
}

/** page_cache_ra_order: reads the window of the sizes that the file's state has, from an index on, in folios of its order where alignment and end allow. */
function* readWindow(file: FileRef, start: number): Op<number> {
  const inode = get(file, File.inode);
  const size = get(file, File.raSize);
  const mark = start + size - get(file, File.raAsyncSize);
  const limit = Math.min(start + size, Math.ceil(get(inode, Inode.size) / 2 ** pageShift)) - 1;
  const order = Math.min(get(file, File.raOrder), maxPageCacheOrder(), Math.floor(Math.log2(size)));
  set(file, File.raOrder, order);
  let index = start;
  if (order > 0) {
    yield* downRead(inode + Inode.invalidateLock);
    while (index <= limit) {
      const left = fitOrder(index, limit, order);
      const folio = yield* readFolio(inode, index, left, GFP_HIGHUSER_MOVABLE);
      if (folio < 0) break;
      if (mark - (mark % 2 ** left) === index) yield* setFlags(folio, PG_READAHEAD);
      yield* folioUnlock(folio);
      yield* folioPut(folio);
      index += 2 ** left;
    }
    yield* upRead(inode + Inode.invalidateLock);
  }
  // Single pages; also where something was cached already, or no memory was found.
  return index > limit ? 0 : yield* readRange(inode, index, limit + 1, mark);
}

/** Largest order up to `most` of a folio at an index whose last page is `limit` at the latest. */
export function fitOrder(index: number, limit: number, most: number): number {
  let order = most;
  while (index % 2 ** order !== 0) order--;
  while (order > 0 && index + 2 ** order - 1 > limit) order--;
  return order;
}

function setWindow(file: FileRef, start: number, size: number, asyncSize: number, order: number): void {
  set(file, File.raStart, start);
  setSizes(file, size, asyncSize, order);
}

function setSizes(file: FileRef, size: number, asyncSize: number, order: number): void {
  set(file, File.raOrder, order);
  set(file, File.raSize, size);
  set(file, File.raAsyncSize, asyncSize);
}

/** get_init_ra_size: the first window for a request. */
function initialSize(request: number, max: number): number {
  const size = 2 ** Math.ceil(Math.log2(request));
  if (size <= Math.floor(max / 32)) return size * 4;
  if (size <= Math.floor(max / 4)) return size * 2;
  return max;
}

/** get_next_ra_size: the window after this one. */
function nextSize(size: number, max: number): number {
  if (size < Math.floor(max / 16)) return 4 * size;
  if (size <= Math.floor(max / 2)) return 2 * size;
  return max;
}

/** page_cache_prev_miss, counted: how many of the `max` pages before an index are cached without a gap. */
function cachedBefore(inode: InodeRef, index: number, max: number): number {
  let count = 0;
  while (count < max && index - 1 - count >= 0 && pageCacheEntry(inode, index - 1 - count) !== 0) count++;
  return count;
}

/** page_cache_sync_ra: a page is missing that a request of `request` pages needs. */
export function* pageCacheSyncRa(file: FileRef, index: number, request: number): Op<number> {
  const inode = get(file, File.inode);
  const max = readAheadPages();
  const before = get(file, File.raPrevPos);
  const previous = before < 0 ? Infinity : Math.floor(before / 2 ** pageShift);
  if (index === 0 || request > max || (index >= previous && index - previous <= 1)) {
    const size = initialSize(request, max);
    setWindow(file, index, size, size > request ? size - request : Math.floor(size / 2), 0);
    return yield* readWindow(file, get(file, File.raStart));
  }
  const history = cachedBefore(inode, index, max);
  // A small random read stays what it is.
  if (history <= request) return yield* readRange(inode, index, index + request, -1);
  // Cached from the start of the file on: it is probably being read as a whole.
  setWindow(file, index, Math.min((history === index ? history * 2 : history) + request, max), 1, 0);
  return yield* readWindow(file, get(file, File.raStart));
}

/** page_cache_async_ra: a marked page was reached. */
export function* pageCacheAsyncRa(file: FileRef, index: number, request: number): Op<number> {
  const inode = get(file, File.inode);
  const max = readAheadPages();
  const marked = pageCacheEntry(inode, index);
  const folio = marked > 0 ? compoundPages(marked) : 1;
  if (marked > 0) yield* clearFlags(marked, PG_READAHEAD);
  const start = get(file, File.raStart);
  const size = get(file, File.raSize);
  const expected = start + size - get(file, File.raAsyncSize);
  if (index === expected - (expected % folio)) {
    const next = Math.max(size, nextSize(size, max));
    setWindow(file, start + size, next, next, get(file, File.raOrder) + 2);
  } else {
    // A mark that another reader left: the gap behind it starts the window.
    let gap = index + 1;
    while (gap - index - 1 < max && pageCacheEntry(inode, gap) !== 0) gap++;
    if (gap - index - 1 > max) return 0;
    const next = nextSize(gap - index + request, max);
    setWindow(file, gap, next, next, get(file, File.raOrder) + 2);
  }
  return yield* readWindow(file, get(file, File.raStart));
}

/** force_page_cache_readahead: exactly these pages (WILLNEED), as far as the disk takes at once in each step. */
export function* forcePageCacheReadahead(file: FileRef, first: number, pages: number): Op<number> {
  return yield* readRange(get(file, File.inode), first, first + Math.min(pages, readAheadPages()), -1);
}

/** The window around a fault: sets it as do_sync_mmap_readahead does and reads it. */
export function* readAround(file: FileRef, start: number, size: number, asyncSize: number): Op<number> {
  setWindow(file, start, size, asyncSize, 0);
  return yield* readWindow(file, get(file, File.raStart));
}

/** What do_sync_mmap_readahead reads where huge pages are wanted: one around a fault, and the next unless nothing follows (`random`). The window's start stays what it was. */
export function* readHuge(file: FileRef, index: number, random: number): Op<number> {
  const pages = 2 ** pmdOrder();
  setSizes(file, random !== 0 ? pages : 2 * pages, pages, pmdOrder());
  return yield* readWindow(file, index - (index % pages));
}
