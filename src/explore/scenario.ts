/**
 * What is explored: a scenario. It says in what state things begin, which tasks run, what hardware does meanwhile, what must hold, and in which variants the
 * kernel's code is taken: as Linux 6.18 has it, or with switches thrown (kernel/switches.ts).
 */
import type { Descriptor } from '../kernel/compile/runtime.ts';
import type { HardwareOptions } from '../kernel/hardware.ts';
import type { Op } from '../kernel/op.ts';
import type { SwitchName } from '../kernel/switches.ts';
import type { Machine, MachineOptions } from '../machine/machine.ts';
import type { Process } from '../machine/process.ts';

/** A call that a task makes: a kernel function by its name in src/mm, or one of the scenario's own module. */
export interface TaskCall {
  readonly run: string | Descriptor | ((...args: number[]) => Op<number>);
  readonly args: readonly number[];
  /** What reports call it; default the function's name with its arguments. */
  readonly name?: string;
}

/** Calls that one task makes one after the other, and the CPU that it runs on (default: one of its own). */
export interface TaskSpec {
  readonly calls: readonly TaskCall[];
  readonly cpu?: number;
  /** The process whose address space the CPU has loaded; default the first that `setup` made. */
  readonly process?: Process;
}

/** The machine while a scenario is set up, and afterwards. */
export interface Stage {
  readonly machine: Machine;
  /** A process that exists from the beginning. */
  readonly process: Process;
  /** Bytes of a page of the mode. */
  readonly page: number;
  /** Pages that one page table of the lowest level translates. */
  readonly tablePages: number;
  /** What `setup` wants to hand to tasks and checks. */
  readonly notes: Record<string, number>;
}

/** What hardware does beside the tasks: nothing that is not asked for. */
export type Hardware = HardwareOptions;

export interface Variant {
  readonly switches?: readonly SwitchName[];
  readonly expect: 'violation' | 'clean';
  /** The rule that is expected to be broken (`I4`, `guard`, or a check of the scenario's own): a violation of another is a surprise. */
  readonly rule?: string | readonly string[];
  /** Preemptions that are enough to find it. */
  readonly preemptions?: number;
  /**
   * What it breaks is that a lock keeps fields from others, and no guard asks (kernel/guards.ts): nothing is hidden from the search then, which else relies
   * on such locks (reduction.ts).
   */
  readonly racy?: boolean;
  /** What differs, for people. */
  readonly note?: string;
  /** What `stage.notes` begins with: for what differs in the scenario's own kernel functions, which get it as an argument. */
  readonly notes?: Readonly<Record<string, number>>;
  /** Where a clean variant cannot be exhausted: the bound on preemptions that is, and why. */
  readonly bounded?: { readonly preemptions: number; readonly reason: string };
}

/** The end of one run, all tasks done and nobody inside the kernel. */
export interface Ending extends Stage {
  /** Results of the calls of each task, by its name. */
  readonly results: Readonly<Record<string, readonly number[]>>;
}

/** A check: what is wrong, undefined when nothing is. Only reads. */
export type Check<T> = (at: T) => string | undefined;

export interface Scenario {
  /** Its entry in the catalogue (`E28`), or a name of its own. */
  readonly id: string;
  readonly title: string;
  /** Where the race is told: a commit, a mail, a file and function of Linux. */
  readonly source?: string;
  /** Paging modes that it makes sense in; default all that a machine runs in. */
  readonly modes?: (mode: string) => boolean;
  readonly machine?: Pick<MachineOptions, 'ramBytes' | 'cpus' | 'memory' | 'settings'>;
  readonly hardware?: (stage: Stage) => Hardware;
  setup(stage: Stage): void;
  readonly tasks: Readonly<Record<string, (stage: Stage) => TaskSpec>>;
  readonly variants: Readonly<Record<string, Variant>>;
  /** Checked when all tasks are done, beside the invariants of the machine. By name: the rule that reports name. */
  readonly holds?: Readonly<Record<string, Check<Ending>>>;
  /** Checked after every step. */
  readonly always?: Readonly<Record<string, Check<Stage>>>;
  /** Whether committed and locked memory may be left over, as Linux does here and there (`checkMachine`). */
  readonly leaks?: boolean;
  /** Objects of the scenario's own (`alloc`) that live as long as it. What these refer to is followed; any other object that nothing refers to is a leak. */
  readonly roots?: (stage: Stage) => readonly number[];
}

/** A scenario; the type is what it is for. */
export const scenario = (given: Scenario): Scenario => given;

/** A call of a kernel function. */
export const call = (run: TaskCall['run'], ...args: number[]): TaskCall => ({ run, args });

/** A task of these calls. */
export const task = (...calls: readonly TaskCall[]): TaskSpec => ({ calls });
