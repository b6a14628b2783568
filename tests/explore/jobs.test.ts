/** Runs: rows do not hang on who searched, in how many threads, in how many parts; plans give every job to exactly one shard. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { checkVariant } from '../../src/explore/check.ts';
import { jobKey, jobsOf, parseShard, planOf, scenarioOf } from '../../src/explore/jobs.ts';
import { loadScenarios } from '../../src/explore/node/load.ts';
import { workerPool } from '../../src/explore/node/workers.ts';
import { type Executor, inThisThread, runJobs } from '../../src/explore/run.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { catalogue, SEED, small } from './support/run-catalogue.ts';
import { jobs, MODE, make, now, texts } from './support/runs.ts';

const CATALOGUE = new URL('./support/run-catalogue.ts', import.meta.url);

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

describe('plans', () => {
  it('give every job to one shard, and all shards agree', () => {
    const all = jobs();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.nat(1000), { minLength: all.length, maxLength: all.length }), (count, states) => {
        const sizes = new Map(all.map((job, i) => [jobKey(job), states[i]]));
        const split = [jobKey(all[1])];
        const plans = Array.from({ length: count }, (_, i) => planOf(all, catalogue, { shard: { index: i + 1, count }, sizes, split }));
        const dealt = plans.flatMap((plan) => plan.whole.map(jobKey)).sort();
        expect(dealt).toEqual(
          all
            .map(jobKey)
            .filter((key) => count === 1 || !split.includes(key))
            .sort(),
        );
        for (const plan of plans) expect(plan.split.map(jobKey)).toEqual(count === 1 ? [] : split);
        // No shard has more than the others by more than one job.
        const loads = plans.map((plan) => plan.whole.reduce((sum, job) => sum + (sizes.get(jobKey(job)) ?? 0), 0));
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(Math.max(...states));
      }),
      { numRuns: 100 },
    );
  });

  it('say what is wrong with a shard', () => {
    expect(parseShard('2/3')).toEqual({ index: 2, count: 3 });
    for (const text of ['0/3', '4/3', '3', '1/0', 'a/b', '1/3/5', '-1/2', '1.5/2']) expect(() => parseShard(text)).toThrow(PxdError);
    const growing = jobs().find(({ id, variant }) => scenarioOf(catalogue, { id, variant }).variants[variant].expect === 'violation');
    expect(() => planOf(jobs(), catalogue, { split: [jobKey(growing as never)] })).toThrow(/growing bounds/);
    expect(() => planOf(jobs(), catalogue, { split: ['E99:no:such'] })).toThrow(/no job/);
  });
});

/** Jobs that are searched quickly, and are split and have violations all the same. */
const quick = jobs().filter(({ id, variant }) => id !== 'E17' && (id !== 'E28' || variant === 'late'));

describe(`rows (small programs from seed ${SEED})`, () => {
  let reference: string[];
  /** Those of `quick`. */
  let quickReference: string[];
  beforeAll(() => {
    reference = texts(jobs().map((job) => checkVariant(scenarioOf(catalogue, job), job.variant, job.mode, { now })));
    quickReference = reference.filter((_, i) => quick.some((job) => jobKey(job) === jobKey(jobs()[i])));
    expect([reference.length, quickReference.length]).toEqual([jobs().length, small.length + 1]);
  });

  it('are those of checkVariant, twice', async () => {
    for (let i = 0; i < 2; i++) expect(texts((await make({ jobs: quick })).rows)).toEqual(quickReference);
  });

  it('do not hang on splitting', async () => {
    const { rows, file } = await make({ jobs: quick, splitAfter: 1 });
    expect(texts(rows)).toEqual(quickReference);
    // It was split.
    expect(file.match(/^\{"subtree":/gm)?.length ?? 0).toBeGreaterThan(10);
    const large = { jobs: jobs().slice(1, 2), reduce: false };
    expect(texts((await make({ ...large, splitAfter: 1000 })).rows)).toEqual(texts((await make(large)).rows));
  });

  it('come in the order of jobs, each once', async () => {
    const heard: string[] = [];
    const plan = planOf(jobs(small), catalogue);
    const executor = backwards(inThisThread(catalogue, now));
    const { rows } = await runJobs({ plan, scenarios: catalogue, executor, now, onRow: (row) => heard.push(jobKey(row)) });
    expect(heard).toEqual(plan.whole.map(jobKey));
    expect(rows.map(jobKey)).toEqual(heard);
  });

  for (const threads of [1, 2, 3])
    it(`do not hang on threads: ${threads}`, async () => {
      const executor = workerPool({ threads, catalogue: CATALOGUE });
      const heard: number[] = [];
      try {
        // Threads are what this is about: two of them search all, one and three a few.
        const few = quick.slice(-4);
        for (const splitAfter of threads === 2 ? [1, Number.POSITIVE_INFINITY] : [1]) {
          const all = threads === 2 && splitAfter === 1;
          const { rows, complete } = await make({ executor, splitAfter, ...(all ? {} : { jobs: few }) });
          expect(texts(rows)).toEqual(all ? reference : quickReference.slice(-few.length));
          expect(complete).toBe(true);
        }
        if (threads !== 1) return;
        const plan = planOf(jobs().slice(1, 2), catalogue);
        await runJobs({ plan, scenarios: catalogue, executor, now, limits: { reduce: false }, onProgress: ({ states }) => heard.push(states) });
        expect(heard.length).toBeGreaterThan(0);
      } finally {
        await executor.close();
      }
    });
});

/** Does pieces that are queued together in the opposite order. */
function backwards(executor: Executor): Executor {
  const waiting: (() => void)[] = [];
  return {
    ...executor,
    run: async (work, hooks) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        setTimeout(() => waiting.pop()?.());
      });
      return await executor.run(work, hooks);
    },
  };
}

const TWICE = `
import { call, map, scenario, store, task, WINDOW } from 'pxd/explore';

export default scenario({
  id: 'twice',
  title: 'two threads take the same pages away',
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
  },
  tasks: {
    first: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, 2 * page)),
    second: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, page)),
  },
  variants: { linux: { expect: 'clean' } },
});
`;

describe('threads', () => {
  let executor: Executor;
  beforeAll(() => {
    executor = workerPool({ threads: 1, catalogue: CATALOGUE });
  });
  afterAll(() => executor.close());

  it('say what goes wrong, and go on', async () => {
    const job = { id: 'E99', variant: 'none', mode: MODE };
    const search = (one: typeof job): Promise<unknown> => executor.run({ kind: 'job', job: one, limits: { reduce: false }, splitAfter: 100 });
    await expect(search(job)).rejects.toThrow(PxdError);
    await expect(search({ ...job, id: 'E17', variant: 'fixed' })).resolves.toMatchObject({ kind: 'job', large: true });
  });

  it('know scenarios out of files', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pxd-jobs-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const file = join(directory, 'twice.ts');
    writeFileSync(file, TWICE);
    const scenarios = await loadScenarios(file);
    const all = scenarios.flatMap((scenario) => Object.keys(scenario.variants).map((variant) => ({ scenario, variant, mode: MODE })));
    // With the catalogue: what threads run is bundled once.
    const pool = workerPool({ threads: 1, catalogue: CATALOGUE, files: [file] });
    try {
      const { rows } = await runJobs({ plan: planOf(jobsOf(all), scenarios), scenarios, executor: pool, now });
      expect(texts(rows)).toEqual(texts(all.map(({ scenario, variant }) => checkVariant(scenario, variant, MODE, { now }))));
      expect(rows.length).toBeGreaterThan(0);
    } finally {
      await pool.close();
    }
  });

  it('that run out of memory lose their piece, and no other', async () => {
    const pool = workerPool({ threads: 1, catalogue: CATALOGUE, heapMegabytes: 12 });
    try {
      const { rows, complete } = await runJobs({ plan: planOf(jobs().slice(0, 2), catalogue), scenarios: catalogue, executor: pool, now });
      expect(rows).toMatchObject([
        { result: 'not exhausted', ok: false },
        { result: 'not exhausted', ok: false },
      ]);
      expect(rows[0].message).toContain('out of memory');
      expect(complete).toBe(true);
    } finally {
      await pool.close();
    }
  });

  it('stop at the limits: a search that has no room or no time is not exhausted', async () => {
    const plan = planOf(jobs().slice(1, 2), catalogue);
    for (const limits of [
      { reduce: false, memoryBytes: 100_000 },
      { reduce: false, limitMs: 1 },
    ])
      for (const splitAfter of [600, Number.POSITIVE_INFINITY]) {
        const { rows } = await runJobs({ plan, scenarios: catalogue, executor, limits, splitAfter, now });
        expect(rows).toMatchObject([{ id: 'E17', variant: 'fixed', result: 'not exhausted', ok: false }]);
      }
  });
});
