/**
 * What a command talks to: the process's own streams, or memory in tests.
 *
 * Invariants: `write` is synchronous and blocks while the reader of a pipe is slow, so output never piles up; nothing reaches stdout before
 * 64 KiB are ready or the command ends well, so a command that fails early leaves stdout empty; a closed pipe throws `PipeClosed`.
 */
import { writeSync } from 'node:fs';
import { styleText } from 'node:util';

export interface Io {
  /** Text for stdout. */
  write(text: string): void;
  /** A line for stderr beside the output: remarks, never results; dropped when the command fails. */
  note(line: string): void;
  /** Replaces the progress line on a terminal's stderr; nothing elsewhere. */
  progress(text: string): void;
  /** Columns that lines should fit. */
  readonly columns: number;
  /** Rows of the terminal, for output that should fit a window. */
  readonly rows: number;
  readonly color: boolean;
  readonly isTerminal: boolean;
}

/** The reader of our output went away (`| head`). */
export class PipeClosed extends Error {}

const FLUSH = 65536;

/** Blocks for a moment without burning the CPU. */
const pause = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      if (code === 'EAGAIN') pause();
      else if (code === 'EPIPE') throw new PipeClosed();
      else throw e;
    }
  }
}

export class ProcessIo implements Io {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
  readonly isTerminal: boolean;
  readonly #pending: string[] = [];
  /** Notes wait for the first output, too: a command that fails says one sentence only. */
  readonly #notes: string[] = [];
  #size = 0;
  #progress = '';

  constructor() {
    const { env, stdout } = process;
    this.isTerminal = stdout.isTTY === true;
    // A terminal that nobody has given a size says 0 by 0.
    this.columns = Number(env.COLUMNS) > 0 ? Number(env.COLUMNS) : stdout.columns || 80;
    this.rows = Number(env.LINES) > 0 ? Number(env.LINES) : stdout.rows || 50;
    this.color = env.NO_COLOR ? false : env.FORCE_COLOR ? env.FORCE_COLOR !== '0' : this.isTerminal && env.TERM !== 'dumb';
  }

  write(text: string): void {
    this.#pending.push(text);
    this.#size += text.length;
    if (this.#size >= FLUSH) this.flush();
  }

  flush(): void {
    this.progress('');
    if (this.#notes.length > 0) this.#writeNotes(this.#notes.splice(0).join(''));
    if (this.#pending.length === 0) return;
    const text = this.#pending.join('');
    this.#pending.length = 0;
    this.#size = 0;
    writeAll(1, text);
  }

  /** Drops what was not yet written: the command failed. */
  discard(): void {
    this.#pending.length = 0;
    this.#notes.length = 0;
    this.#size = 0;
  }

  note(line: string): void {
    this.#notes.push(`${line}\n`);
  }

  #writeNotes(text: string): void {
    try {
      writeAll(2, text);
    } catch (e) {
      if (!(e instanceof PipeClosed)) throw e;
    }
  }

  progress(text: string): void {
    if (process.stderr.isTTY !== true || text === this.#progress) return;
    this.#progress = text;
    process.stderr.write(`\r\u001b[K${text}`);
  }
}

/** Collects output in memory. */
export class MemoryIo implements Io {
  readonly columns: number;
  readonly rows = 50;
  readonly color: boolean;
  readonly isTerminal = false;
  out = '';
  err = '';

  constructor(options: { columns?: number; color?: boolean } = {}) {
    this.columns = options.columns ?? 80;
    this.color = options.color ?? false;
  }

  write(text: string): void {
    this.out += text;
  }

  note(line: string): void {
    this.err += `${line}\n`;
  }

  progress(): void {}

  discard(): void {
    this.out = '';
    this.err = '';
  }
}

type Style = Parameters<typeof styleText>[0];

/** Colours where the output takes them. */
export const paint = (io: Io, style: Style, text: string): string => (io.color && text !== '' ? styleText(style, text, { validateStream: false }) : text);
