/** Searches in parts find what the whole search finds: on random programs, however they are split and whoever searches which part, knowing what of others. */
import { describe, expect, it } from 'vitest';
import { type SearchResult, search } from '../../src/explore/search.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { SubtreeSearcher, type SubtreeResult, splitSearch, type Together, together, Union } from '../../src/explore/subtrees.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { smallProgram } from './support/small-programs.ts';

const MODE = 'x86-4level';
const said = ({ verdict, states, violation }: Pick<SearchResult, 'verdict' | 'states' | 'violation'>): object => ({
  verdict,
  states,
  rule: violation?.rule,
  message: violation?.message,
  schedule: violation?.schedule,
  preemptions: violation?.preemptions,
});

/** Splits a search and deals its subtrees out, each to one of several searchers by chance; some begin with what earlier ones of others met. */
function inParts(seed: number, bound: number, random: (n: number) => number): { readonly found: Together; readonly subtrees: number } {
  const scenario = smallProgram(seed);
  const staged = (): ReturnType<typeof stageOf> => stageOf(scenario, scenario.variants.plain, MODE);
  const { beginnings } = splitSearch(scenario, staged(), bound, 2 + random(20));
  const searchers = 1 + random(4);
  const owner = beginnings.map(() => random(searchers));
  const results: SubtreeResult[] = [];
  for (let s = 0; s < searchers; s++) {
    const mine = beginnings.map((_, number) => number).filter((number) => owner[number] === s);
    const known = new Union();
    if (random(2) === 0) for (const { number, set } of results) if (number < (mine[0] ?? 0)) known.add(number, set);
    const searcher = new SubtreeSearcher(scenario, staged(), bound, { known: known.all() });
    for (const number of mine) {
      const result = searcher.run(number, beginnings[number], () => false);
      results.push(result);
      if (result.verdict !== 'done') break;
    }
  }
  const union = new Union();
  for (const { number, set } of results.toSorted(() => random(3) - 1)) union.add(number, set);
  return { found: together(results, beginnings.length, union), subtrees: beginnings.length };
}

describe('a search in parts', () => {
  const SEED = Number(process.env.PXD_SEED ?? 1);
  const PROGRAMS = Number(process.env.PXD_PROGRAMS ?? 60);

  it(`finds what the whole search finds (seeds from ${SEED})`, () => {
    const seen = { violation: 0, exhausted: 0, bounded: 0, circles: 0, circular: 0, split: 0 };
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      const scenario = smallProgram(seed);
      for (const bound of [0, 1, 2, Number.POSITIVE_INFINITY]) {
        const whole = search(scenario, stageOf(scenario, scenario.variants.plain, MODE), { preemptions: bound });
        const { found, subtrees } = inParts(seed, bound, randomNumbers(seed * 7 + Math.min(bound, 3)));
        if (subtrees > 1) seen.split++;
        if (found.circular) {
          // The parts say themselves that they cannot tell.
          seen.circular++;
          continue;
        }
        expect({ seed, bound, ...said(found) }).toEqual({ seed, bound, ...said(whole) });
        if (whole.verdict !== 'stopped') seen[whole.verdict]++;
        if (whole.violation?.cycle) seen.circles++;
      }
    }
    // All kinds were there.
    if (PROGRAMS > 60) console.log(JSON.stringify(seen));
    expect(Math.min(seen.violation, seen.exhausted, seen.bounded, seen.circles)).toBeGreaterThan(5);
    expect(seen.split).toBeGreaterThan(PROGRAMS);
    expect(seen.circular).toBeLessThan(PROGRAMS / 10);
  });
});
