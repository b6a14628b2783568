/** Reclaim of one page: what it takes and what it leaves. Against stores and faults: the entries E18, E23 and E30 of the catalogue. */
import { describe, expect, test } from 'vitest';
import { pageAt } from '../../src/explore/look.ts';
import { call, type Stage, task } from '../../src/explore/scenario.ts';
import { map, must, store, WINDOW } from '../../src/explore/setup.ts';
import { Machine } from '../../src/machine/machine.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { compoundPages } from '../../src/memory/folio.ts';
import { PG_LRU, PG_SWAPBACKED } from '../../src/memory/page-flags.ts';
import { pageFlags } from '../../src/memory/state.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { explored } from './support/explored.ts';

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

describe('a folio of four pages, every schedule', () => {
  /** The first page holds 1, the others zeroes. */
  const folio = (stage: Stage): void => {
    thpSetting('/sys/kernel/mm/transparent_hugepage/hugepages-16kB/enabled')?.write('always');
    thpSetting('/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none')?.write('0');
    map(stage, WINDOW, 4);
    store(stage, WINDOW, 1);
    stage.notes.page = pageAt(stage.process.ref, WINDOW);
    expect(compoundPages(stage.notes.page)).toBe(4);
  };
  const kept = {
    'own store': ({ results }: { results: Readonly<Record<string, readonly number[]>> }) =>
      results.thread[1] === 7 ? undefined : `the thread stores 7 and loads ${results.thread[1]}`,
  };
  const thread = (vpn: number) => (stage: Stage) => task(call('threadStore', stage.process.ref, vpn, 7), call('threadLoad', stage.process.ref, vpn));

  test('discarded after MADV_FREE while a thread writes to it', () => {
    const setup = (stage: Stage): void => {
      folio(stage);
      must(stage.process, 'madvise', WINDOW * PAGE, 4 * PAGE, MADV_FREE);
    };
    const reclaim = ({ notes }: Stage) => task(call('reclaimFolio', notes.page, 1));
    expect(explored({ setup, tasks: { reclaim, thread: thread(WINDOW + 1) }, holds: kept }, [], { bound: 2 })).toBe('clean');
  });

  test('split, its pages of zeroes exchanged for the zero page, while a thread writes to one', () => {
    const reclaim = ({ notes }: Stage) => task(call('reclaimFolio', notes.page, 1));
    expect(explored({ setup: folio, tasks: { reclaim, thread: thread(WINDOW + 2) }, holds: kept }, [], { bound: 2 })).toBe('clean');
  });

  test('split because memory is short while a thread writes to it, another unmaps a part', () => {
    const setup = (stage: Stage): void => {
      folio(stage);
      must(stage.process, 'munmap', (WINDOW + 3) * PAGE, PAGE);
    };
    const shrink = () => task(call('deferredSplitScan', 10));
    const unmap = ({ process }: Stage) => task(call('sysMunmap', process.ref, WINDOW * PAGE, PAGE));
    expect(explored({ setup, tasks: { shrink, thread: thread(WINDOW + 2), unmap }, holds: kept }, [], { bound: 1 })).toBe('clean');
    expect(explored({ setup, tasks: { shrink, other: shrink } }, [], { bound: 1 })).toBe('clean');
  });
});
