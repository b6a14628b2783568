/**
 * Searches all schedules of a staged scenario, depth first: every state once, backwards by the journal.
 *
 * Invariants: a state is explored when it is met for the first time, or again with fewer preemptions where these are bounded (the task that ran last is
 * then part of the state); what is found first under the smallest bound has the fewest preemptions. Actions of hardware are no preemptions.
 */
import { KernelBug } from '../kernel/bug.ts';
import { ACTOR_BASE, type Action, type SchedulerMark } from '../kernel/scheduler.ts';
import { startJournal, stopJournal } from '../memory/state.ts';
import { PxdError } from '../pagetable/error.ts';
import { Circles } from './circles.ts';
import { endingFault } from './ending.ts';
import { hashTask, hashWhole, taskHash, whole } from './hash.ts';
import type { Reduction } from './reduction.ts';
import type { Check, Scenario, Stage } from './scenario.ts';
import type { Staged } from './stage.ts';
import { Visited } from './visited.ts';

export interface SearchOptions {
  /** Preemptions that a schedule may have: switches away from a task that could go on. Default: any number. */
  readonly preemptions?: number;
  /** Bytes that the table of states may take. Default 1 GiB. */
  readonly memoryBytes?: number;
  /** Asked now and then; true ends the search. */
  readonly stop?: (progress: Progress) => boolean;
  /** Search only what lies below these actions (subtrees.ts). States on the way there count as met; their other branches are those of other subtrees. */
  readonly prefix?: readonly Action[];
  /** The table to go on with: what it holds was met by subtrees that come earlier in the order of the search. Default: an empty one. */
  readonly visited?: Visited;
  /** Operations that are no scheduling points (reduction.ts); its facts are those that all parts of a search go by. */
  readonly reduction?: Reduction;
  /** Hears of every broken rule; the search goes on beside it. Default: it ends with the first. */
  readonly collect?: (violation: Violation) => void;
}

export interface Progress {
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  /** Part of the branches that are done, 0 to 1: a crude estimate, since the first branch of a state leads to most of the states that the others lead to. */
  readonly share?: number;
}

export interface Violation {
  /** The rule that is broken (`I4`, `guard`, a check of the scenario's). */
  readonly rule: string;
  readonly message: string;
  readonly schedule: readonly Action[];
  readonly preemptions: number;
  /** Of a way that came back to itself: the state from which it did. */
  readonly cycle?: { readonly low: number; readonly high: number; readonly preemptions: number };
}

export interface SearchResult extends Progress {
  /** `exhausted`: all there is was seen; `bounded`: all within the bound, which cut something off; `stopped`: not all, by memory or `stop`. */
  readonly verdict: 'violation' | 'exhausted' | 'bounded' | 'stopped';
  readonly violation?: Violation;
  /** Runs to the end that were checked there. */
  readonly endings: number;
  /** Steps that led to a state that was known. */
  readonly matched: number;
  /** Steps that the bound on preemptions cut off. */
  readonly cut: number;
  readonly missProbability: number;
  /** Whether some way came back to a state that it had gone through: whether tasks can go round for ever is known of a search without bounds alone. */
  readonly circular: boolean;
  /** Whether all that lies below the prefix comes back to states of it: whether tasks go round for ever hangs on what else these lead to. */
  readonly unclear: boolean;
  /** Bytes of the table of states. */
  readonly bytes: number;
}

/** A state on the way from the beginning to where the search is. */
interface Frame {
  readonly mark: SchedulerMark;
  readonly actions: readonly Action[];
  next: number;
  /** Task that ran last, −1 at the beginning. */
  readonly last: Action;
  readonly preemptions: number;
  readonly low: number;
  readonly high: number;
  /** Beginnings that were known when it was met. */
  readonly begun: number;
}

/**
 * Bits of a visited state's word: the fewest preemptions it was met with; whether it is on the way to where the search is; whether the bound cuts off
 * some of its branches then; whether this search has met it, or met it with fewer preemptions, and not one before it in the same table.
 */
export const PREEMPTIONS = 0xff;
const ON_PATH = 0x100;
export const CUT = 0x200;
export const FRESH = 0x400;
/** Transitions between two looks at the time. */
const LOOK = 512;

/** A livelock: found where a way comes back to itself, which hangs on the ways that were gone before. */
class Cycle extends KernelBug {}

export function search(scenario: Scenario, staged: Staged, options: SearchOptions = {}): SearchResult {
  return new Search(scenario, staged, options).run();
}

/** Beginnings of runs, in the order of the search, no longer than `depth`, such that what lies below them is all there is (subtrees.ts). */
export function beginnings(scenario: Scenario, staged: Staged, depth: number, options: SearchOptions = {}): Action[][] {
  const search = new Search(scenario, staged, options, depth);
  const { violation } = search.run();
  // What comes after a violation is of no interest.
  return violation ? [...search.beginnings, [...violation.schedule]] : search.beginnings;
}

class Search {
  /** With a horizon: ways to where it was cut off, ended, or led nowhere new. */
  readonly beginnings: Action[][] = [];
  readonly #horizon: number;
  readonly #scenario: Scenario;
  readonly #staged: Staged;
  readonly #bound: number;
  readonly #options: SearchOptions;
  readonly #visited: Visited;
  readonly #frames: Frame[] = [];
  readonly #tasks: number;
  #transitions = 0;
  #endings = 0;
  #matched = 0;
  #cut = 0;
  /** States whose word says CUT. */
  #cutStates = 0;
  #depth = 0;
  #circular = false;
  #unclear = false;
  #violation: Violation | undefined;
  /** Whether the last action led to a new state, and which. */
  #entered = false;
  #enteredLow = 0;
  #enteredHigh = 0;
  /** Hashes of the tasks' own parts, two words each, by number of the frame. */
  #parts: Int32Array;
  /** Of a search of all schedules. What earlier subtrees left in the table leads to an end, or they would have said so. */
  readonly #circles: Circles | undefined;
  readonly #checks: readonly [rule: string, holds: Check<Stage>][];

  constructor(scenario: Scenario, staged: Staged, options: SearchOptions, horizon = Number.POSITIVE_INFINITY) {
    this.#horizon = horizon;
    this.#scenario = scenario;
    this.#staged = staged;
    this.#options = options;
    this.#bound = options.preemptions ?? Number.POSITIVE_INFINITY;
    this.#visited = options.visited ?? new Visited(options.memoryBytes);
    this.#tasks = staged.names.length;
    this.#parts = new Int32Array(512 * this.#tasks);
    this.#checks = Object.entries(scenario.always ?? {});
    const all = horizon === Number.POSITIVE_INFINITY && this.#bound === Number.POSITIVE_INFINITY;
    if (all) this.#circles = new Circles();
  }

  run(): SearchResult {
    const { machine } = this.#staged.stage;
    machine.enter();
    startJournal();
    try {
      return this.#result(this.#explore());
    } finally {
      this.#staged.scheduler.rewind({ journal: 0, actions: 0, saved: 0, low: 0, high: 0 });
      stopJournal();
    }
  }

  #result(stopped: boolean): SearchResult {
    const complete = this.#cutStates === 0 ? 'exhausted' : 'bounded';
    return {
      verdict: this.#violation ? 'violation' : stopped ? 'stopped' : complete,
      ...(this.#violation ? { violation: this.#violation } : {}),
      states: this.#visited.size,
      transitions: this.#transitions,
      depth: this.#depth,
      endings: this.#endings,
      matched: this.#matched,
      cut: this.#cut,
      missProbability: this.#visited.missProbability,
      circular: this.#circular,
      unclear: this.#unclear,
      bytes: this.#visited.bytes,
    };
  }

  /** True when it was stopped before all was seen. */
  #explore(): boolean {
    for (let t = 0; t < this.#tasks; t++) this.#rehash(0, t);
    const { scheduler } = this.#staged;
    const prefix = this.#options.prefix ?? [];
    this.#enter(-1, 0, prefix.length > 0);
    let top = 0;
    for (; scheduler.schedule.length < prefix.length; top++)
      if (!this.#follow(prefix[scheduler.schedule.length], prefix.length)) return this.#visited.full || this.#contradicted;
    while (this.#frames.length > top) {
      const frame = this.#frames[this.#frames.length - 1];
      if (frame.next === frame.actions.length) {
        if (!this.#leave(frame)) return false;
        continue;
      }
      const action = frame.actions[frame.next++];
      const preemptions = frame.preemptions + (isPreemption(frame, action) ? 1 : 0);
      if (preemptions > this.#bound) {
        this.#cut++;
        continue;
      }
      scheduler.rewind(frame.mark);
      if (!this.#take(frame, action, preemptions)) return false;
      if (++this.#transitions % LOOK === 0 && this.#options.stop?.(this.#progress())) return true;
      if (this.#visited.full || this.#contradicted) return true;
    }
    // What else the states of the prefix lead to is not this search's.
    if (top > 0) this.#unclear = this.#circles?.hasWayOut(top - 1) === false;
    for (const { low, high } of this.#frames) this.#clearPath(low, high);
    this.#frames.length = 0;
    return false;
  }

  #progress(): Progress {
    let share = 0;
    let part = 1;
    for (const { actions, next } of this.#frames) {
      part /= actions.length;
      share += part * (next - 1);
    }
    return { states: this.#visited.size, transitions: this.#transitions, depth: this.#depth, share: Math.min(1, Math.max(0, share)) };
  }

  /** Goes one action of the prefix: what comes before it in its frame belongs to subtrees before, what comes after to those after. */
  #follow(action: Action, length: number): boolean {
    const frame = this.#frames[this.#frames.length - 1];
    if (this.#visited.full || this.#contradicted) return false;
    frame.next = frame.actions.indexOf(action) + 1;
    if (frame.next === 0) throw new PxdError('usage', `action ${action} of a subtree may not happen where it is to: the subtree is of another scenario`);
    return this.#take(frame, action, frame.preemptions + (isPreemption(frame, action) ? 1 : 0), length);
  }

  /** Whether the search hides what it should not: it is to be made again. */
  get #contradicted(): boolean {
    return this.#options.reduction?.contradicted === true;
  }

  /** An action with what is hidden behind it. */
  #step(action: Action): void {
    const { scheduler } = this.#staged;
    const { reduction } = this.#options;
    reduction?.note(action);
    scheduler.step(action);
    if (reduction === undefined || action >= ACTOR_BASE) return;
    for (let mark = scheduler.mark(); reduction.goesOn(action); mark = scheduler.mark()) {
      try {
        scheduler.step(action);
      } catch (error) {
        // What breaks a rule is not hidden: before it others may break one, too.
        if (!(error instanceof KernelBug)) throw error;
        scheduler.rewind(mark);
        return;
      }
    }
  }

  /** Takes an action and goes on from where it leads, unless that is known (or even then: within `prefix` actions). False when it breaks a rule. */
  #take(frame: Frame, action: Action, preemptions: number, prefix = 0): boolean {
    const { scheduler } = this.#staged;
    this.#entered = false;
    try {
      this.#step(action);
      this.#hashAfter(action);
      this.#always();
      const depth = this.#frames.length - 1;
      this.#enter(action < ACTOR_BASE ? action : frame.last, preemptions, scheduler.schedule.length < prefix);
      // An end.
      if (this.#entered && this.#frames.length - 1 === depth) this.#circles?.leadsOut(depth);
      return true;
    } catch (error) {
      const found = violationOf(error, scheduler.schedule.slice(), preemptions);
      if (this.#options.collect !== undefined) {
        this.#options.collect(found);
        this.#leaveEntered();
        this.#circles?.leadsOut(this.#frames.length - 1);
        return true;
      }
      this.#violation = error instanceof Cycle ? { ...found, cycle: { low: frame.low, high: frame.high, preemptions: frame.preemptions } } : found;
      return false;
    }
  }

  #always(): void {
    for (const [rule, holds] of this.#checks) {
      const wrong = holds(this.#staged.stage);
      if (wrong !== undefined) throw new KernelBug(rule, wrong);
    }
  }

  /** The tasks' own parts behind the last frame: as in that frame, but for the one that moved. */
  #hashAfter(action: Action): void {
    const words = 2 * this.#tasks;
    const at = this.#frames.length * words;
    if (at + words > this.#parts.length) {
      const larger = new Int32Array(2 * (at + words));
      larger.set(this.#parts);
      this.#parts = larger;
    }
    for (let i = at; i < at + words; i++) this.#parts[i] = this.#parts[i - words];
    if (action < ACTOR_BASE) this.#rehash(at, action);
  }

  #rehash(at: number, number: number): void {
    hashTask(this.#staged.scheduler, number);
    this.#parts[at + 2 * number] = taskHash.low;
    this.#parts[at + 2 * number + 1] = taskHash.high;
  }

  /** A state is met: makes a frame of it when it is new, or `always`. @throws {KernelBug} when it is an end that must not be */
  #enter(last: Action, preemptions: number, always = false): void {
    const { scheduler } = this.#staged;
    let low = 0;
    let high = 0;
    const parts = this.#frames.length * 2 * this.#tasks;
    for (let i = parts; i < parts + 2 * this.#tasks; i += 2) {
      low = (low + this.#parts[i]) | 0;
      high = (high + this.#parts[i + 1]) | 0;
    }
    hashWhole(low, high);
    low = whole.low;
    high = whole.high;
    // With a bound it matters who ran last: to go on with that task costs nothing.
    if (this.#bound !== Number.POSITIVE_INFINITY) {
      low ^= Math.imul(last + 2, 0x5bd1e995);
      high ^= Math.imul(last + 2, 0x1b873593);
    }
    // Without one, preemptions are no reason to explore a state again.
    const paid = this.#bound === Number.POSITIVE_INFINITY ? 0 : preemptions;
    if (!this.#meet(low, high, paid, always)) return;
    this.#entered = true;
    this.#enteredLow = low;
    this.#enteredHigh = high;
    const { done } = scheduler;
    const mark = scheduler.mark();
    const limited = this.#horizon !== Number.POSITIVE_INFINITY;
    if (limited && (this.#frames.length >= this.#horizon || done)) {
      this.beginnings.push(scheduler.schedule.slice());
      this.#clearPath(low, high);
      return;
    }
    if (done) {
      this.#endings++;
      const fault = endingFault(this.#scenario, this.#staged);
      scheduler.rewind(mark);
      if (fault) throw fault;
      this.#clearPath(low, high);
      return;
    }
    const actions = scheduler.actions();
    scheduler.checkDeadlock(actions);
    const frame = { mark, actions: lastFirst(actions, last), next: 0, last, preemptions, low, high, begun: this.beginnings.length };
    this.#frames.push(frame);
    this.#circles?.meet(this.#frames.length - 1);
    this.#depth = Math.max(this.#depth, this.#frames.length);
    if (this.#bound !== Number.POSITIVE_INFINITY && actions.some((action) => isPreemption(frame, action) && preemptions + 1 > this.#bound))
      this.#noteCut(low, high, paid);
  }

  /** Looks a state up and notes it with the preemptions that it took. False when it is known with no more than these. @throws {KernelBug} I27 */
  #meet(low: number, high: number, preemptions: number, always: boolean): boolean {
    const at = this.#visited.find(low, high);
    if (at < 0) return this.#visited.add(low, high, Math.min(preemptions, PREEMPTIONS) | ON_PATH | FRESH);
    const word = this.#visited.word(at);
    if ((word & ON_PATH) !== 0) {
      this.#circular = true;
      this.#checkProgress(low, high);
    } else this.#circles?.leadsTo(this.#frames.length - 1, low, high);
    if ((word & ON_PATH) !== 0 || (word & PREEMPTIONS) <= preemptions) {
      if (always) this.#visited.setWord(at, word | ON_PATH);
      else this.#matched++;
      return always;
    }
    if ((word & CUT) !== 0) this.#cutStates--;
    this.#visited.setWord(at, preemptions | ON_PATH | FRESH);
    return true;
  }

  #noteCut(low: number, high: number, preemptions: number): void {
    const at = this.#visited.find(low, high);
    const word = this.#visited.word(at);
    if ((word & CUT) !== 0 || (word & PREEMPTIONS) !== preemptions) return;
    this.#cutStates++;
    this.#visited.setWord(at, word | CUT);
  }

  /** The last state of the way is left for good. False when what it ends in breaks a rule. */
  #leave(frame: Frame): boolean {
    this.#clearPath(frame.low, frame.high);
    this.#frames.pop();
    if (this.#circles?.leave(this.#frames.length, frame.low, frame.high)) {
      const schedule = this.#staged.scheduler.schedule.slice(0, frame.mark.actions);
      const stuck = new KernelBug('I27', 'livelock: from here on no task gets to its end, whoever goes when');
      const found = violationOf(stuck, schedule, frame.preemptions);
      if (this.#options.collect === undefined) {
        this.#violation = found;
        return false;
      }
      this.#options.collect(found);
      if (this.#frames.length > 0) this.#circles.leadsOut(this.#frames.length - 1);
    }
    // A way that leads nowhere new is a beginning too: the states on it are met nowhere else.
    if (this.#horizon !== Number.POSITIVE_INFINITY && frame.begun === this.beginnings.length)
      this.beginnings.push(this.#staged.scheduler.schedule.slice(0, frame.mark.actions));
    return true;
  }

  #leaveEntered(): void {
    if (this.#entered) this.#clearPath(this.#enteredLow, this.#enteredHigh);
  }

  #clearPath(low: number, high: number): void {
    const at = this.#visited.find(low, high);
    this.#visited.setWord(at, this.#visited.word(at) & ~ON_PATH);
  }

  /**
   * The way has come back to a state that it went through. When every task that could go on in between did, they may go round for ever.
   *
   * @throws {KernelBug} I27
   */
  #checkProgress(low: number, high: number): void {
    let moved = 0;
    let able = 0;
    for (let i = this.#frames.length - 1; i >= 0; i--) {
      const { actions, next, low: l, high: h } = this.#frames[i];
      if (l === low && h === high) this.#circles?.leadsBack(this.#frames.length - 1, i);
      const taken = actions[next - 1];
      if (taken < ACTOR_BASE) moved |= 1 << taken;
      for (const action of actions) if (action < ACTOR_BASE) able |= 1 << action;
      if (l === low && h === high) break;
    }
    if (moved !== 0 && (able & ~moved) === 0) throw new Cycle('I27', 'livelock: tasks go round and come back to where they were');
  }
}

/** A switch away from a task that could go on. Hardware is no task. */
function isPreemption({ actions, last }: Frame, action: Action): boolean {
  return action < ACTOR_BASE && last >= 0 && action !== last && actions.includes(last);
}

/** The task that ran last goes on first: the first run of a search is one without preemptions. */
function lastFirst(actions: Action[], last: Action): Action[] {
  let at = actions.indexOf(last);
  if (at <= 0) return actions;
  for (; at > 0; at--) actions[at] = actions[at - 1];
  actions[0] = last;
  return actions;
}

export function violationOf(error: unknown, schedule: readonly Action[], preemptions: number): Violation {
  if (error instanceof KernelBug) return { rule: error.rule, message: error.message, schedule, preemptions };
  return { rule: 'exception', message: `exception: ${(error as Error).stack ?? String(error)}`, schedule, preemptions };
}
