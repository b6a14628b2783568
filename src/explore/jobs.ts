/**
 * What a run of `pxd check` is made of: jobs, one for each row, in a fixed order; and which of them a shard does.
 *
 *   jobsOf(items): Job[]                         items are what the command line selects: { scenario, variant, mode }
 *   jobKey(job): string                          `E28:fixed:x86-4level`, in results files and in messages
 *   parseShard('2/3'): Shard                     of `--shard`
 *   planOf(jobs, { shard, sizes, split }): Plan  what a shard does
 *
 * Invariants: a plan is a function of its arguments, so that shards that never talk to each other agree. Every job is whole in one shard, or, where asked for,
 * split over all of them by subtrees (subtrees.ts, which tells what that costs).
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

export interface PlanOptions {
  /** Default: all of it. */
  readonly shard?: Shard;
  /** States of jobs by their keys, as an earlier run found them (`sizesOf`, results.ts): shards get about the same. All shards must be given the same. */
  readonly sizes?: ReadonlyMap<string, number>;
  /**
   * Keys of jobs whose subtrees are dealt out to all shards. Each must be searched under one bound only (`boundsOf`): whether a second bound is searched hangs
   * on what all shards find under the first.
   */
  readonly split?: readonly string[];
}

/** What a shard does. @throws {PxdError} 'usage' when `split` names what is no job, or one of several bounds */
export function planOf(jobs: readonly Job[], scenarios: readonly Scenario[], { shard = WHOLE, sizes = new Map(), split = [] }: PlanOptions = {}): Plan {
  const keys = new Map(jobs.map((job) => [jobKey(job), job]));
  for (const key of split) {
    const job = keys.get(key);
    if (job === undefined) throw new PxdError('usage', `${key} is no job of this run`);
    if (boundsOf(scenarioOf(scenarios, job), job.variant).length !== 1)
      throw new PxdError('usage', `${key} is searched under growing bounds, and cannot be split over shards`);
  }
  const parts = shard.count > 1 ? jobs.filter((job) => split.includes(jobKey(job))) : [];
  const rest = jobs.filter((job) => !parts.includes(job));
  return { jobs, shard, split: parts, whole: dealt(rest, shard, sizes) };
}

/** A shard's jobs, in their order: the largest first, each to the shard that has least. */
function dealt(jobs: readonly Job[], { index, count }: Shard, sizes: ReadonlyMap<string, number>): Job[] {
  const load = new Array<number>(count).fill(0);
  const mine = new Set<Job>();
  const sizeOf = (job: Job): number => sizes.get(jobKey(job)) ?? 1;
  for (const job of jobs.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const least = load.indexOf(Math.min(...load));
    load[least] += sizeOf(job);
    if (least === index - 1) mine.add(job);
  }
  return jobs.filter((job) => mine.has(job));
}

/** @throws {PxdError} 'unknown' */
export function scenarioOf(scenarios: readonly Scenario[], { id, variant }: Pick<Job, 'id' | 'variant'>): Scenario {
  const found = scenarios.find((one) => one.id === id);
  if (found === undefined || !Object.hasOwn(found.variants, variant)) throw new PxdError('unknown', `there is no ${id} with a variant "${variant}" here`);
  return found;
}
