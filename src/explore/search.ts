/**
 * Searches all schedules of a staged scenario, depth first: every state once, backwards by the journal.
 *
 * Invariants: a state is explored when it is met for the first time, or again with fewer preemptions where these are bounded (the task that ran last is
 * then part of the state); what is found first under the smallest bound has the fewest preemptions. Actions of hardware are no preemptions.
 */
import { KernelBug } from '../kernel/bug.ts';
import { IDLE_BASE } from '../kernel/hardware.ts';
import type { KnownSteps } from '../kernel/known-steps.ts';
import { ACTOR_BASE, type Action } from '../kernel/scheduler.ts';
import { wholeHigh, wholeLow } from '../kernel/task-hash.ts';
import { startJournal, stateHashHigh, stateHashLow, stopJournal } from '../memory/state.ts';
import { PxdError } from '../pagetable/error.ts';
import { Circles } from './circles.ts';
import { endingFault } from './ending.ts';
import type { Reduction } from './reduction.ts';
import type { Check, Scenario, Stage } from './scenario.ts';
import { Sleep } from './sleep.ts';
import type { Staged } from './stage.ts';
import { Visited } from './visited.ts';
import { type Frame, Way } from './way.ts';

export interface SearchOptions {
  /** Preemptions that a schedule may have: switches away from a task that could go on. Default: any number. */
  readonly preemptions?: number;
  /** Bytes that the table of states may take. Default 1 GiB. */
  readonly memoryBytes?: number;
  /** States that the search is expected to meet, for which the table has room from the beginning. Default: it begins small and grows. */
  readonly expected?: number;
  /** Asked now and then; true ends the search. */
  readonly stop?: (progress: Progress) => boolean;
  /** Search only what lies below these actions (subtrees.ts). States on the way there count as met; their other branches are those of other subtrees. */
  readonly prefix?: readonly Action[];
  /** The table to go on with: what it holds was met by subtrees that come earlier in the order of the search. Default: an empty one. */
  readonly visited?: Visited;
  /** Operations that are no scheduling points (reduction.ts); its facts are those that all parts of a search go by. */
  readonly reduction?: Reduction;
  /** Steps that an earlier search of the same has taken. */
  readonly known?: KnownSteps;
  /** Sleep sets (sleep.ts), where they may be. Default true; to switch them off is for those who measure. */
  readonly sleep?: boolean;
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

/**
 * Bits of a visited state's word: the fewest preemptions it was met with; whether it is on the way to where the search is; whether the bound cuts off
 * some of its branches then; whether this search has met it, or met it with fewer preemptions, and not one before it in the same table.
 */
export const PREEMPTIONS = 0xff;
const ON_PATH = 0x100;
export const CUT = 0x200;
export const FRESH = 0x400;
/** From this bit on: what slept whenever the state was met (sleep.ts). */
const SLEEP = 11;
/** Transitions between two looks at the time. */
const LOOK = 512;

/** A livelock: found where a way comes back to itself, which hangs on the ways that were gone before. */
class Cycle extends KernelBug {}

export function search(scenario: Scenario, staged: Staged, options: SearchOptions = {}): SearchResult {
  if (maySleep(scenario, staged, options)) {
    const found: Violation[] = [];
    const { collect } = options;
    const search = new Search(
      scenario,
      staged,
      { ...options, ...(collect ? { collect: (violation: Violation) => found.push(violation) } : {}) },
      undefined,
      true,
    );
    const result = search.run();
    if (!search.circular) {
      for (const violation of found) collect?.(violation);
      return result;
    }
  }
  return new Search(scenario, staged, options).run();
}

/** Whether steps may be put to sleep: in searches of all schedules that are made as a whole, where all is known of what steps touch. */
function maySleep(scenario: Scenario, { scheduler, racy }: Staged, { preemptions, prefix, visited, reduction, sleep, collect }: SearchOptions): boolean {
  // What comes behind a state that breaks a rule is met on other ways, where steps sleep.
  if (collect !== undefined && scenario.always !== undefined) return false;
  if (sleep === false || racy === true || reduction !== undefined || visited !== undefined || prefix !== undefined) return false;
  const { ipis, storeBuffers, tornEntries, asids, device, guards } = scheduler.options;
  return (
    (preemptions ?? Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY && !ipis && !storeBuffers && !tornEntries && !asids && !device && guards !== false
  );
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
  /** Whether there is a bound, or a horizon. */
  readonly #isBounded: boolean;
  readonly #isLimited: boolean;
  readonly #options: SearchOptions;
  readonly #visited: Visited;
  readonly #way = new Way();
  #transitions = 0;
  #endings = 0;
  #matched = 0;
  #cut = 0;
  /** States whose word says CUT. */
  #cutStates = 0;
  #depth = 0;
  #circular = false;
  /** There is no room for more states, or what comes is to be searched awake. */
  #halted = false;
  #unclear = false;
  #violation: Violation | undefined;
  /** What sleeps in the state that was met; which of what slept there before is to be taken, −1 in a new state. */
  #asleep = 0;
  #awake = -1;
  /** Where the state that was met stands in the table. */
  #place = 0;
  /** Whether the last action led to a new state, and which. */
  #entered = false;
  #enteredLow = 0;
  #enteredHigh = 0;
  /** Steps that were taken before. */
  #known!: KnownSteps;
  /** Of a search of all schedules. What earlier subtrees left in the table leads to an end, or they would have said so. */
  readonly #circles: Circles | undefined;
  /** Memories of the machine at an end with which nothing was wrong. */
  readonly #sound = new Visited();
  readonly #checks: readonly [rule: string, holds: Check<Stage>][];

  readonly #sleep: Sleep | undefined;

  constructor(scenario: Scenario, staged: Staged, options: SearchOptions, horizon = Number.POSITIVE_INFINITY, sleeps = false) {
    this.#horizon = horizon;
    this.#scenario = scenario;
    this.#staged = staged;
    this.#options = options;
    this.#bound = options.preemptions ?? Number.POSITIVE_INFINITY;
    this.#visited = options.visited ?? new Visited(options.memoryBytes, options.expected);
    this.#checks = Object.entries(scenario.always ?? {});
    this.#isBounded = this.#bound !== Number.POSITIVE_INFINITY;
    this.#isLimited = horizon !== Number.POSITIVE_INFINITY;
    const all = !this.#isLimited && !this.#isBounded;
    if (sleeps) this.#sleep = new Sleep(staged);
    else if (all) this.#circles = new Circles();
  }

  /** Whether some way came back to itself. */
  get circular(): boolean {
    return this.#circular;
  }

  run(): SearchResult {
    const { scheduler, stage } = this.#staged;
    stage.machine.enter();
    startJournal();
    this.#known = scheduler.remember(this.#options.known);
    try {
      return this.#result(this.#explore());
    } finally {
      scheduler.rewind({ journal: 0, actions: 0, saved: 0, low: 0, high: 0 });
      scheduler.forget();
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
    const { scheduler } = this.#staged;
    const known = this.#known;
    const { prefix = [], reduction } = this.#options;
    this.#enter(-1, 0, prefix.length > 0);
    let top = 0;
    for (; scheduler.schedule.length < prefix.length; top++)
      if (!this.#follow(prefix[scheduler.schedule.length], prefix.length)) return this.#visited.full || this.#contradicted;
    while (this.#way.length > top) {
      const frame = this.#way.last;
      if (frame.done) {
        if (!this.#leave(frame)) return false;
        continue;
      }
      const action = frame.next();
      const preemptions = this.#isBounded ? this.#preemptionsBehind(frame, action) : 0;
      if (this.#isBounded && preemptions > this.#bound) {
        this.#cut++;
        continue;
      }
      if (known.logTop > frame.log) known.rewind(frame.log);
      if (!this.#take(frame, action, preemptions)) return false;
      if (++this.#transitions % LOOK === 0 && this.#options.stop?.(this.#progress())) return true;
      if (this.#halted || reduction?.contradicted === true) return true;
    }
    // What else the states of the prefix lead to is not this search's.
    if (top > 0) this.#unclear = this.#circles?.hasWayOut(top - 1) === false;
    for (; this.#way.length > 0; this.#way.pop()) this.#clearPath(this.#way.last.low, this.#way.last.high);
    return false;
  }

  #progress(): Progress {
    let share = 0;
    let part = 1;
    for (let depth = 0; depth < this.#way.length; depth++) {
      const { count, rest } = this.#way.at(depth);
      part /= count;
      share += part * (count - rest - 1);
    }
    return { states: this.#visited.size, transitions: this.#transitions, depth: this.#depth, share: Math.min(1, Math.max(0, share)) };
  }

  /** Goes one action of the prefix: what comes before it in its frame belongs to subtrees before, what comes after to those after. */
  #follow(action: Action, length: number): boolean {
    const frame = this.#way.last;
    if (this.#visited.full || this.#contradicted) return false;
    do {
      if (frame.done) throw new PxdError('usage', `action ${action} of a subtree may not happen where it is to: the subtree is of another scenario`);
    } while (frame.next() !== action);
    return this.#take(frame, action, this.#isBounded ? this.#preemptionsBehind(frame, action) : 0, length);
  }

  #preemptionsBehind(frame: Frame, action: Action): number {
    return frame.preemptions + (frame.isPreemption(action) ? 1 : 0);
  }

  /** Whether the search hides what it should not: it is to be made again. */
  get #contradicted(): boolean {
    return this.#options.reduction?.contradicted === true;
  }

  /** An action with what is hidden behind it. */
  #step(action: Action): number {
    const { scheduler } = this.#staged;
    const { reduction } = this.#options;
    if (reduction !== undefined) {
      scheduler.settle();
      reduction.note(action);
    }
    scheduler.step(action);
    if (reduction === undefined || action >= ACTOR_BASE) return 0;
    for (let mark = scheduler.mark(); reduction.goesOn(action); mark = scheduler.mark()) {
      try {
        scheduler.step(action);
      } catch (error) {
        // What breaks a rule is not hidden: before it others may break one, too.
        if (!(error instanceof KernelBug)) throw error;
        scheduler.rewind(mark);
        return 0;
      }
    }
    return 0;
  }

  /** An action, and the number of the record of its step (steps.ts). */
  #stepNoted(action: Action, sleep: Sleep): number {
    const { scheduler } = this.#staged;
    const known = this.#known;
    const step = known.find(action);
    const record = step < 0 ? -1 : known.noteOf(step);
    if (record >= 0) {
      known.again(action, step);
      return record;
    }
    scheduler.settle();
    sleep.begin(action);
    scheduler.stepAnew(action);
    const made = sleep.end();
    known.keepNote(made);
    return made;
  }

  /** Takes an action and goes on from where it leads, unless that is known (or even then: within `prefix` actions). False when it breaks a rule. */
  #take(frame: Frame, action: Action, preemptions: number, prefix = 0): boolean {
    const { scheduler } = this.#staged;
    this.#entered = false;
    try {
      const depth = this.#way.length - 1;
      const sleep = this.#sleep;
      // Alone it has nobody to sleep for.
      const notes = sleep !== undefined && (!frame.done || frame.mayBeAsleep !== 0);
      if (sleep !== undefined && this.#checks.length === 0) {
        const known = this.#known;
        const step = known.find(action);
        const record = step < 0 || !notes ? step : known.noteOf(step);
        if (record >= 0) {
          this.#takeAgain(frame, action, step, notes ? sleep.taken(frame, depth, action, record) : 0);
          return true;
        }
      }
      const record = notes ? this.#stepNoted(action, sleep) : this.#step(action);
      if (this.#checks.length > 0) this.#always();
      const asleep = notes ? sleep.taken(frame, depth, action, record) : 0;
      this.#enter(action < ACTOR_BASE ? action : frame.last, preemptions, prefix > 0 && scheduler.schedule.length < prefix, asleep);
      // An end.
      if (this.#entered && this.#way.length - 1 === depth) this.#circles?.leadsOut(depth);
      return true;
    } catch (error) {
      return this.#broken(error, frame);
    }
  }

  /** What was taken has broken a rule. False when that is the end of the search. */
  #broken(error: unknown, frame: Frame): boolean {
    this.#sleep?.drop();
    const found = violationOf(error, this.#staged.scheduler.schedule, this.#way.preemptions());
    if (this.#options.collect !== undefined) {
      this.#options.collect(found);
      this.#leaveEntered();
      this.#circles?.leadsOut(this.#way.length - 1);
      return true;
    }
    this.#violation =
      error instanceof Cycle ? { ...found, cycle: { low: frame.low, high: frame.high, preemptions: this.#way.preemptions(this.#way.length - 1) } } : found;
    return false;
  }

  /** The same with a step that is known: where it leads is looked up before it is taken. */
  #takeAgain(frame: Frame, action: Action, step: number, asleep: number): void {
    const known = this.#known;
    known.lookAhead(step);
    const low = known.lowThen;
    const high = known.highThen;
    const at = this.#visited.find(low, high);
    if (at >= 0) {
      if (!this.#meetAgain(action, step, asleep, at)) return;
    } else {
      known.again(action, step);
      this.#asleep = asleep;
      this.#awake = -1;
      if (!this.#meetNew(low, high, ON_PATH | FRESH | (asleep << SLEEP), at)) return;
    }
    this.#goOn(low, high, action < ACTOR_BASE ? action : frame.last, 0);
  }

  /** Where it leads to a state that is in the table: the step is taken only when there is more to it. False when there is not. */
  #meetAgain(action: Action, step: number, asleep: number, at: number): boolean {
    const known = this.#known;
    const low = known.lowThen;
    const high = known.highThen;
    const word = this.#visited.word(at);
    if ((word & ON_PATH) !== 0 ? this.#isIdle(low, high) : ((word >>> SLEEP) & ~asleep) === 0) {
      this.#matched++;
      return false;
    }
    known.again(action, step);
    return this.#meet(low, high, 0, false, asleep, at);
  }

  #always(): void {
    this.#staged.scheduler.settle();
    for (const [rule, holds] of this.#checks) {
      const wrong = holds(this.#staged.stage);
      if (wrong !== undefined) throw new KernelBug(rule, wrong);
    }
  }

  /** A state is met: makes a frame of it when it is new, or `always`. @throws {KernelBug} when it is an end that must not be */
  #enter(last: Action, preemptions: number, always = false, asleep = 0): void {
    const known = this.#known;
    let low = wholeLow(stateHashLow(), known.tasksLow);
    let high = wholeHigh(stateHashHigh(), known.tasksHigh);
    // With a bound it matters who ran last: to go on with that task costs nothing.
    if (this.#isBounded) {
      low ^= Math.imul(last + 2, 0x5bd1e995);
      high ^= Math.imul(last + 2, 0x1b873593);
    }
    if (this.#meet(low, high, preemptions, always, asleep, this.#visited.find(low, high))) this.#goOn(low, high, last, preemptions);
  }

  /** Makes a frame of a state that was met, or of an end none. @throws {KernelBug} when it is an end that must not be */
  #goOn(low: number, high: number, last: Action, preemptions: number): void {
    this.#entered = true;
    this.#enteredLow = low;
    this.#enteredHigh = high;
    if (this.#known.done || (this.#isLimited && this.#way.length >= this.#horizon)) {
      this.#end(low, high);
      return;
    }
    const frame = this.#way.push(this.#staged.scheduler, this.#known.logTop, last, preemptions);
    frame.low = low;
    frame.high = high;
    frame.place = this.#place;
    frame.begun = this.beginnings.length;
    if (this.#sleep !== undefined) this.#leaveAsleep(frame, this.#sleep);
    this.#circles?.meet(this.#way.length - 1);
    if (this.#way.length > this.#depth) this.#depth = this.#way.length;
    if (this.#isBounded && preemptions + 1 > this.#bound && frame.preempts) this.#noteCut(low, high, preemptions);
  }

  /** The way ends here: all tasks are done, or it is as long as it may be. @throws {KernelBug} when it is an end that must not be */
  #end(low: number, high: number): void {
    const { scheduler } = this.#staged;
    if (this.#isLimited) this.beginnings.push([...scheduler.schedule]);
    else {
      this.#endings++;
      const known = this.#known;
      const machine = known.machineHash();
      const at = this.#sound.find(machine.low, machine.high);
      const mark = scheduler.mark();
      const fault = endingFault(this.#scenario, this.#staged, at >= 0 && !known.isToldLocked);
      scheduler.rewind(mark);
      if (fault) throw fault;
      if (at < 0) this.#sound.add(machine.low, machine.high, 0, at);
    }
    this.#clearPath(low, high);
  }

  /** Takes what sleeps off what is to be taken, and what would change nothing. */
  #leaveAsleep(frame: Frame, sleep: Sleep): void {
    sleep.enter(frame, this.#way.length - 1, this.#asleep);
    // Met again, only what sleeps no more is taken.
    const again = this.#awake !== -1;
    frame.tasks &= again ? this.#awake : ~this.#asleep;
    frame.left = frame.tasks;
    if (frame.hardwareCount !== 0) this.#leaveHardwareAsleep(frame, sleep, again);
  }

  #leaveHardwareAsleep(frame: Frame, sleep: Sleep, again: boolean): void {
    let count = 0;
    for (let i = 0; i < frame.hardwareCount; i++) {
      const action = frame.hardware[i];
      const bit = sleep.bitOf(action);
      if (again ? (bit & this.#awake) === 0 : (bit & this.#asleep) !== 0) continue;
      if (!this.#known.changesNothing(action)) frame.hardware[count++] = action;
    }
    frame.hardwareCount = count;
  }

  /** Looks a state up and notes it with the preemptions that it took. False when it is known with no more than these. @throws {KernelBug} I27 */
  #meet(low: number, high: number, preemptions: number, always: boolean, asleep: number, at: number): boolean {
    this.#asleep = asleep;
    this.#awake = -1;
    this.#place = at;
    if (at < 0) {
      return this.#meetNew(low, high, Math.min(preemptions, PREEMPTIONS) | ON_PATH | FRESH | (asleep << SLEEP), at);
    }
    const word = this.#visited.word(at);
    if (this.#sleep !== undefined && (word & ON_PATH) === 0) {
      const before = word >>> SLEEP;
      this.#awake = before & ~asleep;
      this.#asleep = before & asleep;
      if (this.#awake !== 0) {
        this.#visited.setWord(at, (word & ((1 << SLEEP) - 1)) | ON_PATH | (this.#asleep << SLEEP));
        return true;
      }
    }
    // Hardware that reads what it has read before changes nothing, whoever waits for what.
    if (this.#sleep !== undefined && this.#isIdle(low, high)) {
      this.#matched++;
      return false;
    }
    if ((word & ON_PATH) !== 0) {
      this.#circular = true;
      if (this.#sleep !== undefined) this.#halted = true;
      this.#checkProgress(low, high);
    } else this.#circles?.leadsTo(this.#way.length - 1, low, high);
    if ((word & ON_PATH) !== 0 || (word & PREEMPTIONS) <= preemptions) {
      if (always) this.#visited.setWord(at, word | ON_PATH);
      else this.#matched++;
      return always;
    }
    if ((word & CUT) !== 0) this.#cutStates--;
    this.#visited.setWord(at, preemptions | ON_PATH | FRESH);
    return true;
  }

  /** Notes a state that was met for the first time, with its word. False when there is no room. */
  #meetNew(low: number, high: number, word: number, at: number): boolean {
    const visited = this.#visited;
    const { moves } = visited;
    if (!visited.add(low, high, word, at)) {
      this.#halted = true;
      return false;
    }
    this.#place = visited.place;
    if (moves !== visited.moves) this.#way.replace(visited);
    return true;
  }

  /** Whether hardware that nobody waits for has left the state as it was. */
  #isIdle(low: number, high: number): boolean {
    const frame = this.#way.last;
    return frame.low === low && frame.high === high && frame.taken >= IDLE_BASE;
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
    this.#visited.setWord(frame.place, this.#visited.word(frame.place) & ~ON_PATH);
    this.#way.pop();
    if (this.#circles?.leave(this.#way.length, frame.low, frame.high)) {
      const schedule = this.#known.actions(frame.log);
      const stuck = new KernelBug('I27', 'livelock: from here on no task gets to its end, whoever goes when');
      const found = violationOf(stuck, schedule, this.#way.preemptions());
      if (this.#options.collect === undefined) {
        this.#violation = found;
        return false;
      }
      this.#options.collect(found);
      if (this.#way.length > 0) this.#circles.leadsOut(this.#way.length - 1);
    }
    // A way that leads nowhere new is a beginning too: the states on it are met nowhere else.
    if (this.#isLimited && frame.begun === this.beginnings.length) this.beginnings.push(this.#known.actions(frame.log));
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
    for (let i = this.#way.length - 1; i >= 0; i--) {
      const { tasks, taken, low: l, high: h } = this.#way.at(i);
      if (l === low && h === high) this.#circles?.leadsBack(this.#way.length - 1, i);
      if (taken < ACTOR_BASE) moved |= 1 << taken;
      able |= tasks;
      if (l === low && h === high) break;
    }
    if (moved !== 0 && (able & ~moved) === 0) throw new Cycle('I27', 'livelock: tasks go round and come back to where they were');
  }
}

export function violationOf(error: unknown, schedule: readonly Action[], preemptions: number): Violation {
  if (error instanceof KernelBug) return { rule: error.rule, message: error.message, schedule, preemptions };
  return { rule: 'exception', message: `exception: ${(error as Error).stack ?? String(error)}`, schedule, preemptions };
}
