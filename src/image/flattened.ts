/**
 * The flattened form, as makedumpfile and QEMU write it to pipes: a header of 4096 bytes, then records "these bytes belong at that offset".
 * Later records overwrite earlier ones; what no record writes is zero, as in a file with holes. Nothing is put together on disk or in
 * memory: an index of the records answers reads at any offset.
 *
 * Invariant: records are read strictly forward, each at least 16 bytes on, until the end mark; a file that ends without one was cut.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, checkRange, Fields, hex } from './bytes.ts';
import { copy, find, overlay, type Piece, ZERO } from './pieces.ts';

export const FLATTENED_MAGIC = 'makedumpfile';
const HEADER = 4096;
const RECORD = 16;
const MOST_RECORDS = 1_000_000;

export class FlattenedSource implements ByteSource {
  readonly size: number;
  readonly resident: boolean;
  readonly #source: ByteSource;
  readonly #pieces: readonly Piece[];
  readonly #read: (offset: number, length: number) => Uint8Array;

  constructor(source: ByteSource) {
    this.#source = source;
    this.resident = source.resident;
    this.#read = (offset, length) => source.read(offset, length);
    const records = readRecords(source);
    let size = 0;
    for (const record of records) size = Math.max(size, record.end);
    this.size = size;
    this.#pieces = overlay([...records.reverse(), { start: 0, end: size, offset: ZERO }]);
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(offset, length, this.size);
    if (length === 0) return new Uint8Array(0);
    const piece = this.#pieces[find(this.#pieces, offset)];
    if (piece.offset !== ZERO && piece.end - offset >= length) return this.#source.read(piece.offset + (offset - piece.start), length);
    const out = new Uint8Array(length);
    copy(this.#pieces, this.#read, offset, out);
    return out;
  }

  close(): void {
    this.#source.close?.();
  }
}

function readRecords(source: ByteSource): Piece[] {
  const header = new Fields(source.read(0, HEADER), false, 0, 'header of the flattened file');
  if (header.big(16) !== 1n || header.big(24) !== 1n) {
    throw new PxdError('bad-image', `the flattened file has type ${header.big(16)} and version ${header.big(24)}, expected 1 and 1`, 16n);
  }
  const records: Piece[] = [];
  for (let at = HEADER; ; ) {
    if (at + RECORD > source.size)
      throw new PxdError('bad-image', `the flattened file ends at offset ${hex(source.size)} without its end mark: it was cut`, BigInt(at));
    const fields = new Fields(source.read(at, RECORD), false, at, 'record of the flattened file');
    // Both are signed; -1 in both marks the end.
    if (fields.big(0) === 0xffff_ffff_ffff_ffffn && fields.big(8) === 0xffff_ffff_ffff_ffffn) return records;
    const start = fields.u64(0, 'an offset');
    const length = fields.u64(8, 'a size');
    const data = at + RECORD;
    if (!Number.isSafeInteger(start + length)) throw new PxdError('bad-image', `the record at offset ${hex(at)} reaches beyond 2^53`, BigInt(at));
    if (data + length > source.size) {
      throw new PxdError(
        'bad-image',
        `the flattened file ends too early: the record at offset ${hex(at)} has ${length} bytes, ${source.size - data} are there`,
        BigInt(at),
      );
    }
    if (records.length === MOST_RECORDS)
      throw new PxdError('limit', `the flattened file has more than ${MOST_RECORDS} records: put it together first (makedumpfile -R)`, BigInt(at));
    records.push({ start, end: start + length, offset: data });
    at = data + length;
  }
}
