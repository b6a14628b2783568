/** Alpha: entries by the architecture manual, the table that maps itself, roots, swap. */
import { describe, expect, it } from 'vitest';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { checkEntries, checkInverse, halves, type Known } from '../support/entries.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const mode = modeNamed('alpha');
const at = (pfn: bigint, flags: bigint): bigint => (pfn << 32n) | flags;

const known: readonly Known[] = [
  ['pgd', at(0x123n, 0x63301n), 'level 2 table', { V: 1, KRE: 1, URE: 1, KWE: 1, UWE: 1, DIRTY: 1, ACCESSED: 1 }, '', 0x246000n],
  ['pmd', at(0x123n, 0x63301n), 'page table', { V: 1 }, '', 0x246000n],
  ['pmd', at(0x123n, 0x63300n), 'bad', {}, ''],
  ['pte', at(0x12345n, 0x63301n), '8K page', { FOR: 0, FOW: 0, FOE: 0, ASM: 0, URE: 1, UWE: 1 }, 'rwxu PDA', 0x2468a000n],
  ['pte', at(0x12345n, 0x40305n), '8K page', { FOW: 1 }, 'r-xu PA', 0x2468a000n],
  ['pte', at(0x12345n, 0x4030dn), '8K page', { FOW: 1, FOE: 1 }, 'r--u PA', 0x2468a000n],
  ['pte', at(0x12345n, 0x4030fn), '8K page', { FOR: 1, FOW: 1, FOE: 1 }, '---u A', 0x2468a000n],
  ['pte', at(0x12345n, 0x5n), '8K page', { URE: 0, ACCESSED: 0 }, 'r-xu P', 0x2468a000n],
  ['pte', at(0x12345n, 0x1111n), '8K page', { ASM: 1, KRE: 1, KWE: 1 }, 'rwx- PG', 0x2468a000n],
  ['pte', 0n, 'empty', {}, ''],
];

describe('alpha', () => {
  checkEntries(mode, known);
  checkInverse(mode);

  it('takes PTBR as a frame number, pgd as an address', () => {
    expect(rootFromRegisters(mode, { ptbr: 0x123n }, 'user').table).toBe(0x246000n);
    expect(rootFromRegisters(mode, { pgd: 0x246000n }, 'kernel').table).toBe(0x246000n);
    expect(() => rootFromRegisters(mode, { pgd: 0x247000n }, 'user')).toThrow(/8 KiB/);
    expect(() => rootFromRegisters(mode, { ptbr: 0xfffffc0000246000n }, 'user')).toThrow(/32 bits/);
  });

  it('the last slot of the top table maps the tables themselves', () => {
    const memory = new Memory('little');
    for (const t of [0x246000, 0x248000, 0x24a000]) {
      memory.put(t, 0n, 8);
      memory.put(t + 4096, 0n, 8);
    }
    memory.put(0x246000, at(0x124n, 0x63301n), 8);
    memory.put(0x248000 + 8, at(0x125n, 0x63301n), 8);
    memory.put(0x24a000 + 16, at(0x12345n, 0x40305n), 8);
    memory.put(0x246000 + 1023 * 8, at(0x123n, 0x1111n), 8);
    const tables = tablesAt(mode, memory, 0x246000n);
    const lines = translationOf(tables);
    expect(lines).toContain('804000-806000 2468a000 r-xu 8192');
    // The virtual page table: the page table itself, then level 2, then the top table at the very end.
    expect(lines).toContain('fffffffe00002000-fffffffe00004000 24a000 rwxu 8192');
    expect(lines.at(-1)).toBe('ffffffffffffe000-10000000000000000 246000 rwxk 8192');
    // Tables met at several levels are read once at each.
    expect(tables.nodes.length).toBeLessThan(10);
  });
});

describe('swap-type words', () => {
  it.each([
    ['6.1', 0x1234585_00000000n, 0x85, 0x12345, false],
    ['6.12', 0x1234585_00000000n, 5, 0x12345, true],
  ] as const)('Linux %s', (kernel, word, type, offset, exclusive) => {
    const versioned = modeNamed('alpha', kernel);
    const { lo, hi } = halves(word);
    expect(decodeSwap(versioned, 'pte', lo, hi)).toMatchObject({ type, offset, exclusive });
    expect(encodeSwap(versioned, 'pte', { type, offset, flags: exclusive ? ['exclusive'] : [] })).toEqual({ lo, hi });
  });

  it("the kernel's own pte_swp_exclusive never sees the mark", () => {
    expect(new LinuxEntries(modeNamed('alpha', '6.12')).predicate('pte', 'pte_swp_exclusive', halves(0x1234585_00000000n))).toBe(false);
  });
});
