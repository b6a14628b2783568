/**
 * Filling holes through a userfaultfd: UFFDIO_COPY, UFFDIO_ZEROPAGE, UFFDIO_CONTINUE, UFFDIO_POISON (mm/userfaultfd.c: mfill_atomic and what it calls; shmem_mfill_atomic_pte of
 * mm/shmem.c).
 *
 * Invariants: a page comes with its content, in one step, and only into an entry that maps nothing (a marker counts as nothing); of a private mapping of a file it is a
 * copy of its own, for which the page cache is not looked at. The mmap lock is held for reading, the context's mapChangingLock too.
 */
import { pageOfEntry } from '../kernel/arch.ts';
import { ACCESS_READ } from '../kernel/mmu.ts';
import type { Op } from '../kernel/op.ts';
import { allocPage, downRead, entryGet, entrySet, folioUnlock, get, readOnce, setFlags, spinUnlock, upRead } from '../kernel/ops.ts';
import { __GFP_ZERO, GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_UPTODATE } from '../memory/page-flags.ts';
import { pageShift } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { EAGAIN, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM } from './errno.ts';
import { folioFilePage } from './filemap.ts';
import { globals } from './globals.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { addMmCounter, mmCounter } from './mm-counters.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import {
  installTable,
  mkPte,
  mkPteMarker,
  PTE_MARKER_POISONED,
  PTE_UFFD_WP,
  pmdAlloc,
  pteLockptr,
  pteMkdirty,
  pteMkspecial,
  pteMkwrite,
  pteNoneMostly,
  pteSet,
  pteWrprotect,
} from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { copyFromUserAtomic } from './read-write.ts';
import { folioAddFileRmapPtes, folioAddNewAnonRmap, linearPageIndex } from './rmap.ts';
import { SGP_NOALLOC, shmemAddNewFolio, shmemGetFolio, shmemRemoveNewFolio } from './shmem.ts';
import { folioAddLruVma, folioPut } from './swap.ts';
import { File, Globals, Inode, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { userPage } from './uaccess.ts';
import { mfillHugetlb } from './userfaultfd-hugetlb.ts';
import { Uffd, type UffdRef } from './userfaultfd-types.ts';
import { VM_HUGETLB, VM_SHARED, VM_UFFD_WP, VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous, vmaIsShmem } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';
import { findVma } from './vma-tree.ts';

/** What fills the holes (enum mfill_atomic_mode). */
export const MFILL_COPY = 0;
export const MFILL_ZEROPAGE = 1;
export const MFILL_CONTINUE = 2;
export const MFILL_POISON = 3;
export const MFILL_MODE_MASK = 3;
/** MFILL_ATOMIC_WP: what comes is write-protected. */
export const MFILL_WP = 4;

/** mfill_file_over_size: the file is too short for the page. */
function fileOverSize(vma: VmaRef, vpn: Vpn): boolean {
  const file = get(vma, Vma.file);
  return file !== 0 && linearPageIndex(vma, vpn) >= Math.ceil(get(get(file, File.inode), Inode.size) / 2 ** pageShift);
}

/** mfill_atomic_install_pte: maps a page that is referenced, new and anonymous or (`cached`) one of the page cache. 0, −EEXIST, −EFAULT, −EAGAIN. */
export function* mfillInstallPte(vma: VmaRef, pmdp: number, vpn: Vpn, page: Page, cached: number, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const vmFlags = get(vma, Vma.flags);
  let pte = pteMkdirty(mkPte(page, vmaPageProt(vma)));
  // A page of the cache is not written through a private mapping.
  const writable = (vmFlags & VM_WRITE) !== 0 && (cached === 0 || (vmFlags & VM_SHARED) !== 0);
  if (writable) pte = pteMkwrite(pte);
  if ((flags & MFILL_WP) !== 0) pte = pteSet(pteWrprotect(pte), PTE_UFFD_WP);
  const ptep = yield* pteOffsetMapLock(pmdp, vpn);
  if (ptep === 0) return -EAGAIN;
  const lock = pteLockptr(ptep);
  let error = 0;
  if (fileOverSize(vma, vpn)) error = -EFAULT;
  else if (!pteNoneMostly(yield* entryGet(ptep, 0))) error = -EEXIST;
  if (error === 0) {
    if (cached !== 0) yield* folioAddFileRmapPtes(page, 1, vma);
    else {
      yield* folioAddNewAnonRmap(page, vma, vpn);
      yield* folioAddLruVma(page, vma);
    }
    yield* addMmCounter(mm, mmCounter(page), 1);
    yield* entrySet(ptep, 0, pte);
  }
  yield* spinUnlock(lock);
  return error;
}

/** What a fill answers when the source has to be faulted in first, which is done without the lock. */
export const SOURCE_FAULTS = -4096;

/** A page with the content that is to come: of user memory, or zeroes. −ENOMEM, SOURCE_FAULTS. */
function* newContent(callerMm: MmRef, source: number, flags: number): Op<number> {
  const zero = (flags & MFILL_MODE_MASK) === MFILL_ZEROPAGE;
  const page = yield* allocPage(zero ? GFP_HIGHUSER_MOVABLE | __GFP_ZERO : GFP_HIGHUSER_MOVABLE, 0);
  if (page === 0) return -ENOMEM;
  // With faults forbidden: the lock that is held here may be one that they need.
  if (!zero && copyFromUserAtomic(callerMm, source, page, 0, 2 ** pageShift) !== 2 ** pageShift) {
    yield* folioPut(page);
    return SOURCE_FAULTS;
  }
  yield* setFlags(page, PG_UPTODATE);
  return page;
}

/** mfill_atomic_pte_copy. */
function* mfillCopy(vma: VmaRef, pmdp: number, vpn: Vpn, callerMm: MmRef, source: number, flags: number): Op<number> {
  const page = yield* newContent(callerMm, source, flags);
  if (page < 0) return page;
  const error = yield* mfillInstallPte(vma, pmdp, vpn, page, 0, flags);
  if (error !== 0) yield* folioPut(page);
  return error;
}

/** Sets an entry that maps no page: the zero page (mfill_atomic_pte_zeropage) or a marker (mfill_atomic_pte_poison), which may replace another marker. */
function* mfillEntry(vma: VmaRef, pmdp: number, vpn: Vpn, entry: number, overMarkers: boolean): Op<number> {
  const ptep = yield* pteOffsetMapLock(pmdp, vpn);
  if (ptep === 0) return -EAGAIN;
  const lock = pteLockptr(ptep);
  let error = 0;
  if (fileOverSize(vma, vpn)) error = -EFAULT;
  else {
    const pte = yield* entryGet(ptep, 0);
    if (overMarkers ? !pteNoneMostly(pte) : pte !== 0) error = -EEXIST;
    else yield* entrySet(ptep, 0, entry);
  }
  yield* spinUnlock(lock);
  return error;
}

/** mfill_atomic_pte_continue: the page that the file has there. */
function* mfillContinue(vma: VmaRef, pmdp: number, vpn: Vpn, flags: number): Op<number> {
  const inode = get(get(vma, Vma.file), File.inode);
  const pgoff = linearPageIndex(vma, vpn);
  const folio = yield* shmemGetFolio(inode, pgoff, 0, SGP_NOALLOC, get(vma, Vma.mm));
  if (folio <= 0) return folio === -ENOENT || folio === 0 ? -EFAULT : folio;
  const error = yield* mfillInstallPte(vma, pmdp, vpn, folioFilePage(folio, pgoff), 1, flags);
  yield* folioUnlock(folio);
  if (error !== 0) yield* folioPut(folio);
  return error;
}

/** shmem_mfill_atomic_pte: a new page of the file, mapped. */
function* mfillShmem(vma: VmaRef, pmdp: number, vpn: Vpn, callerMm: MmRef, source: number, flags: number): Op<number> {
  const page = yield* newContent(callerMm, source, flags);
  if (page < 0) return page;
  const inode = get(get(vma, Vma.file), File.inode);
  const pgoff = linearPageIndex(vma, vpn);
  let error = fileOverSize(vma, vpn) ? -EFAULT : 0;
  if (error === 0) error = yield* shmemAddNewFolio(inode, page, pgoff, get(vma, Vma.mm));
  if (error !== 0) {
    yield* folioPut(page);
    return error;
  }
  error = yield* mfillInstallPte(vma, pmdp, vpn, page, 1, flags);
  if (error !== 0) yield* shmemRemoveNewFolio(inode, page, pgoff);
  yield* folioUnlock(page);
  if (error !== 0) yield* folioPut(page);
  return error;
}

/** mfill_atomic_pte: one page. */
function* mfillPte(vma: VmaRef, pmdp: number, vpn: Vpn, callerMm: MmRef, source: number, flags: number): Op<number> {
  const mode = flags & MFILL_MODE_MASK;
  if (mode === MFILL_CONTINUE) return yield* mfillContinue(vma, pmdp, vpn, flags);
  if (mode === MFILL_POISON) return yield* mfillEntry(vma, pmdp, vpn, mkPteMarker(PTE_MARKER_POISONED), true);
  if ((get(vma, Vma.flags) & VM_SHARED) !== 0) return yield* mfillShmem(vma, pmdp, vpn, callerMm, source, flags);
  if (mode === MFILL_COPY) return yield* mfillCopy(vma, pmdp, vpn, callerMm, source, flags);
  return yield* mfillEntry(vma, pmdp, vpn, pteMkspecial(mkPte(get(globals, Globals.zeroPage), vmaPageProt(vma))), false);
}

/** The entry that leads to a page's table, which is made if there is none; −ENOMEM, −EEXIST where a huge page is mapped. */
function* tableFor(mm: MmRef, vpn: Vpn): Op<number> {
  const pmdp = yield* pmdAlloc(mm, vpn);
  if (pmdp === 0) return -ENOMEM;
  if ((yield* entryGet(pmdp, 1)) === 0 && (yield* installTable(mm, pageOfEntry(pmdp, 1), pmdp, 1)) === 0) return -ENOMEM;
  return ((yield* entryGet(pmdp, 1)) & PTE_TABLE) === 0 ? -EEXIST : pmdp;
}

/** The VMA that is filled, with an anon_vma where it needs one (uffd_mfill_lock); −ENOENT, −ENOMEM. Needs the mmap lock for reading. */
function* destination(mm: MmRef, start: Vpn, pages: number): Op<number> {
  const vma = findVma(mm, start);
  if (vma === 0 || get(vma, Vma.start) > start) return -ENOENT;
  if ((get(vma, Vma.flags) & VM_SHARED) === 0 && get(vma, Vma.anonVma) === 0 && (yield* anonVmaPrepare(vma)) !== 0) return -ENOMEM;
  return start + pages > get(vma, Vma.end) || get(vma, Vma.uffd) === 0 ? -ENOENT : vma;
}

/**
 * mfill_atomic: fills [start, start + pages) of the context's address space, from `source` (bytes) of the caller's where it copies. Bytes that were filled, or −errno when
 * not even the first page was.
 */
export function* mfillAtomic(ctx: UffdRef, start: Vpn, callerMm: MmRef, source: number, pages: number, flags: number): Op<number> {
  const mm = get(ctx, Uffd.mm);
  const size = 2 ** pageShift;
  let done = 0;
  for (;;) {
    yield* mmapReadLock(mm);
    const vma = yield* destination(mm, start, pages);
    let result = vma;
    if (vma > 0) {
      yield* downRead(ctx + Uffd.mapChangingLock);
      if ((yield* readOnce(ctx, Uffd.mmapChanging)) !== 0) result = -EAGAIN;
      else result = yield* mfillVma(vma, start + done, callerMm, source + done * size, pages - done, flags);
      yield* upRead(ctx + Uffd.mapChangingLock);
    }
    yield* mmapReadUnlock(mm);
    if (result > 0) done += result;
    if (result > 0 && done < pages && (flags & MFILL_MODE_MASK) === MFILL_COPY) continue;
    if (result === SOURCE_FAULTS) {
      // Huge pages are read from their start on.
      if (yield* faultInSource(callerMm, source + done * size, vma)) continue;
      result = -EFAULT;
    }
    return done > 0 ? done * size : result;
  }
}

/** Faults in what one page is filled from; whether it can be read. */
function* faultInSource(mm: MmRef, source: number, vma: VmaRef): Op<boolean> {
  const pages = vma > 0 && (get(vma, Vma.flags) & VM_HUGETLB) !== 0 ? hugePages(hstateVma(vma)) : 1;
  const first = Math.floor(source / 2 ** pageShift);
  const last = Math.floor((source + pages * 2 ** pageShift - 1) / 2 ** pageShift);
  for (let vpn = first; vpn <= last; vpn++) if ((yield* userPage(mm, vpn, ACCESS_READ)) === 0) return false;
  return true;
}

/** The pages of a VMA from `start` on. How many were filled, −errno when not even the first was. */
function* mfillVma(vma: VmaRef, start: Vpn, callerMm: MmRef, source: number, pages: number, flags: number): Op<number> {
  if ((flags & MFILL_WP) !== 0 && (get(vma, Vma.flags) & VM_UFFD_WP) === 0) return -EINVAL;
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) return yield* mfillHugetlb(vma, start, callerMm, source, pages, flags);
  if (!vmaIsAnonymous(vma) && !vmaIsShmem(vma)) return -EINVAL;
  if (!vmaIsShmem(vma) && (flags & MFILL_MODE_MASK) === MFILL_CONTINUE) return -EINVAL;
  const size = 2 ** pageShift;
  let done = 0;
  let error = 0;
  while (done < pages && error === 0) {
    const pmdp = yield* tableFor(get(vma, Vma.mm), start + done);
    error = pmdp < 0 ? pmdp : yield* mfillPte(vma, pmdp, start + done, callerMm, source + done * size, flags);
    if (error === 0) done++;
  }
  return done > 0 ? done : error;
}
