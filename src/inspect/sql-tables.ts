/**
 * Walked address spaces as tables of rows, for a database to take in.
 *
 * Rows first go to staging tables of plain numbers, then SQL makes the tables that people query out of them: addresses become 64-bit integers there,
 * so no bigint is made here. Invariants: page numbers and counts are exact below 2^53; ids are unique over all images; text that came out of
 * a file is a value, never part of a statement.
 */
import { forEachExtent } from '../pagetable/extents.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import { advanceOf, type PageTables } from '../pagetable/tree.ts';
import { ACCESSED, DIRTY, EXEC, flagsOf, GLOBAL, KERNEL_HALF, PRESENT, READ, USER, type WalkedRoot, WRITE } from './aliases.ts';
import type { Finding } from './audit.ts';
import { kindOfSwap } from './leaves.ts';
import { Places } from './places.ts';

export type StagedType = 'DOUBLE' | 'VARCHAR' | 'BOOLEAN';
export type StagedValue = number | string | boolean | null;

export interface Staging {
  readonly name: string;
  readonly columns: readonly (readonly [string, StagedType])[];
}

const numbers = (...names: string[]): (readonly [string, StagedType])[] => names.map((n) => [n, 'DOUBLE'] as const);
const texts = (...names: string[]): (readonly [string, StagedType])[] => names.map((n) => [n, 'VARCHAR'] as const);

export const STAGING = {
  roots: {
    name: 's_roots',
    columns: [...numbers('id', 'pid'), ...texts('image', 'name', 'mode', 'label', 'kernel'), ...numbers('frame', 'offset_bytes', 'page_bytes')],
  },
  leaves: {
    name: 's_leaves',
    columns: [...numbers('root', 'vpn', 'value', 'pages', 'repeats', 'stride', 'flags', 'leaf_pages', 'contig', 'swap_type'), ...texts('kind', 'level')],
  },
  tables: {
    name: 's_tables',
    columns: [
      ...numbers('root', 'id', 'frame', 'offset_bytes', 'first_vpn', 'entries', 'leaves', 'tables', 'nonpresent', 'parents'),
      ...texts('level', 'half'),
    ],
  },
  entries: {
    name: 's_entries',
    columns: [...numbers('root', 'table_id', 'idx', 'n', 'vpn', 'value', 'step', 'lo', 'hi', 'child'), ...texts('level', 'kind', 'form')],
  },
  anomalies: {
    name: 's_anomalies',
    columns: [...numbers('finding', 'vpn', 'pages', 'page_bytes'), ...texts('image', 'id', 'severity', 'sentence', 'half', 'root')],
  },
} as const satisfies Record<string, Staging>;

export type Push = (row: readonly StagedValue[]) => void;
export type Sink = (staging: Staging) => Push;

/** SQL that makes the tables to query out of the staged ones; run in order. */
export const FINAL_TABLES: Readonly<Record<string, string>> = {
  roots: `SELECT id::UINTEGER AS root, image, name, pid::INTEGER AS pid, mode, kernel, label, frame::UBIGINT * ${FRAME_BYTES} + offset_bytes::UBIGINT AS pa FROM s_roots ORDER BY id`,
  leaves: `SELECT l.root::UINTEGER AS root, r.image, r.pid::INTEGER AS pid,
      CASE WHEN flags::UINTEGER & ${KERNEL_HALF} <> 0 THEN 'kernel' ELSE 'user' END AS half,
      l.vpn::UBIGINT * r.page_bytes::UBIGINT AS va,
      CASE WHEN l.kind = 'leaf' THEN l.value::UBIGINT * r.page_bytes::UBIGINT END AS pa,
      l.pages::UBIGINT * r.page_bytes::UBIGINT AS bytes, l.leaf_pages::UBIGINT * r.page_bytes::UBIGINT AS page,
      ${flagColumns()},
      l.contig::UINTEGER AS contig, l.repeats::UBIGINT AS "count", CASE WHEN l.repeats > 1 THEN l.stride::UBIGINT * r.page_bytes::UBIGINT END AS stride,
      l.kind, l.level, l.swap_type::UINTEGER AS swap_type, CASE WHEN l.swap_type IS NOT NULL THEN l.value::UBIGINT END AS swap_offset
    FROM s_leaves l JOIN s_roots r ON r.id = l.root ORDER BY l.root, l.vpn`,
  tables: `SELECT t.root::UINTEGER AS root, r.image, r.pid::INTEGER AS pid, t.id::UINTEGER AS "table", t.level, t.half, t.frame::UBIGINT * ${FRAME_BYTES} + t.offset_bytes::UBIGINT AS pa,
      t.first_vpn::UBIGINT * r.page_bytes::UBIGINT AS va, t.entries::UINTEGER AS entries, t.leaves::UINTEGER AS leaves, t.tables::UINTEGER AS tables,
      t.nonpresent::UINTEGER AS nonpresent, (t.entries - t.leaves - t.tables - t.nonpresent)::UINTEGER AS empty, t.parents::UINTEGER AS parents
    FROM s_tables t JOIN s_roots r ON r.id = t.root ORDER BY t.root, t.id`,
  entries: `SELECT e.root::UINTEGER AS root, r.image, r.pid::INTEGER AS pid, e.table_id::UINTEGER AS "table", e.level, e.idx::UINTEGER AS idx, e.n::UINTEGER AS n,
      e.vpn::UBIGINT * r.page_bytes::UBIGINT AS va, e.kind, e.form, e.hi::UBIGINT * 4294967296 + e.lo::UBIGINT AS bits,
      CASE WHEN e.kind = 'leaf' THEN e.value::UBIGINT * r.page_bytes::UBIGINT WHEN e.child IS NOT NULL THEN c.frame::UBIGINT * ${FRAME_BYTES} + c.offset_bytes::UBIGINT END AS pa,
      CASE WHEN e.kind = 'nonpresent' THEN e.value::UBIGINT END AS swap_offset, e.child::UINTEGER AS child, e.step <> 0 AS advances
    FROM s_entries e JOIN s_roots r ON r.id = e.root LEFT JOIN s_tables c ON c.root = e.root AND c.id = e.child ORDER BY e.root, e.table_id, e.idx`,
  anomalies: `SELECT finding::UINTEGER AS finding, image, id, severity, sentence, half, root, vpn::UBIGINT * page_bytes::UBIGINT AS va, pages::UBIGINT * page_bytes::UBIGINT AS bytes FROM s_anomalies ORDER BY finding, vpn`,
};

function flagColumns(): string {
  const columns = { read: READ, write: WRITE, exec: EXEC, user: USER, present: PRESENT, global: GLOBAL, dirty: DIRTY, accessed: ACCESSED };
  return Object.entries(columns)
    .map(([name, bit]) => `flags::UINTEGER & ${bit} <> 0 AS "${name}"`)
    .join(', ');
}

/** What the tables mean, for `.tables`. */
export const TABLE_DOCS: Readonly<Record<string, string>> = {
  roots: 'address spaces that were walked',
  leaves: 'extents: runs equal in rights and leaf size, contiguous virtually and physically; non-present entries too (kind)',
  tables: 'page tables, one row for each table and level it is read at',
  entries: 'runs of like entries in the tables (n entries from idx on)',
  anomalies: 'what pxd audit finds, one row for each range',
};

/** Stages the walked roots of one image. `firstRoot` and the answer number roots over several images. */
export function stageRoots(sink: Sink, image: string, roots: readonly WalkedRoot[], firstRoot: number): number {
  const root = sink(STAGING.roots);
  roots.forEach(({ name, pid, tables }, i) => {
    const { mode } = tables.mode;
    const top = tables.nodes[0];
    root([firstRoot + i, pid ?? null, image, name, mode.name, tables.root.label, tables.mode.kernelText, top.frame, top.offset, 2 ** mode.pageShift]);
    stageLeaves(sink(STAGING.leaves), tables, firstRoot + i);
    stageTables(sink(STAGING.tables), sink(STAGING.entries), tables, firstRoot + i);
  });
  return firstRoot + roots.length;
}

function stageLeaves(push: Push, tables: PageTables, root: number): void {
  const levels = tables.mode.levels.map((l) => l.level.name);
  forEachExtent(tables, { all: true }, (extents, classes) => {
    for (let i = 0; i < extents.length; i++) {
      const cls = classes[extents.kind[i]];
      const swap = cls.attribute.swap;
      const kind = cls.kind === 'nonpresent' ? kindOfSwap(swap, cls.half) : cls.kind;
      push([
        root,
        extents.vpn[i],
        extents.pfn[i],
        extents.pages[i],
        extents.count[i],
        extents.stride[i],
        flagsOf(cls),
        cls.leafPages,
        cls.contig,
        cls.kind === 'nonpresent' ? (swap?.type ?? null) : null,
        kind,
        levels[cls.level],
      ]);
    }
    return true;
  });
}

function stageTables(table: Push, entry: Push, tables: PageTables, root: number): void {
  const { nodes, items, attributes, mode } = tables;
  const places = new Places(tables);
  const parents = new Uint32Array(nodes.length);
  const levels = mode.levels.map((l) => l.level.name);
  for (const node of nodes)
    for (let i = node.from; i < node.to; i++) {
      const a = attributes[items.attribute[i]];
      const down = a.kind === 'table' || a.kind === 'hugepd';
      if (down) parents[items.value[i]] += items.count[i];
      entry([
        root,
        node.id,
        items.index[i],
        items.count[i],
        places.of(node, items.index[i], 1).range.vpn,
        items.value[i],
        items.step[i] === 1 && items.count[i] > 1 ? advanceOf(a) : 0,
        a.lo,
        a.hi,
        down ? items.value[i] : null,
        levels[node.level],
        a.kind,
        a.form?.form.name ?? null,
      ]);
    }
  for (const node of nodes) {
    const counts: Record<string, number> = { leaf: 0, table: 0, hugepd: 0 };
    let all = 0;
    for (let i = node.from; i < node.to; i++) {
      const { kind } = attributes[items.attribute[i]];
      counts[kind] = (counts[kind] ?? 0) + items.count[i];
      all += items.count[i];
    }
    const down = counts.table + counts.hugepd;
    const place = places.of(node, node.first, 1);
    table([
      root,
      node.id,
      node.frame,
      node.offset,
      place.range.vpn,
      node.entries - node.first,
      counts.leaf,
      down,
      all - counts.leaf - down,
      parents[node.id],
      levels[node.level],
      place.half,
    ]);
  }
}

/** Stages what the audit of an image found. */
export function stageAnomalies(sink: Sink, image: string, findings: readonly Finding[], firstFinding: number): number {
  const push = sink(STAGING.anomalies);
  findings.forEach((f, i) => {
    for (const r of f.ranges) push([firstFinding + i, r.vpn, r.pages, 2 ** f.pageShift, image, f.id, f.severity, f.sentence, f.half, f.roots[0] ?? '']);
  });
  return firstFinding + findings.length;
}
