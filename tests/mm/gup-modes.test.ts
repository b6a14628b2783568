/** Every paging mode gives the same answers to debuggers, process_vm, pipes, PAGEMAP_SCAN and clear_refs: a history told in pages, its results in pages. */
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import { readProcMem, writeProcMem } from '../../src/machine/proc/mem.ts';
import { readPagemap, scanPagemap, writeClearRefs } from '../../src/machine/proc/pagemap.ts';
import type { Process } from '../../src/machine/process.ts';

const modes = allModes()
  .map((m) => m.name)
  .filter((name) => {
    try {
      return codecFor(name) !== undefined;
    } catch {
      return false;
    }
  });

/** Pages that the history's addresses count from: below 2 GiB with pages of 64 KiB too. */
const BASE = 0x4000;
const VECTORS = 64;

function history(mode: string): unknown[] {
  const m = new Machine({ mode, ramBytes: 256 * 2 ** 20 });
  const p = m.spawn();
  const size = m.pageSize;
  const at = (page: number): number => (BASE + page) * size;
  const out: unknown[] = [];
  const note = (r: number): void => void out.push(r >= at(-64) ? r / size - BASE : r > size - 16 ? `${r / size} pages` : r);
  const map = (page: number, pages: number, prot: number, flags: number, fd = -1): void => note(p.syscall('mmap', at(page), pages * size, prot, flags, fd, 0));
  const peek = (who: Process, page: number, offset = 0): void => {
    const got = readProcMem(m, who.ref, BigInt(at(page) + offset), 4);
    out.push(typeof got === 'number' ? got : [...got]);
  };
  const poke = (who: Process, page: number, value: number): void => void out.push(writeProcMem(m, who.ref, BigInt(at(page)), new Uint8Array(4).fill(value)));
  const vector = (slot: number, page: number, pages: number): number => {
    const words = [at(page), pages * size].flatMap((value) => (m.codec.vaBits > 32 ? [value, 0] : [value]));
    p.write(BigInt(at(VECTORS) + slot * 16), new Uint8Array(new Uint32Array(words).buffer));
    return at(VECTORS) + slot * 16;
  };
  const scan = (who: Process): void => {
    const shift = BigInt(m.pageShift);
    const { result, regions } = scanPagemap(m, who.ref, {
      flags: 0n,
      start: BigInt(BASE) << shift,
      end: BigInt(BASE + 24) << shift,
      vectorLength: 20,
      maxPages: 0n,
      invertedMask: 0n,
      // Present or guard: where tables end, which "written" depends on, differs from mode to mode.
      mask: 0n,
      anyMask: 0x108n,
      returnMask: 0x1ffn,
    });
    out.push([result, ...regions.map((r) => [Number(r.start >> shift) - BASE, Number(r.end >> shift) - BASE, r.categories])]);
    out.push([...readPagemap(m, who.ref, BASE, 24, false)].map((e) => (e >> 55n).toString(16)).join(' '));
  };
  map(VECTORS, 1, 3, 0x32);
  map(0, 8, 3, 0x32);
  for (const page of [0, 1, 7]) p.store(BigInt(at(page)), 1, BigInt(page + 1));
  p.load(BigInt(at(2)), 1);
  note(p.syscall('madvise', at(3), size, 102));
  const fd = p.syscall('memfd_create', at(VECTORS), 0);
  note(p.syscall('ftruncate', fd, 4 * size));
  map(8, 4, 3, 0x11, fd);
  map(12, 4, 1, 0x12, fd);
  map(16, 2, 1, 0x11, fd);
  p.store(BigInt(at(9)), 1, 9n);
  for (const page of [0, 2, 3, 4, 9, 13, 20]) peek(p, page);
  peek(p, 8, -2);
  for (const page of [1, 3, 12, 16, 20]) poke(p, page, 0x40 + page);
  note(p.syscall('mprotect', at(5), size, 0));
  poke(p, 5, 0x55);
  peek(p, 5);
  scan(p);
  const child = p.fork();
  poke(child, 1, 0x61);
  peek(p, 1);
  note(p.syscall('process_vm_readv', child.pid, vector(0, 6, 1), 1, vector(1, 1, 1), 1, 0));
  peek(p, 6);
  note(p.syscall('process_vm_writev', child.pid, vector(0, 0, 2), 1, vector(1, 6, 2), 1, 0));
  note(p.syscall('process_vm_writev', child.pid, vector(0, 0, 1), 1, vector(1, 12, 1), 1, 0));
  peek(child, 7);
  scan(child);
  note(p.syscall('pipe2', at(VECTORS) + 256, 0));
  note(p.syscall('vmsplice', fd + 2, vector(0, 0, 3), 1, 0));
  child.exit();
  p.store(BigInt(at(0)), 1, 0x77n);
  note(p.syscall('read', fd + 1, at(6), 2 * size));
  peek(p, 6);
  peek(p, 7);
  out.push(writeClearRefs(m, p.ref, 1), writeClearRefs(m, p.ref, 4));
  scan(p);
  p.exit();
  return out;
}

describe('memory of others in every paging mode', () => {
  const expected = history('x86-4level');

  test('the history is what Linux does', () => {
    // A debugger reads through rights, not through guards; a forced write goes to private memory alone.
    expect(expected).toContainEqual([0x55, 0x55, 0x55, 0x55]);
    expect(expected.filter((r) => r === -5).length).toBe(5);
  });

  test.each(modes)('%s', (mode) => {
    expect(history(mode)).toEqual(expected);
  });
});
