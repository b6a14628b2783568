/** Results files of shards: merged they are the run that was not split; what is missing is named, contradictions are errors. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { jobKey, scenarioOf } from '../../src/explore/jobs.ts';
import { mergeResults } from '../../src/explore/merge.ts';
import { readResults, sizesOf } from '../../src/explore/results.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { catalogue, SEED, small } from './support/run-catalogue.ts';
import { jobs, type Made, make, read, texts } from './support/runs.ts';

const shards = async (count: number, options: Parameters<typeof make>[0] = {}): Promise<Made[]> => {
  const made: Made[] = [];
  for (let index = 1; index <= count; index++) made.push(await make({ ...options, shard: { index, count } }));
  return made;
};

/** Jobs with searches that are large when nothing is hidden. */
const mixed = jobs([catalogue[0], ...small]);

/** Jobs of one bound: those that can be split over shards. */
const single = (all = mixed): string[] => all.filter((job) => scenarioOf(catalogue, job).variants[job.variant].expect === 'clean').map(jobKey);

describe(`shards (small programs from seed ${SEED})`, () => {
  let whole: Made;
  let three: Made[];
  // Slow where other things run beside it.
  vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

  beforeAll(async () => {
    whole = await make({ jobs: mixed, reduce: false });
    three = await shards(3, { jobs: mixed, reduce: false, splitAfter: 300, split: single(), sizes: sizesOf(read(whole)) });
  });

  it('1/1 is the run', () => {
    const merged = mergeResults([read(whole)]);
    expect(texts(merged.rows)).toEqual(texts(whole.rows));
    expect(merged).toMatchObject({ complete: true, missing: [], incomplete: [], unsettled: [] });
  });

  it('of three, with searches that are split over all of them, in any order', () => {
    expect(three.every(({ file }) => file.includes('"subtree"'))).toBe(true);
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ]) {
      const merged = mergeResults(order.map((i) => read(three[i], `shard ${i + 1}`)));
      expect(merged.unsettled).toEqual([]);
      expect(texts(merged.rows)).toEqual(texts(whole.rows));
      expect(merged.complete).toBe(true);
    }
  });

  it('of three, with operations hidden: what was split before it knew enough is unsettled', async () => {
    const some = jobs(catalogue.slice(0, 2));
    const reference = texts((await make({ jobs: some })).rows);
    for (const splitAfter of [1, 1500]) {
      const made = await shards(3, { jobs: some, split: single(some), splitAfter });
      const merged = mergeResults(made.map((one, i) => read(one, `shard ${i + 1}`)));
      expect([...merged.rows.map(jobKey), ...merged.unsettled].sort()).toEqual(some.map(jobKey).sort());
      expect(texts(merged.rows)).toEqual(reference.filter((text) => merged.rows.some((row) => texts([row])[0] === text)));
      expect(merged.complete).toBe(merged.unsettled.length === 0);
    }
  });

  it('name what is missing', () => {
    const merged = mergeResults([read(three[0]), read(three[2])]);
    expect(merged.missing).toEqual(['2/3']);
    expect(merged.complete).toBe(false);
    // Rows of shard 2, and of searches of which it had a part before the first violation.
    for (const row of three[1].rows) expect(merged.incomplete).toContain(jobKey(row));
    expect(merged.incomplete).toContain('E17:fixed:x86-4level');
    expect([...merged.rows.map(jobKey), ...merged.incomplete].sort()).toEqual(mixed.map(jobKey).sort());
    for (const row of merged.rows) expect(texts(whole.rows)).toContain(texts([row])[0]);
  });

  it('of which one was cut off in the middle are incomplete, and complete when it was resumed', async () => {
    const lines = three[1].file.split('\n');
    const half = `${lines.slice(0, Math.floor(lines.length / 2)).join('\n')}\n${lines[Math.floor(lines.length / 2)].slice(0, 7)}`;
    const merged = mergeResults([read(three[0]), readResults(half, 'half'), read(three[2])]);
    expect(merged.missing).toEqual([]);
    expect(merged.incomplete.length).toBeGreaterThan(0);
    const resumed = await make({
      jobs: mixed,
      reduce: false,
      splitAfter: 300,
      split: single(),
      sizes: sizesOf(read(whole)),
      shard: { index: 2, count: 3 },
      file: half.slice(0, half.lastIndexOf('\n') + 1),
    });
    expect(texts(mergeResults([read(three[0]), read(resumed), read(three[2])]).rows)).toEqual(texts(whole.rows));
  });

  it('that contradict each other are errors', () => {
    const [one] = three;
    const changed = one.file.replace(/"states":(\d+),"ms"/, (_, n) => `"states":${Number(n) + 1},"ms"`);
    expect(changed).not.toBe(one.file);
    const merge = (...files: string[]): unknown => mergeResults(files.map((file, i) => readResults(file, `file ${i}`)));
    expect(() => merge(one.file, changed)).toThrow(/file 0 and file 1 contradict each other in/);
    // Only the time differs.
    expect(() => merge(one.file, one.file.replace(/"ms":\d+,"schedule"/, '"ms":123456,"schedule"'))).not.toThrow();
    const verdict = one.file.replace(/("subtree":\{"job":"E17:fixed[^\n]*?"verdict":)"done"/, '$1"stopped"');
    expect(verdict).not.toBe(one.file);
    expect(() => merge(one.file, verdict)).toThrow(/contradict/);
  });

  it('of other runs, and what is no results file, are errors', () => {
    const [one, two] = three.map(({ file }) => file);
    const merge = (...files: string[]): unknown => mergeResults(files.map((file, i) => readResults(file, `file ${i}`)));
    expect(() => merge(one, two.replace('"pxd":"0"', '"pxd":"1"'))).toThrow(/different runs: version/);
    expect(() => merge(one, two.replace('"seed":null', '"seed":7'))).toThrow(/different runs: seed/);
    expect(() => merge(one, two.replace('"2/3"', '"2/4"'))).toThrow(/different runs: shards/);
    expect(() => merge(one, two.replace('"limitMs":null', '"limitMs":1'))).toThrow(/different runs: limits/);
    expect(() => merge(one, two.replace(`"${jobKey(jobs(small)[0])}",`, ''))).toThrow(/different runs: list of jobs/);
    expect(() => mergeResults([])).toThrow(PxdError);
    for (const text of ['', '\n', '{}\n', 'hello\n', '[]\n', '{"results":1}\n', `${one}{"x":1}\n`, `${one}nonsense\n`])
      expect(() => readResults(text, 'it'), JSON.stringify(text.slice(-20))).toThrow(PxdError);
  });
});
