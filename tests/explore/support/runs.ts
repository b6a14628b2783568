/** Runs of the test catalogue, and what of them must not hang on how they were made. */
import type { Row } from '../../../src/explore/check.ts';
import { type Job, jobsOf, type PlanOptions, planOf } from '../../../src/explore/jobs.ts';
import { rowText } from '../../../src/explore/merge.ts';
import { type Results, readResults } from '../../../src/explore/results.ts';
import { resumable } from '../../../src/explore/resume.ts';
import { type Executor, inThisThread, type Run, runJobs } from '../../../src/explore/run.ts';
import type { Scenario } from '../../../src/explore/scenario.ts';
import { catalogue } from './run-catalogue.ts';

export const now = (): number => performance.now();
export const MODE = 'x86-4level';

/** All variants of scenarios, in one mode. */
export const jobs = (scenarios: readonly Scenario[] = catalogue): Job[] =>
  jobsOf(scenarios.flatMap((scenario) => Object.keys(scenario.variants).map((variant) => ({ scenario, variant, mode: MODE }))));

export interface MakeOptions extends PlanOptions {
  readonly jobs?: readonly Job[];
  /** States after which searches are split; default never. */
  readonly splitAfter?: number;
  readonly executor?: Executor;
  /** False: nothing is hidden, so that searches are large. */
  readonly reduce?: boolean;
  /** Stops when the results file has so many lines. */
  readonly stopAt?: number;
  /** The results file so far. */
  readonly file?: string;
}

export interface Made extends Run {
  /** The results file. */
  readonly file: string;
}

/** Makes a run, in this thread unless told otherwise. */
export async function make(options: MakeOptions = {}): Promise<Made> {
  const { splitAfter = Number.POSITIVE_INFINITY, executor = inThisThread(catalogue, now), stopAt = Number.POSITIVE_INFINITY } = options;
  const plan = planOf(options.jobs ?? jobs(), catalogue, options);
  const limits = { reduce: options.reduce ?? true };
  let file = options.file ?? '';
  let lines = file.split('\n').length - 1;
  const resume = options.file === undefined ? {} : { resume: resumable(readResults(file, 'file'), plan, { limits }) };
  const run = await runJobs({
    plan,
    scenarios: catalogue,
    executor,
    limits,
    splitAfter,
    now,
    ...resume,
    append: (line) => {
      file += `${line}\n`;
      if (++lines === stopAt) executor.stop();
    },
  });
  return { ...run, file };
}

/** Rows without times. */
export const texts = (rows: readonly Row[]): string[] => rows.map(rowText);

export const read = ({ file }: Made, name = 'file'): Results => readResults(file, name);
