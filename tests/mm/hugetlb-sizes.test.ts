/**
 * Huge pages of every size of every format: what the mm writes for one is what the kernel's own code makes (golden vectors), and it reads it back as one page
 * (a sample; all modes with PXD_NIGHTLY=1).
 */
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { pageSizes } from '../../src/arch/linux/page-sizes.ts';
import { findMode } from '../../src/arch/registry.ts';
import { entryAt, spanPages, tableLevel } from '../../src/kernel/arch.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { get } from '../../src/memory/heap.ts';
import { pageOfPfn } from '../../src/memory/state.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';
import { codecMissing, entryBits, entryPfn, makeEntry, PTE_TABLE } from '../../src/pagetable/canonical.ts';
import { loadVectors, modeOfVectors, type VectorFile } from '../conformance/vector-truth.ts';
import { vectorFiles } from '../support/fixtures.ts';
import { userExtents } from './support/kernel-extents.ts';

const MAP_SHARED_ANON_HUGETLB = 0x40021;

/** A machine with one shared huge page that was written to: the page tables are read from RAM. */
class Mapped {
  readonly machine: Machine;
  readonly h: number;
  readonly address: number;
  readonly pages: number;

  constructor(mode: string, shift: number) {
    const { vaBits, pageShift } = findMode(mode) as { vaBits: number; pageShift: number };
    const machine = new Machine({ mode, ramBytes: Math.max(2 ** (14 + pageShift), 2 ** (shift + 1)) });
    machine.enter();
    this.machine = machine;
    this.pages = 2 ** (shift - pageShift);
    this.h = poolOf(2 ** (shift - 10), machine.pageShift);
    machine.kernel.setMaxHugePages(this.h, 1);
    this.address = 2 ** Math.max(shift, vaBits > 32 ? 32 : 28);
    const process = machine.spawn();
    const at = process.syscall('mmap', this.address, 2 ** shift, 3, (MAP_SHARED_ANON_HUGETLB | (shift << 26)) >>> 0, -1, 0);
    if (at !== this.address) throw new Error(`mmap: ${at}`);
    const fault = process.store(BigInt(this.address), 4, 1n);
    if (fault !== undefined) throw new Error(`signal ${fault.signal}`);
  }

  get mm(): number {
    return this.machine.processes[0].mm;
  }

  /** Level of the entries that map the page, which may stand in tables of their own. */
  get level(): number {
    return get(this.h, Hstate.level) - (get(this.h, Hstate.fill) > 0 ? 1 : 0);
  }

  /** How many entries map the page. */
  get entries(): number {
    return get(this.h, Hstate.entries) * Math.max(1, get(this.h, Hstate.fill));
  }

  /** Word index of the i-th entry. */
  at(i: number, level = this.level): number {
    const { codec, state } = this.machine;
    const vpn = this.address / this.machine.pageSize + i * spanPages(level);
    let table = get(this.mm, Mm.pgd);
    for (let l = codec.levels.length - 1; l !== level; ) {
      const entry = codec.readEntry(state.words, entryAt(table, l, vpn), l);
      if ((entry & PTE_TABLE) === 0) throw new Error(`no table at level ${l}`);
      table = pageOfPfn(entryPfn(entry));
      l = tableLevel(entry, l);
    }
    return entryAt(table, level, vpn);
  }

  entry(i: number): number {
    return this.machine.codec.readEntry(this.machine.state.words, this.at(i), this.level);
  }

  /** A word as a big-endian CPU reads it. */
  word(at: number): number {
    return new DataView(this.machine.state.words.buffer).getUint32(at * 4);
  }
}

const nightly = process.env.PXD_NIGHTLY === '1';
/** Machines with room for a page of 16G take their time. */
const tooLarge = (shift: number): boolean => !nightly && shift > 30;

/** sun4v's words were recorded with sun4u's bits (patching at boot was off), those of s390's upper entries are of before 6.13. */
const files = vectorFiles()
  .filter((f) => /-6\.(1|12)\./.test(f) && !/sun4v|s390/.test(f))
  .map((f) => [basename(f, '.json.gz'), loadVectors(f)] as const)
  .filter(([f, v]) => {
    const mode = findMode(modeOfVectors(v.mode).mode);
    if (!f.includes('-6.12') && mode?.name.endsWith('-hugepd') !== true) return false;
    return mode !== undefined && codecMissing(mode) === undefined && pageSizes(mode).some((s) => s.hugetlb);
  });

const madeOf = (v: VectorFile, shift: number): VectorFile['entries'][number] | undefined =>
  v.entries.find((e) => e.what === 'arch_make_huge_pte(pfn_pte)' && e.args === `shift=${shift} pfn=0x40000 prot=PAGE_SHARED young dirty`);

/** Of sun4u's 8M pages there are two forms: that of transparent huge pages keeps a bit that hugetlb's size code covers. What maps them here is the former. */
const EIGHT = /sun4u 23/;

const SAMPLE = /8xx-4k-6.12|e500-64-6.12|sv39|hash-4k-6.12|e500-32-6.1\./;

test.each(files.filter(([name]) => nightly || SAMPLE.test(name)))('%s: entries of huge pages are the kernel’s words', (_, vectors) => {
  const name = modeOfVectors(vectors.mode).mode;
  const mode = findMode(name);
  if (mode === undefined) throw new Error(name);
  let compared = 0;
  for (const { shift, hugetlb } of pageSizes(mode)) {
    const made = madeOf(vectors, shift);
    if (!hugetlb || made === undefined || tooLarge(shift) || EIGHT.test(`${name} ${shift}`)) continue;
    const mapped = new Mapped(name, shift);
    const { machine } = mapped;
    const { codec } = machine;
    const { level } = mapped;
    // The frame of the vectors is no piece of such a page.
    if (0x40000 % spanPages(level) !== 0 || 0x40000 * machine.pageSize >= 2 ** mode.paBits) continue;
    codec.encode(level, makeEntry(0x40000, entryBits(mapped.entry(0))));
    expect([shift, hex(codec.hi), hex(codec.lo)]).toEqual([shift, made.hi, made.lo]);
    compared++;
  }
  if (!name.startsWith('ppc-8xx-16k')) expect(compared).toBeGreaterThan(0);
});

const hex = (word: number): string => `0x${(word >>> 0).toString(16).padStart(8, '0')}`;

test.each(['ppc-8xx-4k', 'ppc-8xx-16k'])('%s: the cells of a huge page are as the kernel writes them', (name) => {
  const file = files.find(([f]) => f === `${name}-6.12.107`);
  const cells = (file?.[1].entries ?? []).filter((e) => e.what === 'set_huge_pte_at cell');
  expect(cells.length).toBeGreaterThan(8);
  const bySize = new Map<number, Mapped>();
  let compared = 0;
  for (const cell of cells) {
    const told = /^page shift (\d+) pfn=0x40000 (?:table (\d) )?cell word (\d+)$/.exec(cell.args);
    if (told === null) throw new Error(cell.args);
    const [shift, table, k] = [Number(told[1]), Number(told[2] ?? 0), Number(told[3])];
    const mapped = bySize.get(shift) ?? new Mapped(name, shift);
    bySize.set(shift, mapped);
    mapped.machine.enter();
    const first = mapped.word(mapped.at(0));
    const word = mapped.word(mapped.at((table * 2 ** 22) / mapped.machine.pageSize) + k);
    // The vectors' page is neither accessed nor dirty, and its frame another.
    const wanted = Number(cell.lo) - ((0x40000 * mapped.machine.pageSize) % 2 ** 32);
    expect([cell.args, hex((word - (first & 0xfffff000)) & ~0x120)]).toEqual([cell.args, hex(wanted & ~0x120)]);
    compared++;
  }
  expect(compared).toBe(cells.length);
  // Both first-level entries tell the size.
  const upper = (file?.[1].entries ?? []).filter((e) => e.what === 'set_huge_pte_at first-level entry low bits');
  const large = bySize.get(23) as Mapped;
  large.machine.enter();
  expect(upper.map((_, i) => hex(large.word(large.at(i, 1)) & 0xfff))).toEqual(upper.map((e) => e.lo));
});

const MODES = [
  'riscv-sv39',
  'ppc-e500',
  'ppc-8xx-4k-hugepd',
  'ppc64-hash-4k-hugepd',
  'ppc-e500-hugepd',
  'ppc64-e500-hugepd',
  'ppc-8xx-4k',
  'ppc64-hash-4k',
  'ppc-8xx-16k',
  'sparc64-sun4u',
  'arm64-4k-48',
];

test.each(nightly ? MODES : MODES.slice(0, 4))('%s: each entry of a huge page maps its piece, and the whole reads as one page', (name) => {
  const mode = findMode(name);
  if (mode === undefined) throw new Error(name);
  for (const { shift, hugetlb } of pageSizes(mode)) {
    if (!hugetlb || tooLarge(shift)) continue;
    const mapped = new Mapped(name, shift);
    const { machine, level, pages } = mapped;
    const first = entryPfn(mapped.entry(0));
    const span = spanPages(level);
    for (let i = 1; i < mapped.entries; i++) {
      expect(entryBits(mapped.entry(i))).toBe(entryBits(mapped.entry(0)));
      expect(entryPfn(mapped.entry(i))).toBe(first + i * span);
    }
    // As the reader of page tables sees it.
    expect(userExtents(machine, machine.processes[0].pid).filter((e) => e.leafPages === pages).length).toBeGreaterThan(0);
    // Bytes at its end are in its last frame.
    const end = BigInt(mapped.address) + BigInt(pages * machine.pageSize) - 4n;
    expect(machine.processes[0].store(end, 4, 0x1234n)).toBeUndefined();
    expect(machine.processes[0].load(end, 4)).toEqual(0x1234n);
    machine.processes[0].syscall('munmap', mapped.address, pages * machine.pageSize);
    expect(checkMachine()).toEqual([]);
  }
});

/** 8M pages of 8xx stand in two tables, or in one that two slots lead to; whatever is done with one is done in both. */
test.each(['ppc-8xx-4k', 'ppc-8xx-16k-hugepd', ...(nightly ? ['ppc-8xx-16k', 'ppc-8xx-4k-hugepd'] : [])])(
  '%s: 8M pages are copied, protected, moved and unmapped as one',
  (mode) => {
    const size = 2 ** 23;
    const machine = new Machine({ mode, ramBytes: 2 ** 26 });
    machine.enter();
    machine.kernel.setMaxHugePages(poolOf(size / 1024, machine.pageShift), 3);
    const parent = machine.spawn();
    const at = 2 ** 28;
    const end = BigInt(at + size - 4);
    expect(parent.syscall('mmap', at, 2 * size, 3, (0x40022 | (23 << 26)) >>> 0, -1, 0)).toBe(at);
    expect(parent.store(end, 4, 1n)).toBeUndefined();
    const child = parent.fork();
    expect(child.store(end, 4, 2n)).toBeUndefined();
    expect([parent.load(end, 4), child.load(end, 4)]).toEqual([1n, 2n]);
    expect(parent.syscall('mprotect', at, size, 1)).toBe(0);
    expect(parent.store(end, 4, 3n)?.signal).toBe(11);
    expect(parent.store(BigInt(at), 4, 3n)?.signal).toBe(11);
    expect(parent.syscall('mprotect', at, size, 3)).toBe(0);
    expect(parent.store(end, 4, 3n)).toBeUndefined();
    expect(parent.syscall('madvise', at, size, 4)).toBe(0);
    expect(parent.load(end, 4)).toBe(0n);
    expect(checkMachine()).toEqual([]);
    expect(parent.syscall('munmap', at, 2 * size)).toBe(0);
    expect(checkMachine()).toEqual([]);
    expect(parent.load(end, 4)).toMatchObject({ signal: 11 });
    expect(child.load(end, 4)).toBe(2n);
  },
);
