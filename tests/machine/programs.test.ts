/** The programs are one: after every call of a random history native generators, direct and step program have the same result and the same memory. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { equalStates } from '../../src/memory/snapshot.ts';
import { mounted } from '../../src/memory/state.ts';
import { apply, historyMachine, makeHistory } from './smoke/history.ts';

it('native, direct and step program, with stops and without: equal results and bytes after every call', () => {
  let calls = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1_000_000 }), (seed) => {
      const [native, direct, step, straight] = (['native', 'direct', 'step', 'straight'] as const).map(historyMachine);
      for (const [i, call] of makeHistory(seed, 40).entries()) {
        const results = [native, direct, step, straight].map((machine) => apply(machine, call));
        const what = `call ${i}: ${JSON.stringify(call)}`;
        expect([what, ...results]).toEqual([what, results[0], results[0], results[0], results[0]]);
        const equal = [direct, step, straight].map(({ state }) => equalStates(native.state, state));
        expect([what, ...equal]).toEqual([what, true, true, true]);
        calls++;
      }
      expect(mounted()).toBe(straight.state);
    }),
    { numRuns: 12 },
  );
  expect(calls).toBeGreaterThan(400);
});
