/**
 * What decoding remembers: the attribute bits of words by hash, in one set for each way in which a word holds its field.
 *
 * Invariants: a word matches at most one pattern of all sets of a level (each stands for one form whatever its field holds); open addressing, nothing
 * is ever removed; an unused slot matches no word.
 */
import type { FieldPlan } from './canonical-fields.ts';

/** Int32 numbers a slot: the attribute bits of both halves, and what is flipped in the value. */
export const INTS = 4;
const FIRST_SIZE = 64;

/** Homes of patterns. */
export const hashOf = (lo: number, hi: number): number => {
  const h = Math.imul(lo ^ (hi >>> 16) ^ (hi << 7), 0x297a2d39);
  return h ^ (h >>> 15);
};

/** Plain fields and typed arrays, since the codec reads them inline. */
export class Patterns {
  /** Attribute bits. */
  readonly keyLo: number;
  readonly keyHi: number;
  /** How the value comes out of a word: see `FieldPlan`. */
  readonly fromLo: number;
  readonly downLo: number;
  readonly fromHi: number;
  readonly downHi: number;
  readonly upHi: number;
  /** What one unit of the value adds to an entry. */
  readonly unit: number;
  /** Slots - 1. */
  mask = FIRST_SIZE - 1;
  ints = unused(FIRST_SIZE);
  /** The entry of each slot's words whose value is zero. */
  bases = new Float64Array(FIRST_SIZE);
  #used = new Uint8Array(FIRST_SIZE);
  #count = 0;

  constructor(plan: FieldPlan, unit: number) {
    this.keyLo = ~plan.mask.lo;
    this.keyHi = ~plan.mask.hi;
    this.fromLo = plan.from.lo | 0;
    this.downLo = plan.downLo;
    this.fromHi = plan.from.hi | 0;
    this.downHi = plan.downHi;
    this.upHi = plan.upHi;
    this.unit = unit;
  }

  /** Are words of this plan read so? */
  serves(plan: FieldPlan, unit: number): boolean {
    const same = this.fromLo === (plan.from.lo | 0) && this.fromHi === (plan.from.hi | 0) && this.downLo === plan.downLo && this.downHi === plan.downHi;
    return same && this.upHi === plan.upHi && this.keyLo === ~plan.mask.lo && this.keyHi === ~plan.mask.hi && this.unit === unit;
  }

  /** The entry of a word, or -1 when no pattern fits. */
  entry(lo: number, hi: number): number {
    const { ints, mask } = this;
    const a = lo & this.keyLo;
    const b = hi & this.keyHi;
    for (let i = hashOf(a, b) & mask; this.#used[i] !== 0; i = (i + 1) & mask)
      if (a === ints[i * INTS] && b === ints[i * INTS + 1]) return this.bases[i] + (this.#value(lo, hi) ^ ints[i * INTS + 2]) * this.unit;
    return -1;
  }

  #value(lo: number, hi: number): number {
    return ((lo & this.fromLo) >>> this.downLo) | Math.imul((hi & this.fromHi) >>> this.downHi, this.upHi);
  }

  /** Remembers the attribute bits of a word whose entry is `e`; `flip`: set bits of the value where it is stored inverted. */
  add(lo: number, hi: number, flip: number, e: number): void {
    if (2 * (this.#count + 1) > this.#used.length) this.#grow();
    this.#place(lo & this.keyLo, hi & this.keyHi, flip, e - (this.#value(lo, hi) ^ flip) * this.unit);
  }

  #place(lo: number, hi: number, flip: number, base: number): void {
    let i = hashOf(lo, hi) & this.mask;
    while (this.#used[i] !== 0) i = (i + 1) & this.mask;
    this.#used[i] = 1;
    this.ints[i * INTS] = lo;
    this.ints[i * INTS + 1] = hi;
    this.ints[i * INTS + 2] = flip;
    this.bases[i] = base;
    this.#count++;
  }

  #grow(): void {
    const used = this.#used;
    const { ints, bases } = this;
    const size = used.length * 2;
    this.#used = new Uint8Array(size);
    this.ints = unused(size);
    this.bases = new Float64Array(size);
    this.mask = size - 1;
    this.#count = 0;
    for (let i = 0; i < used.length; i++) if (used[i] !== 0) this.#place(ints[i * INTS], ints[i * INTS + 1], ints[i * INTS + 2], bases[i]);
  }
}

/**
 * Slots that no word matches. Attribute bits of -1 in both halves would be a word without a field, and a set has one; where the field stands in one
 * half alone, that half cannot be -1.
 */
const unused = (size: number): Int32Array => new Int32Array(size * INTS).fill(-1);
