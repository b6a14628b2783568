/**
 * The three notations of `mode.ts` (bits, condition, setting) and version ranges, parsed into masks on 32-bit halves.
 *
 * Invariant: a parsed thing never refers to a name again; a wrong name, a bit outside the entry or a malformed atom throws
 * here, once, when the mode is compiled, never in a walk.
 */

/** A 64-bit pattern as two unsigned 32-bit halves. */
export interface Word {
  readonly lo: number;
  readonly hi: number;
}

/** One piece of a field: `width` bits of the entry from bit `low`, standing at bit `at` of the value. */
export interface Piece {
  readonly low: number;
  readonly width: number;
  readonly at: number;
}

/** `(word & mask) === value`, or `!==` when `negated`. */
export interface Atom {
  readonly mask: Word;
  readonly value: Word;
  readonly negated: boolean;
}

/** Alternatives of conjunctions. `[[]]` always holds, `[]` never. */
export type Alternatives = readonly (readonly Atom[])[];

export type FieldPieces = ReadonlyMap<string, readonly Piece[]>;

const halves = (value: bigint): Word => ({
  lo: Number(value & 0xffffffffn),
  hi: Number((value >> 32n) & 0xffffffffn),
});

/** Parses `'63'`, `'51:12'`, `'11:8,13'` into pieces, lowest last in the text, value bits counted from the text's end. */
export function parseBits(bits: string, entryBits = 64): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const range of bits.split(',').reverse()) {
    const found = /^(\d+)(?::(\d+))?$/.exec(range.trim());
    if (!found) throw new TypeError(`bits "${bits}": expected high:low or a bit number, found "${range}"`);
    const high = Number(found[1]);
    const low = found[2] === undefined ? high : Number(found[2]);
    if (high < low || high >= entryBits) throw new TypeError(`bits "${bits}": "${range}" does not fit an entry of ${entryBits} bits`);
    pieces.push({ low, width: high - low + 1, at });
    at += high - low + 1;
  }
  return pieces;
}

/** Mask of the entry bits that the pieces cover. */
export function maskOf(pieces: readonly Piece[]): Word {
  let mask = 0n;
  for (const p of pieces) mask |= ((1n << BigInt(p.width)) - 1n) << BigInt(p.low);
  return halves(mask);
}

/** Scatters a field's value into its place in the entry. */
export function scatter(pieces: readonly Piece[], value: bigint): Word {
  let word = 0n;
  for (const p of pieces) word |= ((value >> BigInt(p.at)) & ((1n << BigInt(p.width)) - 1n)) << BigInt(p.low);
  return halves(word);
}

/** Value of a field; exact up to 53 bits. */
export function gather(pieces: readonly Piece[], lo: number, hi: number): number {
  let value = 0;
  for (const p of pieces) value += gatherPiece(p, lo, hi) * 2 ** p.at;
  return value;
}

/** The bits of one piece, as a number from bit 0. */
export function gatherPiece(p: Piece, lo: number, hi: number): number {
  if (p.low >= 32) return ((hi >>> (p.low - 32)) & lowMask(p.width)) >>> 0;
  if (p.low + p.width <= 32) return ((lo >>> p.low) & lowMask(p.width)) >>> 0;
  const below = 32 - p.low;
  return (lo >>> p.low) + ((hi & lowMask(p.width - below)) >>> 0) * 2 ** below;
}

const lowMask = (width: number): number => (width >= 32 ? 0xffffffff : (1 << width) - 1);

function widthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, p) => sum + p.width, 0);
}

function fieldOf(fields: FieldPieces, name: string, text: string): readonly Piece[] {
  const pieces = fields.get(name);
  if (!pieces) throw new TypeError(`"${text}": there is no field "${name}" (there are ${[...fields.keys()].join(', ')})`);
  return pieces;
}

/** Parses a condition over the given fields. */
export function parseCondition(text: string, fields: FieldPieces): Alternatives {
  if (text.trim() === '1') return [[]];
  if (text.trim() === '0') return [];
  const alternatives: Atom[][] = [];
  for (const side of text.split('|')) {
    // `NAME=1,3` means either value: it multiplies the conjunctions.
    let conjunctions: Atom[][] = [[]];
    for (const atom of side.trim().split(/\s+/)) {
      const choices = parseAtom(atom, fields, text);
      conjunctions = conjunctions.flatMap((c) => choices.map((choice) => [...c, ...choice]));
    }
    alternatives.push(...conjunctions);
  }
  return alternatives;
}

/** An atom as alternatives of conjunctions (one each, but for lists of values). */
function parseAtom(atom: string, fields: FieldPieces, text: string): Atom[][] {
  const raw = /^&(0x[0-9a-f]+)?(!?=)(0x[0-9a-f]+|\d+)$/i.exec(atom);
  if (raw) {
    const mask = raw[1] ? BigInt(raw[1]) : (1n << 64n) - 1n;
    return [[{ mask: halves(mask), value: halves(BigInt(raw[3])), negated: raw[2] === '!=' }]];
  }
  const found = /^(!)?([A-Za-z_][\w.]*)(?:(!?=)([\w,]+))?$/.exec(atom);
  if (!found) throw new TypeError(`"${text}": cannot read "${atom}"`);
  const pieces = fieldOf(fields, found[2], text);
  const mask = maskOf(pieces);
  if (found[3] === undefined) return [[{ mask, value: { lo: 0, hi: 0 }, negated: found[1] === undefined }]];
  const values = found[4].split(',').map((v) => scatter(pieces, numberIn(v, pieces, text)));
  if (found[3] === '!=') return [values.map((value) => ({ mask, value, negated: true }))];
  return values.map((value) => [{ mask, value, negated: false }]);
}

function numberIn(text: string, pieces: readonly Piece[], where: string): bigint {
  const value = BigInt(text);
  if (value >> BigInt(widthOf(pieces)) !== 0n) throw new TypeError(`"${where}": ${text} does not fit its field`);
  return value;
}

/** Parses a setting into the bits to set and the bits that its fields cover. */
export function parseSetting(text: string, fields: FieldPieces): { set: Word; covered: Word } {
  let set = { lo: 0, hi: 0 };
  let covered = { lo: 0, hi: 0 };
  const or = (a: Word, b: Word): Word => ({ lo: (a.lo | b.lo) >>> 0, hi: (a.hi | b.hi) >>> 0 });
  for (const part of text.trim().split(/\s+/)) {
    if (part === '') continue;
    if (part.startsWith('&')) {
      const word = halves(BigInt(part.slice(1)));
      set = or(set, word);
      covered = or(covered, word);
      continue;
    }
    const [name, value] = part.split('=');
    const pieces = fieldOf(fields, name, text);
    const mask = maskOf(pieces);
    set = or(set, value === undefined ? mask : scatter(pieces, numberIn(value, pieces, text)));
    covered = or(covered, mask);
  }
  return { set, covered };
}

/** Does the condition hold for the word? */
export function holds(condition: Alternatives, lo: number, hi: number): boolean {
  for (const conjunction of condition) {
    let all = true;
    for (const a of conjunction) {
      const equal = (((lo & a.mask.lo) ^ a.value.lo) | ((hi & a.mask.hi) ^ a.value.hi)) === 0;
      if (equal === a.negated) {
        all = false;
        break;
      }
    }
    if (all) return true;
  }
  return false;
}

/** `'6.12.107+deb13-amd64'` → 6012; numbers compare as versions do. @throws {RangeError} when it begins with no version. */
export function versionNumber(text: string): number {
  const found = /^v?(\d+)\.(\d+)/.exec(text);
  if (!found) throw new RangeError(`kernel version "${text}": expected something like 6.12`);
  return Number(found[1]) * 1000 + Number(found[2]);
}

/** Is the version in `from..until`? An absent range holds always. */
export function inVersions(range: string | undefined, version: number): boolean {
  if (range === undefined) return true;
  const [from, until] = range.split('..');
  return (from === '' || version >= versionNumber(from)) && (until === '' || version < versionNumber(until));
}
