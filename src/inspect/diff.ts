/**
 * What differs between two address spaces: of two images, or of one.
 *
 * Invariants: differences come in ascending virtual address and do not overlap; neighbours that differ in the same way, and go on in both physical
 * spaces, are one row; both sides' page sizes are equal. A repeated extent that both sides have alike costs nothing; one that differs is unfolded
 * up to a bound, and beyond it given as a whole (`count`, `stride`).
 */
import { PxdError } from '../pagetable/error.ts';
import { type ExtentClass, type ExtentOptions, forEachExtent } from '../pagetable/extents.ts';
import { advanceOf, type PageTables } from '../pagetable/tree.ts';
import { flagsOf, PRESENT, rightsText, sortedBy } from './aliases.ts';
import { hexPage, pageSizeText } from './draw-text.ts';

/** What one side has at an address. */
export interface Side {
  /** First frame, or swap offset. */
  readonly value: number;
  readonly kind: SideKind;
}

/** What is compared beside the frame. */
export interface SideKind {
  readonly id: number;
  readonly kind: 'leaf' | 'nonpresent' | 'bad' | 'missing';
  /** `rwxu`, `none` where the frame is kept but nothing allowed; the swap kind for non-present entries. */
  readonly rights: string;
  readonly leafPages: number;
  /** Further flags, compared only when asked: global, dirty, accessed. */
  readonly more: string;
  /** Pages by which `value` advances a page: 1, or 0 for markers. */
  readonly advance: number;
}

export interface Difference {
  readonly what: 'added' | 'removed' | 'changed';
  readonly vpn: number;
  readonly pages: number;
  readonly before: Side | undefined;
  readonly after: Side | undefined;
  /** Of `changed`: which of frame, rights, size, state, flags. */
  readonly changed: readonly string[];
  /** More than 1 for a repetition that was not unfolded. */
  readonly count: number;
  readonly stride: number;
}

export interface DiffOptions extends Pick<ExtentOptions, 'half' | 'range' | 'all'> {
  /** Global, dirty and accessed bits count too. */
  readonly exact?: boolean;
  /** Most repetitions that are unfolded. */
  readonly maxUnfolded?: number;
}

const MAX_UNFOLDED = 1_000_000;
const MAX_ROWS = 3_000_000;

/** Differences between the address spaces that two lists of tables make up. @throws {PxdError} when their page sizes differ. */
export function diff(before: readonly PageTables[], after: readonly PageTables[], options: DiffOptions = {}): Difference[] {
  const shifts = new Set([...before, ...after].map((t) => t.mode.mode.pageShift));
  if (shifts.size > 1)
    throw new PxdError('usage', `address spaces with different page sizes cannot be compared: ${[...shifts].map((s) => pageSizeText(2 ** s)).join(' and ')}`);
  const kinds = new Kinds(options.exact === true);
  const a = new Rows(before, kinds, options);
  const b = new Rows(after, kinds, options);
  const out: Difference[] = [];
  dropEqualRepeats(a, b);
  const budget = { left: options.maxUnfolded ?? MAX_UNFOLDED };
  a.unfold(budget, (row) => out.push(whole('removed', a, row, kinds)));
  b.unfold(budget, (row) => out.push(whole('added', b, row, kinds)));
  sweep(a.sorted(), b.sorted(), kinds, out);
  return out.sort((x, y) => x.vpn - y.vpn);
}

function whole(what: 'added' | 'removed', rows: Rows, row: number, kinds: Kinds): Difference {
  const side = { value: rows.value[row], kind: kinds.list[rows.kind[row]] };
  return {
    what,
    vpn: rows.vpn[row],
    pages: rows.pages[row],
    before: what === 'removed' ? side : undefined,
    after: what === 'added' ? side : undefined,
    changed: [],
    count: rows.count[row],
    stride: rows.stride[row],
  };
}

/** Interns what is compared, so that the sweep compares numbers. */
class Kinds {
  readonly list: SideKind[] = [];
  readonly #exact: boolean;
  readonly #ids = new Map<string, number>();

  constructor(exact: boolean) {
    this.#exact = exact;
  }

  of(cls: ExtentClass): number {
    const flags = flagsOf(cls);
    const rights = cls.kind === 'leaf' ? (flags & PRESENT ? rightsText(flags) : 'none') : nonPresentText(cls);
    const more = [cls.global ? 'global' : '', cls.dirty ? 'dirty' : '', cls.accessed ? 'accessed' : ''].filter((s) => s !== '').join(' ');
    const advance = cls.kind === 'leaf' || advanceOf(cls.attribute) > 0 ? 1 : 0;
    const key = `${cls.kind} ${rights} ${cls.leafPages} ${this.#exact ? more : ''} ${advance}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    this.#ids.set(key, this.list.length);
    this.list.push({ id: this.list.length, kind: cls.kind, rights, leafPages: cls.leafPages, more: this.#exact ? more : '', advance });
    return this.list.length - 1;
  }
}

function nonPresentText(cls: ExtentClass): string {
  const { swap } = cls.attribute;
  if (cls.kind !== 'nonpresent') return cls.kind;
  return swap === undefined || cls.half === 'kernel'
    ? 'non-present'
    : `${swap.kind}${swap.kind === 'swap' ? ` ${swap.type}` : ''}${swap.access ? ` ${swap.access}` : ''}${swap.marker ? ` ${swap.marker.join(' ')}` : ''}`;
}

/** Extents of one side as plain arrays. */
class Rows {
  vpn: number[] = [];
  pages: number[] = [];
  value: number[] = [];
  kind: number[] = [];
  count: number[] = [];
  stride: number[] = [];

  constructor(tables: readonly PageTables[], kinds: Kinds, options: DiffOptions) {
    for (const one of tables)
      forEachExtent(
        one,
        { ...(options.half ? { half: options.half } : {}), ...(options.range ? { range: options.range } : {}), all: options.all === true },
        (extents, classes) => {
          if (this.length > MAX_ROWS) throw new PxdError('limit', `an address space has more than ${MAX_ROWS} extents; compare a --range of it`);
          for (let i = 0; i < extents.length; i++)
            this.push(extents.vpn[i], extents.pages[i], extents.pfn[i], kinds.of(classes[extents.kind[i]]), extents.count[i], extents.stride[i]);
          return true;
        },
      );
  }

  get length(): number {
    return this.vpn.length;
  }

  push(vpn: number, pages: number, value: number, kind: number, count: number, stride: number): void {
    this.vpn.push(vpn);
    this.pages.push(pages);
    this.value.push(value);
    this.kind.push(kind);
    this.count.push(count);
    this.stride.push(stride);
  }

  keep(wanted: (row: number) => boolean): void {
    const rows = this.vpn.map((_, i) => i).filter(wanted);
    for (const name of ['vpn', 'pages', 'value', 'kind', 'count', 'stride'] as const) {
      const column = this[name];
      this[name] = rows.map((i) => column[i]);
    }
  }

  /** Turns repetitions into single rows while the budget lasts; the others go to `opaque` and away. */
  unfold(budget: { left: number }, opaque: (row: number) => void): void {
    const n = this.length;
    let repeated = false;
    for (let i = 0; i < n; i++) {
      if (this.count[i] === 1) continue;
      repeated = true;
      if (this.count[i] > budget.left) {
        opaque(i);
        continue;
      }
      budget.left -= this.count[i];
      for (let k = 0; k < this.count[i]; k++) this.push(this.vpn[i] + k * this.stride[i], this.pages[i], this.value[i], this.kind[i], 1, 0);
    }
    if (repeated) this.keep((i) => this.count[i] === 1);
  }

  sorted(): Rows {
    const order = Array.from(sortedBy(Float64Array.from(this.vpn), this.length));
    for (const name of ['vpn', 'pages', 'value', 'kind'] as const) {
      const column = this[name];
      this[name] = order.map((i) => column[i]);
    }
    return this;
  }
}

function dropEqualRepeats(a: Rows, b: Rows): void {
  const byPlace = new Map<number, number>();
  for (let i = 0; i < a.length; i++) if (a.count[i] > 1) byPlace.set(a.vpn[i], i);
  const dropA = new Set<number>();
  const dropB = new Set<number>();
  for (let j = 0; j < b.length; j++) {
    const i = b.count[j] > 1 ? byPlace.get(b.vpn[j]) : undefined;
    if (i === undefined) continue;
    if (a.pages[i] !== b.pages[j] || a.value[i] !== b.value[j] || a.kind[i] !== b.kind[j] || a.count[i] !== b.count[j] || a.stride[i] !== b.stride[j]) continue;
    dropA.add(i);
    dropB.add(j);
  }
  if (dropA.size === 0) return;
  a.keep((i) => !dropA.has(i));
  b.keep((j) => !dropB.has(j));
}

/** Both sides in step, from boundary to boundary. */
function sweep(a: Rows, b: Rows, kinds: Kinds, out: Difference[]): void {
  const writer = new Writer(kinds, out);
  let at = 0;
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const startA = i < a.length ? Math.max(a.vpn[i], at) : Number.POSITIVE_INFINITY;
    const startB = j < b.length ? Math.max(b.vpn[j], at) : Number.POSITIVE_INFINITY;
    at = Math.min(startA, startB);
    const inA = startA === at;
    const inB = startB === at;
    const endA = inA ? a.vpn[i] + a.pages[i] : startA;
    const endB = inB ? b.vpn[j] + b.pages[j] : startB;
    const end = Math.min(endA, endB);
    if (inA && inB) writer.both(at, end - at, a, i, b, j);
    else if (inA) writer.one('removed', at, end - at, a, i);
    else writer.one('added', at, end - at, b, j);
    at = end;
    if (inA && end === endA) i++;
    if (inB && end === endB) j++;
  }
  writer.flush();
}

interface Place {
  readonly value: number;
  readonly kind: number;
}

interface OpenRow {
  readonly what: Difference['what'];
  readonly vpn: number;
  pages: number;
  readonly before?: Place;
  readonly after?: Place;
}

/** Joins what goes on before it becomes a row. */
class Writer {
  readonly #kinds: Kinds;
  readonly #out: Difference[];
  #open: OpenRow | undefined;

  constructor(kinds: Kinds, out: Difference[]) {
    this.#kinds = kinds;
    this.#out = out;
  }

  #at(rows: Rows, row: number, vpn: number): Place {
    const kind = rows.kind[row];
    return { kind, value: rows.value[row] + (vpn - rows.vpn[row]) * this.#kinds.list[kind].advance };
  }

  both(vpn: number, pages: number, a: Rows, i: number, b: Rows, j: number): void {
    const before = this.#at(a, i, vpn);
    const after = this.#at(b, j, vpn);
    if (before.kind === after.kind && before.value === after.value) this.flush();
    else this.#add({ what: 'changed', vpn, pages, before, after });
  }

  one(what: 'added' | 'removed', vpn: number, pages: number, rows: Rows, row: number): void {
    const side = this.#at(rows, row, vpn);
    this.#add(what === 'added' ? { what, vpn, pages, after: side } : { what, vpn, pages, before: side });
  }

  #add(next: OpenRow): void {
    const last = this.#open;
    if (
      last &&
      last.what === next.what &&
      last.vpn + last.pages === next.vpn &&
      this.#goesOn(last.before, next.before, last.pages) &&
      this.#goesOn(last.after, next.after, last.pages)
    ) {
      last.pages += next.pages;
      return;
    }
    this.flush();
    this.#open = next;
  }

  #goesOn(a: Place | undefined, b: Place | undefined, pages: number): boolean {
    if (a === undefined || b === undefined) return a === b;
    return a.kind === b.kind && a.value + pages * this.#kinds.list[a.kind].advance === b.value;
  }

  flush(): void {
    const d = this.#open;
    this.#open = undefined;
    if (!d) return;
    const side = (s: Place | undefined): Side | undefined => s && { value: s.value, kind: this.#kinds.list[s.kind] };
    const before = side(d.before);
    const after = side(d.after);
    this.#out.push({ what: d.what, vpn: d.vpn, pages: d.pages, before, after, changed: before && after ? changes(before, after) : [], count: 1, stride: 0 });
  }
}

function changes(a: Side, b: Side): string[] {
  const found: string[] = [];
  if (a.kind.kind !== b.kind.kind) found.push('state');
  else {
    if (a.value !== b.value) found.push(a.kind.kind === 'leaf' ? 'frame' : 'offset');
    if (a.kind.rights !== b.kind.rights) found.push(a.kind.kind === 'leaf' ? 'rights' : 'state');
    if (a.kind.leafPages !== b.kind.leafPages) found.push('size');
    if (a.kind.more !== b.kind.more) found.push('flags');
  }
  return found;
}

// ---- for people and programs ----

/** One side in words: `0x1c9fc000 rw-u 4K`. */
export function sideText(side: Side, pageShift: number): string {
  const { kind } = side;
  const more = kind.more ? ` ${kind.more}` : '';
  if (kind.kind === 'leaf') return `${hexPage(side.value, pageShift)} ${kind.rights} ${pageSizeText(kind.leafPages * 2 ** pageShift)}${more}`;
  return kind.kind === 'nonpresent' ? `${kind.rights} 0x${side.value.toString(16)}` : kind.rights;
}

const sideJson = (side: Side, pageShift: number): Record<string, unknown> => ({
  kind: side.kind.kind,
  ...(side.kind.kind === 'leaf' ? { pa: hexPage(side.value, pageShift) } : { offset: `0x${side.value.toString(16)}` }),
  rights: side.kind.rights,
  page: side.kind.leafPages * 2 ** pageShift,
  ...(side.kind.more ? { flags: side.kind.more.split(' ') } : {}),
});

export const differenceJson = (d: Difference, pageShift: number): Record<string, unknown> => ({
  what: d.what,
  va: hexPage(d.vpn, pageShift),
  bytes: d.pages * 2 ** pageShift,
  ...(d.before ? { before: sideJson(d.before, pageShift) } : {}),
  ...(d.after ? { after: sideJson(d.after, pageShift) } : {}),
  ...(d.changed.length > 0 ? { changed: d.changed } : {}),
  ...(d.count > 1 ? { count: d.count, stride: d.stride * 2 ** pageShift } : {}),
});
