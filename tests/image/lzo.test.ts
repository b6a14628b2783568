import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lzo1x } from '../../src/image/codec/lzo1x.ts';
import { encodeLzo, expand, FORMS, lzoOf, type MatchForm, type Step } from './lzo.ts';
import { expectBytes, pageOf } from './make.ts';

const bytes = (...list: number[]): Uint8Array => Uint8Array.from(list);

/** Instructions chosen by a list of numbers, always valid. */
function stepsFrom(choices: readonly number[], size: number): Step[] {
  const steps: Step[] = [];
  let done = 0;
  for (let i = 0; i + 4 < choices.length && done < size; i += 5) {
    const [kind, count, which, far, long] = choices.slice(i, i + 5);
    const runs = [0, 1, 2, 3, 4, 18, 19, 273, 274, 600, 3000, 20000];
    const n = Math.min(steps.length === 0 ? Math.max(1, runs[count % runs.length]) : runs[count % runs.length], size - done);
    const literals = Uint8Array.from({ length: n }, (_, k) => (k * which + kind) & 0xff);
    done += n;
    const state = Math.min(n, 4);
    const forms = (Object.keys(FORMS) as MatchForm[]).filter(
      (f) => FORMS[f].state.includes(state) && FORMS[f].distance[0] <= done && FORMS[f].length[0] <= size - done,
    );
    if (forms.length === 0) break;
    const form = forms[which % forms.length];
    const { distance, length } = FORMS[form];
    const pick = ([low, high]: readonly [number, number], most: number, by: number): number => low + (by % (Math.min(high, most) - low + 1));
    const match = { form, distance: pick(distance, done, far), length: Math.min(pick(length, size - done, long % 700), size - done) };
    done += match.length;
    steps.push({ literals, match });
  }
  return [...steps, { literals: bytes() }];
}

describe('lzo1x', () => {
  it.each([
    ['a literal run and the end mark', bytes(17 + 4, 1, 2, 3, 4, 17, 0, 0), [1, 2, 3, 4]],
    ['a repeated byte (m2, distance 1, length 5)', bytes(18, 7, (4 << 5) | 0, 0, 17, 0, 0), [7, 7, 7, 7, 7, 7]],
    ['literals after a match', bytes(18, 7, (2 << 5) | 2, 0, 8, 9, 17, 0, 0), [7, 7, 7, 7, 8, 9]],
    ['a two-byte match after one literal', bytes(19, 1, 2, (1 << 2) | 0, 0, 17, 0, 0), [1, 2, 1, 2]],
    ['only the end mark', bytes(17, 0, 0), []],
  ])('reads %s', (_, stream, expected) => {
    expect([...lzo1x(stream, 64)]).toEqual(expected);
  });

  it('gives back what any list of instructions means', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffff), { minLength: 5, maxLength: 200 }), fc.constantFrom(4096, 65536), (choices, size) => {
        const steps = stepsFrom(choices, size);
        const expected = expand(steps);
        expectBytes(lzo1x(encodeLzo(steps), size), expected);
        if (expected.length > 0) expect(() => lzo1x(encodeLzo(steps), expected.length - 1)).toThrow(RangeError);
      }),
      { numRuns: 300 },
    );
  });

  it('meets every form of a match', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffff), { minLength: 5, maxLength: 200 }), (choices) => {
        for (const step of stepsFrom(choices, 65536)) if (step.match) seen.add(step.match.form);
      }),
      { numRuns: 300, seed: 1 },
    );
    expect([...seen].sort()).toEqual(Object.keys(FORMS).sort());
  });

  it('gives back pages', () => {
    for (let seed = 0; seed < 50; seed++) expectBytes(lzo1x(lzoOf(pageOf(seed)), 4096), pageOf(seed));
  });

  it('answers any bytes with bytes or a RangeError, and never writes more than it may', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 1, 100, 4096), (data, size) => {
        try {
          expect(lzo1x(data, size).length).toBeLessThanOrEqual(size);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('refuses each shorter part of a stream', () => {
    const stream = lzoOf(pageOf(3));
    for (let n = 0; n < stream.length; n++) expect(() => lzo1x(stream.subarray(0, n), 4096)).toThrow(RangeError);
    expect(() => lzo1x(Uint8Array.from([...stream, 0]), 4096)).toThrow(/end mark/);
  });
});
