/**
 * The states that a search has seen: a hash table of 64-bit hashes, with one word for each state.
 *
 * Invariants: a state is its hash (`missProbability` tells how likely it is that two states share one); entries are never removed. The halves of the hash and the
 * search's words lie in arrays of their own, so that looking for a state which is not there, as most are, reads one array in a row. (0, 0) means empty:
 * the hash (0, 0) is stored as (1, 0). Between a half and three quarters of the table are full once it has grown: no more than 24 bytes a state.
 */

/** Bytes of an entry. */
const ENTRY = 12;
/** Part of the table that may be full before it grows, and by how much it grows: together they leave more than half of it full. */
const FULL = 0.75;
const GROWTH = 1.45;
const FIRST = 1024;

export class Visited {
  #low = new Int32Array(FIRST);
  #high = new Int32Array(FIRST);
  #words = new Int32Array(FIRST);
  size = 0;
  /** States that it may hold before it grows. */
  #most = FULL * FIRST;
  /** Where the last state was put; how often the table has grown, after which states have other places. */
  place = 0;
  moves = 0;
  /** Bytes that the table may take; `full` is set when it would need more. */
  readonly #limit: number;
  full = false;

  constructor(limitBytes = 2 ** 30) {
    this.#limit = limitBytes;
  }

  /** The place of a state, −1 − place where it would go. Valid until the next `add`. */
  find(low: number, high: number): number {
    const lows = this.#low;
    const highs = this.#high;
    if ((low | high) === 0) low = 1;
    let at = home(low, high, lows.length);
    for (;;) {
      const l = lows[at];
      if (l === low && highs[at] === high) return at;
      if (l === 0 && highs[at] === 0) return -1 - at;
      if (++at === lows.length) at = 0;
    }
  }

  /** The search's word of a state that was found at a place. */
  word(at: number): number {
    return this.#words[at];
  }

  setWord(at: number, word: number): void {
    this.#words[at] = word;
  }

  /** A state that `find` did not find, with its word; `at` is what it answered. False when there is no room: it is not kept. */
  add(low: number, high: number, word: number, at = this.find(low, high)): boolean {
    if (this.size >= this.#most) {
      if (!this.#grow()) return false;
      at = this.find(low, high);
    }
    const place = -1 - at;
    this.#low[place] = (low | high) === 0 ? 1 : low;
    this.#high[place] = high;
    this.#words[place] = word;
    this.place = place;
    this.size++;
    return true;
  }

  /** All states, in no order that means anything. */
  forEach(see: (low: number, high: number, word: number, at: number) => void): void {
    const lows = this.#low;
    const highs = this.#high;
    for (let at = 0; at < lows.length; at++) if ((lows[at] | highs[at]) !== 0) see(lows[at], highs[at], this.#words[at], at);
  }

  #grow(): boolean {
    const lows = this.#low;
    const highs = this.#high;
    const words = this.#words;
    const entries = Math.ceil(lows.length * GROWTH);
    // While it grows both are there.
    if ((entries + lows.length) * ENTRY > this.#limit) {
      this.full = true;
      return false;
    }
    this.moves++;
    this.#most = FULL * entries;
    const newLows = new Int32Array(entries);
    const newHighs = new Int32Array(entries);
    const newWords = new Int32Array(entries);
    for (let from = 0; from < lows.length; from++) {
      if ((lows[from] | highs[from]) === 0) continue;
      let at = home(lows[from], highs[from], entries);
      while ((newLows[at] | newHighs[at]) !== 0) at = at + 1 === entries ? 0 : at + 1;
      newLows[at] = lows[from];
      newHighs[at] = highs[from];
      newWords[at] = words[from];
    }
    this.#low = newLows;
    this.#high = newHighs;
    this.#words = newWords;
    return true;
  }

  /** Bytes that the table takes. */
  get bytes(): number {
    return ENTRY * this.#low.length;
  }

  /** Probability that any two of the states seen have the same hash, so that one of them was taken for the other: n² / 2^65. */
  get missProbability(): number {
    return (this.size * this.size) / 2 ** 65;
  }
}

/** Where a state would like to be: its hash as a fraction of the table, which need not have a power of two of entries. */
function home(low: number, high: number, entries: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  return Math.floor(((mixed ^ (mixed >>> 16)) >>> 0) * 2 ** -32 * entries);
}
