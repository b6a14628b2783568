/**
 * MADV_COLLAPSE (mm/khugepaged.c: madvise_collapse): huge pages are made of a range now, without the limits of khugepaged.
 *
 * Invariants: the mmap lock is released for each huge page, so the VMA is looked for again after it.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { collapsePteMappedThp, hpageCollapseScanFile } from './collapse-file.ts';
import { EAGAIN, EBUSY, EINVAL, ENOMEM } from './errno.ts';
import { fileGet, filePut } from './file.ts';
import { collapseAllowed, hugepageVmaRevalidate } from './khugepaged-collapse.ts';
import { hpageCollapseScanPmd } from './khugepaged-scan.ts';
import { Madv, type MadvRef } from './madv.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { linearPageIndex } from './rmap.ts';
import {
  MMAP_RELEASED,
  SCAN_ALLOC_HUGE_PAGE_FAIL,
  SCAN_DEL_PAGE_LRU,
  SCAN_EXCEED_NONE_PTE,
  SCAN_FAIL,
  SCAN_LACK_REFERENCED_PAGE,
  SCAN_PAGE_COMPOUND,
  SCAN_PAGE_COUNT,
  SCAN_PAGE_FILLED,
  SCAN_PAGE_LOCK,
  SCAN_PAGE_LRU,
  SCAN_PAGE_NULL,
  SCAN_PMD_MAPPED,
  SCAN_PMD_NULL,
  SCAN_PTE_MAPPED_HUGEPAGE,
  SCAN_PTE_NON_PRESENT,
  SCAN_PTE_UFFD_WP,
  SCAN_SUCCEED,
  scanResult,
} from './scan-result.ts';
import { type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaLookup } from './vma-tree.ts';

/** madvise_collapse_errno. */
function collapseErrno(result: number): number {
  switch (result) {
    case SCAN_ALLOC_HUGE_PAGE_FAIL:
      return -ENOMEM;
    case SCAN_EXCEED_NONE_PTE:
      return -EBUSY;
    case SCAN_PAGE_COUNT:
    case SCAN_PAGE_LOCK:
    case SCAN_PAGE_LRU:
    case SCAN_DEL_PAGE_LRU:
    case SCAN_PAGE_FILLED:
      return -EAGAIN;
    default:
      return -EINVAL;
  }
}

/** Results after which the next range is tried. */
function goesOn(result: number): boolean {
  switch (result) {
    case SCAN_PMD_NULL:
    case SCAN_PTE_NON_PRESENT:
    case SCAN_PTE_UFFD_WP:
    case SCAN_LACK_REFERENCED_PAGE:
    case SCAN_PAGE_NULL:
    case SCAN_PAGE_COUNT:
    case SCAN_PAGE_LOCK:
    case SCAN_PAGE_COMPOUND:
    case SCAN_PAGE_LRU:
    case SCAN_DEL_PAGE_LRU:
      return true;
    default:
      return false;
  }
}

/** madvise_collapse for [start, end) of a VMA; 0 or −errno. Comes back with the mmap lock held for reading, which it may have released (Madv.lockDropped). */
export function* madviseCollapse(madv: MadvRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const huge = spanPages(1);
  const mm = get(vma, Vma.mm);
  if (!collapseAllowed(vma, 0)) return -EINVAL;
  const from = Math.ceil(start / huge) * huge;
  let to = Math.floor(end / huge) * huge;
  let current = vma;
  let result = SCAN_FAIL;
  let done = 0;
  let locked = 1;
  for (let vpn = from; vpn < to; vpn += huge) {
    if (current === 0) {
      yield* mmapReadLock(mm);
      locked = 1;
      result = yield* hugepageVmaRevalidate(mm, vpn, 0, 0);
      current = vmaLookup(mm, vpn);
      if (result !== SCAN_SUCCEED) break;
      to = Math.min(to, Math.floor(get(current, Vma.end) / huge) * huge);
    }
    const returned = vmaIsAnonymous(current) ? yield* hpageCollapseScanPmd(mm, vpn, 0) : yield* collapseOfFile(mm, current, vpn);
    result = scanResult(returned);
    if (returned >= MMAP_RELEASED) {
      set(madv, Madv.lockDropped, 1);
      locked = 0;
      current = 0;
    }
    if (result === SCAN_SUCCEED || result === SCAN_PMD_MAPPED) done++;
    else if (!goesOn(result)) break;
  }
  // The caller has it, and gives it up.
  if (locked === 0) yield* mmapReadLock(mm);
  // A range without any whole huge page is done, one that lies within one (rounding turns it about) is refused.
  return done === (to - from) / huge ? 0 : collapseErrno(result);
}

/** The part of it for a file: the huge page is made without the mmap lock, then mapped. */
function* collapseOfFile(mm: MmRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const file = get(vma, Vma.file);
  const index = linearPageIndex(vma, vpn);
  yield* fileGet(file);
  yield* mmapReadUnlock(mm);
  let result = yield* hpageCollapseScanFile(mm, file, index, 0, spanPages(1));
  yield* filePut(file);
  if (result === SCAN_PTE_MAPPED_HUGEPAGE) {
    yield* mmapReadLock(mm);
    result = yield* collapsePteMappedThp(mm, vpn, 1);
    yield* mmapReadUnlock(mm);
  }
  return result + MMAP_RELEASED;
}
