/** s390x entries by the Principles of Operation and Linux's pgtable.h; ASCEs; depth, table type, offset and length at run time; both sets of software bits. */
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

/** PTE: IEP 0x100, P 0x200, I 0x400; software present 1, soft-dirty 2, young 4, dirty 8, read 0x10, write 0x20, special 0x40. */
const pages: readonly HandEntry[] = [
  {
    level: 'pte',
    word: 0x1234513dn,
    form: '4K page',
    fields: { PRESENT: 1, Y: 1, D: 1, R: 1, W: 1, IEP: 1, P: 0, I: 0 },
    address: 0x12345000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x12345335n, form: '4K page', fields: { P: 1, D: 0, W: 1 }, rights: 'rw-u', is: 'present accessed' },
  { level: 'pte', word: 0x12345711n, form: '4K page', fields: { I: 1, Y: 0, R: 1 }, rights: 'r--u', is: 'present' },
  { level: 'pte', word: 0x12345215n, form: '4K page', fields: { IEP: 0 }, rights: 'r-xu', is: 'present accessed' },
  { level: 'pte', word: 0x12345605n, form: '4K page', fields: { I: 1, P: 1, R: 0 }, rights: '---u', is: 'accessed' },
  { level: 'pte', word: 0x12345655n, form: '4K page', fields: { SPECIAL: 1 } },
  { level: 'pte', word: 0x1234593dn, form: '4K page', reserved: 0x800n },
  { level: 'pte', word: 0x400n, form: 'empty' },
  { level: 'pte', word: 0x12345e04n, form: 'swap-type entry' },
  { level: 'pte', word: 0n, form: undefined },
];
/** Tables: TL 3, TT 0xc, I 0x20, TF 0xc0, P 0x200. */
const tables: readonly HandEntry[] = [
  { level: 'pgd', word: 0x12300fn, form: 'region-second table', fields: { TT: 3, TL: 3, TF: 0 }, address: 0x123000n, rights: 'rwxu' },
  { level: 'pgd', word: 0x2cn, form: 'empty' },
  { level: 'pgd', word: 0x12300bn, form: undefined },
  { level: 'p4d', word: 0x12304bn, form: 'region-third table', fields: { TT: 2, TF: 1 }, address: 0x123000n },
  { level: 'p4d', word: 0x28n, form: 'empty' },
  { level: 'pud', word: 0x123207n, form: 'segment table', fields: { TT: 1, P: 1 }, rights: 'r-xu' },
  { level: 'pud', word: 0x24n, form: 'empty' },
  { level: 'pud', word: 0x12302en, form: 'invalid' },
  { level: 'pmd', word: 0x123800n, form: 'page table', address: 0x123800n },
  { level: 'pmd', word: 0x123a00n, form: 'page table', fields: { P: 1 }, address: 0x123800n, rights: 'r-xu' },
  { level: 'pmd', word: 0x123804n, form: undefined },
  { level: 'pmd', word: 0x20n, form: 'empty' },
];
const before: readonly HandEntry[] = [
  {
    level: 'pmd',
    word: 0x40007503n,
    form: '1M page',
    fields: { FC: 1, Y: 1, D: 1, R: 1, W: 1, IEP: 1, SOFT_DIRTY: 1 },
    address: 0x40000000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pmd', word: 0x40000723n, form: '1M page', fields: { I: 1, Y: 0 }, rights: 'rw-u', is: 'present' },
  { level: 'pmd', word: 0x40001620n, form: '1M page', fields: { R: 0 }, rights: '---u', is: 'accessed' },
  { level: 'pud', word: 0x80001607n, form: '2G page', fields: { TT: 1, R: 1, W: 1 }, address: 0x80000000n, rights: 'rwxu' },
  { level: 'pmd', word: 0x40041703n, form: '1M page', reserved: 0x40000n },
  { level: 'pmd', word: 0x12340ab0n, form: 'invalid' },
];
const after: readonly HandEntry[] = [
  {
    level: 'pmd',
    word: 0x4000f503n,
    form: '1M page',
    fields: { PRESENT: 1, R: 1, W: 1, SOFT_DIRTY: 1, Y: 1, D: 1 },
    address: 0x40000000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pmd', word: 0x40001621n, form: '1M page', fields: { PRESENT: 1, R: 0 }, rights: '---u', is: 'accessed' },
  { level: 'pud', word: 0x8000d605n, form: '2G page', fields: { TT: 1, R: 1, W: 1, PRESENT: 1 }, address: 0x80000000n },
  { level: 'pmd', word: 0x12345730n, form: 'swap-type entry' },
  { level: 'pud', word: 0x12345734n, form: 'swap-type entry' },
];

describe.each([
  ['6.12', before],
  ['7.2', after],
] as const)('s390x, Linux %s: entries by hand', (kernel, large) => {
  const mode = modeNamed('s390x', kernel);
  it.each([...pages, ...tables, ...large].map((r) => [title(r), r] as const))('%s', (_, row) => checkEntry(mode, row));

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

describe('address-space-control elements', () => {
  const mode = modeNamed('s390x');
  it.each([
    [0x2dec1cfn, 'pgd', 0x2dec000n, 2048],
    [0x2c901cbn, 'p4d', 0x2c90000n, 2048],
    [0x2c641c7n, 'pud', 0x2c64000n, 2048],
    [0x2c641c0n, 'pmd', 0x2c64000n, 512],
    [0x2c641c5n, 'pud', 0x2c64000n, 1024],
  ])('0x%x', (cr7, level, table, to) => {
    expect(rootFromRegisters(mode, { cr7 }, 'user')).toMatchObject({ table, level, ranges: [{ half: 'user', va: 0n, from: 0, to }] });
  });

  it("CR13 is the kernel's and closed to user mode; CR1 counts as such where it says the same", () => {
    expect(rootFromRegisters(mode, { cr13: 0x2040007n }, 'kernel').ranges).toEqual([{ half: 'kernel', va: 0n, from: 0, to: 2048, supervisor: true }]);
    expect(rootFromRegisters(mode, { cr1: 0x2040007n, cr13: 0x2040007n }, 'user').ranges[0].half).toBe('kernel');
    expect(rootFromRegisters(mode, { cr1: 0x2040007n, cr7: 0x2c641c7n, cr13: 0x2040007n }, 'user').table).toBe(0x2c64000n);
  });

  it('a real-space designation is refused with the reason', () => {
    expect(() => rootFromRegisters(mode, { cr7: 0x2c641e7n }, 'user')).toThrow('real-space designation');
    expect(() => rootFromRegisters(mode, { cr7: 1n << 64n }, 'user')).toThrow('64 bits');
  });
});

const PAGE = 0x13dn;

/** A segment table at 0x10000, page table at 0x30800 and a region-third table at 0x20000, as Linux sets them up. */
function memoryOf(): Memory {
  const memory = new Memory('big');
  for (let i = 0; i < 2048; i++) {
    memory.put(0x10000 + i * 8, 0x20n, 8);
    memory.put(0x20000 + i * 8, 0x24n, 8);
  }
  for (let i = 0; i < 256; i++) memory.put(0x30800 + i * 8, 0x400n, 8);
  return memory;
}
const read = (memory: Memory, cr7: bigint, kernel = '6.12'): string[] => {
  const mode = modeNamed('s390x', kernel);
  return translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { cr7 }, 'user')));
};

describe('depth and length at run time', () => {
  it('a two-level space: segment table and page table in the upper half of a frame', () => {
    const memory = memoryOf();
    memory.put(0x10000 + 8, 0x30800n, 8);
    memory.put(0x30800 + 255 * 8, 0x7000n | PAGE, 8);
    expect(read(memory, 0x10003n)).toEqual(['1ff000-200000 7000 rw-u 4096']);
  });

  it('a space shorter than its table', () => {
    const memory = memoryOf();
    for (const i of [511, 512]) memory.put(0x10000 + i * 8, 0x40001703n, 8);
    expect(read(memory, 0x10003n)).toHaveLength(2);
    expect(read(memory, 0x10000n)).toEqual(['1ff00000-20000000 40000000 rw-u 1048576']);
  });

  it('only entries within table offset and length exist', () => {
    const memory = memoryOf();
    for (const i of [0, 511, 512, 1023, 1024, 2047]) memory.put(0x10000 + i * 8, 0x40001703n, 8);
    const with_ = (tf: bigint, tl: bigint): string[] => {
      memory.put(0x20000, 0x10004n | (tf << 6n) | tl, 8);
      return read(memory, 0x20007n).map((line) => line.split('-')[0]);
    };
    expect(with_(0n, 3n)).toEqual(['0', '1ff00000', '20000000', '3ff00000', '40000000', '7ff00000']);
    expect(with_(1n, 1n)).toEqual(['20000000', '3ff00000']);
    expect(with_(2n, 3n)).toEqual(['40000000', '7ff00000']);
    expect(with_(0n, 0n)).toEqual(['0', '1ff00000']);
    expect(with_(2n, 1n)).toEqual([]);
  });

  it("an entry whose type is not its level's stops the walk", () => {
    const memory = memoryOf();
    memory.put(0x20000, 0x1000bn, 8);
    expect(read(memory, 0x20007n)).toEqual(['0-80000000 bad']);
  });

  it('protection in a table entry takes writing away below', () => {
    const memory = memoryOf();
    memory.put(0x20000, 0x10207n, 8);
    memory.put(0x10000, 0x30800n, 8);
    memory.put(0x30800, 0x7000n | PAGE, 8);
    expect(read(memory, 0x20007n)).toEqual(['0-1000 7000 r--u 4096']);
  });

  it('2G and 1M leaves', () => {
    const memory = memoryOf();
    memory.put(0x20000, 0x10007n, 8);
    memory.put(0x20000 + 8, 0x80001707n, 8);
    memory.put(0x10000 + 16, 0x40001601n, 8);
    expect(read(memory, 0x20007n)).toEqual(['200000-300000 40000000 r-xu 1048576', '80000000-100000000 80000000 rw-u 2147483648']);
  });
});

describe('swap-type words', () => {
  it('of pages: type in bits 6:2, exclusive 11, soft-dirty 1', () => {
    const mode = modeNamed('s390x', '6.12');
    expect(decodeSwap(mode, 'pte', 0x12345e06, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: true, softDirty: true });
    expect(encodeSwap(mode, 'pte', { type: 1, offset: 0x12345, flags: ['exclusive', 'softDirty'] })).toEqual({ lo: 0x12345e06, hi: 0 });
    expect(decodeSwap(mode, 'pmd', 0x12345730, 0)).toBeUndefined();
  });

  it('of large entries from 6.13: type in bits 10:6, the table type stands beside it', () => {
    const mode = modeNamed('s390x', '6.13');
    expect(decodeSwap(mode, 'pmd', 0x12345730, 0)).toMatchObject({ type: 28, offset: 0x12345, kind: 'migration', access: 'read' });
    expect(encodeSwap(mode, 'pud', { type: 28, offset: 0x12345 })).toEqual({ lo: 0x12345734, hi: 0 });
  });
});

it("Linux: young and dirty set and clear the hardware's bits", () => {
  for (const [kernel, rw, dirty, old] of [
    ['6.12', 0x40001703, 0x40007503, 0x40006523],
    ['7.2', 0x4000d701, 0x4000f503, 0x4000e523],
  ] as const) {
    const linux = new LinuxEntries(modeNamed('s390x', kernel));
    const leaf = linux.edit('pmd_mkhuge', 'pmd', linux.pfn('pmd', 0x40000, linux.prot('PAGE_RW', 'pmd')));
    expect(leaf.lo).toBe(rw);
    const written = linux.edit('pmd_mkdirty', 'pmd', leaf);
    expect(written.lo).toBe(dirty);
    expect(linux.edit('pmd_mkold', 'pmd', written).lo).toBe(old);
    expect(linux.predicate('pmd', 'pmd_leaf', written)).toBe(true);
  }
});
