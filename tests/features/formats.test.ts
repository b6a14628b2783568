/** The rows of the feature table on page-table formats: geometry, folding, leaf sizes and how each is represented. */
import { describe, expect, it } from 'vitest';
import type { PagingMode } from '../../src/arch/mode.ts';
import { allModes, findMode } from '../../src/arch/registry.ts';
import { type CompiledMode, compileMode } from '../../src/pagetable/compile.ts';
import { decode } from '../../src/pagetable/entry.ts';
import { leafPagesOf } from '../../src/pagetable/leafsize.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';

const K = 1024;
const M = K * K;
const G = K * M;

const mode = (name: string): PagingMode => {
  const found = findMode(name);
  if (!found) throw new Error(`no mode ${name}`);
  return found;
};
const compiled = (name: string, kernel?: string): CompiledMode => compileMode(mode(name), kernel);
const linux = (name: string, kernel?: string): LinuxEntries => new LinuxEntries(compiled(name, kernel));

/** Levels as `shift/bits`, top down, without the directories of huge entries. */
const levels = (name: string): string[] =>
  mode(name)
    .levels.filter((l) => /^(pgd|p4d|pud|pmd|pte)$/.test(l.name))
    .map((l) => `${l.name} ${l.shift}/${l.bits}`);

/** Every leaf size of a mode in bytes, ascending. */
function leafSizes(name: string): number[] {
  const c = compiled(name);
  const sizes = new Set<number>();
  for (const form of c.forms)
    if (form.kind === 'leaf') {
      sizes.add(form.pages * 2 ** c.mode.pageShift);
      for (const g of form.groups) sizes.add(g.leafPages * 2 ** c.mode.pageShift);
    }
  return [...sizes].sort((a, b) => a - b);
}

describe('geometry', () => {
  it.each([
    ['x86-2level', ['pgd 22/10', 'pte 12/10']],
    ['x86-pae', ['pgd 30/2', 'pmd 21/9', 'pte 12/9']],
    ['x86-4level', ['pgd 39/9', 'pud 30/9', 'pmd 21/9', 'pte 12/9']],
    ['x86-5level', ['pgd 48/9', 'p4d 39/9', 'pud 30/9', 'pmd 21/9', 'pte 12/9']],
    ['arm-lpae', ['pgd 30/2', 'pmd 21/9', 'pte 12/9']],
    ['arm64-4k-39', ['pgd 30/9', 'pmd 21/9', 'pte 12/9']],
    ['arm64-4k-52', ['pgd 48/4', 'p4d 39/9', 'pud 30/9', 'pmd 21/9', 'pte 12/9']],
    ['arm64-16k-52', ['pgd 47/5', 'pud 36/11', 'pmd 25/11', 'pte 14/11']],
    ['arm64-64k-52', ['pgd 42/10', 'pmd 29/13', 'pte 16/13']],
    ['ppc-e500', ['pgd 21/11', 'pte 12/9']],
    ['ppc-book3s32', ['pgd 22/10', 'pte 12/10']],
    ['ppc-book3s32-pte64', ['pgd 21/11', 'pte 12/9']],
    ['ppc64-e500', ['pgd 37/9', 'pud 28/9', 'pmd 21/7', 'pte 12/9']],
    ['ppc64-hash-4k', ['pgd 37/9', 'pud 28/9', 'pmd 21/7', 'pte 12/9']],
    ['ppc64-hash-64k', ['pgd 44/8', 'pud 34/10', 'pmd 24/10', 'pte 16/8']],
    ['ppc64-radix-4k', ['pgd 39/13', 'pud 30/9', 'pmd 21/9', 'pte 12/9']],
    ['ppc64-radix-64k', ['pgd 39/13', 'pud 30/9', 'pmd 21/9', 'pte 16/5']],
    ['s390x', ['pgd 53/11', 'p4d 42/11', 'pud 31/11', 'pmd 20/11', 'pte 12/8']],
    ['sparc64-sun4u', ['pgd 43/10', 'pud 33/10', 'pmd 23/10', 'pte 13/10']],
    ['riscv-sv57', ['pgd 48/9', 'p4d 39/9', 'pud 30/9', 'pmd 21/9', 'pte 12/9']],
    ['riscv-sv32', ['pgd 22/10', 'pte 12/10']],
    ['loongarch64-4k', ['pgd 30/9', 'pmd 21/9', 'pte 12/9']],
    ['loongarch64-16k', ['pgd 36/11', 'pmd 25/11', 'pte 14/11']],
    ['mips64-16k', ['pgd 36/11', 'pmd 25/11', 'pte 14/11']],
    ['mips32-16k', ['pgd 26/6', 'pte 14/12']],
    ['m68k', ['pgd 25/7', 'pmd 18/7', 'pte 12/6']],
    ['m68k-coldfire', ['pgd 22/10', 'pte 13/9']],
    ['alpha', ['pgd 33/10', 'pmd 23/10', 'pte 13/10']],
  ])('%s has the levels of the table', (name, want) => {
    expect(levels(name)).toEqual(want);
  });

  it('F001 levels follow one another without a gap, and index bits with the page shift give the width of an address', () => {
    for (const m of allModes()) {
      const chain = m.levels.filter((l) => /^(pgd|p4d|pud|pmd|pte)$/.test(l.name));
      for (let i = 1; i < chain.length; i++) expect([m.name, chain[i].shift + chain[i].bits]).toEqual([m.name, chain[i - 1].shift]);
      expect([m.name, chain[chain.length - 1].shift]).toEqual([m.name, m.pageShift]);
      const width = chain[0].shift + chain[0].bits;
      // A top table may be larger than the address it serves (MIPS, sparc64: rounded up to a page), never smaller.
      expect(width).toBeGreaterThanOrEqual(m.vaBits > 64 ? 64 : Math.min(m.vaBits, width));
      for (const l of m.levels) expect([4, 8]).toContain(l.entryBytes);
    }
  });

  it('F004 powerpc never has a real p4d', () => {
    for (const m of allModes().filter((m) => m.family === 'powerpc')) expect(m.levels.map((l) => l.name)).not.toContain('p4d');
  });

  it('F006 s390: region and segment boundaries are constants of 2^53, 2^42, 2^31 and 2^20; a segment has 256 pages', () => {
    const s = compiled('s390x');
    expect(s.levels.map((l) => [l.level.name, 2 ** l.level.shift, l.bytes])).toEqual([
      ['pgd', 2 ** 53, 16384],
      ['p4d', 2 ** 42, 16384],
      ['pud', 2 ** 31, 16384],
      ['pmd', 2 ** 20, 16384],
      ['pte', 4096, 2048],
    ]);
  });

  it('F013 modes of every depth from 2 to 5', () => {
    const depths = new Set(allModes().map((m) => m.levels.filter((l) => /^(pgd|p4d|pud|pmd|pte)$/.test(l.name)).length));
    expect([...depths].sort()).toEqual([2, 3, 4, 5]);
  });

  it('F025 e500: entries of the top table grew from 4 to 8 bytes', () => {
    expect(mode('ppc-e500-hugepd').levels[0].entryBytes).toBe(4);
    expect(mode('ppc-e500').levels[0].entryBytes).toBe(8);
  });

  it('F057 the registry knows the architectures that have modes', () => {
    expect([...new Set(allModes().map((m) => m.family))].sort()).toEqual([
      'alpha',
      'arm',
      'arm64',
      'loongarch',
      'm68k',
      'mips',
      'parisc',
      'powerpc',
      'riscv',
      's390',
      'sparc64',
      'x86',
    ]);
  });
});

describe('leaf sizes', () => {
  it.each([
    ['F045', 'x86-4level', [4 * K, 2 * M, G]],
    ['F045', 'x86-2level', [4 * K, 4 * M]],
    ['F048', 'arm64-4k-48', [4 * K, 64 * K, 2 * M, 32 * M, G, 16 * G]],
    ['F048', 'arm64-16k-47', [16 * K, 2 * M, 32 * M, G]],
    ['F048', 'arm64-64k-52', [64 * K, 2 * M, 512 * M, 16 * G, 4096 * G]],
    ['F015', 'ppc-8xx-4k', [4 * K, 16 * K, 512 * K, 8 * M]],
    ['F015', 'ppc-8xx-16k', [16 * K, 512 * K, 8 * M]],
    ['F022', 'ppc-e500', [4 * K, 4 * M, 16 * M, 64 * M, 256 * M, G]],
    ['F022', 'ppc64-e500', [4 * K, 4 * M, 16 * M, 64 * M, 256 * M, G]],
    ['F028', 'ppc64-hash-4k', [4 * K, 16 * M, 16 * G]],
    ['F029', 'ppc64-hash-64k', [64 * K, 16 * M, 16 * G]],
    ['F030', 'ppc64-radix-4k', [4 * K, 2 * M, G]],
    ['F030', 'ppc64-radix-64k', [64 * K, 2 * M, G]],
    ['F033', 'ppc-book3s32', [4 * K]],
    ['F051', 's390x', [4 * K, M, 2 * G]],
    ['F052', 'sparc64-sun4v', [8 * K, 64 * K, 8 * M, 256 * M, 2 * G, 16 * G]],
    ['F049', 'riscv-sv39', [4 * K, 64 * K, 2 * M, G]],
    ['F053', 'loongarch64-16k', [16 * K, 32 * M]],
    ['F054', 'mips64-16k', [16 * K, 32 * M]],
    ['F055', 'parisc', [4 * K, 4 * M]],
    ['F056', 'm68k', [4 * K]],
  ])('%s %s maps pages of every size of the table', (_, name, want) => {
    expect(leafSizes(name)).toEqual(expect.arrayContaining(want));
  });
});

describe('rules of single formats', () => {
  it('F003 two levels: only the pmd predicates are real, pud and above are constants', () => {
    for (const name of ['x86-2level', 'ppc-e500']) {
      const side = linux(name).side.predicates;
      for (const upper of ['pud', 'p4d', 'pgd'] as const)
        if (side[upper]?.[`${upper}_leaf`] !== undefined) expect([name, upper, side[upper][`${upper}_leaf`]]).toEqual([name, upper, '0']);
      expect(side.pmd.pmd_leaf === '0').toBe(false);
    }
  });

  it('F014 8xx has no leaf above the page table: every size is reached through two lookups', () => {
    for (const name of ['ppc-8xx-4k', 'ppc-8xx-16k', 'ppc-8xx-4k-hugepd', 'ppc-8xx-16k-hugepd'])
      expect(compiled(name).levels[0].forms.filter((f) => f.kind === 'leaf')).toEqual([]);
  });

  it('F019 8xx PTE bits', () => {
    const pte = compiled('ppc-8xx-4k').levels.find((l) => l.level.name === 'pte');
    if (!pte) throw new Error('no pte');
    const set = (lo: number): string[] => [...decode(pte, lo, 0).fields].filter(([, v]) => v !== 0).map(([n]) => n);
    // present + accessed, exec, special, dirty, huge: each bit is one field.
    const base = new Set(set(0x1));
    for (const bit of [0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x800]) expect([bit, set(0x1 | bit).filter((n) => !base.has(n)).length]).toEqual([bit, 1]);
    expect(new LinuxEntries(compiled('ppc-8xx-4k')).predicate('pte', 'pte_write', { lo: 0x601, hi: 0 })).toBe(false);
  });

  it('F023 e500: the size in the entry is 1K << 2n; what no level can hold is refused', () => {
    const c = compiled('ppc-e500');
    const pmd = c.levels[0];
    for (const [tsize, bytes] of [
      [6, 4 * M],
      [7, 16 * M],
      [8, 64 * M],
      [9, 256 * M],
      [10, G],
    ]) {
      const lo = (0x1 | (tsize << 8)) >>> 0;
      const d = decode(pmd, lo, 0);
      expect(d.kind).toBe('leaf');
      if (d.form) expect(leafPagesOf(pmd, d.form, lo, 0) * 4096).toBe(bytes);
    }
  });

  it('F031 hash with 4K pages: leaves carry the PTE bit only since huge page directories are gone', () => {
    const word = { lo: 0, hi: 0xc0000000 };
    expect(linux('ppc64-hash-4k', '6.12').predicate('pmd', 'pmd_leaf', word)).toBe(true);
    expect(linux('ppc64-radix-4k', '6.12').predicate('pmd', 'pmd_leaf', word)).toBe(true);
    expect(compiled('ppc64-hash-4k-hugepd', '6.1').levels.some((l) => l.forms.some((f) => f.kind === 'hugepd'))).toBe(true);
    expect(compiled('ppc64-hash-4k', '6.12').levels.some((l) => l.forms.some((f) => f.kind === 'hugepd'))).toBe(false);
  });

  it('F044 x86: leaf is PSE, whatever P says; decode asks present first', () => {
    const l = linux('x86-4level');
    const pmd = compiled('x86-4level').levels[2];
    expect(l.predicate('pmd', 'pmd_leaf', { lo: 0x80, hi: 0 })).toBe(true);
    expect(l.predicate('pmd', 'pmd_leaf', { lo: 0x1, hi: 0 })).toBe(false);
    expect(decode(pmd, 0x81, 0).kind).toBe('leaf');
    expect(decode(pmd, 0x1, 0).kind).toBe('table');
    expect(decode(pmd, 0x2, 0).kind).toBe('nonpresent');
  });

  it('F045 x86: no leaf of 512G; the bit is reserved there', () => {
    const p4d = compiled('x86-5level').levels[1];
    expect(p4d.forms.filter((f) => f.kind === 'leaf')).toEqual([]);
  });

  it('F063 no form of a leaf lacks the address that its pfn is read from', () => {
    for (const m of allModes())
      for (const form of compileMode(m).forms)
        if (form.kind === 'leaf') expect([m.name, form.form.name, form.address !== undefined]).toEqual([m.name, form.form.name, true]);
  });

  it('F066 the size of a leaf comes from the entry alone: contiguous bit, NAPOT code, size field, level', () => {
    const size = (name: string, level: string, lo: number, hi: number): number => {
      const l = compiled(name).levels.find((x) => x.level.name === level);
      if (!l) throw new Error(level);
      const d = decode(l, lo, hi);
      if (!d.form) throw new Error('no form');
      return leafPagesOf(l, d.form, lo, hi) * 2 ** mode(name).pageShift;
    };
    expect(size('arm64-4k-48', 'pte', 0x403, 0)).toBe(4 * K);
    expect(size('arm64-4k-48', 'pte', 0x403, 0x00100000)).toBe(64 * K);
    expect(size('arm64-4k-48', 'pmd', 0x401, 0x00100000)).toBe(32 * M);
    expect(size('riscv-sv48', 'pte', 0x20df, 0x80000000)).toBe(64 * K);
    expect(size('x86-4level', 'pud', 0xe7, 0)).toBe(G);
    expect(size('s390x', 'pmd', 0x403, 0)).toBe(M);
  });
});
