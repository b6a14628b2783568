/**
 * Another call wherever kernel code lets go of a lock that it takes again. Such places are read off the sources: a function that releases what it takes further down, or
 * in the next round of a loop. Calls of the scenarios run as native generators; where one has just released a lock at such a place, another call of the same process
 * runs as a whole, if it need not wait for a lock that the first still holds. What must hold afterwards is recomputed.
 */
import { expect } from 'vitest';
import { watchDrops } from '../../../src/kernel/lockdep.ts';
import { poolOf } from '../../../src/machine/boot-hugetlb.ts';
import type { Process } from '../../../src/machine/process.ts';
import { journalMark, startJournal, stopJournal, undo } from '../../../src/memory/state.ts';
import { checkMachine } from '../../../src/mm/invariants/index.ts';
import { PxdError } from '../../../src/pagetable/error.ts';
import { callsNow } from './backtrace.ts';
import type { CallSite } from './call-sites.ts';
import { A, ANON, FIXED, files, kernel, mmap, PAGE, type Scenario, setting, start, store, written } from './failures.ts';

/** Releases and what takes the same lock again, by the names of functions. */
const PAIRS: readonly (readonly [RegExp, RegExp])[] = [
  [/^spinUnlock$/, /^spinLock$/],
  [/^up(Read|Write)$/, /^down(Read|Write)(Trylock)?$/],
  [/^folioUnlock$/, /^folio(Lock|Trylock)$/],
  [/^mmap(Read|Write)Unlock$/, /^mmap(Read|Write)Lock$/],
  [/^hugetlbVmaUnlock(Read|Write)$/, /^hugetlbVmaLock(Read|Write)$/],
];

/** Calls that release a lock which the same function takes again: with the same words for the lock, further down or in a loop around both. Not those behind which the function ends, nor those of other kernels. */
export function lockDrops(sites: readonly CallSite[]): CallSite[] {
  const functions = new Map<string, CallSite[]>();
  for (const site of sites) {
    const key = `${site.file}#${site.from}`;
    functions.set(key, [...(functions.get(key) ?? []), site]);
  }
  return [...functions.values()].flatMap((calls) =>
    calls.filter((drop, i) =>
      PAIRS.some(
        ([release, take]) =>
          release.test(drop.callee) &&
          !drop.last &&
          drop.switches.length === 0 &&
          calls.some((other, j) => take.test(other.callee) && other.argument === drop.argument && (j > i || other.loops.some((at) => drop.loops.includes(at)))),
      ),
    ),
  );
}

type Intruder = (p: Process) => number;
/** What another thread of the process may do meanwhile; most to the pages at A, which all scenarios use. */
export const INTRUDERS: readonly Intruder[] = [
  (p) => p.syscall('munmap', A, 512 * PAGE),
  (p) => p.syscall('mprotect', A, PAGE, 0),
  (p) => p.syscall('madvise', A, PAGE, 4),
  (p) => p.syscall('ftruncate', 0, 0),
  (p) => p.syscall('mremap', A, 4 * PAGE, 4 * PAGE, 3, 0x30000000),
];

/** Two folios of sixteen pages. */
function large(p: Process): void {
  setting(p, 'hugepages-64kB/enabled', 'always');
  mmap(p, A, 32, ANON | FIXED);
  for (const i of [0, 16]) store(p, A + i * PAGE);
}

/** Calls that come to drops where no call of the other scenarios does. */
export const DROPPING: readonly Scenario[] = [
  { name: 'MADV_COLD of a part of a large folio', setup: large, run: (p) => p.syscall('madvise', A, 3 * PAGE, 20) },
  { name: 'MADV_FREE of a part of a large folio', setup: large, run: (p) => p.syscall('madvise', A, 3 * PAGE, 8) },
  {
    name: 'POSIX_FADV_DONTNEED of a disk file',
    setup: (p) => {
      files(p);
      written(p);
      p.syscall('write', 1, A, 3 * PAGE);
      p.syscall('fsync', 1);
    },
    run: (p) => p.syscall('fadvise64', 1, 0, 0, 4),
  },
  {
    name: 'PAGEMAP_SCAN of hugetlb',
    megabytes: 24,
    setup: (p) => {
      kernel(p).setMaxHugePages(poolOf(2048, 12), 2);
      mmap(p, A, 512, ANON | FIXED | 0x40000);
      store(p, A);
    },
    run: (p) => kernel(p).threadScan(p.ref, A / PAGE, 8, 8),
  },
  {
    name: 'a pass over folios that wait for being split',
    megabytes: 24,
    setup: (p) => {
      setting(p, 'enabled', 'always');
      mmap(p, A, 512, ANON | FIXED);
      store(p, A);
      p.syscall('munmap', A + 0x100000, 0x100000);
    },
    run: (p) => kernel(p).deferredSplitScan(10),
  },
];

/** Drops in whose gap another call has run, by name. */
export const entered = new Set<string>();
/** Drops that a scenario came to. */
export const reached = new Set<string>();

/** It waits for what the first call holds, as a call that may sleep where there is a userfaultfd, or its process has gone. */
const waits = (error: unknown): boolean =>
  (error instanceof PxdError && error.code === 'asleep') || (error instanceof Error && /^a lone task waits|has exited$/.test(error.message));

/** Runs a scenario with another call in the gap behind each drop that is new; how many were tried. */
export function enterEach(scenario: Scenario, drops: ReadonlySet<string>): number {
  const { machine, p } = start(scenario, 'native');
  const options = { leaks: scenario.losesPromised !== undefined, roots: scenario.held?.() ?? [] };
  startJournal();
  let tried = 0;
  try {
    const origin = journalMark();
    const back = (): void => {
      undo(origin);
      machine.tlb.flushAll();
    };
    // Which releases, in order, are drops that nobody was behind yet.
    const gaps = new Map<string, number[]>();
    let nth = 0;
    watchDrops(() => {
      nth++;
      for (const name of callsNow())
        if (drops.has(name)) {
          reached.add(name);
          const known = gaps.get(name) ?? [];
          if (!entered.has(name) && known.length < 2) gaps.set(name, [...known, nth]);
        }
    });
    scenario.run(p);
    back();
    for (const [name, places] of gaps)
      for (const place of places)
        for (const intruder of INTRUDERS) {
          let seen = 0;
          let inside = false;
          watchDrops(() => {
            if (++seen !== place) return;
            watchDrops(undefined);
            const mark = journalMark();
            try {
              intruder(p);
              inside = true;
            } catch (error) {
              if (!waits(error)) throw error;
              undo(mark);
              machine.sleepers.clear();
              machine.tlb.flushAll();
            }
          });
          const what = `${scenario.name}: ${name}, ${intruder}`;
          let result = 0;
          try {
            result = scenario.run(p);
          } catch (error) {
            throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
          }
          watchDrops(undefined);
          if (inside) {
            tried++;
            entered.add(name);
            expect([what, result, checkMachine(options)]).toEqual([what, result, []]);
          }
          back();
        }
  } finally {
    watchDrops(undefined);
    stopJournal();
  }
  return tried;
}
