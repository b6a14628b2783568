/**
 * The reverse map: from a frame to every virtual address that shows it, over all walked roots at once.
 *
 * One row is one extent. Rows stand in typed columns sorted by frame; questions are answered by a sweep over the sorted starts and ends, so the
 * cost is that of a sort whatever the answer. Invariants: a repeated extent stays one row (`count`, `stride`); a mapping that several
 * roots share (the kernel half, the two roots of one process) is one row, with `roots` telling how many; frames count in pages of the mode.
 */
import type { ExtentColumns } from '../pagetable/columns.ts';
import { PxdError } from '../pagetable/error.ts';
import { type ExtentClass, forEachExtent } from '../pagetable/extents.ts';
import type { PageTables } from '../pagetable/tree.ts';

/** Tables that were walked, and whose they are. */
export interface WalkedRoot {
  /** For people: `pid 79 pxd-hog`, `CR3 0x141c26000`. */
  readonly name: string;
  readonly pid?: number;
  readonly tables: PageTables;
}

/** What a row allows and where it lies, as bits. */
export const READ = 1;
export const WRITE = 2;
export const EXEC = 4;
export const USER = 8;
export const PRESENT = 16;
export const GLOBAL = 32;
export const DIRTY = 64;
export const ACCESSED = 128;
export const KERNEL_HALF = 256;

export const flagsOf = (c: ExtentClass): number =>
  (c.read ? READ : 0) |
  (c.write ? WRITE : 0) |
  (c.exec ? EXEC : 0) |
  (c.user ? USER : 0) |
  (c.present ? PRESENT : 0) |
  (c.global ? GLOBAL : 0) |
  (c.dirty ? DIRTY : 0) |
  (c.accessed ? ACCESSED : 0) |
  (c.half === 'kernel' ? KERNEL_HALF : 0);

/** `rwxu`, with `-` for what is not allowed. */
export const rightsText = (flags: number): string =>
  (flags & READ ? 'r' : '-') + (flags & WRITE ? 'w' : '-') + (flags & EXEC ? 'x' : '-') + (flags & USER ? 'u' : 'k');

/** One user of a frame. */
export interface FrameUser {
  readonly row: number;
  readonly root: WalkedRoot;
  /** How many of the walked roots have this same mapping. */
  readonly roots: number;
  readonly vpn: number;
  readonly pfn: number;
  readonly pages: number;
  readonly count: number;
  readonly stride: number;
  readonly leafPages: number;
  readonly flags: number;
}

/** Frames that are mapped alike: as often, with the same mix of rights. */
export interface AliasGroup {
  /** Mappings of each frame; repetitions of one extent count. */
  readonly mappings: number;
  /** Distinct rights among them, most generous first, joined by blanks. */
  readonly rights: string;
  readonly frames: number;
  /** Lowest such frame. */
  readonly firstPfn: number;
}

/** A run of frames that one set of rows covers. */
export interface FrameRun {
  readonly pfn: number;
  readonly end: number;
}

/** Rows kept at most: about 60 bytes each, and as much again while they are sorted. */
const MAX_ROWS = 3_000_000;

/** Distinct rights combinations (rwx and user) that a frame may show. */
const MIXES = 16;

export class ReverseMap {
  readonly roots: readonly WalkedRoot[];
  readonly pageShift: number;
  length = 0;
  pfn = new Float64Array(4096);
  pages = new Float64Array(4096);
  vpn = new Float64Array(4096);
  count = new Float64Array(4096);
  stride = new Float64Array(4096);
  leafPages = new Float64Array(4096);
  flags = new Uint16Array(4096);
  root = new Uint32Array(4096);
  /** Roots that share the row. */
  shared = new Uint32Array(4096);
  /** Roots that could not be looked at in full: their tables unfold to more extents than can be kept. */
  readonly cutShort: WalkedRoot[] = [];
  readonly #maxRows: number;
  /** Rows by first frame. */
  order: Uint32Array = new Uint32Array(0);

  /** @throws {PxdError} when the roots are of modes with different page sizes. */
  constructor(roots: readonly WalkedRoot[], options: { readonly maxRows?: number } = {}) {
    this.roots = roots;
    this.#maxRows = options.maxRows ?? MAX_ROWS;
    this.pageShift = roots[0]?.tables.mode.mode.pageShift ?? 12;
    for (const root of roots)
      if (root.tables.mode.mode.pageShift !== this.pageShift)
        throw new PxdError(
          'usage',
          `${root.name} has pages of ${2 ** root.tables.mode.mode.pageShift} bytes and ${roots[0].name} of ${2 ** this.pageShift}: frames can only be compared under one page size`,
        );
    const known: SharedRows = { kernel: new Map(), byPid: new Map() };
    const pids = new Map<number, number>();
    for (const root of roots) if (root.pid !== undefined) pids.set(root.pid, (pids.get(root.pid) ?? 0) + 1);
    roots.forEach((root, i) => {
      if (!this.#complete(root, i, known, (pids.get(root.pid ?? -1) ?? 0) > 1)) this.cutShort.push(root);
    });
    this.order = sortedBy(this.pfn, this.length);
  }

  /** Takes a root's rows; false when they are too many. What was taken until then stays. */
  #complete(root: WalkedRoot, index: number, known: SharedRows, twoRoots: boolean): boolean {
    try {
      this.#add(root, index, known, twoRoots);
    } catch (e) {
      if (e instanceof PxdError && e.code === 'limit') return false;
      throw e;
    }
    return this.length < this.#maxRows;
  }

  #add(root: WalkedRoot, index: number, known: SharedRows, twoRoots: boolean): void {
    const several = this.roots.length > 1;
    forEachExtent(root.tables, {}, (extents, classes) => {
      for (let i = 0; i < extents.length; i++) {
        if (this.length >= this.#maxRows) return false;
        const cls = classes[extents.kind[i]];
        const half = cls.half === 'kernel' ? known.kernel : twoRoots ? ofPid(known, root.pid as number) : undefined;
        if (!several || half === undefined) this.#push(extents, i, cls, index);
        else this.#pushShared(extents, i, cls, index, half);
      }
      return true;
    });
  }

  #pushShared(extents: ExtentColumns, i: number, cls: ExtentClass, index: number, known: Map<number, number>): void {
    const row = known.get(extents.vpn[i]);
    if (row !== undefined && this.pfn[row] === extents.pfn[i] && this.pages[row] === extents.pages[i] && this.count[row] === extents.count[i]) {
      // The weaker of a process's two roots (kernel mode may not execute user pages) adds nothing to the stronger.
      this.flags[row] |= flagsOf(cls);
      this.shared[row]++;
      return;
    }
    if (row === undefined) known.set(extents.vpn[i], this.length);
    this.#push(extents, i, cls, index);
  }

  #push(extents: ExtentColumns, i: number, cls: ExtentClass, root: number): void {
    const row = this.length++;
    if (row === this.pfn.length) this.#grow(row * 2);
    this.pfn[row] = extents.pfn[i];
    this.pages[row] = extents.pages[i];
    this.vpn[row] = extents.vpn[i];
    this.count[row] = extents.count[i];
    this.stride[row] = extents.stride[i];
    this.leafPages[row] = cls.leafPages;
    this.flags[row] = flagsOf(cls);
    this.root[row] = root;
    this.shared[row] = 1;
  }

  #grow(size: number): void {
    for (const name of ['pfn', 'pages', 'vpn', 'count', 'stride', 'leafPages'] as const) {
      const next = new Float64Array(size);
      next.set(this[name]);
      this[name] = next;
    }
    const flags = new Uint16Array(size);
    flags.set(this.flags);
    this.flags = flags;
    for (const name of ['root', 'shared'] as const) {
      const next = new Uint32Array(size);
      next.set(this[name]);
      this[name] = next;
    }
  }

  user(row: number): FrameUser {
    return {
      row,
      root: this.roots[this.root[row]],
      roots: this.shared[row],
      vpn: this.vpn[row],
      pfn: this.pfn[row],
      pages: this.pages[row],
      count: this.count[row],
      stride: this.stride[row],
      leafPages: this.leafPages[row],
      flags: this.flags[row],
    };
  }

  /** Every mapping of frames [pfn, end), in order of frame and then of address, cropped to them. */
  users(pfn: number, end: number = pfn + 1): FrameUser[] {
    const found: FrameUser[] = [];
    for (let i = 0; i < this.length; i++) {
      const row = this.order[i];
      if (this.pfn[row] >= end) break;
      if (this.pfn[row] + this.pages[row] > pfn) found.push(this.#cropped(row, pfn, end));
    }
    return found.sort((a, b) => a.pfn - b.pfn || a.vpn - b.vpn);
  }

  #cropped(row: number, pfn: number, end: number): FrameUser {
    const user = this.user(row);
    const from = Math.max(user.pfn, pfn);
    return { ...user, pfn: from, vpn: user.vpn + (from - user.pfn), pages: Math.min(user.pfn + user.pages, end) - from };
  }

  /** Frames mapped `atLeast` times or more, grouped by count and by mix of rights; largest counts first. */
  summary(atLeast = 2): AliasGroup[] {
    const groups = new Map<string, { mappings: number; mix: number; frames: number; firstPfn: number }>();
    sweep(this, (from, to, counters) => {
      if (counters.mappings < atLeast) return;
      const key = `${counters.mappings} ${counters.mix}`;
      const group = groups.get(key);
      if (group) group.frames += to - from;
      else groups.set(key, { mappings: counters.mappings, mix: counters.mix, frames: to - from, firstPfn: from });
    });
    return [...groups.values()]
      .sort((a, b) => b.mappings - a.mappings || b.frames - a.frames)
      .map((g) => ({ mappings: g.mappings, rights: mixText(g.mix), frames: g.frames, firstPfn: g.firstPfn }));
  }

  /** Runs of frames of which the predicate holds; neighbouring runs are joined. */
  runs(wanted: (counters: SweepCounters) => boolean): FrameRun[] {
    const found: { pfn: number; end: number }[] = [];
    sweep(this, (from, to, counters) => {
      if (!wanted(counters)) return;
      const last = found[found.length - 1];
      if (last !== undefined && last.end === from) last.end = to;
      else found.push({ pfn: from, end: to });
    });
    return found;
  }

  /** Rows that touch one of the runs (ascending and disjoint), with the frames that they share with it. */
  rowsIn(runs: readonly FrameRun[], accept: (flags: number) => boolean): FrameUser[] {
    const found: FrameUser[] = [];
    for (let i = 0; i < this.length; i++) {
      const row = this.order[i];
      if (!accept(this.flags[row])) continue;
      const end = this.pfn[row] + this.pages[row];
      for (let k = firstRunAfter(runs, this.pfn[row]); k < runs.length && runs[k].pfn < end; k++) found.push(this.#cropped(row, runs[k].pfn, runs[k].end));
    }
    return found;
  }
}

interface SharedRows {
  readonly kernel: Map<number, number>;
  readonly byPid: Map<number, Map<number, number>>;
}

function ofPid(known: SharedRows, pid: number): Map<number, number> {
  const found = known.byPid.get(pid) ?? new Map<number, number>();
  known.byPid.set(pid, found);
  return found;
}

/** Index of the first run that ends after `pfn`. */
function firstRunAfter(runs: readonly FrameRun[], pfn: number): number {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle].end <= pfn) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Mappings of the frames between two events of a sweep. */
export interface SweepCounters {
  mappings: number;
  /** Bit n: some mapping has the rights n (READ | WRITE | EXEC | USER). */
  mix: number;
  /** Rows (not repetitions) by rights n. */
  readonly rows: Int32Array;
}

/**
 * Sweeps over the frames in ascending order and hands on each stretch that one set of rows covers. Mappings that are present but
 * inaccessible count with the rights 0.
 */
export function sweep(map: ReverseMap, stretch: (from: number, to: number, counters: SweepCounters) => void): void {
  const { length, order } = map;
  const ends = new Float64Array(length);
  for (let i = 0; i < length; i++) ends[i] = map.pfn[i] + map.pages[i];
  const byEnd = sortedBy(ends, length);
  const counters: SweepCounters = { mappings: 0, mix: 0, rows: new Int32Array(MIXES) };
  const change = (row: number, sign: 1 | -1): void => {
    const rights = map.flags[row] & PRESENT ? map.flags[row] & 15 : 0;
    counters.mappings += sign * map.count[row];
    counters.rows[rights] += sign;
    if (counters.rows[rights] > 0) counters.mix |= 1 << rights;
    else counters.mix &= ~(1 << rights);
  };
  let at = 0;
  for (let s = 0, e = 0; e < length; ) {
    const start = s < length ? map.pfn[order[s]] : Number.POSITIVE_INFINITY;
    const next = Math.min(start, ends[byEnd[e]]);
    if (next > at && counters.mappings > 0) stretch(at, next, counters);
    at = next;
    for (; s < length && map.pfn[order[s]] === at; s++) change(order[s], 1);
    for (; e < length && ends[byEnd[e]] === at; e++) change(byEnd[e], -1);
  }
}

function mixText(mix: number): string {
  const found: number[] = [];
  for (let rights = 0; rights < MIXES; rights++) if (mix & (1 << rights)) found.push(rights);
  // Most generous first: writable, then executable, then readable.
  found.sort((a, b) => (b & WRITE) - (a & WRITE) || (b & EXEC) - (a & EXEC) || b - a);
  return found.map((f) => rightsText(f)).join(' ');
}

const RADIX_BITS = 16;

/** Indexes of the first `length` values in ascending order, stable: a radix sort, values being integers from 0 to 2^53. */
export function sortedBy(values: Float64Array, length: number): Uint32Array {
  let most = 0;
  for (let i = 0; i < length; i++) if (values[i] > most) most = values[i];
  let from = new Uint32Array(length);
  let to = new Uint32Array(length);
  for (let i = 0; i < length; i++) from[i] = i;
  const counts = new Uint32Array(2 ** RADIX_BITS + 1);
  for (let scale = 1; scale <= most; scale *= 2 ** RADIX_BITS) {
    counts.fill(0);
    const digit = (i: number): number => Math.floor(values[i] / scale) % 2 ** RADIX_BITS;
    for (let i = 0; i < length; i++) counts[digit(i) + 1]++;
    for (let d = 0; d < 2 ** RADIX_BITS; d++) counts[d + 1] += counts[d];
    for (let k = 0; k < length; k++) to[counts[digit(from[k])]++] = from[k];
    [from, to] = [to, from];
  }
  return from;
}
