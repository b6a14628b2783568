/**
 * The pieces that a run's work is cut into, and how one is done. Pieces and outcomes are plain data: they go to other threads.
 *
 * Invariant: a piece can be done anywhere, any number of times, with the same outcome, unless it was stopped.
 */
import type { Action } from '../kernel/scheduler.ts';
import { type Found, searchVariant } from './check.ts';
import type { FactsDump } from './facts.ts';
import { type Job, scenarioOf } from './jobs.ts';
import type { Scenario } from './scenario.ts';
import type { Progress } from './search.ts';
import { type Staged, stageOf } from './stage.ts';
import { type Split, type SubtreeResult, SubtreeSearcher, splitSearch } from './subtrees.ts';

export interface WorkLimits {
  /** Milliseconds after which the search of a job is given up. Default 120 s. */
  readonly limitMs?: number;
  /** Bytes that one worker's table of states may take. Default 1 GiB. */
  readonly memoryBytes?: number;
  /** Preemption bounds instead of the variants' own. */
  readonly bounds?: readonly number[];
  /** False: nothing is hidden (reduction.ts). */
  readonly reduce?: boolean;
}

export type Work =
  /** All searches of a job, one bound after the other; `large` when one of them has met more states than `splitAfter`. */
  | { readonly kind: 'job'; readonly job: Job; readonly limits: WorkLimits; readonly splitAfter: number; readonly facts?: FactsDump }
  /** How a search is split. */
  | { readonly kind: 'split'; readonly job: Job; readonly bound: number; readonly ground?: FactsDump; readonly count: number }
  /** Subtrees of a search, in ascending order. Each is told by `onSubtree` when it is done; the last one told is the first whose verdict is not `done`. */
  | {
      readonly kind: 'subtrees';
      readonly job: Job;
      readonly bound: number;
      readonly subtrees: readonly { readonly number: number; readonly beginning: readonly Action[] }[];
      /** What subtrees before the first of these met. */
      readonly known?: Int32Array<ArrayBuffer>;
      /** What they learned. */
      readonly learned?: Pick<FactsDump, 'wild' | 'touches'>;
      readonly ground?: FactsDump;
      readonly limits: WorkLimits;
    };

export type Outcome =
  | { readonly kind: 'job'; readonly found: Found; readonly large: boolean; readonly ms: number }
  | { readonly kind: 'split'; readonly split: Split }
  | { readonly kind: 'subtrees' }
  /** It was stopped from outside. */
  | { readonly kind: 'cancelled' }
  /** The worker that did it ran out of memory. */
  | { readonly kind: 'lost'; readonly reason: string };

export interface WorkProgress extends Progress {
  /** States a second since the piece began. */
  readonly rate: number;
  /** The bound on preemptions of the search that runs. */
  readonly bound: number;
}

export interface WorkHooks {
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
  readonly onSubtree?: ((result: SubtreeResult, ms: number) => void) | undefined;
  /** Asked now and then; true ends the piece as `cancelled`. */
  readonly cancelled?: (() => boolean) | undefined;
}

/** Does one piece after the other. */
export class Workbench {
  readonly #scenarios: readonly Scenario[];
  readonly #now: () => number;

  constructor(scenarios: readonly Scenario[], now: () => number) {
    this.#scenarios = scenarios;
    this.#now = now;
  }

  perform(work: Work, hooks: WorkHooks = {}): Outcome {
    try {
      if (work.kind === 'job') return this.#job(work, hooks);
      return work.kind === 'split' ? this.#split(work) : this.#subtrees(work, hooks);
    } catch (error) {
      if (error instanceof RangeError && /allocation/i.test(error.message))
        return { kind: 'lost', reason: `no memory for the table of states: ${error.message}` };
      throw error;
    }
  }

  #job({ job, limits, splitAfter, facts }: Work & { kind: 'job' }, hooks: WorkHooks): Outcome {
    const begin = this.#now();
    let large = false;
    let cancelled = false;
    const found = searchVariant(scenarioOf(this.#scenarios, job), job.variant, job.mode, {
      ...limits,
      ...(facts ? { facts } : {}),
      now: this.#now,
      progress: (progress, bound) => hooks.onProgress?.(this.#rated(progress, bound, begin)),
      stop: (progress) => {
        cancelled = hooks.cancelled?.() === true;
        large = progress.states > splitAfter;
        return cancelled || large;
      },
    });
    if (cancelled) return { kind: 'cancelled' };
    return { kind: 'job', found, large: large && found.verdict === 'stopped', ms: this.#now() - begin };
  }

  #stage(job: Job): Staged {
    return stageOf(scenarioOf(this.#scenarios, job), scenarioOf(this.#scenarios, job).variants[job.variant], job.mode);
  }

  #split({ job, bound, ground, count }: Work & { kind: 'split' }): Outcome {
    return { kind: 'split', split: splitSearch(scenarioOf(this.#scenarios, job), this.#stage(job), bound, ground, count) };
  }

  #subtrees({ job, bound, subtrees, known, learned, ground, limits }: Work & { kind: 'subtrees' }, hooks: WorkHooks): Outcome {
    const begin = this.#now();
    const searcher = new SubtreeSearcher(scenarioOf(this.#scenarios, job), this.#stage(job), bound, {
      memoryBytes: limits.memoryBytes,
      known,
      learned,
      ground,
    });
    let told = begin;
    for (const [i, { number, beginning }] of subtrees.entries()) {
      let cancelled = hooks.cancelled?.() === true;
      const result = searcher.run(number, beginning, (progress) => {
        hooks.onProgress?.({ ...this.#rated(progress, bound, begin), share: i / subtrees.length });
        cancelled ||= hooks.cancelled?.() === true;
        return cancelled || (limits.limitMs !== undefined && this.#now() - begin > limits.limitMs);
      });
      if (cancelled) return { kind: 'cancelled' };
      const now = this.#now();
      hooks.onSubtree?.(result, now - told);
      told = now;
      if (result.verdict !== 'done') break;
    }
    return { kind: 'subtrees' };
  }

  #rated(progress: Progress, bound: number, begin: number): WorkProgress {
    return { ...progress, bound, rate: Math.round((1000 * progress.states) / Math.max(1, this.#now() - begin)) };
  }
}
