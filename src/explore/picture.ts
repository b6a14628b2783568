/**
 * All bytes of a staged scenario at a moment: the machine's memory, the stacks of its tasks, the results of their calls. What differs between two moments is told in
 * words.
 *
 * Invariant: memory that has grown since, and is zero there, is the same memory.
 */
import { arraysOf, heap, mounted } from '../memory/state.ts';
import { fieldName, layouts } from '../memory/struct.ts';
import type { Staged } from './stage.ts';

/** What the arrays of a machine's memory are called, in their order (memory/state.ts). */
const ARRAYS = [
  'heap',
  'RAM',
  ...['flags', 'refcount', 'mapcount', 'pincount', 'mapping', 'index', 'private', 'next', 'prev', 'order'].map((column) => `struct page, ${column}`),
  'groups',
  'groups by frame',
];
/** The first object of a heap: what lies before are heads of lists (memory/state.ts). */
const FIRST_OBJECT = 128;

export class Picture {
  readonly #arrays: readonly (Int32Array | Float64Array)[];
  readonly #stack: Float64Array;
  readonly #results: string;

  /** Of the machine that is mounted. */
  constructor({ scheduler }: Staged) {
    this.#arrays = arraysOf(mounted()).map((array) => array.slice());
    this.#stack = scheduler.stack.slice();
    this.#results = JSON.stringify(scheduler.results);
  }

  /** Where the staged scenario differs from what it was: the first place; undefined when nowhere. */
  difference({ scheduler }: Staged): string | undefined {
    const now = arraysOf(mounted());
    for (const [number, array] of now.entries()) {
      const at = firstDifference(array, this.#arrays[number]);
      if (at >= 0) return `${placeText(number, at)} is ${array[at] ?? 0}, it was ${this.#arrays[number][at] ?? 0}`;
    }
    const at = firstDifference(scheduler.stack, this.#stack);
    if (at >= 0) return `place ${at} of the tasks' stacks is ${scheduler.stack[at]}, it was ${this.#stack[at]}`;
    const results = JSON.stringify(scheduler.results);
    return results === this.#results ? undefined : `the results of calls are ${results}, they were ${this.#results}`;
  }
}

/** The first place at which two arrays differ, −1 for none; the shorter one goes on with zeroes. */
function firstDifference(one: Int32Array | Float64Array, other: Int32Array | Float64Array): number {
  const common = Math.min(one.length, other.length);
  const perValue = one.BYTES_PER_ELEMENT / 4;
  const a = wordsOf(one);
  const b = wordsOf(other);
  for (let i = 0; i < common * perValue; i++) {
    if (a[i] === b[i]) continue;
    // Zero is zero, whatever its sign.
    const at = Math.floor(i / perValue);
    if (one[at] !== other[at]) return at;
  }
  const longer = one.length > other.length ? one : other;
  for (let i = common; i < longer.length; i++) if (longer[i] !== 0) return i;
  return -1;
}

/** An array as words: the engine compares those of one kind faster. */
const wordsOf = ({ buffer, byteOffset, byteLength }: Int32Array | Float64Array): Int32Array => new Int32Array(buffer, byteOffset, byteLength / 4);

function placeText(array: number, at: number): string {
  if (array !== 0) return `${ARRAYS[array]}[${at}]`;
  for (let ref = FIRST_OBJECT; ref <= at; ) {
    const layout = layouts[Math.abs(heap[ref])];
    if (layout === undefined || layout.size === 0) break;
    if (at < ref + layout.size) return at === ref ? `the type of object ${ref}` : `${fieldName(layout.type, at - ref)} of object ${ref}`;
    ref += layout.size;
  }
  return `heap[${at}]`;
}
