/**
 * Canonical entries against golden vectors: words that the kernel's own header code computed mean what the kernel's predicates say of them, and
 * what they mean becomes the same word again.
 */
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PagingMode } from '../../src/arch/mode.ts';
import { findMode } from '../../src/arch/registry.ts';
import {
  codecMissing,
  createCodec,
  type EntryCodec,
  entryBits,
  entryPayload,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_SWP_EXCLUSIVE,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_WRITE,
  swapOffset,
  swapType,
} from '../../src/pagetable/canonical.ts';
import { levelFor } from '../../src/pagetable/compile.ts';
import { loadVectors, modeOfVectors, type VectorFile } from '../conformance/vector-truth.ts';
import { vectorFiles } from '../support/fixtures.ts';

type Entry = VectorFile['entries'][number];

/** Codec level of a vector's level; -1 where it is folded or absent. */
function levelOf(codec: EntryCodec, name: string): number {
  const level = levelFor(codec.compiled, name);
  return codec.levels.findIndex((l) => l.name === level?.level.name);
}

/** Operations whose whole result a canonical entry names. */
const PLAIN =
  /^(pfn_pte|p[mu]d_mkhuge\(pfn_p[mu]d\)|pte_mk(dirty|young|old|clean|write_novma|special|soft_dirty|uffd_wp|exec)\(pfn_pte\)|pte_wrprotect\(pfn_pte\)|mkyoung\(mkdirty\(mkwrite\)\)|pte_modify\(.*\))$/;
const USER = /prot=PAGE_(NONE|READ|READONLY|RO|RX|COPY|SHARED|WRITE|RW|RWX|EXEC|EXECREAD|EXECONLY|READ_EXEC)(_X|_EXEC|_NOEXEC)?( |$)/;

/** Words that the kernel's header code makes when asked to, but never puts into a table of user space: by mode, and why. */
const NEVER: readonly (readonly [modes: RegExp, words: RegExp])[] = [
  // Writing and executing are not for a page without any access: mprotect gives it another protection first.
  [/./, /(mkwrite|mkexec).*PAGE_NONE/],
  // V is what makes the page accessible.
  [/loongarch|sparc64/, /mkyoung.*PAGE_NONE/],
  // PROT_NONE loses V on its way to memory (set_pte_at).
  [/arm-lpae/, /PAGE_NONE/],
  // Write without read is a reserved encoding.
  [/riscv/, /mkwrite.*PAGE_EXEC( |$)/],
  // Without any access, which is what its protection_map has too; and frames beyond the CPU's address bits.
  [/m68k-coldfire/, /PAGE_SHARED/],
  [/sparc64/, /pfn=max/],
  // Recorded with sun4u's bits (patching at boot was off): its protections alone are sun4v's.
  [/sparc64-sun4v/, /^(?!pfn_pte)/],
];
const isNever = (mode: string, e: Entry): boolean => NEVER.some(([modes, words]) => modes.test(mode) && words.test(`${e.what} ${e.args}`));

/** Bits that set_pte_at puts in on the way to memory (hardware's word; AP2 and nG), which header code does not compute. */
const STORED: Readonly<Record<string, { lo: number; hi: number }>> = { 'arm-short': { lo: 0, hi: -1 }, 'arm-lpae': { lo: 0x880, hi: 0 } };

describe.each(
  vectorFiles()
    .map((f) => [basename(f, '.json.gz'), loadVectors(f)] as const)
    .filter(([, v]) => {
      const mode = findMode(modeOfVectors(v.mode).mode);
      return v.mode.includes('-6.12') && mode !== undefined && codecMissing(mode) === undefined;
    }),
)('vectors %s', (_, vectors) => {
  const mode = findMode(modeOfVectors(vectors.mode).mode) as PagingMode;
  const codec = createCodec(mode);
  const truths = new Map(vectors.predicates.map((p) => [p.entry, p]));
  // s390's upper entries changed with 6.13: the codec's are those of 6.18.
  const comparable = (e: Entry): boolean => mode.name !== 's390x' || e.level === 'pte';
  const words = vectors.entries
    .map((e, i) => ({ e, truth: truths.get(i), lo: Number(e.lo) | 0, hi: Number(e.hi) | 0, level: levelOf(codec, e.level) }))
    .filter(({ e, level }) => level >= 0 && e.what !== 'raw' && comparable(e));
  /** Frames that a canonical entry has no room for. */
  const beyond = (e: Entry, truth: (typeof words)[number]['truth']): boolean => e.args.includes('pfn=max') && Number(truth?.pte_pfn ?? 2 ** 33) >= 2 ** 33;

  it('pages mean what the predicates say', () => {
    const differences: string[] = [];
    let checked = 0;
    for (const { e, truth, lo, hi, level } of words) {
      if (!truth || !PLAIN.test(e.what) || e.level === 'pud' || isNever(mode.name, e) || beyond(e, truth) || mode.name === 'sparc64-sun4v') continue;
      // Kernel pages of e500 tell user from kernel rights by which of them are there.
      if (/PAGE_KERNEL/.test(e.args) && mode.name.includes('e500')) continue;
      if (level > 0 && !codec.levels[level].leaves) continue;
      const got = codec.decode(level, lo, hi);
      const is = (name: string, bit: number): void => {
        const predicate = `${e.level}_${name}`;
        if (!vectors.predicates_evaluated[e.level]?.includes(predicate) || truth.true.includes(predicate) === ((entryBits(got) & bit) !== 0)) return;
        differences.push(`${e.level} ${e.what} ${e.args} ${e.hi} ${e.lo}: bits 0x${entryBits(got).toString(16)}, ${predicate} differs`);
      };
      is('present', PTE_PRESENT);
      is('dirty', PTE_DIRTY);
      is('young', PTE_ACCESSED);
      is('special', PTE_SPECIAL);
      is('soft_dirty', PTE_SOFT_DIRTY);
      is('uffd_wp', PTE_UFFD_WP);
      // A page without access may have the bit, where a new protection will make use of it.
      if ((entryBits(got) & PTE_PROTNONE) === 0) is('write', PTE_WRITE);
      if (truth.pte_pfn !== undefined) expect(entryPayload(got)).toBe(Number(truth.pte_pfn));
      checked++;
    }
    expect(differences).toEqual([]);
    if (mode.name !== 'sparc64-sun4v') expect(checked).toBeGreaterThan(20);
  });

  it('pages of user space become the same words again', () => {
    const differences: string[] = [];
    let checked = 0;
    const free = STORED[mode.name] ?? { lo: 0, hi: 0 };
    for (const { e, truth, lo, hi, level } of words) {
      if (!PLAIN.test(e.what) || !(USER.test(e.args) || /pte_modify/.test(e.what)) || isNever(mode.name, e) || beyond(e, truth)) continue;
      if (level > 0 && !codec.levels[level].leaves) continue;
      const got = codec.decode(level, lo, hi);
      codec.encode(level, got);
      if ((((codec.lo ^ lo) & ~free.lo) | ((codec.hi ^ hi) & ~free.hi)) !== 0)
        differences.push(`${e.level} ${e.what} ${e.args} ${e.hi} ${e.lo}: bits 0x${entryBits(got).toString(16)} are ${hex(codec.hi)} ${hex(codec.lo)}`);
      checked++;
    }
    expect(differences).toEqual([]);
    expect(checked).toBeGreaterThan(10);
  });

  it('tables of user space are the kernel’s words', () => {
    // Some were recorded with the kernel's form alone, which is the same word there.
    const own = words.some(({ e }) => /^(__)?pmd_populate(\(user\))?$/.test(e.what));
    const names = own ? /populate\(user\)|^p[mu4]d_populate$|^pgd_populate$/ : /^pmd_populate_kernel$/;
    let checked = 0;
    for (const { e, lo, hi, level } of words) {
      // Folded levels write nothing.
      if (!names.test(e.what) || level === 0 || !e.args.includes('table pa=0x123*') || (lo | hi) === 0) continue;
      checked++;
      const got = codec.decode(level, lo, hi);
      expect(entryBits(got)).toBe(PTE_TABLE);
      expect(entryPayload(got)).toBe(0x123);
      codec.encode(level, got);
      // arm64 marks tables as accessed from 6.13 on (AF); arm-short was recorded without the domain that its pmd_populate gives.
      const since = mode.family === 'arm64' ? 0x400 : mode.name === 'arm-short' ? 0x30 : 0;
      if (!(mode.family === 'arm64' && e.what.startsWith('__'))) expect([codec.lo & ~since, codec.hi]).toEqual([lo & ~since, hi]);
    }
    if (mode.name !== 's390x') expect(checked).toBeGreaterThan(0);
  });

  it('swap-type words mean their arguments', () => {
    let checked = 0;
    for (const { e, lo, hi, level } of words) {
      const args = /type=(\S+) offset=(\S+)/.exec(e.args);
      if (!args || (level > 0 && codec.levels[level].swapOffsets === 0)) continue;
      const type = args[1] === 'MAX_SWAPFILES-1' ? Number(vectors.geometry.MAX_SWAPFILES) - 1 : args[1].includes('<<') ? 31 : Number(args[1]);
      const offset = Number(args[2]);
      if (offset >= codec.levels[level].swapOffsets || (type === 0 && offset === 0)) continue;
      const got = codec.decode(level, lo, hi);
      expect(entryBits(got) & PTE_SWAP).toBe(PTE_SWAP);
      expect([swapType(got), swapOffset(got)]).toEqual([type, offset]);
      const flag = { exclusive: PTE_SWP_EXCLUSIVE, 'soft-dirty': PTE_SOFT_DIRTY, 'uffd-wp': PTE_UFFD_WP }[e.what.split(' ').pop() as string] ?? 0;
      expect(entryBits(got) & ~PTE_SWAP & ~flag).toBe(0);
      codec.encode(level, got);
      expect([codec.lo, codec.hi]).toEqual([lo, hi]);
      checked++;
    }
    expect(checked).toBeGreaterThan(3);
  });
});

/** Until 6.10: words of huge page directories, and of the entries that stand in them. */
describe.each(
  vectorFiles()
    .map((f) => [basename(f, '.json.gz'), loadVectors(f)] as const)
    .filter(([, v]) => modeOfVectors(v.mode).mode.endsWith('-hugepd')),
)('huge page directories of %s', (_, vectors) => {
  const mode = findMode(modeOfVectors(vectors.mode).mode) as PagingMode;
  const codec = createCodec(mode);

  it('are hung in by the kernel’s words', () => {
    let checked = 0;
    for (const { shift, slotLevel, bits } of codec.directories) {
      const e = vectors.entries.find(
        ({ what, args }) => what === 'hugepd_populate 8M (user)' || (what === 'hugepd_populate' && args.startsWith(`shift=${shift} `)),
      );
      if (e === undefined) continue;
      expect(e.args).toContain('table pa=0x123000');
      // A table of its own page here: with pages of 16K another address.
      const pa = 0x123000 - (0x123000 % 2 ** mode.pageShift);
      const got = codec.decode(slotLevel, Number(e.lo) | 0, Number(e.hi) | 0);
      expect([shift, entryBits(got), entryPayload(got)]).toEqual([shift, bits, pa / 2 ** mode.pageShift]);
      codec.encode(slotLevel, got);
      expect([shift, hex(codec.hi), hex(codec.lo)]).toEqual([shift, hex(Number(e.hi)), hex(Number(e.lo) - (0x123000 - pa))]);
      checked++;
    }
    expect(checked).toBe(codec.directories.length);
  });

  it('hold the kernel’s entries', () => {
    for (const { shift, level } of codec.directories) {
      const e = vectors.entries.find(({ what, args }) => what === 'arch_make_huge_pte(pfn_pte)' && args.startsWith(`shift=${shift} `)) as Entry;
      const got = codec.decode(level, Number(e.lo) | 0, Number(e.hi) | 0);
      expect(entryBits(got) & (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_HUGE)).toBe(
        PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_HUGE,
      );
      expect(entryPayload(got)).toBe(Number(/pfn=(\S+)/.exec(e.args)?.[1]) % 2 ** (mode.paBits - mode.pageShift));
      codec.encode(level, got);
      expect([shift, hex(codec.hi), hex(codec.lo)]).toEqual([shift, hex(Number(e.hi)), hex(Number(e.lo))]);
    }
    // Book3s/64 with pages of 64K never needed any.
    expect(codec.directories.length > 0).toBe(mode.name !== 'ppc64-hash-64k-hugepd');
  });
});

const hex = (n: number): string => `0x${(n >>> 0).toString(16)}`;
