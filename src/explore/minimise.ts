/**
 * Makes a schedule that breaks a rule small, for people: the tasks that it takes, few switches between them, few operations.
 *
 *   minimise(scenario, variant, mode, { rule, schedule }, { replays: 400 }): Minimised
 *
 * A change is kept when the run still breaks the same rule, and has become smaller: fewer runs of one task or CPU, or as many and fewer actions.
 * Tried are, again and again until none helps: tasks that do nothing at all; actions of hardware, one by one; runs of one task, whole and by halves of their
 * tails (which takes away the operations that do not happen before the violation: of each task it leaves the part that leads there); runs of the same
 * task moved together. Whatever is left out, what cannot happen any more is skipped, and where the rule is one of the end, tasks go on to their ends, one
 * after the other.
 *
 * Invariants: deterministic; no more than `replays` runs; the result breaks the rule, as it did when it was last played. Where a schedule does not break its
 * rule when it is played alone (a livelock is seen by comparing states), it is returned as it is.
 */
import { KernelBug } from '../kernel/bug.ts';
import { ACTOR_BASE, type Action, type SchedulerMark } from '../kernel/scheduler.ts';
import { startJournal, stopJournal } from '../memory/state.ts';
import { endingFault } from './ending.ts';
import { type Scenario, task, type Variant } from './scenario.ts';
import { type Violation, violationOf } from './search.ts';
import { type Staged, stageOf } from './stage.ts';

export interface MinimiseOptions {
  /** Runs that may be played. Default 400. */
  readonly replays?: number;
}

export interface Minimised {
  readonly rule: string;
  /** What was wrong when it was last played; null when the rule was not broken then. */
  readonly message: string | null;
  /** The shortest schedule that was found, of the scenario as it is: `play` and `tell` take it. */
  readonly schedule: readonly Action[];
  /** Switches away from a task that could go on; null where it was not broken. */
  readonly preemptions: number | null;
  /** Names of the tasks that it takes: the scenario without the others breaks the rule too. */
  readonly needed: readonly string[];
  /** A schedule of the scenario in which the tasks that are not needed do nothing. (Tasks and CPUs keep their numbers.) */
  readonly alone: readonly Action[];
  readonly replays: number;
}

const REPLAYS = 400;
/** Actions after which a run is taken to be endless. */
const LONGEST = 20_000;

/** @throws {PxdError} what setting the scenario up throws */
export function minimise(
  scenario: Scenario,
  variant: string,
  mode: string,
  { rule, schedule }: Pick<Violation, 'rule' | 'schedule'>,
  options: MinimiseOptions = {},
): Minimised {
  const names = Object.keys(scenario.tasks);
  const minimiser = new Minimiser(scenario, scenario.variants[variant], mode, rule, options.replays ?? REPLAYS);
  const first = minimiser.first(schedule);
  if (first === undefined) return { rule, message: null, schedule, preemptions: null, needed: names, alone: schedule, replays: minimiser.replays };
  const whole = minimiser.shrink(new Set(), first);
  const { idle, run } = minimiser.idle(names, whole);
  const alone = idle.size === 0 ? whole : minimiser.shrink(idle, run);
  const { message, preemptions } = whole;
  const needed = names.filter((name) => !idle.has(name));
  return { rule, message, schedule: whole.schedule, preemptions, needed, alone: alone.schedule, replays: minimiser.replays };
}

/** A run that breaks the rule. */
interface Run {
  readonly schedule: readonly Action[];
  readonly message: string;
  readonly preemptions: number;
}

/** A schedule as runs of the same task; each action of hardware is a run. */
export function runsOf(schedule: readonly Action[]): Action[][] {
  const runs: Action[][] = [];
  for (const action of schedule) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] === action && action < ACTOR_BASE) last.push(action);
    else runs.push([action]);
  }
  return runs;
}

function isSmaller(a: Run, b: Run): boolean {
  const [x, y] = [runsOf(a.schedule).length, runsOf(b.schedule).length];
  return a.preemptions <= b.preemptions && (x < y || (x === y && a.schedule.length < b.schedule.length));
}

class Minimiser {
  readonly #scenario: Scenario;
  readonly #variant: Variant;
  readonly #mode: string;
  readonly #rule: string;
  readonly #limit: number;
  /** Whether the rule is broken when all tasks are done. */
  #atEnd = false;
  replays = 0;

  constructor(scenario: Scenario, variant: Variant, mode: string, rule: string, limit: number) {
    this.#scenario = scenario;
    this.#variant = variant;
    this.#mode = mode;
    this.#rule = rule;
    this.#limit = limit;
  }

  /** Does something with the scenario staged, some of its tasks doing nothing. */
  on<T>(idle: ReadonlySet<string>, use: (staged: Staged) => T): T {
    const tasks = Object.entries(this.#scenario.tasks).map(([name, make]) => [name, idle.has(name) ? () => task() : make] as const);
    const staged = stageOf({ ...this.#scenario, tasks: Object.fromEntries(tasks) }, this.#variant, this.#mode);
    staged.stage.machine.enter();
    startJournal();
    try {
      return use(staged);
    } finally {
      staged.scheduler.rewind(BEGIN);
      stopJournal();
    }
  }

  /** The run as it is given; undefined when it does not break the rule. */
  first(schedule: readonly Action[]): Run | undefined {
    return this.on(new Set(), (staged) => {
      const run = this.#replay(staged, schedule);
      this.#atEnd = run !== undefined && staged.scheduler.alive.length === 0;
      return run;
    });
  }

  /** Tasks that may do nothing, with a run in which they do. */
  idle(names: readonly string[], found: Run): { readonly idle: ReadonlySet<string>; readonly run: Run } {
    let idle: ReadonlySet<string> = new Set();
    let run = found;
    // What a scenario's own check makes of tasks that have no results is not known.
    if (Object.hasOwn(this.#scenario.holds ?? {}, this.#rule)) return { idle, run };
    for (const name of names) {
      const more = new Set([...idle, name]);
      if (more.size === names.length || this.replays >= this.#limit) continue;
      const without = this.on(more, (staged) => this.#replay(staged, run.schedule));
      if (without !== undefined) [idle, run] = [more, without];
    }
    return { idle, run };
  }

  /** The smallest run that is found, from one that is known. */
  shrink(idle: ReadonlySet<string>, known: Run): Run {
    return this.on(idle, (staged) => {
      let best = known;
      for (let before: Run | undefined; before !== best; ) {
        before = best;
        for (const changes of [withoutHardware, withoutRuns, withRunsMoved]) best = this.#pass(staged, best, changes);
      }
      return best;
    });
  }

  /** Tries all changes of a kind, from the end of the schedule to its beginning; goes on from where it was when one is kept. */
  #pass(staged: Staged, known: Run, changes: Changes): Run {
    let best = known;
    for (let i = runsOf(best.schedule).length - 1; i >= 0; i--) {
      const runs = runsOf(best.schedule);
      if (i >= runs.length) continue;
      for (const changed of changes(runs, i)) {
        if (this.replays >= this.#limit) return best;
        const run = this.#replay(staged, changed.flat());
        if (run === undefined || !isSmaller(run, best)) continue;
        best = run;
        break;
      }
    }
    return best;
  }

  /** Plays a schedule from the beginning, without what cannot happen. Undefined when the rule is not broken. */
  #replay({ stage, scheduler, names, ...rest }: Staged, schedule: readonly Action[]): Run | undefined {
    this.replays++;
    scheduler.rewind(BEGIN);
    let preemptions = 0;
    let last: Action = -1;
    const take = (action: Action, actions: readonly Action[]): void => {
      if (action < ACTOR_BASE) {
        if (last >= 0 && action !== last && actions.includes(last)) preemptions++;
        last = action;
      }
      scheduler.step(action);
      for (const [rule, holds] of Object.entries(this.#scenario.always ?? {})) {
        const wrong = holds(stage);
        if (wrong !== undefined) throw new KernelBug(rule, wrong);
      }
    };
    try {
      for (const action of schedule) {
        if (scheduler.alive.length === 0) break;
        const actions = scheduler.actions();
        scheduler.checkDeadlock(actions);
        if (actions.includes(action)) take(action, actions);
      }
      for (let n = 0; this.#atEnd && scheduler.alive.length > 0 && n < LONGEST; n++) {
        const actions = scheduler.actions();
        scheduler.checkDeadlock(actions);
        take(actions.includes(last) ? last : actions[0], actions);
      }
      if (scheduler.alive.length > 0) scheduler.checkDeadlock(scheduler.actions());
      else {
        const fault = endingFault(this.#scenario, { stage, scheduler, names, ...rest });
        if (fault) throw fault;
      }
      return undefined;
    } catch (error) {
      const { rule, message } = violationOf(error, [], preemptions);
      return rule === this.#rule ? { schedule: scheduler.schedule.slice(), message, preemptions } : undefined;
    }
  }
}

const BEGIN: SchedulerMark = { journal: 0, actions: 0, saved: 0, low: 0, high: 0 };

// --- changes ----------------------------------------------------------------------------------------------------------------

/** What may become of a schedule at one of its runs. */
type Changes = (runs: readonly Action[][], at: number) => Iterable<readonly Action[][]>;

function* withoutHardware(runs: readonly Action[][], at: number): Generator<Action[][]> {
  if (runs[at][0] >= ACTOR_BASE) yield runs.toSpliced(at, 1);
}

/** Without the run; without its second half, the last quarter, … its last action. */
function* withoutRuns(runs: readonly Action[][], at: number): Generator<Action[][]> {
  const run = runs[at];
  yield runs.toSpliced(at, 1);
  for (let tail = run.length >> 1; tail > 0; tail >>= 1) yield runs.toSpliced(at, 1, run.slice(0, run.length - tail));
}

/** The run behind the one before of the same task, and that one in front of it. */
function* withRunsMoved(runs: readonly Action[][], at: number): Generator<Action[][]> {
  const before = runs.slice(0, at).findLastIndex((run) => run[0] === runs[at][0]);
  if (before < 0 || runs[at][0] >= ACTOR_BASE) return;
  const joined = [...runs[before], ...runs[at]];
  yield [...runs.slice(0, before), joined, ...runs.slice(before + 1, at), ...runs.slice(at + 1)];
  yield [...runs.slice(0, before), ...runs.slice(before + 1, at), joined, ...runs.slice(at + 1)];
}
