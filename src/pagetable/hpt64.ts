/**
 * Reads the hashed page table of book3s/64 and compares it with the tree that Linux keeps beside it.
 *
 * The table is a cache: an entry need not be there, but one that is there must say what the tree says. Two passes show it: every page of the
 * tree is looked up as the CPU would, and every valid entry of the process's segments must have been found by that.
 *
 * Invariants: pure; the image is only read; addresses count in 4 KiB pages, VSIDs and abbreviated virtual pages are exact numbers.
 */
import { type HashPageSize, type HashSegmentSize, hpt64 } from '../arch/hpt64.ts';
import type { Fields } from '../arch/mode.ts';
import { gather, maskOf, type Piece, parseBits, scatter } from '../arch/notation.ts';
import type { Attribute } from './attributes.ts';
import { PxdError } from './error.ts';
import { FRAME_BYTES, FRAME_SHIFT, type FrameSource, swap32 } from './source.ts';
import { advanceOf, type PageTables, type TableNode } from './tree.ts';

/** A hash table in memory. */
export interface HashTable {
  /** Physical address, bytes. */
  readonly origin: bigint;
  readonly bytes: number;
  readonly groups: number;
}

/** A segment of an address space: where a range of effective addresses lies in the virtual address space. */
export interface HashSegment {
  readonly size: HashSegmentSize;
  /** Effective address / segment size. */
  readonly esid: number;
  readonly vsid: number;
  /** log2 of the base page; undefined: as the tree's entry says. */
  readonly base: number | undefined;
  /** Keys of problem and privileged state. */
  readonly kp: 0 | 1;
  readonly ks: 0 | 1;
  readonly noExec: boolean;
}

/** A valid entry of the table. */
export interface HashEntry {
  /** Number of the entry in the table. */
  readonly slot: number;
  readonly secondary: boolean;
  readonly avpn: number;
  readonly b: number;
  readonly large: number;
  /** Real page number field with the size encoding in its low bits, in 4 KiB frames. */
  readonly rpn: number;
  readonly key: number;
  /** PP0 PP. */
  readonly pp: number;
  readonly noExec: boolean;
  readonly wimg: number;
  readonly referenced: boolean;
  readonly changed: boolean;
}

export interface HashDifference {
  /** `frame`: another page; `rights`: other rights, or another key; `state`: other attributes, or marks of the tree that the entry belies; `stray`: the tree maps nothing so. */
  readonly what: 'frame' | 'rights' | 'state' | 'stray';
  /** Effective address; of a stray entry the start of the 8 MiB that it is for. */
  readonly va: bigint;
  readonly text: string;
}

/** What the table as a whole holds. */
export interface HashContents {
  /** Valid entries. */
  entries: number;
  /** Those in their secondary group. */
  secondary: number;
  /** By size, `base/actual` in bytes; `unknown` where no size has the encoding. */
  bySize: Record<string, number>;
}

export interface HashComparison {
  /** Base pages of the tree that were looked up: those in a given segment. */
  lookedUp: number;
  hits: number;
  misses: number;
  /** Hits in the secondary group. */
  secondary: number;
  /** Hits by size, `base/actual` in bytes. */
  bySize: Record<string, number>;
  /** Valid entries of the whole table, and those of the given segments. */
  entries: number;
  owned: number;
  differences: HashDifference[];
}

const compiled = (fields: Fields): Record<string, Piece[]> =>
  Object.fromEntries(Object.entries(fields).map(([name, text]) => [name, parseBits((text as string).split(' ')[0])]));
const FIRST = compiled(hpt64.entry.first);
const SECOND = compiled(hpt64.entry.second);
const PARTITION = compiled(hpt64.partition);
const CONTROL = compiled(hpt64.partitionControl);
const SLB_E = compiled(hpt64.slb.esid);
const SLB_V = compiled(hpt64.slb.vsid);

const halves = (value: bigint): [number, number] => [Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn)];
const fieldValue = (pieces: readonly Piece[], value: bigint): number => gather(pieces, ...halves(value));
const hex = (n: number | bigint): string => `0x${n.toString(16)}`;

// --- where table and segments come from -------------------------------------------------------------------------------

/** The hash table of a partition-table entry's first doubleword. @throws {PxdError} when it names none. */
export function hashTableOf(patb0: bigint): HashTable {
  const refuse = (why: string): never => {
    throw new PxdError('usage', `partition-table doubleword ${hex(patb0)}: ${why}`);
  };
  if (fieldValue(PARTITION.HR, patb0) !== 0) refuse('HR is set, the partition has a radix tree, expected a hash table');
  const size = fieldValue(PARTITION.HTABSIZE, patb0);
  if (size > 28) refuse(`HTABSIZE is ${size}, expected at most 28`);
  const bytes = 2 ** (18 + size);
  const origin = BigInt(fieldValue(PARTITION.HTABORG, patb0)) << 18n;
  if (origin % BigInt(bytes) !== 0n) refuse(`the origin ${hex(origin)} is not aligned to the table's ${bytes} bytes`);
  return { origin, bytes, groups: bytes / (hpt64.entryBytes * hpt64.groupEntries) };
}

/** First doubleword of the partition's entry, through the partition table that PTCR names. @throws {PxdError} when the image does not hold it. */
export function partitionEntry(source: FrameSource, ptcr: bigint, lpid = 0): bigint {
  const entries = 2 ** (12 + fieldValue(CONTROL.PATS, ptcr)) / 16;
  if (lpid >= entries) throw new PxdError('usage', `LPID ${lpid} is beyond the partition table, which has ${entries} entries`);
  const at = fieldValue(CONTROL.PATB, ptcr) * FRAME_BYTES + lpid * 16;
  const words = source.frame(Math.floor(at / FRAME_BYTES));
  if (!words) throw new PxdError('bad-image', `PTCR ${hex(ptcr)}: the image does not hold the partition table`, BigInt(at));
  const w = (at % FRAME_BYTES) / 4;
  return (BigInt(swap32(words[w])) << 32n) | BigInt(swap32(words[w + 1]));
}

/** A segment of an SLB entry (ESID and VSID words as the CPU holds them), undefined where it is not valid. */
export function segmentOfSlb(esidWord: bigint, vsidWord: bigint): HashSegment | undefined {
  if (fieldValue(SLB_E.V, esidWord) === 0) return undefined;
  const v = (name: string): number => fieldValue(SLB_V[name], vsidWord);
  const size = hpt64.segments.find((s) => s.b === v('B'));
  const page = hpt64.basePages.find((p) => p.large === v('L') && p.lp === v('LP'));
  if (!size || !page) return undefined;
  return {
    size,
    esid: Math.floor(fieldValue(SLB_E.ESID, esidWord) / 2 ** (size.shift - 28)),
    vsid: Math.floor(v('VSID') / 2 ** (size.shift - 28)),
    base: page.base,
    kp: v('KP') as 0 | 1,
    ks: v('KS') as 0 | 1,
    noExec: v('N') !== 0,
  };
}

/**
 * All user segments that Linux gives to an address space: 256M below 1T, 1T above. `contexts` are mm->context.extended_id by number of the
 * 512T range that each serves (a single context serves the first).
 */
export function linuxUserSegments(contexts: ReadonlyMap<number, number>): HashSegment[] {
  const { vaBits, multiplier, contextBits, smallSegmentsBelow } = hpt64.vsid;
  const out: HashSegment[] = [];
  for (const [range, context] of contexts)
    for (const size of hpt64.segments) {
      const perContext = 2 ** (contextBits - size.shift);
      const small = 2 ** (smallSegmentsBelow - size.shift);
      const modulus = (1n << BigInt(vaBits - size.shift)) - 1n;
      const [from, to] = range > 0 ? [size.b === 1 ? 0 : perContext, perContext] : size.b === 1 ? [small, perContext] : [0, small];
      for (let i = from; i < to; i++) {
        const proto = BigInt(context) * BigInt(perContext) + BigInt(i);
        out.push({ size, esid: range * perContext + i, vsid: Number((proto * multiplier) % modulus), base: undefined, kp: 1, ks: 1, noExec: false });
      }
    }
  return out;
}

/** Number of the kernel's first context that is not the linear map's: vmalloc's; I/O and vmemmap have the next ones. */
export const kernelContext = (pageShift: number): number => 1 + (hpt64.vsid.linearContexts[pageShift] ?? 1);

/**
 * The segments that Linux gives to regions of the kernel's addresses: 1T ones, a context a region from `kernelContext` on.
 * `regions` are vmalloc and those that follow it, in the order of their addresses.
 */
export function linuxKernelSegments(regions: readonly { readonly start: bigint; readonly end: bigint }[], pageShift: number): HashSegment[] {
  const { vaBits, multiplier, contextBits } = hpt64.vsid;
  const size = hpt64.segments[1];
  const perContext = 2 ** (contextBits - size.shift);
  const modulus = (1n << BigInt(vaBits - size.shift)) - 1n;
  const first = kernelContext(pageShift);
  return regions.flatMap(({ start, end }, i) => {
    const from = Number(start >> BigInt(size.shift));
    const esids = Array.from({ length: Number(end >> BigInt(size.shift)) - from }, (_, k) => from + k);
    return esids.map((esid): HashSegment => {
      const proto = BigInt((first + i) * perContext + (esid % perContext));
      return { size, esid, vsid: Number((proto * multiplier) % modulus), base: undefined, kp: 1, ks: 0, noExec: false };
    });
  });
}

// --- entries ----------------------------------------------------------------------------------------------------------

/** V of the first doubleword as it lies in the second word of an entry. */
const VALID_IN_MEMORY = swap32(maskOf(FIRST.V).lo);

class Table {
  readonly table: HashTable;
  readonly #source: FrameSource;
  readonly #frame: number;

  constructor(source: FrameSource, table: HashTable) {
    this.#source = source;
    this.table = table;
    this.#frame = Number(table.origin >> BigInt(FRAME_SHIFT));
  }

  /** The valid entry of a slot; undefined when it is not valid or the image lacks it. */
  entry(slot: number): HashEntry | undefined {
    const perFrame = FRAME_BYTES / hpt64.entryBytes;
    const words = this.#source.frame(this.#frame + Math.floor(slot / perFrame));
    return words && decodeHashEntry(words, (slot % perFrame) * 4, slot);
  }

  /** Hands every valid entry to `sink`, frame by frame, undecoded: most belong to others. */
  forEach(sink: (words: Uint32Array, at: number, slot: number) => void): void {
    const perFrame = FRAME_BYTES / hpt64.entryBytes;
    for (let f = 0; f < this.table.bytes / FRAME_BYTES; f++) {
      const words = this.#source.frame(this.#frame + f);
      if (!words) continue;
      for (let i = 0; i < perFrame; i++) if (words[i * 4 + 1] & VALID_IN_MEMORY) sink(words, i * 4, f * perFrame + i);
    }
  }
}

/** Decodes four words of memory at `at`; undefined for an entry that is not valid. */
export function decodeHashEntry(words: Uint32Array, at: number, slot: number): HashEntry | undefined {
  const [hi, lo, hi2, lo2] = [swap32(words[at]), swap32(words[at + 1]), swap32(words[at + 2]), swap32(words[at + 3])];
  if (gather(FIRST.V, lo, hi) === 0) return undefined;
  const bit = (name: string): number => gather(SECOND[name], lo2, hi2);
  return {
    slot,
    secondary: gather(FIRST.H, lo, hi) !== 0,
    avpn: gather(FIRST.AVPN, lo, hi),
    large: gather(FIRST.L, lo, hi),
    b: bit('B'),
    rpn: bit('RPN'),
    key: bit('KEY'),
    pp: bit('PP0') * 4 + bit('PP'),
    noExec: bit('N') !== 0,
    wimg: bit('W') * 8 + bit('I') * 4 + bit('M') * 2 + bit('G'),
    referenced: bit('R') !== 0,
    changed: bit('C') !== 0,
  };
}

/** The four words of an entry as they lie in memory: for tests and for tables that are made. */
export function encodeHashEntry(entry: Omit<HashEntry, 'slot'>): Uint32Array {
  const put = (fields: Record<string, Piece[]>, values: Record<string, number>): [number, number] => {
    let [lo, hi] = [0, 0];
    for (const [name, value] of Object.entries(values)) {
      const word = scatter(fields[name], BigInt(value));
      lo |= word.lo;
      hi |= word.hi;
    }
    return [swap32(hi >>> 0), swap32(lo >>> 0)];
  };
  const { pp, wimg } = entry;
  const second = {
    PP0: pp >> 2,
    PP: pp & 3,
    KEY: entry.key,
    B: entry.b,
    RPN: entry.rpn,
    R: +entry.referenced,
    C: +entry.changed,
    W: wimg >> 3,
    I: (wimg >> 2) & 1,
    M: (wimg >> 1) & 1,
    G: wimg & 1,
    N: +entry.noExec,
  };
  return Uint32Array.from([...put(FIRST, { AVPN: entry.avpn, L: entry.large, H: +entry.secondary, V: 1 }), ...put(SECOND, second)]);
}

// --- looking up -------------------------------------------------------------------------------------------------------

const LOW = 2 ** 20;

/** Exclusive or of numbers up to 2^52. */
const xor = (a: number, b: number): number => ((Math.floor(a / LOW) ^ Math.floor(b / LOW)) >>> 0) * LOW + (((a % LOW) ^ (b % LOW)) >>> 0);

/** Offset of a 4 KiB page in its segment. */
const offsetIn = (size: HashSegmentSize, page: number): number => page % 2 ** (size.shift - FRAME_SHIFT);

/** Primary group of a page (`page`: effective address / 4096). */
export function primaryGroup(table: HashTable, segment: HashSegment, page: number, base: number): number {
  const limit = 2 ** hpt64.hashBits;
  const { fold } = segment.size;
  const index = Math.floor(offsetIn(segment.size, page) / 2 ** (base - FRAME_SHIFT));
  const vsid = segment.vsid % limit;
  const hash = xor(fold ? xor(vsid, (vsid % 2 ** (hpt64.hashBits - fold)) * 2 ** fold) : vsid, index);
  return hash % table.groups;
}

/** The abbreviated virtual page number that an entry for the page carries. */
export function avpnOf(segment: HashSegment, page: number, base: number): number {
  const within = Math.floor(offsetIn(segment.size, page) / 2 ** (23 - FRAME_SHIFT));
  const free = Math.max(0, base - 23);
  return segment.vsid * 2 ** (segment.size.shift - 23) + (within - (within % 2 ** free));
}

/** The actual page size of an entry in a segment with this base page (encodings differ, so any base may be asked for); undefined: it does not belong to such a segment. */
export function pageSizeOf(entry: HashEntry, base?: number): HashPageSize | undefined {
  return hpt64.pageSizes.find(
    (p) =>
      (base === undefined || p.base === base) &&
      p.large === entry.large &&
      (p.large === 0 || entry.rpn % 2 ** Math.min(8, p.actual - FRAME_SHIFT) === p.encoding),
  );
}

interface Found {
  readonly entry: HashEntry;
  readonly size: HashPageSize;
  /** 4 KiB frame of the page. */
  readonly frame: number;
}

function lookUp(table: Table, segment: HashSegment, page: number, base: number): Found | undefined {
  const avpn = avpnOf(segment, page, base);
  const primary = primaryGroup(table.table, segment, page, base);
  for (const secondary of [false, true]) {
    const group = secondary ? table.table.groups - 1 - primary : primary;
    for (let i = 0; i < hpt64.groupEntries; i++) {
      const entry = table.entry(group * hpt64.groupEntries + i);
      if (!entry || entry.secondary !== secondary || entry.avpn !== avpn || entry.b !== segment.size.b) continue;
      const size = pageSizeOf(entry, base);
      if (!size) continue;
      const pages = 2 ** (size.actual - FRAME_SHIFT);
      return { entry, size, frame: entry.rpn - (entry.rpn % pages) + (page % pages) };
    }
  }
  return undefined;
}

// --- comparison -------------------------------------------------------------------------------------------------------

/** A run of leaf pages of the tree, in 4 KiB pages. */
interface LeafRun {
  readonly page: number;
  readonly frame: number;
  readonly pages: number;
  readonly attribute: Attribute;
}

/** Runs of leaves in the root's ranges, table by table: attributes are exact here, extents would join what differs in keys or slots. */
function* leafRuns(tables: PageTables): Generator<LeafRun> {
  const unit = 2 ** (tables.mode.mode.pageShift - FRAME_SHIFT);
  const top = tables.mode.levels[tables.nodes[0].level];
  for (const range of tables.root.ranges) {
    const base = Number(BigInt.asUintN(64, range.va) >> BigInt(FRAME_SHIFT)) - range.from * top.pages * unit;
    yield* runsOf(tables, tables.nodes[0], base, range.from, range.to, unit);
  }
}

function* runsOf(tables: PageTables, node: TableNode, base: number, first: number, last: number, unit: number): Generator<LeafRun> {
  const { items, attributes, nodes, mode } = tables;
  const span = mode.levels[node.level].pages * unit;
  for (let i = node.from; i < node.to; i++) {
    const attribute = attributes[items.attribute[i]];
    const child = attribute.kind === 'table' || attribute.kind === 'hugepd';
    if (!child && attribute.kind !== 'leaf') continue;
    for (let k = 0; k < items.count[i]; k++) {
      const index = items.index[i] + k;
      if (index < first || index >= last) continue;
      if (child) {
        const below = nodes[items.value[i]];
        yield* runsOf(tables, below, base + index * span, 0, mode.levels[below.level].entries, unit);
      } else
        yield {
          page: base + index * span,
          frame: (items.value[i] + (items.step[i] ? k * advanceOf(attribute) : 0)) * unit,
          pages: attribute.pages * unit,
          attribute,
        };
    }
  }
}

const fieldOf = (attribute: Attribute, name: string): number => {
  const pieces = attribute.form?.fields.get(name);
  return pieces ? gather(pieces, attribute.lo, attribute.hi) : 0;
};

/** Base page by which Linux hashes a leaf: COMBO pages by 4K, transparent huge pages by the page size, others by their own size. */
function baseOf(tables: PageTables, attribute: Attribute): number {
  const { pageShift } = tables.mode.mode;
  const shift = pageShift + Math.log2(attribute.leafPages);
  if (pageShift === 16 && fieldOf(attribute, 'COMBO')) return 12;
  return pageShift === 16 && fieldOf(attribute, 'H_4K_PFN') ? pageShift : shift;
}

/** What the two words say differently; empty when they agree. */
function disagreements(found: Found, want: LeafRun, page: number, segment: HashSegment, kernel: boolean, slots: boolean): HashDifference[] {
  const { entry, frame } = found;
  const { attribute } = want;
  const out: HashDifference[] = [];
  const check = (what: HashDifference['what'], name: string, have: unknown, should: unknown): void => {
    if (have !== should) out.push(difference(what, page, `${name} ${String(have)} in the hash table, ${String(should)} in the tree`));
  };
  const wanted = want.frame + (page - want.page);
  if (frame !== wanted) check('frame', 'frame', hex(frame), hex(wanted));
  const key = (kernel ? segment.ks : segment.kp) ? 'key1' : 'key0';
  const rights = hpt64.protection[key][entry.pp];
  const any = attribute.rights.read || attribute.rights.write || attribute.rights.exec;
  check('rights', 'read', rights !== '', any);
  // A user page becomes writable to the CPU when it is dirty: so the first store is noticed.
  check('rights', 'write', rights === 'rw', attribute.rights.write && (kernel || attribute.dirty));
  check('rights', 'execute', !entry.noExec && !segment.noExec, attribute.rights.exec);
  if (!kernel || entry.key !== hpt64.kernelKey) check('rights', 'key', entry.key, fieldOf(attribute, 'PKEY'));
  check('state', 'WIMG', entry.wimg, hpt64.wimg[fieldOf(attribute, 'ATT')]);
  if (entry.changed && !attribute.dirty) check('state', 'changed', true, false);
  check('state', 'HASHPTE', 1, fieldOf(attribute, 'HASHPTE'));
  if (slots)
    check('state', 'slot', `${+entry.secondary}/${entry.slot % hpt64.groupEntries}`, `${fieldOf(attribute, 'F_SECOND')}/${fieldOf(attribute, 'F_GIX')}`);
  return out;
}

/**
 * Compares the hash table with one tree, in the given segments of its address space. Segments that no range of the tree's root covers are ignored.
 * A difference names the effective address and what the two say.
 */
export function compareHashTable(source: FrameSource, hashTable: HashTable, segments: readonly HashSegment[], tables: PageTables): HashComparison {
  const table = new Table(source, hashTable);
  const result: HashComparison = { lookedUp: 0, hits: 0, misses: 0, secondary: 0, bySize: {}, entries: 0, owned: 0, differences: [] };
  const mine = segments.filter((s) => covered(tables, s));
  const byEsid = new Map(mine.map((s) => [`${s.size.b} ${s.esid}`, s]));
  const find = (page: number): HashSegment | undefined => {
    for (const size of hpt64.segments) {
      const found = byEsid.get(`${size.b} ${Math.floor(page / 2 ** (size.shift - FRAME_SHIFT))}`);
      if (found) return found;
    }
    return undefined;
  };
  const kernel = tables.root.ranges.every((r) => r.half === 'kernel');
  // The tree tells slot and group only where an entry stands for one page that is hashed as such.
  const hasSlots = tables.mode.mode.pageShift === FRAME_SHIFT;
  const seen = new Set<number>();
  for (const run of leafRuns(tables)) {
    const segment = find(run.page);
    if (!segment) continue;
    const base = segment.base ?? baseOf(tables, run.attribute);
    const step = 2 ** (base - FRAME_SHIFT);
    for (let page = Math.ceil(run.page / step) * step; page < run.page + run.pages; page += step) {
      result.lookedUp++;
      const found = lookUp(table, segment, page, base);
      if (!found) {
        result.misses++;
        continue;
      }
      result.hits++;
      if (found.entry.secondary) result.secondary++;
      countSize(result.bySize, found.size);
      seen.add(found.entry.slot);
      result.differences.push(...disagreements(found, run, page, segment, kernel, hasSlots));
    }
  }
  scan(table, mine, seen, result);
  return result;
}

function countSize(bySize: Record<string, number>, size: HashPageSize | undefined): void {
  const key = size ? `${2 ** size.base}/${2 ** size.actual}` : 'unknown';
  bySize[key] = (bySize[key] ?? 0) + 1;
}

function difference(what: HashDifference['what'], page: number, text: string): HashDifference {
  const va = BigInt(page) << BigInt(FRAME_SHIFT);
  return { what, va, text: `${hex(va)}: ${text}` };
}

/** Counts the valid entries of the whole table, whoever they belong to. */
export function hashTableContents(source: FrameSource, hashTable: HashTable): HashContents {
  const contents: HashContents = { entries: 0, secondary: 0, bySize: {} };
  new Table(source, hashTable).forEach((words, at, slot) => {
    const entry = decodeHashEntry(words, at, slot) as HashEntry;
    contents.entries++;
    if (entry.secondary) contents.secondary++;
    countSize(contents.bySize, pageSizeOf(entry));
  });
  return contents;
}

/** Does a range of the tree's root hold the segment? */
function covered(tables: PageTables, segment: HashSegment): boolean {
  const level = tables.mode.levels[tables.nodes[0].level].level;
  const start = BigInt(segment.esid) << BigInt(segment.size.shift);
  return tables.root.ranges.some((r) => start >= r.va && start < r.va + (BigInt(r.to - r.from) << BigInt(level.shift)));
}

/** Every valid entry of the segments must have been found from the tree. */
function scan(table: Table, segments: readonly HashSegment[], seen: ReadonlySet<number>, result: HashComparison): void {
  const byVsid = new Map(segments.map((s) => [s.vsid * 2 + s.size.b, s]));
  table.forEach((words, at, slot) => {
    result.entries++;
    const avpn = gather(FIRST.AVPN, swap32(words[at + 1]), swap32(words[at]));
    const b = gather(SECOND.B, swap32(words[at + 3]), swap32(words[at + 2]));
    const size = hpt64.segments[b];
    const segment = size && byVsid.get(Math.floor(avpn / 2 ** (size.shift - 23)) * 2 + b);
    if (!segment) return;
    result.owned++;
    if (seen.has(slot)) return;
    const near = segment.esid * 2 ** (segment.size.shift - FRAME_SHIFT) + (avpn % 2 ** (segment.size.shift - 23)) * 2 ** (23 - FRAME_SHIFT);
    const frame = decodeHashEntry(words, at, slot)?.rpn ?? 0;
    result.differences.push(
      difference('stray', near, `entry for an address within 8 MiB from here, slot ${slot}, frame ${hex(frame)}, that the tree does not map so`),
    );
  });
}
