/**
 * The mappings of a folio that moves to other frames: migration entries in their place (mm/rmap.c: try_to_migrate), and entries of the new frames in the place of
 * those (mm/migrate.c: remove_migration_ptes).
 *
 * Invariants: both folios are locked; who meets a migration entry waits for the lock of the old one. An entry is emptied and CPUs have forgotten it before anybody looks
 * for pins; a page that may be pinned keeps its mapping. While it stands, a migration entry counts as a page of its address space, but has no reference and no mapping.
 * Entries are found wherever their VMAs went meanwhile: the tree of VMAs is locked, and each entry is looked at under its table's lock.
 */
import { entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  downRead,
  downWriteTrylock,
  entryGet,
  entrySet,
  flushTlbRange,
  get,
  rcuReadLock,
  rcuReadUnlock,
  refAdd,
  spinLock,
  spinUnlock,
  switched,
  upRead,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, pageFolio, subPage } from '../memory/folio.ts';
import { PG_HUGETLB, PG_HWPOISON } from '../memory/page-flags.ts';
import { pageFlags, pageIndex, pageMapping, pfnOfPage } from '../memory/state.ts';
import { PTE_DIRTY } from '../pagetable/canonical.ts';
import { putAnonVma } from './anon-vma.ts';
import { ptepGetAndClear, setPteAt } from './contpte.ts';
import { hugeBits, hugePteLockptr, hugePtepGet, hugePtepGetAndClear, setHugePteAt } from './huge-leaf.ts';
import { pmdTransHuge } from './huge-memory.ts';
import { hugetlbVmaTrylockWrite, hugetlbVmaUnlockWrite } from './hugetlb-lock.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { hugetlbAddAnonRmap, hugetlbAddFileRmap, hugetlbCountAdd, hugetlbRemoveRmap } from './hugetlb-rmap.ts';
import { hugePmdUnshare, hugetlbWalk } from './hugetlb-share.ts';
import { anonVmaIntervalTreeIterFirst, anonVmaIntervalTreeIterNext, vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { migrateHugePmd, removeMigrationPmd } from './migrate-pmd.ts';
import { isMigrationEntry, migrationExclusive, migrationPfn, mkHwpoisonEntry, mkMigrationEntry, pteOfMigration } from './migration-entry.ts';
import { addMmCounter, mmCounter, updateHiwaterRss } from './mm-counters.ts';
import { folioBase, mapsPartOf, partEnd, partStart } from './page-vma-mapped.ts';
import { entryPointer, pteClear, pteLockptr, ptePage, ptePresent, pteSet } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { anonVmaLock, folioAddAnonRmapPtes, folioAddFileRmapPtes, folioRemoveRmap, folioTryShareAnonRmap, pageAnonExclusive, pageIsMapped } from './rmap.ts';
import { anonVmaGet } from './rmap-walk.ts';
import { folioMarkDirty, folioPut, folioTestAnon, folioTestDirty } from './swap.ts';
import { AnonVma, type AnonVmaRef, Avc, Inode, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_STACK_INCOMPLETE_SETUP } from './vm-flags.ts';
import { vmaPageProt } from './vm-prot.ts';

const isHugetlb = (folio: Page): boolean => (pageFlags[folio] & PG_HUGETLB) !== 0;

/** folio_get_anon_vma: the anon_vma of a locked folio, with a reference; 0 when nobody maps it (any longer). */
export function* folioGetAnonVma(folio: Page): Op<number> {
  yield* rcuReadLock();
  let anonVma = pageMapping[folio];
  if (!pageIsMapped(folio) || (yield* anonVmaGet(anonVma)) === 0) anonVma = 0;
  const late = anonVma !== 0 && !pageIsMapped(folio);
  yield* rcuReadUnlock();
  if (!late) return anonVma;
  // It lost its last mapping before we had the reference: it may be another's by now.
  yield* putAnonVma(anonVma);
  return 0;
}

/**
 * hugetlb_folio_mapping_lock_write: the lock that tryToMigrate and removeMigrationPtes want of who has locked a page of hugetlb of a file, held for writing: tables that are
 * shared are left with it. 0 for folios that need none; −1 when it is not to be had: faults take it before the lock of the page, so it is not waited for.
 */
export function* hugetlbMappingTrylock(folio: Page): Op<number> {
  if (!isHugetlb(folio) || folioTestAnon(folio)) return 0;
  const inode = pageMapping[folio];
  if (inode === 0 || (yield* downWriteTrylock(inode + Inode.iMmapLock)) === 0) return -1;
  return inode + Inode.iMmapLock;
}

/**
 * try_to_migrate: migration entries for all mappings of a locked folio, or poison where one of its pages is poisoned; whether it worked tells pageIsMapped(). 0 when
 * nothing was tried. Of anonymous memory the caller has a reference of the anon_vma. `locked`: what hugetlbMappingTrylock gave.
 */
export function* tryToMigrate(folio: Page, anonVma: AnonVmaRef, locked: number): Op<number> {
  return yield* walkVmas(folio, 0, anonVma, locked);
}

/** remove_migration_ptes: entries of `dst` where migration entries of `src` stand. Both are the same folio where it stays. `locked`: as above. */
export function* removeMigrationPtes(src: Page, dst: Page, anonVma: AnonVmaRef, locked: number): Op<number> {
  return yield* walkVmas(src, dst, anonVma, locked);
}

/** rmap_walk, for whoever has the anon_vma: the VMAs that may map a folio. With `dst` 0 mappings are taken away, else they come back. 0 when it did not look. */
function* walkVmas(src: Page, dst: Page, anonVma: AnonVmaRef, locked: number): Op<number> {
  const folio = dst !== 0 ? dst : src;
  const index = pageIndex[folio];
  const last = index + compoundPages(folio) - 1;
  if (folioTestAnon(folio)) {
    if (anonVma === 0) return 0;
    yield* downRead(anonVmaLock(anonVma));
    for (let avc = anonVmaIntervalTreeIterFirst(anonVma + AnonVma.tree, index, last); avc !== 0; avc = anonVmaIntervalTreeIterNext(avc, index, last)) {
      const vma = get(avc, Avc.vma);
      // invalid_migration_vma: exec() moves its first stack without a lock that would keep us out.
      if (dst === 0 && (get(vma, Vma.flags) & VM_STACK_INCOMPLETE_SETUP) === VM_STACK_INCOMPLETE_SETUP) continue;
      if ((yield* oneVma(src, dst, vma)) === 0) break;
    }
    yield* upRead(anonVmaLock(anonVma));
    return 1;
  }
  const inode = pageMapping[folio];
  if (inode === 0) return 0;
  if (locked === 0) yield* downRead(inode + Inode.iMmapLock);
  for (let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, index, last); vma !== 0; vma = vmaIntervalTreeIterNext(vma, index, last))
    if ((yield* oneVma(src, dst, vma)) === 0) break;
  if (locked === 0) yield* upRead(inode + Inode.iMmapLock);
  return 1;
}

/** One VMA of the walk; 0 when it is over. */
function* oneVma(src: Page, dst: Page, vma: VmaRef): Op<number> {
  const folio = dst !== 0 ? dst : src;
  const base = folioBase(folio, vma);
  if (isHugetlb(src)) return yield* oneHugePage(src, dst, vma, base);
  const to = partEnd(folio, vma);
  let vpn = partStart(folio, vma);
  while (vpn < to) {
    const end = entryEnd(vpn, to, 1);
    const pmdp = yield* entryPointer(get(vma, Vma.mm), vpn, 1);
    const pmd = pmdp === 0 ? 0 : yield* entryGet(pmdp, 1);
    let done = 1;
    if (isMigrationEntry(pmd)) done = dst !== 0 ? yield* removeMigrationPmd(src, dst, vma, pmdp) : 1;
    else if (pmdTransHuge(pmd)) done = dst === 0 && ptePage(pmd) === src ? yield* migrateHugePmd(src, vma, pmdp, vpn) : 1;
    // A table, or a huge entry that was split meanwhile.
    if (done !== 0 && pmdp !== 0 && (yield* oneTable(src, dst, vma, pmdp, base, vpn, end)) === 0) done = 0;
    if (done === 0) return 0;
    vpn = end;
  }
  return dst !== 0 || pageIsMapped(src) ? 1 : 0;
}

/** The entries of one table; 0 when one must stay. */
function* oneTable(src: Page, dst: Page, vma: VmaRef, pmdp: number, base: Vpn, start: Vpn, end: Vpn): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 1;
  const lock = pteLockptr(ptep);
  const frame = pfnOfPage(src) - base;
  let done = 1;
  for (let vpn = start; vpn < end && done !== 0; vpn++, ptep += entryStride(0)) {
    const pte = yield* entryGet(ptep, 0);
    if (dst !== 0) {
      if (isMigrationEntry(pte) && migrationPfn(pte) === frame + vpn) yield* removeMigrationPte(subPage(dst, vpn - base), vma, vpn, ptep, pte);
    } else if (mapsPartOf(src, pte)) done = yield* tryToMigrateOne(vma, vpn, ptep, pte);
  }
  yield* spinUnlock(lock);
  return done;
}

/** The part of try_to_migrate_one for an entry of the lowest level, read as `seen`; 0 when it must stay. */
export function* tryToMigrateOne(vma: VmaRef, vpn: Vpn, ptep: number, seen: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const early = switched(SW.migratePinsFirst) ? yield* shareable(ptePage(seen)) : 0;
  const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
  yield* flushTlbRange(mm, vpn, vpn + 1);
  const page = ptePage(pte);
  if ((pte & PTE_DIRTY) !== 0 && !switched(SW.migrateDropsDirty)) yield* folioMarkDirty(page);
  updateHiwaterRss(mm);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) {
    yield* addMmCounter(mm, mmCounter(page), -1);
    yield* entrySet(ptep, 0, mkHwpoisonEntry(page));
  } else {
    const exclusive = early !== 0 || pageAnonExclusive(page);
    if (early === 0 && (yield* shareable(page)) === 0) {
      yield* setPteAt(mm, vpn, ptep, pte);
      return 0;
    }
    yield* entrySet(ptep, 0, mkMigrationEntry(page, pte, exclusive));
  }
  yield* folioRemoveRmap(page, vma);
  yield* folioPut(page);
  return 1;
}

/** folio_try_share_anon_rmap of a page that is exclusive; 0 when it may be pinned. */
function* shareable(page: Page): Op<number> {
  return pageAnonExclusive(page) && (yield* folioTryShareAnonRmap(page)) !== 0 ? 0 : 1;
}

/** remove_migration_pte: of `page`, for the entry `old`. */
export function* removeMigrationPte(page: Page, vma: VmaRef, vpn: Vpn, ptep: number, old: number): Op<number> {
  const folio = pageFolio(page);
  yield* refAdd(folio, 1);
  if (folioTestAnon(folio)) yield* folioAddAnonRmapPtes(page, 1, vma, migrationExclusive(old) ? 1 : 0);
  else yield* folioAddFileRmapPtes(page, 1, vma);
  return yield* setPteAt(get(vma, Vma.mm), vpn, ptep, presentAgain(old, page, vma));
}

/** The entry of a page for a migration entry; what was written back meanwhile is clean. */
function presentAgain(old: number, page: Page, vma: VmaRef): number {
  const pte = pteOfMigration(old, page, vmaPageProt(vma));
  return folioTestDirty(page) ? pte : pteClear(pte, PTE_DIRTY);
}

// --- hugetlb ----------------------------------------------------------------------------------------------------------------

/** The same for the one entry, or group of entries, by which a VMA maps a page of hugetlb. */
function* oneHugePage(src: Page, dst: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  const h = hstateVma(vma);
  if (vpn < get(vma, Vma.start) || vpn + hugePages(h) > get(vma, Vma.end)) return 1;
  // rmap's lock keeps a shared table.
  const ptep = yield* hugetlbWalk(vma, vpn, h);
  if (ptep === 0) return 1;
  const lock = hugePteLockptr(h, get(vma, Vma.mm), ptep);
  yield* spinLock(lock);
  const pte = yield* hugePtepGet(h, ptep);
  let done = 1;
  if (dst !== 0) {
    if (isMigrationEntry(pte) && migrationPfn(pte) === pfnOfPage(src)) yield* removeMigrationHuge(dst, vma, ptep, pte);
  } else if (ptePresent(pte) && ptePage(pte) === src) done = yield* tryToMigrateHuge(src, vma, vpn, ptep);
  yield* spinUnlock(lock);
  return done;
}

/** The part of try_to_migrate_one for a page of hugetlb. */
function* tryToMigrateHuge(folio: Page, vma: VmaRef, vpn: Vpn, ptep: number): Op<number> {
  const h = hstateVma(vma);
  const mm = get(vma, Vma.mm);
  if (!folioTestAnon(folio)) {
    if ((yield* hugetlbVmaTrylockWrite(vma)) === 0) return 0;
    const unshared = yield* hugePmdUnshare(h, mm, vpn, ptep);
    yield* hugetlbVmaUnlockWrite(vma);
    if (unshared !== 0) {
      // The table is another's: the entry in it is dealt with there.
      yield* flushTlbRange(mm, vpn, vpn + hugePages(h));
      return 1;
    }
  }
  const pte = yield* hugePtepGetAndClear(h, ptep);
  yield* flushTlbRange(mm, vpn, vpn + hugePages(h));
  if ((pte & PTE_DIRTY) !== 0) yield* folioMarkDirty(folio);
  updateHiwaterRss(mm);
  if ((pageFlags[folio] & PG_HWPOISON) !== 0) {
    yield* hugetlbCountAdd(h, mm, -1);
    yield* setHugePteAt(h, ptep, mkHwpoisonEntry(folio));
  } else {
    const exclusive = pageAnonExclusive(folio);
    if ((yield* shareable(folio)) === 0) {
      yield* setHugePteAt(h, ptep, pte);
      return 0;
    }
    yield* setHugePteAt(h, ptep, mkMigrationEntry(folio, pte, exclusive));
  }
  yield* hugetlbRemoveRmap(folio, vma);
  yield* folioPut(folio);
  return 1;
}

/** remove_migration_pte of a page of hugetlb. */
function* removeMigrationHuge(folio: Page, vma: VmaRef, ptep: number, old: number): Op<number> {
  const h = hstateVma(vma);
  yield* refAdd(folio, 1);
  if (folioTestAnon(folio)) yield* hugetlbAddAnonRmap(folio, vma, migrationExclusive(old) ? 1 : 0);
  else yield* hugetlbAddFileRmap(folio, vma);
  return yield* setHugePteAt(h, ptep, pteSet(presentAgain(old, folio, vma), hugeBits(h)));
}
