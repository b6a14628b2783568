/** A running machine written as a capture, opened as any other image, and compared with the machine. */
import { describe, expect, it } from 'vitest';
import { findMode } from '../../src/arch/registry.ts';
import { type Image, MemoryBytes, openSource } from '../../src/image/index.ts';
import { Machine, type Process, viewProcess } from '../../src/machine/index.ts';
import { compileMode, extentsOf, readPageTables, rootFromRegisters } from '../../src/pagetable/index.ts';

const BASE = 0x20000000;

/** A machine with two processes that share some pages and have some of their own. */
function lived(mode: string): Machine {
  const machine = new Machine({ mode, ramBytes: 2 ** 28 });
  const size = machine.pageSize;
  const first = machine.spawn();
  first.syscall('mmap', BASE, 16 * size, 3, 0x32, -1, 0);
  first.syscall('mmap', BASE + 32 * size, 4 * size, 3, 0x31, -1, 0);
  for (const page of [0, 1, 2, 5, 9, 32, 33]) first.store(BigInt(BASE + page * size), 4, BigInt(0x1000 + page));
  first.load(BigInt(BASE + 12 * size), 1);
  const second = first.fork();
  second.store(BigInt(BASE + size), 4, 0x2001n);
  second.store(BigInt(BASE + 33 * size), 4, 0x2033n);
  second.syscall('mprotect', BASE + 2 * size, size, 0);
  return machine;
}

/** vpn → frame and whether stores are allowed, of all leaves of the user's half as the opened file has them. */
function leavesOf(image: Image, pid: number): Map<number, { frame: number; write: boolean }> {
  const meta = image.capture;
  const root = meta?.roots.find((r) => r.pid === pid);
  const mode = findMode(meta?.mode ?? '');
  if (!root || !mode) throw new Error(`the capture has no root of process ${pid}`);
  const compiled = compileMode(mode);
  const tables = readPageTables(compiled, image, rootFromRegisters(compiled, root.registers, 'user'));
  const { columns, classes } = extentsOf(tables, { half: 'user', all: true });
  const found = new Map<number, { frame: number; write: boolean }>();
  for (let i = 0; i < columns.length; i++) {
    const c = classes[columns.kind[i]];
    if (c.kind !== 'leaf') continue;
    for (let page = 0; page < columns.pages[i]; page++) found.set(columns.vpn[i] + page, { frame: columns.pfn[i] + page, write: c.write });
  }
  return found;
}

const open = async (machine: Machine): Promise<Image> => await openSource(new MemoryBytes(Buffer.concat(machine.capture())), { codecs: {} });

/** The word that a process would load, out of the file: page of the mode, first word. */
function wordAt(image: Image, machine: Machine, frame: number): number {
  const bytes = image.readBytes(BigInt(frame) * BigInt(machine.pageSize), 4);
  return bytes === undefined ? -1 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

const MODES = ['x86-4level', 'x86-pae', 'arm64-64k-48', 'riscv-sv48', 's390x', 'mips64-16k', 'loongarch64-16k', 'ppc64-radix-4k', 'sparc64', 'm68k'];

describe('a capture of a running machine', () => {
  it.each(MODES)('%s: has the pages, rights and bytes of each process', async (mode) => {
    const machine = lived(mode);
    const image = await open(machine);
    expect(image.capture?.mode).toBe(mode);
    expect(image.capture?.roots.map((r) => r.pid)).toEqual(machine.processes.map((p) => p.pid));
    for (const process of machine.processes) {
      const leaves = leavesOf(image, process.pid);
      for (const vma of viewProcess(machine, process.ref, 0).vmas)
        for (const page of vma.pages) {
          if (page.kind !== 'page') continue;
          const refused = (vma.flags & 7) === 0;
          const leaf = leaves.get(page.vpn);
          // Some architectures keep a page without rights as an entry that their hardware does not take for a leaf.
          if (refused && leaf === undefined) continue;
          expect({ vpn: page.vpn, frame: leaf?.frame }).toEqual({ vpn: page.vpn, frame: page.key });
          if (refused) continue;
          const value = process.load(BigInt(page.vpn) * BigInt(machine.pageSize), 4);
          expect(wordAt(image, machine, page.key)).toBe(Number(value));
        }
    }
    const [first, second] = machine.processes;
    for (const process of [first, second]) expect(leavesOf(image, process.pid).get(BASE / machine.pageSize)?.write).toBe(false);
    expect(wordOf(image, machine, first, 0)).toBe(0x1000);
    expect(wordOf(image, machine, second, 0)).toBe(0x1000);
    expect(wordOf(image, machine, first, 1)).toBe(0x1001);
    expect(wordOf(image, machine, second, 1)).toBe(0x2001);
    expect(wordOf(image, machine, first, 33)).toBe(0x2033);
    image.close();
  });

  it('is the same for machines in the same state, and another one after a store', () => {
    const machine = lived('x86-4level');
    const before = Buffer.concat(machine.capture());
    const copy = machine.clone();
    expect(before.equals(Buffer.concat(copy.capture()))).toBe(true);
    machine.processes[0].store(BigInt(BASE), 1, 0xffn);
    expect(before.equals(Buffer.concat(machine.capture()))).toBe(false);
    expect(before.equals(Buffer.concat(copy.capture()))).toBe(true);
  });
});

/** What a page of a process holds, by the file alone. */
function wordOf(image: Image, machine: Machine, process: Process, page: number): number {
  const leaf = leavesOf(image, process.pid).get(BASE / machine.pageSize + page);
  return leaf === undefined ? -1 : wordAt(image, machine, leaf.frame);
}
