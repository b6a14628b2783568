/** The table of states against a Map. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Visited } from '../../src/explore/visited.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';

describe('the table of states', () => {
  it('keeps what a Map keeps, through all sizes, in no more than 24 bytes a state', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 20_000 }), (seed, count) => {
        const random = randomNumbers(seed);
        const visited = new Visited();
        const map = new Map<string, number>();
        for (let i = 0; i < count; i++) {
          // Few different words, so that hashes meet; a first word of 0 is kept as 1.
          const [low, high, word] = [random(300) - 5, random(50) === 0 ? 0 : random(200) - 100, random(1000)];
          const key = `${low === 0 ? 1 : low} ${high}`;
          const at = visited.find(low, high);
          expect(at >= 0).toBe(map.has(key));
          if (at >= 0) {
            expect(visited.word(at)).toBe(map.get(key));
            continue;
          }
          expect(visited.add(low, high, word)).toBe(true);
          map.set(key, word);
        }
        expect(visited.size).toBe(map.size);
        let seen = 0;
        visited.forEach(() => seen++);
        expect(seen).toBe(map.size);
        if (map.size > 1024) expect(visited.bytes / map.size).toBeLessThanOrEqual(24);
      }),
      { numRuns: 30 },
    );
  });

  it('keeps all in a table of many states, however many were expected', () => {
    for (const expected of [0, 1000, 100_000, 1_000_000]) {
      const random = randomNumbers(expected + 1);
      const visited = new Visited(2 ** 30, expected);
      const before = visited.bytes;
      const states = Array.from({ length: 150_000 }, () => [random(2 ** 32) | 0, random(2 ** 32) | 0]);
      const isNew = states.map(([low, high], i) => visited.find(low, high) < 0 && visited.add(low, high, i));
      expect(isNew.includes(false)).toBe(false);
      expect(states.every(([low, high], i) => visited.word(visited.find(low, high)) === i)).toBe(true);
      if (expected < states.length) expect(visited.bytes / states.length).toBeLessThanOrEqual(24);
      else expect(visited.bytes).toBe(before);
    }
  });

  it('takes no more room than it may have for what is expected', () => {
    expect(new Visited(64 * 1024, 1_000_000).bytes).toBeLessThanOrEqual(64 * 1024);
  });

  it('says so when its room is used up', () => {
    const visited = new Visited(64 * 1024);
    let added = 0;
    while (visited.add(added + 1, added, 0)) added++;
    expect(visited.full).toBe(true);
    expect(visited.size).toBe(added);
    expect(visited.bytes).toBeLessThanOrEqual(64 * 1024);
  });
});
