/**
 * Huge pages in page tables (mm/huge_memory.c): one entry of the level above the lowest that maps a folio of its size. Faults, copies on write, splits into
 * entries of the lowest level, unmapping, fork, changes of protection, moves.
 *
 * Invariants: such an entry changes under the lock of its table (pmd_lock); one of anonymous memory, or of the huge zero page, has a page table in reserve
 * (pgtable-deposit.ts); it maps the whole of a folio, has one reference of it, and lies in one VMA. Of a folio that is mapped so the head says whether it is exclusive.
 */
import { codec, entryAt, spanPages, storeEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  entryClearBits,
  entryGet,
  entryGetAndClear,
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
import { compoundPages } from '../memory/folio.ts';
import { __GFP_ZERO } from '../memory/gfp.ts';
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_REFERENCED, PG_SWAPCACHE, PG_UPTODATE } from '../memory/page-flags.ts';
import { pageFlags, pageRefcount } from '../memory/state.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_WRITE,
} from '../pagetable/canonical.ts';
import { anonVmaPrepareFault } from './anon-vma.ts';
import { canChangeHugeWritable, MM_CP_TRY_CHANGE_WRITABLE, uffdWpPte } from './change-protection.ts';
import { contBitsOf } from './contpte.ts';
import { deferredSplitFolio } from './deferred-split.ts';
import { folioNeedsCowForDma } from './dma-pinned.ts';
import { EAGAIN, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { hasPmdLeaves, pmdOrder, thpVmaSuitableOrder, vmaThpDisabled, vmaThpGfpMask } from './huge-orders.ts';
import { isHugeZeroPmd, mmGetHugeZeroFolio } from './huge-zero.ts';
import { khugepagedEnterVma } from './khugepaged-slots.ts';
import { splitMigrationPmd } from './migrate-pmd.ts';
import { isMigrationEntry, migrationStep, mkMigrationEntry } from './migration-entry.ts';
import { addMmCounter, fileCounter } from './mm-counters.ts';
import { checkStableAddressSpace } from './mm-flags-ops.ts';
import { tlbRemoveEntry, tlbRemovePage } from './mmu-gather.ts';
import {
  entryPointer,
  mkPte,
  pteAllocOne,
  pteClear,
  pteFree,
  pteMkdirty,
  pteMkold,
  pteMkspecial,
  pteMkwrite,
  pteMkyoung,
  pteModify,
  ptePage,
  ptePresent,
  pteSet,
  pteWrite,
  upperLock,
} from './pgtable.ts';
import { archNeedsPgtableDeposit, mmIncNrPtes, pgtableDeposit, pgtableWithdraw, zapDepositedTable } from './pgtable-deposit.ts';
import { pmdLockptr } from './pgtable-generic.ts';
import {
  folioAddAnonRmapPtes,
  folioAddFileRmapPmd,
  folioAddNewAnonRmapPmd,
  folioMoveAnonRmap,
  folioRemoveRmapPmd,
  folioTryDupAnonRmapPmd,
  pageAnonExclusive,
} from './rmap.ts';
import { folioAddLruVma, folioGet, folioMarkAccessed, folioMarkDirty, folioPut, folioTestAnon } from './swap.ts';
import { type GatherRef, Globals, MM_ANONPAGES, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { handleUserfault } from './userfaultfd-fault.ts';
import { uffdWithoutEventRemap, userfaultfdMissing, userfaultfdWp, userfaultfdWpAsync } from './userfaultfd-vma.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_FAULT_ALLOC, THP_FAULT_FALLBACK, THP_FILE_MAPPED, THP_SPLIT_PMD, THP_SPLIT_PUD } from './vm-event-types.ts';
import { VM_RAND_READ, VM_SEQ_READ, VM_UFFD_MISSING, VM_UFFD_WP, VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, VM_FAULT_FALLBACK, VM_FAULT_OOM, Vmf, type VmfRef } from './vmf.ts';

/** pmd_trans_huge: the entry maps a huge page. */
export const pmdTransHuge = (pmd: number): boolean => (pmd & (PTE_HUGE | PTE_PRESENT)) === (PTE_HUGE | PTE_PRESENT);

/** folio_mk_pmd: a huge entry under a protection. */
export const mkHugePmd = (page: Page, prot: number): number => pteSet(mkPte(page, prot), PTE_HUGE);

/** First page of the huge page that a page lies in. */
const hugeStart = (vpn: Vpn): Vpn => vpn - (vpn % spanPages(1));

/** maybe_pmd_mkwrite. */
const maybeMkwrite = (pmd: number, vma: VmaRef): number => ((get(vma, Vma.flags) & VM_WRITE) !== 0 ? pteMkwrite(pmd) : pmd);

/** pmd_trans_huge_lock: the lock of a huge entry, 0 (and no lock) when it is none. */
export function* pmdTransHugeLock(mm: MmRef, pmdp: number): Op<number> {
  const lock = pmdLockptr(mm, pmdp);
  yield* spinLock(lock);
  if (pmdTransHuge(yield* entryGet(pmdp, 1))) return lock;
  yield* spinUnlock(lock);
  return 0;
}

// --- faults -----------------------------------------------------------------------------------------------------------------

/** vma_alloc_anon_folio_pmd: a zeroed folio of a huge page; 0 without one. */
function* allocAnonFolioPmd(vma: VmaRef): Op<number> {
  const folio = yield* allocPage(vmaThpGfpMask(vma) | __GFP_ZERO, pmdOrder());
  if (folio === 0) countVmEvent(THP_FAULT_FALLBACK);
  else yield* setFlags(folio, PG_UPTODATE);
  return folio;
}

/** map_anon_folio_pmd: a fresh folio is mapped where nothing is. Needs the entry's lock. */
function* mapAnonFolioPmd(folio: Page, pmdp: number, vma: VmaRef, vpn: Vpn): Op<number> {
  const entry = maybeMkwrite(pteMkdirty(pteMkyoung(mkHugePmd(folio, vmaPageProt(vma)))), vma);
  yield* folioAddNewAnonRmapPmd(folio, vma, vpn);
  yield* folioAddLruVma(folio, vma);
  yield* entrySet(pmdp, 1, entry);
  yield* addMmCounter(get(vma, Vma.mm), MM_ANONPAGES, spanPages(1));
  countVmEvent(THP_FAULT_ALLOC);
  // Whoever is short of memory may find that most of it was never written.
  return yield* deferredSplitFolio(folio, 0);
}

/** do_huge_pmd_anonymous_page: VM_FAULT_FALLBACK where small pages have to do. */
export function* doHugePmdAnonymousPage(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  if (!thpVmaSuitableOrder(vma, get(vmf, Vmf.vpn), pmdOrder())) return VM_FAULT_FALLBACK;
  if (get(vma, Vma.anonVma) === 0) {
    const failed = yield* anonVmaPrepareFault(vma, get(vmf, Vmf.flags));
    if (failed !== 0) return failed;
  }
  yield* khugepagedEnterVma(vma, get(vma, Vma.flags));
  if ((get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0 || get(globals, Globals.thpNoZeroPage) !== 0) return yield* newHugePage(vmf);
  const table = yield* pteAllocOne();
  if (table === 0) return VM_FAULT_OOM;
  const zero = yield* mmGetHugeZeroFolio(mm);
  if (zero === 0) {
    yield* pteFree(table);
    countVmEvent(THP_FAULT_FALLBACK);
    return VM_FAULT_FALLBACK;
  }
  const pmdp = get(vmf, Vmf.pmdp);
  const lock = pmdLockptr(mm, pmdp);
  let result = 0;
  let used = 0;
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) === 0) {
    result = yield* checkStableAddressSpace(mm);
    if (result === 0 && userfaultfdMissing(vma)) {
      yield* spinUnlock(lock);
      yield* pteFree(table);
      return yield* handleUserfault(vmf, VM_UFFD_MISSING);
    }
    if (result === 0) {
      // set_huge_zero_folio.
      pgtableDeposit(pmdp, table);
      yield* entrySet(pmdp, 1, pteMkspecial(mkHugePmd(zero, vmaPageProt(vma))));
      mmIncNrPtes(mm);
      used = 1;
    }
  }
  yield* spinUnlock(lock);
  if (used === 0) yield* pteFree(table);
  return result;
}

/** __do_huge_pmd_anonymous_page. */
function* newHugePage(vmf: VmfRef): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const pmdp = get(vmf, Vmf.pmdp);
  const folio = yield* allocAnonFolioPmd(vma);
  if (folio === 0) return VM_FAULT_FALLBACK;
  const table = yield* pteAllocOne();
  if (table === 0) {
    yield* folioPut(folio);
    return VM_FAULT_OOM;
  }
  const lock = pmdLockptr(mm, pmdp);
  let result = 0;
  let used = 0;
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) === 0) {
    result = yield* checkStableAddressSpace(mm);
    if (result === 0 && userfaultfdMissing(vma)) {
      yield* spinUnlock(lock);
      yield* pteFree(table);
      yield* folioPut(folio);
      return yield* handleUserfault(vmf, VM_UFFD_MISSING);
    }
    if (result === 0) {
      pgtableDeposit(pmdp, table);
      yield* mapAnonFolioPmd(folio, pmdp, vma, hugeStart(get(vmf, Vmf.vpn)));
      mmIncNrPtes(mm);
      used = 1;
    }
  }
  yield* spinUnlock(lock);
  if (used === 0) {
    yield* pteFree(table);
    yield* folioPut(folio);
  }
  return result;
}

/**
 * do_set_pmd: one entry maps a locked folio of a file as a whole, where nothing is mapped, and keeps the caller's reference; VM_FAULT_FALLBACK when it cannot.
 * No table is kept in reserve where the architecture does not want one: what it maps can be faulted in again.
 */
export function* doSetPmd(vmf: VmfRef, folio: Page): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const pmdp = get(vmf, Vmf.pmdp);
  if (!hasPmdLeaves() || compoundPages(folio) !== spanPages(1) || vmaThpDisabled(vma, get(vma, Vma.flags), true)) return VM_FAULT_FALLBACK;
  if (!thpVmaSuitableOrder(vma, get(vmf, Vmf.vpn), pmdOrder())) return VM_FAULT_FALLBACK;
  const deposit = archNeedsPgtableDeposit();
  if (deposit && get(vmf, Vmf.prealloc) === 0) {
    const table = yield* pteAllocOne();
    if (table === 0) return VM_FAULT_OOM;
    set(vmf, Vmf.prealloc, table);
  }
  const lock = pmdLockptr(mm, pmdp);
  let result = VM_FAULT_FALLBACK;
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) === 0) {
    let entry = pteMkyoung(mkHugePmd(folio, vmaPageProt(vma)));
    if ((get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0) entry = maybeMkwrite(pteMkdirty(entry), vma);
    yield* addMmCounter(mm, fileCounter(folio), spanPages(1));
    yield* folioAddFileRmapPmd(folio, vma);
    if (deposit) {
      pgtableDeposit(pmdp, get(vmf, Vmf.prealloc));
      set(vmf, Vmf.prealloc, 0);
      mmIncNrPtes(mm);
    }
    yield* entrySet(pmdp, 1, entry);
    countVmEvent(THP_FILE_MAPPED);
    result = 0;
  }
  yield* spinUnlock(lock);
  return result;
}

/** A fault on a huge entry that allows what is asked: it is marked as used (huge_pmd_set_accessed), or others were faster. */
export function* hugePmdSetAccessed(vmf: VmfRef, seen: number): Op<number> {
  const mm = get(vmf, Vmf.mm);
  const pmdp = get(vmf, Vmf.pmdp);
  const lock = pmdLockptr(mm, pmdp);
  const first = hugeStart(get(vmf, Vmf.vpn));
  yield* spinLock(lock);
  const pmd = yield* entryGet(pmdp, 1);
  if (pmd === seen) {
    let entry = pteMkyoung(pmd);
    if ((get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0 && pteWrite(pmd)) entry = pteMkdirty(entry);
    if (entry !== pmd) yield* entrySet(pmdp, 1, entry);
    else yield* flushTlbRange(mm, first, first + spanPages(1));
  }
  yield* spinUnlock(lock);
  return 0;
}

/** wp_huge_pmd: a write (or an unshare) to a huge page that may not be written; VM_FAULT_FALLBACK when it was split for that. */
export function* wpHugePmd(vmf: VmfRef, seen: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  if (vmaIsAnonymous(vma)) {
    if ((seen & PTE_UFFD_WP) === 0 || !userfaultfdWp(vma) || (get(vmf, Vmf.flags) & FAULT_FLAG_UNSHARE) !== 0) return yield* doHugePmdWpPage(vmf, seen);
    if (!userfaultfdWpAsync(vma)) return yield* handleUserfault(vmf, VM_UFFD_WP);
  }
  // Copies and notifications of files are made page by page.
  yield* splitHugePmd(vma, get(vmf, Vmf.pmdp), get(vmf, Vmf.vpn));
  return VM_FAULT_FALLBACK;
}

/** do_huge_pmd_wp_page. */
function* doHugePmdWpPage(vmf: VmfRef, seen: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const pmdp = get(vmf, Vmf.pmdp);
  const lock = pmdLockptr(get(vmf, Vmf.mm), pmdp);
  const unshare = (get(vmf, Vmf.flags) & FAULT_FLAG_UNSHARE) !== 0;
  if (isHugeZeroPmd(seen)) {
    const result = yield* doHugeZeroWpPmd(vmf, seen);
    if ((result & VM_FAULT_FALLBACK) === 0) return result;
    yield* splitHugePmd(vma, pmdp, get(vmf, Vmf.vpn));
    return VM_FAULT_FALLBACK;
  }
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) !== seen) return yield* spinUnlock(lock);
  const folio = ptePage(seen);
  let ours = pageAnonExclusive(folio);
  if (!ours) {
    if ((yield* folioTrylock(folio)) === 0) {
      yield* folioGet(folio);
      yield* spinUnlock(lock);
      yield* folioLock(folio);
      yield* spinLock(lock);
      const changed = (yield* entryGet(pmdp, 1)) !== seen;
      if (changed) {
        yield* spinUnlock(lock);
        yield* folioUnlock(folio);
      }
      yield* folioPut(folio);
      if (changed) return 0;
    }
    // Looked at again, as the lock was away.
    ours = pageAnonExclusive(folio);
    if (!ours && (pageFlags[folio] & PG_SWAPCACHE) === 0 && pageRefcount[folio] === 1) {
      folioMoveAnonRmap(folio, vma);
      yield* setFlags(folio, PG_ANON_EXCLUSIVE);
      ours = true;
    }
    yield* folioUnlock(folio);
  }
  if (!ours) {
    yield* spinUnlock(lock);
    yield* splitHugePmd(vma, pmdp, get(vmf, Vmf.vpn));
    return VM_FAULT_FALLBACK;
  }
  if (!unshare) {
    const first = hugeStart(get(vmf, Vmf.vpn));
    yield* entrySet(pmdp, 1, maybeMkwrite(pteMkdirty(pteMkyoung(seen)), vma));
    yield* flushTlbRange(get(vmf, Vmf.mm), first, first + spanPages(1));
  }
  return yield* spinUnlock(lock);
}

/** do_huge_zero_wp_pmd: a huge page of our own instead of the zero page. */
function* doHugeZeroWpPmd(vmf: VmfRef, seen: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const pmdp = get(vmf, Vmf.pmdp);
  const first = hugeStart(get(vmf, Vmf.vpn));
  const folio = yield* allocAnonFolioPmd(vma);
  if (folio === 0) return VM_FAULT_FALLBACK;
  const lock = pmdLockptr(mm, pmdp);
  let result = 0;
  let used = 0;
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) === seen) {
    result = yield* checkStableAddressSpace(mm);
    if (result === 0) {
      yield* entryGetAndClear(pmdp, 1);
      yield* flushTlbRange(mm, first, first + spanPages(1));
      yield* mapAnonFolioPmd(folio, pmdp, vma, first);
      used = 1;
    }
  }
  yield* spinUnlock(lock);
  if (used === 0) yield* folioPut(folio);
  return result;
}

// --- splitting --------------------------------------------------------------------------------------------------------------

/** __split_huge_pmd: entries of the lowest level instead of the huge one at `pmdp`, if it is one; of a file nothing instead. */
export function* splitHugePmd(vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  return yield* splitIfHuge(vma, pmdp, vpn, 0);
}

/** The same for who takes the folio apart (`freeze`): of an anonymous folio migration entries are left, which have neither mapping nor reference. */
export function* freezeHugePmd(vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  return yield* splitIfHuge(vma, pmdp, vpn, 1);
}

function* splitIfHuge(vma: VmaRef, pmdp: number, vpn: Vpn, freeze: number): Op<number> {
  const lock = pmdLockptr(get(vma, Vma.mm), pmdp);
  yield* spinLock(lock);
  if (pmdTransHuge(yield* entryGet(pmdp, 1))) yield* splitHugePmdLocked(vma, pmdp, hugeStart(vpn), freeze);
  return yield* spinUnlock(lock);
}

/** Empties a huge entry for CPUs; it still is one for who looks without the lock, where a bit can say so. What it held: no bit of hardware's is lost. */
function* pmdpMkinvalid(pmdp: number): Op<number> {
  const none = codec.levels[1].supports & PTE_PROTNONE;
  return none !== 0 ? yield* entryClearBits(pmdp, 1, PTE_READ | PTE_WRITE | PTE_EXEC, PTE_PROTNONE) : yield* entryGetAndClear(pmdp, 1);
}

/** pmdp_invalidate: no CPU uses the entry any longer, and it still is a huge one for who looks without the lock; what it held. */
export function* pmdpInvalidate(mm: MmRef, pmdp: number, vpn: Vpn): Op<number> {
  const old = yield* pmdpMkinvalid(pmdp);
  yield* flushTlbRange(mm, vpn, vpn + spanPages(1));
  return old;
}

/** The first of the entries of the lowest level that come in the place of a huge one of anonymous memory; the others differ by their pages. */
function splitEntry(vma: VmaRef, vpn: Vpn, old: number): number {
  let entry = mkPte(ptePage(old), vmaPageProt(vma));
  if (pteWrite(old)) entry = pteMkwrite(entry);
  entry = (old & PTE_ACCESSED) !== 0 ? pteMkyoung(entry) : pteMkold(entry);
  if ((old & PTE_DIRTY) !== 0) entry = pteMkdirty(entry);
  entry = pteSet(entry, old & (PTE_SOFT_DIRTY | PTE_UFFD_WP));
  return pteSet(entry, contBitsOf(vpn, entry, spanPages(1)));
}

/** __split_huge_pmd_locked. */
function* splitHugePmdLocked(vma: VmaRef, pmdp: number, vpn: Vpn, freeze: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const pages = spanPages(1);
  const seen = yield* entryGet(pmdp, 1);
  countVmEvent(THP_SPLIT_PMD);
  if (!vmaIsAnonymous(vma)) {
    // Its pages can be faulted in again.
    const old = yield* entryGetAndClear(pmdp, 1);
    yield* flushTlbRange(mm, vpn, vpn + pages);
    if (archNeedsPgtableDeposit()) yield* zapDepositedTable(mm, pmdp);
    const folio = ptePage(old);
    if ((old & PTE_DIRTY) !== 0 && (pageFlags[folio] & PG_DIRTY) === 0) yield* folioMarkDirty(folio);
    if ((old & PTE_ACCESSED) !== 0 && (pageFlags[folio] & PG_REFERENCED) === 0) yield* setFlags(folio, PG_REFERENCED);
    yield* addMmCounter(mm, fileCounter(folio), -pages);
    yield* folioRemoveRmapPmd(folio, vma);
    return yield* folioPut(folio);
  }
  if (isHugeZeroPmd(seen)) {
    yield* entryGetAndClear(pmdp, 1);
    yield* flushTlbRange(mm, vpn, vpn + pages);
    const table = pgtableWithdraw(pmdp);
    const entry = pteSet(pteMkspecial(mkPte(get(globals, Globals.zeroPage), vmaPageProt(vma))), seen & PTE_UFFD_WP);
    storeEntries(entryAt(table, 0, vpn), 0, entry, 0, pages);
    return yield* entrySet(pmdp, 1, mkPte(table, PTE_TABLE));
  }
  const invalid = yield* pmdpInvalidate(mm, pmdp, vpn);
  const old = switched(SW.thpSplitReadsEarly) ? seen : invalid;
  const folio = ptePage(old);
  if ((old & PTE_DIRTY) !== 0) yield* setFlags(folio, PG_DIRTY);
  const exclusive = pageAnonExclusive(folio) ? 1 : 0;
  if (freeze === 0) {
    yield* refAdd(folio, pages - 1);
    yield* folioAddAnonRmapPtes(folio, pages, vma, exclusive);
  }
  // Withdrawn only when the entry is invalid: some architectures keep there what they know of it.
  const table = pgtableWithdraw(pmdp);
  if (switched(SW.thpSplitInstallsFirst)) {
    yield* entrySet(pmdp, 1, mkPte(table, PTE_TABLE));
    yield* setFlags(folio, 0);
  }
  const entry = freeze !== 0 ? mkMigrationEntry(folio, pteClear(old, PTE_HUGE), exclusive !== 0) : splitEntry(vma, vpn, old);
  storeEntries(entryAt(table, 0, vpn), 0, entry, freeze !== 0 ? migrationStep() : 1, pages);
  yield* folioRemoveRmapPmd(folio, vma);
  if (freeze !== 0) yield* folioPut(folio);
  return yield* entrySet(pmdp, 1, mkPte(table, PTE_TABLE));
}

/** __split_huge_pud: nothing instead of a huge entry of the level above, whose pages are a device's and are faulted in again. */
export function* splitHugePud(vma: VmaRef, table: Page, pudp: number, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const lock = upperLock(mm, table, 2);
  yield* spinLock(lock);
  if (pmdTransHuge(yield* entryGet(pudp, 2))) {
    countVmEvent(THP_SPLIT_PUD);
    yield* entryGetAndClear(pudp, 2);
    const first = vpn - (vpn % spanPages(2));
    yield* flushTlbRange(mm, first, first + spanPages(2));
  }
  return yield* spinUnlock(lock);
}

/** split_huge_pmd_address: the same for whatever maps a page. */
function* splitHugePmdAddress(vma: VmaRef, vpn: Vpn): Op<number> {
  const pmdp = yield* entryPointer(get(vma, Vma.mm), vpn, 1);
  const pmd = pmdp === 0 ? 0 : yield* entryGet(pmdp, 1);
  if (isMigrationEntry(pmd)) return yield* splitMigrationPmd(vma, pmdp, vpn);
  return pmdTransHuge(pmd) ? yield* splitHugePmd(vma, pmdp, vpn) : 0;
}

/** split_huge_pmd_if_needed: a huge page must not reach over what becomes the end of a VMA. */
function* splitHugePmdIfNeeded(vma: VmaRef, vpn: Vpn): Op<number> {
  const span = spanPages(1);
  if (vpn % span === 0 || get(globals, Globals.thpUsed) === 0) return 0;
  const first = hugeStart(vpn);
  if (first < get(vma, Vma.start) || first + span > get(vma, Vma.end)) return 0;
  return yield* splitHugePmdAddress(vma, vpn);
}

/** vma_adjust_trans_huge: a VMA will be [start, end), and `next` (or 0) begin at the end. */
export function* vmaAdjustTransHuge(vma: VmaRef, start: Vpn, end: Vpn, next: VmaRef): Op<number> {
  yield* splitHugePmdIfNeeded(vma, start);
  yield* splitHugePmdIfNeeded(vma, end);
  return next !== 0 ? yield* splitHugePmdIfNeeded(next, end) : 0;
}

// --- unmapping, fork, protection, moves -------------------------------------------------------------------------------------

/** zap_huge_pmd: 1 when the huge entry at `pmdp` was taken away, 0 when it is none (any longer). */
export function* zapHugePmd(tlb: GatherRef, vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const pages = spanPages(1);
  const lock = yield* pmdTransHugeLock(mm, pmdp);
  if (lock === 0) return 0;
  const pmd = yield* entryGetAndClear(pmdp, 1);
  tlbRemoveEntry(tlb, vpn, vpn + pages);
  if (isHugeZeroPmd(pmd)) {
    yield* zapDepositedTable(mm, pmdp);
    yield* spinUnlock(lock);
    return 1;
  }
  const folio = ptePage(pmd);
  yield* folioRemoveRmapPmd(folio, vma);
  if (folioTestAnon(folio)) {
    yield* zapDepositedTable(mm, pmdp);
    yield* addMmCounter(mm, MM_ANONPAGES, -pages);
  } else {
    if (archNeedsPgtableDeposit()) yield* zapDepositedTable(mm, pmdp);
    if ((pmd & PTE_DIRTY) !== 0) yield* folioMarkDirty(folio);
    yield* addMmCounter(mm, fileCounter(folio), -pages);
    if ((pmd & PTE_ACCESSED) !== 0 && (get(vma, Vma.flags) & (VM_RAND_READ | VM_SEQ_READ)) === 0) yield* folioMarkAccessed(folio);
  }
  yield* spinUnlock(lock);
  yield* tlbRemovePage(tlb, folio);
  return 1;
}

/**
 * copy_huge_pmd: the child's entry of a huge page. 0, −ENOMEM, or −EAGAIN when it is none any longer, or was split because it may be pinned: then its small entries
 * are copied.
 */
export function* copyHugePmd(dst: VmaRef, src: VmaRef, to: number, from: number, vpn: Vpn): Op<number> {
  const child = get(dst, Vma.mm);
  const parent = get(src, Vma.mm);
  // What a file maps can be faulted in again.
  if (!vmaIsAnonymous(dst)) return 0;
  const table = yield* pteAllocOne();
  if (table === 0) return -ENOMEM;
  const toLock = pmdLockptr(child, to);
  const fromLock = pmdLockptr(parent, from);
  yield* spinLock(toLock);
  yield* spinLock(fromLock);
  const seen = yield* entryGet(from, 1);
  let again = 0;
  if (!pmdTransHuge(seen)) again = 1;
  else if (isHugeZeroPmd(seen)) yield* mmGetHugeZeroFolio(child);
  else {
    const folio = ptePage(seen);
    yield* folioGet(folio);
    const pinned = yield* folioNeedsCowForDma(src, folio);
    if ((yield* folioTryDupAnonRmapPmd(folio, pinned ? 1 : 0, dst)) !== 0) {
      yield* folioPut(folio);
      again = 2;
    } else yield* addMmCounter(child, MM_ANONPAGES, spanPages(1));
  }
  if (again !== 0) {
    yield* spinUnlock(fromLock);
    yield* spinUnlock(toLock);
    yield* pteFree(table);
    if (again === 2) yield* splitHugePmd(src, from, vpn);
    return -EAGAIN;
  }
  mmIncNrPtes(child);
  pgtableDeposit(to, table);
  const now = yield* entryClearBits(from, 1, PTE_WRITE, 0);
  yield* entrySet(to, 1, pteMkold(pteClear(now, PTE_WRITE | PTE_UFFD_WP)));
  yield* spinUnlock(fromLock);
  yield* spinUnlock(toLock);
  return 0;
}

/** change_huge_pmd: another protection; the pages that were changed, 0 when the entry is no huge one (any longer). */
export function* changeHugePmd(tlb: GatherRef, vma: VmaRef, pmdp: number, vpn: Vpn, prot: number, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const lock = yield* pmdTransHugeLock(mm, pmdp);
  if (lock === 0) return 0;
  // pmdp_invalidate_ad: CPUs forget it with all others that change.
  const old = yield* pmdpMkinvalid(pmdp);
  let entry = uffdWpPte(pteModify(old, prot), flags);
  if ((flags & MM_CP_TRY_CHANGE_WRITABLE) !== 0 && !pteWrite(entry) && canChangeHugeWritable(vma, entry)) entry = pteMkwrite(entry);
  yield* entrySet(pmdp, 1, entry);
  if (entry !== old) tlbRemoveEntry(tlb, vpn, vpn + spanPages(1));
  yield* spinUnlock(lock);
  return spanPages(1);
}

/** move_huge_pmd: the entry of a huge page goes to another place, which is empty; 1 when done. */
export function* moveHugePmd(vma: VmaRef, from: Vpn, old: number, fresh: number): Op<number> {
  const mm = get(vma, Vma.mm);
  if ((yield* entryGet(fresh, 1)) !== 0) return 0;
  const oldLock = yield* pmdTransHugeLock(mm, old);
  if (oldLock === 0) return 0;
  const newLock = pmdLockptr(mm, fresh);
  if (newLock !== oldLock) yield* spinLock(newLock);
  let pmd = yield* entryGetAndClear(old, 1);
  if (uffdWithoutEventRemap(vma)) pmd = pteClear(pmd, PTE_UFFD_WP);
  // The table in reserve goes along (pmd_move_must_withdraw).
  if (vmaIsAnonymous(vma) || archNeedsPgtableDeposit()) pgtableDeposit(fresh, pgtableWithdraw(old));
  yield* entrySet(fresh, 1, pteSet(pmd, codec.levels[1].supports & PTE_SOFT_DIRTY));
  if (ptePresent(pmd)) yield* flushTlbRange(mm, from, from + spanPages(1));
  if (newLock !== oldLock) yield* spinUnlock(newLock);
  yield* spinUnlock(oldLock);
  return 1;
}

/** The page that a huge entry maps a page to; 0 for the huge zero page. */
export const hugePmdPage = (pmd: number): Page => ((pmd & PTE_SPECIAL) !== 0 || isHugeZeroPmd(pmd) ? 0 : ptePage(pmd));
