/**
 * What is wrong, or at least remarkable, in one or several address spaces of an image.
 *
 * Findings about mappings come from the reverse map (each mapping that several roots share is looked at once); findings about entries and tables
 * come from the walked graphs (each table in memory is looked at once). Invariants: a finding's ranges are ascending, disjoint and
 * joined; `count` is exact even where `ranges` is cut off; nothing here depends on what the frames contain but the tables themselves.
 */
import type { Region } from '../arch/mode.ts';
import { inVersions } from '../arch/notation.ts';
import type { Attribute } from '../pagetable/attributes.ts';
import type { CompiledMode } from '../pagetable/compile.ts';
import { vpnOf } from '../pagetable/extents.ts';
import type { PageTables, TableNode } from '../pagetable/tree.ts';
import {
  DIRTY,
  EXEC,
  type FrameRun,
  type FrameUser,
  KERNEL_HALF,
  PRESENT,
  READ,
  ReverseMap,
  type SweepCounters,
  USER,
  type WalkedRoot,
  WRITE,
} from './aliases.ts';
import { hexPage, hexRange, pageSizeText } from './draw-text.ts';
import { Places } from './places.ts';

export type Severity = 'error' | 'warning' | 'note';

export type FindingId =
  | 'write-exec'
  | 'writable-alias'
  | 'user-kernel'
  | 'table-mapped'
  | 'dirty-exec'
  | 'reserved-bits'
  | 'cycle'
  | 'table-missing'
  | 'beyond-ram'
  | 'group-broken'
  | 'bad-entry'
  | 'cut-short';

export interface FindingRange {
  readonly vpn: number;
  readonly pages: number;
}

export interface Finding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** One sentence without addresses. */
  readonly sentence: string;
  readonly half: 'user' | 'kernel';
  /** Names of the roots it was found under; a shared kernel half names the first. */
  readonly roots: readonly string[];
  readonly ranges: readonly FindingRange[];
  /** Ranges that are not listed. */
  readonly more: number;
  readonly count: number;
  readonly unit: 'page' | 'entry' | 'table';
  readonly pageShift: number;
  /** Where in memory, for the first few. */
  readonly details: readonly string[];
}

export interface AuditOptions {
  /** What is RAM, in 4 KiB frames; without it frames beyond RAM are not looked for. */
  readonly ram?: readonly { readonly start: number; readonly frames: number }[];
  /** Most mappings looked at. */
  readonly maxRows?: number;
  /** Most ranges kept for a finding. */
  readonly maxRanges?: number;
  /** Pages [from, to): findings elsewhere are left out. */
  readonly range?: { readonly from: number; readonly to: number };
  readonly half?: 'user' | 'kernel';
}

interface Rule {
  readonly user: Severity;
  readonly kernel: Severity;
  readonly unit: Finding['unit'];
  readonly user_says: string;
  readonly kernel_says: string;
}

const same = (severity: Severity, unit: Finding['unit'], says: string): Rule => ({
  user: severity,
  kernel: severity,
  unit,
  user_says: says,
  kernel_says: says,
});

/** What each finding means, by the half in which it lies. */
const RULES: Readonly<Record<FindingId, Rule>> = {
  'write-exec': {
    user: 'warning',
    kernel: 'error',
    unit: 'page',
    user_says: 'user memory is writable and executable',
    kernel_says: 'kernel memory is writable and executable',
  },
  'writable-alias': {
    user: 'warning',
    kernel: 'error',
    unit: 'page',
    user_says: 'memory that is executable here is writable at another address',
    kernel_says: 'kernel memory that is executable here is writable at another address',
  },
  'user-kernel': { user: 'error', kernel: 'error', unit: 'page', user_says: 'user mode may access it', kernel_says: 'user mode may access kernel memory' },
  'table-mapped': {
    user: 'error',
    kernel: 'note',
    unit: 'table',
    user_says: 'user mode may write page tables',
    kernel_says: 'page tables are mapped writable for the kernel',
  },
  'dirty-exec': {
    user: 'warning',
    kernel: 'note',
    unit: 'page',
    user_says: 'executable user memory is marked dirty: code was written here through this mapping',
    kernel_says: 'executable kernel memory is marked dirty (Linux makes kernel mappings so)',
  },
  'reserved-bits': same('error', 'entry', 'entries have bits set that must be zero'),
  cycle: same('error', 'entry', 'a table can be reached from itself'),
  'table-missing': same('warning', 'table', 'tables that entries point to are not in the image'),
  'beyond-ram': same('note', 'page', 'frames are mapped that lie outside RAM (device memory, or a damaged entry)'),
  'group-broken': same('error', 'entry', 'entries claim to be part of a contiguous run, but the run is incomplete or disagrees'),
  'bad-entry': same('error', 'entry', 'entries fit no form that the level has'),
  'cut-short': same('warning', 'table', 'the tables unfold to more mappings than can be looked at: these were not checked in full'),
};

/** Places in the kernel half that user mode is meant to reach. */
const MEANT_FOR_USERS = ['vsyscall', 'vectors', 'vectors page', 'gate'];

const MAX_RANGES = 4096;
const MAX_DETAILS = 4;

const ORDER: readonly Severity[] = ['error', 'warning', 'note'];

/** Findings, gravest first. */
export function audit(roots: readonly WalkedRoot[], options: AuditOptions = {}): Finding[] {
  if (roots.length === 0) return [];
  const found = new Collector(roots[0].tables.mode, options);
  const map = new ReverseMap(roots, options);
  for (const root of map.cutShort) found.add('cut-short', root.tables.root.ranges[0]?.half ?? 'user', root.name, { vpn: 0, pages: 1 }, 1);
  mappings(map, found, options);
  aliases(map, found);
  tablesMapped(map, roots, found);
  entries(roots, found);
  cycles(roots, found);
  return found.findings();
}

/** Is any finding at least a warning? That is what `--strict` asks. */
export const isGrave = (findings: readonly Finding[]): boolean => findings.some((f) => f.severity !== 'note');

// ---- collecting ----

interface Bucket {
  readonly id: FindingId;
  readonly half: 'user' | 'kernel';
  readonly severity: Severity;
  readonly sentence: string;
  readonly roots: Set<string>;
  ranges: FindingRange[];
  dropped: number;
  full: boolean;
  count: number;
  readonly details: string[];
}

class Collector {
  readonly #buckets = new Map<string, Bucket>();
  readonly #mode: CompiledMode;
  readonly #options: AuditOptions;
  readonly #max: number;

  constructor(mode: CompiledMode, options: AuditOptions) {
    this.#mode = mode;
    this.#options = options;
    this.#max = options.maxRanges ?? MAX_RANGES;
  }

  get mode(): CompiledMode {
    return this.#mode;
  }

  add(
    id: FindingId,
    half: 'user' | 'kernel',
    root: string,
    range: FindingRange,
    count: number,
    more: { severity?: Severity; sentence?: string; detail?: string } = {},
  ): void {
    const { range: within, half: only } = this.#options;
    if (only !== undefined && only !== half) return;
    if (within !== undefined && (range.vpn >= within.to || range.vpn + range.pages <= within.from)) return;
    const rule = RULES[id];
    const severity = more.severity ?? rule[half];
    const sentence = more.sentence ?? (half === 'user' ? rule.user_says : rule.kernel_says);
    // The user halves of different processes have nothing in common; the kernel's is one.
    const key = `${id} ${half} ${severity} ${sentence} ${half === 'user' ? root : ''}`;
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { id, half, severity, sentence, roots: new Set(), ranges: [], dropped: 0, full: false, count: 0, details: [] };
      this.#buckets.set(key, bucket);
    }
    bucket.roots.add(root);
    bucket.count += count;
    if (more.detail !== undefined && bucket.details.length < MAX_DETAILS) bucket.details.push(more.detail);
    // Twice the limit may pile up before neighbours are joined; what is still over the limit then is only counted.
    if (bucket.ranges.length >= 2 * this.#max && !bucket.full) {
      bucket.ranges = joined(bucket.ranges);
      bucket.full = bucket.ranges.length > this.#max;
    }
    if (bucket.full) bucket.dropped++;
    else bucket.ranges.push(range);
  }

  findings(): Finding[] {
    const list = [...this.#buckets.values()].map((b): Finding => {
      const ranges = joined(b.ranges);
      return {
        id: b.id,
        severity: b.severity,
        sentence: b.sentence,
        half: b.half,
        roots: [...b.roots],
        ranges: ranges.slice(0, this.#max),
        more: Math.max(0, ranges.length - this.#max) + b.dropped,
        count: b.count,
        unit: RULES[b.id].unit,
        pageShift: this.#mode.mode.pageShift,
        details: b.details,
      };
    });
    return list.sort(
      (a, b) =>
        ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) ||
        (a.half < b.half ? -1 : a.half > b.half ? 1 : 0) ||
        (a.ranges[0]?.vpn ?? 0) - (b.ranges[0]?.vpn ?? 0),
    );
  }
}

/** Ascending and disjoint, neighbours joined. */
function joined(ranges: readonly FindingRange[]): FindingRange[] {
  const sorted = [...ranges].sort((a, b) => a.vpn - b.vpn || b.pages - a.pages);
  const out: { vpn: number; pages: number }[] = [];
  for (const r of sorted) {
    const last = out[out.length - 1];
    if (last !== undefined && r.vpn <= last.vpn + last.pages) last.pages = Math.max(last.pages, r.vpn + r.pages - last.vpn);
    else out.push({ vpn: r.vpn, pages: r.pages });
  }
  return out;
}

// ---- mappings by themselves ----

/** Where a repeated row lies: from its first repetition to the end of its last. */
const span = (map: ReverseMap, row: number): FindingRange => ({ vpn: map.vpn[row], pages: (map.count[row] - 1) * map.stride[row] + map.pages[row] });

const halfOf = (flags: number): 'user' | 'kernel' => (flags & KERNEL_HALF ? 'kernel' : 'user');

function mappings(map: ReverseMap, found: Collector, options: AuditOptions): void {
  const { mode } = found;
  const canForbid = forbidsExecution(mode);
  const controlled = canForbid && usesNoExec(map);
  const exempt = (mode.mode.regions ?? []).filter((r) => MEANT_FOR_USERS.includes(r.name) && inVersions(r.kernel, mode.kernel));
  const ram = options.ram && ramPages(options.ram, map.pageShift);
  for (let row = 0; row < map.length; row++) {
    const flags = map.flags[row];
    const root = map.roots[map.root[row]].name;
    const half = halfOf(flags);
    const pages = map.pages[row] * map.count[row];
    const at = span(map, row);
    if (ram)
      outsideRam(map, row, ram, (range) =>
        found.add('beyond-ram', half, root, range, range.pages, {
          detail: `${hexPage(range.vpn, map.pageShift)} maps ${hexPage(map.pfn[row] + (range.vpn - map.vpn[row]), map.pageShift)}`,
        }),
      );
    if (!(flags & PRESENT)) continue;
    if (canForbid && (flags & (WRITE | EXEC)) === (WRITE | EXEC))
      found.add(
        'write-exec',
        half,
        root,
        at,
        pages,
        controlled
          ? {}
          : { severity: 'note', sentence: 'nothing is marked no-execute (the CPU or the kernel does without), so all that is writable is executable' },
      );
    if (controlled && (flags & (DIRTY | EXEC)) === (DIRTY | EXEC)) found.add('dirty-exec', half, root, at, pages);
    if (half === 'kernel' && flags & USER && flags & (READ | WRITE | EXEC)) {
      const region = regionAt(exempt, at, map.pageShift);
      found.add(
        'user-kernel',
        half,
        root,
        at,
        pages,
        region ? { severity: 'note', sentence: `user mode may access the ${region.name} page, as it is meant to` } : {},
      );
    }
  }
}

/** A mode without a no-execute bit makes everything executable: nothing to report. */
export function forbidsExecution(mode: CompiledMode): boolean {
  return mode.forms.some((f) => {
    const { allows } = f.form;
    if (f.kind === 'table') return allows?.exec !== undefined && allows.exec !== '1';
    return (
      f.kind === 'leaf' &&
      allows?.exec !== undefined &&
      allows.exec !== '0' &&
      allows.exec !== '1' &&
      allows.exec !== allows.read &&
      allows.exec !== allows.present
    );
  });
}

/** Is anything readable that may not be executed? If not, neither CPU nor kernel controls execution here, and nothing follows from it. */
function usesNoExec(map: ReverseMap): boolean {
  for (let row = 0; row < map.length; row++) if ((map.flags[row] & (PRESENT | READ | EXEC)) === (PRESENT | READ)) return true;
  return false;
}

function regionAt(regions: readonly Region[], at: FindingRange, pageShift: number): Region | undefined {
  return regions.find((r) => at.vpn >= vpnOf(r.start, pageShift) && at.vpn + at.pages <= Math.max(vpnOf(r.end - 1n, pageShift) + 1, 0));
}

/** RAM as runs of pages of the mode. */
const ramPages = (ram: NonNullable<AuditOptions['ram']>, pageShift: number): FrameRun[] => {
  const per = 2 ** (pageShift - 12);
  return ram.map((s) => ({ pfn: Math.floor(s.start / per), end: Math.ceil((s.start + s.frames) / per) })).sort((a, b) => a.pfn - b.pfn);
};

/** Hands on the parts of a row whose frames are in no run. */
function outsideRam(map: ReverseMap, row: number, ram: readonly FrameRun[], say: (range: FindingRange) => void): void {
  let at = map.pfn[row];
  const end = at + map.pages[row];
  const tell = (from: number, to: number): void => {
    if (to > from) say({ vpn: map.vpn[row] + (from - map.pfn[row]), pages: to - from });
  };
  for (const run of ram) {
    if (run.end <= at) continue;
    if (run.pfn >= end) break;
    tell(at, Math.min(run.pfn, end));
    at = Math.max(at, run.end);
  }
  tell(at, end);
}

// ---- mappings against each other ----

/** Executable here, writable there. The kernel's own writable map of user memory is how Linux works, hence no finding. */
function aliases(map: ReverseMap, found: Collector): void {
  if (!forbidsExecution(found.mode) || !usesNoExec(map)) return;
  const some = (c: SweepCounters, mask: number, value: number): boolean => {
    for (let rights = 0; rights < 16; rights++) if ((rights & mask) === value && c.rows[rights] > 0) return true;
    return false;
  };
  const several = (c: SweepCounters): boolean => c.mappings > 1;
  // User memory: both sides are user mappings. Kernel memory: whoever may write it.
  for (const [exec, write] of [
    [EXEC | USER, WRITE | USER],
    [EXEC, WRITE],
  ] as const) {
    const user = exec === (EXEC | USER);
    const runs = map.runs((c) => several(c) && some(c, EXEC | USER, exec) && (user ? some(c, WRITE | USER, write) : some(c, WRITE, WRITE)));
    if (runs.length === 0) continue;
    const present = (flags: number): boolean => (flags & PRESENT) !== 0;
    const executable = map.rowsIn(runs, (f) => present(f) && (f & (EXEC | USER)) === exec);
    const writable = map.rowsIn(runs, (f) => present(f) && (f & WRITE) !== 0 && (!user || (f & USER) !== 0));
    pairUp(map, executable, writable, found);
  }
}

/**
 * Each executable piece with a writable piece of the same frames that is not the mapping itself. One pass in order of frames: of the writable
 * pieces that began earlier only the two that reach furthest matter, since at most one mapping is the executable one's own.
 */
function pairUp(map: ReverseMap, executable: readonly FrameUser[], writable: readonly FrameUser[], found: Collector): void {
  const byFrame = (a: FrameUser, b: FrameUser): number => a.pfn - b.pfn || a.vpn - b.vpn;
  const xs = [...executable].sort(byFrame);
  const ws = [...writable].sort(byFrame);
  const reach: FrameUser[] = [];
  let next = 0;
  for (const x of xs) {
    for (; next < ws.length && ws[next].pfn <= x.pfn; next++) keepFurthest(reach, ws[next]);
    let partner = reach.find((w) => w.pfn + w.pages > x.pfn && !sameMapping(x, w));
    for (let i = next; partner === undefined && i < ws.length && ws[i].pfn < x.pfn + x.pages; i++) if (!sameMapping(x, ws[i])) partner = ws[i];
    if (partner === undefined) continue;
    const from = Math.max(x.pfn, partner.pfn);
    const pages = Math.min(x.pfn + x.pages, partner.pfn + partner.pages) - from;
    const detail = `${hexRange(x.vpn + (from - x.pfn), pages, map.pageShift)} is writable at ${hexPage(partner.vpn + (from - partner.pfn), map.pageShift)} in ${partner.root.name}`;
    // The kernel itself may write its code through another mapping; that user mode may is the grave case.
    const kernelOnly = halfOf(x.flags) === 'kernel' && !(partner.flags & USER);
    found.add('writable-alias', halfOf(x.flags), x.root.name, { vpn: x.vpn, pages: x.pages }, x.pages, {
      detail,
      ...(kernelOnly ? { severity: 'warning' as const } : {}),
    });
  }
}

/** Keeps the two pieces of different mappings whose ends lie highest. */
function keepFurthest(reach: FrameUser[], piece: FrameUser): void {
  const own = reach.findIndex((r) => sameMapping(r, piece));
  if (own >= 0) {
    if (piece.pfn + piece.pages > reach[own].pfn + reach[own].pages) reach[own] = piece;
  } else reach.push(piece);
  reach.sort((a, b) => b.pfn + b.pages - (a.pfn + a.pages));
  reach.length = Math.min(reach.length, 2);
}

const sameMapping = (a: FrameUser, b: FrameUser): boolean =>
  a.row === b.row ||
  (a.vpn - a.pfn === b.vpn - b.pfn &&
    (a.root === b.root || (a.root.pid !== undefined && a.root.pid === b.root.pid) || (a.flags & b.flags & KERNEL_HALF) !== 0));

// ---- page tables as memory ----

/** Frames (pages of the mode) that hold tables, ascending. */
function tableFrames(roots: readonly WalkedRoot[], pageShift: number): Float64Array {
  const frames = new Set<number>();
  const per = 2 ** (pageShift - 12);
  for (const { tables } of roots)
    for (const node of tables.nodes) {
      const bytes = node.offset + node.entries * tables.mode.levels[node.level].stride;
      for (let f = node.frame; f < node.frame + Math.ceil(bytes / 4096); f++) frames.add(Math.floor(f / per));
    }
  return Float64Array.from(frames).sort();
}

function tablesMapped(map: ReverseMap, roots: readonly WalkedRoot[], found: Collector): void {
  const frames = tableFrames(roots, map.pageShift);
  for (let row = 0; row < map.length; row++) {
    const flags = map.flags[row];
    if ((flags & (PRESENT | WRITE)) !== (PRESENT | WRITE)) continue;
    const first = lowerBound(frames, map.pfn[row]);
    const end = lowerBound(frames, map.pfn[row] + map.pages[row]);
    if (first === end) continue;
    const from = frames[first] - map.pfn[row];
    const half = flags & USER ? 'user' : 'kernel';
    const at = hexPage(map.vpn[row] + from, map.pageShift);
    found.add('table-mapped', half, map.roots[map.root[row]].name, { vpn: map.vpn[row] + from, pages: frames[end - 1] + 1 - frames[first] }, end - first, {
      detail: `${at} is the table at ${hexPage(frames[first], map.pageShift)}${map.leafPages[row] > 1 ? `, within a ${pageSizeText(map.leafPages[row] * 2 ** map.pageShift)} leaf` : ''}`,
    });
  }
}

function lowerBound(values: Float64Array, wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

// ---- entries ----

/** The finding that an attribute is by itself. */
function findingOf(attribute: Attribute): FindingId | undefined {
  if (attribute.kind === 'bad') return 'bad-entry';
  if (attribute.kind === 'missing') return 'table-missing';
  if (attribute.broken) return 'group-broken';
  // What the CPU does not look at may hold anything.
  const looked = attribute.kind === 'table' || (attribute.kind === 'leaf' && attribute.present);
  return looked && (attribute.reserved.lo | attribute.reserved.hi) !== 0 ? 'reserved-bits' : undefined;
}

function entries(roots: readonly WalkedRoot[], found: Collector): void {
  const seen = new Set<string>();
  for (const root of roots) {
    const { attributes, nodes, items } = root.tables;
    const ids = attributes.map(findingOf);
    if (!ids.some((id) => id !== undefined)) continue;
    const places = new Places(root.tables);
    for (const node of nodes) {
      const key = `${node.frame} ${node.offset} ${node.level}`;
      if (seen.has(key)) continue;
      seen.add(key);
      for (let i = node.from; i < node.to; i++) {
        const id = ids[items.attribute[i]];
        if (id !== undefined) tellEntry(root, node, i, id, places, found);
      }
    }
  }
}

function tellEntry(root: WalkedRoot, node: TableNode, item: number, id: FindingId, places: Places, found: Collector): void {
  const { items, attributes, mode } = root.tables;
  const attribute = attributes[items.attribute[item]];
  const level = mode.levels[node.level];
  const place = places.of(node, items.index[item], items.count[item]);
  const table = `0x${(BigInt(node.frame) * 4096n + BigInt(node.offset)).toString(16)}`;
  const word = `0x${((BigInt(attribute.hi) << 32n) | BigInt(attribute.lo)).toString(16)}`;
  const bits = `0x${((BigInt(attribute.reserved.hi) << 32n) | BigInt(attribute.reserved.lo)).toString(16)}`;
  const where = `${level.level.name} table ${table} [${items.index[item]}]`;
  const detail = {
    'reserved-bits': `${where}: bits ${bits} of "${attribute.form?.form.name}"`,
    'bad-entry': `${where}: ${word}`,
    'group-broken': `${where}: ${attribute.form?.form.name}, ${attribute.group ? `run of ${attribute.group.group.entries}` : 'whose other slots do not hold its parts'}`,
    'table-missing': `${level.level.name} table ${table}`,
  }[id as string];
  found.add(id, place.half, root.name, place.range, id === 'table-missing' ? 1 : items.count[item], { detail });
}

// ---- cycles ----

/** Tables in memory as a graph: an edge back to a table on the path is a cycle. */
function cycles(roots: readonly WalkedRoot[], found: Collector): void {
  const told = new Set<string>();
  for (const root of roots) for (const edge of backEdges(root.tables)) tellCycle(root, edge, told, found);
}

interface Edge {
  readonly from: TableNode;
  readonly to: TableNode;
  readonly index: number;
}

const tableAddress = (n: TableNode): number => n.frame * 4096 + n.offset;

function tellCycle(root: WalkedRoot, edge: Edge, told: Set<string>, found: Collector): void {
  const key = `${tableAddress(edge.from)} ${tableAddress(edge.to)} ${edge.index}`;
  if (told.has(key)) return;
  told.add(key);
  const place = new Places(root.tables).of(edge.from, edge.index, 1);
  const names = root.tables.mode.levels;
  const self = tableAddress(edge.from) === tableAddress(edge.to);
  const at = `0x${tableAddress(edge.from).toString(16)}`;
  const detail = self
    ? `${names[edge.from.level].level.name} table ${at} [${edge.index}] points to itself`
    : `${names[edge.from.level].level.name} table ${at} [${edge.index}] points back to 0x${tableAddress(edge.to).toString(16)}`;
  found.add('cycle', place.half, root.name, place.range, 1, {
    detail,
    ...(self && edge.from.id === 0 ? { sentence: 'the top table maps itself (a recursive mapping): every table below it is memory' } : {}),
  });
}

/** Depth-first search over table addresses; each address is entered once. */
function backEdges(tables: PageTables): Edge[] {
  const { nodes, items, attributes } = tables;
  const byAddress = new Map<number, TableNode[]>();
  for (const node of nodes) {
    const list = byAddress.get(tableAddress(node));
    if (list) list.push(node);
    else byAddress.set(tableAddress(node), [node]);
  }
  if (byAddress.size === nodes.length) return [];
  const state = new Map<number, 'open' | 'done'>();
  const edges: Edge[] = [];
  const stack: { address: number; nodes: readonly TableNode[]; node: number; item: number }[] = [];
  const enter = (address: number): void => {
    state.set(address, 'open');
    const own = byAddress.get(address) as TableNode[];
    stack.push({ address, nodes: own, node: 0, item: own[0].from });
  };
  enter(tableAddress(nodes[0]));
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    const node = top.nodes[top.node];
    if (node === undefined) {
      state.set(top.address, 'done');
      stack.pop();
    } else if (top.item >= node.to) {
      top.node++;
      top.item = top.nodes[top.node]?.from ?? 0;
    } else {
      const i = top.item++;
      const { kind } = attributes[items.attribute[i]];
      if (kind !== 'table' && kind !== 'hugepd') continue;
      const to = nodes[items.value[i]];
      const known = state.get(tableAddress(to));
      if (known === 'open') edges.push({ from: node, to, index: items.index[i] });
      else if (known === undefined) enter(tableAddress(to));
    }
  }
  return edges;
}

// ---- for people and programs ----
