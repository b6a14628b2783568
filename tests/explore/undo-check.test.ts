/**
 * Undo is checked: scenarios of the catalogue and small programs keep all that they are in the machine's memory, in four modes; and whatever is written to keep
 * something elsewhere is found, with the task and the operation named.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadScenarios } from '../../src/explore/node/load.ts';
import { call, type Scenario, scenario, task } from '../../src/explore/scenario.ts';
import { type UndoReport, undoCheck } from '../../src/explore/undo-check.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import * as state from '../../src/memory/state.ts';
import { catalogue } from '../../src/races/index.ts';
import { kernelText } from './kernel-text.ts';
import { smallProgram } from './support/small-programs.ts';

const SEED = Number(process.env.PXD_SEED ?? 20_260);
const NIGHTLY = process.env.PXD_NIGHTLY === '1';
const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'];
/** Rows of the catalogue that are checked in each mode, and steps of each. */
const ROWS = 3;
const STEPS = 120;

const folder = mkdtempSync(join(tmpdir(), 'pxd-undo-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What is wrong, in one line; '' for nothing. */
const told = ({ id, variant, seed, fault }: UndoReport): string => (fault === null ? '' : `${id} ${variant}, seed ${seed}: ${fault.kind}: ${fault.message}`);

/** Rows that make sense in a mode: all of them by night, else some that the seed chooses. */
function rowsOf(mode: string): (readonly [Scenario, string])[] {
  const all = catalogue
    .filter((one) => one.modes?.(mode) !== false)
    .flatMap((one) => Object.keys(one.variants).map((variant): [Scenario, string] => [one, variant]));
  if (NIGHTLY) return all;
  const random = randomNumbers(SEED + MODES.indexOf(mode));
  return Array.from({ length: ROWS }, () => all.splice(random(all.length), 1)[0]);
}

describe(`steps are undone and done again (seed ${SEED})`, () => {
  it.each(MODES)('those of the catalogue, in %s', { timeout: 3_600_000 }, (mode) => {
    console.log(`PXD_SEED=${SEED}`);
    for (const [one, variant] of rowsOf(mode)) {
      const report = undoCheck(one, variant, mode, { seed: SEED, steps: NIGHTLY ? 500 : STEPS });
      expect(told(report)).toBe('');
      expect(report.steps).toBeGreaterThan(50);
      expect(report.states).toBeGreaterThan(15);
    }
  });

  it('those of small programs', () => {
    for (let seed = SEED; seed < SEED + (NIGHTLY ? 200 : 4); seed++) {
      const report = undoCheck(smallProgram(seed), 'plain', MODES[seed % MODES.length], { seed, steps: STEPS });
      expect(told(report)).toBe('');
      expect(report.states).toBeGreaterThan(2);
    }
  });

  it('and are the same for the same seed', () => {
    const reports = [1, 1, 2].map((seed) => undoCheck(smallProgram(SEED), 'plain', MODES[0], { seed, steps: 40 }));
    expect(reports[1]).toEqual(reports[0]);
    expect({ ...reports[2], seed: 1 }).not.toEqual(reports[0]);
  });

  it('nothing of the check is left in the host', () => {
    const before = [Date, Date.now, Math.random, performance.now, crypto.randomUUID];
    undoCheck(smallProgram(SEED), 'plain', MODES[0], { steps: 5 });
    expect([Date, Date.now, Math.random, performance.now, crypto.randomUUID]).toEqual(before);
    expect(Object.hasOwn(performance, 'now')).toBe(false);
  });
});

/** A file with a scenario of two tasks, `writer` and `reader`, over one object. */
const file = (helper: string, writer: string, reader: string, extra = '', setup = ''): string => `
import { call, scenario, task } from 'pxd/explore';
import { type Op, alloc, atomicAdd, defineStruct, get, readOnce, writeOnce } from 'pxd/explore/kernel';
const Box = defineStruct('undoBox', { value: 'number', other: 'number' });
${helper}
function* write(box: number): Op<number> { ${writer} return 0; }
function* read(box: number): Op<number> { ${reader} }
export default scenario({
  id: 'wrong', title: 'keeps something elsewhere',
  setup: ({ notes }) => { notes.box = alloc(Box); ${setup} },
  roots: ({ notes }) => [notes.box],
  tasks: { writer: ({ notes }) => task(call(write, notes.box)), reader: ({ notes }) => task(call(read, notes.box)) },
  variants: { only: { expect: 'clean' } },
  ${extra}
});`;

const WRITE = 'yield* writeOnce(box, Box.value, 1); yield* writeOnce(box, Box.value, 2);';
const READ = 'yield* readOnce(box, Box.value); return yield* readOnce(box, Box.other);';

describe('what is kept outside of the machine’s memory is found', () => {
  const cases: readonly (readonly [what: string, kind: string, message: RegExp, text: string])[] = [
    ['nothing (it is clean)', '', /^$/, file('', WRITE, READ)],
    [
      'a variable that counts',
      'redo',
      /^task writer in write\(\d+\), at readOnce\(\d+, 1\), leads to writeOnce\(\d+, 1, \d+\) instead of writeOnce\(\d+, 1, \d+\) when undone and done again: .* outside/,
      file('let count = 0;\nconst next = (): number => ++count;', 'yield* readOnce(box, Box.value); yield* writeOnce(box, Box.value, next());', READ),
    ],
    [
      'a variable of the file that one task sets and the other reads',
      'redo',
      /^task reader in read\(\d+\), at readOnce\(\d+, 2\), leads to its end with [01] instead of its end with [01] from the same state after another history/,
      file(
        'let seen = 0;\nconst see = (): number => { seen = 1; return 0; };\nconst saw = (): number => seen;',
        'yield* writeOnce(box, Box.value, 0); see();',
        'yield* readOnce(box, Box.other); return saw();',
      ),
    ],
    [
      'the time, Date.now()',
      'host',
      /^task reader in read\(\d+\), at readOnce\(\d+, 1\), asks Date\.now\(\)/,
      file('const stamp = (): number => Date.now() * 0;', WRITE, 'yield* readOnce(box, Box.value); return stamp();'),
    ],
    [
      'the time, new Date()',
      'host',
      /^task writer in write\(\d+\), at its beginning, asks new Date\(\)/,
      file('const stamp = (): number => new Date().getTime() % 2;', 'yield* writeOnce(box, Box.value, stamp());', READ),
    ],
    [
      'the time, performance.now()',
      'host',
      /^task reader in read\(\d+\), at readOnce\(\d+, 1\), asks performance\.now\(\)/,
      file('const stamp = (): number => performance.now();', WRITE, 'yield* readOnce(box, Box.value); return stamp();'),
    ],
    [
      'the time, by a clock that was taken away before',
      'redo',
      /^task reader in read\(\d+\), at readOnce\(\d+, 1\), leads to its end with [\d.]+ instead of its end with [\d.]+ when (undone and done again|the same was done later)/,
      file('const clock = Date.now;', WRITE, 'yield* readOnce(box, Box.value); return clock();'),
    ],
    [
      'a die, Math.random()',
      'host',
      /^task writer in write\(\d+\), at writeOnce\(\d+, 1, 1\), asks Math\.random\(\)/,
      file('const die = (): number => Math.random();', 'yield* writeOnce(box, Box.value, 1); yield* writeOnce(box, Box.value, die());', READ),
    ],
    [
      'a die, by another name',
      'redo',
      /^task writer in write\(\d+\), at writeOnce\(\d+, 1, 1\), leads to writeOnce.* instead of writeOnce/,
      file('const die = Math.random;', 'yield* writeOnce(box, Box.value, 1); yield* writeOnce(box, Box.value, die());', READ),
    ],
    [
      'what a check of the end counts',
      'redo',
      /^task (reader|writer) in .*, leads to the end with few: run \d+ instead of the end with few: run \d+ when undone and done again/,
      file('let ends = 0;', WRITE, READ, "holds: { few: () => 'run ' + ++ends },"),
    ],
    [
      'a check after every step that asks a clock',
      'host',
      /^task \w+ in .* asks Date\.now\(\)/,
      file('', WRITE, READ, 'always: { soon: () => (Date.now() ? undefined : "late") },'),
    ],
    ['a setup that throws dice', 'setup', /^setup of wrong asks Math\.random\(\)/, file('', WRITE, READ, '', 'notes.die = Math.random();')],
    [
      'a setup that counts',
      'setup',
      /^set up twice, wrong is not the same: notes are .*"times":(\d+)\}, they were .*"times":(?!\1)\d+\}/,
      file('let times = 0;', WRITE, READ, '', 'notes.times = ++times;'),
    ],
    [
      'a task that throws',
      'exception',
      /^task reader in read\(\d+\), at readOnce\(\d+, 1\), throws: no luck/,
      file('const fail = (): number => { throw new Error("no luck"); };', WRITE, 'yield* readOnce(box, Box.value); return fail();'),
    ],
  ];
  let n = 0;
  it.each(cases)('%s', async (_what, kind, message, text) => {
    const path = join(folder, `wrong${n++}.ts`);
    writeFileSync(path, text);
    const [one] = await loadScenarios(path);
    const { fault } = undoCheck(one, 'only', 's390x', { steps: 60 });
    expect([fault?.kind ?? '', fault?.message ?? '']).toEqual([kind, expect.stringMatching(message)]);
    expect(fault?.message ?? '').not.toContain('\n');
    if (fault && kind !== 'setup') expect(fault.message).toContain(`task ${fault.task} `);
  });

  it('a word that is written past the journal', () => {
    const poke = { poke: (slot: number) => void (state.heap[slot] = 7) };
    const { write } = kernelText(
      "import { readOnce } from './ops.ts';\nimport { poke } from './poke.ts';\nexport function* write(slot) { yield* readOnce(slot, 0); poke(slot); yield* readOnce(slot, 0); return 0; }",
      { './poke.ts': poke },
    );
    const one = scenario({
      id: 'poke',
      title: 'writes past the journal',
      setup: ({ notes, process }) => {
        notes.slot = process.ref + 1;
      },
      tasks: { poker: ({ notes }) => task(call(write, notes.slot)) },
      variants: { only: { expect: 'clean' } },
    });
    const { fault } = undoCheck(one, 'only', 'x86-4level');
    expect(fault?.kind).toBe('undo');
    expect(fault?.message).toMatch(
      /^task poker in write\(\d+\), at readOnce\(\d+\), when undone, leaves other bytes: process\.\w+ of object \d+ is 7, it was \d+/,
    );
  });
});
