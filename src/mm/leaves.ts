/**
 * Leaves of an address space as somebody sees them who stands outside of the kernel and holds nothing: a debugger, a snapshot, a check. Kernel code walks with
 * `walkPageRange`, which has a step for leaves (leaf-walk.ts); what a leaf is, is said there.
 *
 * Invariants: nothing is changed and no operation performed; entries that are not empty are visited once, in order of address, whatever level they are of and
 * however many of them map one block; of a block in which only a part is asked for that part is told.
 */
import { entryAt, entryEnd, entryStride, loadEntry, spanPages, tableEnd, tableLevel, topLevel } from '../kernel/arch.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_TABLE } from '../pagetable/canonical.ts';
import { leafEnd, leafPages } from './leaf.ts';
import { ptePfn, pteSet, tablePage } from './pgtable.ts';
import type { Page, Vpn } from './types.ts';

/**
 * A leaf's part of a range: pages [vpn, end), by the entry of the first of them (accessed and dirty when any entry of the block is), which stands at `at` in a table
 * of `level`. Also what is not present, such as a marker.
 */
export type LeafVisitor = (vpn: Vpn, end: Vpn, entry: number, level: number, at: number) => void;

/** Visits the leaves of [start, end) below a top table. */
export function forEachLeaf(pgd: Page, start: Vpn, end: Vpn, visit: LeafVisitor): void {
  walk(pgd, topLevel, start, end, visit);
}

function walk(table: Page, level: number, start: Vpn, end: Vpn, visit: LeafVisitor): void {
  for (let vpn = start; vpn < end; ) {
    const at = entryAt(table, level, vpn);
    const entry = loadEntry(at, level);
    let next = entryEnd(vpn, end, level);
    if ((entry & PTE_TABLE) !== 0) {
      const below = tableLevel(entry, level);
      // Several slots may lead to the same huge page directory.
      if (below > topLevel) next = tableEnd(vpn, end, below);
      walk(tablePage(entry), below, vpn, next, visit);
    } else if (entry !== 0) {
      next = leafEnd(entry, level, vpn, end);
      visit(vpn, next, blockEntry(entry, at, level, vpn), level, at);
    }
    vpn = next;
  }
}

/** The entry of a page with what was done to any entry of its block. */
function blockEntry(entry: number, at: number, level: number, vpn: Vpn): number {
  const entries = leafPages(entry, level) / spanPages(level);
  if (entries === 1) return entry;
  const first = at - (Math.floor(vpn / spanPages(level)) % entries) * entryStride(level);
  let all = entry;
  for (let i = 0; i < entries; i++) all = pteSet(all, loadEntry(first + i * entryStride(level), level) & (PTE_ACCESSED | PTE_DIRTY));
  return all;
}

/** The frame that a present leaf maps a page to, by the entry of page `vpn`. */
export const leafFrame = (entry: number, level: number, vpn: Vpn): number => ptePfn(entry) + (vpn % spanPages(level));
