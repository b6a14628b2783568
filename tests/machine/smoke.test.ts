/** The smoke test of interleavings in small, and that it finds what is broken on purpose and makes it small. `npm run smoke` runs thousands of schedules. */
import { afterEach, describe, expect, it } from 'vitest';
import { choiceOf } from '../../scripts/smoke.ts';
import { chooseRecorded } from '../../src/kernel/choose.ts';
import { operations } from '../../src/kernel/op.ts';
import { flushTlbMm, flushTlbRange, spinLock, waitFor } from '../../src/kernel/ops.ts';
import { type Outcome, type Program, play } from './smoke/play.ts';
import { makeScenario } from './smoke/scenario.ts';
import { runsOf, shrink } from './smoke/shrink.ts';

const failureOf = (first: number, count: number, program: Program): { seed: number; outcome: Outcome } | undefined => {
  for (let seed = first; seed < first + count; seed++) {
    const outcome = play(makeScenario(seed), choiceOf(seed), program);
    if (outcome.bug !== undefined) return { seed, outcome };
  }
  return undefined;
};

describe('threads against each other', () => {
  const first = Math.floor(Math.random() * 1e9);
  for (const program of ['native', 'step'] as const)
    it(`120 random schedules of the ${program} program from seed ${first} on break no rule`, () => {
      const failure = failureOf(first, 120, program);
      expect(failure && `seed ${failure.seed}: ${failure.outcome.bug}`).toBeUndefined();
    });
});

describe('what is broken on purpose', () => {
  const kept = operations.map((operation) => ({ ...operation }));
  afterEach(() => {
    operations.forEach((operation, code) => {
      Object.assign(operation, kept[code]);
    });
  });
  // The step program performs operations by this table.
  const replace = (code: number, change: Partial<(typeof operations)[number]>): void => {
    Object.assign(operations[code], change);
  };

  it('flushes that do nothing are found, shrunk and replayed', () => {
    for (const { code } of [flushTlbRange, flushTlbMm]) replace(code, { effect: () => 0 });
    const failure = failureOf(1, 400, 'step');
    expect(failure?.outcome.rule).toMatch(/^I[34]$/);
    const { scenario, outcome } = shrink({ scenario: makeScenario(failure?.seed as number), outcome: failure?.outcome as Outcome }, 'step');
    expect(outcome.rule).toBe(failure?.outcome.rule);
    expect(scenario.threads.reduce((n, t) => n + t.steps.length, 0)).toBeLessThanOrEqual(3);
    expect(runsOf(outcome.schedule).length).toBeLessThanOrEqual(8);
    expect(play(scenario, chooseRecorded(outcome.schedule), 'step').bug).toBe(outcome.bug);
  });

  it('spin locks that do not exclude are found', () => {
    replace(spinLock.code, { enabled: () => true });
    expect(failureOf(1, 400, 'step')?.outcome.rule).toBe('I23');
  });

  it('writers of VMAs that do not wait for readers are found', () => {
    replace(waitFor.code, { enabled: () => true });
    expect(failureOf(1, 2500, 'step')?.outcome.bug).toMatch(/^(I\d+|guard)/);
  });
});
