/**
 * Steps that are taken again without running their code do what the code does: in random programs and in races of the catalogue each of them is taken back and run,
 * and leaves the same words, the same hashes and the same task. And a search without them finds the same.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Scenario, scenario } from '../../src/explore/scenario.ts';
import { type SearchResult, search } from '../../src/explore/search.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { KnownSteps } from '../../src/kernel/known-steps.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import { type Action, Scheduler } from '../../src/kernel/scheduler.ts';
import { looked } from '../../src/kernel/task.ts';
import { hashApart, journalMark, journalWord, stateHash, wordOf } from '../../src/memory/state.ts';
import { catalogue } from '../../src/races/index.ts';
import { lockedProgram } from './support/locked-programs.ts';
import { smallProgram } from './support/small-programs.ts';

const SEED = Number(process.env.PXD_SEED ?? Date.now() % 1_000_000);
const NIGHTLY = process.env.PXD_NIGHTLY === '1';
const PROGRAMS = NIGHTLY ? 300 : 12;
const STATES = NIGHTLY ? 100_000 : 800;

vi.setConfig({ testTimeout: 3_600_000 });
afterEach(() => vi.restoreAllMocks());

/** What a step has left: the words that became others, the hashes, where the task is. */
function left(scheduler: Scheduler, from: number, action: Action): string {
  const words = new Map<string, readonly [old: number, now: number]>();
  for (let at = from; at < journalMark(); at += 3) {
    const [array, index] = [journalWord(at), journalWord(at + 1)];
    if (!words.has(`${array}:${index}`)) words.set(`${array}:${index}`, [journalWord(at + 2), wordOf(array, index)]);
  }
  const changed = [...words].filter(([, [old, now]]) => old !== now).sort(([a], [b]) => (a < b ? -1 : 1));
  const task =
    action < 64
      ? [scheduler.results[action], scheduler.backtraceOf(action), [...scheduler.stack.slice(scheduler.baseOf(action), scheduler.endOf(action))]]
      : [];
  return JSON.stringify([changed, stateHash(), [...hashApart.subarray(0, 4)], scheduler.actions(), task]);
}

/** Every step that is taken again is run as well. */
function watch(): { taken: number; wrong: string[] } {
  const seen = { taken: 0, wrong: [] as string[] };
  const again = Scheduler.prototype.stepAgain;
  vi.spyOn(Scheduler.prototype, 'stepAgain').mockImplementation(function (this: Scheduler, action, step) {
    seen.taken++;
    const text = this.describe(action);
    const mark = this.mark();
    again.call(this, action, step);
    const known = left(this, mark.journal, action);
    this.rewind(mark);
    this.stepAnew(action);
    if (left(this, mark.journal, action) !== known) seen.wrong.push(text);
  });
  return seen;
}

const stop = ({ states }: { readonly states: number }): boolean => states > STATES;

function searched(one: Scenario, variant: string): SearchResult {
  forgetOrder();
  return search(one, stageOf(one, one.variants[variant], 'x86-4level'), { stop });
}

const program = (seed: number): Scenario => (seed % 2 === 0 ? smallProgram(seed) : lockedProgram(seed, () => {}).scenario);
const race = (id: string): Scenario => scenario(catalogue.find((one) => one.id === id) as Scenario);

describe('a step that is taken again', () => {
  it(`does what its code does, in random programs (seeds from ${SEED})`, () => {
    const seen = watch();
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      searched(program(seed), 'plain');
      expect({ seed, wrong: seen.wrong }).toEqual({ seed, wrong: [] });
    }
    expect(seen.taken).toBeGreaterThan(PROGRAMS);
  });

  // Translations that CPUs read ahead, readers under RCU, interrupts, callbacks that run late.
  it.each(['E28', 'E17', 'E18', 'R30'])('does, in %s', (id) => {
    const seen = watch();
    const one = race(id);
    for (const variant of Object.keys(one.variants)) searched(one, variant);
    expect(seen.wrong).toEqual([]);
    expect(seen.taken).toBeGreaterThan(50);
  });

  it('does not when it is not told what looks at translations', () => {
    vi.spyOn(looked, 'cpus', 'set').mockImplementation(() => {});
    const seen = watch();
    searched(race('E28'), 'fixed');
    expect(seen.wrong.length).toBeGreaterThan(0);
  });

  it('finds what a search finds that runs all code', () => {
    // Where a circle closes is told by a hash, which hangs on numbers of structs.
    const told = ({ violation, ...rest }: SearchResult): object => ({ ...rest, violation: { ...violation, cycle: undefined } });
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      const known = searched(program(seed), 'plain');
      const find = vi.spyOn(KnownSteps.prototype, 'find').mockReturnValue(-1);
      expect({ seed, ...told(searched(program(seed), 'plain')) }).toEqual({ seed, ...told(known) });
      find.mockRestore();
    }
  });
});
