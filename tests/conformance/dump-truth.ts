/**
 * Compares what pxd reads out of a capture with what the kernel itself said (pagemap, smaps) about every process.
 *
 * Every page that the truth lists as present must translate to the listed frame with rights that fit its VMA; every swapped page to
 * the listed type and offset; stamps must stand where they were written; and nothing else may be user-mapped but VM_PFNMAP areas.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { findMode } from '../../src/arch/registry.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { extentsOf, vpnOf } from '../../src/pagetable/extents.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { advanceOf, type PageTables, readPageTables } from '../../src/pagetable/tree.ts';

export interface Run {
  va: string;
  n: number;
  pfn?: string;
  swap?: { type: number; offset: string | number };
  d?: number;
  flags: string;
}
export interface TruthVma {
  start: string;
  end: string;
  perms: string;
  name: string;
  smaps: { VmFlags?: string };
  runs: Run[];
}
export interface TruthProcess {
  pid: number;
  comm: string;
  regions: { name: string; va: string; len: number; stamp: 'own' | 'any' | 'zero' | 'none' }[];
  vmas: TruthVma[];
}
export interface Truth {
  pageSize: number;
  endian: 'little' | 'big';
  processes: TruthProcess[];
}
export interface RootRecord {
  pid: number;
  comm: string;
  mode: 'user' | 'kernel';
  root: Record<string, string>;
}

export interface Tally {
  present: number;
  protnone: number;
  swap: number;
  stamps: number;
  zero: number;
  pfnmap: number;
  differences: string[];
}

export const readJson = (path: string): unknown => JSON.parse((path.endsWith('.gz') ? gunzipSync(readFileSync(path)) : readFileSync(path)).toString());

interface Mapped {
  pfn: number;
  kind: number;
}

/** Compares one process under one of its roots. */
export function compareProcess(tables: PageTables, process: TruthProcess, truth: Truth, source: FrameSource, checkStamps: boolean): Tally {
  const tally: Tally = { present: 0, protnone: 0, swap: 0, stamps: 0, zero: 0, pfnmap: 0, differences: [] };
  const shift = tables.mode.mode.pageShift;
  const { columns, classes } = extentsOf(tables, { all: true, half: 'user' });
  const leaf = new Map<number, Mapped>();
  const swapped = new Map<number, { type: number; offset: number }>();
  for (let i = 0; i < columns.length; i++) {
    const cls = classes[columns.kind[i]];
    for (let c = 0; c < columns.count[i]; c++)
      for (let p = 0; p < columns.pages[i]; p++) {
        const vpn = columns.vpn[i] + c * columns.stride[i] + p;
        if (cls.kind === 'leaf') leaf.set(vpn, { pfn: columns.pfn[i] + p, kind: columns.kind[i] });
        else if (cls.kind === 'nonpresent') {
          const entry = tables.swapOf(cls.attribute, columns.pfn[i] + (advanceOf(cls.attribute) === 0 ? 0 : p));
          if (entry) swapped.set(vpn, { type: entry.type, offset: entry.offset });
        }
      }
  }
  const say = (text: string): void => {
    tally.differences.push(`pid ${process.pid} ${text}`);
  };
  for (const vma of process.vmas) for (const run of vma.runs) compareRun(run, vma, shift, leaf, swapped, classes, tally, say);
  extras(process, leaf, classes, shift, tally, say);
  if (checkStamps) stamps(process, truth, leaf, source, shift, tally, say);
  return tally;
}

function compareRun(
  run: Run,
  vma: TruthVma,
  shift: number,
  leaf: Map<number, Mapped>,
  swapped: Map<number, { type: number; offset: number }>,
  classes: ReturnType<typeof extentsOf>['classes'],
  tally: Tally,
  say: (t: string) => void,
): void {
  const vpn = vpnOf(BigInt(run.va), shift);
  for (let i = 0; i < run.n; i++) {
    const d = (run.d ?? 0) * i;
    const at = `0x${(BigInt(vpn + i) << BigInt(shift)).toString(16)}`;
    if (run.swap) {
      const found = swapped.get(vpn + i);
      const offset = Number(run.swap.offset) + d;
      if (found?.type !== run.swap.type || found.offset !== offset)
        say(`${at}: swap ${run.swap.type}/${offset}, found ${found ? `${found.type}/${found.offset}` : leaf.has(vpn + i) ? 'a leaf' : 'nothing'}`);
      else tally.swap++;
      continue;
    }
    const found = leaf.get(vpn + i);
    const pfn = Number(run.pfn) + d;
    if (found === undefined || found.pfn !== pfn) {
      say(`${at}: frame 0x${pfn.toString(16)}, found ${found ? `0x${found.pfn.toString(16)}` : 'nothing'}`);
      continue;
    }
    const cls = classes[found.kind];
    const [r, w, x] = [vma.perms[0] === 'r', vma.perms[1] === 'w', vma.perms[2] === 'x'];
    if (cls.write && !w) say(`${at}: writable in a ${vma.perms} area`);
    // An architecture without a no-execute or no-read bit grants more than the VMA; where it has them they must fit.
    if (cls.user && cls.present && !cls.read && r && !cls.exec) say(`${at}: not readable in a ${vma.perms} area`);
    // A valid entry that only the kernel may use is inaccessible too (arm64 makes contiguous PROT_NONE pages so).
    if (cls.present && cls.user && (cls.read || cls.write || cls.exec) && !(r || w || x)) say(`${at}: accessible in a ${vma.perms} area`);
    if (cls.present && cls.user && (cls.read || cls.exec)) tally.present++;
    else tally.protnone++;
  }
}

function extras(
  process: TruthProcess,
  leaf: Map<number, Mapped>,
  classes: ReturnType<typeof extentsOf>['classes'],
  shift: number,
  tally: Tally,
  say: (t: string) => void,
): void {
  const listed = new Set<number>();
  for (const vma of process.vmas)
    for (const run of vma.runs) if (!run.swap) for (let i = 0, vpn = vpnOf(BigInt(run.va), shift); i < run.n; i++) listed.add(vpn + i);
  const pfnmap = process.vmas
    .filter((v) => v.smaps.VmFlags?.split(' ').includes('pf') || /^\[(vectors|vvar|vvar_vclock|vdso|vsyscall|sigpage)\]$/.test(v.name))
    .map((v) => [vpnOf(BigInt(v.start), shift), vpnOf(BigInt(v.end), shift)]);
  for (const [vpn, m] of leaf) {
    if (listed.has(vpn) || !classes[m.kind].user) continue;
    if (pfnmap.some(([a, b]) => vpn >= a && vpn < b)) tally.pfnmap++;
    else say(`0x${(BigInt(vpn) << BigInt(shift)).toString(16)}: user-mapped to frame 0x${m.pfn.toString(16)}, the truth lists nothing`);
  }
}

function stamps(
  process: TruthProcess,
  truth: Truth,
  leaf: Map<number, Mapped>,
  source: FrameSource,
  shift: number,
  tally: Tally,
  say: (t: string) => void,
): void {
  for (const region of process.regions) {
    if (region.stamp === 'none') continue;
    const from = vpnOf(BigInt(region.va), shift);
    for (let vpn = from; vpn < from + region.len / 2 ** shift; vpn++) {
      const m = leaf.get(vpn);
      if (m === undefined) continue;
      const words = source.frame(m.pfn * 2 ** (shift - 12));
      if (words === undefined) continue;
      const bytes = new DataView(words.buffer, words.byteOffset, 4096);
      const little = truth.endian === 'little';
      if (region.stamp === 'zero') {
        if (words.some((w) => w !== 0)) say(`0x${(BigInt(vpn) << BigInt(shift)).toString(16)}: the zero page is not zero`);
        else tally.zero++;
        continue;
      }
      const tag = String.fromCharCode(...new Uint8Array(words.buffer, words.byteOffset, 8));
      // Pages that were never written carry no stamp (partly touched regions); a stamp that is there must be right.
      if (tag !== 'PXDSTAMP') {
        if (region.stamp === 'own' && words.some((w) => w !== 0)) say(`${region.name}: no stamp at 0x${(BigInt(vpn) << BigInt(shift)).toString(16)}`);
        continue;
      }
      const pid = bytes.getUint32(8, little);
      const va = bytes.getBigUint64(16, little);
      if (region.stamp === 'own' && (pid !== process.pid || va !== BigInt(vpn) << BigInt(shift)))
        say(`${region.name}: stamp of pid ${pid} at 0x${va.toString(16)} stands at 0x${(BigInt(vpn) << BigInt(shift)).toString(16)}`);
      else tally.stamps++;
    }
  }
}

export interface DumpResult extends Tally {
  dump: string;
  mode: string;
  processes: number;
  roots: number;
  leaves: number;
}

/** Compares a whole capture folder: every process, user-mode and kernel-mode root. */
export function compareDump(dir: string, source: FrameSource): DumpResult {
  const meta = readJson(join(dir, 'meta.json')) as { name: string; mode: string; kernel: { release: string } };
  const roots = readJson(join(dir, 'roots.json')) as RootRecord[];
  const truth = readJson(join(dir, 'truth.json.gz')) as Truth;
  const mode = findMode(meta.mode);
  if (!mode) throw new Error(`no mode ${meta.mode}`);
  const compiled = compileMode(mode, meta.kernel.release);
  const total: DumpResult = {
    dump: meta.name,
    mode: meta.mode,
    processes: truth.processes.length,
    roots: 0,
    leaves: 0,
    present: 0,
    protnone: 0,
    swap: 0,
    stamps: 0,
    zero: 0,
    pfnmap: 0,
    differences: [],
  };
  for (const record of roots) {
    const process = truth.processes.find((p) => p.pid === record.pid);
    if (!process) continue;
    const registers = Object.fromEntries(Object.entries(record.root).map(([k, v]) => [k.toLowerCase(), BigInt(v)]));
    const root = rootFromRegisters(compiled, registers, 'user');
    const tables = readPageTables(compiled, source, root);
    const tally = compareProcess(tables, process, truth, source, record.mode === 'user');
    total.roots++;
    for (const key of ['present', 'protnone', 'swap', 'stamps', 'zero', 'pfnmap'] as const) total[key] += tally[key];
    total.differences.push(...tally.differences.map((d) => `${record.mode} root, ${d}`));
  }
  return total;
}
