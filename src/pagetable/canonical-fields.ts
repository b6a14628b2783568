/**
 * Where an entry's frame (or swap offset) stands, as multipliers: frame · 2^k into the word, word · 2^-k out of it.
 *
 * A field in several pieces has one main piece; the others count as attribute bits, so they cost a pattern for each of their values and nothing else.
 * Entries whose frame reaches into such a piece go the long way.
 */
import { type Alternatives, type Atom, maskOf, type Piece, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel, CompiledMode } from './compile.ts';
import { formOf } from './entry.ts';
import { swapLayoutFor } from './swap.ts';

export interface FieldPlan {
  /** Bits of the main piece, and of its second copy where there is one. */
  readonly mask: Word;
  /** Bits that `value` is read from. */
  readonly from: Word;
  /** Stored inverted. */
  readonly flip: Word;
  /** value · mulLo, value · mulHi are the words (modulo 2^32). */
  readonly mulLo: number;
  readonly mulHi: number;
  /** (lo & from.lo) · outLo + (hi & from.hi) · outHi is the value. */
  readonly outLo: number;
  readonly outHi: number;
  /** Values below this and multiples of `align` stand in the main piece alone. */
  readonly limit: number;
  readonly align: number;
  /** What one unit of the value adds to a payload. */
  readonly unit: number;
}

const addressPlans = new WeakMap<CompiledForm, FieldPlan>();

/** How a form of leaf or table holds its frame; undefined when it holds none. */
export function addressPlan(mode: CompiledMode, form: CompiledForm): FieldPlan | undefined {
  const known = addressPlans.get(form);
  if (known || !form.address) return known;
  const { pageShift, pointers, linearBase } = mode.mode;
  let main = widest(form.address.pieces);
  // Bits below the page tell where in its page a table begins: they belong to the attributes.
  if (main.at < pageShift) main = { low: main.low + pageShift - main.at, width: main.width - (pageShift - main.at), at: pageShift };
  // The high bits of a kernel pointer are constant.
  if (form.kind === 'table' && pointers && linearBase !== undefined) main = { ...main, width: Math.min(main.width, keptBits(pointers, linearBase) - main.at) };
  const copy = form.address.mirror ? [{ ...form.address.mirror[0], at: 0 }] : [];
  const plan = planOf({ ...main, at: main.at - pageShift }, copy, form.address.inverted, 1);
  addressPlans.set(form, plan);
  return plan;
}

const swapPlans = new WeakMap<CompiledLevel, FieldPlan>();

/** How a swap-type entry of a level holds its offset. */
export function swapPlan(mode: CompiledMode, level: CompiledLevel): FieldPlan | undefined {
  const known = swapPlans.get(level);
  if (known) return known;
  const layout = swapLayoutFor(mode, level.level.name);
  if (!layout) return undefined;
  const plan = planOf(widest(layout.offset), [], layout.layout.inverted === true, 32);
  swapPlans.set(level, plan);
  return plan;
}

const widest = (pieces: readonly Piece[]): Piece => pieces.reduce((a, b) => (b.width > a.width ? b : a));

/** log2 of the physical memory that the direct map in use covers. */
function keptBits(pointers: NonNullable<CompiledMode['mode']['pointers']>, base: bigint): number {
  const rule = pointers.find((p) => (base & p.mask) === p.value);
  if (!rule) throw new TypeError('the linear base fits no pointer rule');
  return (rule.keep & ~(base & rule.keep)).toString(2).length;
}

/** A plan for a piece whose `at` counts in bits of the value. */
function planOf(main: Piece, copy: readonly Piece[], inverted: boolean, unit: number): FieldPlan {
  const from = maskOf([main]);
  const second = copy.length > 0 ? maskOf(copy) : { lo: 0, hi: 0 };
  const up = main.low - main.at;
  return {
    mask: { lo: (from.lo | second.lo) >>> 0, hi: (from.hi | second.hi) >>> 0 },
    from,
    flip: inverted ? from : { lo: 0, hi: 0 },
    mulLo: copy.length > 0 ? 2 ** copy[0].low : main.low < 32 ? 2 ** up : 0,
    mulHi: main.low + main.width > 32 ? 2 ** (up - 32) : 0,
    outLo: 2 ** -up,
    outHi: 2 ** (32 - up),
    limit: 2 ** (main.at + main.width),
    align: 2 ** main.at,
    unit,
  };
}

// --- when a pattern of attribute bits says all ------------------------------------------------------------------------

/**
 * Do the bits outside the field alone make the word this form, whatever the field holds? A condition on the field itself may ask whether it is zero:
 * then the word with a zero field must be the empty entry, which decoding asks for first.
 */
export function patternHolds(level: CompiledLevel, form: CompiledForm, plan: FieldPlan, lo: number, hi: number, empty: Word): boolean {
  const field = plan.mask;
  const zeroLo = lo & ~field.lo;
  const zeroHi = hi & ~field.hi;
  const isEmpty = zeroLo === (empty.lo | 0) && zeroHi === (empty.hi | 0);
  if (!isEmpty && formOf(level, zeroLo >>> 0, zeroHi >>> 0) !== form) return false;
  for (const other of level.forms) {
    const answer = anyOf(other.when, field, lo, hi);
    if (other === form) return answer === true;
    if (answer !== false) return false;
  }
  return false;
}

/** True or false for every field that is not zero, undefined where it depends. */
function anyOf(condition: Alternatives, field: Word, lo: number, hi: number): boolean | undefined {
  let unknown = false;
  for (const conjunction of condition) {
    const answer = allOf(conjunction, field, lo, hi);
    if (answer === true) return true;
    if (answer === undefined) unknown = true;
  }
  return unknown ? undefined : false;
}

function allOf(conjunction: readonly Atom[], field: Word, lo: number, hi: number): boolean | undefined {
  let unknown = false;
  for (const atom of conjunction) {
    const answer = atomOf(atom, field, lo, hi);
    if (answer === false) return false;
    if (answer === undefined) unknown = true;
  }
  return unknown ? undefined : true;
}

function atomOf(atom: Atom, field: Word, lo: number, hi: number): boolean | undefined {
  const { mask, value } = atom;
  // Bits outside the field that differ decide already.
  if ((((lo ^ value.lo) & mask.lo & ~field.lo) | ((hi ^ value.hi) & mask.hi & ~field.hi)) !== 0) return atom.negated;
  if (((mask.lo & field.lo) | (mask.hi & field.hi)) === 0) return !atom.negated;
  const whole = ((field.lo & ~mask.lo) | (field.hi & ~mask.hi)) === 0;
  const zero = ((value.lo & field.lo) | (value.hi & field.hi)) === 0;
  return whole && zero ? atom.negated : undefined;
}
