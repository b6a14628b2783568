/** Plays a scenario under one schedule, in the native program or the step program, and says what is wrong with it. */
import { step as stepProgram } from 'pxd:step';
import { KernelBug } from '../../../src/kernel/bug.ts';
import type { Descriptor } from '../../../src/kernel/compile/runtime.ts';
import type { Op } from '../../../src/kernel/op.ts';
import { type Action, type Call, type Choose, Scheduler } from '../../../src/kernel/scheduler.ts';
import { removeTasks } from '../../../src/kernel/task.ts';
import { staleTranslations } from '../../../src/kernel/tlb.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { get, set } from '../../../src/memory/heap.ts';
import { globals } from '../../../src/mm/globals.ts';
import * as source from '../../../src/mm/index.ts';
import { checkMachine } from '../../../src/mm/invariants/index.ts';
import '../../../src/mm/invariants/guard-rules.ts';
import { Globals, Mm } from '../../../src/mm/types.ts';
import { FILE_PAGES, PAGE, type Scenario, type Step, WINDOW, WINDOW_PAGES } from './scenario.ts';
import { ZapWatch } from './watch.ts';

export type Program = 'native' | 'step';

export interface Outcome {
  /** What is wrong, undefined when nothing is. */
  readonly bug: string | undefined;
  /** The rule that was broken, to tell failures apart: an invariant, or the kind of an exception. */
  readonly rule: string | undefined;
  readonly schedule: readonly Action[];
  /** Each action in words, where asked for. */
  readonly story: readonly string[];
  readonly scheduler: Scheduler;
  readonly machine: Machine;
}

type Native = (...args: number[]) => Op<number>;

export const callOf = (process: number, { run, args }: Step, program: Program): Call => ({
  run:
    program === 'native'
      ? ((source as unknown as Record<string, Native>)[run] as Native)
      : ((stepProgram as unknown as Record<string, Descriptor>)[run] as Descriptor),
  args: [process, ...args],
  name: `${run.replace(/^sys/, '').toLowerCase()}(${args.map((a) => (a >= 4096 ? `0x${a.toString(16)}` : a)).join(', ')})`,
});

/** A machine after the setup, with its tasks. */
export function stage(scenario: Scenario, program: Program): { machine: Machine; scheduler: Scheduler } {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20, cpus: Math.max(scenario.cpus, 1), program: 'direct' });
  const first = machine.spawn();
  const kernel = machine.kernel as unknown as Record<string, (...args: number[]) => number>;
  // Files under descriptors 0 and 1, made with names in a page that goes away again.
  first.syscall('mmap', 0x1000000, PAGE, 3, 0x32, -1, 0);
  first.write(0x1000000n, new TextEncoder().encode('smoke\0'));
  first.syscall('memfd_create', 0x1000000, 0);
  first.write(0x1000000n, new TextEncoder().encode('/var/tmp/pxd/smoke\0'));
  first.syscall('open', 0x1000000, 0o102, 0o600);
  for (const fd of [0, 1]) first.syscall('ftruncate', fd, FILE_PAGES * PAGE);
  first.syscall('munmap', 0x1000000, PAGE);
  set(first.mm, Mm.startBrk, 0x40000000);
  set(first.mm, Mm.brk, 0x40000000);
  for (const { run, args } of scenario.setup) kernel[run](first.ref, ...args);
  const second = scenario.threads.some((t) => t.process === 1) ? first.fork() : undefined;
  machine.enter();
  const pages = Array.from({ length: WINDOW_PAGES }, (_, i) => WINDOW + i);
  const { onStart, onReturn } = new ZapWatch();
  const scheduler = new Scheduler({ cpus: scenario.cpus, ipis: scenario.ipis, onStart, onReturn, ...(scenario.speculate ? { speculate: pages } : {}) });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  scenario.threads.forEach((thread, i) => {
    const process = thread.process === 0 ? first : (second as typeof first);
    const cpu = i % scenario.cpus;
    // What an exiting process had loaded is nobody's: its CPU reads nothing ahead.
    if (!thread.steps.some((s) => s.run === 'sysExit')) scheduler.load(cpu, process.mm);
    scheduler.spawn(
      thread.steps.map((s) => callOf(process.ref, s, program)),
      cpu,
    );
  });
  set(globals, Globals.failAllocation, scenario.failAllocation);
  return { machine, scheduler };
}

/** Steps after which a schedule counts as one without end: filling 4 MiB takes about 60,000. */
const MOST_STEPS = 250_000;

/** What is wrong once nobody is inside a call. Tasks and CPUs are taken away. */
export function checkAtRest(values: ReadonlySet<number>, scheduler: Scheduler, scenario: Scenario): string | undefined {
  const stale = staleTranslations((mm) => get(mm, Mm.pgd));
  if (stale.length > 0) return `I4: ${stale[0]}`;
  removeTasks();
  set(globals, Globals.failAllocation, 0);
  const bad = checkMachine({ leaks: true });
  if (bad.length > 0) return bad.slice(0, 3).join('\n');
  // What mincore answers lies among the values that threads load.
  const answers = scenario.threads.some((thread) => thread.steps.some(({ run }) => run === 'sysMincore'));
  for (const [t, thread] of scenario.threads.entries())
    for (const [i, { run }] of thread.steps.entries()) {
      const result = scheduler.results[t][i];
      if (run === 'threadLoad' && result > 0 && !answers && !values.has(result)) return `I32: thread ${t} loads ${result}, which nobody has stored`;
    }
  return undefined;
}

const storedValues = (scenario: Scenario): Set<number> =>
  new Set([...scenario.setup, ...scenario.threads.flatMap((t) => t.steps)].filter((s) => s.run === 'threadStore').map((s) => s.args[1]));

export function play(scenario: Scenario, choose: Choose, program: Program = 'native', tell = false): Outcome {
  const { machine, scheduler } = stage(scenario, program);
  const story: string[] = [];
  let bug: string | undefined;
  try {
    scheduler.run((actions, s) => {
      const action = choose(actions, s);
      if (tell) story.push(s.describe(action));
      return action;
    }, MOST_STEPS);
    bug = checkAtRest(storedValues(scenario), scheduler, scenario);
  } catch (error) {
    bug = error instanceof KernelBug ? error.message : `exception: ${(error as Error).stack ?? String(error)}`;
  }
  return {
    bug,
    rule: bug?.replace(/[:\d].*/s, (x) => (x[0] === ':' ? '' : (/^\d+/.exec(x) as RegExpExecArray)[0])),
    schedule: scheduler.schedule,
    story,
    scheduler,
    machine,
  };
}
