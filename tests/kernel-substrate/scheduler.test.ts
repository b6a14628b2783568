/** The scheduler: who may run, deadlocks, schedules that replay, choices that depend on their seed alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { choosePct, chooseRandom, chooseRecorded } from '../../src/kernel/choose.ts';
import type { Op } from '../../src/kernel/op.ts';
import { atomicAdd, downRead, downWrite, readOnce, spinLock, spinUnlock, upRead, upWrite, waitFor, writeOnce } from '../../src/kernel/ops.ts';
import { removeTasks } from '../../src/kernel/task.ts';
import { get } from '../../src/memory/heap.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Inode } from '../../src/mm/types.ts';
import { threadStore } from '../../src/mm/user.ts';
import { bugOf, eachOnAMachine, following, inOrder, newInode, tasks, theMachine } from './support.ts';

eachOnAMachine();

/** Reads, then writes what it read and one: loses an addition when another comes between. */
const racyAdd = (inode: number) =>
  function* (): Op<number> {
    const value = yield* readOnce(inode, Inode.size);
    yield* writeOnce(inode, Inode.size, value + 1);
    return value;
  };

const lockedAdd = (inode: number) =>
  function* (): Op<number> {
    yield* spinLock(inode + Inode.pagesLock);
    const value = yield* readOnce(inode, Inode.size);
    yield* writeOnce(inode, Inode.size, value + 1);
    yield* spinUnlock(inode + Inode.pagesLock);
    return value;
  };

/** Final values of `size` under every schedule, by depth-first search over choices. */
function everyEnd(make: (inode: number) => (() => Op<number>)[]): Map<number, number> {
  const ends = new Map<number, number>();
  const pending: number[][] = [[]];
  for (let prefix = pending.pop(); prefix !== undefined; prefix = pending.pop()) {
    const inode = newInode();
    const scheduler = tasks(make(inode));
    const taken: number[] = [];
    const given = prefix;
    scheduler.run((actions) => {
      const n = taken.length;
      const choice = n < given.length ? given[n] : 0;
      if (n >= given.length) for (let other = 1; other < actions.length; other++) pending.push([...taken, other]);
      taken.push(choice);
      return actions[choice];
    });
    removeTasks();
    const end = get(inode, Inode.size);
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  return ends;
}

describe('interleavings', () => {
  it('every order of two racing additions is reached: 20 of two tasks of three steps', () => {
    const ends = everyEnd((inode) => [racyAdd(inode), racyAdd(inode)]);
    // Each task begins, reads, writes: C(6, 3) orders. Both read before one writes in all but those where one is done before the other reads.
    expect([...ends.values()].reduce((a, b) => a + b)).toBe(20);
    expect([...ends.keys()].sort()).toEqual([1, 2]);
  });

  it('a lock leaves none of them', () => {
    expect([...everyEnd((inode) => [lockedAdd(inode), lockedAdd(inode)]).keys()]).toEqual([2]);
  });

  it('random and PCT schedules find the lost addition', () => {
    for (const make of [chooseRandom, choosePct]) {
      const ends = new Set<number>();
      for (let seed = 1; seed <= 40; seed++) {
        const inode = newInode();
        tasks([racyAdd(inode), racyAdd(inode)]).run(make(seed, { steps: 6 }));
        removeTasks();
        ends.add(get(inode, Inode.size));
      }
      expect([...ends].sort()).toEqual([1, 2]);
    }
  });

  it('a schedule replays to the same end, and a seed gives the same schedule', () => {
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), (seed, pct) => {
        const run = (choose: ReturnType<typeof chooseRandom>): { schedule: readonly number[]; end: number } => {
          const inode = newInode();
          const scheduler = tasks([racyAdd(inode), lockedAdd(inode), racyAdd(inode)]);
          scheduler.run(choose);
          removeTasks();
          return { schedule: scheduler.schedule, end: get(inode, Inode.size) };
        };
        const choose = (): ReturnType<typeof chooseRandom> => (pct ? choosePct(seed) : chooseRandom(seed));
        const first = run(choose());
        expect(run(choose())).toEqual(first);
        expect(run(chooseRecorded(first.schedule))).toEqual(first);
      }),
      { numRuns: 50 },
    );
  });
});

describe('who may run', () => {
  it('readers together, a writer alone', () => {
    const inode = newInode();
    const lock = inode + Inode.lock;
    const reader = function* (): Op<number> {
      yield* downRead(lock);
      yield* upRead(lock);
      return 0;
    };
    const writer = function* (): Op<number> {
      yield* downWrite(lock);
      yield* upWrite(lock);
      return 0;
    };
    const scheduler = tasks([reader, reader, writer]);
    const enabled: (readonly number[])[] = [];
    // Begin all; both readers take it; the writer waits until both are gone.
    const choose = following(0, 1, 2, 0, 1, 0, 1, 2, 2);
    scheduler.run((actions, s) => {
      enabled.push(actions);
      return choose(actions, s);
    });
    expect(enabled).toEqual([[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1], [0, 1], [1], [2], [2]]);
  });

  it('waits for a word', () => {
    const inode = newInode();
    const scheduler = tasks([
      function* () {
        return yield* waitFor(inode, Inode.size, 3);
      },
      function* () {
        for (let i = 0; i < 3; i++) yield* atomicAdd(inode, Inode.size, 1);
        return 0;
      },
    ]);
    scheduler.run((actions) => actions[0]);
    expect(scheduler.results).toEqual([[3], [0]]);
    expect(scheduler.schedule.slice(-1)).toEqual([0]);
  });

  it('nobody preempts a spin lock on its own CPU', () => {
    const inode = newInode();
    const scheduler = tasks([lockedAdd(inode), racyAdd(inode)], { cpus: 1 });
    const choose = following(0, 0);
    scheduler.run((actions, s) => {
      if (s.schedule.length >= 2 && s.schedule.length <= 4) expect(actions).toEqual([0]);
      return choose(actions, s);
    });
    expect(get(inode, Inode.size)).toBe(2);
  });
});

describe('no progress (I27)', () => {
  it('a deadlock tells who waits for what and who holds it', () => {
    const [a, other] = [newInode() + Inode.lock, newInode()];
    const keep = function* (): Op<number> {
      yield* downWrite(a);
      return yield* waitFor(other, Inode.nlink, 7);
    };
    const stuck = tasks([keep, () => downRead(a)]);
    const bug = bugOf(() => stuck.run(inOrder));
    expect(bug).toMatch(
      /^I27: deadlock: task 0 in call 0 is at waitFor\(\d+, \d+, 7\), holding inode\.lock of \d+ for writing; task 1 in call 1 waits for inode\.lock of \d+ \(held by task 0 for writing\)/,
    );
  });

  it('a run without end is stopped', () => {
    const inode = newInode();
    const spin = function* (): Op<number> {
      while ((yield* readOnce(inode, Inode.size)) === 0);
      return 0;
    };
    expect(bugOf(() => tasks([spin]).run(inOrder, 100))).toMatch(/^I27: no end after 100 steps: task 0 in call 0 is at readOnce/);
  });
});

it('tasks and CPUs leave nothing behind', () => {
  const p = theMachine().spawn();
  p.syscall('mmap', 0x10000000, 0x2000, 3, 0x32, -1, 0);
  tasks([() => threadStore(p.ref, 0x10000, 5), () => threadStore(p.ref, 0x10000, 6)]).run(inOrder);
  expect(p.load(0x10000000n, 4)).toBe(6n);
  removeTasks();
  theMachine().enter();
  expect(checkMachine()).toEqual([]);
});
