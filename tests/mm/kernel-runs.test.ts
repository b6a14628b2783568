/** Mappings of the kernel with runs of entries that map a larger page together, and what becomes of a run when a part of it changes. */
import { expect, test } from 'vitest';
import { pageSizes } from '../../src/arch/linux/page-sizes.ts';
import { findMode } from '../../src/arch/registry.ts';
import { Machine } from '../../src/machine/machine.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { PAGE_KERNEL } from '../../src/mm/kernel-map.ts';
import { CPA_RO } from '../../src/mm/set-memory.ts';
import { kernelExtents, leafSizes } from './support/kernel-extents.ts';

test.each([
  ['arm64-4k-48', 2 ** 16, '64K'],
  ['riscv-sv39', 2 ** 16, '64K'],
  ['ppc-8xx-4k', 2 ** 19, '512K'],
  ['ppc-8xx-16k', 2 ** 19, '512K'],
])('%s: vmalloc_huge maps with runs of %i bytes, and set_memory takes one apart', (mode, bytes, name) => {
  const machine = new Machine({ mode, ramBytes: 2 ** 26 });
  machine.enter();
  const { kernel, pageSize } = machine;
  const pages = bytes / pageSize;
  // A page more than two runs.
  const at = kernel.vmallocHuge(2 * pages + 1);
  expect(at).toBeGreaterThan(0);
  expect(at % pages).toBe(0);
  expect(leafSizes(machine)[name]).toBe(3);
  expect(kernel.setMemory(at + pages + 3, 1, CPA_RO)).toBe(0);
  expect(leafSizes(machine)[name]).toBe(2);
  const mapped = kernelExtents(machine).flatMap((run) =>
    Array.from({ length: run.pages }, (_, i) => ({ vpn: run.vpn + i, write: run.write, size: run.leafPages })),
  );
  expect(mapped.filter((page) => page.size === 1).length).toBe(pages);
  // vmalloc's part of the extents counts from its own first page.
  const readOnly = mapped.filter((page) => !page.write);
  expect(readOnly.length).toBe(1);
  expect(readOnly[0].vpn % pages).toBe(3);
  expect(kernel.vfree(at)).toBe(0);
});

test.each([
  ['ppc-8xx-4k', 2],
  ['ppc-8xx-4k-hugepd', 2],
  ['arm64-16k-36', 2],
  // The entries of a gigabyte are the top table's here, whatever Linux calls them.
  ['arm64-4k-39', 3],
  ['riscv-sv39', 3],
  ['x86-4level', 4],
  ['x86-5level', 5],
])('F065 %s, %i levels: huge entries of the kernel are set at each level that has them, and cleared', (mode, levels) => {
  const machine = new Machine({ mode, ramBytes: 2 ** 26 });
  machine.enter();
  const { kernel, pageSize, codec } = machine;
  expect(codec.levels.length).toBe(levels);
  const found = findMode(mode);
  const bytes = pageSizes(found as NonNullable<typeof found>)
    .filter((size) => size.vmap)
    .map((size) => 2 ** size.shift);
  expect(bytes.length).toBeGreaterThan(1);
  // Frames of a device behind the RAM. Twice: at the second time there are tables where leaves shall stand.
  for (let time = 0; time < 2; time++) {
    for (const size of bytes) {
      const vpn = kernel.ioremap((4 * size) / pageSize, (2 * size) / pageSize, PAGE_KERNEL);
      expect(vpn % (size / pageSize)).toBe(0);
      expect(
        kernelExtents(machine).map(({ leafPages, pages, pfn }) => ({ size: leafPages * pageSize, bytes: pages * pageSize, from: pfn * pageSize })),
      ).toEqual([{ size, bytes: 2 * size, from: 4 * size }]);
      expect(kernel.iounmap(vpn)).toBe(0);
      expect(kernelExtents(machine)).toEqual([]);
    }
    const small = kernel.vmalloc(3);
    expect(leafSizes(machine)).toEqual({ [`${pageSize / 1024}K`]: 3 });
    expect(kernel.vfree(small)).toBe(0);
    kernel.vmUnmapAliases();
    expect(checkMachine()).toEqual([]);
  }
});
