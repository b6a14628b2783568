/**
 * Checks that a scenario's steps can be undone and done again: what the search of all schedules stands on.
 *
 * Random histories go forward, and back by some steps; each step is taken, undone and taken again. It must announce the same operation and leave the same bytes
 * (heap, RAM, struct pages, stacks, translations of CPUs), and undoing it must leave those from before; from one state the same step must always lead to
 * the same one, whatever was done and undone in between. Clocks and randomness of the host are listened to. What is found is a place where something that
 * matters lies outside of the machine's memory: in a variable of the program, or in the world.
 *
 * Invariant: the same seed makes the same histories; nothing of the check is left in the machine.
 */
import { KernelBug } from '../kernel/bug.ts';
import { randomNumbers } from '../kernel/choose.ts';
import { forgetOrder } from '../kernel/lockdep.ts';
import { ACTOR_BASE, type Action, type SchedulerMark } from '../kernel/scheduler.ts';
import { Task, taskOf } from '../kernel/task.ts';
import { get } from '../memory/heap.ts';
import { startJournal, stopJournal } from '../memory/state.ts';
import { PxdError } from '../pagetable/error.ts';
import { endingFault } from './ending.ts';
import { wholeHash } from './hash.ts';
import { HostTraps } from './host-traps.ts';
import { Picture } from './picture.ts';
import type { Scenario } from './scenario.ts';
import { scheduleText } from './schedule.ts';
import { type Staged, stageOf } from './stage.ts';
import { firstLine, operationOf, stepText } from './step-text.ts';

export interface UndoCheckOptions {
  /** Where the random histories begin. Default 1. */
  readonly seed?: number;
  /** Steps that are taken, undone and taken again. Default 300. */
  readonly steps?: number;
}

export interface UndoFault {
  /**
   * `host`: asks a clock or for randomness; `undo`: undone, it leaves other bytes; `redo`: done again, it is another step; `exception`: it throws what is no broken
   * rule; `setup`: set up twice, the scenario is not the same.
   */
  readonly kind: 'host' | 'undo' | 'redo' | 'exception' | 'setup';
  /** One sentence, which names the task and the operation. */
  readonly message: string;
  /** The task's name, null where no task is at fault. */
  readonly task: string | null;
  readonly schedule: string | null;
  /** Its stack leads to where in the scenario's file it is, where that is known. */
  readonly cause?: unknown;
}

export interface UndoReport {
  readonly id: string;
  readonly variant: string;
  readonly mode: string;
  readonly seed: number;
  /** Steps that were taken, undone and taken again. */
  readonly steps: number;
  /** Different states that were met. */
  readonly states: number;
  readonly fault: UndoFault | null;
}

const STEPS = 300;
/** One in so many steps is compared byte for byte, the others by what they announce and by hash; until something is wrong. */
const PICTURED = 6;
/** In so many steps one goes back. */
const BACK = 12;
/** Steps of one history at most. */
const LONGEST = 150;

/** @throws {PxdError} 'unknown' for a variant that the scenario does not have, and what the scenario's `setup` throws */
export function undoCheck(scenario: Scenario, variant: string, mode: string, { seed = 1, steps = STEPS }: UndoCheckOptions = {}): UndoReport {
  if (scenario.variants[variant] === undefined) throw new PxdError('unknown', `${scenario.id} has no variant ${variant}`);
  const traps = new HostTraps();
  try {
    const check = new UndoCheck(scenario, variant, mode, seed, traps);
    const quick = check.run(steps, PICTURED);
    // What differs is named best where every byte of every step is looked at.
    const fault = quick.fault === null || quick.fault.kind === 'host' ? quick.fault : (check.run(steps, 1).fault ?? quick.fault);
    return { id: scenario.id, variant, mode, seed, ...quick, fault };
  } finally {
    traps.close();
  }
}

/** What is wrong, on its way out. */
class Fault extends Error {
  readonly fault: UndoFault;

  constructor(fault: UndoFault) {
    super(fault.message);
    this.fault = fault;
  }
}

interface Outcome {
  /** What was broken or thrown, '' for nothing. */
  readonly thrown: string;
  /** What the task that moved is about to do now. */
  readonly announced: string;
  /** All tasks' operations, results and hash of the whole state. */
  readonly state: string;
  readonly over: boolean;
}

/** A moment of a history. */
interface Moment {
  readonly mark: SchedulerMark;
  readonly actions: readonly Action[];
  readonly state: string;
}

const BEGINNING: SchedulerMark = { journal: 0, actions: 0, saved: 0, low: 0, high: 0 };
const OUTSIDE = 'something that it goes by lies outside of the machine’s memory';

class UndoCheck {
  readonly #scenario: Scenario;
  readonly #variant: string;
  readonly #mode: string;
  readonly #seed: number;
  readonly #traps: HostTraps;
  #staged!: Staged;
  #history: Moment[] = [];
  /** Outcomes by state and action. */
  #known = new Map<string, Outcome>();
  #states = new Set<string>();
  #done = 0;

  constructor(scenario: Scenario, variant: string, mode: string, seed: number, traps: HostTraps) {
    this.#scenario = scenario;
    this.#variant = variant;
    this.#mode = mode;
    this.#seed = seed;
    this.#traps = traps;
  }

  run(steps: number, pictured: number): Pick<UndoReport, 'steps' | 'states' | 'fault'> {
    this.#known = new Map();
    this.#states = new Set();
    this.#done = 0;
    let fault: UndoFault | null = null;
    try {
      this.#stage();
      this.#staged.stage.machine.enter();
      startJournal();
      try {
        this.#walk(steps, pictured);
      } finally {
        this.#staged.stage.machine.enter();
        this.#staged.scheduler.rewind(BEGINNING);
        stopJournal();
      }
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      fault = error.fault;
    }
    return { steps: this.#done, states: this.#states.size, fault };
  }

  // --- the beginning --------------------------------------------------------------------------------------------------------

  /** Sets the scenario up, twice. */
  #stage(): void {
    const make = (): Staged => {
      const staged = stageOf(this.#scenario, this.#scenario.variants[this.#variant], this.#mode);
      // The soft TLB of emulated CPUs lies in RAM and is no part of the state: no task has it filled.
      staged.stage.machine.tlb.flushAll();
      return staged;
    };
    const first = make();
    const picture = new Picture(first);
    const notes = JSON.stringify(first.stage.notes);
    const asked = this.#traps.take();
    if (asked) throw new Fault({ kind: 'setup', message: `setup of ${this.#scenario.id} asks ${asked.name}`, task: null, schedule: null, cause: asked.at });
    this.#staged = make();
    const { notes: now } = this.#staged.stage;
    const differs = picture.difference(this.#staged) ?? (JSON.stringify(now) === notes ? undefined : `notes are ${JSON.stringify(now)}, they were ${notes}`);
    this.#traps.take();
    if (differs === undefined) return;
    throw new Fault({ kind: 'setup', message: `set up twice, ${this.#scenario.id} is not the same: ${differs}`, task: null, schedule: null });
  }

  // --- histories ------------------------------------------------------------------------------------------------------------

  #walk(steps: number, pictured: number): void {
    const { scheduler } = this.#staged;
    const random = randomNumbers(this.#seed);
    const beginning = new Picture(this.#staged);
    this.#history = [this.#moment(this.#stateText())];
    let longest: readonly Action[] = [];
    while (this.#done < steps) {
      const now = this.#history[this.#history.length - 1];
      const on = now.actions.length > 0 && this.#history.length <= LONGEST;
      if (!on || random(BACK) === 0) {
        if (this.#history.length === 1 && !on) break;
        // Ends are looked at from close by and from far.
        const to = random(2) === 0 ? random(this.#history.length) : Math.max(0, this.#history.length - 1 - random(4));
        this.#history.length = to + 1;
        scheduler.rewind(this.#history[to].mark);
        if (!on && this.#history[to].actions.length === 0 && to === 0) break;
        continue;
      }
      const action = now.actions[random(now.actions.length)];
      const outcome = this.#twice(now, action, random(pictured) === 0);
      this.#done++;
      if (scheduler.schedule.length > longest.length) longest = scheduler.schedule.slice();
      if (outcome.thrown === '') this.#history.push(this.#moment(outcome.state, outcome.over));
      else scheduler.rewind(now.mark);
    }
    this.#again(longest, beginning);
  }

  /** From the beginning once more, later: clocks that nobody listens to have moved on. */
  #again(schedule: readonly Action[], beginning: Picture): void {
    const { scheduler } = this.#staged;
    scheduler.rewind(BEGINNING);
    const differs = beginning.difference(this.#staged);
    if (differs !== undefined) throw new Fault({ ...this.#who(undefined), kind: 'undo', message: `all undone, the beginning is another: ${differs}` });
    const { now } = Date;
    for (const begin = now(); now() === begin; );
    this.#traps.take();
    this.#history = [this.#moment(this.#stateText())];
    for (const action of schedule) {
      const { state, actions } = this.#history[this.#history.length - 1];
      if (!actions.includes(action))
        throw new Fault({ ...this.#who(action), kind: 'redo', message: `${this.#text(action)} cannot happen when the same is done later: ${OUTSIDE}` });
      const outcome = this.#take(action);
      this.#compare(action, this.#known.get(`${state} ${action}`) as Outcome, outcome, 'when the same was done later');
      if (outcome.thrown !== '') return;
      this.#history.push(this.#moment(outcome.state, outcome.over));
    }
  }

  /** Takes a step, undoes it, takes it again. */
  #twice({ mark, state }: Moment, action: Action, pictured: boolean): Outcome {
    const { scheduler } = this.#staged;
    const text = this.#text(action);
    const who = this.#who(action);
    const before = pictured ? new Picture(this.#staged) : undefined;
    const first = this.#take(action);
    const after = pictured ? new Picture(this.#staged) : undefined;
    scheduler.rewind(mark);
    const undone = before?.difference(this.#staged);
    if (undone !== undefined) throw new Fault({ ...who, kind: 'undo', message: `${text} when undone, leaves other bytes: ${undone}` });
    const second = this.#take(action);
    this.#compare(action, first, second, 'when undone and done again', who, text);
    const differs = after?.difference(this.#staged);
    if (differs !== undefined)
      throw new Fault({ ...who, kind: 'redo', message: `${text} leaves other bytes when undone and done again (${differs}): ${OUTSIDE}` });
    const key = `${state} ${action}`;
    const known = this.#known.get(key);
    if (known !== undefined) this.#compare(action, known, second, 'from the same state after another history', who, text);
    this.#known.set(key, second);
    return second;
  }

  #take(action: Action): Outcome {
    const { scheduler } = this.#staged;
    // The order of locks is learned over all runs: here every step is to be as if it were the first.
    forgetOrder();
    const text = this.#text(action);
    const who = this.#who(action);
    let thrown = '';
    let over = false;
    try {
      scheduler.step(action);
      this.#always();
      over = scheduler.done;
      if (!over) scheduler.checkDeadlock(scheduler.actions());
    } catch (error) {
      if (!(error instanceof KernelBug)) throw new Fault({ ...who, kind: 'exception', message: `${text} throws: ${firstLine(error)}`, cause: error });
      thrown = error.message;
    }
    const outcome = { thrown, announced: thrown === '' ? this.#announced(action) : '', state: thrown === '' ? this.#stateText() : '', over };
    if (over) return this.#ending(outcome, who, text);
    this.#listen(who, text);
    return outcome;
  }

  /** At an end the checks are asked, too: what they say is part of what comes out. */
  #ending(outcome: Outcome, who: Pick<UndoFault, 'task' | 'schedule'>, text: string): Outcome {
    const { scheduler } = this.#staged;
    const mark = scheduler.mark();
    let fault: KernelBug | undefined;
    try {
      fault = endingFault(this.#scenario, this.#staged);
    } catch (error) {
      throw new Fault({ ...who, kind: 'exception', message: `behind ${text} a check of the end throws: ${firstLine(error)}`, cause: error });
    }
    scheduler.rewind(mark);
    this.#listen(who, `behind ${text} a check of the end`);
    return { ...outcome, announced: fault ? `the end with ${fault.message}` : 'the end' };
  }

  #listen(who: Pick<UndoFault, 'task' | 'schedule'>, text: string): void {
    const heard = this.#traps.take();
    if (heard) throw new Fault({ ...who, kind: 'host', message: `${text} asks ${heard.name}, which answers differently each time`, cause: heard.at });
  }

  #always(): void {
    for (const [rule, holds] of Object.entries(this.#scenario.always ?? {})) {
      const wrong = holds(this.#staged.stage);
      if (wrong !== undefined) throw new KernelBug(rule, wrong);
    }
  }

  #compare(action: Action, one: Outcome, other: Outcome, when: string, who = this.#who(action), text = this.#text(action)): void {
    const fault = (what: string): never => {
      throw new Fault({ ...who, kind: 'redo', message: `${text} ${what} ${when}: ${OUTSIDE}` });
    };
    if (one.thrown !== other.thrown) fault(`breaks ${other.thrown || 'nothing'} instead of ${one.thrown || 'nothing'}`);
    if (one.announced !== other.announced) fault(`leads to ${other.announced} instead of ${one.announced}`);
    if (one.state !== other.state) fault('leads to another state');
  }

  // --- words ----------------------------------------------------------------------------------------------------------------

  #moment(state: string, over = false): Moment {
    const { scheduler } = this.#staged;
    this.#states.add(state);
    return { mark: scheduler.mark(), actions: over ? [] : scheduler.actions(), state };
  }

  #who(action: Action | undefined): Pick<UndoFault, 'task' | 'schedule'> {
    const { names, scheduler } = this.#staged;
    const task = action === undefined || action >= ACTOR_BASE ? null : names[action];
    return { task, schedule: scheduleText(action === undefined ? scheduler.schedule : [...scheduler.schedule, action]) };
  }

  /** The step that an action would be now. */
  #text(action: Action): string {
    return `${stepText(this.#staged, action)},`;
  }

  #announced(action: Action): string {
    if (action >= ACTOR_BASE) return '';
    const call = this.#staged.scheduler.callOf(taskOf(action));
    if (call === undefined) return `its end with ${this.#staged.scheduler.results[action].join(', ')}`;
    return get(taskOf(action), Task.code) === 0 ? `the end of a call with ${get(taskOf(action), Task.result)}` : operationOf(action);
  }

  /** The whole state: its hash, and what must be the same where that is. */
  #stateText(): string {
    const { scheduler, names } = this.#staged;
    return `${wholeHash(scheduler, names.length)} ${scheduler.done ? '' : scheduler.actions().join(',')}`;
  }
}
