/**
 * Entries of huge pages, of any size that a mode has: one set of functions for leaves of an upper level and for groups of entries that map one page together
 * (huge_pte_alloc, huge_pte_offset, huge_ptep_get, set_huge_pte_at, huge_ptep_get_and_clear, huge_pte_lockptr of mm/hugetlb.c and the architectures).
 *
 * Invariants: a size is the span of `entries` entries of a level (Hstate.level, Hstate.entries); a pointer leads to the first of them. Where they are no leaves themselves
 * (8M on 8xx), each leads to a table of which the first Hstate.fill entries map the page, as on: the pointer is that of the upper entry. One number stands for all, and
 * how it is written into each is the codec's matter. An entry of a huge page directory (hugepd) is one of a level that it has of its own, and the way to it is through the
 * directory's slots. Accessed and dirty of a page are those of any of its entries. The lock is that of the table which the
 * entries stand in.
 */
import {
  directoryBits,
  entryAt,
  entryStride,
  pageOfEntry,
  slotCount,
  slotLevel,
  spanPages,
  tableLevel,
  tableOrder,
  tablePages,
  topLevel,
} from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entryGetAndClear, entrySet, get, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { shareLock, tableLock } from '../kernel/table-lock.ts';
import { subPage } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_HUGE, PTE_TABLE } from '../pagetable/canonical.ts';
import { Hstate, type HstateRef } from './hugetlb-types.ts';
import {
  entryAlloc,
  entryPointer,
  installTable,
  mkPte,
  PTE_PAYLOAD,
  pteLockptr,
  ptePage,
  ptePresent,
  pteSet,
  tableAlloc,
  tablePage,
  upperLock,
} from './pgtable.ts';
import { pagetableFree } from './table-page.ts';
import { Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** huge_pte_alloc: the first entry of a page, with all tables made that were missing; 0 without memory. */
export function* hugePteAlloc(mm: MmRef, vpn: Vpn, h: HstateRef): Op<number> {
  const level = get(h, Hstate.level);
  if (level > topLevel) return yield* hugepdAlloc(mm, vpn, level);
  const ptep = yield* entryAlloc(mm, vpn, level);
  if (ptep === 0 || get(h, Hstate.fill) === 0) return ptep;
  for (let i = 0; i < get(h, Hstate.entries); i++) {
    const at = ptep + i * entryStride(level);
    let upper = yield* entryGet(at, level);
    if (upper === 0) upper = yield* installTable(mm, pageOfEntry(at, level), at, level);
    if (upper === 0) return 0;
    // One lock guards all of the page (such machines have no split locks).
    shareLock(tablePage(upper), hugePteLockptr(h, mm, ptep));
  }
  return ptep;
}

/** huge_pte_offset: the first entry of a page, 0 when a table on the way is missing. */
export function* hugePteOffset(mm: MmRef, vpn: Vpn, h: HstateRef): Op<number> {
  const level = get(h, Hstate.level);
  if (level > topLevel) return yield* hugepdOffset(yield* entryPointer(mm, vpn, slotLevel(level)), vpn, level);
  const ptep = yield* entryPointer(mm, vpn, level);
  if (ptep === 0 || get(h, Hstate.fill) === 0) return ptep;
  for (let i = 0; i < get(h, Hstate.entries); i++) if (((yield* entryGet(ptep + i * entryStride(level), level)) & PTE_TABLE) === 0) return 0;
  return ptep;
}

/** hugepte_offset: the entry of a page in the directory of a level that a slot leads to; 0 where there is no slot or it does not. */
function* hugepdOffset(slot: number, vpn: Vpn, level: number): Op<number> {
  const entry = slot <= 0 ? 0 : yield* entryGet(slot, slotLevel(level));
  return (entry & PTE_TABLE) === 0 || tableLevel(entry, slotLevel(level)) !== level ? 0 : entryAt(tablePage(entry), level, vpn);
}

/** huge_pte_alloc where huge pages have directories, with __hugepte_alloc: a directory hangs in all the slots that a page spans, or in none. */
export function* hugepdAlloc(mm: MmRef, vpn: Vpn, level: number): Op<number> {
  const upper = slotLevel(level);
  const slot = yield* entryAlloc(mm, vpn, upper);
  if (slot <= 0) return 0;
  if ((yield* entryGet(slot, upper)) !== 0) return yield* hugepdOffset(slot, vpn, level);
  const fresh = yield* tableAlloc(level);
  if (fresh === 0) return 0;
  const lock = upperLock(mm, pageOfEntry(slot, upper), upper);
  let unused = fresh;
  yield* spinLock(lock);
  if ((yield* entryGet(slot, upper)) === 0 || switched(SW.tableNoRecheck)) {
    for (let i = 0; i < slotCount(level); i++) yield* entrySet(slot + i * entryStride(upper), upper, mkPte(fresh, directoryBits(level)));
    unused = 0;
  }
  yield* spinUnlock(lock);
  if (unused !== 0) yield* pagetableFree(unused, tableOrder(level));
  return yield* hugepdOffset(slot, vpn, level);
}

/** huge_pte_lockptr. */
export function hugePteLockptr(h: HstateRef, mm: MmRef, ptep: number): number {
  const level = get(h, Hstate.level);
  if (level === 0) return pteLockptr(ptep);
  return level < topLevel ? tableLock(pageOfEntry(ptep, level)) : mm + Mm.pageTableLock;
}

/** Pages that a table of entries of this size maps (hugetlb_mask_last_page, plus one page): where a walk goes on when there is no table. */
export function tableSpan(h: HstateRef): number {
  const level = get(h, Hstate.level);
  if (get(h, Hstate.fill) !== 0) return get(h, Hstate.entries) * spanPages(level);
  if (level > topLevel) return tablePages(level);
  return level === topLevel ? Infinity : spanPages(level + 1);
}

/** The first page behind the table that a page's entry would stand in. */
export const nextTable = (h: HstateRef, vpn: Vpn): Vpn => (Math.floor(vpn / tableSpan(h)) + 1) * tableSpan(h);

/** Bits that tell a leaf of an upper level, or a group, from an ordinary entry. */
export const hugeBits = (h: HstateRef): number => get(h, Hstate.bits);

/** arch_make_huge_pte: the entry of a huge page under a protection. */
export const mkHugePte = (h: HstateRef, page: Page, prot: number): number => pteSet(mkPte(page, prot), hugeBits(h));

/** Level of the entries that map the page. */
const leafLevel = (h: HstateRef): number => (get(h, Hstate.fill) === 0 ? get(h, Hstate.level) : get(h, Hstate.level) - 1);
/** In how many tables they stand, and how many in each. */
const parts = (h: HstateRef): number => (get(h, Hstate.fill) === 0 ? 1 : get(h, Hstate.entries));
const partEntries = (h: HstateRef): number => (get(h, Hstate.fill) === 0 ? get(h, Hstate.entries) : get(h, Hstate.fill));

/** The first of the entries in the i-th table. */
function* partAt(h: HstateRef, ptep: number, i: number): Op<number> {
  if (get(h, Hstate.fill) === 0) return ptep;
  const level = get(h, Hstate.level);
  const upper = yield* entryGet(ptep + i * entryStride(level), level);
  return entryAt(tablePage(upper), level - 1, 0);
}

/** The entry of a page, accessed and dirty when any of its group is; with `clear` all of the group is emptied. */
function* readGroup(h: HstateRef, ptep: number, clear: number): Op<number> {
  const level = leafLevel(h);
  const entries = partEntries(h);
  let pte = 0;
  for (let part = 0; part < parts(h); part++) {
    const first = yield* partAt(h, ptep, part);
    if (part > 0 && clear !== 0 && switched(SW.hugePartsOneByOne)) {
      yield* spinUnlock(pteLockptr(first));
      yield* spinLock(pteLockptr(first));
    }
    for (let i = 0; i < entries; i++) {
      const at = first + i * entryStride(level);
      const other = clear !== 0 ? yield* entryGetAndClear(at, level) : yield* entryGet(at, level);
      if (part === 0 && i === 0) pte = other;
      else if (pte !== 0) pte = pteSet(pte, other & (PTE_ACCESSED | PTE_DIRTY));
    }
  }
  return pte;
}

/** huge_ptep_get: the entry of a page, accessed and dirty when any of its group is. */
export function* hugePtepGet(h: HstateRef, ptep: number): Op<number> {
  return yield* readGroup(h, ptep, 0);
}

/** What the i-th entry of a group holds: each maps its own piece; an entry that maps nothing is the same in all. */
const pieceOf = (h: HstateRef, pte: number, i: number): number => (ptePresent(pte) ? pte + i * spanPages(leafLevel(h)) * PTE_PAYLOAD : pte);

/** Marks the first pages of the pieces of a page as parts of it. */
function markPieces(head: Page, pieces: number, pages: number): void {
  for (let i = 1; i < pieces; i++) subPage(head, i * pages);
}

/** Tells by an upper entry that its table is that of one large page. */
function* markTable(h: HstateRef, ptep: number, part: number): Op<number> {
  const level = get(h, Hstate.level);
  const at = ptep + part * entryStride(level);
  const upper = yield* entryGet(at, level);
  return (upper & PTE_HUGE) !== 0 ? 0 : yield* entrySet(at, level, pteSet(upper, PTE_HUGE));
}

/** set_huge_pte_at: writes the entry of a page, all of its group. */
export function* setHugePteAt(h: HstateRef, ptep: number, pte: number): Op<number> {
  const level = leafLevel(h);
  const entries = partEntries(h);
  // Who comes upon a piece in an entry must find its folio.
  if (get(h, Hstate.entries) > 1 && ptePresent(pte)) markPieces(ptePage(pte), parts(h) * entries, spanPages(level));
  for (let part = 0; part < parts(h); part++) {
    if (get(h, Hstate.fill) !== 0) yield* markTable(h, ptep, part);
    const at = yield* partAt(h, ptep, part);
    for (let i = 0; i < entries; i++) yield* entrySet(at + i * entryStride(level), level, pieceOf(h, pte, part * entries + i));
  }
  return 0;
}

/** huge_ptep_get_and_clear: empties the entry of a page; what it held. */
export function* hugePtepGetAndClear(h: HstateRef, ptep: number): Op<number> {
  return yield* readGroup(h, ptep, 1);
}
