/**
 * Canonical entries of every mode: what goes in comes out, less what the mode cannot express; what that is stands here, by hand, from the
 * architectures' headers.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PagingMode } from '../../src/arch/mode.ts';
import { allModes, findMode } from '../../src/arch/registry.ts';
import {
  canonicalKernel,
  codecMissing,
  createCodec,
  type EntryCodec,
  entryBits,
  entryPayload,
  makeEntry,
  makeSwapEntry,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWP_EXCLUSIVE,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_USER,
  PTE_WRITE,
  swapOffset,
  swapType,
} from '../../src/pagetable/canonical.ts';
import { LinuxLevel } from '../../src/pagetable/canonical-linux.ts';
import { levelNamed } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';

const modes = allModes().filter((m) => codecMissing(m) === undefined);
const RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USER;
const STATES = PTE_ACCESSED | PTE_DIRTY | PTE_SPECIAL | PTE_SOFT_DIRTY | PTE_UFFD_WP;
const mode = (name: string): PagingMode => findMode(name) as PagingMode;

/** What pages of the lowest level tell apart: x NX, r exec-only, u kernel pages, s special, d soft-dirty, w userfaultfd write protection. */
const TELLS: Readonly<Record<string, string>> = {
  'x86-4level': 'xusdw',
  'x86-5level': 'xusdw',
  'x86-pae': 'xus',
  'x86-2level': 'us',
  'arm-short': 'xu',
  'arm-lpae': 'xus',
  arm64: 'xrusw',
  riscv: 'xrus',
  s390: 'xsd',
  'ppc64-radix': 'xrusd',
  'ppc64-hash': 'xrusd',
  'ppc-8xx': 'xus',
  'ppc-e500': 'xrus',
  'ppc64-e500': 'xrus',
  'ppc-book3s32': 'xrs',
  loongarch64: 'us',
  mips32: 'u',
  mips64: 'us',
  sparc64: 'us',
  'm68k-coldfire': 'xru',
  m68k: '',
  parisc: 'xus',
  alpha: 'u',
};

/** Levels whose entries Linux lets map memory. */
const LEAVES: Readonly<Record<string, string>> = {
  'x86-4level': 'pte pmd pud',
  'x86-5level': 'pte pmd pud',
  'x86-pae': 'pte pmd',
  'x86-2level': 'pte pgd',
  'arm-lpae': 'pte pmd',
  'arm64-4k-39': 'pte pmd pgd',
  'arm64-4k': 'pte pmd pud',
  'arm64-16k-36': 'pte pgd',
  'arm64-16k-52': 'pte pmd pud',
  'arm64-16k': 'pte pmd',
  'arm64-64k-42': 'pte pgd',
  'arm64-64k': 'pte pmd',
  'riscv-sv32': 'pte pgd',
  'riscv-sv39': 'pte pmd pgd',
  riscv: 'pte pmd pud',
  s390: 'pte pmd pud',
  'ppc64-radix': 'pte pmd pud',
  'ppc64-hash-64k': 'pte pmd pud',
  'ppc64-e500': 'pte pud',
  'ppc64-e500-hugepd': 'pte',
  'loongarch64-64k': 'pte pgd',
  loongarch64: 'pte pmd',
  'mips64-64k': 'pte pgd',
  mips64: 'pte pmd',
  sparc64: 'pte pmd',
};

/** The row whose name is the longest beginning of the mode's. */
function rowOf<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  const key = Object.keys(table)
    .filter((k) => name.startsWith(k))
    .sort((a, b) => b.length - a.length)[0];
  return table[key];
}

const there = (codec: EntryCodec, level: number, e: number): number => {
  codec.encode(level, e);
  return codec.decode(level, codec.lo, codec.hi);
};

/** All bits that a leaf may have. */
function* leafBits(huge: boolean): Generator<number> {
  const more = PTE_PRESENT | (huge ? PTE_HUGE : 0);
  for (let states = 0; states <= STATES; states++) {
    if ((states & ~STATES) !== 0) continue;
    yield states | more | PTE_PROTNONE;
    for (let rights = 0; rights <= RIGHTS; rights += 2) if ((rights & (PTE_READ | PTE_WRITE | PTE_EXEC)) !== 0) yield states | more | rights;
  }
}

/** Frames: none, some, and the last that an entry of the level (and a canonical entry) holds. */
function framesOf(codec: EntryCodec, level: number): number[] {
  const size = 2 ** (codec.tables[level].shift - codec.pageShift);
  // x86 without PAE reaches beyond 32 bits with large pages alone; sparc64's frames have 43 or 56 bits.
  const bits = codec.mode.name === 'x86-2level' && level === 0 ? 32 : codec.mode.name === 'arm-short' ? 32 : codec.mode.paBits;
  const last = Math.min(2 ** (bits - codec.pageShift), 2 ** 33);
  return [0, size, Math.min(0x1234 * size, last - size), last - size];
}

it('every mode has a codec, with the entries of the last kernel that had such tables', () => {
  for (const m of allModes()) {
    expect(codecMissing(m)).toBeUndefined();
    expect(canonicalKernel(m)).toBe(m.name.endsWith('-hugepd') ? '6.10' : '6.18');
  }
});

describe.each(modes.map((m) => [m.name, m] as const))('%s', (name, m) => {
  const codec = createCodec(m);
  const linux = new LinuxEntries(codec.compiled);
  const slow = codec.tables.map((l) => new LinuxLevel(codec.compiled, linux, levelNamed(codec.compiled, l.name)));

  it('tells apart what the architecture tells apart', () => {
    const letters = [
      ['x', PTE_EXEC],
      ['r', PTE_READ],
      ['u', PTE_USER],
      ['s', PTE_SPECIAL],
      ['d', PTE_SOFT_DIRTY],
      ['w', PTE_UFFD_WP],
    ] as const;
    const told = letters.filter(([, bit]) => codec.supports & bit).map(([letter]) => letter);
    expect(told.join('')).toBe(rowOf(TELLS, name));
    for (const bit of [PTE_PRESENT, PTE_WRITE, PTE_ACCESSED, PTE_DIRTY, PTE_PROTNONE]) expect(codec.supports & bit).toBe(bit);
    expect(codec.levels.filter((l) => l.leaves).map((l) => l.name)).toEqual((rowOf(LEAVES, name) ?? 'pte').split(' '));
  });

  it('leaves come back, and are the words of the long way', () => {
    codec.tables.forEach((l, level) => {
      if (!l.leaves) return;
      for (const pfn of framesOf(codec, level))
        for (const bits of leafBits(level > 0)) {
          const e = makeEntry(pfn, bits);
          const back = there(codec, level, e);
          const label = `${l.name} bits 0x${bits.toString(16)} frame 0x${pfn.toString(16)}: 0x${entryBits(back).toString(16)} frame 0x${entryPayload(back).toString(16)}`;
          const none = (bits & PTE_PROTNONE) !== 0;
          const kept = (none ? l.supportsNone : l.supports) & ~RIGHTS;
          if (((entryBits(back) ^ bits) & kept) !== 0 || entryPayload(back) !== pfn) expect.fail(label);
          if (none ? (entryBits(back) & RIGHTS) !== 0 : (bits & ~back & (PTE_READ | PTE_WRITE | PTE_EXEC)) !== 0) expect.fail(label);
          // Nothing that is withheld anywhere is granted here: rights grow only where the mode cannot tell them apart.
          const grown = entryBits(back) & ~bits & RIGHTS;
          const reading = grown & PTE_READ && bits & (PTE_WRITE | PTE_EXEC) ? PTE_READ : 0;
          if (bits & PTE_USER && (grown & ~reading & l.supports) !== 0) expect.fail(label);
          // What came back is a fixed point.
          if (there(codec, level, back) !== back) expect.fail(`${label} is no fixed point`);
        }
      for (const bits of leafBits(level > 0)) {
        const pfn = framesOf(codec, level)[2];
        codec.encode(level, makeEntry(pfn, bits));
        const word = slow[level].encode(bits, pfn);
        if (codec.lo !== (word.lo | 0) || codec.hi !== (word.hi | 0)) expect.fail(`${l.name} bits 0x${bits.toString(16)}: not the long way's word`);
      }
    });
  });

  it('tables come back', () => {
    const top =
      m.linearBase === undefined
        ? Math.min(2 ** (m.paBits - m.pageShift), 2 ** 33)
        : 2 ** (Math.min(m.paBits, name.startsWith('mips32') ? 29 : 30) - m.pageShift);
    const limit = m.vaBits === 32 ? Math.min(top, 2 ** (32 - m.pageShift)) : top;
    for (let level = 1; level < codec.levels.length; level++)
      for (const pfn of [1, 0x1234, limit - 1]) {
        const e = makeEntry(pfn, PTE_TABLE);
        expect(there(codec, level, e)).toBe(e);
        expect(there(codec, level, e)).toBe(e);
      }
    expect(() => codec.encode(0, makeEntry(1, PTE_TABLE))).toThrow(RangeError);
    for (const { slotLevel, bits, level } of codec.directories) {
      for (const pfn of [1, 0x1234, limit - 1]) expect(there(codec, slotLevel, makeEntry(pfn, bits))).toBe(makeEntry(pfn, bits));
      expect(() => codec.encode(0, makeEntry(1, bits))).toThrow(RangeError);
      expect(() => codec.encode(level, makeEntry(1, bits))).toThrow(RangeError);
    }
  });

  it('swap-type entries come back, markers too', () => {
    for (const [level, l] of codec.tables.entries()) {
      if (l.swapOffsets === 0) continue;
      const types = [0, 1, codec.swapAreas - 1, codec.markerType, 31];
      for (const type of types)
        for (const offset of [1, 4, 0x123, l.swapOffsets - 1])
          for (const bits of [0, PTE_SWP_EXCLUSIVE, PTE_SOFT_DIRTY, PTE_UFFD_WP, PTE_SWP_EXCLUSIVE | PTE_SOFT_DIRTY]) {
            const back = there(codec, level, makeSwapEntry(type, offset, bits));
            expect([swapType(back), swapOffset(back)]).toEqual([type, offset]);
            const kept = (l.supports & PTE_SWP_EXCLUSIVE) | (codec.supports & (PTE_SOFT_DIRTY | PTE_UFFD_WP));
            // Soft-dirty and uffd-wp bits of swap-type words stand where those of pages do.
            expect(entryBits(back) & bits & ~kept).toBe(0);
            if (level === 0) expect(entryBits(back) & kept).toBe(bits & kept);
          }
    }
    expect(codec.levels[0].swapOffsets).toBeGreaterThan(2 ** 16);
    // Guard, poison and uffd-wp markers.
    for (const marker of [4, 2, 1]) expect(swapOffset(there(codec, 0, makeSwapEntry(codec.markerType, marker)))).toBe(marker);
  });

  it('the empty entry is 0 and back', () => {
    codec.levels.forEach((l, level) => {
      codec.encode(level, 0);
      expect({ lo: codec.lo, hi: codec.hi }).toEqual(l.empty);
      expect(codec.decode(level, l.empty.lo, l.empty.hi)).toBe(0);
    });
  });

  it('memory in any order decodes alike', () => {
    const bits = fc.constantFrom(...leafBits(false));
    const pfn = fc.integer({ min: 0, max: 2 ** 18 - 1 });
    const one = fc.oneof(
      fc.tuple(pfn, bits).map(([p, b]) => makeEntry(p, b)),
      fc.tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 1, max: 2 ** 16 })).map(([t, o]) => makeSwapEntry(t, o)),
    );
    fc.assert(
      fc.property(fc.array(one, { maxLength: 40 }), (entries) => {
        const fresh = createCodec(m);
        for (const e of entries) expect(there(fresh, 0, e)).toBe(there(codec, 0, e));
      }),
      { numRuns: 5 },
    );
  });

  it('refuses what is no entry', () => {
    for (const e of [1, makeEntry(5, 0), makeEntry(5, PTE_READ), makeEntry(5, 0x8000), 2 ** 53]) expect(() => codec.encode(0, e)).toThrow(RangeError);
  });
});

/** The word of an entry as text. */
const word = (codec: EntryCodec, level: number, e: number): string => {
  codec.encode(level, e);
  return ((BigInt(codec.hi >>> 0) << 32n) | BigInt(codec.lo >>> 0)).toString(16);
};

it('words worked out by hand', () => {
  const page = PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED;
  const data = page | PTE_WRITE | PTE_DIRTY;
  const none = PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED;
  const x86 = createCodec(mode('x86-4level'));
  // pgtable_types.h: P RW US A D, NX; PROT_NONE has G and an inverted frame; tables are _PAGE_TABLE.
  expect(word(x86, 0, makeEntry(0x12345, data))).toBe('8000000012345067');
  expect(word(x86, 0, makeEntry(0x12345, data | PTE_SOFT_DIRTY | PTE_EXEC))).toBe('12345867');
  expect(word(x86, 0, makeEntry(0x12345, none))).toBe('fffffedcba120');
  expect(word(x86, 1, makeEntry(0x12345, PTE_TABLE))).toBe('12345067');
  expect(word(x86, 1, makeEntry(0x12200, data | PTE_HUGE))).toBe('80000000122000e7');
  // arm: Linux's word, and the CPU's that cpu_v7_set_pte_ext makes of it: extended small page, XN, TEX[0] C B, AP, nG, S.
  const arm = createCodec(mode('arm-short'));
  expect(word(arm, 0, makeEntry(0x12345, data))).toBe('12345c7f1234575f');
  expect(word(arm, 0, makeEntry(0x12345, page))).toBe('12345e7f1234579f');
  expect(word(arm, 0, makeEntry(0x12345, page & ~PTE_ACCESSED))).toBe('1234579d');
  expect(word(arm, 0, makeEntry(0x12345, none)).length).toBe(8);
  // s390: tables of 2048 entries have length 3; an empty slot is invalid and tells its level.
  const s390 = createCodec(mode('s390x'));
  expect(word(s390, 3, makeEntry(0x12345, PTE_TABLE))).toBe('1234500b');
  expect(s390.levels.map((l) => l.empty.lo)).toEqual([0x400, 0x20, 0x24, 0x28]);
});
