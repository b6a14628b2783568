/**
 * Bytes that came out of a stream (a decompressor) and are kept in memory: in chunks, the all-zero ones not stored.
 *
 * Invariants: every chunk but the last is full; a chunk is either all data or the one shared chunk of zeros. Both the size and what is really
 * stored are bounded, since a few bytes of compressed input may ask for any amount.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, checkRange, isZero } from './bytes.ts';
import { sizeText } from './image.ts';

/** A multiple of every page size, so that aligned frames are views of one chunk. */
const CHUNK = 65536;
const ZEROS = new Uint8Array(CHUNK);

export interface UnpackLimits {
  /** Bytes of the unpacked file. */
  readonly size: number;
  /** Bytes of it that are not zero, to the nearest 64 KiB: what it takes in memory. */
  readonly stored: number;
}

export const UNPACK_LIMITS: UnpackLimits = { size: 2 ** 30, stored: 320 * 2 ** 20 };

export class ChunkedBytes implements ByteSource {
  readonly resident = true;
  size = 0;
  readonly #limits: UnpackLimits;
  readonly #chunks: Uint8Array[] = [];
  #filling = new Uint8Array(CHUNK);
  #filled = 0;
  #stored = 0;

  constructor(limits: UnpackLimits) {
    this.#limits = limits;
  }

  /** @throws {PxdError} `limit` when the whole becomes too large. */
  append(bytes: Uint8Array): void {
    if (this.size + bytes.length > this.#limits.size) this.#refuse(`is larger than ${sizeText(this.#limits.size)}`);
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(CHUNK - this.#filled, bytes.length - done);
      this.#filling.set(bytes.subarray(done, done + length), this.#filled);
      this.#filled += length;
      done += length;
      if (this.#filled === CHUNK) this.#flush();
    }
    this.size += bytes.length;
  }

  /** To be called once after the last `append`. */
  finish(): void {
    if (this.#filled > 0) this.#flush();
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(offset, length, this.size);
    let chunk = Math.floor(offset / CHUNK);
    let from = offset - chunk * CHUNK;
    if (from + length <= CHUNK) return length === 0 ? ZEROS.subarray(0, 0) : this.#chunks[chunk].subarray(from, from + length);
    const out = new Uint8Array(length);
    for (let done = 0; done < length; chunk++, from = 0) {
      const part = this.#chunks[chunk].subarray(from, Math.min(CHUNK, from + length - done));
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  #flush(): void {
    if (isZero(this.#filling)) this.#chunks.push(ZEROS);
    else {
      this.#stored += CHUNK;
      if (this.#stored > this.#limits.stored) this.#refuse(`holds more than ${sizeText(this.#limits.stored)} of data`);
      this.#chunks.push(this.#filling);
      this.#filling = new Uint8Array(CHUNK);
    }
    this.#filled = 0;
  }

  #refuse(why: string): never {
    this.#chunks.length = 0;
    throw new PxdError('limit', `the unpacked image ${why}, too much to unpack into memory: unpack the file first and open the result`);
  }
}
