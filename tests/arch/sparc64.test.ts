/** sparc64: TTEs of both forms by the manuals, page sizes as runs, Linux's entries of a sun4v kernel (which no vectors show), roots, swap. */
import { describe, expect, it } from 'vitest';
import { formOf, levelNamed } from '../../src/pagetable/entry.ts';
import { leafPagesOf } from '../../src/pagetable/leafsize.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { checkEntries, checkInverse, halves, type Known } from '../support/entries.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const directories: readonly Known[] = [
  ['pgd', 0x246000n, 'page upper directory', {}, '', 0x246000n],
  ['pud', 0x246000n, 'page middle directory', {}, '', 0x246000n],
  ['pmd', 0x1fffff246000n, 'page table', {}, '', 0x1fffff246000n],
  ['pmd', 0x246001n, 'bad', {}, ''],
  ['pud', 0n, 'empty', {}, ''],
];

const sun4u: readonly Known[] = [
  ...directories,
  [
    'pte',
    0x800000002468bfb2n,
    '8K page',
    { V: 1, SZ: 0, EXEC: 1, MODIFIED: 1, ACCESSED: 1, READ: 1, WRITE: 1, PRESENT: 1, CP: 1, CV: 1, P: 0, W: 1 },
    'rwxu PDA',
    0x2468a000n,
  ],
  ['pte', 0x800000002468bfb6n, '8K page', { P: 1 }, 'rwx- PDA', 0x2468a000n],
  ['pte', 0x2468a4b0n, '8K page', { V: 0, READ: 0 }, '---u A', 0x2468a000n],
  // Old: V is clear until the next access, the rights are kept.
  ['pte', 0x2468b2b0n, '8K page', { V: 0, READ: 1, ACCESSED: 0 }, 'r-xu P', 0x2468a000n],
  ['pte', 0xa000000080001db2n, '8K page', { SZ: 1, READ: 0 }, 'rwxu PDA', 0x80000000n],
  ['pte', 0x820000002468b689n, '8K page', { SPECIAL: 1, E: 1, CP: 0, CV: 0, G: 1 }, 'r-xu PAG', 0x2468a000n],
  ['pmd', 0xe100000080001fb2n, '8M page', { SZ: 3, HUGE: 1 }, 'rwxu PDA', 0x80000000n],
  ['pmd', 0xa101000080001fb2n, '8M page', { SZ: 5, HUGE: 1 }, 'rwxu PDA', 0x80000000n],
];

const sun4v: readonly Known[] = [
  ...directories,
  [
    'pte',
    0xbc0000002468a7d0n,
    '8K page',
    { V: 1, MODIFIED: 1, ACCESSED: 1, READ: 1, WRITE: 1, X: 1, P: 1, W: 1, CP: 1, CV: 1, PRESENT: 1, SZ: 0 },
    'rwx- PDA',
    0x2468a000n,
  ],
  ['pte', 0x9c0000002468a690n, '8K page', { WRITE: 1, W: 0, P: 0 }, 'rwxu PA', 0x2468a000n],
  ['pte', 0x980000002468a610n, '8K page', { X: 0 }, 'r--u PA', 0x2468a000n],
  ['pte', 0x100000002468a610n, '8K page', { V: 0, READ: 0, X: 0 }, '---u A', 0x2468a000n],
  ['pte', 0xbc000000800006d1n, '8K page', { SZ: 1 }, 'rwxu PDA', 0x80000000n],
  ['pte', 0x9800ffffffffea90n, '8K page', { E: 1, CP: 0 }, 'r-xu PA', 0xffffffffe000n],
  ['pmd', 0xbd000000800006d3n, '8M page', { SZ: 3, HUGE: 1 }, 'rwxu PDA', 0x80000000n],
  ['pmd', 0xbd000000800006d6n, '8M page', { SZ: 6, HUGE: 1 }, 'rwxu PDA', 0x80000000n],
  ['pud', 0xbd000008000006d7n, '8G piece of a 16G page', { SZ: 7, HUGE: 1 }, 'rwxu PDA', 0x800000000n],
];

describe.each([
  ['sparc64-sun4u', sun4u],
  ['sparc64-sun4v', sun4v],
  ['sparc64', sun4v],
] as const)('%s', (name, known) => {
  const mode = modeNamed(name);
  checkEntries(mode, known);
  checkInverse(mode);

  it('takes the physical address of a table of 8 KiB', () => {
    expect(rootFromRegisters(mode, { pgd: 0x4246000n }, 'user')).toMatchObject({ table: 0x4246000n, level: 'pgd' });
    expect(rootFromRegisters(mode, { swapper_pg_dir: 0x4246000n }, 'kernel').ranges.every((r) => r.half === 'kernel')).toBe(true);
    expect(() => rootFromRegisters(mode, { pgd: 0x4247000n }, 'user')).toThrow(/8 KiB/);
    expect(() => rootFromRegisters(mode, { pgd: 0xfffff80004246000n }, 'user')).toThrow(/physical/);
    expect(() => rootFromRegisters(mode, { pgd: 0x4246000n }, 'kernel')).toThrow(/swapper_pg_dir/);
  });
});

describe('page sizes', () => {
  const PGD = 0x400000;
  const tables = { pud: 0x402000, pmd: 0x404000, pte: 0x406000 };

  function linked(): Memory {
    const memory = new Memory('big');
    // A table is two frames: both must be there.
    for (const t of [PGD, ...Object.values(tables)]) {
      memory.put(t, 0n, 8);
      memory.put(t + 4096, 0n, 8);
    }
    memory.put(PGD, BigInt(tables.pud), 8);
    memory.put(tables.pud, BigInt(tables.pmd), 8);
    memory.put(tables.pmd, BigInt(tables.pte), 8);
    return memory;
  }

  const linux = new LinuxEntries(modeNamed('sparc64-sun4v'));
  const made = (shift: number): bigint => {
    let word = linux.pfn('pte', 2 ** (36 - 13), linux.prot('PAGE_SHARED'));
    for (const name of ['pte_mkyoung', 'pte_mkdirty', 'pte_mkhuge']) word = linux.edit(name, 'pte', word);
    word = linux.edit('arch_make_huge_pte', 'pte', word, shift);
    return (BigInt(word.hi) << 32n) | BigInt(word.lo);
  };

  it.each([
    ['64K', 16, 'pte', 13, 16],
    ['8M', 23, 'pmd', 23, 1],
    ['256M', 28, 'pmd', 23, 32],
    ['2G', 31, 'pmd', 23, 256],
    ['16G', 34, 'pud', 33, 2],
  ] as const)('%s, as set_huge_pte_at writes it', (_, shift, level, slot, index) => {
    const memory = linked();
    const n = 2 ** (shift - slot);
    for (let i = 0; i < n; i++) memory.put(tables[level] + (index + i) * 8, made(shift) + (BigInt(i) << BigInt(slot)), 8);
    const va = BigInt(index) << BigInt(slot);
    const mode = modeNamed('sparc64-sun4v');
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual([
      `${va.toString(16)}-${(va + (1n << BigInt(shift))).toString(16)} 1000000000 rwxu ${2 ** shift}`,
    ]);
    const { lo, hi } = halves(made(shift));
    const l = levelNamed(mode, level);
    expect(leafPagesOf(l, formOf(l, lo, hi) as never, lo, hi)).toBe(2 ** (shift - 13));
  });

  it('a run with a missing entry is broken', () => {
    const memory = linked();
    for (let i = 0; i < 8; i++) if (i !== 5) memory.put(tables.pte + (16 + i) * 8, made(16) + BigInt(i * 8192), 8);
    expect(translationOf(tablesAt(modeNamed('sparc64-sun4v'), memory, BigInt(PGD))).every((l) => l.endsWith('rwxu 8192 broken'))).toBe(true);
  });

  it('the upper half of the top table serves the top of the address space', () => {
    const memory = linked();
    memory.put(PGD + 1023 * 8, BigInt(tables.pud), 8);
    memory.put(tables.pte, 0x9c0000002468a690n, 8);
    expect(translationOf(tablesAt(modeNamed('sparc64'), memory, BigInt(PGD)))).toEqual([
      '0-2000 2468a000 rwxu 8192',
      'fffff80000000000-fffff80000002000 2468a000 rwxu 8192',
    ]);
  });
});

describe("sun4v, Linux's entries after boot patching", () => {
  const linux = new LinuxEntries(modeNamed('sparc64-sun4v'));
  const shared = linux.pfn('pte', 0x12345, linux.prot('PAGE_SHARED'));

  it.each([
    ['pte_mkdirty', 0xbc0000002468a6d0n],
    ['pte_mkold', 0x0c0000002468a690n],
    ['pte_wrprotect', 0x980000002468a690n],
    ['pte_mkspecial', 0x9e0000002468a690n],
    ['pte_mkhuge', 0x9c0000002468a693n],
  ])('%s', (name, word) => {
    expect(linux.edit(name, 'pte', shared)).toEqual(halves(word));
  });

  it('pgprot_noncached takes both cache bits and sets E', () => {
    expect(linux.pfn('pte', 0x12345, linux.edit('pgprot_noncached', 'pte', linux.prot('PAGE_SHARED')))).toEqual(halves(0x9c0000002468a890n));
  });

  it('predicates', () => {
    const dirty = linux.edit('pte_mkdirty', 'pte', shared);
    expect(['pte_present', 'pte_write', 'pte_dirty', 'pte_young', 'pte_exec', 'pte_special', 'pte_none'].map((n) => linux.predicate('pte', n, dirty))).toEqual([
      true,
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('swap-type words', () => {
  it.each([
    ['6.1', 0x2468b0a000n, 0x85, 0x12345, false],
    ['6.12', 0x2468b0a000n, 5, 0x12345, true],
  ] as const)('Linux %s', (kernel, word, type, offset, exclusive) => {
    const mode = modeNamed('sparc64-sun4u', kernel);
    const { lo, hi } = halves(word);
    expect(decodeSwap(mode, 'pte', lo, hi)).toMatchObject({ type, offset, exclusive });
    expect(encodeSwap(mode, 'pte', { type, offset, flags: exclusive ? ['exclusive'] : [] })).toEqual({ lo, hi });
  });
});
