/**
 * Random histories of mappings, forks and exits: after every step counters, trees and chains are what the VMAs say; nothing is left when all processes are
 * gone; the three programs do the same, byte for byte; an allocation that fails breaks nothing.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { get, set } from '../../src/memory/heap.ts';
import { heap, pageRefcount, pagesEnd, SLOT_TOP } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { AnonVma, File, Globals, Inode, Mm, Vma } from '../../src/mm/types.ts';
import { findVma } from '../../src/mm/vma-tree.ts';
import { census, findings } from './support/address-space.ts';

const PAGE = 4096;
const BASE = 0x1000_0000;
const PLACES = 24;

interface Step {
  readonly what: string;
  readonly process: number;
  readonly at: number;
  readonly pages: number;
  readonly pick: number;
  /** The n-th allocation from here fails; 0: none. */
  readonly fails: number;
}

const MAP_FLAGS = [0x32, 0x32, 0x32, 0x22, 0x31, 0x4032, 0x132, 0x2032, 0x8032, 0x100032];
const PROTS = [3, 3, 1, 0, 7, 2];
const ADVICE = [10, 11, 18, 19, 4, 102, 103];

const step = (fails: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.record({
    what: fc.constantFrom(
      'mmap',
      'mmap',
      'mmap',
      'munmap',
      'mprotect',
      'mprotect',
      'touch',
      'touch',
      'touch',
      'brk',
      'fork',
      'exit',
      'madvise',
      'mseal',
      'grow',
    ),
    process: fc.nat(3),
    at: fc.nat(PLACES),
    pages: fc.integer({ min: 1, max: 6 }),
    pick: fc.nat(999),
    fails,
  });

/** Plays steps and returns every result. Addresses are few, so that everything meets everything. */
function play(machine: Machine, steps: readonly Step[], look: (result: number, s: Step) => void): number[] {
  const results: number[] = [];
  const brk = 0x2000_0000;
  for (const s of steps) {
    const living = machine.processes;
    if (living.length === 0) break;
    const p = living[s.process % living.length];
    const address = BASE + s.at * PAGE;
    const length = s.pages * PAGE;
    machine.enter();
    set(globals, Globals.failAllocation, s.fails);
    let result = 0;
    if (s.what === 'mmap') result = p.syscall('mmap', address, length, PROTS[s.pick % PROTS.length], MAP_FLAGS[s.pick % MAP_FLAGS.length], -1, 0);
    else if (s.what === 'munmap') result = p.syscall('munmap', address, length);
    else if (s.what === 'mprotect') result = p.syscall('mprotect', address, length, PROTS[s.pick % PROTS.length]);
    else if (s.what === 'madvise') result = p.syscall('madvise', address, length, ADVICE[s.pick % ADVICE.length]);
    else if (s.what === 'mseal') result = s.pick % 9 === 0 ? p.syscall('mseal', address, PAGE, 0) : 0;
    else if (s.what === 'brk') result = p.syscall('brk', brk + length + (s.pick % PAGE));
    else if (s.what === 'touch') for (let i = 0; i < s.pages; i++) result += p.store(BigInt(address + i * PAGE), 1, BigInt(s.pick & 255)) === undefined ? 1 : 0;
    else if (s.what === 'grow') result = p.store(BigInt(address - 40 * PAGE), 1, 1n) === undefined ? 1 : 0;
    else if (s.what === 'exit') {
      if (living.length > 1) p.exit();
    } else if (living.length < 4) {
      machine.enter();
      result = machine.kernel.sysFork(p.ref) > 0 ? 1 : 0;
    }
    machine.enter();
    set(globals, Globals.failAllocation, 0);
    results.push(result);
    look(result, s);
  }
  return results;
}

const pagesInUse = (): number => pageRefcount.subarray(0, pagesEnd()).reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
let pagesAtBoot = 0;

const fresh = (options: MachineOptions = {}): Machine => {
  const machine = new Machine({ ramBytes: 64 * 2 ** 20, ...options });
  pagesAtBoot = pagesInUse();
  machine.spawn();
  return machine;
};

const check = (machine: Machine): void => {
  machine.enter();
  expect(findings()).toEqual([]);
};

function endAll(machine: Machine, steps: readonly Step[]): void {
  for (const p of machine.processes) p.exit();
  machine.enter();
  // A stack is promised the pages it grows by even where the VMA is not accounted for (read-only, say), and these are never taken back.
  const stacks = steps.some((s) => s.what === 'mmap' && MAP_FLAGS[s.pick % MAP_FLAGS.length] === 0x132);
  const committed = get(globals, Globals.committed);
  if (stacks) expect(committed).toBeGreaterThanOrEqual(0);
  else expect(committed).toBe(0);
  const left = Object.keys(census()).filter((name) => ['mm', 'vma', 'anonVma', 'avc', 'file', 'inode', 'gather', 'batch', 'vmg', 'vms', 'vmf'].includes(name));
  expect(left).toEqual([]);
  expect(pagesInUse()).toBe(pagesAtBoot);
}

test('what the checks look for would be found', () => {
  const machine = fresh();
  const [parent] = machine.processes;
  parent.syscall('mmap', BASE, 4 * PAGE, 3, 0x32, -1, 0);
  parent.syscall('mmap', BASE + 8 * PAGE, 4 * PAGE, 3, 0x31, -1, 0);
  parent.store(BigInt(BASE), 1, 1n);
  parent.fork();
  check(machine);
  const mm = parent.mm;
  const vma = findVma(mm, BASE / PAGE);
  const shared = get(vma, Vma.next);
  const anonVma = get(vma, Vma.anonVma);
  const inode = get(get(shared, Vma.file), File.inode);
  for (const [ref, field] of [
    ...[Mm.mapCount, Mm.totalVm, Mm.dataVm, Mm.execVm, Mm.stackVm, Mm.lockedVm, Mm.mmapLock, Mm.lockSeq].map((f) => [mm, f]),
    ...[Vma.refcnt, Vma.pgoff, Vma.prev].map((f) => [vma, f]),
    ...[AnonVma.refcount, AnonVma.numChildren, AnonVma.numActiveVmas].map((f) => [anonVma, f]),
    [inode, Inode.iMmapWritable],
  ]) {
    const before = get(ref, field);
    set(ref, field, before + 1);
    expect(findings(), `slot ${field} of object ${ref}`).not.toEqual([]);
    set(ref, field, before);
  }
  check(machine);
});

test('counters, trees and chains follow every history, and nothing is left at its end', () => {
  fc.assert(
    fc.property(fc.array(step(fc.constant(0)), { maxLength: 60 }), (steps) => {
      const machine = fresh();
      play(machine, steps, () => check(machine));
      endAll(machine, steps);
    }),
    { numRuns: 60 },
  );
});

test('a failing allocation is an error and breaks nothing', () => {
  fc.assert(
    fc.property(fc.array(step(fc.integer({ min: 0, max: 8 })), { maxLength: 50 }), (steps) => {
      const machine = fresh();
      play(machine, steps, () => check(machine));
      endAll(machine, steps);
    }),
    { numRuns: 150 },
  );
});

test('direct program, native generators and step program do the same, byte for byte', () => {
  fc.assert(
    fc.property(fc.array(step(fc.integer({ min: 0, max: 20 })), { maxLength: 40 }), (steps) => {
      const run = (program: 'direct' | 'native' | 'step'): { results: number[]; bytes: Float64Array } => {
        const machine = fresh({ program });
        const results = play(machine, steps, () => undefined);
        machine.enter();
        return { results, bytes: heap.slice(0, heap[SLOT_TOP]) };
      };
      const direct = run('direct');
      const native = run('native');
      expect(native.results).toEqual(direct.results);
      expect(native.bytes).toEqual(direct.bytes);
      const stepped = run('step');
      expect(stepped.results).toEqual(direct.results);
      expect(stepped.bytes).toEqual(direct.bytes);
    }),
    { numRuns: 30 },
  );
});
