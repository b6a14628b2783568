/**
 * Checks one variant of a scenario in one mode: under growing bounds on preemptions where a violation is expected, so that what is found has the fewest;
 * without a bound where none is.
 */

import type { Scenario } from './scenario.ts';
import { scheduleText } from './schedule.ts';
import { type Progress, type SearchResult, search } from './search.ts';
import { stageOf } from './stage.ts';

/** What `pxd check` prints of a variant: one line. */
export interface Row {
  readonly id: string;
  readonly variant: string;
  readonly mode: string;
  readonly expected: 'violation' | 'clean';
  /** `bounded`: finished at a bound that the variant says is enough, with its reason; `not exhausted`: stopped by memory or time. */
  readonly result: 'violation' | 'clean' | 'bounded' | 'not exhausted';
  /** The rule that is broken, null when none is. */
  readonly invariant: string | null;
  /** Preemptions of the schedule that breaks it; else the bound that was searched to, null for none. */
  readonly preemptions: number | null;
  readonly states: number;
  readonly ms: number;
  readonly schedule: string | null;
  /** Whether it is as the variant expects. */
  readonly ok: boolean;
  readonly message: string | null;
  readonly note?: string;
}

export interface CheckOptions {
  /** Milliseconds after which a search is given up. Default 120 s. */
  readonly limitMs?: number;
  readonly memoryBytes?: number;
  /** A clock in milliseconds. */
  readonly now: () => number;
  /** Preemption bounds instead of the variant's own. What is clean within them counts as clean. */
  readonly bounds?: readonly number[];
  /** Hears now and then how far the search is. */
  readonly progress?: (progress: Progress, bound: number) => void;
  /** Hears of each search that was made: what it saw, and what it left out. */
  readonly searched?: (result: SearchResult, bound: number) => void;
}

const LIMIT_MS = 120_000;
const DEEPEST = 3;

export function checkVariant(scenario: Scenario, name: string, mode: string, options: CheckOptions): Row {
  const variant = scenario.variants[name];
  const begin = options.now();
  const limit = begin + (options.limitMs ?? LIMIT_MS);
  const bounds = options.bounds ?? boundsOf(scenario, name);
  let result: SearchResult | undefined;
  let bound = 0;
  let states = 0;
  for (bound of bounds) {
    const staged = stageOf(scenario, variant, mode);
    const given = options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes };
    const stop = (progress: Progress): boolean => {
      options.progress?.({ ...progress, states: states + progress.states }, bound);
      return options.now() > limit;
    };
    result = search(scenario, staged, { preemptions: bound, ...given, stop });
    states += result.states;
    options.searched?.(result, bound);
    if (result.verdict !== 'bounded') break;
  }
  const { verdict, violation } = result as SearchResult;
  const found = { violation: 'violation', exhausted: 'clean', bounded: 'bounded', stopped: 'not exhausted' } as const;
  const rules = variant.rule === undefined ? undefined : [variant.rule].flat();
  const ok =
    variant.expect === 'violation'
      ? violation !== undefined && (rules === undefined || rules.includes(violation.rule))
      : verdict === 'exhausted' ||
        (verdict === 'bounded' && (options.bounds !== undefined || (variant.bounded !== undefined && bound >= variant.bounded.preemptions)));
  const note = verdict === 'bounded' && variant.bounded ? variant.bounded.reason : variant.note;
  return {
    id: scenario.id,
    variant: name,
    mode,
    expected: variant.expect,
    result: found[verdict],
    invariant: violation?.rule ?? null,
    preemptions: violation ? violation.preemptions : Number.isFinite(bound) ? bound : null,
    states,
    ms: Math.round(options.now() - begin),
    schedule: violation ? scheduleText(violation.schedule) : null,
    ok,
    message: violation?.message ?? null,
    ...(note === undefined ? {} : { note }),
  };
}

function boundsOf(scenario: Scenario, name: string): number[] {
  const { expect, bounded } = scenario.variants[name];
  if (bounded) return [bounded.preemptions];
  if (expect === 'clean') return [Number.POSITIVE_INFINITY];
  return [...Array.from({ length: DEEPEST + 1 }, (_, i) => i), Number.POSITIVE_INFINITY];
}
