/**
 * Reaching the entries of a page table that others may take away meanwhile (mm/pgtable-generic.c).
 *
 * Invariant: with the mmap lock or a VMA's lock held for reading only tables of the lowest level can go (mm/pt_reclaim.c), and only with their own
 * lock held. So whoever has that lock, and has seen under it that the upper entry still leads to the table, keeps it.
 */
import { entryAt, pageOfEntry, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, localIrqDisable, localIrqEnable, rcuReadLock, rcuReadUnlock, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { tableLock } from '../kernel/table-lock.ts';
import { PTE_GROUP, PTE_TABLE } from '../pagetable/canonical.ts';
import { entryPointer, pteLockptr, tablePage } from './pgtable.ts';
import { Mm, type MmRef, type Vpn } from './types.ts';

/** pmd_lockptr: the lock of an entry that points to a table of the lowest level. */
export const pmdLockptr = (mm: MmRef, pmdp: number): number => (topLevel > 1 ? tableLock(pageOfEntry(pmdp, 1)) : mm + Mm.pageTableLock);

/** pte_offset_map: until `pteUnmap` tables that are reached from an upper entry are not freed, wherever they may go. */
export function* pteMap(): Op<number> {
  if (switched(SW.pteMapNothing)) return 0;
  return switched(SW.pteMapIrqsOff) ? yield* localIrqDisable() : yield* rcuReadLock();
}

/** pte_unmap. */
export function* pteUnmap(): Op<number> {
  if (switched(SW.pteMapNothing)) return 0;
  return switched(SW.pteMapIrqsOff) ? yield* localIrqEnable() : yield* rcuReadUnlock();
}

/** pte_offset_map_lock: the entry of a page with its lock (pteLockptr) held, or 0 without a table. `pmdp` is the upper entry. */
export function* pteOffsetMapLock(pmdp: number, vpn: Vpn): Op<number> {
  let ptep = 0;
  // A table that went is freed after a grace period: its lock may be taken, and then shows that it is the wrong one.
  yield* pteMap();
  let pmd = yield* entryGet(pmdp, 1);
  while ((pmd & (PTE_TABLE | PTE_GROUP)) === PTE_TABLE) {
    if (switched(SW.upperEntryTwice)) pmd = yield* entryGet(pmdp, 1);
    ptep = entryAt(tablePage(pmd), 0, vpn);
    yield* spinLock(pteLockptr(ptep));
    const now = yield* entryGet(pmdp, 1);
    if (now === pmd || switched(SW.pteMapNoRecheck)) break;
    yield* spinUnlock(pteLockptr(ptep));
    ptep = 0;
    pmd = now;
  }
  yield* pteUnmap();
  return ptep;
}

/** The entry of a page with its lock (pteLockptr) held; 0, and no lock, where a table on the way is missing. */
export function* lockedPtePointer(mm: MmRef, vpn: Vpn): Op<number> {
  const pmdp = yield* entryPointer(mm, vpn, 1);
  return pmdp === 0 ? 0 : yield* pteOffsetMapLock(pmdp, vpn);
}
