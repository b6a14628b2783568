/** Mappings of the kernel with runs of entries that map a larger page together, and what becomes of a run when a part of it changes. */
import { expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
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
