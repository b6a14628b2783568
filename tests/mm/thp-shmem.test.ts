/**
 * Huge pages of shared memory are transparent: a random history of calls and accesses on a memfd, mapped shared and privately, has the same results and the
 * same content with huge pages as without, in modes whose huge pages differ in size and format; and after each step the tables, folios, caches and counters
 * agree (checkMachine). What is huge when is compared with a real kernel by the recordings (group thp of tests/machine/trace).
 *
 * Two things may differ, and are not asked: whether a page behind the end of the file can be had (one entry maps a huge page over the end), and what is data or in
 * core where nothing was written.
 */
import { afterAll, expect, test } from 'vitest';
import { codec, spanPages } from '../../src/kernel/arch.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PAGE } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting, tmpfsHuge } from '../../src/machine/thp-settings.ts';
import { fileView, viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_HEAD } from '../../src/memory/page-flags.ts';
import { pageFlags, pagesEnd } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals } from '../../src/mm/types.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';
const MODES = ['x86-4level', 's390x', ...(process.env.PXD_NIGHTLY ? ['arm64-4k-48', 'ppc64-radix-4k', 'ppc64-hash-64k'] : [])];
const SHARED_FIXED = 0x11;
const PRIVATE_FIXED = 0x12;
const ANON_FIXED = 0x32;
const PROT_RW = 3;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 3;
const MADV_REMOVE = 9;
const MADV_COLLAPSE = 25;
/** DONTNEED, REMOVE, COLD, PAGEOUT, HUGEPAGE, NOHUGEPAGE, POPULATE_READ, POPULATE_WRITE, COLLAPSE. */
const ADVICE = [4, MADV_REMOVE, 20, 21, 14, 15, 22, 23, MADV_COLLAPSE, MADV_COLLAPSE];

let span = 0;
let size = 0;
/** First byte of the arena: the file mapped shared, then privately, then room to move to; the buffer for names and data lies below. */
const base = (): number => 4 * span * size;
const buffer = (): number => span * size;

interface World {
  readonly machine: Machine;
  readonly tasks: Process[];
  readonly fd: number;
  /** Whether there may be huge pages. */
  readonly huge: boolean;
  bytes: number;
}

function start(mode: string, settings: Readonly<Record<string, string>>): World {
  const machine = new Machine({ mode, ramBytes: 2 ** 28 });
  span = spanPages(1);
  size = 2 ** codec.pageShift;
  for (const [name, value] of Object.entries(settings)) {
    const setting = thpSetting(`${DIRECTORY}${name.replace('SIZE', String((size / 1024) * 16))}`);
    expect(setting, name).toBeDefined();
    setting?.write(value);
  }
  const p = machine.spawn();
  expect(p.syscall('mmap', buffer(), 64 * size, PROT_RW, ANON_FIXED, -1, 0)).toBe(buffer());
  for (let i = 0; i < 64; i++) p.store(BigInt(buffer() + i * size + 8), 8, BigInt(1000 + i));
  const fd = p.syscall('memfd_create', buffer(), 0);
  expect(fd).toBe(0);
  return { machine, tasks: [p], fd, huge: Object.keys(settings).length > 0, bytes: 0 };
}

function random(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return (state >>> 7) % below;
  };
}

/** Large folios that are in use. */
function largeFolios(machine: Machine): number {
  machine.enter();
  let count = 0;
  for (let page = 1; page < pagesEnd(); page++) if ((pageFlags[page] & PG_HEAD) !== 0) count++;
  return count;
}

/** Runs of mapped pages of a process: how many, the order of their folio, and `P` when one entry maps it. */
function runs(world: World): string[] {
  const list: { text: string; count: number }[] = [];
  for (const vma of viewProcess(world.machine, world.tasks[0].ref, 0).vmas.filter((one) => one.file !== undefined))
    for (const page of vma.pages) {
      const text = `${page.kind === 'page' ? page.order : page.kind}${(page.flags & PAGE.PMD_MAPPED) !== 0 ? 'P' : ''}`;
      if (list.at(-1)?.text === text) (list.at(-1) as { count: number }).count++;
      else list.push({ text, count: 1 });
    }
  sound(world);
  return list.map(({ text, count }) => `${count}*${text}`);
}

function sound(world: World, step?: string): void {
  world.machine.enter();
  expect(checkMachine({ leaks: true }), step).toEqual([]);
}

const filePages = (world: World): number => {
  world.machine.enter();
  return fileView(world.tasks[0].ref, world.fd)?.pages ?? -1;
};

type Step = (world: World) => unknown;

/** A history over two huge pages of a file, by up to three processes. */
function steps(seed: number, count: number): Step[] {
  const next = random(seed);
  const page = (): number => (next(3) === 0 ? next(2) * span : next(4) === 0 ? next(2) * span + next(40) : next(2 * span));
  const range = (): [number, number] => {
    const from = page();
    return [from, Math.min(2 * span - from, next(2) === 0 ? span : 1 + next(span))];
  };
  const at = (kind: number, index: number): number => base() + (kind * 2 * span + index) * size;
  const list: Step[] = [
    (w) => {
      w.bytes = 2 * span * size;
      return w.tasks[0].syscall('ftruncate', w.fd, w.bytes);
    },
    (w) => w.tasks[0].syscall('mmap', at(0, 0), 2 * span * size, PROT_RW, SHARED_FIXED, w.fd, 0),
    (w) => w.tasks[0].syscall('mmap', at(1, 0), 2 * span * size, PROT_RW, PRIVATE_FIXED, w.fd, 0),
  ];
  for (let i = 0; i < count; i++) {
    const who = next(3);
    const of = (w: World): Process => w.tasks[who % w.tasks.length];
    const kind = next(24);
    const where = next(3) === 0 ? 1 : 0;
    if (kind < 10) {
      const index = page();
      const offset = next(60) * 8;
      const value = BigInt(1 + next(1 << 30));
      const inside = (w: World): boolean => index * size < w.bytes;
      list.push((w) =>
        !inside(w) ? 0 : kind < 6 ? of(w).store(BigInt(at(where, index) + offset), 8, value) : of(w).load(BigInt(at(where, index) + offset), 8),
      );
    } else if (kind < 12) {
      const position = page() * size + (next(2) === 0 ? 0 : next(size));
      const length = 1 + next(next(2) === 0 ? 40 * size : size);
      list.push((w) => {
        const done = of(w).syscall('pwrite64', w.fd, buffer(), length, position);
        if (done > 0) w.bytes = Math.max(w.bytes, position + done);
        return done;
      });
    } else if (kind < 13) {
      const position = page() * size + next(size);
      list.push((w) => [of(w).syscall('pread64', w.fd, buffer() + 50 * size, 200, position), of(w).load(BigInt(buffer() + 50 * size + 8), 8)]);
    } else if (kind < 15) {
      const [from, pages] = range();
      const mode = [0, KEEP_SIZE, PUNCH_HOLE, PUNCH_HOLE][next(4)];
      const cut = next(2) === 0 ? 0 : next(size);
      list.push((w) => {
        const result = of(w).syscall('fallocate', w.fd, mode, from * size + cut, pages * size);
        if (result === 0 && mode === 0) w.bytes = Math.max(w.bytes, (from + pages) * size + cut);
        return result;
      });
    } else if (kind < 16) {
      const bytes = page() * size + (next(2) === 0 ? 0 : next(size));
      list.push((w) => {
        // Back to its size, so that there is something to look at.
        const results = [of(w).syscall('ftruncate', w.fd, bytes), of(w).syscall('ftruncate', w.fd, 2 * span * size)];
        w.bytes = 2 * span * size;
        return results;
      });
    } else if (kind < 20) {
      const [from, pages] = range();
      const advice = ADVICE[next(ADVICE.length)];
      list.push((w) => {
        if (advice !== MADV_COLLAPSE) return of(w).syscall('madvise', at(where, from), pages * size, advice);
        if (w.huge) of(w).syscall('madvise', at(where, from < span ? 0 : span), span * size, advice);
        return undefined;
      });
    } else if (kind < 21) {
      const [from, pages] = range();
      const prot = next(3) === 0 ? 1 : PROT_RW;
      list.push((w) => of(w).syscall('mprotect', at(where, from), pages * size, prot));
    } else if (kind < 22) {
      const [from, pages] = range();
      const call = ['mlock', 'munlock', 'msync', 'mmap', 'mremap'][next(5)];
      const to = page();
      list.push((w) => {
        if (call === 'mmap')
          return of(w).syscall('mmap', at(where, from), pages * size, PROT_RW, where === 0 ? SHARED_FIXED : PRIVATE_FIXED, w.fd, from * size);
        // Away and back: what it maps stays what it was.
        if (call === 'mremap')
          return [
            of(w).syscall('mremap', at(0, from), pages * size, pages * size, 3, at(2, to)),
            of(w).syscall('mremap', at(2, to), pages * size, pages * size, 3, at(0, from)),
          ];
        return of(w).syscall(call, at(where, from), pages * size, call === 'msync' ? 4 : 0);
      });
    } else if (kind < 23)
      list.push((w) => {
        if (w.tasks.length >= 3) return 0;
        w.tasks.push(of(w).fork());
        return w.tasks.length;
      });
    else
      list.push((w) => {
        if (w.tasks.length > 1) (w.tasks.splice(1 + (who % (w.tasks.length - 1)), 1)[0] as Process).exit(0);
        return w.tasks.length;
      });
  }
  return list;
}

/** What the file holds, and what each process reads of it. */
function contents(world: World): string {
  const words: string[] = [];
  for (let index = 0; index < 2 * span; index++) {
    if (index * size >= world.bytes) break;
    const offset = (index % 60) * 8;
    for (const p of world.tasks)
      for (const where of [0, 1]) {
        const word = p.load(BigInt(base() + (where * 2 * span + index) * size + offset), 8);
        words.push(typeof word === 'bigint' ? String(word) : 'fault');
      }
  }
  return words.join();
}

const SETTINGS: readonly Readonly<Record<string, string>>[] = [
  { shmem_enabled: 'always' },
  { shmem_enabled: 'within_size' },
  { shmem_enabled: 'advise' },
  { shmem_enabled: 'force' },
];
const seeds = process.env.PXD_NIGHTLY ? Array.from({ length: 24 }, (_, i) => i + 1) : [Number(process.env.PXD_SEED ?? 3)];
let made = 0;
afterAll(() => expect(made, 'some history made huge pages').toBeGreaterThan(0));

for (const [m, mode] of MODES.entries())
  for (const seed of seeds)
    test(`${mode}: the same with and without huge pages (seed ${seed})`, () => {
      const huge = start(mode, SETTINGS[(seed + m + 1) % SETTINGS.length]);
      const plain = start(mode, {});
      for (const [i, step] of steps(seed * 10 + m, 45).entries()) {
        const got = step(huge);
        expect(got, `step ${i}`).toEqual(step(plain));
        sound(huge, `step ${i}`);
        made += largeFolios(huge.machine);
      }
      expect(contents(huge)).toBe(contents(plain));
      for (const p of huge.tasks) p.exit(0);
      sound(huge);
      expect(largeFolios(huge.machine)).toBe(0);
    });

// --- where there are huge pages ---------------------------------------------------------------------------------------------

const store = (w: World, page: number, value = 1n): unknown => w.tasks[0].store(BigInt(base() + page * size), 8, value);
const load = (w: World, page: number): unknown => w.tasks[0].load(BigInt(base() + page * size), 8);
const map = (w: World, pages: number, flags = SHARED_FIXED, fd = w.fd): void =>
  expect(w.tasks[0].syscall('mmap', base(), pages * size, PROT_RW, flags, fd, 0)).toBe(base());
const sizeTo = (w: World, bytes: number): void => expect(w.tasks[0].syscall('ftruncate', w.fd, bytes)).toBe(0);

test.each([
  ['never', false, [1, 1]],
  ['always', false, [512, 512]],
  // The second huge page would reach over the end.
  ['within_size', false, [512, 1]],
  ['within_size', true, [512, 512]],
  ['advise', false, [1, 1]],
  ['advise', true, [512, 512]],
  ['deny', true, [1, 1]],
  ['force', false, [512, 512]],
] as const)('shmem_enabled=%s, advised: %s: faults make %j', (enabled, advised, [first, second]) => {
  const w = start('x86-4level', { shmem_enabled: enabled });
  sizeTo(w, (span + 8) * size);
  map(w, 2 * span);
  if (advised) expect(w.tasks[0].syscall('madvise', base(), 2 * span * size, 14)).toBe(0);
  store(w, 3);
  expect(filePages(w)).toBe(first);
  store(w, span + 3);
  expect(filePages(w)).toBe(first + second);
  const text = (pages: number): string => (pages === 1 ? '1*0' : `${pages}*9P`);
  expect(runs(w).join()).toBe(first === 512 && second === 512 ? '1024*9P' : first === 1 ? '2*0' : `${text(first)},${text(second)}`);
});

test('what is written in one call, or allocated, comes in folios of its size', () => {
  const w = start('x86-4level', { shmem_enabled: 'always' });
  const p = w.tasks[0];
  expect(p.syscall('pwrite64', w.fd, buffer(), 16 * size, 32 * size)).toBe(16 * size);
  expect(filePages(w)).toBe(16);
  map(w, span);
  expect(load(w, 32)).toBe(0n);
  expect(runs(w)).toEqual(['16*4']);
  // Not in line: what the alignment of its start allows.
  expect(p.syscall('pwrite64', w.fd, buffer(), 16 * size, 66 * size)).toBe(16 * size);
  expect([load(w, 66), load(w, 80)]).toEqual([0n, 0n]);
  // 66 to 67, 68 to 71, 72 to 79, 80 and 81.
  expect(runs(w)).toEqual(['16*4', '2*1', '4*2', '8*3', '2*1']);
  expect(p.syscall('fallocate', w.fd, 0, span * size, span * size)).toBe(0);
  expect(filePages(w)).toBe(32 + span);
});

test('sizes of shared anonymous memory have settings of their own', () => {
  const w = start('x86-4level', { 'hugepages-SIZEkB/shmem_enabled': 'always' });
  expect(w.tasks[0].syscall('mmap', base(), span * size, PROT_RW, 0x31, -1, 0)).toBe(base());
  store(w, 21);
  expect(runs(w)).toEqual(['16*4']);
  // A memfd goes by the mount.
  sizeTo(w, span * size);
  map(w, span);
  store(w, 21);
  expect(runs(w)).toEqual(['1*0']);
});

test('a tmpfs with huge=always, whatever shmem_enabled says but deny', () => {
  const w = start('x86-4level', { 'hugepages-SIZEkB/shmem_enabled': 'always' });
  tmpfsHuge().write('always');
  const p = w.tasks[0];
  for (const [i, byte] of [...Buffer.from('/dev/shm/pxd/a\0')].entries()) p.store(BigInt(buffer() + i), 1, BigInt(byte));
  const fd = p.syscall('open', buffer(), 0o102, 0o600);
  expect(fd).toBe(1);
  expect(p.syscall('ftruncate', fd, 2 * span * size)).toBe(0);
  map(w, 2 * span, SHARED_FIXED, fd);
  store(w, 1);
  expect(runs(w)).toEqual(['512*9P']);
  thpSetting(`${DIRECTORY}shmem_enabled`)?.write('deny');
  store(w, span);
  expect(runs(w)).toEqual(['512*9P', '1*0']);
});

// --- what becomes of them ---------------------------------------------------------------------------------------------------

const ALL = ['x86-4level', 'arm64-16k-47', 'ppc64-hash-64k'];

test.each(ALL)('%s: one entry until a part goes; a fork faults its own in; a hole splits the folio in as few as there can be', (mode) => {
  const w = start(mode, { shmem_enabled: 'always' });
  const order = Math.log2(span);
  const p = w.tasks[0];
  sizeTo(w, span * size);
  map(w, span);
  store(w, 5, 77n);
  store(w, 0, 78n);
  expect(runs(w)).toEqual([`${span}*${order}P`]);
  const child = p.fork();
  sound(w);
  expect(viewProcess(w.machine, child.ref, 1).vmas.flatMap((vma) => (vma.file === undefined ? [] : vma.pages))).toEqual([]);
  expect(child.load(BigInt(base() + 5 * size), 8)).toBe(77n);
  expect(child.syscall('mprotect', base(), size, 1)).toBe(0);
  sound(w);
  expect(child.load(BigInt(base() + 5 * size), 8)).toBe(77n);
  child.exit(0);
  expect(p.syscall('mremap', base(), span * size, span * size, 3, base() + 2 * span * size)).toBe(base() + 2 * span * size);
  expect(runs(w)).toEqual([`${span}*${order}P`]);
  expect(p.syscall('mremap', base() + 2 * span * size, span * size, span * size, 3, base())).toBe(base());
  expect(p.syscall('fallocate', w.fd, PUNCH_HOLE, size, size)).toBe(0);
  expect(runs(w)).toEqual([]);
  expect(filePages(w)).toBe(span - 1);
  expect(p.syscall('madvise', base(), span * size, 22)).toBe(0);
  expect([load(w, 5), load(w, 1), load(w, 0)]).toEqual([77n, 0n, 78n]);
  const halves = Array.from({ length: order - 2 }, (_, i) => `${4 << i}*${i + 2}`);
  expect(runs(w)).toEqual(['4*0', ...halves]);
  sizeTo(w, 3 * size);
  sizeTo(w, 0);
  expect(filePages(w)).toBe(0);
});

test('the end of a file moves into a huge page: what lies behind leaves memory, the rest stays in as few folios as there can be', () => {
  const w = start('x86-4level', { shmem_enabled: 'always' });
  sizeTo(w, span * size);
  map(w, span);
  store(w, 2, 77n);
  store(w, 5, 78n);
  sizeTo(w, 3 * size + 100);
  sound(w);
  expect(filePages(w)).toBe(4);
  expect([load(w, 2), load(w, 4)].map((word) => typeof word)).toEqual(['bigint', 'object']);
  sizeTo(w, span * size);
  expect([load(w, 2), load(w, 5)]).toEqual([77n, 0n]);
  sound(w);
});

test('somebody holds a page: the hole is zeroes, and the folio stays whole', () => {
  const w = start('x86-4level', { shmem_enabled: 'always' });
  const p = w.tasks[0];
  sizeTo(w, span * size);
  map(w, span);
  store(w, 5, 77n);
  store(w, 6, 78n);
  expect(p.syscall('pipe2', buffer(), 0)).toBe(0);
  p.store(BigInt(buffer() + 16), 8, BigInt(base() + 9 * size));
  p.store(BigInt(buffer() + 24), 8, BigInt(size));
  expect(p.syscall('vmsplice', 2, buffer() + 16, 1, 0)).toBe(size);
  expect(p.syscall('fallocate', w.fd, PUNCH_HOLE, 5 * size, size)).toBe(0);
  sound(w);
  expect([load(w, 5), load(w, 6), filePages(w)]).toEqual([0n, 78n, span]);
  expect(runs(w)).toEqual(['512*9P']);
});

test('the seal against writing counts the references of a huge page as its mappings and its place in the cache', () => {
  const w = start('x86-4level', { shmem_enabled: 'always' });
  const p = w.tasks[0];
  const fd = p.syscall('memfd_create', buffer(), 2);
  expect(p.syscall('ftruncate', fd, span * size)).toBe(0);
  expect(p.syscall('mmap', base(), span * size, PROT_RW, SHARED_FIXED, fd, 0)).toBe(base());
  store(w, 5, 77n);
  expect(p.syscall('fcntl', fd, 1033, 8)).toBe(-16);
  expect(p.syscall('munmap', base(), span * size)).toBe(0);
  expect(p.syscall('mmap', base(), span * size, 1, PRIVATE_FIXED, fd, 0)).toBe(base());
  expect(load(w, 5)).toBe(77n);
  expect(runs(w)).toEqual(['512*9P']);
  expect(p.syscall('fcntl', fd, 1033, 8)).toBe(0);
  expect(p.syscall('pwrite64', fd, buffer(), 8, 0)).toBe(-1);
});

test('memory that is committed page by page is committed for the whole folio, and given back with it', () => {
  const w = start('x86-4level', { shmem_enabled: 'always' });
  const committed = (): number => get(globals, Globals.committed);
  expect(w.tasks[0].syscall('mmap', base(), 2 * span * size, PROT_RW, 0x31 | 0x4000, -1, 0)).toBe(base());
  const before = committed();
  store(w, 7);
  expect(committed() - before).toBe(span);
  expect(w.tasks[0].syscall('munmap', base(), 2 * span * size)).toBe(0);
  expect(committed()).toBe(before);
});

// --- made of small pages ----------------------------------------------------------------------------------------------------

const bytesOfTables = (w: World): number => viewProcess(w.machine, w.tasks[0].ref, 0).counters.pageTableBytes;

test.each(ALL)('%s: MADV_COLLAPSE makes a huge page of what is in the cache, holes and all, and maps it; tables of other mappings go', (mode) => {
  const w = start(mode, {});
  const order = Math.log2(span);
  const p = w.tasks[0];
  sizeTo(w, span * size);
  map(w, span);
  store(w, 3, 33n);
  store(w, 9, 99n);
  const child = p.fork();
  expect(child.load(BigInt(base() + 9 * size), 8)).toBe(99n);
  expect(filePages(w)).toBe(2);
  const tables = bytesOfTables(w);
  expect(p.syscall('madvise', base(), span * size, MADV_COLLAPSE)).toBe(0);
  expect(filePages(w)).toBe(span);
  expect(runs(w)).toEqual([`${span}*${order}P`]);
  if (mode !== 'ppc64-hash-64k') expect(bytesOfTables(w)).toBeLessThan(tables);
  expect(viewProcess(w.machine, child.ref, 1).vmas.flatMap((vma) => (vma.file === undefined ? [] : vma.pages))).toEqual([]);
  expect([load(w, 3), load(w, 4), load(w, 9), child.load(BigInt(base() + 9 * size), 8)]).toEqual([33n, 0n, 99n, 99n]);
  // What is there is done.
  expect(p.syscall('madvise', base(), span * size, MADV_COLLAPSE)).toBe(0);
  sound(w);
});

test('who has private copies keeps its table, and the copies', () => {
  const w = start('x86-4level', {});
  const p = w.tasks[0];
  sizeTo(w, span * size);
  map(w, span);
  store(w, 3, 33n);
  const child = p.fork();
  expect(child.syscall('mmap', base(), span * size, PROT_RW, PRIVATE_FIXED, w.fd, 0)).toBe(base());
  child.store(BigInt(base() + 3 * size), 8, 44n);
  expect(p.syscall('madvise', base(), span * size, MADV_COLLAPSE)).toBe(0);
  sound(w);
  expect([load(w, 3), child.load(BigInt(base() + 3 * size), 8)]).toEqual([33n, 44n]);
  expect(runs(w)).toEqual(['512*9P']);
});

test('a huge page that small entries map is mapped by one again; one that somebody holds a page of is not made', () => {
  const w = start('x86-4level', {});
  const p = w.tasks[0];
  sizeTo(w, 2 * span * size);
  map(w, 2 * span);
  store(w, 3, 33n);
  expect(p.syscall('madvise', base(), span * size, MADV_COLLAPSE)).toBe(0);
  // Apart and together again: its pages come back by entries of their own.
  expect(p.syscall('mprotect', base(), size, 1)).toBe(0);
  expect([load(w, 3), load(w, 4)]).toEqual([33n, 0n]);
  expect(p.syscall('mprotect', base(), size, PROT_RW)).toBe(0);
  expect(runs(w)).not.toContain('512*9P');
  expect(p.syscall('madvise', base(), span * size, MADV_COLLAPSE)).toBe(0);
  expect(runs(w)).toEqual(['512*9P']);
  store(w, span + 1, 5n);
  expect(p.syscall('pipe2', buffer(), 0)).toBe(0);
  p.store(BigInt(buffer() + 16), 8, BigInt(base() + (span + 1) * size));
  p.store(BigInt(buffer() + 24), 8, BigInt(size));
  expect(p.syscall('vmsplice', 2, buffer() + 16, 1, 0)).toBe(size);
  expect(p.syscall('madvise', base() + span * size, span * size, MADV_COLLAPSE)).toBe(-11);
  sound(w);
  expect(load(w, span + 1)).toBe(5n);
});
