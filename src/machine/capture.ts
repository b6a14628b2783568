/**
 * A running machine as memory that can be opened: as a source of frames for `pxd/pagetable` (walks, leaves, audits), and as the bytes of a capture
 * file for `pxd inspect`.
 */
import { kernelRegisters } from '../arch/linux/kernel.ts';
import { type RootEntry, writeCapture } from '../image/index.ts';
import { entryAt, loadEntry, spanPages, tableOrder } from '../kernel/arch.ts';
import { get } from '../memory/heap.ts';
import { bytes, knownPageOfPfn, pageShift, pagesEnd, pfnOfPage } from '../memory/state.ts';
import { globals } from '../mm/globals.ts';
import { Globals, Mm } from '../mm/types.ts';
import { entryPfn, PTE_TABLE, rootRegisters } from '../pagetable/canonical.ts';
import type { FrameSource } from '../pagetable/source.ts';
import type { Machine } from './machine.ts';

/** Frames of a source and of a capture are 4 KiB, whatever the mode's page. */
const FRAME = 4096;

/** The machine's RAM by frames of 4 KiB; frames that nothing was ever written to are absent. A view, not a copy: it follows the machine. */
export function frameSource(machine: Machine): FrameSource {
  const perPage = machine.pageSize / FRAME;
  return {
    frame: (frame: number) => {
      machine.enter();
      const page = knownPageOfPfn(Math.floor(frame / perPage));
      if (page === 0) return undefined;
      return new Uint32Array(bytes.buffer, page * machine.pageSize + (frame % perPage) * FRAME, FRAME / 4);
    },
  };
}

/** What the root registers hold while a process runs, by name. */
export function registersOf(machine: Machine, pid: number): Readonly<Record<string, bigint>> {
  const process = machine.process(pid);
  return rootRegisters(machine.codec, pfnOfPage(get(process.mm, Mm.pgd))).registers;
}

/** The same for the kernel's own space; undefined in a machine without kernel tables (mm/init-mm.ts). */
export function kernelRegistersOf(machine: Machine): Readonly<Record<string, bigint>> | undefined {
  machine.enter();
  const init = get(globals, Globals.initMm);
  if (init === 0) return undefined;
  const { codec } = machine;
  const top = codec.levels.length - 1;
  const pgd = get(init, Mm.pgd);
  const address = (pfn: number): bigint => BigInt(pfn) << BigInt(codec.pageShift);
  const below = (index: number): bigint | undefined => {
    const entry = loadEntry(entryAt(pgd, top, index * spanPages(top)), top);
    return (entry & PTE_TABLE) === 0 ? undefined : address(entryPfn(entry));
  };
  return kernelRegisters(codec.mode, address(pfnOfPage(pgd)), codec.levels[top].name, below);
}

/** Pages of the tables that roots name: without them a capture has no such table, though a part of it may be empty. */
function topTables(machine: Machine): Set<number> {
  const init = get(globals, Globals.initMm);
  const pages = new Set<number>();
  const order = tableOrder(machine.codec.levels.length - 1);
  for (const mm of [...machine.processes.map((p) => p.mm), ...(init === 0 ? [] : [init])]) for (let i = 0; i < 2 ** order; i++) pages.add(get(mm, Mm.pgd) + i);
  return pages;
}

/**
 * The chunks of a capture file: every frame that holds something but zeroes, top tables whole, and the roots of all processes and of the kernel, where it has tables. `pxd inspect FILE` and `pxd leaves FILE`
 * open it.
 */
export function capture(machine: Machine): Uint8Array[] {
  machine.enter();
  const perPage = machine.pageSize / FRAME;
  const frames: { frame: number; bytes: Uint8Array }[] = [];
  const tops = topTables(machine);
  for (let page = 2 ** (16 - pageShift); page < pagesEnd(); page++)
    for (let part = 0; part < perPage; part++) {
      const from = page * machine.pageSize + part * FRAME;
      const data = bytes.slice(from, from + FRAME);
      if (tops.has(page) || data.some((b) => b !== 0)) frames.push({ frame: pfnOfPage(page) * perPage + part, bytes: data });
    }
  const mode = machine.codec.mode;
  const roots: RootEntry[] = machine.processes.map((p) => ({ pid: p.pid, comm: `process-${p.pid}`, mode: 'user', registers: registersOf(machine, p.pid) }));
  const kernel = kernelRegistersOf(machine);
  if (kernel !== undefined) roots.push({ pid: 0, comm: 'swapper', mode: 'kernel', registers: kernel });
  return writeCapture({ elfMachine: mode.elfMachines[0], endian: mode.endian, frames, meta: { mode: mode.name, kernel: '6.18', roots } });
}
