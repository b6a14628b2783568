/**
 * Results of `pxd check` as lines: a table that is printed row by row, and objects for programs.
 *
 * Invariant: widths are known before the first row is, so that rows can be printed when they are found.
 */
import type { Row } from '../../explore/check.ts';
import { type Io, paint } from '../io.ts';
import { cut, padEnd, padStart } from '../table.ts';

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
  readonly scenario: { readonly id: string; readonly variants?: Readonly<Record<string, { readonly rule?: string | readonly string[] }>> };
  readonly variant: string;
  readonly mode: string;
}

interface Cell {
  readonly title: string;
  readonly width: number;
  readonly right?: boolean;
}

interface Layout {
  readonly cells: readonly Cell[];
  readonly gap: string;
  /** Ids stand on lines of their own, above their rows. */
  readonly grouped: boolean;
}

const TITLES = ['scenario', 'variant', 'mode', 'result', 'preemptions', 'states', 'time', 'bound', 'ok'] as const;
/** The same for narrow terminals. */
const SHORT = ['scen', 'variant', 'mode', 'result', 'pre', 'states', 'time', 'bnd', 'ok'] as const;

/** The widest of the layouts that fits: in full, tight, tight with ids above their rows. */
function layoutFor(io: Io, items: readonly Subject[], smoke: boolean): Layout {
  const widest = (texts: readonly string[]): number => Math.max(0, ...texts.map((text) => text.length));
  const rules = items.flatMap(({ scenario, variant }) => scenario.variants?.[variant]?.rule ?? []);
  const result = Math.max('not exhausted'.length, 'violation '.length + widest(rules));
  const subjects = [widest(items.map((one) => one.scenario.id)), widest(items.map((one) => one.variant)), widest(items.map((one) => one.mode))];
  const make = (titles: readonly string[], widths: readonly number[], gap: string, grouped: boolean): Layout => {
    const cells = titles.map((name, i) => {
      const title = smoke && name === 'states' ? 'steps' : name;
      return { title, width: Math.max(widths[i], title.length), right: i >= 4 && i <= 7 };
    });
    return { cells: grouped ? cells.slice(1) : cells, gap, grouped };
  };
  const layouts = [
    make(TITLES, [...subjects, result, 1, 11, 5, 2, 2], '  ', false),
    make(SHORT, [...subjects, result, 1, 9, 5, 2, 2], ' ', false),
    // What is left of the line is the result's: all the others together are 40 wide.
    make(SHORT, [...subjects, Math.max(13, Math.min(result, io.columns - subjects[1] - subjects[2] - 40)), 1, 9, 5, 2, 2], ' ', true),
  ];
  const fits = ({ cells, gap, grouped }: Layout): boolean =>
    cells.reduce((sum, { width }) => sum + width + gap.length, grouped ? 2 : 0) - gap.length <= io.columns;
  return layouts.find(fits) ?? layouts[2];
}

/** Prints rows of the table, its header first. */
export class RowPrinter {
  readonly #io: Io;
  readonly #layout: Layout;
  readonly #smoke: boolean;
  /** Entry of the row before. */
  #last: string | undefined;

  /** `smoke`: rows tell of random schedules, whose steps are counted, not states. */
  constructor(io: Io, items: readonly Subject[], smoke = false) {
    this.#io = io;
    this.#smoke = smoke;
    this.#layout = layoutFor(io, items, smoke);
  }

  print(row: Row): void {
    const io = this.#io;
    const { cells, grouped } = this.#layout;
    if (this.#last === undefined) io.write(`${this.#line(cells.map((cell) => paint(io, 'dim', cell.title)))}\n`);
    if (grouped && this.#last !== row.id) io.write(`${paint(io, 'bold', row.id)}\n`);
    this.#last = row.id;
    const result = row.invariant === null ? row.result : `${row.result} ${row.invariant}`;
    const texts = [
      paint(io, 'bold', row.id),
      row.variant,
      row.mode,
      paint(io, row.ok ? [] : 'red', result),
      row.result === 'violation' ? String(row.preemptions) : '',
      count(row.states),
      timeText(row.ms),
      this.#smoke ? '' : boundText(row),
      row.ok ? paint(io, 'green', 'ok') : paint(io, 'red', 'NO'),
    ];
    io.write(`${this.#line(grouped ? texts.slice(1) : texts)}\n`);
  }

  #line(texts: readonly string[]): string {
    const { cells, gap, grouped } = this.#layout;
    const last = cells.length - 1;
    const padded = texts.map((text, i) => {
      const { width, right } = cells[i];
      return right ? padStart(text, width) : i === last ? text : padEnd(cut(text, width), width);
    });
    return cut(`${grouped ? '  ' : ''}${padded.join(gap)}`.trimEnd(), this.#io.columns);
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
