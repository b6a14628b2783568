/** What else is said of hugetlb: VMAs of its own, locks that other walkers take, flags of the head alone, pins of every size, references that a copy does not ask for. */
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { pageOfEntry } from '../../src/kernel/arch.ts';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { hugeSizes, poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { pageFolio } from '../../src/memory/folio.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_ANON_EXCLUSIVE } from '../../src/memory/page-flags.ts';
import { pageFlags, pfnOfPage, wordShift, words } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, PageVector } from '../../src/mm/gup-types.ts';
import { hugePteLockptr } from '../../src/mm/huge-leaf.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { mkPteMarker, PTE_MARKER_POISONED, pteLockptr, upperLock } from '../../src/mm/pgtable.ts';
import { pageAnonExclusive } from '../../src/mm/rmap.ts';
import { Globals, Mm, Process as ProcessStruct } from '../../src/mm/types.ts';
import { traced } from './support/traced.ts';

const nightly = process.env.PXD_NIGHTLY === '1';
const LARGEST = 64 * 2 ** 20;

interface Size {
  readonly mode: string;
  readonly kilobytes: number;
}

const modes = nightly ? allModes().map(({ name }) => name) : ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc-8xx-4k'];
const sizes: Size[] = modes.flatMap((mode) => {
  try {
    const codec = codecFor(mode);
    const machine = new Machine({ mode, ramBytes: 8192 * 2 ** codec.pageShift });
    machine.enter();
    return hugeSizes(codec)
      .map(({ order }) => ({ mode, kilobytes: 2 ** (order + codec.pageShift - 10) }))
      .filter(({ kilobytes }) => kilobytes * 1024 <= LARGEST);
  } catch {
    return [];
  }
});

const [MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB] = [1, 2, 0x10, 0x20, 0x40000];
const MFD_HUGETLB = 4;
const shiftOf = (kilobytes: number): number => Math.log2(kilobytes) + 10;

/** A machine with some pages of a size in its pool. `at`: where tests map. */
function make({ mode, kilobytes }: Size, pages: number, strict = false): { machine: Machine; p: Process; bytes: number; at: number } {
  const bytes = kilobytes * 1024;
  const machine = new Machine({ mode, ramBytes: Math.max(16 * bytes, 2 ** 25), program: strict ? 'straight' : 'direct' });
  const p = machine.spawn();
  machine.enter();
  machine.kernel.setMaxHugePages(poolOf(kilobytes, machine.pageShift), pages);
  if (strict) {
    makeCpus(1);
    throwSwitches(['hugetlbCowStrict']);
  }
  const top = get(p.mm, Mm.taskSize) * machine.pageSize;
  return { machine, p, bytes, at: Math.floor(top / 4 / bytes) * bytes };
}

/** A file of hugetlb of a size. */
function hugeFile(p: Process, page: number, kilobytes: number, bytes: number): number {
  const name = 0x20000;
  expect(p.syscall('mmap', name, page, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)).toBe(name);
  p.write(BigInt(name), new TextEncoder().encode('huge\0'));
  const fd = p.syscall('memfd_create', name, MFD_HUGETLB | (shiftOf(kilobytes) << 26)) as number;
  expect(fd).toBeGreaterThanOrEqual(0);
  expect(p.syscall('ftruncate', fd, bytes)).toBe(0);
  return fd;
}

const sound = (machine: Machine): string[] => {
  machine.enter();
  return checkMachine({ leaks: true });
};

describe.each(sizes)('$mode, $kilobytes KiB', (size) => {
  test('a file of memfd_create() of the size is mapped, and a fault makes one page of it', () => {
    const { machine, p, bytes, at } = make(size, 2);
    const fd = hugeFile(p, machine.pageSize, size.kilobytes, bytes);
    expect(p.syscall('mmap', at, bytes, 3, MAP_SHARED | MAP_FIXED, fd, 0)).toBe(at);
    expect(p.store(BigInt(at + bytes - 4), 4, 7n)).toBeUndefined();
    expect(p.load(BigInt(at + bytes - 4), 4)).toBe(7n);
    machine.enter();
    expect(get(p.mm, Mm.hugetlbPages)).toBe(bytes / machine.pageSize);
    // Another mapping of the same file shows the same page.
    expect(p.syscall('mmap', at + 4 * bytes, bytes, 1, MAP_SHARED | MAP_FIXED, fd, 0)).toBe(at + 4 * bytes);
    expect(p.load(BigInt(at + 5 * bytes - 4), 4)).toBe(7n);
    expect(sound(machine)).toEqual([]);
  });

  test('mappings of huge pages and others never are one VMA', () => {
    const { machine, p, bytes, at } = make(size, 2);
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
    const huge = flags | MAP_HUGETLB | (shiftOf(size.kilobytes) << 26);
    const map = (i: number, how: number): unknown => expect(p.syscall('mmap', at + i * bytes, bytes, 3, how, -1, 0)).toBe(at + i * bytes);
    const vmas = (): number[][] =>
      viewProcess(machine, p.ref, 0)
        .vmas.map(({ start, end }) => [(Number(start) * machine.pageSize - at) / bytes, (Number(end) * machine.pageSize - at) / bytes])
        .filter(([start, end]) => end > 0 && start < 3);
    map(0, flags);
    map(1, huge);
    map(2, flags);
    expect(vmas()).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    // With small pages in the middle all three are one.
    map(1, flags);
    expect(vmas()).toEqual([[0, 3]]);
    expect(sound(machine)).toEqual([]);
  });

  test('the lock of an entry is the one that other walkers of its table take', () => {
    const { machine, p, bytes, at } = make(size, 1);
    expect(p.syscall('mmap', at, bytes, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB | (shiftOf(size.kilobytes) << 26), -1, 0)).toBe(at);
    expect(p.store(BigInt(at), 4, 1n)).toBeUndefined();
    machine.enter();
    const { level } = hugeSizes(machine.codec).find(({ order }) => order === shiftOf(size.kilobytes) - machine.pageShift) ?? { level: -1 };
    const ptep = machine.kernel.entryPointer(p.mm, at / machine.pageSize, level);
    const table = pageOfEntry(ptep, level);
    const lock = hugePteLockptr(poolOf(size.kilobytes, machine.pageShift), p.mm, ptep);
    expect(lock).toBe(level === 0 ? pteLockptr(ptep) : upperLock(p.mm, table, level));
    expect(lock).not.toBe(0);
  });

  test('S01, F194, F265: pins of any part of a page, R/W and R/O, long or not, of private pages up to 32M and more, are pins of its head, which alone says that it is exclusive; to ask a tail is a bug', () => {
    for (const shared of [false, true])
      for (const longterm of [0, FOLL_LONGTERM])
        for (const write of [0, FOLL_WRITE])
          for (const fast of [false, true]) {
            const { machine, p, bytes, at } = make(size, 2);
            const { kernel, pageSize } = machine;
            const fd = hugeFile(p, pageSize, size.kilobytes, bytes);
            expect(p.syscall('mmap', at, bytes, 3, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd, 0)).toBe(at);
            expect(p.store(BigInt(at), 4, 1n)).toBeUndefined();
            // Not the first page: a tail of the folio, in an entry of its own where a group maps it.
            const last = bytes / pageSize - 1;
            machine.enter();
            const vector = allocPageVector();
            const pin = fast ? kernel.pinUserPagesFast : kernel.pinUserPagesUnlocked;
            expect(pin(p.mm, at / pageSize + last, 1, write | longterm, vector)).toBe(1);
            const tail = get(vector, PageVector.pages);
            expect(pin(p.mm, at / pageSize, 1, write | longterm, allocPageVector())).toBe(1);
            expect(pageFlags[tail] & PG_ANON_EXCLUSIVE).toBe(0);
            // The pin and the process go on seeing the same memory.
            expect(p.store(BigInt(at + last * pageSize), 4, 9n)).toBeUndefined();
            machine.enter();
            expect(words[tail << wordShift]).toBe(9);
            expect(tail).not.toBe(pageFolio(tail));
            expect(pageAnonExclusive(pageFolio(tail))).toBe(!shared);
            expect(() => pageAnonExclusive(tail)).toThrow(/head's to say/);
            // One entry of many asks the page that it maps, a tail; and of an entry that is not writable alone.
            if (write === 0 || shared || get(poolOf(size.kilobytes, machine.pageShift), Hstate.entries) === 1) continue;
            expect(p.syscall('mprotect', at, bytes, 1)).toBe(0);
            machine.enter();
            makeCpus(1);
            throwSwitches(['gupAsksTail']);
            expect(() => traced(fast ? 'pinUserPagesFast' : 'pinUserPagesUnlocked', p.mm, at / pageSize + last, 1, longterm, vector)).toThrow(/head's to say/);
          }
  });
});

describe('references that others have do not keep a private page from being written to in place', () => {
  /** What the reader of a reference sees after the other process has stored 2: 1 in small pages. vmsplice() is what takes references so. */
  function seen(taker: 'child' | 'parent', when: 'before' | 'after', strict: boolean, protect = false): number {
    const { machine, p, bytes, at } = make({ mode: 'x86-4level', kilobytes: 2048 }, 3, strict);
    const { kernel, pageSize } = machine;
    expect(p.syscall('mmap', at, bytes, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)).toBe(at);
    expect(p.store(BigInt(at), 4, 1n)).toBeUndefined();
    machine.enter();
    const vector = allocPageVector();
    const take = (who: Process): void => {
      machine.enter();
      expect(kernel.getUserPagesFast(who.mm, at / pageSize, 1, 0, vector)).toBe(1);
    };
    if (when === 'before') take(p);
    const child = p.fork();
    if (protect) for (const prot of [1, 3]) expect(p.syscall('mprotect', at, bytes, prot)).toBe(0);
    const [mine, other] = taker === 'child' ? [child, p] : [p, child];
    if (when === 'after') take(mine);
    expect(mine.syscall('munmap', at, bytes)).toBe(0);
    expect(other.store(BigInt(at), 4, 2n)).toBeUndefined();
    machine.enter();
    const value = words[get(vector, PageVector.pages) << wordShift];
    kernel.putUserPages(vector);
    return value;
  }

  // The four of the cow selftest that have always failed with hugetlb; they pass where references count.
  test.each([
    ['child', 'after'],
    ['parent', 'before'],
    ['parent', 'after'],
  ] as const)('the %s takes it %s fork() and unmaps the page; the other writes', (taker, when) => {
    expect([seen(taker, when, false), seen(taker, when, true)]).toEqual([2, 1]);
  });

  test('the child takes it after fork(), the parent takes its rights away and back, the child unmaps the page; the parent writes', () => {
    expect([seen('child', 'after', false, true), seen('child', 'after', true, true)]).toEqual([2, 1]);
  });
});

describe('frames that shall not be used any longer', () => {
  const MADV_HWPOISON = 100;
  const MADV_SOFT_OFFLINE = 101;
  const [EPERM, ENXIO, EFAULT, EBUSY, EINVAL] = [-1, -6, -14, -16, -22];
  const HUGE = 2 ** 21;
  const AT = 0x1000_0000;
  const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB;

  /** A machine with a pool of pages of 2 MiB. */
  function configured(hugepages: string): { machine: Machine; p: Process; pool: () => number[]; free: () => number } {
    const machine = new Machine({ ramBytes: 2 ** 27, hugepages, settings: { memoryFailure: 1 } });
    const p = machine.spawn();
    const h = poolOf(2048, 12);
    return {
      machine,
      p,
      pool: () => {
        machine.enter();
        return [get(h, Hstate.nr), get(h, Hstate.freePages), get(h, Hstate.resv), get(h, Hstate.surplus)];
      },
      free: () => {
        machine.enter();
        return get(h, Hstate.free);
      },
    };
  }

  test.each(['', 'hugetlb_free_vmemmap=on '])('a free huge page loses the frame, and is small pages from then on (%s)', (more) => {
    const { machine, pool, free } = configured(`${more}hugepages=3`);
    const pfn = pfnOfPage(free()) + 77;
    expect(machine.kernel.softOfflinePage(pfn)).toBe(0);
    expect(pool()).toEqual([2, 2, 0, 0]);
    expect(machine.kernel.softOfflinePage(pfn)).toBe(0);
    expect(pool()).toEqual([2, 2, 0, 0]);
    expect(sound(machine)).toEqual([]);
    // Nobody gets it: not with all memory there is, and not as part of a huge page.
    machine.kernel.setMaxHugePages(poolOf(2048, 12), 64);
    const p = machine.spawn();
    const pages = 2 ** 27 / 4096;
    expect(p.syscall('mmap', AT, pages * 4096, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)).toBe(AT);
    const got = new Set<number>();
    for (let i = 0; i < pages && p.fault(AT / 4096 + i, 'write') === undefined; i++) got.add(pfnOfPage(p.translate(AT / 4096 + i, 1) as number));
    expect(got.has(pfn)).toBe(false);
    // Its neighbours are had, since no huge page can be made of them.
    expect([...got].filter((frame) => frame >= pfn - 77 && frame < pfn - 77 + 512).length).toBeGreaterThan(100);
    expect(machine.kernel.softOfflinePage(2 ** 27 / 4096)).toBe(ENXIO);
  });

  test('what is promised stays; what is in use moves, and where all others are promised to a page from outside', () => {
    const { machine, p, pool, free } = configured('hugepages=2');
    expect(p.syscall('mmap', AT, 2 * HUGE, 3, flags, -1, 0)).toBe(AT);
    expect(pool()).toEqual([2, 2, 2, 0]);
    expect(machine.kernel.softOfflinePage(pfnOfPage(free()))).toBe(EBUSY);
    expect(p.store(BigInt(AT), 1, 7n)).toBeUndefined();
    for (const offset of [0, 5 * 4096]) expect(p.syscall('madvise', AT + offset, 4096, MADV_SOFT_OFFLINE)).toBe(0);
    expect(pool()).toEqual([2, 1, 1, 0]);
    expect(p.load(BigInt(AT), 1)).toBe(7n);
    expect(sound(machine)).toEqual([]);
  });

  test('without memory for its struct pages a page stays in the pool, as it was', () => {
    const { machine, pool, free } = configured('hugetlb_free_vmemmap=on hugepages=2');
    const page = free();
    for (const n of [1, 2, 8]) {
      set(globals, Globals.failAllocation, n);
      expect(machine.kernel.softOfflinePage(pfnOfPage(page))).toBe(EBUSY);
      set(globals, Globals.failAllocation, 0);
      expect(pool()).toEqual([2, 2, 0, 0]);
      expect(sound(machine)).toEqual([]);
    }
    expect(machine.kernel.softOfflinePage(pfnOfPage(page))).toBe(0);
    expect(pool()).toEqual([1, 1, 0, 0]);
    expect(sound(machine)).toEqual([]);
  });

  test('madvise says no to who may not, to what is no memory, and where the kernel was built without', () => {
    const { p } = configured('hugepages=2');
    expect(p.syscall('mmap', AT, HUGE, 3, flags, -1, 0)).toBe(AT);
    for (const advice of [MADV_SOFT_OFFLINE, MADV_HWPOISON]) {
      expect(p.syscall('madvise', AT + 1, 4096, advice)).toBe(EINVAL);
      expect(p.syscall('madvise', AT, 0, advice)).toBe(0);
      expect(p.syscall('madvise', AT + HUGE, 4096, advice)).toBe(EFAULT);
      expect(p.syscall('madvise', AT, 4096, advice)).toBe(0);
    }
    set(p.ref, ProcessStruct.capsLow, 0);
    for (const advice of [MADV_HWPOISON, MADV_SOFT_OFFLINE]) {
      expect(p.syscall('madvise', AT + 1, 4096, advice)).toBe(EINVAL);
      expect(p.syscall('madvise', AT, 0, advice)).toBe(0);
      expect(p.syscall('madvise', AT, 4096, advice)).toBe(EPERM);
      expect(p.syscall('madvise', AT + HUGE, 4096, advice)).toBe(EPERM);
    }
    const other = new Machine({ ramBytes: 2 ** 26 }).spawn();
    for (const advice of [MADV_HWPOISON, MADV_SOFT_OFFLINE]) expect(other.syscall('madvise', AT, 4096, advice)).toBe(EINVAL);
  });

  test.each(sizes)('$mode, $kilobytes KiB: the signal of a poisoned page tells its size', ({ mode, kilobytes }) => {
    const { machine, p, bytes, at } = make({ mode, kilobytes }, 1);
    expect(p.syscall('mmap', at, bytes, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB | (shiftOf(kilobytes) << 26), -1, 0)).toBe(at);
    expect(p.load(BigInt(at), 1)).toBe(0n);
    machine.enter();
    // Without CONFIG_MEMORY_FAILURE it would be the signal of what is not there.
    set(globals, Globals.memoryFailure, 1);
    const vpn = at / machine.pageSize;
    const h = poolOf(kilobytes, machine.pageShift);
    const ptep = machine.kernel.hugePteOffset(p.mm, vpn, h);
    machine.kernel.hugePtepGetAndClear(h, ptep);
    machine.kernel.setHugePteAt(h, ptep, mkPteMarker(PTE_MARKER_POISONED));
    machine.tlb.flush(p.mm, vpn, vpn + bytes / machine.pageSize);
    const last = at + bytes - machine.pageSize;
    expect(p.store(BigInt(last), 1, 1n)).toEqual({ signal: 7, code: 4, address: BigInt(last), addressLsb: shiftOf(kilobytes) });
  });
});
