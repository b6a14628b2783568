/**
 * How fast schedules are searched, next to SPIN on the same protocol (explore/protocol.ts and explore/protocol.pml), and on the mm's own code. `first diagram`: from
 * the beginning of the search for a bug to the text of its smallest diagram, against SPIN's breadth-first search of an already built binary with the trail printed.
 * `states/s`: processor time, all states; nothing is hidden on either side, ours puts steps to sleep (the same states by fewer steps). Both must have met as many states, and both
 * are told beforehand how large a table to make (SPIN's -w and -m are those with which it is fastest). `exhausted`: processor time until all schedules are known, each with its reduction. Without spin and a C compiler our figures stand alone.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as ExploreModule from '../src/explore/index.ts';
import type * as LoadModule from '../src/explore/node/index.ts';
import { type BenchRow, report } from './report.ts';

const here = fileURLToPath(new URL('explore/', import.meta.url));
/** The built package: what users run. Paths in variables keep the type checker from wanting dist/. */
const [explore, node, races] = ['explore', 'explore-node', 'races'].map((name) => new URL(`../dist/${name}.js`, import.meta.url).href);
const { formats, search, searchReduced, stageOf, tell } = (await import(explore)) as typeof ExploreModule;
const { loadScenarios } = (await import(node)) as typeof LoadModule;
const { catalogue } = (await import(races)) as { catalogue: readonly ExploreModule.Scenario[] };

const MODE = 'x86-4level';
const ROUNDS = 10;
/** A scenario of the catalogue of which all states are searched. It and the protocol are small: several searches a round, so that their code is compiled by the last ones. */
const REAL = 'E28';
const SEARCHES = 4;
/** States of the protocol, about. */
const STATES = 27_000;
/** Searches of the protocol, ours and SPIN's, that are measured together: SPIN's time is told in hundredths of a second, and one search takes one. */
const REPEATED = 60;

const all: ExploreModule.Variant = { expect: 'clean' };
const [late, inTime] = await loadScenarios(join(here, 'protocol.ts'));

const smallest = (values: readonly number[]): number => Math.min(...values);
const largest = (values: readonly number[]): number => Math.max(...values);
const rounds = <T>(run: () => T): T[] => Array.from({ length: ROUNDS }, run);

/** Milliseconds until the text of the diagram is there. */
function firstDiagram(): number {
  const begin = performance.now();
  for (let preemptions = 0; ; preemptions++) {
    const { violation } = search(late, stageOf(late, late.variants.linux, MODE), { preemptions });
    if (!violation) continue;
    const text = formats.text.render(tell(late, 'linux', MODE, violation.schedule), { width: 100 });
    if (!text.includes('\n')) throw new Error('the diagram is empty');
    return performance.now() - begin;
  }
}

interface Speed {
  readonly states: number;
  readonly statesPerSecond: number;
  readonly bytesPerState: number;
}

/** Of so many searches together, each from nothing. */
function speedOf(scenario: ExploreModule.Scenario, searches: number, expected = 0): Speed {
  const staged = stageOf(scenario, all, MODE);
  const begin = process.cpuUsage();
  const results = Array.from({ length: searches }, () => search(scenario, staged, { expected }));
  const { user, system } = process.cpuUsage(begin);
  const [{ states, bytes }] = results;
  if (results.some((one) => one.verdict !== 'exhausted' || one.states !== states))
    throw new Error(`${scenario.id}: ${results.map((one) => one.verdict).join()}`);
  return { states, statesPerSecond: (searches * states) / ((user + system) / 1e6), bytesPerState: bytes / states };
}

/** Milliseconds of processor time for all schedules, with what may be hidden hidden. */
function exhaustMs(scenario: ExploreModule.Scenario): number {
  const staged = stageOf(scenario, all, MODE);
  const begin = process.cpuUsage();
  const { verdict } = searchReduced(scenario, staged, {});
  const { user, system } = process.cpuUsage(begin);
  if (verdict !== 'exhausted') throw new Error(`${scenario.id}: ${verdict}`);
  return (user + system) / 1000;
}

/** SPIN's figures, undefined without it. */
interface Spin {
  trailMs(): number;
  /** Of a search that must meet so many states. */
  statesPerSecond(states: number): number;
  exhaustMs(): number;
}

const statesOf = (text: string): number => Number(/(\d+) states, stored/.exec(text)?.[1]);
/** Seconds of processor time of what a shell has run, which `times` tells at the end in hundredths. */
function secondsOf(text: string): number {
  const [, userMinutes, user, systemMinutes, system] = /(\d+)m([\d.]+)s (\d+)m([\d.]+)s\s*$/.exec(text) as RegExpExecArray;
  return 60 * (Number(userMinutes) + Number(systemMinutes)) + Number(user) + Number(system);
}

function buildSpin(dir: string): Spin | undefined {
  const run = (command: string, ...args: string[]): string => {
    const { status, stdout } = spawnSync(command, args, { cwd: dir, encoding: 'utf8' });
    // A counterexample is no failure.
    if (status === null) throw new Error(`${command} cannot be run`);
    return stdout;
  };
  const repeated = (program: string): string => run('sh', '-c', `for i in $(seq ${REPEATED}); do ${program} -m1000 -w17; done; times`);
  const model = join(here, 'protocol.pml');
  const compiled = (name: string, ...flags: string[]): boolean =>
    spawnSync('cc', ['-O2', '-w', '-DSAFETY', ...flags, '-o', name, 'pan.c'], { cwd: dir, stdio: 'ignore' }).status === 0;
  if (spawnSync('spin', ['-a', model], { cwd: dir, stdio: 'ignore' }).status !== 0) return undefined;
  if (!compiled('plain', '-DNOREDUCE') || !compiled('reduced')) return undefined;
  if (spawnSync('spin', ['-a', '-DLATE', model], { cwd: dir, stdio: 'ignore' }).status !== 0 || !compiled('bfs', '-DBFS')) return undefined;
  return {
    trailMs: () => {
      const begin = performance.now();
      run('./bfs');
      // The trail stands under the model's name, where the search ran.
      const told = run('spin', '-t', '-p', '-DLATE', '-k', 'protocol.pml.trail', model);
      if (!told.includes('assertion violated')) throw new Error('spin shows no counterexample');
      return performance.now() - begin;
    },
    statesPerSecond: (states) => {
      const told = repeated('./plain');
      // One more: that in which nobody runs yet.
      if (statesOf(told) !== states + 1) throw new Error(`spin has met ${statesOf(told)} states, not ${states} and its own first`);
      return (REPEATED * statesOf(told)) / secondsOf(told);
    },
    exhaustMs: () => (1000 * secondsOf(repeated('./reduced'))) / REPEATED,
  };
}

const dir = mkdtempSync(join(tmpdir(), 'pxd-bench-'));
try {
  const spin = buildSpin(dir);
  const real = catalogue.find(({ id }) => id === REAL) as ExploreModule.Scenario;
  const diagram: number[] = [];
  const trail: number[] = [];
  const reduced: Speed[] = [];
  const plain: number[] = [];
  const byOrder: number[] = [];
  const hidden: number[] = [];
  const ofReal: Speed[] = [];
  // What is compared goes in turns, so that what else the machine does falls on both sides; one comparison after the other, as SPIN's programs do one thing each.
  for (const _ of rounds(() => 0)) {
    reduced.push(speedOf(inTime, REPEATED, STATES));
    if (spin) plain.push(spin.statesPerSecond(reduced[0].states));
  }
  for (const _ of rounds(() => 0)) {
    diagram.push(firstDiagram());
    if (spin) trail.push(spin.trailMs());
  }
  for (const _ of rounds(() => 0)) {
    hidden.push(exhaustMs(inTime));
    if (spin) byOrder.push(spin.exhaustMs());
  }
  for (const _ of rounds(() => 0)) ofReal.push(speedOf(real, SEARCHES));
  const reference = spin ? 'SPIN' : 'no spin here';
  const best = (list: readonly number[], pick: (values: readonly number[]) => number): number | null => (list.length > 0 ? pick(list) : null);
  const row = (
    name: string,
    value: number,
    unit: string,
    referenceValue: number | null,
    goal: string | null,
    limit: string | null,
    better: BenchRow['better'],
    of = reference,
  ): BenchRow => ({ name, value, unit, reference: of, referenceValue, goal, limit, better });
  const speed = (list: readonly Speed[]): number => largest(list.map((s) => s.statesPerSecond));
  report(
    [
      row('first diagram', smallest(diagram), 'ms', best(trail, smallest), '<=1', null, 'lower', `${reference}, breadth first`),
      row('states/s reduced', speed(reduced), 'states/s', best(plain, largest), '>=1', null, 'higher', `${reference}, no reduction`),
      row('exhausted', smallest(hidden), 'ms', best(byOrder, smallest), null, null, 'lower', `${reference}, partial order`),
      row('states/s real', speed(ofReal), 'states/s', null, null, '>=300000', 'higher', '-'),
      row('bytes a state', largest([...reduced, ...ofReal].map((s) => s.bytesPerState)), 'bytes', null, null, '<=24', 'lower', '-'),
    ],
    process.argv.includes('--json'),
  );
} finally {
  rmSync(dir, { recursive: true, force: true });
}
