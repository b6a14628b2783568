/**
 * Regular files of a disk, as ext4 with blocks of a page treats them (fs/ext4: inode.c, extents.c, file.c; mm/page-writeback.c).
 *
 * Invariants: a page that may be written through a mapping has a block; the bytes behind the end of the file in its last page are zeroed before the
 * size grows over them; what leaves the page cache without being truncated was written to its block. Reading and writing take no time.
 */

import type { Op } from '../kernel/op.ts';
import {
  clearFlags,
  downRead,
  downWrite,
  entryGet,
  flushTlbRange,
  folioLock,
  folioTrylock,
  folioUnlock,
  get,
  set,
  spinUnlock,
  switched,
  upRead,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapcount, pageMapping, pageRefcount, pageShift } from '../memory/state.ts';
import { PTE_DIRTY } from '../pagetable/canonical.ts';
import { ptepGetAndClear, setPteAt } from './contpte.ts';
import { blockState, findBlock, freeBlocks, preallocateBlocks, reserveBlock, shiftBlocks, writeBlock } from './disk-block.ts';
import { EEXIST, EFBIG, EINVAL, ENOSPC, ENXIO, EOPNOTSUPP } from './errno.ts';
import {
  BLOCK_UNWRITTEN,
  EXT4_MAX_BYTES,
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  SEEK_DATA,
} from './file-types.ts';
import { filemapGetEntry, filemapIsUptodate, filemapLockFolio, filemapRemoveFolio, LAST_INDEX, pageCacheEntry, pageCacheFind } from './filemap.ts';
import { folioOrder, setFolioOrder } from './folio-order.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { pteClear, pteDirty, pteLockptr, ptePage, ptePresent, pteWrite, pteWrprotect } from './pgtable.ts';
import { lockedPtePointer } from './pgtable-generic.ts';
import { readPage } from './readahead.ts';
import { vmaAddress } from './rmap.ts';
import { folioMarkDirty, folioPut } from './swap.ts';
import { truncateInodePagesRange, truncatePagecache, truncatePagecacheRange, zeroSegment } from './truncate.ts';
import { File, type FileRef, Inode, type InodeRef, type Page, Vma, type VmaRef } from './types.ts';
import { VM_SHARED } from './vm-flags.ts';
import { VM_FAULT_LOCKED, VM_FAULT_NOPAGE, Vmf, type VmfRef } from './vmf.ts';

/** EXT4_MAX_PAGECACHE_ORDER with blocks of a page. */
const MAX_FOLIO_ORDER = 11;
/** Bytes that the disk has no room for. */
const MAX_PREALLOCATION = 2 ** 36;

/** First page behind a number of bytes. */
const pagesUp = (bytes: number): number => Math.ceil(bytes / 2 ** pageShift);
const pageDown = (bytes: number): number => Math.floor(bytes / 2 ** pageShift);

/** The page at an index, read when it was not cached, locked and referenced; or −ENOMEM. */
export function* diskGetPage(inode: InodeRef, index: number): Op<number> {
  for (;;) {
    const cached = yield* filemapLockFolio(inode, index);
    if (cached !== 0) return cached;
    const page = yield* readPage(inode, index, GFP_HIGHUSER_MOVABLE);
    if (page !== -EEXIST) return page;
  }
}

// --- writing ----------------------------------------------------------------------------------------------------------------

/**
 * ext4_da_write_begin: the page of a write of `length` bytes at a position, locked and referenced, with a block; or −ENOMEM. Where nothing is cached
 * a folio as large as the write, its alignment and what is cached around allow is made.
 */
export function* diskWriteBegin(inode: InodeRef, position: number, length: number): Op<number> {
  const index = pageDown(position);
  let page = yield* filemapLockFolio(inode, index);
  if (page === 0) {
    const error = yield* makeFolio(inode, index, Math.floor(Math.log2(Math.max(1, length / 2 ** pageShift))));
    if (error !== 0) return error;
    page = yield* diskGetPage(inode, index);
    if (page < 0) return page;
  }
  reserveBlock(inode, index);
  return page;
}

/** __filemap_get_folio with FGP_CREAT: pages of a folio of at most an order at an index. 0 or −ENOMEM. */
export function* makeFolio(inode: InodeRef, index: number, wanted: number): Op<number> {
  let order = Math.min(wanted, MAX_FOLIO_ORDER);
  while (index % 2 ** order !== 0) order--;
  while (order > 0 && pageCacheFind(inode, index, index + 2 ** order - 1) >= 0) order--;
  let made = 0;
  while (made < 2 ** order) {
    const page = yield* readPage(inode, index + made, GFP_HIGHUSER_MOVABLE);
    if (page < 0) {
      if (made === 0 && page !== -EEXIST) return page;
      // Not as large as it could have been.
      return 0;
    }
    yield* folioUnlock(page);
    yield* folioPut(page);
    made++;
  }
  setFolioOrder(inode, index, order);
  return 0;
}

/** ext4_da_write_end: `copied` bytes were written to the page. */
export function* diskWriteEnd(inode: InodeRef, page: Page, position: number, copied: number): Op<number> {
  const old = get(inode, Inode.size);
  if (position + copied > old) set(inode, Inode.size, position + copied);
  if (copied > 0) yield* folioMarkDirty(page);
  yield* folioUnlock(page);
  yield* folioPut(page);
  // What a mapping has left behind the old end must not become content.
  if (position > old) yield* zeroTail(inode, old, position);
  return copied;
}

/** Zeroes from the old end of a file to `to`, at most to the end of its page. */
function* zeroTail(inode: InodeRef, old: number, to: number): Op<number> {
  const index = pageDown(old);
  const from = old - index * 2 ** pageShift;
  if (from === 0 || to <= old) return 0;
  const page = yield* filemapLockFolio(inode, index);
  if (page === 0) return 0;
  zeroSegment(page, from, Math.min(to - index * 2 ** pageShift, 2 ** pageShift));
  yield* folioMarkDirty(page);
  yield* folioUnlock(page);
  return yield* folioPut(page);
}

/** ext4_page_mkwrite: a page of a shared mapping is about to be written for the first time; it gets a block and is dirty. */
export function* diskPageMkwrite(vmf: VmfRef): Op<number> {
  const inode = get(get(get(vmf, Vmf.vma), Vma.file), File.inode);
  const page = get(vmf, Vmf.page);
  yield* downRead(inode + Inode.invalidateLock);
  yield* folioLock(page);
  const index = pageIndex[page];
  if (pageMapping[page] !== inode || index >= pagesUp(get(inode, Inode.size))) {
    // It was truncated meanwhile: the access starts again.
    yield* folioUnlock(page);
    yield* upRead(inode + Inode.invalidateLock);
    return VM_FAULT_NOPAGE;
  }
  reserveBlock(inode, index);
  yield* folioMarkDirty(page);
  yield* upRead(inode + Inode.invalidateLock);
  return VM_FAULT_LOCKED;
}

// --- writeback --------------------------------------------------------------------------------------------------------------

/** page_mkclean: no entry of a shared mapping lets anybody write to a locked page unnoticed; 1 when one was dirty. */
export function* folioMkclean(page: Page): Op<number> {
  const inode = pageMapping[page];
  const index = pageIndex[page];
  let cleaned = 0;
  if (pageMapcount[page] === 0) return 0;
  yield* downRead(inode + Inode.iMmapLock);
  let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, index, index);
  while (vma !== 0) {
    if ((get(vma, Vma.flags) & VM_SHARED) !== 0) cleaned |= yield* mkcleanOne(page, vma, vmaAddress(vma, index));
    vma = vmaIntervalTreeIterNext(vma, index, index);
  }
  yield* upRead(inode + Inode.iMmapLock);
  return cleaned;
}

function* mkcleanOne(page: Page, vma: VmaRef, vpn: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const ptep = yield* lockedPtePointer(mm, vpn);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  let cleaned = 0;
  const seen = yield* entryGet(ptep, 0);
  if (ptePresent(seen) && ptePage(seen) === page && (pteDirty(seen) || pteWrite(seen))) {
    // In one step (ptep_clear_flush): a store until then leaves its dirty bit.
    const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
    if (!switched(SW.mkcleanNoFlush)) yield* flushTlbRange(mm, vpn, vpn + 1);
    yield* setPteAt(mm, vpn, ptep, pteClear(pteWrprotect(pte), PTE_DIRTY));
    cleaned = 1;
  }
  yield* spinUnlock(lock);
  return cleaned;
}

/** Writes a locked page to its block when it is dirty (folio_clear_dirty_for_io and ext4_writepages for one page). */
export function* writebackFolio(inode: InodeRef, page: Page): Op<number> {
  if ((yield* folioMkclean(page)) !== 0) yield* folioMarkDirty(page);
  if (((yield* clearFlags(page, PG_DIRTY)) & PG_DIRTY) === 0) return 0;
  const size = 2 ** pageShift;
  const end = get(inode, Inode.size) - pageIndex[page] * size;
  if (end < size) zeroSegment(page, Math.max(0, end), size);
  // A hole's page can only have been zeroed.
  if (blockState(inode, pageIndex[page]) !== 0) writeBlock(inode, page);
  return 0;
}

/** filemap_write_and_wait_range for pages [from, end), and what belongs to the folio of the first. */
export function* diskWriteback(inode: InodeRef, from: number, end: number): Op<number> {
  const first = from - (from % 2 ** folioOrder(pageCacheEntry(inode, from)));
  for (let index = pageCacheFind(inode, first, end - 1); index >= 0; index = pageCacheFind(inode, index + 1, end - 1)) {
    const page = yield* filemapLockFolio(inode, index);
    if (page === 0) continue;
    yield* writebackFolio(inode, page);
    yield* folioUnlock(page);
    yield* folioPut(page);
  }
  return 0;
}

/** invalidate_mapping_pages: clean pages of [first, end) that nobody maps leave the cache. */
export function* diskInvalidate(inode: InodeRef, first: number, end: number): Op<number> {
  for (let index = pageCacheFind(inode, first, end - 1); index >= 0; index = pageCacheFind(inode, index + 1, end - 1)) {
    const page = yield* filemapGetEntry(inode, index);
    if (page <= 0) continue;
    const folio = index - (index % 2 ** folioOrder(page));
    const behind = folio + 2 ** folioOrder(page);
    // Folios that lie only partly in the range stay, and so do those that anybody uses a part of.
    const whole = folio >= first && behind <= end && folioIsIdle(inode, behind, index);
    if (whole && (yield* folioTrylock(page)) !== 0) {
      yield* diskReleasePage(inode, page);
      yield* folioUnlock(page);
    }
    yield* folioPut(page);
  }
  return 0;
}

/** Whether no page of a folio from `index` on is mapped or dirty (the pages before it have been released). */
function folioIsIdle(inode: InodeRef, end: number, index: number): boolean {
  for (let at = index; at < end; at++) {
    const page = pageCacheEntry(inode, at);
    if (page > 0 && (pageMapcount[page] !== 0 || (pageFlags[page] & PG_DIRTY) !== 0)) return false;
  }
  return true;
}

/** mapping_evict_folio: a locked page to which the caller holds one reference leaves the cache if it is clean and unused; 1 when it did. */
export function* diskReleasePage(inode: InodeRef, page: Page): Op<number> {
  if (pageMapping[page] !== inode || pageMapcount[page] !== 0 || pageRefcount[page] !== 2) return 0;
  if ((pageFlags[page] & PG_DIRTY) !== 0) return 0;
  yield* filemapRemoveFolio(inode, page, pageIndex[page]);
  return 1;
}

// --- size, holes ------------------------------------------------------------------------------------------------------------

/** ext4_setattr of the size. Needs the inode's lock. */
export function* diskSetSize(inode: InodeRef, bytes: number): Op<number> {
  const old = get(inode, Inode.size);
  yield* downWrite(inode + Inode.invalidateLock);
  if (bytes > old) yield* zeroTail(inode, old, bytes);
  else yield* readPartial(inode, bytes);
  set(inode, Inode.size, bytes);
  if (bytes <= old) {
    yield* truncatePagecache(inode, bytes);
    yield* removeSpace(inode, pagesUp(bytes), LAST_INDEX);
  }
  yield* upWrite(inode + Inode.invalidateLock);
  return 0;
}

/** ext4_evict_inode of a file without name. */
export function* diskEvictInode(inode: InodeRef): Op<number> {
  yield* truncateInodePagesRange(inode, 0, Infinity, 0);
  freeBlocks(inode, 0, LAST_INDEX);
  return 0;
}

/** ext4_fallocate: `length` bytes from `offset` on; a size above `limit` is refused. Needs the inode's lock. */
export function* diskFallocate(inode: InodeRef, mode: number, offset: number, length: number, limit: number): Op<number> {
  const known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE;
  if ((mode & ~known) !== 0) return -EOPNOTSUPP;
  if ((mode & FALLOC_FL_PUNCH_HOLE) !== 0) return yield* punchHole(inode, offset, offset + length);
  if ((mode & FALLOC_FL_COLLAPSE_RANGE) !== 0) return yield* collapseRange(inode, offset, length);
  if ((mode & FALLOC_FL_INSERT_RANGE) !== 0) return yield* insertRange(inode, offset, length);
  const end = offset + length;
  if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && end > get(inode, Inode.size) && end > limit) return -EFBIG;
  if (length > MAX_PREALLOCATION) return -ENOSPC;
  if ((mode & FALLOC_FL_ZERO_RANGE) !== 0) {
    yield* downWrite(inode + Inode.invalidateLock);
    yield* readPartial(inode, offset);
    yield* readPartial(inode, end);
    yield* truncatePagecacheRange(inode, offset, end);
    preallocateBlocks(inode, pagesUp(offset), pageDown(end), 0);
    yield* upWrite(inode + Inode.invalidateLock);
  }
  preallocateBlocks(inode, pageDown(offset), pagesUp(end), 1);
  const old = get(inode, Inode.size);
  if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && end > old) {
    yield* zeroTail(inode, old, end);
    set(inode, Inode.size, end);
  }
  return 0;
}

/** ext4_punch_hole. */
function* punchHole(inode: InodeRef, offset: number, to: number): Op<number> {
  const size = get(inode, Inode.size);
  if (offset >= size) return 0;
  const end = to > size ? pagesUp(size) * 2 ** pageShift : to;
  // Nobody reads a page between its removal and that of its block: it would hold what the block held.
  const locked = !switched(SW.punchNoInvalidateLock);
  if (locked) yield* downWrite(inode + Inode.invalidateLock);
  yield* readPartial(inode, offset);
  yield* readPartial(inode, end);
  yield* truncatePagecacheRange(inode, offset, end);
  yield* removeSpace(inode, pagesUp(offset), pageDown(end));
  if (locked) yield* upWrite(inode + Inode.invalidateLock);
  return 0;
}

/** ext4_ext_remove_space under i_data_sem: blocks from `first` up to and without `end` go. Readers find blocks without that lock (extents_status.c). */
function* removeSpace(inode: InodeRef, first: number, end: number): Op<number> {
  yield* downWrite(inode + Inode.dataLock);
  freeBlocks(inode, first, end);
  return yield* upWrite(inode + Inode.dataLock);
}

/** Brings the page of an unaligned position that has a block into the cache: a part of it is going to be zeroed, which needs its content. */
function* readPartial(inode: InodeRef, position: number): Op<number> {
  const index = pageDown(position);
  if (position === index * 2 ** pageShift || blockState(inode, index) === 0 || pageCacheEntry(inode, index) !== 0) return 0;
  const page = yield* diskGetPage(inode, index);
  if (page < 0) return page;
  yield* folioUnlock(page);
  return yield* folioPut(page);
}

/** Whether a position is that of a block. */
const aligned = (position: number): boolean => position === pageDown(position) * 2 ** pageShift;

/** ext4_collapse_range: what follows moves down over the range. */
function* collapseRange(inode: InodeRef, offset: number, length: number): Op<number> {
  const size = get(inode, Inode.size);
  if (!aligned(offset) || !aligned(length)) return -EINVAL;
  if (offset + length >= size) return -EINVAL;
  yield* downWrite(inode + Inode.invalidateLock);
  yield* diskWriteback(inode, pageDown(offset), LAST_INDEX);
  yield* truncatePagecache(inode, offset);
  const pages = pageDown(length);
  freeBlocks(inode, pageDown(offset), pageDown(offset) + pages);
  shiftBlocks(inode, pageDown(offset) + pages, lastBlock(inode), -pages);
  set(inode, Inode.size, size - length);
  yield* upWrite(inode + Inode.invalidateLock);
  return 0;
}

/** ext4_insert_range: what follows moves up, a hole is left. */
function* insertRange(inode: InodeRef, offset: number, length: number): Op<number> {
  const size = get(inode, Inode.size);
  if (!aligned(offset) || !aligned(length)) return -EINVAL;
  if (length > EXT4_MAX_BYTES - size) return -EFBIG;
  if (offset >= size) return -EINVAL;
  yield* downWrite(inode + Inode.invalidateLock);
  yield* diskWriteback(inode, pageDown(offset), LAST_INDEX);
  yield* truncatePagecache(inode, offset);
  set(inode, Inode.size, size + length);
  shiftBlocks(inode, pageDown(offset), lastBlock(inode), pageDown(length));
  yield* upWrite(inode + Inode.invalidateLock);
  return 0;
}

/** Highest block that is no hole, −1 if none. */
function lastBlock(inode: InodeRef): number {
  let last = -1;
  for (let index = findBlock(inode, 0, LAST_INDEX); index >= 0; index = findBlock(inode, index + 1, LAST_INDEX)) last = index;
  return last;
}

// --- holes and data ---------------------------------------------------------------------------------------------------------

/** Whether a page of the file is data for lseek(): written, or preallocated and cached. */
function isData(inode: InodeRef, index: number): boolean {
  const state = blockState(inode, index);
  return state === BLOCK_UNWRITTEN ? filemapIsUptodate(inode, index) : state !== 0;
}

/** iomap_seek_data, iomap_seek_hole: −ENXIO at or behind the end, or where no data follows. */
export function diskSeek(inode: InodeRef, offset: number, whence: number): number {
  const size = get(inode, Inode.size);
  if (!(offset >= 0 && offset < size)) return -ENXIO;
  const end = pagesUp(size);
  const wanted = whence === SEEK_DATA;
  for (let index = pageDown(offset); index < end; index++) {
    if (wanted) {
      // Holes may be long: on to the next block.
      const next = findBlock(inode, index, end - 1);
      if (next < 0) return -ENXIO;
      index = next;
    }
    if (isData(inode, index) === wanted) return Math.max(offset, index * 2 ** pageShift);
  }
  return wanted ? -ENXIO : size;
}

/** fsync(2) of a disk file. */
export function* diskFsync(file: FileRef): Op<number> {
  return yield* diskWriteback(get(file, File.inode), 0, LAST_INDEX);
}
