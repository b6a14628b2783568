/**
 * The page tables of a range, for advice that works on pages (mm/madvise.c with mm/pagewalk.c: walk_page_range_vma).
 *
 * What is done in each table is told by a number, WALK_*, where Linux has a pointer to a function.
 */
import { entryAt, entryEnd, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get } from '../kernel/ops.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { guardRemovePteRange } from './guard-entries.ts';
import { coldOrPageoutPteRange } from './madvise-cold.ts';
import { freePteRange } from './madvise-free.ts';
import { tablePage } from './pgtable.ts';
import { type GatherRef, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';

export const WALK_FREE = 0;
export const WALK_COLD = 1;
export const WALK_PAGEOUT = 2;
export const WALK_GUARD_REMOVE = 3;

/** walk_page_range_vma: every table of the lowest level in [start, end), which lies in the VMA. `tlb` collects what is to be flushed, 0 without need. */
export function* madviseWalkTables(walk: number, tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  return yield* walkTable(walk, tlb, get(get(vma, Vma.mm), Mm.pgd), topLevel, start, end);
}

function* walkTable(walk: number, tlb: GatherRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* walkTable(walk, tlb, tablePage(entry), level - 1, vpn, next);
      else yield* walkPmd(walk, tlb, at, vpn, next);
    }
    vpn = next;
  }
  return 0;
}

function* walkPmd(walk: number, tlb: GatherRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  switch (walk) {
    case WALK_FREE:
      return yield* freePteRange(tlb, pmdp, start, end);
    case WALK_COLD:
      return yield* coldOrPageoutPteRange(tlb, pmdp, start, end, 0);
    case WALK_PAGEOUT:
      return yield* coldOrPageoutPteRange(tlb, pmdp, start, end, 1);
    case WALK_GUARD_REMOVE:
      return yield* guardRemovePteRange(pmdp, start, end);
    default:
      return 0;
  }
}
