/**
 * What steps touched, and which of them are independent: performed one after the other in either order they lead to the same state and break the same rules.
 *
 * A step's record is made while it is performed: what its operation touches (footprint.ts), what the plain code behind it read (kernel/guards.ts) and all
 * that was written (the journal). Plain code may read what is not seen here: columns of pages, and objects under a lock. Those that lie under locks are no
 * matter, since two steps that can both happen do not hold a lock against each other; so a step that writes columns of pages depends on every task's, and
 * what is read under RCU alone on every plain write.
 *
 * Invariants: a step of which not all is known is WILD, and depends on every other: where a call begins or ends, memory is freed, pages are allocated. Records are
 * numbers: steps that touched the same in the same ways have the same. A record stays true as long as only independent steps are taken.
 */
import { accessLog } from '../kernel/guards.ts';
import { hardwareAction } from '../kernel/hardware.ts';
import * as ops from '../kernel/ops.ts';
import { ACTOR_BASE, type Action, type Scheduler } from '../kernel/scheduler.ts';
import { Cpu, cpuOf, firstCpu, firstTask, KernelState, kernelState, TASK_DONE, Task, type TaskRef } from '../kernel/task.ts';
import { grown } from '../memory/grown.ts';
import { get } from '../memory/heap.ts';
import { PG_LOCKED } from '../memory/page-flags.ts';
import { ARRAY, framesRead, heap, journalMark, journalWord, pageFlags, wordShift } from '../memory/state.ts';
import { Mm, Process } from '../mm/types.ts';
import { ADD, DROP_SHARED, footprint, footprintOfHardware, footprintOfTask, READ, type Surroundings, TAKE_SHARED, TLB } from './footprint.ts';
import type { Staged } from './stage.ts';
import { isHarmless, StoredWords } from './stored.ts';
import { takesAway } from './taken-away.ts';

/** How a place is touched: steps that read go together, and so do those that share. */
const READS = 0;
const SHARES = 1;
const WRITES = 2;
/** By kind of a footprint: what is not told here writes. */
const CLASSES = new Uint8Array(16).fill(WRITES);
CLASSES[READ] = READS;
for (const kind of [ADD, TAKE_SHARED, DROP_SHARED]) CLASSES[kind] = SHARES;

/** What is known of a record as a whole. */
const WILD = 1;
const OF_TASK = 2;
/** It writes columns of pages. */
const COLUMNS = 4;
/** It writes what its operation does not tell of, or the lock of a folio. */
const PLAIN = 8;
/** It depends on all tasks' steps. */
const TASKS = 32;
/** Its task is where others free nothing: what it reads it may read under no lock. */
const READER = 16;

const SPAN = 2 ** 32;
/** What threads have stored (stored.ts). */
const STORED = 64 * SPAN;
/** What a page holds, as a whole: plain code that reads it reads all of it, and those who write its words share it. */
const CONTENT = 67 * SPAN;
/** Tasks of a CPU keep each other off it. */
const RUNS = 65 * SPAN;
/** Tasks that are done. */
const ENDS = 66 * SPAN;

/** Places that a record may have; more is WILD. */
const MOST = 48;

const codes = (...list: readonly { readonly code: number }[]): Uint8Array<ArrayBuffer> => {
  const set = new Uint8Array(256);
  for (const { code } of list) set[code] = 1;
  return set;
};
/** Operations that free, or take what all CPUs share: hardware alone may be known to be apart from them. */
const SHARED_CODES = codes(ops.kfree, ops.freePage, ops.allocPage, ops.callRcuFreeTable);
/** Operations that may free what waited for this reader. */
const LEAVES = codes(ops.rcuReadUnlock, ops.localIrqEnable);
const MAKES = codes(ops.kmalloc, ops.kmallocNowait);
/** A reader's count stands behind the writer. */
const SEM_SHARED = codes(ops.downRead, ops.upRead, ops.downReadTrylock);
const FOLIO_LOCKS = codes(ops.folioLock, ops.folioTrylock, ops.folioUnlock);
const SPIN_LOCKS = codes(ops.spinLock, ops.spinTrylock, ops.spinUnlock);
const USER_CODES = codes(ops.userLoad, ops.userStore);

/** Records of which it is kept which pairs are independent, at first and at most. */
const FEW_PAIRS = 128;
const MOST_PAIRS = 1024;
/** Records that are kept; beyond them all steps are WILD. */
const MOST_RECORDS = 1 << 18;
/** The record of all steps that are WILD. */
const ALL = 0;

const bitOf = (place: number): number => 1 << (Math.imul((place | 0) + Math.imul(place / SPAN, 0x632be5ab), 0x9e3779b1) >>> 27);

export class Steps {
  readonly #scheduler: Scheduler;
  readonly #stored: number;
  readonly #tasks: TaskRef[] = [];
  readonly #where: Surroundings;
  /** Numbers of tasks that share their CPU, as bits. */
  #crowded = 0;
  /** Slots of CPUs. */
  #cpusFrom = Number.POSITIVE_INFINITY;
  #cpusTo = 0;
  #cpus = 0;
  /** Places of all records, and how they are touched. */
  #places = new Float64Array(1 << 9);
  #classes = new Uint8Array(1 << 9);
  /** By record: where its places begin (one record more than there are), what is known of it, and which places it may touch, as bits of a hash. */
  #first = new Int32Array(1 << 10);
  #flags = new Int32Array(1 << 10);
  #masks = new Int32Array(1 << 10);
  #hashes = new Int32Array(1 << 10);
  /** Records that there are. */
  count = 0;
  /** Hash table: 1 + number of a record. */
  #index = new Int32Array(1 << 11);
  /** By pair of records below PAIRS: 1 independent, 2 not. */
  #paired = FEW_PAIRS;
  #pairs = new Uint8Array(FEW_PAIRS * FEW_PAIRS);
  /** Where the record ends that is being made. */
  #top = 0;
  /** Where what plain code touches begins. */
  #told = 0;
  #now = 0;
  #mask = 0;
  #task: TaskRef = 0;
  #code = 0;
  #call = 0;
  #mark = 0;

  constructor({ scheduler, stored }: Pick<Staged, 'scheduler' | 'stored'>) {
    this.#scheduler = scheduler;
    this.#stored = stored.ref;
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) {
      for (const other of this.#tasks)
        if (get(other, Task.cpu) === get(task, Task.cpu)) this.#crowded |= (1 << get(task, Task.number)) | (1 << get(other, Task.number));
      this.#tasks.push(task);
    }
    for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
      this.#cpus++;
      this.#cpusFrom = Math.min(this.#cpusFrom, cpu);
      this.#cpusTo = Math.max(this.#cpusTo, cpu + Cpu.$size);
    }
    this.#where = { crowded: 0, filled: 2 ** this.#cpus - 1, ipis: false };
    this.#flags[ALL] = WILD;
    this.count = 1;
  }

  /** An action is about to be taken: its record begins. */
  begin(action: Action): void {
    const top = this.#first[this.count];
    this.#top = top;
    this.#mask = 0;
    this.#task = 0;
    if (top + 2 * MOST > this.#places.length) this.#grow();
    if (action >= ACTOR_BASE) this.#beginHardware(action);
    else this.#beginTask(this.#tasks[action]);
    this.#told = this.#top;
  }

  #beginHardware(action: Action): void {
    const what = hardwareAction(action, this.#scheduler.options);
    if (what.kind !== 'speculate' && what.kind !== 'evict') {
      this.#now = WILD;
      return;
    }
    this.#now = 0;
    this.#code = 0;
    this.#mark = journalMark();
    footprintOfHardware(what, this.#scheduler.pgdOf, this.#where);
    this.#take();
    this.#touch(ARRAY.heap * SPAN + get(cpuOf(what.cpu), Cpu.mm) + Mm.pgd, READS);
  }

  #beginTask(task: TaskRef): void {
    const code = heap[task + Task.code];
    if (heap[task + Task.phase] !== 0) {
      this.#now = WILD;
      return;
    }
    const frees = SHARED_CODES[code] !== 0 || (LEAVES[code] !== 0 && heap[kernelState() + KernelState.rcu] !== 0);
    this.#now = OF_TASK | readerOf(task) | (frees ? TASKS : 0);
    this.#task = task;
    this.#code = code;
    this.#call = heap[task + Task.call];
    if (((this.#crowded >>> heap[task + Task.number]) & 1) !== 0) this.#touch(RUNS + heap[task + Task.cpu], WRITES);
    const a = heap[task + Task.a];
    // What a new object takes is written, all of it.
    if (code === 0) this.#touchCall(task);
    else if (MAKES[code] === 0) {
      footprintOfTask(task, this.#where);
      this.#take();
    }
    if (SEM_SHARED[code] !== 0) this.#touch(ARRAY.heap * SPAN + a + 1, SHARES);
    else if (code === ops.vmaReadUnlock.code) this.#touch(ARRAY.heap * SPAN + a + heap[task + Task.b], WRITES);
    else if (USER_CODES[code] !== 0) this.#touch(STORED, code === ops.userStore.code ? WRITES : READS);
    // Only a page that is in use may be changed.
    else if (code === ops.setFlags.code || code === ops.clearFlags.code) this.#touch(ARRAY.refcount * SPAN + a, READS);
    accessLog.count = 0;
    accessLog.on = true;
    framesRead.count = 0;
    framesRead.on = true;
    this.#mark = journalMark();
  }

  /** A call begins, or has ended: what is noted and checked then (stage.ts). */
  #touchCall(task: TaskRef): void {
    const { run, args } = this.#scheduler.programOf(heap[task + Task.number])[this.#call];
    if (!isHarmless(run.name)) this.#touch(STORED, SHARES);
    if (!takesAway(run.name)) return;
    for (let cpu = 0; cpu < this.#cpus; cpu++) this.#touch(TLB + cpu, WRITES);
    this.#touch(ARRAY.heap * SPAN + args[0] + Process.mm, READS);
  }

  /** It broke a rule: there is no record. */
  drop(): void {
    accessLog.on = false;
    framesRead.on = false;
  }

  /** The action has been taken: the number of its record. */
  end(): number {
    accessLog.on = false;
    framesRead.on = false;
    if ((this.#now & WILD) === 0) {
      const task = this.#task;
      if (task !== 0) {
        if (accessLog.count > MOST) this.#now |= WILD;
        else for (let i = 0; i < accessLog.count; i++) this.#read(ARRAY.heap * SPAN + accessLog.slots[i]);
        if (framesRead.count > MOST) this.#now |= WILD;
        else for (let i = 0; i < framesRead.count; i++) this.#read(CONTENT + framesRead.pages[i]);
        if (heap[task + Task.call] !== this.#call) this.#touchCall(task);
        // When all tasks are done hardware does nothing any more: who ends when matters.
        if (heap[task + Task.state] === TASK_DONE) {
          this.#touch(ENDS, WRITES);
          if (this.#scheduler.done) this.#now |= WILD;
        }
        this.#now |= readerOf(task);
      }
      this.#written();
    }
    return this.#numberOf(this.#now, this.#mask);
  }

  /** The number of the record that has been made. */
  #numberOf(flags: number, mask: number): number {
    if ((flags & WILD) !== 0 || this.count === MOST_RECORDS) return ALL;
    const record = this.count;
    const from = this.#first[record];
    const length = this.#top - from;
    const places = this.#places;
    const classes = this.#classes;
    let hash = Math.imul(flags, 0x85ebca6b);
    for (let i = from; i < this.#top; i++) hash = Math.imul(hash ^ ((places[i] | 0) + Math.imul(places[i] / SPAN, 0x632be5ab) + classes[i]), 0x9e3779b1);
    const ends = this.#index.length - 1;
    let at = (hash ^ (hash >>> 15)) & ends;
    for (; this.#index[at] !== 0; at = (at + 1) & ends) {
      const other = this.#index[at] - 1;
      const begin = this.#first[other];
      let same = this.#flags[other] === flags && this.#masks[other] === mask && this.#first[other + 1] - begin === length;
      for (let i = 0; same && i < length; i++) same = places[begin + i] === places[from + i] && classes[begin + i] === classes[from + i];
      if (same) return other;
    }
    this.#index[at] = record + 1;
    this.#hashes[record] = hash;
    this.#flags[record] = flags;
    this.#masks[record] = mask;
    this.count = record + 1;
    if (this.count + 2 > this.#first.length) this.#growRecords();
    this.#first[this.count] = this.#top;
    return record;
  }

  /** What the journal tells. */
  #written(): void {
    const end = journalMark();
    if (end - this.#mark > 3 * MOST) {
      this.#now |= WILD;
      return;
    }
    const task = this.#task;
    for (let at = this.#mark; at < end && (this.#now & WILD) === 0; at += 3) {
      const array = journalWord(at);
      const index = journalWord(at + 1);
      if (array === ARRAY.heap) {
        if (index >= task && index < task + Task.$size && task !== 0) continue;
        // Translations, and what threads have stored, are told of as a whole.
        if (index >= this.#stored && index < this.#stored + StoredWords.$size) continue;
        if (index >= this.#cpusFrom && index < this.#cpusTo) {
          this.#writeCpu(index);
          continue;
        }
        this.#write(index);
      } else if (array === ARRAY.flags && FOLIO_LOCKS[this.#code] !== 0 && ((journalWord(at + 2) ^ pageFlags[index]) & ~PG_LOCKED) === 0) this.#now |= PLAIN;
      else {
        this.#touch(array * SPAN + index, WRITES);
        if (array === ARRAY.words) this.#share(CONTENT + (index >> wordShift));
        // Page tables are read by operations, and their locks by nobody else.
        if (array !== ARRAY.words && !(array === ARRAY.private && this.#locks(index))) this.#now |= COLUMNS;
      }
    }
  }

  /** A write to a CPU: to its translations, as far as they are told. */
  #writeCpu(slot: number): void {
    for (let cpu = firstCpu(); cpu !== 0; cpu = heap[cpu + Cpu.next]) {
      const place = TLB + heap[cpu + Cpu.number];
      if (slot >= cpu && slot < cpu + Cpu.$size && !this.#has(place)) this.#touch(place, WRITES);
    }
  }

  /** Whether the operation takes or releases the lock of a page table. */
  #locks(page: number): boolean {
    return SPIN_LOCKS[this.#code] !== 0 && this.#has(ARRAY.private * SPAN + page);
  }

  #has(place: number): boolean {
    if ((this.#mask & bitOf(place)) === 0) return false;
    for (let i = this.#first[this.count]; i < this.#top; i++) if (this.#places[i] === place) return true;
    return false;
  }

  #write(slot: number): void {
    const place = ARRAY.heap * SPAN + slot;
    if ((this.#mask & bitOf(place)) !== 0)
      for (let i = this.#first[this.count]; i < this.#top; i++) {
        if (this.#places[i] !== place) continue;
        if (this.#classes[i] !== SHARES || SEM_SHARED[this.#code] === 0) this.#classes[i] = WRITES;
        if (i >= this.#told) this.#now |= PLAIN;
        return;
      }
    this.#touch(place, WRITES);
    this.#now |= PLAIN;
  }

  /** A place that others write as well, and nobody minds but who reads it. */
  #share(place: number): void {
    if (!this.#has(place)) {
      this.#touch(place, SHARES);
      return;
    }
    for (let i = this.#first[this.count]; i < this.#top; i++) if (this.#places[i] === place && this.#classes[i] === READS) this.#classes[i] = WRITES;
  }

  #read(place: number): void {
    if (!this.#has(place)) this.#touch(place, READS);
  }

  #touch(place: number, how: number): void {
    const at = this.#top;
    if (at - this.#first[this.count] >= MOST) {
      this.#now |= WILD;
      return;
    }
    this.#places[at] = place;
    this.#classes[at] = how;
    this.#mask |= bitOf(place);
    this.#top = at + 1;
  }

  /** Takes the footprint at hand. */
  #take(): void {
    const { count, places, kinds } = footprint;
    if (footprint.everything || footprint.pinned || count > MOST) this.#now |= WILD;
    else for (let i = 0; i < count; i++) this.#touch(places[i], CLASSES[kinds[i]]);
  }

  /** Whether two steps, which could both happen in one state, lead to the same in either order. */
  independent(a: number, b: number): boolean {
    if (a >= this.#paired || b >= this.#paired) {
      if (a >= MOST_PAIRS || b >= MOST_PAIRS) return this.#areIndependent(a, b);
      this.#growPairs(Math.max(a, b));
    }
    const pair = a * this.#paired + b;
    const known = this.#pairs[pair];
    if (known !== 0) return known === 1;
    const answer = this.#areIndependent(a, b);
    this.#pairs[pair] = answer ? 1 : 2;
    return answer;
  }

  #areIndependent(a: number, b: number): boolean {
    const x = this.#flags[a];
    const y = this.#flags[b];
    if (((x | y) & WILD) !== 0 || (x & y & OF_TASK && ((x | y) & TASKS) !== 0)) return false;
    if (((x & COLUMNS) !== 0 && (y & OF_TASK) !== 0) || ((y & COLUMNS) !== 0 && (x & OF_TASK) !== 0)) return false;
    if (((x & READER) !== 0 && (y & PLAIN) !== 0) || ((y & READER) !== 0 && (x & PLAIN) !== 0)) return false;
    if ((this.#masks[a] & this.#masks[b]) === 0) return true;
    const places = this.#places;
    const classes = this.#classes;
    const end = this.#first[b + 1];
    for (let i = this.#first[a]; i < this.#first[a + 1]; i++) {
      const place = places[i];
      for (let j = this.#first[b]; j < end; j++) if (places[j] === place && (classes[i] !== classes[j] || classes[i] === WRITES)) return false;
    }
    return true;
  }

  /** What was known of pairs is found again. */
  #growPairs(record: number): void {
    while (this.#paired <= record) this.#paired *= 2;
    this.#pairs = new Uint8Array(this.#paired * this.#paired);
  }

  #grow(): void {
    this.#places = grown(this.#places);
    this.#classes = grown(this.#classes);
  }

  #growRecords(): void {
    this.#first = grown(this.#first);
    this.#flags = grown(this.#flags);
    this.#masks = grown(this.#masks);
    this.#hashes = grown(this.#hashes);
    this.#index = new Int32Array(2 * this.#index.length);
    const ends = this.#index.length - 1;
    for (let record = 0; record < this.count; record++) {
      const hash = this.#hashes[record];
      let at = (hash ^ (hash >>> 15)) & ends;
      while (this.#index[at] !== 0) at = (at + 1) & ends;
      this.#index[at] = record + 1;
    }
  }
}

const readerOf = (task: TaskRef): number => (heap[task + Task.rcuDepth] > 0 || heap[task + Task.irqsOff] > 0 ? READER : 0);
