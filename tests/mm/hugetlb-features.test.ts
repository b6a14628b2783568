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
import { get } from '../../src/memory/heap.ts';
import { PG_ANON_EXCLUSIVE } from '../../src/memory/page-flags.ts';
import { pageFlags, wordShift, words } from '../../src/memory/state.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, PageVector } from '../../src/mm/gup-types.ts';
import { hugePteLockptr } from '../../src/mm/huge-leaf.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { pteLockptr, upperLock } from '../../src/mm/pgtable.ts';
import { Mm } from '../../src/mm/types.ts';

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

  test('pins of any part of a page are pins of its head, which alone says that it is exclusive', () => {
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
          }
  });
});

describe('references that others have do not keep a private page from being written to in place', () => {
  /** What the reader of a reference sees after the other process has stored 2: 1 in small pages. vmsplice() is what takes references so. */
  function seen(taker: 'child' | 'parent', when: 'before' | 'after', strict: boolean): number {
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
    const [mine, other] = taker === 'child' ? [child, p] : [p, child];
    if (when === 'after') take(mine);
    expect(mine.syscall('munmap', at, bytes)).toBe(0);
    expect(other.store(BigInt(at), 4, 2n)).toBeUndefined();
    machine.enter();
    const value = words[get(vector, PageVector.pages) << wordShift];
    kernel.putUserPages(vector);
    return value;
  }

  test.each([
    ['child', 'after'],
    ['parent', 'before'],
    ['parent', 'after'],
  ] as const)('the %s takes it %s fork() and unmaps the page; the other writes', (taker, when) => {
    expect([seen(taker, when, false), seen(taker, when, true)]).toEqual([2, 1]);
  });

  test('the child takes it after fork(), the parent takes its rights away and back, the child unmaps the page; the parent writes', () => {
    const { machine, p, bytes, at } = make({ mode: 'x86-4level', kilobytes: 2048 }, 3);
    expect(p.syscall('mmap', at, bytes, 3, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)).toBe(at);
    expect(p.store(BigInt(at), 4, 1n)).toBeUndefined();
    const child = p.fork();
    machine.enter();
    const vector = allocPageVector();
    for (const prot of [1, 3]) expect(p.syscall('mprotect', at, bytes, prot)).toBe(0);
    machine.enter();
    expect(machine.kernel.getUserPagesFast(child.mm, at / machine.pageSize, 1, 0, vector)).toBe(1);
    expect(child.syscall('munmap', at, bytes)).toBe(0);
    expect(p.store(BigInt(at), 4, 2n)).toBeUndefined();
    machine.enter();
    expect(words[get(vector, PageVector.pages) << wordShift]).toBe(2);
    machine.kernel.putUserPages(vector);
  });
});
