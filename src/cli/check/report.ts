/**
 * What `pxd check` says at its end: how much was explored, what was left out and why, how likely it is that a state was missed; and of each row that is not
 * as expected what is wrong with it, and how to see it again.
 */
import type { Row } from '../../explore/check.ts';
import type { SearchResult } from '../../explore/search.ts';
import { type Io, paint } from '../io.ts';
import { wrap } from '../table.ts';
import { complaint } from './junit.ts';
import { timeText } from './table.ts';

/** Sums over all searches. */
export class Totals {
  states = 0;
  transitions = 0;
  endings = 0;
  matched = 0;
  cut = 0;
  depth = 0;
  searches = 0;
  /** Searches that hid operations which turned out to matter, and were made again. */
  again = 0;
  /** Whether any search hid operations. */
  hid = false;
  /** Sum of the searches' probabilities: no less than the probability that any of them missed a state. */
  missProbability = 0;

  add(result: SearchResult & { readonly again?: number; readonly facts?: unknown }): void {
    for (const key of ['states', 'transitions', 'endings', 'matched', 'cut', 'missProbability'] as const) this[key] += result[key];
    this.depth = Math.max(this.depth, result.depth);
    this.searches++;
    this.again += result.again ?? 0;
    this.hid ||= result.facts !== undefined;
  }
}

const count = (n: number): string => n.toLocaleString('en-US');

/** A probability to its order: nobody needs more. */
const probability = (p: number): string => (p === 0 ? '0' : p.toExponential(0).replace('e-', '·10^-'));

/** Shell words as they must be typed. */
const quoted = (word: string): string => (/^[\w./:=-]+$/.test(word) ? word : `'${word}'`);

/** The command that plays a row's schedule again. `source`: the file that the entry is in, where it is no entry of the catalogue. */
export const replayCommand = (row: Row, source: string | undefined): string =>
  ['pxd check', ...(source === undefined ? [row.id] : [source]), '--variant', row.variant, '--mode', row.mode, '--replay', row.schedule ?? '']
    .map((word, i) => (i === 0 ? word : quoted(word)))
    .join(' ');

function write(io: Io, text: string): void {
  for (const line of wrap(text, io.columns)) io.write(`${line}\n`);
}

/** A violation, in words, and the command that shows it. */
export function writeViolation(io: Io, row: Row, source: string | undefined): void {
  write(io, `${paint(io, 'bold', `${row.id} ${row.variant} ${row.mode}:`)} ${row.message?.replace(/\s*\n\s*/g, '; ') ?? ''}`);
  io.write(`  ${replayCommand(row, source)}\n`);
}

/** `random`: rows are of random schedules, which explore nothing. */
export function writeReport(io: Io, rows: readonly Row[], totals: Totals, fileOf: (row: Row) => string | undefined, random = false): void {
  io.write('\n');
  for (const row of rows.filter((one) => !one.ok)) {
    write(io, `${paint(io, 'red', `${row.id} ${row.variant} ${row.mode}:`)} ${complaint(row)?.replace(/\s*\n\s*/g, '; ')}`);
    if (row.schedule !== null) io.write(`  ${replayCommand(row, fileOf(row))}\n`);
  }
  for (const row of rows.filter((one) => one.result === 'bounded' && one.note !== undefined))
    write(io, `${row.id} ${row.variant} ${row.mode}: at most ${row.preemptions} preemptions: ${row.note}`);
  const good = rows.filter((row) => row.ok).length;
  const ms = rows.reduce((sum, row) => sum + row.ms, 0);
  write(io, paint(io, good === rows.length ? 'green' : 'red', `${good} of ${rows.length} as expected, in ${timeText(ms)}`));
  if (random) return;
  const states = rows.reduce((sum, row) => sum + row.states, 0);
  if (totals.searches > 0) {
    const steps = `${count(totals.states)} states and ${count(totals.transitions)} steps between them, in ${totals.searches} searches, at most ${count(totals.depth)} deep`;
    write(io, `explored: ${steps}; ${count(totals.endings)} ends of all tasks`);
    const left = [`${count(totals.matched)} steps led to states that were known`];
    if (totals.cut > 0) left.push(`${count(totals.cut)} would have been preemptions beyond the bound`);
    if (totals.hid) {
      const again = totals.again > 0 ? `; ${totals.again} searches were made again because they hid too much` : '';
      left.push(`tasks do not stop before operations that clash with nothing that others do${again}`);
    }
    write(io, `left out: ${left.join('; ')}`);
  } else write(io, `explored: ${count(states)} states`);
  // Of searches by others only the number of their states is known: as if all of a row had been met by one.
  const missed = totals.searches > 0 ? totals.missProbability : rows.reduce((sum, row) => sum + missProbability(row.states), 0);
  write(io, `probability that a state was taken for another one (hashes of 64 bits): below ${probability(missed)}`);
}

/** That any two of so many states share a hash: n² / 2^65. */
const missProbability = (states: number): number => states ** 2 / 2 ** 65;
