/** Rules of locks: each misuse is found in the run in which it happens, named, and correct use is not. */
import { describe, expect, it } from 'vitest';
import { learnedOrder } from '../../src/kernel/lockdep.ts';
import type { Op } from '../../src/kernel/op.ts';
import {
  allocPage,
  downgradeWrite,
  downRead,
  downWrite,
  entryGet,
  entrySet,
  folioLock,
  folioTrylock,
  folioUnlock,
  freePage,
  kfree,
  kmalloc,
  kmallocNowait,
  localIrqDisable,
  localIrqEnable,
  rcuReadLock,
  rcuReadUnlock,
  refAdd,
  setFlags,
  spinLock,
  spinTrylock,
  spinUnlock,
  upRead,
  upWrite,
  waitFor,
} from '../../src/kernel/ops.ts';
import { GFP_ATOMIC, GFP_KERNEL } from '../../src/memory/gfp.ts';
import { alloc, get } from '../../src/memory/heap.ts';
import { PG_TABLE } from '../../src/memory/page-flags.ts';
import { wordShift } from '../../src/memory/state.ts';
import { Inode, Mm, Process } from '../../src/mm/types.ts';
import { bugOf, bugOfTask, eachOnAMachine, inOrder, newInode, tasks, theMachine } from './support.ts';

eachOnAMachine();

const pagesLock = (inode: number): number => inode + Inode.pagesLock;
const lock = (inode: number): number => inode + Inode.lock;
const invalidate = (inode: number): number => inode + Inode.invalidateLock;

describe('sleeping where one must not (I21)', () => {
  const sleepers: [string, (inode: number, page: number) => Op<number>][] = [
    ['allocates memory', () => kmalloc(Inode.$type)],
    ['allocates a page', () => allocPage(GFP_KERNEL, 0)],
    ['takes inode.lock of', (inode) => downRead(lock(inode))],
    ['takes inode.lock of', (inode) => downWrite(lock(inode))],
    ['takes folio', (_, page) => folioLock(page)],
    ['waits', (inode) => waitFor(inode, Inode.size, 0)],
  ];
  const contexts: [string, (inode: number) => Op<number>][] = [
    ['under a spin lock', (inode) => spinLock(pagesLock(inode))],
    ['in an RCU read section', () => rcuReadLock()],
    ['with interrupts off', () => localIrqDisable()],
  ];
  for (const [context, enter] of contexts)
    for (const [what, sleep] of sleepers)
      it(`${what.replace(/ of$/, '')} ${context}`, () => {
        const inode = newInode();
        const bug = bugOfTask(function* () {
          const page = yield* allocPage(GFP_KERNEL, 0);
          yield* enter(inode);
          yield* sleep(inode, page);
          return 0;
        });
        expect(bug).toMatch(/^I21: task 0 /);
        expect(bug).toContain(what);
        expect(bug).toContain(context);
      });

  it('what does not sleep is allowed', () => {
    const inode = newInode();
    const body = function* (): Op<number> {
      const outside = yield* kmalloc(Inode.$type);
      const page = yield* allocPage(GFP_KERNEL, 0);
      yield* spinLock(pagesLock(inode));
      const object = yield* kmallocNowait(Inode.$type);
      const another = yield* allocPage(GFP_ATOMIC, 0);
      expect(yield* folioTrylock(page)).toBe(1);
      yield* folioUnlock(page);
      yield* kfree(Inode.$type, object);
      yield* spinUnlock(pagesLock(inode));
      yield* rcuReadLock();
      yield* spinLock(pagesLock(inode));
      yield* spinUnlock(pagesLock(inode));
      yield* rcuReadUnlock();
      yield* kfree(Inode.$type, outside);
      for (const p of [page, another]) {
        yield* refAdd(p, -1);
        yield* freePage(p, 0);
      }
      return 0;
    };
    expect(bugOfTask(body)).toBe('none');
  });
});

describe('order of locks (I22)', () => {
  const takeBoth = (a: number, b: number) =>
    function* (): Op<number> {
      yield* downWrite(a);
      yield* downWrite(b);
      yield* upWrite(b);
      yield* upWrite(a);
      return 0;
    };

  it('two orders are found although nobody waited', () => {
    const inode = newInode();
    const data = inode + Inode.dataLock;
    const scheduler = tasks([takeBoth(lock(inode), data), takeBoth(data, lock(inode))]);
    expect(bugOf(() => scheduler.run(inOrder))).toMatch(
      /^I22: task 1 takes inode\.lock of \d+ for writing while it holds inode\.dataLock of \d+ for writing; the other way round before: task 0 takes inode\.dataLock/,
    );
  });

  it('what is against the declared order needs no second run', () => {
    const inode = newInode();
    expect(bugOf(() => tasks([takeBoth(invalidate(inode), lock(inode))]).run(inOrder))).toMatch(
      /^I22: task 0 takes inode\.lock .* while it holds inode\.invalidateLock .*; the declared order is inode\.lock before inode\.invalidateLock/,
    );
  });

  it('a circle of three is found', () => {
    const inode = newInode();
    const data = inode + Inode.dataLock;
    const third = alloc(Process) + Process.execUpdateLock;
    const scheduler = tasks([takeBoth(lock(inode), data), takeBoth(data, third), takeBoth(third, lock(inode))]);
    expect(bugOf(() => scheduler.run(inOrder))).toMatch(/^I22: task 2 takes inode\.lock .*; the other way round before: .*dataLock.*; .*execUpdateLock/);
  });

  it('the order is one of classes: other objects of the same kind count', () => {
    const [a, b] = [newInode(), newInode()];
    const scheduler = tasks([takeBoth(lock(a), invalidate(a)), takeBoth(invalidate(b), lock(b))]);
    expect(bugOf(() => scheduler.run(inOrder))).toMatch(/^I22/);
  });

  it('two locks of one class, and one lock twice', () => {
    const [a, b] = [newInode(), newInode()];
    expect(bugOf(() => tasks([takeBoth(lock(a), lock(b))]).run(inOrder))).toMatch(
      /^I22: task 0 takes inode\.lock of \d+ for writing while it holds inode\.lock/,
    );
    theMachine().enter();
  });

  it('one lock twice', () => {
    const a = newInode();
    const twice = function* (): Op<number> {
      yield* downRead(lock(a));
      yield* downRead(lock(a));
      return 0;
    };
    expect(bugOf(() => tasks([twice]).run(inOrder))).toMatch(/^I22: .*which it holds already/);
  });

  it('page tables nest; what is tried is no order', () => {
    const inode = newInode();
    const scheduler = tasks([
      function* () {
        const [a, b] = [yield* allocPage(GFP_KERNEL, 0), yield* allocPage(GFP_KERNEL, 0)];
        for (const table of [a, b]) yield* setFlags(table, PG_TABLE);
        yield* spinLock(-a);
        yield* spinLock(-b);
        yield* spinUnlock(-b);
        yield* spinUnlock(-a);
        yield* spinLock(pagesLock(inode));
        expect(yield* spinTrylock(-a)).toBe(1);
        yield* spinUnlock(-a);
        yield* spinUnlock(pagesLock(inode));
        yield* spinLock(-a);
        yield* spinLock(pagesLock(inode));
        yield* spinUnlock(pagesLock(inode));
        yield* spinUnlock(-a);
        return 0;
      },
    ]);
    expect(bugOf(() => scheduler.run(inOrder))).toBe('none');
    expect(learnedOrder()).toEqual(['page table → inode.pagesLock']);
  });
});

describe('what is held (I23)', () => {
  it('a lock that another task holds cannot be released', () => {
    const inode = newInode();
    const scheduler = tasks([
      function* () {
        yield* downWrite(lock(inode));
        yield* upWrite(lock(inode));
        return 0;
      },
      function* () {
        yield* upWrite(lock(inode));
        return 0;
      },
    ]);
    const bug = bugOf(() => scheduler.run((actions) => (scheduler.schedule.length < 2 ? 0 : actions[actions.length - 1])));
    expect(bug).toMatch(/^I23: inode\.lock of \d+ is released for writing by task 1, who does not hold it; task 0 for writing does/);
  });

  const misuses: [string, (inode: number, page: number) => Op<number>, RegExp][] = [
    ['a spin lock that is free', (inode) => spinUnlock(pagesLock(inode)), /^I23: inode\.pagesLock of \d+ is released by task 0, who does not hold it/],
    ['reading that nobody does', (inode) => upRead(lock(inode)), /^I23: inode\.lock of \d+ is released for reading although nobody reads/],
    ['a downgrade of nothing', (inode) => downgradeWrite(lock(inode)), /^I23: inode\.lock of \d+ is released for writing/],
    ['a folio that is not locked', (_, page) => folioUnlock(page), /^I23: task 0 releases folio \d+, which it does not hold; nobody does/],
    ['an RCU read section', () => rcuReadUnlock(), /^I23: task 0 leaves an RCU read section/],
  ];
  for (const [what, misuse, expected] of misuses)
    it(what, () => {
      const inode = newInode();
      expect(
        bugOfTask(function* () {
          const page = yield* allocPage(GFP_KERNEL, 0);
          yield* misuse(inode, page);
          return 0;
        }),
      ).toMatch(expected);
    });

  it('released in another mode than taken', () => {
    const inode = newInode();
    const body = function* (): Op<number> {
      yield* downWrite(lock(inode));
      yield* downgradeWrite(lock(inode));
      yield* upWrite(lock(inode));
      return 0;
    };
    expect(bugOfTask(body)).toMatch(/^I23: .*is released for writing by task 0/);
  });

  const kept: [string, (inode: number) => Op<number>, RegExp][] = [
    ['a spin lock', (inode) => spinLock(pagesLock(inode)), /returns from call 0 with inode\.pagesLock/],
    ['a semaphore', (inode) => downRead(lock(inode)), /returns from call 0 with inode\.lock of \d+ for reading/],
    ['an RCU read section', () => rcuReadLock(), /returns from call 0 within an RCU read section/],
    ['interrupts off', () => localIrqDisable(), /returns from call 0 with interrupts off/],
  ];
  for (const [what, keep, expected] of kept)
    it(`kept over the end of a call: ${what}`, () => {
      const inode = newInode();
      expect(bugOfTask(() => keep(inode))).toMatch(expected);
    });

  it('interrupts may be off and on again', () => {
    const body = function* (): Op<number> {
      yield* localIrqDisable();
      yield* localIrqEnable();
      return 0;
    };
    expect(bugOfTask(body)).toBe('none');
  });

  it('entries change under the lock of their table, and only tables have entries', () => {
    const mm = theMachine().spawn().mm;
    const pgd = get(mm, Mm.pgd);
    const at = pgd << wordShift;
    expect(bugOfTask(() => entrySet(at, 0, 0))).toMatch(/^I23: task 0 changes an entry of page table \d+ without its lock, which nobody holds/);
    theMachine().enter();
  });

  it('a page that is no table has no entries (I3)', () => {
    const body = function* (): Op<number> {
      const page = yield* allocPage(GFP_KERNEL, 0);
      return yield* entryGet(page << wordShift, 0);
    };
    expect(bugOfTask(body)).toMatch(/^I3: task 0 reaches into page \d+, which is no page table/);
  });

  it('a free page is not referenced (I1)', () => {
    const body = function* (): Op<number> {
      const page = yield* allocPage(GFP_KERNEL, 0);
      yield* refAdd(page, -1);
      return yield* refAdd(page, 1);
    };
    expect(bugOfTask(body)).toMatch(/^I1: task 0 takes a reference to page \d+, which is free/);
  });

  it('without tasks nothing is recorded', () => {
    alloc(Inode);
    expect(learnedOrder()).toEqual([]);
  });
});
