/**
 * Pages that move to other frames while processes use them (mm/migrate.c), as soft offline asks for it: content, entries, counters and sharing are as before, the frame is
 * nobody's; what somebody holds, or has no other place, stays as it is. In every mode that is looked at the machine is sound by its invariants afterwards.
 */
import { describe, expect, test } from 'vitest';
import { checkVariant } from '../../src/explore/check.ts';
import { spanPages } from '../../src/kernel/arch.ts';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { hugePoolSetting } from '../../src/machine/hugetlb-settings.ts';
import { Machine } from '../../src/machine/index.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { cmaRelease, freeContigRange } from '../../src/memory/cma.ts';
import { pageIsCompound, subPage } from '../../src/memory/folio.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_HWPOISON, PG_LOCKED, PG_MLOCKED } from '../../src/memory/page-flags.ts';
import { pageFlags, pageOfPfn, pageRefcount, pfnOfPage, setPageFlags, setPageRefcount } from '../../src/memory/state.ts';
import { basePfn, Memory, memory } from '../../src/memory/zone.ts';
import { globals } from '../../src/mm/globals.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_PIN, FOLL_WRITE, freePageVector } from '../../src/mm/gup-types.ts';
import { defaultHstate } from '../../src/mm/hugetlb-pool.ts';
import { hugePages } from '../../src/mm/hugetlb-resv.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals, MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, Mm } from '../../src/mm/types.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import e47Gup from '../../src/races/e47-gup.ts';
import e47Hugetlb from '../../src/races/e47-hugetlb.ts';
import { traced } from './support/traced.ts';

const nightly = process.env.PXD_NIGHTLY === '1';
const MODES = nightly
  ? ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k', 'riscv-sv39', 'ppc64-radix-4k', 'loongarch64-16k', 'arm-lpae']
  : ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'];
const [MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB] = [1, 2, 0x10, 0x20, 0x40000];
const [MADV_FREE, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_HWPOISON, MADV_SOFT_OFFLINE] = [8, 21, 22, 100, 101];
const [EIO, EFAULT, EHWPOISON] = [-5, -14, -133];
const EBUSY = -16;
const ENOMEM = -12;
const AT = 0x1000_0000;

interface World {
  readonly machine: Machine;
  readonly p: Process;
  readonly size: number;
  /** Frame that a process maps at the ith page. */
  frame(i: number, process?: Process): number;
  load(i: number, process?: Process): bigint;
  store(i: number, value: number, process?: Process): void;
  /** Whether `count` pages from the ith on hold `first`, `first` + 1 … */
  same(i: number, count: number, first: number): boolean;
  sound(): void;
}

function world(mode: string, settings: object = {}, memory: object = {}): World {
  const machine = new Machine({ mode, ramBytes: 2 ** 26, settings: { memoryFailure: 1, ...settings }, memory });
  const p = machine.spawn();
  const size = machine.pageSize;
  const at = (i: number): bigint => BigInt(AT + i * size);
  return {
    machine,
    p,
    size,
    frame: (i, process = p) => {
      machine.enter();
      return pfnOfPage(process.translate(AT / size + i, 0) as number);
    },
    load: (i, process = p) => process.load(at(i), 4) as bigint,
    store: (i, value, process = p) => {
      if (process.store(at(i), 4, BigInt(value)) !== undefined) throw new Error(`a store to page ${i} ends in a signal`);
    },
    same: (i, count, first) => {
      for (let n = 0; n < count; n++) if (p.load(at(i + n), 4) !== BigInt(first + n)) return false;
      return true;
    },
    sound: () => {
      machine.enter();
      expect(checkMachine()).toEqual([]);
    },
  };
}

const NAME = AT - 0x10_0000;

/** A file of shared memory, or one of a disk, with so many pages. */
function file({ p, size }: World, kind: 'memfd' | 'disk', pages: number): number {
  expect(p.syscall('mmap', NAME, size, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)).toBe(NAME);
  p.write(BigInt(NAME), new TextEncoder().encode('/var/tmp/pxd/file\0'));
  const fd = kind === 'memfd' ? p.syscall('memfd_create', NAME, 0) : p.syscall('open', NAME, 0o102, 0o600);
  expect(fd).toBeGreaterThanOrEqual(0);
  expect(p.syscall('munmap', NAME, size)).toBe(0);
  expect(p.syscall('ftruncate', fd, pages * size)).toBe(0);
  return fd;
}

const map = ({ p, size }: World, pages: number, flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1): void =>
  expect(p.syscall('mmap', AT, pages * size, 3, flags | MAP_FIXED, fd, 0)).toBe(AT);
const offline = ({ p, size }: World, i: number, process = p): number => process.syscall('madvise', AT + i * size, size, MADV_SOFT_OFFLINE);
const poisoned = (pfn: number): boolean => (pageFlags[pageOfPfn(pfn)] & PG_HWPOISON) !== 0 && pageRefcount[pageOfPfn(pfn)] === 1;

describe.each(MODES)('%s: a page in use that is taken out of use moves', (mode) => {
  test('anonymous memory: content, exclusiveness and counters stay, the frame is nobody’s', () => {
    const w = world(mode);
    map(w, 3);
    for (const i of [0, 1, 2]) w.store(i, 10 + i);
    const before = w.frame(1);
    const neighbours = [w.frame(0), w.frame(2)];
    expect(offline(w, 1)).toBe(0);
    expect(w.frame(1)).not.toBe(before);
    expect(poisoned(before)).toBe(true);
    expect([w.frame(0), w.frame(2)]).toEqual(neighbours);
    expect([0, 1, 2].map((i) => w.load(i))).toEqual([10n, 11n, 12n]);
    expect(get(w.p.mm, Mm.rss + MM_ANONPAGES)).toBe(3);
    w.sound();
    // It is exclusive still: a write is no copy.
    const moved = w.frame(1);
    w.store(1, 99);
    expect(w.frame(1)).toBe(moved);
    expect(w.p.syscall('munmap', AT, 3 * w.size)).toBe(0);
    expect(poisoned(before)).toBe(true);
    w.sound();
  });

  test('memory that a fork shares moves for both, and is copied on write as before', () => {
    const w = world(mode);
    map(w, 1);
    w.store(0, 7);
    const child = w.p.fork();
    const before = w.frame(0);
    expect(w.frame(0, child)).toBe(before);
    expect(offline(w, 0)).toBe(0);
    const moved = w.frame(0);
    expect(moved).not.toBe(before);
    expect(w.frame(0, child)).toBe(moved);
    w.sound();
    w.store(0, 8, child);
    expect([w.load(0), w.load(0, child)]).toEqual([7n, 8n]);
    expect(w.frame(0)).toBe(moved);
    w.sound();
  });

  test.each(['memfd', 'disk'] as const)('%s: the cache has the new frame, and so has everybody', (kind) => {
    const w = world(mode);
    const fd = file(w, kind, 2);
    map(w, 2, MAP_SHARED, fd);
    w.store(1, 5);
    const child = w.p.fork();
    expect(w.load(1, child)).toBe(5n);
    const before = w.frame(1);
    expect(offline(w, 1)).toBe(0);
    expect(poisoned(before)).toBe(true);
    expect(w.frame(1)).not.toBe(before);
    expect(w.frame(1, child)).toBe(w.frame(1));
    w.store(1, 6, child);
    expect(w.load(1)).toBe(6n);
    expect(get(w.p.mm, Mm.rss + (kind === 'memfd' ? MM_SHMEMPAGES : MM_FILEPAGES))).toBe(1);
    w.sound();
    // What nobody maps moves, too.
    const second = w.frame(1);
    for (const process of [w.p, child]) expect(process.syscall('munmap', AT, 2 * w.size)).toBe(0);
    w.machine.enter();
    expect(w.machine.kernel.softOfflinePage(second)).toBe(0);
    map(w, 2, MAP_SHARED, fd);
    expect(w.load(1)).toBe(6n);
    w.sound();
    if (kind === 'memfd') return;
    // What is clean and mapped nowhere is thrown away, and read again.
    expect(w.p.syscall('msync', AT, 2 * w.size, 4)).toBe(0);
    const third = w.frame(1);
    expect(w.p.syscall('munmap', AT, 2 * w.size)).toBe(0);
    expect(w.machine.kernel.softOfflinePage(third)).toBe(0);
    expect(poisoned(third)).toBe(true);
    w.sound();
    map(w, 2, MAP_SHARED, fd);
    expect(w.load(1)).toBe(6n);
    w.sound();
  });

  test('locked memory stays locked, young, dirty and what may not be written stay so', () => {
    const w = world(mode);
    map(w, 2);
    w.store(0, 1);
    expect(w.p.syscall('mlock', AT, 2 * w.size)).toBe(0);
    expect(w.p.syscall('mprotect', AT, w.size, 1)).toBe(0);
    expect(offline(w, 0)).toBe(0);
    w.machine.enter();
    const page = pageOfPfn(w.frame(0));
    expect(pageFlags[page] & PG_MLOCKED).toBe(PG_MLOCKED);
    expect(w.p.store(BigInt(AT), 4, 2n)).toMatchObject({ signal: 11 });
    expect(w.load(0)).toBe(1n);
    w.sound();
    expect(w.p.syscall('munlock', AT, 2 * w.size)).toBe(0);
    w.sound();
  });

  test('F161: what its entry alone calls dirty stays wanted, when it moves and when it cannot', () => {
    for (const held of [false, true]) {
      const w = world(mode);
      map(w, 1);
      w.store(0, 1);
      expect(w.p.syscall('madvise', AT, w.size, MADV_FREE)).toBe(0);
      w.store(0, 2);
      w.machine.enter();
      const vector = allocPageVector();
      if (held) expect(w.machine.kernel.getUserPagesFast(w.p.mm, AT / w.size, 1, 0, vector)).toBe(1);
      expect(offline(w, 0)).toBe(held ? EBUSY : 0);
      w.machine.kernel.putUserPages(vector);
      freePageVector(vector);
      expect(w.p.syscall('madvise', AT, w.size, MADV_PAGEOUT)).toBe(0);
      expect(w.load(0)).toBe(2n);
      w.sound();
    }
  });

  test('a page that somebody holds or has pinned is busy, and all is as it was; so it is without another place', () => {
    const w = world(mode);
    map(w, 2);
    w.store(0, 1);
    w.store(1, 2);
    for (const pinned of [false, true]) {
      w.machine.enter();
      const { kernel } = w.machine;
      const vector = allocPageVector();
      const before = w.frame(0);
      const got = pinned
        ? kernel.pinUserPagesFast(w.p.mm, AT / w.size, 1, FOLL_WRITE, vector)
        : kernel.getUserPagesFast(w.p.mm, AT / w.size, 1, FOLL_WRITE, vector);
      expect(got).toBe(1);
      expect(offline(w, 0)).toBe(EBUSY);
      expect(w.frame(0)).toBe(before);
      expect(poisoned(before)).toBe(false);
      w.store(0, 3);
      expect(w.frame(0)).toBe(before);
      if (pinned) kernel.unpinUserPages(vector, 0);
      else kernel.putUserPages(vector);
      freePageVector(vector);
      w.sound();
    }
    // The vector that holds the page is none of the allocator's business, its new place is.
    w.machine.enter();
    set(globals, Globals.failAllocation, 1);
    expect(w.machine.kernel.softOfflinePage(w.frame(0))).toBe(ENOMEM);
    set(globals, Globals.failAllocation, 0);
    expect(w.load(0)).toBe(3n);
    w.sound();
    expect(offline(w, 0)).toBe(0);
    w.sound();
  });
});

describe('get_user_pages() and pages that are migrated', () => {
  const FOLL_GET = 2;

  test.each(['x86-4level', 'arm64-4k-48', 's390x'])('F208, %s: who takes no locks comes back with fewer, who takes them waits and has the page', (mode) => {
    const w = world(mode);
    map(w, 3);
    for (const i of [0, 1, 2]) w.store(i, 1 + i);
    const { kernel } = w.machine;
    const folio = pageOfPfn(w.frame(1));
    const vector = allocPageVector();
    const fast = (): number => {
      const got = kernel.getUserPagesFastOnly(w.p.mm, AT / w.size, 3, 0, vector);
      kernel.putUserPages(vector);
      return got;
    };
    expect(fast()).toBe(3);
    // Locked and held, as whoever migrates it has it.
    setPageFlags(folio, pageFlags[folio] | PG_LOCKED);
    setPageRefcount(folio, pageRefcount[folio] + 1);
    const anonVma = kernel.folioGetAnonVma(folio);
    expect(kernel.tryToMigrate(folio, anonVma, 0)).toBe(1);
    expect(fast()).toBe(1);
    kernel.removeMigrationPtes(folio, folio, anonVma, 0);
    kernel.putAnonVma(anonVma);
    setPageFlags(folio, pageFlags[folio] & ~PG_LOCKED);
    setPageRefcount(folio, pageRefcount[folio] - 1);
    expect(fast()).toBe(3);
    freePageVector(vector);
    w.sound();
    expect(checkVariant(e47Gup, 'fixed', mode, { now: () => 0 })).toMatchObject({ result: 'clean', ok: true });
  });

  test('F200: the function that hugetlb had for it takes poison for nothing, pins nothing, and waits until a migration is over', () => {
    const w = world('x86-4level');
    hugePoolSetting('/proc/sys/vm/nr_hugepages')?.write(w.machine.kernel, 2);
    map(w, 512, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
    w.store(7, 1);
    const folio = pageOfPfn(w.frame(0));
    w.machine.enter();
    makeCpus(1);
    throwSwitches(['hugetlbFollowOwn']);
    const follow = (flags: number): number => {
      const { result, through } = traced('followPage', vmaLookup(w.p.mm, AT / w.size), AT / w.size + 7, flags);
      // Who wants to pin is sent away at once.
      expect(through.has('hugetlbFollowPageMask')).toBe((flags & FOLL_PIN) === 0);
      return result;
    };
    expect(follow(FOLL_GET)).toBe(subPage(folio, 7));
    w.machine.kernel.gupPutFolio(folio, 1, FOLL_GET);
    expect(follow(FOLL_PIN)).toBe(0);
    expect(w.p.syscall('madvise', AT, 512 * w.size, MADV_HWPOISON)).toBe(0);
    expect(follow(FOLL_GET)).toBe(0);
    expect(checkVariant(e47Hugetlb, 'own', 'x86-4level', { now: () => 0 })).toMatchObject({ result: 'clean', ok: true });
  });
});

describe('parts of huge pages', () => {
  test.each(['x86-4level', 'arm64-4k-48', 's390x'])('%s: a huge page is split, and only the one page moves', (mode) => {
    const w = world(mode);
    thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
    const pages = spanPages(1);
    map(w, 2 * pages);
    const first = pages - ((AT / w.size) % pages);
    for (let i = 0; i < pages; i++) w.store(first + i, 100 + i);
    expect(pageIsCompound(w.p.translate(AT / w.size + first, 0) as number)).toBe(true);
    const frames = [5, 6, 7].map((i) => w.frame(first + i));
    expect(frames[1] - frames[0]).toBe(1);
    expect(offline(w, first + 6)).toBe(0);
    expect(poisoned(frames[1])).toBe(true);
    expect(w.frame(first + 6)).not.toBe(frames[1]);
    expect([w.frame(first + 5), w.frame(first + 7)]).toEqual([frames[0], frames[2]]);
    expect(w.same(first, pages, 100)).toBe(true);
    w.sound();
    // A page that is all zero was given up by the split: it is free, and taken out as such.
    expect(w.p.syscall('munmap', AT, 2 * pages * w.size)).toBe(0);
    map(w, 2 * pages);
    w.store(first, 1);
    const zero = w.frame(first + 9);
    expect(w.machine.kernel.softOfflinePage(zero)).toBe(0);
    expect(poisoned(zero)).toBe(true);
    expect(w.load(first + 9)).toBe(0n);
    w.sound();
  });

  test.each(['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'])(
    '%s: a page of hugetlb moves to one of its pool or to a fresh one, and leaves small pages',
    (mode) => {
      for (const [pool, shared] of [
        [2, false],
        [1, false],
        [2, true],
        [1, true],
      ] as const) {
        const w = world(mode);
        hugePoolSetting('/proc/sys/vm/nr_hugepages')?.write(w.machine.kernel, pool);
        const h = defaultHstate();
        const pages = hugePages(h);
        map(w, pages, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_HUGETLB);
        w.store(3, 33);
        const child = w.p.fork();
        expect(w.load(3, child)).toBe(33n);
        const before = w.frame(3);
        expect(offline(w, 3)).toBe(0);
        expect(poisoned(before)).toBe(true);
        expect(w.frame(3)).not.toBe(before);
        expect(w.frame(3, child)).toBe(w.frame(3));
        expect([w.load(3), w.load(3, child)]).toEqual([33n, 33n]);
        w.machine.enter();
        // The pool loses the page; a fresh one was no surplus.
        expect([get(h, Hstate.nr), get(h, Hstate.freePages), get(h, Hstate.surplus)]).toEqual([1, 0, 0]);
        w.sound();
        for (const process of [child, w.p]) expect(process.syscall('munmap', AT, pages * w.size)).toBe(0);
        expect([get(h, Hstate.nr), get(h, Hstate.freePages)]).toEqual([1, 1]);
        w.sound();
      }
    },
  );
});

describe('frames that must be free, or where no page may stay', () => {
  const PAGES = 2 ** 26 / 4096;
  const USED = 1500;

  /** Where RAM begins in a mode: its first frame. */
  function machineBase(mode: string): number {
    new Machine({ mode, ramBytes: 2 ** 26 }).enter();
    return basePfn;
  }

  /** Frames that allocContigRange gave go back. */
  function freeFrames(pfn: number, count: number): void {
    for (let i = 0; i < count; i++) setPageRefcount(pageOfPfn(pfn + i), 0);
    freeContigRange(pfn, pfn + count);
  }

  /** The last half of memory is an area for contiguous allocations, or the movable zone. */
  function divided(mode: string, area: 'cma' | 'movable', huge: boolean): World & { readonly first: number } {
    const base = machineBase(mode);
    const [middle, end] = [base + PAGES / 2, base + PAGES];
    const w = world(mode, {}, area === 'cma' ? { cma: [{ start: middle, end }], minFreeKbytes: 256 } : { movableStart: [middle], minFreeKbytes: 256 });
    if (huge) thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
    return { ...w, first: middle };
  }

  test.each([
    ['x86-4level', 'movable', false],
    ['x86-4level', 'cma', true],
    ['x86-4level', 'movable', true],
    ['arm64-4k-48', 'movable', true],
    ['s390x', 'movable', true],
  ] as const)('%s, %s (huge pages: %s): a pin that lasts moves the page out first, a short one does not', (mode, area, huge) => {
    const w = divided(mode, area, huge);
    const pages = huge ? spanPages(1) : 4;
    map(w, 2 * pages);
    const start = huge ? pages - ((AT / w.size) % pages) : 0;
    for (let i = 0; i < pages; i++) w.store(start + i, 7 + i);
    const inside = (): boolean[] => [0, 1, pages - 1].map((i) => w.frame(start + i) >= w.first);
    // Movable memory comes from there first.
    if (area === 'movable') expect(inside()).toEqual([true, true, true]);
    const before = inside();
    const vector = allocPageVector();
    const pin = (flags: number): number => w.machine.kernel.pinUserPagesFast(w.p.mm, AT / w.size + start, 4, flags | FOLL_WRITE, vector);
    expect(pin(0)).toBe(4);
    expect(inside()).toEqual(before);
    if (before[0]) expect(pin(FOLL_LONGTERM)).toBe(ENOMEM);
    w.machine.kernel.unpinUserPages(vector, 0);
    expect(pin(FOLL_LONGTERM)).toBe(4);
    expect(inside().slice(0, 2)).toEqual([false, false]);
    expect(w.same(start, pages, 7)).toBe(true);
    // As a whole where the architecture can move one so, else what was pinned alone.
    const whole = pageIsCompound(w.p.translate(AT / w.size + start, 0) as number);
    expect(whole).toBe(huge && mode !== 's390x');
    w.machine.kernel.unpinUserPages(vector, 0);
    freePageVector(vector);
    w.sound();
  });

  test('a range in use is emptied, but for what somebody holds; its neighbours keep what they have', () => {
    const w = divided('x86-4level', 'cma', false);
    map(w, USED);
    for (let i = 0; i < USED; i++) w.store(i, i);
    const area = get(memory(), Memory.cmaAreas);
    const inside = (from: number, end: number): number[] => [...Array(USED).keys()].filter((i) => w.frame(i) >= from && w.frame(i) < end);
    expect(inside(w.first, w.first + PAGES / 2).length).toBeGreaterThan(300);
    // One that is held makes its place useless, and no other.
    const held = inside(w.first, w.first + PAGES / 2)[0];
    const vector = allocPageVector();
    expect(w.machine.kernel.getUserPagesFast(w.p.mm, AT / w.size + held, 1, 0, vector)).toBe(1);
    const frame = w.frame(held);
    expect(w.machine.kernel.allocContigRangeMoving(frame - (frame % 512), frame - (frame % 512) + 512)).toBe(EBUSY);
    expect(w.frame(held)).toBe(frame);
    const got = w.machine.kernel.cmaAllocMoving(area, 512);
    expect(got).toBeGreaterThanOrEqual(w.first);
    expect(frame >= got && frame < got + 512).toBe(false);
    expect(inside(got, got + 512)).toEqual([]);
    expect(w.same(0, USED, 0)).toBe(true);
    w.machine.enter();
    expect(cmaRelease(area, got, 512)).toBe(true);
    w.machine.kernel.putUserPages(vector);
    freePageVector(vector);
    w.sound();
    expect(w.machine.kernel.allocContigRangeMoving(frame - (frame % 512), frame - (frame % 512) + 512)).toBe(0);
    freeFrames(frame - (frame % 512), 512);
    w.sound();
  });
});

describe.each(nightly ? ['x86-4level', 'arm64-4k-48', 'ppc64-radix-4k'] : ['x86-4level', 'arm64-4k-48'])('%s: memory that has failed', (mode) => {
  const poison = ({ p, size }: World, i: number): number => p.syscall('madvise', AT + i * size, size, MADV_HWPOISON);
  const signalOf = (w: World, i: number, shift = Math.log2(w.size)): object => ({ signal: 7, code: 4, address: BigInt(AT + i * w.size), addressLsb: shift });

  test('anonymous memory is lost to all that share it: the one who asked is told, the others when they come to it', () => {
    const w = world(mode);
    map(w, 3);
    for (const i of [0, 1, 2]) w.store(i, i);
    const child = w.p.fork();
    const frame = w.frame(1);
    expect(poison(w, 1)).toBe(0);
    expect(w.p.takeSignal()).toEqual(signalOf(w, 1));
    expect(w.p.takeSignal()).toBeUndefined();
    expect(child.takeSignal()).toBeUndefined();
    expect(poisoned(frame)).toBe(true);
    w.sound();
    for (const process of [w.p, child]) expect(process.load(BigInt(AT + w.size), 1)).toEqual(signalOf(w, 1));
    expect(get(w.p.mm, Mm.rss + MM_ANONPAGES)).toBe(2);
    // Known for good, also to a child of later; get_user_pages() says −EFAULT, MADV_POPULATE −EHWPOISON.
    const late = w.p.fork();
    expect(late.store(BigInt(AT + w.size), 1, 1n)).toEqual(signalOf(w, 1));
    expect(poison(w, 1)).toBe(EFAULT);
    expect(w.p.syscall('madvise', AT, 3 * w.size, MADV_POPULATE_READ)).toBe(EHWPOISON);
    expect([w.load(0), w.load(2)]).toEqual([0n, 2n]);
    w.sound();
    // A fresh mapping has fresh memory.
    map(w, 3);
    w.store(1, 5);
    expect(w.load(1)).toBe(5n);
    for (const process of [late, child, w.p]) process.exit();
    expect(poisoned(frame)).toBe(true);
    w.sound();
  });

  test('shared memory: the page stays where it was, poisoned, for faults and for read and write', () => {
    const w = world(mode);
    const fd = file(w, 'memfd', 2);
    map(w, 2, MAP_SHARED, fd);
    w.store(0, 3);
    w.store(1, 4);
    expect(poison(w, 1)).toBe(0);
    expect(w.p.takeSignal()).toEqual(signalOf(w, 1));
    w.sound();
    expect(w.p.load(BigInt(AT + w.size), 1)).toEqual(signalOf(w, 1));
    expect(w.p.syscall('munmap', AT, 2 * w.size)).toBe(0);
    map(w, 2, MAP_SHARED, fd);
    expect(w.load(0)).toBe(3n);
    expect(w.p.load(BigInt(AT + w.size), 1)).toEqual(signalOf(w, 1));
    expect(w.p.syscall('pread64', fd, AT, 8, w.size)).toBe(EIO);
    expect(w.p.syscall('pwrite64', fd, AT, 8, w.size)).toBe(EIO);
    expect(w.p.syscall('pread64', fd, AT, 8, 0)).toBe(8);
    w.sound();
    // The file can be rid of it.
    expect(w.p.syscall('ftruncate', fd, w.size)).toBe(0);
    expect(w.p.syscall('ftruncate', fd, 2 * w.size)).toBe(0);
    expect(w.load(1)).toBe(0n);
    w.sound();
  });

  test('a file of a disk: what is clean is read again, and nobody is told; what was written is lost', () => {
    const w = world(mode);
    const fd = file(w, 'disk', 2);
    map(w, 2, MAP_SHARED, fd);
    for (const i of [0, 1]) w.store(i, 8 + i);
    expect(w.p.syscall('msync', AT, 2 * w.size, 4)).toBe(0);
    w.store(1, 99);
    const frames = [w.frame(0), w.frame(1)];
    expect([poison(w, 0), w.p.takeSignal()]).toEqual([0, undefined]);
    expect([poison(w, 1), w.p.takeSignal()]).toEqual([0, signalOf(w, 1)]);
    expect(frames.map(poisoned)).toEqual([true, true]);
    w.sound();
    expect([w.load(0), w.p.load(BigInt(AT + w.size), 1)]).toEqual([8n, signalOf(w, 1)]);
    // Who maps it anew has what the disk has.
    map(w, 2, MAP_SHARED, fd);
    expect([w.load(0), w.load(1)]).toEqual([8n, 9n]);
    w.sound();
  });

  test('a huge page is split, and loses the one page; of hugetlb all of it is lost, and its good frames are free', () => {
    const w = world(mode);
    thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
    const pages = spanPages(1);
    map(w, 2 * pages);
    const first = pages - ((AT / w.size) % pages);
    for (let i = 0; i < 9; i++) w.store(first + i, 100 + i);
    const frame = w.frame(first + 4);
    expect(poison(w, first + 4)).toBe(0);
    expect(w.p.takeSignal()).toEqual(signalOf(w, first + 4));
    expect(poisoned(frame)).toBe(true);
    expect([w.load(first + 3), w.load(first + 5)]).toEqual([103n, 105n]);
    w.sound();

    const h = world(mode);
    hugePoolSetting('/proc/sys/vm/nr_hugepages')?.write(h.machine.kernel, 2);
    const size = hugePages(defaultHstate());
    const shift = Math.log2(size * h.size);
    map(h, size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
    h.store(7, 1);
    const huge = h.frame(7);
    expect(poison(h, 7)).toBe(0);
    expect(h.p.takeSignal()).toEqual(signalOf(h, 7, shift));
    expect(h.p.load(BigInt(AT), 1)).toEqual(signalOf(h, 0, shift));
    h.machine.enter();
    expect(get(defaultHstate(), Hstate.nr)).toBe(1);
    expect(poisoned(huge)).toBe(true);
    h.sound();
    expect(h.p.syscall('munmap', AT, size * h.size)).toBe(0);
    h.sound();
  });
});
