/** Aligned columns. Widths count what a terminal shows, not the colour codes. */

export interface Column {
  readonly title: string;
  /** Numbers and addresses stand at the right. */
  readonly right?: boolean;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is taken out
const ESCAPES = /\u001b\[[0-9;]*m/g;

// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, keeping the sequences
const PARTS = /(\u001b\[[0-9;]*m)/;

/** Columns that a text takes on a terminal. */
export const widthOf = (text: string): number => text.replace(ESCAPES, '').length;

/** Cuts a text (colour codes kept whole) to a width, with an ellipsis where something is lost. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let shown = 0;
  let out = '';
  let colored = false;
  for (const part of text.split(PARTS)) {
    if (part.startsWith('\u001b[')) {
      out += part;
      colored = true;
      continue;
    }
    const room = width - 1 - shown;
    out += part.slice(0, Math.max(0, room));
    shown += Math.min(part.length, Math.max(0, room));
  }
  return `${out}…${colored ? '\u001b[0m' : ''}`;
}

export const padEnd = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - widthOf(text)));
export const padStart = (text: string, width: number): string => ' '.repeat(Math.max(0, width - widthOf(text))) + text;

/** Lines of a table, header first (no header when all titles are empty); the last column is not padded. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { indent?: string; header?: (text: string) => string; width?: number } = {},
): string[] {
  const widths = columns.map((c, i) => Math.max(widthOf(c.title), ...rows.map((r) => widthOf(r[i] ?? ''))));
  const line = (cells: readonly string[]): string => {
    const text = columns
      .map((c, i) => (c.right ? padStart(cells[i] ?? '', widths[i]) : i === columns.length - 1 ? (cells[i] ?? '') : padEnd(cells[i] ?? '', widths[i])))
      .join('  ');
    const whole = `${options.indent ?? ''}${text}`.trimEnd();
    return options.width ? cut(whole, options.width) : whole;
  };
  const header = columns.some((c) => c.title !== '') ? [(options.header ?? ((t) => t))(line(columns.map((c) => c.title)))] : [];
  return [...header, ...rows.map(line)];
}

/** Breaks at blanks into lines of at most `width` columns, all but the first behind two blanks; colour codes take no room. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1];
    if (last === undefined) lines.push(word);
    else if (widthOf(last) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`  ${word}`);
  }
  return lines;
}
