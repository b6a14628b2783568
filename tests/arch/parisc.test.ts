/** PA-RISC: entries by asm/pgtable.h, huge pages as marked runs of base entries, special pages that carry the same mark, roots, swap. */
import { describe, expect, it } from 'vitest';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { checkEntries, checkInverse, halves, type Known } from '../support/entries.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const mode = modeNamed('parisc');

const known: readonly Known[] = [
  ['pgd', 0x1233n, 'page table', { PRESENT: 1, VALID: 1 }, '', 0x123000n],
  ['pgd', 0xffffff03n, 'page table', {}, '', 0xffffff0000n],
  ['pgd', 0x1231n, 'bad', {}, ''],
  ['pte', 0x12345b23n, '4K page', { READ: 1, WRITE: 1, EXEC: 0, USER: 1, PRESENT: 1, DIRTY: 1, ACCESSED: 1 }, 'rw-u PDA', 0x12345000n],
  ['pte', 0x12345a05n, '4K page', { EXEC: 1, ACCESSED: 0 }, 'r-xu P', 0x12345000n],
  ['pte', 0x12345a00n, '4K page', { READ: 0 }, '---u', 0x12345000n],
  ['pte', 0x123453a3n, '4K page', { U: 1, USER: 0 }, 'rw-- PDA', 0x12345000n],
  ['pte', 0x12345a09n, '4K page', { GATEWAY: 1 }, 'r-xu P', 0x12345000n],
  ['pte', 0x12345e03n, '4K page', { SPECIAL: 1 }, 'rw-u P', 0x12345000n],
  ['pte', 0n, 'empty', {}, ''],
];

describe('parisc', () => {
  checkEntries(mode, known);
  checkInverse(mode);

  it('CR25 is the user root, CR24 the kernel root', () => {
    const registers = { cr24: 0x10000n, cr25: 0x123000n };
    expect(rootFromRegisters(mode, registers, 'user')).toMatchObject({ table: 0x123000n, level: 'pgd' });
    expect(rootFromRegisters(mode, registers, 'kernel').table).toBe(0x10000n);
    expect(() => rootFromRegisters(mode, { cr25: 0x123004n }, 'user')).toThrow(/aligned/);
    expect(() => rootFromRegisters(mode, { cr25: 0n }, 'user')).toThrow(/physical/);
  });
});

describe('marked entries', () => {
  const PGD = 0x1000;

  function run(change: (i: number, word: number) => number): string[] {
    const memory = new Memory('big');
    memory.put(PGD + 5 * 4, (0x4000 >> 8) | 3);
    for (let i = 0; i < 1024; i++) memory.put(0x4000 + i * 4, change(i, 0x10000f23 + i * 4096));
    return translationOf(tablesAt(mode, memory, BigInt(PGD)));
  }

  it('a whole table of them, contiguous and alike, is one huge page', () => {
    expect(run((_, w) => w)).toEqual(['1400000-1800000 10000000 rw-u 4194304']);
  });

  it('a few of them are special pages, and nothing is broken', () => {
    expect(run((i, w) => (i < 3 ? w : 0))).toEqual(['1400000-1403000 10000000 rw-u 4096']);
  });

  it('an entry that differs makes all of them ordinary', () => {
    expect(run((i, w) => (i === 7 ? w & ~2 : w))).toEqual([
      '1400000-1407000 10000000 rw-u 4096',
      '1407000-1408000 10007000 r--u 4096',
      '1408000-1800000 10008000 rw-u 4096',
    ]);
  });

  it('contiguous memory that is not aligned is no huge page', () => {
    expect(run((_, w) => w + 4096)).toEqual(['1400000-1800000 10001000 rw-u 4096']);
  });
});

describe('swap-type words', () => {
  it.each([
    ['6.1', 0x2468 * 2048 + 5 * 64 + 9, 9, 0x12345, false],
    ['6.12', 0x2468 * 1024 + 5 * 32 + 9, 9, 0x12345, false],
    ['6.12', 0x2468 * 1024 + 0x100 + 5 * 32 + 9, 9, 0x12345, true],
  ] as const)('Linux %s: 0x%s', (kernel, word, type, offset, exclusive) => {
    const at = modeNamed('parisc', kernel);
    const { lo, hi } = halves(BigInt(word));
    expect(decodeSwap(at, 'pte', lo, hi)).toMatchObject({ type, offset, exclusive });
    expect(encodeSwap(at, 'pte', { type, offset, flags: exclusive ? ['exclusive'] : [] })).toEqual({ lo, hi });
  });

  it('hwpoison holds a frame', () => {
    expect(decodeSwap(modeNamed('parisc', '6.12'), 'pte', 0x91a0bb, 0)).toMatchObject({ kind: 'hwpoison', pfn: 0x12345 });
  });
});
