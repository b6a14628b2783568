import { direct } from 'sample:direct';
import { step } from 'sample:step';
import { describe, expect, it } from 'vitest';
import { stepText } from './evaluate.ts';
import * as constructs from './sample/constructs.ts';
import { runDirect, runNative, runStep } from './sample/run.ts';

const native = { ...constructs };
const names = Object.keys(native) as (keyof typeof native)[];
const values = [0, 1, 2, 3, 4, 5];

describe('the three programs, written by hand', () => {
  it.each(names)('%s', (name) => {
    const traces = new Set<string>();
    for (const a of values)
      for (const b of values) {
        const initial = [3, 1, 4, 1, 5, 9, 2, 6].map((value, i) => value * ((a + b + i) % 3));
        const args = [a, b];
        const announced: number[][] = [];
        const pending: number[][] = [];
        const expected = runNative(native[name], args, initial, (operation) => announced.push(operation));
        expect(runDirect(direct[name], args, initial), `direct ${args}`).toEqual(expected);
        expect(runStep(step[name], args, initial, { seen: (operation) => pending.push(operation) }), `step ${args}`).toEqual(expected);
        expect(runStep(step[name], args, initial, { moved: true }), `moved ${args}`).toEqual(expected);
        expect(pending).toEqual(announced);
        traces.add(JSON.stringify(expected));
      }
    // Inputs that all take the same way would prove little.
    expect(traces.size).toBeGreaterThan(4);
  });

  it('copies what never waits as it stands', () => {
    const text = stepText('function* f(a) { let n = 0; for (let i = 0; i < a; i++) { if (i > 3) break; n += i; } return n; }');
    expect(text).toContain('for (let i = 0; i < a; i++) { if (i > 3) break; n += i; }');
    expect(text).not.toContain('case 2:');
  });
});
