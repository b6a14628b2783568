/**
 * How fast all leaves of a large process come out: pxd in process against `walk.c`, a C walker built here with the machine's
 * compiler, both in this run on the same memory. Also: `inspect` of that image as a whole process, and peak memory on a sparse image of several gigabytes.
 *
 * Uses the capture `x86_64-hog` (700,219 leaves) where it is, else tables of the same shape that it makes itself.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findMode } from '../src/arch/registry.ts';
import { writeCapture } from '../src/image/capture.ts';
import { openImage } from '../src/image/node/open.ts';
import { compileMode } from '../src/pagetable/compile.ts';
import { extentsOf } from '../src/pagetable/extents.ts';
import { rootFromRegisters } from '../src/pagetable/root.ts';
import { readPageTables } from '../src/pagetable/tree.ts';
import { captureDir } from '../tests/support/fixtures.ts';
import { makeHog } from './hog.ts';
import { type BenchRow, median, report } from './report.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const hogDir = captureDir('x86_64-hog');
const HOG_CR3 = 0x141c26000n;
/** Warm walks a round, and rounds: the two walkers take turns, so that a machine whose speed drifts treats both alike. */
const WARM_RUNS = 12;
const ROUNDS = 5;

/** The hog's memory as a plain ELF file, so that both sides read the same bytes. */
async function hogFile(dir: string): Promise<{ path: string; cr3: bigint; made: boolean }> {
  const path = join(dir, 'hog.elf');
  if (hogDir !== undefined) {
    const image = await openImage(hogDir);
    writeElf(
      path,
      [...image.frames()].map((n) => ({ frame: n, words: image.frame(n) as Uint32Array })),
    );
    image.close();
    return { path, cr3: HOG_CR3, made: false };
  }
  const { frames, cr3 } = makeHog();
  writeElf(path, frames);
  return { path, cr3, made: true };
}

function writeElf(path: string, frames: readonly { frame: number; words: Uint32Array }[]): void {
  const bytes = frames.map(({ frame, words }) => ({ frame, bytes: new Uint8Array(words.buffer, words.byteOffset, 4096) }));
  writeFileSync(path, Buffer.concat(writeCapture({ frames: bytes, elfMachine: 62, endian: 'little', meta: { roots: [] } })));
}

interface Figures {
  readonly first: number;
  readonly warm: number;
  readonly leaves: number;
}

/** The C walker built with the machine's compiler, or undefined without one. */
function buildC(dir: string): string | undefined {
  const program = join(dir, 'walk');
  return spawnSync('cc', ['-O2', '-o', program, join(here, 'walk.c')], { stdio: 'inherit' }).status === 0 ? program : undefined;
}

function runC(program: string, path: string, cr3: bigint): Figures {
  const out = spawnSync(program, [path, `0x${cr3.toString(16)}`, String(WARM_RUNS)], { encoding: 'utf8' });
  if (out.status !== 0) throw new Error(`the C walker failed: ${out.stderr}`);
  const [first, warm, leaves] = out.stdout.trim().split(' ').map(Number);
  return { first, warm, leaves };
}

/** Walks in this process: the first one of a freshly opened image, then rounds of warm ones with the C walker in between. */
async function race(dir: string, path: string, cr3: bigint): Promise<{ pxd: Figures; c: Figures | undefined }> {
  const mode = findMode('x86-4level');
  if (!mode) throw new Error('no mode x86-4level');
  const compiled = compileMode(mode, '6.1');
  const image = await openImage(path);
  let leaves = 0;
  const walk = (): number => {
    const start = performance.now();
    const tables = readPageTables(compiled, image, rootFromRegisters(compiled, { cr3 }, 'user'), { half: 'user' });
    const { columns, classes } = extentsOf(tables, { half: 'user' });
    const ms = performance.now() - start;
    leaves = 0;
    for (let i = 0; i < columns.length; i++) leaves += (columns.pages[i] / classes[columns.kind[i]].leafPages) * columns.count[i];
    return ms;
  };
  const first = walk();
  for (let k = 0; k < WARM_RUNS; k++) walk();
  const program = buildC(dir);
  const theirs: Figures[] = [];
  const ours: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (program) theirs.push(runC(program, path, cr3));
    for (let k = 0; k < WARM_RUNS; k++) ours.push(walk());
  }
  image.close();
  const c = theirs.length > 0 ? { first: median(theirs.map((t) => t.first)), warm: median(theirs.map((t) => t.warm)), leaves: theirs[0].leaves } : undefined;
  return { pxd: { first, warm: median(ours), leaves }, c };
}

/** Whole `pxd inspect` as a process: wall time in ms and peak memory in MB. */
function runInspect(args: string[]): { ms: number; megabytes: number } | undefined {
  const cli = join(here, '../dist/cli.js');
  if (!existsSync(cli)) return undefined;
  // The child reports its own peak (getrusage) on its way out.
  const hook = `process.on('exit',()=>require('node:fs').writeSync(2,'\\npeak '+process.resourceUsage().maxRSS+'\\n'))`;
  const preload = join(tmpdir(), `pxd-bench-peak-${process.pid}.cjs`);
  writeFileSync(preload, hook);
  const start = performance.now();
  const out = spawnSync(process.execPath, ['--require', preload, cli, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const ms = performance.now() - start;
  rmSync(preload);
  if (out.status !== 0) throw new Error(`pxd ${args.join(' ')} failed: ${out.stderr}`);
  return { ms, megabytes: Number(/peak (\d+)/.exec(out.stderr)?.[1]) / 1024 };
}

/** A sparse file of several gigabytes: the hog's tables at their own places, holes elsewhere, read as a raw image. */
async function bigImage(dir: string, path: string): Promise<{ path: string; bytes: number }> {
  const { openSync, writeSync, ftruncateSync, closeSync } = await import('node:fs');
  const image = await openImage(path);
  const big = join(dir, 'big.raw');
  const fd = openSync(big, 'w');
  let last = 0;
  for (const n of image.frames()) {
    const words = image.frame(n) as Uint32Array;
    writeSync(fd, new Uint8Array(words.buffer, words.byteOffset, 4096), 0, 4096, n * 4096);
    last = Math.max(last, n);
  }
  ftruncateSync(fd, Math.max((last + 1) * 4096, 5 * 2 ** 30));
  closeSync(fd);
  image.close();
  return { path: big, bytes: statSync(big).size };
}

async function main(): Promise<void> {
  const json = process.argv.includes('--json');
  const dir = mkdtempSync(join(tmpdir(), 'pxd-bench-'));
  try {
    const { path, cr3, made } = await hogFile(dir);
    const { pxd, c } = await race(dir, path, cr3);
    if (c && c.leaves !== pxd.leaves) throw new Error(`pxd finds ${pxd.leaves} leaves, the C walker ${c.leaves}`);
    if (!json) console.log(`${pxd.leaves} leaves${made ? ' of self-made tables (the capture x86_64-hog is not here)' : ' of x86_64-hog pid 79, user half'}`);
    const rows: BenchRow[] = [
      {
        name: 'x86_64-hog warm',
        value: pxd.warm,
        unit: 'ms',
        reference: 'C walker, warm',
        referenceValue: c?.warm ?? null,
        goal: '<=3',
        limit: '<=15',
        better: 'lower',
      },
      {
        name: 'x86_64-hog first',
        value: pxd.first,
        unit: 'ms',
        reference: 'C walker, first',
        referenceValue: c?.first ?? null,
        goal: null,
        limit: '<=150',
        better: 'lower',
      },
    ];
    const root = ['--mode', 'x86-4level', '--root', `0x${cr3.toString(16)}`];
    const inspect = runInspect(['inspect', hogDir ?? path, ...(made ? root : ['--pid', '79'])]);
    const node = spawnSync(process.execPath, ['-e', '']);
    if (inspect && node.status === 0) {
      const start = performance.now();
      spawnSync(process.execPath, ['-e', '']);
      rows.push({
        name: 'inspect x86_64-hog',
        value: inspect.ms,
        unit: 'ms',
        reference: 'node starting and ending',
        referenceValue: performance.now() - start,
        goal: null,
        limit: '<1000',
        better: 'lower',
      });
      const big = await bigImage(dir, path);
      const peak = runInspect(['inspect', big.path, '--input-format', 'raw', ...root]);
      if (peak)
        rows.push({
          name: 'peak memory, 5 GiB image',
          value: peak.megabytes,
          unit: 'MB',
          reference: 'size of the image',
          referenceValue: big.bytes / 2 ** 20,
          goal: null,
          limit: '<200',
          better: 'lower',
        });
    }
    report(rows, json);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
