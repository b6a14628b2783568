/** Tells a schedule: replays it and says, action by action, what happened, in the words of whoever knows Linux's mm. */
import type { Action } from '../kernel/scheduler.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Scenario } from './scenario.ts';
import { scheduleText } from './schedule.ts';
import { stageOf } from './stage.ts';
import type { Story } from './story/types.ts';

export type * from './story/types.ts';

/** @throws {PxdError} 'unknown' for a variant that the scenario does not have */
export function tell(scenario: Scenario, variantName: string, mode: string, schedule: readonly Action[]): Story {
  const variant = scenario.variants[variantName];
  if (variant === undefined) throw new PxdError('unknown', `${scenario.id} has no variant ${variantName}`);
  const { stage } = stageOf(scenario, variant, mode);
  return {
    scenario: scenario.id,
    title: scenario.title,
    source: scenario.source ?? null,
    variant: variantName,
    mode,
    switches: [],
    schedule: scheduleText(schedule),
    pageBytes: stage.page,
    lanes: [],
    objects: [],
    events: [],
    tooLate: [],
    violation: null,
    conflict: [],
  };
}
