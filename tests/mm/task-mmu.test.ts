/**
 * pagemap's entries and soft-dirty bits. The flags of entries are those that a C program read from /proc/self/pagemap of Linux 6.18.44 (bits 55 and up); soft-dirty,
 * which that kernel is built without, follows Documentation/admin-guide/mm/soft-dirty.rst.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { writeProcMem } from '../../src/machine/proc/mem.ts';
import { readPagemap, scanPagemap, writeClearRefs } from '../../src/machine/proc/pagemap.ts';
import { statusNumbers } from '../../src/machine/proc/status.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { set } from '../../src/memory/heap.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals } from '../../src/mm/types.ts';

const P = 4096;
const A = 0x10000000;
const F = 0x20000000;
const S = 0x30000000;
const BITS = 55n;

/** Flags of entries, in hex as the C program prints them. */
const flagsOf = (p: Process, at: number, pages: number, showPfn = true): string[] =>
  [...readPagemap(p.machine, p.ref, at / P, pages, showPfn)].map((e) => (e >> BITS).toString(16));
const frameOf = (p: Process, at: number): bigint => readPagemap(p.machine, p.ref, at / P, 1)[0] & ((1n << BITS) - 1n);

describe('pagemap', () => {
  const p = new Machine().spawn();
  p.syscall('mmap', A, 8 * P, 3, 0x32, -1, 0);
  const touch = (at: number): void => void p.store(BigInt(at), 1, 1n);
  touch(A);
  touch(A + P);
  p.load(BigInt(A + 2 * P), 1);
  p.syscall('madvise', A + 3 * P, P, 102);
  const fd = p.syscall('memfd_create', A, 0);
  p.syscall('ftruncate', fd, 8 * P);
  p.syscall('mmap', F, 4 * P, 3, 0x12, fd, 0);
  p.load(BigInt(F), 1);
  touch(F + P);
  p.syscall('mmap', S, 4 * P, 3, 0x11, fd, 0);
  touch(S);
  touch(S + 2 * P);

  test('anonymous pages, the zero page, guards, holes', () => {
    expect(flagsOf(p, A, 5)).toEqual(['102', '102', '100', '88', '0']);
    expect(readPagemap(p.machine, p.ref, A / P + 3, 1)[0]).toBe(0x440000000000009fn);
    expect(frameOf(p, A)).not.toBe(0n);
    expect(frameOf(p, A)).not.toBe(frameOf(p, A + P));
  });

  test('files', () => {
    expect(flagsOf(p, F, 4)).toEqual(['140', '102', '0', '0']);
    expect(flagsOf(p, S, 4)).toEqual(['140', '0', '142', '0']);
    expect(frameOf(p, F)).toBe(frameOf(p, S));
  });

  test('after a fork, a write, and the end of the child', () => {
    const child = p.fork();
    expect(flagsOf(child, A, 5)).toEqual(['100', '100', '100', '88', '0']);
    expect(flagsOf(child, S, 4)).toEqual(['0', '0', '0', '0']);
    child.store(BigInt(A), 1, 2n);
    expect(flagsOf(child, A, 2)).toEqual(['102', '100']);
    child.exit();
    expect(flagsOf(p, A, 2)).toEqual(['102', '102']);
  });

  test('rights of the mapping do not count', () => {
    p.syscall('mprotect', A, P, 0);
    expect(flagsOf(p, A, 1)).toEqual(['102']);
  });

  test('who may not know frames sees none', () => {
    expect(flagsOf(p, A, 5, false)).toEqual(['102', '102', '100', '88', '0']);
    expect([...readPagemap(p.machine, p.ref, A / P, 8, false)].every((e) => (e & ((1n << BITS) - 1n)) === 0n)).toBe(true);
  });

  test('it ends with user space, and a read may be longer than a buffer', () => {
    const end = 0x7ffffffff000 / P;
    expect(readPagemap(p.machine, p.ref, end, 1)).toHaveLength(0);
    expect(readPagemap(p.machine, p.ref, end - 2, 8)).toHaveLength(2);
    const long = readPagemap(p.machine, p.ref, A / P - 600, 1300);
    expect(long).toHaveLength(1300);
    expect([...long].map((e, i) => [i, e] as const).filter(([, e]) => e !== 0n)).toHaveLength(4);
    expect(long[600]).toBe(readPagemap(p.machine, p.ref, A / P, 1)[0]);
  });
});

describe('soft-dirty', () => {
  const PAGES = 12;
  const SOFT_DIRTY = 128n;
  function start(): Process {
    const m = new Machine();
    m.enter();
    set(globals, Globals.softDirty, 1);
    const p = m.spawn();
    expect(p.syscall('mmap', A, PAGES * P, 3, 0x32, -1, 0)).toBe(A);
    return p;
  }

  /** Pages that PAGEMAP_SCAN calls soft-dirty, and, what must be the same, those with bit 55 in pagemap. */
  function dirty(p: Process): number[] {
    const { regions } = scanPagemap(p.machine, p.ref, {
      flags: 0n,
      start: BigInt(A),
      end: BigInt(A + PAGES * P),
      vectorLength: 64,
      maxPages: 0n,
      invertedMask: 0n,
      mask: SOFT_DIRTY,
      anyMask: 0n,
      returnMask: SOFT_DIRTY,
    });
    const scanned = regions.flatMap(({ start: from, end }) => Array.from({ length: Number(end - from) / P }, (_, i) => Number(from - BigInt(A)) / P + i));
    const read = [...readPagemap(p.machine, p.ref, A / P, PAGES)].flatMap((e, i) => (((e >> BITS) & 1n) !== 0n ? [i] : []));
    expect(read).toEqual(scanned);
    return scanned;
  }

  test('a new mapping is all soft-dirty, until the bits are cleared', () => {
    const p = start();
    expect(dirty(p)).toHaveLength(PAGES);
    expect(writeClearRefs(p.machine, p.ref, 4)).toBe(0);
    expect(dirty(p)).toEqual([]);
  });

  test('writes after that are seen, reads are not', () => {
    const p = start();
    for (let i = 0; i < 4; i++) p.store(BigInt(A + i * P), 1, 1n);
    writeClearRefs(p.machine, p.ref, 4);
    p.load(BigInt(A), 1);
    p.load(BigInt(A + 8 * P), 1);
    expect(dirty(p)).toEqual([]);
    p.store(BigInt(A + P), 1, 1n);
    p.store(BigInt(A + 8 * P), 1, 1n);
    p.store(BigInt(A + 9 * P), 1, 1n);
    expect(dirty(p)).toEqual([1, 8, 9]);
    expect(p.load(BigInt(A + 2 * P), 1)).toBe(1n);
  });

  test('without the switch nothing is soft-dirty and nothing is write-protected', () => {
    const p = start();
    set(globals, Globals.softDirty, 0);
    const q = p.machine.spawn();
    q.syscall('mmap', A, PAGES * P, 3, 0x32, -1, 0);
    q.store(BigInt(A), 1, 1n);
    expect(dirty(q)).toEqual([]);
    expect(writeClearRefs(p.machine, q.ref, 4)).toBe(0);
    q.store(BigInt(A), 1, 1n);
    expect(dirty(q)).toEqual([]);
  });

  test('a page is soft-dirty exactly when it was written since the bits were cleared', () => {
    const page = fc.integer({ min: 0, max: 3 });
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('store', 'load', 'readonly', 'writable', 'poke'), page }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('clear', 'fork'), page }) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 40 }), (steps) => {
        const p = start();
        writeClearRefs(p.machine, p.ref, 4);
        const written = new Set<number>();
        const readonly = new Set<number>();
        for (const { op, page: i } of steps) {
          const at = A + i * P;
          if (op === 'store') {
            if (p.store(BigInt(at), 1, 1n) === undefined) written.add(i);
            else expect(readonly).toContain(i);
          } else if (op === 'poke') {
            // A debugger's write counts as the process's own, whatever the mapping allows.
            expect(writeProcMem(p.machine, p.ref, BigInt(at), new Uint8Array([2]))).toBe(1);
            written.add(i);
          } else if (op === 'load') p.load(BigInt(at), 1);
          else if (op === 'readonly') {
            p.syscall('mprotect', at, P, 1);
            readonly.add(i);
          } else if (op === 'writable') {
            p.syscall('mprotect', at, P, 3);
            readonly.delete(i);
          } else if (op === 'clear') {
            writeClearRefs(p.machine, p.ref, 4);
            written.clear();
          } else if (op === 'fork') p.fork().exit();
        }
        expect(dirty(p)).toEqual([...written].sort((a, b) => a - b));
      }),
      { numRuns: 150 },
    );
  });
});

describe('the most that there was', () => {
  const KB = 1024;
  const p = new Machine().spawn();
  const peak = (): [size: number, peak: number] => {
    const { counters } = viewProcess(p.machine, p.ref, 0);
    const { VmSize, VmPeak } = statusNumbers(counters);
    return [VmSize, VmPeak];
  };
  const map = (at: number, kb: number): number => p.syscall('mmap', at, kb * KB, 3, 0x32, -1, 0);

  test.each<[string, () => number, [number, number]]>([
    ['mmap', () => map(A, 1024), [1024, 1024]],
    ['munmap', () => p.syscall('munmap', A + 512 * KB, 256 * KB), [768, 1024]],
    ['mmap into the hole', () => map(A + 512 * KB, 128), [896, 1024]],
    ['a mapping that moves', () => p.syscall('mremap', A, 256 * KB, 256 * KB, 3, A + 2048 * KB), [896, 1024]],
    ['a mapping that moves and grows', () => p.syscall('mremap', A + 256 * KB, 256 * KB, 512 * KB, 1, 0), [1152, 1152]],
    ['mmap over a mapping', () => map(A + 2048 * KB, 256), [1152, 1152]],
    ['mmap of much', () => map(A + 8192 * KB, 4096), [5248, 5248]],
    ['clear_refs', () => writeClearRefs(p.machine, p.ref, 5), [5248, 5248]],
    ['munmap of much', () => p.syscall('munmap', A + 8192 * KB, 4096 * KB), [1152, 5248]],
  ])('VmPeak after %s, as Linux prints it', (_, call, expected) => {
    expect(call()).toBeGreaterThanOrEqual(0);
    expect(peak()).toEqual(expected);
  });

  test('VmPeak of a child begins anew', () => {
    const child = p.fork();
    const { VmPeak } = statusNumbers(viewProcess(p.machine, child.ref, 1).counters);
    expect(VmPeak).toBe(1152);
  });

  test('VmHWM: pages that are given back count until clear_refs', () => {
    const resident = (): [rss: number, most: number] => {
      const { VmRSS, VmHWM } = statusNumbers(viewProcess(p.machine, p.ref, 0).counters);
      return [VmRSS, VmHWM];
    };
    map(F, 400);
    for (let i = 0; i < 100; i++) p.store(BigInt(F + i * P), 1, 1n);
    expect(resident()).toEqual([400, 400]);
    p.syscall('madvise', F, 200 * KB, 4);
    expect(resident()).toEqual([200, 400]);
    p.syscall('munmap', F + 300 * KB, 100 * KB);
    expect(resident()).toEqual([100, 400]);
    writeClearRefs(p.machine, p.ref, 5);
    expect(resident()).toEqual([100, 100]);
    p.store(BigInt(F), 1, 1n);
    expect(resident()).toEqual([104, 104]);
  });
});
