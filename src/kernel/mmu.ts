/**
 * What the modelled CPU's memory management unit does: walks the tables in RAM, checks rights, sets accessed and dirty bits.
 *
 * Invariants: it reads entries as they stand, without any lock; it sets bits by one atomic step on an entry that it has just read. A
 * translation may be kept in a TLB until kernel code flushes it.
 */

import { pageOfPfn } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_PROTNONE, PTE_READ, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { entryAt, loadEntry, storeEntry, topLevel } from './arch.ts';

/** Kinds of access. */
export const ACCESS_READ = 0;
export const ACCESS_WRITE = 1;
export const ACCESS_EXEC = 2;

const NEEDED = [PTE_READ, PTE_WRITE, PTE_EXEC];

/** The entry of a page at the lowest level as it stands in RAM, 0 where a table is missing (no leaf above the lowest level is made yet). */
export function mmuEntry(pgd: number, vpn: number): number {
  let table = pgd;
  for (let level = topLevel; level > 0; level--) {
    const entry = loadEntry(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) === 0) return 0;
    table = pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
  }
  return entryAt(table, 0, vpn);
}

/** Entry after the last successful `mmuAccess`: what a TLB may keep of it. */
export let mmuLeaf = 0;

/**
 * One access to a page: its page in RAM, or 0 for a page fault. Sets accessed, and dirty for a write.
 */
export function mmuAccess(pgd: number, vpn: number, access: number): number {
  const ptep = mmuEntry(pgd, vpn);
  if (ptep === 0) return 0;
  const entry = loadEntry(ptep, 0);
  if ((entry & NEEDED[access]) === 0 || (entry & PTE_PROTNONE) !== 0) return 0;
  const used = access === ACCESS_WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  const missing = used & ~(entry & 0xfffff);
  mmuLeaf = entry + missing;
  if (missing !== 0) storeEntry(ptep, 0, mmuLeaf);
  return pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
}

/** Whether an entry is there at all and present: the P bit of x86's error code. */
export function mmuPresent(pgd: number, vpn: number): boolean {
  const ptep = mmuEntry(pgd, vpn);
  return ptep !== 0 && (loadEntry(ptep, 0) & PTE_READ) !== 0;
}
