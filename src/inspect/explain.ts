/**
 * One entry's word explained: form, fields with the manual's meaning, what it allows, what it points to, and what is wrong with it.
 *
 * Invariant: every bit of the word is accounted for: as part of a field, of the address, of the swap word, or as "not named".
 */
import { holds, maskOf, type Piece, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel, CompiledMode } from '../pagetable/compile.ts';
import { decode, type Entry, type Rights, rightsOf } from '../pagetable/entry.ts';
import { LinuxEntries } from '../pagetable/linux.ts';
import { leafPagesOf } from '../pagetable/leafsize.ts';
import { decodeSwap, type SwapEntry, swapLayoutFor } from '../pagetable/swap.ts';

export interface ExplainedField {
  /** `63`, `51:12`, `11:8,13`. */
  readonly bits: string;
  readonly name: string;
  readonly value: bigint;
  readonly meaning: string;
}

export interface Explained {
  readonly level: CompiledLevel;
  readonly entry: Entry;
  /** Most significant first. */
  readonly fields: readonly ExplainedField[];
  /** What it grants (leaf) or lets pass (table). */
  readonly rights: Rights | undefined;
  readonly present: boolean;
  readonly global: boolean;
  readonly dirty: boolean;
  readonly accessed: boolean;
  readonly leafBytes: number | undefined;
  /** Level that a table points to. */
  readonly next: string | undefined;
  readonly swap: SwapEntry | undefined;
  readonly reserved: readonly number[];
  /** Linux's predicates under the kernel's names, where the mode declares them. */
  readonly predicates: readonly { readonly name: string; readonly holds: boolean }[];
}

export function explainEntry(mode: CompiledMode, level: CompiledLevel, lo: number, hi: number): Explained {
  const entry = decode(level, lo, hi);
  const { form } = entry;
  const mapped = form?.kind === 'leaf' || form?.kind === 'table' || form?.kind === 'hugepd';
  const is = (what: 'present' | 'global' | 'dirty' | 'accessed'): boolean => form?.kind === 'leaf' && holds(form.allows[what], lo, hi);
  return {
    level,
    entry,
    fields: fieldsOf(mode, level, entry),
    rights: form && mapped ? rightsOf(form, lo, hi) : undefined,
    present: is('present'),
    global: is('global'),
    dirty: is('dirty'),
    accessed: is('accessed'),
    leafBytes: form?.kind === 'leaf' ? leafPagesOf(level, form, lo, hi) * 2 ** mode.mode.pageShift : undefined,
    next: form && form.next >= 0 ? mode.levels[form.next].level.name : undefined,
    swap: form?.kind === 'nonpresent' ? decodeSwap(mode, level.level.name, lo, hi) : undefined,
    reserved: bitsOf(entry.reserved),
    predicates: predicatesOf(mode, level, lo, hi),
  };
}

const valueOf = (pieces: readonly Piece[], lo: number, hi: number): bigint => {
  const word = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
  let value = 0n;
  for (const p of pieces) value |= ((word >> BigInt(p.low)) & ((1n << BigInt(p.width)) - 1n)) << BigInt(p.at);
  return value;
};

/** `51:12` and so on, most significant piece of the value first. */
export const bitsText = (pieces: readonly Piece[]): string =>
  [...pieces]
    .sort((a, b) => b.at - a.at)
    .map((p) => (p.width === 1 ? `${p.low}` : `${p.low + p.width - 1}:${p.low}`))
    .join(',');

function fieldsOf(mode: CompiledMode, level: CompiledLevel, entry: Entry): ExplainedField[] {
  const { form, lo, hi } = entry;
  const out: { at: number; field: ExplainedField }[] = [];
  const put = (name: string, pieces: readonly Piece[], meaning: string, value = valueOf(pieces, lo, hi)): void => {
    out.push({ at: Math.max(...pieces.map((p) => p.low + p.width)), field: { bits: bitsText(pieces), name, value, meaning } });
  };
  if (form) for (const [name, pieces] of form.fields) put(name, pieces, form.docs.get(name) ?? '');
  if (form?.address && entry.address !== undefined) put('address', form.address.pieces, addressMeaning(form, mode), entry.address);
  if (form?.kind === 'nonpresent') {
    const layout = swapLayoutFor(mode, level.level.name);
    const swap = decodeSwap(mode, level.level.name, lo, hi);
    if (layout && swap) {
      put('type', layout.type, 'swap type', BigInt(swap.type));
      put('offset', layout.offset, layout.layout.inverted ? 'swap offset, stored inverted' : 'swap offset', BigInt(swap.offset));
      for (const [name, pieces] of layout.flags) put(name, pieces, "software's flag of a swap-type entry");
    }
  }
  return out.sort((a, b) => b.at - a.at).map((o) => o.field);
}

function addressMeaning(form: CompiledForm, mode: CompiledMode): string {
  const what = form.kind === 'leaf' ? 'physical address of the page' : form.kind === 'hugepd' ? 'physical address of the directory' : 'physical address of the table';
  const pointer = form.kind !== 'leaf' && mode.mode.pointers !== undefined ? 'kernel virtual address of the table' : what;
  return form.address?.inverted ? `${pointer}, stored inverted` : pointer;
}

const bitsOf = (word: Word): number[] => {
  const bits: number[] = [];
  for (let b = 63; b >= 0; b--) if (((b >= 32 ? word.hi >>> (b - 32) : word.lo >>> b) & 1) !== 0) bits.push(b);
  return bits;
};

function predicatesOf(mode: CompiledMode, level: CompiledLevel, lo: number, hi: number): { name: string; holds: boolean }[] {
  const names = Object.keys(mode.linux?.predicates[level.level.name] ?? {});
  if (names.length === 0) return [];
  const entries = new LinuxEntries(mode);
  return names.map((name) => ({ name, holds: entries.predicate(level.level.name, name, { lo, hi }) }));
}

/** Entry bits that no field, address or swap layout of the word's form names. */
export function unnamedBits(mode: CompiledMode, explained: Explained): number[] {
  const { entry, level } = explained;
  let { lo, hi } = entry.rest;
  const layout = entry.form?.kind === 'nonpresent' ? swapLayoutFor(mode, level.level.name) : undefined;
  for (const pieces of layout ? [layout.type, layout.offset, ...layout.flags.values()] : []) {
    const mask = maskOf(pieces);
    lo = (lo & ~mask.lo) >>> 0;
    hi = (hi & ~mask.hi) >>> 0;
  }
  return bitsOf({ lo, hi });
}
