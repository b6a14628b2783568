/**
 * The bitmap of a kdump: which pages are in the file, and the how-manieth each is (its place in the table of descriptors).
 *
 * Invariants: only blocks with a bit set are kept, so that a bitmap over a large and mostly empty address space takes little memory;
 * `rank` counts the set bits before a page, as the writer did when it wrote descriptors in ascending order.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, isZero } from './bytes.ts';

const BLOCK = 4096;
const BLOCK_BITS = 8 * BLOCK;
/** Read at a time. */
const STEP = 256 * BLOCK;
const MOST_BYTES = 512 * 2 ** 20;
const MOST_BLOCKS = 24 * 1024;

interface Block {
  readonly bits: Uint8Array;
  /** Set bits before this block. */
  readonly before: number;
}

const ONES = Uint8Array.from({ length: 256 }, (_, i) => {
  let n = 0;
  for (let b = i; b > 0; b &= b - 1) n++;
  return n;
});

export class PageBitmap {
  /** Set bits in all. */
  readonly count: number;
  readonly #blocks = new Map<number, Block>();

  /** @param pages bits that count; the rest of the last byte is ignored. */
  constructor(source: ByteSource, offset: number, pages: number) {
    const bytes = Math.ceil(pages / 8);
    if (bytes > MOST_BYTES) throw new PxdError('limit', `the dump's bitmap has ${bytes} bytes (${pages} pages), more than pxd reads`, BigInt(offset));
    let count = 0;
    for (let at = 0; at < bytes; at += STEP) {
      const step = source.read(offset + at, Math.min(STEP, bytes - at));
      for (let from = 0; from < step.length; from += BLOCK) {
        const part = step.subarray(from, from + BLOCK);
        if (isZero(part)) continue;
        if (this.#blocks.size === MOST_BLOCKS) throw new PxdError('limit', 'the dump has more pages than pxd can index', BigInt(offset));
        const bits = part.slice();
        const index = (at + from) / BLOCK;
        clearBeyond(bits, pages - index * BLOCK_BITS);
        this.#blocks.set(index, { bits, before: count });
        count += countOnes(bits);
      }
    }
    this.count = count;
  }

  has(page: number): boolean {
    const block = this.#blocks.get(Math.floor(page / BLOCK_BITS));
    return block !== undefined && isSet(block.bits, page % BLOCK_BITS);
  }

  /** Which of the pages present this is, from 0, or -1 when it is not present. */
  rank(page: number): number {
    const block = this.#blocks.get(Math.floor(page / BLOCK_BITS));
    const bit = page % BLOCK_BITS;
    if (block === undefined || !isSet(block.bits, bit)) return -1;
    const byte = bit >> 3;
    let rank = block.before;
    for (let i = 0; i < byte; i++) rank += ONES[block.bits[i]];
    return rank + ONES[block.bits[byte] & ((1 << (bit & 7)) - 1)];
  }

  /** Numbers of the pages present, ascending. */
  *pages(): Iterable<number> {
    for (const [index, { bits }] of this.#blocks) {
      for (let i = 0; i < bits.length; i++) {
        if (bits[i] === 0) continue;
        for (let bit = 0; bit < 8; bit++) if ((bits[i] >> bit) & 1) yield index * BLOCK_BITS + 8 * i + bit;
      }
    }
  }
}

const isSet = (bits: Uint8Array, bit: number): boolean => bit >> 3 < bits.length && ((bits[bit >> 3] >> (bit & 7)) & 1) === 1;

function countOnes(bytes: Uint8Array): number {
  let ones = 0;
  for (let i = 0; i < bytes.length; i++) ones += ONES[bytes[i]];
  return ones;
}

function clearBeyond(bits: Uint8Array, valid: number): void {
  if (valid >= 8 * bits.length) return;
  bits.fill(0, Math.ceil(valid / 8));
  if (valid % 8 > 0) bits[valid >> 3] &= (1 << (valid % 8)) - 1;
}
