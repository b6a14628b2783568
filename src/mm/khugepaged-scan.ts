/**
 * Whether a range of private memory can become a huge page (mm/khugepaged.c: hpage_collapse_scan_pmd, find_pmd_or_thp_or_none, check_pmd_still_valid).
 *
 * Invariant: what is seen here is seen with the mmap lock held for reading and the table's lock, both of which are released before the page is made: collapse
 * looks again at all of it.
 */
import { entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, spinUnlock } from '../kernel/ops.ts';
import { folioMapcount, folioMaybeMappedShared, pageFolio } from '../memory/folio.ts';
import { PG_LOCKED, PG_LRU, PG_REFERENCED } from '../memory/page-flags.ts';
import { pageFlags, pageRefcount } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { pmdTransHuge } from './huge-memory.ts';
import { collapseHugePage } from './khugepaged-collapse.ts';
import { khugepaged } from './khugepaged-slots.ts';
import { Khugepaged } from './khugepaged-types.ts';
import { vmNormalPage } from './memory.ts';
import { mmapAssertLocked } from './mmap-lock.ts';
import { entryPointer, isSwapPte, PTE_MARKER_UFFD_WP, PTE_UFFD_WP, pteLockptr, pteMarker, ptePresent, pteYoung } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import {
  MMAP_RELEASED,
  SCAN_EXCEED_NONE_PTE,
  SCAN_EXCEED_SHARED_PTE,
  SCAN_EXCEED_SWAP_PTE,
  SCAN_LACK_REFERENCED_PAGE,
  SCAN_PAGE_ANON,
  SCAN_PAGE_COUNT,
  SCAN_PAGE_LOCK,
  SCAN_PAGE_LRU,
  SCAN_PAGE_NULL,
  SCAN_PMD_MAPPED,
  SCAN_PMD_NONE,
  SCAN_PMD_NULL,
  SCAN_PTE_UFFD_WP,
  SCAN_SUCCEED,
} from './scan-result.ts';
import { folioTestAnon } from './swap.ts';
import type { MmRef, VmaRef, Vpn } from './types.ts';
import { userfaultfdArmed } from './userfaultfd-vma.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_SCAN_EXCEED_NONE_PTE, THP_SCAN_EXCEED_SHARED_PTE, THP_SCAN_EXCEED_SWAP_PTE } from './vm-event-types.ts';
import { findVma } from './vma-tree.ts';

/** An entry that holds nothing, or the zero page. */
export const isNoneOrZero = (pte: number): boolean => pte === 0 || (ptePresent(pte) && vmNormalPage(pte) === 0);

/** check_pmd_state: what an upper entry is for who looks for a table of small pages. */
export function checkPmdState(pmd: number): number {
  if (pmd === 0) return SCAN_PMD_NONE;
  if (pmdTransHuge(pmd)) return SCAN_PMD_MAPPED;
  // Not present, or none that leads to a table (pmd_bad).
  return (pmd & PTE_TABLE) !== 0 ? SCAN_SUCCEED : SCAN_PMD_NULL;
}

/** find_pmd_or_thp_or_none, of an entry that mm_find_pmd() gave (0: it found none). */
export function* findPmdOrThpOrNone(pmdp: number): Op<number> {
  return pmdp === 0 ? SCAN_PMD_NULL : checkPmdState(yield* entryGet(pmdp, 1));
}

/** mm_find_pmd: the upper entry of a page, 0 without the table that it would be in. */
export function* mmFindPmd(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* entryPointer(mm, vpn, 1);
}

/** check_pmd_still_valid: the upper entry is where it was, and leads to a table. */
export function* checkPmdStillValid(mm: MmRef, vpn: Vpn, pmdp: number): Op<number> {
  const now = yield* mmFindPmd(mm, vpn);
  const result = yield* findPmdOrThpOrNone(now);
  if (result !== SCAN_SUCCEED) return result;
  return now === pmdp ? SCAN_SUCCEED : 0;
}

/** is_refcount_suitable: only page tables have references. */
export const isRefcountSuitable = (folio: number): boolean => pageRefcount[folio] === folioMapcount(folio);

/**
 * hpage_collapse_scan_pmd: looks at a range, and makes a huge page of it if it can. SCAN_*; with MMAP_RELEASED when the mmap lock was released for that.
 * `daemon`: 1 for khugepaged, which has limits, 0 for MADV_COLLAPSE.
 */
export function* hpageCollapseScanPmd(mm: MmRef, vpn: Vpn, daemon: number): Op<number> {
  mmapAssertLocked(mm);
  const pmdp = yield* mmFindPmd(mm, vpn);
  const found = yield* findPmdOrThpOrNone(pmdp);
  if (found !== SCAN_SUCCEED) return found;
  const first = yield* pteOffsetMapLock(pmdp, vpn);
  if (first === 0) return SCAN_PMD_NULL;
  const vma = findVma(mm, vpn);
  let result = SCAN_SUCCEED;
  let none = 0;
  let unmapped = 0;
  let shared = 0;
  let referenced = 0;
  for (let i = 0; i < spanPages(1) && result === SCAN_SUCCEED; i++) {
    const pte = yield* entryGet(first + i * entryStride(0), 0);
    if (isSwapPte(pte)) result = swapAllowed(pte, ++unmapped, daemon);
    else if (isNoneOrZero(pte)) result = noneAllowed(vma, ++none, daemon);
    else {
      result = suitable(pte);
      if (result === SCAN_SUCCEED && folioMaybeMappedShared(pageFolio(vmNormalPage(pte)))) result = sharedAllowed(++shared, daemon);
      if (result === SCAN_SUCCEED) result = free(pageFolio(vmNormalPage(pte)));
      if (daemon !== 0 && (pteYoung(pte) || (pageFlags[pageFolio(vmNormalPage(pte))] & PG_REFERENCED) !== 0)) referenced++;
    }
  }
  if (result === SCAN_SUCCEED && daemon !== 0 && (referenced === 0 || (unmapped !== 0 && referenced < spanPages(1) / 2))) result = SCAN_LACK_REFERENCED_PAGE;
  yield* spinUnlock(pteLockptr(first));
  if (result !== SCAN_SUCCEED) return result;
  return (yield* collapseHugePage(mm, vpn, unmapped, daemon)) + MMAP_RELEASED;
}

/** What an entry holds, apart from how many of its kind there may be. */
function suitable(pte: number): number {
  if ((pte & PTE_UFFD_WP) !== 0) return SCAN_PTE_UFFD_WP;
  const page = vmNormalPage(pte);
  if (page === 0) return SCAN_PAGE_NULL;
  return folioTestAnon(page) ? SCAN_SUCCEED : SCAN_PAGE_ANON;
}

/** Whether nobody else is at a folio. */
function free(folio: number): number {
  if ((pageFlags[folio] & PG_LRU) === 0) return SCAN_PAGE_LRU;
  if ((pageFlags[folio] & PG_LOCKED) !== 0) return SCAN_PAGE_LOCK;
  return isRefcountSuitable(folio) ? SCAN_SUCCEED : SCAN_PAGE_COUNT;
}

/** max_ptes_swap. Whatever else software keeps in entries counts, too. */
function swapAllowed(pte: number, count: number, daemon: number): number {
  if (daemon !== 0 && count > get(khugepaged(), Khugepaged.maxPtesSwap)) return exceeds(THP_SCAN_EXCEED_SWAP_PTE, SCAN_EXCEED_SWAP_PTE);
  return (pte & PTE_UFFD_WP) !== 0 || (pteMarker(pte) & PTE_MARKER_UFFD_WP) !== 0 ? SCAN_PTE_UFFD_WP : SCAN_SUCCEED;
}

/** max_ptes_none. Who is told of missing pages must not get them unasked. */
export function noneAllowed(vma: VmaRef, count: number, daemon: number): number {
  if (userfaultfdArmed(vma)) return exceeds(THP_SCAN_EXCEED_NONE_PTE, SCAN_EXCEED_NONE_PTE);
  if (daemon === 0 || count <= get(khugepaged(), Khugepaged.maxPtesNone)) return SCAN_SUCCEED;
  return exceeds(THP_SCAN_EXCEED_NONE_PTE, SCAN_EXCEED_NONE_PTE);
}

/** max_ptes_shared. */
export function sharedAllowed(count: number, daemon: number): number {
  if (daemon === 0 || count <= get(khugepaged(), Khugepaged.maxPtesShared)) return SCAN_SUCCEED;
  return exceeds(THP_SCAN_EXCEED_SHARED_PTE, SCAN_EXCEED_SHARED_PTE);
}

/** A limit was met. */
function exceeds(event: number, result: number): number {
  countVmEvent(event);
  return result;
}
