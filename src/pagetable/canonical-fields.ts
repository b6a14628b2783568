/**
 * Where an entry's frame (or swap offset) stands, as shifts on 32-bit halves.
 *
 * The fast way moves one piece of at most 30 bits (4 TiB in pages of 4K). What else belongs to the field, further pieces and higher bits, counts as
 * attribute bits: on decoding it costs a pattern for each of its values and nothing else; entries whose frame reaches into it are encoded the long way.
 */
import { type Alternatives, type Atom, maskOf, type Piece, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel, CompiledMode } from './compile.ts';
import { formOf } from './entry.ts';
import { swapLayoutFor } from './swap.ts';

export interface FieldPlan {
  /** Bits of the piece, and of its second copy where there is one. */
  readonly mask: Word;
  /** The value: `(((lo & from.lo) >>> downLo) | ((hi & from.hi) >>> downHi) * upHi) ^ flip`. */
  readonly from: Word;
  readonly downLo: number;
  readonly downHi: number;
  readonly upHi: number;
  /** Set bits of the value where it is stored inverted. */
  readonly flip: number;
  /** Into the words (modulo 2^32): `lo = value * toLo`, `hi = (value >>> splitHi) * toHi`. */
  readonly toLo: number;
  readonly splitHi: number;
  readonly toHi: number;
  /** Values below this and multiples of `align` stand in the piece alone. */
  readonly limit: number;
  readonly align: number;
  /** What one unit of the value adds to a payload. */
  readonly unit: number;
}

/** Bits of a value that the fast way moves. */
const WIDTH = 30;

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
  if ((form.kind === 'table' || form.kind === 'hugepd') && pointers && linearBase !== undefined)
    main = { ...main, width: Math.min(main.width, keptBits(pointers, linearBase) - main.at) };
  const copy = form.address.mirror ? [{ ...form.address.mirror[0], at: 0 }] : [];
  const plan = planOf({ ...main, at: main.at - pageShift }, copy, form.address.inverted, 1);
  if (plan) addressPlans.set(form, plan);
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
  if (plan) swapPlans.set(level, plan);
  return plan;
}

const widest = (pieces: readonly Piece[]): Piece => pieces.reduce((a, b) => (b.width > a.width ? b : a));

/** log2 of the physical memory that the direct map in use covers. */
function keptBits(pointers: NonNullable<CompiledMode['mode']['pointers']>, base: bigint): number {
  const rule = pointers.find((p) => (base & p.mask) === p.value);
  if (!rule) throw new TypeError('the linear base fits no pointer rule');
  return (rule.keep & ~(base & rule.keep)).toString(2).length;
}

/** A plan for a piece whose `at` counts in bits of the value; undefined where the fast way cannot move it. */
function planOf(whole: Piece, copy: readonly Piece[], inverted: boolean, unit: number): FieldPlan | undefined {
  const main = { ...whole, width: Math.min(whole.width, WIDTH - whole.at) };
  const from = maskOf([main]);
  const second = copy.length > 0 ? maskOf([{ ...copy[0], width: main.width }]) : { lo: 0, hi: 0 };
  const up = main.low - main.at;
  // Pages of 256 TiB (Sv57) begin above what the fast way moves.
  if (up < 1 || main.width < 1) return undefined;
  const high = up >= 32;
  const all = 2 ** (main.at + main.width) - 2 ** main.at;
  return {
    mask: { lo: (from.lo | second.lo) >>> 0, hi: (from.hi | second.hi) >>> 0 },
    from,
    downLo: high ? 0 : up,
    downHi: high ? up - 32 : 0,
    upHi: high ? 1 : (1 << (32 - up)) | 0,
    flip: inverted ? all : 0,
    toLo: copy.length > 0 ? 1 << copy[0].low : high ? 0 : 1 << up,
    splitHi: high ? 0 : 32 - up,
    toHi: high ? 1 << (up - 32) : 1,
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
