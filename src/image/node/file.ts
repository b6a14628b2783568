/**
 * A file as a source of bytes, read piece by piece: an image of any size takes a few megabytes.
 *
 * Invariants: the file is opened for reading only; its size is taken once, when it is opened; small reads go through a bounded cache of blocks, so
 * do those that go on where the last one ended; others are read directly into what is returned.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { PxdError } from '../../pagetable/error.ts';
import { type ByteSource, checkRange, hex } from '../bytes.ts';
import { reasonOf } from './reasons.ts';

const BLOCK = 64 * 1024;
const MOST_BLOCKS = 64;
/** Reads from this size on are not worth caching. */
const LARGE = 4096;

export class FileBytes implements ByteSource {
  readonly size: number;
  readonly resident = false;
  #fd: number | undefined;
  readonly #blocks = new Map<number, Uint8Array>();
  /** Where the last read ended. */
  #end = -1;

  /** @throws {PxdError} when the file is not there, may not be read, or is no regular file. */
  constructor(path: string) {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    this.#fd = attempt('cannot be opened', () => openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)));
    const fd = this.#fd;
    const stat = attempt('cannot be read', () => fstatSync(fd));
    if (!stat.isFile()) {
      this.close();
      throw new PxdError('unavailable', `the file is ${stat.isDirectory() ? 'a directory' : 'no regular file'}, expected a memory image`);
    }
    this.size = stat.size;
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(offset, length, this.size);
    const goesOn = offset === this.#end;
    this.#end = offset + length;
    if (length >= BLOCK || (length >= LARGE && !goesOn)) return this.#direct(offset, length);
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / BLOCK);
      const from = offset + done - index * BLOCK;
      const part = this.#block(index).subarray(from, Math.min(BLOCK, from + length - done));
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#blocks.clear();
  }

  #block(index: number): Uint8Array {
    const kept = this.#blocks.get(index);
    if (kept) return kept;
    if (this.#blocks.size >= MOST_BLOCKS) this.#blocks.delete(this.#blocks.keys().next().value as number);
    const at = index * BLOCK;
    const block = this.#direct(at, Math.min(BLOCK, this.size - at));
    this.#blocks.set(index, block);
    return block;
  }

  #direct(offset: number, length: number): Uint8Array {
    const fd = this.#fd;
    if (fd === undefined) throw new PxdError('unavailable', 'the image has been closed');
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const n = attempt(`cannot be read at offset ${hex(offset + done)}`, () => readSync(fd, out, done, length - done, offset + done));
      if (n === 0)
        throw new PxdError('bad-image', `the file ends too early: it became shorter than ${this.size} bytes while it was read`, BigInt(offset + done));
      done += n;
    }
    return out;
  }
}

/** Runs a system call; its failure becomes a sentence. */
export function attempt<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'unknown error';
    throw new PxdError('unavailable', `the file ${what}: ${reasonOf(code)}`);
  }
}
