/**
 * Going on with a run that was stopped: what its results file holds is not done again; a large search goes on with the subtrees that are not done.
 *
 *   const results = readResults(text, file);          // results.ts
 *   truncate the file to results.whole                 // a line that was cut off
 *   const resume = resumable(results, plan, { version, seed, limits });
 *   runJobs({ …, resume, append })                     // appends to the same file
 *
 * Invariant: a run that was stopped and resumed, any number of times, has the rows of one that was not. (Rows of searches that ran out of time or memory are
 * results too: they are not tried again, unless `again` says so.)
 */
import { PxdError } from '../pagetable/error.ts';
import type { Row } from './check.ts';
import type { Plan } from './jobs.ts';
import { type Header, headerOf, type Results, type SearchRead } from './results.ts';
import type { WorkLimits } from './work.ts';

export interface Resumable {
  /** By key of the job. */
  readonly rows: ReadonlyMap<string, Row>;
  /** By `searchKey`. */
  readonly searches: ReadonlyMap<string, SearchRead>;
}

export interface ResumeOptions {
  readonly version?: string;
  readonly seed?: number;
  readonly limits?: WorkLimits;
  /** Try searches again that ran out of time or memory. */
  readonly again?: boolean;
}

/** What of a results file a run need not do again. @throws {PxdError} 'usage' when the file is of another run */
export function resumable(results: Results, plan: Plan, options: ResumeOptions = {}): Resumable {
  const { limits = {}, again = false } = options;
  const difference = differenceOf(results.header, headerOf(plan, limits, options), ['pxd', 'seed', 'jobs', 'split', 'options', 'shard']);
  if (difference !== undefined) throw new PxdError('usage', `${results.name} cannot be resumed: it is of a run with another ${difference}`);
  if (!again) return results;
  const rows = new Map([...results.rows].filter(([, row]) => row.result !== 'not exhausted'));
  const searches = new Map([...results.searches].map(([key, one]) => [key, { search: one.search, subtrees: withoutStopped(one) }]));
  return { rows, searches };
}

const withoutStopped = ({ subtrees }: SearchRead): SearchRead['subtrees'] => new Map([...subtrees].filter(([, { line }]) => line.verdict !== 'stopped'));

const WORDS = {
  pxd: 'version of pxd',
  results: 'form of file',
  seed: 'seed',
  jobs: 'list of jobs',
  split: 'list of searches that are split',
  options: 'limits',
  shard: 'shard',
} as const;

/** The first of these fields in which two headers differ, with both, for people. */
export function differenceOf(a: Header, b: Header, fields: readonly (keyof Header)[]): string | undefined {
  const field = fields.find((one) => JSON.stringify(a[one]) !== JSON.stringify(b[one]));
  if (field === undefined) return undefined;
  const [one, other] = [a, b].map((header) => JSON.stringify(header[field]));
  return `${WORDS[field]} (${one.length + other.length > 160 ? 'they differ' : `${one} and ${other}`})`;
}
