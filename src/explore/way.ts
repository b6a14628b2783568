/**
 * The way of a search that goes depth first: the states from the beginning to where it is, and what is still to be taken from each.
 *
 * Invariants: frames are used again, each at its depth, with what they hold: a search makes millions of them. Of a frame's actions those before `count` are
 * there; the task that ran last comes first, so that the first run of a search is one without preemptions.
 */
import { ACTOR_BASE, IDLE_BASE } from '../kernel/hardware.ts';
import type { Action, Scheduler } from '../kernel/scheduler.ts';

export class Frame {
  readonly mark = { journal: 0, actions: 0, saved: 0, low: 0, high: 0 };
  readonly actions: Action[] = [];
  count = 0;
  next = 0;
  /** Task that ran last, −1 at the beginning. */
  last: Action = -1;
  /** Whether that task may go on. */
  goesOn = false;
  preemptions = 0;
  /** Hash of the state. */
  low = 0;
  high = 0;
  /** Its place in the table of states, and how often that had grown then. */
  place = 0;
  moves = 0;
  /** Beginnings that were known when it was met. */
  begun = 0;

  /** Whether an action is a switch away from a task that could go on. Hardware is no task. */
  isPreemption(action: Action): boolean {
    return this.goesOn && action !== this.last && action < ACTOR_BASE;
  }

  /** Whether any of its actions is. */
  get preempts(): boolean {
    for (let i = 0; i < this.count; i++) if (this.isPreemption(this.actions[i])) return true;
    return false;
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

  /** A frame for the state where the scheduler is. @throws {KernelBug} I27 when nobody can go on */
  push(scheduler: Scheduler, last: Action, preemptions: number): Frame {
    if (this.length === this.#frames.length) this.#frames.push(new Frame());
    const frame = this.#frames[this.length];
    const { actions } = frame;
    const count = scheduler.actionsInto(actions);
    if (count === 0 || actions[0] >= IDLE_BASE) scheduler.checkDeadlock(actions.slice(0, count));
    this.length++;
    scheduler.markInto(frame.mark);
    let at = count - 1;
    while (at >= 0 && actions[at] !== last) at--;
    frame.goesOn = at >= 0;
    for (; at > 0; at--) actions[at] = actions[at - 1];
    if (frame.goesOn) actions[0] = last;
    frame.count = count;
    frame.next = 0;
    frame.last = last;
    frame.preemptions = preemptions;
    return frame;
  }
}
