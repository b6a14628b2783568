/**
 * Faults on file mappings: the page of a disk file, and mapping what is cached around (mm/filemap.c: filemap_fault, filemap_map_pages).
 *
 * Invariants: a page is mapped only while it is locked, belongs to the file and lies within its size. VM_FAULT_RETRY means that the lock which the
 * fault came with (the mmap lock, or the VMA's with FAULT_FLAG_VMA_LOCK) is released.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { downRead, entryGet, folioLock, folioTrylock, folioUnlock, get, refAdd, refGetUnlessZero, set, spinUnlock, switched, upRead } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioTestLarge } from '../memory/folio.ts';
import { PG_HWPOISON, PG_LOCKED, PG_READAHEAD, PG_UPTODATE } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapping, pageShift } from '../memory/state.ts';
import { ENOMEM } from './errno.ts';
import { fileGet, filePut } from './file.ts';
import { filemapGetEntry, folioFilePage, folioLeft, mayMapWhole, pageCacheEntry, pageCacheFind } from './filemap.ts';
import { doSetPmd, pmdTransHuge } from './huge-memory.ts';
import { hasPmdLeaves, maxPageCacheOrder, pmdOrder } from './huge-orders.ts';
import { fitsTable, setPteRange, vmfLockPte } from './memory.ts';
import { addMmCounter, fileCounter } from './mm-counters.ts';
import { releaseFaultLock } from './mmap-lock.ts';
import { pteLockptr } from './pgtable.ts';
import { pageCacheAsyncRa, pageCacheSyncRa, readAheadPages, readAround, readFolio, readHuge } from './readahead.ts';
import { folioPut } from './swap.ts';
import { File, type FileRef, Inode, type InodeRef, type Page, Vma } from './types.ts';
import { VM_EXEC, VM_HUGEPAGE, VM_RAND_READ, VM_SEQ_READ } from './vm-flags.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_TRIED,
  faultGfp,
  VM_FAULT_LOCKED,
  VM_FAULT_MAJOR,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  Vmf,
  type VmfRef,
} from './vmf.ts';

/** Faults without a hit after which nothing is read around any more (MMAP_LOTSAMISS). */
const MMAP_LOTSAMISS = 100;

const pagesInFile = (inode: InodeRef): number => Math.ceil(get(inode, Inode.size) / 2 ** pageShift);

/** maybe_unlock_mmap_for_io: releases the fault's lock before something that may take long; 1 when that is done, now or before; the file is
 * then referenced. */
export function* maybeUnlock(vmf: VmfRef, file: FileRef, unlocked: number): Op<number> {
  if (unlocked !== 0) return 1;
  const flags = get(vmf, Vmf.flags);
  if ((flags & (FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_TRIED | FAULT_FLAG_RETRY_NOWAIT)) !== FAULT_FLAG_ALLOW_RETRY) return 0;
  // The file must outlive the mapping, which anybody may now take away.
  yield* fileGet(file);
  yield* releaseFaultLock(vmf);
  return 1;
}

/** do_sync_mmap_readahead: the page is missing. 1 when the fault's lock was released. */
function* syncMmapReadahead(vmf: VmfRef, file: FileRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vmFlags = get(vma, Vma.flags);
  const pgoff = get(vmf, Vmf.pgoff);
  const max = readAheadPages();
  if ((vmFlags & VM_HUGEPAGE) !== 0 && hasPmdLeaves() && pmdOrder() <= maxPageCacheOrder()) {
    const released = yield* maybeUnlock(vmf, file, 0);
    yield* readHuge(file, pgoff, (vmFlags & VM_RAND_READ) === 0 ? 0 : 1);
    return released;
  }
  if ((vmFlags & (VM_RAND_READ | VM_EXEC)) === VM_RAND_READ) return 0;
  if ((vmFlags & VM_SEQ_READ) !== 0) {
    const released = yield* maybeUnlock(vmf, file, 0);
    yield* pageCacheSyncRa(file, pgoff, max);
    return released;
  }
  let missed = get(file, File.raMmapMiss);
  if (missed < MMAP_LOTSAMISS * 10) {
    missed++;
    set(file, File.raMmapMiss, missed);
  }
  if (missed > MMAP_LOTSAMISS) return 0;
  let start = Math.max(0, pgoff - Math.floor(max / 2));
  let size = max;
  let asyncSize = Math.floor(max / 4);
  if ((vmFlags & VM_EXEC) !== 0) {
    // Code is entered anywhere and read onwards: from here to the end of the mapping.
    const end = get(vma, Vma.pgoff) + get(vma, Vma.end) - get(vma, Vma.start);
    start = pgoff;
    size = Math.min(pgoff + max, end) - pgoff;
    asyncSize = 0;
  }
  const released = yield* maybeUnlock(vmf, file, 0);
  yield* readAround(file, start, size, asyncSize);
  return released;
}

/** do_async_mmap_readahead: the page is there. 1 when the fault's lock was released. */
function* asyncMmapReadahead(vmf: VmfRef, file: FileRef, page: Page): Op<number> {
  if ((get(get(vmf, Vmf.vma), Vma.flags) & VM_RAND_READ) !== 0) return 0;
  const missed = get(file, File.raMmapMiss);
  if (missed > 0) set(file, File.raMmapMiss, missed - 1);
  if ((pageFlags[page] & PG_READAHEAD) === 0) return 0;
  const pgoff = get(vmf, Vmf.pgoff);
  const released = yield* maybeUnlock(vmf, file, 0);
  yield* pageCacheAsyncRa(file, pgoff, readAheadPages());
  return released;
}

/** filemap_fault: the page of a disk file. */
export function* filemapFault(vmf: VmfRef): Op<number> {
  const file = get(get(vmf, Vmf.vma), Vma.file);
  const inode = get(file, File.inode);
  const pgoff = get(vmf, Vmf.pgoff);
  const flags = get(vmf, Vmf.flags);
  if (pgoff >= pagesInFile(inode)) return VM_FAULT_SIGBUS;
  let result = 0;
  let released = 0;
  let page = yield* filemapGetEntry(inode, pgoff);
  if (page > 0) {
    if ((flags & FAULT_FLAG_TRIED) === 0) released = yield* asyncMmapReadahead(vmf, file, page);
  } else {
    result = VM_FAULT_MAJOR;
    released = yield* syncMmapReadahead(vmf, file);
  }
  let reading = 0;
  for (;;) {
    if (page <= 0) {
      // Nobody punches a hole while a page is being read.
      if (reading === 0) {
        yield* downRead(inode + Inode.invalidateLock);
        reading = 1;
      }
      page = yield* filemapGetEntry(inode, pgoff);
      if (page <= 0) {
        const fresh = yield* readFolio(inode, pgoff, 0, faultGfp(vmf, 0));
        if (fresh === -ENOMEM) {
          yield* upRead(inode + Inode.invalidateLock);
          return yield* leave(file, released, VM_FAULT_OOM);
        }
        if (fresh < 0) continue;
        page = fresh;
        yield* folioUnlock(page);
        released = yield* maybeUnlock(vmf, file, released);
        if (released !== 0) break;
      }
    }
    if ((yield* folioTrylock(page)) === 0) {
      if ((flags & FAULT_FLAG_RETRY_NOWAIT) !== 0) break;
      released = yield* maybeUnlock(vmf, file, released);
      yield* folioLock(page);
    }
    if (folioLeft(inode, page)) {
      yield* folioUnlock(page);
      yield* folioPut(page);
      page = 0;
      continue;
    }
    if (released !== 0) {
      yield* folioUnlock(page);
      break;
    }
    if (reading !== 0) yield* upRead(inode + Inode.invalidateLock);
    if (pgoff >= pagesInFile(inode)) {
      yield* folioUnlock(page);
      yield* folioPut(page);
      return VM_FAULT_SIGBUS;
    }
    set(vmf, Vmf.page, folioFilePage(page, pgoff));
    return result | VM_FAULT_LOCKED;
  }
  // The lock was released on the way: the fault starts again and finds the page.
  yield* folioPut(page);
  if (reading !== 0) yield* upRead(inode + Inode.invalidateLock);
  return yield* leave(file, released, result | VM_FAULT_RETRY);
}

/** The end of a fault that ends without a page. */
function* leave(file: FileRef, released: number, result: number): Op<number> {
  if (released === 0) return result;
  yield* filePut(file);
  return result | VM_FAULT_RETRY;
}

/** next_uptodate_folio: whether a page may be mapped without asking; if so it is locked and referenced. */
function* takeUptodate(inode: InodeRef, index: number): Op<number> {
  const page = pageCacheEntry(inode, index);
  if (page <= 0 || (yield* refGetUnlessZero(page)) === 0) return 0;
  if (
    (pageCacheEntry(inode, index) === page || switched(SW.mapPagesNoReload)) &&
    (pageFlags[page] & (PG_LOCKED | PG_UPTODATE | PG_READAHEAD | PG_HWPOISON)) === PG_UPTODATE
  ) {
    if ((yield* folioTrylock(page)) !== 0) {
      const left = pageMapping[page] !== inode && !switched(SW.mapPagesNoMappingCheck);
      if (!left && (pageFlags[page] & PG_UPTODATE) !== 0 && index < pagesInFile(inode)) return page;
      yield* folioUnlock(page);
    }
  }
  yield* folioPut(page);
  return 0;
}

/** filemap_map_pmd: one entry maps a folio as a whole, or others have done that by now; 0 when it is to be done by entries of the lowest level. Keeps or puts the reference. */
function* filemapMapPmd(vmf: VmfRef, folio: Page): Op<number> {
  const pmd = yield* entryGet(get(vmf, Vmf.pmdp), 1);
  if (pmdTransHuge(pmd)) {
    yield* folioUnlock(folio);
    yield* folioPut(folio);
    return 1;
  }
  if (pmd !== 0 || (yield* doSetPmd(vmf, folio)) !== 0) return 0;
  yield* folioUnlock(folio);
  return 1;
}

/** filemap_map_folio_range: maps the pages of a large folio from `index` to `last` where no entry stands; 1 when the faulting page is one of them. */
function* mapFolioRange(vmf: VmfRef, folio: Page, ptep: number, index: number, last: number): Op<number> {
  const pgoff = get(vmf, Vmf.pgoff);
  const stride = entryStride(0);
  let mapped = 0;
  let hit = 0;
  for (let at = index; at <= last; ) {
    let end = at;
    while (end <= last && (yield* entryGet(ptep + (end - pgoff) * stride, 0)) === 0) end++;
    if (end === at) {
      at++;
      continue;
    }
    // The reference that was taken is the first mapping's.
    yield* refAdd(folio, mapped === 0 ? end - at - 1 : end - at);
    yield* setPteRange(vmf, folioFilePage(folio, at), ptep + (at - pgoff) * stride, get(vmf, Vmf.vpn) + at - pgoff, end - at);
    if (pgoff >= at && pgoff < end) hit = 1;
    mapped += end - at;
    at = end;
  }
  if (mapped > 0) yield* addMmCounter(get(vmf, Vmf.mm), fileCounter(folio), mapped);
  yield* folioUnlock(folio);
  if (mapped === 0) yield* folioPut(folio);
  return hit;
}

/** filemap_map_pages: maps what is cached of pages [first, last] and the rest of large folios where no entry stands. VM_FAULT_NOPAGE when the faulting page was mapped. */
export function* filemapMapPages(vmf: VmfRef, first: number, last: number): Op<number> {
  const inode = get(get(get(vmf, Vmf.vma), Vma.file), File.inode);
  const pgoff = get(vmf, Vmf.pgoff);
  const end = Math.min(last, pagesInFile(inode) - 1);
  let index = pageCacheFind(inode, first, end);
  if (index < 0) return 0;
  let page = 0;
  // The first page that can be mapped decides that there is a table at all.
  while (index >= 0) {
    page = yield* takeUptodate(inode, index);
    if (page !== 0) break;
    index = index < end ? pageCacheFind(inode, index + 1, end) : -1;
  }
  if (page === 0) return 0;
  if (folioTestLarge(page) && mayMapWhole(inode, page) && (yield* filemapMapPmd(vmf, page)) !== 0) return VM_FAULT_NOPAGE;
  const stride = entryStride(0);
  const ptep = yield* vmfLockPte(vmf);
  if (ptep === 0) {
    yield* folioUnlock(page);
    yield* folioPut(page);
    return VM_FAULT_NOPAGE;
  }
  const lock = pteLockptr(ptep);
  let result = 0;
  while (page !== 0) {
    const at = ptep + (index - pgoff) * stride;
    if (folioTestLarge(page)) {
      const from = index;
      const next = pageIndex[page] + compoundPages(page);
      index = Math.min(end, next - 1);
      const whole = mayMapWhole(inode, page) && fitsTable(vmf, pgoff - pageIndex[page], compoundPages(page));
      if ((yield* mapFolioRange(vmf, page, ptep, whole ? pageIndex[page] : from, whole ? next - 1 : index)) !== 0) result = VM_FAULT_NOPAGE;
    } else if ((yield* entryGet(at, 0)) === 0) {
      // The reference that was taken is the mapping's.
      yield* setPteRange(vmf, page, at, get(vmf, Vmf.vpn) + index - pgoff, 1);
      yield* addMmCounter(get(vmf, Vmf.mm), fileCounter(page), 1);
      if (index === pgoff) result = VM_FAULT_NOPAGE;
      yield* folioUnlock(page);
    } else {
      yield* folioUnlock(page);
      yield* folioPut(page);
    }
    page = 0;
    while (page === 0 && index < end) {
      index = pageCacheFind(inode, index + 1, end);
      if (index < 0) break;
      page = yield* takeUptodate(inode, index);
    }
  }
  yield* spinUnlock(lock);
  return result;
}
