/**
 * `npm run smoke [-- --schedules N --seed S --program native|step --out FILE]`: threads of one or two processes run system calls and faults against each
 * other in random schedules; locks, guards, TLBs and lifetimes are checked at every step, the machine's invariants at the end of each. Prints
 * the seed; a failure is shrunk to few calls and few switches and printed with its schedule. Exit code 1 when anything fails.
 *
 * `--one SEED` plays one schedule and, when it fails, tells its story; `--replay FILE` what `--out` wrote.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { choosePct, chooseRandom, chooseRecorded } from '../src/kernel/choose.ts';
import { learnedOrder } from '../src/kernel/lockdep.ts';
import type { Choose } from '../src/kernel/scheduler.ts';
import { type Program, play } from '../tests/machine/smoke/play.ts';
import { makeScenario, type Scenario } from '../tests/machine/smoke/scenario.ts';
import { type Failure, runsOf, shrink } from '../tests/machine/smoke/shrink.ts';

/** The way of choosing that belongs to a seed. */
export function choiceOf(seed: number): Choose {
  if (seed % 4 === 3) return choosePct(seed, { depth: 2 + (seed % 3), steps: 800 });
  return chooseRandom(seed, { stay: [40, 75, 92][seed % 4], actors: seed % 5 === 0 ? 20 : 4 });
}

function tell({ scenario, outcome }: Failure, program: Program): void {
  console.log(outcome.bug);
  console.log(`setup: ${scenario.setup.map((s) => `${s.run}(${s.args.map((a) => (a > 4096 ? `0x${a.toString(16)}` : a)).join(', ')})`).join('; ')}`);
  const { story } = play(scenario, chooseRecorded(outcome.schedule), program, true);
  const runs = runsOf(outcome.schedule);
  let n = 0;
  for (const run of runs) {
    const lines = story.slice(n, n + run.length);
    n += run.length;
    if (lines.length <= 3) for (const line of lines) console.log(`  ${line}`);
    else console.log(`  ${lines[0]}\n    … ${lines.length - 2} steps\n  ${lines[lines.length - 1]}`);
  }
  console.log(`scenario: ${JSON.stringify(scenario)}`);
  console.log(`schedule: ${outcome.schedule.join(',')}`);
}

function main(): void {
  const { values } = parseArgs({
    options: {
      schedules: { type: 'string', default: '2000' },
      seed: { type: 'string' },
      one: { type: 'string' },
      program: { type: 'string', default: 'native' },
      out: { type: 'string' },
      replay: { type: 'string' },
      most: { type: 'string', default: '3' },
      order: { type: 'boolean', default: false },
    },
  });
  const program = values.program as Program;
  if (values.replay !== undefined) {
    const { scenario, schedule } = JSON.parse(readFileSync(values.replay, 'utf8')) as { scenario: Scenario; schedule: number[] };
    const outcome = play(scenario, chooseRecorded(schedule), program);
    if (outcome.bug === undefined) console.log('nothing fails');
    else tell({ scenario, outcome }, program);
    process.exitCode = outcome.bug === undefined ? 0 : 1;
    return;
  }
  const first = values.one !== undefined ? Number(values.one) : values.seed !== undefined ? Number(values.seed) : Math.floor(Math.random() * 1e9);
  const count = values.one !== undefined ? 1 : Number(values.schedules);
  const kinds = new Set<string>();
  const before = performance.now();
  let [steps, failures] = [0, 0];
  for (let seed = first; seed < first + count; seed++) {
    const scenario = makeScenario(seed);
    const outcome = play(scenario, choiceOf(seed), program);
    steps += outcome.schedule.length;
    if (outcome.bug === undefined) continue;
    failures++;
    // Exceptions differ by where they come from, all else by its rule.
    const kind = outcome.rule === 'exception' ? outcome.bug.split('\n').slice(0, 2).join() : outcome.bug.replace(/0x[0-9a-f]+|\d+/g, 'N').slice(0, 120);
    if (kinds.has(kind)) continue;
    kinds.add(kind);
    console.log(`seed ${seed}: ${outcome.bug.split('\n').slice(0, 3).join('\n')}`);
    if (kinds.size > Number(values.most)) continue;
    const small = shrink({ scenario, outcome }, program);
    tell(small, program);
    if (values.out !== undefined) writeFileSync(values.out, JSON.stringify({ scenario: small.scenario, schedule: small.outcome.schedule }));
  }
  const seconds = (performance.now() - before) / 1000;
  if (values.order) console.log(learnedOrder().join('\n'));
  console.log(
    `smoke: seeds ${first} to ${first + count - 1}, ${count} schedules, ${steps} steps, ${failures} failures of ${kinds.size} kinds, ${seconds.toFixed(1)} s`,
  );
  process.exitCode = failures > 0 ? 1 : 0;
}

if (process.argv[1]?.endsWith('smoke.ts')) main();
