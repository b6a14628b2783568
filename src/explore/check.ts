/**
 * Checks one variant of a scenario in one mode: under growing bounds on preemptions where a violation is expected, so that what is found has the fewest;
 * without a bound where none is.
 */
import { Facts, type FactsDump } from './facts.ts';
import { searchReduced } from './reduced.ts';
import type { Scenario, Variant } from './scenario.ts';
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
  /** Asked now and then about the search that runs; true ends it. */
  readonly stop?: (progress: Progress) => boolean;
  /** Hears of each search that was made: what it saw, and what it left out. */
  readonly searched?: (result: SearchResult, bound: number) => void;
  /** Hide operations that need be no scheduling points (reduction.ts). Default true. */
  readonly reduce?: boolean;
  /** What earlier searches of the same have learned. */
  readonly facts?: FactsDump;
}

const LIMIT_MS = 120_000;
const DEEPEST = 3;

/** What the searches of a variant found. */
export interface Found extends Pick<SearchResult, 'verdict' | 'violation'> {
  /** Bound of the last search. */
  readonly bound: number;
  /** States of all searches, and of the last one. */
  readonly states: number;
  readonly lastStates: number;
  /** The bounds were given in place of the variant's own: what is clean within them counts as clean. */
  readonly boundsGiven: boolean;
  /** What the last search stood on when it was stopped; undefined where it hid nothing. */
  readonly ground?: FactsDump;
}

export function checkVariant(scenario: Scenario, name: string, mode: string, options: CheckOptions): Row {
  const begin = options.now();
  const found = searchVariant(scenario, name, mode, options);
  return rowOf({ id: scenario.id, variant: name, mode }, scenario.variants[name], found, options.now() - begin);
}

/** Searches under one bound after the other, until something is found, or all was seen, or there is no time or room. */
export function searchVariant(scenario: Scenario, name: string, mode: string, options: CheckOptions): Found {
  const variant = scenario.variants[name];
  const begin = options.now();
  const limit = begin + (options.limitMs ?? LIMIT_MS);
  const bounds = options.bounds ?? boundsOf(scenario, name);
  let result: SearchResult | undefined;
  let bound = 0;
  let states = 0;
  // What one search learns the next one knows: places are the same each time.
  let facts = options.facts && factsOf(options.facts);
  for (bound of bounds) {
    const staged = stageOf(scenario, variant, mode);
    const given = options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes };
    const stop = (progress: Progress): boolean => {
      options.progress?.({ ...progress, states: states + progress.states }, bound);
      return options.now() > limit || options.stop?.(progress) === true;
    };
    // A larger bound leads to what a smaller one has led to, and further.
    const searchOptions = { preemptions: bound, ...given, expected: result?.states ?? 0, stop };
    if (options.reduce === false) result = search(scenario, staged, searchOptions);
    else {
      const reduced = searchReduced(scenario, staged, searchOptions, facts);
      facts = reduced.facts;
      result = reduced;
    }
    states += result.states;
    options.searched?.(result, bound);
    if (!goesOn(result, bound)) break;
  }
  const { verdict, violation, states: lastStates } = result as SearchResult;
  const ground = verdict === 'stopped' && facts ? { ground: facts.dump(true) } : {};
  return { verdict, ...(violation ? { violation } : {}), bound, states, lastStates, boundsGiven: options.bounds !== undefined, ...ground };
}

/** Whether a larger bound is to be searched after this one. Whether tasks can go round for ever is asked without a bound. */
export const goesOn = ({ verdict, circular }: Pick<SearchResult, 'verdict' | 'circular'>, bound: number): boolean =>
  verdict === 'bounded' || (verdict === 'exhausted' && circular && Number.isFinite(bound));

function factsOf(dump: FactsDump): Facts {
  const facts = new Facts(dump.actors);
  facts.take(dump);
  return facts;
}

/** The row of a job, from what was found. */
export function rowOf(
  job: { readonly id: string; readonly variant: string; readonly mode: string },
  variant: Variant,
  { verdict, violation, bound, states, boundsGiven }: Omit<Found, 'lastStates'>,
  ms: number,
): Row {
  const found = { violation: 'violation', exhausted: 'clean', bounded: 'bounded', stopped: 'not exhausted' } as const;
  const rules = variant.rule === undefined ? undefined : [variant.rule].flat();
  const ok =
    variant.expect === 'violation'
      ? // What throws is written wrong: nobody expects that without saying so.
        violation !== undefined && (rules === undefined ? violation.rule !== 'exception' : rules.includes(violation.rule))
      : verdict === 'exhausted' || (verdict === 'bounded' && (boundsGiven || (variant.bounded !== undefined && bound >= variant.bounded.preemptions)));
  const note = verdict === 'bounded' && variant.bounded ? variant.bounded.reason : variant.note;
  return {
    id: job.id,
    variant: job.variant,
    mode: job.mode,
    expected: variant.expect,
    result: found[verdict],
    invariant: violation?.rule ?? null,
    preemptions: violation ? violation.preemptions : Number.isFinite(bound) ? bound : null,
    states,
    ms: Math.round(ms),
    schedule: violation ? scheduleText(violation.schedule) : null,
    ok,
    message: violation?.message ?? null,
    ...(note === undefined ? {} : { note }),
  };
}

/** Bounds on preemptions under which a variant is searched, one after the other. */
export function boundsOf(scenario: Scenario, name: string): number[] {
  const { expect, bounded } = scenario.variants[name];
  if (bounded) return [bounded.preemptions];
  if (expect === 'clean') return [Number.POSITIVE_INFINITY];
  return [...Array.from({ length: DEEPEST + 1 }, (_, i) => i), Number.POSITIVE_INFINITY];
}
