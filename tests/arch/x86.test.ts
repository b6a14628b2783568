/** x86 entries by the SDM's tables and Linux's pgtable_types.h; CR3; rights over levels; encryption bit; swap-type words and software bits by version. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findMode } from '../../src/arch/registry.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { decode, encode } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap, swapTypes } from '../../src/pagetable/swap.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { checkEntry, type HandEntry, title } from '../support/hand.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, translationOf } from '../support/translation.ts';

/** P 1, RW 2, US 4, PWT 8, PCD 0x10, A 0x20, D 0x40, PS or PAT 0x80, G 0x100. */
const wide: readonly HandEntry[] = [
  {
    level: 'pte',
    word: 0x8000000012345067n,
    form: '4K page',
    fields: { P: 1, RW: 1, US: 1, A: 1, D: 1, NX: 1, PAT: 0 },
    address: 0x12345000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x12345025n, form: '4K page', address: 0x12345000n, rights: 'r-xu', is: 'present accessed' },
  {
    level: 'pte',
    word: 0x80000000fee001fbn,
    form: '4K page',
    fields: { PCD: 1, PWT: 1, PAT: 1, G: 1 },
    address: 0xfee00000n,
    rights: 'rw--',
    is: 'present global dirty accessed',
  },
  { level: 'pte', word: 0x000fffffedcba120n, form: '4K page, PROT_NONE', fields: { P: 0, G: 1 }, address: 0x12345000n, rights: '----', is: 'accessed' },
  { level: 'pte', word: 0x60n, form: 'empty' },
  { level: 'pmd', word: 0x80000000400000e7n, form: '2M page', fields: { PS: 1, PAT: 0 }, address: 0x40000000n, rights: 'rw-u', is: 'present dirty accessed' },
  { level: 'pmd', word: 0x40001087n, form: '2M page', fields: { PAT: 1 }, address: 0x40000000n, rights: 'rwxu' },
  { level: 'pmd', word: 0x40002087n, form: '2M page', reserved: 0x2000n },
  { level: 'pmd', word: 0x123067n, form: 'page table', address: 0x123000n, rights: 'rwxu' },
];
const long: readonly HandEntry[] = [
  { level: 'pte', word: 0xa800000012345067n, form: '4K page', fields: { PKEY: 5 }, rights: 'rw-u' },
  { level: 'pte', word: 0x8400000012345825n, form: '4K page', fields: { SAVED_DIRTY: 1, SOFT_DIRTY: 1, D: 0 }, rights: 'r--u', is: 'present dirty accessed' },
  { level: 'pte', word: 0x07fffffffffffc00n, form: 'swap-type entry' },
  { level: 'pud', word: 0x80000004000000e7n, form: '1G page', address: 0x400000000n, rights: 'rw-u' },
  { level: 'pud', word: 0x8000000000123067n, form: 'page directory', address: 0x123000n, rights: 'rw-u' },
  { level: 'pgd', word: 0x123067n, form: 'PDPT', address: 0x123000n },
];
const rows: readonly (readonly [string, readonly HandEntry[]])[] = [
  ['x86-4level', [...wide, ...long]],
  [
    'x86-5level',
    [
      ...wide,
      ...long.slice(0, -1),
      { level: 'pgd', word: 0x123067n, form: 'PML4', address: 0x123000n },
      { level: 'p4d', word: 0x123063n, form: 'PDPT', rights: 'rwx-' },
    ],
  ],
  [
    'x86-pae',
    [
      ...wide,
      { level: 'pgd', word: 0x123001n, form: 'page directory', address: 0x123000n },
      { level: 'pgd', word: 0x123003n, form: 'page directory', reserved: 2n },
      { level: 'pte', word: 0x12345425n, form: '4K page', fields: { SAVED_DIRTY: 1 }, is: 'present dirty accessed' },
      { level: 'pte', word: 0x0800000012345025n, form: '4K page', reserved: 0x0800000000000000n },
      { level: 'pte', word: 0x0ffffffffdb97400n, form: 'swap-type entry' },
    ],
  ],
  [
    'x86-2level',
    [
      { level: 'pte', word: 0x12345067n, form: '4K page', fields: { P: 1, D: 1 }, address: 0x12345000n, rights: 'rwxu', is: 'present dirty accessed' },
      { level: 'pte', word: 0x12345120n, form: '4K page, PROT_NONE', address: 0x12345000n, rights: '----', is: 'accessed' },
      { level: 'pte', word: 0x2468a02n, form: 'swap-type entry' },
      { level: 'pte', word: 0n, form: 'empty' },
      { level: 'pgd', word: 0x123067n, form: 'page table', address: 0x123000n },
      { level: 'pgd', word: 0x400001e3n, form: '4M page', address: 0x40000000n, rights: 'rwx-', is: 'present global dirty accessed' },
      // PSE-36: bits 20:13 are address bits 39:32, bit 21 is reserved.
      { level: 'pgd', word: 0x400060e7n, form: '4M page', address: 0x340000000n, rights: 'rwxu' },
      { level: 'pgd', word: 0x402000e7n, form: '4M page', address: 0x40000000n, reserved: 0x200000n },
    ],
  ],
];

describe.each(rows)('%s', (name, entries) => {
  const mode = modeNamed(name, '6.12');
  it.each(entries.map((row) => [title(row), row] as const))('%s', (_, row) => checkEntry(mode, row));

  it('encode undoes decode on random words of every level', () => {
    for (const level of mode.levels)
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (lo, high) => {
          const hi = level.wide ? high : 0;
          const d = decode(level, lo, hi);
          expect(d.form).toBeDefined();
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
        }),
      );
  });
});

describe('CR3', () => {
  it.each([
    ['x86-4level', 0x141c26001n, 0x141c26000n, 0xffff800000000000n],
    ['x86-5level', 0x8000000123456fffn, 0x123456000n, 0xff00000000000000n],
    ['x86-pae', 0x12345fe0n, 0x12345fe0n, 0xc0000000n],
    ['x86-2level', 0x12345018n, 0x12345000n, 0xc0000000n],
  ])('%s 0x%x', (name, cr3, table, kernel) => {
    const root = rootFromRegisters(modeNamed(name), { CR3: cr3 }, 'kernel');
    expect(root.table).toBe(table);
    expect(root.ranges.map((r) => [r.half, r.va])).toEqual([
      ['user', 0n],
      ['kernel', kernel],
    ]);
  });

  it('is asked for by name, and has a pair under page-table isolation', () => {
    expect(() => rootFromRegisters(modeNamed('x86-4level'), { satp: 1n }, 'user')).toThrow('expected cr3, found satp');
    expect(modeNamed('x86-4level').mode.roots[0].pairBit).toBe(0x1000n);
  });
});

/** pgd at 0x1000, pud 0x2000, pmd 0x3000, page table 0x4000; each word's attribute bits are given. */
function memoryOf(bits: { pgd?: bigint; pmd?: bigint }, ptes: readonly bigint[]): Memory {
  const memory = new Memory('little');
  memory.put(0x1000, 0x2000n | (bits.pgd ?? 0x67n), 8);
  memory.put(0x2000, 0x3067n, 8);
  memory.put(0x3000, 0x4000n | (bits.pmd ?? 0x67n), 8);
  ptes.forEach((word, i) => memory.put(0x4000 + i * 8, word, 8));
  return memory;
}
const read = (memory: Memory, name = 'x86-4level'): string[] => {
  const mode = modeNamed(name);
  return translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { cr3: 0x1000n }, 'user')));
};

describe('rights', () => {
  it('are those of the leaf where nothing above takes any away', () =>
    expect(read(memoryOf({}, [0x5067n, 0x6067n, 0x8000000000007025n]))).toEqual(['0-2000 5000 rwxu 4096', '2000-3000 7000 r--u 4096']));
  it('lose what any level on the path lacks', () => {
    expect(read(memoryOf({ pmd: 0x65n }, [0x5067n]))).toEqual(['0-1000 5000 r-xu 4096']);
    expect(read(memoryOf({ pgd: 0x8000000000000063n }, [0x5067n]))).toEqual(['0-1000 5000 rw-k 4096']);
  });
});

describe('encryption bit', () => {
  it.each(['x86-4level-c51', 'x86-5level-c47'])('%s is no part of an address', (name) => {
    const mode = modeNamed(name);
    const c = 1n << BigInt(name.slice(-2));
    for (const [level, form] of [
      ['pte', '4K page'],
      ['pmd', 'page table'],
    ] as const)
      checkEntry(mode, { level, word: 0x12345067n | c, form, fields: { C: 1 }, address: 0x12345000n });
    checkEntry(mode, { level: 'pmd', word: 0x400000e7n | c, form: '2M page', fields: { C: 1 }, address: 0x40000000n });
    expect(rootFromRegisters(mode, { cr3: 0x1000n | c }, 'user').table).toBe(0x1000n);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (lo, hi) => {
        for (const level of mode.levels) {
          const d = decode(level, lo, hi);
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
        }
      }),
    );
  });
  it('lies in bits 51:32', () =>
    expect([findMode('x86-4level-c31'), findMode('x86-4level-c52'), findMode('x86-pae-c47')]).toEqual([undefined, undefined, undefined]));
});

describe('swap-type words', () => {
  it.each([
    ['x86-4level', '6.12', 0x0ffffffffdb97400n, 1, 0x12345, []],
    ['x86-4level', '6.1', 0x0ffffffffdb97402n, 1, 0x12345, ['softDirty']],
    ['x86-5level', '6.12', 0x0ffffffffdb9740cn, 1, 0x12345, ['uffdWp', 'exclusive']],
    ['x86-pae', '6.12', 0x0ffffffffdb97480n, 1, 0x12345, ['exclusive']],
    ['x86-2level', '6.12', 0x02468a82n, 1, 0x12345, ['exclusive']],
    ['x86-2level', '6.1', 0x02468a02n, 1, 0x12345, []],
  ] as const)('%s Linux %s: 0x%x', (name, kernel, word, type, offset, flags) => {
    const mode = modeNamed(name, kernel);
    const [lo, hi] = [Number(word & 0xffffffffn), Number(word >> 32n)];
    const found = decodeSwap(mode, 'pte', lo, hi);
    expect([found?.type, found?.offset]).toEqual([type, offset]);
    for (const flag of ['exclusive', 'softDirty', 'uffdWp'] as const)
      expect([flag, found?.[flag]]).toEqual([flag, (flags as readonly string[]).includes(flag)]);
    expect(encodeSwap(mode, 'pte', { type, offset, flags })).toEqual({ lo, hi });
  });

  it.each([
    ['6.1', 26],
    ['6.12', 27],
    ['7.2', 24],
  ])('hwpoison of Linux %s is type %i in Debian kernels', (kernel, type) => {
    const mode = modeNamed('x86-4level', kernel);
    expect(swapTypes(mode.kernel, mode.specials).findIndex((t) => t.kind === 'hwpoison')).toBe(type);
  });
});

describe('Linux', () => {
  const dirtyPage = { lo: 0x12345067, hi: 0x80000000 };
  it('keeps the dirtiness of a read-only page apart from 6.6 on', () => {
    const edit = (kernel: string): unknown => new LinuxEntries(modeNamed('x86-4level', kernel)).edit('pte_wrprotect', 'pte', dirtyPage);
    expect(edit('6.5')).toEqual({ lo: 0x12345065, hi: 0x80000000 });
    expect(edit('6.6')).toEqual({ lo: 0x12345025, hi: 0x84000000 });
  });

  it('inverts the frame when a huge page becomes invalid, and back when its protection returns', () => {
    const linux = new LinuxEntries(modeNamed('x86-4level'));
    const huge = { lo: 0x400000e7, hi: 0x80000000 };
    const invalid = linux.edit('pmd_mkinvalid', 'pmd', huge);
    expect(invalid).toEqual({ lo: 0xbfe000e6, hi: 0x800fffff });
    expect(linux.modify('pmd', invalid, linux.prot('PAGE_SHARED', 'pmd'))).toEqual(huge);
    expect(linux.predicate('pmd', 'pmd_present', invalid)).toBe(true);
  });

  it('knows a migration entry of a huge page by its type', () => {
    const linux = new LinuxEntries(modeNamed('x86-4level', '6.1'));
    const word = encodeSwap(modeNamed('x86-4level', '6.1'), 'pmd', { type: 28, offset: 0x40000 });
    expect(linux.predicate('pmd', 'is_pmd_migration_entry', word)).toBe(true);
    expect(linux.predicate('pmd', 'is_pmd_migration_entry', encodeSwap(modeNamed('x86-4level', '6.1'), 'pmd', { type: 3, offset: 0x40000 }))).toBe(false);
  });

  it('writes a top-level entry only where there is a fifth level', () => {
    expect(new LinuxEntries(modeNamed('x86-5level')).populate('pgd_populate', 0x123000n)).toEqual({ lo: 0x123067, hi: 0 });
    expect(new LinuxEntries(modeNamed('x86-4level')).populate('pgd_populate', 0x123000n)).toEqual({ lo: 0, hi: 0 });
  });
});

it('device memory types are resolved for the version', () => {
  const mode = findMode('x86-4level');
  expect(mode && [compileMode(mode, '6.12').specials.device, compileMode(mode, '6.15').specials.device]).toEqual([false, true]);
});
