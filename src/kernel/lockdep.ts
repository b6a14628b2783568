/**
 * What is known about locks while tasks run: who holds which, in which order classes of locks are taken, and what must not be done with them
 * (kernel/locking/lockdep.c; invariants I21, I22, I23).
 *
 * Invariants: the locks of a task stand in its object in the heap, in the order in which it took them; nothing is recorded while no task is `running`.
 * The order of classes is declared (lock-order.ts), and beside that learned over all runs of this process: it says what kernel code does, not what state a machine is in. A trylock
 * waits for nobody and is no edge of the order; what is taken while it is held is.
 *
 * A lock is a heap slot, the negated page of a page table, or (HELD_FOLIO) a page. Its class is the struct and field, or the kind.
 */
import { PG_ANON, PG_HUGETLB } from '../memory/page-flags.ts';
import { FIRST_OBJECT, heap, type MachineState, mounted, pageFlags, SLOT_TOP, setSlot } from '../memory/state.ts';
import { fieldName, layouts } from '../memory/struct.ts';
import { KernelBug } from './bug.ts';
import { checkInUse, liesInFreed } from './lifetimes.ts';
import { isAgainstOrder } from './lock-order.ts';
import { firstTask, MAX_HELD, running, Task, type TaskRef } from './task.ts';

export const HELD_SPIN = 1;
export const HELD_READ = 2;
export const HELD_WRITE = 3;
export const HELD_FOLIO = 4;
/** A VMA's lock, for reading. */
export const HELD_VMA = 5;

// --- names ------------------------------------------------------------------------------------------------------------------

/** Slots of locks → object that they belong to, by machine. What an undone history has left here is noticed by its type. */
const owners = new WeakMap<MachineState, Map<number, number>>();

/** The object that a heap slot belongs to, 0 when none is. */
export function objectOf(slot: number): number {
  const state = mounted();
  let known = owners.get(state);
  if (!known) {
    known = new Map();
    owners.set(state, known);
  }
  const before = known.get(slot);
  if (before !== undefined && layouts[Math.abs(heap[before])]?.size > slot - before) return before;
  for (let ref = FIRST_OBJECT; ref <= slot && ref < heap[SLOT_TOP]; ) {
    const { size } = layouts[Math.abs(heap[ref])];
    if (slot < ref + size) {
      known.set(slot, ref);
      return ref;
    }
    ref += size;
  }
  return 0;
}

/**
 * The class that a lock belongs to: `mm.mmapLock`, `page table`, `folio`. Folios of hugetlb are two classes of their own: those of files are locked under
 * i_mmap_rwsem; anonymous ones are only tried under the mutex of faults, and held when it is given up and taken again (hugetlb_wp).
 */
export function lockClass(lock: number, mode: number): string {
  if (mode === HELD_FOLIO) {
    if ((pageFlags[lock] & PG_HUGETLB) === 0) return 'folio';
    return (pageFlags[lock] & PG_ANON) === 0 ? 'hugetlb folio' : 'anonymous hugetlb folio';
  }
  if (mode === HELD_VMA) return 'vma';
  if (lock < 0) return 'page table';
  const object = objectOf(lock);
  return object === 0 ? `slot ${lock}` : fieldName(heap[object], lock - object).replace('[0]', '');
}

/** Classes by number, for what is asked at every lock. */
const classes: string[] = [];
const MOST_CLASSES = 64;
/** Of the machine asked about last: by heap slot of a lock the object it belongs to, that one's type, and 1 + the number of its class. */
let slotsOf: MachineState | undefined;
let slotOwner = new Int32Array(0);
let slotType = new Int32Array(0);
let slotClass = new Int32Array(0);

function numberOfClass(name: string): number {
  const at = classes.indexOf(name);
  if (at >= 0) return at;
  if (classes.length === MOST_CLASSES) throw new Error('there are more classes of locks than lockdep keeps');
  return classes.push(name) - 1;
}

/** Number of the class of a lock: what `lockClass` would say, remembered by slot as long as an object of the same type lies there. */
function classNumber(lock: number, mode: number): number {
  if (mode === HELD_FOLIO || mode === HELD_VMA || lock < 0) return numberOfClass(lockClass(lock, mode));
  const state = mounted();
  if (slotsOf !== state || lock >= slotClass.length) {
    slotsOf = state;
    slotOwner = new Int32Array(heap.length);
    slotType = new Int32Array(heap.length);
    slotClass = new Int32Array(heap.length);
  }
  const known = slotClass[lock];
  if (known !== 0 && heap[slotOwner[lock]] === slotType[lock]) return known - 1;
  const object = objectOf(lock);
  slotOwner[lock] = object;
  slotType[lock] = heap[object];
  slotClass[lock] = numberOfClass(lockClass(lock, mode)) + 1;
  return slotClass[lock] - 1;
}

/** A lock by name and place, for people. */
export function lockName(lock: number, mode: number): string {
  const kind = lockClass(lock, mode);
  if (mode === HELD_FOLIO) return `folio ${lock}`;
  return lock < 0 ? `the lock of page table ${-lock}` : `${kind} of ${objectOf(lock)}`;
}

const MODES = ['', '', ' for reading', ' for writing', '', ' for reading'];
const called = (lock: number, mode: number): string => `${lockName(lock, mode)}${MODES[mode]}`;

const numberOf = (task: TaskRef): number => heap[task + Task.number];

/** Who holds a lock, for reports: `task 1 (for reading)`. */
export function holdersOf(lock: number, mode: number): string {
  const found: string[] = [];
  for (let task = firstTask(); task !== 0; task = heap[task + Task.next])
    for (let i = 0; i < heap[task + Task.heldCount]; i++)
      if (heap[task + Task.held + i] === lock && (heap[task + Task.modes + i] === HELD_FOLIO) === (mode === HELD_FOLIO))
        found.push(`task ${numberOf(task)}${MODES[heap[task + Task.modes + i]]}`);
  return found.length === 0 ? 'nobody' : found.join(', ');
}

/** The locks of a task, for reports. */
export function heldBy(task: TaskRef): string[] {
  return Array.from({ length: heap[task + Task.heldCount] }, (_, i) => called(heap[task + Task.held + i], heap[task + Task.modes + i]));
}

// --- order ------------------------------------------------------------------------------------------------------------------

/** Class → classes taken while it was held, each with an example. */
const after = new Map<string, Map<string, string>>();
/** The same for a quick look: by class held · MOST_CLASSES + class taken. */
const known = new Uint8Array(MOST_CLASSES * MOST_CLASSES);

/**
 * Pairs of the same class that Linux nests on purpose: the two page tables of a move or a fork, a child's mmap lock within its parent's, the two folios
 * that a copy of a file's page has locked.
 */
const NESTED = new Set(['page table', 'mm.mmapLock']);

/** Forgets the order that was learned (tests). */
export function forgetOrder(): void {
  after.clear();
  known.fill(0);
}

/** The order that was learned: `a → b`. */
export const learnedOrder = (): string[] => [...after].flatMap(([a, list]) => [...list.keys()].map((b) => `${a} → ${b}`)).sort();

/** Classes that lead from one to another, both included; undefined when none do. */
function path(from: string, to: string, seen = new Set<string>()): string[] | undefined {
  if (from === to) return [to];
  seen.add(from);
  for (const next of after.get(from)?.keys() ?? []) {
    if (seen.has(next)) continue;
    const rest = path(next, to, seen);
    if (rest) return [from, ...rest];
  }
  return undefined;
}

/** Learns that `lock` is waited for by the running task with what it holds. @throws {KernelBug} when that closes a circle. */
function learn(lock: number, mode: number): void {
  const count = heap[running + Task.heldCount];
  if (count === 0) return;
  const wanted = classNumber(lock, mode);
  for (let i = 0; i < count; i++) {
    const other = heap[running + Task.held + i];
    const otherMode = heap[running + Task.modes + i];
    const pair = classNumber(other, otherMode) * MOST_CLASSES + wanted;
    if (known[pair] !== 0) continue;
    learnPair(lock, mode, other, otherMode);
    known[pair] = 1;
  }
}

/** A pair of classes that was not seen before. */
function learnPair(lock: number, mode: number, other: number, otherMode: number): void {
  const wanted = lockClass(lock, mode);
  const held = lockClass(other, otherMode);
  const example = `task ${numberOf(running)} takes ${called(lock, mode)} while it holds ${called(other, otherMode)}`;
  if (held === wanted) {
    if (NESTED.has(held)) return;
    throw new KernelBug('I22', example);
  }
  if (isAgainstOrder(held, wanted)) throw new KernelBug('I22', `${example}; the declared order is ${wanted} before ${held}`);
  const back = path(wanted, held);
  if (back) {
    const examples = back.slice(1).map((next, k) => after.get(back[k])?.get(next));
    throw new KernelBug('I22', `${example}; the other way round before: ${examples.join('; ')}`);
  }
  const list = after.get(held);
  if (list) list.set(wanted, example);
  else after.set(held, new Map([[wanted, example]]));
}

// --- what tasks do ----------------------------------------------------------------------------------------------------------

/** Whether the running task holds a lock, in one of two modes. */
export function holds(lock: number, mode: number, orMode = mode): boolean {
  for (let i = heap[running + Task.heldCount] - 1; i >= 0; i--)
    if (heap[running + Task.held + i] === lock && (heap[running + Task.modes + i] === mode || heap[running + Task.modes + i] === orMode)) return true;
  return false;
}

/** lockdep_assert_held: the running task holds a lock, in one of two modes; nobody is asked while none runs. @throws {KernelBug} I23 */
export function assertHeld(lock: number, mode: number, orMode = mode): void {
  if (running === 0 || holds(lock, mode, orMode)) return;
  const needed = mode === orMode ? called(lock, mode) : lockName(lock, mode);
  throw new KernelBug('I23', `task ${numberOf(running)} must hold ${needed}; it holds ${heldBy(running).join(', ') || 'no lock'}`);
}

/** The running task is about to wait for a lock. @throws {KernelBug} I21, I22, I23 */
export function wants(lock: number, mode: number): void {
  if (running === 0) return;
  if (mode !== HELD_SPIN && isAtomic(running)) mightSleep(`takes ${called(lock, mode)}`);
  // Readers may come twice in Linux only where no writer can come between.
  if (mode !== HELD_VMA && (mode === HELD_FOLIO ? holds(lock, HELD_FOLIO) : holds(lock, HELD_READ, HELD_WRITE) || holds(lock, HELD_SPIN)))
    throw new KernelBug('I22', `task ${numberOf(running)} takes ${called(lock, mode)}, which it holds already`);
  learn(lock, mode);
}

const isAtomic = (task: TaskRef): boolean => heap[task + Task.atomicDepth] > 0 || heap[task + Task.irqsOff] > 0 || heap[task + Task.rcuDepth] > 0;

/** The running task does something that may sleep. @throws {KernelBug} I21 */
export function mightSleep(what: string): void {
  if (running === 0) return;
  const why =
    heap[running + Task.atomicDepth] > 0
      ? 'under a spin lock'
      : heap[running + Task.irqsOff] > 0
        ? 'with interrupts off'
        : heap[running + Task.rcuDepth] > 0
          ? 'in an RCU read section'
          : '';
  if (why !== '') throw new KernelBug('I21', `task ${numberOf(running)} ${what} ${why} (it holds ${heldBy(running).join(', ') || 'no lock'})`);
}

/** The running task has a lock from now on. @throws {KernelBug} I1, I19 when it lives in what is free */
export function acquired(lock: number, mode: number): void {
  if (running === 0) return;
  if (mode === HELD_FOLIO) checkInUse(lock, 'locks');
  else if (mode !== HELD_VMA && lock > 0 && liesInFreed(objectOf(lock)))
    throw new KernelBug('I19', `task ${numberOf(running)} takes ${called(lock, mode)}, which was freed`);
  const count = heap[running + Task.heldCount];
  if (count >= MAX_HELD) throw new KernelBug('I23', `task ${numberOf(running)} holds more than ${MAX_HELD} locks`);
  setSlot(running + Task.held + count, lock);
  setSlot(running + Task.modes + count, mode);
  setSlot(running + Task.heldCount, count + 1);
  if (mode === HELD_SPIN) setSlot(running + Task.atomicDepth, heap[running + Task.atomicDepth] + 1);
}

/** Has `told` called at each lock that is given up while no task runs, by native generators that are run to their end; undefined: no longer. */
export const watchDrops = (told: ((lock: number) => void) | undefined): void => {
  droppedAlone = told;
};
let droppedAlone: ((lock: number) => void) | undefined;

/** The running task gives a lock up. @throws {KernelBug} I23 when it does not hold it so */
export function released(lock: number, mode: number): void {
  if (running === 0) {
    droppedAlone?.(lock);
    return;
  }
  const last = heap[running + Task.heldCount] - 1;
  let at = last;
  while (at >= 0 && (heap[running + Task.held + at] !== lock || heap[running + Task.modes + at] !== mode)) at--;
  if (at < 0) throw new KernelBug('I23', `task ${numberOf(running)} releases ${called(lock, mode)}, which it does not hold; ${holdersOf(lock, mode)} does`);
  for (; at < last; at++) {
    setSlot(running + Task.held + at, heap[running + Task.held + at + 1]);
    setSlot(running + Task.modes + at, heap[running + Task.modes + at + 1]);
  }
  setSlot(running + Task.held + last, 0);
  setSlot(running + Task.modes + last, 0);
  setSlot(running + Task.heldCount, last);
  if (mode === HELD_SPIN) setSlot(running + Task.atomicDepth, heap[running + Task.atomicDepth] - 1);
}

/** A lock for writing becomes one for reading. */
export function downgraded(lock: number): void {
  if (running === 0) return;
  for (let i = 0; i < heap[running + Task.heldCount]; i++)
    if (heap[running + Task.held + i] === lock && heap[running + Task.modes + i] === HELD_WRITE) {
      setSlot(running + Task.modes + i, HELD_READ);
      return;
    }
  throw new KernelBug('I23', `task ${numberOf(running)} downgrades ${called(lock, HELD_WRITE)}, which it does not hold`);
}

/** A task's call returns. @throws {KernelBug} I23 when it keeps a lock */
export function checkReturn(task: TaskRef, what: string): void {
  if (heap[task + Task.heldCount] > 0) throw new KernelBug('I23', `task ${numberOf(task)} returns from ${what} with ${heldBy(task).join(', ')}`);
  if (heap[task + Task.rcuDepth] !== 0) throw new KernelBug('I23', `task ${numberOf(task)} returns from ${what} within an RCU read section`);
  if (heap[task + Task.irqsOff] !== 0) throw new KernelBug('I23', `task ${numberOf(task)} returns from ${what} with interrupts off`);
}
