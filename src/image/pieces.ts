/**
 * Ranges that say where bytes come from, laid over each other.
 *
 * Invariant of a `Pieces`: sorted by start, disjoint, none empty. `offset` is where the piece's first byte lies in the file, or `ZERO` for bytes
 * that are zero and stored nowhere.
 */

export interface Piece {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly offset: number;
}

/** The offset of a piece whose bytes are zero. */
export const ZERO = -1;

/** Disjoint pieces out of ranges that may overlap: where several cover a byte, the first in the list wins. */
export function overlay(ranges: readonly Piece[]): Piece[] {
  const order = ranges.map((_, i) => i).filter((i) => ranges[i].end > ranges[i].start);
  order.sort((a, b) => ranges[a].start - ranges[b].start || a - b);
  const out: Piece[] = [];
  const active = new Heap();
  let at = 0;
  let next = 0;
  for (;;) {
    while (active.size > 0 && ranges[active.top].end <= at) active.pop();
    if (active.size === 0) {
      if (next === order.length) return out;
      at = Math.max(at, ranges[order[next]].start);
    }
    for (; next < order.length && ranges[order[next]].start <= at; next++) active.push(order[next]);
    const best = ranges[active.top];
    const until = next < order.length ? Math.min(best.end, ranges[order[next]].start) : best.end;
    if (until > at) append(out, { start: at, end: until, offset: best.offset === ZERO ? ZERO : best.offset + (at - best.start) });
    at = until;
  }
}

/** Adds a piece, joined with the last one where memory and file both go on. */
function append(out: Piece[], piece: Piece): void {
  const last = out[out.length - 1];
  if (last && last.end === piece.start && follows(last, piece)) out[out.length - 1] = { start: last.start, end: piece.end, offset: last.offset };
  else out.push(piece);
}

const follows = (a: Piece, b: Piece): boolean => (a.offset === ZERO ? b.offset === ZERO : b.offset === a.offset + (a.end - a.start));

/** Index of the piece that holds `at`, or of the first one after it with the sign flipped and one taken off. */
export function find(pieces: readonly Piece[], at: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (pieces[middle].end <= at) low = middle + 1;
    else high = middle;
  }
  return low < pieces.length && pieces[low].start <= at ? low : -low - 1;
}

/** Copies the bytes of `[at, at + into.length)` into `into`; false, with `into` in any state, when one of them is in no piece. */
export function copy(pieces: readonly Piece[], read: (offset: number, length: number) => Uint8Array, at: number, into: Uint8Array): boolean {
  let done = 0;
  for (let i = find(pieces, at); done < into.length; i++) {
    if (i < 0 || i >= pieces.length || pieces[i].start > at + done) return false;
    const piece = pieces[i];
    const length = Math.min(piece.end - (at + done), into.length - done);
    if (piece.offset === ZERO) into.fill(0, done, done + length);
    else into.set(read(piece.offset + (at + done - piece.start), length), done);
    done += length;
  }
  return true;
}

/** A binary heap of numbers, smallest on top. */
class Heap {
  readonly #items: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  get top(): number {
    return this.#items[0];
  }

  push(item: number): void {
    const items = this.#items;
    let i = items.push(item) - 1;
    for (let up = (i - 1) >> 1; i > 0 && items[up] > item; up = (i - 1) >> 1) {
      items[i] = items[up];
      i = up;
    }
    items[i] = item;
  }

  pop(): void {
    const items = this.#items;
    const item = items.pop() as number;
    if (items.length === 0) return;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= items.length) break;
      if (down + 1 < items.length && items[down + 1] < items[down]) down++;
      if (items[down] >= item) break;
      items[i] = items[down];
      i = down;
    }
    items[i] = item;
  }
}
