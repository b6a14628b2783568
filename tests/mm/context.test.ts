/** Which address space a CPU has loaded: lazy kernel threads against the end of a process, ASIDs that are given out anew. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { call, type Ending, type Stage, task } from '../../src/explore/scenario.ts';
import { map, store, WINDOW } from '../../src/explore/setup.ts';
import { Scheduler } from '../../src/kernel/scheduler.ts';
import { Cpu, cpuOf, LAZY, removeTasks } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get } from '../../src/memory/heap.ts';
import { asidOf, generationOf } from '../../src/mm/context-id.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';
import { explored } from './support/explored.ts';

const PAGE = 4096;
const AT = WINDOW;

describe('one CPU', () => {
  let machine: Machine;
  let processes: Process[];
  let scheduler: Scheduler;

  beforeEach(() => {
    machine = new Machine({ ramBytes: 8 * 2 ** 20, cpus: 2 });
    const first = machine.spawn();
    first.syscall('mmap', AT * PAGE, 2 * PAGE, 3, 0x32, -1, 0);
    first.store(BigInt(AT * PAGE), 4, 1n);
    processes = [first, first.fork(), first.fork(), first.fork()];
    processes.forEach((p, i) => p.store(BigInt(AT * PAGE), 4, BigInt(i + 1)));
    machine.enter();
  });
  afterEach(() => removeTasks());

  const begin = (options = {}): void => {
    scheduler = new Scheduler({ cpus: 2, ...options });
    scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  };
  /** Runs one call on a CPU. */
  const on = (cpu: number, run: () => ReturnType<typeof source.leaveMm>): number => {
    const number = scheduler.spawn([{ run, args: [], name: 'test' }], cpu);
    scheduler.run((actions) => actions[0]);
    return scheduler.results[number][0];
  };
  const counts = (): number[] => processes.map((p) => get(p.mm, Mm.count));

  test('a kernel thread borrows what is loaded, counted, and the next process gives it back', () => {
    begin();
    const [a, b] = processes;
    on(0, () => source.contextSwitch(a.mm));
    expect(get(cpuOf(0), Cpu.mm)).toBe(a.mm);
    expect(on(0, () => source.threadLoad(a.ref, AT))).toBe(1);
    expect(get(cpuOf(0), Cpu.count)).toBeGreaterThan(0);
    on(0, () => source.contextSwitch(0));
    // Another kernel thread borrows nothing more.
    on(0, () => source.contextSwitch(0));
    expect([get(cpuOf(0), Cpu.lazy), get(cpuOf(0), Cpu.mm), get(cpuOf(0), Cpu.activeMm)]).toEqual([LAZY, a.mm, a.mm]);
    expect(counts()).toEqual([2, 1, 1, 1]);
    on(0, () => source.contextSwitch(b.mm));
    expect([get(cpuOf(0), Cpu.lazy), get(cpuOf(0), Cpu.mm), get(cpuOf(0), Cpu.activeMm)]).toEqual([0, b.mm, 0]);
    expect(counts()).toEqual([1, 1, 1, 1]);
    // Without ASIDs loading tables empties the TLB.
    expect(get(cpuOf(0), Cpu.count)).toBe(0);
  });

  test('a lazy CPU leaves the tables when it is asked to flush, and gives the struct back later', () => {
    begin();
    const [a] = processes;
    on(0, () => source.contextSwitch(a.mm));
    on(0, () => source.threadLoad(a.ref, AT));
    on(0, () => source.contextSwitch(0));
    const mm = a.mm;
    on(1, () => source.sysExit(a.ref, 0));
    expect([get(cpuOf(0), Cpu.mm), get(cpuOf(0), Cpu.pgd), get(cpuOf(0), Cpu.count), get(cpuOf(0), Cpu.activeMm)]).toEqual([0, 0, 0, mm]);
    expect(get(mm, Mm.count)).toBe(1);
    on(0, () => source.leaveMm());
    expect(get(cpuOf(0), Cpu.activeMm)).toBe(0);
    removeTasks();
    expect(checkMachine({ leaks: true })).toEqual([]);
  });

  test('ASIDs tag translations; a generation that begins keeps what CPUs use and empties their TLBs before they load another', () => {
    begin({ asids: 3 });
    const [a, b, c, d] = processes;
    for (const p of [a, b, c]) {
      on(0, () => source.contextSwitch(p.mm));
      on(0, () => source.threadLoad(p.ref, AT));
    }
    // All three at once, and each its own.
    expect(get(cpuOf(0), Cpu.count)).toBe(3);
    expect([a, b, c].map((p) => asidOf(get(p.mm, Mm.contextId)))).toEqual([1, 2, 3]);
    on(0, () => source.contextSwitch(a.mm));
    expect(get(cpuOf(0), Cpu.count)).toBe(3);
    on(1, () => source.contextSwitch(b.mm));
    expect(on(1, () => source.threadLoad(b.ref, AT))).toBe(2);
    // The fourth needs a new generation: CPUs keep 1 and 2.
    on(1, () => source.contextSwitch(d.mm));
    expect(on(1, () => source.threadLoad(d.ref, AT))).toBe(4);
    expect([asidOf(get(d.mm, Mm.contextId)), generationOf(get(d.mm, Mm.contextId))]).toEqual([3, 1]);
    expect([get(cpuOf(0), Cpu.flushPending), get(cpuOf(1), Cpu.flushPending)]).toEqual([1, 0]);
    expect(on(0, () => source.threadLoad(a.ref, AT))).toBe(1);
    // What is left under 2 and 3 is not loaded again before the flush.
    on(0, () => source.contextSwitch(d.mm));
    expect([get(cpuOf(0), Cpu.count), get(cpuOf(0), Cpu.flushPending)]).toEqual([0, 0]);
    expect(on(0, () => source.threadLoad(d.ref, AT))).toBe(4);
    on(1, () => source.contextSwitch(a.mm));
    // It kept its number.
    expect([asidOf(get(a.mm, Mm.contextId)), generationOf(get(a.mm, Mm.contextId))]).toEqual([1, 1]);
  });
});

describe('races', () => {
  const second = (stage: Stage): void => {
    map(stage, AT, 1);
    store(stage, AT, 1);
    const other = stage.process.fork();
    stage.notes.other = other.ref;
    stage.notes.otherMm = other.mm;
  };

  const e24 = {
    setup: second,
    hardware: () => ({ speculate: [AT] }),
    tasks: {
      kernelThread: ({ process, notes }: Stage) => ({ ...task(call('contextSwitch', 0), call('contextSwitch', notes.otherMm)), process }),
      exit: ({ process }: Stage) => task(call('sysExit', process.ref, 0)),
    },
    leaks: true,
  };
  test('E24: tables of a process that ended under a lazy CPU', () => {
    expect(explored(e24, ['lazyTlbUncounted'])).toMatch(/^I[34]: /);
    expect(explored(e24)).toBe('clean');
  }, 60_000);

  test('E24: two threads end on their CPUs, the last one takes the mappings away', () => {
    const threads = {
      setup: (stage: Stage): void => {
        map(stage, AT, 1);
        store(stage, AT, 1);
        stage.machine.enter();
        const other = stage.process.fork();
        Object.assign(stage.notes, { other: other.ref, mm: other.mm });
        stage.machine.enter();
        stage.machine.kernel.mmget(other.mm);
      },
      tasks: {
        first: ({ notes }: Stage) => task(call('contextSwitch', notes.mm), call('exitThread', notes.mm), call('leaveMm')),
        second: ({ notes }: Stage) => task(call('contextSwitch', notes.mm), call('sysExit', notes.other, 0)),
      },
      leaks: true,
    };
    expect(explored(threads)).toBe('clean');
    expect(explored(threads, ['lazyTlbUncounted'])).toMatch(/^I3: /);
  }, 60_000);

  const e25 = {
    machine: { cpus: 2 },
    setup: (stage: Stage): void => {
      map(stage, AT, 1);
      store(stage, AT, 1);
      for (const name of ['b', 'c', 'd']) {
        const p = stage.process.fork();
        store(stage, AT, name.charCodeAt(0), p);
        stage.notes[name] = p.ref;
        stage.notes[`${name}Mm`] = p.mm;
      }
    },
    hardware: () => ({ asids: 3 }),
    tasks: {
      one: ({ process, notes }: Stage) =>
        task(call('contextSwitch', process.mm), call('threadLoad', process.ref, AT), call('contextSwitch', notes.bMm), call('threadLoad', notes.b, AT)),
      two: ({ notes }: Stage) =>
        task(call('contextSwitch', notes.cMm), call('threadLoad', notes.c, AT), call('contextSwitch', notes.dMm), call('threadLoad', notes.d, AT)),
    },
    holds: {
      own: ({ results }: Ending) =>
        results.one[1] === 1 && results.one[3] === 98 && results.two[1] === 99 && results.two[3] === 100
          ? undefined
          : `somebody reads another's page: ${JSON.stringify(results)}`,
    },
  };
  test('E25: an ASID that is given out anew while a CPU still translates under it', () => {
    expect(explored(e25)).toBe('clean');
    const more = {
      ...e25,
      tasks: {
        ...e25.tasks,
        one: ({ process, notes }: Stage) =>
          task(
            call('contextSwitch', process.mm),
            call('threadLoad', process.ref, AT),
            call('contextSwitch', notes.bMm),
            call('contextSwitch', notes.dMm),
            call('threadLoad', notes.d, AT),
          ),
      },
      holds: {},
    };
    expect(explored(more, ['asidReuseNoFlush'])).toMatch(/^I4: CPU \d loads mm \d+ with ASID \d/);
    expect(explored(more)).toBe('clean');
  }, 120_000);
});
