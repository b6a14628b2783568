/** Random histories of one machine: calls one after the other, by any of its processes, in any of the three programs. */
import { randomNumbers } from '../../../src/kernel/choose.ts';
import type { ProgramName } from '../../../src/machine/kernel.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { get, set } from '../../../src/memory/heap.ts';
import { globals } from '../../../src/mm/globals.ts';
import { Globals, Mm, Process } from '../../../src/mm/types.ts';
import { FILE_PAGES, makeScenario, PAGE, type Step } from './scenario.ts';

export interface HistoryStep extends Step {
  /** Of the processes that live, this one by its place, counted modulo their number. */
  readonly process: number;
}

/** Calls of a seed: what the threads of scenarios do, one after the other. */
export function makeHistory(seed: number, length: number): HistoryStep[] {
  const random = randomNumbers(seed);
  const steps: HistoryStep[] = [];
  for (let n = 0; steps.length < length; n++) {
    const { setup, threads } = makeScenario(seed * 1000 + n);
    for (const step of [...setup, ...threads.flatMap((t) => t.steps)]) {
      // Machines of histories stay small: a few processes.
      if (step.run === 'sysFork' && random(3) !== 0) continue;
      steps.push({ ...step, process: random(4) });
    }
  }
  return steps.slice(0, length);
}

/** A machine whose first process has files under descriptors 0 and 1. */
export function historyMachine(program: ProgramName): Machine {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20, program });
  const first = machine.spawn();
  first.syscall('mmap', 0x1000000, PAGE, 3, 0x32, -1, 0);
  first.write(0x1000000n, new TextEncoder().encode('smoke\0'));
  first.syscall('memfd_create', 0x1000000, 0);
  first.write(0x1000000n, new TextEncoder().encode('/var/tmp/pxd/smoke\0'));
  first.syscall('open', 0x1000000, 0o102, 0o600);
  for (const fd of [0, 1]) first.syscall('ftruncate', fd, FILE_PAGES * PAGE);
  first.syscall('munmap', 0x1000000, PAGE);
  set(first.mm, Mm.startBrk, 0x40000000);
  set(first.mm, Mm.brk, 0x40000000);
  machine.tlb.flushAll();
  machine.enter();
  return machine;
}

/** Processes that live, the oldest first. */
function living(): number[] {
  const found: number[] = [];
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, Process.next)) if (get(p, Process.alive) !== 0) found.push(p);
  return found.reverse();
}

/** Carries out one call on a machine; its result. */
export function apply(machine: Machine, { run, args, process }: HistoryStep): number {
  machine.enter();
  const processes = living();
  // The last process stays, so that there always is one.
  if (run === 'sysExit' && processes.length === 1) return 0;
  const kernel = machine.kernel as unknown as Record<string, (...a: number[]) => number>;
  return kernel[run](processes[process % processes.length], ...args);
}
