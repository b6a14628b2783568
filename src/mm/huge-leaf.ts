/**
 * Entries of huge pages, of any size that a mode has: one set of functions for leaves of an upper level and for groups of entries that map one page together
 * (huge_pte_alloc, huge_pte_offset, huge_ptep_get, set_huge_pte_at, huge_ptep_get_and_clear, huge_pte_lockptr of mm/hugetlb.c and the architectures).
 *
 * Invariants: a size is the span of `entries` entries of a level (Hstate.level, Hstate.entries); a pointer leads to the first of them; one number stands for all, and
 * how it is written into each is the codec's matter. Accessed and dirty of a page are those of any of its entries. The lock is that of the table which the
 * entries stand in.
 */
import { entryStride, pageOfEntry, spanPages, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entryGetAndClear, entrySet, get } from '../kernel/ops.ts';
import { tableLock } from '../kernel/table-lock.ts';
import { subPage } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { Hstate, type HstateRef } from './hugetlb-types.ts';
import { entryAlloc, entryPointer, mkPte, PTE_PAYLOAD, pteLockptr, ptePage, ptePresent, pteSet } from './pgtable.ts';
import { Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** huge_pte_alloc: the first entry of a page, with all tables made that were missing; 0 without memory. */
export function* hugePteAlloc(mm: MmRef, vpn: Vpn, h: HstateRef): Op<number> {
  return yield* entryAlloc(mm, vpn, get(h, Hstate.level));
}

/** huge_pte_offset: the first entry of a page, 0 when a table on the way is missing. */
export function* hugePteOffset(mm: MmRef, vpn: Vpn, h: HstateRef): Op<number> {
  return yield* entryPointer(mm, vpn, get(h, Hstate.level));
}

/** huge_pte_lockptr. */
export function hugePteLockptr(h: HstateRef, mm: MmRef, ptep: number): number {
  const level = get(h, Hstate.level);
  if (level === 0) return pteLockptr(ptep);
  return level < topLevel ? tableLock(pageOfEntry(ptep, level)) : mm + Mm.pageTableLock;
}

/** Pages that a table of entries of this size maps (hugetlb_mask_last_page, plus one page): where a walk goes on when there is no table. */
export const tableSpan = (h: HstateRef): number => (get(h, Hstate.level) === topLevel ? Infinity : spanPages(get(h, Hstate.level) + 1));

/** The first page behind the table that a page's entry would stand in. */
export const nextTable = (h: HstateRef, vpn: Vpn): Vpn => (Math.floor(vpn / tableSpan(h)) + 1) * tableSpan(h);

/** Bits that tell a leaf of an upper level, or a group, from an ordinary entry. */
export const hugeBits = (h: HstateRef): number => get(h, Hstate.bits);

/** arch_make_huge_pte: the entry of a huge page under a protection. */
export const mkHugePte = (h: HstateRef, page: Page, prot: number): number => pteSet(mkPte(page, prot), hugeBits(h));

/** huge_ptep_get: the entry of a page, accessed and dirty when any of its group is. */
export function* hugePtepGet(h: HstateRef, ptep: number): Op<number> {
  const level = get(h, Hstate.level);
  let pte = yield* entryGet(ptep, level);
  const entries = get(h, Hstate.entries);
  for (let i = 1; i < entries; i++) {
    const other = yield* entryGet(ptep + i * entryStride(level), level);
    if (pte !== 0) pte = pteSet(pte, other & (PTE_ACCESSED | PTE_DIRTY));
  }
  return pte;
}

/** What the i-th entry of a group holds: each maps its own piece; an entry that maps nothing is the same in all. */
const pieceOf = (h: HstateRef, pte: number, i: number): number => (ptePresent(pte) ? pte + i * spanPages(get(h, Hstate.level)) * PTE_PAYLOAD : pte);

/** Marks the first pages of the pieces of a page as parts of it. */
function markPieces(head: Page, pieces: number, pages: number): void {
  for (let i = 1; i < pieces; i++) subPage(head, i * pages);
}

/** set_huge_pte_at: writes the entry of a page, all of its group. */
export function* setHugePteAt(h: HstateRef, ptep: number, pte: number): Op<number> {
  const level = get(h, Hstate.level);
  const entries = get(h, Hstate.entries);
  // Who comes upon a piece in an entry must find its folio.
  if (entries > 1 && ptePresent(pte)) markPieces(ptePage(pte), entries, spanPages(level));
  for (let i = 0; i < entries; i++) yield* entrySet(ptep + i * entryStride(level), level, pieceOf(h, pte, i));
  return 0;
}

/** huge_ptep_get_and_clear: empties the entry of a page; what it held. */
export function* hugePtepGetAndClear(h: HstateRef, ptep: number): Op<number> {
  const level = get(h, Hstate.level);
  let pte = yield* entryGetAndClear(ptep, level);
  const entries = get(h, Hstate.entries);
  for (let i = 1; i < entries; i++) {
    const other = yield* entryGetAndClear(ptep + i * entryStride(level), level);
    if (pte !== 0) pte = pteSet(pte, other & (PTE_ACCESSED | PTE_DIRTY));
  }
  return pte;
}
