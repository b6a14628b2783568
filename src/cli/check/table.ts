/**
 * Results of `pxd check` as lines: a table that is printed row by row, and objects for programs.
 *
 * Invariant: widths are known before the first row is, so that rows can be printed when they are found.
 */
import type { Row } from '../../explore/check.ts';
import { type Io, paint } from '../io.ts';
import { cut, padEnd, padStart } from '../table.ts';

interface Cells {
  readonly title: string;
  readonly short: string;
  readonly right?: boolean;
  readonly width: number;
}

const count = (n: number): string => n.toLocaleString('en-US');

/** A time for people: three digits are enough. */
export function timeText(ms: number): string {
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 99_500 ? `${Math.round(ms / 1000)} s` : `${Math.floor(ms / 60_000)}m${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`;
}

/** The bound on preemptions up to which all was searched (of a violation: the one under which it was found), or ∞. */
const boundText = (row: Row): string => (row.preemptions === null ? '∞' : `≤${row.preemptions}`);

/** What a row will be about. */
interface Subject {
  readonly scenario: { readonly id: string };
  readonly variant: string;
  readonly mode: string;
}

/** Prints rows of the table, its header first. */
export class RowPrinter {
  readonly #io: Io;
  readonly #cells: readonly Cells[];
  readonly #gap: string;
  #begun = false;

  /** `smoke`: rows tell of random schedules, whose steps are counted, not states. */
  constructor(io: Io, items: readonly Subject[], smoke = false) {
    this.#io = io;
    const widest = (texts: readonly string[]): number => Math.max(0, ...texts.map((text) => text.length));
    const counted = smoke ? 'steps' : 'states';
    const full = io.columns >= 100;
    this.#gap = full ? '  ' : ' ';
    const cells: Cells[] = [
      { title: 'scenario', short: 'scen', width: widest(items.map((one) => one.scenario.id)) },
      { title: 'variant', short: 'variant', width: widest(items.map((one) => one.variant)) },
      { title: 'mode', short: 'mode', width: widest(items.map((one) => one.mode)) },
      { title: 'result', short: 'result', width: full ? 15 : 13 },
      { title: 'preemptions', short: 'pre', right: true, width: 1 },
      { title: counted, short: counted, right: true, width: full ? 11 : 10 },
      { title: 'time', short: 'time', right: true, width: 5 },
      { title: 'bound', short: 'bnd', right: true, width: 2 },
      { title: 'ok', short: 'ok', width: 2 },
    ];
    this.#cells = cells.map((cell) => ({
      ...cell,
      width: Math.max(cell.width, (full ? cell.title : cell.short).length),
      title: full ? cell.title : cell.short,
    }));
  }

  print(row: Row): void {
    const io = this.#io;
    if (!this.#begun) io.write(`${this.#line(this.#cells.map((cell) => paint(io, 'dim', cell.title)))}\n`);
    this.#begun = true;
    const result = row.invariant === null ? row.result : `${row.result} ${row.invariant}`;
    io.write(
      `${this.#line([
        paint(io, 'bold', row.id),
        row.variant,
        row.mode,
        paint(io, row.ok ? [] : 'red', result),
        row.result === 'violation' ? String(row.preemptions) : '',
        count(row.states),
        timeText(row.ms),
        boundText(row),
        row.ok ? paint(io, 'green', 'ok') : paint(io, 'red', 'NO'),
      ])}\n`,
    );
  }

  #line(cells: readonly string[]): string {
    const last = this.#cells.length - 1;
    const padded = cells.map((text, i) =>
      this.#cells[i].right ? padStart(text, this.#cells[i].width) : i === last ? text : padEnd(text, this.#cells[i].width),
    );
    return cut(padded.join(this.#gap).trimEnd(), this.#io.columns);
  }
}

/** A row for programs. `note` says why a bound is enough, where one was. */
export function jsonOf(row: Row): Record<string, unknown> {
  const { id, variant, mode, expected, result, invariant, preemptions, states, ms, schedule, note } = row;
  return {
    id,
    variant,
    mode,
    expected,
    result,
    invariant,
    preemptions,
    states,
    ms,
    schedule,
    ...(result === 'bounded' && note !== undefined ? { note } : {}),
  };
}
