/**
 * Decode and encode one entry.
 *
 * Invariants: decode is total (every word has exactly one form; a word that fits none is kind `bad`, a form of its own);
 * `encode(decode(word)) === word` for every word, since decode keeps the bits that no field names in `rest`.
 */
import type { EntryKind } from '../arch/mode.ts';
import { type Alternatives, gather, gatherPiece, holds, maskOf, type Piece, scatter, type Word } from '../arch/notation.ts';
import type { CompiledAddress, CompiledForm, CompiledLevel, CompiledMode } from './compile.ts';

/** What a path allows so far, or what a leaf grants. */
export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly exec: boolean;
  readonly user: boolean;
  /** Of tables: execution by privileged code, where that is apart. A leaf's `exec` has it in already. */
  readonly execPrivileged?: boolean;
}

export interface Entry {
  /** `bad`: no form of the level fits. */
  readonly kind: EntryKind | 'bad';
  readonly form: CompiledForm | undefined;
  readonly lo: number;
  readonly hi: number;
  /** Named fields, in the order of the declaration. */
  readonly fields: ReadonlyMap<string, number>;
  /** Physical address that the entry holds, bytes. */
  readonly address: bigint | undefined;
  /** Bits that neither a field nor the address names. */
  readonly rest: Word;
  /** Bits set that must be zero. */
  readonly reserved: Word;
}

/** The form of a word, or undefined when none fits. */
export function formOf(level: CompiledLevel, lo: number, hi: number): CompiledForm | undefined {
  for (const form of level.forms) if (holds(form.when, lo, hi)) return form;
  return undefined;
}

/** Decodes one word of a level. */
export function decode(level: CompiledLevel, lo: number, hi: number): Entry {
  const form = formOf(level, lo, hi);
  if (!form) return { kind: 'bad', form: undefined, lo, hi, fields: new Map(), address: undefined, rest: { lo, hi }, reserved: { lo: 0, hi: 0 } };
  const fields = new Map<string, number>();
  let restLo = lo;
  let restHi = hi;
  const take = (mask: Word): void => {
    restLo = (restLo & ~mask.lo) >>> 0;
    restHi = (restHi & ~mask.hi) >>> 0;
  };
  for (const [name, pieces] of form.fields) {
    fields.set(name, gather(pieces, lo, hi));
    take(maskOf(pieces));
  }
  if (form.address) take(form.address.mask);
  if (form.address?.mirror) {
    const differs = mirrorDifference(form.address, lo, hi);
    restLo |= differs.lo;
    restHi |= differs.hi;
  }
  return {
    kind: form.kind,
    form,
    lo,
    hi,
    fields,
    address: form.address ? addressOf(form.address, lo, hi) : undefined,
    rest: { lo: restLo >>> 0, hi: restHi >>> 0 },
    reserved: { lo: (restLo & form.reserved.lo) >>> 0, hi: (restHi & form.reserved.hi) >>> 0 },
  };
}

/** The word of a decoded or a made-up entry. Fields not named are zero. @throws {RangeError} for an unknown field or an address that does not fit. */
export function encode(form: CompiledForm, entry: { fields?: ReadonlyMap<string, number>; address?: bigint; rest?: Word }): Word {
  let lo = entry.rest?.lo ?? 0;
  let hi = entry.rest?.hi ?? 0;
  const put = (pieces: readonly Piece[], value: bigint): void => {
    const word = scatter(pieces, value);
    lo |= word.lo;
    hi |= word.hi;
  };
  for (const [name, value] of entry.fields ?? []) {
    const pieces = form.fields.get(name);
    if (!pieces) throw new RangeError(`form "${form.form.name}" has no field "${name}"`);
    put(pieces, BigInt(value));
  }
  if (entry.address !== undefined) {
    // Exclusive or: in a second copy of the address, `rest` holds what differs from the first; elsewhere the bits are disjoint.
    const word = addressWord(form, entry.address);
    lo ^= word.lo;
    hi ^= word.hi;
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/** The bits that a physical address takes in a form. @throws {RangeError} when the address does not fit. */
export function addressWord(form: CompiledForm, address: bigint): Word {
  if (!form.address) throw new RangeError(`form "${form.form.name}" holds no address`);
  let lo = 0;
  let hi = 0;
  let back = 0n;
  for (const p of form.address.pieces) {
    const value = (address >> BigInt(p.at)) & ((1n << BigInt(p.width)) - 1n);
    back |= value << BigInt(p.at);
    for (const copy of form.address.mirror ? [[{ ...p, at: 0 }], form.address.mirror] : [[{ ...p, at: 0 }]]) {
      const word = scatter(copy, value);
      lo |= word.lo;
      hi |= word.hi;
    }
  }
  if (back !== address) throw new RangeError(`address 0x${address.toString(16)} does not fit the address bits of "${form.form.name}"`);
  if (form.address.inverted) return { lo: (lo ^ form.address.mask.lo) >>> 0, hi: (hi ^ form.address.mask.hi) >>> 0 };
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/** Bits of the second copy of an address that differ from the first. */
function mirrorDifference(address: CompiledAddress, lo: number, hi: number): Word {
  const copy = scatter(address.mirror ?? [], BigInt(gather([{ ...address.pieces[0], at: 0 }], lo, hi)));
  const mask = maskOf(address.mirror ?? []);
  return { lo: ((lo & mask.lo) ^ copy.lo) >>> 0, hi: ((hi & mask.hi) ^ copy.hi) >>> 0 };
}

/** Physical address in bytes. */
export function addressOf(address: CompiledAddress, lo: number, hi: number): bigint {
  let value = 0n;
  const [l, h] = address.inverted ? [(~lo & address.mask.lo) >>> 0, (~hi & address.mask.hi) >>> 0] : [lo, hi];
  for (const p of address.pieces) value |= BigInt(gatherPiece(p, l, h)) << BigInt(p.at);
  return value;
}

/** Physical address in units of `1 << unitShift` bytes, as a number; bits below the unit are dropped. */
export function addressUnits(address: CompiledAddress, lo: number, hi: number, unitShift: number): number {
  const { single } = address;
  if (single !== undefined && single.unitShift === unitShift)
    return (((hi & single.hiMask) >>> 0) * single.hiScale + ((lo & single.loMask) >>> single.loShift)) * single.scale;
  const l = address.inverted ? (~lo & address.mask.lo) >>> 0 : lo;
  const h = address.inverted ? (~hi & address.mask.hi) >>> 0 : hi;
  let units = 0;
  for (const p of address.pieces) {
    const value = gatherPiece(p, l, h);
    units += p.at >= unitShift ? value * 2 ** (p.at - unitShift) : Math.floor(value / 2 ** (unitShift - p.at));
  }
  return units;
}

/** Byte offset within 4 KiB of the address that an entry holds (tables smaller than a frame). */
export function addressOffset(address: CompiledAddress, lo: number, hi: number): number {
  let offset = 0;
  for (const p of address.pieces) if (p.at < 12) offset += (gatherPiece(p, lo, hi) % 2 ** (12 - p.at)) * 2 ** p.at;
  return offset;
}

/** Entries [first, entries) of the table below that exist, where the entry itself limits them; undefined: all. */
export function windowOf(form: CompiledForm, lo: number, hi: number): { first: number; entries: number } | undefined {
  const w = form.window;
  return w && { first: gather(w.first, lo, hi) * w.unit, entries: (gather(w.last, lo, hi) + 1) * w.unit };
}

/** What an entry grants (leaf) or lets pass (table) on its own. */
export const rightsOf = (form: CompiledForm, lo: number, hi: number): Rights => grantedRights(ALL_RIGHTS, form, lo, hi);

function ownRights(form: CompiledForm, lo: number, hi: number): Rights {
  const a = form.allows;
  const is = (c: Alternatives): boolean => holds(c, lo, hi);
  return { read: is(a.read), write: is(a.write), exec: is(a.exec), user: is(a.user), execPrivileged: is(a.execPrivileged) };
}

export const ALL_RIGHTS: Rights = { read: true, write: true, exec: true, user: true, execPrivileged: true };

export const bothRights = (a: Rights, b: Rights): Rights => ({
  read: a.read && b.read,
  write: a.write && b.write,
  exec: a.exec && b.exec,
  user: a.user && b.user,
  execPrivileged: a.execPrivileged && b.execPrivileged,
});

/** What a path allows with one more entry on it: a table hands both ways of execution on, a leaf grants what either way is left. */
export function grantedRights(inherited: Rights, form: CompiledForm, lo: number, hi: number): Rights {
  const { execPrivileged, ...both } = bothRights(inherited, ownRights(form, lo, hi));
  if (form.kind === 'table' || form.kind === 'hugepd') return { ...both, execPrivileged };
  return { ...both, exec: both.exec || execPrivileged === true };
}

/** Rights as a number: the key under which tables are shared. */
export const rightsKey = (r: Rights): number => (r.read ? 1 : 0) | (r.write ? 2 : 0) | (r.exec ? 4 : 0) | (r.user ? 8 : 0) | (r.execPrivileged ? 16 : 0);

/** Reads the named level of a mode out of the compiled list. */
export function levelNamed(compiled: CompiledMode, name: string): CompiledLevel {
  const found = compiled.levels.find((l) => l.level.name === name);
  if (!found) throw new RangeError(`mode ${compiled.mode.name} has no level "${name}" (it has ${compiled.levels.map((l) => l.level.name).join(', ')})`);
  return found;
}
