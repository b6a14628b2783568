/** Runs pxd in this process. */
import { MemoryIo } from '../../src/cli/io.ts';
import { run } from '../../src/cli/run.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly lines: readonly string[];
}

export const CAPTURES = 'tests/fixtures/captures';

export async function pxd(argv: readonly string[], options: { columns?: number; color?: boolean } = {}): Promise<Ran> {
  const io = new MemoryIo(options);
  const code = await run(argv, io);
  return { code, out: io.out, err: io.err, lines: io.out.split('\n').slice(0, -1) };
}

/** Output as JSON, an object a line. */
export const json = (ran: Ran): Record<string, unknown>[] => ran.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
