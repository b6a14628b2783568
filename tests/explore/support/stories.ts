/** Stories that tests look at: found by the search, so that they are what a user gets. */
import { checkVariant } from '../../../src/explore/check.ts';
import type { Scenario } from '../../../src/explore/scenario.ts';
import { parseSchedule } from '../../../src/explore/schedule.ts';
import { type Story, tell } from '../../../src/explore/story.ts';

const known = new Map<string, Story>();

/** The story of the violation of a variant. @throws when there is none */
export function storyOf(scenario: Scenario, variant: string, mode = 'x86-4level'): Story {
  const key = `${scenario.id} ${variant} ${mode}`;
  const before = known.get(key);
  if (before) return before;
  const row = checkVariant(scenario, variant, mode, { now: () => performance.now() });
  if (row.schedule === null || row.invariant === null || row.message === null) throw new Error(`${key}: no violation`);
  const story = tell(scenario, variant, mode, parseSchedule(row.schedule), { violation: { rule: row.invariant, message: row.message } });
  known.set(key, story);
  return story;
}
