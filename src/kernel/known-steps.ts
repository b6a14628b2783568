/**
 * Steps that were taken before: what they wrote and where they led, so that they are taken again without running their code.
 *
 * What a step does follows from what it can read: all that its task is (task-states.ts), and the memory of the machine. Of that memory it is told apart what
 * the objects of other tasks hold, and what CPUs hold (their translations): nearly no step looks there, and those who do say so (`looked`). So a step is
 * known again by its task's state and by the hash of the rest, else by the hash with the CPUs', else by that of all of it. Where those are equal the code would read
 * the same, go the same way, write the same words, announce the same operation and break no rule: steps that broke one are not kept.
 *
 * While a search runs tasks are numbers of states. Their stacks are written back where code is to run.
 *
 * Invariants: states in which memory has the same hash (memory/state.ts) are taken for one, as the search itself does. A step that is taken again leaves in the journal what
 * takes it back. What is kept is bounded: when it is too much, all but the states on the way is forgotten.
 */
import { ARRAY, hashApart, heap, journalMark, journalWord, keepApart, stateHashHigh, stateHashLow, wordOf, writeAgain } from '../memory/state.ts';
import { stackEnd } from './compile/runtime.ts';
import { ACTOR_BASE } from './hardware.ts';
import { Cpu, firstCpu, firstTask, looked, TASK_DONE, Task, type TaskRef } from './task.ts';
import { TaskStates } from './task-states.ts';

/** Levels of what a step is known again by: without CPUs and other tasks, with CPUs, with all. */
const LEVELS = 3;
const SALTS = [0x3c6ef372, 0x1b873593, 0x68e31da4];
/** In the table, in place of a step: at this level nothing is known; ask at the next. */
const DEEPER = -1;
/** Words that a step may write; what writes more is rare, and runs. */
const MOST_WRITES = 256;
/** Numbers that may be kept, of states and of writes. */
const MOST_NUMBERS = 1 << 23;
/** Words of an entry of the log: task, its state before, four lanes. */
const LOG = 6;
/** Words of an entry of the table: who, two of the hash, 2 + number of the step. */
const ENTRY = 4;
/** Words of what a step does to the hashes. */
const SHIFTS = 6;

const grown = (old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
  const larger = new Int32Array(2 * old.length);
  larger.set(old);
  return larger;
};

/** What of the scheduler is needed here. */
interface Host {
  readonly stack: Float64Array<ArrayBuffer>;
  readonly results: number[][];
}

export class KnownSteps {
  readonly #host: Host;
  readonly #stackSize: number;
  readonly #tasks: TaskRef[] = [];
  /** Slots that hold tasks and CPUs. */
  readonly #from: number;
  readonly #to: number;
  readonly #parts: Uint8Array<ArrayBuffer>;
  /** Whether steps are taken again at all, or tasks' states are kept alone. */
  readonly #again: boolean;
  #states = new TaskStates();
  /** By task: the number of its state; that of the state which its stack holds, −1 when it may hold anything; where what is not zero there ends. */
  #now: Int32Array<ArrayBuffer>;
  #written: Int32Array<ArrayBuffer>;
  readonly #end: Int32Array<ArrayBuffer>;
  /** What `rewind` goes back by. */
  #log = new Int32Array(LOG << 10);
  logTop = 0;
  /** Hash table of steps. */
  #table = new Int32Array(ENTRY << 14);
  #entries = 0;
  /** By step: state of the task behind it, where its writes end, what it does to the hashes, a number of whoever keeps one there. */
  #steps = 0;
  #after = new Int32Array(1 << 10);
  #writesEnd = new Int32Array(1 << 10);
  #shifts = new Int32Array(SHIFTS << 10);
  #notes = new Int32Array(1 << 10);
  #writes = new Float64Array(1 << 16);
  #writesTop = 0;
  /** The step that was looked for: its level, and the hashes then. */
  #level = 0;
  #found = -1;
  readonly #before = new Int32Array(SHIFTS);
  readonly #beforeApart = this.#before.subarray(2);
  #mark = 0;
  /** The last step that was kept, −1 when it was not. */
  #last = -1;

  constructor(host: Host, stackSize: number, again: boolean) {
    this.#host = host;
    this.#stackSize = stackSize;
    this.#again = again;
    let from = Number.POSITIVE_INFINITY;
    let to = 0;
    for (let cpu = firstCpu(); cpu !== 0; cpu = heap[cpu + Cpu.next]) {
      from = Math.min(from, cpu);
      to = Math.max(to, cpu + Cpu.$size);
    }
    for (let task = firstTask(); task !== 0; task = heap[task + Task.next]) {
      from = Math.min(from, task);
      to = Math.max(to, task + Task.$size);
      this.#tasks[heap[task + Task.number]] = task;
    }
    this.#from = from;
    this.#to = to;
    this.#parts = new Uint8Array(to - from).fill(4);
    for (let cpu = firstCpu(); cpu !== 0; cpu = heap[cpu + Cpu.next]) this.#parts.fill(0, cpu - from, cpu - from + Cpu.$size);
    for (const task of this.#tasks) this.#parts.fill(2, task - from, task - from + Task.$size);
    const count = this.#tasks.length;
    this.#now = new Int32Array(count);
    this.#written = new Int32Array(count);
    this.#end = new Int32Array(count);
  }

  /** A search begins, with the journal. */
  begin(): void {
    this.logTop = 0;
    this.#last = -1;
    keepApart(this.#from, this.#parts);
    looked.from = this.#from;
    looked.to = this.#to;
    for (let number = 0; number < this.#tasks.length; number++) {
      const state = this.#stateOf(number);
      this.#now[number] = state;
      this.#written[number] = state;
      this.#end[number] = (number + 1) * this.#stackSize;
    }
  }

  /** It has ended: stacks are what they are again. */
  end(): void {
    for (let number = 0; number < this.#tasks.length; number++) this.writeBack(number);
    looked.to = 0;
  }

  /** The number of the state that a task's stack holds. */
  #stateOf(number: number): number {
    const base = number * this.#stackSize;
    const { stack, results } = this.#host;
    return this.#states.of(number, this.#tasks[number], stack, base, stackEnd(base), results[number]);
  }

  /** Makes a task's stack what it is to be. */
  writeBack(number: number): void {
    const state = this.#now[number];
    if (this.#written[number] === state) return;
    this.#end[number] = this.#states.writeStack(state, this.#host.stack, number * this.#stackSize, this.#end[number]);
    this.#written[number] = state;
  }

  // --- hashes of tasks ------------------------------------------------------------------------------------------------------

  /** Sums of the hashes of what tasks are outside of memory (task-hash.ts). */
  tasksLow(): number {
    let sum = 0;
    const { low } = this.#states;
    const now = this.#now;
    for (let number = 0; number < now.length; number++) sum = (sum + low[now[number]]) | 0;
    return sum;
  }

  tasksHigh(): number {
    let sum = 0;
    const { high } = this.#states;
    const now = this.#now;
    for (let number = 0; number < now.length; number++) sum = (sum + high[now[number]]) | 0;
    return sum;
  }

  /** The same, and the hash of memory, behind a step of an action that is known. */
  tasksLowAfter(action: number, step: number): number {
    const { low } = this.#states;
    return action < ACTOR_BASE ? (this.tasksLow() - low[this.#now[action]] + low[this.#after[step]]) | 0 : this.tasksLow();
  }

  tasksHighAfter(action: number, step: number): number {
    const { high } = this.#states;
    return action < ACTOR_BASE ? (this.tasksHigh() - high[this.#now[action]] + high[this.#after[step]]) | 0 : this.tasksHigh();
  }

  lowAfter(step: number): number {
    return stateHashLow() ^ this.#shifts[SHIFTS * step];
  }

  highAfter(step: number): number {
    return stateHashHigh() ^ this.#shifts[SHIFTS * step + 1];
  }

  // --- steps ----------------------------------------------------------------------------------------------------------------

  /** The step that an action is here, −1 when it was not taken yet. */
  find(action: number): number {
    this.#found = -1;
    if (!this.#again) return -1;
    const isTask = action < ACTOR_BASE;
    const who = isTask ? this.#now[action] : -action;
    let level = isTask ? 0 : 1;
    for (; level < LEVELS; level++) {
      const at = this.#place(who, this.#lowAt(level, stateHashLow(), hashApart), this.#highAt(level, stateHashHigh(), hashApart));
      const step = this.#table[at + 3] - 2;
      if (step === DEEPER) continue;
      if (step >= 0) this.#found = step;
      break;
    }
    this.#level = level;
    return this.#found;
  }

  #lowAt(level: number, low: number, apart: Int32Array): number {
    return (level === 0 ? low ^ apart[0] ^ apart[2] : level === 1 ? low ^ apart[2] : low) ^ SALTS[level];
  }

  #highAt(level: number, high: number, apart: Int32Array): number {
    return level === 0 ? high ^ apart[1] ^ apart[3] : level === 1 ? high ^ apart[3] : high;
  }

  /** The place of an entry in the table, or where it would go. */
  #place(who: number, low: number, high: number): number {
    const table = this.#table;
    const mask = table.length - 1;
    let hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1) ^ Math.imul(who, 0x85ebca6b), 0x2c1b3c6d);
    hash ^= hash >>> 16;
    let at = (hash * ENTRY) & mask;
    while (table[at + 3] !== 0 && (table[at] !== who || table[at + 1] !== low || table[at + 2] !== high)) at = (at + ENTRY) & mask;
    return at;
  }

  /** Takes a step again that was found. */
  again(action: number, step: number): void {
    this.#last = step;
    this.#push(action);
    writeAgain(this.#writes, step === 0 ? 0 : this.#writesEnd[step - 1], this.#writesEnd[step], this.#shifts, SHIFTS * step);
    if (action >= ACTOR_BASE) return;
    const before = this.#now[action];
    const after = this.#after[step];
    this.#now[action] = after;
    if (this.#states.calls[after] > this.#states.calls[before]) this.#host.results[action].push(this.#states.lastResult(after));
  }

  /** A number that is kept with a step, −1 for none; with the last one that was taken. */
  noteOf(step: number): number {
    return this.#notes[step];
  }

  keepNote(note: number): void {
    if (this.#last >= 0) this.#notes[this.#last] = note;
  }

  /** A step is about to be taken for which `find` has looked. */
  beginStep(action: number): void {
    this.#last = -1;
    this.#push(action);
    this.#mark = journalMark();
    const before = this.#before;
    before[0] = stateHashLow();
    before[1] = stateHashHigh();
    for (let lane = 0; lane < 4; lane++) before[2 + lane] = hashApart[lane];
    looked.cpus = false;
    looked.tasks = false;
    if (action >= ACTOR_BASE) return;
    this.writeBack(action);
    // Until it has ended, its stack may hold anything.
    this.#written[action] = -1;
    this.#end[action] = (action + 1) * this.#stackSize;
    const task = this.#tasks[action];
    const a = heap[task + Task.a];
    if (this.#isApart(a) || this.#isApart(a + heap[task + Task.b])) looked.tasks = true;
  }

  #isApart(slot: number): boolean {
    return slot >= this.#from && slot < this.#to;
  }

  /** It has been taken. */
  endStep(action: number): void {
    let who = -action;
    let after = 0;
    if (action < ACTOR_BASE) {
      who = this.#now[action];
      after = this.#stateOf(action);
      this.#now[action] = after;
      this.#written[action] = after;
      this.#end[action] = stackEnd(action * this.#stackSize);
      if (heap[this.#tasks[action] + Task.state] === TASK_DONE) looked.tasks = true;
    }
    if (!this.#again) return;
    if (this.#found >= 0) {
      this.#last = this.#found;
      return;
    }
    if (this.#level === LEVELS) return;
    if (this.#states.size + this.#writesTop > MOST_NUMBERS) {
      this.#forget();
      return;
    }
    const needs = looked.tasks ? 2 : looked.cpus ? 1 : 0;
    const kept = this.#keepWrites();
    const before = this.#before;
    for (let level = this.#level; level < LEVELS; level++) {
      const low = this.#lowAt(level, before[0], this.#beforeApart);
      const high = this.#highAt(level, before[1], this.#beforeApart);
      const isLast = kept && level >= needs;
      if (this.#entries * 2 * ENTRY > this.#table.length) this.#growTable();
      const at = this.#place(who, low, high);
      this.#entries++;
      this.#table[at] = who;
      this.#table[at + 1] = low;
      this.#table[at + 2] = high;
      this.#table[at + 3] = 2 + (isLast ? this.#steps : DEEPER);
      if (isLast) break;
    }
    if (!kept) return;
    const step = this.#steps++;
    this.#after[step] = after;
    this.#writesEnd[step] = this.#writesTop;
    this.#notes[step] = -1;
    const by = SHIFTS * step;
    this.#shifts[by] = stateHashLow() ^ before[0];
    this.#shifts[by + 1] = stateHashHigh() ^ before[1];
    for (let lane = 0; lane < 4; lane++) this.#shifts[by + 2 + lane] = hashApart[lane] ^ before[2 + lane];
    this.#last = step;
    if (this.#steps === this.#after.length) {
      this.#after = grown(this.#after);
      this.#writesEnd = grown(this.#writesEnd);
      this.#notes = grown(this.#notes);
      this.#shifts = grown(this.#shifts);
    }
  }

  /** What the journal tells of the step: each word that became another once. False when it is not to be kept. */
  #keepWrites(): boolean {
    const end = journalMark();
    if (end - this.#mark > 3 * MOST_WRITES) return false;
    const begin = this.#writesTop;
    if (begin + 4 * MOST_WRITES > this.#writes.length) {
      const larger = new Float64Array(2 * this.#writes.length);
      larger.set(this.#writes);
      this.#writes = larger;
    }
    const writes = this.#writes;
    let top = begin;
    for (let at = this.#mark; at < end; at += 3) {
      const array = journalWord(at);
      const index = journalWord(at + 1);
      // Frames that are backed are more than the words that say so.
      if (array >= ARRAY.groupOf) return false;
      let i = begin;
      while (i < top && (writes[i + 1] !== index || writes[i] !== array)) i += 4;
      if (i < top) continue;
      writes[top] = array;
      writes[top + 1] = index;
      writes[top + 2] = journalWord(at + 2);
      writes[top + 3] = wordOf(array, index);
      top += 4;
    }
    // Words that are as they were had to be there: a word that was written twice was something else in between.
    for (let i = top - 4; i >= begin; i -= 4) {
      if (writes[i + 2] !== writes[i + 3]) continue;
      top -= 4;
      for (let k = 0; k < 4; k++) writes[i + k] = writes[top + k];
    }
    this.#writesTop = top;
    return true;
  }

  #growTable(): void {
    const old = this.#table;
    this.#table = new Int32Array(2 * old.length);
    for (let at = 0; at < old.length; at += ENTRY) {
      if (old[at + 3] === 0) continue;
      const to = this.#place(old[at], old[at + 1], old[at + 2]);
      this.#table.set(old.subarray(at, at + ENTRY), to);
    }
  }

  // --- back -----------------------------------------------------------------------------------------------------------------

  /** What is written from now on is no step, and goes back with the journal. */
  mark(): void {
    this.#push(ACTOR_BASE);
  }

  #push(action: number): void {
    let top = this.logTop;
    if (top + LOG > this.#log.length) this.#log = grown(this.#log);
    const log = this.#log;
    log[top++] = action < ACTOR_BASE ? action : -1;
    log[top++] = action < ACTOR_BASE ? this.#now[action] : 0;
    log[top++] = hashApart[0];
    log[top++] = hashApart[1];
    log[top++] = hashApart[2];
    log[top++] = hashApart[3];
    this.logTop = top;
  }

  /** Takes tasks back to where they were when the log was so long. */
  rewind(to: number): void {
    const log = this.#log;
    let top = this.logTop;
    while (top > to) {
      top -= LOG;
      const number = log[top];
      if (number >= 0) {
        const state = log[top + 1];
        this.#now[number] = state;
        const results = this.#host.results[number];
        while (results.length > this.#states.calls[state]) results.pop();
      }
    }
    if (top < this.logTop) for (let lane = 0; lane < 4; lane++) hashApart[lane] = log[top + 2 + lane];
    this.logTop = top;
  }

  /** There is too much: what remains are the states on the way. */
  #forget(): void {
    const old = this.#states;
    const states = new TaskStates();
    for (let at = 0; at < this.logTop; at += LOG) if (this.#log[at] >= 0) this.#log[at + 1] = states.take(old, this.#log[at + 1]);
    for (let number = 0; number < this.#now.length; number++) {
      this.#now[number] = states.take(old, this.#now[number]);
      this.#written[number] = -1;
      this.#end[number] = (number + 1) * this.#stackSize;
    }
    this.#states = states;
    this.#table = new Int32Array(ENTRY << 14);
    this.#entries = 0;
    this.#steps = 0;
    this.#writesTop = 0;
    this.#writes = new Float64Array(1 << 16);
  }
}
