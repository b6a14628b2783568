/**
 * The way of a search that goes depth first: the states from the beginning to where it is, and what is still to be taken from each.
 *
 * Invariants: frames are used again, each at its depth, with what they hold: a search makes millions of them. The task that ran last goes first, so that the
 * first run of a search is one without preemptions; then tasks by their numbers, then hardware.
 */
import { ACTOR_BASE, IDLE_BASE } from '../kernel/hardware.ts';
import type { Action, Scheduler } from '../kernel/scheduler.ts';
import { popcount } from '../pagetable/popcount.ts';
import type { Visited } from './visited.ts';

export class Frame {
  /** How long the log of steps was (known-steps.ts). */
  log = 0;
  /** Tasks that may go on, those that do from here, and those of them that have not yet, as bits. */
  runnable = 0;
  tasks = 0;
  left = 0;
  /** What hardware does from here: so many actions of a list, so many of which have been taken. */
  readonly hardware: Action[] = [];
  hardwareCount = 0;
  hardwareTaken = 0;
  /** What was taken last. */
  taken: Action = -1;
  /** Task that ran last, −1 at the beginning. */
  last: Action = -1;
  /** Preemptions on the way there; in a search without a bound on them nobody counts (`Way.preemptions`). */
  preemptions = 0;
  /** Hash of the state. */
  low = 0;
  high = 0;
  /** Its place in the table of states. */
  place = 0;
  /** Actions that sleep there, or were taken there and may sleep further down (sleep.ts), as bits. */
  mayBeAsleep = 0;
  /** Beginnings that were known when it was met. */
  begun = 0;

  /** Whether all has been taken. */
  get done(): boolean {
    return this.left === 0 && this.hardwareTaken === this.hardwareCount;
  }

  /** Takes the next action. There is one. */
  next(): Action {
    const { left, last } = this;
    if (left === 0) return (this.taken = this.hardware[this.hardwareTaken++]);
    const goesOn = left & (1 << last);
    const bit = goesOn !== 0 ? goesOn : left & -left;
    this.left = left ^ bit;
    return (this.taken = 31 - Math.clz32(bit));
  }

  /** Actions, and those of them that have not been taken. */
  get count(): number {
    return popcount(this.tasks) + this.hardwareCount;
  }

  get rest(): number {
    return popcount(this.left) + this.hardwareCount - this.hardwareTaken;
  }

  /** Whether an action is a switch away from a task that could go on. Hardware is no task. */
  isPreemption(action: Action): boolean {
    return (this.runnable & (1 << this.last)) !== 0 && action !== this.last && action < ACTOR_BASE;
  }

  /** Whether any of its actions is. */
  get preempts(): boolean {
    return (this.runnable & (1 << this.last)) !== 0 && (this.tasks & ~(1 << this.last)) !== 0;
  }
}

export class Way {
  readonly #frames: Frame[] = [];
  length = 0;

  get last(): Frame {
    return this.#frames[this.length - 1];
  }

  at(depth: number): Frame {
    return this.#frames[depth];
  }

  pop(): void {
    this.length--;
  }

  /** Preemptions among the actions that were taken from the first states of the way. */
  preemptions(depths = this.length): number {
    let count = 0;
    for (let depth = 0; depth < depths; depth++) if (this.#frames[depth].isPreemption(this.#frames[depth].taken)) count++;
    return count;
  }

  /** The table of states has grown: they have other places there. */
  replace(visited: Visited): void {
    for (let depth = 0; depth < this.length; depth++) this.#frames[depth].place = visited.find(this.#frames[depth].low, this.#frames[depth].high);
  }

  /** A frame for the state where the scheduler is. @throws {KernelBug} I27 when nobody can go on */
  push(scheduler: Scheduler, log: number, last: Action, preemptions: number): Frame {
    if (this.length === this.#frames.length) this.#frames.push(new Frame());
    const frame = this.#frames[this.length];
    const tasks = scheduler.runnable();
    const hardware = scheduler.hardwareInto(frame.hardware);
    if (tasks === 0 && (hardware === 0 || frame.hardware[0] >= IDLE_BASE)) scheduler.checkDeadlock(frame.hardware.slice(0, hardware));
    this.length++;
    frame.log = log;
    frame.runnable = tasks;
    frame.tasks = tasks;
    frame.left = tasks;
    frame.hardwareCount = hardware;
    frame.hardwareTaken = 0;
    frame.last = last;
    frame.preemptions = preemptions;
    return frame;
  }
}
