/**
 * The states that a search has seen: a hash table of 64-bit hashes in typed arrays, with one word for each state.
 *
 * Invariants: a state is its hash (`missProbability` tells how likely it is that two states share one); entries are never removed. Slot 0 of a pair
 * being (0, 0) means empty: the hash (0, 0) is stored as (1, 0).
 */

/** Part of the table that may be full before it grows. */
const FULL = 0.7;
/** Bytes of an entry: two words of hash, one of the search's own. */
const ENTRY_BYTES = 12;

export class Visited {
  #low = new Int32Array(1 << 12);
  #high = new Int32Array(1 << 12);
  #word = new Int32Array(1 << 12);
  #mask = (1 << 12) - 1;
  size = 0;
  /** Bytes that the table may take; `full` is set when it would need more. */
  readonly #limit: number;
  full = false;

  constructor(limitBytes = 2 ** 30) {
    this.#limit = limitBytes;
  }

  /** The place of a state, −1 − place where it would go. Valid until the next `add`. */
  find(low: number, high: number): number {
    if ((low | high) === 0) low = 1;
    let at = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    for (;;) {
      const l = this.#low[at];
      const h = this.#high[at];
      if (l === low && h === high) return at;
      if ((l | h) === 0) return -1 - at;
      at = (at + 1) & this.#mask;
    }
  }

  /** The search's word of a state that was found at a place. */
  word(at: number): number {
    return this.#word[at];
  }

  setWord(at: number, word: number): void {
    this.#word[at] = word;
  }

  /** A state that `find` did not find, with its word. False when there is no room: it is not kept. */
  add(low: number, high: number, word: number): boolean {
    if (this.size >= FULL * (this.#mask + 1) && !this.#grow()) return false;
    const at = this.find(low, high);
    const place = -1 - at;
    this.#low[place] = (low | high) === 0 ? 1 : low;
    this.#high[place] = high;
    this.#word[place] = word;
    this.size++;
    return true;
  }

  /** All states, in no order that means anything. */
  forEach(see: (low: number, high: number, word: number, at: number) => void): void {
    for (let at = 0; at <= this.#mask; at++) if ((this.#low[at] | this.#high[at]) !== 0) see(this.#low[at], this.#high[at], this.#word[at], at);
  }

  #grow(): boolean {
    const size = 2 * (this.#mask + 1);
    if (size * ENTRY_BYTES > this.#limit) {
      this.full = true;
      return false;
    }
    const [low, high, word] = [this.#low, this.#high, this.#word];
    this.#low = new Int32Array(size);
    this.#high = new Int32Array(size);
    this.#word = new Int32Array(size);
    this.#mask = size - 1;
    for (let i = 0; i < low.length; i++) {
      if ((low[i] | high[i]) === 0) continue;
      const place = -1 - this.find(low[i], high[i]);
      this.#low[place] = low[i];
      this.#high[place] = high[i];
      this.#word[place] = word[i];
    }
    return true;
  }

  /** Bytes that the table takes. */
  get bytes(): number {
    return ENTRY_BYTES * this.#low.length;
  }

  /** Probability that any two of the states seen have the same hash, so that one of them was taken for the other: n² / 2^65. */
  get missProbability(): number {
    return (this.size * this.size) / 2 ** 65;
  }
}
