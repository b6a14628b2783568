/**
 * Small random programs on two words: with loops that wait for each other, checks that some run breaks, deadlocks, rounds without end. What their searches find
 * hangs on nothing but the seed.
 */

import { defineStruct } from '../../../src/explore/kernel.ts';
import { call, type Scenario, scenario, task } from '../../../src/explore/scenario.ts';
import { randomNumbers } from '../../../src/kernel/choose.ts';
import { alloc, get, set } from '../../../src/memory/heap.ts';
import { globals } from '../../../src/mm/globals.ts';
import { Globals } from '../../../src/mm/types.ts';
import { kernelText } from '../kernel-text.ts';

/** Words that nothing else in these scenarios looks at. */
const WORDS = [Globals.ksmRun, Globals.thpEnabled];
const VALUES = 3;

/** One statement of a task, as the text of a kernel function. */
function statement(random: (n: number) => number): string {
  const field = `f${random(WORDS.length)}`;
  const value = random(VALUES);
  switch (random(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return `yield* writeOnce(object, ${field}, ${value});`;
    case 4:
    case 5:
    case 6:
      return `t = t * ${VALUES} + (yield* readOnce(object, ${field}));`;
    case 7:
    case 8:
      return `yield* writeOnce(object, ${field}, ((yield* readOnce(object, ${field})) + 1) % ${VALUES});`;
    case 9:
      return `yield* cmpxchg(object, ${field}, ${value}, ${random(VALUES)});`;
    case 10:
      return `u = yield* readOnce(object, ${field}); while (u === ${value}) u = yield* readOnce(object, ${field});`;
    default:
      return `yield* waitFor(object, ${field}, ${value});`;
  }
}

/** Words of an object of which everybody tells what he reads there. */
const Pair = defineStruct('pair', { first: 'number', second: 'number' });

/** The same on such words. */
export const toldProgram = (seed: number): Scenario => {
  let pair = 0;
  return programOn(
    seed,
    () => (pair = alloc(Pair)),
    () => pair,
    [Pair.first, Pair.second],
  );
};

/** A scenario of two or three tasks, the same for the same seed. */
export const smallProgram = (seed: number): Scenario =>
  programOn(
    seed,
    () => {
      for (const word of WORDS) set(globals, word, 0);
    },
    () => globals,
    WORDS,
  );

function programOn(seed: number, begin: () => void, object: () => number, words: readonly number[]): Scenario {
  const random = randomNumbers(seed);
  const names = ['a', 'b', 'c'].slice(0, 2 + random(2));
  const body = (): string => Array.from({ length: 2 + random(4) }, () => statement(random)).join('\n  ');
  const text = names.map((name) => `export function* ${name}(object, f0, f1) {\n  let t = 0;\n  let u = 0;\n  ${body()}\n  return t + u * 0;\n}`).join('\n');
  const kernel = kernelText(`import { cmpxchg, readOnce, waitFor, writeOnce } from './ops.ts';\n${text}`);
  const [x, y, sum] = [random(VALUES), random(VALUES), random(7)];
  const kind = random(3);
  return scenario({
    id: `small-${seed}`,
    title: text,
    setup: begin,
    ...(object() === globals ? {} : { roots: () => [object()] }),
    tasks: Object.fromEntries(names.map((name) => [name, () => task(call(kernel[name], object(), ...words))])),
    variants: { plain: { expect: 'clean' } },
    ...(kind === 1
      ? { always: { pair: () => (get(object(), words[0]) === x && get(object(), words[1]) === y && x + y > 0 ? `the words are ${x} and ${y}` : undefined) } }
      : {}),
    ...(kind === 2
      ? {
          holds: {
            results: ({ results }) =>
              Object.values(results)
                .flat()
                .reduce((a, b) => a + b, 0) === sum && sum > 0
                ? `the sum is ${sum}`
                : undefined,
          },
        }
      : {}),
  });
}
