/**
 * The states that a search has seen: a hash table of 64-bit hashes, with one word for each state.
 *
 * Invariants: a state is its hash (`missProbability` tells how likely it is that two states share one); entries are never removed. An entry is three words:
 * the hash's two, and the search's own. A first word of 0 means empty: the hash (0, h) is stored as (1, h). Places are offsets of entries in the array.
 * Between a half and three quarters of the table are full once it has grown: no more than 24 bytes a state.
 */

/** Words of an entry. */
const ENTRY = 3;
/** Part of the table that may be full before it grows, and by how much it grows: together they leave more than half of it full. */
const FULL = 0.75;
const GROWTH = 1.45;
const FIRST = 1024;
/** Entries by state that is expected: what the table would have grown to, on average. */
const ROOM = 1.75;
/** Blocks that the table may be divided into: what a product with 16 bits of a hash has room for. */
const MOST_BLOCKS = 1 << 16;

export class Visited {
  /** The table's entries: so many blocks of a power of two. */
  #blocks: number;
  #shift = 0;
  #table: Int32Array<ArrayBuffer>;
  /** Its length: the engine compares an array's as a double. */
  #end: number;
  size = 0;
  /** States that it may hold before it grows. */
  #most: number;
  /** Where the last state was put; how often the table has grown, after which states have other places. */
  place = 0;
  moves = 0;
  /** Bytes that the table may take; `full` is set when it would need more. */
  readonly #limit: number;
  full = false;

  /** `expected`: states that will come, as far as is known. */
  constructor(limitBytes = 2 ** 30, expected = 0) {
    this.#limit = limitBytes;
    this.#blocks = Math.max(FIRST, Math.min(Math.ceil(expected * ROOM), Math.floor(limitBytes / (4 * ENTRY))));
    for (; this.#blocks >= MOST_BLOCKS; this.#shift++) this.#blocks = this.#blocks >>> 1;
    const entries = this.#blocks * 2 ** this.#shift;
    this.#most = FULL * entries;
    this.#end = ENTRY * entries;
    this.#table = new Int32Array(this.#end);
  }

  /** The place of a state, −1 − place where it would go. Valid until the next `add`. */
  find(low: number, high: number): number {
    const table = this.#table;
    const end = this.#end;
    if (low === 0) low = 1;
    let at = home(low, high, this.#blocks, this.#shift);
    for (;;) {
      const l = table[at];
      if (l === 0) return -1 - at;
      if (l === low && table[at + 1] === high) return at;
      at += ENTRY;
      if (at === end) at = 0;
    }
  }

  /** The search's word of a state that was found at a place. */
  word(at: number): number {
    return this.#table[at + 2];
  }

  setWord(at: number, word: number): void {
    this.#table[at + 2] = word;
  }

  /** A state that `find` did not find, with its word; `at` is what it answered. False when there is no room: it is not kept. */
  add(low: number, high: number, word: number, at = this.find(low, high)): boolean {
    if (this.size >= this.#most) {
      if (!this.#grow()) return false;
      at = this.find(low, high);
    }
    const place = -1 - at;
    const table = this.#table;
    table[place] = low === 0 ? 1 : low;
    table[place + 1] = high;
    table[place + 2] = word;
    this.place = place;
    this.size++;
    return true;
  }

  /** All states, in no order that means anything. */
  forEach(see: (low: number, high: number, word: number, at: number) => void): void {
    const table = this.#table;
    for (let at = 0; at < table.length; at += ENTRY) if (table[at] !== 0) see(table[at], table[at + 1], table[at + 2], at);
  }

  #grow(): boolean {
    let blocks = Math.ceil(this.#blocks * GROWTH);
    let shift = this.#shift;
    for (; blocks >= MOST_BLOCKS; shift++) blocks = Math.ceil(blocks / 2);
    const entries = blocks * 2 ** shift;
    const old = this.#table;
    // While it grows both are there.
    if ((entries * ENTRY + old.length) * 4 > this.#limit) {
      this.full = true;
      return false;
    }
    this.moves++;
    this.#blocks = blocks;
    this.#shift = shift;
    this.#most = FULL * entries;
    const end = ENTRY * entries;
    const table = new Int32Array(end);
    for (let from = 0; from < this.#end; from += ENTRY) {
      const low = old[from];
      const high = old[from + 1];
      if (low === 0) continue;
      let at = home(low, high, blocks, shift);
      while (table[at] !== 0) at = at + ENTRY === end ? 0 : at + ENTRY;
      table[at] = low;
      table[at + 1] = high;
      table[at + 2] = old[from + 2];
    }
    this.#table = table;
    this.#end = end;
    return true;
  }

  /** Bytes that the table takes. */
  get bytes(): number {
    return this.#table.byteLength;
  }

  /** Probability that any two of the states seen have the same hash, so that one of them was taken for the other: n² / 2^65. */
  get missProbability(): number {
    return (this.size * this.size) / 2 ** 65;
  }
}

/** Where a state would like to be: 16 bits of its hash as a fraction of the blocks, the next ones within one. */
function home(low: number, high: number, blocks: number, shift: number): number {
  const mixed = Math.imul(low + high, 0x85ebca6b);
  const block = Math.imul(mixed >>> 16, blocks) >>> 16;
  return Math.imul(ENTRY, (block << shift) | ((mixed & 0xffff) >>> (16 - shift)));
}
