/** hugetlb in every paging mode that has huge pages, in each of its sizes: pools, reservations, faults, fork, truncation; page tables and pools agree afterwards. */
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { get } from '../../src/memory/heap.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';

const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_HUGETLB = 0x40000;
const SIGBUS = 7;
const [EINVAL, ENOMEM] = [-22, -12];
const nightly = process.env.PXD_NIGHTLY === '1';

/** Sizes of every mode that a machine of this much RAM can hold several of. */
const LARGEST = 64 * 2 ** 20;

interface Size {
  readonly mode: string;
  readonly kilobytes: number;
}

const sizes: Size[] = allModes().flatMap(({ name }) => {
  try {
    codecFor(name);
  } catch {
    return [];
  }
  const machine = new Machine({ mode: name, ramBytes: 2048 * 2 ** codecFor(name).pageShift * 4 });
  machine.enter();
  return hugePools(machine.pageSize / 1024)
    .filter(({ kilobytes }) => kilobytes * 1024 <= LARGEST)
    .map(({ kilobytes }) => ({ mode: name, kilobytes }));
});
const four = ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39'];
const chosen = nightly ? sizes : sizes.filter(({ mode }) => four.includes(mode));

class Pool {
  readonly machine: Machine;
  readonly p: Process;
  readonly bytes: number;
  readonly home: number;
  readonly flags: number;
  readonly #kilobytes: number;

  constructor({ mode, kilobytes }: Size, pages: number) {
    this.machine = new Machine({ mode, ramBytes: Math.max(16 * kilobytes * 1024, 2 ** 27) });
    this.p = this.machine.spawn();
    this.bytes = kilobytes * 1024;
    this.#kilobytes = kilobytes;
    this.machine.enter();
    this.machine.kernel.setMaxHugePages(this.pool, pages);
    const top = get(this.p.mm, Mm.taskSize) * this.machine.pageSize;
    this.home = Math.floor(top / 4 / this.bytes) * this.bytes;
    this.flags = MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (Math.log2(this.bytes) << 26);
  }

  get pool(): number {
    return poolOf(this.#kilobytes, this.machine.pageShift);
  }

  /** Pages, free ones, reserved ones, surplus ones; everything else about the machine is in order. */
  get state(): number[] {
    this.machine.enter();
    expect(checkMachine({ leaks: true })).toEqual([]);
    const { nr, free, resv, surplus } = hugePools(this.machine.pageSize / 1024).find((p) => p.kilobytes === this.#kilobytes) as typeof hugePools extends (
      n: number,
    ) => (infer P)[]
      ? P
      : never;
    return [nr, free, resv, surplus];
  }

  at(page: number, offset = 0): number {
    return this.home + page * this.bytes + offset;
  }

  map(page: number, pages: number, sharing: number, more = 0): number {
    return this.p.syscall('mmap', this.at(page), pages * this.bytes, 3, sharing | this.flags | more, -1, 0);
  }

  write(page: number, value: number, who = this.p, offset = 0): number {
    return who.store(BigInt(this.at(page, offset)), 1, BigInt(value))?.signal ?? 0;
  }

  read(page: number, who = this.p, offset = 0): number | string {
    const value = who.load(BigInt(this.at(page, offset)), 1);
    return typeof value === 'bigint' ? Number(value) : `signal ${value.signal}`;
  }

  fork(): Process {
    this.machine.enter();
    return this.machine.processAt(this.machine.kernel.sysFork(this.p.ref));
  }
}

test('the modes have the sizes that Linux has', () => {
  const of = (mode: string): number[] => {
    const machine = new Machine({ mode, ramBytes: 2 ** 27 });
    machine.enter();
    return hugePools(machine.pageSize / 1024).map((p) => p.kilobytes);
  };
  expect(of('x86-4level')).toEqual([2048, 1048576]);
  expect(of('x86-2level')).toEqual([4096]);
  expect(of('s390x')).toEqual([1024, 2097152]);
  expect(of('arm64-4k-48')).toEqual([64, 2048, 32768, 1048576]);
});

describe.each(chosen)('$mode, pages of $kilobytes KiB', (size) => {
  test('reservations: promised at mmap, used by faults, given back', () => {
    const pool = new Pool(size, 4);
    expect(pool.state).toEqual([4, 4, 0, 0]);
    expect(pool.map(0, 3, MAP_PRIVATE)).toBe(pool.home);
    expect(pool.state).toEqual([4, 4, 3, 0]);
    expect(pool.map(8, 2, MAP_PRIVATE)).toBe(ENOMEM);
    expect(pool.write(1, 7, pool.p, pool.bytes - 1)).toBe(0);
    expect(pool.read(1, pool.p, pool.bytes - 1)).toBe(7);
    expect(pool.read(0)).toBe(0);
    expect(pool.state).toEqual([4, 2, 1, 0]);
    // Parts of huge pages are no business of anybody's.
    expect(pool.p.syscall('munmap', pool.at(1), pool.machine.pageSize)).toBe(EINVAL);
    expect(pool.p.syscall('mprotect', pool.at(1), pool.machine.pageSize, 1)).toBe(EINVAL);
    expect(pool.p.syscall('mremap', pool.at(0), pool.bytes, 2 * pool.bytes, 1, 0)).toBe(EINVAL);
    // Thrown away, the page is promised again.
    expect(pool.p.syscall('madvise', pool.at(1), pool.bytes, 4)).toBe(0);
    expect(pool.state).toEqual([4, 3, 2, 0]);
    expect(pool.read(1, pool.p, pool.bytes - 1)).toBe(0);
    expect(pool.p.syscall('munmap', pool.home, 3 * pool.bytes)).toBe(0);
    expect(pool.state).toEqual([4, 4, 0, 0]);
    expect(get(pool.p.mm, Mm.hugetlbPages)).toBe(0);
  });

  test('without a reservation an empty pool is SIGBUS, and overcommit lends pages', () => {
    const pool = new Pool(size, 1);
    expect(pool.map(0, 2, MAP_PRIVATE, MAP_NORESERVE)).toBe(pool.home);
    expect(pool.write(0, 1)).toBe(0);
    expect(pool.write(1, 2)).toBe(SIGBUS);
    pool.machine.kernel.setOvercommitHugePages(pool.pool, 1);
    expect(pool.write(1, 2)).toBe(0);
    expect(pool.state).toEqual([2, 0, 0, 1]);
    expect(pool.p.syscall('munmap', pool.home, 2 * pool.bytes)).toBe(0);
    expect(pool.state).toEqual([1, 1, 0, 0]);
  });

  test('S23, fork: the parent writes whatever happens, the child while there are pages', () => {
    const pool = new Pool(size, 2);
    expect(pool.map(0, 1, MAP_PRIVATE)).toBe(pool.home);
    expect(pool.write(0, 1)).toBe(0);
    const child = pool.fork();
    expect(pool.write(0, 5, child)).toBe(0);
    expect([pool.read(0), pool.read(0, child)]).toEqual([1, 5]);
    const second = pool.fork();
    expect(pool.state).toEqual([2, 0, 0, 0]);
    // Nobody has promised the child a page for a copy; the one that it shares it goes on reading.
    expect([pool.write(0, 7, second), pool.read(0, second)]).toEqual([SIGBUS, 1]);
    // No page for a copy: the child loses the one that it shares.
    expect(pool.write(0, 6)).toBe(0);
    expect([pool.read(0), pool.read(0, second), pool.write(0, 7, second)]).toEqual([6, `signal ${SIGBUS}`, SIGBUS]);
    second.exit(0);
    child.exit(0);
    expect(pool.state).toEqual([2, 1, 0, 0]);
  });

  test('shared memory: one page for all, with the file', () => {
    const pool = new Pool(size, 3);
    expect(pool.map(0, 2, MAP_SHARED)).toBe(pool.home);
    const child = pool.fork();
    expect(pool.write(0, 9, child)).toBe(0);
    expect(pool.read(0)).toBe(9);
    expect(pool.state).toEqual([3, 2, 1, 0]);
    expect(pool.p.syscall('munmap', pool.home, 2 * pool.bytes)).toBe(0);
    expect(pool.state).toEqual([3, 2, 1, 0]);
    child.exit(0);
    expect(pool.state).toEqual([3, 3, 0, 0]);
  });

  test('mremap and mprotect', () => {
    const pool = new Pool(size, 3);
    expect(pool.map(0, 2, MAP_PRIVATE)).toBe(pool.home);
    expect([pool.write(0, 1), pool.write(1, 2)]).toEqual([0, 0]);
    expect(pool.p.syscall('mremap', pool.at(0), 2 * pool.bytes, 2 * pool.bytes, 3, pool.at(6))).toBe(pool.at(6));
    expect([pool.read(6), pool.read(7)]).toEqual([1, 2]);
    expect(pool.p.syscall('mprotect', pool.at(7), pool.bytes, 1)).toBe(0);
    expect([pool.write(6, 3), pool.write(7, 4)]).toEqual([0, 11]);
    expect(pool.p.syscall('mprotect', pool.at(7), pool.bytes, 3)).toBe(0);
    expect([pool.write(7, 4), pool.read(7)]).toEqual([0, 4]);
    expect(pool.state).toEqual([3, 1, 0, 0]);
  });
});
