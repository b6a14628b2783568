/** Words for values: addresses, flags, error numbers, entries; names as Linux spells them. */
import { codec } from '../../kernel/arch.ts';
import * as flags from '../../memory/page-flags.ts';
import { knownPageOfPfn, pageShift } from '../../memory/state.ts';
import * as errno from '../../mm/errno.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_HUGE,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_SWP_EXCLUSIVE,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_WRITE,
} from '../../pagetable/canonical.ts';
import { swapTypes } from '../../pagetable/swap.ts';

const hex = (value: number): string => `0x${value.toString(16)}`;

/** A virtual page as the address of its first byte. */
export const address = (vpn: number): string => `0x${(BigInt(vpn) << BigInt(pageShift)).toString(16)}`;

/** [start, end) in pages. */
export const range = (start: number, end: number): string => `${address(start)}-${address(end)}`;

/** A number as people write it: small ones decimal. */
export const numberText = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) >= 4096 ? (value < 0 ? `-${hex(-value)}` : hex(value)) : String(value);

/** `movePtes` → `move_ptes`, `sysMremap` → `sys_mremap`. */
export const linuxName = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();

const ERRORS = new Map(
  Object.entries(errno)
    .filter(([name, number]) => /^E[A-Z0-9]+$/.test(name) && typeof number === 'number')
    .map(([name, number]): [number, string] => [number as number, name]),
);

/** What a call answers: `0`, `-ENOMEM`, `0x10010000`. */
export const resultText = (value: number): string => (value < 0 && ERRORS.has(-value) ? `-${ERRORS.get(-value)}` : numberText(value));

const bitNames = (named: readonly (readonly [number, string])[], bits: number): string[] => named.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);

const PAGE_FLAGS = Object.entries(flags)
  .filter(([name]) => name !== 'PG_CHECK_AT_FREE')
  .map(([name, bit]): [number, string] => [bit, name.slice(3).toLowerCase()])
  .sort(([a], [b]) => a - b);

/** Flags of struct page: `['dirty', 'referenced']`. */
export const pageFlagNames = (bits: number): string[] => bitNames(PAGE_FLAGS, bits);

const ENTRY_BITS = [
  [PTE_ACCESSED, 'young'],
  [PTE_DIRTY, 'dirty'],
  [PTE_WRITE, 'write'],
  [PTE_EXEC, 'exec'],
  [PTE_HUGE, 'huge'],
  [PTE_SPECIAL, 'special'],
  [PTE_PROTNONE, 'protnone'],
  [PTE_SOFT_DIRTY, 'soft_dirty'],
  [PTE_UFFD_WP, 'uffd_wp'],
  [PTE_SWP_EXCLUSIVE, 'exclusive'],
] as const;

/** Bits of an entry: `young|dirty|write`; `read` where there is nothing else to say. */
export const entryBits = (bits: number): string => bitNames(ENTRY_BITS, bits).join('|') || ((bits & PTE_READ) !== 0 ? 'read' : '');

/** What an entry says: the page or table that it leads to (0: none), and words with `%` in its place. */
export interface EntryWords {
  readonly page: number;
  readonly table: boolean;
  readonly text: string;
}

export function entryWords(entry: number): EntryWords {
  if (entry === 0) return { page: 0, table: false, text: 'none' };
  const bits = entry & 0xfffff;
  const payload = (entry - bits) / 1048576;
  if ((bits & PTE_SWAP) !== 0) return swapWords(payload, bits);
  const page = knownPageOfPfn(payload);
  if ((bits & PTE_TABLE) !== 0) return { page, table: true, text: page === 0 ? `table pfn ${hex(payload)}` : '%' };
  return { page, table: false, text: `${page === 0 ? `pfn ${hex(payload)}` : '%'} ${entryBits(bits)}` };
}

/** Bits of the offset of a migration entry that are its frame's; young and dirty stand above, as far as they fit. */
const MIGRATION_PFN = 2 ** 26;

function swapWords(payload: number, bits: number): EntryWords {
  const type = payload % 32;
  const offset = (payload - type) / 32;
  const { kind } = swapTypes(codec.compiled.kernel, codec.compiled.specials)[type];
  const beside = entryBits(bits & (PTE_SOFT_DIRTY | PTE_UFFD_WP | PTE_SWP_EXCLUSIVE));
  const more = beside === '' ? '' : ` ${beside}`;
  if (kind === 'swap') return { page: 0, table: false, text: `swap ${type}:${offset}${more}` };
  if (kind === 'marker') return { page: 0, table: false, text: `marker ${hex(offset)}${more}` };
  const page = knownPageOfPfn(offset % MIGRATION_PFN);
  return { page, table: false, text: `${kind} ${page === 0 ? hex(offset) : '%'}${more}` };
}
