/**
 * Plays a schedule and keeps what each action did, with objects as keys.
 *
 * Invariant: tasks stop before every operation here. Where the schedule was found with fewer stops, one of its actions is played as the run of operations that
 * it was: to the next one that the search stopped at.
 */
import { KernelBug } from '../../kernel/bug.ts';
import { T } from '../../kernel/compile/runtime.ts';
import { ACTOR_BASE, describeHardware, hardwareCpu } from '../../kernel/hardware.ts';
import { flushTlbMm, flushTlbRange } from '../../kernel/ops.ts';
import type { Action, Call, Scheduler } from '../../kernel/scheduler.ts';
import { Cpu, Task, type TaskRef, taskOf } from '../../kernel/task.ts';
import { get } from '../../memory/heap.ts';
import { heap } from '../../memory/state.ts';
import { Mm } from '../../mm/types.ts';
import { PxdError } from '../../pagetable/error.ts';
import { endingFault } from '../ending.ts';
import type { Scenario } from '../scenario.ts';
import { type Staged, stageOf } from '../stage.ts';
import { callText } from './calls.ts';
import { type Objects, said, saidIfMany } from './objects.ts';
import { type Told, tellOperation } from './operations.ts';
import type { EventKind, StackFrame, Touch } from './types.ts';
import { liveTables, type Translation, translations, without } from './watch.ts';
import { address, entryBits, linuxName, resultText } from './words.ts';

/** An event with keys in place of names. */
export interface RawEvent {
  readonly step: number;
  kind: EventKind;
  readonly lane: number;
  readonly cpu: number;
  readonly call: string | null;
  readonly callNumber: number;
  readonly operation: string | null;
  readonly args: readonly string[];
  result: string | null;
  text: string;
  readonly stack: readonly StackFrame[];
  held: readonly string[];
  readonly touches: Touch[];
  freed: string[];
  tlb: { readonly change: 'fill' | 'drop'; readonly of: Translation }[];
  returns: string | null;
  /** What is flushed or accessed: pages [start, end) of an address space. */
  readonly span: Told['span'] | undefined;
}

export interface RawLane {
  readonly task: string;
  readonly cpu: number;
  readonly calls: readonly string[];
}

/** What was wrong, with what CPUs held at that moment. */
export interface RawFault {
  readonly rule: string;
  readonly message: string;
  readonly when: 'step' | 'end';
  /** Whether the last operation was done, and code behind it broke the rule; the function that did, as far as the engine tells. */
  readonly behind: boolean;
  readonly inside: string | null;
  readonly held: readonly Translation[];
}

export class Replay {
  readonly staged: Staged;
  readonly objects: Objects;
  readonly lanes: RawLane[];
  readonly events: RawEvent[] = [];
  /** What messages call a call, and how it is told here. */
  readonly callNames = new Map<string, string>();
  fault: RawFault | undefined;
  readonly #scenario: Scenario;
  readonly #stops: Uint8Array | undefined;
  readonly #processes: ReadonlySet<number>;
  #answer: number | undefined;

  constructor(scenario: Scenario, variant: string, mode: string, objects: Objects, stops?: Uint8Array) {
    this.#scenario = scenario;
    this.#stops = stops;
    this.objects = objects;
    this.staged = stageOf(scenario, scenario.variants[variant], mode, {
      onOperation: (_, result) => {
        this.#answer = result;
      },
    });
    const { machine } = this.staged.stage;
    machine.enter();
    this.#processes = new Set(machine.processes.map((p) => p.ref));
    for (const process of machine.processes) objects.addMm(process.mm);
    this.lanes = this.staged.names.map((task, number) => ({ task, cpu: this.#cpuOfTask(taskOf(number)), calls: this.#calls(number) }));
  }

  get #scheduler(): Scheduler {
    return this.staged.scheduler;
  }

  #cpuOfTask(task: TaskRef): number {
    return get(get(task, Task.cpu), Cpu.number);
  }

  #calls(number: number): string[] {
    return this.#scheduler.programOf(number).map((call) => {
      const text = this.#callText(call);
      if (call.name !== undefined) this.callNames.set(call.name, text);
      return text;
    });
  }

  /** A call as a programmer would write it; a name that the scenario gave stays. */
  #callText({ run, args, name }: Call): string {
    const plain = run.name.replace(/^sys([A-Z])/, (_, c: string) => c.toLowerCase());
    if (name !== undefined && !name.startsWith(`${plain}(`)) return name;
    const shown = args.length > 0 && this.#processes.has(args[0]) ? args.slice(1) : args;
    return callText(linuxName(plain), shown, (value) => (this.objects.isMm(value) ? said(this.objects.object(value)) : undefined));
  }

  // --- the run --------------------------------------------------------------------------------------------------------------

  /** Plays a schedule; stops where a rule is broken. @throws {PxdError} 'usage' for actions that cannot happen */
  play(schedule: readonly Action[]): void {
    const { stage } = this.staged;
    const scheduler = this.#scheduler;
    stage.machine.enter();
    try {
      for (const [step, action] of schedule.entries()) {
        const actions = scheduler.actions();
        scheduler.checkDeadlock(actions);
        if (!actions.includes(action))
          throw new PxdError('usage', `the schedule's action ${step}, ${action}, cannot happen there: can are ${actions.join(', ')}`);
        this.#perform(step, action);
        for (const [rule, holds] of Object.entries(this.#scenario.always ?? {})) {
          const wrong = holds(stage);
          if (wrong !== undefined) throw new KernelBug(rule, wrong);
        }
      }
      if (scheduler.alive.length > 0) scheduler.checkDeadlock(scheduler.actions());
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (scheduler.alive.length > 0) return;
    const held = translations();
    const fault = endingFault(this.#scenario, this.staged);
    if (fault) this.fault = { rule: fault.rule, message: fault.message, when: 'end', behind: false, inside: null, held };
  }

  /** Lets one task go on alone, as long as it can and `until` is not true of what it did last. */
  goOn(lane: number, limit: number, until: (event: RawEvent) => boolean): RawEvent | undefined {
    const { scheduler } = this.staged;
    try {
      for (let n = 0; n < limit && scheduler.alive.includes(lane) && scheduler.actions().includes(lane); n++) {
        this.#perform(-1, lane);
        const event = this.events[this.events.length - 1];
        if (until(event)) return event;
      }
    } catch {
      // What goes wrong behind the violation is another story.
    }
    return undefined;
  }

  #failed(error: unknown): void {
    if (error instanceof PxdError) throw error;
    const last = this.events[this.events.length - 1];
    const bug = error instanceof KernelBug;
    const message = error instanceof Error ? error.message : String(error);
    // Step functions stand in the engine's own stack, innermost first.
    const inside = error instanceof Error ? /\bat (\w+)\$run\b/.exec(error.stack ?? '')?.[1] : undefined;
    this.fault = {
      rule: bug ? error.rule : 'exception',
      message: bug ? message : `exception: ${message}`,
      when: 'step',
      behind: last !== undefined && last.returns === null && (last.kind === 'begin' || this.#answer !== undefined),
      inside: inside === undefined ? null : linuxName(inside),
      held: translations(),
    };
  }

  #perform(step: number, action: Action): void {
    if (action >= ACTOR_BASE) {
      this.#hardware(step, action);
      return;
    }
    const task = taskOf(action);
    for (;;) {
      const calls = this.#scheduler.results[action].length;
      this.#task(step, task, action);
      if (this.#stops === undefined || this.#scheduler.results[action].length > calls) return;
      const code = get(task, Task.code);
      if (code === 0 || this.#stops[code] !== 0) return;
    }
  }

  /** Performs an action and notes what it changed beside what it is. */
  #watched(event: RawEvent, action: Action): void {
    const before = translations();
    const tables = liveTables(this.objects);
    this.events.push(event);
    try {
      this.#scheduler.step(action);
    } finally {
      const after = translations();
      for (const t of without(before, after)) event.tlb.push({ change: 'drop', of: t });
      for (const t of without(after, before)) event.tlb.push({ change: 'fill', of: t });
      const now = liveTables(this.objects);
      for (const table of tables)
        if (!now.has(table)) {
          const key = this.objects.table(table);
          if (!event.freed.includes(key)) event.freed.push(key);
          event.touches.push({ object: key, access: 'free' });
        }
    }
  }

  #hardware(step: number, action: Action): void {
    const cpu = hardwareCpu(action);
    const event: RawEvent = {
      step,
      kind: 'hardware',
      lane: this.#laneOf(cpu),
      cpu,
      call: null,
      callNumber: -1,
      operation: null,
      args: [],
      result: null,
      text: '',
      stack: [],
      held: [],
      touches: [],
      freed: [],
      tlb: [],
      returns: null,
      span: undefined,
    };
    const plain = describeHardware(action, this.#scheduler.options).replace(/vpn 0x([0-9a-f]+)/, (_, vpn: string) => address(Number.parseInt(vpn, 16)));
    if (plain.includes('interrupt')) event.kind = 'interrupt';
    this.#watched(event, action);
    const changes = event.tlb.map(({ change, of }) => (change === 'fill' ? `TLB fill ${this.translationText(of)}` : `TLB drops ${this.translationText(of)}`));
    event.text = event.kind === 'interrupt' ? [`takes the IPI of a flush`, ...changes].join('; ') : changes.join('; ') || plain;
    for (const { change, of } of event.tlb) {
      const key = this.objects.entryOf(of.mm, of.vpn);
      if (key !== undefined) event.touches.push({ object: key, access: change === 'fill' ? 'read' : 'call' });
      if (of.page !== 0) event.touches.push({ object: this.objects.page(of.page), access: 'call' });
      else if (of.table !== 0) event.touches.push({ object: this.objects.table(of.table), access: 'call' });
    }
  }

  /** The column of a CPU: of its first task; one of its own where it has none. */
  #laneOf(cpu: number): number {
    const found = this.lanes.findIndex((lane) => lane.cpu === cpu);
    if (found >= 0) return found;
    this.lanes.push({ task: cpu < 0 ? 'RCU callbacks' : this.#scheduler.options.device ? 'device' : 'idle', cpu, calls: [] });
    return this.lanes.length - 1;
  }

  /** `0x10000000 -> P1 write`. */
  translationText({ mm, vpn, page, table, bits }: Translation): string {
    const to = page === 0 ? said(this.objects.table(table)) : `${said(this.objects.page(page))} ${entryBits(bits)}`;
    return `${saidIfMany(this.objects.object(mm), '', ':')}${address(vpn)} -> ${to}`;
  }

  #task(step: number, task: TaskRef, number: number): void {
    const scheduler = this.#scheduler;
    const call = get(task, Task.call);
    const code = get(task, Task.code);
    const args = [get(task, Task.a), get(task, Task.b), get(task, Task.c), get(task, Task.d)] as const;
    const told: Told | undefined = code === 0 ? undefined : tellOperation(this.objects, code, ...args);
    const second = get(task, Task.phase) !== 0;
    const event: RawEvent = {
      step,
      kind: code === 0 ? 'begin' : 'operation',
      lane: number,
      cpu: this.#cpuOfTask(task),
      call: this.lanes[number].calls[call],
      callNumber: call,
      operation: told?.operation ?? null,
      args: told?.args ?? [],
      result: null,
      text: '',
      stack: code === 0 ? [] : frames(scheduler, number),
      held: [],
      touches: [...(told?.touches ?? [])],
      freed: [...(told?.freed ?? [])],
      tlb: [],
      returns: null,
      span: told?.span,
    };
    this.#answer = undefined;
    const results = scheduler.results[number].length;
    try {
      this.#watched(event, number);
    } finally {
      event.held = this.#heldBy(task);
      event.returns = this.#returned(number, results);
      this.#finish(event, told, args, second, get(task, Task.phase) !== 0 && !second, code);
    }
  }

  #finish(event: RawEvent, told: Told | undefined, args: readonly number[], second: boolean, first: boolean, code: number): void {
    if (told === undefined) {
      event.text = event.call as string;
      return;
    }
    const answer = this.#answer === undefined ? null : (told.answer?.(this.#answer) ?? null);
    event.result = answer?.text ?? null;
    event.touches.push(...(answer?.touches ?? []));
    const flush = code === flushTlbRange.code || code === flushTlbMm.code;
    const half = first ? (flush ? ': sends IPIs' : ', first half') : second ? (flush ? ': all have answered' : ', second half') : '';
    if (first && flush) event.kind = 'interrupt';
    event.text = `${told.operation}(${told.args.join(', ')})${event.result === null ? '' : ` = ${event.result}`}${half}`;
    if (told.operation === 'kmalloc' && heap[this.#answer ?? 0] === Mm.$type) this.objects.addMm(this.#answer as number);
    if (told.operation === 'kfree') this.objects.forget(args[1]);
  }

  /** The result of the call that the event ended; also when a check of the return threw. */
  #returned(number: number, before: number): string | null {
    const results = this.#scheduler.results[number];
    if (results.length > before) return resultText(results[results.length - 1]);
    return this.#scheduler.backtraceOf(number).length === 0 ? resultText(T.rv) : null;
  }

  #heldBy(task: TaskRef): string[] {
    return Array.from({ length: get(task, Task.heldCount) }, (_, i) => this.objects.held(get(task, Task.held + i), get(task, Task.modes + i)));
  }
}

function frames(scheduler: Scheduler, number: number): StackFrame[] {
  return scheduler.backtraceOf(number).map((text) => {
    const found = /^(.*) \((.*?)(?::(\d+))?\)$/.exec(text) as RegExpExecArray;
    const name = found[1];
    return { name, linux: linuxName(name.replace(/^sys(?=[A-Z])/, '')), file: found[2], line: found[3] === undefined ? null : Number(found[3]) };
  });
}
