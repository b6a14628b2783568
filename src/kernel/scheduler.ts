/**
 * Runs tasks of kernel code against each other: one operation at a time, in an order that a function chooses.
 *
 * A task is a list of calls, run one after the other, as native generators or as the step program. Beside tasks there are actors: hardware that
 * reads a translation ahead of time, CPUs that take the interrupt of a flush. What may happen next is a list of *actions*, numbers that tell the whole of
 * it; the actions taken are a schedule, which replays to the same end.
 *
 * Invariants: an action is one indivisible step (an operation of one task with all the plain code that follows it, up to its next operation). Everything
 * that tasks are lies in the machine's heap and, for the step program, in `stack`; native generators cannot be copied. Rules that are
 * broken throw a KernelBug, out of `step`, which names the rule; the machine is to be thrown away then.
 */
import { get, set } from '../memory/heap.ts';
import { heap, journalMark, recording, setSlot, stateHashHigh, stateHashLow, undoTo } from '../memory/state.ts';
import { KernelBug } from './bug.ts';
import { advance, backtrace, type Descriptor, S, stackEnd, startTask, TASK, useStack } from './compile/runtime.ts';
import { setGuards } from './guards.ts';
import { ACTOR_BASE, actsByItself, describeHardware, type HardwareOptions, hardwareActions, IDLE_BASE, performHardware, setHardware } from './hardware.ts';
import { checkIntent, intentOf } from './intents.ts';
import { KnownSteps } from './known-steps.ts';
import { checkReturn, heldBy, holdersOf, lockName } from './lockdep.ts';
import { type Op, operations, pending } from './op.ts';
import { entrySet, flushTlbMm, flushTlbRange } from './ops.ts';
import { bufferAllows, performBuffered } from './store-buffer.ts';
import { Cpu, cpuOf, createTask, firstCpu, firstTask, makeCpus, setRunning, TASK_DONE, TASK_RUNNING, Task, type TaskRef, taskOf } from './task.ts';
import { ipisIdle, sendIpis } from './tlb.ts';
import { entriesAreTorn, storeFirstHalf } from './torn.ts';

/** A kernel function, native or as a step descriptor, and what it is called with. */
export interface Call {
  readonly run: ((...args: number[]) => Op<number>) | Descriptor;
  readonly args: readonly number[];
  /** What it is called in reports. */
  readonly name?: string;
}

export interface SchedulerOptions extends HardwareOptions {
  readonly cpus?: number;
  /** Doubles of a task's stack in the step program. */
  readonly stackSize?: number;
  /** Hears of each call when its first step is taken and when it has returned; may throw a KernelBug. */
  readonly onStart?: (task: number, call: Call) => void;
  readonly onReturn?: (task: number, call: Call, result: number) => void;
  /** Hears what each operation of a task of the step program answers, before the code behind it runs. */
  readonly onOperation?: (task: number, result: number) => void;
  /** Whether guards of fields are checked (default true). */
  readonly guards?: boolean;
  /** By code of an operation: whether tasks of the step program stop before it (default: before every one). */
  readonly stops?: Uint8Array<ArrayBuffer>;
}

/** What may happen: the number of a task, or an actor's action from ACTOR_BASE on. */
export type Action = number;

export { ACTOR_BASE };

/** Of the actions that may happen now, the one that does. */
export type Choose = (actions: readonly Action[], scheduler: Scheduler) => Action;

/** A moment that `rewind` leads back to; only while a journal runs and all tasks are of the step program. While steps are remembered it is a length of their log (`saved`). */
export interface SchedulerMark {
  readonly journal: number;
  readonly actions: number;
  readonly saved: number;
  /** Hash of the machine's memory at that moment. */
  readonly low: number;
  readonly high: number;
}

const DEFAULT_STACK = 2048;

export class Scheduler {
  readonly options: SchedulerOptions;
  /** The actions taken so far, but for those of the search that runs. */
  readonly #taken: Action[] = [];
  /** Results of the calls of each task. */
  readonly results: number[][] = [];
  /** Stacks of tasks of the step program, one after the other. */
  stack: Float64Array<ArrayBuffer> = new Float64Array(0);
  readonly #programs: (readonly Call[])[] = [];
  readonly #generators: (Op<number> | undefined)[] = [];
  readonly #stackSize: number;
  /** What steps changed in the stack, while a journal runs: contents of areas before, then (area, length before), newest last. */
  #saved = new Float64Array(1 << 12);
  #savedTop = 0;
  /** Steps that were taken before, while a search runs. */
  #known: KnownSteps | undefined;
  /** Whether any two tasks share a CPU. */
  #crowded = false;
  readonly #hasActors: boolean;
  /** Whether what a task waits for is its operation's alone to say. */
  readonly #waitsForOperations: boolean;

  /** Gives the mounted machine CPUs; `adopt`: the machine has CPUs and tasks already (a copy of one that ran), whose programs are added with `adopt`. */
  constructor(options: SchedulerOptions = {}) {
    this.options = options;
    this.#hasActors = actsByItself(options);
    this.#waitsForOperations = options.ipis !== true && options.storeBuffers !== true;
    this.#stackSize = options.stackSize ?? DEFAULT_STACK;
    if (firstCpu() !== 0) return;
    makeCpus(options.cpus ?? 1, options.device === true);
    setHardware(options);
  }

  /** Tells which address space a CPU has loaded at the beginning. Where translations are tagged tasks say so themselves (contextSwitch). */
  load(cpu: number, mm: number): void {
    if (this.options.asids !== undefined) return;
    set(cpuOf(cpu), Cpu.mm, mm);
  }

  /** A new task that runs calls, on a CPU. Its number. */
  spawn(program: readonly Call[], cpu = 0): number {
    const task = createTask(cpuOf(cpu));
    const number = get(task, Task.number);
    this.#register(number, program);
    this.#start(task);
    return number;
  }

  /** Takes over a task that the machine's memory knows (its number) and that was in the middle of `program`, in the step program. */
  adopt(number: number, program: readonly Call[]): void {
    if (taskOf(number) === 0) throw new Error(`the machine has no task ${number}`);
    this.#register(number, program);
  }

  #register(number: number, program: readonly Call[]): void {
    this.#programs[number] = program;
    this.results[number] = [];
    const cpu = get(taskOf(number), Task.cpu);
    for (let task = firstTask(); task !== 0; task = get(task, Task.next))
      if (get(task, Task.number) !== number && get(task, Task.cpu) === cpu) this.#crowded = true;
    const need = (number + 1) * this.#stackSize;
    if (this.stack.length >= need) return;
    const larger = new Float64Array(need);
    larger.set(this.stack);
    this.stack = larger;
  }

  /** All calls of a task. */
  programOf(number: number): readonly Call[] {
    return this.#programs[number];
  }

  /** Where a task of the step program waits, innermost first; empty when its call has ended. */
  backtraceOf(number: number): string[] {
    this.#known?.writeBack(number);
    useStack(this.stack);
    return backtrace(number * this.#stackSize);
  }

  /** The task's current call, undefined when it has done all. */
  callOf(task: TaskRef): Call | undefined {
    return this.#programs[get(task, Task.number)][get(task, Task.call)];
  }

  /** The actions taken so far. */
  get schedule(): readonly Action[] {
    return this.#known === undefined ? this.#taken : [...this.#taken, ...this.#known.actions()];
  }

  // --- what may happen ------------------------------------------------------------------------------------------------------

  /** Every action that may happen now, tasks first. */
  actions(): Action[] {
    const found: Action[] = [];
    for (let rest = this.runnable(); rest !== 0; rest &= rest - 1) found.push(31 - Math.clz32(rest & -rest));
    this.hardwareInto(found, found.length);
    return found;
  }

  /** The tasks that may take their next step, as bits. */
  runnable(): number {
    if (this.#known !== undefined && this.#waitsForOperations && !this.#crowded) return this.#known.runnable();
    this.settle();
    let runnable = 0;
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) if (this.#mayRun(task)) runnable |= 1 << get(task, Task.number);
    return runnable;
  }

  /** What hardware may do, written into a list behind the first `count`: how many are there then. */
  hardwareInto(found: Action[], count = 0): number {
    return this.#hasActors ? hardwareActions(this.options, found, count) : count;
  }

  /** Tasks' objects are made what they are, for who is about to look at them: while steps are known they may lag behind. */
  settle(): void {
    this.#known?.settle();
  }

  /** Tasks that are not done. */
  get alive(): number[] {
    this.settle();
    const found: number[] = [];
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) if (get(task, Task.state) !== TASK_DONE) found.push(get(task, Task.number));
    return found;
  }

  /** Whether a task's next step may be taken. */
  mayRun(number: number): boolean {
    this.settle();
    return this.#mayRun(taskOf(number));
  }

  #mayRun(task: TaskRef): boolean {
    if (get(task, Task.state) !== TASK_RUNNING || (this.#crowded && this.#preempted(task))) return false;
    const code = get(task, Task.code);
    if (code === 0) return true;
    if (this.options.ipis && isFlush(code) && !ipisIdle()) return false;
    if (this.options.storeBuffers && !bufferAllows(get(task, Task.cpu), code)) return false;
    const { enabled } = operations[code];
    return enabled === undefined || enabled(get(task, Task.a), get(task, Task.b), get(task, Task.c), get(task, Task.d));
  }

  /** Whether all tasks are done. */
  get done(): boolean {
    if (this.#known !== undefined) return this.#known.done;
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) if (get(task, Task.state) !== TASK_DONE) return false;
    return true;
  }

  /** Whether another task of the same CPU is where it cannot be preempted. */
  #preempted(task: TaskRef): boolean {
    const cpu = get(task, Task.cpu);
    for (let other = firstTask(); other !== 0; other = get(other, Task.next))
      if (other !== task && get(other, Task.cpu) === cpu && (get(other, Task.atomicDepth) > 0 || get(other, Task.irqsOff) > 0)) return true;
    return false;
  }

  // --- what happens ---------------------------------------------------------------------------------------------------------

  /** Performs an action that may happen. @throws {KernelBug} when a rule is broken by it */
  step(action: Action): void {
    const known = this.#known;
    if (known === undefined) {
      this.#taken.push(action);
      this.#perform(action);
      return;
    }
    const step = known.find(action);
    if (step >= 0) known.again(action, step);
    else this.stepAnew(action);
  }

  #perform(action: Action): void {
    if (action >= ACTOR_BASE) performHardware(action, this.options, this.pgdOf);
    else this.#stepTask(taskOf(action));
  }

  // --- steps that are known -------------------------------------------------------------------------------------------------

  /**
   * From now on steps are kept and taken again without running their code (known-steps.ts); all tasks are of the step program, and a journal has just
   * begun. `known`: those of an earlier search from the same memory.
   */
  remember(known = this.knownSteps()): KnownSteps {
    useStack(this.stack);
    known.begin();
    this.#known = known;
    return known;
  }

  /** Steps of searches from the memory as it is now: none yet. */
  knownSteps(): KnownSteps {
    // Stores that are buffered are read by everybody's operations, and so are tags; who looks at CPUs is told by guards.
    const { storeBuffers, asids, guards } = this.options;
    return new KnownSteps(this, this.#stackSize, !storeBuffers && asids === undefined && guards !== false);
  }

  /** No longer; the state is that of the beginning of the journal. */
  forget(): void {
    this.#known?.end();
    this.#known = undefined;
  }

  /** Performs an action for which `KnownSteps.find` has just been asked, and has found none that will do. @throws {KernelBug} when a rule is broken by it */
  stepAnew(action: Action): void {
    const known = this.#known as KnownSteps;
    known.beginStep(action);
    this.#perform(action);
    known.endStep(action);
  }

  /** Page of an mm's top table: the scheduler does not know mm_struct. */
  pgdOf: (mm: number) => number = () => 0;

  #stepTask(task: TaskRef): void {
    const code = get(task, Task.code);
    setRunning(task);
    try {
      if (code !== 0 && this.options.ipis && isFlush(code) && get(task, Task.phase) === 0) {
        // Asked first, done when all have answered: its own CPU is flushed with the second half.
        const whole = operations[code].name === 'flushTlbMm';
        sendIpis(get(task, Task.a), whole ? 0 : get(task, Task.b), whole ? Number.MAX_SAFE_INTEGER : get(task, Task.c));
        set(task, Task.phase, 1);
        return;
      }
      if (code === entrySet.code && get(task, Task.phase) === 0 && entriesAreTorn(get(task, Task.b))) {
        storeFirstHalf(get(task, Task.a), get(task, Task.b), get(task, Task.c));
        set(task, Task.phase, 1);
        return;
      }
      setChanged(task + Task.phase, 0);
      if (this.options.guards !== false) setGuards(true);
      this.#resume(task);
    } finally {
      setGuards(false);
      setRunning(0);
    }
  }

  /** Performs what the task announced and runs it to its next operation, through the end of calls. */
  #resume(task: TaskRef): void {
    const number = get(task, Task.number);
    const call = this.callOf(task) as Call;
    if (get(task, Task.code) === 0) this.options.onStart?.(number, call);
    if (typeof call.run === 'function') {
      const generator = this.#generators[number] as Op<number>;
      const { done, value } = generator.next();
      if (done) this.#returned(task, value as number);
      else announce(task, pending.code, pending.a, pending.b, pending.c, pending.d);
      return;
    }
    const base = number * this.#stackSize;
    useStack(this.stack, this.options.stops);
    if (recording && this.#known === undefined) this.#save(base);
    const code = S[base + TASK.code];
    if (code !== 0) {
      const result = this.#operate(task, code, S[base + TASK.a], S[base + TASK.b], S[base + TASK.c], S[base + TASK.d]);
      S[base + TASK.result] = result;
      this.options.onOperation?.(number, result);
    }
    if (advance(base)) announce(task, S[base + TASK.code], S[base + TASK.a], S[base + TASK.b], S[base + TASK.c], S[base + TASK.d]);
    else this.#returned(task, S[base + TASK.result]);
  }

  #operate(task: TaskRef, code: number, a: number, b: number, c: number, d: number): number {
    if (this.options.storeBuffers) return performBuffered(get(task, Task.cpu), code, a, b, c, d);
    return operations[code].effect(a, b, c, d);
  }

  #returned(task: TaskRef, result: number): void {
    const number = get(task, Task.number);
    const call = this.callOf(task) as Call;
    checkReturn(task, nameOf(call));
    this.options.onReturn?.(number, call, result);
    this.results[number].push(result);
    set(task, Task.result, result);
    set(task, Task.call, get(task, Task.call) + 1);
    clearOperation(task);
    this.#start(task);
  }

  /** Prepares the task's next call, which begins with its next step. */
  #start(task: TaskRef): void {
    const number = get(task, Task.number);
    const call = this.callOf(task);
    if (call === undefined) {
      set(task, Task.state, TASK_DONE);
      return;
    }
    if (typeof call.run === 'function') this.#generators[number] = call.run(...call.args);
    else {
      useStack(this.stack);
      startTask(number * this.#stackSize, this.#stackSize, call.run, ...call.args.slice(0, call.run.params));
    }
  }

  // --- back ----------------------------------------------------------------------------------------------------------------

  mark(): SchedulerMark {
    const actions = this.#taken.length;
    if (this.#known === undefined) return { journal: journalMark(), actions, saved: this.#savedTop, low: stateHashLow(), high: stateHashHigh() };
    // The log knows the rest.
    const mark = { journal: 0, actions, saved: this.#known.logTop, low: 0, high: 0 };
    this.#known.mark();
    return mark;
  }

  /** Takes back all actions since a mark. */
  rewind({ journal, actions, saved, low, high }: SchedulerMark): void {
    if (this.#known !== undefined) {
      this.#known.rewind(saved);
      return;
    }
    while (this.#taken.length > actions) this.#taken.pop();
    undoTo(journal, low, high);
    this.#rewindStacks(saved);
  }

  #rewindStacks(saved: number): void {
    const { stack } = this;
    const kept = this.#saved;
    useStack(stack);
    while (this.#savedTop > saved) {
      const length = kept[this.#savedTop - 1];
      const base = kept[this.#savedTop - 2];
      const from = this.#savedTop - 2 - length;
      const end = stackEnd(base);
      for (let i = base + length; i < end; i++) stack[i] = 0;
      for (let i = 0; i < length; i++) stack[base + i] = kept[from + i];
      this.#savedTop = from;
    }
    for (let task = firstTask(); task !== 0; task = get(task, Task.next)) {
      const results = this.results[get(task, Task.number)];
      while (results.length > get(task, Task.call)) results.pop();
    }
  }

  /** Keeps what a step of a task may change in its area. */
  #save(base: number): void {
    const length = stackEnd(base) - base;
    if (this.#savedTop + length + 2 > this.#saved.length) {
      const larger = new Float64Array(2 * (this.#saved.length + length));
      larger.set(this.#saved);
      this.#saved = larger;
    }
    const saved = this.#saved;
    const { stack } = this;
    const top = this.#savedTop;
    for (let i = 0; i < length; i++) saved[top + i] = stack[base + i];
    saved[top + length] = base;
    saved[top + length + 1] = length;
    this.#savedTop = top + length + 2;
  }

  /** First place in `stack`, which becomes the one in use, of what a task is. */
  baseOf(number: number): number {
    this.#known?.writeBack(number);
    useStack(this.stack);
    return number * this.#stackSize;
  }

  /** First place behind it: the rest of its area is zero. */
  endOf(number: number): number {
    return stackEnd(number * this.#stackSize);
  }

  // --- runs -----------------------------------------------------------------------------------------------------------------

  /**
   * Runs until all tasks are done. @throws {KernelBug} I27 when none can go on, or none has ended after `limit` actions; and what `step` throws
   */
  run(choose: Choose, limit = 100_000): void {
    for (let n = 0; ; n++) {
      const alive = this.alive;
      if (alive.length === 0) return;
      const actions = this.actions();
      this.checkDeadlock(actions);
      if (n >= limit) throw new KernelBug('I27', `no end after ${limit} steps: ${alive.map((n) => this.waiting(n)).join('; ')}`);
      this.step(choose(actions, this));
    }
  }

  /** Some task can go on, or hardware will let it. @throws {KernelBug} I27 */
  checkDeadlock(actions: readonly Action[]): void {
    // Hardware that reads ahead helps nobody on.
    if (!actions.some((action) => action < IDLE_BASE)) throw new KernelBug('I27', `deadlock: ${this.alive.map((n) => this.waiting(n)).join('; ')}`);
  }

  /** What a task waits for, with who holds it. */
  waiting(number: number): string {
    this.settle();
    const task = taskOf(number);
    const code = get(task, Task.code);
    const holding = heldBy(task);
    const held = holding.length > 0 ? `, holding ${holding.join(', ')}` : '';
    const intent = intentOf(code, get(task, Task.a));
    const what = intent ? `waits for ${lockName(intent.lock, intent.mode)} (held by ${holdersOf(intent.lock, intent.mode)})` : `is at ${operationText(task)}`;
    return `task ${number} in ${nameOf(this.callOf(task))} ${what}${held}${this.#where(number)}`;
  }

  /** Innermost functions of a task of the step program. */
  #where(number: number): string {
    const call = this.#programs[number][get(taskOf(number), Task.call)];
    if (call === undefined || typeof call.run === 'function') return '';
    const lines = this.backtraceOf(number);
    return lines.length === 0 ? '' : ` [${lines.slice(0, 4).join(' < ')}]`;
  }

  /** What an action is, for people. */
  describe(action: Action): string {
    this.settle();
    if (action >= ACTOR_BASE) return describeHardware(action, this.options);
    const task = taskOf(action);
    return `task ${action} ${nameOf(this.callOf(task))}: ${operationText(task)}`;
  }
}

const isFlush = (code: number): boolean => code === flushTlbRange.code || code === flushTlbMm.code;

const nameOf = (call: Call | undefined): string => (call === undefined ? 'nothing' : (call.name ?? call.run.name));

function operationText(task: TaskRef): string {
  const code = get(task, Task.code);
  if (code === 0) return 'begins';
  const args = [get(task, Task.a), get(task, Task.b), get(task, Task.c), get(task, Task.d)];
  while (args.length > 0 && args[args.length - 1] === 0) args.pop();
  return `${operations[code].name}(${args.join(', ')})`;
}

/** Writes what is not there yet: nothing to take back where nothing changes. */
function setChanged(slot: number, value: number): void {
  if (heap[slot] !== value) setSlot(slot, value);
}

/** Notes what the running task is about to do. @throws {KernelBug} when it must not */
function announce(task: TaskRef, code: number, a: number, b: number, c: number, d: number): void {
  setChanged(task + Task.code, code);
  setChanged(task + Task.a, a);
  setChanged(task + Task.b, b);
  setChanged(task + Task.c, c);
  setChanged(task + Task.d, d);
  checkIntent(code, a);
}

function clearOperation(task: TaskRef): void {
  for (const field of [Task.code, Task.a, Task.b, Task.c, Task.d]) set(task, field, 0);
}
