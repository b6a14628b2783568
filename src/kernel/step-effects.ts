/**
 * What steps write and where they lead their tasks, each such effect once (known-steps.ts): tens of thousands of steps have some hundred effects.
 *
 * Invariants: effects are equal when they write the same values over the same values and lead their task from the same state to the same; so what they do to hashes is
 * equal. What a task's object holds is no write: it is part of the state. Numbers are given in the order in which effects are met. Of a word there is one write, of another value than it held.
 */
import { grown } from '../memory/grown.ts';
import { writeAgain } from '../memory/state.ts';

/** Numbers of a write: array, index, old value, value. */
const WRITE = 4;

/** Numbers of a row: the states of the task behind it and before it; */
export const AFTER = 0;
export const FROM = 1;
/** what it does to the sums of the hashes of tasks; whether a call has returned, or its task is done; whether its task waits for its turn alone before it and not behind, or the other way; */
export const TASKS_LOW = 2;
export const TASKS_HIGH = 3;
export const RETURNS = 4;
export const TURNS = 5;
/** where its writes begin and end; lanes behind which it does nothing; */
const FIRST = 6;
const END = 7;
const LANES = 8;
/** what it does to the hash of memory, and, from there on, to the lanes. */
export const LOW = 9;
export const HIGH = 10;
const SHIFTS = 11;

export class Effects {
  readonly #lanes: number;
  /** Numbers of a row. */
  readonly width: number;
  count = 0;
  /** By effect, one row after the other: an array is asked for once, and all of a row lies together. */
  rows: Int32Array<ArrayBuffer>;
  #room = 1 << 8;
  #writes = new Float64Array(1 << 12);
  /** Where the writes of all effects end, and those that are being told. */
  #begin = 0;
  #top = 0;
  /** Hash table: 1 + number of an effect. */
  #index = new Int32Array(1 << 9);
  #hashes = new Int32Array(1 << 8);

  constructor(lanes: number) {
    this.#lanes = lanes;
    this.width = SHIFTS + lanes;
    this.rows = new Int32Array(this.width * this.#room);
  }

  /** Numbers of all writes. */
  get size(): number {
    return this.#begin;
  }

  /** Writes are told from now on. */
  begin(): void {
    this.#top = this.#begin;
  }

  /** A word held `old` and now holds `value`; of a word that is told twice the first old value counts. */
  tell(array: number, index: number, old: number, value: number): void {
    const begin = this.#begin;
    const top = this.#top;
    if (top + WRITE > this.#writes.length) this.#growWrites(WRITE);
    const writes = this.#writes;
    for (let i = begin; i < top; i += WRITE) if (writes[i + 1] === index && writes[i] === array) return;
    writes[top] = array;
    writes[top + 1] = index;
    writes[top + 2] = old;
    writes[top + 3] = value;
    this.#top = top + WRITE;
  }

  /** All have been told. Words that are as they were had to be there: a word that was written twice was something else in between. */
  end(): void {
    const begin = this.#begin;
    const writes = this.#writes;
    let top = this.#top;
    for (let i = top - WRITE; i >= begin; i -= WRITE) {
      if (writes[i + 2] !== writes[i + 3]) continue;
      top -= WRITE;
      for (let k = 0; k < WRITE; k++) writes[i + k] = writes[top + k];
    }
    this.#top = top;
  }

  /** The number of the effect whose writes have been told. `low`, `high`: what it does to the hash of memory; lanes before and behind it. */
  keep(from: number, after: number, low: number, high: number, before: Int32Array, behind: Int32Array): number {
    const effect = this.#find(from, after);
    if (effect !== this.count) return effect;
    const row = this.width * effect;
    this.rows[row + LOW] = low;
    this.rows[row + HIGH] = high;
    for (let lane = 0; lane < this.#lanes; lane++) this.rows[row + SHIFTS + lane] = before[lane] ^ behind[lane];
    this.#added();
    return effect;
  }

  /** Takes an effect over from others, with the state that it leads to here: its number here. */
  take(others: Effects, other: number, from: number, after: number): number {
    const there = this.width * other;
    const first = others.rows[there + FIRST];
    const length = others.rows[there + END] - first;
    this.begin();
    if (this.#top + length > this.#writes.length) this.#growWrites(length);
    for (let i = 0; i < length; i++) this.#writes[this.#top + i] = others.#writes[first + i];
    this.#top += length;
    const effect = this.#find(from, after);
    if (effect !== this.count) return effect;
    for (let i = TASKS_LOW; i <= TURNS; i++) this.rows[this.width * effect + i] = others.rows[there + i];
    for (let i = LOW; i < this.width; i++) this.rows[this.width * effect + i] = others.rows[there + i];
    this.#added();
    return effect;
  }

  /** The effect with the writes that were told; `count`, when it is new. */
  #find(from: number, after: number): number {
    const begin = this.#begin;
    const length = this.#top - begin;
    const { rows } = this;
    const writes = this.#writes;
    let hash = Math.imul(after + 1, 0x85ebca6b) ^ Math.imul(from, 0x632be5ab);
    for (let i = begin; i < this.#top; i++) hash = Math.imul(hash ^ (writes[i] | 0), 0x9e3779b1) ^ (hash >>> 15);
    const ends = this.#index.length - 1;
    let at = (hash ^ (hash >>> 15)) & ends;
    for (; this.#index[at] !== 0; at = (at + 1) & ends) {
      const effect = this.#index[at] - 1;
      const row = this.width * effect;
      const first = rows[row + FIRST];
      if (this.#hashes[effect] !== hash || rows[row + AFTER] !== after || rows[row + FROM] !== from || rows[row + END] - first !== length) continue;
      let i = 0;
      while (i < length && writes[first + i] === writes[begin + i]) i++;
      if (i === length) return effect;
    }
    this.#index[at] = this.count + 1;
    this.#hashes[this.count] = hash;
    rows[this.width * this.count + AFTER] = after;
    rows[this.width * this.count + FROM] = from;
    return this.count;
  }

  /** One more is there. */
  #added(): void {
    const row = this.width * this.count++;
    let lanes = this.#lanes;
    while (lanes > 0 && this.rows[row + SHIFTS + lanes - 1] === 0) lanes--;
    this.rows[row + LANES] = lanes;
    this.rows[row + FIRST] = this.#begin;
    this.rows[row + END] = this.#top;
    this.#begin = this.#top;
    if (this.count === this.#room) this.#grow();
  }

  /** Writes an effect's words (3), or what they held before (2). */
  write(effect: number, which: 2 | 3): void {
    const { rows } = this;
    const row = this.width * effect;
    writeAgain(this.#writes, rows[row + FIRST], rows[row + END], which, rows, row + LOW, rows[row + LANES]);
  }

  /** Words that an effect writes, for who checks it. */
  writesOf(effect: number): { readonly array: number; readonly index: number }[] {
    const found = [];
    const row = this.width * effect;
    for (let i = this.rows[row + FIRST]; i < this.rows[row + END]; i += WRITE) found.push({ array: this.#writes[i], index: this.#writes[i + 1] });
    return found;
  }

  #growWrites(need: number): void {
    while (this.#top + need > this.#writes.length) this.#writes = grown(this.#writes);
  }

  #grow(): void {
    this.rows = grown(this.rows);
    this.#room *= 2;
    this.#hashes = grown(this.#hashes);
    const index = new Int32Array(2 * this.#index.length);
    const ends = index.length - 1;
    for (let effect = 0; effect < this.count; effect++) {
      const hash = this.#hashes[effect];
      let at = (hash ^ (hash >>> 15)) & ends;
      while (index[at] !== 0) at = (at + 1) & ends;
      index[at] = effect + 1;
    }
    this.#index = index;
  }
}
