/**
 * The catalogue: of what is mended a third is exhausted in the first mode that has it (all of it, in four modes: `npm run races`; here: PXD_NIGHTLY=1), what is broken
 * is found in tests/explore/checkers.test.ts, and every entry says what it must.
 */
import { describe, expect, it } from 'vitest';
import { checkVariant } from '../../src/explore/check.ts';
import type { Scenario } from '../../src/explore/scenario.ts';
import { scenariosOf } from '../../src/explore/validate.ts';
import { SWITCHES, type SwitchName } from '../../src/kernel/switches.ts';
import { catalogue } from '../../src/races/index.ts';
import { modeOf } from '../explore/support/modes.ts';

/** Tried in turn: the first that has what an entry is about. */

const SHARE = process.env.PXD_NIGHTLY === '1' ? 1 : 3;

const rows = catalogue
  .flatMap((scenario) =>
    Object.entries(scenario.variants)
      .filter(([, variant]) => variant.expect === 'clean')
      .map(([variant]): [string, string, Scenario] => [scenario.id, variant, scenario]),
  )
  .filter((_, number) => number % SHARE === 0);

describe('the catalogue', () => {
  it.each(rows)(
    '%s %s',
    (_, variant, scenario) => {
      const mode = modeOf(scenario);
      const { ok, result, invariant, message, states } = checkVariant(scenario, variant, mode, { now: () => performance.now(), limitMs: 300_000 });
      expect({ ok, result, invariant, message: ok ? null : message }).toEqual({ ok: true, result, invariant, message: null });
      expect(states).toBeGreaterThan(0);
    },
    320_000,
  );

  it('is made of scenarios with ids of their own', () => {
    expect(scenariosOf(catalogue, 'the catalogue').length).toBe(catalogue.length);
  });

  it.each(catalogue.map((scenario): [string, Scenario] => [scenario.id, scenario]))(
    '%s has a variant that is not broken, and says what breaks the others',
    (_, scenario) => {
      const variants = Object.values(scenario.variants);
      expect(variants.some(({ expect: expected }) => expected === 'clean')).toBe(true);
      expect(scenario.title.length).toBeGreaterThan(10);
      // What breaks the code says how.
      for (const { expect: expected, switches, note, rule } of variants) {
        if (expected === 'violation') expect(rule).toBeDefined();
        if (switches !== undefined && switches.length > 0) expect(note ?? switches.map((name: SwitchName) => SWITCHES[name].does)).toBeTruthy();
      }
    },
  );
});
