/**
 * How fast get_user_pages of a machine is, by the page, over small entries, contiguous ones and huge ones, next to the kernel that runs this (`gup.c`): the slow way as
 * MADV_POPULATE_READ of memory that is there, which is nothing else; the fast way by itself, where the kernel's figure also has a slot of a pipe a page. Both
 * ways must be no slower over contiguous entries than over as many of single pages. And what a huge page costs: the fault that makes one, the split of its entry
 * (mprotect of a page) and of itself (MADV_FREE of a page), the collapse of 512 small ones. Both sides count the best of several rounds, in turn.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Machine } from '../src/machine/machine.ts';
import { thpSetting } from '../src/machine/thp-settings.ts';
import { allocPageVector } from '../src/mm/gup-types.ts';
import { MADV_COLLAPSE, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_POPULATE_READ } from '../src/mm/madv.ts';
import { type BenchRow, report } from './report.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const SPAN = 2 ** 21;
const PAGES = SPAN / 4096;
const BASE = 0x40000000;
/** Calls that are timed together: few, since what else this computer does is no part of them. */
const CALLS = 4;
const GROUPS = 60;
const ROUNDS = 5;
/** What is done with huge pages, each of them so often. */
const HUGE = ['huge fault', 'huge entry split', 'huge page split', 'huge page of small ones'];
const HUGE_ROUNDS = 40;
/** Setting that gives such folios, and the mode: 64K are sixteen entries in a row, and in arm64 one contiguous run, which goes by small pages of the same mode. */
const SIZES = {
  '4K': { mode: 'x86-4level', file: undefined, than: undefined },
  '64K': { mode: 'x86-4level', file: 'hugepages-64kB/enabled', than: '4K' },
  '2M': { mode: 'x86-4level', file: 'enabled', than: '4K' },
  '4K of arm64': { mode: 'arm64-4k-48', file: undefined, than: undefined },
  '64K contiguous': { mode: 'arm64-4k-48', file: 'hugepages-64kB/enabled', than: '4K of arm64' },
} as const;
type Size = keyof typeof SIZES;

/** Best nanoseconds a page. */
type Figures = Map<string, number>;
const keepBest = (figures: Figures, name: string, ns: number): void => void figures.set(name, Math.min(ns, figures.get(name) ?? Infinity));

function timed(figures: Figures, name: string, run: () => void): void {
  for (let group = 0; group < GROUPS; group++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < CALLS; i++) run();
    keepBest(figures, name, Number(process.hrtime.bigint() - start) / CALLS / PAGES);
  }
}

function measure(figures: Figures, size: Size): void {
  const { mode, file } = SIZES[size];
  const machine = new Machine({ mode, ramBytes: 2 ** 28 });
  const p = machine.spawn();
  machine.enter();
  if (file !== undefined) thpSetting(`/sys/kernel/mm/transparent_hugepage/${file}`)?.write('madvise');
  if (p.syscall('mmap', BASE, SPAN, 3, 0x32, -1, 0) !== BASE) throw new Error('mmap fails');
  p.syscall('madvise', BASE, SPAN, file === undefined ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  for (let i = 0; i < PAGES; i++) p.fault(BASE / 4096 + i, 'write');
  machine.enter();
  const vector = allocPageVector();
  const { kernel } = machine;
  for (let round = 0; round < 3; round++) {
    timed(figures, `slow, ${size}`, () => {
      if (p.syscall('madvise', BASE, SPAN, MADV_POPULATE_READ) !== 0) throw new Error('MADV_POPULATE_READ fails');
    });
    timed(figures, `slow with references, ${size}`, () => {
      if (kernel.getUserPagesUnlocked(p.mm, BASE / 4096, PAGES, 0, vector) !== PAGES) throw new Error('get_user_pages comes short');
      kernel.putUserPages(vector);
    });
    timed(figures, `fast, ${size}`, () => {
      if (kernel.getUserPagesFastOnly(p.mm, BASE / 4096, PAGES, 0, vector) !== PAGES) throw new Error('get_user_pages_fast comes short');
      kernel.putUserPages(vector);
    });
  }
}

function measureHuge(figures: Figures): void {
  const machine = new Machine({ mode: 'x86-4level', ramBytes: 2 ** 28 });
  const p = machine.spawn();
  machine.enter();
  thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('madvise');
  const once = (name: string, run: () => unknown): void => {
    const start = process.hrtime.bigint();
    const result = run();
    keepBest(figures, name, Number(process.hrtime.bigint() - start));
    if (result !== 0) throw new Error(`${name}: ${result}`);
  };
  const map = (advice: number): void => {
    if (p.syscall('mmap', BASE, SPAN, 3, 0x32, -1, 0) !== BASE) throw new Error('mmap fails');
    p.syscall('madvise', BASE, SPAN, advice);
  };
  const expectHuge = (kilobytes: number): void => {
    const found = Number(/AnonHugePages: +(\d+) kB/.exec(p.proc('smaps'))?.[1]);
    if (found !== kilobytes) throw new Error(`${found} kB are mapped by huge entries, not ${kilobytes}`);
  };
  const fault = (): void => {
    map(MADV_HUGEPAGE);
    once('huge fault', () => {
      p.fault(BASE / 4096, 'write');
      return 0;
    });
    expectHuge(2048);
  };
  for (let round = 0; round < HUGE_ROUNDS; round++) {
    fault();
    once('huge entry split', () => p.syscall('mprotect', BASE + 4096, 4096, 1));
    expectHuge(0);
    fault();
    once('huge page split', () => p.syscall('madvise', BASE + 4096, 4096, MADV_FREE));
    expectHuge(0);
    map(MADV_NOHUGEPAGE);
    for (let i = 0; i < PAGES; i++) p.fault(BASE / 4096 + i, 'write');
    p.syscall('madvise', BASE, SPAN, MADV_HUGEPAGE);
    once('huge page of small ones', () => p.syscall('madvise', BASE, SPAN, MADV_COLLAPSE));
    expectHuge(2048);
  }
}

const dir = mkdtempSync(join(tmpdir(), 'pxd-bench-'));
try {
  const ours: Figures = new Map();
  const theirs: Figures = new Map();
  const program = join(dir, 'gup');
  const compiled = process.platform === 'linux' && spawnSync('cc', ['-O2', '-o', program, join(here, 'gup.c')], { stdio: 'ignore' }).status === 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const size of Object.keys(SIZES)) measure(ours, size as Size);
    measureHuge(ours);
    if (compiled)
      for (const line of spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n')) {
        const found = /^(.*) ([\d.]+)$/.exec(line);
        if (found) keepBest(theirs, found[1], Number(found[2]));
      }
  }
  const row = (name: string, reference: string, referenceValue: number | null, goal: string | null, unit = 'ns a page'): BenchRow => ({
    name,
    value: ours.get(name) as number,
    unit,
    reference,
    referenceValue,
    goal,
    limit: null,
    better: 'lower',
  });
  const rows: BenchRow[] = [];
  for (const [size, { than }] of Object.entries(SIZES)) {
    for (const way of ['slow', 'fast']) {
      const name = `${way}, ${size}`;
      const kernel = theirs.get(name) ?? null;
      rows.push(row(name, kernel === null ? 'not to be measured here' : way === 'slow' ? 'running kernel' : 'running kernel, vmsplice', kernel, null));
    }
    for (const way of ['slow with references', 'fast']) {
      const name = `${way}, ${size}`;
      const small = `${way}, ${than}`;
      if (than !== undefined) rows.push(row(name, small, ours.get(small) as number, '<=1'));
      else if (way !== 'fast') rows.push(row(name, '-', null, null));
    }
  }
  for (const name of HUGE) {
    const kernel = theirs.get(name) ?? null;
    rows.push(row(name, kernel === null ? 'not to be measured here' : 'running kernel', kernel, null, 'ns'));
  }
  report(rows, process.argv.includes('--json'));
} finally {
  rmSync(dir, { recursive: true, force: true });
}
