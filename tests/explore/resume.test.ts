/** Runs that were stopped at any line of their results file, and resumed, have the rows of those that were not. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { planOf } from '../../src/explore/jobs.ts';
import { readResults } from '../../src/explore/results.ts';
import { resumable } from '../../src/explore/resume.ts';
import { inThisThread } from '../../src/explore/run.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { catalogue, SEED, small } from './support/run-catalogue.ts';
import { jobs, type Made, make, now, read, texts } from './support/runs.ts';

/** Large searches, which are split: nothing is hidden. */
const HOW = { splitAfter: 600, reduce: false, jobs: jobs([catalogue[0], ...small]) };
const linesOf = ({ file }: Made): number => file.split('\n').length - 1;

describe(`stopped runs (seed ${SEED})`, () => {
  let whole: Made;
  // Slow where other things run beside it.
  vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

  beforeAll(async () => {
    whole = await make(HOW);
  });

  it('go on where they were', async () => {
    const random = randomNumbers(SEED);
    for (let i = 0; i < 3; i++) {
      // Stopped again and again, by whoever pulls the plug: the last line may be half.
      let made = await make({ ...HOW, stopAt: 2 + random(linesOf(whole) >> 1) });
      expect(made.complete).toBe(false);
      for (let stops = 0; !made.complete; stops++) {
        const known = readResults(`${made.file}{"id":"E`, 'file');
        expect(known.whole).toBe(made.file.length);
        const before = known.rows.size + [...known.searches.values()].reduce((sum, one) => sum + one.subtrees.size, 0);
        const file = made.file;
        made = await make({ ...HOW, file, ...(stops < 3 ? { stopAt: linesOf(made) + 1 + random(30) } : {}) });
        expect(made.file.startsWith(file)).toBe(true);
        const after = read(made);
        expect(after.rows.size + [...after.searches.values()].reduce((sum, one) => sum + one.subtrees.size, 0)).toBeGreaterThanOrEqual(before);
      }
      expect(texts(made.rows)).toEqual(texts(whole.rows));
      // Nothing was done twice.
      const done = made.file.split('\n').map((line) => line.replace(/"(ms|transitions)":\d+/g, ''));
      expect(new Set(done).size).toBe(done.length);
    }
  });

  it('do nothing that is done', async () => {
    const executor = inThisThread(catalogue, now);
    executor.stop();
    const made = await make({ ...HOW, executor, file: whole.file });
    expect(texts(made.rows)).toEqual(texts(whole.rows));
    expect(made.complete).toBe(true);
    expect(made.file).toBe(whole.file);
  });

  it('are not those of other runs', () => {
    const results = read(whole);
    const plan = planOf(HOW.jobs, catalogue);
    const limits = { reduce: false };
    expect(() => resumable(results, planOf(HOW.jobs.slice(1), catalogue), { limits })).toThrow(/another list of jobs/);
    expect(() => resumable(results, planOf(HOW.jobs, catalogue, { shard: { index: 1, count: 2 } }), { limits })).toThrow(/another shard/);
    expect(() => resumable(results, plan, { limits, version: '9' })).toThrow(/another version/);
    expect(() => resumable(results, plan, { limits, seed: 9 })).toThrow(/another seed/);
    expect(() => resumable(results, plan, { limits: { ...limits, bounds: [1] } })).toThrow(/another limits/);
  });

  it('try again what ran out of time, where asked to', async () => {
    const file = whole.file.replace(/"result":"clean"/, '"result":"not exhausted"');
    const plan = planOf(HOW.jobs, catalogue);
    const limits = { reduce: false };
    const results = readResults(file, 'file');
    expect(resumable(results, plan, { limits }).rows.size).toBe(HOW.jobs.length);
    expect(resumable(results, plan, { limits, again: true }).rows.size).toBe(HOW.jobs.length - 1);
  });
});
