/**
 * What the modelled CPU's memory management unit does: walks the tables in RAM, checks rights, sets accessed and dirty bits.
 *
 * Invariants: it reads entries as they stand, without any lock; it sets bits by one atomic step on an entry that it has just read. A
 * translation may be kept in a TLB until kernel code flushes it.
 */
import { pageOfPfn, placed, words } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_GROUP, PTE_HUGE, PTE_PRESENT, PTE_PROTNONE, PTE_READ, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { codec, entryAt, loadEntry, spanPages, storeEntry, tableLevel, topLevel } from './arch.ts';

/** Kinds of access. */
export const ACCESS_READ = 0;
export const ACCESS_WRITE = 1;
export const ACCESS_EXEC = 2;

const NEEDED = [PTE_READ, PTE_WRITE, PTE_EXEC];

/** Level of the entry that the last walk ended at: 0, or that of a huge page's. */
export let mmuLevel = 0;

/** Pages from the first that an entry of the level of the last walk maps to one (0 at the lowest). */
const insideLeaf = (vpn: number, level: number): number => (level === 0 ? 0 : vpn % spanPages(level));

/**
 * The last walk that came down to a table of the lowest level. While the words that it read stand where they stood it leads to the same table: they are
 * read again, what they mean is not looked up again. No part of the machine's state.
 */
const last = { pgd: 0, first: 0, end: 0, table: 0, count: 0, placed: -1, codec: undefined as typeof codec | undefined };
/** Its words: where, what. */
const seen = new Int32Array(32);

function remember(pgd: number, vpn: number, table: number, count: number): number {
  const span = spanPages(1);
  last.pgd = pgd;
  last.first = vpn - (vpn % span);
  last.end = last.first + span;
  last.table = table;
  last.count = count;
  last.placed = placed;
  last.codec = codec;
  return table;
}

/** Notes an entry's words; how many numbers are noted. */
function note(at: number, level: number, count: number): number {
  const { entryWords, secondWord } = codec.levels[level];
  seen[count] = at;
  seen[count + 1] = words[at];
  if (entryWords === 1) return count + 2;
  seen[count + 2] = at + secondWord;
  seen[count + 3] = words[at + secondWord];
  return count + 4;
}

/** Whether a walk for a page would read what the last one read. */
function isRepeated(pgd: number, vpn: number): boolean {
  if (last.pgd !== pgd || vpn < last.first || vpn >= last.end || last.placed !== placed || last.codec !== codec) return false;
  const { count } = last;
  const there = words;
  const then = seen;
  for (let i = 0; i < count; i += 2) if (there[then[i]] !== then[i + 1]) return false;
  return true;
}

/**
 * The entry that translates a page as it stands in RAM: of the lowest level, or of one above it that maps a huge page (`mmuLevel` tells); 0 where
 * tables end before.
 */
export function mmuEntry(pgd: number, vpn: number): number {
  if (isRepeated(pgd, vpn)) {
    mmuLevel = 0;
    return entryAt(last.table, 0, vpn);
  }
  let table = pgd;
  let count = 0;
  for (let level = topLevel; level > 0; level--) {
    const at = entryAt(table, level, vpn);
    const entry = loadEntry(at, level);
    if ((entry & PTE_TABLE) === 0) {
      mmuLevel = level;
      return (entry & (PTE_PRESENT | PTE_HUGE)) === (PTE_PRESENT | PTE_HUGE) ? at : 0;
    }
    table = pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
    if ((entry & PTE_GROUP) !== 0) {
      mmuLevel = tableLevel(entry, level);
      return entryAt(table, mmuLevel, vpn);
    }
    count = note(at, level, count);
  }
  mmuLevel = 0;
  return entryAt(remember(pgd, vpn, table, count), 0, vpn);
}

/** The page that an entry of a level (`mmuLevel`) maps a virtual page to. */
export const leafPage = (entry: number, level: number, vpn: number): number => pageOfPfn((entry - (entry & 0xfffff)) / 1048576 + insideLeaf(vpn, level));

/** Entry after the last successful `mmuAccess`: what a TLB may keep of it. */
export let mmuLeaf = 0;

/**
 * One access to a page: its page in RAM, or 0 for a page fault. Sets accessed, and dirty for a write.
 */
export function mmuAccess(pgd: number, vpn: number, access: number): number {
  const ptep = mmuEntry(pgd, vpn);
  if (ptep === 0) return 0;
  const entry = loadEntry(ptep, mmuLevel);
  if ((entry & NEEDED[access]) === 0 || (entry & PTE_PROTNONE) !== 0) return 0;
  const used = access === ACCESS_WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  const missing = used & ~(entry & 0xfffff);
  mmuLeaf = entry + missing;
  if (missing !== 0) storeEntry(ptep, mmuLevel, mmuLeaf);
  return leafPage(entry, mmuLevel, vpn);
}

/** Whether an entry is there at all and present: the P bit of x86's error code. */
export function mmuPresent(pgd: number, vpn: number): boolean {
  const ptep = mmuEntry(pgd, vpn);
  return ptep !== 0 && (loadEntry(ptep, mmuLevel) & PTE_READ) !== 0;
}
