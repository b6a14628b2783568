/** What the OOM reaper takes away, what process_mrelease() answers, and both against the end of the process. */
import { beforeEach, describe, expect, test } from 'vitest';
import { call, type Ending, type Stage, task } from '../../src/explore/scenario.ts';
import { map, memfd, must, store, WINDOW } from '../../src/explore/setup.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get } from '../../src/memory/heap.ts';
import { EBADF, EINVAL, ESRCH } from '../../src/mm/errno.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { MM_ANONPAGES, MM_SHMEMPAGES, Mm } from '../../src/mm/types.ts';
import { explored } from './support/explored.ts';

const PAGE = 4096;
const AT = WINDOW;
const SIGBUS = 7;

describe('one victim', () => {
  let machine: Machine;
  let process: Process;
  const stage = (): Stage => ({ machine, process, page: PAGE, tablePages: 512, notes: {} });

  beforeEach(() => {
    machine = new Machine({ ramBytes: 8 * 2 ** 20 });
    process = machine.spawn();
    const fd = memfd(stage(), 4);
    map(stage(), AT, 2);
    map(stage(), AT + 8, 2, { fd });
    map(stage(), AT + 16, 2, { fd, pgoff: 2, flags: 2 });
    for (const vpn of [AT, AT + 1, AT + 8, AT + 16]) store(stage(), vpn, 5);
    machine.enter();
  });

  const rss = (member: number): number => get(process.mm, Mm.rss + member);

  test('private pages go, those of shared mappings stay, and nobody gets zeroes for what went', () => {
    expect([rss(MM_ANONPAGES), rss(MM_SHMEMPAGES)]).toEqual([3, 1]);
    expect(machine.kernel.oomReapTaskMm(process.mm)).toBe(1);
    expect([rss(MM_ANONPAGES), rss(MM_SHMEMPAGES)]).toEqual([0, 1]);
    expect(checkMachine()).toEqual([]);
    expect(process.load(BigInt((AT + 8) * PAGE), 4)).toBe(5n);
    for (const vpn of [AT, AT + 1, AT + 16]) {
      // Faults around map a file's cached pages, as in Linux; the copy that was there is gone.
      if (vpn !== AT + 16) expect(process.load(BigInt(vpn * PAGE), 4)).toMatchObject({ signal: SIGBUS });
      expect(process.store(BigInt(vpn * PAGE), 4, 1n)).toMatchObject({ signal: SIGBUS });
    }
    process.exit();
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  test('process_mrelease() is for those that were killed', () => {
    const other = process.fork();
    const fd = must(process, 'pidfd_open', other.pid, 0);
    expect(process.syscall('process_mrelease', fd, 1)).toBe(-EINVAL);
    expect(process.syscall('process_mrelease', 99, 0)).toBe(-EBADF);
    expect(process.syscall('process_mrelease', fd, 0)).toBe(-EINVAL);
    machine.enter();
    machine.kernel.sendSigkill(other.ref);
    expect(process.syscall('process_mrelease', fd, 0)).toBe(0);
    expect(get(other.mm, Mm.rss + MM_ANONPAGES)).toBe(0);
    expect(get(other.mm, Mm.count)).toBe(1);
    other.exit();
    expect(process.syscall('process_mrelease', fd, 0)).toBe(-ESRCH);
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });
});

describe('races', () => {
  /** A second process with one page of its own. */
  const victim = (stage: Stage): void => {
    map(stage, AT, 1);
    store(stage, AT, 1);
    const other = stage.process.fork();
    store(stage, AT, 2, other);
    stage.notes.victim = other.ref;
    stage.notes.mm = other.mm;
  };

  const e14 = {
    setup: (stage: Stage): void => {
      victim(stage);
      stage.machine.enter();
      // mark_oom_victim
      stage.machine.kernel.mmgrab(stage.notes.mm);
    },
    tasks: {
      reaper: ({ notes }: Stage) => task(call('oomReapTask', notes.mm)),
      victim: ({ notes }: Stage) => task(call('sysExit', notes.victim, 0)),
    },
    leaks: true,
  };
  test('E14: the reaper is at work while the process frees its tables', () => {
    expect(explored(e14, ['reaperIgnoresExit'])).toMatch(/^guard: task 0 reads vma/);
    expect(explored(e14, ['exitMmapUnlocked'])).toMatch(/^I(3|19): /);
    expect(explored(e14)).toBe('clean');
  }, 300_000);

  test('process_mrelease() against the end of the process: done, or there is nothing left to do', () => {
    const results = new Set<number>();
    const mrelease = {
      setup: (stage: Stage): void => {
        victim(stage);
        const pid = stage.machine.processes.find((p) => p.ref === stage.notes.victim)?.pid as number;
        stage.notes.fd = must(stage.process, 'pidfd_open', pid, 0);
        stage.machine.enter();
        stage.machine.kernel.sendSigkill(stage.notes.victim);
      },
      tasks: {
        mrelease: ({ process, notes }: Stage) => task(call('sysProcessMrelease', process.ref, notes.fd, 0)),
        victim: ({ notes }: Stage) => task(call('sysExit', notes.victim, 0)),
      },
      holds: { result: ({ results: { mrelease } }: Ending) => void results.add(mrelease[0]) },
      leaks: true,
    };
    expect(explored(mrelease, [], { bound: 2 })).toBe('clean');
    expect([...results].sort()).toEqual([-ESRCH, 0]);
  }, 300_000);

  test('a thread that the reaper overtakes reads what was there or dies', () => {
    const seen = new Set<number>();
    const thread = {
      setup: e14.setup,
      tasks: {
        reaper: ({ notes }: Stage) => task(call('oomReapTask', notes.mm)),
        thread: ({ notes }: Stage) => task(call('threadLoad', notes.victim, AT), call('threadLoad', notes.victim, AT)),
      },
      holds: { read: ({ results: { thread } }: Ending) => void seen.add(thread[0]).add(thread[1]) },
      leaks: true,
    };
    expect(explored(thread)).toBe('clean');
    expect([...seen].map((r) => (r < 0 ? Math.floor(-r / 256) : r)).sort()).toEqual([2, SIGBUS]);
  }, 300_000);
});
