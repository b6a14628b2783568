/**
 * Steps that are taken again without running their code do what the code does: in random programs and in races of the catalogue each of them is taken back and run,
 * and leaves the same words, the same hashes and the same task. And a search without them finds the same.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Scenario, scenario } from '../../src/explore/scenario.ts';
import { type SearchResult, search } from '../../src/explore/search.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { changesNothing } from '../../src/kernel/hardware.ts';
import { KnownSteps } from '../../src/kernel/known-steps.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import { ReadTrees } from '../../src/kernel/read-trees.ts';
import { type Action, Scheduler } from '../../src/kernel/scheduler.ts';
import { looked, Task, taskOf } from '../../src/kernel/task.ts';
import { hashApart, heap, journalMark, journalWord, stateHash, wordOf } from '../../src/memory/state.ts';
import { catalogue } from '../../src/races/index.ts';
import { lockedProgram } from './support/locked-programs.ts';
import { smallProgram, toldProgram } from './support/small-programs.ts';

const SEED = Number(process.env.PXD_SEED ?? Date.now() % 1_000_000);
const NIGHTLY = process.env.PXD_NIGHTLY === '1';
const PROGRAMS = NIGHTLY ? 300 : 12;
const STATES = NIGHTLY ? 100_000 : 800;

vi.setConfig({ testTimeout: 3_600_000 });
afterEach(() => vi.restoreAllMocks());

type Words = Map<string, readonly [old: number, now: number]>;

/** The words that the journal tells of. */
function told(from: number): Words {
  const words: Words = new Map();
  for (let at = from; at < journalMark(); at += 3) {
    const [array, index] = [journalWord(at), journalWord(at + 1)];
    if (!words.has(`${array}:${index}`)) words.set(`${array}:${index}`, [journalWord(at + 2), wordOf(array, index)]);
  }
  return words;
}

/** What a step has left: the words that became others, the hashes, where the task is. */
function left(scheduler: Scheduler, words: Words, action: Action): string {
  // What a task's object holds goes with the task.
  const own = action < 64 ? taskOf(action) : -Task.$size;
  const isOwn = (word: string): boolean => Number(word.slice(2)) >= own && Number(word.slice(2)) < own + Task.$size && word.startsWith('0:');
  scheduler.settle();
  const changed = [...words].filter(([word, [old, now]]) => old !== now && !isOwn(word)).sort(([a], [b]) => (a < b ? -1 : 1));
  const task =
    action < 64
      ? [
          scheduler.results[action],
          scheduler.backtraceOf(action),
          [...scheduler.stack.slice(scheduler.baseOf(action), scheduler.endOf(action))],
          [...heap.slice(own, own + Task.$size)],
        ]
      : [];
  return JSON.stringify([changed, stateHash(), [...hashApart], scheduler.actions(), task]);
}

const { add } = ReadTrees.prototype;

/** Whose steps are watched. */
let watched: Scheduler;

/** Every step that is taken again is run as well; and what hardware is said to read in vain. */
function watch(): { taken: number; wrong: string[] } {
  const seen = { taken: 0, wrong: [] as string[] };
  // The words that it writes by its own account, as they are before and behind it.
  const written: Words = new Map();
  const takeAgain = KnownSteps.prototype.again;
  vi.spyOn(KnownSteps.prototype, 'again').mockImplementation(function (this: KnownSteps, action, step) {
    seen.taken++;
    const text = watched.describe(action);
    const mark = watched.mark();
    const from = journalMark();
    const words = this.writesOf(step).map(({ array, index }) => ({ array, index, old: wordOf(array, index) }));
    takeAgain.call(this, action, step);
    written.clear();
    for (const { array, index, old } of words) written.set(`${array}:${index}`, [old, wordOf(array, index)]);
    const known = left(watched, written, action);
    watched.rewind(mark);
    watched.stepAnew(action);
    if (left(watched, told(from), action) !== known) seen.wrong.push(text);
  });
  const inVain = KnownSteps.prototype.changesNothing;
  vi.spyOn(KnownSteps.prototype, 'changesNothing').mockImplementation(function (this: KnownSteps, action) {
    const known = inVain.call(this, action);
    if (known !== changesNothing(action, watched.options, watched.pgdOf)) seen.wrong.push(`in vain: ${watched.describe(action)}`);
    return known;
  });
  return seen;
}

function searched(one: Scenario, variant: string, times = 1, most = STATES): SearchResult {
  forgetOrder();
  const stop = ({ states }: { readonly states: number }): boolean => states > most;
  const staged = stageOf(one, one.variants[variant], 'x86-4level');
  watched = staged.scheduler;
  const known = staged.scheduler.knownSteps();
  // What a search has taken is known to the next.
  for (let time = 1; time < times; time++) search(one, staged, { stop, known });
  return search(one, staged, { stop, known });
}

const program = (seed: number): Scenario => (seed % 2 === 0 ? smallProgram(seed) : lockedProgram(seed, () => {}).scenario);
const race = (id: string): Scenario => scenario(catalogue.find((one) => one.id === id) as Scenario);

describe('a step that is taken again', () => {
  it(`does what its code does, in random programs (seeds from ${SEED})`, () => {
    const seen = watch();
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      searched(program(seed), 'plain', 2);
      searched(toldProgram(seed), 'plain', 2);
      expect({ seed, wrong: seen.wrong }).toEqual({ seed, wrong: [] });
    }
    expect(seen.taken).toBeGreaterThan(PROGRAMS);
  });

  // Translations that CPUs read ahead, readers under RCU, interrupts, callbacks that run late.
  // Of E17 enough is seen that CPUs read entries that have changed.
  it.each([
    ['E28', STATES],
    ['E17', 5 * STATES],
    ['E18', STATES],
    ['R30', STATES],
  ])('does, in %s', (id, most) => {
    const seen = watch();
    const one = race(id);
    for (const variant of Object.keys(one.variants)) searched(one, variant, 1, most);
    expect(seen.wrong).toEqual([]);
    expect(seen.taken).toBeGreaterThan(50);
  });

  it('does not when it is not told what looks at translations', () => {
    vi.spyOn(looked, 'cpus', 'set').mockImplementation(() => {});
    const seen = watch();
    searched(race('E28'), 'fixed');
    expect(seen.wrong.length).toBeGreaterThan(0);
  });

  it('is known by what it reads of words that everybody tells of, whatever else they hold', () => {
    let [told, others] = [0, 0];
    for (let seed = 1; seed <= 12; seed++) {
      const run = vi.spyOn(Scheduler.prototype, 'stepAnew');
      searched(toldProgram(seed), 'plain');
      told += run.mock.calls.length;
      run.mockClear();
      searched(smallProgram(seed), 'plain');
      others += run.mock.calls.length;
      run.mockRestore();
    }
    expect(told).toBeLessThan(others);
  });

  it('does not when reads of such words go unheard', () => {
    vi.spyOn(ReadTrees.prototype, 'add').mockImplementation(function (this: ReadTrees, root, slots, values, _count, leaf) {
      return add.call(this, root, slots, values, 0, leaf);
    });
    const seen = watch();
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) searched(toldProgram(seed), 'plain');
    expect(seen.wrong.length).toBeGreaterThan(0);
  });

  it('finds what a search finds that runs all code', () => {
    // Where a circle closes is told by a hash, which hangs on numbers of structs.
    const shown = ({ violation, ...rest }: SearchResult): object => ({ ...rest, violation: { ...violation, cycle: undefined } });
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      const known = searched(program(seed), 'plain');
      const find = vi.spyOn(KnownSteps.prototype, 'find').mockReturnValue(-1);
      expect({ seed, ...shown(searched(program(seed), 'plain')) }).toEqual({ seed, ...shown(known) });
      find.mockRestore();
    }
  });
});
