/**
 * Shared memory: memfd, tmpfs files, MAP_SHARED | MAP_ANONYMOUS, SysV segments (mm/shmem.c).
 *
 * Invariants: `alloced` = pages in the cache + `swapped`, whenever nobody is inside; each page counts as committed memory, either the whole size
 * at creation or, with VM_NORESERVE, page by page. A page that is not up to date was made by fallocate(): it reads as a hole.
 */
import type { Op } from '../kernel/op.ts';
import { add, allocPage, folioLock, folioUnlock, get, readOnce, set, setFlags, switched, waitFor } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages } from '../memory/folio.ts';
import { GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_HWPOISON, PG_REFERENCED, PG_SWAPBACKED, PG_UPTODATE } from '../memory/page-flags.ts';
import { clearFrame, knownPageOfPfn, pageFlags, pageIndex, pageShift, pfnOfPage } from '../memory/state.ts';
import { EEXIST, EFBIG, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EPERM } from './errno.ts';
import { fileAlloc, filePut } from './file.ts';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  FMODE_READ,
  FMODE_WRITE,
  INODE_SHARED_ANON,
  MAX_LFS_FILESIZE,
  O_RDWR,
} from './file-types.ts';
import { filemapAddFolio, filemapGetEntry, filemapRemoveFolio, folioFilePage, folioLeft, folioTestUptodate, LAST_INDEX, pageCacheFind } from './filemap.ts';
import { maybeUnlock } from './filemap-fault.ts';
import { globals } from './globals.ts';
import { highestOrder, pmdOrder, thpVmaSuitableOrders, vmaThpGfpMask } from './huge-orders.ts';
import { freeName, iput, nameOf, newInode } from './inode.ts';
import { mountHuge, SHMEM_HUGE_NEVER, shmemAllowableHugeOrders } from './shmem-huge.ts';
import { folioAddLru, folioMarkAccessed, folioMarkDirty, folioPut } from './swap.ts';
import { truncateInodePagesRange, unmapAgain, unmapMappingRange, zeroFolioRange } from './truncate.ts';
import { File, type FileRef, Globals, Inode, type InodeRef, type MmRef, type NameRef, type Page, Vma, type VmaRef } from './types.ts';
import { handleUserfault } from './userfaultfd-fault.ts';
import { UFFD_MINOR } from './userfaultfd-types.ts';
import { userfaultfdMinor, userfaultfdMissing } from './userfaultfd-vma.ts';
import { enoughMemory, vmUnacctMemory } from './util.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_FILE_ALLOC, THP_FILE_FALLBACK } from './vm-event-types.ts';
import { VM_NORESERVE, VM_UFFD_MISSING } from './vm-flags.ts';
import { VMOPS_SHMEM_ANON } from './vm-ops-types.ts';
import { faultGfp, VM_FAULT_LOCKED, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, Vmf, type VmfRef } from './vmf.ts';

// How a page is asked for (enum sgp_type); the order matters.
/** Within the size; a hole stays one. */
export const SGP_READ = 0;
/** Likewise, but a hole is an error. */
export const SGP_NOALLOC = 1;
/** Within the size; a hole gets a page. */
export const SGP_CACHE = 2;
/** Beyond the size too; a new page may come without content. */
export const SGP_WRITE = 3;
/** As SGP_WRITE, but a page that is there gets content. */
export const SGP_FALLOC = 4;

// --- accounting -------------------------------------------------------------------------------------------------------------

/** VM_ACCT: pages of a size. */
const acctPages = (bytes: number): number => Math.ceil(bytes / 2 ** pageShift);

/** shmem_acct_size: the whole of an object is committed when it is made. 0 or −ENOMEM. */
function* acctSize(mm: MmRef, flags: number, bytes: number): Op<number> {
  return (flags & VM_NORESERVE) !== 0 ? 0 : yield* enoughMemory(mm, acctPages(bytes));
}

function* unacctSize(flags: number, bytes: number): Op<number> {
  return (flags & VM_NORESERVE) !== 0 ? 0 : yield* vmUnacctMemory(acctPages(bytes));
}

/** shmem_reacct_size: the same when the size changes. */
function* reacctSize(mm: MmRef, flags: number, oldBytes: number, newBytes: number): Op<number> {
  if ((flags & VM_NORESERVE) !== 0) return 0;
  const more = acctPages(newBytes) - acctPages(oldBytes);
  if (more > 0) return yield* enoughMemory(mm, more);
  if (more < 0) yield* vmUnacctMemory(-more);
  return 0;
}

/** shmem_inode_acct_blocks: objects with VM_NORESERVE are committed page by page. 0 or −ENOSPC, which a fault answers with SIGBUS. */
function* acctBlocks(mm: MmRef, inode: InodeRef, pages: number): Op<number> {
  return (get(inode, Inode.flags) & VM_NORESERVE) !== 0 && (yield* enoughMemory(mm, pages)) !== 0 ? -ENOSPC : 0;
}

/** shmem_charge: pages that an object is about to have are committed, where they are one by one; shmem_recalc_inode() counts them when they are there. 0 or −ENOSPC. */
export function* shmemCharge(inode: InodeRef, pages: number, mm: MmRef): Op<number> {
  return pages > 0 ? yield* acctBlocks(mm, inode, pages) : 0;
}

/** shmem_uncharge of what was charged for nothing. */
export function* shmemUncharge(inode: InodeRef, pages: number): Op<number> {
  return pages > 0 && (get(inode, Inode.flags) & VM_NORESERVE) !== 0 ? yield* vmUnacctMemory(pages) : 0;
}

/** shmem_recalc_inode: gives back what pages that have left the cache counted for; `alloced` and `swapped` are added first. */
export function* shmemRecalcInode(inode: InodeRef, alloced: number, swapped: number): Op<number> {
  const total = add(inode, Inode.alloced, alloced);
  const freed = total - add(inode, Inode.swapped, swapped) - get(inode, Inode.nrPages);
  // Pages that others are just adding are in the cache already, but not counted yet.
  if (freed <= 0) return 0;
  add(inode, Inode.alloced, -freed);
  return (get(inode, Inode.flags) & VM_NORESERVE) !== 0 ? yield* vmUnacctMemory(freed) : 0;
}

// --- pages ------------------------------------------------------------------------------------------------------------------

/** Zeroes all pages of a folio. Those that nobody has ever looked at hold zeroes. */
export function clearFolio(folio: Page): void {
  const first = pfnOfPage(folio);
  for (let i = 0; i < compoundPages(folio); i++) {
    const page = knownPageOfPfn(first + i);
    if (page !== 0) clearFrame(page);
  }
}

/** Whether a page of an index lies within the size. */
const withinSize = (inode: InodeRef, index: number): boolean => index * 2 ** pageShift < get(inode, Inode.size);

/**
 * shmem_get_folio: the folio at an index as `sgp` asks for it, locked and referenced; 0 for a hole that is to stay one; −EINVAL beyond the
 * size, −ENOENT, −ENOMEM, −ENOSPC, −EFBIG. `mm` is the address space that is charged, `writeEnd` the byte behind what is about to be written (0: not known).
 */
export function* shmemGetFolio(inode: InodeRef, index: number, writeEnd: number, sgp: number, mm: MmRef): Op<number> {
  return yield* shmemGetFolioGfp(inode, index, writeEnd, sgp, mm, GFP_HIGHUSER_MOVABLE, 0);
}

/** A userfaultfd has been asked: what shmemGetFolioGfp() answers, less the VM_FAULT_* result. */
const FAULT_HANDLED = 4096;

/** shmem_get_folio_gfp: the same with the flags for new pages, and the fault that asks (or 0). */
function* shmemGetFolioGfp(inode: InodeRef, index: number, writeEnd: number, sgp: number, mm: MmRef, gfp: number, vmf: VmfRef): Op<number> {
  if (index >= LAST_INDEX) return -EFBIG;
  for (;;) {
    if (sgp <= SGP_CACHE && !withinSize(inode, index)) return -EINVAL;
    let page = yield* filemapGetEntry(inode, index);
    let fresh = 0;
    if (vmf !== 0 && get(get(vmf, Vmf.vma), Vma.uffd) !== 0) {
      const vma = get(vmf, Vmf.vma);
      const reason = page > 0 ? UFFD_MINOR : VM_UFFD_MISSING;
      if (page > 0 ? userfaultfdMinor(vma) : userfaultfdMissing(vma)) {
        if (page > 0) yield* folioPut(page);
        set(vmf, Vmf.page, 0);
        return -FAULT_HANDLED - (yield* handleUserfault(vmf, reason));
      }
    }
    if (page > 0) {
      yield* folioLock(page);
      if (folioLeft(inode, page)) {
        yield* folioUnlock(page);
        yield* folioPut(page);
        continue;
      }
      if (sgp === SGP_WRITE) yield* folioMarkAccessed(page);
      if (folioTestUptodate(page)) return page;
      // fallocate() made it: content comes when somebody needs it.
      if (sgp === SGP_READ) {
        yield* folioUnlock(page);
        yield* folioPut(page);
        return 0;
      }
    } else {
      if (sgp === SGP_READ) return 0;
      if (sgp === SGP_NOALLOC) return -ENOENT;
      page = yield* allocFolio(inode, index, writeEnd, mm, gfp, vmf);
      if (page === -EEXIST) continue;
      if (page < 0) return page;
      fresh = 1;
      if (sgp === SGP_WRITE) yield* setFlags(page, PG_REFERENCED);
    }
    // A new page for fallocate() stays without content, so that it can be told from others if that fails later.
    const content = fresh !== 0 && sgp === SGP_FALLOC ? SGP_WRITE : sgp;
    if (content !== SGP_WRITE && !folioTestUptodate(page)) {
      clearFolio(page);
      yield* setFlags(page, PG_UPTODATE);
    }
    if (sgp > SGP_CACHE || withinSize(inode, index) || switched(SW.faultNoSizeCheck)) return page;
    // The file was truncated since we looked.
    if (fresh !== 0) {
      yield* filemapRemoveFolio(inode, page, pageIndex[page]);
      yield* shmemRecalcInode(inode, 0, 0);
    }
    yield* folioUnlock(page);
    yield* folioPut(page);
    return -EINVAL;
  }
}

/** A new folio without content for an index, of the largest order that is allowed, fits and can be had: locked and referenced; or −EEXIST, −ENOMEM, −ENOSPC. */
function* allocFolio(inode: InodeRef, index: number, writeEnd: number, mm: MmRef, gfp: number, vmf: VmfRef): Op<number> {
  const vma = vmf === 0 ? 0 : get(vmf, Vmf.vma);
  const orders = get(globals, Globals.thpUsed) === 0 ? 0 : shmemAllowableHugeOrders(inode, vma, vma === 0 ? 0 : get(vma, Vma.flags), index, writeEnd, 0);
  if (orders !== 0) {
    const folio = yield* allocAndAddFolio(inode, index, mm, vmaThpGfpMask(vma), suitableOrders(inode, vmf, index, orders), 0);
    // Someone was faster, or it is to be small pages.
    if (folio > 0 || folio === -EEXIST) return folio;
  }
  return yield* allocAndAddFolio(inode, index, mm, gfp, 1, 1);
}

/** shmem_suitable_orders: those of a set that fit into the VMA and the gap of the cache around an index; when one fits all below it do. */
function suitableOrders(inode: InodeRef, vmf: VmfRef, index: number, orders: number): number {
  let left = vmf === 0 ? orders : thpVmaSuitableOrders(get(vmf, Vmf.vma), get(vmf, Vmf.vpn), orders);
  while (left !== 0) {
    const order = highestOrder(left);
    const first = index - (index % 2 ** order);
    if (pageCacheFind(inode, first, first + 2 ** order - 1) < 0) break;
    left &= ~(1 << order);
  }
  return left;
}

/**
 * shmem_alloc_and_add_folio: the largest folio of a set of orders that there is memory for, at the multiple of its size before an index. `last`: there is
 * nothing smaller to fall back to. −EEXIST, −ENOMEM, −ENOSPC.
 */
function* allocAndAddFolio(inode: InodeRef, index: number, mm: MmRef, gfp: number, orders: number, last: number): Op<number> {
  let folio = 0;
  let left = orders;
  let pages = 1;
  while (left !== 0 && folio === 0) {
    const order = highestOrder(left);
    folio = yield* allocPage(gfp, order);
    pages = 2 ** order;
    if (folio === 0 && last === 0) {
      if (order === pmdOrder()) countVmEvent(THP_FILE_FALLBACK);
    }
    left &= ~(1 << order);
  }
  if (folio === 0) return -ENOMEM;
  const first = index - (index % pages);
  yield* folioLock(folio);
  yield* setFlags(folio, PG_SWAPBACKED);
  let error = yield* filemapAddFolio(inode, folio, first);
  if (error === 0) {
    error = yield* acctBlocks(mm, inode, pages);
    if (error === 0) {
      yield* shmemRecalcInode(inode, pages, 0);
      yield* folioAddLru(folio);
      if (pages === 2 ** pmdOrder()) countVmEvent(THP_FILE_ALLOC);
      return folio;
    }
    yield* filemapRemoveFolio(inode, folio, first);
  }
  yield* folioUnlock(folio);
  yield* folioPut(folio);
  return error;
}

/** The part of shmem_mfill_atomic_pte that gives a file a page with content, which it leaves locked. −EEXIST, −ENOMEM. */
export function* shmemAddNewFolio(inode: InodeRef, page: Page, index: number, mm: MmRef): Op<number> {
  if ((yield* acctBlocks(mm, inode, 1)) !== 0) return -ENOMEM;
  yield* folioLock(page);
  yield* setFlags(page, PG_SWAPBACKED);
  const error = yield* filemapAddFolio(inode, page, index);
  if (error !== 0) {
    yield* folioUnlock(page);
    yield* shmemUncharge(inode, 1);
    return error;
  }
  yield* shmemRecalcInode(inode, 1, 0);
  yield* folioAddLru(page);
  return 0;
}

/** Takes it back. */
export function* shmemRemoveNewFolio(inode: InodeRef, page: Page, index: number): Op<number> {
  yield* filemapRemoveFolio(inode, page, index);
  return yield* shmemRecalcInode(inode, 0, 0);
}

/** shmem_falloc_wait: a hole is being punched. 0 when the page lies outside; else the fault starts again when the hole is made. */
function* waitForHole(vmf: VmfRef, inode: InodeRef): Op<number> {
  const pgoff = get(vmf, Vmf.pgoff);
  if (pgoff < get(inode, Inode.punchFirst) || pgoff >= get(inode, Inode.punchEnd)) return 0;
  const file = get(get(vmf, Vmf.vma), Vma.file);
  const released = yield* maybeUnlock(vmf, file, 0);
  yield* waitFor(inode, Inode.punchEnd, 0);
  if (released === 0) return VM_FAULT_NOPAGE;
  yield* filePut(file);
  return VM_FAULT_RETRY;
}

/** shmem_fault. */
export function* shmemFault(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const inode = get(get(vma, Vma.file), File.inode);
  if ((yield* readOnce(inode, Inode.punchEnd)) !== 0) {
    const waited = yield* waitForHole(vmf, inode);
    if (waited !== 0) return waited;
  }
  const pgoff = get(vmf, Vmf.pgoff);
  const folio = yield* shmemGetFolioGfp(inode, pgoff, 0, SGP_CACHE, get(vma, Vma.mm), faultGfp(vmf, 0), vmf);
  if (folio <= -FAULT_HANDLED) return -FAULT_HANDLED - folio;
  if (folio < 0) return folio === -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
  set(vmf, Vmf.page, folioFilePage(folio, pgoff));
  return VM_FAULT_LOCKED;
}

// --- writing ----------------------------------------------------------------------------------------------------------------

/** shmem_write_begin: the folio of a write of `length` bytes at `position`, locked and referenced, or −EPERM, … */
export function* shmemWriteBegin(inode: InodeRef, position: number, length: number, mm: MmRef): Op<number> {
  const seals = get(inode, Inode.seals);
  if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
  if ((seals & F_SEAL_GROW) !== 0 && position + length > get(inode, Inode.size)) return -EPERM;
  const folio = yield* shmemGetFolio(inode, Math.floor(position / 2 ** pageShift), position + length, SGP_WRITE, mm);
  if (folio <= 0 || (pageFlags[folio] & PG_HWPOISON) === 0) return folio;
  yield* folioUnlock(folio);
  yield* folioPut(folio);
  return -EIO;
}

/** shmem_write_end: `copied` bytes were written to the folio. */
export function* shmemWriteEnd(inode: InodeRef, page: Page, position: number, copied: number): Op<number> {
  if (position + copied > get(inode, Inode.size)) set(inode, Inode.size, position + copied);
  if (!folioTestUptodate(page)) {
    const size = compoundPages(page) * 2 ** pageShift;
    const from = position % size;
    zeroFolioRange(page, 0, from);
    zeroFolioRange(page, from + copied, size);
    yield* setFlags(page, PG_UPTODATE);
  }
  yield* folioMarkDirty(page);
  yield* folioUnlock(page);
  yield* folioPut(page);
  return copied;
}

// --- sizes ------------------------------------------------------------------------------------------------------------------

/** shmem_truncate_range: the bytes [from, to) are a hole from now on. */
export function* shmemTruncateRange(inode: InodeRef, from: number, to: number): Op<number> {
  yield* truncateInodePagesRange(inode, from, to, 0);
  const first = Math.ceil(from / 2 ** pageShift);
  if (get(inode, Inode.fallocEnd) > first && get(inode, Inode.fallocEnd) * 2 ** pageShift <= to) set(inode, Inode.fallocEnd, first);
  yield* shmemRecalcInode(inode, 0, 0);
  return 0;
}

/** shmem_setattr of the size. Needs the inode's lock. 0, −EPERM for a seal, −ENOMEM. */
export function* shmemSetSize(inode: InodeRef, bytes: number, mm: MmRef): Op<number> {
  const old = get(inode, Inode.size);
  const seals = get(inode, Inode.seals);
  if ((bytes < old && (seals & F_SEAL_SHRINK) !== 0) || (bytes > old && (seals & F_SEAL_GROW) !== 0)) return -EPERM;
  if (bytes !== old) {
    const error = yield* reacctSize(mm, get(inode, Inode.flags), old, bytes);
    if (error !== 0) return error;
    set(inode, Inode.size, bytes);
  }
  if (bytes > old) return 0;
  const first = Math.ceil(bytes / 2 ** pageShift);
  const gone = old > first * 2 ** pageShift;
  if (gone) yield* unmapMappingRange(inode, first, LAST_INDEX, 1);
  if (get(inode, Inode.alloced) !== 0) yield* shmemTruncateRange(inode, bytes, Infinity);
  if (gone) yield* unmapAgain(inode, first);
  return 0;
}

// --- inodes -----------------------------------------------------------------------------------------------------------------

/** shmem_get_inode of a regular file: sealed against seals until its maker says otherwise. 0 without memory. */
export function* shmemGetInode(kind: number, mode: number, flags: number): Op<number> {
  const inode = yield* newInode(kind, mode);
  if (inode === 0) return 0;
  set(inode, Inode.seals, F_SEAL_SEAL);
  set(inode, Inode.flags, flags & VM_NORESERVE);
  // What the mount says when the file is made; `deny` and `force` are no words of a mount.
  set(inode, Inode.orders, mountHuge(kind) !== SHMEM_HUGE_NEVER ? 1 : 0);
  return inode;
}

/** shmem_evict_inode: nobody refers to the inode any longer. */
export function* shmemEvictInode(inode: InodeRef): Op<number> {
  yield* unacctSize(get(inode, Inode.flags), get(inode, Inode.size));
  set(inode, Inode.size, 0);
  return yield* shmemTruncateRange(inode, 0, Infinity);
}

/**
 * shmem_file_setup: an open file of `bytes` bytes that no name leads to, or −EINVAL, −ENOMEM, −ENOSPC. `name` is taken over. VM_NORESERVE in
 * `flags` commits memory page by page.
 */
export function* shmemFileSetup(kind: number, name: NameRef, bytes: number, flags: number, mm: MmRef): Op<number> {
  let error = 0;
  let inode = 0;
  if (bytes < 0 || bytes >= MAX_LFS_FILESIZE) error = -EINVAL;
  else if ((yield* acctSize(mm, flags, bytes)) !== 0) error = -ENOMEM;
  else {
    inode = yield* shmemGetInode(kind, 0o777, flags);
    if (inode === 0) {
      yield* unacctSize(flags, bytes);
      error = -ENOSPC;
    }
  }
  if (error !== 0) {
    freeName(name);
    return error;
  }
  set(inode, Inode.name, name);
  set(inode, Inode.size, bytes);
  const file = yield* fileAlloc(inode, O_RDWR, FMODE_READ | FMODE_WRITE);
  if (file === 0) {
    yield* iput(inode);
    return -ENOMEM;
  }
  return file;
}

const devZeroName = (): NameRef => nameOf('dev/zero');

/** shmem_zero_setup: gives a shared anonymous VMA its object. 0 or an error. */
export function* shmemZeroSetup(vma: VmaRef): Op<number> {
  const bytes = (get(vma, Vma.end) - get(vma, Vma.start)) * 2 ** pageShift;
  const file: FileRef = yield* shmemFileSetup(INODE_SHARED_ANON, devZeroName(), bytes, get(vma, Vma.flags), get(vma, Vma.mm));
  if (file < 0) return file;
  set(vma, Vma.file, file);
  set(vma, Vma.ops, VMOPS_SHMEM_ANON);
  return 0;
}
