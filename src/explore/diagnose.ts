/**
 * Says what went wrong in a run that ended with an exception, in one sentence: which task threw what, at which operation. The run is played again for it.
 */
import { KernelBug } from '../kernel/bug.ts';
import type { Action } from '../kernel/scheduler.ts';
import { endingFault } from './ending.ts';
import type { Scenario } from './scenario.ts';
import { stageOf } from './stage.ts';
import { firstLine, stepText } from './step-text.ts';

export interface Diagnosis {
  readonly message: string;
  /** What was thrown: its stack leads to the place. */
  readonly cause?: unknown;
}

export function diagnose(scenario: Scenario, variant: string, mode: string, schedule: readonly Action[]): Diagnosis {
  const staged = stageOf(scenario, scenario.variants[variant], mode);
  const { scheduler, stage } = staged;
  let at = 'before anything happens';
  let who = '';
  try {
    for (const action of schedule) {
      at = stepText(staged, action);
      who = `${at}, throws`;
      scheduler.step(action);
      for (const [rule, holds] of Object.entries(scenario.always ?? {})) {
        who = `behind ${at}, check ${rule} throws`;
        const wrong = holds(stage);
        if (wrong !== undefined) throw new KernelBug(rule, wrong);
      }
    }
    who = `behind ${at}, a check of the end throws`;
    if (scheduler.done) endingFault(scenario, staged);
  } catch (error) {
    if (!(error instanceof KernelBug)) return { message: `${who}: ${firstLine(error)}`, cause: error };
  }
  return { message: `${at}, threw, and does not when the same is done again: something that it goes by lies outside of the machine’s memory` };
}
