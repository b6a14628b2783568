/**
 * Flattens walked tables into extents: runs equal in rights and leaf size, contiguous virtually and physically.
 *
 * A table that many entries share is expanded as a repetition (`count`, `stride`) where its contents allow, and copied out
 * otherwise. Invariants: extents come out in ascending virtual address within a range of the root; two neighbours are never mergeable;
 * batches are handed on as they fill, so the whole list need not fit in memory.
 */
import type { RootRange } from '../arch/mode.ts';
import type { Attribute } from './attributes.ts';
import { checkExpansion, expansionLimit, tooManyExtents } from './bounds.ts';
import { ExtentColumns } from './columns.ts';
import { advanceOf, type PageTables, type TableNode } from './tree.ts';

/** What all pages of an extent have in common. */
export interface ExtentClass {
  readonly id: number;
  readonly kind: 'leaf' | 'nonpresent' | 'bad' | 'missing';
  /** Pages of the leaf that each page belongs to. */
  readonly leafPages: number;
  readonly contig: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly exec: boolean;
  readonly user: boolean;
  readonly present: boolean;
  readonly global: boolean;
  readonly dirty: boolean;
  readonly accessed: boolean;
  readonly half: 'user' | 'kernel';
  readonly level: number;
  /** First attribute that has this class (broken runs are a class of their own); for bad, missing and non-present runs the only one. */
  readonly attribute: Attribute;
}

export interface ExtentOptions {
  /** Only this half. */
  readonly half?: 'user' | 'kernel';
  /** Non-present, bad and missing entries too. */
  readonly all?: boolean;
  /** Pages [from, to) of the virtual address space. */
  readonly range?: { readonly from: number; readonly to: number };
  /** Extents per batch. */
  readonly batch?: number;
}

/** Receives a batch; returning false stops. The columns are reused for the next batch. */
export type ExtentSink = (extents: ExtentColumns, classes: readonly ExtentClass[]) => boolean | undefined;

const BATCH = 65536;

/** Virtual page number of a byte address; addresses of the upper half count from 2^64. */
export const vpnOf = (va: bigint, pageShift: number): number => Number(BigInt.asUintN(64, va) >> BigInt(pageShift));

/** Hands all extents of the tables to `sink`. */
export function forEachExtent(tables: PageTables, options: ExtentOptions, sink: ExtentSink): void {
  new Flattener(tables, options, sink).run();
}

/** All extents at once: for tables that are known to be modest. */
export function extentsOf(tables: PageTables, options: ExtentOptions = {}): { columns: ExtentColumns; classes: readonly ExtentClass[] } {
  const flattener = new Flattener(tables, { ...options, batch: Number.POSITIVE_INFINITY }, () => true);
  flattener.run();
  return { columns: flattener.out, classes: flattener.classes };
}

class Flattener {
  readonly out = new ExtentColumns();
  readonly classes: ExtentClass[] = [];
  readonly #tables: PageTables;
  readonly #options: ExtentOptions;
  readonly #sink: ExtentSink;
  readonly #batch: number;
  /** Pages [from, to) to hand on: what was asked for, within the window of the range being walked. */
  #from = 0;
  #to = Number.POSITIVE_INFINITY;
  /** Class id + 1 by attribute id, for the half being walked; 0 = not yet known. */
  #classOf: Uint32Array;
  readonly #byKey = new Map<string, number>();
  #half: RootRange['half'] = 'user';
  #supervisor = false;
  #stopped = false;
  /** Items looked at so far, and how many may be. */
  #work = 0;
  readonly #limit: number;

  constructor(tables: PageTables, options: ExtentOptions, sink: ExtentSink) {
    this.#tables = tables;
    this.#options = options;
    this.#sink = sink;
    this.#batch = options.batch ?? BATCH;
    this.#limit = expansionLimit(tables);
    if (options.range === undefined) checkExpansion(tables);
    this.#classOf = new Uint32Array(tables.attributes.length);
  }

  run(): void {
    const { mode, root, nodes } = this.#tables;
    const level = mode.levels[nodes[0].level];
    for (const range of root.ranges) {
      if (this.#options.half !== undefined && range.half !== this.#options.half) continue;
      if (range.half !== this.#half) this.#classOf = new Uint32Array(this.#tables.attributes.length);
      this.#half = range.half;
      this.#supervisor = range.supervisor === true;
      this.#crop(range);
      const base = vpnOf(range.va, mode.mode.pageShift) - range.from * level.pages;
      this.#node(nodes[0], base, range.from, range.to);
      if (this.#stopped) return;
    }
    if (this.out.length > 0) this.#sink(this.out, this.classes);
  }

  #crop(range: RootRange): void {
    const shift = BigInt(this.#tables.mode.mode.pageShift);
    const page = (va: bigint): number => Number(va >> shift);
    this.#from = Math.max(this.#options.range?.from ?? 0, range.window ? page(range.window.from) : 0);
    this.#to = Math.min(this.#options.range?.to ?? Number.POSITIVE_INFINITY, range.window ? page(range.window.to) : Number.POSITIVE_INFINITY);
  }

  /** Emits entries [first, last) of a node whose entry 0 lies at `base`. */
  #node(node: TableNode, base: number, first: number, last: number): void {
    const { items, attributes, nodes, mode } = this.#tables;
    const pages = mode.levels[node.level].pages;
    this.#work += 1 + node.to - node.from;
    if (this.#work > this.#limit) throw tooManyExtents(this.#tables);
    for (let i = node.from; i < node.to && !this.#stopped; i++) {
      const from = Math.max(items.index[i], first);
      const to = Math.min(items.index[i] + items.count[i], last);
      if (from >= to) continue;
      const vpn = base + from * pages;
      if (vpn >= this.#to || vpn + (to - from) * pages <= this.#from) continue;
      const attribute = attributes[items.attribute[i]];
      if (attribute.kind === 'table' || attribute.kind === 'hugepd') this.#child(nodes[items.value[i]], vpn, to - from, pages);
      else this.#run(attribute, vpn, items.value[i] + (items.step[i] === 1 ? (from - items.index[i]) * advanceOf(attribute) : 0), to - from, items.step[i]);
    }
  }

  /** `n` neighbouring entries that point to the same table. */
  #child(child: TableNode, vpn: number, n: number, span: number): void {
    const level = this.#tables.mode.levels[child.level];
    if (n > 1 && this.#whole(vpn, n * span) && this.#repeatable(child, span)) {
      const before = this.out.length;
      const barrier = this.#barrier;
      this.#barrier = before;
      this.#repeating++;
      this.#node(child, vpn, 0, level.entries);
      this.#repeating--;
      this.#barrier = barrier;
      this.#repeat(before, n, span);
      return;
    }
    for (let k = 0; k < n && !this.#stopped; k++) {
      const at = vpn + k * span;
      if (at >= this.#to) return;
      if (at + span > this.#from) this.#node(child, at, 0, level.entries);
    }
  }

  /** Extents before this index must not be merged with: they lie outside the repetition being built. */
  #barrier = 0;
  /** Depth of repetitions being built: their extents may not be handed on yet. */
  #repeating = 0;

  #whole(vpn: number, pages: number): boolean {
    return vpn >= this.#from && vpn + pages <= this.#to;
  }

  readonly #repeatability = new Map<number, boolean>();

  /**
   * A subtable can be given as a repetition when none of its own extents repeats, or when its only extent repeats through the whole of it:
   * an extent has one (count, stride) only.
   */
  #repeatable(node: TableNode, span: number): boolean {
    const known = this.#repeatability.get(node.id);
    if (known !== undefined) return known;
    const { items, attributes, nodes, mode } = this.#tables;
    let ok = true;
    const level = mode.levels[node.level];
    const only = node.to - node.from === 1 && items.count[node.from] === level.entries && level.entries * level.pages === span;
    for (let i = node.from; i < node.to && ok; i++) {
      const kind = attributes[items.attribute[i]].kind;
      const down = kind === 'table' || kind === 'hugepd';
      if (down) ok = this.#repeatable(nodes[items.value[i]], level.pages) && (items.count[i] === 1 ? !this.#repeats(nodes[items.value[i]]) || only : only);
      else if (items.step[i] === 0 && items.count[i] > 1) ok = only;
    }
    // More extents than fit a batch must be streamed, not held back for a repetition.
    this.#repeatability.set(node.id, ok);
    return ok;
  }

  /** Does any extent of a repeatable node repeat already? */
  #repeats(node: TableNode): boolean {
    const { items, attributes, nodes } = this.#tables;
    for (let i = node.from; i < node.to; i++) {
      const kind = attributes[items.attribute[i]].kind;
      if (kind === 'table' || kind === 'hugepd' ? items.count[i] > 1 || this.#repeats(nodes[items.value[i]]) : items.step[i] === 0 && items.count[i] > 1)
        return true;
    }
    return false;
  }

  /** Makes the extents from `before` on repeat n times, `span` pages apart. */
  #repeat(before: number, n: number, span: number): void {
    const { out } = this;
    for (let i = before; i < out.length; i++) {
      if (out.count[i] > 1) out.count[i] *= n;
      else {
        out.count[i] = n;
        out.stride[i] = span;
      }
    }
  }

  #run(attribute: Attribute, vpn: number, value: number, n: number, step: number): void {
    if (attribute.kind !== 'leaf' && this.#options.all !== true) return;
    const kind = this.#classFor(attribute);
    if (attribute.kind === 'leaf' && step === 0 && n > 1) {
      if (!this.#whole(vpn, n * attribute.pages)) {
        for (let k = 0; k < n; k++) this.#run(attribute, vpn + k * attribute.pages, value, 1, 1);
        return;
      }
      this.#emit(vpn, value, attribute.pages, kind, n, attribute.pages);
      return;
    }
    const pages = attribute.pages * n;
    if (attribute.kind !== 'leaf') {
      this.#emit(vpn, value, pages, kind, 1, 0);
      return;
    }
    // Cropping to the asked range happens here, page by page within a leaf.
    const from = Math.max(vpn, this.#from);
    const to = Math.min(vpn + pages, this.#to);
    if (from >= to) return;
    this.#emit(from, value + (from - vpn), to - from, kind, 1, 0);
  }

  #emit(vpn: number, pfn: number, pages: number, kind: number, count: number, stride: number): void {
    const { out } = this;
    const last = out.length - 1;
    if (last >= this.#barrier && out.kind[last] === kind && this.#merge(last, vpn, pfn, pages, kind, count, stride)) return;
    if (out.length >= this.#batch && this.#repeating === 0) {
      if (this.#sink(out, this.classes) === false) this.#stopped = true;
      out.length = 0;
    }
    out.push(vpn, pfn, pages, kind, count, stride);
  }

  /** Joins an extent to the one before it where both are contiguous in both address spaces. */
  #merge(last: number, vpn: number, pfn: number, pages: number, kind: number, count: number, stride: number): boolean {
    const { out } = this;
    const cls = this.classes[kind];
    if (count === 1 && out.count[last] === 1) {
      const advance = advanceOf(cls.attribute) === 0 ? 0 : out.pages[last];
      const follows = out.pfn[last] + advance === pfn;
      if (out.vpn[last] + out.pages[last] !== vpn || !follows) return false;
      out.pages[last] += pages;
      return true;
    }
    if (
      count > 1 &&
      out.count[last] > 1 &&
      out.stride[last] === stride &&
      out.pages[last] === pages &&
      out.pfn[last] === pfn &&
      out.vpn[last] + out.count[last] * stride === vpn
    ) {
      out.count[last] += count;
      return true;
    }
    return false;
  }

  #classFor(attribute: Attribute): number {
    const known = this.#classOf[attribute.id];
    if (known !== 0) return known - 1;
    const leaf = attribute.kind === 'leaf';
    const r = attribute.rights;
    const user = r.user && !this.#supervisor;
    const bits = [r.read, r.write, r.exec, user, attribute.present, attribute.global, attribute.dirty, attribute.accessed].map((b) => (b ? 1 : 0)).join('');
    const key = leaf ? `${attribute.leafPages} ${attribute.contig} ${attribute.broken} ${bits} ${this.#half}` : `${attribute.id} ${this.#half}`;
    let id = this.#byKey.get(key);
    if (id === undefined) {
      id = this.classes.length;
      this.#byKey.set(key, id);
      this.classes.push({
        id,
        kind: attribute.kind as ExtentClass['kind'],
        leafPages: attribute.leafPages,
        contig: attribute.contig,
        read: r.read,
        write: r.write,
        exec: r.exec,
        user,
        present: attribute.present,
        global: attribute.global,
        dirty: attribute.dirty,
        accessed: attribute.accessed,
        half: this.#half,
        level: attribute.level,
        attribute,
      });
    }
    this.#classOf[attribute.id] = id + 1;
    return id;
  }
}
