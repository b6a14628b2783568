/** LoongArch entries by the reference manual and Linux's pgtable-bits.h; PGDL and PGDH; direct-mapped pointers; shared empty tables; swap-type words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap } from '../../src/pagetable/swap.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { checkEntry, type HandEntry, title } from '../support/hand.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, translationOf } from '../support/translation.ts';

/** V 1, D 2, PLV 0xc, MAT 0x30, G or H 0x40, P 0x80, W 0x100, modified 0x200, PROT_NONE 0x400, special 0x800; NR bit 61, NX bit 62. Frames are aligned to every page size. */
const pages = (size: string): HandEntry[] => [
  {
    level: 'pte',
    word: 0x4123039fn,
    form: `${size} page`,
    fields: { V: 1, D: 1, PLV: 3, MAT: 1, G: 0, P: 1, W: 1, MODIFIED: 1 },
    rights: 'rwxu',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x400000004123019dn, form: `${size} page`, fields: { NX: 1, NR: 0, W: 1, D: 0 }, rights: 'rw-u', is: 'present accessed' },
  { level: 'pte', word: 0x4123009cn, form: `${size} page`, fields: { V: 0, W: 0 }, address: 0x41230000n, rights: 'r-xu', is: 'present' },
  { level: 'pte', word: 0x200000004123041cn, form: `${size} page`, fields: { P: 0, PROTNONE: 1, NR: 1 }, address: 0x41230000n, rights: '---u', is: '' },
  { level: 'pte', word: 0x412301d3n, form: `${size} page`, fields: { G: 1, PLV: 0 }, rights: 'rwx-', is: 'present global dirty accessed' },
  { level: 'pte', word: 0x800000041230b9cn, form: `${size} page`, fields: { SPECIAL: 1, DEVMAP: 1 } },
  { level: 'pte', word: 0x412301c3n, form: `${size} page`, fields: { MAT: 0 } },
  { level: 'pte', word: 0x12345180000n, form: 'swap-type entry' },
  { level: 'pte', word: 0n, form: 'empty' },
  { level: 'pte', word: 0x40n, form: 'empty' },
  { level: 'pte', word: 0x1n, form: undefined },
];
const upper: Readonly<Record<string, readonly HandEntry[]>> = {
  'loongarch64-4k': [
    { level: 'pmd', word: 0x400011d3n, form: '2M page', fields: { H: 1, G: 1 }, address: 0x40000000n, rights: 'rwx-', is: 'present global dirty accessed' },
    { level: 'pmd', word: 0x400021d3n, form: '2M page', address: 0x40000000n, reserved: 0x2000n },
    { level: 'pmd', word: 0x9000000000123000n, form: 'page table', address: 0x9000000000123000n },
    { level: 'pgd', word: 0x9000000000123000n, form: 'directory 1' },
    { level: 'pgd', word: 0x9000000000123001n, form: undefined },
  ],
  'loongarch64-16k': [
    { level: 'pmd', word: 0x1000003dfn, form: '32M page', fields: { H: 1, G: 0 }, address: 0x100000000n, rights: 'rwxu', is: 'present dirty accessed' },
    { level: 'pmd', word: 0x100000010000015cn, form: '32M page', fields: { PRESENT_INVALID: 1, P: 0, V: 0 }, address: 0x100000000n, rights: '---u', is: '' },
    { level: 'pmd', word: 0x200000010000045cn, form: '32M page', fields: { PROTNONE: 1 }, rights: '---u' },
    { level: 'pmd', word: 0x40000180040n, form: 'swap-type entry' },
    { level: 'pmd', word: 0x900000000048c000n, form: 'page table', address: 0x900000000048c000n },
  ],
  'loongarch64-64k': [
    { level: 'pgd', word: 0x200003dfn, form: '512M page', address: 0x20000000n, rights: 'rwxu' },
    { level: 'pgd', word: 0x9000000001230000n, form: 'page table', address: 0x9000000001230000n },
    { level: 'pgd', word: 0x9000000001238000n, form: undefined },
  ],
};

describe.each(Object.keys(upper))('%s: entries by hand', (name) => {
  const mode = modeNamed(name, '6.12');
  const size = name.slice('loongarch64-'.length).toUpperCase();
  const rows = [...pages(size), ...upper[name]];
  it.each(rows.map((r) => [title(r), r] as const))('%s', (_, row) => checkEntry(mode, row));

  it('encode undoes decode on random words of every level', () => {
    for (const level of mode.levels)
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (lo, hi) => {
          const d = decode(level, lo, hi);
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
        }),
      );
  });
});

describe('roots', () => {
  const mode = modeNamed('loongarch64-16k', '7.2');
  const pwc = { pwcl: 0x5e56en, pwch: 0x2e4n };

  it('PGDL is the lower half, PGDH the upper, PGD either', () => {
    expect(rootFromRegisters(mode, { pgdl: 0x900000000708c000n, pgdh: 0x9000000001b20000n, ...pwc }, 'user')).toMatchObject({
      table: 0x708c000n,
      ranges: [{ half: 'user', va: 0n, from: 0, to: 2048 }],
    });
    expect(rootFromRegisters(mode, { pgdl: 0x900000000708c000n, pgdh: 0x9000000001b20000n, ...pwc }, 'kernel')).toMatchObject({
      table: 0x1b20000n,
      ranges: [{ half: 'kernel', va: 0xffff800000000000n }],
    });
    expect(rootFromRegisters(mode, { pgd: 0x708c000n }, 'user').table).toBe(0x708c000n);
    expect(rootFromRegisters(mode, { pgd: 0x1b20000n, pgdh: 0x9000000001b20000n }, 'user').ranges[0].half).toBe('kernel');
  });

  it.each([
    [{ pgdl: 0x700000000708c000n }, 'lies in no direct-mapped window'],
    [{ pgdl: 0x900000000708c010n }, 'not aligned'],
    [
      { pgdl: 0x900000000708c000n, pwcl: 0x4d52cn, pwch: 0x25en },
      'PWCL and PWCH describe levels (shift/bits) 12/9, 21/9, 30/9, this mode has 14/11, 25/11, 36/11',
    ],
  ] as const)('%o is refused', (registers, text) => {
    expect(() => rootFromRegisters(mode, registers as Record<string, bigint>, 'user')).toThrow(text);
  });
});

describe('walks', () => {
  const mode = modeNamed('loongarch64-16k', '7.2');
  const DMW = 0x9000000000000000n;
  const read = (memory: Memory): string[] => translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { pgdl: DMW | 0x40000n }, 'user')));
  function memoryOf(empty: boolean): Memory {
    const memory = new Memory('little');
    for (let i = 0; i < 2048; i++) {
      memory.put(0x40000 + i * 8, DMW | 0x80000n, 8);
      memory.put(0x44000 + i * 8, DMW | 0x84000n, 8);
      memory.put(0x48000 + i * 8, 0n, 8);
      if (empty) {
        memory.put(0x80000 + i * 8, DMW | 0x84000n, 8);
        memory.put(0x84000 + i * 8, 0n, 8);
      }
    }
    memory.put(0x40000, DMW | 0x44000n, 8);
    memory.put(0x44000, DMW | 0x48000n, 8);
    memory.put(0x44000 + 8, 0x1000003dfn, 8);
    memory.put(0x48000 + 8, 0x4123819fn, 8);
    memory.put(0x48000 + 16, 0x4123c09dn, 8);
    return memory;
  }

  it.each([true, false])('pointers are direct-mapped addresses; unused slots share one empty table (in the image: %s)', (present) => {
    expect(read(memoryOf(present))).toEqual(['4000-8000 41238000 rwxu 16384', '8000-c000 4123c000 r-xu 16384', '2000000-4000000 100000000 rwxu 33554432']);
  });
});

describe('swap-type words', () => {
  it.each([
    ['6.1', 0x12345, 0x810000, { type: 129, exclusive: false }],
    ['6.12', 0x12345, 0x810000, { type: 1, exclusive: true }],
  ] as const)('Linux %s', (kernel, offset, low, want) => {
    const mode = modeNamed('loongarch64-16k', kernel);
    const word = { lo: ((offset << 24) | low) >>> 0, hi: offset >>> 8 };
    expect(decodeSwap(mode, 'pte', word.lo, word.hi)).toMatchObject({ ...want, offset });
    expect(encodeSwap(mode, 'pte', { type: want.type, offset, flags: want.exclusive ? ['exclusive'] : [] })).toEqual(word);
  });

  it('those of huge pages carry H', () => {
    const mode = modeNamed('loongarch64-64k', '6.12');
    expect(encodeSwap(mode, 'pgd', { type: 0x18, offset: 0x40000 })).toEqual({ lo: 0x180040, hi: 0x400 });
    expect(decodeSwap(mode, 'pgd', 0x180040, 0x400)).toMatchObject({ kind: 'migration', access: 'read', offset: 0x40000 });
  });
});

it("Linux: pmd_mkhuge moves global to bit 12; pte_modify keeps cache and privilege, not the new protection's", () => {
  const linux = new LinuxEntries(modeNamed('loongarch64-16k', '6.12'));
  expect(linux.edit('pmd_mkhuge', 'pmd', { lo: 0x1d3, hi: 0 }).lo).toBe(0x11d3);
  expect(linux.modify('pte', { lo: 0x4123c1ae, hi: 0 }, linux.prot('PAGE_READONLY')).lo).toBe(0x4123c0ac);
});
