/**
 * npm run reductions -- [ID…] [--mode MODE] [--limit SECONDS] [--bound N] [--clean]
 *
 * What the reductions of the search save, measured: each variant of the catalogue searched with nothing hidden, then with more and more; states, transitions,
 * time, and the ratio of states. All must find the same: whoever does not makes the exit code 1. `--clean`: only variants that are expected to be clean.
 */
import { parseArgs } from 'node:util';
import { searchReduced } from '../src/explore/reduced.ts';
import type { Hiding } from '../src/explore/reduction.ts';
import type { Scenario } from '../src/explore/scenario.ts';
import { type SearchOptions, type SearchResult, search } from '../src/explore/search.ts';
import { type Staged, stageOf } from '../src/explore/stage.ts';
import { forgetOrder } from '../src/kernel/lockdep.ts';
import { catalogue } from '../src/races/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { mode: { type: 'string', default: 'x86-4level' }, limit: { type: 'string', default: '60' }, bound: { type: 'string' }, clean: { type: 'boolean' } },
});

type How = (scenario: Scenario, staged: Staged, options: SearchOptions) => SearchResult;
const hiding =
  (given?: Hiding): How =>
  (scenario, staged, options) =>
    searchReduced(scenario, staged, options, undefined, given);

const WAYS: readonly (readonly [string, How])[] = [
  ['none', search],
  ['releases', hiding({ apart: false })],
  ['+ apart', hiding({ guarded: false })],
  ['+ guarded', hiding()],
];

const limitMs = Number(values.limit) * 1000;
const preemptions = values.bound === undefined ? Number.POSITIVE_INFINITY : Number(values.bound);
const wanted = positionals.map((id) => id.toUpperCase());

function row(texts: readonly (string | number)[]): string {
  return texts.map((text, i) => (i < 2 ? String(text).padEnd(i === 0 ? 28 : 11) : String(text).padStart(12))).join(' ');
}

let wrong = 0;
console.log(row(['scenario', 'hidden', 'verdict', 'states', 'transitions', 'ms', 'ratio']));
for (const scenario of catalogue) {
  if (wanted.length > 0 && !wanted.includes(scenario.id.toUpperCase())) continue;
  if (scenario.modes && !scenario.modes(values.mode)) continue;
  for (const [name, variant] of Object.entries(scenario.variants)) {
    if (values.clean && variant.expect !== 'clean') continue;
    let plain: SearchResult | undefined;
    for (const [label, how] of WAYS) {
      forgetOrder();
      const begin = performance.now();
      const result = how(scenario, stageOf(scenario, variant, values.mode), { preemptions, stop: () => performance.now() - begin > limitMs });
      const ms = Math.round(performance.now() - begin);
      const ratio =
        plain === undefined || result.verdict === 'violation' ? '' : `${plain.verdict === 'stopped' ? '>' : ''}${(plain.states / result.states).toFixed(1)}`;
      const verdict = result.violation?.rule ?? result.verdict;
      console.log(row([label === 'none' ? `${scenario.id} ${name}` : '', label, verdict, result.states, result.transitions, ms, ratio]));
      plain ??= result;
      // Where time ran out nothing is said.
      if (plain.verdict === 'stopped' || result.verdict === 'stopped') continue;
      if (verdict !== (plain.violation?.rule ?? plain.verdict) || (plain.violation === undefined && plain.endings !== result.endings)) {
        wrong++;
        console.log(
          `  differs: ${plain.violation?.message ?? plain.verdict}, ${plain.endings} endings; ${result.violation?.message ?? result.verdict}, ${result.endings} endings`,
        );
      }
    }
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
