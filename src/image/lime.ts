/**
 * LiME, version 1: for each range of memory a header of 32 bytes (magic, version, first and last physical address) and the range's bytes.
 * All numbers are little-endian, whatever the machine.
 *
 * Invariant: each header moves forward by at least its own size, so reading ends.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, Fields, hex } from './bytes.ts';
import { type Image, PhysicalImage } from './image.ts';
import { PieceStore } from './memory.ts';
import { NO_NOTES } from './notes.ts';
import type { Piece } from './pieces.ts';

export const LIME_MAGIC = 0x4c694d45;
const HEADER = 32;
const MOST_RANGES = 1_000_000;

export function openLime(source: ByteSource, layers: readonly string[] = []): Image {
  const ranges: Piece[] = [];
  for (let at = 0; at < source.size; ) {
    const fields = new Fields(source.read(at, HEADER), true, at, 'LiME header');
    if (fields.u32(0) !== LIME_MAGIC) {
      throw new PxdError(
        'bad-image',
        `a LiME header is expected at offset ${hex(at)}, but the magic there is ${hex(fields.u32(0))} instead of ${hex(LIME_MAGIC)}`,
        BigInt(at),
      );
    }
    if (fields.u32(4) !== 1) throw new PxdError('bad-image', `the LiME header at offset ${hex(at)} has version ${fields.u32(4)}, expected 1`, BigInt(at));
    const first = fields.u64(8, 'a first address');
    const last = fields.u64(16, 'a last address');
    if (last < first) {
      throw new PxdError('bad-image', `the LiME header at offset ${hex(at)} has a range that ends (${hex(last)}) before it begins (${hex(first)})`, BigInt(at));
    }
    if (ranges.length === MOST_RANGES) throw new PxdError('limit', `the file has more than ${MOST_RANGES} LiME ranges`, BigInt(at));
    const length = last - first + 1;
    ranges.push({ start: first, end: first + length, offset: at + HEADER });
    if (at + HEADER + length > source.size) {
      throw new PxdError(
        'bad-image',
        `the file ends too early: the LiME range at offset ${hex(at)} (memory ${hex(first)} to ${hex(last)}) needs ${length} bytes, ${source.size - at - HEADER} are there`,
        BigInt(at),
      );
    }
    at += HEADER + length;
  }
  return new PhysicalImage(new PieceStore(source, ranges), { format: 'LiME', layers, notes: NO_NOTES, remarks: [] });
}
