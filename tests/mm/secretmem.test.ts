/** memfd_secret(): pages that only their process maps; the direct map is read back by the reader of page tables. */
import { describe, expect, test } from 'vitest';
import { must } from '../../src/explore/setup.ts';
import { Machine } from '../../src/machine/machine.ts';
import { LINEAR_PAGES } from '../../src/mm/direct-map.ts';
import { EFAULT, EINVAL, ENOSYS } from '../../src/mm/errno.ts';
import { allocPageVector, FOLL_WRITE, freePageVector } from '../../src/mm/gup-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { kernelExtents } from './support/kernel-extents.ts';

const RAM = 2 ** 25;
const AT = 0x20000000;

const total = (machine: Machine): number => kernelExtents(machine).reduce((sum, run) => sum + run.pages, 0);

describe.each([
  ['x86-4level', 0],
  ['arm64-4k-48', LINEAR_PAGES],
  ['riscv-sv39', 0],
  ['s390x', 0],
])('%s', (mode, flags) => {
  test('a page that is touched leaves the direct map, and comes back empty', () => {
    const machine = new Machine({ mode, ramBytes: RAM });
    machine.enter();
    const pages = RAM / machine.pageSize;
    machine.kernel.makeDirectMap(pages, flags);
    const process = machine.spawn();
    const fd = must(process, 'memfd_secret', 0);
    expect(process.syscall('ftruncate', fd, 4 * machine.pageSize)).toBe(0);
    expect(process.syscall('ftruncate', fd, 8 * machine.pageSize)).toBe(-EINVAL);
    expect(process.syscall('mmap', AT, 4 * machine.pageSize, 3, 0x12, fd, 0)).toBe(-EINVAL);
    expect(process.syscall('mmap', AT, 4 * machine.pageSize, 3, 0x11, fd, 0)).toBe(AT);
    expect(total(machine)).toBe(pages);
    for (const i of [0, 2]) expect(process.store(BigInt(AT + i * machine.pageSize), 4, 0x1234n)).toBeUndefined();
    expect(process.load(BigInt(AT), 4)).toBe(0x1234n);
    machine.enter();
    expect(total(machine)).toBe(pages - 2);
    const vector = allocPageVector();
    expect(machine.kernel.getUserPages(process.mm, AT / machine.pageSize, 1, 0, vector)).toBe(-EFAULT);
    expect(machine.kernel.getUserPagesFastOnly(process.mm, AT / machine.pageSize, 1, FOLL_WRITE, vector)).toBe(0);
    expect(machine.kernel.getUserPagesFast(process.mm, AT / machine.pageSize, 1, FOLL_WRITE, vector)).toBe(-EFAULT);
    freePageVector(vector);
    expect(process.syscall('read', fd, AT, 4)).toBe(-EINVAL);
    expect(checkMachine()).toEqual([]);
    expect(process.syscall('munmap', AT, 4 * machine.pageSize)).toBe(0);
    expect(total(machine)).toBe(pages - 2);
    expect(process.syscall('close', fd)).toBe(0);
    machine.enter();
    expect(total(machine)).toBe(pages);
    expect(checkMachine()).toEqual([]);
  });
});

test('where the kernel cannot take pages out of its map there is none', () => {
  for (const [mode, mapped] of [
    ['x86-4level', false],
    ['arm64-4k-48', true],
    ['ppc64-radix-4k', true],
    ['ppc-8xx-4k', true],
  ] as const) {
    const machine = new Machine({ mode, ramBytes: RAM });
    machine.enter();
    if (mapped) expect(machine.kernel.makeDirectMap(RAM / machine.pageSize, 0)).toBe(0);
    expect(machine.spawn().syscall('memfd_secret', 0)).toBe(-ENOSYS);
  }
});
