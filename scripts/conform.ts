/**
 * `npm run conform -- [DIR…|FILE…]`: plays traces recorded on a real kernel on pxd's own mm and compares every result and every state.
 * Prints a table of the groups, then the first difference of each trace that has one; exit code 1 when there is any, 2 for bad input.
 *
 * Options: --group G, --only REGEX (name of the trace), --jobs N, --verbose (every difference), --json (one object a trace),
 * --timeout SECONDS for one trace. Without a path it takes the traces kept with the tests.
 *
 * Traces are played by child processes of this script, one trace at a time each: a machine that hangs or dies costs its trace only. With one
 * job, or one trace, this process plays them itself.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { explainLine } from '../src/machine/trace/compare.ts';
import { parseTrace } from '../src/machine/trace/format.ts';
import type { OperationDifference, TraceReport } from '../src/machine/trace/player.ts';
import { PxdError } from '../src/pagetable/error.ts';

const FIXTURES = join(dirname(fileURLToPath(import.meta.url)), '../tests/machine/trace/fixtures');
/** Kept traces of what a machine has the calls and the memory for. */
const KEPT = ['anon', 'file', 'fork', 'gup', 'hugetlb', 'misc', 'mlock', 'thp', 'uffd'].map((group) => join(FIXTURES, group));

interface Options {
  readonly group?: string;
  readonly only?: RegExp;
  readonly jobs: number;
  readonly verbose: boolean;
  readonly json: boolean;
  readonly timeoutMs: number;
}

/** What a child answers. */
type Answer = { readonly report: TraceReport } | { readonly bad: string };

const usage = (sentence: string): PxdError => new PxdError('usage', sentence);

/** Text of a trace, packed or not. */
export function readTraceFile(path: string): string {
  const bytes = readFileSync(path);
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  try {
    return (packed ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (e) {
    throw new PxdError('bad-image', `${path} cannot be unpacked: ${(e as Error).message}`);
  }
}

/** Traces below a path, or the file itself. */
function filesOf(path: string): string[] {
  if (!existsSync(path)) throw usage(`${path}: there is no such file or folder`);
  if (!statSync(path).isDirectory()) return [path];
  const found = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((f) => /\.trace(\.gz)?$/.test(f));
  if (found.length === 0) throw usage(`${path}: the folder holds no *.trace or *.trace.gz`);
  return found.sort().map((f) => join(path, f));
}

async function playFile(path: string, all: boolean): Promise<Answer> {
  try {
    const trace = parseTrace(readTraceFile(path));
    // The machine is loaded where traces are played, and only for what is a trace.
    const { conformTrace } = await import('../src/machine/trace/conform.ts');
    return { report: conformTrace(trace, { all }) };
  } catch (e) {
    if (e instanceof PxdError) return { bad: `${path}: ${e.message}` };
    throw e;
  }
}

/** A trace whose player ended without an answer. */
function lost(path: string, why: string): TraceReport {
  const name = path.replace(/^.*\//, '').replace(/\.trace(\.gz)?$/, '');
  const first: OperationDifference = { i: -1, op: '', what: 'run', where: '', expected: undefined, got: why };
  return { trace: name, group: dirname(path).replace(/^.*\//, ''), ops: 0, differences: 1, accepted: 0, first };
}

/** Plays files in child processes (one job: in this one); answers come in any order. */
async function playAll(files: readonly string[], options: Options, seen: (path: string, answer: Answer) => void): Promise<void> {
  if (options.jobs === 1 || files.length === 1) {
    for (const path of files) seen(path, await playFile(path, options.verbose));
    return;
  }
  let next = 0;
  const serve = async (): Promise<void> => {
    let child: ChildProcess | undefined;
    while (next < files.length) {
      const path = files[next++];
      child ??= fork(fileURLToPath(import.meta.url), ['--worker'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      const answer = await ask(child, path, options);
      if ('died' in answer) {
        child = undefined;
        seen(path, { report: lost(path, answer.died) });
      } else seen(path, answer);
    }
    child?.kill();
  };
  await Promise.all(Array.from({ length: Math.min(options.jobs, files.length) }, serve));
}

const ask = (child: ChildProcess, path: string, options: Options): Promise<Answer | { died: string }> =>
  new Promise((resolve) => {
    const done = (answer: Answer | { died: string }): void => {
      clearTimeout(timer);
      child.removeAllListeners();
      resolve(answer);
    };
    const timer = setTimeout(() => {
      done({ died: `no end after ${options.timeoutMs / 1000} s` });
      child.kill('SIGKILL');
    }, options.timeoutMs);
    child.once('message', (answer) => done(answer as Answer));
    child.once('exit', (code, signal) => done({ died: `the player died (${signal ?? code})` }));
    child.send({ path, all: options.verbose });
  });

function serveParent(): void {
  process.on('message', async ({ path, all }: { path: string; all: boolean }) => process.send?.(await playFile(path, all)));
}

// Output.

const HEADER = ['group', 'traces', 'equal', 'operations', 'differences', 'accepted'];

function table(reports: readonly TraceReport[]): string[] {
  const groups = [...new Set(reports.map((r) => r.group))].sort();
  const sum = (of: readonly TraceReport[], key: 'ops' | 'differences' | 'accepted'): number => of.reduce((n, r) => n + r[key], 0);
  const row = (name: string, of: readonly TraceReport[]): string[] => [
    name,
    `${of.length}`,
    `${of.filter((r) => r.differences === 0).length}`,
    `${sum(of, 'ops')}`,
    `${sum(of, 'differences')}`,
    `${sum(of, 'accepted')}`,
  ];
  const rows = [
    ...groups.map((g) =>
      row(
        g,
        reports.filter((r) => r.group === g),
      ),
    ),
    row('all', reports),
  ];
  const widths = HEADER.map((title, i) => Math.max(title.length, ...rows.map((r) => r[i].length)));
  return [HEADER, ...rows].map((r) => r.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '));
}

/** A difference for people. */
export function differenceLines(d: OperationDifference): string[] {
  const head = `op ${d.i} ${d.op}: ${d.what}${d.where === '' ? '' : ` ${d.where}`}`;
  const sides = [`    expected ${d.expected ?? '(nothing)'}`, `    got      ${d.got ?? '(nothing)'}`];
  const words = d.what === 'vma' ? explainLine(d.expected, d.got).map((line) => `      ${line}`) : [];
  return [`  ${head}`, ...sides, ...words];
}

function optionsFrom(argv: readonly string[]): { options: Options; paths: string[] } {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      group: { type: 'string' },
      only: { type: 'string' },
      jobs: { type: 'string' },
      timeout: { type: 'string' },
      verbose: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const number = (text: string | undefined, name: string, otherwise: number): number => {
    if (text === undefined) return otherwise;
    if (!/^\d{1,6}$/.test(text) || Number(text) === 0) throw usage(`--${name}: expected a number from 1, found "${text}"`);
    return Number(text);
  };
  let only: RegExp | undefined;
  try {
    if (values.only !== undefined) only = new RegExp(values.only);
  } catch (e) {
    throw usage(`--only: ${(e as Error).message}`);
  }
  return {
    options: {
      ...(values.group === undefined ? {} : { group: values.group }),
      ...(only === undefined ? {} : { only }),
      jobs: number(values.jobs, 'jobs', Math.min(4, availableParallelism())),
      verbose: values.verbose,
      json: values.json,
      timeoutMs: number(values.timeout, 'timeout', 120) * 1000,
    },
    paths: positionals.length > 0 ? positionals : KEPT,
  };
}

async function main(argv: readonly string[]): Promise<number> {
  const { options, paths } = optionsFrom(argv);
  const name = (path: string): string => path.replace(/^.*\//, '').replace(/\.trace(\.gz)?$/, '');
  // A trace lies in the folder of its group; a trace elsewhere is known by its name's first word.
  const inGroup = (path: string): boolean =>
    options.group === undefined || dirname(path).endsWith(`/${options.group}`) || name(path).startsWith(`${options.group}_`);
  const files = paths.flatMap(filesOf).filter((path) => inGroup(path) && (options.only?.test(name(path)) ?? true));
  if (files.length === 0) throw usage('no trace is left after --group and --only');
  const answers = new Map<string, Answer>();
  const show = process.stderr.isTTY === true;
  await playAll(files, options, (path, answer) => {
    answers.set(path, answer);
    if (show) process.stderr.write(`\r\u001b[K${answers.size}/${files.length} ${name(path)}`);
  });
  if (show) process.stderr.write('\r\u001b[K');
  const bad = files.map((path) => answers.get(path)).find((a) => a !== undefined && 'bad' in a);
  if (bad !== undefined && 'bad' in bad) throw new PxdError('bad-image', bad.bad);
  const reports = files.map((path) => (answers.get(path) as { report: TraceReport }).report);
  if (options.json) for (const report of reports) console.log(JSON.stringify({ first: null, ...report }));
  else print(reports, options);
  return reports.some((r) => r.differences > 0) ? 1 : 0;
}

function print(reports: readonly TraceReport[], options: Options): void {
  for (const line of table(reports)) console.log(line);
  for (const report of reports) {
    if (report.first === undefined) continue;
    console.log(`\n${report.trace}: ${report.differences} of ${report.ops} operations differ`);
    const shown = options.verbose ? (report.all ?? []) : [report.first];
    for (const d of shown) for (const line of differenceLines(d)) console.log(line);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === '--worker') serveParent();
  else
    try {
      process.exitCode = await main(process.argv.slice(2));
    } catch (e) {
      const known = e instanceof PxdError || (e as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
      console.error(known ? `conform: ${(e as Error).message}` : e);
      process.exitCode = known ? 2 : 70;
    }
}
