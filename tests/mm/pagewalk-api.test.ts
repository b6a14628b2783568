/**
 * What walk_page_range() and its kin call, in which order, with which ranges, and what they make of the answers: by a walk that writes its calls down, in modes of
 * two to five levels. What must come is said by the rule of the tables: which of them exist follows from the pages that were touched.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { entryAt, loadEntry, spanPages, storeEntry, topLevel } from '../../src/kernel/arch.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { alloc, free, get, set } from '../../src/memory/heap.ts';
import { heap } from '../../src/memory/state.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { forEachLeaf } from '../../src/mm/leaves.ts';
import {
  ACTION_AGAIN,
  ACTION_CONTINUE,
  allocWalkCount,
  HAS_HOLE,
  HAS_HUGETLB,
  HAS_INSTALL,
  HAS_LEAF,
  HAS_P4D,
  HAS_PGD,
  HAS_PMD,
  HAS_POST_VMA,
  HAS_PRE_VMA,
  HAS_PTE,
  HAS_PUD,
  HAS_TEST,
  type MmWalkRef,
  PGWALK_RDLOCK,
  WALK_PAGEMAP,
  WALK_TEST,
  walkArg,
} from '../../src/mm/mm-walk.ts';
import { mkPte, mkPteMarker, PTE_MARKER_GUARD, PTE_PAYLOAD, pteLockptr, tablePage } from '../../src/mm/pgtable.ts';
import { MemSizeStats, type MemSizeStatsRef, NumaMaps, Pagemap } from '../../src/mm/task-mmu.ts';
import { TEST_WALK_CALLS, TestWalk } from '../../src/mm/test-pagewalk-types.ts';
import { File, Mm, Vma } from '../../src/mm/types.ts';
import { VM_PFNMAP } from '../../src/mm/vm-flags.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { PTE_HUGE, PTE_PRESENT, PTE_READ, PTE_TABLE, PTE_USER } from '../../src/pagetable/canonical.ts';
import { traced, tracedWith } from './support/traced.ts';

const STEPS: Readonly<Record<number, string>> = {
  [HAS_PGD]: 'pgd',
  [HAS_P4D]: 'p4d',
  [HAS_PUD]: 'pud',
  [HAS_PMD]: 'pmd',
  [HAS_PTE]: 'pte',
  [HAS_HOLE]: 'hole',
  [HAS_TEST]: 'test',
  [HAS_PRE_VMA]: 'pre',
  [HAS_POST_VMA]: 'post',
  [HAS_INSTALL]: 'install',
  [HAS_LEAF]: 'leaf',
};
const LEVELS = [HAS_PTE, HAS_PMD, HAS_PUD, HAS_P4D, HAS_PGD];
const EVERY = HAS_PGD | HAS_P4D | HAS_PUD | HAS_PMD | HAS_PTE | HAS_HOLE;
const VMA = HAS_TEST | HAS_PRE_VMA | HAS_POST_VMA;
const [EINVAL, ENOMEM] = [-22, -12];
const MODES = ['x86-5level', 'x86-4level', 'arm64-4k-39', 's390x', 'ppc-8xx-4k', 'arm-short'] as const;

type Call = readonly [step: string, start: number, end: number, more: number];

interface Answer {
  at?: number;
  result?: number;
  action?: number;
  lock?: number;
  install?: number;
}

class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly size: number;

  constructor(mode = 'x86-4level', ramBytes = 2 ** 26) {
    this.machine = new Machine({ mode, ramBytes });
    this.p = this.machine.spawn();
    this.size = this.machine.pageSize;
  }

  map(page: number, pages: number, flags = 0x4032, fd = -1): void {
    expect(this.p.syscall('mmap', page * this.size, pages * this.size, 3, flags, fd, 0)).toBe(page * this.size);
  }

  touch(page: number): void {
    expect(this.p.store(BigInt(page * this.size), 4, 1n)).toBeUndefined();
  }

  vma(page: number): number {
    this.machine.enter();
    return vmaLookup(this.p.mm, page);
  }

  /** Calls a walk with the test's functions; its result and its calls. */
  walk(name: string, has: number, answer: Answer, args: (ops: number) => number[], lock: 'Read' | 'Write' | '' = 'Write'): { result: number; calls: Call[] } {
    const { mm } = this.p;
    this.machine.enter();
    const ops = alloc(TestWalk);
    set(ops, TestWalk.has, has);
    set(ops, TestWalk.lock, answer.lock ?? PGWALK_RDLOCK);
    set(ops, TestWalk.answerAt, answer.at ?? 0);
    set(ops, TestWalk.result, answer.result ?? 0);
    set(ops, TestWalk.action, answer.action ?? 0);
    set(ops, TestWalk.install, answer.install ?? 0);
    if (lock !== '') traced(`mmap${lock}Lock`, mm);
    const { result } = traced(name, ...args(ops));
    if (lock !== '') traced(`mmap${lock}Unlock`, mm);
    const calls = Array.from({ length: Math.min(TEST_WALK_CALLS, get(ops, TestWalk.calls)) }, (_, i): Call => {
      const of = (list: number): number => get(ops, (list + i) as typeof TestWalk.step);
      return [STEPS[of(TestWalk.step)], of(TestWalk.start), of(TestWalk.end), of(TestWalk.more)];
    });
    free(TestWalk, ops);
    return { result, calls };
  }

  range(start: number, end: number, has: number, answer: Answer = {}, name = 'walkPageRange'): { result: number; calls: Call[] } {
    return this.walk(name, has, answer, (ops) => [this.p.mm, start, end, WALK_TEST, ops]);
  }

  /** The place of a page's entry of a level. */
  at(page: number, level: number): number {
    this.machine.enter();
    let table = get(this.p.mm, Mm.pgd);
    for (let l = topLevel; l > level; l--) table = tablePage(loadEntry(entryAt(table, l, page), l));
    return entryAt(table, level, page);
  }
}

/** The calls for the tables below a level's entries, where the pages of `touched` have tables: in order, by the rule's words. */
function expected(touched: readonly number[], start: number, end: number, has: number): Call[] {
  const calls: Call[] = [];
  const walk = (linux: number, from: number, to: number): void => {
    if (linux === 0) {
      for (let page = from; page < to; page++) calls.push(['pte', page, page + 1, 0]);
      return;
    }
    const level = Math.min(linux, topLevel);
    const span = spanPages(level);
    for (let page = from; page < to; ) {
      const next = Math.min(to, (Math.floor(page / span) + 1) * span);
      const table = touched.some((t) => Math.floor(t / span) === Math.floor(page / span));
      // Of levels that are folded only the lowest knows that nothing is there; it says the depth of the real one.
      if (!table && linux === level) calls.push(['hole', page, next, level === topLevel ? 0 : 4 - level]);
      else {
        if ((has & LEVELS[linux]) !== 0) calls.push([STEPS[LEVELS[linux]], page, next, 0]);
        walk(linux - 1, page, next);
      }
      page = next;
    }
  };
  walk(4, start, end);
  return calls;
}

describe.each(MODES)('%s', (mode) => {
  test('F094: the functions of each level in order, with their ranges; holes with the depth of the real level', () => {
    const w = new World(mode);
    w.machine.enter();
    const table = spanPages(1);
    // Around the boundary of two tables of the lowest level, and of two of the one above where the address space has them.
    const edge = topLevel > 1 ? spanPages(2) : 4 * table;
    const start = edge - 2;
    w.map(start, 4);
    w.map(edge + 3 * table, 2);
    w.touch(edge + 1);
    w.touch(edge + 3 * table);
    const touched = [edge + 1, edge + 3 * table];
    const steps = ({ calls }: { calls: Call[] }): Call[] => calls.map(([step, a, b, more]) => [step, a, b, step === 'hole' ? more : 0]);
    for (const has of [EVERY, EVERY & ~(HAS_PGD | HAS_P4D), EVERY & ~(HAS_PGD | HAS_P4D | HAS_PUD | HAS_PMD)]) {
      expect(steps(w.range(start, edge + 2, has))).toEqual(expected(touched, start, edge + 2, has));
      const { result, calls } = w.walk('walkPageRangeNovma', has, {}, (ops) => [w.p.mm, start, edge + 4, WALK_TEST, 0, ops]);
      expect(result).toBe(0);
      expect(steps({ calls })).toEqual(expected(touched, start, edge + 4, has));
    }
    // Between VMAs, and behind the last, holes have no depth; each VMA has its test, then what comes before and after its tables.
    const last = edge + 3 * table + 2;
    const { calls } = w.range(start, last + 9, VMA | HAS_HOLE);
    expect(calls.filter(([step]) => step !== 'hole')).toEqual([
      ['test', start, edge + 2, 0],
      ['pre', start, edge + 2, 0],
      ['post', 0, 0, 0],
      ['test', edge + 3 * table, last, 0],
      ['pre', edge + 3 * table, last, 0],
      ['post', 0, 0, 0],
    ]);
    expect(calls.filter(([step, , , depth]) => step === 'hole' && depth === -1)).toEqual([
      ['hole', edge + 2, edge + 3 * table, -1],
      ['hole', last, last + 9, -1],
    ]);
  });

  test('F095: an entry is passed over, done again, or the walk ends there', () => {
    const w = new World(mode);
    w.machine.enter();
    const first = 4 * spanPages(1);
    w.map(first, 2);
    w.touch(first);
    const steps = (has: number, answer: Answer): string => {
      const { result, calls } = w.range(first, first + 2, has, answer);
      return `${calls.map(([step]) => step).join(' ')} = ${result}`;
    };
    const all = HAS_PGD | HAS_P4D | HAS_PUD | HAS_PMD | HAS_PTE;
    expect(steps(all, {})).toBe('pgd p4d pud pmd pte pte = 0');
    // Those of pgd and p4d are not asked what comes next.
    expect(steps(all, { at: 1, action: ACTION_CONTINUE })).toBe('pgd p4d pud pmd pte pte = 0');
    expect(steps(all, { at: 2, action: ACTION_CONTINUE })).toBe('pgd p4d pud pmd pte pte = 0');
    expect(steps(all, { at: 3, action: ACTION_CONTINUE })).toBe('pgd p4d pud = 0');
    expect(steps(all, { at: 4, action: ACTION_CONTINUE })).toBe('pgd p4d pud pmd = 0');
    expect(steps(all, { at: 3, action: ACTION_AGAIN })).toBe('pgd p4d pud pud pmd pte pte = 0');
    expect(steps(all, { at: 4, action: ACTION_AGAIN })).toBe('pgd p4d pud pmd pmd pte pte = 0');
    for (const at of [1, 2, 3, 4, 5])
      for (const result of [7, -5]) expect(steps(all, { at, result })).toBe(`${['pgd', 'p4d', 'pud', 'pmd', 'pte'].slice(0, at).join(' ')} = ${result}`);
    // What is above 0 of a test passes the VMA over and goes no further; an error does.
    expect(steps(VMA | HAS_PTE, { at: 1, result: 1 })).toBe('test = 0');
    expect(steps(VMA | HAS_PTE, { at: 1, result: -1 })).toBe('test = -1');
    expect(steps(VMA | HAS_PTE, { at: 2, result: 3 })).toBe('test pre = 3');
    expect(steps(VMA | HAS_PTE, { at: 3, result: 3 })).toBe('test pre pte post = 3');
  });
});

describe('huge entries', () => {
  let w: World;
  const first = 8 * 512;
  beforeEach(() => {
    w = new World();
    w.machine.enter();
    thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
    w.map(first, 512);
    w.touch(first + 5);
  });
  const levels = (): number[] => {
    w.machine.enter();
    const found: number[] = [];
    forEachLeaf(get(w.p.mm, Mm.pgd), first, first + 512, (_vpn, _end, _entry, level) => found.push(level));
    return found;
  };

  test('one is split for who looks at entries of the lowest level, and for nobody else', () => {
    expect(levels()).toEqual([1]);
    expect(w.range(first, first + 512, HAS_PUD | HAS_PMD).calls.map(([s]) => s)).toEqual(['pud', 'pmd']);
    expect(w.range(first, first + 512, HAS_PMD | HAS_PTE, { at: 1, action: ACTION_CONTINUE }).calls).toHaveLength(1);
    expect(w.range(first, first + 512, HAS_INSTALL, { install: -5 }, 'walkPageRangeMm')).toEqual({ result: 0, calls: [] });
    expect(w.range(first, first + 512, HAS_LEAF).calls).toEqual([['leaf', first, first + 512, 1]]);
    expect(w.walk('walkPageRangeNovma', HAS_PTE | HAS_PMD, {}, (ops) => [w.p.mm, first, first + 512, WALK_TEST, 0, ops]).calls.map(([s]) => s)).toEqual([
      'pmd',
    ]);
    expect(levels()).toEqual([1]);
    expect(w.range(first + 2, first + 4, HAS_PTE).calls.map(([s, a]) => [s, a])).toEqual([
      ['pte', first + 2],
      ['pte', first + 3],
    ]);
    expect(levels()).toHaveLength(512);
    w.machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  test('one that others have split by the time its lock is taken is looked at again', () => {
    const at = w.at(first, 1);
    const huge = loadEntry(at, 1);
    w.machine.enter();
    const ops = alloc(TestWalk);
    set(ops, TestWalk.has, HAS_LEAF);
    let split = false;
    const { result } = tracedWith(
      (operation) => {
        if (operation !== 'spinLock' || split) return;
        split = true;
        // As somebody has left it who had the lock before.
        const table = w.machine.kernel.pteAllocOne();
        storeEntry(at, 1, mkPte(table, PTE_TABLE));
      },
      'walkPageRange',
      w.p.mm,
      first,
      first + 512,
      WALK_TEST,
      ops,
    );
    expect([result, get(ops, TestWalk.calls), get(ops, TestWalk.more)]).toEqual([0, 512, 0]);
    expect(huge).not.toBe(0);
  });

  test("one of the level above is a device's: it goes, and the walk finds nothing; without VMAs it is left alone", () => {
    const far = 2 ** 18 * 4;
    w.map(far, 2 ** 18);
    w.touch(far);
    const at = w.at(far, 2);
    const table = loadEntry(at, 2);
    const leaf = 2 ** 18 * PTE_PAYLOAD + (PTE_PRESENT | PTE_READ | PTE_USER | PTE_HUGE);
    storeEntry(at, 2, leaf);
    for (const has of [HAS_PUD, HAS_PUD | HAS_LEAF, HAS_INSTALL]) expect(w.range(far, far + 8, has, { install: -5 }, 'walkPageRangeMm').result).toBe(0);
    w.walk('walkPageRangeNovma', HAS_PTE | HAS_PMD | HAS_PUD, {}, (ops) => [w.p.mm, far, far + 8, WALK_TEST, 0, ops]);
    expect(loadEntry(at, 2)).toBe(leaf);
    expect(w.range(far, far + 8, HAS_PUD | HAS_PMD | HAS_HOLE).calls.map(([s, a, b, more]) => [s, a, b, s === 'hole' ? more : 0])).toEqual([
      ['pud', far, far + 8, 0],
      ['hole', far, far + 8, 2],
    ]);
    expect(loadEntry(at, 2)).toBe(0);
    w.machine.enter();
    storeEntry(at, 2, table);
    expect(checkMachine()).toEqual([]);
  });
});

describe('F115: a table may be gone when its lock is taken', () => {
  const first = 4096;
  const [PRIVATE, GUARD_INSTALL, GUARD_REMOVE] = [0x32, 102, 103];

  interface Site {
    /** Linux leaves out what was in a table that went: advice it is, and a fault that is taken again by the access. */
    readonly skips?: boolean;
    readonly call: (w: World) => [name: string, ...args: number[]];
    /** What the call wrote besides pages. */
    readonly read?: (args: number[]) => unknown;
  }
  const advice = (number: number): Site => ({ call: ({ p, size }) => ['sysMadvise', p.ref, first * size, 8 * size, number] });
  const sites: Readonly<Record<string, Site>> = {
    pagemap: {
      call: ({ p }) => ['pagemapRead', p.mm, first, 8, 0, alloc(Pagemap)],
      read: ([, , , , into]) => Array.from({ length: 8 }, (_, i) => get(into, Pagemap.flags + i)),
    },
    mincore: { call: ({ p, size }) => ['sysMincore', p.ref, first * size, 8 * size, (first + 7) * size] },
    smaps: {
      call: ({ p }) => ['showSmap', p.mm, first, alloc(MemSizeStats)],
      read: ([, , stats]) => [get(stats, MemSizeStats.rss), get(stats, MemSizeStats.pss)],
    },
    'numa maps': { call: ({ p }) => ['showNumaMap', p.mm, first, alloc(NumaMaps)], read: ([, , md]) => get(md, NumaMaps.pages) },
    'clear_refs 1': { call: ({ p }) => ['clearRefs', p.mm, 1] },
    MADV_COLD: { ...advice(20), skips: true },
    MADV_PAGEOUT: advice(21),
    MADV_FREE: { ...advice(8), skips: true },
    MADV_DONTNEED: advice(4),
    MADV_GUARD_INSTALL: advice(GUARD_INSTALL),
    MADV_GUARD_REMOVE: advice(GUARD_REMOVE),
    MADV_POPULATE_WRITE: advice(23),
    mlock: { call: ({ p, size }) => ['sysMlock', p.ref, first * size, 8 * size] },
    mprotect: { call: ({ p, size }) => ['sysMprotect', p.ref, first * size, 8 * size, 1] },
    mremap: { call: ({ p, size }) => ['sysMremap', p.ref, first * size, 8 * size, 8 * size, 3, (first + 2048) * size] },
    munmap: { call: ({ p, size }) => ['sysMunmap', p.ref, first * size, 8 * size] },
    // The table of a private mapping never goes so: it is one of a file without private copies, which faults map again.
    fork: { call: ({ p }) => ['sysFork', p.ref], skips: true },
    fault: { skips: true, call: ({ p }) => ['userFault', p.mm, first + 3, 1] },
    get_user_pages: { call: ({ p }) => ['getUserPagesUnlocked', p.mm, first, 8, 1, 0] },
    '/proc/PID/mem': { call: ({ p }) => ['followPage', vmaLookup(p.mm, first), first, 0] },
  };

  /** Runs the call with the table gone at the `nth` time that its lock is taken; whether that happened, and what came of the call. */
  function play(site: Site, nth: number): { happened: boolean; outcome: unknown } {
    const w = new World('x86-4level', 2 ** 23);
    w.map(first, 8, PRIVATE);
    for (const page of [0, 1, 4, 7]) w.touch(first + page);
    expect(w.p.syscall('madvise', (first + 5) * w.size, w.size, GUARD_INSTALL)).toBe(0);
    const pmd = w.at(first, 1);
    const lock = pteLockptr(w.at(first, 0));
    const table = loadEntry(pmd, 1);
    const [name, ...args] = site.call(w);
    let taken = 0;
    let gone = false;
    const { result } = tracedWith(
      (operation) => {
        if (operation === 'spinLock' && heap[lock] !== 0 && loadEntry(pmd, 1) === table && ++taken === nth) {
          storeEntry(pmd, 1, 0);
          gone = true;
        } else if (operation === 'spinUnlock' && gone && loadEntry(pmd, 1) === 0) {
          storeEntry(pmd, 1, table);
          gone = false;
        }
      },
      name,
      ...args,
    );
    const read = site.read?.(args);
    const { vmas, counters } = viewProcess(w.machine, w.p.ref, 0);
    return { happened: taken >= nth && nth > 0, outcome: { result, read, vmas, counters } };
  }

  test.each(Object.keys(sites))('F115: %s does what it does, or passes it over', (name) => {
    const { outcome } = play(sites[name], 0);
    const { vmas, counters } = play({ call: ({ p }) => ['walkCountReading', p.mm, first, first + 1] }, 0).outcome as { vmas: unknown; counters: unknown };
    const untouched = { vmas, counters };
    for (let nth = 1; ; nth++) {
      const found = play(sites[name], nth);
      if (!found.happened) {
        expect(nth, 'the lock was taken').toBeGreaterThan(1);
        break;
      }
      if (sites[name].skips) expect([outcome, { ...(outcome as object), ...untouched }], `time ${nth}`).toContainEqual(found.outcome);
      else expect(found.outcome, `time ${nth}`).toEqual(outcome);
    }
  });
});

test('F096: what a walk is handed is of the type that its functions take', () => {
  const { mm } = new World().p;
  // Two errors of types, and nothing that runs.
  const wrong = [
    // @ts-expect-error counts are no entries of pagemap
    () => source.walkPageRange(mm, 0, 1, WALK_PAGEMAP, allocWalkCount()),
    // @ts-expect-error what the walk was handed is no sum of smaps
    (walk: MmWalkRef): MemSizeStatsRef => walkArg(walk, WALK_PAGEMAP),
  ];
  expect(wrong).toHaveLength(2);
  expect(source.walkPageRange(mm, 1, 0, WALK_PAGEMAP, alloc(Pagemap)).next().value).toBe(EINVAL);
});

describe('filling entries', () => {
  test("empty entries are filled, tables made for them; others' walks may not", () => {
    const w = new World();
    const first = 8 * 512 - 2;
    w.map(first, 4);
    w.touch(first);
    w.machine.enter();
    const marker = mkPteMarker(PTE_MARKER_GUARD);
    const { result, calls } = w.range(first, first + 4, HAS_INSTALL | HAS_PTE, { install: marker }, 'walkPageRangeMm');
    expect(result).toBe(0);
    expect(calls.map(([s, a]) => [s, a])).toEqual([
      ['pte', first],
      ['install', first + 1],
      ['install', first + 2],
      ['install', first + 3],
    ]);
    for (const page of [1, 2, 3]) expect(loadEntry(w.at(first + page, 0), 0)).toBe(marker);
    expect(w.p.load(BigInt((first + 3) * w.size), 1)).toMatchObject({ signal: 11 });
    expect(w.range(first, first + 4, HAS_INSTALL).result).toBe(EINVAL);
    expect(w.walk('walkPageVma', HAS_INSTALL, {}, (ops) => [w.vma(first), WALK_TEST, ops]).result).toBe(EINVAL);
    expect(w.walk('walkPageRangeVma', HAS_INSTALL, {}, (ops) => [w.vma(first), first, first + 1, WALK_TEST, ops]).result).toBe(EINVAL);
    expect(w.walk('walkPageRangeNovma', HAS_INSTALL, {}, (ops) => [w.p.mm, first, first + 1, WALK_TEST, 0, ops]).result).toBe(EINVAL);
    w.machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  test('no table, no marker: −ENOMEM; not in hugetlb', () => {
    const w = new World();
    w.map(8 * 512, 2);
    w.machine.enter();
    const kernel = w.machine.kernel as unknown as Record<string, (...args: number[]) => number>;
    const taken: number[] = [];
    for (;;) {
      const page = traced('pteAllocOne').result;
      if (page === 0) break;
      taken.push(page);
    }
    expect(w.range(8 * 512, 8 * 512 + 2, HAS_INSTALL, { install: 1 }, 'walkPageRangeMm').result).toBe(ENOMEM);
    w.machine.enter();
    for (const page of taken) kernel.pteFree(page);
    kernel.setMaxHugePages(poolOf(2048, w.machine.pageShift), 1);
    w.map(64 * 512, 512, 0x32 | 0x40000 | (21 << 26));
    expect(w.range(64 * 512, 65 * 512, HAS_INSTALL, { install: 1 }, 'walkPageRangeMm')).toEqual({ result: EINVAL, calls: [] });
    expect(w.range(64 * 512, 65 * 512, HAS_INSTALL | HAS_HUGETLB | HAS_LEAF | HAS_PRE_VMA, { install: 1 }, 'walkPageRangeMm').calls).toEqual([]);
  });
});

describe('VMAs and files', () => {
  afterEach(() => expect(checkMachine()).toEqual([]));

  test('what has no pages is a hole for who asks for holes', () => {
    const w = new World();
    w.map(4096, 4);
    w.touch(4096);
    const vma = w.vma(4096);
    const flags = get(vma, Vma.flags);
    set(vma, Vma.flags, flags | VM_PFNMAP);
    expect(w.range(4096, 4100, HAS_PTE | HAS_HOLE).calls).toEqual([['hole', 4096, 4100, -1]]);
    expect(w.range(4096, 4100, HAS_PTE).calls).toEqual([]);
    // Who has a test decides for himself, and who names the VMA is not asked.
    expect(w.range(4096, 4098, HAS_PTE | HAS_TEST).calls.map(([s]) => s)).toEqual(['test', 'pte', 'pte']);
    expect(w.walk('walkPageRangeVma', HAS_PTE | HAS_TEST, {}, (ops) => [vma, 4096, 4098, WALK_TEST, ops]).calls.map(([s]) => s)).toEqual(['pte', 'pte']);
    set(vma, Vma.flags, flags);
  });

  test('a file, wherever it is mapped, under its lock alone', () => {
    const w = new World();
    w.p.syscall('mmap', 4096 * w.size, w.size, 3, 0x32, -1, 0);
    w.p.write(BigInt(4096 * w.size), new TextEncoder().encode('f\0'));
    const fd = w.p.syscall('memfd_create', 4096 * w.size, 0);
    w.p.syscall('ftruncate', fd, 8 * w.size);
    w.p.syscall('mmap', 5000 * w.size, 4 * w.size, 3, 0x11, fd, 2 * w.size);
    w.p.syscall('mmap', 6000 * w.size, 8 * w.size, 3, 0x11, fd, 0);
    w.touch(5001);
    w.touch(6003);
    const inode = get(get(w.vma(5000), Vma.file), File.inode);
    const mapping = (has: number, answer: Answer = {}): { result: number; calls: Call[] } =>
      w.walk('walkPageMapping', has, answer, (ops) => [inode, 3, 4, WALK_TEST, ops], '');
    const { result, calls } = mapping(HAS_TEST | HAS_PTE);
    expect(result).toBe(0);
    const sorted = [...calls].map(([s, a, b]) => `${s} ${a} ${b}`);
    // Pages 3 to 6 of the file; of the first mapping, which has pages 2 to 5, three.
    expect(new Set(sorted)).toEqual(
      new Set([
        'test 5000 5004',
        ...[5001, 5002, 5003].map((a) => `pte ${a} ${a + 1}`),
        'test 6000 6008',
        ...[6003, 6004, 6005, 6006].map((a) => `pte ${a} ${a + 1}`),
      ]),
    );
    expect(mapping(HAS_TEST | HAS_PTE, { at: 1, result: 1 })).toMatchObject({ result: 0, calls: { length: 1 } });
    expect(mapping(HAS_TEST | HAS_PTE, { at: 1, result: -3 })).toMatchObject({ result: -3, calls: { length: 1 } });
    expect(mapping(HAS_PTE, { at: 2, result: 5 })).toMatchObject({ result: 5, calls: { length: 2 } });
    expect(mapping(HAS_INSTALL).result).toBe(EINVAL);
  });
});
