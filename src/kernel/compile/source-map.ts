/**
 * Source maps (ECMA-426), as much as the compiler needs: read the map that the removal of types left behind, write the map of what was made of it.
 *
 * Generated text is built from strings that carry marks: `mark(offset)` says "what follows stems from this offset of the input". A slice of the input
 * carries a mark wherever the input's own map has a segment, so that code which is copied, in whatever pieces, keeps its places by itself.
 */

/** Where a piece of the input stands in the source: line and column from 0. */
interface Segment {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

/** A source map as JSON, version 3. */
export interface SourceMap {
  readonly version: number;
  readonly sources: readonly string[];
  readonly sourcesContent?: readonly (string | null)[];
  readonly names: readonly string[];
  readonly mappings: string;
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const MARK_OPEN = '\uE001';
const MARK_CLOSE = '\uE002';
const MARKS = /\uE001(\d+)\uE002/g;

function encodeVlq(value: number): string {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1;
  let text = '';
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += DIGITS[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
}

function decodeVlqs(text: string): number[] {
  const values: number[] = [];
  let value = 0;
  let shift = 0;
  for (const char of text) {
    const digit = DIGITS.indexOf(char);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    values.push(value & 1 ? -(value >> 1) : value >> 1);
    value = 0;
    shift = 0;
  }
  return values;
}

/** The input of the compiler (JavaScript without types) with its places in the source. */
export class MappedText {
  readonly text: string;
  readonly #segments: Segment[] = [];

  constructor(text: string, mappings: string) {
    this.text = text;
    let line = 0;
    let column = 0;
    let lineStart = 0;
    for (const group of mappings.split(';')) {
      let at = 0;
      for (const field of group === '' ? [] : group.split(',')) {
        const [generated, , lines, columns] = decodeVlqs(field);
        at += generated;
        if (lines === undefined) continue;
        line += lines;
        column += columns;
        this.#segments.push({ offset: lineStart + at, line, column });
      }
      const end = text.indexOf('\n', lineStart);
      if (end < 0) break;
      lineStart = end + 1;
    }
  }

  /** Number of the first segment that lies behind `offset`. */
  #after(offset: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#segments[middle].offset <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Line and column (from 0) of an offset in the source; undefined where the map knows none. */
  place(offset: number): { line: number; column: number } | undefined {
    return this.#segments[this.#after(offset) - 1];
  }

  mark(offset: number): string {
    return `${MARK_OPEN}${offset}${MARK_CLOSE}`;
  }

  /** A piece of the text with its marks. */
  slice(start: number, end: number): string {
    let text = '';
    let done = start;
    for (let i = this.#after(start - 1); i < this.#segments.length && this.#segments[i].offset < end; i++) {
      const { offset } = this.#segments[i];
      text += this.text.slice(done, offset) + this.mark(offset);
      done = offset;
    }
    return text + this.text.slice(done, end);
  }

  /** Takes the marks out of a generated text and makes its map. */
  finish(marked: string, sources: readonly string[], sourcesContent: readonly string[]): { code: string; map: SourceMap } {
    let code = '';
    let mappings = '';
    let column = 0;
    // Of the last segment written: column in its line, line and column of the source.
    const last = { generated: 0, line: 0, column: 0, any: false };
    let done = 0;
    const advance = (text: string): void => {
      code += text;
      const lines = text.split('\n');
      if (lines.length > 1) {
        mappings += ';'.repeat(lines.length - 1);
        column = 0;
        last.generated = 0;
        last.any = false;
      }
      column += lines[lines.length - 1].length;
    };
    for (const found of marked.matchAll(MARKS)) {
      advance(marked.slice(done, found.index));
      done = found.index + found[0].length;
      const place = this.place(Number(found[1]));
      if (place === undefined) continue;
      mappings +=
        (last.any ? ',' : '') + encodeVlq(column - last.generated) + encodeVlq(0) + encodeVlq(place.line - last.line) + encodeVlq(place.column - last.column);
      Object.assign(last, { generated: column, line: place.line, column: place.column, any: true });
    }
    advance(marked.slice(done));
    return { code, map: { version: 3, sources, sourcesContent, names: [], mappings } };
  }
}
