/**
 * Hostile input, one case a seed: damaged images, tables of noise, cycles, wrong modes, odd command lines.
 *
 * A case passes when it ends in time with a result or with one PxdError of one sentence; any other exception, a hang or too much memory fails it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Root } from '../../src/arch/mode.ts';
import { allModes } from '../../src/arch/registry.ts';
import { run } from '../../src/cli/run.ts';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { nodeCodecs } from '../../src/image/node/codecs.ts';
import { readWrapped } from '../../src/image/node/wrapped.ts';
import { openSource } from '../../src/image/open.ts';
import { parseLayout } from '../../src/image/raw.ts';
import { parseRoots } from '../../src/image/roots.ts';
import { audit } from '../../src/inspect/audit.ts';
import { type CompiledMode, compileMode } from '../../src/pagetable/compile.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { forEachExtent } from '../../src/pagetable/extents.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { captureDirs } from '../support/fixtures.ts';
import { silentIo } from '../support/io.ts';
import { random, randomTables } from '../support/random-tables.ts';

type Next = () => number;

/** A family of cases; `share` is its part of all cases. */
interface Family {
  readonly name: string;
  readonly share: number;
  readonly run: (next: Next) => Promise<void> | void;
}

const pick = <T>(next: Next, list: readonly T[]): T => list[Math.floor(next() * list.length)];

/** At most this many items and extents are looked at: what a user would page through. */
const LOOK = { maxItems: 100_000, extents: 50_000 };

function walk(mode: CompiledMode, source: FrameSource, root: Root): void {
  const tables = readPageTables(mode, source, root, { maxItems: LOOK.maxItems });
  let seen = 0;
  forEachExtent(tables, { all: true, batch: 10_000 }, (columns) => {
    seen += columns.length;
    return seen < LOOK.extents;
  });
}

// --- damaged files ----------------------------------------------------------------------------------------------------

let files: Promise<{ name: string; bytes: Uint8Array; mode?: string; root?: bigint }[]> | undefined;

/** Small images of every format, unpacked and packed. */
async function images(): Promise<{ name: string; bytes: Uint8Array; mode?: string; root?: bigint }[]> {
  const found: { name: string; bytes: Uint8Array; mode?: string; root?: bigint }[] = [];
  for (const dir of captureDirs()) {
    const meta = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as { mode: string };
    const roots = JSON.parse(readFileSync(join(dir, 'roots.json'), 'utf8')) as { root: Record<string, string> }[];
    const value = Object.values(roots[0].root).find((v) => /^0x/.test(v));
    for (const file of readdirSync(dir).filter((f) => /\.zst$/.test(f) && !/^full|info_tlb/.test(f))) {
      const packed = new Uint8Array(readFileSync(join(dir, file)));
      if (packed.length > 60_000) continue;
      found.push({ name: file, bytes: packed, mode: meta.mode });
      const bytes = await readWrapped(join(dir, file));
      if (bytes.length < 2 ** 21) found.push({ name: file.replace('.zst', ''), bytes, mode: meta.mode, root: value === undefined ? undefined : BigInt(value) });
    }
  }
  return found;
}

const EVIL = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x1000, 0xfff, 0x10000];

/** Flips, overwrites, truncates or repeats parts; headers are hit more often than the rest. */
function damage(next: Next, bytes: Uint8Array): Uint8Array {
  let out = bytes.slice();
  const times = 1 + Math.floor(next() * 6);
  for (let i = 0; i < times && out.length > 0; i++) {
    const near = next() < 0.7 ? Math.min(out.length, 8192) : out.length;
    const at = Math.floor(next() * near);
    const how = next();
    if (how < 0.3) out[at] ^= 1 << Math.floor(next() * 8);
    else if (how < 0.5) out[at] = Math.floor(next() * 256);
    else if (how < 0.8) {
      const view = new DataView(out.buffer, out.byteOffset, out.length);
      const place = at & ~3;
      if (place + 8 <= out.length) {
        view.setUint32(place, pick(next, EVIL), next() < 0.5);
        if (next() < 0.3) view.setUint32(place + 4, pick(next, EVIL), next() < 0.5);
      }
    } else if (how < 0.9) out = out.slice(0, Math.floor(next() * out.length));
    else out.copyWithin(at, Math.floor(next() * out.length), Math.min(out.length, at + 4096));
  }
  return out;
}

async function damagedFile(next: Next): Promise<void> {
  files ??= images();
  const file = pick(next, await files);
  const image = await openSource(new MemoryBytes(damage(next, file.bytes)), { codecs: nodeCodecs, limits: { size: 2 ** 25, stored: 2 ** 23 } });
  let n = 0;
  for (const frame of image.frames()) {
    image.frame(frame);
    if (++n === 64) break;
  }
  image.description();
  const wrong = next() < 0.3;
  const mode = wrong ? pick(next, allModes()) : allModes().find((m) => m.name === file.mode);
  if (!mode || file.root === undefined) return;
  const compiled = compileMode(mode);
  for (const register of mode.roots) {
    let root: Root;
    try {
      root = register.resolve(file.root, {});
    } catch (e) {
      if (e instanceof RangeError) continue;
      throw e;
    }
    walk(compiled, image, root);
  }
}

// --- hostile tables ---------------------------------------------------------------------------------------------------

function craftedTables(next: Next): void {
  const mode = compileMode(pick(next, allModes()));
  const { memory, root } = randomTables(mode, Math.floor(next() * 2 ** 31), 1 + Math.floor(next() * 40));
  walk(mode, memory, root);
}

function auditedTables(next: Next): void {
  const mode = compileMode(pick(next, allModes()));
  const { memory, root } = randomTables(mode, Math.floor(next() * 2 ** 31), 1 + Math.floor(next() * 6));
  const tables = readPageTables(mode, memory, root, { maxItems: 20_000 });
  audit([{ name: 'random', tables }]);
}

/** Every word of every frame is noise, or all frames hold one word that points back into them. */
function noise(next: Next): void {
  const mode = compileMode(pick(next, allModes()));
  const frames = new Map<number, Uint32Array>();
  const same = next() < 0.5;
  const lo = Math.floor(next() * 2 ** 32);
  const hi = next() < 0.5 ? 0 : Math.floor(next() * 2 ** 32);
  for (let f = 0; f < 32; f++) {
    const words = new Uint32Array(1024);
    for (let i = 0; i < 1024; i++)
      words[i] = same ? (i % 2 ? hi : (lo & 0xfff) | (((f + 1) % 32) << 12)) : Math.floor(next() * 2 ** 32) & (next() < 0.5 ? 0x1ffff : 0xffffffff);
    frames.set(f, words);
  }
  const level = mode.levels[0];
  walk(
    mode,
    { frame: (n) => frames.get(n) },
    { table: 0n, level: level.level.name, label: 'noise', ranges: [{ half: 'user', va: 0n, from: 0, to: level.entries }] },
  );
}

/** Root registers with any value: a root or a sentence. */
function roots(next: Next): void {
  const mode = pick(next, allModes());
  const value = (BigInt(Math.floor(next() * 2 ** 32)) << 32n) | BigInt(Math.floor(next() * 2 ** 32));
  const register = pick(next, mode.roots);
  try {
    const root = register.resolve(next() < 0.3 ? value & 0xffffn : value, {});
    walk(compileMode(mode), { frame: () => undefined }, root);
  } catch (e) {
    if (!(e instanceof RangeError)) throw e;
  }
}

// --- texts and command lines ------------------------------------------------------------------------------------------

function texts(next: Next): void {
  const base = next() < 0.5 ? '[{"pid":1,"comm":"a","mode":"user","root":{"cr3":"0x1000"}}]' : '0x0 0x0 0x1000\n0x1000 0x100000 0x2000\n';
  const bytes = damage(next, new TextEncoder().encode(base));
  const text = new TextDecoder().decode(bytes);
  for (const parse of [(t: string) => parseRoots(t, 'roots.json'), (t: string) => parseLayout(t, 'layout')]) {
    try {
      parse(text);
    } catch (e) {
      if (!(e instanceof PxdError)) throw e;
    }
  }
}

const WORDS = [
  'inspect',
  'leaves',
  'walk',
  'translate',
  'pte',
  'modes',
  'layout',
  'audit',
  'aliases',
  'diff',
  '--mode',
  'x86-4level',
  'arm64-4k-48',
  '--root',
  '0x1000',
  '-1',
  'zz',
  '--pid',
  '79',
  '999999999999',
  '--range',
  '0-',
  '0x0-0xffffffffffffffff',
  '--where',
  'write &&',
  'page>=2M',
  '--summary',
  '--all',
  '--format',
  'jsonl',
  '--kernel',
  '6.12',
  '--strict',
  '--json',
  '',
  '0',
  '0xffffffffffffffff',
  'pte',
  'pgd',
  '--user',
  '--help',
  '/',
  '/dev/null',
  '.',
  'no/such/file',
];

async function commandLine(next: Next): Promise<void> {
  const argv = Array.from({ length: 1 + Math.floor(next() * 6) }, () => pick(next, WORDS));
  if (next() < 0.4) argv.splice(1, 0, pick(next, captureDirs()));
  const io = silentIo();
  const code = await run(argv, io);
  if (code !== 0 && code !== 1 && code !== 2) throw new Error(`pxd ${argv.join(' ')}: exit code ${code}`);
  if (code === 2 && (io.errors.join('').trim().split('\n').length !== 1 || io.output.join('') !== ''))
    throw new Error(
      `pxd ${argv.join(' ')}: expected one sentence and no output, got ${JSON.stringify(io.errors)} ${JSON.stringify(io.output.join('').slice(0, 100))}`,
    );
}

const FAMILIES: readonly Family[] = [
  { name: 'damaged file', share: 0.35, run: damagedFile },
  { name: 'crafted tables', share: 0.25, run: craftedTables },
  { name: 'noise', share: 0.1, run: noise },
  { name: 'audited tables', share: 0.05, run: auditedTables },
  { name: 'root registers', share: 0.13, run: roots },
  { name: 'texts', share: 0.1, run: texts },
  { name: 'command line', share: 0.02, run: commandLine },
];

export interface CaseOutcome {
  readonly family: string;
  readonly ms: number;
  /** Undefined when the case passed. */
  readonly failure: string | undefined;
  readonly refused: boolean;
}

/** Most milliseconds that a case may take; a case is far below it unless something is unbounded. */
const CASE_MS = 10_000;

/** Runs the case of a seed. */
export async function runCase(seed: number): Promise<CaseOutcome> {
  const next = random(seed);
  let at = next();
  const family = FAMILIES.find((f) => (at -= f.share) < 0) ?? FAMILIES[0];
  const start = performance.now();
  let failure: string | undefined;
  let refused = false;
  try {
    await family.run(next);
  } catch (e) {
    if (e instanceof PxdError) {
      refused = true;
      if (!/^[^\n]{10,600}$/.test(e.message)) failure = `not one sentence: ${JSON.stringify(e.message)}`;
    } else failure = (e as Error).stack ?? String(e);
  }
  const ms = performance.now() - start;
  if (ms > CASE_MS) failure ??= `took ${Math.round(ms)} ms`;
  return { family: family.name, ms, failure, refused };
}
