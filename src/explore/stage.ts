/**
 * Sets a scenario up: a machine in a paging mode, its processes, tasks of the step program on CPUs, switches thrown.
 *
 * Invariants: setting up the same scenario, variant and mode twice gives the same bytes; it is done in the direct program, before any switch is thrown.
 */
import { step as stepProgram } from 'pxd:step';
import { tableEntries } from '../kernel/arch.ts';
import type { Descriptor } from '../kernel/compile/runtime.ts';
import { type Call, Scheduler, type SchedulerOptions } from '../kernel/scheduler.ts';
import { throwSwitches } from '../kernel/switches.ts';
import { Machine } from '../machine/machine.ts';
import { get } from '../memory/heap.ts';
import { heap, SLOT_TOP } from '../memory/state.ts';
import '../mm/invariants/guard-rules.ts';
import { Mm } from '../mm/types.ts';
import { PxdError } from '../pagetable/error.ts';
import { wind } from './load/rounds.ts';
import { reserve } from './reserve.ts';
import type { Scenario, Stage, TaskCall, TaskSpec, Variant } from './scenario.ts';
import { StoredMemory } from './stored.ts';
import { checkTakenAway, noteCallBegins } from './taken-away.ts';
import { checkTask } from './validate.ts';

/** A scenario ready to run. */
export interface Staged {
  readonly stage: Stage;
  readonly scheduler: Scheduler;
  /** Names of the tasks by number. */
  readonly names: readonly string[];
  /** `Variant.racy`. */
  readonly racy?: boolean;
  /** What threads have stored, for who asks whether it is there. */
  readonly stored: StoredMemory;
}

const RAM_BYTES = 8 * 2 ** 20;
/** Doubles of a task's stack. */
const STACK = 1536;
/** Doubles by which tasks may make the heap grow: far more than any needs that comes to an end. */
const GROWTH = 2 ** 15;

/** All kernel functions of the mm, in the step program. */
export const mmFunctions = stepProgram as unknown as Readonly<Record<string, unknown>>;

/** The kernel function of a name, in the step program. @throws {PxdError} 'unknown' */
export function kernelFunction(name: string): Descriptor {
  const found = (stepProgram as unknown as Record<string, Descriptor | undefined>)[name];
  if (found === undefined || typeof found.enter !== 'function') throw new PxdError('unknown', `the mm has no kernel function ${name}()`);
  return found;
}

const textOf = (value: number): string => (value >= 4096 ? `0x${value.toString(16)}` : String(value));

/** A call as the scheduler takes it. Functions that know processes are named without them. */
function schedulerCall({ run, args, name }: TaskCall, processes: ReadonlySet<number>): Call {
  const descriptor = typeof run === 'string' ? kernelFunction(run) : run;
  const shown = args.length > 0 && processes.has(args[0]) ? args.slice(1) : args;
  return {
    run: descriptor,
    args,
    name: name ?? `${descriptor.name.replace(/^sys([A-Z])/, (_, c: string) => c.toLowerCase())}(${shown.map(textOf).join(', ')})`,
  };
}

export function stageOf(scenario: Scenario, variant: Variant, mode: string, options: Pick<SchedulerOptions, 'stops' | 'onOperation'> = {}): Staged {
  wind();
  const cpus = Math.max(Object.keys(scenario.tasks).length, scenario.machine?.cpus ?? 1);
  const machine = new Machine({ ramBytes: RAM_BYTES, ...scenario.machine, cpus, mode, program: 'direct' });
  const stage: Stage = { machine, process: machine.spawn(), page: machine.pageSize, tablePages: tableEntries(0), notes: { ...variant.notes } };
  scenario.setup(stage);
  machine.enter();
  const specs = Object.entries(scenario.tasks).map(([name, make]): [string, TaskSpec] => [name, make(stage)]);
  for (const [name, spec] of specs) checkTask(scenario.id, name, spec, cpus);
  const hardware = scenario.hardware?.(stage) ?? {};
  const stored = new StoredMemory();
  /** Where the heap may end. */
  let most = Number.POSITIVE_INFINITY;
  const scheduler = new Scheduler({
    cpus,
    stackSize: STACK,
    ...hardware,
    ...options,
    onStart: (number, one) => {
      wind();
      noteCallBegins(number, one);
      stored.callBegins(one);
    },
    onReturn: (number, one, result) => {
      checkTakenAway(number, one, result);
      stored.callReturns(one);
    },
    onOperation: (number, result) => {
      wind();
      if (heap[SLOT_TOP] > most) throw new Error(`objects without end: tasks have allocated ${GROWTH.toLocaleString('en-US')} words more than were freed`);
      stored.operation(number, result);
      options.onOperation?.(number, result);
    },
  });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  throwSwitches(variant.switches ?? []);
  if (hardware.device) scheduler.load(cpus, stage.process.mm);
  const processes = new Set(machine.processes.map((p) => p.ref));
  specs.forEach(([, spec], i) => {
    const cpu = spec.cpu ?? i;
    scheduler.load(cpu, (spec.process ?? stage.process).mm);
    scheduler.spawn(
      spec.calls.map((one) => schedulerCall(one, processes)),
      cpu,
    );
  });
  reserve(specs.length, cpus);
  most = heap[SLOT_TOP] + GROWTH;
  return { stage, scheduler, names: specs.map(([name]) => name), racy: variant.racy === true, stored };
}
