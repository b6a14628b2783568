/**
 * Regular files of a disk, as ext4 with blocks of a page treats them (fs/ext4: inode.c, extents.c, file.c; mm/page-writeback.c).
 *
 * Invariants: a page that may be written through a mapping has a block; the bytes behind the end of the file in its last page are zeroed before the
 * size grows over them; what leaves the page cache without being truncated was written to its block. Reading and writing take no time.
 */
import { entryEnd, entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  downRead,
  downWrite,
  entryGet,
  entryGetAndClear,
  entrySet,
  flushTlbRange,
  folioLock,
  folioTrylock,
  folioUnlock,
  get,
  set,
  spinLock,
  spinUnlock,
  switched,
  upRead,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioMapcount, folioTestLarge, pageFolio, subPage } from '../memory/folio.ts';
import { GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapping, pageRefcount, pageShift } from '../memory/state.ts';
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
import {
  filemapGetEntry,
  filemapIsUptodate,
  filemapLockFolio,
  filemapRemoveFolio,
  folioFilePage,
  LAST_INDEX,
  pageCacheEntry,
  pageCacheFind,
} from './filemap.ts';
import { blockDirty, cleanFolio, commitBlocks } from './folio-buffers.ts';
import { pmdTransHuge } from './huge-memory.ts';
import { maxPageCacheOrder } from './huge-orders.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { mapsPartOf, partEnd, partStart } from './page-vma-mapped.ts';
import { entryPointer, pteClear, pteDirty, pteLockptr, ptePage, pteWrite, pteWrprotect } from './pgtable.ts';
import { pmdLockptr, pteOffsetMapLock } from './pgtable-generic.ts';
import { fitOrder, readFolio } from './readahead.ts';
import { folioMarkDirty, folioPut } from './swap.ts';
import { truncateInodePagesRange, truncatePagecache, truncatePagecacheRange, zeroSegment } from './truncate.ts';
import { File, type FileRef, Inode, type InodeRef, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_SHARED } from './vm-flags.ts';
import { VM_FAULT_LOCKED, VM_FAULT_NOPAGE, Vmf, type VmfRef } from './vmf.ts';

/** Bytes that the disk has no room for. */
const MAX_PREALLOCATION = 2 ** 36;

/** First page behind a number of bytes. */
const pagesUp = (bytes: number): number => Math.ceil(bytes / 2 ** pageShift);
const pageDown = (bytes: number): number => Math.floor(bytes / 2 ** pageShift);

/** The folio at an index, a page that is read when nothing was cached, locked and referenced; or −ENOMEM. */
export function* diskGetFolio(inode: InodeRef, index: number): Op<number> {
  for (;;) {
    const cached = yield* filemapLockFolio(inode, index);
    if (cached !== 0) return cached;
    const page = yield* readFolio(inode, index, 0, GFP_HIGHUSER_MOVABLE);
    if (page !== -EEXIST) return page;
  }
}

// --- writing ----------------------------------------------------------------------------------------------------------------

/**
 * ext4_da_write_begin: the folio of a write of `length` bytes at a position, locked and referenced, with blocks where it will be written; or −ENOMEM. Where nothing is
 * cached a folio as large as the write, its alignment and what is cached around allow is made.
 */
export function* diskWriteBegin(inode: InodeRef, position: number, length: number): Op<number> {
  const index = pageDown(position);
  for (;;) {
    let folio = yield* filemapLockFolio(inode, index);
    if (folio === 0) folio = yield* makeFolio(inode, index, Math.floor(Math.log2(Math.max(1, length / 2 ** pageShift))));
    if (folio === -EEXIST) continue;
    if (folio < 0) return folio;
    const end = Math.min(pagesUp(position + length), pageIndex[folio] + compoundPages(folio));
    for (let at = index; at < end; at++) reserveBlock(inode, at);
    return folio;
  }
}

/** __filemap_get_folio with FGP_CREAT: a new folio of at most an order at an index, locked and referenced; −EEXIST, −ENOMEM. */
function* makeFolio(inode: InodeRef, index: number, wanted: number): Op<number> {
  let order = fitOrder(index, Infinity, Math.min(wanted, maxPageCacheOrder()));
  for (;;) {
    const folio = yield* readFolio(inode, index, order, GFP_HIGHUSER_MOVABLE);
    if (folio > 0 || order === 0) return folio;
    order--;
  }
}

/** ext4_da_write_end: `copied` bytes were written to the folio. */
export function* diskWriteEnd(inode: InodeRef, folio: Page, position: number, copied: number): Op<number> {
  const old = get(inode, Inode.size);
  if (position + copied > old) set(inode, Inode.size, position + copied);
  if (copied > 0) yield* commitBlocks(folio, pageDown(position) - pageIndex[folio], pagesUp(position + copied) - pageIndex[folio]);
  yield* folioUnlock(folio);
  yield* folioPut(folio);
  // What a mapping has left behind the old end must not become content.
  if (position > old) yield* zeroTail(inode, old, position);
  return copied;
}

/** Zeroes from the old end of a file to `to`, at most to the end of its page. */
function* zeroTail(inode: InodeRef, old: number, to: number): Op<number> {
  const index = pageDown(old);
  const from = old - index * 2 ** pageShift;
  if (from === 0 || to <= old) return 0;
  const folio = yield* filemapLockFolio(inode, index);
  if (folio === 0) return 0;
  return yield* zeroInFolio(folio, index, from, Math.min(to - index * 2 ** pageShift, 2 ** pageShift));
}

/** Zeroes bytes [from, to) of a page of a locked folio, which is unlocked and put. */
function* zeroInFolio(folio: Page, index: number, from: number, to: number): Op<number> {
  zeroSegment(folioFilePage(folio, index), from, to);
  yield* commitBlocks(folio, index - pageIndex[folio], index - pageIndex[folio] + 1);
  yield* folioUnlock(folio);
  return yield* folioPut(folio);
}

/** ext4_page_mkwrite, block_page_mkwrite: a page of a shared mapping is about to be written for the first time; its folio gets blocks and is dirty. */
export function* diskPageMkwrite(vmf: VmfRef): Op<number> {
  const inode = get(get(get(vmf, Vmf.vma), Vma.file), File.inode);
  const folio = pageFolio(get(vmf, Vmf.page));
  yield* downRead(inode + Inode.invalidateLock);
  yield* folioLock(folio);
  const first = pageIndex[folio];
  const end = Math.min(first + compoundPages(folio), pagesUp(get(inode, Inode.size)));
  if (pageMapping[folio] !== inode || first >= end) {
    // It was truncated meanwhile: the access starts again.
    yield* folioUnlock(folio);
    yield* upRead(inode + Inode.invalidateLock);
    return VM_FAULT_NOPAGE;
  }
  for (let index = first; index < end; index++) reserveBlock(inode, index);
  yield* folioMarkDirty(folio);
  yield* upRead(inode + Inode.invalidateLock);
  return VM_FAULT_LOCKED;
}

// --- writeback --------------------------------------------------------------------------------------------------------------

/** folio_mkclean: no entry of a shared mapping lets anybody write to a locked folio unnoticed; 1 when one was dirty. */
export function* folioMkclean(folio: Page): Op<number> {
  const inode = pageMapping[folio];
  if (folioMapcount(folio) === 0) return 0;
  const first = pageIndex[folio];
  const last = first + compoundPages(folio) - 1;
  let cleaned = 0;
  yield* downRead(inode + Inode.iMmapLock);
  let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, first, last);
  while (vma !== 0) {
    if ((get(vma, Vma.flags) & VM_SHARED) !== 0) {
      const to = partEnd(folio, vma);
      let vpn = partStart(folio, vma);
      while (vpn < to) {
        const end = entryEnd(vpn, to, 1);
        cleaned |= yield* mkcleanTable(folio, vma, vpn, end);
        vpn = end;
      }
    }
    vma = vmaIntervalTreeIterNext(vma, first, last);
  }
  yield* upRead(inode + Inode.iMmapLock);
  return cleaned;
}

/** page_vma_mkclean_one for the entries of one table, which map pages [start, end), or the one above them. */
function* mkcleanTable(folio: Page, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const pmdp = yield* entryPointer(mm, start, 1);
  if (pmdp === 0) return 0;
  if (folioTestLarge(folio) && pmdTransHuge(yield* entryGet(pmdp, 1))) return yield* mkcleanPmd(folio, mm, start, pmdp);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  let cleaned = 0;
  for (let vpn = start; vpn < end; vpn++, ptep += entryStride(0)) {
    const seen = yield* entryGet(ptep, 0);
    if (!mapsPartOf(folio, seen) || !(pteDirty(seen) || pteWrite(seen))) continue;
    // In one step (ptep_clear_flush): a store until then leaves its dirty bit.
    const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
    if (!switched(SW.mkcleanNoFlush)) yield* flushTlbRange(mm, vpn, vpn + 1);
    yield* setPteAt(mm, vpn, ptep, pteClear(pteWrprotect(pte), PTE_DIRTY));
    cleaned = 1;
  }
  yield* spinUnlock(lock);
  return cleaned;
}

/** The same for one entry that may map the folio as a whole. */
function* mkcleanPmd(folio: Page, mm: MmRef, vpn: Vpn, pmdp: number): Op<number> {
  const first = vpn - (vpn % spanPages(1));
  const lock = pmdLockptr(mm, pmdp);
  let cleaned = 0;
  yield* spinLock(lock);
  const seen = yield* entryGet(pmdp, 1);
  if (pmdTransHuge(seen) && ptePage(seen) === folio && (pteDirty(seen) || pteWrite(seen))) {
    const pmd = yield* entryGetAndClear(pmdp, 1);
    yield* flushTlbRange(mm, first, first + spanPages(1));
    yield* entrySet(pmdp, 1, pteClear(pteWrprotect(pmd), PTE_DIRTY));
    cleaned = 1;
  }
  yield* spinUnlock(lock);
  return cleaned;
}

/** Writes the dirty blocks of a locked folio (folio_clear_dirty_for_io and ext4_writepages for one folio). */
export function* writebackFolio(inode: InodeRef, folio: Page): Op<number> {
  if ((yield* folioMkclean(folio)) !== 0) yield* folioMarkDirty(folio);
  if ((pageFlags[folio] & PG_DIRTY) === 0) return 0;
  const size = 2 ** pageShift;
  for (let i = 0; i < compoundPages(folio); i++) {
    if (!blockDirty(folio, i)) continue;
    const index = pageIndex[folio] + i;
    const page = subPage(folio, i);
    const end = get(inode, Inode.size) - index * size;
    if (end < size) zeroSegment(page, Math.max(0, end), size);
    // A hole's page can only have been zeroed.
    if (blockState(inode, index) !== 0) writeBlock(inode, index, page);
  }
  return yield* cleanFolio(folio);
}

/** filemap_write_and_wait_range for pages [from, end), and what belongs to the folio of the first. */
export function* diskWriteback(inode: InodeRef, from: number, end: number): Op<number> {
  for (let index = pageCacheFind(inode, from, end - 1); index >= 0; ) {
    const folio = yield* filemapLockFolio(inode, index);
    let next = index + 1;
    if (folio !== 0) {
      next = pageIndex[folio] + compoundPages(folio);
      yield* writebackFolio(inode, folio);
      yield* folioUnlock(folio);
      yield* folioPut(folio);
    }
    index = next < end ? pageCacheFind(inode, next, end - 1) : -1;
  }
  return 0;
}

/** mapping_try_invalidate: clean folios that lie in [first, end) and that nobody uses leave the cache. */
export function* diskInvalidate(inode: InodeRef, first: number, end: number): Op<number> {
  for (let index = pageCacheFind(inode, first, end - 1); index >= 0; ) {
    const folio = yield* filemapGetEntry(inode, index);
    let next = index + 1;
    if (folio > 0) {
      const at = pageIndex[folio];
      next = at + compoundPages(folio);
      if (at >= first && next <= end && (yield* folioTrylock(folio)) !== 0) {
        yield* diskReleaseFolio(inode, folio);
        yield* folioUnlock(folio);
      }
      yield* folioPut(folio);
    }
    index = next < end ? pageCacheFind(inode, next, end - 1) : -1;
  }
  return 0;
}

/** mapping_evict_folio: a locked folio to which the caller holds one reference leaves the cache if it is clean and unused; 1 when it did. */
export function* diskReleaseFolio(inode: InodeRef, folio: Page): Op<number> {
  if (pageMapping[folio] !== inode || folioMapcount(folio) !== 0 || pageRefcount[folio] !== 1 + compoundPages(folio)) return 0;
  if ((pageFlags[folio] & PG_DIRTY) !== 0) return 0;
  yield* filemapRemoveFolio(inode, folio, pageIndex[folio]);
  return 1;
}

// --- size, holes ------------------------------------------------------------------------------------------------------------

/** ext4_setattr of the size. Needs the inode's lock. */
export function* diskSetSize(inode: InodeRef, bytes: number): Op<number> {
  const old = get(inode, Inode.size);
  yield* downWrite(inode + Inode.invalidateLock);
  if (bytes > old) yield* zeroTail(inode, old, bytes);
  set(inode, Inode.size, bytes);
  if (bytes <= old) {
    yield* truncatePagecache(inode, bytes);
    yield* zeroPartial(inode, bytes, Infinity);
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
    yield* truncatePagecacheRange(inode, offset, end);
    yield* zeroPartials(inode, offset, end);
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
  yield* truncatePagecacheRange(inode, offset, end);
  yield* zeroPartials(inode, offset, end);
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

/** ext4_zero_partial_blocks: of the bytes [from, to) those in blocks that lie there only in part. */
function* zeroPartials(inode: InodeRef, from: number, to: number): Op<number> {
  yield* zeroPartial(inode, from, to);
  if (pageDown(to) !== pageDown(from)) yield* zeroPartial(inode, pageDown(to) * 2 ** pageShift, to);
  return 0;
}

/** ext4_block_zero_page_range: the bytes [from, to), as far as they are of the block of the first and not all of it, are zeroed in the cache. Holes stay holes. */
function* zeroPartial(inode: InodeRef, from: number, to: number): Op<number> {
  const index = pageDown(from);
  const begin = from - index * 2 ** pageShift;
  const until = Math.min(to - index * 2 ** pageShift, 2 ** pageShift);
  if (until <= begin || until - begin === 2 ** pageShift || (blockState(inode, index) === 0 && pageCacheEntry(inode, index) === 0)) return 0;
  const folio = yield* diskGetFolio(inode, index);
  return folio < 0 ? folio : yield* zeroInFolio(folio, index, begin, until);
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
