/**
 * Snappy pages, by hysnappy. Its decoder trusts the length that the data begins with; here that must be what the caller allows, so that
 * its output stays within what was set aside for it.
 */
import { snappyUncompressor } from 'hysnappy';
import type { PageDecoder } from './codecs.ts';

export function snappyDecoder(): PageDecoder {
  let decode: ReturnType<typeof snappyUncompressor> | undefined;
  return (compressed, size) => {
    const length = lengthOf(compressed);
    if (length > size) throw new RangeError(`snappy data of ${length} bytes, at most ${size} expected`);
    decode ??= snappyUncompressor();
    try {
      return decode(compressed, length);
    } catch (error) {
      // A trap may leave the instance's memory in any state.
      decode = undefined;
      throw error;
    }
  };
}

/** The uncompressed length at the beginning of snappy data: 7 bits a byte, least significant first. */
function lengthOf(compressed: Uint8Array): number {
  let length = 0;
  for (let i = 0; i < 5 && i < compressed.length; i++) {
    length += (compressed[i] & 0x7f) * 2 ** (7 * i);
    if (compressed[i] < 0x80) return length;
  }
  throw new RangeError('snappy data without a length');
}
