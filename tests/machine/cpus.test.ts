/** Memory of machines with several CPUs: each CPU's tasks take pages from, and give them back to, the CPU's own lists. */
import { afterEach, expect, it } from 'vitest';
import { type Call, Scheduler } from '../../src/kernel/scheduler.ts';
import { makeCpus, removeTasks } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get } from '../../src/memory/heap.ts';
import { heap } from '../../src/memory/state.ts';
import { Memory, memory, Pcp, Zone } from '../../src/memory/zone.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';

const AT = 0x10000;
const PAGES = 40;

afterEach(() => removeTasks());

/** The lists of a CPU, slot by slot, over all zones. */
function lists(cpu: number): number[] {
  const slots: number[] = [];
  for (let number = 0; number < heap[memory() + Memory.nrZones]; number++) {
    const pcp = heap[heap[memory() + Memory.zones + number] + Zone.pcps + cpu];
    slots.push(...heap.slice(pcp, pcp + Pcp.$size));
  }
  return slots;
}

/** Pages that a CPU keeps. */
function kept(cpu: number): number {
  let count = 0;
  for (let number = 0; number < heap[memory() + Memory.nrZones]; number++)
    count += heap[heap[heap[memory() + Memory.zones + number] + Zone.pcps + cpu] + Pcp.count];
  return count;
}

const stores = (p: Process): Call[] => Array.from({ length: PAGES }, (_, i) => ({ run: source.threadStore, args: [p.ref, AT + i, i + 1] }));
const unmap = (p: Process): Call[] => [{ run: source.sysMunmap, args: [p.ref, AT * 4096, PAGES * 4096] }];

/** Runs calls as a task on a CPU, alone. */
function runOn(cpu: number, calls: readonly Call[]): void {
  const scheduler = new Scheduler({ cpus: 2 });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  scheduler.spawn(calls, cpu);
  scheduler.run((actions) => actions[0]);
  removeTasks();
}

function booted(): { machine: Machine; p: Process } {
  const machine = new Machine({ ramBytes: 2 ** 28, cpus: 2 });
  const p = machine.spawn();
  p.syscall('mmap', AT * 4096, PAGES * 4096, 3, 0x32, -1, 0);
  machine.enter();
  return { machine, p };
}

it('a task takes pages from the lists of its CPU', () => {
  const { p } = booted();
  for (const cpu of [0, 1]) expect(heap[heap[heap[memory() + Memory.zones] + Zone.pcps + cpu] + Pcp.cpu]).toBe(cpu);
  const [first, second] = [lists(0), lists(1)];
  runOn(1, stores(p));
  expect(lists(0)).toEqual(first);
  expect(lists(1)).not.toEqual(second);
  expect(checkMachine()).toEqual([]);
  const used = lists(1);
  // What one CPU took the other gives back: to itself.
  const before = kept(0);
  runOn(0, unmap(p));
  expect(lists(1)).toEqual(used);
  expect(kept(0)).toBeGreaterThanOrEqual(before + 8);
  expect(checkMachine()).toEqual([]);
});

it('tasks of two CPUs in turns', () => {
  const { machine, p } = booted();
  const q = p.fork();
  machine.enter();
  const scheduler = new Scheduler({ cpus: 2 });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  [p, q].forEach((process, cpu) => {
    scheduler.load(cpu, process.mm);
    scheduler.spawn([...stores(process), ...unmap(process), { run: source.sysExit, args: [process.ref, 0] }], cpu);
  });
  let turn = 0;
  scheduler.run((actions) => actions[turn++ % actions.length]);
  removeTasks();
  expect(kept(0)).toBeGreaterThan(0);
  expect(kept(1)).toBeGreaterThan(0);
  expect(checkMachine()).toEqual([]);
});

it('the caller of a machine is on CPU 0, whatever ran before', () => {
  const { machine, p } = booted();
  const scheduler = new Scheduler({ cpus: 2 });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  scheduler.spawn(stores(p), 1);
  for (let i = 0; i < 20; i++) scheduler.step(scheduler.actions()[0]);
  removeTasks();
  machine.enter();
  const second = lists(1);
  p.syscall('mmap', 0x40000000, 64 * 4096, 3, 0x8032, -1, 0);
  expect(lists(1)).toEqual(second);
});

it('tasks run on no CPU that the machine was not booted with: it has no lists of pages', () => {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20 });
  machine.enter();
  expect(() => makeCpus(2)).toThrow('booted with 1 CPU');
  expect(() => makeCpus(1)).not.toThrow();
});
