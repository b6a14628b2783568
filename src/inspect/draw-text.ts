/** Words and shapes that the text pictures share: addresses, sizes, columns side by side. Invariant: nothing here knows a terminal; widths are arguments. */

/** Byte address of a page number, as people write it. */
export const pageAddress = (page: number, pageShift: number): bigint => BigInt(page) << BigInt(pageShift);
export const hexPage = (page: number, pageShift: number): string => `0x${pageAddress(page, pageShift).toString(16)}`;

/** `0x…-0x…`, the end exclusive. The end of the address space is written as 2^64 is. */
export const hexRange = (page: number, pages: number, pageShift: number): string => `${hexPage(page, pageShift)}-${hexPage(page + pages, pageShift)}`;

/** Sizes as mm people write page sizes: 4K, 2M, 512G; other sizes keep one decimal. */
export { sizeText as pageSizeText } from '../pagetable/units.ts';

/** `1 page`, `2 pages`, with thousands separated. */
export const counted = (n: number, one: string, many = `${one}s`): string => `${thousands(n)} ${n === 1 ? one : many}`;

export const thousands = (n: number): string => n.toLocaleString('en-US');

/** Pads on the right to a width in characters; longer text stays whole. */
export const padded = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - text.length));

/** Cuts with an ellipsis. */
export const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`);

/** Blocks of lines next to each other. */
export function beside(left: readonly string[], right: readonly string[], leftWidth: number, gap = '  '): string[] {
  const rows = Math.max(left.length, right.length);
  return Array.from({ length: rows }, (_, i) => `${padded(left[i] ?? '', leftWidth)}${gap}${right[i] ?? ''}`.trimEnd());
}

/** Aligned columns; `right` names those that are numbers. */
export function aligned(rows: readonly (readonly string[])[], right: readonly number[] = [], gap = '  '): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join(gap)
      .trimEnd(),
  );
}

/** Breaks words into lines of at most `width`, every line but the first behind `indent`. Blanks within a line stay as they are. */
export function wrapped(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.match(/\s*\S+/g) ?? []) {
    if (line !== '' && line.length + word.length > width) {
      lines.push(line);
      line = indent + word.trimStart();
    } else line += word;
  }
  return [...lines, line];
}
