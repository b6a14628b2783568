/** The search of all schedules with what may be hidden hidden (reduction.ts): it is made again until it contradicts nothing that it stands on. */
import { startJournal, stopJournal } from '../memory/state.ts';
import type { Facts } from './facts.ts';
import { type Hiding, Reduction } from './reduction.ts';
import type { Scenario } from './scenario.ts';
import { type SearchOptions, type SearchResult, search } from './search.ts';
import type { Staged } from './stage.ts';

export interface ReducedResult extends SearchResult {
  /** Searches that were given up because they hid too much. */
  readonly again: number;
  /** What was learned, for the next search of the same; undefined when nothing may be hidden. */
  readonly facts?: Facts;
}

/** Whether operations may be hidden at all. */
export const mayHide = (scenario: Scenario, { scheduler, racy }: Staged): boolean =>
  racy !== true && Object.keys(scenario.always ?? {}).length === 0 && scheduler.options.storeBuffers !== true;

/** `facts`: what earlier searches of the same scenario, variant and mode have learned (under other bounds), and what this one adds. */
export function searchReduced(scenario: Scenario, staged: Staged, options: SearchOptions = {}, facts?: Facts, hiding?: Hiding): ReducedResult {
  if (!mayHide(scenario, staged)) return { ...search(scenario, staged, options), again: 0 };
  staged.stage.machine.enter();
  const reduction = new Reduction(staged.scheduler, facts, hiding);
  if (reduction.facts.places === 0) learn(staged, reduction);
  const known = staged.scheduler.knownSteps();
  for (let again = 0; ; again++) {
    reduction.begin();
    const result = search(scenario, staged, { ...options, reduction, known });
    if (!reduction.contradicted || result.violation || options.stop?.(result)) return { ...result, again, facts: reduction.facts };
  }
}

function learn({ scheduler }: Staged, reduction: Reduction): void {
  startJournal();
  reduction.begin();
  try {
    reduction.learn(() => scheduler.rewind({ journal: 0, actions: 0, saved: 0, low: 0, high: 0 }));
  } finally {
    stopJournal();
  }
}
