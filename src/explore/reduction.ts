/**
 * Which operations need be no scheduling points, learned while searching.
 *
 * An operation that touches nothing that another task or hardware touches in a way that clashes (footprint.ts: `CLASH`) is performed together with what its
 * task did before: whatever others could do in between, they can do before or after with the same outcome. That takes away what only one task
 * reaches (fresh objects and pages, its own tables), what all only read (the upper levels of page tables), and releases of locks that nobody tries to take.
 *
 * Who touches what is not known beforehand: it is noted while searching, over all runs. As long as a search contradicts nothing that was known when it began,
 * it was right to hide what it hid: take a run of the full program and let its hidden operations move to the left one by one, as far as they go; the
 * first operation on that run which clashes with one moved over it would be performed by the search too, after the same operations, and be
 * noted there. When something new is noted the search is to be made again with it (`contradicted`). Places are finitely many, so that ends.
 *
 * What is kept: every state in which all tasks are done or none can go on, up to addresses of what was allocated; every rule that a run
 * breaks, unless hiding lets a rule be broken before (a page that is freed earlier is still translated), which is then one that runs of the full program break as well; and
 * the number of preemptions of the run that has the fewest. States in between are not: with checks of a scenario after every step (`always`) nothing is hidden.
 * Nor with store buffers, where what an operation does and when others see it are two.
 *
 * Invariants: what is hidden follows from the state and from what was known at the beginning alone, so that equal states have equal futures.
 */
import { KernelBug } from '../kernel/bug.ts';
import { chooseRandom } from '../kernel/choose.ts';
import { hardwareAction } from '../kernel/hardware.ts';
import * as ops from '../kernel/ops.ts';
import { ACTOR_BASE, type Action, type Choose, type Scheduler } from '../kernel/scheduler.ts';
import { Cpu, firstCpu, firstTask, TASK_DONE, Task, type TaskRef } from '../kernel/task.ts';
import { get } from '../memory/heap.ts';
import { Facts } from './facts.ts';
import { footprintOfHardware, footprintOfTask, type Surroundings } from './footprint.ts';

/** What may be hidden; all of it by default. To switch it off is for those who measure. */
export interface Hiding {
  /** Releases. */
  readonly releases?: boolean;
  /** Operations that clash with nobody's. */
  readonly apart?: boolean;
  /** Operations whose places others touch only under a lock that is held now. */
  readonly guarded?: boolean;
}

const RELEASES: ReadonlySet<number> = new Set(
  [ops.spinUnlock, ops.upRead, ops.upWrite, ops.downgradeWrite, ops.folioUnlock, ops.vmaReadUnlock, ops.rcuReadUnlock, ops.localIrqEnable].map(
    ({ code }) => code,
  ),
);

/** Operations that a task performs in one step at most: more is a loop that nobody else can end. */
const LONGEST = 20_000;
/** Random runs from which is learned before the search. */
const RUNS = 24;
const RUN_STEPS = 4000;

/** Hides operations in the search of one staged scenario, by facts that outlast it. */
export class Reduction {
  readonly #scheduler: Scheduler;
  readonly facts: Facts;
  readonly #cpus: number;
  readonly #hiding: Hiding;
  #where: Surroundings = { crowded: 0, filled: 0, ipis: false };
  #tasks: TaskRef[] = [];
  #inStep = 0;

  constructor(scheduler: Scheduler, facts?: Facts, hiding: Hiding = {}) {
    this.#scheduler = scheduler;
    this.#hiding = hiding;
    let cpus = 0;
    for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) cpus++;
    this.#cpus = cpus;
    this.facts = facts ?? new Facts(scheduler.alive.length + cpus + 1);
  }

  /** The search begins: what is known now is what it stands on. */
  begin(): void {
    this.facts.freeze();
    this.#tasks = [];
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) this.#tasks.push(task);
    const crowded = this.#tasks.reduce(
      (set, task) => (this.#tasks.some((t) => t !== task && get(t, Task.cpu) === get(task, Task.cpu)) ? set | (1 << get(task, Task.number)) : set),
      0,
    );
    this.#where = { crowded, filled: this.facts.filled, ipis: this.#scheduler.options.ipis === true };
  }

  get contradicted(): boolean {
    return this.facts.contradicted;
  }

  /** An action is about to be taken. */
  note(action: Action): void {
    if (action < ACTOR_BASE) {
      footprintOfTask(this.#tasks[action], this.#where);
      this.facts.note(action, this.#tasks[action]);
      this.#inStep = 0;
    } else {
      const what = hardwareAction(action, this.#scheduler.options);
      footprintOfHardware(what, this.#scheduler.pgdOf, this.#where);
      this.facts.note(this.#tasks.length + (what.cpu < 0 ? this.#cpus : what.cpu), 0);
    }
  }

  /** Whether a task, which has just moved, goes on at once. Its operation is noted then. @throws {KernelBug} I27 */
  goesOn(number: number): boolean {
    const task = this.#tasks[number];
    if (get(task, Task.state) === TASK_DONE || !this.#scheduler.mayRun(number)) return false;
    const { releases = true, apart = true, guarded = true } = this.#hiding;
    if (!(RELEASES.has(get(task, Task.code)) ? releases : apart)) return false;
    footprintOfTask(task, this.#where);
    if (this.facts.clashes(number, task, guarded)) return false;
    this.facts.note(number, task);
    if (++this.#inStep > LONGEST)
      throw new KernelBug('I27', `task ${number} goes round without ever looking at what others do: ${this.#scheduler.waiting(number)}`);
    return true;
  }

  /** Learns from runs in which nothing is hidden: tasks one after the other, each first once, and random ones. Leaves the machine somewhere: `back` leads to the start. */
  learn(back: () => void): void {
    const count = this.#tasks.length;
    const inTurn =
      (first: number): Choose =>
      (actions) =>
        actions.find((action) => action < ACTOR_BASE && action >= first) ?? actions[0];
    const ways = [
      ...Array.from({ length: count }, (_, first) => inTurn(first)),
      ...Array.from({ length: RUNS }, (_, seed) => chooseRandom(seed + 1, { stay: 90 })),
    ];
    for (const choose of ways) {
      this.#runNoting(choose);
      back();
    }
  }

  #runNoting(choose: Choose): void {
    try {
      for (let n = 0; n < RUN_STEPS && this.#scheduler.alive.length > 0; n++) {
        const actions = this.#scheduler.actions();
        this.#scheduler.checkDeadlock(actions);
        const action = choose(actions, this.#scheduler);
        this.note(action);
        this.#scheduler.step(action);
      }
    } catch {
      // The search will find it again, with the fewest preemptions; exceptions too.
    }
  }
}
