/**
 * Runs the jobs of a plan: by whoever executes work (threads, node/workers.ts; or this thread, `inThisThread`), with a results file to go on from.
 *
 *   runJobs({ plan, scenarios, executor, options, now, … }): Promise<Run>
 *
 * Rows do not hang on who did the work, how many there were, or in which order they were done (subtrees.ts says why), save `ms`; nor do those of searches that
 * were stopped by time, which say so.
 */
import { PxdError } from '../pagetable/error.ts';
import { boundsOf, goesOn, type Row, rowOf } from './check.ts';
import { Facts, type FactsDump } from './facts.ts';
import { type Job, jobKey, type Plan, scenarioOf } from './jobs.ts';
import { boundOf, boundText, headerOf, type SearchLine, type SearchRead, searchKey, subtreeLines } from './results.ts';
import type { Resumable } from './resume.ts';
import type { Scenario, Variant } from './scenario.ts';
import { type Split, SUBTREES, type SubtreeResult, type Together, together, Union } from './subtrees.ts';
import { type Outcome, type Work, Workbench, type WorkLimits, type WorkProgress } from './work.ts';

/** Who executes work. */
export interface Executor {
  /** How many pieces it works on at once. */
  readonly size: number;
  /** Queues a piece; the sooner it is queued the sooner it begins. */
  run(work: Work, hooks?: ExecutorHooks): Promise<Outcome>;
  /** Pieces that run end as `stopped`, those that wait too. */
  stop(): void;
  /** Ends all threads. */
  close(): Promise<void>;
}

export interface ExecutorHooks {
  readonly onProgress?: (progress: WorkProgress) => void;
  readonly onSubtree?: (result: SubtreeResult, ms: number) => void;
}

/** What `onProgress` hears. */
export interface RunProgress extends WorkProgress {
  readonly job: Job;
  /** Jobs that have their row, of all that this run does. */
  readonly done: number;
  readonly jobs: number;
}

export interface RunOptions {
  readonly plan: Plan;
  readonly scenarios: readonly Scenario[];
  readonly executor: Executor;
  readonly limits?: WorkLimits;
  /** States after which a search is split into subtrees. Default 300,000. */
  readonly splitAfter?: number;
  /** What an earlier run left (`resume.ts`). */
  readonly resume?: Resumable;
  /** Takes each line of the results file as soon as it is known, without its newline; the header comes first, unless there is `resume`. */
  readonly append?: (line: string) => void;
  /** Version of pxd and what else the header of the results file is to say. */
  readonly version?: string;
  readonly seed?: number;
  /** Rows in the order of jobs, each as soon as all before it are known. */
  readonly onRow?: (row: Row, job: Job) => void;
  readonly onProgress?: (progress: RunProgress) => void;
  /** A clock in milliseconds. */
  readonly now: () => number;
}

export interface Run {
  /** Rows of jobs, in their order. Jobs that are split over shards have theirs when these are merged. */
  readonly rows: readonly Row[];
  /** False when it was stopped before all was done. */
  readonly complete: boolean;
}

const SPLIT_AFTER = 300_000;
const LIMIT_MS = 120_000;

export async function runJobs(options: RunOptions): Promise<Run> {
  return await new Runner(options).run();
}

/** A search that did not end soon, from the bound under which it did not. */
interface Large {
  readonly job: Job;
  readonly bound: number;
  /** What that search stood on; undefined where nothing is hidden. */
  readonly ground: FactsDump | undefined;
  /** States of the searches under smaller bounds. */
  readonly before: number;
  readonly ms: number;
}

/** What became of a search by subtrees. */
interface Searched {
  readonly found: Together;
  /** Whether it was this shard's share alone. */
  readonly shared: boolean;
  /** Time that its subtrees took. */
  readonly ms: number;
}

class Runner {
  readonly #options: RunOptions;
  readonly #limits: WorkLimits;
  readonly #rows = new Map<string, Row>();
  readonly #large: Large[] = [];
  /** Rows that were handed on. */
  #handed = 0;
  #complete = true;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#limits = options.limits ?? {};
  }

  async run(): Promise<Run> {
    const { plan, resume } = this.#options;
    if (resume === undefined) this.#append(headerOf(plan, this.#limits, this.#options));
    const jobs = [...plan.whole, ...plan.split];
    for (const job of jobs) {
      const row = resume?.rows.get(jobKey(job));
      if (row !== undefined) this.#rows.set(jobKey(job), row);
    }
    this.#handOn();
    await Promise.all(jobs.filter((job) => !this.#rows.has(jobKey(job))).map((job) => this.#begin(job)));
    await Promise.all(this.#large.map((large) => this.#goOn(large)));
    return { rows: plan.whole.flatMap((job) => this.#rows.get(jobKey(job)) ?? []), complete: this.#complete };
  }

  #append(line: object): void {
    this.#options.append?.(JSON.stringify(line));
  }

  #row(job: Job, row: Row): void {
    this.#rows.set(jobKey(job), row);
    this.#append(row);
    this.#handOn();
  }

  /** Hands on rows as far as they are known without a gap. */
  #handOn(): void {
    const { whole } = this.#options.plan;
    for (; this.#handed < whole.length; this.#handed++) {
      const row = this.#rows.get(jobKey(whole[this.#handed]));
      if (row === undefined) return;
      this.#options.onRow?.(row, whole[this.#handed]);
    }
  }

  #progress(job: Job): (progress: WorkProgress) => void {
    return (progress) =>
      this.#options.onProgress?.({ ...progress, job, done: this.#rows.size, jobs: this.#options.plan.whole.length + this.#options.plan.split.length });
  }

  // --- jobs as a whole ------------------------------------------------------------------------------------------------------

  /** Searches a job, unless that takes long: then it is split later. */
  async #begin(job: Job): Promise<void> {
    const begun = this.#begunEarlier(job);
    if (begun !== undefined) {
      this.#large.push(begun);
      return;
    }
    const { executor, splitAfter = SPLIT_AFTER } = this.#options;
    const outcome = await executor.run({ kind: 'job', job, limits: this.#limits, splitAfter }, { onProgress: this.#progress(job) });
    if (outcome.kind === 'job' && outcome.large) {
      const { found, ms } = outcome;
      this.#large.push({ job, bound: found.bound, ground: found.ground, before: found.states - found.lastStates, ms });
    } else this.#conclude(job, outcome);
  }

  /** The last search that an earlier run split. */
  #begunEarlier(job: Job): Large | undefined {
    const key = jobKey(job);
    const found = [...(this.#options.resume?.searches.values() ?? [])].filter(({ search }) => search.job === key).at(-1);
    return found && { job, bound: boundOf(found.search.bound), ground: found.search.ground ?? undefined, before: found.search.before, ms: 0 };
  }

  #conclude(job: Job, outcome: Outcome, ms = 0): void {
    if (outcome.kind === 'job') this.#row(job, rowOf(job, this.#variant(job), outcome.found, ms + outcome.ms));
    else if (outcome.kind === 'lost') this.#row(job, lostRow(job, this.#variant(job), outcome.reason));
    else this.#complete = false;
  }

  #variant(job: Job): Variant {
    return scenarioOf(this.#options.scenarios, job).variants[job.variant];
  }

  // --- searches by subtrees -------------------------------------------------------------------------------------------------

  async #goOn(large: Large): Promise<void> {
    const { job } = large;
    const all = this.#boundsOf(job);
    let { before, ms, ground } = large;
    for (let at = all.indexOf(large.bound); at < all.length; at++) {
      const bound = all[at];
      const searched = await this.#search({ job, bound, ground, before, ms });
      if (searched === undefined) {
        this.#complete = false;
        return;
      }
      const { found } = searched;
      ms += searched.ms;
      // The row of a search that all shards do together is made when they are merged.
      if (searched.shared) return;
      if (found.again) {
        ground = found.again;
        at--;
        continue;
      }
      if (found.unsettled) {
        await this.#whole({ job, bound, ground, before, ms });
        return;
      }
      if (bound === all.at(-1) || !goesOn(found, bound)) {
        const states = before + found.states;
        this.#row(job, rowOf(job, this.#variant(job), { ...found, bound, states, boundsGiven: this.#limits.bounds !== undefined }, ms));
        return;
      }
      before += found.states;
      ground = found.facts;
    }
  }

  #boundsOf(job: Job): readonly number[] {
    return this.#limits.bounds ?? boundsOf(scenarioOf(this.#options.scenarios, job), job.variant);
  }

  /** A search that has to be made as a whole, and those under larger bounds. */
  async #whole({ job, bound, ground, before, ms }: Large): Promise<void> {
    const all = this.#boundsOf(job);
    const limits = { ...this.#limits, bounds: all.slice(all.indexOf(bound)) };
    const outcome = await this.#options.executor.run(
      { kind: 'job', job, limits, splitAfter: Number.POSITIVE_INFINITY, ...(ground ? { facts: ground } : {}) },
      { onProgress: this.#progress(job) },
    );
    if (outcome.kind !== 'job') this.#conclude(job, outcome);
    else {
      const found = { ...outcome.found, states: before + outcome.found.states, boundsGiven: this.#limits.bounds !== undefined };
      this.#conclude(job, { ...outcome, found }, ms);
    }
  }

  /** Searches the subtrees of a job under a bound that are this shard's; `ms`: time that was spent on the job. Undefined when it was stopped from outside. */
  async #search({ job, bound, ground, before, ms }: Large): Promise<Searched | undefined> {
    const { executor, plan, resume, scenarios } = this.#options;
    const key = { job: jobKey(job), bound: boundText(bound) };
    const outcome = await executor.run({ kind: 'split', job, bound, count: SUBTREES, ...(ground ? { ground } : {}) });
    if (outcome.kind !== 'split') return undefined;
    const { beginnings, digest, contradicted } = outcome.split;
    const earlier = resume?.searches.get(searchKey(key));
    // The file's search may stand on less than is known now.
    const known = JSON.stringify(earlier?.search.ground) === JSON.stringify(ground ?? null) ? earlier : undefined;
    if (known !== undefined && known.search.digest !== digest) throw new PxdError('usage', `${key.job}: the results file is of another kernel`);
    if (known === undefined) {
      const { expect, rule, bounded, note } = scenarioOf(scenarios, job).variants[job.variant];
      const search: SearchLine = {
        ...key,
        subtrees: beginnings.length,
        digest,
        ground: ground ?? null,
        before,
        boundsGiven: this.#limits.bounds !== undefined,
        variant: { expect, ...(rule === undefined ? {} : { rule }), ...(bounded === undefined ? {} : { bounded }), ...(note === undefined ? {} : { note }) },
      };
      this.#append({ search });
    }
    const shared = plan.split.includes(job) && !contradicted;
    const search = new SubtreesOf(this.#options, job, bound, ground, beginnings);
    if (known) search.take(known);
    const mine = (number: number): boolean => !shared || number % plan.shard.count === plan.shard.index - 1;
    const found = await search.run(mine, !shared, Math.max(0, (this.#limits.limitMs ?? LIMIT_MS) - ms), this.#progress(job));
    return found && { found, shared, ms: search.ms };
  }
}

/** The row of a search whose worker ran out of memory. */
function lostRow(job: Job, variant: Variant, reason: string): Row {
  return { ...rowOf(job, variant, { verdict: 'stopped', bound: Number.POSITIVE_INFINITY, states: 0, boundsGiven: false }, 0), message: reason };
}

/** One search by subtrees: has them searched and puts together what comes back. */
class SubtreesOf {
  readonly #options: RunOptions;
  readonly #job: Job;
  readonly #bound: number;
  readonly #ground: FactsDump | undefined;
  readonly #beginnings: Split['beginnings'];
  readonly #union: Union;
  readonly #results = new Map<number, Omit<SubtreeResult, 'set'>>();
  /** Subtrees that a results file holds. */
  readonly #known: SearchRead['subtrees'] = new Map();
  /** Time that its subtrees took. */
  ms = 0;

  constructor(options: RunOptions, job: Job, bound: number, ground: FactsDump | undefined, beginnings: Split['beginnings']) {
    this.#options = options;
    this.#job = job;
    this.#bound = bound;
    this.#ground = ground;
    this.#beginnings = beginnings;
    this.#union = new Union(options.limits?.memoryBytes);
  }

  /** Takes over what a results file holds of it. */
  take({ subtrees }: SearchRead): void {
    for (const [number, { line, set }] of subtrees) {
      this.#results.set(number, line);
      this.#union.add(number, set);
      this.#known.set(number, { line, set });
    }
  }

  /**
   * Undefined when it was stopped from outside. `mine`: whether a subtree is this run's; `chain`: whether all are; `limitMs`: what is left of the time.
   */
  async run(mine: (number: number) => boolean, chain: boolean, limitMs: number, onProgress: (progress: WorkProgress) => void): Promise<Together | undefined> {
    const first = Math.min(...[...this.#results.values()].filter((one) => one.verdict !== 'done').map((one) => one.number));
    const rest = this.#beginnings.map((_, number) => number).filter((number) => mine(number) && number < first && !this.#results.has(number));
    if (rest.length > 0) {
      const work: Work = {
        kind: 'subtrees',
        job: this.#job,
        bound: this.#bound,
        subtrees: rest.map((number) => ({ number, beginning: this.#beginnings[number] })),
        ...this.#before(rest[0]),
        ...(this.#ground ? { ground: this.#ground } : {}),
        limits: { ...this.#options.limits, limitMs },
      };
      const outcome = await this.#options.executor.run(work, { onProgress, onSubtree: (result, ms) => this.#done(result, ms) });
      if (outcome.kind === 'lost')
        this.#done({ number: rest.find((n) => !this.#results.has(n)) ?? rest[0], verdict: 'stopped', set: NOTHING, transitions: 0 }, 0);
      else if (outcome.kind !== 'subtrees') return undefined;
    }
    return together([...this.#results.values()], this.#beginnings.length, this.#union, { ground: this.#ground, chain });
  }

  /** What subtrees before this one met and learned, as far as the results file tells. */
  #before(number: number): Pick<Work & { kind: 'subtrees' }, 'known' | 'learned'> {
    const union = new Union(this.#options.limits?.memoryBytes);
    const facts = this.#ground && new Facts(this.#ground.actors);
    for (const [n, { line, set }] of this.#known) {
      if (n >= number) continue;
      union.add(n, set);
      if (line.learned) facts?.take(line.learned);
    }
    this.#known.clear();
    return { known: union.all(), ...(facts ? { learned: facts.dump() } : {}) };
  }

  #done({ set, ...result }: SubtreeResult, ms: number): void {
    const { number, verdict, transitions, circular, violation, learned } = result;
    this.ms += ms;
    this.#results.set(number, result);
    this.#union.add(number, set);
    const key = { job: jobKey(this.#job), bound: boundText(this.#bound) };
    const line = {
      ...key,
      number,
      verdict,
      states: set.length / 3,
      transitions,
      ...(circular ? { circular } : {}),
      ms: Math.round(ms),
      ...(violation ? { violation } : {}),
      ...(learned ? { learned } : {}),
    };
    for (const text of subtreeLines(line, set)) this.#options.append?.(text);
  }
}

const NOTHING = new Int32Array(0);

/** Executes work in this thread, one piece at a time: where there are no threads, and in tests. */
export function inThisThread(scenarios: readonly Scenario[], now: () => number): Executor {
  const bench = new Workbench(scenarios, now);
  let stopped = false;
  return {
    size: 1,
    run: async (work, { onProgress, onSubtree } = {}) => {
      // Lets whoever waits for earlier pieces go on first, and hears of signals.
      await new Promise((resolve) => setTimeout(resolve));
      if (stopped) return { kind: 'cancelled' };
      return bench.perform(work, { onProgress, onSubtree, cancelled: () => stopped });
    },
    stop: () => {
      stopped = true;
    },
    close: async () => {},
  };
}
