/**
 * `tsx --import ./scripts/kernel-node.mjs scripts/invariants.ts FILE… [--only REGEX] [--every N] [--program NAME]`: plays traces on pxd's own mm and checks the
 * machine's invariants (src/mm/invariants) after every N-th operation. Prints what is violated for the first time after which operation; exit code 1 when
 * anything is.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseTrace } from '../src/machine/trace/format.ts';
import { createTraceMachine } from '../src/machine/trace/machine.ts';
import { Player } from '../src/machine/trace/player.ts';
import { checkMachine } from '../src/mm/invariants/index.ts';
import { readTraceFile } from './conform.ts';

/** Plays one trace; the violations that appeared, each with its operation. */
export function violationsOfTrace(path: string, every: number, program: 'direct' | 'native' = 'direct'): string[] {
  const trace = parseTrace(readTraceFile(path));
  const player = new Player(trace.header, (header) => createTraceMachine(header, { program }));
  const found: string[] = [];
  let known = new Set<string>();
  trace.steps.forEach((step, i) => {
    const result = player.run(step);
    if (typeof result === 'string') found.push(`operation ${step.i}: ${result.split('\n')[0]}`);
    if (i % every !== 0 && i !== trace.steps.length - 1) return;
    const violations = checkMachine({ leaks: true });
    for (const sentence of violations) if (!known.has(sentence)) found.push(`operation ${step.i} ${JSON.stringify(step.op)}: ${sentence}`);
    known = new Set(violations);
  });
  return found;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      every: { type: 'string', default: '1' },
      program: { type: 'string', default: 'direct' },
      most: { type: 'string', default: '6' },
    },
  });
  const only = values.only === undefined ? /./ : new RegExp(values.only);
  const files = positionals
    .flatMap((path) =>
      existsSync(path) && statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: 'utf8' }).map((f) => join(path, f)) : [path],
    )
    .filter((path) => /\.trace(\.gz)?$/.test(path) && only.test(path))
    .sort();
  let bad = 0;
  for (const path of files) {
    const found = violationsOfTrace(path, Number(values.every), values.program as 'direct' | 'native');
    if (found.length > 0) bad++;
    if (found.length > 0) console.log(`${path}: ${found.length}`);
    for (const line of found.slice(0, Number(values.most))) console.log(`  ${line}`);
  }
  console.log(`invariants: ${files.length} traces, ${bad} with violations`);
  process.exitCode = bad > 0 ? 1 : 0;
}

if (process.argv[1]?.endsWith('invariants.ts')) main();
