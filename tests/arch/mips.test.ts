/** MIPS: entries by pgtable-bits.h, kernel virtual table pointers, shared empty tables, roots, swap-type words. */
import { describe, expect, it } from 'vitest';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { checkEntries, checkInverse, halves, type Known } from '../support/entries.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

/** A 64-bit kernel's entry: address bit 12 stands at bit 14. */
const wide = (pa: bigint, flags: bigint): bigint => ((pa >> 12n) << 14n) | flags;

const pointers64 = (low: bigint): Known[] => [
  ['pgd', 0x9000000002000000n + low, 'page middle directory', {}, '', 0x9000000002000000n + low],
  ['pgd', 0xffffffff81000000n + low, 'page middle directory', {}, '', 0xffffffff81000000n + low],
  ['pmd', 0xa800000002000000n + low, 'page table', {}, '', 0xa800000002000000n + low],
  // XKSEG is mapped by these very tables, so no table is reached through it.
  ['pmd', 0xc000000002000000n + low, 'bad', {}, ''],
  ['pmd', 0x9000000002000000n + low + 0x800n, 'bad', {}, ''],
];

const entries: Record<string, readonly Known[]> = {
  'mips32-4k': [
    ['pgd', 0x82147000n, 'page table', {}, '', 0x82147000n],
    ['pgd', 0xa2147000n, 'page table', {}, '', 0xa2147000n],
    ['pgd', 0x02147000n, 'bad', {}, ''],
    ['pgd', 0x82147010n, 'bad', {}, ''],
    ['pte', 0x0a3e478fn, '4K page', { PRESENT: 1, WRITE: 1, ACCESSED: 1, MODIFIED: 1, XI: 0, RI: 0, G: 0, V: 1, D: 1, C: 3 }, 'rwxu PDA', 0x0a3e4000n],
    ['pte', 0x0a3e4601n, '4K page', { V: 0, D: 0 }, 'r-xu P', 0x0a3e4000n],
    ['pte', 0x0a3e4621n, '4K page', { RI: 1, V: 0 }, '---u', 0x0a3e4000n],
    ['pte', 0x0a3e4695n, '4K page', { XI: 1, V: 1 }, 'r--u PA', 0x0a3e4000n],
    ['pte', 0x0a3e45cfn, '4K page', { C: 2, G: 1 }, 'rwx- PDAG', 0x0a3e4000n],
    ['pte', 0x40n, 'empty', { G: 1 }, ''],
  ],
  'mips32-16k': [
    ['pgd', 0x82148000n, 'page table', {}, '', 0x82148000n],
    ['pgd', 0x82147000n, 'bad', {}, ''],
    ['pte', 0x0a3e078fn, '16K page', { V: 1, D: 1, C: 3 }, 'rwxu PDA', 0x0a3e0000n],
    ['pte', 0x0a3e0621n, '16K page', { RI: 1 }, '---u', 0x0a3e0000n],
    ['pte', 0x0a3e06c5n, '16K page', { G: 1 }, 'r-x- PAG', 0x0a3e0000n],
    ['pte', 0n, 'empty', { G: 0 }, ''],
  ],
  'mips64-4k': [
    ...pointers64(0x4000n),
    ['pte', wide(0x12345000n, 0x1e0fn), '4K page', { PRESENT: 1, HUGE: 0, SPECIAL: 0, V: 1, D: 1, C: 3 }, 'rwxu PDA', 0x12345000n],
    ['pte', wide(0x12345000n, 0x1823n), '4K page', { SPECIAL: 1, V: 0 }, 'rwxu P', 0x12345000n],
    ['pte', wide(0x12345000n, 0x1881n), '4K page', { RI: 1 }, '---u', 0x12345000n],
    ['pmd', wide(0x12200000n, 0x1e1fn), '2M page', { HUGE: 1, V: 1, D: 1 }, 'rwxu PDA', 0x12200000n],
    ['pmd', wide(0x12200000n, 0x1812n), '2M page, invalid while it is split', { HUGE: 1, PRESENT: 0 }, '---u', 0x12200000n],
  ],
  'mips64-16k': [
    ...pointers64(0x8000n),
    ['pte', wide(0x48d14000n, 0x1e0fn), '16K page', { V: 1 }, 'rwxu PDA', 0x48d14000n],
    // A CPU with RI and XI: a page that may be written and not run.
    ['pte', wide(0x48d14000n, 0x1a47n), '16K page', { XI: 1, V: 1 }, 'rw-u PA', 0x48d14000n],
    ['pte', wide(0x48d14000n, 0x18c1n), '16K page', { XI: 1, RI: 1 }, '---u', 0x48d14000n],
    ['pmd', wide(0x100000000n, 0x1f1fn), '32M page', { G: 1, HUGE: 1 }, 'rwx- PDAG', 0x100000000n],
  ],
  'mips64-64k': [
    ['pgd', 0x9800000002010000n, 'page table', {}, '', 0x9800000002010000n],
    ['pgd', 0x9800000002018000n, 'bad', {}, ''],
    ['pte', wide(0x123450000n, 0x1e0fn), '64K page', { V: 1 }, 'rwxu PDA', 0x123450000n],
    ['pte', wide(0x123450000n, 0x1801n), '64K page', { V: 0 }, 'r-xu P', 0x123450000n],
    ['pgd', wide(0x400000000n, 0x1e1fn), '512M page', { HUGE: 1 }, 'rwxu PDA', 0x400000000n],
    ['pgd', wide(0x400000000n, 0x1812n), '512M page, invalid while it is split', { PRESENT: 0 }, '---u', 0x400000000n],
  ],
};

describe.each(Object.entries(entries))('%s', (name, known) => {
  const mode = modeNamed(name);
  checkEntries(mode, known);
  checkInverse(mode);

  it('takes mm->pgd physical or kernel virtual, and nothing else', () => {
    const is64 = name.startsWith('mips64');
    expect(rootFromRegisters(mode, { pgd: 0x252e0000n }, 'user').table).toBe(0x252e0000n);
    expect(rootFromRegisters(mode, { PGD: is64 ? 0x98000000252e0000n : 0x852e0000n }, 'user').table).toBe(is64 ? 0x252e0000n : 0x052e0000n);
    expect(() => rootFromRegisters(mode, { pgd: 0x252e0123n }, 'user')).toThrow(/aligned/);
    expect(() => rootFromRegisters(mode, { pgd: is64 ? 0xc000000001000000n : 0x1_00000000n }, 'user')).toThrow(/physical address/);
    expect(() => rootFromRegisters(mode, { cr3: 0x1000n }, 'user')).toThrow(/pgd/);
  });
});

describe('tables', () => {
  const PGD = 0x200000;

  it('32-bit: pointers through KSEG0, kernel mappings at kseg2', () => {
    const mode = modeNamed('mips32-4k');
    const memory = new Memory('little');
    memory.put(PGD + 4 * 4, 0x80300000);
    memory.put(PGD + 768 * 4, 0x80301000);
    memory.put(0x300000 + 5 * 4, 0x0a3e478f);
    memory.put(0x301000, 0x0a3e57cf);
    const tables = tablesAt(mode, memory, BigInt(PGD));
    expect(translationOf(tables)).toEqual(['1005000-1006000 a3e4000 rwxu 4096', 'c0000000-c0001000 a3e5000 rwxk 4096']);
  });

  it('64-bit: XKPHYS with any cache attribute, huge pages, the top slot of the kernel', () => {
    const mode = modeNamed('mips64-16k');
    const memory = new Memory('little');
    memory.put(PGD, 0x9000000000300000n, 8);
    memory.put(0x300000 + 3 * 8, wide(0x4000000n, 0x1e1fn), 8);
    memory.put(0x300000 + 4 * 8, 0xa800000000304000n, 8);
    memory.put(0x304000 + 8, wide(0x48d14000n, 0x1e0fn), 8);
    memory.put(PGD + 2047 * 8, 0x9800000000308000n, 8);
    memory.put(0x308000 + 2047 * 8, 0xffffffff8030c000n, 8);
    memory.put(0x30c000 + 2040 * 8, wide(0x8000n, 0x1f0fn), 8);
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD))).filter((l) => !l.includes('missing'))).toEqual([
      '6000000-8000000 4000000 rwxu 33554432',
      '8004000-8008000 48d14000 rwxu 16384',
      'fffffffffffe0000-fffffffffffe4000 8000 rwxk 16384',
    ]);
  });

  it('slots that share one table which the image lacks are empty; a table of its own that is lacking is missing', () => {
    const mode = modeNamed('mips64-4k');
    const memory = new Memory('little');
    for (let i = 0; i < 1024; i++) memory.put(PGD + i * 8, i === 7 ? 0x9800000000300000n : 0xffffffff81263000n, 8);
    for (let i = 0; i < 512; i++) memory.put(0x300000 + i * 8, i === 9 ? 0x9800000000400000n : 0xffffffff81267000n, 8);
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual(['1c1200000-1c1400000 missing']);
  });
});

describe('swap-type words', () => {
  it.each([
    ['mips32-4k', '6.1', 0x2468a100n, 1, 0x12345, false],
    ['mips32-4k', '6.12', 0x2468a102n, 1, 0x12345, true],
    ['mips64-4k', '6.1', 0x12345850000n, 0x85, 0x12345, false],
    ['mips64-4k', '6.12', 0x12345850000n, 5, 0x12345, true],
  ] as const)('%s, Linux %s: 0x%s', (name, kernel, word, type, offset, exclusive) => {
    const mode = modeNamed(name, kernel);
    const { lo, hi } = halves(word);
    expect(decodeSwap(mode, 'pte', lo, hi)).toMatchObject({ type, offset, exclusive });
    expect(encodeSwap(mode, 'pte', { type, offset, flags: exclusive ? ['exclusive'] : [] })).toEqual({ lo, hi });
  });

  it('a migration entry holds a frame', () => {
    const mode = modeNamed('mips32-4k', '6.12');
    expect(decodeSwap(mode, 'pte', 0x2468be00, 0)).toMatchObject({ kind: 'migration', access: 'write', pfn: 0x12345 });
  });
});

describe('pte_modify', () => {
  const linux = new LinuxEntries(modeNamed('mips64-4k'));

  it('keeps the cache attribute of the entry and drops that of the protection', () => {
    const uncached = linux.pfn('pte', 0x12345, linux.edit('pgprot_noncached', 'pte', linux.prot('PAGE_SHARED')));
    expect(linux.modify('pte', uncached, linux.prot('PAGE_READONLY'))).toEqual(halves(wide(0x12345000n, 0x1001n)));
  });

  it('makes an accessed page valid again', () => {
    const none = linux.edit('pte_mkyoung', 'pte', linux.pfn('pte', 0x12345, linux.prot('PAGE_NONE')));
    expect(none).toEqual(halves(wide(0x12345000n, 0x1885n)));
    expect(linux.modify('pte', none, linux.prot('PAGE_READONLY'))).toEqual(halves(wide(0x12345000n, 0x1a05n)));
  });
});

describe('the top slot of a 16K kernel', () => {
  it('serves the end of XKSEG and CKSEG, told apart by the address', () => {
    const mode = modeNamed('mips64-16k');
    const memory = new Memory('little');
    memory.put(0x200000, 0n, 8);
    memory.put(0x200000 + 2047 * 8, 0x9800000000308000n, 8);
    memory.put(0x308000 + 1920 * 8, 0x980000000030c000n, 8);
    memory.put(0x308000 + 2016 * 8, 0x980000000030c000n, 8);
    memory.put(0x30c000, wide(0x8000n, 0x1f0fn), 8);
    for (const half of ['user', 'kernel'] as const)
      expect(translationOf(tablesAt(mode, memory, 0x200000n, half)).filter((l) => !l.includes('missing'))).toEqual([
        'c0007fff00000000-c0007fff00004000 8000 rwxk 16384',
        'ffffffffc0000000-ffffffffc0004000 8000 rwxk 16384',
      ]);
  });
});
