/**
 * Which step it is, by the words that it reads: trees of questions. A node asks for a slot of the heap, its edges are the values that were found there, its
 * leaves are numbers. Code that has read the same so far reads the same slot next, so that one way leads down for each run of the code.
 *
 * Invariants: nodes are numbers, 0 is none. A node with more values than are worth asking for, or before which runs have asked for different slots, answers
 * UNTOLD: words alone do not tell the step.
 */
import { grown } from '../memory/grown.ts';
import { heap } from '../memory/state.ts';

/** Leaves: nobody came this way yet; what is read does not tell. */
export const UNKNOWN = -2;
export const UNTOLD = -1;

/** In place of a slot: how many tasks are not done. */
export const ALIVE = -1;

/** Values of one word that are asked for. */
const MOST_EDGES = 24;

export class ReadTrees {
  #nodes = 1;
  #edges = 1;
  /** By node: the slot it asks for, 0 for a leaf; its first edge, or the leaf's number; how many edges it has. */
  #slot = new Int32Array(1 << 8);
  #first = new Int32Array(1 << 8);
  #count = new Uint8Array(1 << 8);
  /** By edge: value, the node it leads to, the next edge of its node. */
  #value = new Float64Array(1 << 8);
  #to = new Int32Array(1 << 8);
  #next = new Int32Array(1 << 8);

  /** Numbers that are kept. */
  get size(): number {
    return this.#nodes + this.#edges;
  }

  /** The leaf to which what memory holds leads from a node, with so many tasks that are not done. */
  find(root: number, alive: number): number {
    const slots = this.#slot;
    const first = this.#first;
    let node = root;
    for (let slot = slots[node]; slot !== 0; slot = slots[node]) {
      const value = slot === ALIVE ? alive : heap[slot];
      let edge = first[node];
      while (edge !== 0 && this.#value[edge] !== value) edge = this.#next[edge];
      if (edge === 0) return UNKNOWN;
      node = this.#to[edge];
    }
    return first[node];
  }

  /** A way of `count` questions and answers to a leaf, from a node on, 0 for a new one: the node. */
  add(root: number, slots: Int32Array, values: Float64Array, count: number, leaf: number): number {
    if (root === 0) return this.#grow(slots, values, 0, count, leaf);
    let node = root;
    for (let i = 0; i < count; i++) {
      if (this.#slot[node] === 0) break;
      let edge = this.#slot[node] === slots[i] ? this.#first[node] : -1;
      while (edge > 0 && this.#value[edge] !== values[i]) edge = this.#next[edge];
      if (edge > 0) {
        node = this.#to[edge];
        continue;
      }
      if (edge === 0 && this.#count[node] < MOST_EDGES) {
        const to = this.#grow(slots, values, i + 1, count, leaf);
        this.#first[node] = this.#edge(values[i], to, this.#first[node]);
        this.#count[node]++;
        return root;
      }
      break;
    }
    // Who came before asked for something else, or for too much.
    this.#slot[node] = 0;
    this.#first[node] = UNTOLD;
    return root;
  }

  #grow(slots: Int32Array, values: Float64Array, from: number, count: number, leaf: number): number {
    let node = this.#node(0, leaf);
    for (let i = count - 1; i >= from; i--) {
      node = this.#node(slots[i], this.#edge(values[i], node, 0));
      this.#count[node] = 1;
    }
    return node;
  }

  #node(slot: number, first: number): number {
    if (this.#nodes === this.#slot.length) {
      this.#slot = grown(this.#slot);
      this.#first = grown(this.#first);
      this.#count = grown(this.#count);
    }
    this.#slot[this.#nodes] = slot;
    this.#first[this.#nodes] = first;
    this.#count[this.#nodes] = 0;
    return this.#nodes++;
  }

  #edge(value: number, to: number, next: number): number {
    if (this.#edges === this.#to.length) {
      this.#value = grown(this.#value);
      this.#to = grown(this.#to);
      this.#next = grown(this.#next);
    }
    this.#value[this.#edges] = value;
    this.#to[this.#edges] = to;
    this.#next[this.#edges] = next;
    return this.#edges++;
  }
}
