/**
 * One entry's word explained: form, fields with the manual's meaning, what it allows, what it points to, and what is wrong with it.
 *
 * Invariant: every bit of the word is accounted for: as part of a field, of the address, of the swap word, or as "not named".
 */
import { holds, maskOf, type Piece, parseSetting, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel, CompiledMode } from '../pagetable/compile.ts';
import { addressWord, decode, type Entry, formOf, type Rights, rightsOf } from '../pagetable/entry.ts';
import { PxdError } from '../pagetable/error.ts';
import { leafPagesOf } from '../pagetable/leafsize.ts';
import { LinuxEntries } from '../pagetable/linux.ts';
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

const fieldValue = (pieces: readonly Piece[], lo: number, hi: number): bigint => {
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
  const put = (name: string, pieces: readonly Piece[], meaning: string, value = fieldValue(pieces, lo, hi)): void => {
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
  const what =
    form.kind === 'leaf' ? 'physical address of the page' : form.kind === 'hugepd' ? 'physical address of the directory' : 'physical address of the table';
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

/**
 * Makes an entry from field names: `P RW=1 address=0x1234000`. The form is the first of the level whose condition the result meets, so the fields decide
 * whether it is a leaf or a table. @throws {PxdError} `usage` for an unknown field, a value or address that does not fit, or fields that make no form.
 */
export function composeEntry(mode: CompiledMode, level: CompiledLevel, text: string): Word {
  const settings = text
    .trim()
    .split(/\s+/)
    .filter((w) => w !== '');
  const addresses = settings.filter((w) => w.startsWith('address='));
  const fields = settings.filter((w) => !w.startsWith('address=')).join(' ');
  if (addresses.length > 1 || addresses.some((a) => !/^address=(0x)?[0-9a-f]{1,16}$/i.test(a)))
    throw new PxdError('usage', `--encode: expected one address=HEX, found "${addresses.join(' ')}"`);
  const address = addresses.length > 0 ? BigInt(`0x${addresses[0].slice(8).replace(/^0x/i, '')}`) : undefined;
  let reason = '';
  for (const form of level.forms) {
    try {
      const { set } = parseSetting(fields, form.fields);
      const at = address === undefined ? { lo: 0, hi: 0 } : addressWord(form, address);
      const word = { lo: (set.lo | at.lo) >>> 0, hi: (set.hi | at.hi) >>> 0 };
      if (formOf(level, word.lo, word.hi) === form) return word;
    } catch (e) {
      if (!(e instanceof TypeError) && !(e instanceof RangeError) && !(e instanceof SyntaxError)) throw e;
      if (reason === '' && form.kind === 'leaf') reason = e.message;
    }
  }
  const place = `${mode.mode.name} at level ${level.level.name}`;
  if (reason !== '') throw new PxdError('usage', `--encode: no entry of ${place}: ${reason}`);
  throw new PxdError(
    'usage',
    `--encode: these fields make no entry of ${place}: expected one of ${level.forms.map((f) => `${f.form.name} (${f.form.when})`).join(', ')}`,
  );
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
