/** A machine with tasks in the middle of calls as bytes, and on from there. */
import type { Action } from '../../../src/kernel/scheduler.ts';
import { Scheduler } from '../../../src/kernel/scheduler.ts';
import { codecFor } from '../../../src/machine/boot.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { get } from '../../../src/memory/heap.ts';
import { restore, snapshot } from '../../../src/memory/snapshot.ts';
import { mount } from '../../../src/memory/state.ts';
import { globals } from '../../../src/mm/globals.ts';
import { Globals, Mm, Process } from '../../../src/mm/types.ts';
import { callOf } from './play.ts';
import { type Scenario, WINDOW, WINDOW_PAGES } from './scenario.ts';

export interface Shipped {
  readonly memory: Uint8Array;
  readonly stack: Float64Array;
  readonly scenario: Scenario;
  /** What is still to happen. */
  readonly rest: readonly Action[];
}

export function capture(machine: Machine, scheduler: Scheduler, scenario: Scenario, rest: readonly Action[]): Shipped {
  return { memory: snapshot(machine.state), stack: scheduler.stack.slice(), scenario, rest };
}

/** The process of the first and of the forked one's number (they are the two oldest). */
function processes(): number[] {
  const found: number[] = [];
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, Process.next)) found.push(p);
  return found.reverse();
}

/** Goes on to the end; the machine's bytes then. */
export function resume({ memory, stack, scenario, rest }: Shipped): { bytes: Uint8Array; scheduler: Scheduler } {
  const state = restore(memory);
  mount(state);
  const machine = new Machine({ program: 'step' }, { state, codec: codecFor('x86-4level') });
  const pages = Array.from({ length: WINDOW_PAGES }, (_, i) => WINDOW + i);
  const scheduler = new Scheduler({ ipis: scenario.ipis, ...(scenario.speculate ? { speculate: pages } : {}) });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  const [first] = processes();
  // The second process is the one that was forked last before the tasks began: their programs name it.
  const second = processes()[1 + scenario.setup.filter((s) => s.run === 'sysFork').length];
  scenario.threads.forEach((thread, i) => {
    scheduler.adopt(
      i,
      thread.steps.map((s) => callOf(thread.process === 0 ? first : second, s, 'step')),
    );
  });
  scheduler.stack.set(stack);
  for (const action of rest) scheduler.step(action);
  return { bytes: snapshot(machine.state), scheduler };
}
