/**
 * The codec between canonical entries (canonical-bits.ts: one number whatever the mode) and the words that an architecture's kernel keeps in memory.
 *
 * The long way (canonical-linux.ts) defines every word. The codec remembers what it learned there: of an entry's bits the attribute words and
 * how the frame is shifted into them, of a word's attribute bits the canonical bits and how the frame is shifted out. All of it is typed arrays: neither way allocates.
 *
 * Invariants: `decode(encode(e))` is `e` without what the mode cannot express (`supports`), and with what it cannot withhold (without NX everything
 * readable is executable); both ways of learning compare their first result with the long way's; `lo` and `hi` are int32, as an Int32Array holds them.
 */
import { userRegisters } from '../arch/linux/user.ts';
import type { PagingMode, Registers, Root } from '../arch/mode.ts';
import type { Piece, Word } from '../arch/notation.ts';
import {
  entryPfn,
  PAYLOAD_LIMIT,
  PAYLOAD_UNIT,
  PTE_ACCESSED,
  PTE_BITS,
  PTE_CONT,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_GROUP,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_SWP_EXCLUSIVE,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_USER,
  PTE_WRITE,
} from './canonical-bits.ts';
import { addressPlan, type FieldPlan, patternHolds, swapPlan } from './canonical-fields.ts';
import { directoriesOf, type LeafGroup, LinuxLevel } from './canonical-linux.ts';
import { hashOf, INTS, Patterns } from './canonical-patterns.ts';
import { type CompiledLevel, type CompiledMode, compileMode } from './compile.ts';
import { levelNamed } from './entry.ts';
import { LinuxEntries } from './linux.ts';
import { rootFromRegisters } from './root.ts';
import { swap32 } from './source.ts';
import { type SwapKind, swapTypes } from './swap.ts';

export { type UserLimits, userLimits } from '../arch/linux/user.ts';
export * from './canonical-bits.ts';

/** The kernel whose entries are written. */
export const CANONICAL_KERNEL = '6.18';
/** The last one with huge page directories: it writes the entries of the modes that have them. */
const HUGEPD_KERNEL = '6.10';

/** The kernel whose entries a mode's codec writes. */
export const canonicalKernel = (mode: PagingMode): string => (mode.name.endsWith('-hugepd') ? HUGEPD_KERNEL : CANONICAL_KERNEL);

/** One level, as Linux sees it: an arm short-descriptor page table is Linux's 512 entries, its directory 2048 pairs. */
export interface CodecLevel {
  /** Name in the mode's level list: pte, pmd, pud, p4d, pgd. */
  readonly name: string;
  /** log2 of the bytes that an entry spans. */
  readonly shift: number;
  readonly entries: number;
  /** 32-bit words from entry to entry. */
  readonly strideWords: number;
  /** 32-bit words of an entry: 1 or 2. */
  readonly entryWords: 1 | 2;
  /** Bytes of a table as the kernel allocates it. */
  readonly tableBytes: number;
  /** Words that one entry is written to (8xx with 16K pages: 4; arm short directories: 2, the second 1 KiB further). */
  readonly cells: number;
  /** Where an entry's second word stands from its first, in words: 1, or 512 (arm short page tables: Linux's word, then hardware's 2 KiB above). */
  readonly secondWord: number;
  /** What an empty slot holds. */
  readonly empty: { readonly lo: number; readonly hi: number };
  /** Linux writes leaves at this level. */
  readonly leaves: boolean;
  /** Leaves of the kernel's own map of RAM whose words differ from what Linux's operations make: the canonical bits of writable data in them. */
  readonly kernelLeaves: readonly { readonly shift: number; readonly bits: number }[];
  /** Larger pages that several leaves of this level map together (PTE_GROUP), smallest first. */
  readonly groups: readonly LeafGroup[];
  /** Of groups whose entries all hold the same word: how many there are, else 1. */
  readonly sameEntries: number;
  /** Bits that an entry of this level keeps, set or clear. */
  readonly supports: number;
  /** The like of entries with PROTNONE (loongarch cannot keep ACCESSED there: it is what makes an entry valid). */
  readonly supportsNone: number;
  /** Offsets of swap-type entries are below this (0: the level has none), as far as a payload holds them. */
  readonly swapOffsets: number;
}

/** A larger page that is mapped by the tables below several entries of a level (8xx's 8M). */
export interface FilledTables {
  /** log2 of the bytes of the page. */
  readonly shift: number;
  /** Level of the entries that lead to the tables, and how many. */
  readonly level: number;
  readonly entries: number;
  /** Entries in each of the tables. */
  readonly fill: number;
  /** What their bits are told by (PTE_GROUP). */
  readonly bits: number;
}

/**
 * A kind of huge page directories (hugepd): a table of a level of its own, with entries for pages of one size, to which entries of an upper level lead. Either the
 * directory has several entries and hangs in one slot, or it has one entry, and all the slots that the page spans lead to it.
 */
export interface HugeDirectory {
  /** Number of the level of its entries (`EntryCodec.tables`). */
  readonly level: number;
  /** log2 of the bytes of a page. */
  readonly shift: number;
  /** Level of the entries that lead to it, and how many of them do. */
  readonly slotLevel: number;
  readonly slots: number;
  /** Entries that it has. */
  readonly entries: number;
  /** Bits of the entries that lead to it: PTE_TABLE, PTE_HUGE and its number in PTE_GROUP. */
  readonly bits: number;
}

export interface CodecOptions {
  /** Name of the top level where tables begin below the mode's first (s390: 'pud' for 3 levels; default 'p4d', 4 levels). */
  readonly top?: string;
}

/**
 * One for each set of bits; those of swap-type entries are numbered by type, soft-dirty, uffd-wp and exclusive from PTE_SWAP on, those of leaves of a group by what
 * other bits they may have and the group from 2 * PTE_SWAP on, with PTE_TABLE's between.
 */
const SLOTS = 16 * PTE_SWAP;
/** Bits that a leaf of a group may have beside. */
const LEAF_BITS = PTE_SWAP - 1;
/** Int32 numbers of what an entry's bits encode to: attrLo, attrHi, limit and align of the payload, then toLo, splitHi and toHi of the field's plan. */
const ROW = 8;

/** What one level has learned. Plain arrays and numbers, since it is read several times for each simulated page fault. */
class LevelMemory {
  emptyLo = 0;
  emptyHi = 0;
  /** Above the lowest level: the word decoded last, and its entry. */
  lastLo = 0;
  lastHi = 0;
  lastEntry = 0;
  /** Encoding: by slot where its row begins; row 0 takes no payload. */
  readonly row = new Uint16Array(SLOTS);
  rows = new Int32Array(64 * ROW);
  rowsEnd = ROW;
  /** Decoding: the set tried first, and all of them. */
  readonly first: Patterns;
  readonly sets: Patterns[];

  constructor(first: Patterns) {
    this.first = first;
    this.sets = [first];
  }
}

export class EntryCodec {
  readonly mode: PagingMode;
  readonly compiled: CompiledMode;
  /** Index 0 is the lowest. */
  readonly levels: readonly CodecLevel[];
  /** The formats of all tables: those of `levels`, then one for each of `directories`. What is called the level of an entry is an index of this. */
  readonly tables: readonly CodecLevel[];
  /** Smallest pages first. */
  readonly directories: readonly HugeDirectory[];
  readonly filled: readonly FilledTables[];
  /** Bits that entries of the lowest level keep. */
  readonly supports: number;
  /** log2 of the mode's page. */
  readonly pageShift: number;
  /** Bits of a virtual address that the levels translate. */
  readonly vaBits: number;
  readonly bigEndian: boolean;
  /** Empty slots above the lowest level point to empty tables that all share: `useEmptyTables` must name them. */
  readonly sharedEmpty: boolean;
  /** The swap type of PTE markers (guards, poison, write protection of empty slots). */
  readonly markerType: number;
  /** Swap areas have the types below this (MAX_SWAPFILES). */
  readonly swapAreas: number;
  /** The words of the last `encode`. */
  lo = 0;
  hi = 0;
  readonly #memory: LevelMemory[];
  readonly #linux: LinuxLevel[];

  constructor(mode: PagingMode, options: CodecOptions = {}) {
    const why = codecMissing(mode);
    if (why !== undefined) throw new RangeError(`mode ${mode.name} has no codec: ${why}`);
    this.mode = mode;
    this.compiled = compileMode(mode, canonicalKernel(mode));
    const linux = new LinuxEntries(this.compiled);
    const chain = chainOf(this.compiled, options.top);
    const directories = directoriesOf(this.compiled);
    this.#linux = [...chain, ...directories.map((d) => d.level)].map((level) => new LinuxLevel(this.compiled, linux, level));
    this.#memory = this.#linux.map((l) => memoryOf(this.compiled, l));
    this.pageShift = mode.pageShift;
    this.bigEndian = this.compiled.bigEndian;
    this.sharedEmpty = mode.sharedEmpty === true;
    this.tables = this.#linux.map((l, i) => levelOf(this.compiled, l, this.#memory[i]));
    this.levels = this.tables.slice(0, chain.length);
    this.directories = directories.map((d, i) => {
      const slotLevel = chain.indexOf(d.slots);
      const slots = Math.max(1, 2 ** (d.shift - this.levels[slotLevel].shift));
      return { level: chain.length + i, shift: d.shift, slotLevel, slots, entries: d.level.entries, bits: d.bits };
    });
    this.filled = filledOf(this.compiled, this.levels);
    this.supports = this.levels[0].supports;
    this.markerType = this.typeOf('marker');
    this.swapAreas = swapTypes(this.compiled.kernel, this.compiled.specials).filter((t) => t.kind === 'swap').length;
    const top = this.levels[this.levels.length - 1];
    this.vaBits = top.shift + Math.log2(top.entries);
  }

  /** The canonical entry of a word (`hi` 0 for 4-byte entries). @throws {RangeError} for a word that Linux does not write. */
  decode(level: number, lo: number, hi: number): number {
    const m = this.#memory[level];
    lo |= 0;
    hi |= 0;
    if (lo === m.emptyLo && hi === m.emptyHi) return 0;
    // Upper entries are read again and again on the way down to different pages.
    if (lo === m.lastLo && hi === m.lastHi) return m.lastEntry;
    const p = m.first;
    const { ints } = p;
    const a = lo & p.keyLo;
    const b = hi & p.keyHi;
    const slot = hashOf(a, b) & p.mask;
    const at = slot * INTS;
    if (a !== ints[at] || b !== ints[at + 1]) return this.#decodeOther(level, lo, hi);
    const value = (((lo & p.fromLo) >>> p.downLo) | Math.imul((hi & p.fromHi) >>> p.downHi, p.upHi)) ^ ints[at + 2];
    const e = p.bases[slot] + value * PAYLOAD_UNIT;
    if (level !== 0) {
      m.lastLo = lo;
      m.lastHi = hi;
      m.lastEntry = e;
    }
    return e;
  }

  /** Words whose pattern is not at home or in another set, and new ones. */
  #decodeOther(level: number, lo: number, hi: number): number {
    for (const set of this.#memory[level].sets) {
      const e = set.entry(lo, hi);
      if (e >= 0) return e;
    }
    return this.#learnWord(level, lo, hi);
  }

  /** Leaves the words of an entry in `lo` and `hi`. @throws {RangeError} for what the level cannot hold. */
  encode(level: number, e: number): void {
    const m = this.#memory[level];
    const bits = e & 0xfffff;
    let payload = (e - bits) * 2 ** -20;
    let slot = bits;
    if ((bits & PTE_SWAP) !== 0) {
      const type = payload & 31;
      payload = (payload - type) * 0.03125;
      slot = PTE_SWAP + type + ((bits >> 3) & 0x60) + ((bits >> 6) & 0x80);
    } else if (bits >= PTE_CONT) slot = ((bits & PTE_GROUP) >> 2) + (bits & LEAF_BITS);
    const { rows } = m;
    const at = m.row[slot];
    if (payload < rows[at + 2]) {
      const value = payload | 0;
      if ((value & rows[at + 3]) === 0) {
        this.lo = rows[at] ^ Math.imul(value, rows[at + 4]);
        this.hi = rows[at + 1] ^ Math.imul(value >>> rows[at + 5], rows[at + 6]);
        return;
      }
    }
    this.#encodeLong(level, e, slot);
  }

  /** Number of a swap type by its meaning, -1 where the mode's kernels have none. */
  typeOf(kind: SwapKind, access?: 'read' | 'read-exclusive' | 'write'): number {
    return swapTypes(this.compiled.kernel, this.compiled.specials).findIndex((t) => t.kind === kind && (access === undefined || t.access === access));
  }

  // --- memory -------------------------------------------------------------------------------------------------------

  /**
   * The entry at word `at` of memory, whose words are the bytes of RAM read as little-endian (`at` = the table's first word + index · strideWords;
   * of arm short page tables that is Linux's word).
   */
  readEntry(words: Int32Array, at: number, level: number): number {
    const l = this.tables[level];
    if (l.entryWords === 1) return this.decode(level, this.bigEndian ? swap32(words[at]) : words[at], 0);
    const second = words[at + l.secondWord];
    const e = this.bigEndian ? this.decode(level, swap32(second), swap32(words[at])) : this.decode(level, words[at], second);
    // Where it stands tells which piece of the page such an entry maps.
    return l.sameEntries > 1 && (e & PTE_GROUP) !== 0 ? e + ((at / l.strideWords) & (l.sameEntries - 1)) * PAYLOAD_UNIT : e;
  }

  /** Writes an entry to all of its words. */
  writeEntry(words: Int32Array, at: number, level: number, e: number): void {
    const l = this.tables[level];
    const piece = l.sameEntries > 1 && (e & PTE_GROUP) !== 0 ? entryPfn(e) % l.sameEntries : 0;
    this.encode(level, e - piece * PAYLOAD_UNIT);
    this.#store(words, at, l, (e & PTE_GROUP) !== 0 ? CELL_BYTES : 0);
  }

  /** Empties an entry: what `writeEntry` of 0 does. */
  clearEntry(words: Int32Array, at: number, level: number): void {
    const m = this.#memory[level];
    this.lo = m.emptyLo;
    this.hi = m.emptyHi;
    this.#store(words, at, this.tables[level], 0);
  }

  /** Fills a table with empty slots. `at` is its first word; the whole of `tableBytes` is written. */
  clearTable(words: Int32Array, at: number, level: number): void {
    const l = this.tables[level];
    words.fill(0, at, at + l.tableBytes / 4);
    this.lo = this.#memory[level].emptyLo;
    this.hi = this.#memory[level].emptyHi;
    if ((this.lo | this.hi) === 0) return;
    for (let i = 0; i < l.entries; i++) this.#store(words, at + i * l.strideWords, l, 0);
  }

  /** Page frame numbers of the shared empty tables, by level of the table: those of all levels but the top. Fill them with `clearTable`, the lowest first. */
  useEmptyTables(pfns: readonly number[]): void {
    if (!this.sharedEmpty) return;
    for (let level = 1; level < this.levels.length; level++) {
      const word = this.#linux[level].table(pfns[level - 1]);
      const m = this.#memory[level];
      m.emptyLo = word.lo | 0;
      m.emptyHi = word.hi | 0;
      m.lastLo = m.emptyLo;
      m.lastHi = m.emptyHi;
      m.lastEntry = 0;
      (this.levels[level] as { empty: Word }).empty = { lo: m.emptyLo, hi: m.emptyHi };
      setEmptyRow(m);
    }
  }

  /** @param step what the address rises by from cell to cell (larger pages of 8xx) */
  #store(words: Int32Array, at: number, l: CodecLevel, step: number): void {
    const { lo, hi } = this;
    if (l.entryWords === 2) {
      words[at] = this.bigEndian ? swap32(hi) : lo;
      words[at + l.secondWord] = this.bigEndian ? swap32(lo) : hi;
      return;
    }
    const word = this.bigEndian ? swap32(lo) : lo;
    words[at] = word;
    if (l.cells > 1) for (let k = 1; k < l.cells; k++) words[at + k] = step === 0 ? pairedCell(l, word, k) : swap32(lo + k * step);
  }

  // --- learning -----------------------------------------------------------------------------------------------------

  #learnWord(level: number, lo: number, hi: number): number {
    const linux = this.#linux[level];
    const { bits, payload, form } = linux.decode(lo >>> 0, hi >>> 0);
    if (bits === 0) return 0;
    if (payload >= PAYLOAD_LIMIT)
      throw new RangeError(`${this.mode.name}: payload 0x${payload.toString(16)} at level ${linux.level.level.name} does not fit a canonical entry`);
    const e = payload * PAYLOAD_UNIT + bits;
    const m = this.#memory[level];
    const plan = (bits & PTE_SWAP) !== 0 ? swapPlan(this.compiled, linux.level) : form && addressPlan(this.compiled, form);
    if (plan && form && patternHolds(linux.level, form, plan, lo, hi, { lo: m.emptyLo, hi: m.emptyHi })) setFor(m, plan).add(lo, hi, plan.flip, e);
    return e;
  }

  #encodeLong(level: number, e: number, slot: number): void {
    const m = this.#memory[level];
    const linux = this.#linux[level];
    const bits = e & 0xfffff;
    const payload = (e - bits) * 2 ** -20;
    if (bits > PTE_BITS || payload < 0 || payload >= PAYLOAD_LIMIT || (bits === 0 && payload !== 0)) throw new RangeError(`${e} is no canonical entry`);
    const word = linux.encode(bits, payload);
    this.lo = word.lo | 0;
    this.hi = word.hi | 0;
    if (m.row[slot] === 0) this.#learnEntry(m, linux, bits, payload, slot, word);
  }

  #learnEntry(m: LevelMemory, linux: LinuxLevel, bits: number, payload: number, slot: number, word: Word): void {
    const { form } = linux.decode(word.lo, word.hi);
    const swap = (bits & PTE_SWAP) !== 0;
    const plan = swap ? swapPlan(this.compiled, linux.level) : form && addressPlan(this.compiled, form);
    if (!plan) return;
    const value = swap ? (payload - (payload % 32)) / 32 : payload;
    const zero = linux.encode(bits, swap ? payload % 32 : 0);
    const lo = (zero.lo ^ Math.imul(value, plan.toLo)) | 0;
    const hi = (zero.hi ^ Math.imul(value >>> plan.splitHi, plan.toHi)) | 0;
    // A frame that reaches past the plan's piece says nothing of it; any other must come out as the long way's.
    if (value < plan.limit && (lo !== (word.lo | 0) || hi !== (word.hi | 0))) return;
    m.row[slot] = addRow(m, [zero.lo, zero.hi, plan.limit, plan.align - 1, plan.toLo, plan.splitHi, plan.toHi]);
  }
}

/** Appends a row; returns where it begins, or 0 (learn again next time) when there are more than an index can say. */
function addRow(m: LevelMemory, row: readonly number[]): number {
  const at = m.rowsEnd;
  if (at > 0xffff) return 0;
  if (at + ROW > m.rows.length) {
    const { rows } = m;
    m.rows = new Int32Array(2 * rows.length);
    m.rows.set(rows);
  }
  m.rows.set(row, at);
  m.rowsEnd = at + ROW;
  return at;
}

/** The set that holds the words of a plan: an old or a new one. */
function setFor(m: LevelMemory, plan: FieldPlan): Patterns {
  const unit = plan.unit * PAYLOAD_UNIT;
  const known = m.sets.find((s) => s.serves(plan, unit));
  if (known) return known;
  const made = new Patterns(plan, unit);
  m.sets.push(made);
  return made;
}

/** Slot 0 is the empty entry's: payload 0 alone. */
function setEmptyRow(m: LevelMemory): void {
  if (m.row[0] === 0) m.row[0] = addRow(m, [m.emptyLo, m.emptyHi, 1, 0, 0, 0, 0]);
  m.rows[m.row[0]] = m.emptyLo;
  m.rows[m.row[0] + 1] = m.emptyHi;
}

/** The root registers of a processor that runs on the table at a page frame, and the root that they name. @throws {PxdError} where the table cannot be a root. */
export function rootRegisters(codec: EntryCodec, tablePfn: number): { registers: Registers; root: Root } {
  const top = codec.levels[codec.levels.length - 1];
  const registers = userRegisters(codec.mode, BigInt(tablePfn) << BigInt(codec.pageShift), top.name);
  return { registers, root: rootFromRegisters(codec.compiled, registers, 'user') };
}

/** The codec of a mode. */
export const createCodec = (mode: PagingMode, options?: CodecOptions): EntryCodec => new EntryCodec(mode, options);

/** Why a mode has no codec; undefined when it has one. */
export function codecMissing(mode: PagingMode): string | undefined {
  if (!compileMode(mode, canonicalKernel(mode)).linux) return `nothing is declared of Linux ${canonicalKernel(mode)}`;
  return undefined;
}

const NAMES = ['pte', 'pmd', 'pud', 'p4d', 'pgd'];
/** Where tables begin unless told otherwise: s390 processes have four levels for a space of 2^53 bytes. */
const DEFAULT_TOP: Readonly<Record<string, string>> = { s390x: 'p4d' };

/** The real levels, lowest first; auxiliary tables (8xx's of 8M pages) are not among them. */
function chainOf(mode: CompiledMode, top: string | undefined): CompiledLevel[] {
  const chain = mode.levels.filter((l) => NAMES.includes(l.level.name)).reverse();
  const last = top ?? DEFAULT_TOP[mode.mode.name];
  return last === undefined ? chain : chain.slice(0, chain.indexOf(levelNamed(mode, last)) + 1);
}

/** Pages whose entries fill tables of a kind of their own; such an entry looks like one of the largest group of the lowest level. */
function filledOf(mode: CompiledMode, levels: readonly CodecLevel[]): FilledTables[] {
  return mode.levels.flatMap((own) =>
    own.forms.flatMap((form) => {
      const size = form.kind === 'leaf' ? form.groups.find((g) => g.group.size !== undefined)?.group.size : undefined;
      const level = levels.findIndex((l) =>
        mode.levels.some((m) => m.level.name === l.name && m.forms.some((f) => f.kind === 'table' && f.form.next === own.level.name)),
      );
      const bits = levels[0].groups.at(-1)?.bits;
      if (size === undefined || level < 0 || bits === undefined) return [];
      return [{ shift: Math.log2(size), level, entries: size / 2 ** levels[level].shift, fill: own.entries, bits }];
    }),
  );
}

function memoryOf(mode: CompiledMode, linux: LinuxLevel): LevelMemory {
  // Tables above the lowest level, pages there, are what is read most: their set comes first.
  const often = linux.level.forms.find((f) => f.kind === (linux.name === 'pte' ? 'leaf' : 'table'));
  const plan = often && addressPlan(mode, often);
  if (!plan) throw new TypeError(`${mode.mode.name}: level ${linux.level.level.name} has neither pages nor tables`);
  const m = new LevelMemory(new Patterns(plan, PAYLOAD_UNIT));
  const empty = linux.empty;
  m.emptyLo = empty.lo | 0;
  m.emptyHi = empty.hi | 0;
  m.lastLo = m.emptyLo;
  m.lastHi = m.emptyHi;
  m.lastEntry = 0;
  setEmptyRow(m);
  return m;
}

/** What a cell of a larger page on 8xx, whose page tables have a cell for every 4K, maps. Its words are big-endian. */
const CELL_BYTES = 0x1000;

/** The second word of an arm short-descriptor pair points to the second half of hardware's table, 1 KiB further, or maps the second section. */
const HALF_TABLE = 0x400;
const SECTION = 0x100000;
const pairedCell = (l: CodecLevel, word: number, k: number): number =>
  l.cells === 2 && word !== 0 ? word + k * ((word & 3) === 1 ? HALF_TABLE : SECTION) : word;

function levelOf(mode: CompiledMode, linux: LinuxLevel, m: LevelMemory): CodecLevel {
  const { level } = linux;
  const short = mode.levels.some((l) => l.level.companion !== undefined);
  const wide = level.wide;
  const plan = swapPlan(mode, level);
  const geometry = short ? (level.level.companion === undefined ? { shift: 21, entries: 2048, stride: 8 } : { shift: 12, entries: 512, stride: 4 }) : undefined;
  const stride = geometry?.stride ?? level.stride;
  const entries = geometry?.entries ?? level.entries;
  return {
    name: level.level.name,
    shift: geometry?.shift ?? linux.shift,
    entries,
    strideWords: stride / 4,
    entryWords: wide ? 2 : 1,
    tableBytes: Math.max(entries * stride * (level.level.companion === undefined ? 1 : 2), level.level.tableBytes ?? 0),
    cells: wide ? 1 : stride / 4,
    secondWord: level.level.companion === undefined ? 1 : -level.level.companion / 4,
    empty: { lo: m.emptyLo, hi: m.emptyHi },
    leaves: linux.leaves,
    kernelLeaves: linux.kernelLeaves,
    groups: linux.groups,
    sameEntries: linux.groups.find((g) => g.same)?.entries ?? 1,
    supports: supportsOf(linux),
    supportsNone: supportsNone(linux),
    swapOffsets: plan && linux.swaps ? Math.min(2 ** totalWidth(mode, level), PAYLOAD_LIMIT / 32) : 0,
  };
}

const totalWidth = (mode: CompiledMode, level: CompiledLevel): number =>
  (mode.swap.find((s) => s.layout.levels === undefined || s.layout.levels.includes(level.level.name))?.offset ?? []).reduce(
    (n: number, p: Piece) => n + p.width,
    0,
  );

/** What tells a leaf of a level: that it is a large one, and of a group where the level has none of its own size. Undefined: it has no leaves. */
function leafOf(linux: LinuxLevel): number | undefined {
  if (!linux.leaves && linux.groups.length === 0) return undefined;
  return (linux.huge ? PTE_HUGE : 0) | (linux.leaves ? 0 : linux.groups[0].bits);
}

/** Finds by trial which bits of a level's entries come back as they were put in, set and clear. */
function supportsOf(linux: LinuxLevel): number {
  let supports = linux.populate === undefined ? 0 : PTE_TABLE;
  const back = (bits: number): number => {
    // Offset 1: a swap slot 0 of area 0 may be the empty word (Linux never uses slot 0: the area's header stands there).
    const word = linux.encode(bits, (bits & PTE_SWAP) !== 0 ? 32 : 0);
    return linux.decode(word.lo, word.hi).bits;
  };
  const some = leafOf(linux);
  if (some !== undefined) {
    const huge = some;
    const base = PTE_PRESENT | PTE_READ | PTE_USER | huge;
    supports |= PTE_PRESENT | huge;
    for (const bit of [PTE_WRITE, PTE_EXEC, PTE_ACCESSED, PTE_DIRTY, PTE_SPECIAL, PTE_SOFT_DIRTY, PTE_UFFD_WP])
      if ((back(base) & bit) === 0 && (back(base | bit) & bit) !== 0) supports |= bit;
    if ((back((base & ~PTE_READ) | PTE_EXEC) & PTE_READ) === 0) supports |= PTE_READ;
    if ((back(base & ~PTE_USER) & PTE_USER) === 0) supports |= PTE_USER;
    if ((back(PTE_PRESENT | PTE_PROTNONE | huge) & PTE_PROTNONE) !== 0) supports |= PTE_PROTNONE;
  }
  if (linux.swaps) supports |= PTE_SWAP | (back(PTE_SWAP | PTE_SWP_EXCLUSIVE) & PTE_SWP_EXCLUSIVE);
  return supports;
}

/** The same of entries that are present for Linux alone. */
function supportsNone(linux: LinuxLevel): number {
  const some = leafOf(linux);
  if (some === undefined) return 0;
  const base = PTE_PRESENT | PTE_PROTNONE | some;
  const back = (bits: number): number => {
    const word = linux.encode(bits, 0);
    return linux.decode(word.lo, word.hi).bits;
  };
  let supports = base;
  for (const bit of [PTE_ACCESSED, PTE_DIRTY, PTE_SPECIAL, PTE_SOFT_DIRTY, PTE_UFFD_WP])
    if ((back(base) & bit) === 0 && (back(base | bit) & bit) !== 0) supports |= bit;
  return supports;
}
