/**
 * Each checker can fire: for every place in the sources where a rule is found broken there is a scenario, of the catalogue or written wrong for it, in which it
 * is, and which is reported so by a check. A place that nothing reaches fails here, unless it is told why nothing can.
 */
import { describe, expect, it } from 'vitest';
import { checkVariant, type Row } from '../../src/explore/check.ts';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import { catalogue } from '../../src/races/index.ts';
import { brokenTasks } from './support/broken.ts';
import { modeOf } from './support/modes.ts';
import { found, thrown } from './support/rules.ts';

const MODE = 'x86-4level';
const options = { now: () => performance.now(), limitMs: 60_000 };

/** Messages of violations by rule. */
const fired = new Map<string, string[]>();

function note({ invariant, message }: Row): void {
  if (invariant === null || message === null) return;
  const known = fired.get(invariant);
  if (known) known.push(message);
  else fired.set(invariant, [message]);
}

/** Places that no scenario can reach, with the reason. */
const UNREACHED: readonly (readonly [text: string, why: string])[] = [
  ['is taken although it is held', 'a task that waits for a spin lock goes on only when it is free'],
  ['downgrades', 'a second line: who is not noted as the writer is found by the lock itself'],
  ['is pinned for long where it may not stay', 'a second line: such a page is not pinned for long'],
  ['no end after', 'random runs alone have a last step'],
];

describe('tasks that are written wrong', () => {
  it.each(brokenTasks().map((broken) => [broken.scenario.id, broken] as const))('%s', (_id, { rule, scenario, variant, reduce }) => {
    forgetOrder();
    const row = checkVariant(scenario, variant, MODE, { ...options, reduce });
    note(row);
    expect(row.message ?? row.result, scenario.title).toBeTruthy();
    expect(row.invariant, `${scenario.title}\n${row.message}`).toBe(rule);
  });
});

describe('the catalogue', () => {
  it('breaks the rules that it says', () => {
    forgetOrder();
    for (const scenario of catalogue) {
      for (const [name, variant] of Object.entries(scenario.variants)) {
        if (variant.expect !== 'violation') continue;
        const row = checkVariant(scenario, name, modeOf(scenario), options);
        expect(row.ok, `${scenario.id} ${name}: ${row.message ?? row.result}`).toBe(true);
        note(row);
      }
    }
  }, 600_000);
});

describe('rules', () => {
  it('are there', () => {
    // A scan that finds nothing would prove nothing.
    expect(thrown().length).toBeGreaterThan(35);
    expect(found().length).toBeGreaterThan(80);
  });

  it('fire wherever kernel code or a check of runs asks for them', () => {
    const silent = thrown().filter(({ rule, text, pattern }) => {
      if (UNREACHED.some(([part]) => text.includes(part)) || text.startsWith('no end after')) return false;
      return !(fired.get(rule) ?? []).some((message) => pattern.test(message));
    });
    expect(silent.map(({ file, rule, text }) => `${file}: ${rule}: ${text}`)).toEqual([]);
  });

  it('fire at the end of runs: each invariant of a machine at rest', () => {
    const rules = [...new Set(found().map(({ rule }) => rule))].sort();
    const messages = [...fired].flatMap(([rule, list]) => list.map((message) => (rule === 'machine' ? message : `${rule}: ${message}`)));
    const sites = found();
    const reached = new Set(
      sites.filter(({ rule, pattern }) => messages.some((message) => message.includes(`${rule}: `) && pattern.test(message))).map(({ rule }) => rule),
    );
    expect(rules.filter((rule) => !reached.has(rule))).toEqual([]);
  });

  it('that nothing reaches are still there', () => {
    const texts = thrown().map(({ text }) => text);
    for (const [part] of UNREACHED)
      expect(
        texts.some((text) => text.includes(part)),
        part,
      ).toBe(true);
  });
});
