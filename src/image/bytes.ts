/**
 * Where an image's bytes come from: memory, a file, a decompressed or reassembled stream.
 *
 * Invariants: reading is synchronous; `read` returns exactly `length` bytes or throws a `PxdError` that names the offset; the
 * result may be a view of the source's own memory, so nobody writes to it. Offsets and lengths are safe integers: numbers out of a file come
 * through `Fields`, which refuses what JavaScript cannot count exactly.
 */
import { PxdError } from '../pagetable/error.ts';

export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /** True when what `read` returns stays valid and costs no memory of its own, so that it may be kept for ever. */
  readonly resident: boolean;
  /** @throws {PxdError} `bad-image` when the range does not lie within the source. */
  read(offset: number, length: number): Uint8Array;
  /** Gives up what the source holds (a file descriptor). Reading afterwards is an error. */
  close?(): void;
}

/** Refuses a range that does not lie within `size` bytes. */
export function checkRange(offset: number, length: number, size: number): void {
  if (offset >= 0 && length >= 0 && Number.isSafeInteger(offset + length) && offset + length <= size) return;
  throw new PxdError(
    'bad-image',
    `the file ends too early: ${length} bytes are needed at offset ${hex(offset)}, but it has ${size} bytes in all`,
    Number.isSafeInteger(offset) ? BigInt(offset) : undefined,
  );
}

/** Bytes that are in memory already. */
export class MemoryBytes implements ByteSource {
  readonly size: number;
  readonly resident = true;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(offset, length, this.size);
    return this.#bytes.subarray(offset, offset + length);
  }
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  const start = (4 - (bytes.byteOffset & 3)) & 3;
  if (bytes.length < 4 + start) return bytes.every((byte) => byte === 0);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + start, (bytes.length - start) >> 2);
  for (let i = 0; i < start; i++) if (bytes[i] !== 0) return false;
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  for (let i = start + 4 * words.length; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** A number for people: hexadecimal, also when it is beyond what a file may hold. */
export const hex = (n: number | bigint): string => (n < 0 ? `-0x${(-n).toString(16)}` : `0x${n.toString(16)}`);

/** Text out of a file made fit for a terminal or a message: control characters shown as dots, length bounded. */
export function printable(text: string, limit = 200): string {
  const shown = text.length > limit ? `${text.slice(0, limit)}…` : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return shown.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g, '.');
}

const LATIN1 = new TextDecoder('latin1');
/** Bytes up to the first NUL, as text (one character a byte). */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return LATIN1.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The fields of one record: offsets are the record's, errors name the file's. */
export class Fields {
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #base: number;
  readonly #what: string;

  constructor(bytes: Uint8Array, little: boolean, base: number, what: string) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = little;
    this.#base = base;
    this.#what = what;
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, this.#little);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, this.#little);
  }

  /** A 64-bit number as a bigint: for registers and for values that may be anything. */
  big(offset: number): bigint {
    return this.#view.getBigUint64(offset, this.#little);
  }

  /** A 64-bit number that must be one that JavaScript counts exactly: an offset, a size, an address. */
  u64(offset: number, field: string): number {
    const high = this.#view.getUint32(offset + (this.#little ? 4 : 0), this.#little);
    const low = this.#view.getUint32(offset + (this.#little ? 0 : 4), this.#little);
    if (high > 0x1fffff) {
      throw new PxdError(
        'bad-image',
        `the ${this.#what} at offset ${hex(this.#base)} has ${field} ${hex(this.big(offset))}, which is larger than any memory or file (2^53)`,
        BigInt(this.#base),
      );
    }
    return high * 0x1_0000_0000 + low;
  }
}
