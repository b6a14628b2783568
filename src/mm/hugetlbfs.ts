/**
 * Files of huge pages (fs/hugetlbfs/inode.c; hugetlb_reserve_pages of mm/hugetlb.c).
 *
 * Invariants: sizes of files are whole huge pages, unless fallocate() made them; a page's place in the cache is the index of its first base page; a page that enters
 * the cache has used its reservation for good. What a shared mapping reserves stays reserved as long as the file is that long, whoever unmaps it.
 * Pages leave a file with the fault mutex held, so that no fault can map them meanwhile.
 */
import type { Op } from '../kernel/op.ts';
import { add, clearFlags, downWrite, folioLock, folioUnlock, get, refGetUnlessZero, set, setFlags, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundOrder, folioMapcount, subPage } from '../memory/folio.ts';
import { clearFrames } from '../memory/huge-frames.ts';
import { PG_DIRTY, PG_HUGETLB_RESTORE_RESERVE, PG_UPTODATE } from '../memory/page-flags.ts';
import { allocObject, freeObject, pageMapping, pagePrivate, pageShift, setPagePrivate } from '../memory/state.ts';
import { EFAULT, EINVAL, ENODEV, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM } from './errno.ts';
import { fileAlloc } from './file.ts';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FMODE_READ,
  FMODE_WRITE,
  O_RDWR,
} from './file-types.ts';
import { filemapAddFolio, filemapGetEntry, filemapLockFolio, filemapRemoveFolio, LAST_INDEX, pageCacheEntry, pageCacheFind } from './filemap.ts';
import { restoreReserveOnError } from './hugetlb.ts';
import {
  faultMutex,
  hugetlbVmaLockAlloc,
  hugetlbVmaLockFree,
  hugetlbVmaLockGet,
  hugetlbVmaLockWaitPut,
  hugetlbVmaTrylockWrite,
  hugetlbVmaUnlockWrite,
} from './hugetlb-lock.ts';
import { hugetlbfsInodeGone } from './hugetlb-mount.ts';
import { allocHugetlbFolio, defaultHstate, hstateOfOrder, hugetlb, hugetlbAcctMemory } from './hugetlb-pool.ts';
import {
  HPAGE_RESV_OWNER,
  hugePages,
  regionAbort,
  regionAdd,
  regionChg,
  regionDel,
  resvMapAlloc,
  resvMapPut,
  setVmaResvFlags,
  setVmaResvMap,
} from './hugetlb-resv.ts';
import { inodeSubpool, subpoolGetPages, subpoolPutPages, subpoolUnuse } from './hugetlb-subpool.ts';
import { FAULT_MUTEXES, FaultMutex, type HstateRef, Hugetlb } from './hugetlb-types.ts';
import { unmapHugepageRange } from './hugetlb-vma.ts';
import { freeName, iput, newInode } from './inode.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { folioPut } from './swap.ts';
import { File, type FileRef, Inode, type InodeRef, type MmRef, type NameRef, type Page, Vma, type VmaRef } from './types.ts';
import { byteOf, clearUser, copyToUser, fillBytes } from './uaccess.ts';
import { VM_DONTEXPAND, VM_HUGETLB, VM_MAYSHARE, VM_NORESERVE, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { VMOPS_HUGETLB } from './vm-ops-types.ts';

/** Bytes of a huge page. */
export const hugeBytes = (h: HstateRef): number => hugePages(h) * 2 ** pageShift;

/** hstate_sizelog: the pool of a size by log2 of its bytes, 0 for the default; 0 where there is none. */
export const hstateSizelog = (log: number): HstateRef => (log === 0 ? defaultHstate() : hstateOfOrder(log - pageShift));

// --- reservations of files ----------------------------------------------------------------------------------------------------

/**
 * hugetlb_reserve_pages: reserves the huge pages [from, to) of a file for a mapping (vma 0: for the file itself). A private mapping reserves all of them for itself and gets
 * a map, a shared one those that are not reserved yet. 0 or −ENOMEM.
 */
function* hugetlbReservePages(inode: InodeRef, from: number, to: number, vma: VmaRef, flags: number): Op<number> {
  const shared = vma === 0 || (get(vma, Vma.flags) & VM_MAYSHARE) !== 0;
  if (vma !== 0 && (yield* hugetlbVmaLockAlloc(vma)) !== 0) return -ENOMEM;
  // Pages are had, or not, when they are needed.
  if ((flags & VM_NORESERVE) !== 0) return 0;
  const map = shared ? get(inode, Inode.resvMap) : yield* resvMapAlloc();
  let wanted = -ENOMEM;
  if (shared) wanted = yield* regionChg(map, from, to);
  else if (map !== 0) {
    wanted = to - from;
    setVmaResvMap(vma, map);
    setVmaResvFlags(vma, HPAGE_RESV_OWNER);
  }
  const h = get(inode, Inode.hstate);
  const spool = inodeSubpool(inode);
  if (wanted >= 0) {
    const global = yield* subpoolGetPages(spool, wanted);
    if (global >= 0) {
      if ((yield* hugetlbAcctMemory(h, global)) === 0) {
        const added = shared ? yield* regionAdd(map, from, to) : wanted;
        // Others have reserved some of them since we asked.
        if (wanted > added) {
          const twice = yield* subpoolPutPages(spool, wanted - added);
          yield* hugetlbAcctMemory(h, -twice);
        }
        return 0;
      }
      // What the subpool had reserved goes back to it, or to the pool where others have filled it meanwhile.
      if (wanted !== global) yield* hugetlbAcctMemory(h, -(yield* subpoolPutPages(spool, wanted - global)));
      if (!switched(SW.hugetlbSubpoolKeepsFailed)) yield* subpoolUnuse(spool, global);
    }
    if (shared) yield* regionAbort(map);
  }
  if (vma !== 0) yield* hugetlbVmaLockFree(vma);
  if (!shared && map !== 0) {
    yield* resvMapPut(map);
    set(vma, Vma.privateData, 0);
  }
  return -ENOMEM;
}

/** hugetlb_unreserve_pages: huge pages [from, to) of a file, of which `freed` were there, are reserved no longer. 0 or −ENOMEM. */
function* hugetlbUnreservePages(inode: InodeRef, from: number, to: number, freed: number): Op<number> {
  const map = get(inode, Inode.resvMap);
  const h = get(inode, Inode.hstate);
  let deleted = 0;
  if (map !== 0) {
    deleted = yield* regionDel(map, from, to);
    if (deleted < 0) return deleted;
  }
  add(inode, Inode.alloced, -freed * hugePages(h));
  const given = yield* subpoolPutPages(inodeSubpool(inode), deleted - freed);
  return yield* hugetlbAcctMemory(h, -given);
}

// --- mapping ------------------------------------------------------------------------------------------------------------------

/** hugetlbfs_file_mmap: what a VMA of such a file is, and its reservations. 0 or −errno. */
export function* hugetlbfsMmap(vma: VmaRef): Op<number> {
  const inode = get(get(vma, Vma.file), File.inode);
  const h = get(inode, Inode.hstate);
  const size = hugePages(h);
  set(vma, Vma.flags, get(vma, Vma.flags) | VM_HUGETLB | VM_DONTEXPAND);
  set(vma, Vma.ops, VMOPS_HUGETLB);
  const pgoff = get(vma, Vma.pgoff);
  if (pgoff % size !== 0) return -EINVAL;
  const end = pgoff + get(vma, Vma.end) - get(vma, Vma.start);
  yield* downWrite(inode + Inode.lock);
  const error = yield* hugetlbReservePages(inode, pgoff / size, end / size, vma, get(vma, Vma.flags));
  if (error === 0 && (get(vma, Vma.flags) & VM_WRITE) !== 0 && get(inode, Inode.size) < end * 2 ** pageShift) set(inode, Inode.size, end * 2 ** pageShift);
  yield* upWrite(inode + Inode.lock);
  return error;
}

// --- pages of a file ----------------------------------------------------------------------------------------------------------

/** hugetlb_add_to_page_cache: puts a page into its file, and leaves it locked. 0, −EEXIST, −ENOMEM (not locked). */
export function* hugetlbAddToPageCache(h: HstateRef, page: Page, inode: InodeRef, index: number): Op<number> {
  yield* folioLock(page);
  const error = yield* filemapAddFolio(inode, page, index * hugePages(h));
  if (error !== 0) {
    yield* folioUnlock(page);
    return error;
  }
  yield* clearFlags(page, PG_HUGETLB_RESTORE_RESERVE);
  yield* setFlags(page, PG_DIRTY);
  add(inode, Inode.alloced, hugePages(h));
  return 0;
}

/** hugetlb_delete_from_page_cache. What limits the page's file system stays known to the page. */
function* deleteFromPageCache(inode: InodeRef, page: Page, index: number): Op<number> {
  yield* clearFlags(page, PG_DIRTY | PG_UPTODATE);
  const spool = pagePrivate[page];
  yield* refGetUnlessZero(page);
  yield* filemapRemoveFolio(inode, page, index);
  setPagePrivate(page, spool);
  return yield* folioPut(page);
}

/** hugetlb_vmdelete_list: unmaps base pages [first, end) of a file. VMAs in which somebody is inside are left to the pages' own removal. */
function* vmdeleteList(inode: InodeRef, first: number, end: number): Op<number> {
  let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, first, end - 1);
  while (vma !== 0) {
    if ((yield* hugetlbVmaTrylockWrite(vma)) !== 0) {
      yield* unmapOfFile(vma, first, end);
      yield* hugetlbVmaUnlockWrite(vma);
    }
    vma = vmaIntervalTreeIterNext(vma, first, end - 1);
  }
  return 0;
}

/** unmap_hugepage_range: what a VMA maps of base pages [first, end) of its file. */
function* unmapOfFile(vma: VmaRef, first: number, end: number): Op<number> {
  const pgoff = get(vma, Vma.pgoff);
  const start = get(vma, Vma.start);
  const from = first > pgoff ? first - pgoff + start : start;
  const to = Math.min(get(vma, Vma.end), end - pgoff + start);
  const tlb = yield* tlbGather(get(vma, Vma.mm));
  yield* unmapHugepageRange(tlb, vma, from, to, 0, 1);
  return yield* tlbFinish(tlb);
}

/** hugetlb_unmap_file_folio: a page that is mapped still, or again. Order of locks is VMA, then i_mmap_rwsem. */
function* unmapFileFolio(h: HstateRef, inode: InodeRef, page: Page, index: number): Op<number> {
  const first = index * hugePages(h);
  const end = first + hugePages(h);
  while (folioMapcount(page) > 0) {
    yield* downWrite(inode + Inode.iMmapLock);
    // The lock of a VMA in which somebody is.
    let busy = 0;
    let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, first, end - 1);
    while (vma !== 0 && busy === 0) {
      if ((yield* hugetlbVmaTrylockWrite(vma)) !== 0) {
        yield* unmapOfFile(vma, first, end);
        yield* hugetlbVmaUnlockWrite(vma);
        vma = vmaIntervalTreeIterNext(vma, first, end - 1);
      } else busy = yield* hugetlbVmaLockGet(vma);
    }
    yield* upWrite(inode + Inode.iMmapLock);
    if (busy === 0) return 0;
    // The VMA may be gone by now, not so its lock.
    yield* hugetlbVmaLockWaitPut(busy);
  }
  return 0;
}

/** hugetlb_fix_reserve_counts: a page has left a file whose map could not be told so: it counts as reserved again, as the map says. */
function* fixReserveCounts(inode: InodeRef): Op<number> {
  const global = yield* subpoolGetPages(inodeSubpool(inode), 1);
  return global > 0 ? yield* hugetlbAcctMemory(get(inode, Inode.hstate), 1) : 0;
}

/** remove_inode_hugepages: huge pages [from, to) of a file go; `truncate` (to the end): with them all reservations from there on. */
function* removeInodeHugepages(inode: InodeRef, from: number, to: number, truncate: boolean): Op<number> {
  const h = get(inode, Inode.hstate);
  const size = hugePages(h);
  const last = truncate ? LAST_INDEX : to * size - 1;
  let freed = 0;
  for (let at = pageCacheFind(inode, from * size, last); at >= 0; at = pageCacheFind(inode, at + 1, last)) {
    const page = pageCacheEntry(inode, at);
    if (page <= 0 || (yield* refGetUnlessZero(page)) === 0) continue;
    const index = at / size;
    const mutex = faultMutex(inode, index);
    const serial = !switched(SW.hugetlbPunchNoMutex);
    if (serial) yield* downWrite(mutex);
    // Mapped again since the caller looked. The locks for that come before the page's.
    if (folioMapcount(page) > 0) yield* unmapFileFolio(h, inode, page, index);
    yield* folioLock(page);
    if (pageMapping[page] === inode) {
      yield* deleteFromPageCache(inode, page, at);
      freed++;
      if (!truncate && (yield* hugetlbUnreservePages(inode, index, index + 1, 1)) !== 0) yield* fixReserveCounts(inode);
    }
    yield* folioUnlock(page);
    if (serial) yield* upWrite(mutex);
    yield* folioPut(page);
  }
  return truncate ? yield* hugetlbUnreservePages(inode, from, LAST_INDEX, freed) : 0;
}

/** Faults that may have seen the size of a file before it changed are over afterwards (the repair of docs/findings.md). */
function* waitForFaults(): Op<number> {
  for (let i = 0; i < FAULT_MUTEXES; i++) {
    const mutex = get(hugetlb(), Hugetlb.mutexes + i) + FaultMutex.mutex;
    yield* downWrite(mutex);
    yield* upWrite(mutex);
  }
  return 0;
}

// --- size, holes, room --------------------------------------------------------------------------------------------------------

/** hugetlbfs_setattr of a size: 0, −EINVAL for parts of a huge page, −EPERM by seals. Needs the inode's lock. */
export function* hugetlbSetSize(inode: InodeRef, bytes: number): Op<number> {
  const h = get(inode, Inode.hstate);
  const old = get(inode, Inode.size);
  const seals = get(inode, Inode.seals);
  if (bytes % hugeBytes(h) !== 0) return -EINVAL;
  if ((bytes < old && (seals & F_SEAL_SHRINK) !== 0) || (bytes > old && (seals & F_SEAL_GROW) !== 0)) return -EPERM;
  set(inode, Inode.size, bytes);
  yield* downWrite(inode + Inode.iMmapLock);
  if (get(inode, Inode.iMmap) !== 0) yield* vmdeleteList(inode, bytes / 2 ** pageShift, LAST_INDEX);
  yield* upWrite(inode + Inode.iMmapLock);
  if (switched(SW.hugetlbTruncateWaits)) yield* waitForFaults();
  return yield* removeInodeHugepages(inode, bytes / hugeBytes(h), 0, true);
}

/** hugetlbfs_zero_partial_page: zeroes bytes [from, to) of one huge page, if it is there. */
function* zeroPartialPage(h: HstateRef, inode: InodeRef, from: number, to: number): Op<number> {
  const bytes = hugeBytes(h);
  const index = Math.floor(from / bytes);
  const page = yield* filemapLockFolio(inode, index * hugePages(h));
  if (page === 0) return 0;
  const size = 2 ** pageShift;
  for (let at = from - index * bytes; at < to - index * bytes; ) {
    const part = Math.floor(at / size);
    const end = Math.min(to - index * bytes, (part + 1) * size);
    fillBytes(byteOf(subPage(page, part), at - part * size), 0, end - at);
    at = end;
  }
  yield* folioUnlock(page);
  return yield* folioPut(page);
}

/** hugetlbfs_punch_hole: bytes. */
function* punchHole(inode: InodeRef, offset: number, length: number): Op<number> {
  const h = get(inode, Inode.hstate);
  const bytes = hugeBytes(h);
  const end = offset + length;
  const first = Math.ceil(offset / bytes);
  const last = Math.floor(end / bytes);
  if ((get(inode, Inode.seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
  yield* downWrite(inode + Inode.iMmapLock);
  if (offset < first * bytes) yield* zeroPartialPage(h, inode, offset, Math.min(end, first * bytes));
  if (last > first && get(inode, Inode.iMmap) !== 0) yield* vmdeleteList(inode, first * hugePages(h), last * hugePages(h));
  if (end > last * bytes && end > first * bytes) yield* zeroPartialPage(h, inode, last * bytes, end);
  yield* upWrite(inode + Inode.iMmapLock);
  return last > first ? yield* removeInodeHugepages(inode, first, last, false) : 0;
}

/** hugetlbfs_fallocate: bytes. Needs the inode's lock. */
export function* hugetlbFallocate(inode: InodeRef, file: FileRef, mode: number, offset: number, length: number, mm: MmRef): Op<number> {
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) !== 0) return -EOPNOTSUPP;
  if ((mode & FALLOC_FL_PUNCH_HOLE) !== 0) return yield* punchHole(inode, offset, length);
  const h = get(inode, Inode.hstate);
  const bytes = hugeBytes(h);
  if ((get(inode, Inode.seals) & F_SEAL_GROW) !== 0 && offset + length > get(inode, Inode.size)) return -EPERM;
  // A VMA that is none, for the reservations of the file.
  const pseudo: VmaRef = allocObject(Vma.$type, Vma.$size);
  set(pseudo, Vma.mm, mm);
  set(pseudo, Vma.flags, VM_HUGETLB | VM_MAYSHARE | VM_SHARED);
  set(pseudo, Vma.file, file);
  const end = Math.ceil((offset + length) / bytes);
  let error = 0;
  for (let index = Math.floor(offset / bytes); index < end && error === 0; index++) {
    const mutex = faultMutex(inode, index);
    yield* downWrite(mutex);
    const there = yield* filemapGetEntry(inode, index * hugePages(h));
    if (there > 0) yield* folioPut(there);
    else error = yield* allocateAt(h, inode, pseudo, index);
    yield* upWrite(mutex);
  }
  freeObject(pseudo, Vma.$size);
  if (error === 0 && (mode & FALLOC_FL_KEEP_SIZE) === 0 && offset + length > get(inode, Inode.size)) set(inode, Inode.size, offset + length);
  return error;
}

/** One page of hugetlbfs_fallocate(). */
function* allocateAt(h: HstateRef, inode: InodeRef, pseudo: VmaRef, index: number): Op<number> {
  const vpn = index * hugePages(h);
  const page = yield* allocHugetlbFolio(pseudo, vpn, 0);
  if (page < 0) return page;
  clearFrames(page, compoundOrder(page));
  yield* setFlags(page, PG_UPTODATE);
  const error = yield* hugetlbAddToPageCache(h, page, inode, index);
  if (error !== 0) yield* restoreReserveOnError(h, pseudo, vpn, page);
  else yield* folioUnlock(page);
  yield* folioPut(page);
  return error;
}

/** hugetlbfs_read_iter: bytes read, or −EFAULT. Holes read as zeroes. */
export function* hugetlbRead(inode: InodeRef, mm: MmRef, to: number, length: number, position: number): Op<number> {
  const size = 2 ** pageShift;
  const h = get(inode, Inode.hstate);
  let done = 0;
  while (done < length && position + done < get(inode, Inode.size)) {
    const at = position + done;
    const index = Math.floor(at / hugeBytes(h));
    const part = Math.floor((at - index * hugeBytes(h)) / size);
    const offset = at % size;
    const count = Math.min(length - done, size - offset, get(inode, Inode.size) - at);
    const page = yield* filemapGetEntry(inode, index * hugePages(h));
    let missed = 0;
    if (page > 0) {
      missed = yield* copyToUser(mm, to + done, subPage(page, part), offset, count);
      yield* folioPut(page);
    } else missed = yield* clearUser(mm, to + done, count);
    done += count - missed;
    if (missed > 0) return done === 0 ? -EFAULT : done;
  }
  return done;
}

// --- inodes -------------------------------------------------------------------------------------------------------------------

/** hugetlbfs_evict_inode: nobody refers to the file any longer. */
export function* hugetlbEvictInode(inode: InodeRef): Op<number> {
  yield* removeInodeHugepages(inode, 0, 0, true);
  hugetlbfsInodeGone(inode);
  const map = get(inode, Inode.resvMap);
  return map === 0 ? 0 : yield* resvMapPut(map);
}

/**
 * hugetlb_file_setup: an open file of huge pages of 2^`log` bytes (0: of the default size) that no name leads to; `name` is taken over. With VM_NORESERVE in
 * `flags` nothing is reserved yet. The file, −ENODEV where there are no such pages, −ENOSPC, −ENOMEM.
 */
export function* hugetlbFileSetup(kind: number, name: NameRef, bytes: number, flags: number, log: number): Op<number> {
  const h = hstateSizelog(log);
  const inode = h === 0 ? 0 : yield* newInode(kind, 0o777);
  const map = inode === 0 ? 0 : yield* resvMapAlloc();
  if (map === 0) {
    freeName(name);
    if (inode !== 0) {
      set(inode, Inode.hstate, h);
      yield* iput(inode);
    }
    return h === 0 ? -ENODEV : -ENOSPC;
  }
  set(inode, Inode.hstate, h);
  set(inode, Inode.resvMap, map);
  set(inode, Inode.seals, F_SEAL_SEAL);
  set(inode, Inode.name, name);
  set(inode, Inode.size, bytes);
  const reserved = yield* hugetlbReservePages(inode, 0, Math.floor(bytes / hugeBytes(h)), 0, flags);
  const file = reserved !== 0 ? 0 : yield* fileAlloc(inode, O_RDWR, FMODE_READ | FMODE_WRITE);
  if (file !== 0) return file;
  yield* iput(inode);
  return -ENOMEM;
}
