/** The rows of the feature table on the page cache that the machine shows. What Linux answers is recorded in tests/mm. */
import { describe, expect, it } from 'vitest';
import { operations, pending } from '../../src/kernel/op.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PAGE, type PageView } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import * as mm from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { File, Inode, Process as ProcessStruct } from '../../src/mm/types.ts';

const P = 4096;
const SHARED = 0x2000_0000;
const PRIVATE = 0x2800_0000;
const BUFFER = 0x3000_0000;

/** A process with a file of some pages, mapped shared and private. */
function start(kind: 'memfd' | 'disk', pages: number): { p: Process; fd: number } {
  const p = new Machine({ ramBytes: 2 ** 26 }).spawn();
  expect(p.syscall('mmap', BUFFER, 2 * P, 3, 0x32, -1, 0)).toBe(BUFFER);
  p.write(BigInt(BUFFER), new TextEncoder().encode('/var/tmp/pxd/f\0'));
  const fd = kind === 'disk' ? p.syscall('open', BUFFER, 0o102, 0o600) : p.syscall('memfd_create', BUFFER + 13, 0);
  expect(fd).toBe(0);
  expect(p.syscall('ftruncate', fd, pages * P)).toBe(0);
  expect(p.syscall('mmap', SHARED, 8 * P, 3, 0x11, fd, 0)).toBe(SHARED);
  expect(p.syscall('mmap', PRIVATE, 8 * P, 3, 0x12, fd, 0)).toBe(PRIVATE);
  return { p, fd };
}
const load = (p: Process, at: number): unknown => p.load(BigInt(at), 1);
const store = (p: Process, at: number, value: number): unknown => p.store(BigInt(at), 1, BigInt(value));
const pageAt = (p: Process, at: number): PageView | undefined =>
  viewProcess(p.machine, p.ref, 0)
    .vmas.flatMap((vma) => [...vma.pages])
    .find((page) => page.vpn === at / P);
const has = (page: PageView | undefined, flag: number): boolean => page !== undefined && (page.flags & flag) !== 0;
const sigbus = (at: number): unknown => ({ signal: 7, code: 2, address: BigInt(at) });
const inodeOf = (p: Process, fd: number): number => {
  p.machine.enter();
  return get(get(p.ref, ProcessStruct.files + fd), File.inode);
};
/** One byte of the file as read(2) gives it. */
const byteOf = (p: Process, fd: number, at: number): unknown => {
  expect(p.syscall('pread64', fd, BUFFER + P, 1, at)).toBe(1);
  return load(p, BUFFER + P);
};
const sound = (p: Process): void => {
  p.machine.enter();
  expect(checkMachine()).toEqual([]);
};

describe('page cache', () => {
  it.each(['memfd', 'disk'] as const)('F437 pages come into the cache of a %s file and leave it under the lock of the array alone', (kind) => {
    const { p, fd } = start(kind, 8);
    const inode = inodeOf(p, fd);
    const run = (op: ReturnType<typeof mm.userFault>): number => {
      let held = false;
      let changes = 0;
      let count = get(inode, Inode.nrPages);
      for (;;) {
        const step = op.next();
        const now = get(inode, Inode.nrPages);
        if (now !== count) {
          changes++;
          expect(held).toBe(true);
        }
        count = now;
        if (step.done) return changes;
        if (pending.a !== inode + Inode.pagesLock) continue;
        if (operations[pending.code].name === 'spinLock') held = true;
        if (operations[pending.code].name === 'spinUnlock') held = false;
      }
    };
    expect(run(mm.userFault(p.mm, SHARED / P, 1))).toBeGreaterThan(0);
    expect(run(mm.userFault(p.mm, SHARED / P + 7, 1))).toBeGreaterThanOrEqual(0);
    expect(run(mm.sysFtruncate(p.ref, fd, 0))).toBeGreaterThan(0);
    expect(get(inode, Inode.nrPages)).toBe(0);
    sound(p);
  });

  it('F439 the first write to a page of a shared mapping is noticed, and again after it was written back', () => {
    const { p, fd } = start('disk', 2);
    const dirty = (): boolean => has(pageAt(p, SHARED), PAGE.DIRTY);
    expect(load(p, SHARED)).toBe(0n);
    expect(dirty()).toBe(false);
    for (const value of [1, 2]) {
      // page_mkwrite locks the page before the entry may be written.
      const { machine } = p;
      machine.enter();
      const op = mm.userFault(p.mm, SHARED / P, 1);
      const names: string[] = [];
      while (!op.next().done) names.push(operations[pending.code].name);
      expect(names.indexOf('folioLock')).toBeGreaterThanOrEqual(0);
      expect(names.indexOf('folioLock')).toBeLessThan(names.lastIndexOf('entrySet'));
      store(p, SHARED, value);
      expect(dirty()).toBe(true);
      expect(p.syscall('fsync', fd)).toBe(0);
      expect([dirty(), byteOf(p, fd, 0)]).toEqual([false, BigInt(value)]);
    }
    sound(p);
  });

  it.each(['memfd', 'disk'] as const)('F444 a write to a private mapping of a %s file leaves the file as it is', (kind) => {
    const { p, fd } = start(kind, 4);
    store(p, SHARED, 1);
    expect(load(p, PRIVATE)).toBe(1n);
    expect(has(pageAt(p, PRIVATE), PAGE.ANON)).toBe(false);
    store(p, PRIVATE, 2);
    store(p, PRIVATE + P, 3);
    expect([byteOf(p, fd, 0), byteOf(p, fd, P), load(p, SHARED), load(p, SHARED + P)]).toEqual([1n, 0n, 1n, 0n]);
    expect([has(pageAt(p, PRIVATE), PAGE.ANON), has(pageAt(p, PRIVATE + P), PAGE.ANON)]).toEqual([true, true]);
    // And later writes to the file do not reach the copy, but what was not copied.
    store(p, SHARED, 4);
    store(p, SHARED + 2 * P, 5);
    expect([load(p, PRIVATE), load(p, PRIVATE + 2 * P)]).toEqual([2n, 5n]);
    expect(p.syscall('madvise', PRIVATE, P, 4)).toBe(0);
    expect(load(p, PRIVATE)).toBe(4n);
    sound(p);
  });

  it.each(['memfd', 'disk'] as const)('F448 what is truncated or punched out of a %s file goes from all mappings', (kind) => {
    const { p, fd } = start(kind, 4);
    for (let i = 0; i < 4; i++) store(p, SHARED + i * P + 100, i + 1);
    store(p, PRIVATE + P, 9);
    store(p, PRIVATE + 3 * P, 9);
    // A hole: the file reads as zeroes there; private copies stay.
    expect(p.syscall('fallocate', fd, 3, P, P)).toBe(0);
    expect([load(p, SHARED + P + 100), load(p, PRIVATE + P)]).toEqual([0n, 9n]);
    // The end in the midst of a page: zeroes behind it, SIGBUS from the next one on, private copies included.
    expect(p.syscall('ftruncate', fd, 2 * P + 50)).toBe(0);
    expect(load(p, SHARED + 2 * P + 100)).toBe(0n);
    expect(load(p, SHARED + 3 * P)).toEqual(sigbus(SHARED + 3 * P));
    expect(store(p, PRIVATE + 3 * P, 1)).toEqual(sigbus(PRIVATE + 3 * P));
    expect(p.syscall('ftruncate', fd, 4 * P)).toBe(0);
    expect([load(p, SHARED + 3 * P + 100), load(p, PRIVATE + 3 * P)]).toEqual([0n, 0n]);
    sound(p);
  });

  it('F449 the size that ftruncate gives a memfd is what mappings have', () => {
    const { p, fd } = start('memfd', 0);
    expect(load(p, SHARED)).toEqual(sigbus(SHARED));
    for (const pages of [1, 3, 8, 2]) {
      expect(p.syscall('ftruncate', fd, pages * P)).toBe(0);
      expect(p.syscall('lseek', fd, 0, 2)).toBe(pages * P);
      for (let i = 0; i < 8; i++) expect(load(p, SHARED + i * P)).toEqual(i < pages ? 0n : sigbus(SHARED + i * P));
    }
    // In the middle of a page: the page is there to its end.
    expect(p.syscall('ftruncate', fd, 2 * P + 1)).toBe(0);
    expect([load(p, SHARED + 3 * P - 1), load(p, SHARED + 3 * P)]).toEqual([0n, sigbus(SHARED + 3 * P)]);
    sound(p);
  });
});
