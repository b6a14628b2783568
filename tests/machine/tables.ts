/** The page tables of a running machine, read by the walker that reads dumps, against what the mm believes to have mapped. */
import type { Machine } from '../../src/machine/machine.ts';
import { PAGE } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import { pfnOfPage } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals, Mm } from '../../src/mm/types.ts';
import { rootRegisters } from '../../src/pagetable/canonical.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';

/** Differences between the tables in RAM and the mm's view of a process, as sentences. */
export function tableDifferences(machine: Machine, process: Process): string[] {
  const { root } = rootRegisters(machine.codec, pfnOfPage(get(process.mm, Mm.pgd)));
  const tables = readPageTables(machine.codec.compiled, machine.source, root);
  const { columns, classes } = extentsOf(tables, { half: 'user', all: true });
  const found = new Map<number, { frame: number; write: boolean; present: boolean }>();
  const differences: string[] = [];
  for (let i = 0; i < columns.length; i++) {
    const c = classes[columns.kind[i]];
    for (let repeat = 0; repeat < columns.count[i]; repeat++)
      for (let page = 0; page < columns.pages[i]; page++) {
        const vpn = columns.vpn[i] + repeat * columns.stride[i] + page;
        if (c.kind === 'bad' || c.kind === 'missing') differences.push(`page 0x${vpn.toString(16)}: ${c.kind} entry`);
        else found.set(vpn, { frame: c.kind === 'leaf' ? columns.pfn[i] + page : -1, write: c.write, present: c.kind === 'leaf' });
      }
  }
  const zero = pfnOfPage(get(globals, Globals.zeroPage));
  for (const vma of viewProcess(machine, process.ref, 0).vmas)
    for (const page of vma.pages) {
      const entry = found.get(page.vpn);
      found.delete(page.vpn);
      const expected = page.kind === 'page' ? page.key : page.kind === 'zero' ? zero : -1;
      if (!entry) differences.push(`page 0x${page.vpn.toString(16)}: the walker finds no entry for a ${page.kind}`);
      else if (entry.frame !== expected) differences.push(`page 0x${page.vpn.toString(16)}: frame ${entry.frame}, expected ${expected} (${page.kind})`);
      else if (entry.write && (page.kind === 'zero' || (vma.flags & 2) === 0)) differences.push(`page 0x${page.vpn.toString(16)} is writable and must not be`);
      else if (entry.write && (page.flags & PAGE.ANON) !== 0 && (page.flags & PAGE.ANON_EXCLUSIVE) === 0)
        differences.push(`page 0x${page.vpn.toString(16)} is writable and shared by copy on write`);
    }
  for (const vpn of found.keys()) differences.push(`page 0x${vpn.toString(16)} is mapped and no VMA tells of it`);
  return differences;
}
