/** What the kernel's own tables of a machine map, as the reader of page tables sees it. */
import { kernelRegistersOf, registersOf } from '../../../src/machine/capture.ts';
import type { Machine } from '../../../src/machine/machine.ts';
import { compileMode, extentsOf, readPageTables, rootFromRegisters } from '../../../src/pagetable/index.ts';

export interface KernelRun {
  readonly vpn: number;
  readonly pfn: number;
  readonly pages: number;
  /** Pages of the leaf. */
  readonly leafPages: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly exec: boolean;
}

/** Runs of the kernel's half, ascending; addresses as Linux counts them. */
export function kernelExtents(machine: Machine): KernelRun[] {
  const compiled = compileMode(machine.codec.mode, '6.18');
  const root = rootFromRegisters(compiled, kernelRegistersOf(machine) ?? {}, 'kernel');
  const { columns, classes } = extentsOf(readPageTables(compiled, machine.source, root), { half: 'kernel', all: true });
  const found: KernelRun[] = [];
  for (let i = 0; i < columns.length; i++) {
    const c = classes[columns.kind[i]];
    if (c.kind !== 'leaf') throw new Error(`a ${c.kind} entry at vpn 0x${columns.vpn[i].toString(16)}`);
    const { leafPages, read, write, exec } = c;
    // One frame behind many pages is one row with a count.
    for (let k = 0; k < columns.count[i]; k++)
      found.push({ vpn: columns.vpn[i] + k * columns.stride[i], pfn: columns.pfn[i], pages: columns.pages[i], leafPages, read, write, exec });
  }
  return found;
}

/** How many leaves of each size. */
export function leafSizes(machine: Machine): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const { pages, leafPages } of kernelExtents(machine)) {
    const bytes = leafPages * machine.pageSize;
    const name = bytes >= 2 ** 30 ? `${bytes / 2 ** 30}G` : bytes >= 2 ** 20 ? `${bytes / 2 ** 20}M` : `${bytes / 2 ** 10}K`;
    sizes[name] = (sizes[name] ?? 0) + pages / leafPages;
  }
  return sizes;
}

/** Leaves of a process's half. */
export function userExtents(machine: Machine, pid: number): { vpn: number; leafPages: number }[] {
  const compiled = compileMode(machine.codec.mode, '6.18');
  const { columns, classes } = extentsOf(readPageTables(compiled, machine.source, rootFromRegisters(compiled, registersOf(machine, pid), 'user')), {
    half: 'user',
  });
  return Array.from({ length: columns.length }, (_, i) => ({ vpn: columns.vpn[i], leafPages: classes[columns.kind[i]].leafPages }));
}
