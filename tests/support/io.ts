/** An `Io` that keeps everything in memory. Output that a command discards on failure is discarded here, too. */
import type { Io } from '../../src/cli/io.ts';

export interface MemoryIo extends Io {
  readonly output: string[];
  readonly errors: string[];
  discard(): void;
}

export function silentIo(columns = 80, rows = 24): MemoryIo {
  const output: string[] = [];
  const errors: string[] = [];
  return {
    output,
    errors,
    write: (text) => void output.push(text),
    note: (line) => void errors.push(`${line}\n`),
    progress: () => undefined,
    discard: () => void (output.length = 0),
    columns,
    rows,
    color: false,
    isTerminal: false,
  };
}
