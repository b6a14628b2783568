import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVERYWHERE, NOWHERE } from '../../src/kernel/compile/runtime.ts';
import { stepText, threePrograms } from './evaluate.ts';
import { randomProgram } from './random-program.ts';
import { type Outcome, runDirect, runNative, runStep } from './sample/run.ts';

// fast-check's liking for small numbers and short lists would make programs of nothing.
const tape = fc.noBias(fc.array(fc.nat(999), { maxLength: 600, size: 'max' }));
const RUNS = Number(process.env.PXD_COMPILE_RUNS ?? 500);

// vitest's comparison is thorough and slow: it is left to say what differs.
const sameLists = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]): boolean =>
  a.length === b.length && a.every((list, i) => list.length === b[i].length && list.every((value, j) => Object.is(value, b[i][j])));
const same = (a: Outcome, b: Outcome): boolean => Object.is(a.result, b.result) && sameLists(a.trace, b.trace) && sameLists([a.memory], [b.memory]);

describe('random programs', () => {
  it('give the same results, operations and memory as native generators, directly and as steps, moved at every operation or not, stopping everywhere, nowhere or here and there', () => {
    const seen = { operations: 0, waits: 0, thrown: 0 };
    fc.assert(
      fc.property(
        tape,
        fc.array(fc.integer({ min: -5, max: 70 }), { minLength: 2, maxLength: 2 }),
        fc.array(fc.nat(5), { minLength: 64, maxLength: 64 }),
        (numbers, args, initial) => {
          const source = randomProgram(numbers);
          const programs = threePrograms(source);
          const announced: number[][] = [];
          const native = runNative(programs.native, args, initial, (operation) => announced.push(operation));
          const pending: number[][] = [];
          const outcomes: Record<string, Outcome> = {
            direct: runDirect(programs.direct, args, initial),
            step: runStep(programs.step, args, initial, { seen: (operation) => pending.push(operation) }),
            moved: runStep(programs.step, args, initial, { moved: true }),
            straight: runStep(programs.step, args, initial, { stops: NOWHERE }),
            partly: runStep(programs.step, args, initial, { moved: true, stops: EVERYWHERE.map((_, code) => numbers[code % numbers.length] & 1) }),
          };
          const message = (name: string): string => `${name} differs for main(${args})\n${source}`;
          for (const [name, outcome] of Object.entries(outcomes)) if (!same(outcome, native)) expect(outcome, message(name)).toEqual(native);
          if (!sameLists(pending, announced)) expect(pending, message('announced')).toEqual(announced);
          seen.operations += native.trace.length;
          seen.waits += native.trace.length > 0 ? 1 : 0;
          seen.thrown += typeof native.result === 'string' ? 1 : 0;
        },
      ),
      { numRuns: RUNS },
    );
    console.log(`${RUNS} programs, ${seen.operations} operations, ${seen.waits} programs with any, ${seen.thrown} ended by an error`);
    // A generator of empty programs would prove nothing.
    expect(seen.operations).toBeGreaterThan(5 * RUNS);
  }, 600_000);

  it('compile to the same text each time', () => {
    fc.assert(
      fc.property(tape, (numbers) => {
        const source = randomProgram(numbers);
        expect(stepText(source)).toBe(stepText(source));
      }),
      { numRuns: 20 },
    );
  });
});
