/**
 * Makes a declared mode ready to run for one kernel version: names become masks, levels become indexes.
 *
 * Invariants: a compiled mode is immutable and cached per (mode, version, special types); every form's fields and address bits are
 * disjoint; `reserved` is what no field, address bit or `ignored` covers and must be zero in a sane entry.
 */
import type { EntryKind, Form, Group, Level, LinuxSide, PagingMode, SpecialTypes, SwapLayout } from '../arch/mode.ts';
import {
  type Alternatives,
  type Atom,
  type FieldPieces,
  inVersions,
  maskOf,
  type Piece,
  parseBits,
  parseCondition,
  parseSetting,
  versionNumber,
  type Word,
} from '../arch/notation.ts';

/** The version assumed when nothing tells it. */
export const DEFAULT_KERNEL = '6.12';

/** An address field of one piece: pages = ((hi & hiMask) * hiScale + ((lo & loMask) >>> loShift)) * scale. */
export interface SinglePiece {
  /** log2 of the unit that the pages of the formula are: the mode's page. */
  readonly unitShift: number;
  readonly loMask: number;
  readonly loShift: number;
  readonly hiMask: number;
  readonly hiScale: number;
  readonly scale: number;
}

/** Where an entry holds its address; `single` where that is one piece. */
export interface CompiledAddress {
  readonly mask: Word;
  /** Pieces of the physical address: entry bits → address bits. */
  readonly pieces: readonly Piece[];
  /** The second copy where the address stands twice; `mask` covers both. */
  readonly mirror: readonly Piece[] | undefined;
  readonly single: SinglePiece | undefined;
  readonly inverted: boolean;
}

export interface CompiledGroup {
  readonly group: Group;
  readonly when: Alternatives;
  readonly differ: Word;
  readonly clear: Word;
  /** Pages of the mode that the whole leaf maps. */
  readonly leafPages: number;
}

export interface CompiledAllows {
  readonly read: Alternatives;
  readonly write: Alternatives;
  readonly exec: Alternatives;
  readonly execPrivileged: Alternatives;
  readonly user: Alternatives;
  readonly global: Alternatives;
  readonly dirty: Alternatives;
  readonly accessed: Alternatives;
  readonly present: Alternatives;
}

export interface CompiledForm {
  readonly id: number;
  readonly level: number;
  readonly kind: EntryKind;
  readonly form: Form;
  readonly when: Alternatives;
  readonly fields: FieldPieces;
  readonly docs: ReadonlyMap<string, string>;
  readonly address: CompiledAddress | undefined;
  readonly allows: CompiledAllows;
  readonly groups: readonly CompiledGroup[];
  readonly reserved: Word;
  /** Which entries of the table below exist, where the entry tells. */
  readonly window: { readonly first: readonly Piece[]; readonly last: readonly Piece[]; readonly unit: number } | undefined;
  /** Level that a table or hugepd points to, -1 for leaves. */
  readonly next: number;
  /** Pages of the mode that one entry maps or spans. */
  readonly pages: number;
}

export interface CompiledLevel {
  readonly index: number;
  readonly level: Level;
  readonly entries: number;
  /** Bytes from entry to entry in memory. */
  readonly stride: number;
  /** Pages of the mode that one entry spans. */
  readonly pages: number;
  /** 4 KiB frames that a full table occupies at most. */
  readonly bytes: number;
  readonly wide: boolean;
  readonly forms: readonly CompiledForm[];
}

export interface CompiledSwap {
  readonly layout: SwapLayout;
  readonly type: readonly Piece[];
  readonly offset: readonly Piece[];
  readonly always: Word;
  readonly flags: ReadonlyMap<string, readonly Piece[]>;
}

export interface CompiledMode {
  readonly mode: PagingMode;
  readonly kernel: number;
  readonly kernelText: string;
  readonly specials: SpecialTypes;
  readonly levels: readonly CompiledLevel[];
  /** All forms by id. */
  readonly forms: readonly CompiledForm[];
  readonly swap: readonly CompiledSwap[];
  readonly linux: LinuxSide | undefined;
  readonly bigEndian: boolean;
}

const cache = new Map<string, CompiledMode>();

/** Compiles a mode for a kernel version (`'6.12'`, `'6.1.0-50-amd64'`). @throws {TypeError} when the declaration is wrong, {RangeError} for a version that is none. */
export function compileMode(mode: PagingMode, kernel: string = DEFAULT_KERNEL, specials: SpecialTypes = mode.specials): CompiledMode {
  const version = versionNumber(kernel);
  const key = `${mode.name} ${kernel} ${JSON.stringify(specials)}`;
  const known = cache.get(key);
  if (known?.mode === mode) return known;
  const forms: CompiledForm[] = [];
  const levels = mode.levels.map((level, index) => compileLevel(mode, level, index, version, forms));
  const compiled: CompiledMode = {
    mode,
    kernel: version,
    kernelText: kernel,
    specials: { ...specials, device: typeof specials.device === 'string' ? inVersions(specials.device, version) : specials.device },
    levels,
    forms,
    swap: mode.swap.filter((s) => inVersions(s.kernel, version)).map((s) => compileSwap(s)),
    linux: mode.linux.find((l) => inVersions(l.kernel, version)),
    bigEndian: mode.endian === 'big',
  };
  cache.set(key, compiled);
  return compiled;
}

function compileLevel(mode: PagingMode, level: Level, index: number, version: number, forms: CompiledForm[]): CompiledLevel {
  const entries = 2 ** level.bits;
  const stride = level.stride ?? level.entryBytes;
  const compiled: CompiledForm[] = [];
  for (const form of level.forms) {
    if (!inVersions(form.kernel, version)) continue;
    try {
      const one = compileForm(mode, level, index, form, version, forms.length);
      forms.push(one);
      compiled.push(one);
    } catch (e) {
      throw new TypeError(`mode ${mode.name}, level ${level.name}, form "${form.name}": ${(e as Error).message}`);
    }
  }
  return {
    index,
    level,
    entries,
    stride,
    pages: 2 ** (level.shift - mode.pageShift),
    bytes: entries * stride,
    wide: level.entryBytes === 8 || level.companion !== undefined,
    forms: compiled,
  };
}

/** Bits of an entry as decoded: 64 for 8-byte entries and for pairs with a companion word. */
const entryBitsOf = (level: Level): number => (level.entryBytes === 8 || level.companion !== undefined ? 64 : 32);

function compileForm(mode: PagingMode, level: Level, index: number, form: Form, version: number, id: number): CompiledForm {
  const entryBits = entryBitsOf(level);
  const fields = new Map<string, readonly Piece[]>();
  const docs = new Map<string, string>();
  for (const [name, text] of Object.entries(form.fields ?? {})) {
    for (const one of typeof text === 'string' ? [text] : text) {
      const words = one.split(' ');
      const range = words[0].includes('..') ? words.shift() : undefined;
      if (!inVersions(range, version)) continue;
      fields.set(name, parseBits(words[0], entryBits));
      docs.set(name, words.slice(1).join(' '));
    }
  }
  const address = form.address ? compileAddress(form.address, entryBits, mode.pageShift, form.inverted === true, form.mirror) : undefined;
  const next = form.kind === 'table' || form.kind === 'hugepd' ? nextLevel(mode, level, index, form) : -1;
  const size = form.size ?? 2 ** level.shift;
  const all = entryBits === 64 ? { lo: 0xffffffff, hi: 0xffffffff } : { lo: 0xffffffff, hi: 0 };
  return {
    id,
    level: index,
    kind: form.kind,
    form,
    when: parseCondition(form.when, fields),
    fields,
    docs,
    address,
    allows: compileAllows(form, fields),
    groups: (form.groups ?? []).map((group) => ({
      group,
      when: parseCondition(group.when, fields),
      differ: parseSetting(group.mayDiffer ?? '', fields).covered,
      clear: parseSetting(group.mayClear ?? '', fields).covered,
      leafPages: (group.size ?? size * group.entries) / 2 ** mode.pageShift,
    })),
    reserved: form.kind === 'table' || form.kind === 'leaf' || form.kind === 'hugepd' ? reservedBits(all, fields, address, form, entryBits) : { lo: 0, hi: 0 },
    window: form.window && { first: parseBits(form.window.first, entryBits), last: parseBits(form.window.last, entryBits), unit: form.window.unit },
    next,
    pages: size / 2 ** mode.pageShift,
  };
}

function nextLevel(mode: PagingMode, level: Level, index: number, form: Form): number {
  const name = form.next ?? level.next;
  const next = name === undefined ? index + 1 : mode.levels.findIndex((l) => l.name === name);
  if (next < 0 || next >= mode.levels.length) throw new TypeError(`points to a level "${name}" that the mode does not have`);
  return next;
}

/** `ones` and `zeros`: a leaf grants nothing, and a table takes nothing away, unless it says so. */
function compileAllows(form: Form, fields: FieldPieces): CompiledAllows {
  const ones: Alternatives = [[]];
  const zeros: Alternatives = [];
  const rest = form.kind === 'table' || form.kind === 'hugepd' ? ones : zeros;
  const of = (text: string | undefined, absent: Alternatives): Alternatives => (text === undefined ? absent : parseCondition(text, fields));
  const a = form.allows ?? {};
  return {
    read: of(a.read, rest),
    write: of(a.write, rest),
    exec: of(a.exec, rest),
    execPrivileged: of(a.execPrivileged, rest),
    user: of(a.user, rest),
    global: of(a.global, zeros),
    dirty: of(a.dirty, zeros),
    accessed: of(a.accessed, zeros),
    present: of(a.present, ones),
  };
}

function compileAddress(
  bits: NonNullable<Form['address']>,
  entryBits: number,
  pageShift: number,
  inverted: boolean,
  second: string | undefined,
): CompiledAddress {
  const pieces = bits.flatMap(([text, at]) => parseBits(text, entryBits).map((p) => ({ ...p, at: p.at + at })));
  const mirror = second === undefined ? undefined : parseBits(second, entryBits);
  if (mirror && pieces.length !== 1) throw new TypeError('an address that stands twice must be one piece');
  const mask = maskOf(mirror ? [...pieces, ...mirror] : pieces);
  return { mask, pieces, inverted, mirror, single: inverted || mirror ? undefined : singlePiece(pieces, mask, pageShift) };
}

/** One contiguous piece that carries no address bit below the page: pages come out with one multiplication. */
function singlePiece(pieces: readonly Piece[], mask: Word, pageShift: number): SinglePiece | undefined {
  if (pieces.length !== 1 || pieces[0].low >= 32 || pieces[0].at < pageShift) return undefined;
  const [p] = pieces;
  // The walk adds to the low word as a whole: the field must reach its top bit, or a carry would run into attribute bits.
  if (mask.lo >>> 31 === 0) return undefined;
  return { unitShift: pageShift, loMask: mask.lo, loShift: p.low, hiMask: mask.hi, hiScale: 2 ** (32 - p.low), scale: 2 ** (p.at - pageShift) };
}

function reservedBits(all: Word, fields: FieldPieces, address: CompiledAddress | undefined, form: Form, entryBits: number): Word {
  let { lo, hi } = all;
  const take = (mask: Word): void => {
    lo = (lo & ~mask.lo) >>> 0;
    hi = (hi & ~mask.hi) >>> 0;
  };
  for (const pieces of fields.values()) take(maskOf(pieces));
  // A second copy of the address that differs from the first is an anomaly of its own: its bits stay reserved.
  if (address) take(address.mirror ? maskOf(address.pieces) : address.mask);
  if (form.ignored) take(maskOf(parseBits(form.ignored, entryBits)));
  return { lo, hi };
}

function compileSwap(layout: SwapLayout): CompiledSwap {
  return {
    layout,
    type: parseBits(layout.type),
    offset: parseBits(layout.offset),
    always: parseSetting(layout.always ?? '', new Map()).set,
    flags: new Map(Object.entries(layout.flags ?? {}).map(([name, bits]) => [name, parseBits(bits)])),
  };
}

/** The level that plays a level of Linux's: the named one, or, where it is folded, the nearest real one above. */
export function levelFor(compiled: CompiledMode, name: string): CompiledLevel | undefined {
  const order = ['pte', 'pmd', 'pud', 'p4d', 'pgd'];
  for (let i = order.indexOf(name); i >= 0 && i < order.length; i++) {
    const found = compiled.levels.find((l) => l.level.name === order[i]);
    if (found) return found;
  }
  return compiled.levels.find((l) => l.level.name === name);
}

export type { Atom };
