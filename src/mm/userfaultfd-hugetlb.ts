/**
 * Filling holes of hugetlb (mm/userfaultfd.c: mfill_atomic_hugetlb; mm/hugetlb.c: hugetlb_mfill_atomic_pte).
 *
 * Invariants: a range of whole huge pages; the zero page is never used. Fills of one page come one after the other with faults on it (the fault mutex).
 */
import type { Op } from '../kernel/op.ts';
import { downWrite, folioLock, folioUnlock, get, setFlags, spinLock, spinUnlock, upWrite } from '../kernel/ops.ts';
import { compoundPages, nextPage } from '../memory/folio.ts';
import { PG_UPTODATE } from '../memory/page-flags.ts';
import { pageShift } from '../memory/state.ts';
import { EEXIST, EFAULT, EINVAL, ENOMEM } from './errno.ts';
import { filemapLockFolio } from './filemap.ts';
import { hugePteLockptr, hugePtepGet, setHugePteAt } from './huge-leaf.ts';
import { restoreReserveOnError } from './hugetlb.ts';
import { faultMutex, hugetlbVmaLockRead, hugetlbVmaUnlockRead } from './hugetlb-lock.ts';
import { allocHugetlbFolio } from './hugetlb-pool.ts';
import { hstateVma, hugecacheOffset, hugePages, inodeOfVma } from './hugetlb-resv.ts';
import { hugetlbAddFileRmap, hugetlbAddNewAnonRmap, hugetlbCountAdd, makeHugePte } from './hugetlb-rmap.ts';
import { hugePteAllocVma } from './hugetlb-share.ts';
import type { HstateRef } from './hugetlb-types.ts';
import { hugetlbAddToPageCache } from './hugetlbfs.ts';
import { mkPteMarker, PTE_MARKER_POISONED, PTE_UFFD_WP, pteMkdirty, pteMkyoung, pteNoneMostly, pteSet, pteWrprotect } from './pgtable.ts';
import { copyFromUserAtomic } from './read-write.ts';
import { folioPut } from './swap.ts';
import { Inode, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { MFILL_CONTINUE, MFILL_MODE_MASK, MFILL_POISON, MFILL_WP, MFILL_ZEROPAGE, SOURCE_FAULTS } from './userfaultfd-fill.ts';
import { VM_SHARED } from './vm-flags.ts';

/** mfill_atomic_hugetlb. Pages that were filled, −errno when not even the first was. */
export function* mfillHugetlb(vma: VmaRef, start: Vpn, callerMm: MmRef, source: number, pages: number, flags: number): Op<number> {
  const h = hstateVma(vma);
  const size = hugePages(h);
  if ((flags & MFILL_MODE_MASK) === MFILL_ZEROPAGE || start % size !== 0 || pages % size !== 0) return -EINVAL;
  let done = 0;
  let error = 0;
  while (done < pages && error === 0) {
    const vpn = start + done;
    const mutex = faultMutex(inodeOfVma(vma), hugecacheOffset(h, vma, vpn));
    yield* downWrite(mutex);
    yield* hugetlbVmaLockRead(vma);
    const ptep = yield* hugePteAllocVma(h, vma, vpn);
    if (ptep === 0) error = -ENOMEM;
    else {
      const pte = yield* hugePtepGet(h, ptep);
      if ((flags & MFILL_MODE_MASK) !== MFILL_CONTINUE && !pteNoneMostly(pte)) error = -EEXIST;
      else error = yield* mfillHugePte(vma, h, ptep, vpn, callerMm, source + done * 2 ** pageShift, flags);
    }
    yield* hugetlbVmaUnlockRead(vma);
    yield* upWrite(mutex);
    if (error === 0) done += size;
  }
  return done > 0 ? done : error;
}

/** hugetlb_mfill_atomic_pte. */
function* mfillHugePte(vma: VmaRef, h: HstateRef, ptep: number, vpn: Vpn, callerMm: MmRef, source: number, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const lock = hugePteLockptr(h, mm, ptep);
  const mode = flags & MFILL_MODE_MASK;
  if (mode === MFILL_POISON) {
    yield* spinLock(lock);
    const pte = yield* hugePtepGet(h, ptep);
    const free = pteNoneMostly(pte);
    if (free) yield* setHugePteAt(h, ptep, mkPteMarker(PTE_MARKER_POISONED));
    yield* spinUnlock(lock);
    return free ? 0 : -EEXIST;
  }
  const shared = (get(vma, Vma.flags) & VM_SHARED) !== 0;
  const inode = inodeOfVma(vma);
  const index = hugecacheOffset(h, vma, vpn);
  let cached = mode === MFILL_CONTINUE;
  let page = 0;
  if (cached) {
    page = yield* filemapLockFolio(inode, index * hugePages(h));
    if (page === 0) return -EFAULT;
  } else {
    if (shared && (yield* cachedAlready(vma, h, index))) return -EEXIST;
    page = yield* allocHugetlbFolio(vma, vpn, 0);
    if (page < 0) return -ENOMEM;
    for (let i = 0; i < compoundPages(page); i++)
      if (copyFromUserAtomic(callerMm, source + i * 2 ** pageShift, nextPage(page, i), 0, 2 ** pageShift) !== 2 ** pageShift) {
        yield* restoreReserveOnError(h, vma, vpn, page);
        yield* folioPut(page);
        return SOURCE_FAULTS;
      }
    yield* setFlags(page, PG_UPTODATE);
    if (shared) {
      const error =
        index >= Math.floor(get(inode, Inode.size) / (hugePages(h) * 2 ** pageShift)) ? -EFAULT : yield* hugetlbAddToPageCache(h, page, inode, index);
      if (error !== 0) {
        yield* restoreReserveOnError(h, vma, vpn, page);
        yield* folioPut(page);
        return error;
      }
      cached = true;
    } else yield* folioLock(page);
  }
  yield* spinLock(lock);
  const pte = yield* hugePtepGet(h, ptep);
  if (!pteNoneMostly(pte)) {
    yield* spinUnlock(lock);
    if (mode !== MFILL_CONTINUE) yield* restoreReserveOnError(h, vma, vpn, page);
    yield* folioUnlock(page);
    yield* folioPut(page);
    return -EEXIST;
  }
  if (cached) yield* hugetlbAddFileRmap(page, vma);
  else yield* hugetlbAddNewAnonRmap(page, vma, vpn);
  // A page of the cache is not written through a private mapping, and write protection is kept.
  const writable = (flags & MFILL_WP) === 0 && !(mode === MFILL_CONTINUE && !shared);
  let entry = pteMkyoung(pteMkdirty(makeHugePte(h, vma, page, writable)));
  if ((flags & MFILL_WP) !== 0) entry = pteSet(pteWrprotect(entry), PTE_UFFD_WP);
  yield* setHugePteAt(h, ptep, entry);
  yield* hugetlbCountAdd(h, mm, 1);
  yield* spinUnlock(lock);
  yield* folioUnlock(page);
  return 0;
}

/** hugetlbfs_pagecache_present. */
function* cachedAlready(vma: VmaRef, h: HstateRef, index: number): Op<boolean> {
  const page = yield* filemapLockFolio(inodeOfVma(vma), index * hugePages(h));
  if (page === 0) return false;
  yield* folioUnlock(page);
  yield* folioPut(page);
  return true;
}
