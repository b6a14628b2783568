/**
 * `npm run fuzz -- [--cases N] [--seed N] [--only SEED]`: hostile input. Every case is made from its seed alone, so a failure is
 * repeated with `--only`. Exit code 1 when a case fails or the process ever took 512 MB.
 */
import { parseArgs } from 'node:util';
import { runCase } from '../tests/fuzz/cases.ts';

const MOST_MEGABYTES = 512;

const { values } = parseArgs({ options: { cases: { type: 'string', default: '20000' }, seed: { type: 'string', default: '1' }, only: { type: 'string' } } });
const cases = values.only === undefined ? Number(values.cases) : 1;
const first = Number(values.only ?? values.seed);
const families = new Map<string, { cases: number; refused: number; ms: number; slowest: number; seed: number }>();
let failed = 0;
const start = performance.now();
for (let i = 0; i < cases; i++) {
  const seed = (first + i * 7919) >>> 0;
  const outcome = await runCase(seed);
  const f = families.get(outcome.family) ?? { cases: 0, refused: 0, ms: 0, slowest: 0, seed: 0 };
  f.cases++;
  f.refused += outcome.refused ? 1 : 0;
  f.ms += outcome.ms;
  if (outcome.ms > f.slowest) Object.assign(f, { slowest: outcome.ms, seed });
  families.set(outcome.family, f);
  if (outcome.failure !== undefined) {
    failed++;
    if (failed <= 10) console.log(`seed ${seed} (${outcome.family}): ${outcome.failure}`);
  }
  if (process.stderr.isTTY && i % 500 === 499) process.stderr.write(`\r${i + 1} of ${cases}`);
}
for (const [name, f] of [...families].sort())
  console.log(
    `${name.padEnd(16)} ${String(f.cases).padStart(6)} cases  ${String(f.refused).padStart(6)} refused  ${(f.ms / f.cases).toFixed(2).padStart(7)} ms each  slowest ${Math.round(f.slowest)} ms (seed ${f.seed})`,
  );
const megabytes = process.resourceUsage().maxRSS / 1024;
if (megabytes > MOST_MEGABYTES) {
  failed++;
  console.log(`peak memory ${Math.round(megabytes)} MB, more than ${MOST_MEGABYTES} MB`);
}
console.log(`fuzz: ${cases} cases from seed ${first}, ${failed} failed, ${Math.round((performance.now() - start) / 1000)} s, peak ${Math.round(megabytes)} MB`);
process.exitCode = failed > 0 ? 1 : 0;
