/** arm64 descriptors by the Arm ARM and Linux's pgtable-prot.h; TTBRs with every address size; table attributes; contiguous runs; swap-type words by version. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arm64Modes } from '../../src/arch/arm64.ts';
import { findMode } from '../../src/arch/registry.ts';
import { decode, encode } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, encodeSwap, swapTypes } from '../../src/pagetable/swap.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { checkEntry, type HandEntry, title } from '../support/hand.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, translationOf } from '../support/translation.ts';

/** V 1, T 2, AttrIndx 0x1c, AP1 0x40, AP2 0x80, SH 0x300, AF 0x400, nG 0x800; DBM 51, contiguous 52, PXN 53, UXN 54, dirty 55. */
const page = (name: string): HandEntry[] => [
  {
    level: 'pte',
    word: 0x00e8000540000f43n,
    form: name,
    fields: { V: 1, T: 1, AP1: 1, AP2: 0, AF: 1, nG: 1, DBM: 1, PXN: 1, UXN: 1, DIRTY: 1 },
    address: 0x540000000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  // Writable and clean: hardware may clear the read-only bit.
  { level: 'pte', word: 0x0068000540000fc3n, form: name, fields: { AP2: 1, DBM: 1 }, rights: 'rw-u', is: 'present accessed' },
  { level: 'pte', word: 0x0020000540000fc3n, form: name, rights: 'r-xu', is: 'present accessed' },
  { level: 'pte', word: 0x0020000540000f83n, form: name, rights: '--xu' },
  { level: 'pte', word: 0x00c0000540000783n, form: name, fields: { nG: 0 }, rights: 'r-x-', is: 'present global dirty accessed' },
  { level: 'pte', word: 0x006800054000070fn, form: name, fields: { AttrIndx: 3 }, rights: 'rw--', is: 'present global dirty accessed' },
  { level: 'pte', word: 0x0060000540000f82n, form: `${name}, not valid`, address: 0x540000000n, rights: '----', is: 'accessed' },
  { level: 'pte', word: 0x0068000540000f41n, form: `${name}, reserved type`, is: 'dirty accessed' },
  { level: 'pte', word: 0x0000000012345040n, form: 'swap-type entry' },
  { level: 'pte', word: 0n, form: 'empty' },
];
/** Without the shareability field, where its bits are address bits. */
const unshared = (rows: HandEntry[]): HandEntry[] =>
  rows.map((r) => (r.form === 'empty' || r.form === 'swap-type entry' ? r : { ...r, word: r.word & ~0x300n }));
const table = (level: string, extra: Partial<HandEntry> = {}): HandEntry => ({
  level,
  word: 0x0800000001230003n,
  form: 'table',
  fields: { PXNTable: 1 },
  address: 0x1230000n,
  rights: 'rwxu',
  ...extra,
});

const sizes: Record<string, readonly HandEntry[]> = {
  'arm64-4k-39': [
    ...page('4K page'),
    table('pmd'),
    { level: 'pmd', word: 0x00e8000540000f41n, form: '2M block', address: 0x540000000n, rights: 'rw-u' },
    { level: 'pgd', word: 0x00e8000540000f41n, form: '1G block', address: 0x540000000n },
  ],
  'arm64-4k-48': [
    ...page('4K page'),
    table('pud'),
    table('pgd'),
    { level: 'pgd', word: 0x1n, form: undefined },
    { level: 'pud', word: 0x0060000540000781n, form: '1G block', rights: 'r---' },
  ],
  'arm64-4k-52': [
    ...unshared(page('4K page')),
    table('p4d'),
    table('pgd'),
    { level: 'pte', word: 0x006bffffffffffc3n, form: '4K page', address: 0xffffffffff000n },
    { level: 'p4d', word: 0x0060010000000781n, form: '512G block', fields: { AP2: 1 }, address: 0xc010000000000n },
    { level: 'pmd', word: 0x3000000010303n, form: 'table', address: 0xf000000010000n },
  ],
  'arm64-16k-36': [...page('16K page'), table('pgd'), { level: 'pgd', word: 0x00e8000540000f41n, form: '32M block', address: 0x540000000n }],
  'arm64-16k-47': [
    ...page('16K page'),
    table('pmd'),
    { level: 'pgd', word: 0x00e8000540000f41n, form: undefined },
    { level: 'pmd', word: 0x00e8000540000f41n, form: '32M block', rights: 'rw-u' },
  ],
  'arm64-16k-48': [...page('16K page'), table('pud'), table('pgd'), { level: 'pte', word: 0x0068000540001f43n, form: '16K page', reserved: 0x1000n }],
  'arm64-16k-52': [
    ...unshared(page('16K page')),
    table('pgd'),
    { level: 'pud', word: 0x00e8001000000c41n, form: '64G block', address: 0x1000000000n },
    { level: 'pte', word: 0x006bffffffffcfc3n, form: '16K page', address: 0xfffffffffc000n },
  ],
  'arm64-64k-42': [...page('64K page'), table('pgd'), { level: 'pgd', word: 0x00e8000560000f41n, form: '512M block', address: 0x560000000n }],
  'arm64-64k-48': [...page('64K page'), table('pmd'), table('pgd'), { level: 'pte', word: 0x0068000540001f43n, form: '64K page', address: 0x1000540000000n }],
  'arm64-64k-52': [
    ...page('64K page'),
    table('pmd'),
    { level: 'pte', word: 0x006b00000001ffc3n, form: '64K page', fields: { ADDR49: 3 }, address: 0xf000000010000n },
    { level: 'pgd', word: 0x0060040000000781n, form: '4T block', address: 0x40000000000n },
  ],
};

it('every registered mode is here', () => expect(Object.keys(sizes)).toEqual(arm64Modes.map((m) => m.name)));

describe.each(Object.entries(sizes))('%s', (name, entries) => {
  const mode = modeNamed(name, '6.12');
  it.each(entries.map((row) => [title(row), row] as const))('%s', (_, row) => checkEntry(mode, row));
});

const everySize = (['4k', '16k', '64k'] as const).flatMap((granule) => Array.from({ length: 17 }, (_, i) => `arm64-${granule}-${36 + i}`));

describe('every address size from 36 to 52 bits', () => {
  it.each(everySize)('%s', (name) => {
    const mode = modeNamed(name);
    const levels = mode.mode.levels;
    expect(levels.reduce((bits, l) => bits + l.bits, mode.mode.pageShift)).toBe(mode.mode.vaBits);
    expect([levels[0].name, levels[levels.length - 1].name]).toEqual(['pgd', 'pte']);
    expect(levels[0].bits).toBeLessThanOrEqual(mode.mode.pageShift - 3);
    for (const kernel of ['6.1', '6.12'])
      for (const level of modeNamed(name, kernel).levels)
        fc.assert(
          fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 0xffffffff }), (lo, hi) => {
            const d = decode(level, lo, hi);
            if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
            else expect(lo & 3).toBe(1);
          }),
          { numRuns: 40 },
        );
  });
  it.each(['arm64-4k-35', 'arm64-4k-53', 'arm64-8k-48', 'arm64-4k', 'arm64-4k-048'])('%s is no mode', (name) => expect(findMode(name)).toBeUndefined());
});

describe('translation table base registers', () => {
  it.each([
    ['arm64-4k-48', { TTBR0_EL1: 0x433dd001n, TCR_EL1: 0x15001f5b5503510n }, 'user', 0x433dd000n, 'pgd', 0n, 512],
    ['arm64-4k-48', { TTBR1_EL1: 0x4000041853001n }, 'kernel', 0x41853000n, 'pgd', 0xffff000000000000n, 512],
    ['arm64-4k-52', { TTBR0_EL1: 0x42f46981n, TCR_EL1: 0x95001f6b54c350cn }, 'user', 0x42f46980n, 'pgd', 0n, 16],
    ['arm64-16k-47', { TTBR1_EL1: 0x4000041f54001n, TCR_EL1: 0x15001f57551b511n }, 'kernel', 0x41f54000n, 'pgd', 0xffff800000000000n, 2048],
    // 52-bit physical: bits 5:2 are bits 51:48.
    ['arm64-64k-52', { TTBR0_EL1: 0x1234200000012024n }, 'user', 0x9200000012000n, 'pgd', 0n, 1024],
    // A range of 39 bits in a 48-bit mode starts a level lower.
    ['arm64-4k-48', { TTBR0_EL1: 0x1000n, TCR_EL1: 0x15001f5b5503519n }, 'user', 0x1000n, 'pud', 0n, 512],
  ] as const)('%s %o', (name, registers, half, address, level, va, entries) => {
    const root = rootFromRegisters(modeNamed(name), registers, half);
    expect([root.table, root.level, root.ranges]).toEqual([address, level, [{ half, va, from: 0, to: entries }]]);
  });

  it.each([
    ['arm64-4k-48', { TTBR0_EL1: 0x1000n, TCR_EL1: 0x15001f57551b511n }, '16k granule, this mode has 4k pages'],
    ['arm64-4k-39', { TTBR0_EL1: 0x1000n, TCR_EL1: 0x15001f5b5503510n }, '48-bit addresses, this mode has 39'],
    ['arm64-4k-48', { TTBR0_EL1: 0x1008n }, 'bits 0x8 lie below the alignment'],
    ['arm64-4k-48', { TTBR1_EL1: 0x1000n }, 'no root register'],
  ])('%s rejects %o', (name, registers, text) => {
    expect(() => rootFromRegisters(modeNamed(name), registers as Record<string, bigint>, 'user')).toThrow(text);
  });
});

/** arm64-4k-39: pgd at 0x1000, pmd at 0x2000, page table at 0x3000. */
function memoryOf(words: { pgd?: bigint; pmd?: bigint }, ptes: readonly (readonly [number, bigint])[]): Memory {
  const memory = new Memory('little');
  memory.put(0x1000, 0x2003n | (words.pgd ?? 0n), 8);
  memory.put(0x2000, words.pmd ?? 0x3003n, 8);
  for (const [index, word] of ptes) memory.put(0x3000 + index * 8, word, 8);
  return memory;
}
function read(memory: Memory, half: 'user' | 'kernel' = 'user'): string[] {
  const mode = modeNamed('arm64-4k-39');
  return translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { ttbr0_el1: 0x1000n, ttbr1_el1: 0x1000n }, half)));
}
const USER = 0x00a8000000000f43n;
const KERNEL = 0x00c8000000000703n;

describe('rights over levels', () => {
  const one = (pgd: bigint, leaf: bigint): string => read(memoryOf({ pgd }, [[0, leaf | 0x5000n]]))[0].split(' ')[2];
  it('a table takes away what its attributes say', () => {
    expect(one(0n, USER)).toBe('rwxu');
    expect(one(1n << 62n, USER)).toBe('r-xu');
    expect(one(1n << 61n, USER)).toBe('rwxk');
    expect(one(1n << 60n, USER)).toBe('rw-u');
  });
  it('PXNTable takes execution from the kernel alone, UXNTable from user mode alone', () => {
    expect(one(1n << 59n, USER)).toBe('rwxu');
    expect(one(1n << 59n, KERNEL)).toBe('rw-k');
    expect(one(1n << 60n, KERNEL)).toBe('rwxk');
  });
  it('DBM makes a read-only page writable, but not against APTable', () => {
    expect(one(0n, USER | 0x80n)).toBe('rwxu');
    expect(one(1n << 62n, USER | 0x80n)).toBe('r-xu');
  });
});

describe('contiguous runs', () => {
  const CONT = USER | (1n << 52n);
  const run = (change: (word: bigint, i: number) => bigint, n = 16): readonly (readonly [number, bigint])[] =>
    Array.from({ length: n }, (_, i) => [16 + i, change(CONT | (0x40000n + BigInt(i) * 0x1000n), i)] as const);
  it('sixteen pages are one of 64 KiB; hardware may set AF and clear the read-only bit in any of them', () => {
    expect(
      read(
        memoryOf(
          {},
          run((w, i) => (i === 5 ? w & ~0x400n : i === 7 ? w | 0x80n : w)),
        ),
      ),
    ).toEqual(['10000-20000 40000 rwxu 65536']);
  });
  it('the run is dirty when one entry is', () => {
    const mode = modeNamed('arm64-4k-39');
    const words = run((w, i) => (w & ~(1n << 55n)) | (i === 7 ? 0n : 0x80n));
    const tables = readPageTables(mode, memoryOf({}, words), rootFromRegisters(mode, { ttbr0_el1: 0x1000n }, 'user'));
    expect(tables.attributes.find((a) => a.contig === 16)?.dirty).toBe(true);
  });
  it('a run that is short, moved or disagrees is broken', () => {
    for (const words of [run((w) => w, 15), run((w, i) => (i === 9 ? w + 0x1000n : w)), run((w, i) => (i === 3 ? w ^ 0x4n : w)), run((w) => w + 0x1000n)])
      expect(read(memoryOf({}, words)).every((line) => line.endsWith('broken'))).toBe(true);
  });
  it('blocks of 2 MiB run too', () => {
    const memory = memoryOf({}, []);
    for (let i = 0; i < 16; i++) memory.put(0x2000 + i * 8, (CONT & ~2n) | (0x40000000n + BigInt(i) * 0x200000n), 8);
    expect(read(memory)).toEqual([`0-2000000 40000000 rwxu ${2 ** 25}`]);
  });
});

describe('swap-type words', () => {
  it.each([
    ['6.1', 0x1234508n, 1, 0x12345, []],
    ['6.1', 0x123450cn, 1, 0x12345, ['exclusive']],
    ['6.12', 0x12345044n, 1, 0x12345, ['exclusive']],
    ['6.12', 0x12345048n, 1, 0x12345, ['uffdWp']],
  ] as const)('Linux %s: 0x%x', (kernel, word, type, offset, flags) => {
    const mode = modeNamed('arm64-4k-48', kernel);
    const found = decodeSwap(mode, 'pte', Number(word), 0);
    expect([found?.type, found?.offset]).toEqual([type, offset]);
    for (const flag of ['exclusive', 'softDirty', 'uffdWp'] as const)
      expect([flag, found?.[flag]]).toEqual([flag, (flags as readonly string[]).includes(flag)]);
    expect(encodeSwap(mode, 'pte', { type, offset, flags })).toEqual({ lo: Number(word), hi: 0 });
  });

  it('present but inaccessible is bit 58 until 6.10, then nG of an invalid entry', () => {
    const formAt = (kernel: string, word: bigint): string | undefined =>
      decode(modeNamed('arm64-4k-48', kernel).levels[3], Number(word & 0xffffffffn), Number(word >> 32n)).form?.form.name;
    expect([formAt('6.1', 0x0460000012345f82n), formAt('6.1', 0x0000000012345f80n)]).toEqual(['4K page, not valid', 'swap-type entry']);
    expect([formAt('6.12', 0x0060000012345f82n), formAt('6.12', 0x0400000012345780n)]).toEqual(['4K page, not valid', 'swap-type entry']);
  });

  it('hwpoison is type 27 in 6.1 and 6.12', () => {
    for (const kernel of ['6.1', '6.12']) {
      const mode = modeNamed('arm64-4k-48', kernel);
      expect(swapTypes(mode.kernel, mode.specials)[27].kind).toBe('hwpoison');
    }
  });
});

describe('Linux', () => {
  const linux = new LinuxEntries(modeNamed('arm64-4k-48', '6.12'));
  it('keeps what hardware wrote through when the protection changes', () => {
    const written = linux.edit('pte_mkclean', 'pte', linux.pfn('pte', 0x12345, linux.prot('PAGE_SHARED')));
    const dirtied = { lo: written.lo & ~0x80, hi: written.hi };
    expect(linux.predicate('pte', 'pte_dirty', linux.modify('pte', written, linux.prot('PAGE_READONLY')))).toBe(false);
    expect(linux.predicate('pte', 'pte_dirty', linux.modify('pte', dirtied, linux.prot('PAGE_READONLY')))).toBe(true);
  });
  it('makes PROT_NONE pages by version', () => {
    expect(linux.prot('PAGE_NONE')).toEqual({ lo: 0xf82, hi: 0x600000 });
    expect(new LinuxEntries(modeNamed('arm64-4k-48', '6.1')).prot('PAGE_NONE')).toEqual({ lo: 0xf82, hi: 0x4600000 });
  });
});
