/** 32-bit arm descriptors by the ARM ARM and Linux's pgtable headers; Linux's words beside hardware's; TTBRs under TTBCR; rights; swap-type words by version. */
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

/** Hardware's word above, Linux's below: present 1, young 2, memory type 0x3c, dirty 0x40, read-only 0x80, user 0x100, XN 0x200, shared 0x400, none 0x800. */
const pair = (hardware: bigint, linux: bigint): bigint => (hardware << 32n) | linux;

/** Small page: XN 1, small 2, B 4, C 8, AP[1:0] 0x30, TEX 0x1c0, AP[2] 0x200, S 0x400, nG 0x800. */
const short: readonly HandEntry[] = [
  {
    level: 'pte',
    word: pair(0x12345c7fn, 0x1234575fn),
    form: '4K small page',
    fields: { AP: 3, AP2: 0, XN: 1, L_DIRTY: 1, L_USER: 1 },
    address: 0x12345000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  // Clean: read-only to hardware until the first write, but Linux allows it.
  { level: 'pte', word: pair(0x12345e7en, 0x1234551fn), form: '4K small page', fields: { AP: 3, AP2: 1, XN: 0 }, rights: 'rwxu', is: 'present accessed' },
  { level: 'pte', word: pair(0x12345e7en, 0x1234559fn), form: '4K small page', fields: { L_RDONLY: 1 }, rights: 'r-xu', is: 'present accessed' },
  { level: 'pte', word: pair(0x1234545en, 0x1234545fn), form: '4K small page', fields: { AP: 1 }, rights: 'rwx-', is: 'present global dirty accessed' },
  { level: 'pte', word: pair(0n, 0x1234579dn), form: '4K page of Linux, not in hardware', address: 0x12345000n, rights: 'r--u', is: 'present' },
  { level: 'pte', word: pair(0n, 0x12345e9fn), form: '4K page of Linux, not in hardware', address: 0x12345000n, rights: '----', is: 'accessed' },
  { level: 'pte', word: pair(0n, 0x01234584n), form: 'swap-type entry' },
  { level: 'pte', word: pair(0x1234045en, 0n), form: '4K small page of hardware alone', address: 0x12340000n, rights: 'rwx-' },
  { level: 'pte', word: pair(0x12340011n, 0n), form: '64K large page', address: 0x12340000n, rights: 'rwx-' },
  // Hardware's frame is the one that counts; Linux's copy differs in bit 12.
  { level: 'pte', word: pair(0x12345c7fn, 0x1234475fn), form: '4K small page', address: 0x12345000n, reserved: 0x1000n },
  { level: 'pgd', word: 0x00123811n, form: 'page table', fields: { DOMAIN: 0, BIT4: 1 }, address: 0x123800n },
  { level: 'pgd', word: 0x41cd5c25n, form: 'page table', fields: { PXN: 1, DOMAIN: 1 }, address: 0x41cd5c00n },
  { level: 'pgd', word: 0x4021940en, form: '1M section', fields: { AP: 1, AP2: 1, DOMAIN: 0, XN: 0 }, address: 0x40200000n, rights: 'r-x-', reserved: 0n },
  { level: 'pgd', word: 0xc0011c1en, form: '1M section', fields: { AP: 3, XN: 1, TEX: 1 }, address: 0xc0000000n, rights: 'rw-u' },
  { level: 'pgd', word: 0x81340c22n, form: '16M supersection', fields: { SUPER: 1, AP: 3 }, address: 0x1381000000n, rights: 'rwxu' },
  { level: 'pgd', word: 0n, form: 'empty' },
];

const lpae: readonly HandEntry[] = [
  {
    level: 'pte',
    word: 0x00c0000012345f4fn,
    form: '4K page',
    fields: { V: 1, T: 1, AP1: 1, AP2: 0, XN: 1, DIRTY: 1 },
    address: 0x12345000n,
    rights: 'rw-u',
    is: 'present dirty accessed',
  },
  { level: 'pte', word: 0x0040000012345fcfn, form: '4K page', fields: { AP2: 1, RDONLY: 0, DIRTY: 0 }, rights: 'rw-u', is: 'present accessed' },
  { level: 'pte', word: 0x0400000012345fcfn, form: '4K page', fields: { RDONLY: 1 }, rights: 'r-xu', is: 'present accessed' },
  { level: 'pte', word: 0x008000ff1234571fn, form: '4K page', address: 0xff12345000n, rights: 'rwx-', is: 'present global dirty accessed' },
  { level: 'pte', word: 0x0020000012345f5fn, form: '4K page', fields: { PXN: 1 }, rights: 'rwxu' },
  { level: 'pte', word: 0x0640000012345f9en, form: '4K page, not valid', fields: { NONE: 1 }, address: 0x12345000n, rights: '----', is: 'accessed' },
  { level: 'pte', word: 0x01234584n, form: 'swap-type entry' },
  { level: 'pmd', word: 0x00c000004000075dn, form: '2M block', address: 0x40000000n, rights: 'rw-u', is: 'present global dirty accessed' },
  { level: 'pmd', word: 0x064000004000079cn, form: '2M block, not valid', address: 0x40000000n, rights: '----', is: 'accessed' },
  { level: 'pmd', word: 0x00123003n, form: 'page table', address: 0x123000n },
  { level: 'pgd', word: 0x0800000042505003n, form: 'second-level table', fields: { PXNTable: 1 }, address: 0x42505000n },
  { level: 'pgd', word: 0x000001004250a003n, form: 'second-level table', address: 0x4250a000n, reserved: 0x10000000000n },
];

describe.each([
  ['arm-short', short],
  ['arm-lpae', lpae],
] as const)('%s', (name, entries) => {
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

describe('translation table base registers', () => {
  const root = (name: string, registers: Record<string, bigint>, half: 'user' | 'kernel') => rootFromRegisters(modeNamed(name), registers, half);
  it('short: TTBR0 has everything when TTBCR.N is 0', () => {
    const r = root('arm-short', { TTBR0: 0x41cd406an, TTBR1: 0x4020406an, TTBCR: 0n }, 'kernel');
    expect([r.table, r.ranges]).toEqual([
      0x41cd4000n,
      [
        { half: 'user', va: 0n, from: 0, to: 0xbf0 },
        { half: 'kernel', va: 0xbf000000n, from: 0xbf0, to: 4096 },
      ],
    ]);
  });
  it('short: TTBCR.N gives the top to TTBR1', () => {
    const registers = { TTBR0: 0x41cd206an, TTBR1: 0x4020406an, TTBCR: 1n };
    expect(root('arm-short', registers, 'user')).toMatchObject({ table: 0x41cd2000n, ranges: [{ half: 'user', va: 0n, from: 0, to: 2048 }] });
    expect(root('arm-short', registers, 'kernel')).toMatchObject({ table: 0x40204000n, ranges: [{ half: 'kernel', va: 0x80000000n, from: 2048, to: 4096 }] });
  });
  it('lpae: TTBR1 of 1 GiB starts at the second level', () => {
    const registers = { TTBR0: 0x2000042504180n, TTBR1: 0x40207000n, TTBCR: 0xb5023500n };
    expect(root('arm-lpae', registers, 'user')).toMatchObject({ table: 0x42504180n, level: 'pgd', ranges: [{ half: 'user', va: 0n, from: 0, to: 3 }] });
    expect(root('arm-lpae', registers, 'kernel')).toMatchObject({
      table: 0x40207000n,
      level: 'pmd',
      ranges: [{ half: 'kernel', va: 0xc0000000n, from: 0, to: 512 }],
    });
  });
  it('lpae: with T1SZ 0 TTBR0 has everything', () => {
    expect(root('arm-lpae', { TTBR0: 0x42504180n, TTBR1: 0x40207000n, TTBCR: 0xb5003500n }, 'kernel')).toMatchObject({
      table: 0x42504180n,
      ranges: [
        { half: 'user', to: 3 },
        { half: 'kernel', va: 0xc0000000n, from: 3, to: 4 },
      ],
    });
  });
  it('the formats tell each other apart by TTBCR.EAE', () => {
    expect(() => root('arm-short', { TTBR0: 0x41cd406an, TTBCR: 0xb5023500n }, 'user')).toThrow('EAE set');
    expect(() => root('arm-lpae', { TTBR0: 0x41cd406an, TTBCR: 0n }, 'user')).toThrow('EAE clear');
    expect(() => root('arm-lpae', { cr3: 1n }, 'user')).toThrow('expected ttbr0, found cr3');
  });
});

/** First level at 0x4000; hardware's page table at 0x9800 with Linux's words at 0x9000. */
function shortMemory(first: readonly (readonly [number, number])[], pages: readonly (readonly [number, number, number])[]): Memory {
  const memory = new Memory('little');
  for (let frame = 0x4000; frame < 0x8000; frame += 0x1000) memory.put(frame, 0);
  for (const [index, word] of first) memory.put(0x4000 + index * 4, word);
  for (const [index, hardware, linux] of pages) {
    memory.put(0x9800 + index * 4, hardware);
    memory.put(0x9000 + index * 4, linux);
  }
  return memory;
}
const readShort = (memory: Memory): string[] => {
  const mode = modeNamed('arm-short', '6.12');
  return translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { ttbr0: 0x4000n }, 'user')));
};

describe('walks of short descriptors', () => {
  it('join pages whose words differ in their frames alone', () => {
    expect(
      readShort(
        shortMemory(
          [[0, 0x9801]],
          [
            [0, 0x5c7f, 0x575f],
            [1, 0x6c7f, 0x675f],
            [2, 0, 0x7f9f],
            [3, 0, 0x01234504],
          ],
        ),
      ),
    ).toEqual(['0-2000 5000 rw-u 4096', '2000-3000 7000 ---k 4096', '3000-4000 nonpresent']);
  });
  it('a page whose two words name different frames follows hardware', () => {
    expect(readShort(shortMemory([[0, 0x9801]], [[0, 0x5c7f, 0x475f]]))).toEqual(['0-1000 5000 rw-u 4096']);
  });
  it('large pages and supersections stand in sixteen entries', () => {
    const large = Array.from({ length: 16 }, (_, i) => [16 + i, 0x50031, 0] as const);
    expect(readShort(shortMemory([[0, 0x9801]], large))).toEqual(['10000-20000 50000 rwxu 65536']);
    const huge = Array.from({ length: 16 }, (_, i) => [16 + i, 0x81040c02] as const);
    expect(readShort(shortMemory(huge, []))).toEqual([`1000000-2000000 81000000 rwxu ${2 ** 24}`]);
  });
  it("PXN of the first level takes the kernel's execution below", () => {
    expect(
      readShort(
        shortMemory(
          [[0, 0x9805]],
          [
            [0, 0x545e, 0x545f],
            [1, 0x6c7e, 0x655f],
          ],
        ),
      ),
    ).toEqual(['0-1000 5000 rw-k 4096', '1000-2000 6000 rwxu 4096']);
  });
});

describe('walks of long descriptors', () => {
  const mode = modeNamed('arm-lpae', '6.12');
  const read = (pgd: bigint, words: readonly bigint[]): string[] => {
    const memory = new Memory('little');
    memory.put(0x1000, 0x2003n | pgd, 8);
    memory.put(0x2000, 0x3003n, 8);
    words.forEach((word, i) => memory.put(0x3000 + i * 8, word, 8));
    return translationOf(readPageTables(mode, memory, rootFromRegisters(mode, { ttbr0: 0x1000n }, 'user')));
  };
  it('tables take rights away', () => {
    expect(read(0n, [0x80000000005f5fn, 0x8000000000671fn])).toEqual(['0-1000 5000 rwxu 4096', '1000-2000 6000 rwxk 4096']);
    expect(read(1n << 59n, [0x80000000005f5fn, 0x8000000000671fn])).toEqual(['0-1000 5000 rwxu 4096', '1000-2000 6000 rw-k 4096']);
    expect(read(1n << 60n, [0x80000000005f5fn])).toEqual(['0-1000 5000 rw-u 4096']);
    expect(read(3n << 61n, [0x80000000005f5fn])).toEqual(['0-1000 5000 r-xk 4096']);
  });
  it('sixteen pages may be one of 64 KiB, or broken', () => {
    const run = (n: number): bigint[] => Array.from({ length: n }, (_, i) => 0x90000000040f5fn + BigInt(i) * 0x1000n);
    expect(read(0n, run(16))).toEqual(['0-10000 40000 rwxu 65536']);
    expect(read(0n, run(15))).toEqual(['0-f000 40000 rwxu 4096 broken']);
  });
});

describe('swap-type words', () => {
  it.each([
    ['arm-short', '6.1', 0x91a284n, 1, 0x12345, []],
    ['arm-short', '6.12', 0x1234584n, 1, 0x12345, ['exclusive']],
    ['arm-lpae', '6.1', 0x91a284n, 1, 0x12345, []],
    ['arm-lpae', '6.12', 0x1234504n, 1, 0x12345, []],
  ] as const)('%s Linux %s: 0x%x', (name, kernel, word, type, offset, flags) => {
    const mode = modeNamed(name, kernel);
    const found = decodeSwap(mode, 'pte', Number(word), 0);
    expect([found?.type, found?.offset, found?.exclusive]).toEqual([type, offset, (flags as readonly string[]).includes('exclusive')]);
    expect(encodeSwap(mode, 'pte', { type, offset, flags })).toEqual({ lo: Number(word), hi: 0 });
  });
});

it('Linux points hardware past its own half of a page of tables', () => {
  const linux = new LinuxEntries(modeNamed('arm-short'));
  expect(linux.populate('pmd_populate_kernel', 0x123000n)).toEqual({ lo: 0x123811, hi: 0 });
  expect(linux.edit('pte_mkdirty', 'pte', linux.pfn('pte', 0x12345, linux.prot('PAGE_SHARED')))).toEqual({ lo: 0x1234575f, hi: 0 });
});
