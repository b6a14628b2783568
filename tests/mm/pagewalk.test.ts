/** Walks over page tables: what they see, which locks they ask for, and what goes wrong where a kernel of another time asked for less. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { call, type Stage, task } from '../../src/explore/scenario.ts';
import { map, store, WINDOW } from '../../src/explore/setup.ts';
import { KernelBug } from '../../src/kernel/bug.ts';
import type { Op } from '../../src/kernel/op.ts';
import { Scheduler } from '../../src/kernel/scheduler.ts';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { removeTasks } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { allocPages } from '../../src/memory/buddy.ts';
import { GFP_KERNEL } from '../../src/memory/gfp.ts';
import { get } from '../../src/memory/heap.ts';
import { startJournal, stopJournal, undo } from '../../src/memory/state.ts';
import { EINVAL } from '../../src/mm/errno.ts';
import { globals } from '../../src/mm/globals.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { allocWalkCount, WALK_CLEAR_REFS, WALK_COUNT, WALK_COUNT_LOCKED, WALK_FREE, WALK_MLOCK, WALK_PTDUMP, WalkCount } from '../../src/mm/mm-walk.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from '../../src/mm/mmap-lock.ts';
import { Globals } from '../../src/mm/types.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { explored } from './support/explored.ts';

const PAGE = 4096;
const AT = WINDOW;
/** A page of the kernel's half. */
const KVPN = 0xf_fff8_8800_0000;

let machine: Machine;
let process: Process;

beforeEach(() => {
  machine = new Machine({ ramBytes: 8 * 2 ** 20, cpus: 2 });
  process = machine.spawn();
});
afterEach(() => removeTasks());

/** Runs kernel code as the only task. */
function run(body: () => Op<number>, ...switches: Parameters<typeof throwSwitches>[0]): number {
  machine.enter();
  removeTasks();
  const scheduler = new Scheduler({ cpus: 1 });
  throwSwitches(switches);
  scheduler.spawn([{ run: body, args: [], name: 'test' }]);
  scheduler.run((actions) => actions[0]);
  return scheduler.results[0][0];
}

/** The bug that it ends in; the machine is as before. */
const bugOf = (body: () => Op<number>, ...switches: Parameters<typeof throwSwitches>[0]): string => {
  machine.enter();
  startJournal();
  try {
    run(body, ...switches);
    return 'none';
  } catch (error) {
    if (!(error instanceof KernelBug)) throw error;
    return error.message;
  } finally {
    undo(0);
    stopJournal();
  }
};

/** A function between taking the mmap lock and giving it back. */
const reading = (body: () => Op<number>): (() => Op<number>) =>
  function* (): Op<number> {
    yield* mmapReadLock(process.mm);
    const result = yield* body();
    yield* mmapReadUnlock(process.mm);
    return result;
  };
const writing = (body: () => Op<number>): (() => Op<number>) =>
  function* (): Op<number> {
    yield* mmapWriteLock(process.mm);
    const result = yield* body();
    yield* mmapWriteUnlock(process.mm);
    return result;
  };

describe('what a walk sees', () => {
  test('pages that were touched are present, what lies between is none, ranges without tables are holes', () => {
    machine.enter();
    process.syscall('mmap', AT * PAGE, 4 * PAGE, 3, 0x32, -1, 0);
    // Another table, 4 MiB on, and nothing in between.
    process.syscall('mmap', (AT + 1024) * PAGE, 4 * PAGE, 3, 0x32, -1, 0);
    for (const vpn of [AT, AT + 2, AT + 1024 + 3]) process.store(BigInt(vpn * PAGE), 4, 7n);
    machine.enter();
    const count = allocWalkCount();
    expect(run(reading(() => source.walkPageRange(process.mm, AT, AT + 1028, WALK_COUNT, count)))).toBe(0);
    expect(get(count, WalkCount.present)).toBe(3);
    // Between the VMAs, but for nothing of what has VMAs and tables.
    expect(get(count, WalkCount.holes)).toBe(1020);
    const all = allocWalkCount();
    expect(run(writing(() => source.walkPageRangeNovma(process.mm, 0, 2 ** 35, WALK_PTDUMP, 0, all)))).toBe(0);
    expect(get(all, WalkCount.present)).toBe(3);
    expect(get(all, WalkCount.holes)).toBe(2 ** 35 - 2 * 512);
    const of = allocWalkCount();
    expect(run(reading(() => source.walkPageVma(vmaAt(AT + 1024), WALK_COUNT, of)))).toBe(0);
    expect(get(of, WalkCount.present)).toBe(1);
  });

  test('no range, no mm and ranges outside of the VMA are EINVAL', () => {
    machine.enter();
    process.syscall('mmap', AT * PAGE, 4 * PAGE, 3, 0x32, -1, 0);
    const { mm } = process;
    for (const [start, end] of [
      [AT, AT],
      [AT + 1, AT],
    ]) {
      expect(run(reading(() => source.walkPageRange(mm, start, end, WALK_COUNT, 0)))).toBe(-EINVAL);
      expect(run(writing(() => source.walkPageRangeNovma(mm, start, end, WALK_PTDUMP, 0, 0)))).toBe(-EINVAL);
      expect(run(reading(() => source.walkPageRangeVma(vmaAt(AT), start, end, WALK_COUNT, 0)))).toBe(-EINVAL);
    }
    // Checked before the locks are.
    expect(run(() => source.walkPageRange(0, AT, AT + 1, WALK_COUNT, 0))).toBe(-EINVAL);
    expect(run(() => source.walkPageRangeNovma(0, AT, AT + 1, WALK_PTDUMP, 0, 0))).toBe(-EINVAL);
    expect(run(reading(() => source.walkPageRangeVma(vmaAt(AT), AT - 1, AT + 1, WALK_COUNT, 0)))).toBe(-EINVAL);
    expect(run(reading(() => source.walkPageRangeVma(vmaAt(AT), AT + 3, AT + 5, WALK_COUNT, 0)))).toBe(-EINVAL);
  });
});

const vmaAt = (vpn: number): number => {
  machine.enter();
  return vmaLookup(process.mm, vpn);
};

describe('locks', () => {
  beforeEach(() => {
    process.syscall('mmap', AT * PAGE, 4 * PAGE, 3, 0x32, -1, 0);
    process.store(BigInt(AT * PAGE), 4, 7n);
    machine.enter();
  });

  test('a walk is told which lock it needs', () => {
    const { mm } = process;
    const count = allocWalkCount();
    const at = (ops: number) => () => source.walkPageRange(mm, AT, AT + 4, ops, count);
    expect(bugOf(at(WALK_COUNT))).toMatch(/^I23: task 0 must hold mm.mmapLock/);
    expect(bugOf(reading(at(WALK_COUNT)))).toBe('none');
    expect(bugOf(reading(at(WALK_COUNT_LOCKED)))).toMatch(/^I23: task 0 must hold mm.mmapLock of \d+ for writing/);
    expect(bugOf(reading(at(WALK_CLEAR_REFS)))).toMatch(/^I23/);
    expect(bugOf(writing(at(WALK_COUNT_LOCKED)))).toBe('none');
    expect(bugOf(writing(at(WALK_MLOCK)))).toMatch(/^I23: VMA \d+ must be locked for writing/);
    expect(bugOf(() => source.walkPageRangeVma(vmaAt(AT), AT, AT + 4, WALK_FREE, 0))).toMatch(/^(I23|guard)/);
  });

  test('without VMAs the tables of users need the lock for writing, those of the kernel do not', () => {
    const { mm } = process;
    const count = allocWalkCount();
    const walk = (): Op<number> => source.walkPageRangeNovma(mm, AT, AT + 4, WALK_PTDUMP, 0, count);
    expect(bugOf(walk)).toMatch(/^I23/);
    expect(bugOf(reading(walk))).toMatch(/^I23: task 0 must hold mm.mmapLock of \d+ for writing/);
    expect(bugOf(reading(walk), 'novmaReadLock')).toBe('none');
    expect(bugOf(writing(walk))).toBe('none');
    machine.enter();
    const init = machine.kernel.makeInitMm();
    const kernelWalk = (): Op<number> => source.walkPageRangeNovma(init, KVPN, KVPN + 4, WALK_PTDUMP, 0, count);
    expect(bugOf(kernelWalk)).toMatch(/^I23/);
    expect(
      bugOf(function* (): Op<number> {
        yield* mmapReadLock(init);
        yield* kernelWalk();
        return yield* mmapReadUnlock(init);
      }),
    ).toBe('none');
  });
});

describe("the kernel's own tables", () => {
  test('pages are mapped, dumped and removed, and tables go with the last of them', () => {
    machine.enter();
    const { kernel } = machine;
    const init = kernel.makeInitMm();
    expect(kernel.makeInitMm()).toBe(init);
    const pages = [allocPages(0, GFP_KERNEL), allocPages(0, GFP_KERNEL)];
    const held = new Map(pages.map((page) => [page, 1]));
    kernel.mapKernelPage(KVPN, pages[0]);
    kernel.mapKernelPage(KVPN + 513, pages[1]);
    expect(checkMachine({ held })).toEqual([]);
    expect(kernel.ptdumpWalkPgd(init, KVPN, KVPN + 1024)).toBe(2);
    kernel.removeKernelPages(KVPN, KVPN + 512);
    expect(kernel.ptdumpWalkPgd(init, KVPN, KVPN + 1024)).toBe(1);
    expect(checkMachine({ held })).toEqual([]);
    kernel.removeKernelPages(KVPN, KVPN + 1024);
    expect(kernel.ptdumpWalkPgd(init, KVPN, KVPN + 1024)).toBe(0);
    expect(checkMachine({ held })).toEqual([]);
  });
});

describe('races', () => {
  const mapped = (stage: Stage): void => {
    map(stage, AT, 2);
    store(stage, AT, 1);
  };

  const r30 = {
    setup: mapped,
    tasks: {
      ptdump: ({ process }: Stage) => task(call('ptdumpWalkPgd', process.mm, AT, AT + 2)),
      munmap: ({ process, page }: Stage) => task(call('sysMunmap', process.ref, AT * page, 2 * page)),
    },
  };
  test('R30: a walk without VMAs under the lock for reading meets munmap() that has downgraded it', () => {
    expect(explored(r30, ['novmaReadLock'])).toMatch(/^I3: task 0 reaches into page \d+/);
    expect(explored(r30)).toBe('clean');
  }, 60_000);

  const r31 = {
    setup: (stage: Stage): void => {
      const { kernel } = stage.machine;
      stage.machine.enter();
      stage.notes.init = kernel.makeInitMm();
      kernel.mapKernelPage(KVPN, get(globals, Globals.zeroPage));
    },
    tasks: {
      ptdump: ({ notes }: Stage) => task(call('ptdumpWalkPgd', notes.init, KVPN, KVPN + 2)),
      remove: () => task(call('removeKernelPages', KVPN, KVPN + 2)),
    },
  };
  test('R31: the mmap lock of init_mm keeps nothing from being removed', () => {
    expect(explored(r31, ['ptdumpNoHotplugLock'])).toMatch(/^I3: task 0 reaches into page \d+/);
    expect(explored(r31)).toBe('clean');
  }, 60_000);

  const r32 = {
    setup: mapped,
    tasks: {
      walker: ({ process }: Stage) => task(call('walkTwice', process.mm, AT, AT + 2, WALK_COUNT_LOCKED)),
      fault: ({ process }: Stage) => task(call('userFault', process.mm, AT + 1, 1)),
    },
    holds: {
      R32: ({ results }: { results: Readonly<Record<string, readonly number[]>> }) =>
        results.walker[0] === 0 ? undefined : `R32: ${results.walker[0]} pages came`,
    },
  };
  test('R32: a walk that does not lock the VMAs meets faults that need no mmap lock', () => {
    expect(explored(r32, ['walkNoVmaLock'])).toMatch(/^R32/);
    expect(explored(r32)).toBe('clean');
  }, 60_000);

  const reclaimed = {
    setup: (stage: Stage): void => {
      map(stage, 512 * 200, 512);
      store(stage, 512 * 200 + 3, 1);
    },
    tasks: {
      walker: ({ process }: Stage) => task(call('walkCountReading', process.mm, 512 * 200, 512 * 200 + 8)),
      dontneed: ({ process, page }: Stage) => task(call('sysMadvise', process.ref, 512 * 200 * page, 512 * page, 4)),
    },
  };
  test('F116: a table that is given back while a walk comes to it is looked for again; its lock is there until then', () => {
    expect(explored(reclaimed, ['pteMapNoRecheck'], { bound: 1 })).toMatch(/^I(3|23): /);
    // Without a read section the lock that is taken may be that of a table which was freed.
    expect(explored(reclaimed, ['pteMapNothing'], { bound: 1 })).toMatch(/^I3: task 0 takes the lock of page \d+, which is no page table/);
    expect(explored(reclaimed, [], { bound: 1 })).toBe('clean');
  }, 120_000);
});
