/**
 * `npm run races [-- --budget SECONDS --seed S --workers N --limit SECONDS --mode MODE …]`: the catalogue in four paging modes, as `pxd check --mode all` does
 * it. With a budget every variant is checked in one mode first, which the seed chooses, then in the others as far as the time goes.
 *
 * Exit code 1 when a row is not as expected, or when a variant was not checked in any mode.
 */
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { complaint } from '../src/cli/check/junit.ts';
import { ALL_MODES } from '../src/cli/check/select.ts';
import { type Job, jobKey, planOf } from '../src/explore/jobs.ts';
import { entryUrl, workerPool } from '../src/explore/node/workers.ts';
import { runJobs } from '../src/explore/run.ts';
import { randomNumbers } from '../src/kernel/choose.ts';
import { catalogue } from '../src/races/index.ts';

const { values } = parseArgs({
  options: {
    budget: { type: 'string' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '2' },
    limit: { type: 'string', default: '60' },
    mode: { type: 'string', multiple: true, default: [...ALL_MODES] },
  },
});
const begin = performance.now();
const random = randomNumbers(Number(values.seed));

/** Passes over the catalogue: each has every variant in one of its modes that no pass before had. */
function passes(): Job[][] {
  const found: Job[][] = values.mode.map(() => []);
  for (const { id, variants, modes } of catalogue) {
    const own = values.mode.filter((mode) => modes?.(mode) !== false);
    for (const variant of Object.keys(variants)) {
      const first = random(own.length);
      own.forEach((_, i) => void found[i].push({ id, variant, mode: own[(first + i) % own.length] }));
    }
  }
  return found;
}

const [first, ...others] = passes();
const jobs = [first, ...others].flat();
const executor = workerPool({ threads: Number(values.workers), catalogue: entryUrl('races/index.ts', 'races.js') });
const timer = values.budget === undefined ? undefined : setTimeout(() => executor.stop(), 1000 * Number(values.budget));
const { rows } = await runJobs({
  plan: planOf(jobs, catalogue),
  scenarios: catalogue,
  executor,
  limits: { limitMs: 1000 * Number(values.limit) },
  now: () => performance.now(),
});
clearTimeout(timer);
await executor.close();

const wrong = rows.filter((row) => !row.ok);
for (const row of wrong) console.log(`${jobKey(row)}: ${complaint(row)}${row.schedule === null ? '' : ` (--replay '${row.schedule}')`}`);
const done = new Set(rows.map(jobKey));
const never = first.filter(({ id, variant }) => !jobs.some((job) => job.id === id && job.variant === variant && done.has(jobKey(job))));
if (never.length > 0) console.log(`not checked in any mode: ${never.map(({ id, variant }) => `${id} ${variant}`).join(', ')}`);
const states = rows.reduce((sum, row) => sum + row.states, 0);
const left = jobs.length > rows.length ? `; ${jobs.length - rows.length} left for want of time (seed ${values.seed})` : '';
console.log(
  `races: ${rows.length} rows of ${catalogue.length} entries in ${values.mode.length} modes, ${wrong.length} not as expected, ${states.toLocaleString('en-US')} states in ${Math.round((performance.now() - begin) / 1000)} s${left}`,
);
process.exitCode = wrong.length + never.length > 0 ? 1 : 0;
