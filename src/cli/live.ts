/**
 * `--pid` without an image: a process of this machine, as /proc tells of it.
 *
 * What the tables know and /proc does not (level, accessed and dirty bits, the kernel half) is null in JSON and absent in text, never guessed.
 */
import type { LiveProcess, LiveRun, LiveVma } from '../image/node/live.ts';
import { PxdError } from '../pagetable/error.ts';
import { sizeText } from '../pagetable/units.ts';
import { type Io, paint } from './io.ts';
import type { ImageOptions } from './options.ts';
import { cut, tableLines, wrap } from './table.ts';

export interface LiveOptions {
  readonly format?: 'table' | 'jsonl' | 'csv';
  readonly all?: boolean;
}

/** Options that speak of tables or files make no sense for a live process. */
const FOREIGN = ['mode', 'root', 'of', 'roots', 'kernel', 'layout', 'formatIn', 'kernelHalf', 'where', 'summary'] as const;

async function read(command: string, options: ImageOptions & Record<string, unknown>): Promise<LiveProcess> {
  if (options.pid === undefined) throw new PxdError('usage', `pxd ${command} needs an image, or --pid for a process of this machine`);
  for (const name of FOREIGN) if (options[name] !== undefined) throw new PxdError('usage', `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} asks for page tables: without an image, --pid shows only what /proc tells of a process`);
  const { readLive } = await import('../image/node/live.ts');
  return readLive(options.pid);
}

const inRange = (run: LiveRun, pageBytes: number, range: ImageOptions['range']): boolean => range === undefined || (run.va < range.end && run.va + BigInt(run.pages * pageBytes) > range.start);

/** `pxd leaves --pid N`. */
export async function liveLeaves(options: ImageOptions & LiveOptions & Record<string, unknown>, io: Io): Promise<void> {
  if (options.format === 'csv') throw new PxdError('usage', 'a live process is listed as table or jsonl');
  const live = await read('leaves', options);
  for (const note of live.notes) io.note(`note: ${note}`);
  const runs = live.runs.filter((r) => inRange(r, live.pageBytes, options.range) && (r.kind === 'present' || options.all === true));
  if (options.format === 'jsonl') for (const run of runs) io.write(`${JSON.stringify(rowOf(run, live.pageBytes))}\n`);
  else for (const run of runs) io.write(`${lineOf(run, live.pageBytes)}\n`);
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;
const touchable = (vma: LiveVma): boolean => /[rwx]/.test(vma.perms.slice(0, 3));

/** The fields of `pxd leaves` on an image; null where /proc does not tell. */
function rowOf(run: LiveRun, pageBytes: number): Record<string, unknown> {
  const { vma } = run;
  const common = { va: hex(run.va), bytes: run.pages * pageBytes, page: run.pageBytes };
  const name = vma.name === '' ? {} : { name: vma.name };
  if (run.kind === 'guard') return { ...common, present: false, kind: 'marker', swapType: null, swapOffset: null, ...name };
  if (run.swap) return { ...common, present: false, kind: 'swap', swapType: run.swap.type, swapOffset: `0x${run.swap.offset.toString(16)}`, ...name };
  return {
    va: common.va,
    pa: run.pfn === undefined ? null : hex(BigInt(run.pfn) * BigInt(pageBytes)),
    bytes: run.step === 0 ? pageBytes : common.bytes,
    page: common.page,
    read: vma.perms[0] === 'r',
    write: vma.perms[1] === 'w',
    exec: vma.perms[2] === 'x',
    user: true,
    present: touchable(vma),
    global: false,
    dirty: null,
    accessed: null,
    contig: 1,
    count: run.step === 0 ? run.pages : 1,
    ...(run.step === 0 && run.pages > 1 ? { stride: pageBytes } : {}),
    ...name,
    softDirty: run.softDirty,
    exclusive: run.exclusive,
    uffdWp: run.uffdWp,
    ...(run.pageFlags ? { pageFlags: run.pageFlags } : {}),
    ...(run.mapCount !== undefined ? { mapCount: run.mapCount } : {}),
    ...(vma.torn ? { torn: true } : {}),
  };
}

function lineOf(run: LiveRun, pageBytes: number): string {
  const end = run.va + BigInt(run.pages * pageBytes);
  const where = run.kind === 'guard' ? 'guard' : run.swap ? `swap ${run.swap.type}/0x${run.swap.offset.toString(16)}` : run.pfn === undefined ? '?' : (BigInt(run.pfn) * BigInt(pageBytes)).toString(16);
  const marks = [run.exclusive ? 'exclusive' : run.file ? 'file' : 'shared', run.step === 0 && run.pages > 1 ? 'same frame' : '', run.uffdWp ? 'uffd-wp' : '', ...(run.pageFlags ?? []).filter((f) => /thp|huge|ksm|zero_page|hwpoison/.test(f)), run.vma.torn ? 'torn' : ''].filter((m) => m !== '');
  return `${run.va.toString(16).padStart(12, '0')}-${end.toString(16).padStart(12, '0')} ${where.padStart(12)} ${sizeText(run.pages * pageBytes).padStart(6)} ${run.vma.perms.slice(0, 3)} ${marks.join(',')} ${run.vma.name}`.trimEnd();
}

/** `pxd inspect --pid N`: areas with what of them is present, and totals. */
export async function liveInspect(options: ImageOptions & Record<string, unknown>, io: Io): Promise<void> {
  const live = await read('inspect', options);
  io.write(`${paint(io, ['bold', 'underline'], `pid ${live.pid} ${live.comm}: live, from /proc (areas, not tables)`)}\n`);
  for (const note of live.notes) for (const line of wrap(`note: ${note}`, io.columns)) io.write(`${paint(io, 'yellow', line)}\n`);
  const byVma = new Map<LiveVma, LiveRun[]>();
  for (const run of live.runs) byVma.set(run.vma, [...(byVma.get(run.vma) ?? []), run]);
  const groups = grouped(live.vmas);
  const room = Math.max(10, io.rows - 8);
  const shown = groups.length > room ? biggest(groups, byVma, live.pageBytes, room) : groups;
  const rows = shown.map((g) => rowOfGroup(g, byVma, live.pageBytes));
  const columns = [{ title: 'virtual' }, { title: 'size', right: true }, { title: 'present', right: true }, { title: 'swapped', right: true }, { title: 'perms' }, { title: 'pieces', right: true }, { title: 'area' }];
  for (const line of tableLines(columns, rows, { width: io.columns, header: (t) => paint(io, 'dim', t) })) io.write(`${line}\n`);
  if (shown.length < groups.length) io.write(`${paint(io, 'dim', `and ${groups.length - shown.length} smaller areas ("pxd leaves --pid ${live.pid}" lists all)`)}\n`);
  io.write(`${cut(`${paint(io, 'bold', 'totals')} ${totals(live)}`, io.columns)}\n`);
}

/** Neighbouring areas of one file or name are shown as one line. */
function grouped(vmas: readonly LiveVma[]): LiveVma[][] {
  const groups: LiveVma[][] = [];
  for (const vma of vmas) {
    const last = groups[groups.length - 1];
    if (last && last[0].name === vma.name && last[last.length - 1].end === vma.start) last.push(vma);
    else groups.push([vma]);
  }
  return groups;
}

const presentOf = (group: readonly LiveVma[], byVma: Map<LiveVma, LiveRun[]>, kind: LiveRun['kind']): number =>
  group.flatMap((v) => byVma.get(v) ?? []).reduce((n, r) => n + (r.kind === kind ? r.pages : 0), 0);

function biggest(groups: LiveVma[][], byVma: Map<LiveVma, LiveRun[]>, _pageBytes: number, room: number): LiveVma[][] {
  const kept = new Set([...groups].sort((a, b) => presentOf(b, byVma, 'present') - presentOf(a, byVma, 'present')).slice(0, room));
  return groups.filter((g) => kept.has(g));
}

function rowOfGroup(group: LiveVma[], byVma: Map<LiveVma, LiveRun[]>, pageBytes: number): string[] {
  const first = group[0];
  const last = group[group.length - 1];
  const swapped = presentOf(group, byVma, 'swap');
  return [
    `${first.start.toString(16).padStart(12, '0')}-${last.end.toString(16).padStart(12, '0')}`,
    sizeText(Number(last.end - first.start)),
    sizeText(presentOf(group, byVma, 'present') * pageBytes),
    swapped > 0 ? sizeText(swapped * pageBytes) : '',
    [...new Set(group.map((v) => v.perms.slice(0, 3)))].join(' '),
    String(group.flatMap((v) => byVma.get(v) ?? []).length),
    first.name || 'anonymous',
  ];
}

function totals(live: LiveProcess): string {
  const sum = (keep: (r: LiveRun) => boolean): number => live.runs.filter(keep).reduce((n, r) => n + r.pages, 0) * live.pageBytes;
  const present = sum((r) => r.kind === 'present');
  const parts = [`${sizeText(present)} present in ${live.vmas.length} areas`, `${sizeText(sum((r) => r.kind === 'present' && r.exclusive))} exclusive`, `${sizeText(sum((r) => r.kind === 'present' && r.file))} of files`];
  const swapped = sum((r) => r.kind === 'swap');
  if (swapped > 0) parts.push(`${sizeText(swapped)} swapped`);
  const thp = sum((r) => r.pageFlags?.includes('thp') === true);
  if (thp > 0) parts.push(`${sizeText(thp)} in transparent huge pages`);
  return parts.join(', ');
}
