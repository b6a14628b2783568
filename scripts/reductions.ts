/**
 * npm run reductions -- [ID…] [--mode MODE] [--limit SECONDS] [--bound N]
 *
 * What the reductions of the search save, measured: each variant of the catalogue searched to its end with nothing hidden, the same with steps asleep
 * (explore/sleep.ts: as many states by fewer transitions), then with more and more hidden; states,
 * transitions, time, and the ratio of states. All must reach the same endings (results and memory, whatever translations CPUs are left with) and break
 * the same rules: whoever does not makes the exit code 1.
 */
import { parseArgs } from 'node:util';
import { searchReduced } from '../src/explore/reduced.ts';
import type { Hiding } from '../src/explore/reduction.ts';
import type { Scenario, Variant } from '../src/explore/scenario.ts';
import { type SearchOptions, type SearchResult, search } from '../src/explore/search.ts';
import { type Staged, stageOf } from '../src/explore/stage.ts';
import { forgetOrder } from '../src/kernel/lockdep.ts';
import { Cpu, firstCpu } from '../src/kernel/task.ts';
import { get } from '../src/memory/heap.ts';
import { ARRAY, arraysOf, mounted } from '../src/memory/state.ts';
import { catalogue } from '../src/races/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { mode: { type: 'string', default: 'x86-4level' }, limit: { type: 'string', default: '60' }, bound: { type: 'string' } },
});

type How = (scenario: Scenario, staged: Staged, options: SearchOptions) => SearchResult;
const hiding =
  (given?: Hiding): How =>
  (scenario, staged, options) =>
    searchReduced(scenario, staged, options, undefined, given);

const WAYS: readonly (readonly [string, How])[] = [
  ['none', (scenario, staged, options) => search(scenario, staged, { ...options, sleep: false })],
  ['sleep', search],
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

/** What a search finds: the endings that it reached, as text, and the rules that were broken. */
interface Outcome {
  readonly result: SearchResult;
  readonly ms: number;
  readonly endings: ReadonlySet<string>;
  readonly rules: string;
}

function outcome(given: Scenario, variant: Variant, how: How): Outcome {
  forgetOrder();
  const endings = new Set<string>();
  const rules = new Set<string>();
  const begin = performance.now();
  let base: (Int32Array | Float64Array)[] = [];
  const scenario: Scenario = {
    ...given,
    holds: {
      told: ({ results }) => {
        endings.add(`${JSON.stringify(results)} ${differences(base)}`);
        return undefined;
      },
      ...given.holds,
    },
  };
  const staged = stageOf(scenario, variant, values.mode);
  base = arraysOf(mounted()).map((array) => array.slice());
  const result = how(scenario, staged, { preemptions, collect: ({ rule }) => rules.add(rule), stop: () => performance.now() - begin > limitMs });
  return { result, ms: Math.round(performance.now() - begin), endings, rules: [...rules].sort().join(' ') };
}

/** Where memory differs from what it was, but for CPUs. */
function differences(base: readonly (Int32Array | Float64Array)[]): string {
  const cpus: number[] = [];
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) cpus.push(cpu);
  const found: string[] = [];
  arraysOf(mounted()).forEach((array, number) => {
    for (let i = 0; i < array.length; i++)
      if (array[i] !== (base[number][i] ?? 0) && !(number === ARRAY.heap && cpus.some((cpu) => i >= cpu && i < cpu + Cpu.$size)))
        found.push(`${number}:${i}=${array[i]}`);
  });
  return found.join(' ');
}

const sum = new Map<string, number>();
let wrong = 0;
console.log(row(['scenario', 'hidden', 'states', 'transitions', 'ms', 'ratio', 'endings', 'rules']));
for (const scenario of catalogue) {
  if (wanted.length > 0 && !wanted.includes(scenario.id.toUpperCase())) continue;
  if (scenario.modes && !scenario.modes(values.mode)) continue;
  for (const [name, variant] of Object.entries(scenario.variants)) {
    let plain: Outcome | undefined;
    for (const [label, how] of WAYS) {
      const found = outcome(scenario, variant, how);
      const { result, ms, endings, rules } = found;
      plain ??= found;
      const over = result.verdict === 'stopped';
      const ratio = label === 'none' ? '' : `${plain.result.verdict === 'stopped' ? '>' : ''}${(plain.result.states / result.states).toFixed(1)}`;
      console.log(
        row([
          label === 'none' ? `${scenario.id} ${name}` : '',
          label,
          `${over ? '>' : ''}${result.states}`,
          result.transitions,
          ms,
          ratio,
          endings.size,
          rules,
        ]),
      );
      // Where time ran out nothing is said.
      if (over || plain.result.verdict === 'stopped') continue;
      sum.set(label, (sum.get(label) ?? 0) + result.states);
      const lost = [...plain.endings].filter((ending) => !endings.has(ending)).length;
      const more = [...endings].filter((ending) => !(plain as Outcome).endings.has(ending)).length;
      if (lost + more === 0 && rules === plain.rules) continue;
      wrong++;
      console.log(`  differs: ${lost} endings are not reached, ${more} are that were not; rules ${plain.rules || 'none'} and ${rules || 'none'}`);
    }
  }
}
console.log(row(['all', '', [...sum].map(([label, states]) => `${label} ${states}`).join(', ')]));
process.exitCode = wrong === 0 ? 0 : 1;
