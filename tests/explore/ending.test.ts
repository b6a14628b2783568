/**
 * What is asked at the ends of runs: the machine once for each memory, what tells its own reads aside, the scenario and locks there each time.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { defineStruct } from '../../src/explore/kernel.ts';
import { call, scenario, task } from '../../src/explore/scenario.ts';
import { search } from '../../src/explore/search.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { KnownSteps } from '../../src/kernel/known-steps.ts';
import { alloc, get } from '../../src/memory/heap.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals } from '../../src/mm/types.ts';
import { kernelText } from './kernel-text.ts';

const Words = defineStruct('endingWords', { lock: 'lock', first: 'number', second: 'number' });

const kernel = kernelText(`import { readOnce, writeOnce } from './ops.ts';
export function* reads(object, from, to, kept) { yield* writeOnce(object, to, (yield* readOnce(object, from)) * kept); return 0; }
export function* writes(object, to, value) { yield* writeOnce(object, to, value); return 0; }
`);

/** The end in which the reader came first is met first; in the other one \`field\` of the object holds what it read. */
const late = (object: () => number, from: number, to: number, holds: Record<string, () => string | undefined> = {}) => {
  let words = 0;
  return scenario({
    id: 'late',
    title: 'what is written late',
    setup: () => {
      words = alloc(Words);
    },
    roots: () => [words],
    tasks: {
      reader: () => task(call(kernel.reads, object() || words, from, to, 1)),
      writer: () => task(call(kernel.writes, object() || words, from, 1)),
    },
    holds,
    variants: { plain: { expect: 'clean' } },
  });
};
const searched = (one: ReturnType<typeof late>) => search(one, stageOf(one, one.variants.plain, 'x86-4level'));

afterEach(() => vi.restoreAllMocks());

describe('at the ends of runs', () => {
  it('locks are asked for of which everybody tells, where the machine is as it was at another end', () => {
    const one = late(() => 0, Words.first, Words.lock);
    expect(searched(one).violation?.message).toContain('is held');
    vi.spyOn(KnownSteps.prototype, 'isToldLocked', 'get').mockReturnValue(false);
    expect(searched(one).violation).toBeUndefined();
  });

  it('the scenario is asked each time', () => {
    let asked = 0;
    const { endings, violation } = searched(late(() => 0, Words.first, Words.second, { counted: () => void asked++ as undefined }));
    expect(violation).toBeUndefined();
    expect(endings).toBe(2);
    expect(asked).toBe(2);
  });

  it('the machine is asked again where its memory is another', () => {
    const one = late(() => globals, Globals.ksmRun, Globals.thpEnabled);
    const hash = vi.spyOn(KnownSteps.prototype, 'machineHash');
    expect(searched(one).endings).toBe(2);
    const met = new Set(hash.mock.results.map(({ value }) => `${value.low} ${value.high}`));
    expect(met.size).toBe(2);
    expect(get(globals, Globals.ksmRun)).toBe(0);
  });
});
