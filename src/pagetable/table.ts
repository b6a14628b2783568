/**
 * Reads a table's entries as words in host order, in pieces of at most one 4 KiB frame.
 *
 * Invariant: a chunk's words are pairs (lo, hi) for wide entries and single words otherwise, whatever the byte order, stride or
 * companion word in memory; little-endian plain tables are views, everything else is copied into a buffer that lives until the next chunk.
 */
import type { CompiledLevel, CompiledMode } from './compile.ts';
import { FRAME_BYTES, type FrameSource, swap32 } from './source.ts';

export interface TableChunk {
  /** Index of the first entry in the table. */
  readonly first: number;
  readonly count: number;
  /** Entries are pairs of words. */
  readonly wide: boolean;
  /** Undefined when the image does not have this frame. */
  readonly words: Uint32Array | undefined;
  /** Entries (counted in the chunk) that are kept in several cells which disagree; undefined where none does. */
  readonly torn: ReadonlySet<number> | undefined;
}

/** Yields the chunks of entries [from, entries) of a table at `frame` + `offset` bytes. A table may begin inside a frame and reach over several. */
export function* readTable(
  mode: CompiledMode,
  level: CompiledLevel,
  source: FrameSource,
  frame: number,
  offset: number,
  from: number,
  entries: number,
): Generator<TableChunk> {
  const { stride, wide } = level;
  let first = from;
  while (first < entries) {
    const start = offset + first * stride;
    const at = start % FRAME_BYTES;
    const count = Math.min(entries - first, Math.max(1, Math.floor((FRAME_BYTES - at) / stride)));
    const f = frame + Math.floor(start / FRAME_BYTES);
    const words = source.frame(f);
    // A damaged pointer may place an entry across the end of its frame: such a table is as good as absent.
    const fits = at % 4 === 0 && at + count * stride <= FRAME_BYTES;
    const whole = words !== undefined && fits;
    const torn = whole && level.stride > level.level.entryBytes ? tornCells(mode, level, words, at / 4, count) : undefined;
    yield { first, count, wide, words: whole ? arrange(mode, level, source, words, f, at, count) : undefined, torn };
    first += count;
  }
}

/**
 * Entries that take more room than a word are kept once in each cell (8xx with 16K pages: four); in those of a huge page the address
 * rises from cell to cell. Cells that differ in anything but address bits below the page disagree.
 */
function tornCells(mode: CompiledMode, level: CompiledLevel, words: Uint32Array, from: number, count: number): Set<number> | undefined {
  const cells = level.stride / level.level.entryBytes;
  const rising = 2 ** mode.mode.pageShift - FRAME_BYTES;
  let torn: Set<number> | undefined;
  for (let i = 0; i < count; i++) {
    const word = (k: number): number => (mode.bigEndian ? swap32(words[from + i * cells + k]) : words[from + i * cells + k]);
    for (let k = 1; k < cells; k++) if ((word(k) ^ word(0)) & ~rising) (torn ??= new Set()).add(i);
  }
  return torn;
}

function arrange(
  mode: CompiledMode,
  level: CompiledLevel,
  source: FrameSource,
  words: Uint32Array,
  frame: number,
  at: number,
  count: number,
): Uint32Array | undefined {
  const companion = level.level.companion;
  if (companion !== undefined) return paired(mode, level, source, words, frame, at, count, companion);
  const entryWords = level.level.entryBytes / 4;
  const strideWords = level.stride / 4;
  const from = at / 4;
  if (!mode.bigEndian && strideWords === entryWords) return words.subarray(from, from + count * entryWords);
  const out = new Uint32Array(count * entryWords);
  for (let i = 0; i < count; i++) {
    const w = from + i * strideWords;
    if (entryWords === 1) out[i] = mode.bigEndian ? swap32(words[w]) : words[w];
    else if (mode.bigEndian) {
      out[2 * i] = swap32(words[w + 1]);
      out[2 * i + 1] = swap32(words[w]);
    } else {
      out[2 * i] = words[w];
      out[2 * i + 1] = words[w + 1];
    }
  }
  return out;
}

/** Software's word (low half) beside the hardware's (high half). */
function paired(
  mode: CompiledMode,
  level: CompiledLevel,
  source: FrameSource,
  words: Uint32Array,
  frame: number,
  at: number,
  count: number,
  distance: number,
): Uint32Array | undefined {
  const position = frame * FRAME_BYTES + at + distance;
  const beside = source.frame(Math.floor(position / FRAME_BYTES));
  if (beside === undefined) return undefined;
  const other = (position % FRAME_BYTES) / 4;
  const out = new Uint32Array(count * 2);
  const strideWords = level.stride / 4;
  for (let i = 0; i < count; i++) {
    const hardware = words[at / 4 + i * strideWords];
    const software = beside[other + i * strideWords] ?? 0;
    out[2 * i] = mode.bigEndian ? swap32(software) : software;
    out[2 * i + 1] = mode.bigEndian ? swap32(hardware) : hardware;
  }
  return out;
}
