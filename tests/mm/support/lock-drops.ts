/**
 * Another operation in every gap of one: pairs of calls on huge pages, of which the first is interrupted once, at each of its operations, by the whole of the
 * second (and the second by the first). Wherever a function lets go of a lock and takes it again, the other has been in between.
 *
 * What must hold is recomputed after each schedule: invariants of the machine, references and counters (`checkMachine`), and results, which are those of
 * the two calls one after the other, in one of both orders, or say that somebody was in the way (`transient`).
 */
import { searchVariant } from '../../../src/explore/check.ts';
import { call, type Ending, type Scenario, type Stage, scenario, type TaskSpec, task } from '../../../src/explore/scenario.ts';
import { adviseHuge, hugePages, hugePool, map, mapHuge, mapHugetlb, memfd, store, WINDOW } from '../../../src/explore/setup.ts';
import type { SwitchName } from '../../../src/kernel/switches.ts';
import { thpSetting } from '../../../src/machine/thp-settings.ts';
import { PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK } from '../../../src/mm/gup-test.ts';
import { FOLL_LONGTERM, FOLL_WRITE } from '../../../src/mm/gup-types.ts';
import { pmdOrder } from '../../../src/mm/huge-orders.ts';
import { hstateOfOrder } from '../../../src/mm/hugetlb-pool.ts';

type Calls = (stage: Stage) => TaskSpec;

export interface Victim {
  readonly name: string;
  readonly kind: 'thp' | 'shmem' | 'hugetlb' | 'file';
  /** There is a child that shares the memory. */
  readonly child?: true;
  /** Errors that say that somebody was in the way; 'any' where the result says how far it came. */
  readonly transient?: readonly number[] | 'any';
  readonly setup: (stage: Stage) => void;
  readonly run: Calls;
}

export interface Intruder {
  readonly name: string;
  /** Errors that say that somebody was in the way: right whenever somebody was. */
  readonly transient?: readonly number[] | 'any';
  readonly run: Calls;
  readonly only?: (victim: Victim) => boolean;
}

const MFD_HUGETLB = 4;
/** FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE */
const PUNCH = 3;
const [MAYMOVE, REMAP_FIXED] = [1, 2];
const [DONTNEED, FREE, POPULATE_WRITE, COLLAPSE] = [4, 8, 23, 25];
const EAGAIN = -11;
/** Of MADV_COLLAPSE of a file: the VMA has gone, or a page of it has left the file, or is on its way (mm/khugepaged.c: madvise_collapse_errno). */
const EINVAL = -22;
const NONE = 0;
const READ = 1;

const at = ({ page }: Stage, vpn = WINDOW): number => vpn * page;
const bytes = ({ page }: Stage, pages: number): number => pages * page;
const half = (): number => hugePages() / 2;
/** A place two huge pages further on, where nothing is mapped. */
const elsewhere = (): number => WINDOW + 2 * hugePages();

const madvise =
  (advice: number, pages: () => number): Calls =>
  (s) =>
    task(call('sysMadvise', s.process.ref, at(s), bytes(s, pages()), advice));
const munmap =
  (pages: () => number): Calls =>
  (s) =>
    task(call('sysMunmap', s.process.ref, at(s), bytes(s, pages())));
const protect =
  (pages: () => number, prot: number): Calls =>
  (s) =>
    task(call('sysMprotect', s.process.ref, at(s), bytes(s, pages()), prot));
const move: Calls = (s) => {
  const whole = bytes(s, hugePages());
  return task(call('sysMremap', s.process.ref, at(s), whole, whole, MAYMOVE | REMAP_FIXED, at(s, elsewhere())));
};
const fork: Calls = (s) => task(call('sysFork', s.process.ref));
const write: Calls = (s) => task(call('threadStore', s.process.ref, WINDOW + 1, 7));
const read: Calls = (s) => task(call('threadLoad', s.process.ref, WINDOW + 1));
const lock: Calls = (s) => task(call('sysMlock', s.process.ref, at(s), bytes(s, half())));
const punch: Calls = (s) => task(call('sysFallocate', s.process.ref, s.notes.fd, PUNCH, 0, bytes(s, hugePages())));
const truncate: Calls = (s) => task(call('sysFtruncate', s.process.ref, s.notes.fd, 0));

const allocate: Calls = (s) => task(call('sysFallocate', s.process.ref, s.notes.fd, 0, 0, bytes(s, hugePages())));
const punchPart: Calls = (s) => task(call('sysFallocate', s.process.ref, s.notes.fd, PUNCH, 0, bytes(s, 2)));
const daemon: Calls = () => task(call('khugepagedDoScan'));
/** The pool of the default size gets so many pages. */
const resize =
  (pages: number): Calls =>
  ({ machine }) => {
    machine.enter();
    return task(call('setMaxHugePages', hstateOfOrder(pmdOrder()), pages));
  };
const grow = resize(2);
const shrink = resize(0);
/** Pins two pages and lets them go: how many there were. */
const pin =
  (command: number, flags: number): Calls =>
  (s) =>
    task(call('gupTest', s.process.ref, command, at(s), bytes(s, 2), 2, flags, 0));

const exitOfChild: Calls = (s) => task(call('sysExit', s.notes.child, 0));

// ---- what there is before ----
const empty = (s: Stage): void => mapHuge(s, WINDOW, 1);
const huge = (s: Stage): void => {
  empty(s);
  store(s, WINDOW, 1);
};
/** The machine's second process, by the machine: what `setup` made is not to be had otherwise. */
const child = (s: Stage): void => {
  s.notes.child = s.process.fork().ref;
};
const shared = (s: Stage): void => {
  huge(s);
  child(s);
};
/** Small pages where a huge one may be: two of them, beside the zero page of nothing. */
const small = (s: Stage): void => {
  map(s, WINDOW, hugePages());
  for (const i of [0, 1]) store(s, WINDOW + i, i + 1);
  adviseHuge(s, WINDOW, 1);
};
const setting = (s: Stage, name: string, value: string): void => {
  s.machine.enter();
  thpSetting(`/sys/kernel/mm/transparent_hugepage/${name}`)?.write(value);
};
/** Faults make folios of sixteen pages. */
const large = (s: Stage): void => {
  setting(s, `hugepages-${(16 * s.page) / 1024}kB/enabled`, 'always');
  map(s, WINDOW, hugePages());
};
const largeShared = (s: Stage): void => {
  large(s);
  store(s, WINDOW, 1);
  child(s);
};
/** Shared memory of one huge page, of which one small page was written; of a folio of that size where `policy` lets it. */
const sharedMemory =
  (policy: string, flags: number, written: boolean) =>
  (s: Stage): void => {
    setting(s, 'shmem_enabled', policy);
    s.notes.fd = memfd(s, hugePages());
    map(s, WINDOW, hugePages(), { fd: s.notes.fd, flags });
    if (written) store(s, WINDOW, 1);
  };
const pool = (s: Stage, pages: number, filled: boolean): void => {
  hugePool(s, pages);
  mapHugetlb(s, WINDOW, 1);
  if (filled) store(s, WINDOW, 1);
};
const poolShared =
  (pages: number) =>
  (s: Stage): void => {
    pool(s, pages, true);
    child(s);
  };
const poolFile = (s: Stage): void => {
  hugePool(s, 1);
  s.notes.fd = memfd(s, hugePages(), MFD_HUGETLB);
  map(s, WINDOW, hugePages(), { fd: s.notes.fd });
  store(s, WINDOW, 1);
};

export const VICTIMS: readonly Victim[] = [
  { name: 'fault of a huge page', kind: 'thp', setup: empty, run: write },
  { name: 'fault of the huge zero page', kind: 'thp', setup: empty, run: read },
  { name: 'copy on write of a huge page', kind: 'thp', child: true, setup: shared, run: write },
  { name: 'munmap of half a huge page', kind: 'thp', setup: huge, run: munmap(half) },
  { name: 'mprotect of half a huge page', kind: 'thp', setup: huge, run: protect(half, READ) },
  { name: 'mremap of a huge page', kind: 'thp', setup: huge, run: move },
  { name: 'MADV_DONTNEED of half a huge page', kind: 'thp', setup: huge, run: madvise(DONTNEED, half) },
  { name: 'MADV_FREE of half a huge page', kind: 'thp', setup: huge, run: madvise(FREE, half) },
  { name: 'MADV_POPULATE_WRITE of a huge page', kind: 'thp', setup: empty, run: madvise(POPULATE_WRITE, hugePages) },
  { name: 'MADV_COLLAPSE', transient: [EAGAIN], kind: 'thp', setup: small, run: madvise(COLLAPSE, hugePages) },
  { name: 'fork with a huge page', kind: 'thp', setup: huge, run: fork },
  { name: 'mlock of half a huge page', kind: 'thp', setup: huge, run: lock },
  { name: 'fault of a folio of several pages', kind: 'thp', setup: large, run: write },
  { name: 'copy on write of a folio of several pages', kind: 'thp', child: true, setup: largeShared, run: write },
  { name: 'a pass of khugepaged', transient: 'any', kind: 'thp', setup: small, run: daemon },
  { name: 'a pin, fast, of a huge page', kind: 'thp', setup: huge, run: pin(PIN_FAST_BENCHMARK, FOLL_WRITE) },
  { name: 'a pin for long of a shared huge page', kind: 'thp', child: true, setup: shared, run: pin(PIN_LONGTERM_BENCHMARK, FOLL_LONGTERM) },
  { name: 'a pin for long, fast, of a shared huge page', kind: 'thp', child: true, setup: shared, run: pin(PIN_FAST_BENCHMARK, FOLL_LONGTERM) },
  { name: 'fault of huge shared memory', kind: 'shmem', setup: sharedMemory('always', 1, false), run: write },
  { name: 'copy on write of huge shared memory', kind: 'shmem', setup: sharedMemory('always', 2, false), run: write },
  { name: 'fallocate of huge shared memory', kind: 'shmem', setup: sharedMemory('always', 1, false), run: allocate },
  { name: 'hole in a huge page of shared memory', kind: 'shmem', setup: sharedMemory('always', 1, true), run: punchPart },
  {
    name: 'MADV_COLLAPSE of shared memory',
    kind: 'shmem',
    transient: [EAGAIN, EINVAL],
    setup: sharedMemory('never', 1, true),
    run: madvise(COLLAPSE, hugePages),
  },
  { name: 'fault of hugetlb', kind: 'hugetlb', setup: (s) => pool(s, 1, false), run: write },
  { name: 'copy on write of hugetlb', kind: 'hugetlb', child: true, setup: poolShared(2), run: write },
  { name: 'copy on write of hugetlb without a page', kind: 'hugetlb', child: true, setup: poolShared(1), run: write },
  { name: 'a pin for long of shared hugetlb', kind: 'hugetlb', child: true, setup: poolShared(3), run: pin(PIN_LONGTERM_BENCHMARK, FOLL_LONGTERM) },
  { name: 'a pool that shrinks', kind: 'hugetlb', setup: (s) => pool(s, 2, true), run: shrink },
  { name: 'a pool that grows', kind: 'hugetlb', setup: (s) => pool(s, 1, true), run: grow },
  { name: 'fork with hugetlb', kind: 'hugetlb', setup: (s) => pool(s, 2, true), run: fork },
  { name: 'MADV_DONTNEED of hugetlb', kind: 'hugetlb', setup: (s) => pool(s, 1, true), run: madvise(DONTNEED, hugePages) },
  { name: 'mremap of hugetlb', kind: 'hugetlb', setup: (s) => pool(s, 1, true), run: move },
  { name: 'munmap of hugetlb', kind: 'hugetlb', setup: (s) => pool(s, 1, true), run: munmap(hugePages) },
  { name: 'fault of a hugetlb file', kind: 'file', setup: poolFile, run: write },
  { name: 'hole in a hugetlb file', kind: 'file', setup: poolFile, run: punch },
  { name: 'truncate of a hugetlb file', kind: 'file', setup: poolFile, run: truncate },
];

export const INTRUDERS: readonly Intruder[] = [
  { name: 'munmap', run: munmap(hugePages) },
  { name: 'mprotect', run: protect(hugePages, NONE) },
  { name: 'MADV_DONTNEED', run: madvise(DONTNEED, hugePages) },
  { name: 'fork', run: fork },
  { name: 'store', run: write },
  { name: 'mremap', run: move },
  { name: 'MADV_COLLAPSE', transient: [EAGAIN, EINVAL], run: madvise(COLLAPSE, hugePages), only: ({ kind }) => kind === 'thp' || kind === 'shmem' },
  { name: 'khugepaged', transient: 'any', run: daemon, only: ({ kind }) => kind === 'thp' || kind === 'shmem' },
  { name: 'truncate', run: truncate, only: ({ kind }) => kind === 'file' || kind === 'shmem' },
  { name: 'exit of the child', run: exitOfChild, only: (victim) => victim.child === true },
];

/** Results of both calls as text; of a fork only whether there is a child. */
const resultsOf = ({ results }: Pick<Ending, 'results'>): string =>
  ['first', 'second'].map((name) => results[name].map((r) => (r > 0 ? 'done' : r)).join()).join(' and ');

/** A pair that has more is looked at up to here. */
const MOST_STATES = 40_000;

export interface Outcome {
  readonly states: number;
  /** Whether all schedules with one preemption were seen. */
  readonly whole: boolean;
  /** What is wrong; undefined when nothing is. */
  readonly wrong?: string;
  readonly results: ReadonlySet<string>;
}

/** Linux loses count of reservations without any race (docs/findings.md): nothing else would be seen behind it. */
const REPAIRS: readonly SwitchName[] = ['hugetlbZapRestoresLast'];

/** The pair as a scenario. */
export const pairScenario = (victim: Victim, intruder: Intruder, holds: (ending: Ending) => string | undefined, switches = REPAIRS): Scenario =>
  scenario({
    id: 'pair',
    title: `${victim.name}, ${intruder.name} meanwhile`,
    machine: { ramBytes: 24 * 2 ** 20 },
    setup: victim.setup,
    tasks: { first: victim.run, second: intruder.run },
    variants: { linux: { expect: 'clean', switches } },
    holds: { results: holds },
    leaks: false,
  });

/** Explores a pair. */
export function explorePair(victim: Victim, intruder: Intruder, mode: string, { switches = REPAIRS }: { switches?: readonly SwitchName[] } = {}): Outcome {
  const serial = new Set<string>();
  const seen = new Set<string>();
  const explore = (preemptions: number, holds: (ending: Ending) => string | undefined) =>
    searchVariant(pairScenario(victim, intruder, holds, switches), 'linux', mode, {
      bounds: [preemptions],
      now: () => 0,
      stop: ({ states }) => states > MOST_STATES,
    });
  const note = (set: Set<string>) => (ending: Ending) => {
    set.add(resultsOf(ending));
    return undefined;
  };
  const ordered = explore(0, note(serial));
  const found = ordered.violation
    ? ordered
    : explore(1, (ending) => {
        const results = resultsOf(ending);
        seen.add(results);
        const calls = [victim, intruder];
        const interrupted = (name: string, i: number): boolean => {
          const { transient } = calls[i];
          return transient === 'any' || transient?.includes(ending.results[name][0]) === true;
        };
        if (['first', 'second'].some(interrupted)) return undefined;
        return serial.has(results) ? undefined : `${results}; one after the other: ${[...serial].join('; ')}`;
      });
  const { violation, states } = found;
  return { states, whole: found.verdict !== 'stopped', results: seen, ...(violation ? { wrong: `${violation.rule}: ${violation.message}` } : {}) };
}
