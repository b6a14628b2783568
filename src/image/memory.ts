/**
 * Memory that lies in a file as it lay in the machine: ELF cores, LiME, raw images.
 *
 * Invariant: `pieces` are disjoint and sorted; a frame may be put together from several of them (segments that meet within a frame), and is
 * absent when a byte of it is in none.
 */
import { PxdError } from '../pagetable/error.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import { type ByteSource, hex } from './bytes.ts';
import type { FrameStore, Segment } from './image.ts';
import { copy, find, overlay, type Piece, ZERO } from './pieces.ts';

/** Views of resident memory cost only themselves; copies of a file's frames cost 4 KiB each (two generations of these are kept). */
const KEEP_VIEWS = 65536;
const KEEP_COPIES = 4096;

/** How often the same bytes of a file may serve as memory: a few aliases are real, thousands are a trick to make small files endless. */
const MOST_ALIASES = 16;

const ZERO_FRAME = new Uint8Array(FRAME_BYTES);

export class PieceStore implements FrameStore {
  readonly keep: number;
  readonly #source: ByteSource;
  readonly #pieces: readonly Piece[];
  readonly #read: (offset: number, length: number) => Uint8Array;
  #hit = 0;

  /**
   * @param ranges physical ranges; where they overlap the first one in the list counts.
   * @throws {PxdError} when a range lies beyond the file.
   */
  constructor(source: ByteSource, ranges: readonly Piece[]) {
    this.#source = source;
    this.#read = (offset, length) => source.read(offset, length);
    this.keep = source.resident ? KEEP_VIEWS : KEEP_COPIES;
    for (const range of ranges) checkStored(source, range);
    this.#pieces = overlay([...ranges.filter((r) => r.offset !== ZERO), ...ranges.filter((r) => r.offset === ZERO)]);
    checkAliases(source, this.#pieces);
  }

  load(frame: number): Uint8Array | undefined {
    const at = frame * FRAME_BYTES;
    const i = this.#find(at);
    if (i < 0) return undefined;
    const piece = this.#pieces[i];
    if (piece.end - at >= FRAME_BYTES) return piece.offset === ZERO ? ZERO_FRAME : this.#source.read(piece.offset + (at - piece.start), FRAME_BYTES);
    const bytes = new Uint8Array(FRAME_BYTES);
    return copy(this.#pieces, this.#read, at, bytes) ? bytes : undefined;
  }

  has(frame: number): boolean {
    let at = frame * FRAME_BYTES;
    const end = at + FRAME_BYTES;
    for (let i = this.#find(at); at < end; i++) {
      if (i < 0 || i >= this.#pieces.length || this.#pieces[i].start > at) return false;
      at = this.#pieces[i].end;
    }
    return true;
  }

  *frames(): Iterable<number> {
    let next = 0;
    for (const [from, to] of this.#wholes()) {
      // Only data counts, but a frame of data may begin or end in zero fill.
      for (const piece of this.#pieces.slice(...this.#within(from, to))) {
        if (piece.offset === ZERO) continue;
        const end = Math.min(to, Math.ceil(piece.end / FRAME_BYTES));
        for (next = Math.max(next, from, Math.floor(piece.start / FRAME_BYTES)); next < end; next++) yield next;
      }
    }
  }

  segments(): Segment[] {
    return this.#wholes().map(([from, to]) => ({ start: from, frames: to - from }));
  }

  read(physical: number, into: Uint8Array): boolean {
    return copy(this.#pieces, this.#read, physical, into);
  }

  close(): void {
    this.#source.close?.();
  }

  #find(at: number): number {
    const hit = this.#pieces[this.#hit];
    if (hit && hit.start <= at && at < hit.end) return this.#hit;
    const i = find(this.#pieces, at);
    if (i >= 0) this.#hit = i;
    return i;
  }

  /** Indexes of the pieces that touch the frames [from, to). */
  #within(from: number, to: number): [number, number] {
    const at = (frame: number): number => {
      const i = find(this.#pieces, frame * FRAME_BYTES);
      return i < 0 ? -i - 1 : i;
    };
    const end = find(this.#pieces, to * FRAME_BYTES - 1);
    return [at(from), end < 0 ? -end - 1 : end + 1];
  }

  /** Runs of whole frames, [from, to), over pieces that touch. */
  #wholes(): [number, number][] {
    const runs: [number, number][] = [];
    for (let i = 0; i < this.#pieces.length; ) {
      const { start } = this.#pieces[i];
      let { end } = this.#pieces[i];
      for (i++; i < this.#pieces.length && this.#pieces[i].start === end; i++) end = this.#pieces[i].end;
      const from = Math.ceil(start / FRAME_BYTES);
      const to = Math.floor(end / FRAME_BYTES);
      if (to > from) runs.push([from, to]);
    }
    return runs;
  }
}

function checkStored(source: ByteSource, range: Piece): void {
  if (range.offset === ZERO || range.end <= range.start || range.offset + (range.end - range.start) <= source.size) return;
  throw new PxdError(
    'bad-image',
    `the file ends too early: memory ${hex(range.start)} to ${hex(range.end)} should lie at offset ${hex(range.offset)}, but the file has ${source.size} bytes`,
    BigInt(range.offset),
  );
}

function checkAliases(source: ByteSource, pieces: readonly Piece[]): void {
  let stored = 0;
  for (const piece of pieces) if (piece.offset !== ZERO) stored += piece.end - piece.start;
  if (stored <= MOST_ALIASES * source.size) return;
  throw new PxdError('bad-image', `the file's ${source.size} bytes cannot hold the ${hex(stored)} bytes of memory that its segments claim to store`);
}
