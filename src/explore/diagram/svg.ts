/**
 * A drawing: a column a task, time downwards, the conflict as arrows. Its own background and colours for light and for dark surroundings.
 *
 * Invariant: every text is escaped, and lies within its column (the fonts asked for are of one width).
 */
import type { Story } from '../story.ts';
import type { Format } from './format.ts';
import { laneName, legend, type Row, type Rows, rowsOf, shortened, summary, withoutIdle } from './rows.ts';
import { wrap, wrapParts } from './wrap.ts';

const WIDTH = 100;
const FONT = 13;
/** Pixels of a character of such a font, a little more than of the widest in use. */
const CHAR = 7.9;
const LINE = 18;
const PAD = 8;
const GAP = 28;
const HEAD = 30;
const NARROWEST = 24;

const FAMILY = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

const STYLE = `
  text { fill: #1f2328 }
  .page { fill: #ffffff } .head { font-weight: 600 } .quiet { fill: #59636e } .rule { stroke: #d1d9e0 } .life { stroke: #d1d9e0; stroke-dasharray: 3 3 }
  .box { fill: #f6f8fa; stroke: #d1d9e0 } .hw { fill: #ddf4ff; stroke: #54aeff } .late { fill: none; stroke: #d1d9e0; stroke-dasharray: 4 3 } .bad { fill: #ffebe9; stroke: #cf222e }
  .cause { fill: #fff8c5; stroke: #bf8700 } .arrow { stroke: #cf222e; stroke-width: 1.5; fill: none } .tip { fill: #cf222e } .alarm { fill: #cf222e; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .page { fill: #0d1117 } .quiet { fill: #9198a1 } .rule, .life { stroke: #3d444d }
    .box { fill: #151b23; stroke: #3d444d } .hw { fill: #0c2d4d; stroke: #388bfd } .late { stroke: #3d444d } .bad { fill: #3c1618; stroke: #f85149 }
    .cause { fill: #2e2a1f; stroke: #d29922 } .arrow { stroke: #f85149 } .tip { fill: #f85149 } .alarm { fill: #f85149 }
  }
`;

/** Text of an element or an attribute. Characters that XML does not have become a replacement. */
export const escaped = (what: string): string =>
  what
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '\ufffd');

/** One line of text; what it is indented by is its place. */
function words(x: number, y: number, what: string, style = ''): string {
  const indent = what.length - what.trimStart().length;
  return `<text x="${Math.round(x + indent * CHAR)}" y="${y}"${style === '' ? '' : ` class="${style}"`}>${escaped(what.trim())}</text>`;
}

interface Placed {
  readonly row: Row;
  readonly top: number;
  readonly height: number;
  readonly lines: readonly string[];
  readonly side: readonly string[];
  /** Lines at the end that tell the violation. */
  readonly alarms: number;
}

export const svg: Format = {
  extension: 'svg',
  what: 'a drawing, for light and dark pages',
  render: (given, { width = WIDTH } = {}) => {
    const story = withoutIdle(given);
    const rows = shortened(rowsOf(story));
    const lanes = story.lanes.length;
    const margin = Math.min(24, Math.max(8, ...rows.rows.flatMap(sideOf).map((part) => part.length)));
    const chars = Math.max(NARROWEST, Math.floor((width - margin) / lanes) - 2);
    const column = Math.ceil(chars * CHAR) + 2 * PAD;
    const x = (lane: number): number => PAD + lane * (column + GAP);
    const total = Math.ceil(x(lanes) + margin * CHAR + PAD);
    const across = Math.floor((total - 2 * PAD) / CHAR);
    const title = wrap(summary(story).split('\n')[0], across, 4);
    const top = PAD + title.length * LINE + 6;
    const placed = place(story, rows, { top: top + HEAD + 6, chars, across, margin });
    const end = placed.reduce((_, { top, height }) => top + height, top + HEAD);
    const foot = wrap(
      [
        legend(
          story,
          placed.flatMap((p) => [...p.lines, ...p.side]),
        ),
        `schedule ${story.schedule}`,
      ]
        .filter((part) => part !== '')
        .join('; '),
      across,
      2,
    );
    const height = end + PAD + foot.length * LINE + PAD;
    const parts = [
      `<rect class="page" width="${total}" height="${height}"/>`,
      ...title.map((line, i) => words(PAD, PAD + FONT + i * LINE, line, 'head')),
      ...story.lanes.map((lane, i) => words(x(i) + PAD, top + HEAD - 12, laneName(lane), 'head')),
      words(x(lanes), top + HEAD - 12, 'holds', 'head quiet'),
      `<line class="rule" x1="${PAD}" x2="${total - PAD}" y1="${top + HEAD - 2}" y2="${top + HEAD - 2}"/>`,
      ...story.lanes.map((_, i) => `<line class="life" x1="${x(i)}" x2="${x(i)}" y1="${top + HEAD}" y2="${end}"/>`),
      ...placed.map((p) => drawn(p, { x, column, lanes, total })),
      ...arrows(placed, rows, { x, column }),
      ...foot.map((line, i) => words(PAD, end + PAD + FONT + i * LINE, line, 'quiet')),
    ];
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${height}" viewBox="0 0 ${total} ${height}" font-family="${escaped(FAMILY)}" font-size="${FONT}" role="img">`,
      `<title>${escaped(summary(story))}</title>`,
      `<style>${STYLE}</style>`,
      `<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>`,
      ...parts,
      '</svg>',
      '',
    ].join('\n');
  },
};

const sideOf = ({ held, freed }: Row): string[] => [...held, ...(freed.length === 0 ? [] : [`frees ${freed.join(', ')}`])];

/** Where each row stands, and the lines in it. */
function place(story: Story, { rows }: Rows, to: { top: number; chars: number; across: number; margin: number }): Placed[] {
  let top = to.top;
  return rows.map((row) => {
    const numbers = row.causes.map((n) => `(${n}) `).join('');
    const lead = `${numbers}${row.hidden}${row.skipped ? '… ' : ''}${row.kind === 'late' ? 'too late: ' : ''}${row.inside === null ? '' : `${row.inside}: `}`;
    const rule = story.violation?.rule;
    const alarm = wrap(`${rule}: ${story.violation?.text.split('\n')[0]}`, to.chars, 2);
    const lines =
      row.kind === 'end'
        ? row.texts.flatMap((text, i) => wrap(i === 0 ? `${rule}: ${text}` : text, to.across - 4, 2))
        : [...wrapParts(lead, row.texts, to.chars, 2), ...(row.violation ? alarm : [])];
    const side = sideOf(row).flatMap((part) => wrap(part, to.margin, 1));
    const height = Math.max(lines.length, side.length) * LINE + 14;
    const placed = { row, top, height, lines, side, alarms: row.violation && row.kind !== 'end' ? alarm.length : 0 };
    top += height;
    return placed;
  });
}

function drawn({ row, top, lines, side, alarms }: Placed, to: { x: (lane: number) => number; column: number; lanes: number; total: number }): string {
  const left = row.kind === 'end' ? PAD : to.x(row.lane);
  const width = row.kind === 'end' ? to.total - 2 * PAD : to.column;
  const style = row.violation ? 'bad' : row.causes.length > 0 ? 'cause' : row.kind === 'hardware' ? 'hw' : row.kind === 'late' ? 'late' : 'box';
  const box = row.kind === 'call' ? '' : `<rect class="${style}" x="${left}" y="${top}" width="${width}" height="${lines.length * LINE + 8}" rx="4"/>`;
  const from = row.kind === 'end' ? 0 : lines.length - alarms;
  return [
    box,
    ...lines.map((line, i) => words(left + PAD, top + 4 + FONT + i * LINE, line, row.violation && i >= from ? 'alarm' : row.kind === 'call' ? 'head' : '')),
    ...side.map((line, i) => words(to.x(to.lanes), top + 4 + FONT + i * LINE, line, 'quiet')),
  ].join('');
}

/** From each cause to the violation: out of the side that faces it. */
function arrows(placed: readonly Placed[], { causes }: Rows, to: { x: (lane: number) => number; column: number }): string[] {
  const end = placed.find(({ row }) => row.violation);
  if (!end) return [];
  return causes.flatMap((cause, i) => {
    const from = placed.find(({ row }) => row.causes.includes(i + 1));
    if (!from || from === end) return [];
    const right = end.row.kind === 'end' || end.row.lane >= cause.lane;
    const x1 = to.x(cause.lane) + (right ? to.column : 0);
    const y1 = from.top + 14;
    const ahead = end.row.kind === 'end' || end.row.lane === cause.lane;
    const x2 = ahead ? x1 : to.x(end.row.lane) + (right ? 0 : to.column);
    const y2 = end.row.kind === 'end' ? end.top : end.top + 14;
    const bend = right ? GAP - 8 : 8 - GAP;
    const path = end.row.kind === 'end' ? `M${x1} ${y1}h${bend / 2}V${y2}` : `M${x1} ${y1}h${bend / 2}V${y2}H${x2}`;
    return [`<path class="arrow" d="${path}" marker-end="url(#tip)"/>`];
  });
}
