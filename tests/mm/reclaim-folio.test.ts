/** Reclaim of one page: what it takes and what it leaves. Against stores and faults: the entries E18, E23 and E30 of the catalogue. */
import { describe, expect, test } from 'vitest';
import { pageAt } from '../../src/explore/look.ts';
import type { Stage } from '../../src/explore/scenario.ts';
import { map, must, store, WINDOW } from '../../src/explore/setup.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PG_LRU, PG_SWAPBACKED } from '../../src/memory/page-flags.ts';
import { pageFlags } from '../../src/memory/state.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';

const PAGE = 4096;
const MADV_FREE = 8;

describe('lazily freed pages', () => {
  test('one at a time: discarded when clean, kept when written, left alone when not on the LRU', () => {
    const machine = new Machine({ ramBytes: 8 * 2 ** 20 });
    const stage: Stage = { machine, process: machine.spawn(), page: PAGE, tablePages: 512, notes: {} };
    const { process } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    must(process, 'madvise', WINDOW * PAGE, PAGE, MADV_FREE);
    machine.enter();
    const page = pageAt(process.ref, WINDOW);
    expect(pageFlags[page] & PG_SWAPBACKED).toBe(0);
    store(stage, WINDOW, 2);
    machine.enter();
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(0);
    expect(pageFlags[page] & (PG_SWAPBACKED | PG_LRU)).toBe(PG_SWAPBACKED | PG_LRU);
    must(process, 'madvise', WINDOW * PAGE, PAGE, MADV_FREE);
    machine.enter();
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(1);
    expect(pageAt(process.ref, WINDOW)).toBe(0);
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(0);
    expect(process.load(BigInt(WINDOW * PAGE), 4)).toBe(0n);
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });
});
