/**
 * How fast the mm of a machine is, next to the kernel that runs this: `mm.c`, built here with the machine's compiler, does the same operations in
 * turn with us. `mprotect` changes a mapping of four pages as a whole, `mprotect that splits` one page in the middle of a large one, back and forth. Both sides count the best of several rounds. A fault of the step program is taken without a
 * stop, as an explorer runs what nobody else sees, and with one at each operation. A load through the soft TLB stands next to a bare
 * load from a typed array, and the memory that a machine takes next to the RAM that it describes.
 *
 * Measured as docs/machine.md tells those to run who are after speed (`inlineMore`); with `--plain`, without.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as MachineModule from '../src/machine/index.ts';
import type * as NodeModule from '../src/machine/node/index.ts';
import { type BenchRow, report } from './report.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
/** The built package: what users run. Paths in variables keep the type checker from wanting dist/. */
const [built, builtNode] = ['machine', 'machine-node'].map((name) => new URL(`../dist/${name}.js`, import.meta.url).href);
const { Machine } = (await import(built)) as typeof MachineModule;
const { inlineMore } = (await import(builtNode)) as typeof NodeModule;
if (!process.argv.includes('--plain')) inlineMore();

const PAGES = 10_000;
const CALLS = 2_000;
const ROUNDS = 7;
const BASE = 0x10000000;
const SPOT = 0x20000000;
const FIXED = 0x32;

/** Best nanoseconds of one of `n` operations over rounds that alternate with the kernel's. */
type Figures = Map<string, number>;

const keepBest = (figures: Figures, name: string, ns: number): void => void figures.set(name, Math.min(ns, figures.get(name) ?? Infinity));

function timed(figures: Figures, name: string, n: number, run: () => void): void {
  const start = process.hrtime.bigint();
  run();
  keepBest(figures, name, Number(process.hrtime.bigint() - start) / n);
}

function measure(figures: Figures, program: 'direct' | 'step' | 'straight'): void {
  const machine = new Machine({ ramBytes: 2 ** 29, program });
  const p = machine.spawn();
  const first = BASE / 4096;
  for (let warm = 0; warm < 6; warm++) {
    p.syscall('mmap', BASE, PAGES * 4096, 3, FIXED, -1, 0);
    timed(figures, 'fault', PAGES, () => {
      for (let i = 0; i < PAGES; i++) p.fault(first + i, 'write');
    });
    if (program !== 'direct') {
      p.syscall('munmap', BASE, PAGES * 4096);
      continue;
    }
    let child: MachineModule.Process | undefined;
    timed(figures, 'fork 10000 pages', 1, () => {
      child = p.fork();
    });
    child?.exit();
    timed(figures, 'mprotect that splits', CALLS, () => {
      for (let i = 0; i < CALLS; i++) p.syscall('mprotect', BASE + 0x4000, 0x1000, i & 1 ? 3 : 1);
    });
    p.syscall('munmap', BASE, PAGES * 4096);
    timed(figures, 'mmap+munmap', CALLS, () => {
      for (let i = 0; i < CALLS; i++) {
        p.syscall('mmap', SPOT, 0x4000, 3, FIXED, -1, 0);
        p.syscall('munmap', SPOT, 0x4000);
      }
    });
    p.syscall('mmap', SPOT, 0x4000, 3, FIXED, -1, 0);
    for (let i = 0; i < 4; i++) p.fault(SPOT / 4096 + i, 'write');
    timed(figures, 'mprotect', CALLS, () => {
      for (let i = 0; i < CALLS; i++) p.syscall('mprotect', SPOT, 0x4000, i & 1 ? 3 : 1);
    });
    p.syscall('munmap', SPOT, 0x4000);
  }
}

/** A load through the inline fast path of an emulator, and the same loads without any translation. */
function softTlb(figures: Figures): void {
  const machine = new Machine({ ramBytes: 2 ** 27 });
  const p = machine.spawn();
  const pages = 64;
  p.syscall('mmap', BASE, pages * 4096, 3, FIXED, -1, 0);
  for (let i = 0; i < pages; i++) {
    p.store(BigInt(BASE + i * 4096), 1, 1n);
    p.load(BigInt(BASE + i * 4096), 1);
  }
  const bare = new Uint8Array(pages * 4096);
  const n = 1 << 20;
  const { tags, pages: frames, ram } = machine.tlb.view(0);
  for (let round = 0; round < 5; round++) {
    let sum = 0;
    timed(figures, 'soft TLB load', n, () => {
      for (let i = 0; i < n; i++) {
        const address = BASE + ((i * 4099) & (pages * 4096 - 1));
        const vpn = address >>> 12;
        const slot = vpn & 511;
        if (tags[slot] === vpn + 1) sum += ram[frames[slot] * 4096 + (address & 4095)];
        else p.fault(vpn, 'read');
      }
    });
    timed(figures, 'typed array load', n, () => {
      for (let i = 0; i < n; i++) {
        const address = (i * 4099) & (pages * 4096 - 1);
        sum += bare[address];
      }
    });
    if (sum < 0) throw new Error('unreachable');
  }
}

/** Bytes that a machine with 16 GiB of RAM, 1 % of it touched, takes in this process beyond the touched frames, per byte described. */
function memoryShare(): number {
  const ramBytes = 2 ** 34;
  const machine = new Machine({ ramBytes });
  const p = machine.spawn();
  const touched = 4096;
  p.syscall('mmap', BASE, touched * 4096, 3, FIXED, -1, 0);
  for (let i = 0; i < touched; i++) p.fault(BASE / 4096 + i, 'write');
  const { state } = machine;
  let bytes = state.heap.byteLength + state.index.byteLength + state.groupOf.byteLength + state.groupPfn.byteLength;
  for (const column of Object.values(state.columns)) bytes += column.byteLength;
  bytes += state.ram.buffer.byteLength - touched * 4096;
  return bytes / ramBytes;
}

/** The kernel's side, or undefined without a compiler. */
function buildC(dir: string): string | undefined {
  const program = join(dir, 'mm');
  return spawnSync('cc', ['-O2', '-o', program, join(here, 'mm.c')], { stdio: 'ignore' }).status === 0 ? program : undefined;
}

function runC(program: string, figures: Figures): void {
  for (const line of spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n')) {
    const [, name, ns] = /^(.*) ([\d.]+)$/.exec(line) as RegExpExecArray;
    keepBest(figures, name, Number(ns));
  }
}

const dir = mkdtempSync(join(tmpdir(), 'pxd-bench-'));
try {
  const ours: Figures = new Map();
  const kernel: Figures = new Map();
  const step: Figures = new Map();
  const straight: Figures = new Map();
  const program = process.platform === 'linux' ? buildC(dir) : undefined;
  for (let round = 0; round < ROUNDS; round++) {
    measure(ours, 'direct');
    if (program) runC(program, kernel);
    measure(straight, 'straight');
  }
  softTlb(ours);
  // Afterwards: code that has stopped before is compiled otherwise.
  for (let round = 0; round < ROUNDS; round++) measure(step, 'step');
  const reference = program ? 'running kernel' : 'no compiler here';
  const goals: Record<string, string> = { fault: '<=1', 'mmap+munmap': '<=1', 'fork 10000 pages': '<=3', mprotect: '<=1', 'mprotect that splits': '<=1' };
  const rows: BenchRow[] = Object.entries(goals).map(([name, goal]) => ({
    name,
    value: ours.get(name) as number,
    unit: 'ns',
    reference,
    referenceValue: kernel.get(name) ?? null,
    goal,
    limit: null,
    better: 'lower',
  }));
  rows.push({
    name: 'soft TLB load',
    value: ours.get('soft TLB load') as number,
    unit: 'ns',
    reference: 'typed array load',
    referenceValue: ours.get('typed array load') as number,
    goal: '<=3',
    limit: null,
    better: 'lower',
  });
  for (const [name, figures, limit] of [
    ['step program', straight, '<=2000'],
    ['step program, all stops', step, null],
  ] as const)
    rows.push({ name, value: figures.get('fault') as number, unit: 'ns a fault', reference: '-', referenceValue: null, goal: null, limit, better: 'lower' });
  rows.push({
    name: 'memory of the model',
    value: memoryShare() * 100,
    unit: '% of RAM',
    reference: '-',
    referenceValue: null,
    goal: null,
    limit: '<=2',
    better: 'lower',
  });
  report(rows, process.argv.includes('--json'));
} finally {
  rmSync(dir, { recursive: true, force: true });
}
