/**
 * `pxd check --smoke N`: random and PCT schedules instead of a search. Finds what is easy to find, in states that a search would not reach in time; proves
 * nothing.
 */
import type { CheckOptions, Row } from '../../explore/check.ts';
import { type Played, Player } from '../../explore/play.ts';
import type { Scenario } from '../../explore/scenario.ts';
import { scheduleText } from '../../explore/schedule.ts';
import { choosePct, chooseRandom } from '../../kernel/choose.ts';
import type { Choose } from '../../kernel/scheduler.ts';

/** The way of choosing that belongs to a seed: every other one by priorities. */
const choiceOf = (seed: number, steps: number): Choose =>
  seed % 2 === 1 ? choosePct(seed, { depth: 2 + ((seed >> 1) % 3), steps }) : chooseRandom(seed, { stay: [40, 75, 92][(seed >> 1) % 3], actors: 6 });

/** Where PCT lets priorities change: in a run's usual length, which the runs before have shown. */
const FIRST_STEPS = 200;

/** Plays `schedules` schedules, the first that breaks a rule the last. `states` of the row counts the steps that were taken. */
export function smokeVariant(scenario: Scenario, name: string, mode: string, schedules: number, firstSeed: number, options: CheckOptions): Row {
  const { expect, rule } = scenario.variants[name];
  const begin = options.now();
  const limit = begin + (options.limitMs ?? Number.POSITIVE_INFINITY);
  let steps = 0;
  let usual = FIRST_STEPS;
  let found: Played | undefined;
  const player = new Player(scenario, name, mode);
  for (let seed = firstSeed; seed < firstSeed + schedules && options.now() < limit; seed++) {
    const played = player.play(choiceOf(seed, usual));
    steps += played.schedule.length;
    usual = Math.max(usual, played.schedule.length);
    options.progress?.({ states: steps, transitions: steps, depth: usual }, seed - firstSeed + 1);
    if (played.violation === undefined) continue;
    found = played;
    break;
  }
  player.close();
  const violation = found?.violation;
  const rules = rule === undefined ? undefined : [rule].flat();
  return {
    id: scenario.id,
    variant: name,
    mode,
    expected: expect,
    result: violation ? 'violation' : 'not exhausted',
    invariant: violation?.rule ?? null,
    preemptions: violation?.preemptions ?? null,
    states: steps,
    ms: Math.round(options.now() - begin),
    schedule: violation ? scheduleText(violation.schedule) : null,
    // That random schedules find nothing says nothing.
    ok: violation === undefined || (expect === 'violation' && (rules === undefined ? violation.rule !== 'exception' : rules.includes(violation.rule))),
    message: violation?.message ?? null,
  };
}
