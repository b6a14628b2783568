/**
 * LZO1X, decompression only, of one buffer.
 *
 * The stream is a sequence of instructions, each a match (distance and length) or a run of literals; 0 to 3 literals may follow a match, their number in the
 * two lowest bits of the match's distance bytes. What a first byte below 16 means depends on what came before: after no literals a literal run,
 * after a few a match of two bytes, after a run a match of three bytes beyond the reach of the former. The first byte of all, when it is above 17, is a
 * literal run of that many less 17. A match at distance 16384 with the length's code is the end mark.
 *
 * Invariants: every read is checked against the input's end and every write against the output's (`#byte`, `#literals`, `#room`); a match never reaches before the output's
 * beginning; each instruction consumes input, so decoding ends.
 */

class Lzo {
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  #at = 0;
  #done = 0;

  constructor(input: Uint8Array, size: number) {
    this.#in = input;
    this.#out = new Uint8Array(size);
  }

  run(): Uint8Array {
    /** Literals that the previous instruction copied: 0 to 3, or 4 for a run of four or more. */
    let literals = 0;
    if (this.#in.length > 0 && this.#in[0] > 17) {
      const count = this.#byte() - 17;
      this.#literals(count);
      literals = Math.min(count, 4);
    }
    for (;;) {
      const op = this.#byte();
      if (op < 16 && literals === 0) {
        this.#literals(op === 0 ? this.#long(15) + 3 : op + 3);
        literals = 4;
        continue;
      }
      const tail = this.#match(op, literals === 4);
      if (tail < 0) return this.#end();
      this.#literals(tail);
      literals = tail;
    }
  }

  /** Copies one match; returns how many literals follow it, or -1 at the end mark. */
  #match(op: number, afterRun: boolean): number {
    if (op >= 64) {
      this.#copy((this.#byte() << 3) + ((op >> 2) & 7) + 1, (op >> 5) + 1);
      return op & 3;
    }
    if (op < 16) {
      this.#copy((this.#byte() << 2) + (op >> 2) + (afterRun ? 2049 : 1), afterRun ? 3 : 2);
      return op & 3;
    }
    const near = op >= 32;
    const code = op & (near ? 31 : 7);
    const length = (code === 0 ? this.#long(near ? 31 : 7) : code) + 2;
    const low = this.#byte();
    const distance = (this.#byte() << 6) + (low >> 2);
    if (near) this.#copy(distance + 1, length);
    else if (distance + ((op & 8) << 11) === 0) return -1;
    else this.#copy(distance + ((op & 8) << 11) + 16384, length);
    return low & 3;
  }

  #end(): Uint8Array {
    if (this.#at < this.#in.length) throw new RangeError('LZO data goes on after its end mark');
    return this.#out.subarray(0, this.#done);
  }

  #byte(): number {
    if (this.#at >= this.#in.length) throw new RangeError('LZO data ends too early');
    return this.#in[this.#at++];
  }

  /** A length too long for its instruction: zero bytes stand for 255 each, the first other one is added. */
  #long(base: number): number {
    let length = base;
    for (;;) {
      const byte = this.#byte();
      if (byte > 0) return length + byte;
      length += 255;
    }
  }

  #literals(count: number): void {
    if (this.#at + count > this.#in.length) throw new RangeError('LZO data ends too early');
    this.#room(count);
    for (let i = 0; i < count; i++) this.#out[this.#done++] = this.#in[this.#at++];
  }

  #copy(distance: number, length: number): void {
    if (distance > this.#done) throw new RangeError('LZO data refers to before its beginning');
    this.#room(length);
    // Byte by byte: source and destination may overlap, and then the copied bytes repeat.
    for (let i = 0; i < length; i++, this.#done++) this.#out[this.#done] = this.#out[this.#done - distance];
  }

  #room(length: number): void {
    if (this.#done + length > this.#out.length) throw new RangeError('LZO data is longer than it should be');
  }
}

/** Decompresses at most `size` bytes. @throws {RangeError} for damaged data, or data that is longer. */
export const lzo1x = (compressed: Uint8Array, size: number): Uint8Array => new Lzo(compressed, size).run();
