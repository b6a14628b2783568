/** What hardware may do beside the tasks: each kind reaches endings that are not there without it, and breaks what only it can break. */
import { describe, expect, it } from 'vitest';
import { endingFault } from '../../src/explore/ending.ts';
import type { Ending, Hardware, Scenario } from '../../src/explore/scenario.ts';
import { call, scenario, task } from '../../src/explore/scenario.ts';
import { search } from '../../src/explore/search.ts';
import { map, store, WINDOW } from '../../src/explore/setup.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { loadEntry, pageOfEntry, storeEntry } from '../../src/kernel/arch.ts';
import { IDLE_BASE } from '../../src/kernel/hardware.ts';
import { cpuOf } from '../../src/kernel/task.ts';
import { tlbFind } from '../../src/kernel/tlb.ts';
import { set } from '../../src/memory/heap.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals } from '../../src/mm/types.ts';
import { kernelText } from './kernel-text.ts';

/** All endings of a scenario, by what `tell` says of each. */
function endings(given: Scenario, tell: (ending: Ending) => string, mode = 'x86-4level'): string[] {
  const seen = new Set<string>();
  const told: Scenario = {
    ...given,
    holds: {
      told: (ending) => {
        seen.add(tell(ending));
        return undefined;
      },
    },
  };
  const { verdict, violation } = search(told, stageOf(told, told.variants.plain, mode));
  expect(violation?.message).toBeUndefined();
  expect(verdict).toBe('exhausted');
  return [...seen].sort();
}

const plain = { plain: { expect: 'clean' } } as const;
const kernel = kernelText(`
import { entryGet, entrySet, readOnce, spinLock, spinUnlock, writeOnce } from './ops.ts';
export function* storeThenLoad(object, x, y) { yield* writeOnce(object, x, 1); return yield* readOnce(object, y); }
export function* writer(object, x, y) { yield* writeOnce(object, x, 1); yield* writeOnce(object, y, 1); return 0; }
export function* reader(object, x, y) { const b = yield* readOnce(object, y); const a = yield* readOnce(object, x); return b * 2 + a; }
export function* setAndClear(at, lock, entry) {
  yield* spinLock(lock);
  yield* entrySet(at, 0, entry);
  yield* entrySet(at, 0, 0);
  return yield* spinUnlock(lock);
}
export function* lockless(at) { return yield* entryGet(at, 0); }
`);

// Two words that nothing in these scenarios looks at.
const X = Globals.ksmRun;
const Y = Globals.thpEnabled;
const litmus = (hardware: Hardware, tasks: Scenario['tasks']): Scenario =>
  scenario({
    id: 'litmus',
    title: 'two words',
    setup: () => {
      set(globals, X, 0);
      set(globals, Y, 0);
    },
    hardware: () => hardware,
    tasks,
    variants: plain,
  });

describe('store buffers', () => {
  const storeThenLoad = (hardware: Hardware): string[] =>
    endings(
      litmus(hardware, { a: () => task(call(kernel.storeThenLoad, globals, X, Y)), b: () => task(call(kernel.storeThenLoad, globals, Y, X)) }),
      ({ results }) => `${results.a[0]}${results.b[0]}`,
    );

  it('let both of two tasks miss what the other stored before it looked, which memory alone does not', () => {
    expect(storeThenLoad({})).toEqual(['01', '10', '11']);
    expect(storeThenLoad({ storeBuffers: true })).toEqual(['00', '01', '10', '11']);
  });

  it('keep the order of stores', () => {
    const told = endings(
      litmus({ storeBuffers: true }, { w: () => task(call(kernel.writer, globals, X, Y)), r: () => task(call(kernel.reader, globals, X, Y)) }),
      ({ results }) => String(results.r[0]),
    );
    // The flag (2) is never seen without the data (1).
    expect(told).toEqual(['0', '1', '3']);
  });
});

describe('a CPU', () => {
  const MADV_DONTNEED = 4;
  const stage = (hardware: Hardware): Scenario =>
    scenario({
      id: 'zap',
      title: 'one page goes',
      setup: (s) => {
        map(s, WINDOW, 1);
        store(s, WINDOW, 7);
      },
      hardware: () => hardware,
      tasks: { zap: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, page, MADV_DONTNEED)) },
      variants: plain,
    });
  const states = (hardware: Hardware): number => search(stage(hardware), stageOf(stage(hardware), plain.plain, 'x86-4level')).states;

  it('reads translations ahead, and forgets them', () => {
    const alone = states({});
    const ahead = states({ speculate: [WINDOW] });
    expect(ahead).toBeGreaterThan(alone);
    // Evicting leads to no state of its own here but in which CPU knows what, when.
    expect(states({ speculate: [WINDOW], evict: true })).toBeGreaterThanOrEqual(ahead);
  });

  it('takes interrupts of flushes when it gets to them', () => {
    const told = search(stage({ ipis: true, speculate: [WINDOW] }), stageOf(stage({ ipis: true, speculate: [WINDOW] }), plain.plain, 'x86-4level'));
    expect(told.verdict).toBe('exhausted');
  });

  it('walks from tables that it remembers, where it is told to', () => {
    for (const walkCaches of [false, true]) {
      const given = scenario({
        ...stage({ walkCaches, speculate: [WINDOW, WINDOW + 1] }),
        setup: (s) => {
          map(s, WINDOW, 2);
          store(s, WINDOW, 7);
          store(s, WINDOW + 1, 8);
        },
      });
      const {
        scheduler,
        stage: { machine, process },
      } = stageOf(given, plain.plain, 'x86-4level');
      const [first, second] = scheduler.actions().filter((action) => action >= IDLE_BASE);
      scheduler.step(first);
      // The table leaves the tree, and nobody flushes.
      storeEntry(machine.kernel.entryPointer(process.mm, WINDOW, 1), 1, 0);
      scheduler.step(second);
      expect(tlbFind(cpuOf(0), process.mm, WINDOW + 1) >= 0).toBe(walkCaches);
    }
  });

  it('that is a device sharing the tables is flushed, too', () => {
    const { verdict, states: found } = search(
      stage({ device: true, speculate: [WINDOW] }),
      stageOf(stage({ device: true, speculate: [WINDOW] }), plain.plain, 'x86-4level'),
    );
    expect(verdict).toBe('exhausted');
    expect(found).toBeGreaterThan(states({ speculate: [WINDOW] }));
  });
});

describe('RCU callbacks', () => {
  const MAPPED = 512;
  const given = (hardware: Hardware): Scenario =>
    scenario({
      id: 'free',
      title: 'a table goes',
      setup: (s) => {
        map(s, WINDOW, MAPPED);
        store(s, WINDOW, 1);
      },
      hardware: () => hardware,
      tasks: { munmap: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, MAPPED * page)) },
      variants: plain,
    });

  it('run at once, or at any moment after', () => {
    for (const rcuCallbacks of [false, true]) {
      const staged = stageOf(given({ rcuCallbacks }), plain.plain, 'x86-4level');
      while (staged.scheduler.alive.length > 0) staged.scheduler.step(0);
      const left = staged.scheduler.actions();
      expect(left.length).toBe(rcuCallbacks ? 1 : 0);
      for (let todo = left; todo.length > 0; todo = staged.scheduler.actions()) {
        expect(staged.scheduler.describe(todo[0])).toBe('an RCU callback runs');
        staged.scheduler.step(todo[0]);
      }
      expect(endingFault(given({}), staged)).toBeUndefined();
    }
  });
});

describe('entries of two words', () => {
  const given = (hardware: Hardware): Scenario =>
    scenario({
      id: 'torn',
      title: 'an entry is written while somebody reads it without its lock',
      setup: (s) => {
        map(s, WINDOW, 2);
        store(s, WINDOW, 1);
        const { kernel: mm } = s.machine;
        s.notes.at = mm.entryPointer(s.process.mm, WINDOW + 1, 0);
        s.notes.lock = -pageOfEntry(s.notes.at);
        s.notes.entry = loadEntry(mm.entryPointer(s.process.mm, WINDOW, 0), 0);
      },
      hardware: () => hardware,
      tasks: {
        writer: ({ notes }) => task(call(kernel.setAndClear, notes.at, notes.lock, notes.entry)),
        reader: ({ notes }) => task(call(kernel.lockless, notes.at)),
      },
      variants: plain,
    });
  const kinds = (hardware: Hardware, mode: string): string[] =>
    endings(given(hardware), ({ results, notes }) => (results.reader[0] === 0 ? 'none' : results.reader[0] === notes.entry ? 'whole' : 'half'), mode);

  it('are seen half written where the kernel writes one word after the other', () => {
    expect(kinds({}, 'x86-pae')).toEqual(['none', 'whole']);
    expect(kinds({ tornEntries: true }, 'x86-pae')).toEqual(['half', 'none', 'whole']);
  });

  it('are whole where it stores both at once', () => {
    expect(kinds({ tornEntries: true }, 'x86-4level')).toEqual(['none', 'whole']);
  });
});
