/** `pxd play`: plays a recorded trace or a script of operations on pxd's mm and shows after each operation what changed. */
import { readFileSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type Command, InvalidArgumentError } from 'commander';
import type { Difference } from '../../machine/trace/compare.ts';
import { deltaBetween, deltaToJson, emptySnapshot } from '../../machine/trace/delta.ts';
import { changeLines, LEGEND, type Style, stateLines } from '../../machine/trace/draw.ts';
import { parseTrace, type Trace } from '../../machine/trace/format.ts';
import { callText, detailLines, parseScript, resultText, scriptLine, scriptOperations } from '../../machine/trace/notation.ts';
import { type Played, playOnMachine, playRecorded } from '../../machine/trace/play.ts';
import { PxdError } from '../../pagetable/error.ts';
import type { Context } from '../context.ts';
import { type Io, type ProcessIo, paint } from '../io.ts';
import { wrap } from '../table.ts';

interface PlayOptions {
  readonly step?: boolean;
  readonly at?: number;
  readonly recorded?: boolean;
  readonly only?: boolean;
  readonly script?: boolean;
  readonly json?: boolean;
}

const HELP = `
A script has one operation a line. "#" begins a remark; "P1" in front of an
operation says which process carries it out (0 where nothing is said):
  mmap 0x10000000 64K rw private|anon|fixed
  store 0x10000000 2 7          # two pages: byte 7 to the first, 8 to the next
  fork
  P1 store 0x10000000           # a page is copied
  munmap 0x10008000 32K
Numbers are decimal or 0x…, with K, M, G, T for bytes and p for pages.
Constants go by their Linux names, with or without the prefix.

Pages are drawn by letters:
  ${LEGEND.join('\n  ')}

Operations of a script (docs/play.md tells what they do):
  ${scriptOperations()
    .flatMap((line) => wrap(line, 76))
    .join('\n  ')}`;

export function register(program: Command, context: Context): void {
  const { io } = context;
  program
    .command('play')
    .description('play a recorded trace or a script of system calls and accesses, and show what each changes')
    .argument('<file>', 'trace (*.trace, *.trace.gz) or script; "-" reads it from stdin')
    .option('--step', 'wait for Enter after each operation ("s" shows the whole state, a number goes on to that operation, "q" ends)')
    .option('--at <operation>', 'the whole state after this operation (-1: before the first)', (text) => {
      if (!/^-?\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected the number of an operation');
      return Number(text);
    })
    .option('--recorded', 'show what the trace recorded, without playing it')
    .option('--only', 'only operations that differ from the recording')
    .option('--script', 'print the operations as a script, and play nothing')
    .option('--json', 'one object an operation, in the form of a trace')
    .addHelpText('after', HELP)
    .action(async (path: string, options: PlayOptions) => {
      const trace = readPlayable(path);
      if (options.script) {
        for (const step of trace.steps) io.write(`${scriptLine(step)}\n`);
        return;
      }
      const played = options.recorded ? playRecorded(trace) : playOnMachine(trace, (await import('../../machine/trace/machine.ts')).createTraceMachine);
      if (options.at !== undefined) showState(io, trace, played, options.at, options.json === true);
      else if (options.json) for (const one of played) io.write(`${JSON.stringify(jsonOf(one))}\n`);
      else showAll(io, trace, played, options, path === '-');
    });
}

/** A trace or a script, whatever the file holds. */
function readPlayable(path: string): Trace {
  const bytes = readFileSync(path === '-' ? 0 : path);
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  let text: string;
  try {
    text = (packed ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (e) {
    throw new PxdError('bad-image', `${path} cannot be unpacked: ${(e as Error).message}`);
  }
  if (/^\s*\{/.test(text)) return parseTrace(text);
  if (text.includes('\0')) throw new PxdError('bad-image', `${path} is neither a trace nor a script: it holds bytes that are no text`);
  return parseScript(text, path === '-' ? 'stdin' : basename(path));
}

/** Colours as the terminal takes them. */
const painter =
  (io: Io) =>
  (style: Style, text: string): string =>
    paint(io, style, text);

function showState(io: Io, trace: Trace, played: Iterable<Played>, at: number, json: boolean): void {
  const most = trace.steps.length - 1;
  if (at > most) throw new PxdError('usage', `--at ${at}: the last operation is ${most}`);
  let state = emptySnapshot();
  let last: Played | undefined;
  for (const one of played) {
    if (one.step.i > at) break;
    state = one.after;
    last = one;
  }
  if (json) {
    io.write(`${JSON.stringify({ i: at, ...deltaToJson(deltaBetween(emptySnapshot(), state)) })}\n`);
    return;
  }
  if (last !== undefined) io.write(`${headLines(io, trace, last).join('\n')}\n`);
  io.write(`${stateLines(state, { width: io.columns, paint: painter(io) }).join('\n')}\n`);
}

function showAll(io: Io, trace: Trace, played: Iterable<Played>, options: PlayOptions, stdinIsTaken: boolean): void {
  if (options.step && stdinIsTaken) throw new PxdError('usage', '--step reads from stdin and so does "-": give the script as a file');
  const { name, purpose } = trace.header;
  if (purpose !== '') for (const line of wrap(`${name}: ${purpose}`, io.columns)) io.write(`${paint(io, 'bold', line)}\n`);
  let [wait, differing, count] = [options.step ? 0 : Number.POSITIVE_INFINITY, 0, 0];
  for (const one of played) {
    count++;
    if (isDifferent(one)) differing++;
    else if (options.only) continue;
    for (const line of [...headLines(io, trace, one), ...changeLines(one.before, one.after, { width: io.columns, paint: painter(io) })]) io.write(`${line}\n`);
    for (const d of one.differences) for (const line of differenceLines(io, d)) io.write(`${line}\n`);
    if (one.step.i < wait) continue;
    const next = ask(io, one);
    if (next === 'quit') break;
    wait = next;
  }
  if (options.recorded) return;
  const recorded = trace.steps.some((s) => s.expected !== undefined);
  if (recorded) io.write(`${paint(io, differing > 0 ? 'red' : 'green', `${differing} of ${count} operations differ from the recording`)}\n`);
}

const isDifferent = (one: Played): boolean => one.differences.length > 0 || typeof one.result === 'string';

/** The call and what it gave, with its faults. */
function headLines(io: Io, trace: Trace, { step, result }: Played): string[] {
  const width = String(trace.steps.length - 1).length;
  const several = trace.steps.some((s) => s.process !== 0);
  const who = several ? `P${step.process} ` : '';
  const call = `${String(step.i).padStart(width)} ${who}${callText(step)}`;
  if (typeof result === 'string') return [`${paint(io, 'bold', call)} ${paint(io, 'red', result)}`];
  const text = resultText(step.op, result);
  const failed = typeof result.r === 'string' && /^E[A-Z0-9]+$/.test(result.r);
  const lines = wrap(`${call} ${text}`, io.columns);
  const at = lines.length === 1 ? lines[0].length - text.length : 0;
  const first = at > 0 ? `${paint(io, 'bold', lines[0].slice(0, at))}${failed ? paint(io, 'red', text) : text}` : lines[0];
  const details = detailLines(step.op, result).map((line) => paint(io, result.f === undefined ? 'cyan' : 'red', `  ${line}`));
  return [first, ...lines.slice(1), ...details];
}

function differenceLines(io: Io, d: Difference): string[] {
  const what = `${d.what}${d.where === '' ? '' : ` ${d.where}`}`;
  return [
    ...wrap(paint(io, 'red', `  ! ${what}: the recording has ${d.expected ?? 'nothing'}`), io.columns),
    ...wrap(paint(io, 'red', `    ${' '.repeat(what.length)}  pxd has ${d.got ?? 'nothing'}`), io.columns),
  ];
}

/** Waits for a line; the operation after which to wait again. At the end of stdin it goes on to the end. */
function ask(io: Io, one: Played): number | 'quit' {
  for (;;) {
    (io as Partial<ProcessIo>).flush?.();
    const line = readLine();
    if (line === undefined) return Number.POSITIVE_INFINITY;
    const word = line.trim();
    if (word === 'q') return 'quit';
    if (/^\d+$/.test(word)) return Math.max(Number(word), one.step.i + 1);
    if (word !== 's') return one.step.i + 1;
    io.write(`${stateLines(one.after, { width: io.columns, paint: painter(io) }).join('\n')}\n`);
  }
}

/** One line of stdin; undefined at its end. */
function readLine(): string | undefined {
  const byte = new Uint8Array(1);
  let line = '';
  for (;;) {
    let got: number;
    try {
      got = readSync(0, byte, 0, 1, null);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'EAGAIN') continue;
      throw e;
    }
    if (got === 0) return line === '' ? undefined : line;
    if (byte[0] === 10) return line;
    line += String.fromCharCode(byte[0]);
  }
}

/** An operation in the form of a trace, with what a reader would have to work out. */
function jsonOf({ step, result, before, after, differences }: Played): Record<string, unknown> {
  const plain = (value: unknown): unknown =>
    typeof value === 'bigint' ? (value < 2n ** 20n ? Number(value) : `0x${value.toString(16)}`) : Array.isArray(value) ? value.map(plain) : value;
  return {
    i: step.i,
    op: step.op,
    p: step.process,
    a: plain(step.args),
    ...(typeof result === 'string' ? { r: null, failure: result } : result),
    s: deltaToJson(deltaBetween(before, after)),
    call: callText(step),
    ...(step.expected === undefined ? {} : { differences }),
  };
}
