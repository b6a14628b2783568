/**
 * PAGEMAP_SCAN on /proc/PID/pagemap (fs/proc/task_mmu.c: do_pagemap_scan): the parts of an address space whose pages have given categories.
 *
 * Invariants: neighbouring pages of the same categories are one region; the scan stops where the next page has no room any more, and tells where
 * (`walkEnd`). A page whose table exists is "written" even when nothing is mapped there; one whose table is missing has the VMA's categories alone.
 */
import { entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, entryGet, entryGetAndClear, entrySet, flushTlbRange, get, kfree, kmalloc, set } from '../kernel/ops.ts';
import { PTE_SOFT_DIRTY, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { ptepGetAndClear } from './contpte.ts';
import { EFAULT, EINVAL, ENOMEM, ENOSPC, EPERM } from './errno.ts';
import { globals } from './globals.ts';
import { hugePmdPage } from './huge-memory.ts';
import { vmNormalPage } from './memory.ts';
import { MmWalk, type MmWalkRef, WALK_PAGEMAP_SCAN, walkArg } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRange } from './pagewalk.ts';
import { isGuardPte, mkPteMarker, PTE_MARKER_UFFD_WP, pteMarker, ptePage, ptePresent, pteSet, pteWrprotect } from './pgtable.ts';
import { folioTestAnon } from './swap.ts';
import {
  PAGE_IS_FILE,
  PAGE_IS_GUARD,
  PAGE_IS_HUGE,
  PAGE_IS_PFNZERO,
  PAGE_IS_PRESENT,
  PAGE_IS_SOFT_DIRTY,
  PAGE_IS_SWAPPED,
  PAGE_IS_WPALLOWED,
  PAGE_IS_WRITTEN,
  PM_SCAN_BUFFER,
  PM_SCAN_CATEGORIES,
  PM_SCAN_CHECK_WPASYNC,
  PM_SCAN_FLAGS,
  PM_SCAN_WP_MATCHING,
  PmRegions,
  PmScan,
  type PmScanRef,
} from './task-mmu.ts';
import { Globals, Mm, Vma, type VmaRef, type Vpn } from './types.ts';
import { userfaultfdWp, userfaultfdWpAsync, userfaultfdWpUseMarkers } from './userfaultfd-vma.ts';
import { uffdWpRange } from './userfaultfd-wp.ts';
import { VM_HUGETLB, VM_PFNMAP, VM_SOFTDIRTY } from './vm-flags.ts';

/** pagemap_scan_get_args: 0, −EINVAL, −EFAULT. */
function checkArgs(scan: PmScanRef): number {
  if (!(get(scan, PmScan.flags) <= PM_SCAN_FLAGS)) return -EINVAL;
  // Whatever has more bits than there are categories has one that does not exist.
  if (get(scan, PmScan.inverted) > PM_SCAN_CATEGORIES || get(scan, PmScan.mask) > PM_SCAN_CATEGORIES) return -EINVAL;
  if (get(scan, PmScan.anyMask) > PM_SCAN_CATEGORIES || get(scan, PmScan.returnMask) > PM_SCAN_CATEGORIES) return -EINVAL;
  if (get(scan, PmScan.startOffset) !== 0) return -EINVAL;
  // access_ok: the range ends in user space, and not before it begins.
  const end = get(scan, PmScan.end);
  const offset = get(scan, PmScan.endOffset);
  const limit = get(get(scan, PmScan.mm), Mm.taskSize);
  if (end > limit || (end === limit && offset > 0) || end < get(scan, PmScan.start)) return -EFAULT;
  return 0;
}

/**
 * PAGEMAP_SCAN with the request in an object: how many regions were found, or an error. The regions are in the list `PmScan.first`; who made the object
 * frees it with `pmScanFree`.
 */
export function* pagemapScan(scan: PmScanRef): Op<number> {
  const invalid = checkArgs(scan);
  if (invalid !== 0) return invalid;
  if (get(scan, PmScan.endOffset) > 0) set(scan, PmScan.end, get(scan, PmScan.end) + 1);
  set(scan, PmScan.walkEnd, 0);
  if (get(scan, PmScan.maxPages) === 0) set(scan, PmScan.maxPages, Infinity);
  set(scan, PmScan.interest, get(scan, PmScan.mask) | get(scan, PmScan.anyMask) | get(scan, PmScan.returnMask));
  if (get(scan, PmScan.vecLen) > 0 && (yield* newBuffer(scan)) !== 0) return -ENOMEM;
  const mm = get(scan, PmScan.mm);
  const end = get(scan, PmScan.end);
  let regions = 0;
  let result = 0;
  for (let vpn = get(scan, PmScan.start); vpn < end; vpn = get(scan, PmScan.walkEnd)) {
    yield* mmapReadLock(mm);
    result = yield* walkPageRange(mm, vpn, end, WALK_PAGEMAP_SCAN, scan);
    yield* mmapReadUnlock(mm);
    regions += flushBuffer(scan);
    if (result !== -ENOSPC) break;
    // The buffer was full, not what the caller gave: the next one.
    if (get(scan, PmScan.vecLen) === 0 || get(scan, PmScan.found) === get(scan, PmScan.maxPages)) break;
    if (get(scan, PmScan.buffer) === 0 && (yield* newBuffer(scan)) !== 0) {
      result = -ENOMEM;
      break;
    }
  }
  // A scan that filled several buffers ends with where the last one was full: nobody sets it again.
  if (get(scan, PmScan.walkEnd) === 0) set(scan, PmScan.walkEnd, end);
  return result === 0 || result === -ENOSPC ? regions : result;
}

/** Frees a request with its regions. */
export function* pmScanFree(scan: PmScanRef): Op<number> {
  let buffer = get(scan, PmScan.first);
  while (buffer !== 0) {
    const next = get(buffer, PmRegions.next);
    yield* kfree(PmRegions.$type, buffer);
    buffer = next;
  }
  return yield* kfree(PmScan.$type, scan);
}

/** pagemap_scan_init_bounce_buffer: an empty buffer at the end of the list. 0 or −ENOMEM. */
function* newBuffer(scan: PmScanRef): Op<number> {
  const buffer = yield* kmalloc(PmRegions.$type);
  if (buffer === 0) return -ENOMEM;
  if (get(scan, PmScan.first) === 0) set(scan, PmScan.first, buffer);
  else {
    let last = get(scan, PmScan.first);
    while (get(last, PmRegions.next) !== 0) last = get(last, PmRegions.next);
    set(last, PmRegions.next, buffer);
  }
  set(scan, PmScan.buffer, buffer);
  set(scan, PmScan.bufferLimit, Math.min(PM_SCAN_BUFFER, get(scan, PmScan.vecLen)));
  return 0;
}

/** pagemap_scan_flush_buffer: the regions of the buffer are the caller's now; how many. An empty buffer stays in use. */
function flushBuffer(scan: PmScanRef): number {
  const buffer = get(scan, PmScan.buffer);
  if (buffer === 0) return 0;
  const count = get(buffer, PmRegions.count);
  if (count === 0) return 0;
  add(scan, PmScan.vecLen, -count);
  set(scan, PmScan.buffer, 0);
  return count;
}

/** pagemap_scan_test_walk: 0 to look at a VMA, 1 to pass it over, −EPERM. */
export function pagemapScanTestWalk(scan: PmScanRef, vma: VmaRef): number {
  const flags = get(scan, PmScan.flags);
  const allowed = userfaultfdWpAsync(vma) && userfaultfdWpUseMarkers(vma);
  if (!allowed && (flags & PM_SCAN_CHECK_WPASYNC) !== 0) return -EPERM;
  if (!allowed && (flags & PM_SCAN_WP_MATCHING) !== 0) return 1;
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_PFNMAP) !== 0) return 1;
  const category = ((vmFlags & VM_SOFTDIRTY) !== 0 ? PAGE_IS_SOFT_DIRTY : 0) | (allowed ? PAGE_IS_WPALLOWED : 0);
  const required = get(scan, PmScan.mask) & PAGE_IS_WPALLOWED;
  if (((category ^ get(scan, PmScan.inverted)) & required) !== required) return 1;
  set(scan, PmScan.vmaCategory, category);
  return 0;
}

/** pagemap_scan_pte_hole: pages without a table. */
export function* pagemapScanPteHole(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const scan = walkArg(walk, WALK_PAGEMAP_SCAN);
  if (get(walk, MmWalk.vma) === 0) return 0;
  // What was never there, or went with its table, is as if written to who watches writes (6.18 stable).
  const categories = get(scan, PmScan.vmaCategory) | (userfaultfdWp(get(walk, MmWalk.vma)) ? PAGE_IS_WRITTEN : 0);
  if (!interesting(scan, categories)) return 0;
  const result = output(scan, categories, start, end);
  const to = result === 0 ? end : get(scan, PmScan.walkEnd);
  if ((get(scan, PmScan.flags) & PM_SCAN_WP_MATCHING) === 0 || to === start) return result;
  const protectedNow = yield* uffdWpRange(get(walk, MmWalk.vma), start, to, 1);
  return protectedNow < 0 ? protectedNow : result;
}

/**
 * pagemap_scan_pmd_entry, pagemap_scan_hugetlb_entry: of a leaf, whose pages of one kind are given out together; those that were written
 * are write-protected from now on where that is asked for. Needs the lock of the entry's table.
 */
export function* pagemapScanLeaf(walk: MmWalkRef, at: number, entry: number, level: number, start: Vpn, end: Vpn): Op<number> {
  const scan = walkArg(walk, WALK_PAGEMAP_SCAN);
  let categories = get(scan, PmScan.vmaCategory);
  if ((get(get(walk, MmWalk.vma), Vma.flags) & VM_HUGETLB) !== 0) categories |= entry === 0 ? PAGE_IS_HUGE : hugeCategory(entry) & ~PAGE_IS_GUARD;
  else categories |= level > 0 ? hugeCategory(entry) : pageCategory(scan, entry);
  if (!interesting(scan, categories)) return 0;
  const result = output(scan, categories, start, end);
  const to = result === 0 ? end : get(scan, PmScan.walkEnd);
  if ((get(scan, PmScan.flags) & PM_SCAN_WP_MATCHING) === 0 || (categories & PAGE_IS_WRITTEN) === 0 || to === start) return result;
  yield* makeUffdWp(get(walk, MmWalk.vma), at, level, start, to);
  return result;
}

/** make_uffd_wp_pte, make_uffd_wp_pmd: the entries of pages [start, end), of which the first is at `at`. A part of a huge page is left alone. */
function* makeUffdWp(vma: VmaRef, at: number, level: number, start: Vpn, end: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const span = spanPages(level);
  for (let vpn = start; vpn + span <= end; vpn += span) {
    const ptep = at + ((vpn - start) / span) * entryStride(level);
    const seen = yield* entryGet(ptep, level);
    if (ptePresent(seen)) {
      const pte = level === 0 ? yield* ptepGetAndClear(mm, vpn, ptep, seen) : yield* entryGetAndClear(ptep, level);
      yield* entrySet(ptep, level, pteSet(pteWrprotect(pte), PTE_UFFD_WP));
    } else if (seen === 0 && level === 0) yield* entrySet(ptep, 0, mkPteMarker(PTE_MARKER_UFFD_WP));
  }
  return yield* flushTlbRange(mm, start, end);
}

/** pagemap_thp_category, pagemap_hugetlb_category: of an entry that maps a huge page, or did. */
function hugeCategory(entry: number): number {
  let categories = PAGE_IS_HUGE;
  if ((entry & PTE_UFFD_WP) === 0 && (pteMarker(entry) & PTE_MARKER_UFFD_WP) === 0) categories |= PAGE_IS_WRITTEN;
  if ((entry & PTE_SOFT_DIRTY) !== 0 && get(globals, Globals.softDirty) !== 0) categories |= PAGE_IS_SOFT_DIRTY;
  if (!ptePresent(entry)) return categories | PAGE_IS_SWAPPED;
  const folio = hugePmdPage(entry);
  if (folio === 0) categories |= PAGE_IS_PFNZERO;
  else if (!folioTestAnon(folio)) categories |= PAGE_IS_FILE;
  return categories | PAGE_IS_PRESENT;
}

/** pagemap_page_category: of an entry. */
function pageCategory(scan: PmScanRef, pte: number): number {
  if (pte === 0) return PAGE_IS_WRITTEN;
  const protectedByUffd = (pte & PTE_UFFD_WP) !== 0 || (pteMarker(pte) & PTE_MARKER_UFFD_WP) !== 0;
  let categories = protectedByUffd ? 0 : PAGE_IS_WRITTEN;
  if ((pte & PTE_SOFT_DIRTY) !== 0 && get(globals, Globals.softDirty) !== 0) categories |= PAGE_IS_SOFT_DIRTY;
  if (!ptePresent(pte)) return categories | (isGuardPte(pte) ? PAGE_IS_SWAPPED | PAGE_IS_GUARD : PAGE_IS_SWAPPED);
  categories |= PAGE_IS_PRESENT;
  if (ptePage(pte) === get(globals, Globals.zeroPage)) categories |= PAGE_IS_PFNZERO;
  if ((get(scan, PmScan.interest) & PAGE_IS_FILE) !== 0) {
    const page = vmNormalPage(pte);
    if (page !== 0 && !folioTestAnon(page)) categories |= PAGE_IS_FILE;
  }
  return categories;
}

/** pagemap_scan_is_interesting_page. */
function interesting(scan: PmScanRef, categories: number): boolean {
  const seen = categories ^ get(scan, PmScan.inverted);
  const mask = get(scan, PmScan.mask);
  if ((seen & mask) !== mask) return false;
  const anyMask = get(scan, PmScan.anyMask);
  return anyMask === 0 || (seen & anyMask) !== 0;
}

/** pagemap_scan_output: pages [start, end) belong to the answer. −ENOSPC when not all of them had room, with `walkEnd` where it ended. */
function output(scan: PmScanRef, categories: number, start: Vpn, end: Vpn): number {
  if (get(scan, PmScan.buffer) === 0) return 0;
  const room = get(scan, PmScan.maxPages) - get(scan, PmScan.found);
  let to = Math.min(end, start + room);
  if (!pushRange(scan, categories & get(scan, PmScan.returnMask), start, to)) to = start;
  add(scan, PmScan.found, to - start);
  if (to === end) return 0;
  set(scan, PmScan.walkEnd, to);
  return -ENOSPC;
}

/** pagemap_scan_push_range: false when the buffer is full. */
function pushRange(scan: PmScanRef, categories: number, start: Vpn, end: Vpn): boolean {
  if (start === end) return true;
  const buffer = get(scan, PmScan.buffer);
  const count = get(buffer, PmRegions.count);
  const last = count - 1;
  if (count > 0 && get(buffer, PmRegions.end + last) === start && get(buffer, PmRegions.categories + last) === categories) {
    set(buffer, PmRegions.end + last, end);
    return true;
  }
  if (count === get(scan, PmScan.bufferLimit)) return false;
  set(buffer, PmRegions.start + count, start);
  set(buffer, PmRegions.end + count, end);
  set(buffer, PmRegions.categories + count, categories);
  set(buffer, PmRegions.count, count + 1);
  return true;
}
