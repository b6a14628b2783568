/** Circles that none leads out of, found while going depth first, are those that a look at the whole graph finds. */
import { describe, expect, it } from 'vitest';
import { Circles } from '../../src/explore/circles.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';

/** States 0 … n − 1; a state without successors is an end. */
type Graph = readonly (readonly number[])[];

function randomGraph(seed: number): Graph {
  const random = randomNumbers(seed);
  const states = 2 + random(12);
  const ends = random(3);
  return Array.from({ length: states }, (_, i) => (i >= states - ends ? [] : Array.from({ length: 1 + random(3) }, () => random(states))));
}

/** Whether some state that is reached from 0 reaches no end. */
function isStuck(graph: Graph): boolean {
  const reached = (from: number): Set<number> => {
    const seen = new Set([from]);
    for (const state of seen) for (const next of graph[state]) seen.add(next);
    return seen;
  };
  return [...reached(0)].some((state) => ![...reached(state)].some((s) => graph[s].length === 0));
}

/** As the search does. */
function findsStuck(graph: Graph): boolean {
  const circles = new Circles();
  const way: number[] = [];
  const next: number[] = [];
  const met = new Set<number>();
  let stuck = false;
  const meet = (state: number): void => {
    met.add(state);
    way.push(state);
    next.push(0);
    circles.meet(way.length - 1);
  };
  if (graph[0].length === 0) return false;
  meet(0);
  while (way.length > 0) {
    const depth = way.length - 1;
    const state = way[depth];
    if (next[depth] === graph[state].length) {
      way.pop();
      next.pop();
      if (circles.leave(depth, state, 7)) {
        stuck = true;
        if (depth > 0) circles.leadsOut(depth - 1);
      }
      continue;
    }
    const to = graph[state][next[depth]++];
    if (graph[to].length === 0) circles.leadsOut(depth);
    else if (way.includes(to)) circles.leadsBack(depth, way.indexOf(to));
    else if (met.has(to)) circles.leadsTo(depth, to, 7);
    else meet(to);
  }
  return stuck;
}

describe('circles', () => {
  it('that none leads out of are found', () => {
    const seed = Number(process.env.PXD_SEED ?? Date.now() % 1_000_000);
    console.log(`PXD_SEED=${seed}`);
    const seen = { stuck: 0, free: 0 };
    for (let n = seed; n < seed + 20_000; n++) {
      const graph = randomGraph(n);
      const expected = isStuck(graph);
      seen[expected ? 'stuck' : 'free']++;
      if (findsStuck(graph) !== expected) expect(findsStuck(graph), `seed ${n}: ${JSON.stringify(graph)}`).toBe(expected);
    }
    expect(Math.min(seen.stuck, seen.free)).toBeGreaterThan(1000);
  });
});
