/**
 * Sleep sets (Godefroid): steps that need not be taken, since what they lead to is met on a way that was gone before.
 *
 * When all that follows a step t from a state has been searched, and an independent step u is taken there, t is put to sleep: u and then t leads where t and then u
 * led. It sleeps until a step is taken that depends on it. Every state is met all the same, by fewer steps, and each for the first time on the same way as without
 * sleep: the first of all runs that lead there has no step that sleeps, or moving that to the front would give a run before it.
 *
 * With a table of states the set that a state was met with is kept (SLEEP bits of its word): met again, those of them are taken that sleep no more,
 * and what both sets hold is kept.
 *
 * What is asked of a search: that it sees all schedules (a bound on preemptions is one on orders), and that no way comes back to itself. When one
 * does, the search is made again awake (search.ts): whether tasks can go round for ever hangs on steps that sleep. It is noticed before anything is missed. Take the first
 * state left for good from which tasks can go round for ever: the step t towards that sleeps there, so it was taken, at a state before, and what that led to was left
 * before; but the steps from there on go the same round.
 *
 * Invariants: a set is bits: the first are those of tasks, by their numbers, the others those of the actions of hardware that were met first. What has no bit never sleeps.
 */
import { ACTOR_BASE, type Action } from '../kernel/scheduler.ts';
import { grown } from '../memory/grown.ts';
import type { Staged } from './stage.ts';
import { Steps } from './steps.ts';
import type { Frame } from './way.ts';

/** Actions that may sleep. */
const BITS = 20;
/** Depths that there is room for at first. */
const DEPTHS = 128;

export class Sleep {
  readonly #steps: Steps;
  /** By action of hardware. */
  readonly #bits = new Map<Action, number>();
  #given: number;
  /** By depth of the way and bit of an action: the record of its step, of those that sleep there or were taken there. */
  #records = new Int32Array(DEPTHS * BITS);
  #depths = DEPTHS;

  constructor(staged: Staged) {
    this.#steps = new Steps(staged);
    this.#given = Math.min(staged.names.length, BITS);
  }

  /** The bit of an action, 0 when it never sleeps. */
  bitOf(action: Action): number {
    if (action < ACTOR_BASE) return action < BITS ? 1 << action : 0;
    const known = this.#bits.get(action);
    if (known !== undefined) return known;
    const bit = this.#given === BITS ? 0 : 1 << this.#given++;
    this.#bits.set(action, bit);
    return bit;
  }

  /** A step is about to be taken. */
  begin(action: Action): void {
    this.#steps.begin(action);
  }

  /** It broke a rule: it will not sleep. */
  drop(): void {
    this.#steps.drop();
  }

  /** It has been taken: the number of its record. */
  end(): number {
    return this.#steps.end();
  }

  /** A step with a record was taken from the state at a depth: what sleeps where it leads. From now on it may sleep itself. */
  taken(frame: Frame, depth: number, action: Action, record: number): number {
    const steps = this.#steps;
    const records = this.#records;
    const row = depth * BITS;
    let asleep = 0;
    for (let rest = frame.mayBeAsleep; rest !== 0; rest &= rest - 1) {
      const bit = rest & -rest;
      if (steps.independent(records[row + 31 - Math.clz32(bit)], record)) asleep |= bit;
    }
    const own = this.bitOf(action);
    if (own !== 0) {
      frame.mayBeAsleep |= own;
      records[row + 31 - Math.clz32(own)] = record;
    }
    return asleep;
  }

  /** The way goes on with a state at a depth, where a set of what sleeps above, or was taken there, sleeps. */
  enter(frame: Frame, depth: number, asleep: number): void {
    if (depth === this.#depths) this.#grow();
    frame.mayBeAsleep = asleep;
    if (asleep === 0) return;
    const records = this.#records;
    const row = depth * BITS;
    const end = row + this.#given;
    // Those that do not sleep as well: to tell which do takes longer.
    for (let at = row; at < end; at++) records[at] = records[at - BITS];
  }

  #grow(): void {
    this.#records = grown(this.#records);
    this.#depths *= 2;
  }
}
