/**
 * Taking pages out of a file: its end moves, a hole is made, the file goes (mm/truncate.c, unmap_mapping_range of mm/memory.c).
 *
 * Invariants: the size is written before pages are removed, and a page is removed only while it is locked, so that a fault that looks at the size
 * under the page's lock can never map a page beyond the end. Mappings go first, in bulk; a page that was mapped again since is unmapped alone.
 * Ends of ranges are the first byte (page) after them; `LAST_INDEX` and `Infinity` bytes stand for "to the end".
 */
import type { Op } from '../kernel/op.ts';
import { downRead, folioLock, folioTrylock, folioUnlock, get, refGetUnlessZero, switched, upRead } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioMapcount, folioTestLarge, pageFolio, subPageIndex } from '../memory/folio.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { clearFrame, knownPageOfPfn, pageFlags, pageIndex, pageMapping, pageOfPfn, pageShift, pfnOfPage } from '../memory/state.ts';
import { INODE_DISK, kindIsHugetlb } from './file-types.ts';
import { filemapLockFolio, filemapRemoveFolio, folioTestUptodate, LAST_INDEX, pageCacheEntry, pageCacheFind, pageCacheNext, pagesInCache } from './filemap.ts';
import { cleanFolio, discardBlocks } from './folio-buffers.ts';
import { TTU_IGNORE_MLOCK } from './rmap-walk.ts';
import { splitFileFolio, tryToUnmapLarge } from './split-file-folio.ts';
import { folioMarkDirty, folioPut } from './swap.ts';
import { Inode, type InodeRef, type Page } from './types.ts';
import { byteOf, fillBytes } from './uaccess.ts';
import { unmapMappingPages } from './zap.ts';

/** unmap_mapping_pages: nobody maps pages [first, end) of a file any longer; private copies go too with `evenCows`. */
export function* unmapMappingRange(inode: InodeRef, first: number, end: number, evenCows: number): Op<number> {
  yield* downRead(inode + Inode.iMmapLock);
  if (end > first && get(inode, Inode.iMmap) !== 0) yield* unmapMappingPages(inode, first, end - first, evenCows);
  yield* upRead(inode + Inode.iMmapLock);
  return 0;
}

/** truncate_inode_folio: a locked page leaves its file. Nothing happens when it has left already. */
export function* truncateInodeFolio(inode: InodeRef, page: Page): Op<number> {
  if (pageMapping[page] !== inode) return 0;
  const index = pageIndex[page];
  if (folioMapcount(page) > 0) yield* unmapMappingRange(inode, index, index + pagesInCache(inode, page), 0);
  yield* cleanFolio(page);
  return yield* filemapRemoveFolio(inode, page, index);
}

/**
 * Removes the folios of [first, end), once: with `wait` it waits for locked ones, else it leaves them. With `unfalloc` only those go that
 * fallocate() made and nobody has used since. Of a large one that lies there in part the part is zeroed, and it is split; then, or when it was split by
 * others, it is gone over again. The number of folios that it met.
 */
export function* truncatePass(inode: InodeRef, first: number, end: number, wait: number, unfalloc: number): Op<number> {
  let met = 0;
  let next = 0;
  for (let index = pageCacheFind(inode, first, end - 1); index >= 0; index = next < end ? pageCacheFind(inode, next, end - 1) : -1) {
    const page = pageCacheEntry(inode, index);
    next = pageCacheNext(inode, index);
    if (page <= 0 || (yield* refGetUnlessZero(page)) === 0) continue;
    if (page > 0 && folioTestLarge(page) && pageMapping[page] === inode && !kindIsHugetlb(get(inode, Inode.kind))) {
      // Of a disk's file that has come between, or could not be split, all goes: it has been written.
      const whole = (pageIndex[page] >= first && pageIndex[page] + compoundPages(page) <= end) || (wait !== 0 && get(inode, Inode.kind) === INODE_DISK);
      let locked = 1;
      if (wait !== 0) yield* folioLock(page);
      else locked = yield* folioTrylock(page);
      if (locked !== 0) {
        if (pageMapping[page] === inode && (unfalloc === 0 || !folioTestUptodate(page))) {
          if (whole) yield* truncateInodeFolio(inode, page);
          else if (wait !== 0 && (yield* truncateLargePart(inode, page, first * 2 ** pageShift, end * 2 ** pageShift)) === 0 && !folioTestLarge(page))
            next = first;
        }
        yield* folioUnlock(page);
      }
      if (whole) met++;
    } else if (pageMapping[page] === inode && pageIndex[page] === index) {
      met++;
      let locked = 1;
      if (wait !== 0) yield* folioLock(page);
      else locked = yield* folioTrylock(page);
      if (locked !== 0) {
        if (pageIndex[page] === index && (unfalloc === 0 || !folioTestUptodate(page))) yield* truncateInodeFolio(inode, page);
        yield* folioUnlock(page);
      }
    }
    yield* folioPut(page);
  }
  return met;
}

/** Zeroes bytes [from, to) of a page. */
export function zeroSegment(page: Page, from: number, to: number): void {
  if (to - from === 2 ** pageShift) clearFrame(page);
  else fillBytes(byteOf(page, from), 0, to - from);
}

/**
 * truncate_inode_partial_folio: the folio at an index, of which only a part lies in the bytes [from, to). That part is zeroed. A large folio is
 * unmapped as a whole, and split, so that its pages in the range can go. 1 when it is dirty and therefore could not be split: it stays.
 */
function* truncatePartialFolio(inode: InodeRef, index: number, from: number, to: number): Op<number> {
  const folio = yield* filemapLockFolio(inode, index);
  if (folio === 0) return 0;
  const size = 2 ** pageShift;
  let stays = 0;
  if (folioTestLarge(folio)) {
    if (get(inode, Inode.kind) !== INODE_DISK && to > pageIndex[folio] * size) yield* folioMarkDirty(folio);
    stays = yield* truncateLargePart(inode, folio, from, to);
  } else {
    const begin = Math.max(0, from - index * size);
    const until = Math.min(size, to - index * size);
    if (until - begin < size && until > begin) {
      zeroSegment(folio, begin, until);
      yield* folioMarkDirty(folio);
    }
  }
  yield* folioUnlock(folio);
  yield* folioPut(folio);
  return stays;
}

/**
 * The same for a locked large folio: its part in the bytes [from, to) is zeroed, and it is split at both ends of that, so that what lies between can go. All of
 * it goes at once; so does one of a disk that could not be split and is clean. 1 when it stays.
 */
function* truncateLargePart(inode: InodeRef, folio: Page, from: number, to: number): Op<number> {
  const disk = get(inode, Inode.kind) === INODE_DISK;
  const size = 2 ** pageShift;
  const pages = compoundPages(folio);
  const start = pageIndex[folio] * size;
  const begin = Math.max(0, from - start);
  const until = Math.min(pages * size, to - start);
  if (until <= begin) return 0;
  if (until - begin === pages * size) {
    yield* truncateInodeFolio(inode, folio);
    return 0;
  }
  zeroFolioRange(folio, begin, until);
  if (disk) yield* discardBlocks(folio, Math.ceil(begin / size), Math.floor(until / size));
  const frame = pfnOfPage(folio);
  if ((yield* splitFileFolio(folio, Math.floor(begin / size))) !== 0) {
    // try_folio_split_or_unmap: who touches what lies behind the end of the file gets SIGBUS. Shared memory may be mapped there.
    if (disk) yield* tryToUnmapLarge(folio, TTU_IGNORE_MLOCK);
    if (!disk || (pageFlags[folio] & PG_DIRTY) !== 0) return 1;
    yield* truncateInodeFolio(inode, folio);
    return 0;
  }
  if (until === pages * size) return 0;
  // The other end lies in a piece by now, which may be anybody's.
  const part = pageOfPfn(frame + Math.floor(until / size));
  const other = pageFolio(part);
  if ((yield* refGetUnlessZero(other)) === 0) return 0;
  if (folioTestLarge(other) && (yield* folioTrylock(other)) !== 0) {
    if (folioTestLarge(other) && pageMapping[other] === inode && (yield* splitFileFolio(other, subPageIndex(part))) !== 0 && disk)
      yield* tryToUnmapLarge(other, TTU_IGNORE_MLOCK);
    yield* folioUnlock(other);
  }
  yield* folioPut(other);
  return 0;
}

/** folio_zero_range: bytes [from, to) of a folio. Pages of it that nobody has ever looked at hold zeroes. */
export function zeroFolioRange(folio: Page, from: number, to: number): void {
  const size = 2 ** pageShift;
  for (let i = Math.floor(from / size); i * size < to; i++) {
    const page = knownPageOfPfn(pfnOfPage(folio) + i);
    if (page !== 0) zeroSegment(page, Math.max(0, from - i * size), Math.min(size, to - i * size));
  }
}

/** Index behind the folio that an index belongs to; `before` 1: index of its first page. */
function folioBound(inode: InodeRef, index: number, before: number): number {
  const entry = pageCacheEntry(inode, index);
  if (entry > 0 && folioTestLarge(entry) && get(inode, Inode.orders) > 1) return pageIndex[entry] + (before !== 0 ? 0 : compoundPages(entry));
  return before !== 0 ? index : index + 1;
}

/** truncate_inode_pages_range (and shmem_undo_range): the bytes [from, to) of a file leave memory; whole pages are removed, parts zeroed. */
export function* truncateInodePagesRange(inode: InodeRef, from: number, to: number, unfalloc: number): Op<number> {
  if (get(inode, Inode.nrPages) === 0 || from >= to) return 0;
  const size = 2 ** pageShift;
  let first = Math.ceil(from / size);
  let end = to === Infinity ? LAST_INDEX : Math.floor(to / size);
  if (unfalloc === 0) {
    const head = Math.floor(from / size);
    const tail = to === Infinity ? head : Math.ceil(to / size) - 1;
    const sameFolio = tail < folioBound(inode, head, 0);
    if ((yield* truncatePartialFolio(inode, head, from, to)) !== 0) {
      first = folioBound(inode, head, 0);
      if (sameFolio && to !== Infinity) end = folioBound(inode, head, 1);
    }
    if (!sameFolio && (yield* truncatePartialFolio(inode, tail, from, to)) !== 0) end = folioBound(inode, tail, 1);
  }
  if (first >= end) return 0;
  yield* truncatePass(inode, first, end, 0, unfalloc);
  // Pages that were locked, or came in between: until none is left. Undoing fallocate() goes over them once.
  while ((yield* truncatePass(inode, first, end, 1, unfalloc)) !== 0) if (unfalloc !== 0) break;
  return 0;
}

/** What was mapped from `first` on while the pages left the file: private copies can be made of them until they are gone. */
export function* unmapAgain(inode: InodeRef, first: number): Op<number> {
  return switched(SW.truncateUnmapsOnce) ? 0 : yield* unmapMappingRange(inode, first, LAST_INDEX, 1);
}

/** truncate_pagecache: the size is `size` by now; what is cached or mapped beyond goes. */
export function* truncatePagecache(inode: InodeRef, size: number): Op<number> {
  const first = Math.ceil(size / 2 ** pageShift);
  yield* unmapMappingRange(inode, first, LAST_INDEX, 1);
  yield* truncateInodePagesRange(inode, size, Infinity, 0);
  return yield* unmapAgain(inode, first);
}

/**
 * Unmaps the whole pages of a hole of the bytes [from, to), private copies excepted. A hole that ends within the first page of the file unmaps
 * everything behind its start: Linux computes the last byte of the last whole page as −1, which it takes for the largest number.
 */
export function* unmapHole(inode: InodeRef, from: number, to: number): Op<number> {
  const size = 2 ** pageShift;
  return yield* unmapMappingRange(inode, Math.ceil(from / size), to < size ? LAST_INDEX : Math.floor(to / size), 0);
}

/** truncate_pagecache_range: a hole of the bytes [from, to). Private copies of its pages stay. */
export function* truncatePagecacheRange(inode: InodeRef, from: number, to: number): Op<number> {
  yield* unmapHole(inode, from, to);
  return yield* truncateInodePagesRange(inode, from, to, 0);
}
