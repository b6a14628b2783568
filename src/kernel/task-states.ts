/**
 * All that tasks of the step program were in, each state once: a task's stack, its object in the heap, its results. A state is a number then, and a task that
 * steps is one number for another.
 *
 * Invariants: two states have the same number when they have the same content, number for number; numbers are given in the order in which states are met.
 */
import { grown } from '../memory/grown.ts';
import { heap, SLOT_TOP } from '../memory/state.ts';
import { operations } from './op.ts';
import { downRead, spinLock } from './ops.ts';
import { TASK_DONE, Task, type TaskRef } from './task.ts';
import { beginLanes, laneHigh, laneLow, mixAll, mixLanes } from './task-hash.ts';

/** Of a task's object what changes, but for the locks that it holds. */
const FROM = Task.state;
const TO = Task.heldCount + 1;

/** What a task waits for: the slot of the heap that must be 0, or what its operation asks for. Slot 0 always is, so that who waits for his turn waits there; the heap's end never is. */
export const WAITS_TURN = 0;
export const WAITS_DONE = SLOT_TOP;
export const WAITS_CONDITION = -1;

function waitsOf(task: TaskRef): number {
  if (heap[task + Task.state] === TASK_DONE) return WAITS_DONE;
  const code = heap[task + Task.code];
  if ((code === spinLock.code && heap[task + Task.a] > 0) || code === downRead.code) return heap[task + Task.a];
  return operations[code].enabled === undefined ? WAITS_TURN : WAITS_CONDITION;
}

/** Trees that are kept by state. */
export const ASKED = 4;

export class TaskStates {
  /** Contents, one after the other: number of the task, stack, object, locks, results. */
  #doubles = new Float64Array(1 << 12);
  #top = 0;
  /** States that there are. */
  count = 0;
  /** By number of a state: where its content begins and ends, doubles of its stack. */
  #first = new Int32Array(1 << 9);
  #stack = new Int32Array(1 << 9);
  /** Hash of all of it, and of the object alone (task-hash.ts); calls that have returned. */
  low = new Int32Array(1 << 9);
  high = new Int32Array(1 << 9);
  objectLow = new Int32Array(1 << 9);
  objectHigh = new Int32Array(1 << 9);
  calls = new Int32Array(1 << 9);
  /** What it waits for. */
  waits = new Int32Array(1 << 9);
  /** For known-steps.ts: trees of steps that were asked lately from there, ASKED places of four words: where (the key of the first level), the tree, nothing. */
  asked = new Int32Array((4 * ASKED) << 9);
  /** 1 + the state that the last step from there led to. */
  #next = new Int32Array(1 << 9);
  /** Hash table: 1 + number of a state. */
  #index = new Int32Array(1 << 10);
  #hashes = new Int32Array(1 << 9);

  /** Doubles of all contents. */
  get size(): number {
    return this.#top;
  }

  /** The number of the state that a task is in, whose stack is [base, end), and which was in the state `before` (−1: not known) when it began its step. */
  of(number: number, task: TaskRef, stack: Float64Array, base: number, end: number, results: readonly number[], before: number): number {
    // Steps from a state nearly always lead to the same.
    const guess = before < 0 ? -1 : this.#next[before] - 1;
    if (guess >= 0 && this.#isAt(guess, task, stack, base, end, results)) return guess;
    const state = this.#look(number, task, stack, base, end, results);
    if (before >= 0) this.#next[before] = state + 1;
    return state;
  }

  /** Whether a task that has had states before is in this one of its own. */
  #isAt(state: number, task: TaskRef, stack: Float64Array, base: number, end: number, results: readonly number[]): boolean {
    const length = end - base;
    const held = heap[task + Task.heldCount];
    if (this.#stack[state] !== length || this.calls[state] !== results.length) return false;
    let at = this.#first[state] + 1;
    if (this.#first[state + 1] - at !== length + results.length + (TO - FROM) + 2 * held) return false;
    const doubles = this.#doubles;
    for (let i = 0; i < length; i++) if (doubles[at + i] !== stack[base + i]) return false;
    at += length;
    for (let i = 0; i < results.length; i++) if (doubles[at++] !== results[i]) return false;
    for (let i = task + FROM; i < task + TO; i++) if (doubles[at++] !== heap[i]) return false;
    for (let i = 0; i < held; i++) if (doubles[at++] !== heap[task + Task.held + i] || doubles[at++] !== heap[task + Task.modes + i]) return false;
    return true;
  }

  #look(number: number, task: TaskRef, stack: Float64Array, base: number, end: number, results: readonly number[]): number {
    const held = heap[task + Task.heldCount];
    const need = 1 + (end - base) + (TO - FROM) + 2 * held + results.length;
    if (this.#top + need > this.#doubles.length) this.#grow(need);
    const doubles = this.#doubles;
    const begin = this.#top;
    let top = begin;
    doubles[top++] = number;
    beginLanes(number);
    mixAll(stack, base, end);
    for (let i = base; i < end; i++) doubles[top++] = stack[i];
    for (let i = 0; i < results.length; i++) {
      doubles[top++] = results[i];
      mixLanes(results[i]);
    }
    const low = laneLow;
    const high = laneHigh;
    const object = top;
    for (let i = task + FROM; i < task + TO; i++) doubles[top++] = heap[i];
    for (let i = 0; i < held; i++) {
      doubles[top++] = heap[task + Task.held + i];
      doubles[top++] = heap[task + Task.modes + i];
    }
    beginLanes(number);
    mixAll(doubles, object, top);
    return this.#find(begin, top, (low + laneLow) | 0, (high + laneHigh) | 0, laneLow, laneHigh, end - base, results.length, waitsOf(task));
  }

  #find(begin: number, end: number, low: number, high: number, objectLow: number, objectHigh: number, stack: number, calls: number, waits: number): number {
    const hash = low ^ Math.imul(high, 0x85ebca6b);
    const mask = this.#index.length - 1;
    let at = (hash ^ (hash >>> 15)) & mask;
    for (; this.#index[at] !== 0; at = (at + 1) & mask) {
      const state = this.#index[at] - 1;
      if (this.#hashes[state] === hash && this.#same(state, begin, end, stack)) return state;
    }
    const state = this.count++;
    this.#index[at] = state + 1;
    this.#hashes[state] = hash;
    this.#first[state] = begin;
    this.#first[state + 1] = end;
    this.#top = end;
    this.#stack[state] = stack;
    this.low[state] = low;
    this.high[state] = high;
    this.objectLow[state] = objectLow;
    this.objectHigh[state] = objectHigh;
    this.calls[state] = calls;
    this.waits[state] = waits;
    if (this.count + 2 > this.low.length) this.#growStates();
    return state;
  }

  #same(state: number, begin: number, end: number, stack: number): boolean {
    const first = this.#first[state];
    if (this.#first[state + 1] - first !== end - begin || this.#stack[state] !== stack) return false;
    const doubles = this.#doubles;
    for (let i = end - begin - 1; i >= 0; i--) if (doubles[first + i] !== doubles[begin + i]) return false;
    return true;
  }

  /** Writes the stack of a state to [base, …), zeroes what is behind it up to `to`, and returns where it ends. */
  writeStack(state: number, stack: Float64Array, base: number, to: number): number {
    const doubles = this.#doubles;
    const from = this.#first[state] + 1;
    const length = this.#stack[state];
    for (let i = 0; i < length; i++) stack[base + i] = doubles[from + i];
    for (let i = base + length; i < to; i++) stack[i] = 0;
    return base + length;
  }

  /** Makes a task's object what it is in a state, beside the journal and the hash. What is behind the locks that it holds is zero. */
  writeObject(state: number, task: TaskRef): void {
    const doubles = this.#doubles;
    let at = this.#first[state] + 1 + this.#stack[state] + this.calls[state];
    const before = heap[task + Task.heldCount];
    for (let i = task + FROM; i < task + TO; i++) heap[i] = doubles[at++];
    const held = heap[task + Task.heldCount];
    for (let i = 0; i < held; i++) {
      heap[task + Task.held + i] = doubles[at++];
      heap[task + Task.modes + i] = doubles[at++];
    }
    for (let i = held; i < before; i++) {
      heap[task + Task.held + i] = 0;
      heap[task + Task.modes + i] = 0;
    }
  }

  /** The result of the last call that has returned. */
  lastResult(state: number): number {
    return this.#doubles[this.#first[state] + this.#stack[state] + this.calls[state]];
  }

  /** Takes a state over from others: its number here. */
  take(others: TaskStates, state: number): number {
    const from = others.#first[state];
    const length = others.#first[state + 1] - from;
    if (this.#top + length > this.#doubles.length) this.#grow(length);
    for (let i = 0; i < length; i++) this.#doubles[this.#top + i] = others.#doubles[from + i];
    const { low, high, objectLow, objectHigh, calls, waits } = others;
    return this.#find(
      this.#top,
      this.#top + length,
      low[state],
      high[state],
      objectLow[state],
      objectHigh[state],
      others.#stack[state],
      calls[state],
      waits[state],
    );
  }

  #grow(need: number): void {
    const larger = new Float64Array(2 * (this.#doubles.length + need));
    larger.set(this.#doubles);
    this.#doubles = larger;
  }

  #growStates(): void {
    this.#first = grown(this.#first);
    this.#stack = grown(this.#stack);
    this.low = grown(this.low);
    this.high = grown(this.high);
    this.calls = grown(this.calls);
    this.waits = grown(this.waits);
    this.asked = grown(this.asked);
    this.objectLow = grown(this.objectLow);
    this.objectHigh = grown(this.objectHigh);
    this.#hashes = grown(this.#hashes);
    this.#next = grown(this.#next);
    const index = new Int32Array(2 * this.#index.length);
    const mask = index.length - 1;
    for (let state = 0; state < this.count; state++) {
      const hash = this.#hashes[state];
      let at = (hash ^ (hash >>> 15)) & mask;
      while (index[at] !== 0) at = (at + 1) & mask;
      index[at] = state + 1;
    }
    this.#index = index;
  }
}
