/**
 * Layouts as SVG, with a writer that knows just what they need: rectangles, lines, text.
 *
 * Invariants: text is escaped; colours come from classes that follow the reader's light or dark scheme and stand out from either; coordinates
 * are whole numbers, so that the files change only where the pictures do.
 */
import { pageSizeText } from './draw-text.ts';
import { type Layout, type LayoutLeaf, type LayoutLevel, layoutsFor, leafText } from './layout.ts';

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

class Svg {
  readonly #parts: string[] = [];

  rect(x: number, y: number, width: number, height: number, cls: string): void {
    this.#parts.push(`<rect x="${x}" y="${y}" width="${width}" height="${height}" class="${cls}"/>`);
  }

  line(x1: number, y1: number, x2: number, y2: number, cls: string): void {
    this.#parts.push(`<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${cls}"/>`);
  }

  path(d: string, cls: string): void {
    this.#parts.push(`<path d="${d}" class="${cls}"/>`);
  }

  text(x: number, y: number, text: string, cls = 't', more = ''): void {
    this.#parts.push(`<text x="${x}" y="${y}" class="${cls}">${escaped(text)}${more ? `<tspan class="d" dx="8">${escaped(more)}</tspan>` : ''}</text>`);
  }

  toString(width: number, height: number, title: string): string {
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`,
      `<title>${escaped(title)}</title>`,
      `<style>${STYLE}</style>`,
      ...this.#parts,
      '</svg>',
      '',
    ].join('\n');
  }
}

const STYLE = [
  'text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328}',
  '.h{font-weight:bold;font-size:15px}.d{fill:#636c76;font-weight:normal;font-size:13px}.r{text-anchor:end}',
  '.bg{fill:#ffffff}',
  '.box{fill:none;stroke:#8c959f}.cell{fill:#d8dee4;stroke:#8c959f}.dash{fill:none;stroke:#8c959f;stroke-dasharray:4 3}',
  '.arrow{fill:none;stroke:#8c959f;stroke-width:1.5}.tip{fill:#8c959f}',
  '.leaf{fill:#218bff;stroke:#0550ae}.contiguous{fill:#2da44e;stroke:#116329}.replicated{fill:#d4a72c;stroke:#7d4e00}.hugepd{fill:#a475f9;stroke:#6639ba}',
  '@media (prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}.bg{fill:#0d1117}.cell{fill:#2d333b;stroke:#656c76}.box,.dash,.arrow{stroke:#656c76}.tip{fill:#656c76}',
  '.leaf{stroke:#79c0ff}.contiguous{stroke:#7ee787}.replicated{stroke:#f2cc60}.hugepd{stroke:#d2a8ff}}',
].join('');

const COLUMN = 200;
const BOX = 120;
const MARGIN = 24;
const TABLE = 78;
const ROW = 24;
/** Columns of text that a picture must have room for: the sentences below it. */
const CHARACTER = 8;

/** The picture of a mode, with its form before hugepd's removal above where it had one. */
export function layoutSvg(name: string): string {
  const svg = new Svg();
  const parts = layoutsFor(name);
  const sentences = parts.flatMap(({ layout }) => layout.leaves.map(leafText));
  const titles = parts.map(({ when, layout }) => `${layout.mode.mode.title}${when && !layout.mode.mode.title.includes('director') ? `, ${when}` : ''}`);
  const width = Math.max(
    ...parts.map(({ layout }) => 2 * MARGIN + layout.levels.length * COLUMN),
    ...sentences.map((s) => 2 * MARGIN + 74 + s.length * CHARACTER),
    ...titles.map((t) => 2 * MARGIN + t.length * 9),
  );
  svg.rect(0, 0, width, heightOf(parts.map((p) => p.layout)), 'bg');
  let y = MARGIN;
  parts.forEach(({ layout }, i) => {
    y = drawLayout(svg, layout, titles[i], y) + MARGIN;
  });
  return svg.toString(width, y, titles.join('; '));
}

const heightOf = (layouts: readonly Layout[]): number =>
  layouts.reduce(
    (sum, l) => sum + 36 + 40 + TABLE + 20 + Math.max(...l.levels.map((x) => x.leaves.length)) * ROW + 16 + l.leaves.length * ROW + MARGIN,
    MARGIN,
  );

/** Draws from `y` down; returns where it ends. */
function drawLayout(svg: Svg, layout: Layout, title: string, y: number): number {
  svg.text(MARGIN, y + 14, title, 'h');
  const top = y + 36;
  layout.levels.forEach((level, i) => drawLevel(svg, layout, level, MARGIN + i * COLUMN, top, i < layout.levels.length - 1));
  const chips = top + 40 + TABLE + 20;
  for (const [i, level] of layout.levels.entries()) level.leaves.forEach((leaf, k) => drawChip(svg, leaf, MARGIN + i * COLUMN, chips + k * ROW));
  const list = chips + Math.max(...layout.levels.map((l) => l.leaves.length)) * ROW + 16;
  layout.leaves.forEach((leaf, k) => {
    svg.rect(MARGIN, list + k * ROW, 12, 12, leaf.representation);
    svg.text(MARGIN + 62, list + k * ROW + 11, pageSizeText(leaf.bytes), 'r');
    svg.text(MARGIN + 74, list + k * ROW + 11, leafText(leaf));
  });
  return list + layout.leaves.length * ROW;
}

function drawLevel(svg: Svg, layout: Layout, level: LayoutLevel, x: number, y: number, arrow: boolean): void {
  const bytes = level.level.pages * 2 ** layout.mode.mode.pageShift;
  svg.text(x, y + 12, level.level.level.name, 'h', level.folded.map((n) => `= ${n}`).join(' '));
  svg.text(x, y + 30, level.level.level.manual, 'd');
  const top = y + 40;
  // Three cells and a gap stand for a table.
  svg.rect(x, top, BOX, TABLE, 'box');
  for (const at of [0, 1, 3]) svg.rect(x, top + at * 20 - (at === 3 ? 2 : 0), BOX, 20, 'cell');
  svg.text(x + 8, top + 14, `${level.level.entries} × ${level.level.stride} B`);
  svg.text(x + 8, top + 34, `${pageSizeText(bytes)} each`);
  svg.text(x + BOX / 2 - 4, top + 53, '⋮', 'd');
  if (!arrow) return;
  svg.path(`M${x + BOX} ${top + 30} L${x + COLUMN - 8} ${top + 30}`, 'arrow');
  svg.path(`M${x + COLUMN - 2} ${top + 30} l-8 -4 l0 8 z`, 'tip');
}

/** Cells for what a leaf takes: as many as it has, four at most. */
function drawChip(svg: Svg, leaf: LayoutLeaf, x: number, y: number): void {
  const cells = Math.min(4, leaf.entries);
  let at = x;
  if (leaf.representation === 'hugepd') {
    // The slots that point to the directory, an arrow, and the directory's entries in a frame of their own.
    for (let i = 0; i < Math.min(4, leaf.tables); i++, at += 12) svg.rect(at, y, 12, 12, 'cell');
    svg.path(`M${at + 2} ${y + 6} l8 0`, 'arrow');
    svg.path(`M${at + 14} ${y + 6} l-6 -3 l0 6 z`, 'tip');
    at += 18;
    svg.rect(at - 2, y - 2, cells * 12 + 4, 16, 'dash');
  }
  for (let i = 0; i < cells; i++) svg.rect(at + i * 12, y, 12, 12, leaf.representation);
  const slots = leaf.tables > 1 ? (leaf.representation === 'hugepd' ? `${leaf.tables} slots` : `in ${leaf.tables} tables`) : '';
  svg.text(at + cells * 12 + 8, y + 11, pageSizeText(leaf.bytes), 't', [leaf.entries > 1 ? `× ${leaf.entries}` : '', slots].filter((t) => t !== '').join(', '));
}
