/**
 * Migration entries in the place of huge ones (mm/huge_memory.c: set_pmd_migration_entry, remove_migration_pmd, and what the functions about huge entries do where
 * they come upon one).
 *
 * Invariants: it stands for all of a folio, lies in one VMA, and has the page table in reserve that the huge entry had; it changes under the lock of its table; it
 * counts as pages of its address space, and has no reference and no mapping. Where a part of it is meant it becomes migration entries of the lowest level.
 */
import { codec, entryAt, spanPages, storeEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entryGetAndClear, entrySet, folioWaitLocked, get, refAdd, spinLock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages } from '../memory/folio.ts';
import { pfnOfPage } from '../memory/state.ts';
import { PTE_DIRTY, PTE_HUGE, PTE_SOFT_DIRTY, PTE_TABLE, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { changedMigration } from './change-protection.ts';
import { mkHugePmd, pmdpInvalidate, pmdTransHuge } from './huge-memory.ts';
import { hasPmdLeaves } from './huge-orders.ts';
import {
  isMigrationEntry,
  migrationExclusive,
  migrationMkReadable,
  migrationPfn,
  migrationStep,
  mkMigrationEntry,
  pfnSwapEntryPage,
  pteOfMigration,
} from './migration-entry.ts';
import { addMmCounter, mmCounter, updateHiwaterRss } from './mm-counters.ts';
import { mkPte, pteAllocOne, pteClear, pteFree, ptePage, pteSet } from './pgtable.ts';
import { archNeedsPgtableDeposit, mmIncNrPtes, pgtableDeposit, pgtableWithdraw, zapDepositedTable } from './pgtable-deposit.ts';
import { pmdLockptr } from './pgtable-generic.ts';
import { folioAddAnonRmapPmd, folioAddFileRmapPmd, folioRemoveRmapPmd, folioTryShareAnonRmap, pageAnonExclusive } from './rmap.ts';
import { folioMarkDirty, folioPut, folioTestAnon, folioTestDirty } from './swap.ts';
import { type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_SPLIT_PMD } from './vm-event-types.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaPageProt } from './vm-prot.ts';

/** Families that select ARCH_ENABLE_THP_MIGRATION, with 64 bits. */
const FAMILIES: readonly string[] = ['x86', 'arm64', 'riscv', 'powerpc', 'loongarch'];

/** thp_migration_supported: huge pages move as a whole; elsewhere they are split first. */
export const thpMigrationSupported = (): boolean => hasPmdLeaves() && codec.mode.vaBits > 32 && FAMILIES.includes(codec.mode.family);

// --- try_to_migrate, remove_migration_ptes ----------------------------------------------------------------------------------

/** The part of try_to_migrate_one for a huge entry, which is looked at again under its lock; 0 when it must stay. */
export function* migrateHugePmd(folio: Page, vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  const lock = pmdLockptr(get(vma, Vma.mm), pmdp);
  yield* spinLock(lock);
  const seen = yield* entryGet(pmdp, 1);
  const ours = pmdTransHuge(seen) && ptePage(seen) === folio;
  const done = ours ? yield* setPmdMigrationEntry(folio, vma, pmdp, vpn) : 1;
  yield* spinUnlock(lock);
  return done;
}

/** set_pmd_migration_entry. */
function* setPmdMigrationEntry(folio: Page, vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  updateHiwaterRss(mm);
  const old = yield* pmdpInvalidate(mm, pmdp, vpn);
  const exclusive = folioTestAnon(folio) && pageAnonExclusive(folio);
  if (exclusive && (yield* folioTryShareAnonRmap(folio)) !== 0) {
    yield* entrySet(pmdp, 1, old);
    return 0;
  }
  if ((old & PTE_DIRTY) !== 0) yield* folioMarkDirty(folio);
  yield* entrySet(pmdp, 1, mkMigrationEntry(folio, pteClear(old, PTE_HUGE), exclusive));
  yield* folioRemoveRmapPmd(folio, vma);
  yield* folioPut(folio);
  return 1;
}

/** remove_migration_pmd: a huge entry of `dst` where one for the migration of `src` stands. */
export function* removeMigrationPmd(src: Page, dst: Page, vma: VmaRef, pmdp: number): Op<number> {
  const lock = pmdLockptr(get(vma, Vma.mm), pmdp);
  yield* spinLock(lock);
  const old = yield* entryGet(pmdp, 1);
  if (isMigrationEntry(old) && migrationPfn(old) === pfnOfPage(src)) {
    yield* refAdd(dst, 1);
    const made = pteSet(pteOfMigration(old, dst, mkHugePmd(dst, vmaPageProt(vma)) - mkPte(dst, 0)), PTE_HUGE);
    if (folioTestAnon(dst)) yield* folioAddAnonRmapPmd(dst, vma, migrationExclusive(old) ? 1 : 0);
    else yield* folioAddFileRmapPmd(dst, vma);
    yield* entrySet(pmdp, 1, folioTestDirty(dst) ? made : pteClear(made, PTE_DIRTY));
  }
  yield* spinUnlock(lock);
  return 1;
}

// --- where others come upon one ---------------------------------------------------------------------------------------------

/** pmd_migration_entry_wait. */
export function* pmdMigrationEntryWait(mm: MmRef, pmdp: number): Op<number> {
  const lock = pmdLockptr(mm, pmdp);
  yield* spinLock(lock);
  const pmd = yield* entryGet(pmdp, 1);
  yield* spinUnlock(lock);
  return isMigrationEntry(pmd) ? yield* folioWaitLocked(pfnSwapEntryPage(pmd)) : 0;
}

/** The part of __split_huge_pmd: migration entries of the lowest level instead of one for the whole; of a file nothing. */
export function* splitMigrationPmd(vma: VmaRef, pmdp: number, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const lock = pmdLockptr(mm, pmdp);
  yield* spinLock(lock);
  const old = yield* entryGet(pmdp, 1);
  if (isMigrationEntry(old)) {
    countVmEvent(THP_SPLIT_PMD);
    if (vmaIsAnonymous(vma)) {
      const table = pgtableWithdraw(pmdp);
      const pages = spanPages(1);
      storeEntries(entryAt(table, 0, vpn - (vpn % pages)), 0, old, migrationStep(), pages);
      yield* entrySet(pmdp, 1, mkPte(table, PTE_TABLE));
    } else yield* dropPmd(mm, pmdp, old);
  }
  return yield* spinUnlock(lock);
}

/** Empties the entry `old`, whose lock is held. */
function* dropPmd(mm: MmRef, pmdp: number, old: number): Op<number> {
  const folio = pfnSwapEntryPage(old);
  yield* entryGetAndClear(pmdp, 1);
  if (folioTestAnon(folio) || archNeedsPgtableDeposit()) yield* zapDepositedTable(mm, pmdp);
  return yield* addMmCounter(mm, mmCounter(folio), -compoundPages(folio));
}

/** The part of zap_huge_pmd: 1 when one was taken away. Whoever migrates the folio finds it gone. */
export function* zapMigrationPmd(mm: MmRef, pmdp: number): Op<number> {
  const lock = pmdLockptr(mm, pmdp);
  yield* spinLock(lock);
  const old = yield* entryGet(pmdp, 1);
  const found = isMigrationEntry(old);
  if (found) yield* dropPmd(mm, pmdp, old);
  yield* spinUnlock(lock);
  return found ? 1 : 0;
}

/** The part of copy_huge_pmd: 1 when the child has one, too, 0 when there is none any longer, −1 without memory. Of a file's the child faults its own. */
export function* copyMigrationPmd(dst: VmaRef, src: VmaRef, to: number, from: number): Op<number> {
  if (!vmaIsAnonymous(dst)) return 1;
  const child = get(dst, Vma.mm);
  const table = yield* pteAllocOne();
  if (table === 0) return -1;
  const toLock = pmdLockptr(child, to);
  const fromLock = pmdLockptr(get(src, Vma.mm), from);
  yield* spinLock(toLock);
  yield* spinLock(fromLock);
  const old = yield* entryGet(from, 1);
  const found = isMigrationEntry(old);
  if (found) {
    const shared = migrationMkReadable(old);
    if (shared !== old) yield* entrySet(from, 1, shared);
    yield* addMmCounter(child, mmCounter(pfnSwapEntryPage(old)), spanPages(1));
    mmIncNrPtes(child);
    pgtableDeposit(to, table);
    yield* entrySet(to, 1, pteClear(shared, PTE_UFFD_WP));
  }
  yield* spinUnlock(fromLock);
  yield* spinUnlock(toLock);
  if (!found) yield* pteFree(table);
  return found ? 1 : 0;
}

/** The part of change_huge_pmd: 1 when there is one, which may not become writable by itself then. `flags`: MM_CP_*. */
export function* changeMigrationPmd(vma: VmaRef, pmdp: number, flags: number): Op<number> {
  const lock = pmdLockptr(get(vma, Vma.mm), pmdp);
  yield* spinLock(lock);
  const old = yield* entryGet(pmdp, 1);
  const found = isMigrationEntry(old);
  if (found && changedMigration(old, flags) !== old) yield* entrySet(pmdp, 1, changedMigration(old, flags));
  yield* spinUnlock(lock);
  return found ? 1 : 0;
}

/** The part of move_huge_pmd: 1 when one went to another place, which is empty. */
export function* moveMigrationPmd(vma: VmaRef, from: number, to: number): Op<number> {
  const mm = get(vma, Vma.mm);
  if ((yield* entryGet(to, 1)) !== 0) return 0;
  const fromLock = pmdLockptr(mm, from);
  const toLock = pmdLockptr(mm, to);
  yield* spinLock(fromLock);
  if (toLock !== fromLock) yield* spinLock(toLock);
  const old = yield* entryGet(from, 1);
  const found = isMigrationEntry(old);
  if (found) {
    yield* entryGetAndClear(from, 1);
    if (vmaIsAnonymous(vma) || archNeedsPgtableDeposit()) pgtableDeposit(to, pgtableWithdraw(from));
    yield* entrySet(to, 1, pteSet(old, codec.levels[1].supports & PTE_SOFT_DIRTY));
  }
  if (toLock !== fromLock) yield* spinUnlock(toLock);
  yield* spinUnlock(fromLock);
  return found ? 1 : 0;
}
