/**
 * The reservation leak of mremap (docs/findings.md): the machine leaks where recordings of real kernels do, invariant I24 says so, the shortest sequence is found by making a long
 * one small, and with the repair nothing leaks.
 */
import { expect, test } from 'vitest';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { takeCensus } from '../../src/mm/invariants/census.ts';
import { Findings } from '../../src/mm/invariants/findings.ts';
import { checkHugetlb } from '../../src/mm/invariants/hugetlb.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import type { Operation, OperationList } from '../kernel/recorder.ts';
import { shrink } from '../kernel/shrink.ts';

const HOME = 0x1_0000_0000;
const AWAY = 0x1_4000_0000;
const BYTES = 2 ** 21;
const MAP = 0x40032; // PRIVATE | FIXED | ANONYMOUS | HUGETLB
const NORESERVE = 0x4000;

interface Call {
  readonly call: 'mmap' | 'write' | 'munmap' | 'mremap' | 'mprotect' | 'fork';
  readonly args: readonly number[];
}
const mmap = (page: number, pages: number, flags = MAP): Call => ({ call: 'mmap', args: [HOME + page * BYTES, pages * BYTES, 3, flags, -1, 0] });
const write = (page: number): Call => ({ call: 'write', args: [HOME + page * BYTES] });
const move = (page: number, pages: number): Call => ({ call: 'mremap', args: [HOME + page * BYTES, pages * BYTES, pages * BYTES, 3, AWAY] });
const unmap = (page: number, pages: number): Call => ({ call: 'munmap', args: [HOME + page * BYTES, pages * BYTES] });
const protect = (page: number, pages: number): Call => ({ call: 'mprotect', args: [HOME + page * BYTES, pages * BYTES, 1] });
const fork: Call = { call: 'fork', args: [] };

/** Plays calls on a fresh machine; after a fork it is the child who calls. What I24 says, what else is wrong, and the reservations that are left. */
function play(calls: readonly Call[], repaired = false): { i24: string[]; resv: number; others: string[] } {
  const machine = run(calls, repaired);
  machine.enter();
  // The object of switches is no part of a machine at rest.
  const wrong = checkMachine({ leaks: true }).filter((w) => !/^leak: (kernel|cpu) /.test(w));
  return { i24: wrong.filter((w) => w.startsWith('I24')), others: wrong.filter((w) => !w.startsWith('I24')), resv: hugePools(4)[0].resv };
}

/** Whether I24 alone finds something. */
function leaks(calls: readonly Call[], repaired = false): boolean {
  run(calls, repaired).enter();
  const found = new Findings();
  checkHugetlb(takeCensus(found, new Map()), found);
  return found.list.some((w) => w.startsWith('I24'));
}

function run(calls: readonly Call[], repaired: boolean): Machine {
  const machine = new Machine({ ramBytes: 2 ** 26, program: repaired ? 'straight' : 'direct' });
  let p = machine.spawn();
  machine.enter();
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 8);
  if (repaired) {
    makeCpus(1);
    throwSwitches(['hugetlbMoveSplitsFirst']);
  }
  for (const { call, args } of calls) {
    machine.enter();
    if (call === 'write') p.store(BigInt(args[0]), 1, 1n);
    else if (call === 'fork') p = machine.processAt(machine.kernel.sysFork(p.ref));
    else p.syscall(call, ...args);
  }
  return machine;
}

const clean = { i24: [], others: [] };

test('every page outside of what is moved that was not touched keeps its reservation for ever', () => {
  // Of six pages the two in the middle move; one before and one behind were touched.
  const calls = [mmap(0, 6), write(0), write(5), move(2, 2)];
  expect(play(calls)).toEqual({ i24: ['I24: pool of order 9: reserved pages is 4, 2 expected'], others: [], resv: 4 });
  // With everything unmapped nobody has a reservation any more, and two are counted.
  const ended = [...calls, unmap(0, 6), { call: 'munmap', args: [AWAY, 2 * BYTES] } as const];
  expect(play(ended)).toEqual({ i24: ['I24: pool of order 9: reserved pages is 2, 0 expected'], others: [], resv: 2 });
  expect(play(ended, true)).toEqual({ ...clean, resv: 0 });
});

test('what keeps a kernel from it: no reservation, all touched, cut before, moved as a whole, shared, a child of fork', () => {
  expect(play([mmap(0, 4, MAP | NORESERVE), move(1, 1)])).toMatchObject(clean);
  expect(play([mmap(0, 2), write(0), write(1), move(1, 1)])).toMatchObject(clean);
  expect(play([mmap(0, 2), protect(1, 1), move(1, 1)])).toMatchObject(clean);
  expect(play([mmap(0, 2), move(0, 2)])).toMatchObject(clean);
  expect(play([mmap(0, 2, (MAP & ~2) | 1), move(1, 1)])).toMatchObject(clean);
  expect(play([mmap(0, 2), fork, move(1, 1)])).toMatchObject(clean);
});

test('a long sequence is made small: one mmap, one mremap', async () => {
  const long: Call[] = [
    mmap(0, 4),
    write(1),
    protect(0, 1),
    mmap(8, 2),
    write(8),
    unmap(8, 1),
    write(3),
    mmap(12, 3),
    write(12),
    move(13, 1),
    unmap(0, 4),
    write(12),
    unmap(12, 3),
  ];
  const list = { header: { snap: 1 }, operations: long.map(({ call, args }) => ({ op: call, p: 0, a: args })) } as unknown as OperationList;
  const callsOf = (operations: readonly Operation[]): Call[] => operations.map(({ op, a }) => ({ call: op as Call['call'], args: a as number[] }));
  expect(leaks(callsOf(list.operations))).toBe(true);
  const { list: short, asked } = await shrink(list, async (candidate) => leaks(callsOf(candidate.operations)), 150);
  expect(short.operations.map((o) => o.op)).toEqual(['mmap', 'mremap']);
  expect(asked).toBeGreaterThan(10);
  expect(leaks(callsOf(short.operations), true)).toBe(false);
}, 30_000);
