/**
 * Other rights for the entries of a VMA (mm/mprotect.c: change_protection and what is below it).
 *
 * Invariants: an entry is read and emptied in one step and then written back with new rights, so no accessed or dirty bit is lost; accessed, dirty and
 * software bits stay; an entry becomes writable here only where a write fault would make it so without further ado.
 */
import { entryAt, entryEnd, entryStride, spanPages, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, get, spinUnlock } from '../kernel/ops.ts';
import { PTE_DIRTY, PTE_PROTNONE, PTE_SOFT_DIRTY, PTE_TABLE, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { contPtes, getAndClearRun, isWholeRun, ptepGetAndClear, setPteAt, setPtes } from './contpte.ts';
import { EAGAIN, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { changeHugePmd, hugePmdPage, pmdTransHuge, splitHugePmd } from './huge-memory.ts';
import { hugetlbChangeProtection } from './hugetlb-vma.ts';
import { vmNormalPage } from './memory.ts';
import { changeMigrationPmd, splitMigrationPmd } from './migrate-pmd.ts';
import { isMigrationEntry, migrationWrprotect } from './migration-entry.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import {
  installTable,
  mkPteMarker,
  PTE_MARKER_UFFD_WP,
  PTE_PAYLOAD,
  pteClear,
  pteLockptr,
  pteMarker,
  pteMkwrite,
  pteModify,
  ptePresent,
  pteSet,
  pteWrprotect,
  tablePage,
} from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { pageAnonExclusive } from './rmap.ts';
import { folioTestAnon } from './swap.ts';
import { type GatherRef, Globals, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { userfaultfdWpUseMarkers } from './userfaultfd-vma.ts';
import { VM_HUGETLB, VM_SHARED, VM_SOFTDIRTY, VM_UFFD_WP, VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous, vmOpsHasPageMkwrite } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';

/** MM_CP_TRY_CHANGE_WRITABLE: entries that may be written without a fault become writable at once. */
export const MM_CP_TRY_CHANGE_WRITABLE = 1;
/** MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE: a userfaultfd's write protection comes, or goes. */
export const MM_CP_UFFD_WP = 2;
export const MM_CP_UFFD_WP_RESOLVE = 4;
const MM_CP_UFFD_WP_ALL = MM_CP_UFFD_WP | MM_CP_UFFD_WP_RESOLVE;

/** vma_soft_dirty_enabled: first writes must fault to be noticed. */
const softDirtyEnabled = (flags: number): boolean => get(globals, Globals.softDirty) !== 0 && (flags & VM_SOFTDIRTY) === 0;

/** vma_wants_writenotify: a shared mapping that must hear of the first write to a page. A userfaultfd's does not count where its protection has no write access already. */
export function vmaWantsWritenotify(vma: VmaRef): boolean {
  const flags = get(vma, Vma.flags);
  if ((flags & (VM_WRITE | VM_SHARED)) !== (VM_WRITE | VM_SHARED)) return false;
  return vmOpsHasPageMkwrite(vma) || softDirtyEnabled(flags);
}

/** vma_wants_manual_pte_write_upgrade: the VMA is writable but its entries are not made so by its protection alone. */
export const vmaWantsManualPteWriteUpgrade = (vma: VmaRef): boolean =>
  (get(vma, Vma.flags) & VM_SHARED) !== 0 ? vmaWantsWritenotify(vma) : (get(vma, Vma.flags) & VM_WRITE) !== 0;

/** can_change_pte_writable: an entry of a writable VMA that no write fault is needed for. */
export function canChangePteWritable(vma: VmaRef, pte: number): boolean {
  const flags = get(vma, Vma.flags);
  if ((flags & VM_WRITE) === 0 || (pte & PTE_PROTNONE) !== 0) return false;
  if (softDirtyEnabled(flags) && (pte & PTE_SOFT_DIRTY) === 0) return false;
  if ((flags & VM_UFFD_WP) !== 0 && (pte & PTE_UFFD_WP) !== 0) return false;
  if ((flags & VM_SHARED) === 0) {
    // Private: an exclusive page of our own is what a write fault would make writable in place.
    const page = vmNormalPage(pte);
    return page !== 0 && folioTestAnon(page) && pageAnonExclusive(page);
  }
  // Shared: a dirty page's file system was told already.
  return (pte & PTE_DIRTY) !== 0;
}

/** can_change_pmd_writable: the same of a huge entry, whose head says whether it is exclusive. */
export function canChangeHugeWritable(vma: VmaRef, pmd: number): boolean {
  const flags = get(vma, Vma.flags);
  if ((flags & VM_WRITE) === 0 || (pmd & PTE_PROTNONE) !== 0) return false;
  if (softDirtyEnabled(flags) && (pmd & PTE_SOFT_DIRTY) === 0) return false;
  if ((flags & VM_UFFD_WP) !== 0 && (pmd & PTE_UFFD_WP) !== 0) return false;
  if ((flags & VM_SHARED) !== 0) return (pmd & PTE_DIRTY) !== 0;
  const page = hugePmdPage(pmd);
  return page !== 0 && folioTestAnon(page) && pageAnonExclusive(page);
}

/** change_protection: the entries of [start, end) of a VMA get its protection. The number of entries that were touched; −ENOMEM without memory for a table, as only markers need one. */
export function* changeProtection(tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) return yield* hugetlbChangeProtection(tlb, vma, start, end, flags);
  return yield* changeTable(tlb, vma, get(get(vma, Vma.mm), Mm.pgd), topLevel, start, end, vmaPageProt(vma), flags);
}

/** change_p4d_range, change_pud_range, change_pmd_range: by level. */
function* changeTable(tlb: GatherRef, vma: VmaRef, table: Page, level: number, start: Vpn, end: Vpn, prot: number, flags: number): Op<number> {
  let changed = 0;
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    let entry = yield* entryGet(at, level);
    // Markers stand in entries of the lowest level alone (pgtable_split_needed).
    const splits = next - vpn !== spanPages(1) || ((flags & MM_CP_UFFD_WP) !== 0 && !vmaIsAnonymous(vma));
    if (level === 1 && pmdTransHuge(entry)) {
      let done = 0;
      if (splits) yield* splitHugePmd(vma, at, vpn);
      else done = yield* changeHugePmd(tlb, vma, at, vpn, prot, flags);
      changed += done;
      entry = done !== 0 ? 0 : yield* entryGet(at, level);
    }
    if (entry === 0 && (flags & MM_CP_UFFD_WP) !== 0 && userfaultfdWpUseMarkers(vma)) {
      // change_prepare: tables for the markers.
      entry = yield* installTable(get(vma, Vma.mm), table, at, level);
      if (entry === 0) return -ENOMEM;
    }
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) {
        const done = yield* changeTable(tlb, vma, tablePage(entry), level - 1, vpn, next, prot, flags);
        if (done < 0) return done;
        changed += done;
      } else {
        const done = yield* changePteRange(tlb, vma, at, vpn, next, prot, flags);
        // It went while we came: the entry is looked at again.
        if (done === -EAGAIN) continue;
        changed += done;
      }
    } else if (isMigrationEntry(entry)) {
      if (splits) yield* splitMigrationPmd(vma, at, vpn);
      if (splits || (yield* changeMigrationPmd(vma, at, flags)) === 0) continue;
    }
    vpn = next;
  }
  return changed;
}

/**
 * change_pte_range. Entries that are not present have no rights to change: markers stay, as swap entries do. `pmdp` is the entry of the table; −EAGAIN when it
 * leads to none any longer (the mmap lock does not keep a table that held pages of a file: retract_page_tables).
 */
function* changePteRange(tlb: GatherRef, vma: VmaRef, pmdp: number, start: Vpn, end: Vpn, prot: number, flags: number): Op<number> {
  const step = entryStride(0);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return -EAGAIN;
  const lock = pteLockptr(ptep);
  const mm = get(vma, Vma.mm);
  let changed = 0;
  for (let vpn = start; vpn < end; vpn++) {
    const seen = yield* entryGet(ptep, 0);
    if (isWholeRun(seen, vpn, end)) {
      yield* changeRun(tlb, vma, ptep, vpn, prot, flags);
      ptep += (contPtes() - 1) * step;
      vpn += contPtes() - 1;
      changed += contPtes();
    } else if (ptePresent(seen)) {
      const before = yield* ptepGetAndClear(mm, vpn, ptep, seen);
      let pte = pteModify(before, prot);
      if ((flags & MM_CP_UFFD_WP_ALL) !== 0) pte = uffdWpPte(pte, flags);
      if ((flags & MM_CP_TRY_CHANGE_WRITABLE) !== 0 && (pte & PTE_WRITE) === 0 && canChangePteWritable(vma, pte)) pte = pteMkwrite(pte);
      yield* setPteAt(mm, vpn, ptep, pte);
      if (pte !== before) tlbRemoveEntry(tlb, vpn, vpn + 1);
      changed++;
    } else if (isMigrationEntry(seen)) {
      const entry = changedMigration(seen, flags);
      if (entry !== seen) {
        yield* entrySet(ptep, 0, entry);
        changed++;
      }
    } else if ((flags & MM_CP_UFFD_WP_ALL) !== 0) changed += yield* uffdWpNonpresent(vma, ptep, seen, flags);
    ptep += step;
  }
  yield* spinUnlock(lock);
  return changed;
}

/** A present entry with a userfaultfd's write protection, without it, or as it is. */
export function uffdWpPte(pte: number, flags: number): number {
  if ((flags & MM_CP_UFFD_WP) !== 0) return pteSet(pteWrprotect(pte), PTE_UFFD_WP);
  return (flags & MM_CP_UFFD_WP_RESOLVE) !== 0 ? pteClear(pte, PTE_UFFD_WP) : pte;
}

/** A migration entry after a change of protection: what the page may become is looked at when it is used next. */
export function changedMigration(entry: number, flags: number): number {
  const changed = migrationWrprotect(entry);
  if ((flags & MM_CP_UFFD_WP) !== 0) return pteSet(changed, PTE_UFFD_WP);
  return (flags & MM_CP_UFFD_WP_RESOLVE) !== 0 ? pteClear(changed, PTE_UFFD_WP) : changed;
}

/** The part of change_pte_range for entries without a page: what holds nothing gets a marker, or loses it. Entries changed. */
function* uffdWpNonpresent(vma: VmaRef, ptep: number, pte: number, flags: number): Op<number> {
  if (pte === 0) {
    if ((flags & MM_CP_UFFD_WP) === 0 || !userfaultfdWpUseMarkers(vma)) return 0;
    yield* entrySet(ptep, 0, mkPteMarker(PTE_MARKER_UFFD_WP));
    return 1;
  }
  if ((flags & MM_CP_UFFD_WP_RESOLVE) === 0 || !isUffdWpMarker(pte)) return 0;
  yield* entrySet(ptep, 0, 0);
  return 1;
}

/** A marker of write protection alone: poison and guards stay what they are, as each access to them is an error anyway. */
export const isUffdWpMarker = (pte: number): boolean => pteMarker(pte) === PTE_MARKER_UFFD_WP;

/** The same for the entries of a contiguous run: as one, unless only some of its pages may become writable (set_write_prot_commit_flush_ptes). */
function* changeRun(tlb: GatherRef, vma: VmaRef, ptep: number, vpn: Vpn, prot: number, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const before = yield* getAndClearRun(ptep);
  const pte = uffdWpPte(pteModify(before, prot), flags);
  let writable = 0;
  if ((flags & MM_CP_TRY_CHANGE_WRITABLE) !== 0 && (pte & PTE_WRITE) === 0)
    for (let i = 0; i < contPtes(); i++) if (canChangePteWritable(vma, pte + i * PTE_PAYLOAD)) writable++;
  if (writable === 0 || writable === contPtes()) yield* setPtes(mm, vpn, ptep, writable === 0 ? pte : pteMkwrite(pte), contPtes());
  else
    for (let i = 0; i < contPtes(); i++) {
      const own = pte + i * PTE_PAYLOAD;
      yield* setPteAt(mm, vpn + i, ptep + i * entryStride(0), canChangePteWritable(vma, own) ? pteMkwrite(own) : own);
    }
  if (writable !== 0 || pte !== before) tlbRemoveEntry(tlb, vpn, vpn + contPtes());
  return 0;
}
