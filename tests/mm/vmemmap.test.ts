/** The array of struct page, and huge pages that do without most of theirs; read back by the reader of page tables. */
import { describe, expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { set } from '../../src/memory/heap.ts';
import { EINVAL, ENOMEM, ENOSYS } from '../../src/mm/errno.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { vmemmapStart } from '../../src/mm/kernel-layout.ts';
import { Globals } from '../../src/mm/types.ts';
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
