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

export class Effects {
  /** Words of what an effect does to hashes: two of memory's, then those of the lanes. */
  readonly #width: number;
  count = 0;
  /** By effect: the state of the task behind it, where its writes begin (one more than there are effects), what it does to hashes. */
  after = new Int32Array(1 << 8);
  /** The state before it. */
  from = new Int32Array(1 << 8);
  /** What it does to the sums of the hashes of tasks; whether a call has returned, or its task is done. */
  tasksLow = new Int32Array(1 << 8);
  tasksHigh = new Int32Array(1 << 8);
  returns = new Uint8Array(1 << 8);
  #first = new Int32Array(1 << 8);
  #shifts: Int32Array<ArrayBuffer>;
  /** Lanes behind which it does nothing. */
  #lanes = new Int32Array(1 << 8);
  #writes = new Float64Array(1 << 12);
  /** Where the writes end that are being told. */
  #top = 0;
  /** Hash table: 1 + number of an effect. */
  #index = new Int32Array(1 << 9);
  #hashes = new Int32Array(1 << 8);

  constructor(lanes: number) {
    this.#width = 2 + lanes;
    this.#shifts = new Int32Array(this.#width << 8);
  }

  /** Numbers of all writes. */
  get size(): number {
    return this.#first[this.count];
  }

  /** Writes are told from now on. */
  begin(): void {
    this.#top = this.#first[this.count];
  }

  /** A word held `old` and now holds `value`; of a word that is told twice the first old value counts. */
  tell(array: number, index: number, old: number, value: number): void {
    const begin = this.#first[this.count];
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
    const begin = this.#first[this.count];
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
    const by = this.#width * effect;
    this.#shifts[by] = low;
    this.#shifts[by + 1] = high;
    for (let lane = 0; lane < this.#width - 2; lane++) this.#shifts[by + 2 + lane] = before[lane] ^ behind[lane];
    this.#added();
    return effect;
  }

  /** Takes an effect over from others, with the state that it leads to here: its number here. */
  take(others: Effects, other: number, from: number, after: number): number {
    const first = others.#first[other];
    const length = others.#first[other + 1] - first;
    this.begin();
    if (this.#top + length > this.#writes.length) this.#growWrites(length);
    for (let i = 0; i < length; i++) this.#writes[this.#top + i] = others.#writes[first + i];
    this.#top += length;
    const effect = this.#find(from, after);
    if (effect !== this.count) return effect;
    for (let i = 0; i < this.#width; i++) this.#shifts[this.#width * effect + i] = others.#shifts[this.#width * other + i];
    this.tasksLow[effect] = others.tasksLow[other];
    this.tasksHigh[effect] = others.tasksHigh[other];
    this.returns[effect] = others.returns[other];
    this.#added();
    return effect;
  }

  /** The effect with the writes that were told; `count`, when it is new. */
  #find(from: number, after: number): number {
    const begin = this.#first[this.count];
    const length = this.#top - begin;
    const writes = this.#writes;
    let hash = Math.imul(after + 1, 0x85ebca6b) ^ Math.imul(from, 0x632be5ab);
    for (let i = begin; i < this.#top; i++) hash = Math.imul(hash ^ (writes[i] | 0), 0x9e3779b1) ^ (hash >>> 15);
    const ends = this.#index.length - 1;
    let at = (hash ^ (hash >>> 15)) & ends;
    for (; this.#index[at] !== 0; at = (at + 1) & ends) {
      const effect = this.#index[at] - 1;
      const first = this.#first[effect];
      if (this.#hashes[effect] !== hash || this.after[effect] !== after || this.from[effect] !== from || this.#first[effect + 1] - first !== length) continue;
      let i = 0;
      while (i < length && writes[first + i] === writes[begin + i]) i++;
      if (i === length) return effect;
    }
    this.#index[at] = this.count + 1;
    this.#hashes[this.count] = hash;
    this.after[this.count] = after;
    this.from[this.count] = from;
    return this.count;
  }

  /** One more is there. */
  #added(): void {
    const by = this.#width * this.count;
    let lanes = this.#width - 2;
    while (lanes > 0 && this.#shifts[by + 1 + lanes] === 0) lanes--;
    this.#lanes[this.count++] = lanes;
    this.#first[this.count] = this.#top;
    if (this.count + 2 > this.after.length) this.#grow();
  }

  /** Writes an effect's words (3), or what they held before (2). */
  write(effect: number, which: 2 | 3): void {
    writeAgain(this.#writes, this.#first[effect], this.#first[effect + 1], which, this.#shifts, this.#width * effect, this.#lanes[effect]);
  }

  /** Words that an effect writes, for who checks it. */
  writesOf(effect: number): { readonly array: number; readonly index: number }[] {
    const found = [];
    for (let i = this.#first[effect]; i < this.#first[effect + 1]; i += WRITE) found.push({ array: this.#writes[i], index: this.#writes[i + 1] });
    return found;
  }

  lowShift(effect: number): number {
    return this.#shifts[this.#width * effect];
  }

  highShift(effect: number): number {
    return this.#shifts[this.#width * effect + 1];
  }

  #growWrites(need: number): void {
    while (this.#top + need > this.#writes.length) this.#writes = grown(this.#writes);
  }

  #grow(): void {
    this.after = grown(this.after);
    this.from = grown(this.from);
    this.tasksLow = grown(this.tasksLow);
    this.tasksHigh = grown(this.tasksHigh);
    this.returns = grown(this.returns);
    this.#first = grown(this.#first);
    this.#hashes = grown(this.#hashes);
    this.#lanes = grown(this.#lanes);
    this.#shifts = grown(this.#shifts);
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
