/**
 * Folds the extents of an address space into a tree that people can look at: areas, the tables they lie in, and what repeats.
 *
 * An *area* is a run of pages alike in rights, leaf size and kind, contiguous virtually; how many pieces it is physically is counted, never hidden.
 * Areas hang below the table entries that hold them; an entry with one thing below it is passed through; siblings of equal shape at equal
 * distances are one node with a count.
 *
 * Invariants: totals of a node are those of all it stands for, repetitions multiplied out; the number of areas is bounded, beyond it neighbours
 * are joined into mixed areas, which say so.
 */
import type { ExtentClass } from '../pagetable/extents.ts';
import type { PageTables } from '../pagetable/tree.ts';
import { forEachRow, kindOfSwap, type RowOptions } from './leaves.ts';
import type { NamedRegion } from './regions.ts';
import { rightsLetters } from './text.ts';

/** What the pages of an area have in common. */
export interface AreaKind {
  readonly id: number;
  /** `rwxu`, empty for entries that are not present. */
  readonly rights: string;
  readonly leafPages: number;
  readonly contig: number;
  /** `leaf`, `PROT_NONE`, or the kind of a non-present entry. */
  readonly what: string;
  readonly half: 'user' | 'kernel';
}

export interface Sum {
  readonly kind: AreaKind;
  pages: number;
}

export interface Node {
  vpn: number;
  /** Pages from the first to behind the last one that is mapped, of one repetition. */
  pages: number;
  /** How often this repeats, `stride` pages apart. */
  count: number;
  stride: number;
  /** Pages mapped by kind, repetitions multiplied out. */
  readonly sums: Sum[];
  /** Physically contiguous pieces of one repetition; areas only. */
  runs: number;
  /** First frame; areas of leaves only. */
  readonly pfn: number | undefined;
  readonly children: Node[];
  /** Level whose entry this is, and its index; -1 for areas and regions. */
  readonly level: number;
  readonly index: number;
  /** Region's name. */
  readonly name?: string;
  readonly guessed?: boolean;
  /** Equal shapes have equal numbers. */
  shape: number;
  /** Areas below, folded ones counted once. */
  areas: number;
}

export interface Folded {
  readonly half: 'user' | 'kernel';
  readonly regions: readonly Node[];
  readonly sums: readonly Sum[];
  /** Tables and parts of tables that the image lacks. */
  readonly missing: number;
}

/** Beyond this, areas of one lowest table are joined as they come. */
const MOST_AREAS = 60_000;

/** Reads one half of an address space. */
export function foldHalf(tables: PageTables, half: 'user' | 'kernel', regions: readonly NamedRegion[], options: Omit<RowOptions, 'half'> = {}): Folded {
  const folder = new Folder(tables, half, regions);
  const missing = forEachRow(tables, { all: true, ...options, half }, (e, i, cls) => folder.add(e.vpn[i], e.pfn[i], e.pages[i], e.count[i], e.stride[i], cls));
  return { half, regions: folder.finish(), sums: folder.sums, missing: missing.tables };
}

class Folder {
  readonly #tables: PageTables;
  readonly #half: 'user' | 'kernel';
  readonly #regions: readonly NamedRegion[];
  /** Pages that one entry of each level spans, top down. */
  readonly #spans: readonly number[];
  readonly #kinds = new Map<ExtentClass, AreaKind>();
  readonly #kindByKey = new Map<string, AreaKind>();
  readonly #shapes = new Map<string, number>();
  readonly #areas: { area: Node; region: number }[] = [];
  #region = 0;

  constructor(tables: PageTables, half: 'user' | 'kernel', regions: readonly NamedRegion[]) {
    this.#tables = tables;
    this.#half = half;
    this.#regions = regions;
    this.#spans = tables.mode.levels.map((l) => l.pages);
  }

  add(vpn: number, pfn: number, pages: number, count: number, stride: number, cls: ExtentClass): void {
    const kind = this.#kindOf(cls);
    while (this.#region < this.#regions.length && this.#regions[this.#region].end <= vpn) this.#region++;
    const region = this.#region < this.#regions.length && this.#regions[this.#region].start <= vpn ? this.#region : -1 - this.#region;
    const last = this.#areas[this.#areas.length - 1];
    if (last !== undefined && last.region === region && count === 1 && last.area.count === 1) {
      const { area } = last;
      const joins = area.vpn + area.pages === vpn && area.sums.length === 1 && area.sums[0].kind === kind;
      if (joins || (this.#areas.length > MOST_AREAS && this.#sameTable(area.vpn, vpn))) {
        area.pages = vpn + pages - area.vpn;
        area.runs++;
        addSum(area.sums, kind, pages);
        return;
      }
    }
    const area: Node = {
      vpn,
      pages,
      count,
      stride,
      sums: [{ kind, pages: pages * count }],
      runs: 1,
      pfn: cls.kind === 'leaf' ? pfn : undefined,
      children: [],
      level: -1,
      index: -1,
      shape: 0,
      areas: 1,
    };
    this.#areas.push({ area, region });
  }

  #sameTable(a: number, b: number): boolean {
    const span = this.#spans[Math.max(0, this.#spans.length - 2)];
    return Math.floor(a / span) === Math.floor(b / span);
  }

  #kindOf(cls: ExtentClass): AreaKind {
    const known = this.#kinds.get(cls);
    if (known) return known;
    const leaf = cls.kind === 'leaf';
    const what = leaf ? (cls.present ? 'leaf' : 'PROT_NONE') : cls.kind === 'bad' ? 'bad' : kindOfSwap(cls.attribute.swap, cls.half);
    const rights = leaf ? rightsLetters(cls) : '';
    const key = `${what} ${rights} ${cls.leafPages} ${leaf ? cls.contig : 1}`;
    let kind = this.#kindByKey.get(key);
    if (kind === undefined) {
      kind = { id: this.#kindByKey.size, rights, leafPages: cls.leafPages, contig: leaf ? cls.contig : 1, what, half: this.#half };
      this.#kindByKey.set(key, kind);
    }
    this.#kinds.set(cls, kind);
    return kind;
  }

  /** Totals over everything. */
  readonly sums: Sum[] = [];

  finish(): Node[] {
    const out: Node[] = [];
    for (let i = 0; i < this.#areas.length; ) {
      const { region } = this.#areas[i];
      const list: Node[] = [];
      for (; i < this.#areas.length && this.#areas[i].region === region; i++) list.push(this.#areas[i].area);
      for (const area of list) for (const s of area.sums) addSum(this.sums, s.kind, s.pages);
      const below = this.#group(list, 0);
      // The user half has no named parts: its areas stand for themselves.
      if (this.#half === 'user') out.push(...below);
      else out.push(this.#regionNode(region, below.length === 1 && below[0].count === 1 && below[0].children.length > 0 ? below[0].children : below));
    }
    return out;
  }

  #regionNode(region: number, children: Node[]): Node {
    const named = region >= 0 ? this.#regions[region] : undefined;
    const node = this.#parent(children, -1, -1);
    return { ...node, name: named?.name ?? '', guessed: named?.guessed ?? false };
  }

  /** Areas below one table of a level, sorted into its entries. */
  #group(areas: Node[], level: number): Node[] {
    if (level >= this.#spans.length - 1 || areas.length <= 1) return this.#foldRepeats(areas);
    const span = this.#spans[level];
    const out: Node[] = [];
    for (let i = 0; i < areas.length; ) {
      const entry = Math.floor(areas[i].vpn / span);
      const list: Node[] = [];
      // An area that reaches beyond its entry stands beside the entries, not below one.
      for (; i < areas.length && Math.floor(areas[i].vpn / span) === entry && endOf(areas[i]) <= (entry + 1) * span; i++) list.push(areas[i]);
      if (list.length === 0) out.push(areas[i++]);
      else {
        const below = this.#group(list, level + 1);
        out.push(...(below.length === 1 ? below : [this.#parent(below, level, entry % 2 ** this.#tables.mode.levels[level].level.bits)]));
      }
    }
    return this.#foldRepeats(out);
  }

  #parent(children: Node[], level: number, index: number): Node {
    const first = children[0];
    const last = children[children.length - 1];
    const sums: Sum[] = [];
    let areas = 0;
    for (const c of children) {
      areas += c.areas;
      for (const s of c.sums) addSum(sums, s.kind, s.pages);
    }
    return { vpn: first.vpn, pages: endOf(last) - first.vpn, count: 1, stride: 0, sums, runs: 0, pfn: undefined, children, level, index, shape: 0, areas };
  }

  /** Joins siblings of one shape at equal distances, three or more of them. */
  #foldRepeats(nodes: Node[]): Node[] {
    for (const n of nodes) if (n.shape === 0) n.shape = this.#shapeOf(n);
    const out: Node[] = [];
    for (let i = 0; i < nodes.length; ) {
      const first = nodes[i];
      const distance = i + 1 < nodes.length ? nodes[i + 1].vpn - first.vpn : 0;
      let n = 1;
      if (first.count === 1) while (i + n < nodes.length && nodes[i + n].shape === first.shape && nodes[i + n].vpn - nodes[i + n - 1].vpn === distance) n++;
      if (n < 3) {
        out.push(first);
        i++;
        continue;
      }
      const sums = first.sums.map((s) => ({ kind: s.kind, pages: s.pages * n }));
      const folded: Node = { ...first, sums, count: n, stride: distance, shape: 0 };
      folded.shape = this.#shapeOf(folded);
      out.push(folded);
      i += n;
    }
    return out;
  }

  #shapeOf(n: Node): number {
    const below = n.children.length > 0 ? n.children.map((c) => `${c.vpn - n.vpn}:${c.shape}`).join() : n.sums.map((s) => s.kind.id).join();
    const key = `${n.pages} ${n.count} ${n.stride} ${below}`;
    const known = this.#shapes.get(key);
    if (known !== undefined) return known;
    this.#shapes.set(key, this.#shapes.size + 1);
    return this.#shapes.size;
  }
}

/** Behind the last page of the last repetition. */
export const endOf = (n: Node): number => n.vpn + (n.count - 1) * n.stride + n.pages;

function addSum(sums: Sum[], kind: AreaKind, pages: number): void {
  const known = sums.find((s) => s.kind === kind);
  if (known) known.pages += pages;
  else sums.push({ kind, pages });
}
