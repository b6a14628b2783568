/** Searches in parts find what the whole search finds: on random programs, however they are split and whoever searches which part, knowing what of others. */
import { describe, expect, it, vi } from 'vitest';
import { Facts, type FactsDump } from '../../src/explore/facts.ts';
import { searchReduced } from '../../src/explore/reduced.ts';
import type { Scenario } from '../../src/explore/scenario.ts';
import { CUT, type SearchResult, search } from '../../src/explore/search.ts';
import { type Staged, stageOf } from '../../src/explore/stage.ts';
import { type SubtreeResult, SubtreeSearcher, splitSearch, type Together, together, Union } from '../../src/explore/subtrees.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { lockedProgram } from './support/locked-programs.ts';
import { smallProgram } from './support/small-programs.ts';

const MODE = 'x86-4level';
const said = ({ verdict, states, violation, circular }: Pick<SearchResult, 'verdict' | 'states' | 'violation' | 'circular'>): object => ({
  verdict,
  states,
  circular,
  rule: violation?.rule,
  message: violation?.message,
  schedule: violation?.schedule,
  preemptions: violation?.preemptions,
});

vi.setConfig({ testTimeout: 300_000 });

type Random = (n: number) => number;
const stagedOf = (scenario: Scenario): Staged => stageOf(scenario, scenario.variants.plain, MODE);

/** What a search may stand on: what another one learned, with things missing by chance. */
function groundOf(scenario: Scenario, bound: number, random: Random): FactsDump | undefined {
  const { facts } = searchReduced(scenario, stagedOf(scenario), { preemptions: Math.min(bound, 1) });
  if (facts === undefined) return undefined;
  const { actors, wild, touches } = facts.dump();
  const kept: number[] = [];
  const missing = random(3) * 15;
  for (let i = 0, end = 0; i < touches.length; i = end) {
    end = i + 4 + touches[i + 3];
    if (random(100) >= missing) kept.push(...touches.slice(i, end));
  }
  return { actors, wild, touches: kept };
}

function factsOf(ground: FactsDump): Facts {
  const facts = new Facts(ground.actors);
  facts.take(ground);
  return facts;
}

/** Splits a search and deals its subtrees out, each to one of several searchers by chance; some begin with what earlier ones of others met. */
function inParts(scenario: Scenario, bound: number, ground: FactsDump | undefined, random: Random): { readonly found?: Together; readonly subtrees: number } {
  const { beginnings, contradicted } = splitSearch(scenario, stagedOf(scenario), bound, ground, 2 + random(20));
  if (contradicted) return { subtrees: 0 };
  const searchers = 1 + random(4);
  const owner = beginnings.map(() => random(searchers));
  const results: SubtreeResult[] = [];
  for (let s = 0; s < searchers; s++) {
    const mine = beginnings.map((_, number) => number).filter((number) => owner[number] === s);
    const known = new Union();
    if (random(2) === 0) for (const { number, set } of results) if (number < (mine[0] ?? 0)) known.add(number, set);
    const searcher = new SubtreeSearcher(scenario, stagedOf(scenario), bound, { known: known.all(), ground });
    for (const number of mine) {
      const result = searcher.run(number, beginnings[number], () => false);
      results.push(result);
      if (result.verdict !== 'done') break;
    }
  }
  const union = new Union();
  for (const { number, set } of results.toSorted(() => random(3) - 1)) union.add(number, set);
  return { found: together(results, beginnings.length, union, { ground }), subtrees: beginnings.length };
}

/** A search whose subtrees are searched one after the other, now and then by somebody new who was told all; made again where it has to be. */
function inChain(scenario: Scenario, bound: number, first: FactsDump | undefined, random: Random): { readonly found: Together; readonly again: number } {
  let ground = first;
  for (let again = 0; ; again++) {
    const { beginnings } = splitSearch(scenario, stagedOf(scenario), bound, ground, 2 + random(20));
    const results: SubtreeResult[] = [];
    const union = new Union();
    let searcher: SubtreeSearcher | undefined;
    for (const [number, beginning] of beginnings.entries()) {
      if (searcher === undefined || random(6) === 0) {
        const facts = ground && factsOf(ground);
        for (const { learned } of results) if (learned) facts?.take(learned);
        searcher = new SubtreeSearcher(scenario, stagedOf(scenario), bound, { known: union.all(), ground, learned: facts?.dump() });
      }
      const result = searcher.run(number, beginning, () => false);
      results.push(result);
      union.add(number, result.set);
      if (result.verdict !== 'done') break;
    }
    const found = together(results, beginnings.length, union, { ground, chain: true });
    if (found.again === undefined) return { found, again };
    ground = found.again;
  }
}

describe('a search in parts', () => {
  const SEED = Number(process.env.PXD_SEED ?? 1);
  const PROGRAMS = Number(process.env.PXD_PROGRAMS ?? 60);
  const BOUNDS = [0, 1, 2, Number.POSITIVE_INFINITY];

  it(`finds what the whole search finds (seeds from ${SEED})`, () => {
    const seen = { violation: 0, exhausted: 0, bounded: 0, stopped: 0, circles: 0, unsettled: 0, split: 0 };
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      const scenario = smallProgram(seed);
      const bound = BOUNDS[seed % 4];
      const whole = search(scenario, stagedOf(scenario), { preemptions: bound });
      const { found, subtrees } = inParts(scenario, bound, undefined, randomNumbers(seed));
      if (subtrees > 1) seen.split++;
      // The parts say themselves when they cannot tell.
      if (found?.unsettled !== false) {
        seen.unsettled++;
        expect({ seed, circular: found?.circular }).toEqual({ seed, circular: true });
        continue;
      }
      // They go ways that the whole search does not: what they know of circles may be more.
      expect(whole.circular && !found.circular).toBe(false);
      expect({ seed, bound, ...said({ ...found, circular: whole.circular }) }).toEqual({ seed, bound, ...said(whole) });
      seen[whole.verdict]++;
      if (whole.violation?.cycle) seen.circles++;
    }
    // All kinds were there.
    expect(Math.min(seen.violation, seen.exhausted, seen.bounded, seen.circles)).toBeGreaterThan(PROGRAMS / 30);
    expect(seen.split).toBeGreaterThan(PROGRAMS / 2);
    expect(seen.unsettled).toBeLessThan(PROGRAMS / 4);
  });

  it(`which hides operations, finds what the whole search finds that hides them, or tells that it cannot (seeds from ${SEED})`, () => {
    const seen = { violation: 0, exhausted: 0, bounded: 0, stopped: 0, again: 0, unsettled: 0 };
    for (let seed = SEED; seed < SEED + PROGRAMS / 3; seed++) {
      const random = randomNumbers(seed);
      const locked = seed % 10 === 0;
      const scenario = locked ? lockedProgram(seed, () => {}).scenario : smallProgram(seed);
      const bound = BOUNDS[(seed >> 1) % (locked ? 2 : 4)];
      const ground = groundOf(scenario, bound, random);
      if (ground === undefined || ground.touches.length === 0) continue;
      const whole = searchReduced(scenario, stagedOf(scenario), { preemptions: bound }, factsOf(ground));
      const chained = inChain(scenario, bound, ground, random);
      if (chained.found.unsettled) expect({ seed, circular: whole.circular, bound }).toEqual({ seed, circular: true, bound: Number.POSITIVE_INFINITY });
      else expect({ seed, bound, ...said(chained.found), again: chained.again }).toEqual({ seed, bound, ...said(whole), again: whole.again });
      if (whole.verdict !== 'violation' && !chained.found.unsettled) expect(sorted(chained.found.facts)).toEqual(sorted(whole.facts?.dump()));
      if (whole.again > 0) seen.again++;
      const { found } = inParts(scenario, bound, ground, random);
      if (found?.unsettled !== false) {
        seen.unsettled++;
        // It is not said without need.
        if (!found?.circular) expect({ seed, again: whole.again > 0 || whole.verdict === 'violation' }).toEqual({ seed, again: true });
        continue;
      }
      expect({ seed, bound, ...said({ ...found, circular: whole.circular }), again: 0 }).toEqual({ seed, bound, ...said(whole), again: whole.again });
      expect(sorted(found.facts)).toEqual(sorted(whole.verdict === 'violation' ? found.facts : whole.facts?.dump()));
      seen[whole.verdict]++;
    }
    expect(Math.min(seen.violation, seen.exhausted, seen.bounded, seen.unsettled, seen.again)).toBeGreaterThan(0);
  });
});

describe('what parts hand over', () => {
  const state = (low: number, word: number): Int32Array<ArrayBuffer> => Int32Array.of(low, 7, word);

  it('a state counts once, for the first subtree that met it; what a bound cuts off there is that of the fewest preemptions, in any order', () => {
    const sets: [number, Int32Array][] = [
      [2, state(5, 1 | CUT)],
      [0, state(6, 0)],
      [3, state(5, 0)],
      [1, state(5, 2 | CUT)],
    ];
    for (const order of [sets, sets.toReversed(), [sets[2], sets[0], sets[1], sets[3]]]) {
      const union = new Union();
      for (const [number, set] of order) union.add(number, set);
      expect([union.count(), union.count(0), union.count(1), union.cut]).toEqual([2, 1, 2, false]);
      union.add(9, state(6, 0 | CUT));
      union.add(9, state(8, 3 | CUT));
      expect([union.count(), union.count(8), union.cut]).toEqual([3, 2, true]);
    }
  });

  it('whoever goes on is told what was learned, and does not tell it again', () => {
    const scenario = smallProgram(3);
    const { facts } = searchReduced(scenario, stagedOf(scenario));
    expect(facts?.places).toBeGreaterThan(0);
    const ground = { actors: 8, wild: 0, touches: [] };
    const learned = facts?.dump();
    const tell = (searcher: SubtreeSearcher): number => searcher.run(0, [], () => false).learned?.touches.length ?? -1;
    expect(tell(new SubtreeSearcher(scenario, stagedOf(scenario), 9, { ground }))).toBeGreaterThan(0);
    expect(tell(new SubtreeSearcher(scenario, stagedOf(scenario), 9, { ground, learned }))).toBe(0);
  });

  it('a circle counts when nobody before was where it closes', () => {
    const violation = { rule: 'I27', message: 'round', schedule: [0], preemptions: 0, cycle: { low: 5, high: 7, preemptions: 0 } };
    const results: SubtreeResult[] = [
      { number: 0, verdict: 'done', set: state(5, 0), transitions: 1 },
      { number: 1, verdict: 'violation', violation, set: state(6, 0), transitions: 1 },
    ];
    const union = new Union();
    union.add(1, state(5, 0));
    expect(together(results, 2, union)).toMatchObject({ verdict: 'violation', unsettled: false, states: 1 });
    union.add(0, state(5, 0));
    expect(together(results, 2, union)).toMatchObject({ verdict: 'violation', unsettled: true });
  });

  it('what is missing makes it stopped, unless it comes after what breaks a rule', () => {
    const violation = { rule: 'I4', message: 'it', schedule: [0], preemptions: 0 };
    const done = (number: number): SubtreeResult => ({ number, verdict: 'done', set: state(number, 0), transitions: 1 });
    expect(together([done(0), done(2)], 3, new Union()).verdict).toBe('stopped');
    expect(together([done(2), done(0), done(1)], 3, new Union()).verdict).toBe('exhausted');
    expect(together([done(0), { ...done(1), verdict: 'violation', violation }], 3, new Union()).violation).toBe(violation);
    expect(together([done(0), { ...done(1), verdict: 'stopped' }, done(2)], 3, new Union()).verdict).toBe('stopped');
  });
});

/** Facts in an order that does not hang on when they were learned. */
function sorted(facts: FactsDump | undefined): readonly string[] {
  const found: string[] = [];
  const touches = facts?.touches ?? [];
  for (let i = 0, end = 0; i < touches.length; i = end) {
    end = i + 4 + touches[i + 3];
    found.push(touches.slice(i, end).join());
  }
  return found.sort();
}
