/** Features of transparent huge pages (area G), each shown by a machine; what a real kernel does is compared by recordings (tests/machine/trace). */
import { expect, test } from 'vitest';
import { codec, spanPages } from '../../src/kernel/arch.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PAGE } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { fileView, viewProcess } from '../../src/machine/view.ts';
import { get, set } from '../../src/memory/heap.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals } from '../../src/mm/types.ts';
import { THP_UNDERUSED_SPLIT_PAGE } from '../../src/mm/vm-event-types.ts';
import { PxdError } from '../../src/pagetable/error.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';
const BASE = 0x10000000;
const MADV_DONTNEED = 4;
const MADV_FREE = 8;
const MADV_HUGEPAGE = 14;
const MADV_NOHUGEPAGE = 15;
const MADV_COLLAPSE = 25;

function start(settings: Readonly<Record<string, string>>): { machine: Machine; p: Process; map(pages: number): void } {
  const machine = new Machine({ ramBytes: 2 ** 28 });
  for (const [name, value] of Object.entries(settings)) thpSetting(`${DIRECTORY}${name}`)?.write(value);
  const p = machine.spawn();
  return { machine, p, map: (pages) => expect(p.syscall('mmap', BASE, pages * 4096, 3, 0x32, -1, 0)).toBe(BASE) };
}

const store = (p: Process, page: number, value = 1n): unknown => p.store(BigInt(BASE + page * 4096), 8, value);

/** Runs of pages: how many, what, the order of their folio, and `P` when one entry maps it. */
function runs(machine: Machine, p: Process): string[] {
  const list: { text: string; count: number }[] = [];
  for (const page of viewProcess(machine, p.ref, 0).vmas.flatMap((vma) => vma.pages)) {
    const text = `${page.kind} ${page.order}${(page.flags & PAGE.PMD_MAPPED) !== 0 ? ' P' : ''}`;
    if (list.at(-1)?.text === text) (list.at(-1) as { count: number }).count++;
    else list.push({ text, count: 1 });
  }
  machine.enter();
  expect(checkMachine()).toEqual([]);
  return list.map(({ text, count }) => `${count} ${text}`);
}

test('F216 a fault in an aligned range maps one folio by one entry above the lowest level', () => {
  const { machine, p, map } = start({ enabled: 'always' });
  map(1024);
  store(p, 7);
  expect(runs(machine, p)).toEqual(['512 page 9 P']);
  expect(spanPages(1)).toBe(512);
});

test('F217 sizes below: as many entries in a row as the folio has pages', () => {
  const { machine, p, map } = start({ 'hugepages-64kB/enabled': 'always' });
  map(512);
  store(p, 21);
  expect(runs(machine, p)).toEqual(['16 page 4']);
  expect(viewProcess(machine, p.ref, 0).vmas[0].pages.map((page) => [page.vpn, page.index])).toEqual(
    Array.from({ length: 16 }, (_, i) => [BASE / 4096 + 16 + i, i]),
  );
});

test.each([
  ['never', 0, false],
  ['never', MADV_HUGEPAGE, false],
  ['madvise', 0, false],
  ['madvise', MADV_HUGEPAGE, true],
  ['always', 0, true],
  ['always', MADV_NOHUGEPAGE, false],
] as const)('F218 enabled=%s, advice %i: huge %s', (enabled, advice, huge) => {
  const { machine, p, map } = start({ enabled });
  map(512);
  if (advice !== 0) expect(p.syscall('madvise', BASE, 512 * 4096, advice)).toBe(0);
  expect(viewProcess(machine, p.ref, 0).vmas[0].thpEligible).toBe(huge);
  store(p, 0);
  expect(runs(machine, p)).toEqual([huge ? '512 page 9 P' : '1 page 0']);

  // khugepaged goes by the same table, for an address space that it knows already.
  const known = start({ enabled: 'always' });
  known.map(1024);
  store(known.p, 0);
  known.machine.configure(`${DIRECTORY}enabled`, 'never');
  store(known.p, 600);
  known.machine.configure(`${DIRECTORY}enabled`, enabled);
  if (advice !== 0) expect(known.p.syscall('madvise', BASE + 512 * 4096, 512 * 4096, advice)).toBe(0);
  known.machine.khugepaged();
  expect(runs(known.machine, known.p)).toEqual(huge ? ['1024 page 9 P'] : ['512 page 9 P', '1 page 0']);
});

test('F219 the boot parameters transparent_hugepage= and those of single sizes', () => {
  const at = (line: string, mode?: string): { read(name: string): string; messages: readonly string[] } => {
    const machine = new Machine({ ramBytes: 2 ** 26, thp: line, ...(mode === undefined ? {} : { mode }) });
    return { read: (name) => machine.setting(DIRECTORY + name), messages: machine.bootMessages };
  };
  for (const word of ['always', 'madvise', 'never']) {
    const { read, messages } = at(`quiet transparent_hugepage=${word} nokaslr`);
    expect([read('enabled'), read('hugepages-2048kB/enabled'), messages]).toEqual([word, 'inherit', []]);
  }
  const wrong = at('transparent_hugepage=sometimes');
  expect([wrong.read('enabled'), wrong.messages.length]).toEqual(['never', 1]);

  // The example of Documentation/admin-guide/mm/transhuge.rst; sizes that are not named are off then, that of the pmd level, too.
  const { read } = at('thp_anon=16K-64K:always;128K,512K:inherit;256K:madvise;1M-2M:never');
  const sizes = [16, 32, 64, 128, 256, 512, 1024, 2048].map((kb) => read(`hugepages-${kb}kB/enabled`));
  expect(sizes).toEqual(['always', 'always', 'always', 'inherit', 'madvise', 'inherit', 'never', 'never']);
  // A part that is wrong makes all of it wrong: 8K is no size for anonymous memory, 3M none at all, and a range goes up.
  for (const text of ['8K:always', '16K:always;3M:always', '64K-16K:always', '64K', '64K:sometimes']) {
    const none = at(`thp_anon=${text}`);
    expect([none.read('hugepages-16kB/enabled'), none.read('hugepages-2048kB/enabled'), none.messages.length]).toEqual(['never', 'inherit', 1]);
  }
  const shared = at('thp_shmem=64K:within_size transparent_hugepage_shmem=advise');
  expect(['hugepages-64kB/shmem_enabled', 'hugepages-2048kB/shmem_enabled', 'shmem_enabled'].map(shared.read)).toEqual(['within_size', 'never', 'advise']);
  expect(at('transparent_hugepage_shmem=force').messages.length).toBe(1);
  expect(at('transparent_hugepage=always', 'ppc-8xx-4k').messages.length).toBe(1);
});

test('F219 files of settings: every word that they take comes back, others are refused', () => {
  start({});
  const words: Readonly<Record<string, readonly string[]>> = {
    enabled: ['always', 'madvise', 'never'],
    defrag: ['always', 'defer', 'defer+madvise', 'madvise', 'never'],
    shmem_enabled: ['always', 'within_size', 'advise', 'never', 'deny', 'force'],
    'hugepages-64kB/enabled': ['always', 'inherit', 'madvise', 'never'],
    'hugepages-64kB/shmem_enabled': ['always', 'inherit', 'within_size', 'advise', 'never'],
  };
  for (const [name, values] of Object.entries(words))
    for (const value of values) {
      const setting = thpSetting(`${DIRECTORY}${name}`);
      setting?.write(value);
      expect(setting?.read()).toBe(value);
      expect(() => setting?.write('sometimes')).toThrow(PxdError);
    }
  expect(thpSetting(`${DIRECTORY}hugepages-2048kB/enabled`)?.read()).toBe('inherit');
  expect(thpSetting(`${DIRECTORY}hugepages-4kB/enabled`)).toBeUndefined();
  expect(thpSetting(`${DIRECTORY}hpage_pmd_size`)?.read()).toBe('2097152');
});

test('F237 a folio is split where only a part of it is meant; pages of zeroes become the zero page', () => {
  const { machine, p, map } = start({ enabled: 'always' });
  map(512);
  store(p, 3, 5n);
  store(p, 500, 6n);
  expect(p.syscall('madvise', BASE, 8 * 4096, MADV_FREE)).toBe(0);
  expect(runs(machine, p)).toEqual(['3 zero 0', '1 page 0', '496 zero 0', '1 page 0', '11 zero 0']);
  expect([p.load(BigInt(BASE + 3 * 4096), 8), p.load(BigInt(BASE + 500 * 4096), 8)]).toEqual([5n, 6n]);
});

test.each(['x86-4level', 'arm64-4k-48', 's390x', 'ppc64-radix-64k'])(
  'F237 %s: when memory is short, folios with parts that nobody maps or that are all zero are split',
  (mode) => {
    const machine = new Machine({ mode, ramBytes: 2 ** 28 });
    thpSetting(`${DIRECTORY}enabled`)?.write('always');
    thpSetting(`${DIRECTORY}khugepaged/max_ptes_none`)?.write('1');
    const p = machine.spawn();
    const [size, pages] = [2 ** codec.pageShift, spanPages(1)];
    const at = (page: number): bigint => BigInt(BASE + page * size);
    const folio = (page: number): number =>
      viewProcess(machine, p.ref, 0)
        .vmas.flatMap((vma) => vma.pages)
        .find(({ vpn }) => vpn === BASE / size + page)?.order ?? -1;
    expect(p.syscall('mmap', BASE, 4 * pages * size, 3, 0x32, -1, 0)).toBe(BASE);
    // Full but for one page, but for two, lacking its end; and one that is hardly used, locked.
    for (let i = 1; i < pages; i++) p.store(at(i), 8, 1n);
    for (let i = 2; i < pages; i++) p.store(at(pages + i), 8, 1n);
    for (let i = 0; i < pages; i++) p.store(at(2 * pages + i), 8, 1n);
    p.store(at(3 * pages), 8, 1n);
    expect(p.syscall('mlock', Number(at(3 * pages)), pages * size)).toBe(0);
    expect(p.syscall('munmap', Number(at(3 * pages - 2)), 2 * size)).toBe(0);
    const whole = Math.log2(pages);
    expect([0, 1, 2, 3].map((i) => folio(i * pages))).toEqual([whole, whole, whole, whole]);
    expect(machine.shrinkFolios()).toBe(2);
    expect([0, 1, 2, 3].map((i) => folio(i * pages + 2))).toEqual([whole, 0, 0, whole]);
    expect([1, 2, 3].map((i) => p.load(at(i * pages + 2), 8))).toEqual([1n, 1n, 0n]);
    machine.enter();
    expect([get(globals, Globals.vmEvents + THP_UNDERUSED_SPLIT_PAGE), get(globals, Globals.splitListFirst)]).toEqual([1, 0]);
    expect(checkMachine({ leaks: true })).toEqual([]);
    expect(machine.shrinkFolios()).toBe(0);
  },
);

test('F238 a page table is kept for each huge page, so that a split needs no memory', () => {
  const { machine, p, map } = start({ enabled: 'always' });
  map(1024);
  store(p, 0);
  store(p, 512);
  const bytes = (): number => viewProcess(machine, p.ref, 0).counters.pageTableBytes;
  const before = bytes();
  // Every allocation from now on fails.
  machine.enter();
  set(globals, Globals.failAllocation, -1);
  expect(p.syscall('madvise', BASE + 4096, 4096, MADV_DONTNEED)).toBe(0);
  set(globals, Globals.failAllocation, 0);
  expect(bytes()).toBe(before);
  expect(runs(machine, p)).toEqual(['511 page 9', '512 page 9 P']);
});

test('F222 MADV_COLLAPSE: what is there is done, a part is refused, small pages become a huge one', () => {
  const { machine, p, map } = start({ enabled: 'never' });
  map(1024);
  store(p, 1, 8n);
  expect(p.syscall('madvise', BASE, 512 * 4096, MADV_COLLAPSE)).toBe(0);
  expect(runs(machine, p)).toEqual(['512 page 9 P']);
  expect(p.load(BigInt(BASE + 4096), 8)).toBe(8n);
  expect(p.syscall('madvise', BASE, 512 * 4096, MADV_COLLAPSE)).toBe(0);
  expect(p.syscall('madvise', BASE + 512 * 4096, 512 * 4096, MADV_COLLAPSE)).toBe(-22);
});

/** A memfd of 1024 pages that is mapped shared at BASE; its name stands in a page before. */
function startFile(settings: Readonly<Record<string, string>>): { machine: Machine; p: Process; fd: number } {
  const { machine, p } = start(settings);
  expect(p.syscall('mmap', BASE - 4096, 4096, 3, 0x32, -1, 0)).toBe(BASE - 4096);
  const fd = p.syscall('memfd_create', BASE - 4096, 0);
  expect(p.syscall('ftruncate', fd, 1024 * 4096)).toBe(0);
  expect(p.syscall('munmap', BASE - 4096, 4096)).toBe(0);
  expect(p.syscall('mmap', BASE, 1024 * 4096, 3, 0x11, fd, 0)).toBe(BASE);
  return { machine, p, fd };
}

test('F216 one entry maps a huge page of shared memory, for whoever maps it in line', () => {
  const { machine, p, fd } = startFile({ shmem_enabled: 'always' });
  store(p, 7, 3n);
  expect(runs(machine, p)).toEqual(['512 page 9 P']);
  // Privately, too, until something is written there.
  expect(p.syscall('mmap', BASE + 2048 * 4096, 512 * 4096, 3, 0x12, fd, 0)).toBe(BASE + 2048 * 4096);
  expect(p.load(BigInt(BASE + 2055 * 4096), 8)).toBe(3n);
  expect(runs(machine, p)).toEqual(['1024 page 9 P']);
  store(p, 2055, 4n);
  expect(runs(machine, p)).toEqual(['512 page 9 P', '1 page 0']);
  expect(p.load(BigInt(BASE + 7 * 4096), 8)).toBe(3n);
});

test('F237 a folio of a file is split where a hole is made, unless somebody holds a page of it', () => {
  const { machine, p, fd } = startFile({ shmem_enabled: 'always' });
  store(p, 7, 3n);
  store(p, 519, 4n);
  // A pin of one page of the second.
  expect(p.syscall('mmap', BASE - 4096, 4096, 3, 0x32, -1, 0)).toBe(BASE - 4096);
  expect(p.syscall('pipe2', BASE - 4096, 0)).toBe(0);
  p.store(BigInt(BASE - 4096 + 16), 8, BigInt(BASE + 512 * 4096));
  p.store(BigInt(BASE - 4096 + 24), 8, 4096n);
  expect(p.syscall('vmsplice', fd + 2, BASE - 4096 + 16, 1, 0)).toBe(4096);
  expect(p.syscall('munmap', BASE - 4096, 4096)).toBe(0);
  const pages = (): number => {
    machine.enter();
    return fileView(p.ref, fd)?.pages ?? -1;
  };
  expect(pages()).toBe(1024);
  expect(p.syscall('fallocate', fd, 3, 7 * 4096, 4096)).toBe(0);
  expect(pages()).toBe(1023);
  expect(p.syscall('fallocate', fd, 3, 519 * 4096, 4096)).toBe(0);
  expect(pages()).toBe(1023);
  expect([p.load(BigInt(BASE + 7 * 4096), 8), p.load(BigInt(BASE + 519 * 4096), 8)]).toEqual([0n, 0n]);
});

test('F237 a folio of a file is split: of a disk where nothing of it must be written, else it stays, and what is to go is zeroed', () => {
  const { machine, p } = start({});
  expect(p.syscall('mmap', BASE - 4096, 4096, 3, 0x32, -1, 0)).toBe(BASE - 4096);
  p.write(BigInt(BASE - 4096), new TextEncoder().encode('/var/tmp/pxd/f\0'));
  const fd = p.syscall('open', BASE - 4096, 0o102, 0o600);
  expect(p.syscall('munmap', BASE - 4096, 4096)).toBe(0);
  expect(p.syscall('ftruncate', fd, 1024 * 4096)).toBe(0);
  expect(p.syscall('mmap', BASE, 1024 * 4096, 3, 0x11, fd, 0)).toBe(BASE);
  // Read in huge pages where they are asked for.
  expect(p.syscall('madvise', BASE, 1024 * 4096, 14)).toBe(0);
  expect(p.load(BigInt(BASE), 8)).toBe(0n);
  store(p, 519, 4n);
  expect(runs(machine, p)).toEqual(['1024 page 9 P']);
  expect(p.syscall('fallocate', fd, 3, 7 * 4096, 4096)).toBe(0);
  expect(p.syscall('fallocate', fd, 3, 520 * 4096, 4096)).toBe(0);
  expect(runs(machine, p)).toEqual([]);
  for (const page of [6, 256, 519]) p.load(BigInt(BASE + page * 4096), 8);
  // It was split at both ends of the hole; what could not be is mapped as a whole again.
  expect(runs(machine, p)).toEqual(['4 page 2', '2 page 1', '3 page 0', '2 page 1', '4 page 2', '256 page 8', '512 page 9 P']);
  expect(p.load(BigInt(BASE + 519 * 4096), 8)).toBe(4n);
});

test('F242 a folio of 16 pages in the page cache is mapped by as many entries', () => {
  const { machine, p, fd } = startFile({ shmem_enabled: 'always' });
  expect(p.syscall('mmap', BASE - 16 * 4096, 16 * 4096, 3, 0x32, -1, 0)).toBe(BASE - 16 * 4096);
  store(p, -16, 9n);
  expect(p.syscall('pwrite64', fd, BASE - 16 * 4096, 16 * 4096, 16 * 4096)).toBe(16 * 4096);
  expect(p.syscall('munmap', BASE - 16 * 4096, 16 * 4096)).toBe(0);
  expect(p.load(BigInt(BASE + 16 * 4096), 8)).toBe(9n);
  expect(runs(machine, p)).toEqual(['16 page 4']);
});

test('F223, F225, F228 MADV_COLLAPSE of a file: the cache has a huge page, tables of others go, one entry maps it here', () => {
  const { machine, p, fd } = startFile({ shmem_enabled: 'never' });
  for (let page = 0; page < 512; page++) store(p, page, BigInt(page + 1));
  const other = p.fork();
  expect(other.load(BigInt(BASE), 8)).toBe(1n);
  const rss = viewProcess(machine, p.ref, 0).counters;
  expect(p.syscall('madvise', BASE, 512 * 4096, MADV_COLLAPSE)).toBe(0);
  expect(runs(machine, p)).toEqual(['512 page 9 P']);
  const now = viewProcess(machine, p.ref, 0).counters;
  expect([now.rssShmem, now.pageTableBytes]).toEqual([rss.rssShmem, rss.pageTableBytes - 4096]);
  expect(runs(machine, other)).toEqual([]);
  // The next fault maps it.
  expect(other.load(BigInt(BASE + 100 * 4096), 8)).toBe(101n);
  expect(runs(machine, other)).toEqual(['512 page 9 P']);
  // Mapped by small entries: put together again, with their table.
  expect(other.syscall('mprotect', BASE, 4096, 1)).toBe(0);
  expect(other.syscall('madvise', BASE + 4096, 511 * 4096, 22)).toBe(0);
  expect(other.syscall('mprotect', BASE, 4096, 3)).toBe(0);
  expect(runs(machine, other)).toEqual(['511 page 9']);
  expect(other.syscall('madvise', BASE, 512 * 4096, MADV_COLLAPSE)).toBe(0);
  expect(runs(machine, other)).toEqual(['512 page 9 P']);
  expect(fd).toBe(0);
});

test('F227 who has private copies keeps its table when others collapse the file', () => {
  const { machine, p, fd } = startFile({ shmem_enabled: 'never' });
  store(p, 0, 1n);
  const other = p.fork();
  expect(other.syscall('mmap', BASE, 512 * 4096, 3, 0x12, fd, 0)).toBe(BASE);
  store(other, 3, 5n);
  const tables = viewProcess(machine, other.ref, 1).counters.pageTableBytes;
  expect(p.syscall('madvise', BASE, 512 * 4096, MADV_COLLAPSE)).toBe(0);
  expect(viewProcess(machine, other.ref, 1).counters.pageTableBytes).toBe(tables);
  expect(runs(machine, other)).toEqual(['1 page 0']);
  expect(other.load(BigInt(BASE + 3 * 4096), 8)).toBe(5n);
});
