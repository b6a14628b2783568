/** A machine with CPUs, and tasks made of generators. */
import { afterEach, beforeEach, expect } from 'vitest';
import { KernelBug } from '../../src/kernel/bug.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import type { Op } from '../../src/kernel/op.ts';
import { type Action, type Call, type Choose, Scheduler, type SchedulerOptions } from '../../src/kernel/scheduler.ts';
import { Machine } from '../../src/machine/machine.ts';
import { alloc, get } from '../../src/memory/heap.ts';
import { Inode, Mm } from '../../src/mm/types.ts';

let machine: Machine;

/** Boots a machine before each test of the file. */
export function eachOnAMachine(): void {
  beforeEach(() => {
    machine = new Machine({ ramBytes: 8 * 2 ** 20, cpus: 4 });
    forgetOrder();
  });
  afterEach(() => machine.enter());
}

export const theMachine = (): Machine => machine;

/** An object with several locks: an inode that nobody knows. */
export const newInode = (): number => alloc(Inode);

export const call = (name: string, run: () => Op<number>): Call => ({ run, args: [], name });

/** A scheduler over tasks, one a CPU, each with one call. */
export function tasks(bodies: readonly (() => Op<number>)[], options: SchedulerOptions = {}): Scheduler {
  const scheduler = new Scheduler({ cpus: Math.max(1, bodies.length), ...options });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  bodies.forEach((body, i) => scheduler.spawn([call(`call ${i}`, body)], i % (options.cpus ?? bodies.length)));
  return scheduler;
}

/** Runs tasks in turn: the first that can. */
export const inOrder: Choose = (actions) => actions[0];

/** Runs the actions given, then whatever can. */
export const following =
  (...list: Action[]): Choose =>
  (actions) => {
    const next = list.shift();
    if (next === undefined) return actions[0];
    expect(actions).toContain(next);
    return next;
  };

/** The bug that a run ends in. */
export function bugOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof KernelBug) return error.message;
    throw error;
  }
  return 'none';
}

/** The bug of one task that runs alone. */
export const bugOfTask = (body: () => Op<number>): string => bugOf(() => tasks([body]).run(inOrder));
