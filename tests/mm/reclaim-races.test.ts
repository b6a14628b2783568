/** Writeback, reclaim, holes and mlock against stores and faults: data that nobody may lose, and counts that must agree. */
import { describe, expect, test } from 'vitest';
import { call, type Ending, type Stage, task } from '../../src/explore/scenario.ts';
import { diskFile, map, must, store, WINDOW } from '../../src/explore/setup.ts';
import { loadEntry } from '../../src/kernel/arch.ts';
import { mmuEntry } from '../../src/kernel/mmu.ts';
import { Machine } from '../../src/machine/machine.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_DIRTY, PG_LRU, PG_MLOCKED, PG_SWAPBACKED } from '../../src/memory/page-flags.ts';
import { pageFlags, pageNext, pageOfPfn, wordShift, words } from '../../src/memory/state.ts';
import { blockState } from '../../src/mm/disk-block.ts';
import { BLOCK_UNWRITTEN } from '../../src/mm/file-types.ts';
import { pageCacheEntry } from '../../src/mm/filemap.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { ptePfn } from '../../src/mm/pgtable.ts';
import { Block, File, Mm, Process } from '../../src/mm/types.ts';
import { explored } from './support/explored.ts';

const PAGE = 4096;
const AT = WINDOW;
const MADV_FREE = 8;
const FADV_DONTNEED = 4;
/** FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE */
const PUNCH = 3;

const inodeOf = (process: number, fd: number): number => get(get(process, Process.files + fd), File.inode);
/** First word of what the disk holds of a page of a file. */
function onDisk(inode: number, index: number): number {
  const state = blockState(inode, index);
  return state <= BLOCK_UNWRITTEN ? 0 : get(state, Block.words);
}
const wordOf = (page: number): number => words[page << wordShift];
const entryOf = (mm: number, vpn: number): number => {
  const ptep = mmuEntry(get(mm, Mm.pgd), vpn);
  return ptep === 0 ? 0 : loadEntry(ptep, 0);
};

/** A disk file whose first page is mapped shared, dirty and written back, or not. */
const fileMapped =
  (pages: number) =>
  (stage: Stage): void => {
    stage.notes.fd = diskFile(stage, pages);
    map(stage, AT, pages, { fd: stage.notes.fd });
    store(stage, AT, 1);
  };

describe('writeback (E23)', () => {
  const e23 = {
    setup: fileMapped(1),
    tasks: {
      app: ({ process, page }: Stage) =>
        task(call('threadStore', process.ref, AT, 2), call('threadStore', process.ref, AT, 3), call('sysMunmap', process.ref, AT * page, page)),
      fsync: ({ process, notes }: Stage) => task(call('sysFsync', process.ref, notes.fd)),
    },
    holds: {
      lost: ({ process, notes }: Ending) => {
        const inode = inodeOf(process.ref, notes.fd);
        const page = pageCacheEntry(inode, 0);
        const known = (pageFlags[page] & PG_DIRTY) !== 0 || wordOf(page) === onDisk(inode, 0);
        return known ? undefined : `the page holds ${wordOf(page)}, the disk ${onDisk(inode, 0)}, and nobody knows that it is dirty`;
      },
    },
  };
  test('a store after the entry was cleaned is noticed, unless a CPU still writes through its old translation', () => {
    expect(explored(e23, ['mkcleanNoFlush'])).toMatch(/^lost: the page holds [23]/);
    expect(explored(e23)).toBe('clean');
  }, 120_000);
});

describe('lazily freed pages (E18)', () => {
  const lazy = (stage: Stage): void => {
    map(stage, AT, 1);
    store(stage, AT, 1);
    must(stage.process, 'madvise', AT * stage.page, stage.page, MADV_FREE);
    stage.machine.enter();
    stage.notes.page = pageOfPfn(ptePfn(entryOf(stage.process.mm, AT)));
  };
  const e18 = {
    setup: lazy,
    tasks: {
      reclaim: ({ notes }: Stage) => task(call('reclaimFolio', notes.page, 1)),
      app: ({ process }: Stage) => task(call('threadStore', process.ref, AT, 7), call('threadLoad', process.ref, AT)),
    },
    holds: { lost: ({ results: { app } }: Ending) => (app[1] === 7 ? undefined : `the thread stores 7 and loads ${app[1]}`) },
  };
  test('a page that is written again is not discarded, unless its dirty bit was looked at too early', () => {
    expect(explored(e18, ['lazyfreeDirtyFirst'])).toMatch(/^lost: the thread stores 7 and loads 0/);
    expect(explored(e18)).toBe('clean');
  }, 120_000);

  test('one page at a time is reclaimed: discarded when clean, kept when written, left alone when not on the LRU', () => {
    const machine = new Machine({ ramBytes: 8 * 2 ** 20 });
    const stage: Stage = { machine, process: machine.spawn(), page: PAGE, tablePages: 512, notes: {} };
    lazy(stage);
    const { page } = stage.notes;
    expect(pageFlags[page] & PG_SWAPBACKED).toBe(0);
    store(stage, AT, 2);
    machine.enter();
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(0);
    expect(pageFlags[page] & (PG_SWAPBACKED | PG_LRU)).toBe(PG_SWAPBACKED | PG_LRU);
    must(stage.process, 'madvise', AT * PAGE, PAGE, MADV_FREE);
    machine.enter();
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(1);
    expect(entryOf(stage.process.mm, AT)).toBe(0);
    expect(machine.kernel.reclaimFolio(page, 1)).toBe(0);
    expect(stage.process.load(BigInt(AT * PAGE), 4)).toBe(0n);
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });
});

describe('holes (E30)', () => {
  /** Two pages on the disk that nobody has cached. */
  const onDiskOnly = (stage: Stage): void => {
    fileMapped(2)(stage);
    store(stage, AT + 1, 2);
    must(stage.process, 'fsync', stage.notes.fd);
    must(stage.process, 'munmap', AT * stage.page, 2 * stage.page);
    must(stage.process, 'fadvise64', stage.notes.fd, 0, 0, FADV_DONTNEED);
    stage.machine.enter();
    map(stage, AT, 2, { fd: stage.notes.fd });
    stage.machine.enter();
    expect(pageCacheEntry(inodeOf(stage.process.ref, stage.notes.fd), 0)).toBe(0);
  };
  const e30 = {
    setup: onDiskOnly,
    machine: { settings: { faultAroundPages: 1 } },
    tasks: {
      punch: ({ process, notes, page }: Stage) => task(call('sysFallocate', process.ref, notes.fd, PUNCH, 0, page)),
      fault: ({ process }: Stage) => task(call('threadLoad', process.ref, AT)),
    },
    holds: {
      stale: ({ process, notes }: Ending) => {
        const inode = inodeOf(process.ref, notes.fd);
        const page = pageCacheEntry(inode, 0);
        return page === 0 || wordOf(page) === 0 ? undefined : `the hole reads ${wordOf(page)}`;
      },
    },
  };
  test('no page is read between its removal and that of its block', () => {
    expect(explored(e30, ['punchNoInvalidateLock'])).toMatch(/^stale: the hole reads 1/);
    expect(explored(e30)).toBe('clean');
  }, 120_000);
});

describe('mlock (E13)', () => {
  const e13 = {
    setup: (stage: Stage): void => map(stage, AT, 1),
    tasks: {
      mlock: ({ process, page }: Stage) => task(call('sysMlock', process.ref, AT * page, page)),
      fault: ({ process }: Stage) => task(call('threadStore', process.ref, AT, 1)),
    },
    holds: {
      I25: ({ process }: Ending) => {
        const page = pageOfPfn(ptePfn(entryOf(process.mm, AT)));
        return (pageFlags[page] & PG_MLOCKED) !== 0 && pageNext[page] === 1 ? undefined : `page ${page} of a locked VMA may be reclaimed`;
      },
    },
  };
  test('what a fault maps while mlock changes the flag counts, as faults wait for the VMA', () => {
    expect(explored(e13, ['mlockFlagUnlocked', 'walkNoVmaLock'])).toMatch(/^I25: page \d+ of a locked VMA/);
    // Since 6.6 the walk over the VMA asks.
    expect(explored(e13, ['mlockFlagUnlocked'])).toMatch(/^I23: VMA \d+ must be locked for writing/);
    expect(explored(e13)).toBe('clean');
  }, 120_000);
});
