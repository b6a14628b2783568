/**
 * Reads a page-table tree once: every table becomes a node, every run of like entries an item.
 *
 * The result is a graph, not a tree: a table that several entries point to (a shared kernel half, KASAN's zero shadow, a table that
 * maps itself) is one node, read once. Work is bounded by the entries of the tables that exist, never by the address range they span,
 * so a hostile image costs no more than its size times the number of levels.
 *
 * Invariants: a node is (table address, level, inherited rights, piece and whether it is torn); its items lie together in `items` and are in index order; a
 * child's level lies below its parent's, so the graph has no cycle even where the tables in memory do.
 */
import type { Root } from '../arch/mode.ts';
import { holds } from '../arch/notation.ts';
import { type Attribute, Attributes } from './attributes.ts';
import { Items } from './columns.ts';
import type { CompiledForm, CompiledGroup, CompiledLevel, CompiledMode, SinglePiece } from './compile.ts';
import { ALL_RIGHTS, addressOffset, addressUnits, formOf, levelNamed, type Rights, rightsKey, windowOf } from './entry.ts';
import { PxdError } from './error.ts';
import { FRAME_BYTES, FRAME_SHIFT, type FrameSource } from './source.ts';
import { decodeSwap } from './swap.ts';
import { readTable, type TableChunk } from './table.ts';

export interface TableNode {
  readonly id: number;
  /** 4 KiB frame and byte offset of the table. */
  readonly frame: number;
  readonly offset: number;
  readonly level: number;
  readonly rights: Rights;
  /** Which part of a leaf larger than this table's span the table maps, in pages (hugepd and 8xx 8M); 0 elsewhere. */
  readonly piece: number;
  /** The other slots of a leaf that reaches over several do not hold their parts of it. */
  readonly torn: boolean;
  /** Entries read are [first, entries): fewer than the level's for a root that is short, or of which one half is asked for. */
  readonly first: number;
  readonly entries: number;
  /** Items [from, to) of the tree's `items`. */
  from: number;
  to: number;
}

export interface PageTables {
  readonly mode: CompiledMode;
  readonly root: Root;
  readonly nodes: readonly TableNode[];
  readonly items: Items;
  readonly attributes: readonly Attribute[];
  readonly swapOf: Attributes['swapOf'];
  /** Entries looked at. */
  readonly visited: number;
}

export interface ReadOptions {
  /** Most items (runs of entries) to keep; beyond it a PxdError `limit`. Default 16 million (about 340 MB). */
  readonly maxItems?: number;
  /** Read only what this half of the address space needs. */
  readonly half?: 'user' | 'kernel';
}

const MAX_ITEMS = 16_000_000;

/** Reads all tables below a root. @throws {PxdError} when the root's table is not in the image, or at the limit. */
export function readPageTables(mode: CompiledMode, source: FrameSource, root: Root, options: ReadOptions = {}): PageTables {
  const reader = new Reader(mode, source, options.maxItems ?? MAX_ITEMS);
  const wanted = options.half === undefined ? root : { ...root, ranges: root.ranges.filter((r) => r.half === options.half) };
  reader.run(wanted);
  return {
    mode,
    root: wanted,
    nodes: reader.nodes,
    items: reader.items,
    attributes: reader.attributes.list,
    swapOf: (a, offset) => reader.attributes.swapOf(a, offset),
    visited: reader.visited,
  };
}

class Reader {
  readonly nodes: TableNode[] = [];
  readonly items = new Items();
  readonly attributes: Attributes;
  visited = 0;
  readonly #mode: CompiledMode;
  readonly #source: FrameSource;
  readonly #maxItems: number;
  /** Node ids by frame: chains are short (a frame holds few tables). */
  readonly #byFrame = new Map<number, number[]>();

  /** First item of the node being read: runs never join across tables here. */
  #nodeFrom = 0;

  constructor(mode: CompiledMode, source: FrameSource, maxItems: number) {
    this.#mode = mode;
    this.#source = source;
    this.#maxItems = maxItems;
    this.attributes = new Attributes(mode);
  }

  run(root: Root): void {
    const level = levelNamed(this.#mode, root.level);
    const frame = Number(root.table >> BigInt(FRAME_SHIFT));
    const entries = Math.max(0, ...root.ranges.map((r) => r.to));
    const first = Math.min(entries, ...root.ranges.map((r) => r.from));
    if (this.#source.frame(frame) === undefined)
      throw new PxdError('bad-image', `${root.label}: the image does not hold the top table at physical address 0x${root.table.toString(16)}`, root.table);
    this.#node(frame, Number(root.table & BigInt(FRAME_BYTES - 1)), level.index, ALL_RIGHTS, 0, entries, first, false);
    for (let id = 0; id < this.nodes.length; id++) this.#scan(this.nodes[id]);
  }

  #node(frame: number, offset: number, level: number, rights: Rights, piece: number, entries: number, first: number, torn: boolean): number {
    const known = this.#byFrame.get(frame);
    const key = rightsKey(rights);
    if (known)
      for (const id of known) {
        const n = this.nodes[id];
        if (
          n.offset === offset &&
          n.level === level &&
          n.piece === piece &&
          n.entries === entries &&
          n.first === first &&
          n.torn === torn &&
          rightsKey(n.rights) === key
        )
          return id;
      }
    const id = this.nodes.length;
    this.nodes.push({ id, frame, offset, level, rights, piece, torn, first, entries, from: 0, to: 0 });
    if (known) known.push(id);
    else this.#byFrame.set(frame, [id]);
    return id;
  }

  #scan(node: TableNode): void {
    const level = this.#mode.levels[node.level];
    node.from = this.items.length;
    this.#nodeFrom = node.from;
    for (const chunk of readTable(this.#mode, level, this.#source, node.frame, node.offset, node.first, node.entries)) {
      if (chunk.words === undefined) {
        if (!this.#isSharedEmpty(node)) this.items.push(chunk.first, chunk.count, this.attributes.odd('missing', level, 0, 0, node.rights).id, 0, 0);
      } else this.#scanChunk(node, level, chunk as TableChunk & { words: Uint32Array });
    }
    node.to = this.items.length;
    if (this.items.length > this.#maxItems)
      throw new PxdError('limit', `the page tables have more than ${this.#maxItems} runs of entries; restrict the walk or raise the limit`);
  }

  /** Slots that point to each node; tables are read level by level, so a node's are counted before it is read. */
  readonly #slots: number[] = [];

  /** A table that the image lacks and that several slots share is the one that unused slots point to. */
  #isSharedEmpty(node: TableNode): boolean {
    return this.#mode.mode.sharedEmpty === true && (this.#slots[node.id] ?? 0) > 1;
  }

  /** Steps over runs: the inner loops compare masked words and only leave for an entry that differs. */
  #scanChunk(node: TableNode, level: CompiledLevel, chunk: TableChunk & { words: Uint32Array }): void {
    const { words, first, count, wide } = chunk;
    const step = wide ? 2 : 1;
    this.visited += count;
    let i = 0;
    while (i < count) {
      const lo = words[i * step];
      const hi = wide ? words[i * step + 1] : 0;
      if (lo === 0 && hi === 0 && this.#zeroIsNone(level)) {
        i = skipZero(words, i + 1, count, step);
        continue;
      }
      i = this.#entry(node, level, chunk, i, lo, hi, first);
    }
  }

  readonly #zeroNone: (boolean | undefined)[] = [];

  #zeroIsNone(level: CompiledLevel): boolean {
    const known = this.#zeroNone[level.index];
    if (known !== undefined) return known;
    return (this.#zeroNone[level.index] = formOf(level, 0, 0)?.kind === 'none');
  }

  /** Of each level, the form met last whose attribute bits alone decide it. */
  readonly #met: (Attribute | undefined)[] = [];

  /** The form of a word: the one met last where the attribute bits are the same and decide it. */
  #formLike(level: CompiledLevel, lo: number, hi: number): CompiledForm | undefined {
    const last = this.#met[level.index];
    if (last !== undefined && (lo & last.mask.lo) >>> 0 === last.lo && (hi & last.mask.hi) >>> 0 === last.hi) return last.form;
    return formOf(level, lo, hi);
  }

  /** Handles the run that starts at entry i; returns the index after it. */
  #entry(node: TableNode, level: CompiledLevel, chunk: TableChunk & { words: Uint32Array }, i: number, lo: number, hi: number, first: number): number {
    const form = this.#formLike(level, lo, hi);
    if (form === undefined) {
      this.#append(first + i, this.attributes.odd('bad', level, lo, hi, node.rights).id, 0, 0);
      return i + 1;
    }
    if (form.kind === 'none') return i + 1;
    if (form.kind === 'table' || form.kind === 'hugepd') return this.#table(node, level, form, chunk, i, lo, hi);
    if (form.kind === 'nonpresent') {
      const attribute = this.attributes.of(level, form, lo, hi, node.rights);
      const offset = decodeSwap(this.#mode, level.level.name, lo, hi)?.offset ?? 0;
      this.#append(first + i, attribute.id, offset, advanceOf(attribute));
      return i + 1;
    }
    return this.#leaf(node, level, form, chunk, i, lo, hi);
  }

  /** A table entry, and the identical ones that follow it. */
  #table(node: TableNode, level: CompiledLevel, form: CompiledForm, chunk: TableChunk & { words: Uint32Array }, i: number, lo: number, hi: number): number {
    const { words, first, count, wide } = chunk;
    const attribute = this.attributes.of(level, form, lo, hi, node.rights);
    if (attribute.fast !== undefined) this.#met[level.index] = attribute;
    const next = this.#mode.levels[form.next];
    const step = wide ? 2 : 1;
    let end = i + 1;
    while (end < count && words[end * step] === lo && (!wide || words[end * step + 1] === hi)) end++;
    const { frame, offset } = this.#pointer(form, lo, hi);
    const window = windowOf(form, lo, hi);
    const push = (at: number, n: number, piece: number, torn: boolean): void => {
      const child = this.#node(frame, offset, next.index, attribute.rights, piece, window?.entries ?? next.entries, window?.first ?? 0, torn);
      this.#slots[child] = (this.#slots[child] ?? 0) + n;
      this.items.push(at, n, attribute.id, child, 0);
    };
    // A leaf larger than the slot that its directory hangs in: each slot maps its own piece of the leaf.
    const pieces = this.#leafPagesBelow(next) / level.pages;
    if (pieces > 1) {
      for (let k = i; k < end; k++) {
        const part = (first + k) % pieces;
        push(first + k, 1, part * level.pages, this.#isTorn(form, next, chunk, k - part, pieces));
      }
      return end;
    }
    push(first + i, end - i, 0, false);
    return end;
  }

  /** The slots of one leaf that were compared last. */
  #block = { words: undefined as Uint32Array | undefined, from: 0, pieces: 0, torn: false };

  /**
   * Do the slots [from, from + pieces) that one leaf takes disagree? They must hold the same directory, or tables that begin with the same entry but
   * for its address bits. Slots outside the chunk are not looked at. Each block is compared once, so the work stays that of its slots.
   */
  #isTorn(form: CompiledForm, next: CompiledLevel, chunk: TableChunk & { words: Uint32Array }, from: number, pieces: number): boolean {
    const { words, count } = chunk;
    if (from < 0 || from + pieces > count) return false;
    const last = this.#block;
    if (last.words !== words || last.from !== from || last.pieces !== pieces)
      this.#block = { words, from, pieces, torn: this.#disagree(form, next, chunk, from, pieces) };
    return this.#block.torn;
  }

  #disagree(form: CompiledForm, next: CompiledLevel, { words, wide }: TableChunk & { words: Uint32Array }, from: number, pieces: number): boolean {
    const step = wide ? 2 : 1;
    const { mask } = form.address as NonNullable<CompiledForm['address']>;
    const lo = words[from * step];
    const hi = wide ? words[from * step + 1] : 0;
    let head: string | undefined;
    for (let k = from + 1; k < from + pieces; k++) {
      const l = words[k * step];
      const h = wide ? words[k * step + 1] : 0;
      if (l === lo && h === hi) continue;
      if ((((l ^ lo) & ~mask.lo) | ((h ^ hi) & ~mask.hi)) !== 0) return true;
      head ??= this.#headOf(form, next, lo, hi);
      if (head === undefined || this.#headOf(form, next, l, h) !== head) return true;
    }
    return false;
  }

  /** What the first entry of the table behind a pointer says of its leaf: everything but the address below the leaf's size and what may differ. */
  #headOf(form: CompiledForm, next: CompiledLevel, lo: number, hi: number): string | undefined {
    const { frame, offset } = this.#pointer(form, lo, hi);
    const [chunk] = readTable(this.#mode, next, this.#source, frame, offset, 0, 1);
    const l = chunk.words?.[0] ?? 0;
    const h = chunk.wide ? (chunk.words?.[1] ?? 0) : 0;
    const leaf = formOf(next, l, h);
    if (leaf?.kind !== 'leaf' || leaf.address === undefined) return undefined;
    const group = leaf.groups.find((g) => holds(g.when, l, h));
    const pages = group?.leafPages ?? leaf.pages;
    const same = { lo: ~(leaf.address.mask.lo | (group?.differ.lo ?? 0)), hi: ~(leaf.address.mask.hi | (group?.differ.hi ?? 0)) };
    return [(l & same.lo) >>> 0, (h & same.hi) >>> 0, Math.floor(addressUnits(leaf.address, l, h, this.#mode.mode.pageShift) / pages)].join(' ');
  }

  /** Largest leaf of a level in pages, counting groups that reach over several tables. */
  #leafPagesBelow(level: CompiledLevel): number {
    return (
      this.#largest[level.index] ??
      (this.#largest[level.index] = Math.max(
        0,
        ...level.forms.filter((f) => f.kind === 'leaf').flatMap((f) => [f.pages, ...f.groups.filter((g) => g.group.size).map((g) => g.leafPages)]),
      ))
    );
  }

  readonly #largest: number[] = [];

  /** Frame and offset that a table pointer means, through the mode's rules for virtual pointers. */
  #pointer(form: CompiledForm, lo: number, hi: number): { frame: number; offset: number } {
    const address = form.address as NonNullable<CompiledForm['address']>;
    const offset = addressOffset(address, lo, hi);
    const rules = this.#mode.mode.pointers;
    if (rules === undefined) return { frame: addressUnits(address, lo, hi, FRAME_SHIFT), offset };
    const pa = pointerToPhysical(rules, lo, hi, address.mask);
    return { frame: Number(pa >> 12n), offset: Number(pa & 0xfffn) };
  }

  #leaf(node: TableNode, level: CompiledLevel, form: CompiledForm, chunk: TableChunk & { words: Uint32Array }, i: number, lo: number, hi: number): number {
    for (const group of form.groups) {
      if (!holds(group.when, lo, hi)) continue;
      const end = this.#group(node, level, form, group, chunk, i);
      if (end > i) return end;
    }
    const torn = node.torn || chunk.torn?.has(i) === true;
    const attribute = this.attributes.of(level, form, lo, hi, node.rights, torn ? { group: undefined, broken: true } : undefined);
    const address = form.address as NonNullable<CompiledForm['address']>;
    const pfn = addressUnits(address, lo, hi, this.#mode.mode.pageShift);
    const at = chunk.first + i;
    if (form.pages > level.pages) {
      // The entry stands for a leaf larger than its slot: this slot maps the piece that its place says.
      const slotPages = level.pages;
      const base = pfn - (pfn % form.pages);
      this.#append(at, attribute.id, base + ((at * slotPages + node.piece) % form.pages), slotPages);
      return i + 1;
    }
    if (attribute.fast === undefined || chunk.torn !== undefined) {
      this.#append(at, attribute.id, pfn, attribute.pages);
      return i + 1;
    }
    this.#met[level.index] = attribute;
    return this.#fastLeaves(chunk, i, attribute, attribute.fast, pfn);
  }

  /**
   * Follows leaves whose attribute bits do not change. Frames that follow one another differ by a constant in the low word, so the inner
   * loop is two integer comparisons an entry; a carry into the high word merely starts the next run, which joins the one before.
   */
  #fastLeaves(chunk: TableChunk & { words: Uint32Array }, from: number, attribute: Attribute, address: SinglePiece, firstPfn: number): number {
    const { words, first, count, wide } = chunk;
    const { loMask, loShift, hiMask, hiScale, scale } = address;
    const { mask, lo: wantLo, hi: wantHi, pages } = attribute;
    const next = (pages / scale) * 2 ** loShift;
    let i = from;
    let pfn = firstPfn;
    for (;;) {
      const start = i;
      i = wide ? followPairs(words, i, count, next) : followWords(words, i, count, next);
      this.#run(first + start, i - start, attribute.id, pfn, pages);
      if (i >= count) return i;
      const lo = wide ? words[2 * i] : words[i];
      const hi = wide ? words[2 * i + 1] : 0;
      if ((lo & mask.lo) >>> 0 !== wantLo || (hi & mask.hi) >>> 0 !== wantHi) return i;
      pfn = (((hi & hiMask) >>> 0) * hiScale + ((lo & loMask) >>> loShift)) * scale;
    }
  }

  /** Appends a run of entries that advance; single entries may join the item before. */
  #run(index: number, count: number, attribute: number, value: number, pages: number): void {
    if (count === 1) this.#append(index, attribute, value, pages);
    else if (!this.#joins(index, attribute, value, pages, count)) this.items.push(index, count, attribute, value, 1);
  }

  #joins(index: number, attribute: number, value: number, pages: number, count: number): boolean {
    const { items } = this;
    const last = items.length - 1;
    if (last < 0 || items.attribute[last] !== attribute || items.index[last] + items.count[last] !== index || last < this.#nodeFrom) return false;
    if (items.step[last] === 1 && items.value[last] + items.count[last] * pages === value) {
      items.count[last] += count;
      return true;
    }
    return false;
  }

  /** Appends one entry, joining the item before it when it continues it. `pages` is how far the value advances from entry to entry. */
  #append(index: number, attribute: number, value: number, pages: number): void {
    const { items } = this;
    const last = items.length - 1;
    if (last >= this.#nodeFrom && items.attribute[last] === attribute && items.index[last] + items.count[last] === index) {
      const n = items.count[last];
      const advances = items.value[last] + n * pages === value;
      if (n === 1) {
        if (advances || items.value[last] === value) {
          items.step[last] = advances ? 1 : 0;
          items.count[last] = 2;
          return;
        }
      } else if (items.step[last] === 1 ? advances : items.value[last] === value) {
        items.count[last] = n + 1;
        return;
      }
    }
    items.push(index, 1, attribute, value, 1);
  }

  /** A naturally aligned run that forms one leaf; a run that is incomplete or disagrees is reported entry by entry as broken, or left alone (returns i) when its mark proves nothing. */
  #group(node: TableNode, level: CompiledLevel, form: CompiledForm, group: CompiledGroup, chunk: TableChunk & { words: Uint32Array }, i: number): number {
    const n = group.group.entries;
    const at = chunk.first + i;
    const address = form.address as NonNullable<CompiledForm['address']>;
    const { words, wide, count } = chunk;
    const step = wide ? 2 : 1;
    const pageShift = this.#mode.mode.pageShift;
    const entryPages = form.pages;
    let union = { lo: words[i * step], hi: wide ? words[i * step + 1] : 0 };
    const base = addressUnits(address, union.lo, union.hi, pageShift);
    const leafBase = base - (base % group.leafPages);
    let whole = at % n === 0 && i + n <= count && !(node.torn && group.group.size !== undefined) && !chunk.torn?.has(i);
    const keepLo = ~(address.mask.lo | group.differ.lo | group.clear.lo) >>> 0;
    const keepHi = ~(address.mask.hi | group.differ.hi | group.clear.hi) >>> 0;
    for (let k = 1; whole && k < n; k++) {
      const lo = words[(i + k) * step];
      const hi = wide ? words[(i + k) * step + 1] : 0;
      if ((((lo ^ union.lo) & keepLo) | ((hi ^ union.hi) & keepHi)) !== 0 || chunk.torn?.has(i + k)) whole = false;
      const pfn = addressUnits(address, lo, hi, pageShift);
      if (
        group.group.address === 'advance'
          ? pfn !== base + k * entryPages
          : group.group.address === 'same'
            ? pfn !== base
            : pfn - (pfn % group.leafPages) !== leafBase
      )
        whole = false;
      if (group.group.decides === undefined)
        union = {
          lo: ((union.lo | (lo & group.differ.lo)) & (lo | ~group.clear.lo)) >>> 0,
          hi: ((union.hi | (hi & group.differ.hi)) & (hi | ~group.clear.hi)) >>> 0,
        };
    }
    if (group.group.address === 'advance' && base % group.leafPages !== 0) whole = false;
    if (!whole && group.group.optional) return i;
    if (!whole) {
      const attribute = this.attributes.of(level, form, words[i * step], wide ? words[i * step + 1] : 0, node.rights, { group, broken: true });
      const pfn = group.group.address === 'advance' ? base : leafBase + ((at * entryPages + node.piece) % group.leafPages);
      this.#append(at, attribute.id, pfn, entryPages);
      return i + 1;
    }
    const attribute = this.attributes.of(level, form, union.lo, union.hi, node.rights, { group, broken: false });
    const from = leafBase + ((at * entryPages + node.piece) % group.leafPages);
    if (!this.#joins(at, attribute.id, from, entryPages, n)) this.items.push(at, n, attribute.id, from, 1);
    return i + n;
  }
}

/** First entry after `i` that is not the one before it plus `step` in the low word. A carry into the high word ends the run, too. */
function followPairs(words: Uint32Array, i: number, count: number, step: number): number {
  const low = words[2 * i];
  const hi = words[2 * i + 1] | 0;
  const end = 2 * Math.min(count, i + 1 + Math.floor((0xffffffff - low) / step));
  let want = low | 0;
  let w = 2 * i + 2;
  for (; w < end; w += 2) {
    want = (want + step) | 0;
    if ((words[w] | 0) !== want || (words[w + 1] | 0) !== hi) break;
  }
  return w >> 1;
}

function followWords(words: Uint32Array, i: number, count: number, step: number): number {
  const low = words[i];
  const end = Math.min(count, i + 1 + Math.floor((0xffffffff - low) / step));
  let want = low | 0;
  let w = i + 1;
  for (; w < end; w++) {
    want = (want + step) | 0;
    if ((words[w] | 0) !== want) break;
  }
  return w;
}

/** How far an item's value advances from entry to entry: pages of memory or of swap; marker bits do not advance. */
export function advanceOf(attribute: Attribute): number {
  if (attribute.kind === 'leaf') return attribute.pages;
  return attribute.kind === 'nonpresent' && attribute.swap?.kind !== 'marker' ? attribute.pages : 0;
}

/** First entry from `i` on that is not zero. */
function skipZero(words: Uint32Array, i: number, count: number, step: number): number {
  const end = count * step;
  let w = i * step;
  while (w < end && words[w] === 0) w++;
  return Math.min(count, Math.floor(w / step));
}

/** The physical address that a table pointer, kernel virtual in the entry, means. */
export function pointerToPhysical(rules: NonNullable<CompiledMode['mode']['pointers']>, lo: number, hi: number, mask: { lo: number; hi: number }): bigint {
  const pointer = (BigInt((hi & mask.hi) >>> 0) << 32n) | BigInt((lo & mask.lo) >>> 0);
  for (const rule of rules) if ((pointer & rule.mask) === rule.value) return pointer & rule.keep;
  return pointer;
}
