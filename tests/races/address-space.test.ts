/** Faults, zaps and reclaim against changes of an address space (E01 … E18, guard regions, PAGEMAP_SCAN): what breaks is found within its preemptions, what holds is exhausted. */
import { describe, expect, test } from 'vitest';
import { checkVariant } from '../../src/explore/check.ts';
import { map, store, WINDOW } from '../../src/explore/setup.ts';
import { Machine } from '../../src/machine/machine.ts';
import { catalogue } from '../../src/races/index.ts';

const MODE = 'ppc-8xx-4k';
const MINE = /^(E0[1245-9]|E1[1-48]|guard-install|pagemap-scan)/;
const entries = catalogue.filter(({ id }) => MINE.test(id));

test('all of them are in the catalogue', () => expect(entries.length).toBeGreaterThanOrEqual(19));

describe.each(entries)('$id', (entry) => {
  test.each(Object.keys(entry.variants))(
    '%s',
    (name) => {
      const { expect: expected, preemptions = Infinity } = entry.variants[name];
      const row = checkVariant(entry, name, MODE, { now: () => performance.now() });
      expect(row).toMatchObject({ ok: true, result: expected });
      if (expected === 'violation') expect(row.preemptions).toBeLessThanOrEqual(preemptions);
    },
    120_000,
  );
});

test('a scan of a task tells the pages that are there', () => {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20 });
  const stage = { machine, process: machine.spawn(), page: machine.pageSize, tablePages: 512, notes: {} };
  map(stage, WINDOW, 4);
  store(stage, WINDOW + 1, 1);
  store(stage, WINDOW + 3, 1);
  machine.enter();
  // PAGE_IS_PRESENT; and pages 1 to 3 alone.
  expect(machine.kernel.threadScan(stage.process.ref, WINDOW, 5, 8)).toBe(0b1010);
  expect(machine.kernel.threadScan(stage.process.ref, WINDOW + 1, 3, 8)).toBe(0b101);
});
