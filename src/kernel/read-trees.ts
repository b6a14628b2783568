/**
 * Which step it is, by the words that it reads: trees of questions. A node asks whether a slot of the heap holds a value, and leads one way or the other;
 * leaves are numbers. Code that has read the same so far reads the same slot next, so that one way leads down for each run of the code: the nodes that ask for
 * one slot are a chain, each for another value.
 *
 * Invariants: nodes are numbers, 0 is none and a leaf that says UNKNOWN. A chain with more values than are worth asking for, or before which runs have asked for
 * different slots, becomes a leaf that says UNTOLD: words alone do not tell the step.
 */
import { grown } from '../memory/grown.ts';
import { heap } from '../memory/state.ts';

/** Leaves: nobody came this way yet; what is read does not tell. */
export const UNKNOWN = -2;
export const UNTOLD = -1;

/** In place of a slot: how many tasks are not done. */
export const ALIVE = -1;

/** Values of one word that are asked for. */
const MOST_VALUES = 24;

/** Words of a node: the slot that it asks for, 0 of a leaf; where it leads to when that holds its value, or the leaf's number; where else. */
const SHIFT = 2;
const NODE = 1 << SHIFT;
const YES = 1;
const NO = 2;

export class ReadTrees {
  /** Where the next node comes. Nodes are places in this array. */
  #top = NODE;
  #nodes = new Int32Array(NODE << 8);
  /** By node >> SHIFT. */
  #values = new Float64Array(1 << 8);

  constructor() {
    this.#nodes[YES] = UNKNOWN;
  }

  /** Numbers that are kept. */
  get size(): number {
    return this.#top;
  }

  /** The leaf to which what memory holds leads from a node, with so many tasks that are not done. */
  find(root: number, alive: number): number {
    const nodes = this.#nodes;
    const values = this.#values;
    let node = root;
    for (let slot = nodes[node]; slot !== 0; slot = nodes[node]) {
      const value = slot === ALIVE ? alive : heap[slot];
      node = nodes[node + (values[node >> SHIFT] === value ? YES : NO)];
    }
    return nodes[node + YES];
  }

  /** A way of `count` questions and answers to a leaf, from a node on, 0 for a new one: the node. */
  add(root: number, slots: Int32Array, values: Float64Array, count: number, leaf: number): number {
    if (root === 0) return this.#way(slots, values, 0, count, leaf);
    let node = root;
    for (let i = 0; i < count; i++) {
      if (this.#nodes[node] !== slots[i]) break;
      const chain = node;
      let asked = 1;
      while (this.#values[node >> SHIFT] !== values[i] && this.#nodes[node + NO] !== 0) {
        node = this.#nodes[node + NO];
        asked++;
      }
      if (this.#values[node >> SHIFT] === values[i]) {
        node = this.#nodes[node + YES];
        continue;
      }
      if (asked < MOST_VALUES) {
        const to = this.#way(slots, values, i + 1, count, leaf);
        const next = this.#node(slots[i], values[i], to, this.#nodes[chain + NO]);
        this.#nodes[chain + NO] = next;
        return root;
      }
      node = chain;
      break;
    }
    // Who came before asked for something else, or for too much.
    this.#nodes[node] = 0;
    this.#nodes[node + YES] = UNTOLD;
    return root;
  }

  #way(slots: Int32Array, values: Float64Array, from: number, count: number, leaf: number): number {
    let node = this.#node(0, 0, leaf, 0);
    for (let i = count - 1; i >= from; i--) node = this.#node(slots[i], values[i], node, 0);
    return node;
  }

  #node(slot: number, value: number, yes: number, no: number): number {
    const node = this.#top;
    if (node === this.#nodes.length) {
      this.#nodes = grown(this.#nodes);
      this.#values = grown(this.#values);
    }
    this.#nodes[node] = slot;
    this.#nodes[node + YES] = yes;
    this.#nodes[node + NO] = no;
    this.#values[node >> SHIFT] = value;
    this.#top = node + NODE;
    return node;
  }
}
