/** Makes a failing scenario small: fewer calls, fewer threads, fewer switches between them. */
import { chooseRandom, chooseRecorded } from '../../../src/kernel/choose.ts';
import { ACTOR_BASE, type Action } from '../../../src/kernel/scheduler.ts';
import { type Outcome, type Program, play } from './play.ts';
import type { Scenario } from './scenario.ts';

export interface Failure {
  readonly scenario: Scenario;
  readonly outcome: Outcome;
}

/** Schedules that are tried for a smaller scenario. */
const TRIES = 60;

/** A failure of the same rule in a scenario: by the schedule that is known, or by chance. */
function fails(scenario: Scenario, rule: string, schedule: readonly Action[], program: Program): Outcome | undefined {
  const first = play(scenario, chooseRecorded(schedule), program);
  if (first.rule === rule) return first;
  for (let seed = 1; seed <= TRIES; seed++) {
    const outcome = play(scenario, chooseRandom(seed, { stay: seed % 3 === 0 ? 90 : 50, actors: seed % 2 === 0 ? 5 : 25 }), program);
    if (outcome.rule === rule) return outcome;
  }
  return undefined;
}

/** Scenarios that are smaller by one thing. */
function* smaller(s: Scenario): Generator<Scenario> {
  for (let t = 0; t < s.threads.length; t++)
    if (s.threads.length > 1) yield { ...s, threads: s.threads.filter((_, i) => i !== t), cpus: Math.max(1, Math.min(s.cpus, s.threads.length - 1)) };
  for (let i = 0; i < s.setup.length; i++) yield { ...s, setup: s.setup.filter((_, k) => k !== i) };
  for (let t = 0; t < s.threads.length; t++)
    for (let i = 0; i < s.threads[t].steps.length; i++)
      if (s.threads[t].steps.length > 1)
        yield { ...s, threads: s.threads.map((thread, k) => (k === t ? { ...thread, steps: thread.steps.filter((_, j) => j !== i) } : thread)) };
  if (s.speculate) yield { ...s, speculate: false };
  if (s.ipis) yield { ...s, ipis: false };
  if (s.failAllocation !== 0) yield { ...s, failAllocation: 0 };
  if (s.cpus !== s.threads.length) yield { ...s, cpus: s.threads.length };
}

/** Drops switches: a task that was interrupted goes on where that still fails. */
function fewerSwitches({ scenario, outcome }: Failure, program: Program): Outcome {
  let best = outcome;
  const rule = outcome.rule as string;
  for (let again = true, budget = 300; again && budget > 0; ) {
    again = false;
    const runs = runsOf(best.schedule);
    for (let i = runs.length - 1; i > 0 && budget > 0; i--) {
      // The run of one task is moved to where it ran before.
      const earlier = runs.slice(0, i).findLastIndex((run) => run[0] === runs[i][0]);
      if (earlier < 0 || earlier === i - 1) continue;
      const moved = [...runs.slice(0, earlier), [...runs[earlier], ...runs[i]], ...runs.slice(earlier + 1, i), ...runs.slice(i + 1)].flat();
      budget--;
      const tried = play(scenario, chooseRecorded(moved), program);
      if (tried.rule === rule && runsOf(tried.schedule).length < runs.length) {
        best = tried;
        again = true;
        break;
      }
    }
  }
  return best;
}

/** A schedule as runs of the same task. */
export function runsOf(schedule: readonly Action[]): Action[][] {
  const runs: Action[][] = [];
  for (const action of schedule) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last[0] === action && action < ACTOR_BASE) last.push(action);
    else runs.push([action]);
  }
  return runs;
}

/** The smallest failure that is found, of the same rule. */
export function shrink(failure: Failure, program: Program = 'native'): Failure {
  let best = failure;
  const rule = failure.outcome.rule as string;
  for (let again = true; again; ) {
    again = false;
    for (const scenario of smaller(best.scenario)) {
      const outcome = fails(scenario, rule, best.outcome.schedule, program);
      if (outcome === undefined) continue;
      best = { scenario, outcome };
      again = true;
      break;
    }
  }
  return { scenario: best.scenario, outcome: fewerSwitches(best, program) };
}
