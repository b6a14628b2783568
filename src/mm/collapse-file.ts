/**
 * Pages of a file of shared memory become a huge page (mm/khugepaged.c: hpage_collapse_scan_file, collapse_file, retract_page_tables, collapse_pte_mapped_thp). For
 * khugepaged (`daemon`) and MADV_COLLAPSE.
 *
 * Invariants: the mmap lock is not held while the huge page is made: it is the file's, whoever maps it. Each page that it takes the place of is locked, off the LRU,
 * mapped nowhere, and nobody has a reference but the cache and us; it stays in the cache until the huge page stands there in one step, so that nobody
 * ever finds less than there was. Page tables that its old pages have left empty go, where no private copies can be in them; who walks them without locks
 * finds the upper entry empty, and the table's memory stays for a grace period. userfaultfd needs no page's lock to set entries: tables of VMAs that it write-protects
 * stay, holes that it tells of are not filled, and a table of a private mapping that it fills is emptied and taken away without letting its lock go.
 */
import { entryAt, entryStride, loadEntry, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  add,
  clearFlags,
  downRead,
  downWriteTrylock,
  entryGet,
  entryGetAndClear,
  flushTlbRange,
  folioLock,
  folioTrylock,
  folioUnlock,
  get,
  mappingSet,
  readOnce,
  refAdd,
  refGetUnlessZero,
  set,
  setFlags,
  spinLock,
  spinTrylock,
  spinUnlock,
  switched,
  upRead,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioMapcount, folioTestLarge, subPage } from '../memory/folio.ts';
import { PG_ACTIVE, PG_DIRTY, PG_LRU, PG_SWAPBACKED, PG_UNEVICTABLE, PG_UPTODATE } from '../memory/page-flags.ts';
import { copyFrame, pageFlags, pageIndex, pageMapping, pagePrev, pageRefcount, setPageIndex, setPageMapping, setPagePrev } from '../memory/state.ts';
import { xaErase, xaStore } from '../memory/xarray.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { filemapLockFolio, folioFilePage, folioTestUptodate, pageCacheEntry, pageCacheFind, pageCacheNext, pagesInCache } from './filemap.ts';
import { globals } from './globals.ts';
import { doSetPmd, pmdTransHuge } from './huge-memory.ts';
import { hasOrder, pmdOrder, TVA_FORCED_COLLAPSE, thpVmaAllowableOrders } from './huge-orders.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { allocCollapseFolio } from './khugepaged-collapse.ts';
import { khugepagedAddPteMapped } from './khugepaged-slots.ts';
import { vmNormalPage } from './memory.ts';
import { addMmCounter, fileCounter } from './mm-counters.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { entryAlloc, entryPointer, pteFree, pteLockptr, ptePresent, tablePage } from './pgtable.ts';
import { pmdLockptr, pteOffsetMapLock } from './pgtable-generic.ts';
import { freePte } from './pt-reclaim.ts';
import { folioRemoveRmap, linearPageIndex, pageIsMapped } from './rmap.ts';
import { TTU_IGNORE_MLOCK, tryToUnmap } from './rmap-walk.ts';
import {
  SCAN_ALLOC_HUGE_PAGE_FAIL,
  SCAN_DEL_PAGE_LRU,
  SCAN_EXCEED_NONE_PTE,
  SCAN_FAIL,
  SCAN_PAGE_COMPOUND,
  SCAN_PAGE_COUNT,
  SCAN_PAGE_FILLED,
  SCAN_PAGE_LOCK,
  SCAN_PAGE_LRU,
  SCAN_PAGE_NULL,
  SCAN_PMD_MAPPED,
  SCAN_PTE_MAPPED_HUGEPAGE,
  SCAN_PTE_NON_PRESENT,
  SCAN_PTE_UFFD_WP,
  SCAN_SUCCEED,
  SCAN_TRUNCATED,
  SCAN_VMA_CHECK,
} from './scan-result.ts';
import { clearFolio, shmemCharge, shmemRecalcInode, shmemUncharge } from './shmem.ts';
import { tryToUnmapLarge } from './split-file-folio.ts';
import { folioAddLru, folioGet, folioPut, folioPutRefs } from './swap.ts';
import { File, type FileRef, Globals, Inode, type InodeRef, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { userfaultfdArmed, userfaultfdWp } from './userfaultfd-vma.ts';
import { VM_SHARED, VM_UFFD_MISSING, VM_UFFD_WP } from './vm-flags.ts';
import { vmaLookup } from './vma-tree.ts';
import { allocVmf, freeVmf, Vmf } from './vmf.ts';
import { folioIsolateLru, folioPutbackLru } from './vmscan.ts';

/**
 * hpage_collapse_scan_file: looks at the pages of a file from index `start` on, and makes a huge page of them if it can. SCAN_*; `mostNone` holes are filled at
 * most. The caller has a reference of the file, and no lock.
 */
export function* hpageCollapseScanFile(mm: MmRef, file: FileRef, start: number, daemon: number, mostNone: number): Op<number> {
  const inode = get(file, File.inode);
  const pages = spanPages(1);
  const end = start + pages;
  let present = 0;
  for (let index = pageCacheFind(inode, start, end - 1); index >= 0; index = pageCacheFind(inode, pageCacheNext(inode, index), end - 1)) {
    const folio = pageCacheEntry(inode, index);
    if (folio <= 0 || (yield* refGetUnlessZero(folio)) === 0) continue;
    let result = SCAN_SUCCEED;
    if (pageCacheEntry(inode, index) !== folio) present = 0;
    else if (compoundPages(folio) === pages) result = SCAN_PTE_MAPPED_HUGEPAGE;
    else if ((pageFlags[folio] & PG_LRU) === 0) result = SCAN_PAGE_LRU;
    else if (pageRefcount[folio] !== folioMapcount(folio) + pagesInCache(inode, folio) + 1) result = SCAN_PAGE_COUNT;
    else present += compoundPages(folio);
    yield* folioPut(folio);
    if (result !== SCAN_SUCCEED) return result;
    if (pageCacheNext(inode, index) >= end) break;
  }
  if (present < pages - mostNone) return SCAN_EXCEED_NONE_PTE;
  return yield* collapseFile(mm, file, start, daemon);
}

/** What functions here return that have a list of folios as well as a result. */
const RESULT = 2 ** 40;

/**
 * collapse_file: SCAN_SUCCEED when the huge page is in the cache, or SCAN_PTE_MAPPED_HUGEPAGE for MADV_COLLAPSE, which maps it then (collapsePteMappedThp).
 * `mm` is who is charged.
 */
export function* collapseFile(mm: MmRef, file: FileRef, start: number, daemon: number): Op<number> {
  const inode = get(file, File.inode);
  const fresh = yield* allocCollapseFolio(daemon);
  if (fresh === 0) return SCAN_ALLOC_HUGE_PAGE_FAIL;
  yield* folioLock(fresh);
  yield* setFlags(fresh, PG_SWAPBACKED | PG_UPTODATE | PG_DIRTY);
  const taken = yield* takeFolios(inode, start);
  const list = taken % RESULT;
  let result = Math.floor(taken / RESULT);
  if (result === SCAN_SUCCEED) {
    const none = spanPages(1) - pagesOfList(list);
    if ((yield* shmemCharge(inode, none, mm)) !== 0) result = SCAN_FAIL;
    else {
      copyFolios(inode, start, fresh, list);
      result = yield* replaceFolios(inode, start, fresh, list);
      if (result === SCAN_SUCCEED) yield* shmemRecalcInode(inode, none, 0);
      else yield* shmemUncharge(inode, none);
    }
  }
  if (result === SCAN_SUCCEED) {
    yield* folioAddLru(fresh);
    yield* dropFolios(inode, list);
    if (switched(SW.retractUnlocked)) yield* folioUnlock(fresh);
    yield* retractPageTables(inode, start);
    if (switched(SW.retractUnlocked)) yield* folioLock(fresh);
    if (get(globals, Globals.thpUsed) === 0) set(globals, Globals.thpUsed, 1);
    if (daemon === 0) result = SCAN_PTE_MAPPED_HUGEPAGE;
  } else yield* giveFoliosBack(list);
  yield* folioUnlock(fresh);
  yield* folioPut(fresh);
  return result;
}

const pagesOfList = (list: Page): number => {
  let pages = 0;
  for (let folio = list; folio !== 0; folio = pagePrev[folio]) pages += compoundPages(folio);
  return pages;
};

/** Locks, isolates and unmaps all folios of a range: a list of them (by `pagePrev`), and RESULT times the result. Those before one that cannot be had are in it, too. */
function* takeFolios(inode: InodeRef, start: number): Op<number> {
  const end = start + spanPages(1);
  let list = 0;
  for (let index = start; index < end; ) {
    yield* spinLock(inode + Inode.pagesLock);
    const at = pageCacheFind(inode, index, end - 1);
    if (at < 0) {
      yield* spinUnlock(inode + Inode.pagesLock);
      // It was truncated since it was looked at.
      return list + (index === start ? SCAN_TRUNCATED : SCAN_SUCCEED) * RESULT;
    }
    const folio = pageCacheEntry(inode, at);
    let result = SCAN_SUCCEED;
    // Linux waits for one that has no content yet, though it has others locked; here who is about to fill it is left alone, as with all others.
    if (folio < 0) result = SCAN_FAIL;
    else if ((yield* folioTrylock(folio)) === 0) result = SCAN_PAGE_LOCK;
    else yield* refAdd(folio, 1);
    yield* spinUnlock(inode + Inode.pagesLock);
    // fallocate() made it: it gets content.
    if (result === SCAN_SUCCEED && !folioTestUptodate(folio)) {
      clearFolio(folio);
      yield* setFlags(folio, PG_UPTODATE);
    }
    if (result !== SCAN_SUCCEED) return list + result * RESULT;
    result = yield* takeFolio(inode, folio);
    if (result !== SCAN_SUCCEED) {
      yield* folioUnlock(folio);
      yield* folioPut(folio);
      return list + result * RESULT;
    }
    setPagePrev(folio, list);
    list = folio;
    index = pageIndex[folio] + compoundPages(folio);
  }
  return list + SCAN_SUCCEED * RESULT;
}

/** The part of it for a folio that is locked and referenced. */
function* takeFolio(inode: InodeRef, folio: Page): Op<number> {
  if (compoundPages(folio) === spanPages(1)) return SCAN_PTE_MAPPED_HUGEPAGE;
  if (pageMapping[folio] !== inode) return SCAN_TRUNCATED;
  if ((yield* folioIsolateLru(folio)) === 0) return SCAN_DEL_PAGE_LRU;
  if (folioTestLarge(folio)) yield* tryToUnmapLarge(folio, TTU_IGNORE_MLOCK);
  else if (pageIsMapped(folio)) yield* tryToUnmap(folio, TTU_IGNORE_MLOCK);
  // Ours, that of the isolation, and those of the cache.
  if ((yield* refAdd(folio, 0)) === 2 + pagesInCache(inode, folio)) return SCAN_SUCCEED;
  yield* folioPutbackLru(folio);
  return SCAN_PAGE_COUNT;
}

function copyFolios(inode: InodeRef, start: number, fresh: Page, list: Page): void {
  for (let folio = list; folio !== 0; folio = pagePrev[folio]) {
    const first = pageIndex[folio];
    for (let i = 0; i < pagesInCache(inode, folio); i++) copyFrame(subPage(fresh, first - start + i), folioFilePage(folio, first + i));
  }
}

/** The huge page stands in the cache where the folios of a list stood, unless a hole was filled meanwhile, or somebody is told of holes by a userfaultfd. */
function* replaceFolios(inode: InodeRef, start: number, fresh: Page, list: Page): Op<number> {
  const pages = spanPages(1);
  const before = pagesOfList(list);
  const holes = before !== pages;
  if (holes) yield* downRead(inode + Inode.iMmapLock);
  yield* spinLock(inode + Inode.pagesLock);
  const result = yield* holesMayGo(inode, start, before);
  // Nobody can see holes that were not replaced yet, nor fill them, before the lock of the cache is released.
  if (holes) yield* upRead(inode + Inode.iMmapLock);
  if (result !== SCAN_SUCCEED) {
    yield* spinUnlock(inode + Inode.pagesLock);
    return result;
  }
  yield* refAdd(fresh, pages);
  setPageMapping(fresh, inode);
  setPageIndex(fresh, start);
  for (let folio = list; folio !== 0; folio = pagePrev[folio]) xaErase(inode + Inode.pages, pageIndex[folio]);
  xaStore(inode + Inode.pages, start, fresh);
  set(inode, Inode.orders, get(inode, Inode.orders) | pages);
  add(inode, Inode.nrPages, pages - before);
  yield* spinUnlock(inode + Inode.pagesLock);
  return SCAN_SUCCEED;
}

/** Whether the range has the pages that it had (`before`), and the holes between them are nobody's business. Needs the locks of the cache and, with holes, of i_mmap. */
function* holesMayGo(inode: InodeRef, start: number, before: number): Op<number> {
  const pages = spanPages(1);
  let there = 0;
  for (let index = pageCacheFind(inode, start, start + pages - 1); index >= 0; ) {
    const next = pageCacheNext(inode, index);
    there += next - index;
    index = next < start + pages ? pageCacheFind(inode, next, start + pages - 1) : -1;
  }
  if (there !== before && !switched(SW.collapseFileUncounted)) return SCAN_PAGE_FILLED;
  if (before === pages || switched(SW.collapseFillsUnasked)) return SCAN_SUCCEED;
  // Whoever saw a hole may wait to be told of the fault in it. Write protection and minor faults promise nothing of holes. The range that is asked for is one page longer
  // than the huge page, as Linux's is.
  for (let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, start, start + pages); vma !== 0; vma = vmaIntervalTreeIterNext(vma, start, start + pages))
    if (((yield* readOnce(vma, Vma.flags)) & VM_UFFD_MISSING) !== 0) return SCAN_EXCEED_NONE_PTE;
  return SCAN_SUCCEED;
}

/** The folios of a list have been replaced: they go. */
function* dropFolios(inode: InodeRef, list: Page): Op<number> {
  let folio = list;
  while (folio !== 0) {
    const next = pagePrev[folio];
    setPagePrev(folio, 0);
    const pages = pagesInCache(inode, folio);
    yield* mappingSet(folio, 0);
    yield* clearFlags(folio, PG_ACTIVE | PG_UNEVICTABLE);
    yield* folioUnlock(folio);
    yield* folioPutRefs(folio, 2 + pages);
    folio = next;
  }
  return 0;
}

/** The folios of a list stay what they were. */
function* giveFoliosBack(list: Page): Op<number> {
  let folio = list;
  while (folio !== 0) {
    const next = pagePrev[folio];
    setPagePrev(folio, 0);
    yield* folioUnlock(folio);
    yield* folioPutbackLru(folio);
    yield* folioPut(folio);
    folio = next;
  }
  return 0;
}

/** retract_page_tables: tables of whoever maps a huge page's range in line, which hold nothing now, go; not where there may be private copies, or markers of write protection. */
function* retractPageTables(inode: InodeRef, start: number): Op<number> {
  const pages = spanPages(1);
  yield* downRead(inode + Inode.iMmapLock);
  for (let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, start, start); vma !== 0; vma = vmaIntervalTreeIterNext(vma, start, start)) {
    const vpn = get(vma, Vma.start) + start - get(vma, Vma.pgoff);
    if ((yield* readOnce(vma, Vma.anonVma)) !== 0 || vpn % pages !== 0 || get(vma, Vma.end) < vpn + pages) continue;
    const mm = get(vma, Vma.mm);
    // Its tables go by themselves (hpage_collapse_test_exit).
    if ((yield* readOnce(mm, Mm.users)) === 0) continue;
    const pmdp = yield* entryPointer(mm, vpn, 1);
    if (pmdp === 0 || ((yield* readOnce(vma, Vma.flags)) & VM_UFFD_WP) !== 0) continue;
    if (switched(SW.retractMmapLock) && (yield* downWriteTrylock(mm + Mm.mmapLock)) === 0) {
      yield* khugepagedAddPteMapped(mm, vpn);
      continue;
    }
    const lock = pmdLockptr(mm, pmdp);
    yield* spinLock(lock);
    const pmd = yield* entryGet(pmdp, 1);
    let gone = 0;
    if ((pmd & PTE_TABLE) !== 0) {
      const ptl = pteLockptr(entryAt(tablePage(pmd), 0, vpn));
      if (ptl !== lock) yield* spinLock(ptl);
      // Copies are made with that lock held, after the anon_vma was made; and markers, after the VMA was registered.
      const asked = switched(SW.retractNoRecheck);
      const copies = asked ? 0 : yield* readOnce(vma, Vma.anonVma);
      const flags = asked || switched(SW.retractWpOnce) ? 0 : yield* readOnce(vma, Vma.flags);
      if (copies === 0 && (flags & VM_UFFD_WP) === 0) {
        gone = yield* entryGetAndClear(pmdp, 1);
        yield* flushTlbRange(mm, vpn, vpn + pages);
      }
      if (ptl !== lock) yield* spinUnlock(ptl);
    }
    yield* spinUnlock(lock);
    if (switched(SW.retractMmapLock)) yield* upWrite(mm + Mm.mmapLock);
    if (gone !== 0) yield* freeTable(mm, gone);
  }
  return yield* upRead(inode + Inode.iMmapLock);
}

/** pte_free_defer: a table that an upper entry led to goes, after a grace period. */
function* freeTable(mm: MmRef, pmd: number): Op<number> {
  const tlb = yield* tlbGather(mm);
  yield* freePte(tlb, mm, pmd);
  return yield* tlbFinish(tlb);
}

/**
 * collapse_pte_mapped_thp: a huge page that stands in the cache is mapped by one entry at a place where small ones may map it. Needs the mmap lock. SCAN_SUCCEED,
 * SCAN_PMD_MAPPED when it is so by now, or why not. Without `install` the small entries go and the next fault maps it.
 */
export function* collapsePteMappedThp(mm: MmRef, vpn: Vpn, install: number): Op<number> {
  const vma = vmaLookup(mm, vpn);
  const pages = spanPages(1);
  if (vma === 0 || get(vma, Vma.file) === 0 || get(vma, Vma.end) < vpn + pages) return SCAN_VMA_CHECK;
  const pmdp = yield* entryPointer(mm, vpn, 1);
  if (pmdp !== 0 && pmdTransHuge(yield* entryGet(pmdp, 1))) return SCAN_PMD_MAPPED;
  if (!hasOrder(thpVmaAllowableOrders(vma, get(vma, Vma.flags), TVA_FORCED_COLLAPSE, 1 << pmdOrder()), pmdOrder())) return SCAN_VMA_CHECK;
  // Its table may hold markers, and will be needed again.
  if (userfaultfdWp(vma)) return SCAN_PTE_UFFD_WP;
  const folio = yield* filemapLockFolio(get(get(vma, Vma.file), File.inode), linearPageIndex(vma, vpn));
  if (folio === 0) return SCAN_PAGE_NULL;
  let result = compoundPages(folio) === pages ? SCAN_SUCCEED : SCAN_PAGE_COMPOUND;
  if (result === SCAN_SUCCEED && pmdp !== 0 && ((yield* entryGet(pmdp, 1)) & PTE_TABLE) !== 0) result = yield* clearSmallEntries(mm, vma, vpn, pmdp, folio);
  if (result === SCAN_SUCCEED && install !== 0) result = yield* setHugePmd(mm, vma, vpn, folio);
  yield* folioUnlock(folio);
  yield* folioPut(folio);
  return result;
}

/** Its steps 1 to 4: entries that map pages of the folio, and nothing else, go with their table. */
function* clearSmallEntries(mm: MmRef, vma: VmaRef, vpn: Vpn, pmdp: number, folio: Page): Op<number> {
  // Step 1: looks whether it can be done.
  let first = yield* pteOffsetMapLock(pmdp, vpn);
  if (first === 0) return SCAN_FAIL;
  let ptl = pteLockptr(first);
  let result = onlyMaps(first, folio);
  yield* spinUnlock(ptl);
  if (result !== SCAN_SUCCEED) return result;
  // The lock of the folio keeps faults from setting entries, but not UFFDIO_COPY to a private mapping: there both locks are held from the first entry to the table.
  const armed = (userfaultfdArmed(vma) || switched(SW.collapseLocked)) && (get(vma, Vma.flags) & VM_SHARED) === 0;
  const lock = pmdLockptr(mm, pmdp);
  let both = armed && !switched(SW.collapseUffdUnlocked) && !switched(SW.collapseTrylock) ? 1 : 0;
  let pmd = 0;
  if (both !== 0) {
    yield* spinLock(lock);
    pmd = yield* entryGet(pmdp, 1);
    first = (pmd & PTE_TABLE) === 0 ? 0 : entryAt(tablePage(pmd), 0, vpn);
    ptl = first === 0 ? lock : pteLockptr(first);
    if (ptl !== lock) yield* spinLock(ptl);
  } else {
    first = yield* pteOffsetMapLock(pmdp, vpn);
    pmd = yield* entryGet(pmdp, 1);
    if (first === 0) return SCAN_FAIL;
    ptl = pteLockptr(first);
  }
  result = first === 0 ? SCAN_FAIL : SCAN_SUCCEED;
  let mapped = 0;
  while (result === SCAN_SUCCEED) {
    // Step 2: the entries go, and their part of the reverse map.
    const cleared = yield* clearEntries(first, folio, vma);
    mapped += cleared % RESULT;
    result = Math.floor(cleared / RESULT);
    if (result !== SCAN_SUCCEED) {
      if (mapped > 0) yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
      yield* forgetMapped(mm, folio, mapped);
      break;
    }
    if (both === 0 && !switched(SW.collapseTrylock)) yield* spinUnlock(ptl);
    // Step 3: what they counted for.
    yield* forgetMapped(mm, folio, mapped);
    if (!switched(SW.collapseCountsTwice)) mapped = 0;
    // Step 4: the table goes.
    if (both !== 0) break;
    if (switched(SW.collapseTrylock)) {
      if (ptl === lock || (yield* spinTrylock(lock)) !== 0) break;
      yield* spinUnlock(ptl);
    }
    yield* spinLock(lock);
    both = 1;
    // Without a lock it may have gone as it was empty (mm/pt_reclaim.c), and another come.
    if ((yield* entryGet(pmdp, 1)) !== pmd) {
      yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
      ptl = lock;
      result = SCAN_FAIL;
      break;
    }
    if (ptl !== lock) yield* spinLock(ptl);
    if (!switched(SW.collapseTrylock) || !armed) break;
  }
  if (result === SCAN_SUCCEED) {
    yield* entryGetAndClear(pmdp, 1);
    yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
    both = 1;
  }
  if (ptl !== lock) yield* spinUnlock(ptl);
  if (both !== 0 || ptl === lock) yield* spinUnlock(lock);
  if (result !== SCAN_SUCCEED) return result;
  yield* freeTable(mm, pmd);
  return SCAN_SUCCEED;
}

/** SCAN_SUCCEED when a table maps pages of a folio at their places and nothing else, or why not. Needs its lock, under which only hardware changes entries, and no more than bits. */
function onlyMaps(first: number, folio: Page): number {
  for (let i = 0; i < spanPages(1); i++) {
    const result = mapsInPlace(loadEntry(first + i * entryStride(0), 0), folio, i);
    if (result !== SCAN_SUCCEED) return result;
  }
  return SCAN_SUCCEED;
}

/** Whether an entry holds nothing, or maps page `i` of a folio. */
function mapsInPlace(pte: number, folio: Page, i: number): number {
  if (pte === 0) return SCAN_SUCCEED;
  if (!ptePresent(pte)) return SCAN_PTE_NON_PRESENT;
  return vmNormalPage(pte) === subPage(folio, i) ? SCAN_SUCCEED : SCAN_FAIL;
}

/** Takes the entries out of a table up to the first that holds anything else: how many mapped something, and RESULT times the result. Needs its lock. */
function* clearEntries(first: number, folio: Page, vma: VmaRef): Op<number> {
  let mapped = 0;
  for (let i = 0; i < spanPages(1); i++) {
    const at = first + i * entryStride(0);
    // What is empty stays so under the lock.
    if (loadEntry(at, 0) === 0) continue;
    const result = mapsInPlace(yield* entryGet(at, 0), folio, i);
    if (result !== SCAN_SUCCEED) return mapped + result * RESULT;
    yield* entryGetAndClear(at, 0);
    yield* folioRemoveRmap(subPage(folio, i), vma);
    mapped++;
  }
  return mapped + SCAN_SUCCEED * RESULT;
}

/** So many mappings of a folio have gone: their resident pages and references. */
function* forgetMapped(mm: MmRef, folio: Page, mapped: number): Op<number> {
  if (mapped === 0) return 0;
  yield* addMmCounter(mm, fileCounter(folio), -mapped);
  return yield* folioPutRefs(folio, mapped);
}

/** set_huge_pmd: one entry for a locked folio, where there is none. */
function* setHugePmd(mm: MmRef, vma: VmaRef, vpn: Vpn, folio: Page): Op<number> {
  const pmdp = yield* entryAlloc(mm, vpn, 1);
  if (pmdp === 0) return SCAN_FAIL;
  const vmf = allocVmf();
  set(vmf, Vmf.vma, vma);
  set(vmf, Vmf.mm, mm);
  set(vmf, Vmf.vpn, vpn);
  set(vmf, Vmf.pmdp, pmdp);
  yield* folioGet(folio);
  const failed = yield* doSetPmd(vmf, folio);
  if (get(vmf, Vmf.prealloc) !== 0) yield* pteFree(get(vmf, Vmf.prealloc));
  freeVmf(vmf);
  if (failed === 0) return SCAN_SUCCEED;
  yield* folioPut(folio);
  return SCAN_FAIL;
}
