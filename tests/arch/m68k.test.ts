/** m68k: descriptors by the MC68030 and MC68040 manuals, ColdFire entries by MMUDR and MMUTR, roots, rights over levels, swap. */
import { describe, expect, it } from 'vitest';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { checkEntries, checkInverse, halves, type Known } from '../support/entries.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const motorola: readonly Known[] = [
  ['pgd', 0x0012300an, 'pointer table', { DT: 2, U: 1, WP: 0 }, '', 0x123000n],
  ['pgd', 0x02000019n, '32M page (early termination)', { DT: 1, M: 1, U: 1 }, 'rwxu PDA', 0x2000000n],
  ['pmd', 0x0012310en, 'page table', { DT: 2, U: 1, WP: 1 }, '', 0x123100n],
  ['pmd', 0x00040099n, '256K page (early termination)', { S: 1 }, 'rwx- PDA', 0x40000n],
  ['pmd', 0x00123003n, 'bad', {}, ''],
  ['pte', 0x12345019n, '4K page', { DT: 1, M: 1, U: 1, WP: 0 }, 'rwxu PDA', 0x12345000n],
  ['pte', 0x1234500dn, '4K page', { WP: 1 }, 'r-xu PA', 0x12345000n],
  ['pte', 0x123454bbn, '4K page', { DT: 3, CM: 1, S: 1, G: 1 }, 'rwx- PDAG', 0x12345000n],
  ['pte', 0x1234500cn, '4K page, PROT_NONE', { DT: 0, WP: 1, U: 1 }, '---u A', 0x12345000n],
  ['pte', 0n, 'empty', {}, ''],
];

const coldfire: readonly Known[] = [
  ['pgd', 0x00246000n, 'page table', {}, '', 0x246000n],
  ['pgd', 0x00246800n, 'page table', {}, '', 0x246800n],
  ['pgd', 0x00246400n, 'bad', {}, ''],
  ['pte', 0x2468bc3dn, '8K page', { V: 1, SG: 1, SP: 1, R: 1, W: 1, X: 1, DIRTY: 1, ACCESSED: 1, CM: 0 }, 'rwx- PDAG', 0x2468a000n],
  ['pte', 0x2468b411n, '8K page', { R: 1, W: 0, X: 0 }, 'r--u PDA', 0x2468a000n],
  ['pte', 0x2468b498n, '8K page', { CM: 2, W: 1 }, 'rw-u PA', 0x2468a000n],
  ['pte', 0x2468a414n, '8K page', { ACCESSED: 0, X: 1 }, 'r-xu P', 0x2468a000n],
  ['pte', 0x2468b400n, '8K page', { R: 0, W: 0, X: 0 }, '---u A', 0x2468a000n],
];

describe.each([
  ['m68k', motorola],
  ['m68k-coldfire', coldfire],
] as const)('%s', (name, known) => {
  checkEntries(modeNamed(name), known);
  checkInverse(modeNamed(name));
});

describe('root pointers', () => {
  const mode = modeNamed('m68k');

  it('CRP with limit and descriptor type, URP, plain address', () => {
    expect(rootFromRegisters(mode, { crp: 0x80000002_00123200n }, 'user').table).toBe(0x123200n);
    expect(rootFromRegisters(mode, { urp: 0x123200n }, 'user').table).toBe(0x123200n);
    expect(rootFromRegisters(mode, { srp: 0x123200n, urp: 0x400000n }, 'kernel').table).toBe(0x123200n);
    expect(() => rootFromRegisters(mode, { crp: 0x80000003_00123200n }, 'user')).toThrow(/descriptor type 3/);
    expect(() => rootFromRegisters(mode, { urp: 0x123210n }, 'user')).toThrow(/multiple of 512/);
  });

  it('ColdFire: one table, the kernel from 0xc0000000', () => {
    const cf = modeNamed('m68k-coldfire');
    expect(rootFromRegisters(cf, { pgd: 0x246000n }, 'user').ranges.map((r) => r.half)).toEqual(['user', 'kernel']);
    expect(() => rootFromRegisters(cf, { pgd: 0x246100n }, 'user')).toThrow(/multiple of 4096/);
  });
});

describe('three levels', () => {
  it('several tables to a frame; write protection of a table holds below it', () => {
    const memory = new Memory('big');
    memory.put(0x1200, 0x0000140a);
    memory.put(0x1200 + 3 * 4, 0x06000019);
    memory.put(0x1400, 0x0000180a);
    memory.put(0x1404, 0x0000180e);
    memory.put(0x1800 + 63 * 4, 0x12345019);
    expect(translationOf(tablesAt(modeNamed('m68k'), memory, 0x1200n))).toEqual([
      '3f000-40000 12345000 rwxu 4096',
      '7f000-80000 12345000 r-xu 4096',
      '6000000-8000000 6000000 rwxu 33554432',
    ]);
  });
});

describe('swap-type words', () => {
  it.each([
    ['m68k', '6.1', 0x12345850n, 0x85, 0x12345, false],
    ['m68k', '6.12', 0x12345850n, 5, 0x12345, true],
    ['m68k-coldfire', '6.1', 0x91a2885n, 0x85, 0x12345, false],
    ['m68k-coldfire', '6.12', 0x91a2885n, 5, 0x12345, true],
  ] as const)('%s, Linux %s', (name, kernel, word, type, offset, exclusive) => {
    const mode = modeNamed(name, kernel);
    const { lo, hi } = halves(word);
    expect(decodeSwap(mode, 'pte', lo, hi)).toMatchObject({ type, offset, exclusive });
    expect(encodeSwap(mode, 'pte', { type, offset, flags: exclusive ? ['exclusive'] : [] })).toEqual({ lo, hi });
  });
});
