/**
 * Small pages of private memory become a huge one (mm/khugepaged.c: collapse_huge_page, __collapse_huge_page_isolate, __collapse_huge_page_copy,
 * hugepage_vma_revalidate). For khugepaged and MADV_COLLAPSE.
 *
 * Invariants: the order of locks is mmap lock (for writing), VMA, anon_vma (for writing), lock of the upper entry, lock of the table; while pages are copied no
 * upper entry leads to their table, each is locked and off the LRU, and nobody has a reference but the table. A page of which somebody has, or that cannot be
 * had, puts the table back. The table stays in reserve for the huge entry, so who may still walk it with interrupts off is waited for.
 */
import { entryAt, entryStride, pageOfEntry, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  downWrite,
  entryGet,
  entryGetAndClear,
  entrySet,
  flushTlbRange,
  folioTrylock,
  folioUnlock,
  get,
  set,
  setFlags,
  spinLock,
  spinUnlock,
  switched,
  syncInterrupts,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { folioMaybeMappedShared, pageFolio, pageIsCompound, subPage } from '../memory/folio.ts';
import { __GFP_ZERO, GFP_TRANSHUGE, GFP_TRANSHUGE_LIGHT } from '../memory/gfp.ts';
import { PG_REFERENCED, PG_UPTODATE } from '../memory/page-flags.ts';
import { copyFrame, pageFlags } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { deferredSplitFolio } from './deferred-split.ts';
import { globals } from './globals.ts';
import { mkHugePmd } from './huge-memory.ts';
import { hasOrder, pmdOrder, TVA_FORCED_COLLAPSE, TVA_KHUGEPAGED, thpVmaAllowableOrders, thpVmaSuitableOrder } from './huge-orders.ts';
import { checkPmdStillValid, findPmdOrThpOrNone, isNoneOrZero, isRefcountSuitable, mmFindPmd, noneAllowed, sharedAllowed } from './khugepaged-scan.ts';
import { khugepaged, testExitOrDisable } from './khugepaged-slots.ts';
import { Khugepaged } from './khugepaged-types.ts';
import { vmNormalPage } from './memory.ts';
import { isMigrationEntry } from './migration-entry.ts';
import { addMmCounter } from './mm-counters.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { isSwapPte, mkPte, PTE_UFFD_WP, pteLockptr, pteMkdirty, pteMkwrite, ptePresent, pteYoung, tablePage } from './pgtable.ts';
import { pgtableDeposit } from './pgtable-deposit.ts';
import { pmdLockptr, pteMap, pteUnmap } from './pgtable-generic.ts';
import { anonVmaLock, folioAddNewAnonRmapPmd, folioRemoveRmap } from './rmap.ts';
import {
  SCAN_ADDRESS_RANGE,
  SCAN_ALLOC_HUGE_PAGE_FAIL,
  SCAN_ANY_PROCESS,
  SCAN_DEL_PAGE_LRU,
  SCAN_FAIL,
  SCAN_LACK_REFERENCED_PAGE,
  SCAN_PAGE_ANON,
  SCAN_PAGE_COUNT,
  SCAN_PAGE_LOCK,
  SCAN_PAGE_NULL,
  SCAN_PMD_NULL,
  SCAN_PTE_NON_PRESENT,
  SCAN_PTE_UFFD_WP,
  SCAN_SUCCEED,
  SCAN_VMA_CHECK,
  SCAN_VMA_NULL,
} from './scan-result.ts';
import { folioAddLruVma, folioPut } from './swap.ts';
import { Globals, MM_ANONPAGES, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_COLLAPSE_ALLOC, THP_COLLAPSE_ALLOC_FAILED } from './vm-event-types.ts';
import { VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';
import { findVma } from './vma-tree.ts';
import { folioIsolateLru, folioPutbackLru } from './vmscan.ts';

/** Whether a VMA may have huge pages, for who makes them. */
export function collapseAllowed(vma: VmaRef, daemon: number): boolean {
  const type = daemon !== 0 ? TVA_KHUGEPAGED : TVA_FORCED_COLLAPSE;
  return hasOrder(thpVmaAllowableOrders(vma, get(vma, Vma.flags), type, 1 << pmdOrder()), pmdOrder());
}

/** hugepage_vma_revalidate: whether a range may still become a huge page, after the mmap lock was away. `anonymous`: only as private memory. */
export function* hugepageVmaRevalidate(mm: MmRef, vpn: Vpn, anonymous: number, daemon: number): Op<number> {
  if (yield* testExitOrDisable(mm)) return SCAN_ANY_PROCESS;
  const vma = findVma(mm, vpn);
  if (vma === 0) return SCAN_VMA_NULL;
  if (!thpVmaSuitableOrder(vma, vpn, pmdOrder())) return SCAN_ADDRESS_RANGE;
  if (!collapseAllowed(vma, daemon)) return SCAN_VMA_CHECK;
  return anonymous !== 0 && (get(vma, Vma.anonVma) === 0 || !vmaIsAnonymous(vma)) ? SCAN_PAGE_ANON : SCAN_SUCCEED;
}

/** alloc_charge_folio: a folio of a huge page, zeroed; 0 without one. khugepaged looks as hard for it as khugepaged/defrag says. */
export function* allocCollapseFolio(daemon: number): Op<number> {
  const gfp = daemon === 0 || get(khugepaged(), Khugepaged.defrag) !== 0 ? GFP_TRANSHUGE : GFP_TRANSHUGE_LIGHT;
  const folio = yield* allocPage(gfp | __GFP_ZERO, pmdOrder());
  countVmEvent(folio === 0 ? THP_COLLAPSE_ALLOC_FAILED : THP_COLLAPSE_ALLOC);
  return folio;
}

/** collapse_huge_page: SCAN_*. Called with the mmap lock held for reading, comes back without it. */
export function* collapseHugePage(mm: MmRef, vpn: Vpn, unmapped: number, daemon: number): Op<number> {
  // Looking for memory takes long.
  yield* mmapReadUnlock(mm);
  const folio = yield* allocCollapseFolio(daemon);
  if (folio === 0) return SCAN_ALLOC_HUGE_PAGE_FAIL;
  yield* mmapReadLock(mm);
  let result = yield* hugepageVmaRevalidate(mm, vpn, 1, daemon);
  let pmdp = 0;
  if (result === SCAN_SUCCEED) {
    pmdp = yield* mmFindPmd(mm, vpn);
    result = yield* findPmdOrThpOrNone(pmdp);
  }
  if (result === SCAN_SUCCEED && unmapped !== 0) result = yield* collapseSwapin(pmdp, vpn);
  yield* mmapReadUnlock(mm);
  if (result === SCAN_SUCCEED) {
    // Faults and get_user_pages() stay out from here on, and who unmaps or moves: not rmap.
    yield* mmapWriteLock(mm);
    if (!switched(SW.collapseNoRevalidate)) result = yield* hugepageVmaRevalidate(mm, vpn, 1, daemon);
    if (result === SCAN_SUCCEED) {
      const vma = findVma(mm, vpn);
      yield* vmaStartWrite(vma);
      result = yield* checkPmdStillValid(mm, vpn, pmdp);
      if (result === SCAN_SUCCEED) result = yield* collapseLocked(mm, vma, vpn, pmdp, folio, daemon);
    }
    yield* mmapWriteUnlock(mm);
  }
  if (result !== SCAN_SUCCEED) yield* folioPut(folio);
  return result;
}

/** __collapse_huge_page_swapin: what software keeps in entries comes back as pages, if it is pages. Migration is let end by itself. */
function* collapseSwapin(pmdp: number, vpn: Vpn): Op<number> {
  yield* pteMap();
  const pmd = yield* entryGet(pmdp, 1);
  let result = (pmd & PTE_TABLE) !== 0 ? SCAN_SUCCEED : SCAN_PMD_NULL;
  for (let i = 0; i < spanPages(1) && result === SCAN_SUCCEED; i++) {
    const pte = yield* entryGet(entryAt(tablePage(pmd), 0, vpn) + i * entryStride(0), 0);
    if (isSwapPte(pte) && !isMigrationEntry(pte)) result = SCAN_FAIL;
  }
  yield* pteUnmap();
  return result;
}

/** The part of collapse_huge_page that holds all locks. */
function* collapseLocked(mm: MmRef, vma: VmaRef, vpn: Vpn, pmdp: number, folio: Page, daemon: number): Op<number> {
  const rmapLock = anonVmaLock(get(vma, Vma.anonVma));
  const lock = pmdLockptr(mm, pmdp);
  yield* downWrite(rmapLock);
  // pmdp_collapse_flush: no CPU comes to the pages by this place any longer, and whoever walks without locks sees that the entry has changed.
  yield* spinLock(lock);
  const old = yield* entryGetAndClear(pmdp, 1);
  if (!switched(SW.collapseNoFlush)) yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
  yield* spinUnlock(lock);
  // tlb_remove_table_sync_one: who walks with interrupts off has left the table, which others may come to use.
  if (!switched(SW.collapseNoSync)) yield* syncInterrupts();
  const table = tablePage(old);
  const first = entryAt(table, 0, vpn);
  const tableLock = pteLockptr(first);
  yield* spinLock(tableLock);
  const result = yield* isolatePages(vma, first, daemon);
  yield* spinUnlock(tableLock);
  if (result !== SCAN_SUCCEED) {
    yield* spinLock(lock);
    yield* entrySet(pmdp, 1, mkPte(table, PTE_TABLE));
    yield* spinUnlock(lock);
    yield* upWrite(rmapLock);
    return result;
  }
  // All pages are locked: rmap cannot come to them.
  yield* upWrite(rmapLock);
  yield* copyPages(vma, first, folio);
  yield* setFlags(folio, PG_UPTODATE);
  yield* spinLock(lock);
  const entry = pteMkdirty(mkHugePmd(folio, vmaPageProt(vma)));
  yield* folioAddNewAnonRmapPmd(folio, vma, vpn);
  yield* folioAddLruVma(folio, vma);
  pgtableDeposit(pmdp, pageOfEntry(first, 0));
  yield* entrySet(pmdp, 1, (get(vma, Vma.flags) & VM_WRITE) !== 0 ? pteMkwrite(entry) : entry);
  yield* deferredSplitFolio(folio, 0);
  yield* spinUnlock(lock);
  if (get(globals, Globals.thpUsed) === 0) set(globals, Globals.thpUsed, 1);
  return SCAN_SUCCEED;
}

/** Whether an entry before the i-th maps the same large folio: then it is isolated already. */
function* seenBefore(first: number, i: number, folio: Page): Op<boolean> {
  if (!pageIsCompound(folio)) return false;
  for (let j = i - 1; j >= 0; j--) {
    const pte = yield* entryGet(first + j * entryStride(0), 0);
    if (!isNoneOrZero(pte) && ptePresent(pte) && pageFolio(vmNormalPage(pte)) === folio) return true;
  }
  return false;
}

/** __collapse_huge_page_isolate: locks the folios of all entries and takes them off the LRU; SCAN_*, and none is so when it failed. */
function* isolatePages(vma: VmaRef, first: number, daemon: number): Op<number> {
  let result = SCAN_SUCCEED;
  let none = 0;
  let shared = 0;
  let referenced = 0;
  let i = 0;
  for (; i < spanPages(1) && result === SCAN_SUCCEED; i++) {
    const pte = yield* entryGet(first + i * entryStride(0), 0);
    if (isNoneOrZero(pte)) {
      result = noneAllowed(vma, ++none, daemon);
      continue;
    }
    if (!ptePresent(pte)) result = SCAN_PTE_NON_PRESENT;
    else if ((pte & PTE_UFFD_WP) !== 0) result = SCAN_PTE_UFFD_WP;
    else if (vmNormalPage(pte) === 0) result = SCAN_PAGE_NULL;
    if (result !== SCAN_SUCCEED) continue;
    const folio = pageFolio(vmNormalPage(pte));
    if (folioMaybeMappedShared(folio)) result = sharedAllowed(++shared, daemon);
    if (result === SCAN_SUCCEED && !(yield* seenBefore(first, i, folio))) result = yield* isolateFolio(folio);
    if (daemon !== 0 && (pteYoung(pte) || (pageFlags[folio] & PG_REFERENCED) !== 0)) referenced++;
  }
  if (result === SCAN_SUCCEED && daemon !== 0 && referenced === 0) result = SCAN_LACK_REFERENCED_PAGE;
  else if (result === SCAN_SUCCEED) return result;
  else i--;
  for (let j = i - 1; j >= 0; j--) {
    const pte = yield* entryGet(first + j * entryStride(0), 0);
    if (isNoneOrZero(pte)) continue;
    const folio = pageFolio(vmNormalPage(pte));
    if (!(yield* seenBefore(first, j, folio))) yield* releasePteFolio(folio);
  }
  return result;
}

/** One folio: locked first, then counted, so that nobody can come to map it elsewhere in between. */
function* isolateFolio(folio: Page): Op<number> {
  if ((yield* folioTrylock(folio)) === 0) return SCAN_PAGE_LOCK;
  let result = SCAN_SUCCEED;
  if (!switched(SW.collapseUncounted) && !isRefcountSuitable(folio)) result = SCAN_PAGE_COUNT;
  else if ((yield* folioIsolateLru(folio)) === 0) result = SCAN_DEL_PAGE_LRU;
  if (result !== SCAN_SUCCEED) yield* folioUnlock(folio);
  return result;
}

/** release_pte_folio. */
function* releasePteFolio(folio: Page): Op<number> {
  yield* folioUnlock(folio);
  return yield* folioPutbackLru(folio);
}

/** __collapse_huge_page_copy: the content goes over, the entries and their pages go. */
function* copyPages(vma: VmaRef, first: number, folio: Page): Op<number> {
  const mm = get(vma, Vma.mm);
  const pages = spanPages(1);
  const lock = pteLockptr(first);
  for (let i = 0; i < pages; i++) {
    const pte = yield* entryGet(first + i * entryStride(0), 0);
    if (!isNoneOrZero(pte)) copyFrame(subPage(folio, i), vmNormalPage(pte));
  }
  // From the last entry of a large folio to its first: the first one's isolation is the folio's.
  for (let i = pages - 1; i >= 0; i--) {
    const at = first + i * entryStride(0);
    const pte = yield* entryGet(at, 0);
    const page = isNoneOrZero(pte) ? 0 : vmNormalPage(pte);
    const last = page !== 0 && !(yield* seenBefore(first, i, pageFolio(page)));
    if (page === 0) yield* addMmCounter(mm, MM_ANONPAGES, 1);
    if (pte === 0) continue;
    yield* spinLock(lock);
    yield* entrySet(at, 0, 0);
    if (page !== 0) yield* folioRemoveRmap(page, vma);
    yield* spinUnlock(lock);
    if (page === 0) continue;
    if (last) yield* releasePteFolio(pageFolio(page));
    yield* folioPut(page);
  }
  return 0;
}
