/** What a leaf maps: an entry of the lowest level, a huge one above it, or a group of either that maps one block together (contiguous bit). */
import { codec, spanPages } from '../kernel/arch.ts';
import { pageShift } from '../memory/state.ts';
import { PTE_CONT, PTE_GROUP, PTE_PRESENT } from '../pagetable/canonical.ts';
import type { Vpn } from './types.ts';

/** Base pages that a leaf of a level maps: its own, or those of its group. */
export function leafPages(entry: number, level: number): number {
  const group = (entry & PTE_GROUP) / PTE_CONT;
  return group !== 0 && (entry & PTE_PRESENT) !== 0 ? 2 ** (codec.levels[level].groups[group - 1].shift - pageShift) : spanPages(level);
}

/** End of the leaf's part of [vpn, end). */
export const leafEnd = (entry: number, level: number, vpn: Vpn, end: Vpn): Vpn => {
  const pages = leafPages(entry, level);
  return Math.min(end, (Math.floor(vpn / pages) + 1) * pages);
};
