/**
 * get_user_pages, the slow way (mm/gup.c): pages of an address space, found through its VMAs and faulted in where they are missing.
 *
 * Invariants: the caller holds the mmap lock for reading; a page is returned with a reference (or pin) taken under the lock of its entry, so it
 * was mapped there with the asked right at that moment. A fault may release the mmap lock only for FOLL_UNLOCKABLE, and `Gup.locked` is 0 then.
 */
import { entryAt, entryEnd, entryStride, spanPages, tableLevel, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, get, set, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, nextPage, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE } from '../memory/page-flags.ts';
import { pfnOfPage } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_PROTNONE, PTE_SOFT_DIRTY, PTE_SPECIAL, PTE_TABLE, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { isCowMapping } from './copy-page-range.ts';
import { mmSetHasPinnedFlag } from './dma-pinned.ts';
import { EAGAIN, EBUSY, EEXIST, EFAULT, EHWPOISON, EINVAL, EMLINK, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { hugetlbFollowPageMask } from './gup-hugetlb-old.ts';
import { gupMustUnshare, gupPutFolio, sharingState, tryGrabFolio } from './gup-pin.ts';
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
  recordSubpages,
} from './gup-types.ts';
import { hugetlbWalkBegin, hugetlbWalkEnd } from './hugetlb-lock.ts';
import { handleMmFault, vmNormalPage } from './memory.ts';
import { mmapAssertLocked, mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { PTE_PAYLOAD, pteClear, pteLockptr, ptePage, ptePfn, ptePresent, pteSet, tablePage, upperLock } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { vmaIsSecretmem } from './secretmem.ts';
import { folioMarkAccessed, folioMarkDirty, folioTestDirty } from './swap.ts';
import { Globals, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
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
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vmf.ts';

/** vm_fault_to_errno. */
export function vmFaultToErrno(result: number, follFlags: number): number {
  if ((result & VM_FAULT_OOM) !== 0) return -ENOMEM;
  if ((result & (VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE)) !== 0) return (follFlags & FOLL_HWPOISON) !== 0 ? -EHWPOISON : -EFAULT;
  if ((result & (VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)) !== 0) return -EFAULT;
  return 0;
}

/** check_vma_flags: whether pages of a VMA may be had this way; 0 or −EFAULT. */
export function checkVmaFlags(vma: VmaRef, follFlags: number): number {
  const vmFlags = get(vma, Vma.flags);
  const anonymous = get(vma, Vma.ops) === 0;
  if ((vmFlags & (VM_IO | VM_PFNMAP)) !== 0) return -EFAULT;
  if ((follFlags & FOLL_ANON) !== 0 && !anonymous) return -EFAULT;
  if (vmaIsSecretmem(vma)) return -EFAULT;
  if ((follFlags & FOLL_WRITE) !== 0) {
    // A lasting pin could dirty the page of a file that wants to hear of writes (writable_file_mapping_allowed).
    const lasting = (follFlags & (FOLL_PIN | FOLL_LONGTERM)) === (FOLL_PIN | FOLL_LONGTERM);
    if (lasting && !anonymous && (vmFlags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED) && vmOpsHasPageMkwrite(vma)) return -EFAULT;
    if ((vmFlags & VM_WRITE) === 0) {
      if ((follFlags & FOLL_FORCE) === 0) return -EFAULT;
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
  if (page === 0 || sharingState(page) !== (PG_ANON | PG_ANON_EXCLUSIVE)) return false;
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
 * follow_page_mask: the page that a VMA maps at a place, referenced with FOLL_GET or pinned with FOLL_PIN; 0 where a fault is needed, −EMLINK where a
 * shared page must be unshared first, −EEXIST where a frame without a page is mapped, −EFAULT where there is nothing to have. With `gup` (0 without) it also
 * tells how many of the pages wanted from there on were found with it (`Gup.run`); only the first is referenced or pinned.
 */
export function* followPageMask(vma: VmaRef, vpn: Vpn, follFlags: number, gup: GupRef): Op<number> {
  // vma_pgtable_walk_begin: what the walk finds of a table that hugetlb shares must not be left by its address space meanwhile.
  const huge = (get(vma, Vma.flags) & VM_HUGETLB) !== 0;
  if (huge && switched(SW.hugetlbFollowOwn) && (gup === 0 || (follFlags & FOLL_PIN) === 0)) return yield* followHugetlbOld(vma, vpn, follFlags, gup);
  if (huge) yield* hugetlbWalkBegin(vma);
  const page = yield* followToLeaf(vma, vpn, follFlags, gup);
  if (huge) yield* hugetlbWalkEnd(vma);
  return page;
}

/** The same of a hugetlb VMA where it had a function of its own, which knows of one page at a time. */
function* followHugetlbOld(vma: VmaRef, vpn: Vpn, follFlags: number, gup: GupRef): Op<number> {
  if (gup !== 0) set(gup, Gup.run, 1);
  const page = yield* hugetlbFollowPageMask(vma, vpn, follFlags);
  return page !== 0 ? page : noPageTable(vma, follFlags);
}

/** follow_page_mask without the lock of the VMA's tables. */
function* followToLeaf(vma: VmaRef, vpn: Vpn, follFlags: number, gup: GupRef): Op<number> {
  const mm = get(vma, Vma.mm);
  if (gup !== 0) set(gup, Gup.run, 1);
  for (;;) {
    let table = get(mm, Mm.pgd);
    let level = topLevel;
    let entry = 0;
    for (; level > 1; level--) {
      entry = yield* entryGet(entryAt(table, level, vpn), level);
      if ((entry & (PTE_TABLE | PTE_GROUP)) !== PTE_TABLE) break;
      table = tablePage(entry);
    }
    if (level === 1) {
      const at = entryAt(table, 1, vpn);
      const ptep = yield* pteOffsetMapLock(at, vpn);
      if (ptep !== 0) return yield* followPte(vma, vpn, ptep, follFlags, gup);
      entry = yield* entryGet(at, 1);
    }
    if ((entry & PTE_TABLE) !== 0 && (entry & PTE_GROUP) !== 0) {
      // follow_hugepd
      level = tableLevel(entry, level);
      table = tablePage(entry);
      entry = yield* entryGet(entryAt(table, level, vpn), level);
    }
    if (ptePresent(entry)) {
      const found = yield* followLeaf(vma, vpn, table, level, follFlags, gup);
      if (found !== -EAGAIN) return found;
    } else if ((entry & PTE_TABLE) === 0) return noPageTable(vma, follFlags);
  }
}

/** The same for one page alone. */
export function* followPage(vma: VmaRef, vpn: Vpn, follFlags: number): Op<number> {
  return yield* followPageMask(vma, vpn, follFlags, 0);
}

/** follow_page_pte, from the entry's lock on, which it releases. */
function* followPte(vma: VmaRef, vpn: Vpn, ptep: number, follFlags: number, gup: GupRef): Op<number> {
  const lock = pteLockptr(ptep);
  const pte = yield* entryGet(ptep, 0);
  let result = pte === 0 ? noPageTable(vma, follFlags) : 0;
  if (ptePresent(pte)) {
    result = yield* followPresent(vma, pte, follFlags);
    if (result > 0 && gup !== 0 && pageIsCompound(result)) {
      const most = Math.min(get(gup, Gup.wanted), entryEnd(vpn, get(vma, Vma.end), 1) - vpn);
      if (most > 1 && ((follFlags & FOLL_WRITE) === 0 || (pte & PTE_WRITE) !== 0)) set(gup, Gup.run, yield* followRun(vma, ptep, pte, result, most, follFlags));
    }
  }
  yield* spinUnlock(lock);
  return result;
}

/**
 * How many entries in a row, at most `most`, map what follows of the same folio with the same rights: contiguous entries, or a large folio that small entries map.
 * Linux 6.18 comes back for each of them. What is asked of the first is asked of each; they stand under one lock.
 */
function* followRun(vma: VmaRef, first: number, pte: number, page: Page, most: number, follFlags: number): Op<number> {
  const left = Math.min(most, compoundPages(page) - subPageIndex(page));
  const kept = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY;
  let ptep = first;
  let run = 1;
  for (; run < left; run++) {
    ptep += entryStride(0);
    const next = yield* entryGet(ptep, 0);
    if (pteClear(next, kept) !== pteClear(pte, kept) + run * PTE_PAYLOAD) break;
    if ((pte & PTE_WRITE) === 0 && gupMustUnshare(vma, follFlags, sharingState(nextPage(page, run)))) break;
  }
  // Each entry is an access to the folio; after four nothing changes any more.
  if ((follFlags & FOLL_TOUCH) !== 0) for (let i = 1; i < run && i < 4; i++) yield* folioMarkAccessed(page);
  return run;
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
  if ((pte & PTE_WRITE) === 0 && gupMustUnshare(vma, follFlags, sharingState(page))) return -EMLINK;
  const failed = yield* tryGrabFolio(page, 1, follFlags);
  if (failed !== 0) return failed;
  if ((follFlags & FOLL_TOUCH) !== 0) {
    if ((follFlags & FOLL_WRITE) !== 0 && (pte & PTE_DIRTY) === 0 && !folioTestDirty(page)) yield* folioMarkDirty(page);
    yield* folioMarkAccessed(page);
  }
  return page;
}

/** follow_pmd_mask and follow_pud_mask at an entry that was a leaf: the same, or −EAGAIN where it has become a table. */
function* followLeaf(vma: VmaRef, vpn: Vpn, table: Page, level: number, follFlags: number, gup: GupRef): Op<number> {
  const at = entryAt(table, level, vpn);
  const lock = upperLock(get(vma, Vma.mm), table, level);
  yield* spinLock(lock);
  const entry = yield* entryGet(at, level);
  let result = -EAGAIN;
  if ((entry & PTE_TABLE) === 0) result = ptePresent(entry) ? yield* followHuge(vma, vpn, at, level, entry, follFlags, gup) : noPageTable(vma, follFlags);
  yield* spinUnlock(lock);
  return result;
}

/** follow_huge_pmd, follow_huge_pud: a present entry above the lowest level, whose lock is held. */
function* followHuge(vma: VmaRef, vpn: Vpn, at: number, level: number, entry: number, follFlags: number, gup: GupRef): Op<number> {
  if ((entry & PTE_PROTNONE) !== 0 && !canFollowProtnone(vma, follFlags)) return 0;
  const device = (entry & PTE_SPECIAL) !== 0 && (get(vma, Vma.flags) & VM_PFNMAP) !== 0;
  const first = device ? 0 : ptePage(entry);
  if ((follFlags & FOLL_WRITE) !== 0 && !canFollowWritePte(entry, first, vma, follFlags)) return 0;
  if ((entry & PTE_SPECIAL) !== 0 && (follFlags & FOLL_DUMP) !== 0) return -EFAULT;
  if (device) return -EEXIST;
  if ((entry & PTE_WRITE) === 0 && gupMustUnshare(vma, follFlags, sharingState(first))) return -EMLINK;
  const failed = yield* tryGrabFolio(first, 1, follFlags);
  if (failed !== 0) return failed;
  if ((follFlags & FOLL_TOUCH) !== 0 && level === 1) {
    // touch_pmd
    const touched = pteSet(entry, PTE_ACCESSED | ((follFlags & FOLL_WRITE) !== 0 ? PTE_DIRTY : 0));
    if (touched !== entry) yield* entrySet(at, level, touched);
  }
  const offset = vpn % spanPages(level);
  if (gup !== 0) set(gup, Gup.run, Math.min(get(gup, Gup.wanted), spanPages(level) - offset));
  return nextPage(first, offset);
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
    set(gup, Gup.wanted, Math.min(count - done, get(vma, Vma.end) - vpn));
    const page = yield* followPageMask(vma, vpn, follFlags, gup);
    // Who only wants it faulted in has it, page or not.
    if (page > 0 || (page === -EEXIST && vector === 0)) {
      const run = get(gup, Gup.run);
      if (vector !== 0) {
        // As many references as pages: the first keeps the folio, so there is nothing that could fail.
        if (run > 1 && (yield* tryGrabFolio(page, run - 1, follFlags)) !== 0) {
          yield* gupPutFolio(page, 1, follFlags);
          return done > 0 ? done : -EFAULT;
        }
        recordSubpages(vector, page, 0, run);
      }
      done += run;
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
