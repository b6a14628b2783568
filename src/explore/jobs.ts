/**
 * What a run of `pxd check` is made of: jobs, one for each row, in a fixed order; and which of them a shard does.
 *
 *   jobsOf(items): Job[]                         items are what the command line selects: { scenario, variant, mode }
 *   jobKey(job): string                          `E28:fixed:x86-4level`, in results files and in messages
 *   parseShard('2/3'): Shard                     of `--shard`
 *   planOf(jobs, shard, sizes?): Plan            what a shard does; `sizes` from an earlier results file (`sizesOf`, results.ts)
 *
 * Invariants: a plan is a function of its arguments, so that shards that never talk to each other agree. Every job is whole in one shard, or split over all
 * of them by subtrees (subtrees.ts); only searches under a single bound are split that way, since whether a second bound is searched hangs on what all
 * shards find under the first.
 */
import { PxdError } from '../pagetable/error.ts';
import { boundsOf } from './check.ts';
import type { Scenario } from './scenario.ts';

/** One variant of one scenario in one mode: one row. Plain data. */
export interface Job {
  readonly id: string;
  readonly variant: string;
  readonly mode: string;
}

export const jobKey = ({ id, variant, mode }: Job): string => `${id}:${variant}:${mode}`;

export function jobsOf(items: readonly { readonly scenario: Scenario; readonly variant: string; readonly mode: string }[]): Job[] {
  return items.map(({ scenario, variant, mode }) => ({ id: scenario.id, variant, mode }));
}

/** Which part of a run: `index` from 1 to `count`. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

export const WHOLE: Shard = { index: 1, count: 1 };

/** @throws {PxdError} 'usage' */
export function parseShard(text: string): Shard {
  const found = /^([1-9]\d{0,5})\/([1-9]\d{0,5})$/.exec(text);
  const [index, count] = [Number(found?.[1]), Number(found?.[2])];
  if (!found || index > count) throw new PxdError('usage', `--shard ${text}: expected i/n with 1 ≤ i ≤ n, like 2/3`);
  return { index, count };
}

export const shardText = ({ index, count }: Shard): string => `${index}/${count}`;

/** What one shard does. */
export interface Plan {
  /** All jobs of the run. */
  readonly jobs: readonly Job[];
  readonly shard: Shard;
  /** Jobs that this shard does whole. */
  readonly whole: readonly Job[];
  /** Jobs that are split over all shards; this one searches every `count`-th subtree. */
  readonly split: readonly Job[];
}

/** States from which on a search is split over shards, when an earlier run tells that it has so many. */
export const LARGE = 1_000_000;

/**
 * What a shard does. `sizes`: states of jobs by their keys, as an earlier run found them; all shards must be given the same. Without them, no search is split
 * over shards: jobs are dealt out in turn.
 */
export function planOf(jobs: readonly Job[], scenarios: readonly Scenario[], shard: Shard = WHOLE, sizes: ReadonlyMap<string, number> = new Map()): Plan {
  const large = (job: Job): boolean =>
    shard.count > 1 && (sizes.get(jobKey(job)) ?? 0) >= LARGE && boundsOf(scenarioOf(scenarios, job), job.variant).length === 1;
  const split = jobs.filter(large);
  const rest = jobs.filter((job) => !large(job));
  return { jobs, shard, split, whole: rest.filter((_, i) => i % shard.count === shard.index - 1) };
}

/** @throws {PxdError} 'unknown' */
export function scenarioOf(scenarios: readonly Scenario[], { id, variant }: Pick<Job, 'id' | 'variant'>): Scenario {
  const found = scenarios.find((one) => one.id === id);
  if (found === undefined || !Object.hasOwn(found.variants, variant)) throw new PxdError('unknown', `there is no ${id} with a variant "${variant}" here`);
  return found;
}
