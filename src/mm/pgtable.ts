/**
 * Page-table entries and the tables they stand in (mm/pgtable-generic.c, include/linux/pgtable.h, __pte_alloc and free_pgd_range of mm/memory.c).
 *
 * Invariants: an entry in hand is one number (pagetable/canonical.ts), read once; a pointer to an entry is a word index of RAM; a table of
 * level L is reached from one entry of level L+1. The lock of an entry is that of the table it stands in, the top table's the mm's.
 */
import { clearTable, codec, entryAt, entryEnd, entryStride, pageOfEntry, slotCount, spanPages, tableLevel, tableOrder, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, allocPage, entryGet, entrySet, get, setFlags, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { shareLock, tableLock } from '../kernel/table-lock.ts';
import { GFP_PGTABLE_USER } from '../memory/gfp.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { pageOfPfn, pfnOfPage } from '../memory/state.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_GROUP,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_USER,
  PTE_WRITE,
} from '../pagetable/canonical.ts';
import { tlbRemoveTable } from './mmu-gather.ts';
import { pagetableFree } from './table-page.ts';
import { Mm, type MmRef, type Page, type Vpn } from './types.ts';
import { VM_ACCESS_FLAGS, VM_EXEC, VM_SHARED, VM_WRITE } from './vm-flags.ts';

/** 2^20: what separates an entry's bits from its payload. */
export const PTE_PAYLOAD = 1048576;

export const ptePresent = (pte: number): boolean => (pte & PTE_PRESENT) !== 0;
export const pteWrite = (pte: number): boolean => (pte & PTE_WRITE) !== 0;
export const pteDirty = (pte: number): boolean => (pte & PTE_DIRTY) !== 0;
export const pteYoung = (pte: number): boolean => (pte & PTE_ACCESSED) !== 0;
/** Adds bits to an entry that may have them already. */
export const pteSet = (pte: number, bits: number): number => pte + (bits & ~(pte & 0xfffff));
/** Takes bits off an entry. */
export const pteClear = (pte: number, bits: number): number => pte - (pte & bits);

export const pteMkwrite = (pte: number): number => pteSet(pte, PTE_WRITE);
export const pteWrprotect = (pte: number): number => pteClear(pte, PTE_WRITE);
export const pteMkdirty = (pte: number): number => pteSet(pte, PTE_DIRTY | (codec.supports & PTE_SOFT_DIRTY));
export const pteMkclean = (pte: number): number => pteClear(pte, PTE_DIRTY);
export const pteMkyoung = (pte: number): number => pteSet(pte, PTE_ACCESSED);
export const pteMkold = (pte: number): number => pteClear(pte, PTE_ACCESSED);
export const pteMkspecial = (pte: number): number => pteSet(pte, PTE_SPECIAL);

export const ptePfn = (pte: number): number => (pte - (pte & 0xfffff)) / PTE_PAYLOAD;
/** pte_page: the page that a present entry maps. */
export const ptePage = (pte: number): Page => pageOfPfn((pte - (pte & 0xfffff)) / PTE_PAYLOAD);
/** mk_pte: a page under a protection. */
export const mkPte = (page: Page, prot: number): number => pfnOfPage(page) * PTE_PAYLOAD + prot;

/** Bits that a change of protection replaces (the complement of _PAGE_CHG_MASK). */
const PROT_BITS = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USER | PTE_PROTNONE;
/** pte_modify: another protection on the same page; accessed, dirty and software bits stay. */
export const pteModify = (pte: number, prot: number): number => pte - (pte & PROT_BITS) + (prot & PROT_BITS);

/** Swap-type entries: software's own, told apart by type. */
export const isSwapPte = (pte: number): boolean => (pte & PTE_SWAP) !== 0;
export const swapType = (pte: number): number => ptePfn(pte) & 31;
export const swapOffset = (pte: number): number => Math.floor(ptePfn(pte) / 32);
export const mkSwapPte = (type: number, offset: number, bits: number): number => (offset * 32 + type) * PTE_PAYLOAD + (PTE_SWAP | bits);
export const PTE_MARKER_UFFD_WP = 1;
export const PTE_MARKER_POISONED = 2;
export const PTE_MARKER_GUARD = 4;
export const mkPteMarker = (marker: number): number => mkSwapPte(codec.markerType, marker, 0);
/** Marker bits of an entry, 0 when it is no marker. */
export const pteMarker = (pte: number): number => (isSwapPte(pte) && swapType(pte) === codec.markerType ? swapOffset(pte) : 0);
/** pte_none_mostly: nothing, or a marker. */
export const pteNoneMostly = (pte: number): boolean => pte === 0 || pteMarker(pte) !== 0;
export const isGuardPte = (pte: number): boolean => (pteMarker(pte) & PTE_MARKER_GUARD) !== 0;
export { PTE_UFFD_WP };

/**
 * vm_get_page_prot: the protection of the entries of a VMA. Private mappings get no write access here (copy on write), any access at all
 * makes a page readable, no access makes it present for Linux alone.
 */
export function protOf(vmFlags: number): number {
  if ((vmFlags & VM_ACCESS_FLAGS) === 0) return PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED;
  let prot = PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED;
  if ((vmFlags & VM_EXEC) !== 0) prot |= PTE_EXEC;
  if ((vmFlags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED)) prot |= PTE_WRITE;
  return prot;
}

/** The lock of an entry's table (pte_lockptr): it lives with the table's page, or is the mm's where locks are not split. */
export const pteLockptr = (ptep: number): number => tableLock(pageOfEntry(ptep, 0));

/** The lock for entries of a level above pte: pmd_lockptr for tables below the top, page_table_lock for the top. */
export const upperLock = (mm: MmRef, table: Page, level: number): number => (level < topLevel ? tableLock(table) : mm + Mm.pageTableLock);

/** Bytes that a table of a level counts in pgtables_bytes (VmPTE): pte, pmd and pud tables do, the levels above do not. */
export const accounted = (level: number): number => (level <= 2 && level < topLevel ? codec.levels[level].tableBytes : 0);

/** The page of the table that an upper entry points to. */
export const tablePage = (entry: number): Page => ptePage(entry);

/** pgd_alloc: an empty top table, or 0. */
export function* pgdAlloc(): Op<number> {
  return yield* tableAlloc(topLevel);
}

/** Frees the top table of an mm whose lower tables are gone. */
export function* pgdFree(pgd: Page): Op<number> {
  return yield* pagetableFree(pgd, tableOrder(topLevel));
}

/** An empty table of a level, or 0. */
export function* tableAlloc(level: number): Op<number> {
  const table = yield* allocPage(GFP_PGTABLE_USER, tableOrder(level));
  if (table === 0) return 0;
  clearTable(table, level);
  yield* setFlags(table, PG_TABLE);
  return table;
}

/** The entry of a page at a level, 0 when a table on the way is missing. */
export function* entryPointer(mm: MmRef, vpn: Vpn, level: number): Op<number> {
  let table = get(mm, Mm.pgd);
  for (let l = topLevel; l > level; l--) {
    const entry = yield* entryGet(entryAt(table, l, vpn), l);
    if ((entry & (PTE_TABLE | PTE_GROUP)) !== PTE_TABLE) return 0;
    table = tablePage(entry);
  }
  return entryAt(table, level, vpn);
}

/** pte_alloc: the entry of a page, with all tables made that were missing; 0 when there is no memory. */
export function* pteAlloc(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* entryAlloc(mm, vpn, 0);
}

/** Not a pointer: a huge page is mapped where a table should lead further. */
export const NO_TABLE = -1;

/** pmd_alloc and its kin: the entry of a page at a level, with all tables made that were missing; 0 when there is no memory, NO_TABLE where a huge page is mapped. */
export function* entryAlloc(mm: MmRef, vpn: Vpn, level: number): Op<number> {
  let table = get(mm, Mm.pgd);
  for (let l = topLevel; l > level; l--) {
    const at = entryAt(table, l, vpn);
    let entry = yield* entryGet(at, l);
    if (entry === 0) {
      entry = yield* installTable(mm, table, at, l);
      if (entry === 0) return 0;
    }
    if ((entry & (PTE_TABLE | PTE_GROUP)) !== PTE_TABLE) return NO_TABLE;
    table = tablePage(entry);
  }
  return entryAt(table, level, vpn);
}

/** __pte_alloc, __pmd_alloc …: makes the table below an empty entry unless another was faster. The entry, 0 without memory. */
export function* installTable(mm: MmRef, table: Page, at: number, level: number): Op<number> {
  const fresh = yield* tableAlloc(level - 1);
  if (fresh === 0) return 0;
  const lock = upperLock(mm, table, level);
  yield* spinLock(lock);
  let entry = yield* entryGet(at, level);
  if (entry === 0 || switched(SW.tableNoRecheck)) {
    entry = mkPte(fresh, PTE_TABLE);
    if (switched(SW.locksNotSplit)) shareLock(fresh, mm + Mm.pageTableLock);
    add(mm, Mm.pgtablesBytes, accounted(level - 1));
    yield* entrySet(at, level, entry);
    yield* spinUnlock(lock);
    return entry;
  }
  yield* spinUnlock(lock);
  yield* pagetableFree(fresh, tableOrder(level - 1));
  return entry;
}

/**
 * pmd_alloc and what lies above: makes the tables of a page down to the one that holds its pmd entry; that entry, or 0 without memory. Every
 * fault does so, whatever becomes of it.
 */
export function* pmdAlloc(mm: MmRef, vpn: Vpn): Op<number> {
  let table = get(mm, Mm.pgd);
  for (let l = topLevel; l > 1; l--) {
    const at = entryAt(table, l, vpn);
    let entry = yield* entryGet(at, l);
    if ((entry & PTE_TABLE) === 0) {
      entry = yield* installTable(mm, table, at, l);
      if (entry === 0) return 0;
    }
    table = tablePage(entry);
  }
  return entryAt(table, 1, vpn);
}

/** pte_alloc_one: a pte table that is not in the tree yet, or 0. */
export function* pteAllocOne(): Op<number> {
  return yield* tableAlloc(0);
}

/** pte_free: of a table that never came into the tree. */
export function* pteFree(table: Page): Op<number> {
  return yield* pagetableFree(table, tableOrder(0));
}

/** pmd_install: puts a pte table into the tree; 0 when there is one by now. */
export function* pmdInstall(mm: MmRef, pmdp: number, fresh: Page): Op<number> {
  const lock = upperLock(mm, pageOfEntry(pmdp, 1), 1);
  let installed = 0;
  yield* spinLock(lock);
  if ((yield* entryGet(pmdp, 1)) === 0 || switched(SW.tableNoRecheck)) {
    add(mm, Mm.pgtablesBytes, accounted(0));
    if (switched(SW.locksNotSplit)) shareLock(fresh, mm + Mm.pageTableLock);
    yield* entrySet(pmdp, 1, mkPte(fresh, PTE_TABLE));
    installed = 1;
  }
  yield* spinUnlock(lock);
  return installed;
}

/**
 * free_pgd_range: frees the tables that map [vpn, end), as far as they map nothing of [.., floor) and [ceiling, ..). `ceiling` is
 * Infinity where nothing follows. The pages that they mapped are gone already.
 */
export function* freePgdRange(tlb: number, mm: MmRef, vpn: Vpn, end: Vpn, floor: Vpn, ceiling: Vpn): Op<number> {
  const span = spanPages(1);
  let from = Math.floor(vpn / span) * span;
  if (from < floor) from += span;
  const top = ceiling === Infinity ? Infinity : Math.floor(ceiling / span) * span;
  let to = end;
  if (to > top) to -= span;
  if (from >= to) return 0;
  return yield* freeTablesBelow(tlb, mm, get(mm, Mm.pgd), topLevel, from, to, floor, top);
}

/** The part of free_pgd_range below one table: free_p4d_range, free_pud_range, free_pmd_range by level. */
function* freeTablesBelow(tlb: number, mm: MmRef, table: Page, level: number, from: Vpn, to: Vpn, floor: Vpn, ceiling: Vpn): Op<number> {
  let vpn = from;
  while (vpn < to) {
    let end = entryEnd(vpn, to, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    if ((entry & PTE_TABLE) !== 0 && (entry & PTE_GROUP) !== 0) end = yield* freeHugepdRange(tlb, mm, at, level, entry, vpn, floor, ceiling);
    else if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* freeTablesBelow(tlb, mm, tablePage(entry), level - 1, vpn, end, floor, ceiling);
      // The table itself goes when all that its entry spans lies between floor and ceiling.
      const span = spanPages(level);
      const first = Math.floor(vpn / span) * span;
      if (level === 1 || (first >= floor && first + span <= ceiling)) {
        yield* entrySet(at, level, 0);
        add(mm, Mm.pgtablesBytes, -accounted(level - 1));
        yield* tlbRemoveTable(tlb, tablePage(entry), level - 1);
      }
    }
    vpn = end;
  }
  return 0;
}

/**
 * free_hugepd_range: empties all the slots that lead to the huge page directory of a page, when they lie between floor and ceiling, and frees it. Returns where
 * what they span ends.
 */
function* freeHugepdRange(tlb: number, mm: MmRef, at: number, level: number, entry: number, vpn: Vpn, floor: Vpn, ceiling: Vpn): Op<number> {
  const own = tableLevel(entry, level);
  const span = slotCount(own) * spanPages(level);
  const first = Math.floor(vpn / span) * span;
  const slot = at - ((vpn - first - (vpn % spanPages(level))) / spanPages(level)) * entryStride(level);
  if (first >= floor && first + span <= ceiling) {
    for (let i = 0; i < slotCount(own); i++) yield* entrySet(slot + i * entryStride(level), level, 0);
    add(mm, Mm.pgtablesBytes, -accounted(own));
    yield* tlbRemoveTable(tlb, tablePage(entry), own);
  }
  return first + span;
}
