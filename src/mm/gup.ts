/**
 * get_user_pages, the slow way (mm/gup.c): pages of an address space, found through its VMAs and faulted in where they are missing.
 *
 * Invariants: the caller holds the mmap lock for reading; a page is returned with a reference (or pin) taken under the lock of its entry, so it
 * was mapped there with the asked right at that moment. A fault may release the mmap lock only for FOLL_UNLOCKABLE, and `Gup.locked` is 0 then.
 */

import type { Op } from '../kernel/op.ts';
import { entryGet, get, set, spinUnlock } from '../kernel/ops.ts';
import { pageFlags, pfnOfPage } from '../memory/state.ts';
import { PTE_DIRTY, PTE_PROTNONE, PTE_SOFT_DIRTY, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { isCowMapping } from './copy-page-range.ts';
import { mmSetHasPinnedFlag } from './dma-pinned.ts';
import { EAGAIN, EBUSY, EEXIST, EFAULT, EHWPOISON, EINVAL, EMLINK, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { gupMustUnshare, tryGrabFolio } from './gup-pin.ts';
import {
  allocGup,
  FOLL_ANON,
  FOLL_DUMP,
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HONOR_NUMA_FAULT,
  FOLL_HWPOISON,
  FOLL_LONGTERM,
  FOLL_MADV_POPULATE,
  FOLL_NOFAULT,
  FOLL_NOWAIT,
  FOLL_PIN,
  FOLL_REMOTE,
  FOLL_TOUCH,
  FOLL_TRIED,
  FOLL_UNLOCKABLE,
  FOLL_WRITE,
  freeGup,
  Gup,
  type GupRef,
  pushPage,
} from './gup-types.ts';
import { handleMmFault, vmNormalPage } from './memory.ts';
import { mmapAssertLocked, mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { pteLockptr, ptePage, ptePfn, ptePresent } from './pgtable.ts';
import { lockedPtePointer } from './pgtable-generic.ts';
import { pageAnonExclusive } from './rmap.ts';
import { folioMarkAccessed, folioMarkDirty, folioTestAnon, folioTestDirty } from './swap.ts';
import { Globals, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import {
  VM_ACCESS_FLAGS,
  VM_HUGETLB,
  VM_IO,
  VM_LOCKONFAULT,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_SOFTDIRTY,
  VM_UFFD_WP,
  VM_WRITE,
} from './vm-flags.ts';
import { vmOpsHasPageMkwrite } from './vm-ops.ts';
import { findVmaIntersection, vmaLookup } from './vma-tree.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_KILLABLE,
  FAULT_FLAG_MEMALLOC_PIN,
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_COMPLETED,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vmf.ts';

/** vm_fault_to_errno. */
export function vmFaultToErrno(result: number, follFlags: number): number {
  if ((result & VM_FAULT_OOM) !== 0) return -ENOMEM;
  if ((result & VM_FAULT_HWPOISON) !== 0) return (follFlags & FOLL_HWPOISON) !== 0 ? -EHWPOISON : -EFAULT;
  if ((result & (VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)) !== 0) return -EFAULT;
  return 0;
}

/** check_vma_flags: whether pages of a VMA may be had this way; 0 or −EFAULT. */
export function checkVmaFlags(vma: VmaRef, follFlags: number): number {
  const vmFlags = get(vma, Vma.flags);
  const anonymous = get(vma, Vma.ops) === 0;
  if ((vmFlags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT;
  if ((follFlags & FOLL_ANON) !== 0 && !anonymous) return -EFAULT;
  if ((follFlags & FOLL_WRITE) !== 0) {
    // A lasting pin could dirty the page of a file that wants to hear of writes (writable_file_mapping_allowed).
    const lasting = (follFlags & (FOLL_PIN | FOLL_LONGTERM)) === (FOLL_PIN | FOLL_LONGTERM);
    if (lasting && !anonymous && (vmFlags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED) && vmOpsHasPageMkwrite(vma)) return -EFAULT;
    if ((vmFlags & VM_WRITE) === 0) {
      if ((follFlags & FOLL_FORCE) === 0) return -EFAULT;
      if ((vmFlags & VM_HUGETLB) !== 0) return -EFAULT;
      // A forced write must end in a private copy: what nobody may ever write stays as it is.
      if (!isCowMapping(vmFlags)) return -EFAULT;
    }
  } else if ((vmFlags & VM_READ) === 0) {
    if ((follFlags & FOLL_FORCE) === 0) return -EFAULT;
    if ((vmFlags & VM_MAYREAD) === 0) return -EFAULT;
  }
  return 0;
}

/** can_follow_write_pte: a forced write may use an entry that is not writable once the copy is made. `page` is 0 for the zero page. */
function canFollowWritePte(pte: number, page: Page, vma: VmaRef, follFlags: number): boolean {
  if ((pte & PTE_WRITE) !== 0) return true;
  if ((follFlags & FOLL_FORCE) === 0) return false;
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & (VM_MAYSHARE | VM_SHARED | VM_MAYWRITE | VM_WRITE)) !== VM_MAYWRITE) return false;
  if (page === 0 || !folioTestAnon(page) || !pageAnonExclusive(page)) return false;
  // Entries that wait for a first write must have the fault.
  if (get(globals, Globals.softDirty) !== 0 && (vmFlags & VM_SOFTDIRTY) === 0 && (pte & PTE_SOFT_DIRTY) === 0) return false;
  return !((vmFlags & VM_UFFD_WP) !== 0 && (pte & PTE_UFFD_WP) !== 0);
}

/**
 * gup_can_follow_protnone: whether an inaccessible entry is as good as any. In a VMA that may be accessed it is NUMA balancing's, and only who asks for
 * that waits for its fault; in one that may not, FOLL_FORCE would never come further.
 */
const canFollowProtnone = (vma: VmaRef, follFlags: number): boolean =>
  (follFlags & FOLL_HONOR_NUMA_FAULT) === 0 || (get(vma, Vma.flags) & VM_ACCESS_FLAGS) === 0;

/** no_page_table: nothing is mapped. A core dump does not want to make pages where nothing would come from a file. */
const noPageTable = (vma: VmaRef, follFlags: number): number => ((follFlags & FOLL_DUMP) !== 0 && get(vma, Vma.ops) === 0 ? -EFAULT : 0);

/**
 * follow_page_pte: the page that a VMA maps at a place, referenced with FOLL_GET or pinned with FOLL_PIN; 0 where a fault is needed, −EMLINK where a
 * shared page must be unshared first, −EEXIST where a frame without a page is mapped, −EFAULT where there is nothing to have.
 */
export function* followPage(vma: VmaRef, vpn: Vpn, follFlags: number): Op<number> {
  const ptep = yield* lockedPtePointer(get(vma, Vma.mm), vpn);
  if (ptep === 0) return noPageTable(vma, follFlags);
  const lock = pteLockptr(ptep);
  const pte = yield* entryGet(ptep, 0);
  let result = pte === 0 ? noPageTable(vma, follFlags) : 0;
  if (ptePresent(pte)) result = yield* followPresent(vma, pte, follFlags);
  yield* spinUnlock(lock);
  return result;
}

/** The part of follow_page_pte for a present entry, whose lock is held. */
function* followPresent(vma: VmaRef, pte: number, follFlags: number): Op<number> {
  if ((pte & PTE_PROTNONE) !== 0 && !canFollowProtnone(vma, follFlags)) return 0;
  const normal = vmNormalPage(pte);
  if ((follFlags & FOLL_WRITE) !== 0 && !canFollowWritePte(pte, normal, vma, follFlags)) return 0;
  if (normal === 0 && (follFlags & FOLL_DUMP) !== 0) return -EFAULT;
  // follow_pfn_pte: somebody's device; there is a frame but no page.
  if (normal === 0 && ptePfn(pte) !== pfnOfPage(get(globals, Globals.zeroPage))) return -EEXIST;
  const page = ptePage(pte);
  if ((pte & PTE_WRITE) === 0 && gupMustUnshare(vma, follFlags, pageFlags[page])) return -EMLINK;
  const failed = yield* tryGrabFolio(page, follFlags);
  if (failed !== 0) return failed;
  if ((follFlags & FOLL_TOUCH) !== 0) {
    if ((follFlags & FOLL_WRITE) !== 0 && (pte & PTE_DIRTY) === 0 && !folioTestDirty(page)) yield* folioMarkDirty(page);
    yield* folioMarkAccessed(page);
  }
  return page;
}

/**
 * faultin_page: one fault as the process's own access would take it, but for rights that FOLL_FORCE overrides. 0, −EFAULT, −ENOMEM, −EHWPOISON; −EAGAIN
 * where all is done and −EBUSY where it must be tried again, both with the mmap lock released (not with FOLL_NOWAIT).
 */
export function* faultinPage(gup: GupRef, vma: VmaRef, vpn: Vpn, unshare: number): Op<number> {
  const follFlags = get(gup, Gup.flags);
  if ((follFlags & FOLL_NOFAULT) !== 0) return -EFAULT;
  let flags = 0;
  if ((follFlags & FOLL_WRITE) !== 0) flags |= FAULT_FLAG_WRITE;
  if ((follFlags & FOLL_REMOTE) !== 0) flags |= FAULT_FLAG_REMOTE;
  if ((follFlags & FOLL_UNLOCKABLE) !== 0) flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
  if ((follFlags & FOLL_NOWAIT) !== 0) flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT;
  if ((follFlags & FOLL_TRIED) !== 0) flags |= FAULT_FLAG_TRIED;
  // What is pinned for long is not put where pages must be movable (memalloc_pin_save).
  if ((follFlags & FOLL_LONGTERM) !== 0) flags |= FAULT_FLAG_MEMALLOC_PIN;
  // Only what may be copied on write can be unshared; elsewhere it is a fault for reading (sanitize_fault_flags).
  if (unshare !== 0 && isCowMapping(get(vma, Vma.flags))) flags |= FAULT_FLAG_UNSHARE;
  const result = yield* handleMmFault(vma, vpn, flags);
  if ((result & VM_FAULT_COMPLETED) !== 0) {
    set(gup, Gup.locked, 0);
    return -EAGAIN;
  }
  if ((result & VM_FAULT_ERROR) !== 0) return vmFaultToErrno(result, follFlags);
  if ((result & VM_FAULT_RETRY) !== 0) {
    if ((follFlags & FOLL_NOWAIT) === 0) set(gup, Gup.locked, 0);
    return -EBUSY;
  }
  return 0;
}

/** Which error a place without a usable VMA gives: MADV_POPULATE tells holes from rights. */
function vmaError(vma: VmaRef, follFlags: number): number {
  if ((follFlags & FOLL_MADV_POPULATE) === 0) return vma === 0 ? -EFAULT : checkVmaFlags(vma, follFlags);
  if (vma === 0) return -ENOMEM;
  return checkVmaFlags(vma, follFlags) !== 0 ? -EINVAL : 0;
}

/**
 * __get_user_pages: `count` pages from `start` on. How many were had; −errno when not even one. Fewer (even 0) without an error where the mmap lock was
 * released. Needs the mmap lock for reading.
 */
function* getPages(gup: GupRef, start: Vpn, count: number): Op<number> {
  const follFlags = get(gup, Gup.flags);
  const vector = get(gup, Gup.vector);
  let vma = 0;
  let done = 0;
  while (done < count) {
    const vpn = start + done;
    if (vma === 0 || vpn >= get(vma, Vma.end)) {
      vma = vmaLookup(get(gup, Gup.mm), vpn);
      const denied = vmaError(vma, follFlags);
      if (denied !== 0) return done > 0 ? done : denied;
    }
    const page = yield* followPage(vma, vpn, follFlags);
    // Who only wants it faulted in has it, page or not.
    if (page > 0 || (page === -EEXIST && vector === 0)) {
      if (vector !== 0) pushPage(vector, page);
      done++;
      continue;
    }
    if (page !== 0 && page !== -EMLINK) return done > 0 ? done : page;
    const error = yield* faultinPage(gup, vma, vpn, page === -EMLINK ? 1 : 0);
    if (error === -EAGAIN || error === -EBUSY) return done;
    if (error !== 0) return done > 0 ? done : error;
  }
  return done;
}

/**
 * __get_user_pages_locked: the same, going on where a fault released the mmap lock. When `Gup.locked` is 0 it takes the lock, and has let it go at the end;
 * else it is held at the end as well, unless, as only FOLL_UNLOCKABLE allows, it was released on the way (`Gup.locked` 0). Never 0 for a positive
 * count, but with FOLL_NOWAIT.
 */
export function* getUserPagesLocked(gup: GupRef, start: Vpn, count: number): Op<number> {
  if (count === 0) return 0;
  const mm = get(gup, Gup.mm);
  let follFlags = get(gup, Gup.flags);
  let mustUnlock = 0;
  if (get(gup, Gup.locked) === 0) {
    yield* mmapReadLock(mm);
    mustUnlock = 1;
    set(gup, Gup.locked, 1);
  } else mmapAssertLocked(mm);
  if ((follFlags & FOLL_PIN) !== 0) yield* mmSetHasPinnedFlag(mm);
  if (get(gup, Gup.vector) !== 0 && (follFlags & FOLL_PIN) === 0) follFlags |= FOLL_GET;
  set(gup, Gup.flags, follFlags);
  let done = 0;
  let error = 0;
  let retrying = 0;
  for (;;) {
    // The page whose fault released the lock comes alone, and is told that it was tried before.
    const got = yield* getPages(gup, start + done, retrying !== 0 ? 1 : count - done);
    if (got > 0) done += got;
    else error = got;
    if ((follFlags & FOLL_UNLOCKABLE) === 0) break;
    if (get(gup, Gup.locked) !== 0) {
      if (done === count || retrying === 0 || got !== 1) break;
      retrying = 0;
      set(gup, Gup.flags, follFlags);
    } else {
      yield* mmapReadLock(mm);
      mustUnlock = 1;
      retrying = 1;
      set(gup, Gup.locked, 1);
      set(gup, Gup.flags, follFlags | FOLL_TRIED);
    }
  }
  set(gup, Gup.flags, follFlags);
  if (mustUnlock !== 0) {
    yield* mmapReadUnlock(mm);
    set(gup, Gup.locked, 0);
  }
  if (done === 0 && error === 0 && (follFlags & FOLL_NOWAIT) === 0) return -EFAULT;
  return done > 0 ? done : error;
}

/**
 * get_user_pages_remote for one page that is held while the mmap lock is: a referenced page, or −errno. Needs the mmap lock for reading, and keeps it.
 */
export function* getUserPageRemote(mm: MmRef, vpn: Vpn, follFlags: number): Op<number> {
  const gup = allocGup();
  set(gup, Gup.mm, mm);
  set(gup, Gup.flags, follFlags | FOLL_TOUCH | FOLL_REMOTE | FOLL_GET);
  set(gup, Gup.locked, 1);
  let page = vmaError(vmaLookup(mm, vpn), follFlags);
  while (page === 0) {
    const vma = vmaLookup(mm, vpn);
    page = yield* followPage(vma, vpn, get(gup, Gup.flags));
    if (page === 0 || page === -EMLINK) page = yield* faultinPage(gup, vma, vpn, page === -EMLINK ? 1 : 0);
  }
  freeGup(gup);
  return page;
}

/**
 * populate_vma_page_range: faults in all of a part of a VMA. Pages that were populated, or −errno when not even one. Of the call's flags FOLL_UNLOCKABLE
 * counts: the mmap lock may be released, and 0 is no error then.
 */
function* populateRange(gup: GupRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_LOCKONFAULT) !== 0) return end - start;
  let follFlags = FOLL_TOUCH | (get(gup, Gup.flags) & FOLL_UNLOCKABLE);
  // Private writable mappings get their copies now; shared ones are not dirtied by it.
  if ((vmFlags & (VM_WRITE | VM_SHARED)) === VM_WRITE) follFlags |= FOLL_WRITE;
  // Whatever may be accessed in any way, as mlock() wants it.
  if ((vmFlags & VM_ACCESS_FLAGS) !== 0) follFlags |= FOLL_FORCE;
  set(gup, Gup.flags, follFlags);
  return yield* getPages(gup, start, end - start);
}

/** populate_vma_page_range with the mmap lock held throughout: pages that were populated, or −errno when not even one. */
export function* populateVmaPageRange(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const gup = allocGup();
  set(gup, Gup.mm, get(vma, Vma.mm));
  set(gup, Gup.locked, 1);
  const done = yield* populateRange(gup, vma, start, end);
  freeGup(gup);
  return done;
}

/** __mm_populate: what MAP_POPULATE and mlock fault in. With `ignoreErrors` a range that cannot be had is passed over. 0 or −errno. */
export function* mmPopulateRange(mm: MmRef, start: Vpn, pages: number, ignoreErrors: number): Op<number> {
  const end = start + pages;
  const gup = allocGup();
  set(gup, Gup.mm, mm);
  let vpn = start;
  let vma = 0;
  let error = 0;
  while (vpn < end) {
    if (get(gup, Gup.locked) === 0) {
      yield* mmapReadLock(mm);
      set(gup, Gup.locked, 1);
      vma = findVmaIntersection(mm, vpn, end);
    } else if (vpn >= get(vma, Vma.end)) vma = findVmaIntersection(mm, get(vma, Vma.end), end);
    if (vma === 0) break;
    const to = Math.min(end, get(vma, Vma.end));
    vpn = Math.max(vpn, get(vma, Vma.start));
    if ((get(vma, Vma.flags) & (VM_IO | VM_PFNMAP)) !== 0) {
      vpn = to;
      continue;
    }
    set(gup, Gup.flags, FOLL_UNLOCKABLE);
    const done = yield* populateRange(gup, vma, vpn, to);
    if (done >= 0) vpn += done;
    else if (ignoreErrors !== 0) vpn = to;
    else {
      error = done;
      break;
    }
  }
  if (get(gup, Gup.locked) !== 0) yield* mmapReadUnlock(mm);
  freeGup(gup);
  return error;
}

/** mm_populate: errors are passed over. */
export function* mmPopulate(mm: MmRef, start: Vpn, pages: number): Op<number> {
  return yield* mmPopulateRange(mm, start, pages, 1);
}

/**
 * faultin_page_range: MADV_POPULATE_READ and _WRITE. Pages done, or −errno: −EINVAL where a VMA's rights do not allow it, −ENOMEM
 * where there is none, −EFAULT where a fault would raise a signal. Needs the mmap lock for reading, which may be released and taken again on the way.
 */
export function* faultinPageRange(mm: MmRef, start: Vpn, end: Vpn, write: number): Op<number> {
  const gup = allocGup();
  set(gup, Gup.mm, mm);
  set(gup, Gup.flags, FOLL_TOUCH | FOLL_HWPOISON | FOLL_UNLOCKABLE | FOLL_MADV_POPULATE | (write !== 0 ? FOLL_WRITE : 0));
  set(gup, Gup.locked, 1);
  const done = yield* getUserPagesLocked(gup, start, end - start);
  if (get(gup, Gup.locked) === 0) yield* mmapReadLock(mm);
  freeGup(gup);
  return done;
}
