/** The rows of the feature table on entry states and predicates. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allModes, findMode } from '../../src/arch/registry.ts';
import { type CompiledMode, compileMode } from '../../src/pagetable/compile.ts';
import { decode } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { decodeSwap, encodeSwap, swapTypes } from '../../src/pagetable/swap.ts';

const compiled = (name: string, kernel?: string): CompiledMode => {
  const mode = findMode(name);
  if (!mode) throw new Error(`no mode ${name}`);
  return compileMode(mode, kernel);
};
const word = fc.integer({ min: 0, max: 0xffffffff });

describe('entry states', () => {
  it('F069 every word of every level of every mode is exactly one of none, non-present, table, leaf, hugepd, or nothing that the mode knows', () => {
    const kinds = ['none', 'nonpresent', 'table', 'leaf', 'hugepd', 'bad'];
    for (const mode of allModes())
      for (const level of compileMode(mode).levels)
        fc.assert(
          fc.property(word, word, (lo, hi) => {
            const d = decode(level, lo, level.wide ? hi : 0);
            expect(kinds).toContain(d.kind);
            if (d.kind === 'table' || d.kind === 'leaf' || d.kind === 'hugepd') expect(d.address).toBeDefined();
          }),
          { numRuns: 25 },
        );
  });

  it('F070 the empty entry is the zero word, but on s390 and where the kernel masks bits', () => {
    for (const mode of allModes()) {
      const pte = compileMode(mode).levels.find((l) => l.level.name === 'pte');
      if (!pte) throw new Error(mode.name);
      // s390's empty page-table entry has the invalid bit; MIPS and friends keep a global bit in empty kernel entries.
      expect([mode.name, decode(pte, mode.family === 's390' ? 0x400 : 0, 0).kind]).toEqual([mode.name, 'none']);
    }
    const s390 = compiled('s390x');
    const empty = { pgd: 0x2c, p4d: 0x28, pud: 0x24, pmd: 0x20 } as const;
    for (const [name, value] of Object.entries(empty)) {
      const level = s390.levels.find((l) => l.level.name === name);
      if (level) expect([name, decode(level, value, 0).kind]).toEqual([name, 'none']);
    }
    // Accessed and dirty bits that a broken CPU left behind do not make an x86 entry.
    expect(decode(compiled('x86-4level').levels[3], 0x60, 0).kind).toBe('none');
  });

  it('F073 a present leaf is a leaf everywhere; a swap-type word never is, though pmd_leaf says so on book3s/64 and loongarch', () => {
    for (const [name, leaf] of [
      ['x86-4level', false],
      ['arm64-4k-48', false],
      ['riscv-sv39', false],
      ['ppc64-radix-4k', true],
      ['loongarch64-16k', true],
    ] as const) {
      const c = compiled(name);
      const linux = new LinuxEntries(c);
      const type = swapTypes(c.kernel, c.specials).findIndex((t) => t.kind === 'migration');
      const entry = encodeSwap(c, 'pmd', { type, offset: 0x40000 });
      const pmd = c.levels.find((l) => l.level.name === 'pmd');
      if (!pmd) throw new Error(name);
      expect([name, linux.predicate('pmd', 'pmd_leaf', entry)]).toEqual([name, leaf]);
      expect([name, decode(pmd, entry.lo, entry.hi).kind]).toEqual([name, 'nonpresent']);
    }
  });

  it('F075 the retired pmd_huge: true for swap-type words on radix, constant 0 under hash with 4K pages', () => {
    const type = 28;
    const radix = compiled('ppc64-radix-4k', '6.1');
    expect(new LinuxEntries(radix).predicate('pmd', 'pmd_huge', encodeSwap(radix, 'pmd', { type, offset: 1 }))).toBe(true);
    expect(new LinuxEntries(compiled('ppc64-hash-4k-hugepd', '6.1')).side.predicates.pmd.pmd_huge).toBe('0');
  });

  it('F080 PROT_NONE keeps its frame and is a leaf that nobody may access', () => {
    for (const name of ['x86-4level', 'x86-pae', 'arm64-4k-48', 'riscv-sv39', 's390x', 'loongarch64-16k', 'mips32-4k']) {
      const c = compiled(name);
      const linux = new LinuxEntries(c);
      const entry = linux.modify('pte', linux.pfn('pte', 0x1234, linux.prot('PAGE_SHARED')), linux.prot('PAGE_NONE'));
      const pte = c.levels[c.levels.length - 1];
      const d = decode(pte, entry.lo, entry.hi);
      expect([name, d.kind, (d.address as bigint) >> BigInt(c.mode.pageShift)]).toEqual([name, 'leaf', 0x1234n]);
    }
  });
});

describe('swap-type entries', () => {
  it('F083 type, offset and software bits make a round trip in every mode', () => {
    for (const mode of allModes()) {
      const c = compileMode(mode);
      if (c.swap.length === 0) continue;
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 0xffff }), (type, offset) => {
          const level = c.swap[0].layout.levels?.[0] ?? 'pte';
          const w = encodeSwap(c, level, { type, offset });
          const back = decodeSwap(c, level, w.lo, w.hi);
          expect([mode.name, back?.type, back?.offset]).toEqual([mode.name, type, offset]);
        }),
        { numRuns: 20 },
      );
    }
  });

  // The frame takes MAX_PHYSMEM_BITS - PAGE_SHIFT bits of the offset: 34 with four levels.
  it('F085 migration entries: read, read-exclusive, write, with the frame and its young and dirty marks above it', () => {
    const c = compiled('x86-4level');
    const types = swapTypes(c.kernel, c.specials);
    const seen = types.map((t, type) => ({ t, type })).filter(({ t }) => t.kind === 'migration');
    expect(seen.map(({ t }) => t.access)).toEqual(['read', 'read-exclusive', 'write']);
    const w = encodeSwap(c, 'pte', { type: seen[2].type, offset: 0x12345 + 2 ** 34 });
    expect(decodeSwap(c, 'pte', w.lo, w.hi)).toMatchObject({ kind: 'migration', access: 'write', pfn: 0x12345, young: true, dirty: false });
  });

  it('F086 device entries: private and exclusive, one exclusive type since 6.15', () => {
    const count = (kernel: string): number =>
      swapTypes(compiled('x86-4level', kernel).kernel, { ...compiled('x86-4level').specials, device: true }).filter((t) => t.kind === 'device-exclusive')
        .length;
    expect([count('6.12'), count('6.15')]).toEqual([2, 1]);
  });

  it('F087 hwpoison holds the frame', () => {
    const c = compiled('arm64-4k-48');
    const type = swapTypes(c.kernel, c.specials).findIndex((t) => t.kind === 'hwpoison');
    const w = encodeSwap(c, 'pte', { type, offset: 0x777 });
    expect(decodeSwap(c, 'pte', w.lo, w.hi)).toMatchObject({ kind: 'hwpoison', pfn: 0x777 });
  });

  it('F088 markers: uffd-wp, poisoned, guard; a swap type of its own for a failed swap-in in 6.1', () => {
    const c = compiled('x86-4level', '6.18');
    const type = swapTypes(c.kernel, c.specials).findIndex((t) => t.kind === 'marker');
    for (const [bits, names] of [
      [1, ['uffd-wp']],
      [2, ['poisoned']],
      [4, ['guard']],
      [3, ['uffd-wp', 'poisoned']],
    ] as const) {
      const w = encodeSwap(c, 'pte', { type, offset: bits });
      expect(decodeSwap(c, 'pte', w.lo, w.hi)?.marker).toEqual(names);
    }
    const old = compiled('x86-4level', '6.1');
    expect(swapTypes(old.kernel, old.specials)[31].kind).toBe('swapin-error');
  });
});
