/**
 * Taking mappings away: zap_page_range and its kin, unmap_mapping_range (mm/memory.c, mm/pt_reclaim.c).
 *
 * Invariants: an entry is emptied in one step that returns what it held, so that no accessed or dirty bit is lost; a dirty file page is
 * marked dirty before its reference can go; pages are given back by the gather, after the flush.
 */
import { entryAt, entryEnd, entryStride, spanPages, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entryGetAndClear, get, spinUnlock } from '../kernel/ops.ts';
import { nextPage } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_TABLE, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { contPtes, getAndClearRun, isWholeRun, ptepGetAndClear } from './contpte.ts';
import { EAGAIN } from './errno.ts';
import { pmdTransHuge, splitHugePmd, zapHugePmd } from './huge-memory.ts';
import { hugetlbZapBegin, hugetlbZapEnd, unmapHugepageRange } from './hugetlb-vma.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { vmNormalPage } from './memory.ts';
import { splitMigrationPmd, zapMigrationPmd } from './migrate-pmd.ts';
import { isHwpoisonEntry, isMigrationEntry, pfnSwapEntryPage } from './migration-entry.ts';
import { addMmCounter, mmCounter, updateHiwaterRss } from './mm-counters.ts';
import { tlbFinish, tlbGather, tlbRemoveEntry, tlbRemovePage } from './mmu-gather.ts';
import { isSwapPte, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP, pteLockptr, pteMarker, ptePage, ptePresent, tablePage } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { freePte, tryGetAndClearPmd, tryToFreePte } from './pt-reclaim.ts';
import { pteInstallUffdWpIfNeeded } from './pte-install-uffd-wp.ts';
import { folioRemoveRmap, folioRemoveRmapPtes } from './rmap.ts';
import { folioMarkAccessed, folioMarkDirty, folioTestAnon } from './swap.ts';
import { type GatherRef, Inode, type InodeRef, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_RAND_READ, VM_SEQ_READ } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';

/** ZAP_FLAG_DROP_MARKER: guard and other markers go as well. */
export const ZAP_DROP_MARKER = 1;
/** Empty page tables are given back (PT_RECLAIM). */
export const ZAP_RECLAIM_PT = 2;
/** Private copies stay (`even_cows` false). */
export const ZAP_KEEP_COWS = 4;
/** ZAP_FLAG_UNMAP: the VMA goes with what it maps. */
export const ZAP_UNMAP = 8;

/** unmap_page_range: what a VMA maps in [start, end), which lies in it. */
export function* unmapPageRange(tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  updateHiwaterRss(mm);
  return yield* zapTable(tlb, vma, mm, get(mm, Mm.pgd), topLevel, start, end, flags);
}

/** zap_p4d_range, zap_pud_range, zap_pmd_range: by level. */
function* zapTable(tlb: GatherRef, vma: VmaRef, mm: MmRef, table: Page, level: number, start: Vpn, end: Vpn, flags: number): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    let entry = yield* entryGet(at, level);
    if (level === 1 && pmdTransHuge(entry)) {
      // A part goes page by page.
      if (next - vpn !== spanPages(1)) yield* splitHugePmd(vma, at, vpn);
      else if ((yield* zapHugePmd(tlb, vma, at, vpn)) !== 0) entry = 0;
      if (entry !== 0) entry = yield* entryGet(at, level);
    }
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* zapTable(tlb, vma, mm, tablePage(entry), level - 1, vpn, next, flags);
      // It went while we came: the entry is looked at again.
      else if ((yield* zapPteRange(tlb, vma, mm, at, vpn, next, flags)) === -EAGAIN) continue;
    } else if (isMigrationEntry(entry)) {
      if (next - vpn === spanPages(1)) yield* zapMigrationPmd(mm, at);
      else yield* splitMigrationPmd(vma, at, vpn);
      // A huge entry again, or its parts.
      if ((yield* entryGet(at, level)) !== 0) continue;
    }
    vpn = next;
  }
  return 0;
}

/** zap_pte_range. `pmdp` is the entry of the table; −EAGAIN when it leads to none any longer. */
function* zapPteRange(tlb: GatherRef, vma: VmaRef, mm: MmRef, pmdp: number, start: Vpn, end: Vpn, flags: number): Op<number> {
  const step = entryStride(0);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return -EAGAIN;
  const lock = pteLockptr(ptep);
  let skipped = 0;
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    if (isWholeRun(pte, vpn, end)) {
      skipped += yield* zapRun(tlb, vma, mm, ptep, pte, vpn, flags);
      ptep += (contPtes() - 1) * step;
      vpn += contPtes() - 1;
    } else if (pte !== 0) {
      if (ptePresent(pte)) skipped += yield* zapPresentPte(tlb, vma, mm, ptep, pte, vpn, flags);
      else skipped += yield* zapNonpresentPte(vma, mm, ptep, pte, flags);
    }
    ptep += step;
  }
  if ((flags & ZAP_RECLAIM_PT) === 0 || skipped !== 0 || end - start !== spanPages(1)) return yield* spinUnlock(lock);
  // The whole table is empty now and goes, too, when the caller asked for it (can_reclaim_pt).
  const pmd = yield* tryGetAndClearPmd(mm, pmdp, lock);
  yield* spinUnlock(lock);
  return pmd !== 0 ? yield* freePte(tlb, mm, pmd) : yield* tryToFreePte(tlb, mm, pmdp);
}

/** zap_present_ptes for one entry; 1 when it stays. */
function* zapPresentPte(tlb: GatherRef, vma: VmaRef, mm: MmRef, ptep: number, seen: number, vpn: Vpn, flags: number): Op<number> {
  const page = vmNormalPage(seen);
  if (page !== 0 && (flags & ZAP_KEEP_COWS) !== 0 && folioTestAnon(page)) return 1;
  const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
  tlbRemoveEntry(tlb, vpn, vpn + 1);
  const marked = (pte & PTE_UFFD_WP) !== 0 ? yield* zapInstallUffdWp(vma, ptep, flags) : 0;
  if (page === 0) return marked;
  if (!folioTestAnon(page)) yield* zapFilePage(vma, page, pte);
  yield* addMmCounter(mm, mmCounter(page), -1);
  yield* folioRemoveRmap(page, vma);
  yield* tlbRemovePage(tlb, page);
  return marked;
}

/** zap_install_uffd_wp_if_needed: write protection of a file's page outlives its entry, as a marker; 1 when one was set. Needs the lock; the entry is empty. */
function* zapInstallUffdWp(vma: VmaRef, ptep: number, flags: number): Op<number> {
  return (flags & ZAP_DROP_MARKER) !== 0 ? 0 : yield* pteInstallUffdWpIfNeeded(vma, ptep, PTE_UFFD_WP);
}

/** A page of a file is dirty, or in use, by what its entry `pte` says. */
function* zapFilePage(vma: VmaRef, page: Page, pte: number): Op<number> {
  if ((pte & PTE_DIRTY) !== 0) yield* folioMarkDirty(page);
  if ((pte & PTE_ACCESSED) !== 0 && (get(vma, Vma.flags) & (VM_RAND_READ | VM_SEQ_READ)) === 0) yield* folioMarkAccessed(page);
  return 0;
}

/** zap_present_folio_ptes of a contiguous run, the first entry of which was read as `seen`; 1 when it stays. */
function* zapRun(tlb: GatherRef, vma: VmaRef, mm: MmRef, ptep: number, seen: number, vpn: Vpn, flags: number): Op<number> {
  const page = ptePage(seen);
  const anon = folioTestAnon(page);
  if ((flags & ZAP_KEEP_COWS) !== 0 && anon) return 1;
  const pte = yield* getAndClearRun(ptep);
  let marked = 0;
  if ((pte & PTE_UFFD_WP) !== 0) for (let i = 0; i < contPtes(); i++) marked = yield* zapInstallUffdWp(vma, ptep + i * entryStride(0), flags);
  tlbRemoveEntry(tlb, vpn, vpn + contPtes());
  if (!anon) yield* zapFilePage(vma, page, pte);
  yield* addMmCounter(mm, mmCounter(page), -contPtes());
  yield* folioRemoveRmapPtes(page, contPtes(), vma);
  for (let i = 0; i < contPtes(); i++) yield* tlbRemovePage(tlb, nextPage(page, i));
  return marked;
}

/** zap_nonpresent_ptes for one entry: markers stay unless asked for (of anonymous memory those of write protection go, and poison where private copies go); 1 when it stays. */
function* zapNonpresentPte(vma: VmaRef, mm: MmRef, ptep: number, pte: number, flags: number): Op<number> {
  const page = pfnSwapEntryPage(pte);
  if (page !== 0) {
    if ((flags & ZAP_KEEP_COWS) !== 0 && (isHwpoisonEntry(pte) || folioTestAnon(page))) return 1;
    // Whoever migrates the folio has the page; he will find this entry gone.
    yield* entryGetAndClear(ptep, 0);
    if (!isHwpoisonEntry(pte)) yield* addMmCounter(mm, mmCounter(page), -1);
    return 0;
  }
  if (isSwapPte(pte) && (flags & ZAP_DROP_MARKER) === 0) {
    const marker = pteMarker(pte);
    if ((marker & PTE_MARKER_UFFD_WP) !== 0 ? !vmaIsAnonymous(vma) : (marker & PTE_MARKER_POISONED) === 0 || (flags & ZAP_KEEP_COWS) !== 0) return 1;
  }
  yield* entryGetAndClear(ptep, 0);
  return 0;
}

/** unmap_single_vma between hugetlb_zap_begin() and hugetlb_zap_end(): what a VMA of whatever kind maps in [start, end). With ZAP_UNMAP the VMA goes. */
export function* unmapSingleVma(tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  if ((get(vma, Vma.flags) & VM_HUGETLB) === 0) return yield* unmapPageRange(tlb, vma, start, end, flags);
  // A mapping that failed has lost its file already, and maps nothing.
  if (get(vma, Vma.file) === 0) return 0;
  yield* hugetlbZapBegin(vma);
  yield* unmapHugepageRange(tlb, vma, start, end, 0, flags & ZAP_DROP_MARKER);
  return yield* hugetlbZapEnd(vma, (flags & ZAP_UNMAP) !== 0);
}

/** zap_page_range_single: what a VMA maps in a part of it, with a gather of its own. */
export function* zapPageRangeSingle(vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  const tlb = yield* tlbGather(get(vma, Vma.mm));
  yield* unmapSingleVma(tlb, vma, start, end, flags);
  return yield* tlbFinish(tlb);
}

/**
 * unmap_mapping_pages: nobody maps pages [pgoff, pgoff + pages) of an object any longer; private copies go too with `evenCows`.
 * Needs i_mmap_rwsem for reading.
 */
export function* unmapMappingPages(inode: InodeRef, pgoff: number, pages: number, evenCows: number): Op<number> {
  const last = pgoff + pages - 1;
  let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, pgoff, last);
  while (vma !== 0) {
    const first = get(vma, Vma.pgoff);
    const size = get(vma, Vma.end) - get(vma, Vma.start);
    const from = Math.max(pgoff, first) - first + get(vma, Vma.start);
    const to = Math.min(last + 1, first + size) - first + get(vma, Vma.start);
    yield* zapPageRangeSingle(vma, from, to, evenCows !== 0 ? 0 : ZAP_KEEP_COWS);
    vma = vmaIntervalTreeIterNext(vma, pgoff, last);
  }
  return 0;
}
