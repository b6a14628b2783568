/**
 * Draws the bit layout of an entry form as text, from the declaration alone.
 *
 * Invariant: the drawn cells cover every bit of the entry exactly once, most significant first; what no field names is drawn as `0`
 * (must be zero) or `-` (ignored).
 */
import { parseBits } from '../arch/notation.ts';
import type { CompiledForm, CompiledLevel } from './compile.ts';

export interface Cell {
  readonly high: number;
  readonly low: number;
  readonly name: string;
}

/** Cells of a form, from the top bit down. */
export function cellsOf(level: CompiledLevel, form: CompiledForm): Cell[] {
  const bits = level.wide ? 64 : 32;
  const names: string[] = new Array(bits).fill(form.kind === 'nonpresent' || form.kind === 'none' ? '-' : '0');
  if (form.form.ignored) for (const p of parseBits(form.form.ignored, bits)) names.fill('-', p.low, p.low + p.width);
  for (const p of form.address?.pieces ?? []) names.fill(`address ${p.at + p.width - 1}:${p.at}`, p.low, p.low + p.width);
  for (const [name, pieces] of form.fields) {
    const total = pieces.reduce((n, p) => n + p.width, 0);
    for (const p of pieces) names.fill(pieces.length > 1 ? `${name}[${p.at + p.width - 1}${p.width > 1 ? `:${p.at}` : ''}]` : name, p.low, p.low + p.width);
    if (total > bits) throw new RangeError(`field ${name} is wider than its entry`);
  }
  const cells: Cell[] = [];
  for (let high = bits - 1; high >= 0; ) {
    let low = high;
    while (low > 0 && names[low - 1] === names[high]) low--;
    cells.push({ high, low, name: names[high] });
    high = low - 1;
  }
  return cells;
}

/** The cells in rows of boxes, no wider than `width`. */
function drawCells(cells: readonly Cell[], width = 100): string[] {
  const lines: string[] = [];
  let row: { top: string; name: string }[] = [];
  let used = 1;
  const flush = (): void => {
    if (row.length === 0) return;
    const border = `+${row.map((c) => '-'.repeat(c.top.length)).join('+')}+`;
    lines.push(` ${row.map((c) => c.top).join(' ')}`.trimEnd(), border, `|${row.map((c) => c.name).join('|')}|`, border);
    row = [];
    used = 1;
  };
  for (const cell of cells) {
    const label = cell.high === cell.low ? `${cell.high}` : `${cell.high}:${cell.low}`;
    const inner = Math.max(label.length, cell.name.length) + 2;
    if (used + inner + 1 > width) flush();
    row.push({ top: centre(label, inner), name: centre(cell.name, inner) });
    used += inner + 1;
  }
  flush();
  return lines;
}

function centre(text: string, width: number): string {
  const left = Math.floor((width - text.length) / 2);
  return ' '.repeat(left) + text + ' '.repeat(width - text.length - left);
}

export const drawForm = (level: CompiledLevel, form: CompiledForm, width?: number): string[] => drawCells(cellsOf(level, form), width);
