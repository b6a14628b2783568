/** RISC-V entries by the privileged manual and Linux's pgtable.h; satp; NAPOT groups whole and broken; rights over levels; swap-type words by version. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode } from '../../src/pagetable/entry.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { checkEntry, type HandEntry, title } from '../support/hand.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, translationOf } from '../support/translation.ts';

const WIDE = ['riscv-sv39', 'riscv-sv48', 'riscv-sv57'];
const ALL = ['riscv-sv32', ...WIDE];

/** V 1, R 2, W 4, X 8, U 0x10, G 0x20, A 0x40, D 0x80, RSW 0x300; the page number from bit 10. */
const last: readonly HandEntry[] = [
  {
    level: 'pte',
    word: 0x48d14d7n,
    form: '4K page',
    fields: { V: 1, R: 1, W: 1, X: 0, U: 1, G: 0, A: 1, D: 1 },
    address: 0x12345000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x48d1459n, form: '4K page', fields: { V: 1, R: 0, X: 1 }, address: 0x12345000n, rights: '--xu', is: 'present accessed' },
  { level: 'pte', word: 0x48d14efn, form: '4K page', fields: { G: 1, U: 0 }, address: 0x12345000n, rights: 'rwx-', is: 'present global dirty accessed' },
  { level: 'pte', word: 0x48d1405n, form: '4K page', fields: { V: 1, R: 0, W: 1 }, rights: '----' },
  { level: 'pte', word: 0x48d1422n, form: '4K page, PROT_NONE', fields: { V: 0, R: 1, G: 1 }, address: 0x12345000n, rights: '----', is: '' },
  { level: 'pte', word: 0x12345c00n, form: 'swap-type entry' },
  { level: 'pte', word: 0n, form: 'empty' },
  { level: 'pte', word: 0x557n, form: '4K page', fields: { SPECIAL: 1 }, address: 0x1000n, rights: 'rw-u' },
];
const wide: readonly HandEntry[] = [
  {
    level: 'pte',
    word: 0x80000000100020d7n,
    form: '64K NAPOT page',
    fields: { N: 1, NAPOT: 8 },
    address: 0x40000000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x80000000218820e2n, form: '64K NAPOT page, PROT_NONE', fields: { N: 1, NAPOT: 8, G: 1 }, address: 0x86200000n, rights: '----' },
  { level: 'pte', word: 0x80000000100010d7n, form: undefined },
  { level: 'pte', word: 0x40000000100000e7n, form: '4K page', fields: { PBMT: 2 }, address: 0x40000000n, rights: 'rw--' },
  { level: 'pte', word: 0x00400000100000e7n, form: '4K page', address: 0x40000000n, reserved: 0x0040000000000000n },
  { level: 'pmd', word: 0x200000d7n, form: '2M page', address: 0x80000000n, rights: 'rw-u' },
  { level: 'pmd', word: 0x200004d7n, form: '2M page', address: 0x80000000n, reserved: 0x400n },
  {
    level: 'pmd',
    word: 0x10000056n,
    form: '2M page, PROT_NONE or being split',
    fields: { V: 0, R: 1, W: 1 },
    address: 0x40000000n,
    rights: '---u',
    is: 'accessed',
  },
  { level: 'pmd', word: 0x48c01n, form: 'level 0 table', address: 0x123000n },
  { level: 'pmd', word: 0x48c41n, form: 'level 0 table', address: 0x123000n, reserved: 0x40n },
  { level: 'pmd', word: 0x40000c80n, form: 'swap-type entry' },
];
const tops: Readonly<Record<string, readonly HandEntry[]>> = {
  'riscv-sv32': [
    { level: 'pgd', word: 0x48c01n, form: 'level 0 table', address: 0x123000n },
    { level: 'pgd', word: 0x801000efn, form: '4M page', address: 0x200400000n, rights: 'rwx-', is: 'present global dirty accessed' },
    { level: 'pgd', word: 0x801004efn, form: '4M page', address: 0x200400000n, reserved: 0x400n },
    { level: 'pte', word: 0xfffffc53n, form: '4K page', address: 0x3fffff000n, rights: 'r--u' },
  ],
  'riscv-sv39': [{ level: 'pgd', word: 0x200000cfn, form: '1G page', address: 0x80000000n, rights: 'rwx-' }],
  'riscv-sv48': [
    { level: 'pgd', word: 0x48c01n, form: 'level 2 table', address: 0x123000n },
    { level: 'pgd', word: 0x20000000000cfn, form: '512G page', address: 0x8000000000000n, rights: 'rwx-' },
    { level: 'pud', word: 0x200000cfn, form: '1G page', address: 0x80000000n },
  ],
  'riscv-sv57': [
    { level: 'pgd', word: 0x48c01n, form: 'level 3 table', address: 0x123000n },
    { level: 'p4d', word: 0x48c01n, form: 'level 2 table', address: 0x123000n },
    { level: 'pgd', word: 0x4000000000cfn, form: '256T page', address: 0x1000000000000n, rights: 'rwx-' },
  ],
};

describe.each(ALL)('%s: entries by hand', (name) => {
  const mode = modeNamed(name, '6.12');
  const rows = [...last, ...(name === 'riscv-sv32' ? [] : wide), ...tops[name]];
  it.each(rows.map((r) => [title(r), r] as const))('%s', (_, row) => checkEntry(mode, row));

  it('encode undoes decode on random words of every level', () => {
    for (const level of mode.levels)
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (lo, high) => {
          const hi = level.wide ? high : 0;
          const d = decode(level, lo, hi);
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
        }),
      );
  });
});

describe('satp', () => {
  it.each([
    ['riscv-sv32', 0x80482f5bn, 0x82f5b000n, 0x9c800000n],
    ['riscv-sv39', 0x8000200000082f5bn, 0x82f5b000n, 0xffffffc000000000n],
    ['riscv-sv48', 0x9000200000082f5bn, 0x82f5b000n, 0xffff800000000000n],
    ['riscv-sv57', 0xa000200000082f5bn, 0x82f5b000n, 0xff00000000000000n],
  ])('%s 0x%x', (name, satp, table, kernel) => {
    const root = rootFromRegisters(modeNamed(name), { satp }, 'kernel');
    expect(root.table).toBe(table);
    expect(root.ranges.map((r) => [r.half, r.va])).toEqual([
      ['user', 0n],
      ['kernel', kernel],
    ]);
  });

  it.each([
    ['riscv-sv39', 0x9000200000082f5bn, 'MODE is 9 (Sv48), expected 8 (Sv39)'],
    ['riscv-sv48', 0x82f5bn, 'MODE is 0 (Bare: no translation)'],
    ['riscv-sv57', 0xf000000000082f5bn, 'MODE is 15 (reserved)'],
    ['riscv-sv32', 0x82f5bn, 'MODE is 0 (Bare'],
    ['riscv-sv32', 0x8000000000082f5bn, 'has 32 bits'],
  ])('%s rejects 0x%x', (name, satp, text) => {
    expect(() => rootFromRegisters(modeNamed(name), { satp }, 'user')).toThrow(text);
  });
});

/** Sv39: pgd at 0x1000, pmd at 0x2000, page table at 0x3000. */
function memoryOf(ptes: readonly (readonly [number, bigint])[]): Memory {
  const memory = new Memory('little');
  memory.put(0x1000, (0x2n << 10n) | 1n, 8);
  memory.put(0x2000, (0x3n << 10n) | 1n, 8);
  for (const [index, word] of ptes) memory.put(0x3000 + index * 8, word, 8);
  return memory;
}
const read = (memory: Memory): string[] =>
  translationOf(
    readPageTables(modeNamed('riscv-sv39', '6.12'), memory, rootFromRegisters(modeNamed('riscv-sv39', '6.12'), { satp: (8n << 60n) | 1n }, 'user')),
  );
const NAPOT = 0x80000000100020d7n;

describe('NAPOT', () => {
  it('sixteen equal entries are one page of 64 KiB; A and D may differ', () => {
    const whole = Array.from({ length: 16 }, (_, i) => [16 + i, i === 3 ? NAPOT & ~0x80n : NAPOT] as const);
    expect(read(memoryOf(whole))).toEqual(['10000-20000 40000000 rw-u 65536']);
  });

  it('a run that is short or disagrees is broken, entry by entry', () => {
    const short = Array.from({ length: 15 }, (_, i) => [16 + i, NAPOT] as const);
    expect(read(memoryOf(short))).toEqual(['10000-1f000 40000000 rw-u 4096 broken']);
    const odd = Array.from({ length: 16 }, (_, i) => [16 + i, i === 8 ? NAPOT | 8n : NAPOT] as const);
    expect(read(memoryOf(odd)).every((line) => line.endsWith('broken'))).toBe(true);
  });
});

it('a leaf of 1 GiB, and 4K pages that grow into one extent', () => {
  const memory = memoryOf([
    [0, 0x20000457n],
    [1, 0x20000857n],
    [2, 0x20000c53n],
  ]);
  memory.put(0x1000 + 8, 0x200000d7n, 8);
  expect(read(memory)).toEqual(['0-2000 80001000 rw-u 4096', '2000-3000 80003000 r--u 4096', '40000000-80000000 80000000 rw-u 1073741824']);
});

it('the kernel half is read from the upper half of the same table', () => {
  const memory = memoryOf([]);
  memory.put(0x1000 + 511 * 8, 0x200000efn, 8);
  const mode = modeNamed('riscv-sv39');
  const tables = readPageTables(mode, memory, rootFromRegisters(mode, { satp: (8n << 60n) | 1n }, 'kernel'));
  const { columns } = extentsOf(tables, { half: 'kernel' });
  expect([columns.length, columns.vpn[0] * 4096]).toEqual([1, Number(0xffffffffc0000000n)]);
});

describe('swap-type words', () => {
  it.each([
    ['riscv-sv39', '6.1', 0x12345840n, 1, 0x2468b, []],
    ['riscv-sv39', '6.12', 0x123450c0n, 1, 0x12345, ['exclusive']],
    ['riscv-sv48', '7.2', 0x12345098n, 1, 0x12345, ['softDirty', 'uffdWp']],
    ['riscv-sv32', '6.12', 0x123450c0n, 1, 0x12345, ['exclusive']],
    ['riscv-sv32', '6.1', 0x12345840n, 1, 0x2468b, []],
  ] as const)('%s Linux %s: 0x%x', (name, kernel, word, type, offset, flags) => {
    const mode = modeNamed(name, kernel);
    const found = decodeSwap(mode, 'pte', Number(word), 0);
    expect([found?.type, found?.offset]).toEqual([type, offset]);
    for (const flag of ['exclusive', 'softDirty', 'uffdWp'] as const)
      expect([flag, found?.[flag]]).toEqual([flag, (flags as readonly string[]).includes(flag)]);
    expect(encodeSwap(mode, 'pte', { type, offset, flags })).toEqual({ lo: Number(word), hi: 0 });
  });
});

it('soft-dirty and userfaultfd write protection exist from 6.19', () => {
  const word = { lo: 0x57, hi: 0 };
  expect(new LinuxEntries(modeNamed('riscv-sv39', '6.12')).edit('pte_mkdirty', 'pte', word)).toEqual({ lo: 0xd7, hi: 0 });
  const now = new LinuxEntries(modeNamed('riscv-sv39', '7.2'));
  expect(now.edit('pte_mkdirty', 'pte', word)).toEqual({ lo: 0xd7, hi: 1 << 27 });
  expect(now.predicate('pte', 'pte_uffd_wp', now.edit('pte_mkuffd_wp', 'pte', word))).toBe(true);
});
