/**
 * One run of a scenario: a schedule that is played again, or one that is chosen as it goes.
 *
 * Invariant: whatever is found can be played again by its schedule; the checks are those of the search.
 */
import { KernelBug } from '../kernel/bug.ts';
import { ACTOR_BASE, type Action, type Choose } from '../kernel/scheduler.ts';
import { startJournal, stopJournal } from '../memory/state.ts';
import { PxdError } from '../pagetable/error.ts';
import { endingFault } from './ending.ts';
import type { Scenario } from './scenario.ts';
import { type Violation, violationOf } from './search.ts';
import { type Staged, stageOf } from './stage.ts';

export interface Played {
  readonly schedule: readonly Action[];
  readonly preemptions: number;
  readonly violation: Violation | undefined;
  /** Whether all tasks came to their ends. */
  readonly done: boolean;
}

/** Actions after which a run is taken to be endless. */
const LONGEST = 100_000;

/** Plays a variant again and again, each time from the beginning, with one machine. To be closed. */
export class Player {
  readonly #scenario: Scenario;
  readonly #staged: Staged;

  constructor(scenario: Scenario, variant: string, mode: string) {
    this.#scenario = scenario;
    this.#staged = stageOf(scenario, scenario.variants[variant], mode);
    this.#staged.stage.machine.enter();
    startJournal();
  }

  close(): void {
    this.#staged.scheduler.rewind(BEGINNING);
    stopJournal();
  }

  /** @throws {PxdError} 'usage' for a schedule whose actions cannot happen: it belongs to another variant, mode or version */
  play(how: Choose | readonly Action[]): Played {
    const { scheduler } = this.#staged;
    this.#staged.stage.machine.enter();
    scheduler.rewind(BEGINNING);
    let preemptions = 0;
    let last: Action = -1;
    const outcome = (violation: Violation | undefined, done: boolean): Played => ({ schedule: scheduler.schedule.slice(), preemptions, violation, done });
    try {
      for (let n = 0; scheduler.alive.length > 0; n++) {
        const actions = scheduler.actions();
        scheduler.checkDeadlock(actions);
        if (n === LONGEST) throw new KernelBug('I27', `no end after ${n} steps`);
        const action = typeof how === 'function' ? how(actions, scheduler) : how[n];
        if (action === undefined) return outcome(undefined, false);
        if (!actions.includes(action)) throw new PxdError('usage', `the schedule's action ${n}, ${action}, cannot happen there: can are ${actions.join(', ')}`);
        if (action < ACTOR_BASE) {
          if (last >= 0 && action !== last && actions.includes(last)) preemptions++;
          last = action;
        }
        scheduler.step(action);
        checkAlways(this.#scenario, this.#staged);
      }
      const fault = endingFault(this.#scenario, this.#staged);
      if (fault) throw fault;
      return outcome(undefined, true);
    } catch (error) {
      if (error instanceof PxdError) throw error;
      return outcome(violationOf(error, scheduler.schedule.slice(), preemptions), false);
    }
  }
}

const BEGINNING = { journal: 0, actions: 0, saved: 0, low: 0, high: 0 };

/** Plays a variant once. @throws {PxdError} 'usage' for a schedule whose actions cannot happen */
export function play(scenario: Scenario, variant: string, mode: string, how: Choose | readonly Action[]): Played {
  const player = new Player(scenario, variant, mode);
  try {
    return player.play(how);
  } finally {
    player.close();
  }
}

function checkAlways(scenario: Scenario, { stage }: Staged): void {
  for (const [rule, holds] of Object.entries(scenario.always ?? {})) {
    const wrong = holds(stage);
    if (wrong !== undefined) throw new KernelBug(rule, wrong);
  }
}
