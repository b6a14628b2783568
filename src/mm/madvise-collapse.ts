/**
 * MADV_COLLAPSE (mm/khugepaged.c: madvise_collapse, hpage_collapse_scan_pmd, collapse_huge_page): small pages of anonymous memory are copied into a huge one.
 *
 * Invariants: while the pages are copied no table leads to them, the mmap lock and the VMA's are held for writing, and each is locked; one that somebody holds a
 * reference of, or that cannot be had, puts the old table back. Huge pages of shared memory are not made: the answer is the one of a machine that has none free (−ENOMEM).
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
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { folioMapcount, pageFolio, pageIsCompound, subPage } from '../memory/folio.ts';
import { __GFP_ZERO, GFP_TRANSHUGE } from '../memory/gfp.ts';
import { PG_LOCKED, PG_LRU, PG_UPTODATE } from '../memory/page-flags.ts';
import { copyFrame, pageFlags, pageRefcount } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { deferredSplitFolio } from './deferred-split.ts';
import { EAGAIN, EINVAL, ENOMEM } from './errno.ts';
import { pageCacheFind } from './filemap.ts';
import { globals } from './globals.ts';
import { mkHugePmd, pmdTransHuge } from './huge-memory.ts';
import { hasOrder, pmdOrder, TVA_FORCED_COLLAPSE, thpVmaAllowableOrders, thpVmaSuitableOrder } from './huge-orders.ts';
import { Madv, type MadvRef } from './madv.ts';
import { vmNormalPage } from './memory.ts';
import { addMmCounter } from './mm-counters.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { entryPointer, isSwapPte, mkPte, pteLockptr, pteMkdirty, pteMkwrite, ptePresent, tablePage } from './pgtable.ts';
import { pgtableDeposit } from './pgtable-deposit.ts';
import { pmdLockptr, pteOffsetMapLock } from './pgtable-generic.ts';
import { anonVmaLock, folioAddNewAnonRmapPmd, folioRemoveRmap, linearPageIndex } from './rmap.ts';
import { folioAddLruVma, folioPut, folioTestAnon } from './swap.ts';
import { File, Globals, MM_ANONPAGES, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';
import { vmaLookup } from './vma-tree.ts';

// enum scan_result, as far as it is told apart.
const SCAN_FAIL = 0;
const SCAN_SUCCEED = 1;
const SCAN_PMD_NULL = 2;
const SCAN_PMD_MAPPED = 5;
const SCAN_PAGE_NULL = 12;
const SCAN_PAGE_ANON = 20;
const SCAN_PAGE_COUNT = 14;
const SCAN_PAGE_LRU = 15;
const SCAN_PAGE_LOCK = 16;
const SCAN_ALLOC_HUGE_PAGE_FAIL = 24;
const SCAN_VMA_NULL = 21;
const SCAN_VMA_CHECK = 22;

/** madvise_collapse_errno. */
function collapseErrno(result: number): number {
  switch (result) {
    case SCAN_ALLOC_HUGE_PAGE_FAIL:
      return -ENOMEM;
    case SCAN_PAGE_COUNT:
    case SCAN_PAGE_LOCK:
    case SCAN_PAGE_LRU:
      return -EAGAIN;
    default:
      return -EINVAL;
  }
}

/** Results after which the next range is tried. */
const goesOn = (result: number): boolean =>
  result === SCAN_PMD_NULL || result === SCAN_PAGE_NULL || result === SCAN_PAGE_COUNT || result === SCAN_PAGE_LOCK || result === SCAN_PAGE_LRU;

const isAllowable = (vma: VmaRef): boolean => hasOrder(thpVmaAllowableOrders(vma, get(vma, Vma.flags), TVA_FORCED_COLLAPSE, 1 << pmdOrder()), pmdOrder());

/** madvise_collapse for [start, end) of a VMA; 0 or −errno. Comes back with the mmap lock held for reading, which it may have released (Madv.lockDropped). */
export function* madviseCollapse(madv: MadvRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const huge = spanPages(1);
  const mm = get(vma, Vma.mm);
  if (!isAllowable(vma)) return -EINVAL;
  const from = Math.ceil(start / huge) * huge;
  let to = Math.floor(end / huge) * huge;
  let current = vma;
  let result = SCAN_FAIL;
  let done = 0;
  for (let vpn = from; vpn < to; vpn += huge) {
    if (current === 0) {
      current = vmaLookup(mm, vpn);
      result = revalidate(current, vpn);
      if (result !== SCAN_SUCCEED) break;
      to = Math.min(to, Math.floor(get(current, Vma.end) / huge) * huge);
    }
    if (!vmaIsAnonymous(current)) {
      if (hasPages(current, vpn, huge)) return -ENOMEM;
      result = SCAN_FAIL;
      break;
    }
    result = yield* scanPmd(mm, current, vpn);
    if (result === SCAN_SUCCEED) {
      set(madv, Madv.lockDropped, 1);
      current = 0;
      result = yield* collapseHugePage(mm, vpn);
    }
    if (result === SCAN_SUCCEED || result === SCAN_PMD_MAPPED) done++;
    else if (!goesOn(result)) break;
  }
  // A range without any whole huge page is done, one that lies within one (rounding turns it about) is refused.
  return done === (to - from) / huge ? 0 : collapseErrno(result);
}

/** hugepage_vma_revalidate. */
function revalidate(vma: VmaRef, vpn: Vpn): number {
  if (vma === 0) return SCAN_VMA_NULL;
  if (!thpVmaSuitableOrder(vma, vpn, pmdOrder())) return SCAN_VMA_CHECK;
  return isAllowable(vma) ? SCAN_SUCCEED : SCAN_VMA_CHECK;
}

/** Whether an object has pages of the range in its cache. */
function hasPages(vma: VmaRef, vpn: Vpn, huge: number): boolean {
  const index = linearPageIndex(vma, vpn);
  return pageCacheFind(get(get(vma, Vma.file), File.inode), index, index + huge - 1) >= 0;
}

const isZero = (pte: number): boolean => pte === 0 || (ptePresent(pte) && vmNormalPage(pte) === 0);

/** hpage_collapse_scan_pmd, without what only khugepaged asks: SCAN_*. */
function* scanPmd(mm: MmRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const pmdp = yield* entryPointer(mm, vpn, 1);
  const pmd = pmdp === 0 ? 0 : yield* entryGet(pmdp, 1);
  if (pmdTransHuge(pmd)) return SCAN_PMD_MAPPED;
  const first = pmd === 0 ? 0 : yield* pteOffsetMapLock(pmdp, vpn);
  if (first === 0) return SCAN_PMD_NULL;
  let result = SCAN_SUCCEED;
  for (let i = 0; i < spanPages(1) && result === SCAN_SUCCEED; i++) result = collapsible(yield* entryGet(first + i * entryStride(0), 0));
  yield* spinUnlock(pteLockptr(first));
  return get(vma, Vma.anonVma) === 0 ? SCAN_VMA_CHECK : result;
}

/** What one entry says. Software's own are looked at later. */
function collapsible(pte: number): number {
  if (isSwapPte(pte) || isZero(pte)) return SCAN_SUCCEED;
  const folio = pageFolio(vmNormalPage(pte));
  if (!folioTestAnon(folio)) return SCAN_PAGE_ANON;
  if ((pageFlags[folio] & PG_LRU) === 0) return SCAN_PAGE_LRU;
  if ((pageFlags[folio] & PG_LOCKED) !== 0) return SCAN_PAGE_LOCK;
  return pageRefcount[folio] === folioMapcount(folio) ? SCAN_SUCCEED : SCAN_PAGE_COUNT;
}

/** collapse_huge_page. Called and comes back with the mmap lock held for reading. */
function* collapseHugePage(mm: MmRef, vpn: Vpn): Op<number> {
  yield* mmapReadUnlock(mm);
  const folio = yield* allocPage(GFP_TRANSHUGE | __GFP_ZERO, pmdOrder());
  if (folio === 0) {
    yield* mmapReadLock(mm);
    return SCAN_ALLOC_HUGE_PAGE_FAIL;
  }
  yield* mmapWriteLock(mm);
  const vma = vmaLookup(mm, vpn);
  let result = revalidate(vma, vpn);
  if (result === SCAN_SUCCEED && get(vma, Vma.anonVma) === 0) result = SCAN_VMA_CHECK;
  if (result === SCAN_SUCCEED) result = yield* collapseLocked(mm, vma, vpn, folio);
  yield* mmapWriteUnlock(mm);
  if (result !== SCAN_SUCCEED) yield* folioPut(folio);
  yield* mmapReadLock(mm);
  return result;
}

/** The part of it that holds the mmap lock for writing. */
function* collapseLocked(mm: MmRef, vma: VmaRef, vpn: Vpn, folio: Page): Op<number> {
  yield* vmaStartWrite(vma);
  const pmdp = yield* entryPointer(mm, vpn, 1);
  const before = pmdp === 0 ? 0 : yield* entryGet(pmdp, 1);
  if (pmdTransHuge(before)) return SCAN_PMD_MAPPED;
  if ((before & PTE_TABLE) === 0) return SCAN_PMD_NULL;
  const rmapLock = anonVmaLock(get(vma, Vma.anonVma));
  const lock = pmdLockptr(mm, pmdp);
  yield* downWrite(rmapLock);
  // pmdp_collapse_flush: no CPU comes to the pages by this place any longer, and whoever walks without locks sees that the entry has changed.
  yield* spinLock(lock);
  const old = yield* entryGetAndClear(pmdp, 1);
  if (!switched(SW.collapseNoFlush)) yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
  yield* spinUnlock(lock);
  const table = tablePage(old);
  const first = entryAt(table, 0, vpn);
  const tableLock = pteLockptr(first);
  if (tableLock !== lock) yield* spinLock(tableLock);
  else yield* spinLock(lock);
  const result = yield* isolatePages(first);
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
  pgtableDeposit(pmdp, pageOfEntry(first, 0));
  yield* folioAddNewAnonRmapPmd(folio, vma, vpn);
  yield* folioAddLruVma(folio, vma);
  yield* entrySet(pmdp, 1, (get(vma, Vma.flags) & VM_WRITE) !== 0 ? pteMkwrite(entry) : entry);
  yield* deferredSplitFolio(folio, 0);
  yield* spinUnlock(lock);
  if (get(globals, Globals.thpUsed) === 0) set(globals, Globals.thpUsed, 1);
  return SCAN_SUCCEED;
}

/** Whether an entry before the i-th maps the same large folio: then it is locked already. */
function* seenBefore(first: number, i: number, folio: Page): Op<boolean> {
  if (!pageIsCompound(folio)) return false;
  for (let j = i - 1; j >= 0; j--) {
    const pte = yield* entryGet(first + j * entryStride(0), 0);
    if (!isZero(pte) && ptePresent(pte) && pageFolio(vmNormalPage(pte)) === folio) return true;
  }
  return false;
}

/** __collapse_huge_page_isolate: locks the folios of all entries; SCAN_*, and none is locked when it failed. */
function* isolatePages(first: number): Op<number> {
  let result = SCAN_SUCCEED;
  let i = 0;
  for (; i < spanPages(1); i++) {
    const pte = yield* entryGet(first + i * entryStride(0), 0);
    if (isZero(pte)) continue;
    // Markers: a fault of theirs would fail.
    if (!ptePresent(pte)) {
      result = SCAN_FAIL;
      break;
    }
    const folio = pageFolio(vmNormalPage(pte));
    if (yield* seenBefore(first, i, folio)) continue;
    if ((yield* folioTrylock(folio)) === 0) {
      result = SCAN_PAGE_LOCK;
      break;
    }
    if (pageRefcount[folio] !== folioMapcount(folio)) {
      yield* folioUnlock(folio);
      result = SCAN_PAGE_COUNT;
      break;
    }
  }
  if (result === SCAN_SUCCEED) return result;
  for (let j = i - 1; j >= 0; j--) {
    const pte = yield* entryGet(first + j * entryStride(0), 0);
    if (isZero(pte) || !ptePresent(pte)) continue;
    const folio = pageFolio(vmNormalPage(pte));
    if (!(yield* seenBefore(first, j, folio))) yield* folioUnlock(folio);
  }
  return result;
}

/** __collapse_huge_page_copy: the content goes over, the entries and their pages go. */
function* copyPages(vma: VmaRef, first: number, folio: Page): Op<number> {
  const mm = get(vma, Vma.mm);
  const pages = spanPages(1);
  const lock = pteLockptr(first);
  for (let i = 0; i < pages; i++) {
    const pte = yield* entryGet(first + i * entryStride(0), 0);
    if (!isZero(pte)) copyFrame(subPage(folio, i), vmNormalPage(pte));
  }
  // From the last entry of a large folio to its first: the first one's lock is the folio's.
  for (let i = pages - 1; i >= 0; i--) {
    const at = first + i * entryStride(0);
    const pte = yield* entryGet(at, 0);
    const page = isZero(pte) ? 0 : vmNormalPage(pte);
    const last = page !== 0 && !(yield* seenBefore(first, i, pageFolio(page)));
    yield* spinLock(lock);
    yield* entrySet(at, 0, 0);
    if (page === 0) yield* addMmCounter(mm, MM_ANONPAGES, 1);
    else yield* folioRemoveRmap(page, vma);
    yield* spinUnlock(lock);
    if (page === 0) continue;
    if (last) yield* folioUnlock(pageFolio(page));
    yield* folioPut(page);
  }
  return 0;
}
