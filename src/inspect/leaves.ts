/**
 * Extents as rows for people and programs: filter, totals, and the text of each format.
 *
 * Rows are made in batches from typed columns and written at once; nothing keeps them. Invariant: in JSON an extent's keys come in the documented order,
 * `bytes` is one repetition, `contig` the entries of the group (1 when none), `stride` bytes and only there when `count` > 1.
 */
import type { ExtentColumns } from '../pagetable/columns.ts';
import { type ExtentClass, forEachExtent } from '../pagetable/extents.ts';
import type { SwapEntry } from '../pagetable/swap.ts';
import { advanceOf, type PageTables } from '../pagetable/tree.ts';
import { addressDigits, grouped, pageBytes, pageHex, plural, rightsLetters, sizeOf } from './text.ts';
import { emptyRow, type Filter, type FilterRow } from './where.ts';

export interface RowOptions {
  readonly half?: 'user' | 'kernel';
  readonly range?: { readonly from: number; readonly to: number };
  /** Non-present entries too. */
  readonly all?: boolean;
  readonly where?: Filter;
}

/** One kept extent of a batch: indexes and numbers only. */
export type RowSink = (extents: ExtentColumns, i: number, cls: ExtentClass) => void;

export type NonPresentKind = 'swap' | 'migration' | 'device-private' | 'device-exclusive' | 'hwpoison' | 'marker' | 'unknown';

/**
 * The kind that a non-present entry is listed under; errors that swapping in left behind have none of their own. Linux swaps nothing of its own half: what
 * looks like a swap entry there is a page whose present bit was taken away (x86: set_memory_np()), so its word means nothing by itself.
 */
export const kindOfSwap = (swap: SwapEntry | undefined, half: 'user' | 'kernel'): NonPresentKind =>
  swap === undefined || swap.kind === 'swapin-error' || half === 'kernel' ? 'unknown' : swap.kind;

/** How many rows were handed on, and tables, or parts of them, that the image lacks: never rows, but never silent either. */
export interface Missing {
  rows: number;
  tables: number;
  /** First page that cannot be told. */
  readonly first: number[];
}

/** Hands on every extent that the options keep; what lies beyond the image is counted in `missing`. `batchDone` runs after each batch. */
export function forEachRow(tables: PageTables, options: RowOptions, sink: RowSink, batchDone?: () => void): Missing {
  const missing: Missing = { rows: 0, tables: 0, first: [] };
  const row = emptyRow();
  const fill = rowFiller(tables);
  const { where, all } = options;
  forEachExtent(
    tables,
    { all: true, batch: 16384, ...(options.half ? { half: options.half } : {}), ...(options.range ? { range: options.range } : {}) },
    (extents, classes) => {
      for (let i = 0; i < extents.length; i++) {
        const cls = classes[extents.kind[i]];
        if (cls.kind !== 'leaf') {
          if (cls.kind === 'missing') {
            missing.tables += extents.count[i];
            if (missing.first.length === 0) missing.first.push(extents.vpn[i]);
            continue;
          }
          if (all !== true) continue;
        }
        if (where !== undefined) {
          fill(row, extents, i, cls);
          if (!where(row)) continue;
        }
        missing.rows++;
        sink(extents, i, cls);
      }
      batchDone?.();
      return true;
    },
  );
  return missing;
}

/** Fills the row that filters look at. */
function rowFiller(tables: PageTables): (row: FilterRow, extents: ExtentColumns, i: number, cls: ExtentClass) => void {
  const size = 2 ** tables.mode.mode.pageShift;
  const levels = tables.mode.levels.map((l) => l.level.name);
  return (row, extents, i, cls) => {
    const leaf = cls.kind === 'leaf';
    row.va = extents.vpn[i] * size;
    row.pa = leaf ? extents.pfn[i] * size : -1;
    row.bytes = extents.pages[i] * size;
    row.page = cls.leafPages * size;
    row.read = leaf && cls.read;
    row.write = leaf && cls.write;
    row.exec = leaf && cls.exec;
    row.user = leaf && cls.user;
    row.present = leaf && cls.present;
    row.global = leaf && cls.global;
    row.dirty = leaf && cls.dirty;
    row.accessed = leaf && cls.accessed;
    row.contig = leaf ? cls.contig : 1;
    row.count = extents.count[i];
    row.stride = extents.stride[i] * size;
    row.kind = leaf ? 'leaf' : kindOfSwap(cls.attribute.swap, cls.half);
    row.swapType = cls.attribute.swap?.type ?? -1;
    row.swapOffset = leaf ? -1 : extents.pfn[i];
    row.half = cls.half;
    row.level = levels[cls.level];
  };
}

/** Writes extents as JSON, one object a line. */
export function jsonlWriter(tables: PageTables, write: (text: string) => void): { sink: RowSink; batchDone: () => void } {
  const shift = tables.mode.mode.pageShift;
  const size = 2 ** shift;
  const middles = new Map<ExtentClass, string>();
  let lines: string[] = [];
  const sink: RowSink = (e, i, cls) => {
    if (cls.kind !== 'leaf') {
      lines.push(nonPresentJson(tables, e, i, cls));
      return;
    }
    let middle = middles.get(cls);
    if (middle === undefined) {
      middle =
        `,"page":${cls.leafPages * size},"read":${cls.read},"write":${cls.write},"exec":${cls.exec},"user":${cls.user},"present":${cls.present},` +
        `"global":${cls.global},"dirty":${cls.dirty},"accessed":${cls.accessed},"contig":${cls.contig},"count":`;
      middles.set(cls, middle);
    }
    const count = e.count[i];
    const tail = count === 1 ? '1}' : `${count},"stride":${e.stride[i] * size}}`;
    lines.push(`{"va":"0x${pageHex(e.vpn[i], shift)}","pa":"0x${pageHex(e.pfn[i], shift)}","bytes":${e.pages[i] * size}${middle}${tail}`);
  };
  const batchDone = (): void => {
    if (lines.length > 0) write(`${lines.join('\n')}\n`);
    lines = [];
  };
  return { sink, batchDone };
}

function nonPresentJson(tables: PageTables, e: ExtentColumns, i: number, cls: ExtentClass): string {
  const shift = tables.mode.mode.pageShift;
  const swap = cls.attribute.swap;
  const count = e.count[i];
  const repeat = count === 1 ? '' : `,"count":${count},"stride":${e.stride[i] * 2 ** shift}`;
  const told = swap === undefined ? '' : `,"swapType":${swap.type},"swapOffset":"0x${e.pfn[i].toString(16)}"`;
  return `{"va":"0x${pageHex(e.vpn[i], shift)}","bytes":${e.pages[i] * 2 ** shift},"page":${cls.leafPages * 2 ** shift},"present":false,"kind":"${kindOfSwap(swap, cls.half)}"${told}${repeat}}`;
}

const CSV_HEADER = 'va,pa,bytes,page,read,write,exec,user,present,global,dirty,accessed,contig,count,stride,kind,swapType,swapOffset';

/** Writes extents as comma-separated values with a header line. */
export function csvWriter(tables: PageTables, write: (text: string) => void): { sink: RowSink; batchDone: () => void; header: string } {
  const shift = tables.mode.mode.pageShift;
  const size = 2 ** shift;
  let lines: string[] = [];
  const sink: RowSink = (e, i, c) => {
    const va = `0x${pageHex(e.vpn[i], shift)}`;
    const stride = e.count[i] > 1 ? String(e.stride[i] * size) : '';
    const bytes = e.pages[i] * size;
    if (c.kind === 'leaf') {
      const flags = [c.read, c.write, c.exec, c.user, c.present, c.global, c.dirty, c.accessed].map((b) => (b ? 1 : 0)).join();
      lines.push(`${va},0x${pageHex(e.pfn[i], shift)},${bytes},${c.leafPages * size},${flags},${c.contig},${e.count[i]},${stride},leaf,,`);
    } else {
      const { swap } = c.attribute;
      lines.push(
        `${va},,${bytes},${c.leafPages * size},,,,,0,,,,1,${e.count[i]},${stride},${kindOfSwap(swap, c.half)},${swap ? `${swap.type},0x${e.pfn[i].toString(16)}` : ','}`,
      );
    }
  };
  const batchDone = (): void => {
    if (lines.length > 0) write(`${lines.join('\n')}\n`);
    lines = [];
  };
  return { sink, batchDone, header: CSV_HEADER };
}

/** What a line of the table says of an extent, apart from its addresses. */
export interface RowText {
  readonly virtual: string;
  readonly physical: string;
  readonly size: string;
  readonly page: string;
  readonly rights: string;
  /** Letters: G global, D dirty, A accessed. */
  readonly flags: string;
  readonly more: string;
}

export function rowText(tables: PageTables, e: ExtentColumns, i: number, cls: ExtentClass): RowText {
  const { pageShift: shift, vaBits } = tables.mode.mode;
  const digits = addressDigits(vaBits);
  const end = e.vpn[i] + e.pages[i];
  const virtual = `${pageHex(e.vpn[i], shift).padStart(digits, '0')}-${endHex(end, shift, digits)}`;
  const size = sizeOf(pageBytes(e.pages[i], shift));
  const page = sizeOf(cls.leafPages * 2 ** shift);
  const repeats = e.count[i] > 1 ? `×${grouped(e.count[i])}, every ${sizeOf(e.stride[i] * 2 ** shift)}` : '';
  if (cls.kind !== 'leaf') return { virtual, physical: '', size, page, rights: '', flags: '', more: join(describeSwap(tables, e, i, cls), repeats) };
  const flags = `${cls.global ? 'G' : '-'}${cls.dirty ? 'D' : '-'}${cls.accessed ? 'A' : '-'}`;
  const group = cls.contig > 1 ? `${cls.contig} entries a page` : '';
  return {
    virtual,
    physical: pageHex(e.pfn[i], shift),
    size,
    page,
    rights: rightsLetters(cls),
    flags,
    more: join(cls.present ? '' : 'PROT_NONE', group, repeats),
  };
}

const join = (...parts: string[]): string => parts.filter((p) => p !== '').join(', ');

/** The end of the address space is 2^64 (or 2^32): shown as its low digits would mislead. */
const endHex = (end: number, shift: number, digits: number): string => {
  const text = pageHex(end, shift);
  return text.length > digits ? 'f'.repeat(digits) : text.padStart(digits, '0');
};

function describeSwap(tables: PageTables, e: ExtentColumns, i: number, cls: ExtentClass): string {
  if (cls.kind === 'bad') return `bad entry 0x${wordHex(cls.attribute.lo, cls.attribute.hi)}`;
  const { swap } = cls.attribute;
  if (swap === undefined) return `not present, 0x${wordHex(cls.attribute.lo, cls.attribute.hi)}`;
  if (cls.half === 'kernel') return 'not present';
  const first = tables.swapOf(cls.attribute, e.pfn[i]) ?? swap;
  const last = e.pages[i] > cls.attribute.pages && advanceOf(cls.attribute) > 0 ? `-0x${(e.pfn[i] + e.pages[i] - 1).toString(16)}` : '';
  if (swap.kind === 'swap') return `swap area ${swap.type}, offset 0x${first.offset.toString(16)}${last}`;
  if (swap.kind === 'marker') return `marker ${first.marker?.join(' ') || `0x${first.offset.toString(16)}`}`;
  return `${swap.kind}${swap.access ? ` ${swap.access}` : ''}${first.pfn !== undefined ? `, frame 0x${first.pfn.toString(16)}` : `, 0x${first.offset.toString(16)}`}`;
}

export const wordHex = (lo: number, hi: number): string =>
  hi === 0 ? (lo >>> 0).toString(16) : `${(hi >>> 0).toString(16)}${(lo >>> 0).toString(16).padStart(8, '0')}`;

// ---- totals ----

/** Pages (of the mode) and leaves of one kind. */
export interface Total {
  pages: number;
  leaves: number;
  extents: number;
}

/** Exact totals: repetitions are multiplied out. */
export class Totals {
  readonly #tables: PageTables;
  /** By half, then by what the key says. */
  readonly bySize = new Map<string, Total & { half: string; page: number }>();
  readonly byRights = new Map<string, Total & { half: string; rights: string; present: boolean }>();
  readonly byKind = new Map<string, Total & { half: string; kind: string }>();
  readonly all: Total = { pages: 0, leaves: 0, extents: 0 };

  constructor(tables: PageTables) {
    this.#tables = tables;
  }

  readonly #slots = new Map<ExtentClass, readonly Total[]>();

  readonly sink: RowSink = (e, i, cls) => {
    let slots = this.#slots.get(cls);
    if (slots === undefined) this.#slots.set(cls, (slots = this.#slotsOf(cls)));
    const pages = e.pages[i] * e.count[i];
    const leaves = pages / cls.leafPages;
    for (const slot of slots) {
      slot.pages += pages;
      slot.leaves += leaves;
      slot.extents++;
    }
  };

  #slotsOf(cls: ExtentClass): Total[] {
    const { half } = cls;
    const of = <T extends object>(map: Map<string, Total & T>, key: string, what: T): Total => {
      let found = map.get(key);
      if (!found) map.set(key, (found = { pages: 0, leaves: 0, extents: 0, ...what }));
      return found;
    };
    if (cls.kind !== 'leaf') {
      const kind = cls.kind === 'bad' ? 'bad' : kindOfSwap(cls.attribute.swap, cls.half);
      return [of(this.byKind, `${half} ${kind}`, { half, kind })];
    }
    const page = cls.leafPages * 2 ** this.#tables.mode.mode.pageShift;
    const rights = rightsLetters(cls);
    return [
      this.all,
      of(this.bySize, `${half} ${page}`, { half, page }),
      of(this.byRights, `${half} ${rights} ${cls.present}`, { half, rights, present: cls.present }),
    ];
  }

  toJson(): Record<string, unknown> {
    const shift = this.#tables.mode.mode.pageShift;
    const plain = (t: Total): { leaves: number; extents: number; bytes: number } => ({ leaves: t.leaves, extents: t.extents, bytes: t.pages * 2 ** shift });
    return {
      ...plain(this.all),
      bySize: [...this.bySize.values()].map((t) => ({ half: t.half, page: t.page, ...plain(t) })),
      byRights: [...this.byRights.values()].map((t) => ({ half: t.half, rights: t.rights, present: t.present, ...plain(t) })),
      nonPresent: [...this.byKind.values()].map((t) => ({ half: t.half, kind: t.kind, entries: t.leaves, extents: t.extents, bytes: t.pages * 2 ** shift })),
    };
  }

  /** Rows `[half, what, leaves, bytes]` for a table. */
  rows(): string[][] {
    const shift = this.#tables.mode.mode.pageShift;
    const row = (half: string, what: string, t: Total, unit: string): string[] => [
      half,
      what,
      plural(t.leaves, unit, unit === 'entry' ? 'entries' : `${unit}s`),
      sizeOf(pageBytes(t.pages, shift)),
      plural(t.extents, 'extent'),
    ];
    const order = (a: { half: string; pages: number }, b: { half: string; pages: number }): number =>
      a.half === b.half ? b.pages - a.pages : a.half === 'user' ? -1 : 1;
    return [
      ...[...this.bySize.values()].sort(order).map((t) => row(t.half, `${sizeOf(t.page)} pages`, t, 'leaf').map((c) => c.replace('leafs', 'leaves'))),
      ...[...this.byRights.values()]
        .sort(order)
        .map((t) => row(t.half, `${t.rights}${t.present ? '' : ' PROT_NONE'}`, t, 'leaf').map((c) => c.replace('leafs', 'leaves'))),
      ...[...this.byKind.values()].sort(order).map((t) => row(t.half, t.kind, t, 'entry')),
    ];
  }
}
