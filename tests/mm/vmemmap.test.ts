/** The array of struct page, and huge pages that do without most of theirs; read back by the reader of page tables. */
import { describe, expect, test } from 'vitest';
import { ACCESS_READ, ACCESS_WRITE, mmuAccess } from '../../src/kernel/mmu.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { hugePoolSetting } from '../../src/machine/hugetlb-settings.ts';
import { Machine } from '../../src/machine/machine.ts';
import { drainAllPages } from '../../src/memory/buddy.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_HUGETLB } from '../../src/memory/page-flags.ts';
import { pageFlags, pageOrder, pagesEnd, pfnOfPage } from '../../src/memory/state.ts';
import { Memory, memory, Zone } from '../../src/memory/zone.ts';
import { EINVAL, ENOMEM, ENOSYS } from '../../src/mm/errno.ts';
import { globals } from '../../src/mm/globals.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { hugetlbVmemmapOptimized } from '../../src/mm/hugetlb-vmemmap.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { vmemmapStart } from '../../src/mm/kernel-layout.ts';
import { Globals, Mm } from '../../src/mm/types.ts';
import { kernelExtents, leafSizes } from './support/kernel-extents.ts';

function booted(mode: string, ramBytes = 2 ** 29): Machine {
  const machine = new Machine({ mode, ramBytes });
  machine.enter();
  expect(machine.kernel.makeVmemmap(ramBytes / machine.pageSize)).toBe(0);
  return machine;
}

/** Order of a huge page at PMD level. */
const orderOf = (machine: Machine): number => machine.codec.levels[1].shift - machine.pageShift;

describe.each(['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc64-radix-4k'])('%s', (mode) => {
  test('64 bytes for every frame, with PMD leaves', () => {
    const machine = booted(mode);
    const leaf = 2 ** machine.codec.levels[1].shift;
    expect(leafSizes(machine)).toEqual({ [`${leaf / 2 ** 20}M`]: (2 ** 29 / machine.pageSize) * (64 / leaf) });
    expect(kernelExtents(machine)[0].vpn).toBe(vmemmapStart());
    expect(machine.kernel.makeVmemmap(1)).toBe(-EINVAL);
    expect(checkMachine()).toEqual([]);
  });

  test('a huge page gives back all but one page of its part, and gets them again', () => {
    const machine = booted(mode);
    const { kernel } = machine;
    const order = orderOf(machine);
    const pages = (2 ** order * 64) / machine.pageSize;
    const head = 2 ** order * 6;
    const vpn = vmemmapStart() + (head * 64) / machine.pageSize;
    const before = kernelExtents(machine);
    expect(kernel.hugetlbVmemmapOptimizeFolio(head, order)).toBe(pages - 1);
    expect(kernel.hugetlbVmemmapOptimizeFolio(head, order)).toBe(0);
    expect(kernel.hugetlbVmemmapOptimized(head, order)).toBe(true);
    expect(kernel.hugetlbVmemmapOptimized(head + 2 ** order, order)).toBe(false);
    const reuse = kernel.kernelPfn(vpn);
    for (let i = 1; i < pages; i++) expect(kernel.kernelPfn(vpn + i)).toBe(reuse);
    expect(kernel.kernelPfn(vpn + pages)).toBe(reuse + pages);
    const readOnly = kernelExtents(machine).filter((run) => !run.write);
    expect(readOnly.reduce((sum, run) => sum + run.pages, 0)).toBe(pages - 1);
    expect(readOnly[0].vpn).toBe(vpn + 1);
    expect(checkMachine()).toEqual([]);
    expect(kernel.hugetlbVmemmapRestoreFolio(head, order)).toBe(pages - 1);
    expect(kernel.hugetlbVmemmapRestoreFolio(head, order)).toBe(0);
    const frames = Array.from({ length: pages }, (_, i) => kernel.kernelPfn(vpn + i));
    expect(new Set(frames).size).toBe(pages);
    const after = kernelExtents(machine);
    expect(after.every((run) => run.write)).toBe(true);
    const total = (runs: typeof after): number => runs.reduce((sum, run) => sum + run.pages, 0);
    expect(total(after)).toBe(total(before));
    expect(checkMachine()).toEqual([]);
  });
});

test('without memory nothing changes: neither giving back nor getting back', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  const failing = (run: () => number): number => {
    for (let n = 1; ; n++) {
      const before = kernelExtents(machine).map(({ vpn, pfn, pages, write }) => `${vpn} ${pfn} ${pages} ${write}`);
      const optimized = kernel.hugetlbVmemmapOptimized(0, 9);
      set(globals, Globals.failAllocation, n);
      const result = run();
      set(globals, Globals.failAllocation, 0);
      expect(checkMachine()).toEqual([]);
      if (result !== -ENOMEM) return n - 1;
      // A leaf may have been split by then; what is mapped where has not changed.
      expect(kernelExtents(machine).map(({ vpn, pfn, pages, write }) => `${vpn} ${pfn} ${pages} ${write}`).length).toBeGreaterThanOrEqual(before.length);
      expect(kernel.hugetlbVmemmapOptimized(0, 9)).toBe(optimized);
      expect(kernelExtents(machine).filter((run) => !run.write).length > 0).toBe(optimized);
    }
  };
  expect(failing(() => kernel.hugetlbVmemmapOptimizeFolio(0, 9))).toBeGreaterThanOrEqual(3);
  expect(failing(() => kernel.hugetlbVmemmapRestoreFolio(0, 9))).toBeGreaterThanOrEqual(8);
});

test('small memory: pages; small huge pages: nothing to give back; no array on 32 bits', () => {
  const machine = booted('x86-4level', 2 ** 26);
  expect(leafSizes(machine)).toEqual({ '4K': 256 });
  expect(machine.kernel.hugetlbVmemmapOptimizeFolio(0, 6)).toBe(0);
  expect(machine.kernel.hugetlbVmemmapOptimizeFolio(2 ** 14, 9)).toBe(0);
  const narrow = new Machine({ mode: 'ppc-8xx-4k', ramBytes: 2 ** 26 });
  narrow.enter();
  expect(narrow.kernel.makeVmemmap(100)).toBe(-ENOSYS);
});

test('memory that holds its own array is left as it is', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  const array = kernel.kernelPfn(vmemmapStart());
  const own = Math.floor(array / 512) * 512;
  // The part of the array that describes the memory where the array begins is mapped into that memory itself.
  const vpn = vmemmapStart() + (own * 64) / 4096;
  const inside = kernel.kernelPfn(vpn) >= own && kernel.kernelPfn(vpn) < own + 512;
  expect(kernel.hugetlbVmemmapOptimizeFolio(own, 9)).toBe(inside ? -524 : 7);
});

/** A machine whose pools give back what they can of the array; RAM in bytes. */
function optimising(mode: string, hugepages: string, ramBytes = 2 ** 27): Machine {
  const machine = new Machine({ mode, ramBytes, hugepages: `hugetlb_free_vmemmap=on ${hugepages}` });
  expect(machine.bootMessages).toEqual([]);
  machine.enter();
  return machine;
}

/** Pages that the allocator has, those on CPUs' lists with them. */
function freePagesCount(): number {
  drainAllPages();
  let sum = 0;
  for (let i = 0; i < get(memory(), Memory.nrZones); i++) sum += get(get(memory(), Memory.zones + i), Zone.free);
  return sum;
}

/** Pages of a pool, free ones, surplus ones. */
const pools = (h: number): number[] => [get(h, Hstate.nr), get(h, Hstate.freePages), get(h, Hstate.surplus)];

/** Frames of the pages of a pool, and how many of them do without their struct pages. */
function poolPages(order: number): { all: number[]; optimised: number } {
  const all: number[] = [];
  for (let page = 1; page < pagesEnd(); page++) if ((pageFlags[page] & PG_HUGETLB) !== 0 && pageOrder[page] === order) all.push(pfnOfPage(page));
  return { all, optimised: all.filter((pfn) => hugetlbVmemmapOptimized(pfn, order)).length };
}

describe.each([
  ['x86-4level', 2048, 7],
  ['arm64-4k-48', 2048, 7],
  ['riscv-sv39', 2048, 7],
  ['s390x', 1024, 3],
] as const)('%s: pools of pages of %i KiB', (mode, kilobytes, tails) => {
  const order = Math.log2(kilobytes / 4);

  test('give back struct pages of each page that they get, and a page needs them again to leave', () => {
    const machine = optimising(mode, 'hugepages=4');
    const { kernel } = machine;
    const h = poolOf(kilobytes, 12);
    expect(poolPages(order)).toMatchObject({ optimised: 4 });
    expect(poolPages(order).all.length).toBe(4);
    const free = freePagesCount();
    kernel.setMaxHugePages(h, 3);
    // The page itself, less what its part of the array takes again.
    expect(freePagesCount() - free).toBe(2 ** order - tails);
    expect(poolPages(order)).toMatchObject({ optimised: 3 });
    expect(checkMachine()).toEqual([]);
    // A struct page of a tail cannot be written to; that of the head can.
    const { all } = poolPages(order);
    const vpn = vmemmapStart() + (all[0] * 64) / 4096;
    const pgd = get(get(globals, Globals.initMm), Mm.pgd);
    expect(mmuAccess(pgd, vpn, ACCESS_WRITE)).toBeGreaterThan(0);
    for (let i = 1; i <= tails; i++) {
      expect(mmuAccess(pgd, vpn + i, ACCESS_READ)).toBe(mmuAccess(pgd, vpn, ACCESS_READ));
      expect(mmuAccess(pgd, vpn + i, ACCESS_WRITE)).toBe(0);
    }
    // Use makes no difference: mapped, pinned, freed.
    const p = machine.spawn();
    const bytes = kilobytes * 1024;
    const at = 64 * bytes;
    expect(p.syscall('mmap', at, bytes, 3, 0x40032 | (Math.log2(bytes) << 26), -1, 0)).toBe(at);
    expect(p.store(BigInt(at + bytes - 1), 1, 1n)).toBeUndefined();
    expect(poolPages(order)).toMatchObject({ optimised: 3 });
    expect(p.syscall('munmap', at, bytes)).toBe(0);
    expect(checkMachine()).toEqual([]);
    machine.enter();
    kernel.setMaxHugePages(h, 0);
    expect(kernelExtents(machine).every((run) => run.write)).toBe(true);
    expect(checkMachine({ leaks: true })).toEqual([]);
  });

  test('keep a page as a surplus one when there is no memory for what it gave back', () => {
    const machine = optimising(mode, 'hugepages=2');
    const { kernel } = machine;
    const h = poolOf(kilobytes, 12);
    // The first allocation is the list, then come the pages: any of them may fail.
    for (const n of [1, tails]) {
      set(globals, Globals.failAllocation, -n);
      kernel.setMaxHugePages(h, 1);
      set(globals, Globals.failAllocation, 0);
      expect(pools(h)).toEqual([2, 2, 1]);
      expect(poolPages(order).optimised).toBe(2);
      expect(checkMachine()).toEqual([]);
      kernel.setMaxHugePages(h, 2);
      expect(pools(h)).toEqual([2, 2, 0]);
    }
    kernel.setMaxHugePages(h, 1);
    expect(pools(h)).toEqual([1, 1, 0]);
    // A page that is freed while in use: the last reference cannot be refused.
    const p = machine.spawn();
    const bytes = kilobytes * 1024;
    kernel.setOvercommitHugePages(h, 1);
    expect(p.syscall('mmap', 64 * bytes, 2 * bytes, 3, 0x40032 | (Math.log2(bytes) << 26), -1, 0)).toBe(64 * bytes);
    machine.enter();
    expect(pools(h)).toEqual([2, 2, 1]);
    for (const i of [0, 1]) expect(p.store(BigInt((64 + i) * bytes), 1, 1n)).toBeUndefined();
    machine.enter();
    set(globals, Globals.failAllocation, -1);
    expect(p.syscall('munmap', 64 * bytes, 2 * bytes)).toBe(0);
    machine.enter();
    set(globals, Globals.failAllocation, 0);
    expect(pools(h)).toEqual([2, 2, 1]);
    expect(checkMachine({ leaks: true })).toEqual([]);
    // A free surplus page is nobody's to take; as one of the pool's own it goes, with memory.
    kernel.setMaxHugePages(h, 0);
    expect(pools(h)).toEqual([1, 1, 1]);
    kernel.setMaxHugePages(h, 1);
    kernel.setMaxHugePages(h, 0);
    expect(pools(h)).toEqual([0, 0, 0]);
    expect(checkMachine({ leaks: true })).toEqual([]);
  });
});

test('what was in a pool before stays as it is; vm.hugetlb_optimize_vmemmap says it of what comes', () => {
  const machine = booted('x86-4level', 2 ** 27);
  const setting = hugePoolSetting('/proc/sys/vm/hugetlb_optimize_vmemmap');
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 1);
  setting?.write(machine.kernel, 1);
  expect(setting?.read()).toBe(1);
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 3);
  expect(poolPages(9)).toMatchObject({ optimised: 2 });
  setting?.write(machine.kernel, 0);
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 4);
  expect(poolPages(9)).toMatchObject({ optimised: 2 });
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 0);
  expect(checkMachine({ leaks: true })).toEqual([]);
  // Sizes whose part of the array is a page, and modes without an array.
  expect(new Machine({ mode: 'ppc-8xx-4k', ramBytes: 2 ** 26, hugepages: 'hugetlb_free_vmemmap=on hugepages=2' }).bootMessages.length).toBe(1);
  const arm = optimising('arm64-4k-48', 'hugepagesz=64K hugepages=2');
  expect(poolPages(4)).toMatchObject({ optimised: 0 });
  expect(checkMachine()).toEqual([]);
  expect(arm.bootMessages).toEqual([]);
});
