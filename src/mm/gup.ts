/**
 * get_user_pages, the slow way (mm/gup.c): pages of an address space, found through its VMAs and faulted in where they are missing.
 *
 * Invariants: the caller holds the mmap lock for reading; a page is returned with a reference taken under the lock of its entry, so it
 * was mapped there with the asked right at that moment; a fault that drops the lock ends the call with what is done so far.
 */

import { mmapReadLock, mmapReadUnlock } from '../kernel/mmap-lock.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, refAdd, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PTE_DIRTY, PTE_PROTNONE, PTE_WRITE } from '../pagetable/canonical.ts';
import { isCowMapping } from './copy-page-range.ts';
import { EAGAIN, EFAULT, EHWPOISON, EINVAL, EMLINK, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { handleMmFault } from './memory.ts';
import { pteLockptr, ptePage, ptePointer, ptePresent } from './pgtable.ts';
import { pageAnonExclusive } from './rmap.ts';
import { folioMarkAccessed, folioMarkDirty, folioTestAnon } from './swap.ts';
import { Globals, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_ACCESS_FLAGS, VM_HUGETLB, VM_IO, VM_LOCKONFAULT, VM_MAYREAD, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';
import {
  FAULT_FLAG_REMOTE,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vmf.ts';

export const FOLL_WRITE = 1;
export const FOLL_GET = 2;
export const FOLL_DUMP = 4;
export const FOLL_FORCE = 8;
export const FOLL_NOWAIT = 16;
export const FOLL_NOFAULT = 32;
export const FOLL_HWPOISON = 64;
export const FOLL_ANON = 128;
export const FOLL_LONGTERM = 256;
export const FOLL_PIN = 1024;
export const FOLL_TOUCH = 0x10000;
export const FOLL_REMOTE = 0x20000;
export const FOLL_UNLOCKABLE = 0x40000;
export const FOLL_MADV_POPULATE = 0x80000;

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
  const write = (follFlags & FOLL_WRITE) !== 0;
  if ((vmFlags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT;
  if ((follFlags & FOLL_ANON) !== 0 && get(vma, Vma.ops) !== 0) return -EFAULT;
  if (write) {
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

/** can_follow_write_pte: a forced write may use an entry that is not writable once the copy is made. */
function canFollowWritePte(pte: number, page: Page, vma: VmaRef, follFlags: number): boolean {
  if ((pte & PTE_WRITE) !== 0) return true;
  if ((follFlags & FOLL_FORCE) === 0) return false;
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & (VM_SHARED | VM_WRITE)) !== 0) return false;
  if (!isCowMapping(vmFlags)) return false;
  return page !== 0 && folioTestAnon(page) && pageAnonExclusive(page);
}

/**
 * follow_page_pte: the page that a VMA maps at a place, referenced with FOLL_GET or FOLL_PIN; 0 where a fault is needed, −EMLINK where a
 * shared page must be unshared first, −EFAULT where there is nothing to have.
 */
export function* followPage(vma: VmaRef, vpn: Vpn, follFlags: number): Op<number> {
  const ptep = yield* ptePointer(get(vma, Vma.mm), vpn);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  const pte = yield* entryGet(ptep, 0);
  let result = 0;
  if (ptePresent(pte) && ((pte & PTE_PROTNONE) === 0 || (get(vma, Vma.flags) & VM_ACCESS_FLAGS) === 0)) {
    const page = ptePage(pte);
    const zero = page === get(globals, Globals.zeroPage);
    const usable = (follFlags & FOLL_WRITE) === 0 || canFollowWritePte(pte, zero ? 0 : page, vma, follFlags);
    if (usable) {
      if ((follFlags & FOLL_PIN) !== 0 && (pte & PTE_WRITE) === 0 && folioTestAnon(page) && !pageAnonExclusive(page)) result = -EMLINK;
      else {
        if ((follFlags & (FOLL_GET | FOLL_PIN)) !== 0) yield* refAdd(page, 1);
        if ((follFlags & FOLL_TOUCH) !== 0 && !zero) {
          if ((follFlags & FOLL_WRITE) !== 0 && (pte & PTE_DIRTY) === 0) yield* folioMarkDirty(page);
          yield* folioMarkAccessed(page);
        }
        result = page;
      }
    }
  }
  yield* spinUnlock(lock);
  return result;
}

/** faultin_page: one fault as the process's own access would take it, but for rights that FOLL_FORCE overrides. 0 or −errno. */
export function* faultinPage(vma: VmaRef, vpn: Vpn, follFlags: number, unshare: number): Op<number> {
  let flags = 0;
  if ((follFlags & FOLL_WRITE) !== 0) flags |= FAULT_FLAG_WRITE;
  if ((follFlags & FOLL_REMOTE) !== 0) flags |= FAULT_FLAG_REMOTE;
  if (unshare !== 0) flags |= FAULT_FLAG_UNSHARE;
  const result = yield* handleMmFault(vma, vpn, flags);
  if ((result & VM_FAULT_ERROR) !== 0) return vmFaultToErrno(result, follFlags);
  return (result & VM_FAULT_RETRY) !== 0 ? -EAGAIN : 0;
}

/** One page of a VMA, faulted in as often as it takes; the page or −errno (__get_user_pages for one page). */
export function* getUserPage(vma: VmaRef, vpn: Vpn, follFlags: number): Op<number> {
  const denied = checkVmaFlags(vma, follFlags);
  if (denied !== 0) return denied;
  for (;;) {
    const page = yield* followPage(vma, vpn, follFlags);
    if (page > 0) return page;
    if (page !== 0 && page !== -EMLINK) return page;
    const error = yield* faultinPage(vma, vpn, follFlags, page === -EMLINK ? 1 : 0);
    if (error !== 0 && error !== -EAGAIN) return error;
  }
}

/** populate_vma_page_range: faults in all of a part of a VMA; pages that were populated, or −errno when not even one. */
export function* populateVmaPageRange(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_LOCKONFAULT) !== 0) return end - start;
  let follFlags = FOLL_TOUCH;
  // Private writable mappings get their copies now; shared ones are not dirtied by it.
  if ((vmFlags & (VM_WRITE | VM_SHARED)) === VM_WRITE) follFlags |= FOLL_WRITE;
  if ((vmFlags & VM_ACCESS_FLAGS) !== 0) follFlags |= FOLL_FORCE;
  for (let vpn = start; vpn < end; vpn++) {
    const page = yield* getUserPage(vma, vpn, follFlags);
    if (page < 0) return vpn > start ? vpn - start : page;
  }
  return end - start;
}

/** __mm_populate: what MAP_POPULATE and mlock fault in. With `ignoreErrors` a range that cannot be had is passed over. 0 or −errno. */
export function* mmPopulateRange(mm: MmRef, start: Vpn, pages: number, ignoreErrors: number): Op<number> {
  const end = start + pages;
  let vpn = start;
  let error = 0;
  yield* mmapReadLock(mm);
  while (vpn < end) {
    const vma = findVma(mm, vpn);
    if (vma === 0 || get(vma, Vma.start) >= end) break;
    const from = vpn > get(vma, Vma.start) ? vpn : get(vma, Vma.start);
    const to = end < get(vma, Vma.end) ? end : get(vma, Vma.end);
    if ((get(vma, Vma.flags) & (VM_IO | VM_PFNMAP)) !== 0) {
      vpn = to;
      continue;
    }
    const done = yield* populateVmaPageRange(vma, from, to);
    if (done < 0) {
      if (ignoreErrors !== 0) {
        vpn = to;
        continue;
      }
      error = done;
      break;
    }
    vpn = from + done;
  }
  yield* mmapReadUnlock(mm);
  return error;
}

/** mm_populate: errors are passed over. */
export function* mmPopulate(mm: MmRef, start: Vpn, pages: number): Op<number> {
  return yield* mmPopulateRange(mm, start, pages, 1);
}

/**
 * faultin_page_range: MADV_POPULATE_READ and _WRITE in one VMA. Pages done, or −errno: −EINVAL where the VMA's rights do not allow it, −EFAULT
 * where a fault would raise a signal.
 */
export function* faultinPageRange(vma: VmaRef, start: Vpn, end: Vpn, write: number): Op<number> {
  let follFlags = FOLL_TOUCH | FOLL_HWPOISON | FOLL_MADV_POPULATE;
  if (write !== 0) follFlags |= FOLL_WRITE;
  if (checkVmaFlags(vma, follFlags) !== 0) return -EINVAL;
  for (let vpn = start; vpn < end; vpn++) {
    const page = yield* getUserPage(vma, vpn, follFlags);
    if (page < 0) return vpn > start ? vpn - start : page;
  }
  return end - start;
}
