/**
 * Page faults (mm/memory.c): what an access to a page without a fitting entry leads to.
 *
 * Invariants: entries change under their table's lock, after the entry was read again there; a fault either maps, or reports a result of vmf.ts
 * and has changed nothing; the caller holds the mmap lock for reading or the VMA's lock (FAULT_FLAG_VMA_LOCK).
 */
import { entryAt, entryStride, pageOfEntry, tableEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  entryGet,
  entrySet,
  flushTlbRange,
  folioLock,
  folioTrylock,
  folioUnlock,
  get,
  refAdd,
  set,
  setFlags,
  spinLock,
  spinUnlock,
  switched,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioMapcount, folioMaybeMappedShared, pageFolio, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { __GFP_ZERO } from '../memory/gfp.ts';
import { PG_ANON_EXCLUSIVE, PG_HWPOISON, PG_SWAPCACHE, PG_UPTODATE } from '../memory/page-flags.ts';
import { copyFrame, pageFlags, pageMapcount, pageRefcount } from '../memory/state.ts';
import { PTE_GROUP, PTE_SOFT_DIRTY, PTE_SPECIAL, PTE_SWAP, PTE_TABLE, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { anonVmaPrepareFault } from './anon-vma.ts';
import { ptepGathered, ptepGetAndClear, ptepGetLockless, setAccessFlags, setPtes } from './contpte.ts';
import { checkFaultResult, sanitizeFaultFlags, UNCOMMON_FAULT_FLAGS } from './fault-flags.ts';
import { mayMapWhole } from './filemap.ts';
import { globals } from './globals.ts';
import { doHugePmdAnonymousPage, doSetPmd, hugePmdSetAccessed, pmdTransHuge, wpHugePmd } from './huge-memory.ts';
import { hasOrder, highestOrder, pmdOrder, TVA_PAGEFAULT, thpVmaAllowableOrders, thpVmaSuitableOrders, vmaThpGfpMask } from './huge-orders.ts';
import { hugetlbFault } from './hugetlb.ts';
import { migrationEntryWait } from './migrate.ts';
import { pmdMigrationEntryWait } from './migrate-pmd.ts';
import { isHwpoisonEntry, isMigrationEntry } from './migration-entry.ts';
import { addMmCounter, fileCounter } from './mm-counters.ts';
import { checkStableAddressSpace } from './mm-flags-ops.ts';
import {
  isGuardPte,
  isSwapPte,
  mkPte,
  PTE_MARKER_POISONED,
  PTE_MARKER_UFFD_WP,
  pmdAlloc,
  pmdInstall,
  pteAlloc,
  pteAllocOne,
  pteClear,
  pteFree,
  pteLockptr,
  pteMarker,
  pteMkdirty,
  pteMkspecial,
  pteMkyoung,
  ptePage,
  ptePresent,
  pteSet,
  pteWrite,
  pteWrprotect,
  tablePage,
} from './pgtable.ts';
import { pteMap, pteOffsetMapLock, pteUnmap } from './pgtable-generic.ts';
import { folioAddFileRmapPtes, folioAddNewAnonRmap, folioMoveAnonRmap, folioRemoveRmap, pageAnonExclusive } from './rmap.ts';
import { folioAddLruVma, folioGet, folioMarkDirty, folioPut, folioTestAnon, folioTestDirty } from './swap.ts';
import { File, Globals, MM_ANONPAGES, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { handleUserfault } from './userfaultfd-fault.ts';
import { userfaultfdArmed, userfaultfdOwnEntries, userfaultfdWp, userfaultfdWpAsync } from './userfaultfd-vma.ts';
import { VM_HUGETLB, VM_MAYSHARE, VM_SHARED, VM_UFFD_MISSING, VM_UFFD_WP, VM_WRITE } from './vm-flags.ts';
import { mapPages, pageMkwrite, vmaIsAnonymous, vmFault, vmOpsHasMapPages, vmOpsHasPageMkwrite } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';
import {
  allocVmf,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  faultGfp,
  freeVmf,
  VM_FAULT_DONE_COW,
  VM_FAULT_ERROR,
  VM_FAULT_FALLBACK,
  VM_FAULT_HWPOISON,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  Vmf,
  type VmfRef,
} from './vmf.ts';

/** vm_normal_page: the page that a present entry maps, 0 for special entries (the zero page among them). */
export function vmNormalPage(pte: number): Page {
  if ((pte & PTE_SPECIAL) !== 0) return 0;
  const page = ptePage(pte);
  // Formats without a special bit: the zero page is told by its frame.
  return page === get(globals, Globals.zeroPage) ? 0 : page;
}

/** handle_mm_fault: VM_FAULT_* of an access to a page of a VMA. */
export function* handleMmFault(vma: VmaRef, vpn: Vpn, flags: number): Op<number> {
  const vmf = allocVmf();
  set(vmf, Vmf.vma, vma);
  set(vmf, Vmf.mm, get(vma, Vma.mm));
  set(vmf, Vmf.vpn, vpn);
  set(vmf, Vmf.pgoff, get(vma, Vma.pgoff) + vpn - get(vma, Vma.start));
  const vmFlags = get(vma, Vma.flags);
  set(vmf, Vmf.flags, (flags & UNCOMMON_FAULT_FLAGS) === 0 && (vmFlags & VM_WRITE) !== 0 ? flags : sanitizeFaultFlags(vmFlags, flags));
  const result = (vmFlags & VM_HUGETLB) !== 0 ? yield* hugetlbFault(vmf) : yield* handlePteFault(vmf);
  if ((result & VM_FAULT_ERROR) !== 0) checkFaultResult(result);
  const unused = get(vmf, Vmf.prealloc);
  if (unused !== 0) yield* pteFree(unused);
  freeVmf(vmf);
  return result;
}

function* handlePteFault(vmf: VmfRef): Op<number> {
  const pmdp = yield* pmdAlloc(get(vmf, Vmf.mm), get(vmf, Vmf.vpn));
  if (pmdp === 0) return VM_FAULT_OOM;
  set(vmf, Vmf.pmdp, pmdp);
  const huge = yield* handleHugeFault(vmf, pmdp);
  if ((huge & VM_FAULT_FALLBACK) === 0) return huge;
  // The table may go while no lock is held; until the grace period ends it can be read all the same.
  yield* pteMap();
  const pmd = yield* entryGet(pmdp, 1);
  const seen = (pmd & PTE_TABLE) === 0 ? 0 : entryAt(tablePage(pmd), 0, get(vmf, Vmf.vpn));
  let pte = seen === 0 ? 0 : yield* entryGet(seen, 0);
  if ((pte & PTE_GROUP) !== 0) pte = yield* ptepGetLockless(get(vmf, Vmf.vpn), seen);
  yield* pteUnmap();
  set(vmf, Vmf.ptep, seen);
  set(vmf, Vmf.origPte, pte);
  if (pte === 0) return yield* doPteMissing(vmf);
  if (!ptePresent(pte)) return yield* doSwapPage(vmf);
  const ptep = yield* lockPte(vmf);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  if (!(yield* pteUnchanged(vmf, ptep))) {
    // Another CPU was faster: its entry decides at the next access.
    yield* flushTlbRange(get(vmf, Vmf.mm), get(vmf, Vmf.vpn), get(vmf, Vmf.vpn) + 1);
    yield* spinUnlock(lock);
    return 0;
  }
  const flags = get(vmf, Vmf.flags);
  let entry = pte;
  if ((flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0) {
    if (!pteWrite(pte)) return yield* doWpPage(vmf, lock);
    if ((flags & FAULT_FLAG_WRITE) !== 0) entry = pteMkdirty(entry);
  }
  entry = pteMkyoung(entry);
  if (entry !== pte) yield* setAccessFlags(get(vmf, Vmf.mm), get(vmf, Vmf.vpn), ptep, pte, entry);
  // Nothing to change: a translation that was cached before the entry got more rights (flush_tlb_fix_spurious_fault).
  if (!switched(SW.spuriousNoFlush)) yield* flushTlbRange(get(vmf, Vmf.mm), get(vmf, Vmf.vpn), get(vmf, Vmf.vpn) + 1);
  yield* spinUnlock(lock);
  return 0;
}

/** Whether an entry, whose lock is held, is what the fault was decided on (pte_same with Vmf.origPte). */
function* pteUnchanged(vmf: VmfRef, ptep: number): Op<boolean> {
  const pte = yield* entryGet(ptep, 0);
  const orig = get(vmf, Vmf.origPte);
  return pte === orig || ((pte & PTE_GROUP) !== 0 && (yield* ptepGathered(get(vmf, Vmf.vpn), ptep, pte)) === orig);
}

/** The part of __handle_mm_fault for huge pages: VM_FAULT_FALLBACK when entries of the lowest level have to do. */
function* handleHugeFault(vmf: VmfRef, pmdp: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const seen = yield* entryGet(pmdp, 1);
  if (seen === 0) {
    if (get(globals, Globals.thpUsed) === 0 || !vmaIsAnonymous(vma)) return VM_FAULT_FALLBACK;
    if (!hasOrder(thpVmaAllowableOrders(vma, get(vma, Vma.flags), TVA_PAGEFAULT, 1 << pmdOrder()), pmdOrder())) return VM_FAULT_FALLBACK;
    return yield* doHugePmdAnonymousPage(vmf);
  }
  if (!pmdTransHuge(seen)) {
    if (!isMigrationEntry(seen)) return VM_FAULT_FALLBACK;
    yield* pmdMigrationEntryWait(get(vmf, Vmf.mm), pmdp);
    return 0;
  }
  if ((get(vmf, Vmf.flags) & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0 && !pteWrite(seen)) return yield* wpHugePmd(vmf, seen);
  return yield* hugePmdSetAccessed(vmf, seen);
}

/** pte_offset_map_lock for the page of a fault: its entry (Vmf.ptep) with the lock held, or 0 when the table has gone: the access is tried again. */
function* lockPte(vmf: VmfRef): Op<number> {
  const locked = switched(SW.ptlRemembered) ? get(vmf, Vmf.ptep) : 0;
  if (locked !== 0) return yield* lockPteAgain(vmf, locked);
  const ptep = yield* pteOffsetMapLock(get(vmf, Vmf.pmdp), get(vmf, Vmf.vpn));
  set(vmf, Vmf.ptep, ptep);
  return ptep;
}

/** The lock of an entry that was locked before, with a look at the table afterwards. */
function* lockPteAgain(vmf: VmfRef, ptep: number): Op<number> {
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  const pmd = yield* entryGet(get(vmf, Vmf.pmdp), 1);
  if ((pmd & PTE_TABLE) !== 0 && tablePage(pmd) === pageOfEntry(ptep, 0)) return ptep;
  yield* spinUnlock(lock);
  return 0;
}

function* doPteMissing(vmf: VmfRef): Op<number> {
  if (get(get(vmf, Vmf.vma), Vma.ops) === 0) return yield* doAnonymousPage(vmf);
  return yield* doFault(vmf);
}

/** do_swap_page as far as software's own entries go that hold no page: markers (handle_pte_marker). */
function* doSwapPage(vmf: VmfRef): Op<number> {
  const pte = get(vmf, Vmf.origPte);
  if (isSwapPte(pte) && isGuardPte(pte)) return VM_FAULT_SIGSEGV;
  if (isMigrationEntry(pte)) {
    if (switched(SW.migrationEntryAlien)) return VM_FAULT_SIGBUS;
    yield* migrationEntryWait(get(vmf, Vmf.pmdp), get(vmf, Vmf.vpn));
    return 0;
  }
  if (isHwpoisonEntry(pte)) return VM_FAULT_HWPOISON;
  if ((pteMarker(pte) & PTE_MARKER_POISONED) !== 0) return VM_FAULT_HWPOISON;
  if ((pteMarker(pte) & PTE_MARKER_UFFD_WP) !== 0) return yield* markerHandleUffdWp(vmf);
  // A marker that has vanished meanwhile is no error.
  const ptep = yield* lockPte(vmf);
  if (ptep === 0) return 0;
  const now = yield* entryGet(ptep, 0);
  yield* spinUnlock(pteLockptr(ptep));
  return now === pte ? VM_FAULT_SIGBUS : 0;
}

/** pte_marker_handle_uffd_wp: as if nothing were there; a marker that was left behind goes (pte_marker_clear). */
function* markerHandleUffdWp(vmf: VmfRef): Op<number> {
  if (userfaultfdWp(get(vmf, Vmf.vma))) return yield* doPteMissing(vmf);
  const ptep = yield* lockPte(vmf);
  if (ptep === 0) return 0;
  if ((yield* entryGet(ptep, 0)) === get(vmf, Vmf.origPte)) yield* entrySet(ptep, 0, 0);
  return yield* spinUnlock(pteLockptr(ptep));
}

/** pte_range_none: that many entries are empty. */
function* pteRangeNone(ptep: number, pages: number): Op<boolean> {
  for (let i = 0; i < pages; i++) if ((yield* entryGet(ptep + i * entryStride(0), 0)) !== 0) return false;
  return true;
}

/** alloc_anon_folio: the largest folio that may be, that there is memory for and room around the page; a small page at least, 0 without memory. */
function* allocAnonFolio(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  // Who is told of each page gets each by itself.
  let orders =
    get(globals, Globals.thpUsed) === 0 || userfaultfdArmed(vma) ? 0 : thpVmaAllowableOrders(vma, get(vma, Vma.flags), TVA_PAGEFAULT, (1 << pmdOrder()) - 1);
  orders = thpVmaSuitableOrders(vma, vpn, orders);
  if (orders !== 0) {
    yield* pteMap();
    const pmd = yield* entryGet(get(vmf, Vmf.pmdp), 1);
    while (orders !== 0) {
      const order = highestOrder(orders);
      if ((pmd & PTE_TABLE) !== 0 && (yield* pteRangeNone(entryAt(tablePage(pmd), 0, vpn - (vpn % 2 ** order)), 2 ** order))) break;
      orders &= ~(1 << order);
    }
    yield* pteUnmap();
  }
  while (orders !== 0) {
    const order = highestOrder(orders);
    const folio = yield* allocPage(vmaThpGfpMask(vma) | __GFP_ZERO, order);
    if (folio !== 0) return folio;
    orders &= ~(1 << order);
  }
  return yield* allocPage(faultGfp(vmf, __GFP_ZERO), 0);
}

/** maybe_mkwrite: write access when the VMA allows it. */
const maybeMkwrite = (pte: number, vma: VmaRef): number => ((get(vma, Vma.flags) & VM_WRITE) !== 0 ? pteSet(pte, PTE_WRITE) : pte);

/** What an entry that holds nothing still is when nobody was faster: empty, or the marker that the fault began with. */
const markerOf = (vmf: VmfRef): number => ((get(vmf, Vmf.origPte) & PTE_SWAP) !== 0 ? get(vmf, Vmf.origPte) : 0);
/** vmf_orig_pte_uffd_wp: the bit that the new entry inherits of a marker. */
const markerWp = (vmf: VmfRef): number => ((pteMarker(get(vmf, Vmf.origPte)) & PTE_MARKER_UFFD_WP) !== 0 ? PTE_UFFD_WP : 0);

/** do_anonymous_page. */
function* doAnonymousPage(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const vpn = get(vmf, Vmf.vpn);
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_SHARED) !== 0) return VM_FAULT_SIGBUS;
  if (get(vmf, Vmf.ptep) === 0 && (yield* pteAlloc(mm, vpn)) === 0) return VM_FAULT_OOM;
  if ((get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) === 0) {
    const entry = pteMkspecial(mkPte(get(globals, Globals.zeroPage), vmaPageProt(vma)));
    const ptep = yield* lockPte(vmf);
    if (ptep === 0) return 0;
    let unstable = 0;
    if ((yield* entryGet(ptep, 0)) === markerOf(vmf)) {
      unstable = yield* checkStableAddressSpace(mm);
      if (unstable === 0 && (vmFlags & VM_UFFD_MISSING) !== 0) {
        yield* spinUnlock(pteLockptr(ptep));
        return yield* handleUserfault(vmf, VM_UFFD_MISSING);
      }
      if (unstable === 0) yield* entrySet(ptep, 0, pteSet(entry, markerWp(vmf)));
    }
    yield* spinUnlock(pteLockptr(ptep));
    return unstable;
  }
  if (get(vma, Vma.anonVma) === 0) {
    const failed = yield* anonVmaPrepareFault(vma, get(vmf, Vmf.flags));
    if (failed !== 0) return failed;
  }
  const folio = yield* allocAnonFolio(vmf);
  if (folio === 0) return VM_FAULT_OOM;
  yield* setFlags(folio, PG_UPTODATE);
  const pages = compoundPages(folio);
  const first = pages === 1 ? vpn : vpn - (vpn % pages);
  let entry = maybeMkwrite(pteMkdirty(pteMkyoung(mkPte(folio, vmaPageProt(vma)))), vma);
  if (markerWp(vmf) !== 0) entry = pteSet(pteWrprotect(entry), PTE_UFFD_WP);
  const ptep = yield* lockPte(vmf);
  const from = ptep - (vpn - first) * entryStride(0);
  if (ptep === 0 || !(pages === 1 ? (yield* entryGet(ptep, 0)) === markerOf(vmf) : yield* pteRangeNone(from, pages))) {
    if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep));
    yield* folioPut(folio);
    return 0;
  }
  const unstable = yield* checkStableAddressSpace(mm);
  if (unstable !== 0) {
    yield* spinUnlock(pteLockptr(ptep));
    yield* folioPut(folio);
    return unstable;
  }
  if ((vmFlags & VM_UFFD_MISSING) !== 0) {
    yield* spinUnlock(pteLockptr(ptep));
    yield* folioPut(folio);
    return yield* handleUserfault(vmf, VM_UFFD_MISSING);
  }
  if (pages > 1) yield* refAdd(folio, pages - 1);
  yield* addMmCounter(mm, MM_ANONPAGES, pages);
  yield* folioAddNewAnonRmap(folio, vma, first);
  yield* folioAddLruVma(folio, vma);
  if (pages === 1) yield* entrySet(from, 0, entry);
  else yield* setPtes(mm, first, from, entry, pages);
  yield* spinUnlock(pteLockptr(ptep));
  return 0;
}

/** do_fault: pages of objects. */
function* doFault(vmf: VmfRef): Op<number> {
  const shared = (get(get(vmf, Vmf.vma), Vma.flags) & VM_SHARED) !== 0;
  if ((get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) === 0) return yield* doReadFault(vmf);
  return shared ? yield* doSharedFault(vmf) : yield* doCowFault(vmf);
}

function* doReadFault(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  if (vmOpsHasMapPages(vma) && !userfaultfdOwnEntries(vma) && get(globals, Globals.faultAroundPages) > 1) {
    const around = yield* doFaultAround(vmf);
    if (around !== 0) return around;
  }
  let result = yield* fetchPage(vmf);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return result;
  result |= yield* finishFault(vmf);
  const page = get(vmf, Vmf.page);
  yield* folioUnlock(pageFolio(page));
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) yield* folioPut(page);
  return result;
}

/** do_fault_around: maps cached pages in an aligned window around the address, within the VMA and its page table. */
function* doFaultAround(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const window = get(globals, Globals.faultAroundPages);
  const ptes = tableEntries(0);
  const pteOff = vpn % ptes;
  const vmaOff = vpn - get(vma, Vma.start);
  const fromPte = Math.max(Math.floor(pteOff / window) * window, pteOff - Math.min(pteOff, vmaOff));
  const toPte = Math.min(fromPte + window, ptes, pteOff + (get(vma, Vma.end) - get(vma, Vma.start)) - vmaOff) - 1;
  if ((yield* preallocPte(vmf)) !== 0) return VM_FAULT_OOM;
  const pgoff = get(vmf, Vmf.pgoff);
  return yield* mapPages(vmf, pgoff + fromPte - pteOff, pgoff + toPte - pteOff);
}

function* doCowFault(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const failed = yield* anonVmaPrepareFault(vma, get(vmf, Vmf.flags));
  if (failed !== 0) return failed;
  const copy = yield* allocPage(faultGfp(vmf, 0), 0);
  if (copy === 0) return VM_FAULT_OOM;
  set(vmf, Vmf.cowPage, copy);
  let result = yield* fetchPage(vmf);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) {
    yield* folioPut(copy);
    return result;
  }
  if ((result & VM_FAULT_DONE_COW) !== 0) return result;
  const page = get(vmf, Vmf.page);
  copyFrame(copy, page);
  yield* setFlags(copy, PG_UPTODATE);
  result |= yield* finishFault(vmf);
  yield* folioUnlock(pageFolio(page));
  yield* folioPut(page);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) yield* folioPut(copy);
  return result;
}

function* doSharedFault(vmf: VmfRef): Op<number> {
  let result = yield* fetchPage(vmf);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return result;
  const page = get(vmf, Vmf.page);
  if (vmOpsHasPageMkwrite(get(vmf, Vmf.vma))) {
    yield* folioUnlock(pageFolio(page));
    const made = yield* pageMkwrite(vmf);
    if ((made & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)) !== 0) {
      yield* folioPut(page);
      return made;
    }
  }
  result |= yield* finishFault(vmf);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) {
    yield* folioUnlock(pageFolio(page));
    yield* folioPut(page);
    return result;
  }
  return result | (yield* faultDirtySharedPage(page));
}

/** fault_dirty_shared_page: the page is dirty from now on; unlocks it. */
function* faultDirtySharedPage(page: Page): Op<number> {
  yield* folioMarkDirty(page);
  yield* folioUnlock(pageFolio(page));
  return 0;
}

/** vmf->prealloc_pte: a table in reserve where there is none; -1 without memory. It comes into the tree when there is a page to map. */
function* preallocPte(vmf: VmfRef): Op<number> {
  if (get(vmf, Vmf.ptep) !== 0 || get(vmf, Vmf.prealloc) !== 0) return 0;
  const table = yield* pteAllocOne();
  set(vmf, Vmf.prealloc, table);
  return table === 0 ? -1 : 0;
}

/** The entry of the faulting page with its lock held, the table in reserve brought in if there is none; 0 when there is no table (any more). */
export function* vmfLockPte(vmf: VmfRef): Op<number> {
  if (get(vmf, Vmf.prealloc) !== 0 && (yield* pmdInstall(get(vmf, Vmf.mm), get(vmf, Vmf.pmdp), get(vmf, Vmf.prealloc))) !== 0) set(vmf, Vmf.prealloc, 0);
  return yield* lockPte(vmf);
}

/** __do_fault: asks the object for the page, referenced and locked. */
function* fetchPage(vmf: VmfRef): Op<number> {
  // The table is made before the page is asked for, so that no memory has to be waited for with the page locked.
  if ((yield* preallocPte(vmf)) !== 0) return VM_FAULT_OOM;
  const result = yield* vmFault(vmf);
  if ((result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY | VM_FAULT_DONE_COW)) !== 0) return result;
  const page = get(vmf, Vmf.page);
  const locked = (result & VM_FAULT_LOCKED) !== 0;
  if ((pageFlags[page] & PG_HWPOISON) !== 0 && !switched(SW.faultMapsPoison)) {
    if (locked) yield* folioUnlock(pageFolio(page));
    yield* folioPut(page);
    return VM_FAULT_HWPOISON;
  }
  if (!locked) yield* folioLock(pageFolio(page));
  return result | VM_FAULT_LOCKED;
}

/** finish_fault: the entry, unless something stands there by now. */
function* finishFault(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const flags = get(vmf, Vmf.flags);
  const cow = (flags & FAULT_FLAG_WRITE) !== 0 && (get(vma, Vma.flags) & VM_SHARED) === 0;
  const page = cow ? get(vmf, Vmf.cowPage) : get(vmf, Vmf.page);
  // Also when reading: a private copy may have been taken away, and the file's page is not what it held.
  if ((get(vma, Vma.flags) & VM_SHARED) === 0) {
    const unstable = yield* checkStableAddressSpace(get(vmf, Vmf.mm));
    if (unstable !== 0) return unstable;
  }
  const pmdp = get(vmf, Vmf.pmdp);
  const large = !cow && pageIsCompound(page) && mayMapWhole(get(get(vma, Vma.file), File.inode), pageFolio(page));
  if (large && (yield* entryGet(pmdp, 1)) === 0) {
    const whole = yield* doSetPmd(vmf, pageFolio(page));
    if ((whole & VM_FAULT_FALLBACK) === 0) return whole;
  }
  const ptep = yield* vmfLockPte(vmf);
  if (ptep === 0) return VM_FAULT_NOPAGE;
  const lock = pteLockptr(ptep);
  const vpn = get(vmf, Vmf.vpn);
  let first = vpn;
  let pages = 1;
  if (large && !userfaultfdArmed(vma) && fitsTable(vmf, subPageIndex(page), compoundPages(page))) {
    // All of a large folio, where nothing of it is mapped yet. Where userfaultfd looks, one page is mapped at a time.
    first = vpn - subPageIndex(page);
    pages = compoundPages(page);
    if (!(yield* pteRangeNone(ptep - (vpn - first) * entryStride(0), pages))) {
      first = vpn;
      pages = 1;
    }
  }
  if (pages === 1 && (yield* entryGet(ptep, 0)) !== markerOf(vmf)) {
    yield* spinUnlock(lock);
    return VM_FAULT_NOPAGE;
  }
  if (pages > 1) yield* refAdd(pageFolio(page), pages - 1);
  yield* setPteRange(vmf, pages > 1 ? pageFolio(page) : page, ptep - (vpn - first) * entryStride(0), first, pages);
  yield* addMmCounter(get(vmf, Vmf.mm), cow ? MM_ANONPAGES : fileCounter(page), pages);
  yield* spinUnlock(lock);
  return 0;
}

/** Whether entries for `pages` pages in a row, of which the faulting one has `before` before it, lie in its VMA and table. */
export function fitsTable(vmf: VmfRef, before: number, pages: number): boolean {
  const vma = get(vmf, Vmf.vma);
  const first = get(vmf, Vmf.vpn) - before;
  const slot = (get(vmf, Vmf.vpn) % tableEntries(0)) - before;
  return first >= get(vma, Vma.start) && first + pages <= get(vma, Vma.end) && slot >= 0 && slot + pages <= tableEntries(0);
}

/** set_pte_range: mapping pages of an object in a row, from `vpn` on, or the private copy of one. Needs the entries' lock; the caller counts them. */
export function* setPteRange(vmf: VmfRef, page: Page, ptep: number, vpn: Vpn, pages: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vmFlags = get(vma, Vma.flags);
  const write = (get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0;
  let entry = pteMkyoung(mkPte(page, vmaPageProt(vma)));
  if (write) entry = maybeMkwrite(pteMkdirty(entry), vma);
  else if (pteWrite(entry) && folioTestDirty(page)) entry = pteMkdirty(entry);
  if (markerWp(vmf) !== 0) entry = pteSet(pteWrprotect(entry), PTE_UFFD_WP);
  if (write && (vmFlags & VM_SHARED) === 0) {
    yield* folioAddNewAnonRmap(page, vma, vpn);
    yield* folioAddLruVma(page, vma);
  } else yield* folioAddFileRmapPtes(page, pages, vma);
  return yield* setPtes(get(vmf, Vmf.mm), vpn, ptep, entry, pages);
}

/** do_wp_page: a write (or an unshare) to a present page that is not writable. Holds the entry's lock and releases it. */
function* doWpPage(vmf: VmfRef, lock: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const flags = get(vmf, Vmf.flags);
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0;
  if (!unshare && userfaultfdWp(vma) && (get(vmf, Vmf.origPte) & PTE_UFFD_WP) !== 0) {
    if (!userfaultfdWpAsync(vma)) {
      yield* spinUnlock(lock);
      return yield* handleUserfault(vmf, VM_UFFD_WP);
    }
    const pte = pteClear(yield* entryGet(get(vmf, Vmf.ptep), 0), PTE_UFFD_WP);
    yield* entrySet(get(vmf, Vmf.ptep), 0, pte);
    set(vmf, Vmf.origPte, pte);
  }
  const page = vmNormalPage(get(vmf, Vmf.origPte));
  set(vmf, Vmf.page, page);
  if ((get(vma, Vma.flags) & (VM_SHARED | VM_MAYSHARE)) !== 0) {
    if (page === 0) {
      yield* wpPageReuse(vmf);
      yield* spinUnlock(lock);
      return 0;
    }
    return yield* wpPageShared(vmf, page, lock);
  }
  if (page !== 0 && folioTestAnon(page) && ((pageAnonExclusive(page) && !switched(SW.wpExclusiveUnasked)) || (yield* wpCanReuseAnonFolio(page, vma)))) {
    if (!pageAnonExclusive(page)) yield* setFlags(page, PG_ANON_EXCLUSIVE);
    if (!unshare) yield* wpPageReuse(vmf);
    yield* spinUnlock(lock);
    return 0;
  }
  if (page !== 0) yield* folioGet(page);
  yield* spinUnlock(lock);
  return yield* wpPageCopy(vmf, page);
}

/** __wp_can_reuse_large_anon_folio: all references are mappings of this address space, where each page can be mapped but once. */
function* wpCanReuseLargeAnonFolio(folio: Page): Op<boolean> {
  // With one page left it is better given up (and split, in time).
  if (folioMapcount(folio) <= 1 || folioMaybeMappedShared(folio) || (pageFlags[folio] & PG_SWAPCACHE) !== 0) return false;
  return (yield* refAdd(folio, 0)) === folioMapcount(folio);
}

/** wp_can_reuse_anon_folio: nobody else holds a reference. */
function* wpCanReuseAnonFolio(page: Page, vma: VmaRef): Op<boolean> {
  if (pageIsCompound(page)) return yield* wpCanReuseLargeAnonFolio(pageFolio(page));
  const byMapcount = switched(SW.wpReuseByMapcount);
  if (byMapcount ? pageMapcount[page] > 1 : pageRefcount[page] > ((pageFlags[page] & PG_SWAPCACHE) !== 0 ? 2 : 1)) return false;
  if ((yield* folioTrylock(page)) === 0) return false;
  if (pageRefcount[page] !== 1 && !byMapcount) {
    yield* folioUnlock(page);
    return false;
  }
  folioMoveAnonRmap(page, vma);
  yield* folioUnlock(page);
  return true;
}

/** wp_page_reuse: the same page, writable from now on. Needs the entry's lock. */
function* wpPageReuse(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const vpn = get(vmf, Vmf.vpn);
  const entry = maybeMkwrite(pteMkdirty(pteMkyoung(get(vmf, Vmf.origPte))), vma);
  yield* setAccessFlags(get(vmf, Vmf.mm), vpn, get(vmf, Vmf.ptep), get(vmf, Vmf.origPte), entry);
  return switched(SW.upgradeNoFlush) ? 0 : yield* flushTlbRange(get(vmf, Vmf.mm), vpn, vpn + 1);
}

/** wp_page_shared: first write to a page of a shared mapping that wants to hear of it. */
function* wpPageShared(vmf: VmfRef, page: Page, lock: number): Op<number> {
  yield* folioGet(page);
  if (vmOpsHasPageMkwrite(get(vmf, Vmf.vma))) {
    yield* spinUnlock(lock);
    const made = yield* pageMkwrite(vmf);
    if ((made & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)) !== 0) {
      yield* folioPut(page);
      return made;
    }
    // finish_mkwrite_fault: the entry may have changed while the lock was away.
    const ptep = yield* lockPte(vmf);
    if (ptep === 0 || !(yield* pteUnchanged(vmf, ptep))) {
      if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep));
      yield* folioUnlock(pageFolio(page));
      yield* folioPut(page);
      return VM_FAULT_NOPAGE;
    }
    yield* wpPageReuse(vmf);
    yield* spinUnlock(pteLockptr(ptep));
  } else {
    yield* wpPageReuse(vmf);
    yield* spinUnlock(lock);
    yield* folioLock(pageFolio(page));
  }
  yield* faultDirtySharedPage(page);
  return yield* folioPutResult(page);
}

function* folioPutResult(page: Page): Op<number> {
  yield* folioPut(page);
  return 0;
}

/** wp_page_copy: a page of our own. `old` is referenced, or 0 for the zero page. */
function* wpPageCopy(vmf: VmfRef, old: Page): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const vpn = get(vmf, Vmf.vpn);
  const unshare = (get(vmf, Vmf.flags) & FAULT_FLAG_UNSHARE) !== 0;
  const failed = yield* anonVmaPrepareFault(vma, get(vmf, Vmf.flags));
  if (failed !== 0) {
    if (old !== 0) yield* folioPut(old);
    return failed;
  }
  const page = yield* allocPage(faultGfp(vmf, old === 0 ? __GFP_ZERO : 0), 0);
  if (page === 0) {
    if (old !== 0) yield* folioPut(old);
    return VM_FAULT_OOM;
  }
  if (old !== 0) copyFrame(page, old);
  yield* setFlags(page, PG_UPTODATE);
  const pte = get(vmf, Vmf.origPte);
  const ptep = yield* lockPte(vmf);
  if (ptep === 0 || !(yield* pteUnchanged(vmf, ptep))) {
    if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep));
    yield* folioPut(page);
    if (old !== 0) yield* folioPut(old);
    return 0;
  }
  if (old === 0) yield* addMmCounter(mm, MM_ANONPAGES, 1);
  else if (!folioTestAnon(old)) {
    yield* addMmCounter(mm, fileCounter(old), -1);
    yield* addMmCounter(mm, MM_ANONPAGES, 1);
  }
  let entry = pteMkyoung(mkPte(page, vmaPageProt(vma)));
  if (unshare) entry = pteSet(entry, pte & (PTE_SOFT_DIRTY | PTE_UFFD_WP));
  else entry = maybeMkwrite(pteMkdirty(entry), vma);
  // The old translation goes before the new page can be seen, so that no CPU reads one and writes the other.
  yield* ptepGetAndClear(mm, vpn, ptep, pte);
  yield* flushTlbRange(mm, vpn, vpn + 1);
  yield* folioAddNewAnonRmap(page, vma, vpn);
  yield* folioAddLruVma(page, vma);
  yield* entrySet(ptep, 0, entry);
  if (old !== 0) yield* folioRemoveRmap(old, vma);
  yield* spinUnlock(pteLockptr(ptep));
  if (old !== 0) {
    yield* folioPut(old);
    yield* folioPut(old);
  }
  return 0;
}
