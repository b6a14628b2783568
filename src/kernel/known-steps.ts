/**
 * Steps that were taken before: what they wrote and where they led, so that they are taken again without running their code.
 *
 * What a step does follows from what it can read: all that its task is (task-states.ts), and the memory of the machine. Of that memory it is told apart what
 * the objects of other tasks hold, and what CPUs hold (their translations): nearly no step looks there, and those who do say so (`looked`). So a step is
 * known again by its task's state and by the hash of the rest, else by the hash with the CPUs', else by that of all of it. Objects of which everybody tells
 * what he reads of them (struct.ts: `told`) are apart as well: a step is known by the values that it reads there (read-trees.ts). Hardware of one CPU reads that CPU, RAM, and
 * which pages are tables. Where those are equal the code would read the same, go the same way, write the same words, announce the same operation and break
 * no rule: steps that broke one are not kept.
 *
 * While a search runs tasks are numbers of states. Their stacks and objects are written back where code is to run, or to be looked at (`settle`).
 *
 * Invariants: states in which memory has the same hash (memory/state.ts) are taken for one, as the search itself does. A step that is taken again is no entry of the
 * journal: it is taken back by the log, in turns with the journal's parts. Steps that write the same words and lead to the same state of their task are one *effect*,
 * kept once: there are few. What is kept is bounded: when it is too much, all but what the way there stands on is forgotten.
 */
import { grown } from '../memory/grown.ts';
import {
  ARRAY,
  hashApart,
  heap,
  journalMark,
  journalWord,
  keepApart,
  LANE_APART,
  LANE_RAM,
  SLOT_TOP,
  stateHashHigh,
  stateHashLow,
  UNHASHED,
  undoTo,
  wordOf,
} from '../memory/state.ts';
import { stackEnd } from './compile/runtime.ts';
import { ACTOR_BASE, changesNothing, type HardwareOptions, hardwareCpu, SPECULATE_BASE } from './hardware.ts';
import { operations } from './op.ts';
import { ALIVE, ReadTrees, UNTOLD } from './read-trees.ts';
import { type Effect, Effects } from './step-effects.ts';
import { Cpu, type CpuRef, firstCpu, firstTask, looked, TASK_DONE, Task, type TaskRef } from './task.ts';
import { wholeHigh, wholeLow } from './task-hash.ts';
import { ASKED, TaskStates, WAITS_CONDITION, WAITS_DONE, WAITS_TURN } from './task-states.ts';
import { ToldReads } from './told-reads.ts';

/**
 * Levels of what a step is known again by: without CPUs and other tasks (of hardware: its CPU and RAM alone), with CPUs, with all. Before the last one told
 * words are asked for that are read.
 */
const LEVELS = 3;
const LAST = LEVELS - 1;
const SALTS = [0x3c6ef372, 0x1b873593, 0x68e31da4];
/** Lanes of shares of the hash (memory/state.ts): behind RAM's those of CPUs one after the other. Told words are apart ALONE. */
const LANE_CPUS = LANE_RAM + 2;
/** In the table, in place of a step: at this level nothing is known; ask at the next. */
const DEEPER = UNTOLD;
/** In the table, in place of who it is: whether an action of hardware changes nothing, (answer) 1 no, 2 yes. */
const VAIN = -(1 << 24);
/** Words that a step may write; what writes more is rare, and runs. */
const MOST_WRITES = 256;
/** Numbers that may be kept, of states and of writes; steps. */
const MOST_NUMBERS = 1 << 23;
const MOST_STEPS = 1 << 21;
/** Words of an entry of the log: action (−1: nobody's), effect (−1: code has run). */
const LOG = 2;
/** Of code that has run the other log holds what there was before: the task's state, the end of the journal, the hash; then the lanes. */
const CODE = 4;
/** Words of an entry of the table: who, two of the hash, 2 + number of the step; of tasks, before the last level, the root of a tree. */
const ENTRY = 4;

/** What of the scheduler is needed here. */
interface Host {
  readonly stack: Float64Array<ArrayBuffer>;
  readonly results: number[][];
  readonly options: HardwareOptions;
  readonly pgdOf: (mm: number) => number;
}

export class KnownSteps {
  readonly #host: Host;
  readonly #stackSize: number;
  readonly #tasks: TaskRef[] = [];
  /** Slots that hold tasks and CPUs; by slot what it is told apart by (state.ts). */
  readonly #from: number;
  readonly #to: number;
  readonly #parts: Uint8Array<ArrayBuffer>;
  readonly #cpus: CpuRef[] = [];
  readonly #lanes: number;
  /** Whether steps are taken again at all, or tasks' states are kept alone. */
  readonly #again: boolean;
  #states = new TaskStates();
  /** By task: the number of its state; that of the state which its stack holds, −1 when it may hold anything; where what is not zero there ends. */
  readonly #now: Int32Array<ArrayBuffer>;
  readonly #written: Int32Array<ArrayBuffer>;
  /** By task: the state that its object is in. */
  readonly #object: Int32Array<ArrayBuffer>;
  readonly #end: Int32Array<ArrayBuffer>;
  /** Sums of the hashes of what tasks are (task-states.ts). */
  tasksLow = 0;
  tasksHigh = 0;
  /** Tasks that are not done: how many, and as bits; those that wait for their turn alone. */
  #aliveCount = 0;
  #alive = 0;
  #turn = 0;
  /** What `rewind` goes back by. */
  #log = new Int32Array(LOG << 10);
  #logEnd = LOG << 10;
  logTop = 0;
  #codeLog = new Int32Array(1 << 9);
  #codeTop = 0;
  /** Hash table of steps. */
  #table = new Int32Array(ENTRY << 10);
  #entries = 0;
  /** By step: its effect, a number of whoever keeps one there. */
  #steps = 0;
  #effectOf = new Int32Array(1 << 10);
  #notes = new Int32Array(1 << 10);
  #effects: Effects;
  #trees = new ReadTrees();
  readonly #reads: ToldReads;
  /** The step that was looked for: its level, and the hashes then. */
  #level = 0;
  #found = -1;
  #keyLow = 0;
  #keyHigh = 0;
  #beforeLow = 0;
  #beforeHigh = 0;
  readonly #before: Int32Array<ArrayBuffer>;
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
    for (let cpu = firstCpu(); cpu !== 0; cpu = heap[cpu + Cpu.next]) this.#cpus[heap[cpu + Cpu.number]] = cpu;
    this.#lanes = LANE_CPUS + 2 * this.#cpus.length;
    this.#before = new Int32Array(this.#lanes);
    this.#effects = new Effects(this.#lanes);
    this.#parts = new Uint8Array(heap[SLOT_TOP]);
    this.#cpus.forEach((cpu, number) => {
      this.#parts.fill(LANE_CPUS + 2 * number, cpu, cpu + Cpu.$size);
    });
    // Tasks' objects are part of their states.
    for (const task of this.#tasks) this.#parts.fill(UNHASHED, task, task + Task.$size);
    this.#reads = new ToldReads(this.#parts, MOST_WRITES);
    const count = this.#tasks.length;
    this.#now = new Int32Array(count);
    this.#written = new Int32Array(count);
    this.#object = new Int32Array(count);
    this.#end = new Int32Array(count);
  }

  /** A search begins, with the journal. */
  begin(): void {
    this.logTop = 0;
    this.#codeTop = 0;
    this.#last = -1;
    this.tasksLow = 0;
    this.tasksHigh = 0;
    this.#aliveCount = 0;
    this.#alive = 0;
    this.#turn = 0;
    keepApart(this.#parts, this.#lanes);
    looked.from = this.#from;
    looked.to = this.#to;
    for (let number = 0; number < this.#tasks.length; number++) {
      const state = this.#stateOf(number, -1);
      this.#now[number] = state;
      this.#written[number] = state;
      this.#object[number] = state;
      if (this.#states.waits[state] !== WAITS_DONE) this.#setAlive(number, 1);
      if (this.#states.waits[state] === WAITS_TURN) this.#turn |= 1 << number;
      this.#end[number] = (number + 1) * this.#stackSize;
      this.tasksLow = (this.tasksLow + this.#states.low[state]) | 0;
      this.tasksHigh = (this.tasksHigh + this.#states.high[state]) | 0;
    }
  }

  /** It has ended: stacks are what they are again. */
  end(): void {
    this.settle();
    for (let number = 0; number < this.#tasks.length; number++) this.writeBack(number);
    looked.to = 0;
  }

  /** A task is in another state. */
  #become(number: number, state: number): void {
    const { low, high, waits } = this.#states;
    const before = this.#now[number];
    this.tasksLow = (this.tasksLow - low[before] + low[state]) | 0;
    this.tasksHigh = (this.tasksHigh - high[before] + high[state]) | 0;
    this.#now[number] = state;
    if (waits[before] === WAITS_DONE) this.#setAlive(number, 1);
    if (waits[state] === WAITS_DONE) this.#setAlive(number, -1);
    this.#turn = waits[state] === WAITS_TURN ? this.#turn | (1 << number) : this.#turn & ~(1 << number);
  }

  #setAlive(number: number, change: 1 | -1): void {
    this.#aliveCount += change;
    this.#alive ^= 1 << number;
  }

  /** The number of the state that a task's stack holds. */
  #stateOf(number: number, before: number): number {
    const base = number * this.#stackSize;
    const { stack, results } = this.#host;
    return this.#states.of(number, this.#tasks[number], stack, base, stackEnd(base), results[number], before);
  }

  /** Makes a task's stack what it is to be. */
  writeBack(number: number): void {
    const state = this.#now[number];
    if (this.#written[number] === state) return;
    this.#end[number] = this.#states.writeStack(state, this.#host.stack, number * this.#stackSize, this.#end[number]);
    this.#written[number] = state;
  }

  /** Makes the tasks' objects what they are to be. */
  settle(): void {
    for (let number = 0; number < this.#now.length; number++) this.#settleTask(number);
  }

  #settleTask(number: number): void {
    const state = this.#now[number];
    if (this.#object[number] === state) return;
    this.#states.writeObject(state, this.#tasks[number]);
    this.#object[number] = state;
  }

  // --- what may happen ------------------------------------------------------------------------------------------------------

  /** Tasks that may take their next step, as bits. Asked where tasks wait for operations alone. */
  runnable(): number {
    let runnable = this.#turn;
    for (let rest = this.#alive & ~this.#turn; rest !== 0; rest &= rest - 1) {
      const number = 31 - Math.clz32(rest & -rest);
      const wait = this.#states.waits[this.#now[number]];
      if (wait === WAITS_CONDITION ? this.#isFree(this.#tasks[number]) : heap[wait] === 0) runnable |= rest & -rest;
    }
    return runnable;
  }

  /** Conditions may look at all tasks. */
  #isFree(task: TaskRef): boolean {
    this.settle();
    const { enabled } = operations[heap[task + Task.code]];
    return (enabled as NonNullable<typeof enabled>)(heap[task + Task.a], heap[task + Task.b], heap[task + Task.c], heap[task + Task.d]);
  }

  /** Whether all tasks are done. */
  get done(): boolean {
    return this.#alive === 0;
  }

  /** Whether hardware that reads ahead would find nothing new (hardware.ts), which it may have been asked before where it would read the same. */
  changesNothing(action: number): boolean {
    const { options, pgdOf } = this.#host;
    if (action < SPECULATE_BASE) return false;
    if (!this.#again) return changesNothing(action, options, pgdOf);
    this.#setKey(0, action, 0, 0, hashApart);
    const at = this.#place(VAIN - action, this.#keyLow, this.#keyHigh);
    const known = this.#table[at + 3];
    if (known !== 0) return known === 2;
    const answer = changesNothing(action, options, pgdOf);
    this.#enter(VAIN - action, answer ? 2 : 1);
    return answer;
  }

  // --- where known steps lead ----------------------------------------------------------------------------------------------

  /** Hash of the whole state behind a step that is known (`lookAhead`). */
  lowThen = 0;
  highThen = 0;

  /** Tells what the hash is behind a step that was found. */
  lookAhead(step: number): void {
    const effect = this.#effects.at(this.#effectOf[step]);
    this.lowThen = wholeLow(stateHashLow() ^ effect.low, (this.tasksLow + effect.tasksLow) | 0);
    this.highThen = wholeHigh(stateHashHigh() ^ effect.high, (this.tasksHigh + effect.tasksHigh) | 0);
  }

  /** Whether a lock of an object of which everybody tells is held. */
  get isToldLocked(): boolean {
    return this.#reads.isLocked();
  }

  /** Hash of the memory of the machine but for what everybody tells of and what tasks are, its two halves. */
  machineHash(): { low: number; high: number } {
    // What a task's step is known by that has looked at CPUs.
    this.#setKey(1, 0, stateHashLow(), stateHashHigh(), hashApart);
    return { low: this.#keyLow, high: this.#keyHigh };
  }

  // --- steps ----------------------------------------------------------------------------------------------------------------

  /** The step that an action is here, below 0 when it was not taken yet. Small, as what it calls: the engine builds it into who asks. */
  find(action: number): number {
    if (action >= ACTOR_BASE || !this.#again) return this.#again ? this.#findDeeper(action, -action, firstLevel(action)) : (this.#found = -1);
    const state = this.#now[action];
    const found = this.#trees.find(this.#treeOf(state), this.#aliveCount);
    if (found === DEEPER) return this.#findDeeper(action, state, 1);
    this.#level = 0;
    return (this.#found = found);
  }

  /** The same from a level on: the first that knows it. */
  #findDeeper(action: number, who: number, from: number): number {
    let level = from;
    this.#found = -1;
    for (; level < LEVELS; level++) {
      this.#setKey(level, action, stateHashLow(), stateHashHigh(), hashApart);
      const known = this.#table[this.#place(who, this.#keyLow, this.#keyHigh) + 3];
      const step = level === LAST || action >= ACTOR_BASE || known === 0 ? known - 2 : this.#trees.find(known, this.#aliveCount);
      if (step === DEEPER) continue;
      if (step >= 0) this.#found = step;
      break;
    }
    this.#level = level;
    return this.#found;
  }

  /** The tree of the first level from a task's state, 0 when there is none yet. Where nothing else has changed it is one that was asked lately. */
  #treeOf(state: number): number {
    const low = stateHashLow() ^ hashApart[LANE_APART];
    const { asked } = this.#states;
    const at = 4 * (ASKED * state + (low & (ASKED - 1)));
    if (asked[at] === low && asked[at + 1] === (stateHashHigh() ^ hashApart[LANE_APART + 1]) && asked[at + 2] !== 0) return asked[at + 2];
    return this.#lookUpTree(state, low, at);
  }

  #lookUpTree(state: number, low: number, at: number): number {
    const { asked } = this.#states;
    const high = stateHashHigh() ^ hashApart[LANE_APART + 1];
    this.#keyLow = low ^ SALTS[0];
    this.#keyHigh = high;
    asked[at] = low;
    asked[at + 1] = high;
    return (asked[at + 2] = this.#table[this.#place(state, this.#keyLow, this.#keyHigh) + 3]);
  }

  /** What an action is known by at a level, where the hash and the lanes are these. */
  #setKey(level: number, action: number, low: number, high: number, lanes: Int32Array): void {
    if (level === 0 && action >= ACTOR_BASE) {
      const number = hardwareCpu(action);
      const mm = action < SPECULATE_BASE ? 0 : heap[this.#cpus[number] + Cpu.mm];
      const pgd = mm === 0 ? 0 : this.#host.pgdOf(mm);
      low = lanes[LANE_RAM] ^ lanes[LANE_CPUS + 2 * number] ^ Math.imul(pgd, 0x5bd1e995);
      high = lanes[LANE_RAM + 1] ^ lanes[LANE_CPUS + 2 * number + 1];
    } else if (level < LAST) {
      low ^= lanes[LANE_APART];
      high ^= lanes[LANE_APART + 1];
      const end = level === 0 ? LANE_CPUS : this.#lanes;
      for (let lane = LANE_CPUS; lane < end; lane += 2) {
        low ^= lanes[lane];
        high ^= lanes[lane + 1];
      }
    } else {
      const { objectLow, objectHigh } = this.#states;
      for (let number = 0; number < this.#now.length; number++) {
        if (number === action) continue;
        low ^= objectLow[this.#now[number]];
        high ^= objectHigh[this.#now[number]];
      }
    }
    this.#keyLow = low ^ SALTS[level];
    this.#keyHigh = high;
  }

  /** A new entry under the key that was set. */
  #enter(who: number, value: number): void {
    if (this.#entries * 2 * ENTRY > this.#table.length) this.#growTable();
    const at = this.#place(who, this.#keyLow, this.#keyHigh);
    this.#entries++;
    this.#table[at] = who;
    this.#table[at + 1] = this.#keyLow;
    this.#table[at + 2] = this.#keyHigh;
    this.#table[at + 3] = value;
  }

  /** One more way in the tree of the key that was set. */
  #addTo(who: number, answer: number): void {
    const root = this.#table[this.#place(who, this.#keyLow, this.#keyHigh) + 3];
    const now = this.#trees.add(root, this.#reads.slots, this.#reads.values, looked.told ? 0 : this.#reads.count, answer);
    if (root === 0) this.#enter(who, now);
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
    const number = this.#effectOf[step];
    const effect = this.#effects.at(number);
    const top = this.logTop;
    if (top === this.#logEnd) this.#growLog();
    const log = this.#log;
    log[top] = action | 0;
    log[top + 1] = number;
    this.logTop = top + LOG;
    this.#effects.write(number, effect);
    if (action >= ACTOR_BASE) return;
    this.#now[action] = effect.after;
    this.tasksLow = (this.tasksLow + effect.tasksLow) | 0;
    this.tasksHigh = (this.tasksHigh + effect.tasksHigh) | 0;
    this.#turn ^= effect.turns << action;
    if (effect.returns) this.#returned(action, effect.after);
  }

  /** A task is in a state in which one more of its calls has returned. */
  #returned(action: number, after: number): void {
    this.#host.results[action].push(this.#states.lastResult(after));
    if (this.#states.waits[after] === WAITS_DONE) this.#setAlive(action, -1);
  }

  /** Words that a step writes, for who checks it. */
  writesOf(step: number): { readonly array: number; readonly index: number }[] {
    return this.#effects.writesOf(this.#effectOf[step]);
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
    this.settle();
    this.#pushCode(action);
    this.#mark = journalMark();
    this.#beforeLow = stateHashLow();
    this.#beforeHigh = stateHashHigh();
    const before = this.#before;
    for (let lane = 0; lane < before.length; lane++) before[lane] = hashApart[lane];
    looked.cpus = false;
    looked.tasks = false;
    looked.told = false;
    if (action >= ACTOR_BASE) return;
    this.writeBack(action);
    // Until it has ended, its stack may hold anything.
    this.#written[action] = -1;
    this.#end[action] = (action + 1) * this.#stackSize;
    const task = this.#tasks[action];
    const a = heap[task + Task.a];
    if (this.#isApart(a) || this.#isApart(a + heap[task + Task.b])) looked.tasks = true;
    this.#reads.begin(task);
  }

  #isApart(slot: number): boolean {
    return slot >= this.#from && slot < this.#to;
  }

  /** It has been taken. */
  endStep(action: number): void {
    let who = -action;
    let after = 0;
    if (action < ACTOR_BASE) {
      this.#reads.end();
      who = this.#now[action];
      after = this.#stateOf(action, who);
      this.#become(action, after);
      this.#written[action] = after;
      this.#object[action] = after;
      this.#end[action] = stackEnd(action * this.#stackSize);
      // What is noted of the end of a task hangs on whether it is the last (keepNote).
      if (heap[this.#tasks[action] + Task.state] === TASK_DONE) this.#reads.add(ALIVE, this.#aliveCount + 1);
    }
    if (!this.#again) return;
    if (this.#found >= 0) {
      this.#last = this.#found;
      return;
    }
    if (this.#level === LEVELS) return;
    if (this.#states.size + this.#effects.size + this.#trees.size > MOST_NUMBERS || this.#steps === MOST_STEPS) {
      this.#forget();
      return;
    }
    const effects = this.#effects;
    const kept = this.#tellWrites(action);
    const needs = looked.tasks || looked.told ? LAST : looked.cpus ? 1 : 0;
    for (let level = this.#level; level < LEVELS; level++) {
      this.#setKey(level, action, this.#beforeLow, this.#beforeHigh, this.#before);
      const isLast = kept && level >= needs;
      const answer = isLast ? this.#steps : DEEPER;
      if (level === LAST || action >= ACTOR_BASE) this.#enter(who, 2 + answer);
      else this.#addTo(who, answer);
      if (isLast) break;
    }
    if (!kept) return;
    const step = this.#steps++;
    const effect = effects.keep(who, after, stateHashLow() ^ this.#beforeLow, stateHashHigh() ^ this.#beforeHigh, this.#before, hashApart);
    this.#effectOf[step] = effect;
    if (action < ACTOR_BASE) this.#tellTasks(effects.at(effect));
    this.#notes[step] = -1;
    this.#last = step;
    if (this.#steps < this.#notes.length) return;
    this.#effectOf = grown(this.#effectOf);
    this.#notes = grown(this.#notes);
  }

  /** What an effect does to tasks as a whole. */
  #tellTasks(effect: Effect): void {
    const { low, high, calls, waits } = this.#states;
    const { from, after } = effect;
    effect.tasksLow = (low[after] - low[from]) | 0;
    effect.tasksHigh = (high[after] - high[from]) | 0;
    effect.returns = calls[after] > calls[from];
    effect.turns = (waits[after] === WAITS_TURN) === (waits[from] === WAITS_TURN) ? 0 : 1;
  }

  /** What the journal tells of the step: each word that became another once. False when it is not to be kept. */
  #tellWrites(action: number): boolean {
    const end = journalMark();
    if (end - this.#mark > 3 * MOST_WRITES) return false;
    const cpu = firstLevel(action) === 0 && action >= ACTOR_BASE ? this.#cpus[hardwareCpu(action)] : 0;
    // Hardware of one CPU looks at no other.
    if (cpu !== 0) looked.cpus = false;
    const effects = this.#effects;
    const own = action < ACTOR_BASE ? this.#tasks[action] : -Task.$size;
    effects.begin();
    for (let at = this.#mark; at < end; at += 3) {
      const array = journalWord(at);
      const index = journalWord(at + 1);
      // Frames that are backed are more than the words that say so.
      if (array >= ARRAY.groupOf) return false;
      if (array === ARRAY.heap) this.#reads.written(index, journalWord(at + 2));
      // What a task's object holds is part of its state.
      if (array === ARRAY.heap && index >= own && index < own + Task.$size) continue;
      if (array === ARRAY.heap && this.#parts[index] === UNHASHED) throw new Error('a step writes to the object of another task');
      if (cpu !== 0 && array !== ARRAY.words && !(array === ARRAY.heap && index >= cpu && index < cpu + Cpu.$size)) looked.cpus = true;
      effects.tell(array, index, journalWord(at + 2), wordOf(array, index));
    }
    effects.end();
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
    this.settle();
    this.#pushCode(-1);
  }

  #growLog(): void {
    this.#log = grown(this.#log);
    this.#logEnd = this.#log.length;
  }

  #pushCode(action: number): void {
    if (this.logTop === this.#logEnd) this.#growLog();
    this.#log[this.logTop] = action;
    this.#log[this.logTop + 1] = -1;
    this.logTop += LOG;
    const lanes = hashApart;
    const from = this.#codeTop;
    const end = from + CODE + lanes.length;
    while (end > this.#codeLog.length) this.#codeLog = grown(this.#codeLog);
    const log = this.#codeLog;
    log[from] = isTask(action) ? this.#now[action] : 0;
    log[from + 1] = journalMark();
    log[from + 2] = stateHashLow();
    log[from + 3] = stateHashHigh();
    for (let lane = 0; lane < lanes.length; lane++) log[from + CODE + lane] = lanes[lane];
    this.#codeTop = end;
  }

  /** Actions that were taken until the log was so long. */
  actions(until = this.logTop): number[] {
    const taken: number[] = [];
    for (let at = 0; at < until; at += LOG) if (this.#log[at] >= 0) taken.push(this.#log[at]);
    return taken;
  }

  /** Takes memory and tasks back to where they were when the log was so long. */
  rewind(to: number): void {
    const log = this.#log;
    for (let top = this.logTop - LOG; top >= to; top -= LOG) {
      if (log[top + 1] >= 0) this.#takeBack(log[top], log[top + 1]);
      else this.#takeCodeBack(log[top]);
    }
    this.logTop = to;
  }

  /** Takes back what code has done. */
  #takeCodeBack(action: number): void {
    const lanes = hashApart;
    const log = this.#codeLog;
    const from = this.#codeTop - CODE - lanes.length;
    this.#codeTop = from;
    const before = log[from];
    // The journal takes an object back from where the step left it.
    if (isTask(action)) {
      this.#settleTask(action);
      this.#object[action] = before;
    }
    undoTo(log[from + 1], log[from + 2], log[from + 3]);
    for (let lane = 0; lane < lanes.length; lane++) lanes[lane] = log[from + CODE + lane];
    if (!isTask(action)) return;
    this.#become(action, before);
    const results = this.#host.results[action];
    while (results.length > this.#states.calls[before]) results.pop();
  }

  /** Takes an effect back. */
  #takeBack(action: number, number: number): void {
    const effect = this.#effects.at(number);
    this.#effects.takeBack(number, effect);
    if (action >= ACTOR_BASE) return;
    this.#now[action] = effect.from;
    this.tasksLow = (this.tasksLow - effect.tasksLow) | 0;
    this.tasksHigh = (this.tasksHigh - effect.tasksHigh) | 0;
    this.#turn ^= effect.turns << action;
    if (!effect.returns) return;
    this.#host.results[action].pop();
    if (this.#states.waits[effect.after] === WAITS_DONE) this.#setAlive(action, 1);
  }

  /** There is too much: what remains are the states on the way, and what was taken again on it. */
  #forget(): void {
    this.settle();
    const old = this.#states;
    const oldEffects = this.#effects;
    const states = new TaskStates();
    const effects = new Effects(this.#lanes);
    const log = this.#log;
    const codeLog = this.#codeLog;
    for (let at = 0, code = 0; at < this.logTop; at += LOG) {
      const taken = (state: number): number => (isTask(log[at]) ? states.take(old, state) : state);
      const number = log[at + 1];
      if (number < 0) {
        codeLog[code] = taken(codeLog[code]);
        code += CODE + hashApart.length;
        continue;
      }
      const { from, after } = oldEffects.at(number);
      log[at + 1] = effects.take(oldEffects, number, taken(from), taken(after));
    }
    for (let number = 0; number < this.#now.length; number++) {
      this.#now[number] = states.take(old, this.#now[number]);
      this.#object[number] = this.#now[number];
      this.#written[number] = -1;
      this.#end[number] = (number + 1) * this.#stackSize;
    }
    this.#states = states;
    this.#effects = effects;
    this.#trees = new ReadTrees();
    this.#table = new Int32Array(ENTRY << 10);
    this.#entries = 0;
    this.#steps = 0;
  }
}

/** The level at which an action is looked for first: what hardware does on no CPU may read anything. */
const firstLevel = (action: number): number => (action < ACTOR_BASE || hardwareCpu(action) >= 0 ? 0 : 1);

const isTask = (action: number): boolean => action >= 0 && action < ACTOR_BASE;
