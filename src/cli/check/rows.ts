/**
 * Finds the rows of `pxd check`: one search after the other in this thread, or by threads, shards and results files (explore/run.ts).
 *
 * Invariant: which way is taken makes no difference to the rows, save their times.
 */
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { CheckOptions, Row } from '../../explore/check.ts';
import type { Job } from '../../explore/jobs.ts';
import type { WorkLimits } from '../../explore/work.ts';
import { PxdError } from '../../pagetable/error.ts';
import { PipeClosed } from '../io.ts';
import { VERSION } from '../version.ts';
import type { CheckCommandOptions } from './options.ts';
import type { Totals } from './report.ts';
import type { Item } from './select.ts';

/** Where a run is. */
export interface Standing {
  readonly job: Job;
  /** Rows that there are, of all that there will be. */
  readonly done: number;
  readonly of: number;
  readonly states: number;
  /** Steps or states a second. */
  readonly rate: number;
  readonly depth: number;
  readonly bound?: number;
}

export interface Hooks {
  readonly onRow: (row: Row) => void;
  readonly onProgress: (standing: Standing) => void;
}

const now = (): number => performance.now();

/** Rows in the order of the items. False when the run was stopped before all was done. */
export async function findRows(items: readonly Item[], options: CheckCommandOptions, totals: Totals, hooks: Hooks): Promise<boolean> {
  const asRun = options.workers !== undefined || options.resume !== undefined || options.shard !== undefined;
  if (asRun && options.smoke === undefined) return await byJobs(items, options, hooks);
  let done = 0;
  for (const item of items) {
    const { scenario, variant, mode } = item;
    const begin = now();
    const progress: NonNullable<CheckOptions['progress']> = ({ states, transitions, depth }, bound) => {
      const rate = Math.round((1000 * transitions) / Math.max(1, now() - begin));
      hooks.onProgress({ job: { id: scenario.id, variant, mode }, done, of: items.length, states, rate, depth, bound });
    };
    hooks.onRow(await blamed([item], () => searchItem(item, options, { ...limitsOf(options), now, progress, searched: (result) => totals.add(result) })));
    done++;
  }
  return true;
}

async function searchItem({ scenario, variant, mode }: Item, options: CheckCommandOptions, given: CheckOptions): Promise<Row> {
  if (options.smoke !== undefined) return (await import('./smoke.ts')).smokeVariant(scenario, variant, mode, options.smoke, options.seed ?? 1, given);
  return (await import('../../explore/check.ts')).checkVariant(scenario, variant, mode, given);
}

const limitsOf = ({ limit, memory, preemptions, reduce }: CheckCommandOptions): WorkLimits => ({
  ...(limit === undefined ? {} : { limitMs: limit * 1000 }),
  ...(memory === undefined ? {} : { memoryBytes: memory * 2 ** 20 }),
  ...(reduce ? {} : { reduce }),
  ...(preemptions === undefined ? {} : { bounds: Array.from({ length: preemptions + 1 }, (_, i) => i) }),
});

/** What goes wrong outside of kernel functions in a file of the user's is said of the file. */
export async function blamed<T>(items: readonly Item[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const file = items.find((item) => item.file !== undefined)?.file;
    if (file === undefined || error instanceof PxdError || error instanceof PipeClosed) throw error;
    const { placeOf } = await import('../../explore/node/load.ts');
    throw new PxdError('usage', `${placeOf(error) ?? file}: ${(error as Error).message ?? error}`);
  }
}

/** By the jobs of a plan: in this thread or in several, with a results file that is begun or gone on with. */
async function byJobs(items: readonly Item[], options: CheckCommandOptions, { onRow, onProgress }: Hooks): Promise<boolean> {
  const [{ jobsOf, planOf }, { inThisThread, runJobs }, results, { resumable }] = await Promise.all([
    import('../../explore/jobs.ts'),
    import('../../explore/run.ts'),
    import('../../explore/results.ts'),
    import('../../explore/resume.ts'),
  ]);
  const scenarios = [...new Set(items.map(({ scenario }) => scenario))];
  const limits = limitsOf(options);
  const plan = planOf(jobsOf(items), scenarios, {
    ...(options.shard === undefined ? {} : { shard: options.shard }),
    ...(options.sizes === undefined ? {} : { sizes: results.sizesOf(readResultsFile(results, options.sizes)) }),
    ...(options.split === undefined ? {} : { split: options.split }),
  });
  const file = options.resume;
  const before = file !== undefined && existsSync(file) && readFileSync(file, 'utf8') !== '' ? readResultsFile(results, file) : undefined;
  const resume = before === undefined ? undefined : resumable(before, plan, { version: VERSION, limits, again: options.again === true });
  if (file !== undefined && before !== undefined) truncateSync(file, Buffer.byteLength(readFileSync(file, 'utf8').slice(0, before.whole)));
  const out = file === undefined ? undefined : openFile(file);
  const executor = options.workers === undefined || options.workers === 1 ? inThisThread(scenarios, now) : await pool(items, options.workers);
  const interrupted = (): void => executor.stop();
  process.once('SIGINT', interrupted);
  try {
    const { complete } = await blamed(items, () =>
      runJobs({
        plan,
        scenarios,
        executor,
        limits,
        version: VERSION,
        now,
        ...(resume === undefined ? {} : { resume }),
        ...(out === undefined ? {} : { append: (line: string) => void writeSync(out, `${line}\n`) }),
        onRow,
        onProgress: ({ job, done, jobs, states, rate, depth }) => onProgress({ job, done, of: jobs, states, rate, depth }),
      }),
    );
    return complete;
  } finally {
    process.removeListener('SIGINT', interrupted);
    await executor.close();
    if (out !== undefined) closeSync(out);
  }
}

type ResultsModule = typeof import('../../explore/results.ts');

export const readResultsFile = ({ readResults }: ResultsModule, file: string): ReturnType<ResultsModule['readResults']> =>
  readResults(readFileSync(file, 'utf8'), file);

function openFile(file: string): number {
  try {
    return openSync(file, 'a');
  } catch (error) {
    throw new PxdError('unavailable', `${file} cannot be written: ${(error as Error).message}`);
  }
}

async function pool(items: readonly Item[], threads: number): Promise<import('../../explore/run.ts').Executor> {
  const { entryUrl, workerPool } = await import('../../explore/node/workers.ts');
  const files = [...new Set(items.flatMap(({ file }) => file ?? []))];
  const fromCatalogue = items.some(({ file }) => file === undefined);
  return workerPool({ threads, files, ...(fromCatalogue ? { catalogue: entryUrl('races/index.ts', 'races.js') } : {}) });
}
