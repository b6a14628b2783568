/** Every paging mode gives the same answers: a history told in pages, its results in pages, its address space in pages. */
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import { get } from '../../src/memory/heap.ts';
import { Mm, Vma } from '../../src/mm/types.ts';
import { firstVma } from '../../src/mm/vma-tree.ts';
import { findings } from './support/address-space.ts';

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
/** Where in the results the stack's growth stands. */
const STACK = 15;

/** Plays the history; results that are addresses come out as pages above BASE. */
function history(mode: string): { results: (number | string)[]; vmas: string[]; machine: Machine } {
  const machine = new Machine({ mode, ramBytes: 256 * 2 ** 20 });
  const p = machine.spawn();
  const size = machine.pageSize;
  const results: (number | string)[] = [];
  const at = (page: number): number => (BASE + page) * size;
  const note = (r: number): void => {
    results.push(r >= at(-64) ? `page ${r / size - BASE}` : r);
  };
  const map = (page: number, pages: number, prot: number, flags: number): void => note(p.syscall('mmap', at(page), pages * size, prot, flags, -1, 0));
  const write = (page: number): void => {
    const fault = p.store(BigInt(at(page)), 1, 7n);
    results.push(fault ? `${fault.signal}/${fault.code}` : 'written');
  };
  map(0, 8, 3, 0x32);
  for (const page of [0, 3, 7, 8]) write(page);
  note(p.syscall('mprotect', at(2), 4 * size, 1));
  write(3);
  note(p.syscall('mprotect', at(2), 4 * size, 3));
  write(3);
  map(8, 2, 3, 0x32);
  map(12, 1, 3, 0x100032);
  map(9, 4, 3, 0x100032);
  note(p.syscall('munmap', at(4), 2 * size));
  map(3, 4, 0, 0x32);
  // A stack: clear of what is below by more than the guard gap of 256 pages, and then not.
  map(320, 2, 3, 0x132);
  write(317);
  write(200);
  note(p.syscall('munmap', at(320) + 1, size));
  const child = p.fork();
  child.store(BigInt(at(0)), 1, 9n);
  results.push(String(p.load(BigInt(at(0)), 1)), String(child.load(BigInt(at(0)), 1)));
  note(child.syscall('munmap', at(0), 400 * size));
  child.exit();
  // Wherever it goes, it is inside user space and whole.
  const anywhere = p.syscall('mmap', 0, 3 * size, 3, 0x22, -1, 0);
  results.push(anywhere > 0 && anywhere % size === 0 && anywhere / size + 3 <= get(p.mm, Mm.taskSize) ? 'placed' : `misplaced ${anywhere}`);
  results.push(p.store(BigInt(anywhere + 2 * size), 1, 1n) === undefined ? 'written' : 'refused');
  note(p.syscall('munmap', anywhere, 3 * size));
  note(p.syscall('mmap', (get(p.mm, Mm.taskSize) - 1) * size, 2 * size, 3, 0x32, -1, 0));
  machine.enter();
  expect(findings()).toEqual([]);
  const vmas: string[] = [];
  for (let vma = firstVma(p.mm); vma !== 0; vma = get(vma, Vma.next))
    vmas.push(`${get(vma, Vma.start) - BASE}-${get(vma, Vma.end) - BASE} ${get(vma, Vma.flags)}`);
  return { results, vmas, machine };
}

describe('mappings in every mode', () => {
  const expected = history('x86-4level');

  test('the history is what it should be', () => {
    expect(expected.results).toEqual([
      'page 0',
      'written',
      'written',
      'written',
      '11/1',
      0,
      '11/2',
      0,
      'written',
      'page 8',
      'page 12',
      -17,
      0,
      'page 3',
      'page 320',
      'written',
      '11/1',
      -22,
      '7',
      '9',
      0,
      'placed',
      'written',
      0,
      -12,
    ]);
  });

  test.each(modes)('%s', (mode) => {
    const { results, vmas, machine } = history(mode);
    // PA-RISC's stacks grow upwards, and nothing else grows there.
    if (mode === 'parisc') expect(results.splice(STACK, 1)).toEqual(['11/1']);
    expect(results).toEqual(expected.results.filter((_, i) => mode !== 'parisc' || i !== STACK));
    expect(vmas).toEqual(mode === 'parisc' ? expected.vmas.map((v) => v.replace('317-', '320-')) : expected.vmas);
    for (const p of machine.processes) p.exit();
    machine.enter();
    expect(findings()).toEqual([]);
  });
});
