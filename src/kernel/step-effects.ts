/**
 * What steps write and where they lead their tasks, each such effect once (known-steps.ts): tens of thousands of steps have some hundred effects.
 *
 * Invariants: effects are equal when they write the same values over the same values and lead their task from the same state to the same; so what they do to hashes is
 * equal. What a task's object holds is no write: it is part of the state. Numbers are given in the order in which effects are met. Of a word there is one write, of another value than it held.
 */
import { grown } from '../memory/grown.ts';
import { ARRAY, heap, LANE_APART, shiftHash, shiftLanes, writeWords } from '../memory/state.ts';

/** Numbers of a write: array, index, old value, value. */
const WRITE = 4;

/** One effect, with what searches ask of it most as fields: an object is looked at once, an array at each access. */
export class Effect {
  /** The states of its task before and behind it. */
  readonly from: number;
  readonly after: number;
  /** What it does to the sums of the hashes of tasks. */
  tasksLow = 0;
  tasksHigh = 0;
  /** Whether a call has returned, or its task is done. */
  returns = false;
  /** 1: its task waits for its turn alone before it and not behind, or the other way; else 0. */
  turns = 0;
  /** What it does to the hash of memory, and to the part of it that is told apart (memory/state.ts: LANE_APART). */
  low = 0;
  high = 0;
  apartLow = 0;
  apartHigh = 0;
  /** Lanes behind which it does nothing, 0 when to none but that. */
  lanes = 0;
  /** Where its writes begin and end. */
  readonly first: number;
  readonly end: number;
  /** Of an effect that writes one word, of the heap: where, what was there, what. Else 0. */
  slot = 0;
  before = 0;
  value = 0;

  constructor(from: number, after: number, first: number, end: number) {
    this.from = from;
    this.after = after;
    this.first = first;
    this.end = end;
  }
}

export class Effects {
  readonly #lanes: number;
  readonly #list: Effect[] = [];
  /** What they do to lanes, one after the other. */
  #shifts: Int32Array<ArrayBuffer>;
  #writes = new Float64Array(1 << 9);
  /** Where the writes of all effects end, and those that are being told. */
  #begin = 0;
  #top = 0;
  /** Hash table: 1 + number of an effect. */
  #index = new Int32Array(1 << 9);
  #hashes = new Int32Array(1 << 8);

  constructor(lanes: number) {
    this.#lanes = lanes;
    this.#shifts = new Int32Array(lanes << 8);
  }

  /** Numbers that are kept. */
  get size(): number {
    return this.#begin + 16 * this.#list.length;
  }

  /** The effect of a number. */
  at(number: number): Effect {
    return this.#list[number];
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
    const number = this.#find(from, after);
    if (number < this.#list.length) return number;
    const effect = this.#add(from, after);
    effect.low = low;
    effect.high = high;
    for (let lane = 0; lane < this.#lanes; lane++) {
      const shift = before[lane] ^ behind[lane];
      this.#shifts[this.#lanes * number + lane] = shift;
      if (shift !== 0 && lane > LANE_APART + 1) effect.lanes = lane + 1;
    }
    effect.apartLow = before[LANE_APART] ^ behind[LANE_APART];
    effect.apartHigh = before[LANE_APART + 1] ^ behind[LANE_APART + 1];
    return number;
  }

  /** Takes an effect over from others, with the states that it leads from and to here: its number here. */
  take(others: Effects, other: number, from: number, after: number): number {
    const { first, end, low, high, apartLow, apartHigh, lanes, tasksLow, tasksHigh, returns, turns } = others.#list[other];
    this.begin();
    while (this.#top + end - first > this.#writes.length) this.#writes = grown(this.#writes);
    for (let i = first; i < end; i++) this.#writes[this.#top++] = others.#writes[i];
    const number = this.#find(from, after);
    if (number < this.#list.length) return number;
    Object.assign(this.#add(from, after), { low, high, apartLow, apartHigh, lanes, tasksLow, tasksHigh, returns, turns });
    for (let lane = 0; lane < this.#lanes; lane++) this.#shifts[this.#lanes * number + lane] = others.#shifts[this.#lanes * other + lane];
    return number;
  }

  /** The number of the effect with the writes that were told; that of the next one, when it is new. */
  #find(from: number, after: number): number {
    const begin = this.#begin;
    const length = this.#top - begin;
    const writes = this.#writes;
    let hash = Math.imul(after + 1, 0x85ebca6b) ^ Math.imul(from, 0x632be5ab);
    for (let i = begin; i < this.#top; i++) hash = Math.imul(hash ^ (writes[i] | 0), 0x9e3779b1) ^ (hash >>> 15);
    const ends = this.#index.length - 1;
    let at = (hash ^ (hash >>> 15)) & ends;
    for (; this.#index[at] !== 0; at = (at + 1) & ends) {
      const number = this.#index[at] - 1;
      const effect = this.#list[number];
      if (this.#hashes[number] !== hash || effect.after !== after || effect.from !== from || effect.end - effect.first !== length) continue;
      let i = 0;
      while (i < length && writes[effect.first + i] === writes[begin + i]) i++;
      if (i === length) return number;
    }
    this.#index[at] = this.#list.length + 1;
    this.#hashes[this.#list.length] = hash;
    return this.#list.length;
  }

  /** A new effect, with the writes that were told. */
  #add(from: number, after: number): Effect {
    const effect = new Effect(from, after, this.#begin, this.#top);
    if (this.#top === this.#begin + WRITE && this.#writes[this.#begin] === ARRAY.heap) {
      effect.slot = this.#writes[this.#begin + 1] | 0;
      effect.before = this.#writes[this.#begin + 2];
      effect.value = this.#writes[this.#begin + 3];
    }
    this.#begin = this.#top;
    this.#list.push(effect);
    if (this.#list.length === this.#hashes.length) this.#grow();
    return effect;
  }

  /** Writes what an effect writes, beside the journal. */
  write(number: number, effect: Effect): void {
    if (effect.slot !== 0) heap[effect.slot] = effect.value;
    else if (effect.end !== effect.first) writeWords(this.#writes, effect.first, effect.end, 3);
    shiftHash(effect.low, effect.high, effect.apartLow, effect.apartHigh);
    if (effect.lanes !== 0) shiftLanes(this.#shifts, this.#lanes * number, effect.lanes);
  }

  /** Takes it back. */
  takeBack(number: number, effect: Effect): void {
    if (effect.slot !== 0) heap[effect.slot] = effect.before;
    else if (effect.end !== effect.first) writeWords(this.#writes, effect.first, effect.end, 2);
    shiftHash(effect.low, effect.high, effect.apartLow, effect.apartHigh);
    if (effect.lanes !== 0) shiftLanes(this.#shifts, this.#lanes * number, effect.lanes);
  }

  /** Words that an effect writes, for who checks it. */
  writesOf(number: number): { readonly array: number; readonly index: number }[] {
    const { first, end } = this.#list[number];
    const found = [];
    for (let i = first; i < end; i += WRITE) found.push({ array: this.#writes[i], index: this.#writes[i + 1] });
    return found;
  }

  #growWrites(need: number): void {
    while (this.#top + need > this.#writes.length) this.#writes = grown(this.#writes);
  }

  #grow(): void {
    this.#hashes = grown(this.#hashes);
    this.#shifts = grown(this.#shifts);
    const index = new Int32Array(2 * this.#index.length);
    const ends = index.length - 1;
    for (let number = 0; number < this.#list.length; number++) {
      const hash = this.#hashes[number];
      let at = (hash ^ (hash >>> 15)) & ends;
      while (index[at] !== 0) at = (at + 1) & ends;
      index[at] = number + 1;
    }
    this.#index = index;
  }
}
