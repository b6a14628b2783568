/** The kernel's map of RAM and what changes its attributes, in formats that differ: read back by the reader of page tables, which knows nothing of the mm. */
import { describe, expect, test } from 'vitest';
import { MemoryBytes, openSource } from '../../src/image/index.ts';
import { Machine } from '../../src/machine/machine.ts';
import { LINEAR_BBML2, LINEAR_PAGES } from '../../src/mm/direct-map.ts';
import { EINVAL } from '../../src/mm/errno.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { directMapVpn } from '../../src/mm/kernel-layout.ts';
import { CPA_NP, CPA_NX, CPA_P, CPA_RO, CPA_RW, CPA_X } from '../../src/mm/set-memory.ts';
import { compileMode, extentsOf, readPageTables, rootFromRegisters } from '../../src/pagetable/index.ts';
import { kernelExtents, leafSizes } from './support/kernel-extents.ts';

const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc-8xx-4k', 'ppc64-radix-4k'];
const RAM = 2 ** 27;

function booted(mode: string, flags = 0): Machine {
  const machine = new Machine({ mode, ramBytes: RAM });
  machine.enter();
  expect(machine.kernel.makeDirectMap(RAM / machine.pageSize, flags)).toBe(0);
  return machine;
}

describe.each(MODES)('%s', (mode) => {
  test('all of RAM stands in the direct map, writable, frame by frame', () => {
    const machine = booted(mode);
    const runs = kernelExtents(machine);
    const first = directMapVpn(0);
    let pages = 0;
    for (const run of runs) {
      expect(run.vpn - first).toBe(run.pfn);
      expect(run.write && run.read).toBe(true);
      pages += run.pages;
    }
    expect(pages).toBe(RAM / machine.pageSize);
    expect(checkMachine()).toEqual([]);
    expect(machine.kernel.makeDirectMap(RAM / machine.pageSize, 0)).toBe(-EINVAL);
  });
});

test.each(MODES)('%s: a capture has the kernel as a root of its own, with the same pages', async (mode) => {
  const machine = booted(mode);
  machine.spawn();
  machine.kernel.vmalloc(3);
  const image = await openSource(new MemoryBytes(Buffer.concat(machine.capture())), { codecs: {} });
  const root = image.capture?.roots.find((r) => r.mode === 'kernel');
  expect(root).toMatchObject({ pid: 0 });
  const compiled = compileMode(machine.codec.mode, '6.18');
  const tables = readPageTables(compiled, image, rootFromRegisters(compiled, root?.registers ?? {}, 'kernel'));
  const { columns } = extentsOf(tables, { half: 'kernel' });
  const pages = Array.from({ length: columns.length }, (_, i) => columns.pages[i]).reduce((a, b) => a + b, 0);
  expect(pages).toBe(RAM / machine.pageSize + 3);
  expect(columns.length).toBe(kernelExtents(machine).length);
});

test('leaves are the largest that the mode has', () => {
  expect(leafSizes(booted('x86-4level'))).toEqual({ '2M': 64 });
  expect(leafSizes(booted('s390x'))).toEqual({ '1M': 128 });
  expect(leafSizes(booted('riscv-sv39'))).toEqual({ '2M': 64 });
  expect(leafSizes(booted('ppc64-radix-4k'))).toEqual({ '2M': 64 });
  expect(leafSizes(booted('x86-4level', LINEAR_PAGES))).toEqual({ '4K': 32768 });
  const large = new Machine({ ramBytes: 2 ** 31 });
  large.enter();
  expect(large.kernel.makeDirectMap(2 ** 19, 0)).toBe(0);
  expect(leafSizes(large)).toEqual({ '1G': 2 });
});

describe.each(['x86-4level', 's390x', 'riscv-sv39'])('%s: attributes', (mode) => {
  test('one page of a leaf: the leaf becomes a table, everything else stays as it was', () => {
    const machine = booted(mode);
    const { kernel } = machine;
    const before = kernelExtents(machine);
    const at = directMapVpn(1027);
    const rightsAt = (vpn: number) => kernelExtents(machine).find((run) => vpn >= run.vpn && vpn < run.vpn + run.pages);
    expect(kernel.setMemory(at, 1, CPA_RO)).toBe(0);
    expect(rightsAt(at)).toMatchObject({ pages: 1, write: false, read: true, pfn: 1027 });
    expect(rightsAt(at + 1)).toMatchObject({ write: true, read: true });
    expect(rightsAt(at - 1)).toMatchObject({ write: true, read: true });
    expect(kernel.kernelPfn(at + 5)).toBe(1032);
    expect(kernel.setMemory(at, 1, CPA_RW)).toBe(0);
    expect(rightsAt(at)).toMatchObject({ write: true, read: true });
    expect(kernel.setMemory(at, 1, CPA_X)).toBe(0);
    expect(rightsAt(at)?.exec).toBe(true);
    expect(kernel.setMemory(at, 1, CPA_NX)).toBe(0);
    expect(kernel.setMemory(at, 2, CPA_NP)).toBe(0);
    expect(rightsAt(at)).toBeUndefined();
    expect(rightsAt(at + 1)).toBeUndefined();
    expect(kernel.kernelPfn(at)).toBe(-1);
    expect(kernel.setMemory(at, 1, CPA_RO)).toBe(-EINVAL);
    expect(kernel.setMemory(at, 2, CPA_P)).toBe(0);
    const pages = (runs: readonly { pages: number }[]): number => runs.reduce((sum, run) => sum + run.pages, 0);
    expect(pages(kernelExtents(machine))).toBe(pages(before));
    expect(checkMachine()).toEqual([]);
  });

  test('a whole leaf changes without a split', () => {
    const machine = booted(mode);
    const span = mode === 's390x' ? 256 : 512;
    expect(machine.kernel.setMemory(directMapVpn(span), span, CPA_RO)).toBe(0);
    const sizes = leafSizes(machine);
    expect(Object.keys(sizes)).toHaveLength(1);
    expect(kernelExtents(machine).filter((run) => !run.write)).toMatchObject([{ vpn: directMapVpn(span), pages: span }]);
  });
});

test('arm64 changes the direct map only where it may split it', () => {
  const blocks = booted('arm64-4k-48');
  expect(blocks.kernel.setMemory(directMapVpn(100), 1, CPA_RO)).toBe(-EINVAL);
  expect(blocks.kernel.setDirectMapInvalidNoflush(100)).toBe(0);
  expect(blocks.kernel.kernelPfn(directMapVpn(100))).toBe(100);
  for (const flags of [LINEAR_PAGES, LINEAR_BBML2]) {
    const machine = booted('arm64-4k-48', flags);
    expect(machine.kernel.setMemory(directMapVpn(100), 1, CPA_RO)).toBe(0);
    expect(machine.kernel.setDirectMapInvalidNoflush(101)).toBe(0);
    expect(machine.kernel.kernelPfn(directMapVpn(101))).toBe(-1);
    expect(machine.kernel.setDirectMapDefaultNoflush(101)).toBe(0);
    expect(machine.kernel.kernelPfn(directMapVpn(101))).toBe(101);
    expect(kernelExtents(machine).filter((run) => !run.write)).toMatchObject([{ pfn: 100, pages: 1 }]);
  }
});
