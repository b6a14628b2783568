/**
 * The diagram for a mail: a column a task, time downwards, plain ASCII. In the margin what is held and what is freed; the conflict with numbers, from what
 * caused it to where it breaks.
 *
 * Invariant: no line is longer than the width, unless so many columns would be too narrow to read.
 */
import type { Story } from '../story.ts';
import type { Format } from './format.ts';
import { fewer, laneName, legend, type Row, type Rows, rowsOf, shortened, summary, withoutIdle } from './rows.ts';
import { wrap, wrapParts } from './wrap.ts';

const WIDTH = 100;
/** Lines that a diagram of two tasks should have at most, and how many more for each other task. */
const LINES = 20;
const MORE_LINES = 8;
const GAP = '  ';
const NARROWEST = 18;

export const text: Format = {
  extension: 'txt',
  what: 'columns of plain text, for mails',
  render: (given, { width = WIDTH } = {}) => {
    const story = withoutIdle(given);
    const most = Math.max(1, WIDTH / width) * (LINES + MORE_LINES * Math.max(0, story.lanes.length - 2));
    let rows = rowsOf(story);
    let lines = draw(story, rows, width);
    // What matters least goes first.
    while (lines.length > most) {
      const less = fewer(story, rows);
      if (less === undefined) break;
      rows = less;
      lines = draw(story, rows, width);
    }
    return `${lines.join('\n')}\n`;
  },
};

function draw(story: Story, all: Rows, width: number): string[] {
  const rows = shortened(all);
  const lanes = story.lanes.length;
  const margin = marginOf(rows.rows, width);
  const cell = Math.max(NARROWEST, Math.floor((width - margin - GAP.length * lanes) / lanes));
  const line = (cells: readonly string[], side: string): string => [...cells.map((c) => c.padEnd(cell)), side].join(GAP).trimEnd();
  const names = story.lanes.map((lane) => wrap(laneName(lane), cell, 4));
  const heads = Array.from({ length: Math.max(1, ...names.map((name) => name.length)) }, (_, i) =>
    line(
      names.map((name) => name[i] ?? ''),
      i === 0 ? 'holds' : '',
    ),
  );
  const lines = [...wrap(summary(story).split('\n')[0], width, 4), '', ...heads, line(new Array<string>(lanes).fill('-'.repeat(cell)), '-'.repeat(margin))];
  for (const row of rows.rows) {
    if (row.kind === 'end') {
      const numbers = rows.causes.map((_, i) => ` (${i + 1})`).join('');
      for (const [i, part] of row.texts.entries()) lines.push(...wrap(i === 0 ? `<== ${story.violation?.rule}: ${part}${numbers}` : `    ${part}`, width, 4));
      continue;
    }
    const cells = story.lanes.map((_, lane) => cellOf(story, rows, row, lane, cell));
    const side = sideOf(row).flatMap((part) => wrap(part, margin, 1));
    const height = Math.max(side.length, ...cells.map((c) => c.length));
    for (let i = 0; i < height; i++) lines.push(over(cells, i, cell, side[i] ?? ''));
  }
  const meant = legend(story, lines);
  return meant === '' ? lines : [...lines, '', ...wrap(meant, width, 2)];
}

/** One line of a row. What is longer than its column runs over those to its right, which are empty then. */
function over(cells: readonly (readonly string[])[], at: number, cell: number, side: string): string {
  let line = '';
  cells.forEach((lines, lane) => {
    const what = lines[at] ?? '';
    if (what === '') return;
    line = line.padEnd(lane * (cell + GAP.length)) + what;
  });
  return side === '' ? line.trimEnd() : `${line.padEnd(cells.length * (cell + GAP.length))}${side}`;
}

/** What stands in a lane's column of a row. */
function cellOf(story: Story, { causes }: Rows, row: Row, lane: number, cell: number): string[] {
  if (row.lane !== lane) {
    // The cause, beside where it is run into.
    const number = row.violation ? causes.findLastIndex((c) => c.lane === lane) + 1 : 0;
    return number === 0 ? [] : arrow(`(${number}) ${causes[number - 1].text}`, cell, row.lane > lane);
  }
  const numbers = row.causes.map((n) => `(${n}) `).join('');
  const here = causes.flatMap((c, i) => (c.lane === lane ? [` (${i + 1})`] : [])).join('');
  const mark = row.violation ? ` <== ${story.violation?.rule}${here}` : '';
  const texts = [...row.texts];
  texts[texts.length - 1] += mark;
  // Calls, and what has nothing beside it, may run over the columns to the right.
  const right = story.lanes.length - lane;
  const room = row.kind !== 'steps' ? cell * right + GAP.length * (right - 1) : cell;
  if (row.kind === 'call') return wrapParts(numbers, texts, room, 2);
  if (row.kind === 'hardware') return wrapParts(`${numbers}${row.hidden}`, texts, room, 2);
  return wrapParts(
    `  ${numbers}${row.skipped ? '... ' : ''}${row.kind === 'late' ? 'too late: ' : ''}${row.inside === null ? '' : `${row.inside}: `}`,
    texts,
    room,
    4,
  );
}

/** A text with an arrow to the violation: to the right, or from the left edge. */
function arrow(what: string, width: number, right: boolean): string[] {
  if (!right) return wrap(`<--- ${what}`, width, 5);
  const lines = wrap(what, width - 4, 4);
  const last = lines.length - 1;
  lines[last] = `${lines[last]} ${'-'.repeat(Math.max(1, width - lines[last].length - 2))}>`;
  return lines;
}

/** The margin of a row: locks, then what is freed. */
const sideOf = ({ held, freed }: Row): string[] => [
  ...(held.length === 0 ? [] : [held.join(', ')]),
  ...(freed.length === 0 ? [] : [`frees ${freed.join(', ')}`]),
];

/** As wide as the longest lock, within what columns can spare. */
function marginOf(rows: readonly Row[], width: number): number {
  const longest = Math.max(5, ...rows.flatMap((row) => sideOf(row).map((part) => part.length)));
  return Math.min(longest, Math.max(12, Math.floor(width / 5.8)));
}
