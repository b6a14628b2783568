/**
 * Steps that sleep lose nothing: on random programs the search that puts steps to sleep meets as many states as the one that does not, and the same endings, breaks the
 * same rules, and finds the same schedule first; and what is said to be independent is, performed in both orders.
 */
import { describe, expect, it, vi } from 'vitest';
import { wholeHash } from '../../src/explore/hash.ts';
import { call, type Scenario, scenario, type TaskSpec, task } from '../../src/explore/scenario.ts';
import { type SearchResult, search } from '../../src/explore/search.ts';
import { type Staged, stageOf } from '../../src/explore/stage.ts';
import { Steps } from '../../src/explore/steps.ts';
import { KernelBug } from '../../src/kernel/bug.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { accessLog } from '../../src/kernel/guards.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import type { Action } from '../../src/kernel/scheduler.ts';
import { startJournal, stopJournal } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals } from '../../src/mm/types.ts';
import { catalogue } from '../../src/races/index.ts';
import { kernelText } from './kernel-text.ts';
import { lockedProgram } from './support/locked-programs.ts';
import { modeOf } from './support/modes.ts';
import { smallProgram } from './support/small-programs.ts';

const SEED = Number(process.env.PXD_SEED ?? Date.now() % 1_000_000);
const NIGHTLY = process.env.PXD_NIGHTLY === '1';
const PROGRAMS = Number(process.env.PXD_PROGRAMS ?? (NIGHTLY ? 400 : 20));
const MOST = 4000;

vi.setConfig({ testTimeout: 3_600_000 });

/** A program by its seed: of one kind or the other. */
const programOf = (seed: number, told: (ending: string) => void): Scenario => (seed % 3 === 0 ? smallProgram(seed) : lockedProgram(seed, told).scenario);

interface Outcome {
  readonly endings: readonly string[];
  readonly rules: readonly string[];
  readonly found: readonly unknown[];
  readonly states: number;
  readonly first: SearchResult;
  readonly all: SearchResult;
}

function outcome(seed: number, sleep: boolean): Outcome {
  const endings = new Set<string>();
  const rules = new Set<string>();
  const scenario = programOf(seed, (told) => endings.add(told));
  const staged = (): Staged => {
    // The order of locks is learned over all that runs in this process.
    forgetOrder();
    return stageOf(scenario, scenario.variants.plain, 'x86-4level');
  };
  const stop = ({ states }: { readonly states: number }): boolean => states > MOST;
  const all = search(scenario, staged(), { sleep, stop, collect: ({ rule }) => rules.add(rule) });
  const first = search(scenario, staged(), { sleep, stop });
  const { violation } = first;
  return {
    endings: [...endings].sort(),
    rules: [...rules].sort(),
    found: [first.verdict, violation?.rule, violation?.message, violation?.schedule, violation?.preemptions],
    states: all.states,
    first,
    all,
  };
}

const told = ({ endings, rules, found, states }: Outcome): object => ({ endings, rules, found, states });

/** Whether the search that sleeps differs from the one that does not; undefined when that one is too large. */
function differs(seed: number): boolean | undefined {
  const awake = outcome(seed, false);
  return awake.all.verdict === 'stopped' ? undefined : JSON.stringify(told(outcome(seed, true))) !== JSON.stringify(told(awake));
}

describe('a search that puts steps to sleep', () => {
  it(`finds what the one awake finds, in the same states (seeds from ${SEED})`, () => {
    const seen = { compared: 0, circular: 0, rules: 0, awake: 0, asleep: 0 };
    // Some go round in circles, some break rules; few programs may all be of one kind.
    const isEnough = (tried: number): boolean => tried >= PROGRAMS && (Math.min(seen.rules, seen.circular) > 0 || tried > 20 * PROGRAMS);
    for (let seed = SEED; !isEnough(seed - SEED); seed++) {
      const awake = outcome(seed, false);
      if (awake.all.verdict === 'stopped') continue;
      const asleep = outcome(seed, true);
      expect({ seed, ...told(asleep) }).toEqual({ seed, ...told(awake) });
      seen.compared++;
      if (asleep.all.circular) {
        seen.circular++;
        continue;
      }
      seen.rules += awake.rules.length;
      seen.awake += awake.all.transitions;
      seen.asleep += asleep.all.transitions;
    }
    console.log(JSON.stringify(seen));
    expect(seen.compared).toBeGreaterThan(PROGRAMS / 2);
    expect(Math.min(seen.rules, seen.circular)).toBeGreaterThan(0);
    // A fifth less over many programs; how much over a few hangs on which they are.
    expect(seen.asleep).toBeLessThan((NIGHTLY ? 0.8 : 1) * seen.awake);
  });

  it('is caught when steps that depend on each other are taken to be independent', () => {
    const broken = vi.spyOn(Steps.prototype, 'independent').mockReturnValue(true);
    try {
      let caught = 0;
      for (let seed = 1; seed < 40 && caught === 0; seed++) if (differs(seed)) caught = seed;
      expect(caught).toBeGreaterThan(0);
    } finally {
      broken.mockRestore();
    }
  });
});

/** What a state is, as the search tells states apart. */
const hashOf = ({ scheduler, names }: Staged): string => wholeHash(scheduler, names.length);

/** Goes random ways, and performs what is said to be independent in both orders: how many pairs there were; throws when they are not. */
function audit(scenario: Scenario, variant: string, seed: number, ways: number): number {
  forgetOrder();
  const staged = stageOf(scenario, scenario.variants[variant], modeOf(scenario));
  const { scheduler } = staged;
  const random = randomNumbers(seed);
  staged.stage.machine.enter();
  startJournal();
  const begin = scheduler.mark();
  const steps = new Steps(staged);
  let pairs = 0;
  /** Where actions lead one after the other: the state, or the rule that is broken. */
  const lead = (...actions: readonly Action[]): string => {
    const mark = scheduler.mark();
    try {
      for (const action of actions) {
        if (scheduler.done || !scheduler.actions().includes(action)) return `${action} may not happen`;
        scheduler.step(action);
      }
      return hashOf(staged);
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
      return error.rule;
    } finally {
      scheduler.rewind(mark);
    }
  };
  const recordOf = (action: Action): number => {
    const mark = scheduler.mark();
    try {
      steps.begin(action);
      scheduler.step(action);
      return steps.end();
    } catch {
      steps.drop();
      return -1;
    } finally {
      scheduler.rewind(mark);
    }
  };
  try {
    for (let way = 0; way < ways; way++) {
      scheduler.rewind(begin);
      let last = 0;
      for (let n = 0; n < 600; n++) {
        const actions = scheduler.actions();
        if (actions.length === 0 || scheduler.done) break;
        const records = actions.map(recordOf);
        for (let i = 0; i < actions.length; i++)
          for (let j = 0; j < i; j++) {
            if (records[i] < 0 || records[j] < 0 || !steps.independent(records[i], records[j])) continue;
            pairs++;
            const [one, other] = [lead(actions[i], actions[j]), lead(actions[j], actions[i])];
            if (one !== other || one.includes('may not'))
              throw new Error(
                `${scenario.id} ${variant}, seed ${seed}: ${scheduler.describe(actions[i])} and ${scheduler.describe(actions[j])} depend on each other: ${one}, ${other}`,
              );
          }
        last = actions.includes(last) && random(4) !== 0 ? last : actions[random(actions.length)];
        try {
          scheduler.step(last);
        } catch {
          break;
        }
      }
    }
  } finally {
    scheduler.rewind(begin);
    stopJournal();
  }
  return pairs;
}

describe('plain code', () => {
  const kernel = kernelText(`
import { get, readOnce, writeOnce } from './ops.ts';
export function* looks(object, word, plain) { const t = yield* readOnce(object, word); const u = get(object, plain); yield* readOnce(object, word); return t * 2 + u; }
export function* writes(object, word, plain) { yield* writeOnce(object, plain, 1); yield* readOnce(object, word); return 0; }
`);
  const endings = (sleep: boolean): string[] => {
    const found = new Set<string>();
    const given = scenario({
      id: 'plain',
      title: 'a step that reads a word which its operation does not tell of',
      setup: ({ machine }) => machine.enter(),
      tasks: Object.fromEntries(
        ['writes', 'looks'].map((name) => [name, (): TaskSpec => task(call(kernel[name], globals, Globals.ksmRun, Globals.thpEnabled))]),
      ),
      variants: { plain: { expect: 'clean' } },
      holds: {
        told: ({ results }) => {
          found.add(Object.values(results).flat().join());
          return undefined;
        },
      },
    });
    search(given, stageOf(given, given.variants.plain, 'x86-4level'), { sleep, collect: () => {} });
    return [...found].sort();
  };

  it('is part of a step', () => {
    expect(endings(false)).toEqual(['0,0', '0,1']);
    expect(endings(true)).toEqual(['0,0', '0,1']);
  });

  it('is missed where nobody listens', () => {
    const listens = Object.getOwnPropertyDescriptor(accessLog, 'on') as PropertyDescriptor;
    Object.defineProperty(accessLog, 'on', { get: () => false, set: () => {}, configurable: true });
    try {
      expect(endings(true)).toHaveLength(1);
    } finally {
      Object.defineProperty(accessLog, 'on', listens);
    }
  });
});

describe('what is said to be independent', () => {
  it(`is, in random programs (seeds from ${SEED})`, () => {
    let pairs = 0;
    for (let seed = SEED; seed < SEED + PROGRAMS / 2; seed++)
      pairs += audit(
        programOf(seed, () => {}),
        'plain',
        seed,
        3,
      );
    expect(pairs).toBeGreaterThan(PROGRAMS);
  });

  // What fsync writes to the disk is read by plain code, of which no operation tells.
  it.each([
    ['E23', 'unflushed', 1000],
    ['R07', 'any-file', 2000],
    ['E33-truncate', 'no-mapping-check', 3000],
  ])('is, where %s reads pages that others store to', (id, variant, seed) => {
    const scenario = catalogue.find((one) => one.id === id) as Scenario;
    expect(audit(scenario, variant, seed, 12)).toBeGreaterThan(10);
  });

  it('is, in the races', () => {
    const jobs = catalogue.flatMap((scenario) => Object.keys(scenario.variants).map((variant) => ({ scenario, variant })));
    const { length } = jobs;
    const chosen = NIGHTLY ? jobs : Array.from({ length: 8 }, (_, i) => jobs[(SEED + i * 7) % length]);
    let pairs = 0;
    for (const { scenario, variant } of chosen) if (scenario.variants[variant].racy !== true) pairs += audit(scenario, variant, SEED, NIGHTLY ? 12 : 1);
    expect(pairs).toBeGreaterThan(100);
  });
});
