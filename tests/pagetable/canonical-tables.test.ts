/**
 * Tables written as canonical entries, in memory as a dump of the machine would hold it, read back by the walker that reads dumps: same
 * pages, same frames, same rights. And what a running processor's registers say of them.
 */
import { describe, expect, it } from 'vitest';
import type { PagingMode } from '../../src/arch/mode.ts';
import { allModes, findMode } from '../../src/arch/registry.ts';
import {
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
  PTE_TABLE,
  PTE_USER,
  PTE_WRITE,
  rootRegisters,
  userLimits,
} from '../../src/pagetable/canonical.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { FRAME_WORDS, type FrameSource } from '../../src/pagetable/source.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { loadVectors, modeOfVectors } from '../conformance/vector-truth.ts';
import { vectorFiles } from '../support/fixtures.ts';

const modes = allModes().filter((m) => codecMissing(m) === undefined);
const MiB = 2 ** 20;

/** A machine's memory, its page allocator and the tables of one process. */
class Memory implements FrameSource {
  readonly words: Int32Array;
  readonly codec: EntryCodec;
  readonly root: number;
  #free: number;

  constructor(mode: PagingMode, bytes = 24 * MiB) {
    this.words = new Int32Array(bytes / 4);
    this.codec = createCodec(mode);
    // The first MiB stays free: no table lies at 0.
    this.#free = MiB;
    if (this.codec.sharedEmpty) {
      const empty = this.codec.levels.slice(0, -1).map((l) => this.#take(l.tableBytes));
      this.codec.useEmptyTables(empty);
      for (const [level, pfn] of empty.entries()) this.codec.clearTable(this.words, this.#word(pfn), level);
    }
    this.root = this.#table(this.codec.levels.length - 1);
  }

  frame(n: number): Uint32Array | undefined {
    const at = n * FRAME_WORDS;
    return at + FRAME_WORDS <= this.words.length ? new Uint32Array(this.words.buffer, at * 4, FRAME_WORDS) : undefined;
  }

  #word = (pfn: number): number => (pfn * 2 ** this.codec.pageShift) / 4;

  /** Pages as the buddy allocator gives them: aligned to their size. Returns the page frame number. */
  #take(bytes: number): number {
    const size = Math.max(2 ** this.codec.pageShift, 2 ** Math.ceil(Math.log2(bytes)));
    const at = Math.ceil(this.#free / size) * size;
    this.#free = at + size;
    if (this.#free > this.words.length * 4) throw new RangeError('no memory left');
    return at / 2 ** this.codec.pageShift;
  }

  #table(level: number): number {
    const pfn = this.#take(this.codec.levels[level].tableBytes);
    this.codec.clearTable(this.words, this.#word(pfn), level);
    return pfn;
  }

  /** Word index of the entry that translates a page, with tables made on the way down to `level`. */
  at(vpn: number, level: number): number {
    const { levels, pageShift } = this.codec;
    let table = this.root;
    for (let k = levels.length - 1; ; k--) {
      const l = levels[k];
      const index = Math.floor(vpn / 2 ** (l.shift - pageShift)) % l.entries;
      const at = this.#word(table) + index * l.strideWords;
      if (k === level) return at;
      let e = this.codec.readEntry(this.words, at, k);
      if (e === 0) {
        e = makeEntry(this.#table(k - 1), PTE_TABLE);
        this.codec.writeEntry(this.words, at, k, e);
      }
      expect(entryBits(e)).toBe(PTE_TABLE);
      table = entryPayload(e);
    }
  }

  map(vpn: number, level: number, e: number): number {
    const at = this.at(vpn, level);
    this.codec.writeEntry(this.words, at, level, e);
    return this.codec.readEntry(this.words, at, level);
  }
}

interface Mapped {
  readonly vpn: number;
  readonly pages: number;
  /** As decoded from memory. */
  readonly entry: number;
}

/** Maps pages of many kinds all over user space. */
function populate(memory: Memory): Mapped[] {
  const { codec } = memory;
  const end = userLimits(codec.mode).taskSize / 2 ** codec.pageShift;
  const read = PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED;
  const kinds = [
    read,
    read | PTE_WRITE | PTE_DIRTY,
    read | PTE_EXEC,
    read | PTE_WRITE,
    read & ~PTE_ACCESSED,
    (read | PTE_WRITE | PTE_EXEC | PTE_DIRTY) & ~PTE_ACCESSED,
    PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED | PTE_DIRTY,
    PTE_PRESENT | PTE_PROTNONE,
  ];
  const mapped: Mapped[] = [];
  const put = (vpn: number, level: number, e: number): void => {
    mapped.push({ vpn, pages: 2 ** (codec.levels[level].shift - codec.pageShift), entry: memory.map(vpn, level, e) });
  };
  // Neighbours that join and neighbours that do not; either side of the borders of tables; the last page.
  const borders = codec.levels.slice(1).map((l) => 2 ** (l.shift - codec.pageShift));
  const places = [0x10, ...borders.flatMap((b) => [b - 1, b, 3 * b + 5]), Math.floor(end / 2), end - 1].filter((v) => v + 1 <= end && v > 0);
  for (const [i, place] of [...new Set(places)].sort((a, b) => a - b).entries()) {
    const n = Math.min(kinds.length, (places[i + 1] ?? place + 1) > place + 8 && place + 8 < end ? kinds.length : 1);
    for (let k = 0; k < n; k++)
      if (!mapped.some((m) => place + k < m.vpn + m.pages && place + k >= m.vpn)) put(place + k, 0, makeEntry(0x40 + 3 * i + k, kinds[(i + k) % kinds.length]));
  }
  // Large pages where nothing lies yet.
  codec.levels.forEach((l, level) => {
    const pages = 2 ** (l.shift - codec.pageShift);
    for (const [i, kind] of kinds.entries()) {
      const vpn = (8 + i) * pages;
      if (level === 0 || !l.leaves || vpn + pages > end || mapped.some((m) => m.vpn < vpn + pages && vpn < m.vpn + m.pages)) continue;
      put(vpn, level, makeEntry((5 + i) * pages, kind | PTE_HUGE));
    }
  });
  // Taken away again, and gone to swap: neither is a leaf.
  for (const vpn of [1, 2]) memory.map(vpn, 0, makeEntry(7, read));
  memory.map(1, 0, 0);
  memory.map(2, 0, makeSwapEntry(1, 99));
  return mapped.sort((a, b) => a.vpn - b.vpn);
}

describe.each(modes.map((m) => [m.name, m] as const))('%s', (_name, m) => {
  it('the walker of dumps finds what was written', () => {
    const memory = new Memory(m);
    const mapped = populate(memory);
    const { root } = rootRegisters(memory.codec, memory.root);
    const tables = readPageTables(memory.codec.compiled, memory, root, { half: 'user' });
    expect(tables.attributes.filter((a) => a.kind === 'bad' || a.kind === 'missing' || a.broken).map((a) => a.kind)).toEqual([]);
    expect(tables.attributes.filter((a) => a.reserved.lo !== 0 || a.reserved.hi !== 0).length).toBe(0);
    const { columns, classes } = extentsOf(tables, { half: 'user' });
    const found: string[] = [];
    for (let i = 0; i < columns.length; i++) {
      const c = classes[columns.kind[i]];
      expect(columns.count[i]).toBe(1);
      const open = c.present && (c.read || c.write || c.exec);
      for (let p = 0; p < columns.pages[i]; p += c.leafPages)
        found.push(
          text(columns.vpn[i] + p, columns.pfn[i] + p, c.leafPages, {
            read: c.read && open,
            write: c.write && open,
            exec: c.exec && open,
            user: c.user && open,
            present: open,
            dirty: c.dirty,
            accessed: c.accessed,
          }),
        );
    }
    const wanted = mapped.map(({ vpn, pages, entry: e }) =>
      text(vpn, entryPayload(e), pages, {
        read: (e & PTE_READ) !== 0,
        write: (e & PTE_WRITE) !== 0,
        exec: (e & PTE_EXEC) !== 0,
        user: (e & PTE_USER) !== 0,
        present: (e & PTE_PROTNONE) === 0,
        dirty: (e & PTE_DIRTY) !== 0,
        accessed: (e & PTE_ACCESSED) !== 0,
      }),
    );
    expect(mapped.length).toBeGreaterThan(8);
    expect(found).toEqual(wanted);
    const swap = extentsOf(tables, { half: 'user', all: true });
    const nonpresent = [...swap.columns.kind.subarray(0, swap.columns.length)]
      .map((k, i) => ({ c: swap.classes[k], vpn: swap.columns.vpn[i], offset: swap.columns.pfn[i] }))
      .filter(({ c }) => c.kind === 'nonpresent');
    expect(nonpresent.map(({ vpn, offset, c }) => [vpn, offset, c.attribute.swap?.type])).toEqual([[2, 99, 1]]);
  });

  it('emptying an entry is writing 0', () => {
    const { codec, words, at } = filled(m);
    at.forEach((place, level) => {
      // All that can be part of the entry.
      const around = (): string => words.subarray(place, place + 1024).join();
      const full = words.slice(place, place + 1024);
      const before = around();
      codec.writeEntry(words, place, level, 0);
      const written = around();
      expect(written === before).toBe(false);
      words.set(full, place);
      codec.clearEntry(words, place, level);
      expect(around()).toBe(written);
    });
  });

  it('the root is the table, at the right level', () => {
    const codec = createCodec(m);
    const top = codec.levels[codec.levels.length - 1];
    const pfn = Math.max(1, top.tableBytes / 2 ** codec.pageShift) * 16;
    const { root } = rootRegisters(codec, pfn);
    expect(root.table).toBe(BigInt(pfn) << BigInt(codec.pageShift));
    expect(root.level).toBe(top.name);
    // What user space has of the address space is what the root translates for it, but where Linux keeps a part to itself.
    const end = root.ranges
      .filter((r) => r.half === 'user')
      .reduce((most, r) => (r.va === 0n ? Math.max(most, r.to * 2 ** levelShift(m, root.level)) : most), 0);
    expect(userLimits(m).taskSize).toBeLessThanOrEqual(end);
  });
});

/** Tables of a mode in little memory, and an entry at every level that is not empty. */
function filled(m: PagingMode): { codec: EntryCodec; words: Int32Array; at: number[] } {
  const memory = new Memory(m, 4 * MiB);
  memory.map(3, 0, makeEntry(7, PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED));
  return { codec: memory.codec, words: memory.words, at: memory.codec.levels.map((_, level) => memory.at(3, level)) };
}

const levelShift = (m: PagingMode, level: string): number => m.levels.find((l) => l.name === level)?.shift as number;

type Flags = Readonly<Record<'read' | 'write' | 'exec' | 'user' | 'present' | 'dirty' | 'accessed', boolean>>;

const text = (vpn: number, pfn: number, pages: number, f: Flags): string =>
  `${vpn.toString(16)} → ${pfn.toString(16)} (${pages}) ${f.read ? 'r' : '-'}${f.write ? 'w' : '-'}${f.exec ? 'x' : '-'}${f.user ? 'u' : '-'}${f.present ? 'P' : '-'}${f.dirty ? 'D' : '-'}${f.accessed ? 'A' : '-'}`;

describe('limits of user space', () => {
  /** What the kernel's constants say; where `taskSize` differs, why stands in src/arch/linux/user.ts. */
  it.each(
    vectorFiles()
      .map((f) => loadVectors(f))
      .filter((v) => v.kernel.includes('6.12') && findMode(modeOfVectors(v.mode).mode))
      .map((v) => [v.mode, v] as const),
  )('%s: TASK_SIZE is the kernel’s', (_, vectors) => {
    const m = findMode(modeOfVectors(vectors.mode).mode) as PagingMode;
    const { geometry } = vectors;
    const told = geometry.TASK_SIZE_USER64 ?? geometry.TASK_SIZE_64 ?? geometry.TASK_SIZE ?? geometry.TASK_SIZE_MAX;
    const limits = userLimits(m);
    // x86's build with five levels ran without LA57; s390's tables grow; mips asks the CPU; loongarch and sparc64 were not asked.
    if (told !== undefined && !['x86-5level', 's390x'].includes(m.name) && m.family !== 'mips') expect(limits.taskSize).toBe(Number(told));
    if (m.name.startsWith('mips32')) expect(limits.taskSize).toBe(Number(told));
    if (geometry.DEFAULT_MAP_WINDOW !== undefined) expect(limits.mapWindow).toBe(Number(geometry.DEFAULT_MAP_WINDOW));
    expect(limits.stackTop).toBeLessThanOrEqual(limits.taskSize);
  });
});
