/**
 * khugepaged: makes huge pages of what could not have them when it was touched (mm/khugepaged.c: khugepaged_do_scan, khugepaged_scan_mm_slot).
 *
 * It is a task that whoever has the machine lets run: one call is one pass over `pagesToScan` pages, from where the last one ended. Between passes it would sleep
 * for `scanSleepMillisecs`; nothing here knows of time.
 *
 * Invariants: the cursor's slot is changed by khugepaged alone; at most one huge page is made between two looks at the list, because the mmap lock is released
 * for it and the VMA may be gone.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, downReadTrylock, downWriteTrylock, get, set, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { collapsePteMappedThp, hpageCollapseScanFile } from './collapse-file.ts';
import { fileGet, filePut } from './file.ts';
import { collapseAllowed } from './khugepaged-collapse.ts';
import { hpageCollapseScanPmd } from './khugepaged-scan.ts';
import { collectMmSlot, hugepagePmdEnabled, khugepaged, khugepagedLock, testExit, testExitOrDisable } from './khugepaged-slots.ts';
import { Khugepaged, MmSlot, type MmSlotRef } from './khugepaged-types.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { linearPageIndex } from './rmap.ts';
import { MMAP_RELEASED, SCAN_ALLOC_HUGE_PAGE_FAIL, SCAN_PMD_MAPPED, SCAN_PTE_MAPPED_HUGEPAGE, SCAN_SUCCEED, scanResult } from './scan-result.ts';
import { Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { findVma } from './vma-tree.ts';

/** A number of pages gone over, with the flag that the address space is done with. */
const DONE = 2 ** 40;

/** khugepaged_do_scan: one pass; the pages that it went over. */
export function* khugepagedDoScan(): Op<number> {
  if (khugepaged() === 0) return 0;
  const pages = get(khugepaged(), Khugepaged.pagesToScan);
  let progress = 0;
  let throughHead = 0;
  let failed = 0;
  while (progress < pages) {
    set(khugepaged(), Khugepaged.starved, 0);
    yield* spinLock(khugepagedLock());
    if (get(khugepaged(), Khugepaged.slot) === 0) throughHead++;
    // khugepaged_has_work. The list is gone through once a pass at most.
    const work = get(khugepaged(), Khugepaged.first) !== 0 && hugepagePmdEnabled() && throughHead < 2;
    if (!work) {
      yield* spinUnlock(khugepagedLock());
      break;
    }
    progress += yield* scanMmSlot(pages - progress);
    // Where it first failed for want of memory it would sleep, alloc_sleep_millisecs.
    if (get(khugepaged(), Khugepaged.starved) !== 0 && ++failed > 1) break;
  }
  return progress;
}

/** khugepaged_scan_mm_slot: goes on in one address space; the pages that were gone over. Called with the lock, comes back without. */
function* scanMmSlot(pages: number): Op<number> {
  let slot = get(khugepaged(), Khugepaged.slot);
  if (slot === 0) {
    slot = get(khugepaged(), Khugepaged.first);
    set(khugepaged(), Khugepaged.slot, slot);
    set(khugepaged(), Khugepaged.address, 0);
  }
  yield* spinUnlock(khugepagedLock());
  if (switched(SW.retractMmapLock)) yield* collapsePteMappedThps(slot);
  const mm = get(slot, MmSlot.mm);
  // Whoever holds it for writing is not waited for: the next address space's turn comes.
  const scanned = (yield* downReadTrylock(mm + Mm.mmapLock)) === 0 ? DONE : yield* scanVmas(mm, pages);
  yield* spinLock(khugepagedLock());
  if (scanned < DONE && !(yield* testExit(mm))) {
    yield* spinUnlock(khugepagedLock());
    return scanned;
  }
  const next = get(slot, MmSlot.next);
  set(khugepaged(), Khugepaged.slot, next);
  if (next !== 0) set(khugepaged(), Khugepaged.address, 0);
  else add(khugepaged(), Khugepaged.fullScans, 1);
  yield* collectMmSlot(slot);
  return scanned % DONE;
}

/** khugepaged_collapse_pte_mapped_thps: places that were left alone because the address space was busy (khugepagedAddPteMapped), unless it is busy again. */
function* collapsePteMappedThps(slot: MmSlotRef): Op<number> {
  const mm = get(slot, MmSlot.mm);
  if (get(slot, MmSlot.pteMapped) === 0 || (yield* downWriteTrylock(mm + Mm.mmapLock)) === 0) return 0;
  if (!(yield* testExit(mm))) for (let i = 0; i < get(slot, MmSlot.pteMapped); i++) yield* collapsePteMappedThp(mm, get(slot, MmSlot.places + i), 0);
  set(slot, MmSlot.pteMapped, 0);
  return yield* upWrite(mm + Mm.mmapLock);
}

/** The VMAs of an address space from the cursor on; the pages that were gone over, with DONE after the last. Gives the mmap lock up. */
function* scanVmas(mm: MmRef, pages: number): Op<number> {
  let progress = 1;
  if (yield* testExitOrDisable(mm)) {
    yield* mmapReadUnlock(mm);
    // The first VMA was not come to.
    return progress + DONE;
  }
  let vma = findVma(mm, get(khugepaged(), Khugepaged.address));
  while (vma !== 0) {
    if (yield* testExitOrDisable(mm)) {
      progress++;
      break;
    }
    const scanned = yield* scanVma(mm, vma, pages - progress);
    progress += scanned % DONE;
    if (scanned >= DONE) return progress;
    if (progress >= pages) break;
    vma = get(vma, Vma.next);
  }
  yield* mmapReadUnlock(mm);
  return vma === 0 ? progress + DONE : progress;
}

/** One VMA from the cursor on; the pages that were gone over, with DONE when the mmap lock was released. */
function* scanVma(mm: MmRef, vma: VmaRef, pages: number): Op<number> {
  const huge = spanPages(1);
  const first = Math.ceil(get(vma, Vma.start) / huge) * huge;
  const end = Math.floor(get(vma, Vma.end) / huge) * huge;
  if (!collapseAllowed(vma, 1) || get(khugepaged(), Khugepaged.address) > end) return 1;
  if (get(khugepaged(), Khugepaged.address) < first) set(khugepaged(), Khugepaged.address, first);
  let progress = 0;
  while (get(khugepaged(), Khugepaged.address) < end) {
    if (yield* testExitOrDisable(mm)) return progress + pages;
    const vpn = get(khugepaged(), Khugepaged.address);
    const result = vmaIsAnonymous(vma) ? yield* hpageCollapseScanPmd(mm, vpn, 1) : yield* scanFile(mm, vma, vpn);
    set(khugepaged(), Khugepaged.lastResult, scanResult(result));
    set(khugepaged(), Khugepaged.starved, scanResult(result) === SCAN_ALLOC_HUGE_PAGE_FAIL ? 1 : 0);
    if (scanResult(result) === SCAN_SUCCEED) add(khugepaged(), Khugepaged.pagesCollapsed, 1);
    add(khugepaged(), Khugepaged.address, huge);
    progress += huge;
    if (result >= MMAP_RELEASED) return progress + DONE;
    if (progress >= pages) return progress;
  }
  return progress;
}

/** A range of a file: its pages, then what this address space maps of them. Gives the mmap lock up. */
function* scanFile(mm: MmRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const file = get(vma, Vma.file);
  const index = linearPageIndex(vma, vpn);
  yield* fileGet(file);
  yield* mmapReadUnlock(mm);
  let result = yield* hpageCollapseScanFile(mm, file, index, 1, get(khugepaged(), Khugepaged.maxPtesNone));
  yield* filePut(file);
  if (result !== SCAN_PTE_MAPPED_HUGEPAGE) return result + MMAP_RELEASED;
  yield* mmapReadLock(mm);
  if (!(yield* testExitOrDisable(mm))) {
    // The next fault maps it.
    result = yield* collapsePteMappedThp(mm, vpn, 0);
    if (result === SCAN_PMD_MAPPED) result = SCAN_SUCCEED;
  }
  yield* mmapReadUnlock(mm);
  return result + MMAP_RELEASED;
}
