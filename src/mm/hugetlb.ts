/**
 * Faults of hugetlb (mm/hugetlb.c: hugetlb_fault, hugetlb_no_page, hugetlb_wp).
 *
 * Invariants: faults on one page of one file come one after the other (the fault mutex), and while one is inside its table is not unshared (the lock of the VMA).
 * A page of a shared mapping is in its file's cache, one of a private mapping is anonymous from the first access on, also when that only reads. Huge pages are not
 * overcommitted: who made a private mapping is sure of its pages; a child who writes without a free page in the pool gets SIGBUS, and so does one whose page
 * was taken away so that the owner could write.
 */
import type { Op } from '../kernel/op.ts';
import {
  clearFlags,
  downWrite,
  flushTlbRange,
  folioLock,
  folioTrylock,
  folioUnlock,
  get,
  set,
  setFlags,
  spinLock,
  spinUnlock,
  switched,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundOrder, folioMapcount } from '../memory/folio.ts';
import { clearFrames, copyFrames } from '../memory/huge-frames.ts';
import { PG_ANON_EXCLUSIVE, PG_HUGETLB_RESTORE_RESERVE, PG_HWPOISON, PG_UPTODATE } from '../memory/page-flags.ts';
import { pageFlags, pageRefcount, pageShift } from '../memory/state.ts';
import { anonVmaPrepareHeld } from './anon-vma.ts';
import { ENOMEM } from './errno.ts';
import { filemapLockFolio } from './filemap.ts';
import { hugePteLockptr, hugePtepGet, hugePtepGetAndClear, setHugePteAt } from './huge-leaf.ts';
import { faultMutex, hugetlbVmaLockRead, hugetlbVmaUnlockRead } from './hugetlb-lock.ts';
import { allocHugetlbFolio, hstateIndex } from './hugetlb-pool.ts';
import {
  HPAGE_RESV_OWNER,
  HPAGE_RESV_UNMAPPED,
  hstateVma,
  hugecacheOffset,
  hugePages,
  inodeOfVma,
  isVmaResvSet,
  vmaAddReservation,
  vmaDelReservation,
  vmaEndReservation,
  vmaNeedsReservation,
} from './hugetlb-resv.ts';
import { hugetlbAddFileRmap, hugetlbAddNewAnonRmap, hugetlbCountAdd, hugetlbRemoveRmap, makeHugePte } from './hugetlb-rmap.ts';
import { hugePteAllocVma, hugetlbWalk } from './hugetlb-share.ts';
import type { HstateRef } from './hugetlb-types.ts';
import { unmapRefPrivate } from './hugetlb-vma.ts';
import { hugetlbAddToPageCache } from './hugetlbfs.ts';
import { migrationEntryWaitHuge } from './migrate.ts';
import { isHwpoisonEntry, isMigrationEntry } from './migration-entry.ts';
import { vmaEndRead } from './mmap-lock.ts';
import {
  isSwapPte,
  PTE_MARKER_POISONED,
  PTE_MARKER_UFFD_WP,
  PTE_UFFD_WP,
  pteClear,
  pteMarker,
  pteMkdirty,
  pteMkwrite,
  pteMkyoung,
  ptePage,
  pteSet,
  pteWrite,
  pteWrprotect,
} from './pgtable.ts';
import { folioMoveAnonRmap, pageAnonExclusive } from './rmap.ts';
import { folioGet, folioPut, folioTestAnon } from './swap.ts';
import { Inode, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { handleUserfault } from './userfaultfd-fault.ts';
import { UFFD_MINOR } from './userfaultfd-types.ts';
import { userfaultfdMinor, userfaultfdMissing, userfaultfdWp, userfaultfdWpAsync } from './userfaultfd-vma.ts';
import { VM_MAYSHARE, VM_SHARED, VM_UFFD_MISSING, VM_UFFD_WP, VM_WRITE } from './vm-flags.ts';
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  faultSetHindex,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  Vmf,
  type VmfRef,
} from './vmf.ts';

/** A userfaultfd is to be asked once the locks are dropped: what is above is the reason. */
const ASK_USERFAULTFD = 2 ** 24;

/** vmf_error: what an allocation that failed says to the process: an empty pool is no want of memory. */
const vmfError = (error: number): number => (error === -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS);

/**
 * hugetlb_fault: VM_FAULT_* of an access to a page of a hugetlb VMA. `Vmf.vpn` becomes the first page of the huge page, `Vmf.pgoff` its number in
 * the file.
 */
export function* hugetlbFault(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const h = hstateVma(vma);
  const vpn = Math.floor(get(vmf, Vmf.vpn) / hugePages(h)) * hugePages(h);
  set(vmf, Vmf.vpn, vpn);
  set(vmf, Vmf.pgoff, hugecacheOffset(h, vma, vpn));
  const mutex = faultMutex(inodeOfVma(vma), get(vmf, Vmf.pgoff));
  const serial = !switched(SW.hugetlbNoFaultMutex);
  if (serial) yield* downWrite(mutex);
  const walks = !switched(SW.hugetlbFaultUnlocked);
  if (walks) yield* hugetlbVmaLockRead(vma);
  set(vmf, Vmf.page, 0);
  const result = yield* hugetlbFaultLocked(vmf, h);
  if (walks) yield* hugetlbVmaUnlockRead(vma);
  // Only the want of an anon_vma leads here; the VMA is not needed any longer.
  if (result < ASK_USERFAULTFD && (result & VM_FAULT_RETRY) !== 0) yield* vmaEndRead(vma);
  if (serial) yield* upWrite(mutex);
  // It sleeps without the mutex, and releases the lock of the VMA, or the mmap lock, by itself (hugetlb_handle_userfault).
  if (result >= ASK_USERFAULTFD) return yield* handleUserfault(vmf, result - ASK_USERFAULTFD);
  const busy = get(vmf, Vmf.page);
  // The locks are needed to look at the entry, and let go before the wait.
  if (isMigrationEntry(get(vmf, Vmf.origPte))) yield* migrationEntryWaitHuge(h, get(vmf, Vmf.mm), get(vmf, Vmf.ptep));
  if (busy !== 0) {
    // Somebody holds the page's lock and may wait for our mutex: we wait for him without it, and come again.
    yield* folioLock(busy);
    yield* folioUnlock(busy);
    yield* folioPut(busy);
  }
  return result;
}

/** The part of hugetlb_fault() with the fault mutex and the VMA's lock held. Leaves a page in `Vmf.page`, referenced, that must be waited for. */
function* hugetlbFaultLocked(vmf: VmfRef, h: HstateRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const mm = get(vmf, Vmf.mm);
  const flags = get(vmf, Vmf.flags);
  const ptep = yield* hugePteAllocVma(h, vma, vpn);
  if (ptep === 0) return VM_FAULT_OOM;
  set(vmf, Vmf.ptep, ptep);
  const pte = yield* hugePtepGet(h, ptep);
  set(vmf, Vmf.origPte, pte);
  if (isSwapPte(pte)) {
    if ((pteMarker(pte) & PTE_MARKER_POISONED) !== 0) return VM_FAULT_HWPOISON_LARGE | faultSetHindex(hstateIndex(h));
    if (isHwpoisonEntry(pte)) return VM_FAULT_HWPOISON_LARGE | faultSetHindex(hstateIndex(h));
    return pteMarker(pte) !== 0 ? yield* hugetlbNoPage(vmf, h) : 0;
  }
  if (pte === 0) return yield* hugetlbNoPage(vmf, h);
  const breaks = (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0;
  if (breaks && (get(vma, Vma.flags) & VM_MAYSHARE) === 0 && !pteWrite(pte) && !(yield* canReserve(h, vma, vpn))) return VM_FAULT_OOM;
  const lock = hugePteLockptr(h, mm, ptep);
  yield* spinLock(lock);
  let result = 0;
  if ((yield* hugePtepGet(h, ptep)) === pte) {
    let entry = pte;
    let done = false;
    if ((flags & FAULT_FLAG_WRITE) !== 0 && (pte & PTE_UFFD_WP) !== 0 && userfaultfdWp(vma) && !pteWrite(pte)) {
      if (!userfaultfdWpAsync(vma)) {
        yield* spinUnlock(lock);
        return ASK_USERFAULTFD + VM_UFFD_WP;
      }
      entry = pteClear(pte, PTE_UFFD_WP);
      yield* setHugePteAt(h, ptep, entry);
      set(vmf, Vmf.origPte, entry);
    }
    if (breaks && !pteWrite(pte)) {
      done = true;
      const page = ptePage(pte);
      const anon = folioTestAnon(page);
      yield* folioGet(page);
      if (anon && (yield* folioTrylock(page)) === 0) set(vmf, Vmf.page, page);
      else {
        result = yield* hugetlbWp(vmf, h, lock);
        if (anon) yield* folioUnlock(page);
        yield* folioPut(page);
      }
    } else if ((flags & FAULT_FLAG_WRITE) !== 0) entry = pteMkdirty(entry);
    if (!done) {
      entry = pteMkyoung(entry);
      if (entry !== pte) yield* setHugePteAt(h, ptep, entry);
      yield* flushTlbRange(mm, vpn, vpn + hugePages(h));
    }
  }
  yield* spinUnlock(lock);
  return result;
}

/** Whether what a reservation may need is at hand before a lock is taken under which nothing can be allocated. */
function* canReserve(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<boolean> {
  if ((yield* vmaNeedsReservation(h, vma, vpn)) < 0) return false;
  yield* vmaEndReservation(vma);
  return true;
}

/** hugetlb_no_page: nothing is mapped. */
function* hugetlbNoPage(vmf: VmfRef, h: HstateRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const mm = get(vmf, Vmf.mm);
  const inode = inodeOfVma(vma);
  const shared = (get(vma, Vma.flags) & VM_MAYSHARE) !== 0;
  const writes = (get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0;
  // What was here went to the owner; a new page would look as if data had been lost.
  if (isVmaResvSet(vma, HPAGE_RESV_UNMAPPED)) return VM_FAULT_SIGBUS;
  let anon = false;
  let page = yield* filemapLockFolio(inode, get(vmf, Vmf.pgoff) * hugePages(h));
  if (page !== 0 && userfaultfdMinor(vma)) {
    yield* folioUnlock(page);
    yield* folioPut(page);
    return (yield* hugePteStable(vmf, h)) ? ASK_USERFAULTFD + UFFD_MINOR : 0;
  }
  if (page === 0) {
    if (get(vmf, Vmf.pgoff) >= Math.floor(get(inode, Inode.size) / (hugePages(h) * 2 ** pageShift))) return VM_FAULT_SIGBUS;
    if (userfaultfdMissing(vma)) return (yield* hugePteStable(vmf, h)) ? ASK_USERFAULTFD + VM_UFFD_MISSING : 0;
    if (!shared) {
      const failed = yield* anonVmaPrepareHeld(vma, get(vmf, Vmf.flags));
      if (failed !== 0) return failed;
    }
    page = yield* allocHugetlbFolio(vma, vpn, 0);
    if (page < 0) return (yield* hugePteStable(vmf, h)) ? vmfError(page) : 0;
    clearFrames(page, compoundOrder(page));
    yield* setFlags(page, PG_UPTODATE);
    if (shared) {
      const error = yield* hugetlbAddToPageCache(h, page, inode, get(vmf, Vmf.pgoff));
      if (error !== 0) {
        yield* restoreReserveOnError(h, vma, vpn, page);
        yield* folioPut(page);
        return VM_FAULT_SIGBUS;
      }
    } else {
      anon = true;
      yield* folioLock(page);
    }
  }
  if ((pageFlags[page] & PG_HWPOISON) !== 0) return yield* backOut(vmf, h, page, anon, VM_FAULT_HWPOISON_LARGE | faultSetHindex(hstateIndex(h)));
  if (writes && (get(vma, Vma.flags) & VM_SHARED) === 0 && !(yield* canReserve(h, vma, vpn))) return yield* backOut(vmf, h, page, anon, VM_FAULT_OOM);
  const ptep = get(vmf, Vmf.ptep);
  const lock = hugePteLockptr(h, mm, ptep);
  yield* spinLock(lock);
  if ((yield* hugePtepGet(h, ptep)) !== get(vmf, Vmf.origPte)) {
    yield* spinUnlock(lock);
    return yield* backOut(vmf, h, page, anon, 0);
  }
  if (anon) yield* hugetlbAddNewAnonRmap(page, vma, vpn);
  else yield* hugetlbAddFileRmap(page, vma);
  let fresh = makeHugePte(h, vma, page, (get(vma, Vma.flags) & VM_SHARED) !== 0);
  // Write protection of a marker is inherited.
  const marked = (pteMarker(get(vmf, Vmf.origPte)) & PTE_MARKER_UFFD_WP) !== 0;
  if (marked) fresh = pteSet(pteWrprotect(fresh), PTE_UFFD_WP);
  yield* setHugePteAt(h, ptep, fresh);
  yield* hugetlbCountAdd(h, mm, 1);
  let result = 0;
  let locked = true;
  if (writes && (get(vma, Vma.flags) & VM_SHARED) === 0 && !marked) {
    if (!anon) {
      locked = false;
      yield* folioUnlock(page);
    }
    // The copy at once, without a second fault.
    result = yield* hugetlbWp(vmf, h, lock);
  }
  yield* spinUnlock(lock);
  if (locked) yield* folioUnlock(page);
  return result;
}

/** The end of a fault that found the entry changed: the page goes, and with it a reservation that it took. */
function* backOut(vmf: VmfRef, h: HstateRef, page: Page, anon: boolean, result: number): Op<number> {
  if (anon) yield* restoreReserveOnError(h, get(vmf, Vmf.vma), get(vmf, Vmf.vpn), page);
  yield* folioUnlock(page);
  yield* folioPut(page);
  return result;
}

/** hugetlb_pte_stable: the entry is what it was when the fault began. */
function* hugePteStable(vmf: VmfRef, h: HstateRef): Op<boolean> {
  const ptep = get(vmf, Vmf.ptep);
  const lock = hugePteLockptr(h, get(vmf, Vmf.mm), ptep);
  yield* spinLock(lock);
  const same = (yield* hugePtepGet(h, ptep)) === get(vmf, Vmf.origPte);
  yield* spinUnlock(lock);
  return same;
}

/** restore_reserve_on_error: a page that was allocated for a place and is freed unused: the map says again what it said before. */
export function* restoreReserveOnError(h: HstateRef, vma: VmaRef, vpn: Vpn, page: Page): Op<number> {
  const needed = yield* vmaNeedsReservation(h, vma, vpn);
  const shared = (get(vma, Vma.flags) & VM_MAYSHARE) !== 0;
  if ((pageFlags[page] & PG_HUGETLB_RESTORE_RESERVE) !== 0) {
    if (needed < 0) return yield* clearFlags(page, PG_HUGETLB_RESTORE_RESERVE);
    return needed > 0 ? yield* vmaAddReservation(h, vma, vpn) : yield* vmaEndReservation(vma);
  }
  if (needed === 0) {
    const deleted = yield* vmaDelReservation(h, vma, vpn);
    return deleted < 0 ? yield* setFlags(page, PG_HUGETLB_RESTORE_RESERVE) : 0;
  }
  if (needed > 0) return yield* vmaEndReservation(vma);
  return shared ? 0 : yield* setFlags(page, PG_HUGETLB_RESTORE_RESERVE);
}

/** hugetlb_wp: a write (or an unshare) to a present page that is not writable. Needs the entry's lock, and holds it again at the end. */
function* hugetlbWp(vmf: VmfRef, h: HstateRef, lock: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const unshare = (get(vmf, Vmf.flags) & FAULT_FLAG_UNSHARE) !== 0;
  const pte = yield* hugePtepGet(h, get(vmf, Vmf.ptep));
  if ((get(vma, Vma.flags) & VM_MAYSHARE) !== 0) return yield* makeWritable(vmf, h);
  const old = ptePage(pte);
  for (;;) {
    // Mapped once: ours. References of others are not asked for, because a copy needs a page that may not be there.
    const alone = !switched(SW.hugetlbCowStrict) || pageRefcount[old] <= 2;
    if (folioMapcount(old) === 1 && folioTestAnon(old) && alone) {
      if (!pageAnonExclusive(old)) {
        folioMoveAnonRmap(old, vma);
        yield* setFlags(old, PG_ANON_EXCLUSIVE);
      }
      return unshare || (get(vma, Vma.flags) & VM_WRITE) === 0 ? 0 : yield* makeWritable(vmf, h);
    }
    // The reservation of the place was used for the page that is to be copied.
    const fromOwner = isVmaResvSet(vma, HPAGE_RESV_OWNER) && folioTestAnon(old);
    yield* folioGet(old);
    yield* spinUnlock(lock);
    const fresh = yield* allocHugetlbFolio(vma, vpn, fromOwner ? 1 : 0);
    if (fresh >= 0) return yield* hugetlbCopy(vmf, h, lock, old, fresh, pte);
    yield* folioPut(old);
    if (!fromOwner) {
      yield* spinLock(lock);
      return vmfError(fresh);
    }
    yield* takeFromChildren(vmf, h, old);
    yield* spinLock(lock);
    const ptep = yield* hugetlbWalk(vma, vpn, h);
    if ((ptep === 0 || (yield* hugePtepGet(h, ptep)) !== pte) && !switched(SW.hugetlbWpNoRecheck)) return 0;
  }
}

/** The owner cannot copy and has children that map the page: they lose it. Faults and unmapping of others go on meanwhile. */
function* takeFromChildren(vmf: VmfRef, h: HstateRef, page: Page): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mutex = faultMutex(inodeOfVma(vma), get(vmf, Vmf.pgoff));
  yield* hugetlbVmaUnlockRead(vma);
  yield* upWrite(mutex);
  yield* unmapRefPrivate(h, vma, page, get(vmf, Vmf.vpn));
  yield* downWrite(mutex);
  return yield* hugetlbVmaLockRead(vma);
}

/** set_huge_ptep_writable. */
function* makeWritable(vmf: VmfRef, h: HstateRef): Op<number> {
  const ptep = get(vmf, Vmf.ptep);
  const vpn = get(vmf, Vmf.vpn);
  const pte = yield* hugePtepGet(h, ptep);
  yield* setHugePteAt(h, ptep, pteMkwrite(pteMkdirty(pte)));
  yield* flushTlbRange(get(vmf, Vmf.mm), vpn, vpn + hugePages(h));
  return 0;
}

/** The copy of hugetlb_wp() into a fresh page, both referenced. The entry's lock is held at the end. */
function* hugetlbCopy(vmf: VmfRef, h: HstateRef, lock: number, old: Page, fresh: Page, pte: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const mm = get(vmf, Vmf.mm);
  const unshare = (get(vmf, Vmf.flags) & FAULT_FLAG_UNSHARE) !== 0;
  let unused = fresh;
  // A page of the file did not need one so far.
  const result = yield* anonVmaPrepareHeld(vma, get(vmf, Vmf.flags));
  if (result === 0) {
    copyFrames(fresh, old, compoundOrder(fresh));
    yield* setFlags(fresh, PG_UPTODATE);
    yield* spinLock(lock);
    const ptep = yield* hugetlbWalk(vma, vpn, h);
    if (ptep !== 0 && (yield* hugePtepGet(h, ptep)) === pte) {
      yield* hugePtepGetAndClear(h, ptep);
      yield* flushTlbRange(mm, vpn, vpn + hugePages(h));
      yield* hugetlbRemoveRmap(old, vma);
      yield* hugetlbAddNewAnonRmap(fresh, vma, vpn);
      yield* setHugePteAt(h, ptep, makeHugePte(h, vma, fresh, !unshare));
      unused = old;
    }
    yield* spinUnlock(lock);
  }
  if (unused !== old) yield* restoreReserveOnError(h, vma, vpn, fresh);
  yield* folioPut(unused);
  yield* folioPut(old);
  yield* spinLock(lock);
  return result;
}
