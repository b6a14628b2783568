/**
 * C15: which lock each page walk asserts, in every mode: walks with VMAs that of their operations, walks without VMAs the mmap lock for writing for the tables
 * of users and in any mode for those of init_mm; nothing is asserted where there is nothing to walk.
 */
import { describe, expect, test } from 'vitest';
import { KernelBug } from '../../src/kernel/bug.ts';
import type { Op } from '../../src/kernel/op.ts';
import { Scheduler } from '../../src/kernel/scheduler.ts';
import { Machine } from '../../src/machine/machine.ts';
import { EINVAL } from '../../src/mm/errno.ts';
import * as mm from '../../src/mm/index.ts';
import { allocWalkCount, WALK_COUNT, WALK_COUNT_LOCKED, WALK_PTDUMP } from '../../src/mm/mm-walk.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from '../../src/mm/mmap-lock.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';

const AT = 0x10000;
const LOCKS = ['none', 'read', 'write'] as const;
type Lock = (typeof LOCKS)[number];

/** Walks by name: over the tables of a user's mm, or of init_mm. */
const WALKS: Record<string, (at: { user: number; init: number; count: number }) => Op<number>> = {
  'walk_page_range, PGWALK_RDLOCK': ({ user, count }) => mm.walkPageRange(user, AT, AT + 2, WALK_COUNT, count),
  'walk_page_range, PGWALK_WRLOCK': ({ user, count }) => mm.walkPageRange(user, AT, AT + 2, WALK_COUNT_LOCKED, count),
  'walk_page_vma, PGWALK_RDLOCK': ({ user, count }) => mm.walkPageVma(vmaLookup(user, AT), WALK_COUNT, count),
  'walk_page_vma, PGWALK_WRLOCK': ({ user, count }) => mm.walkPageVma(vmaLookup(user, AT), WALK_COUNT_LOCKED, count),
  'walk_page_range_vma, PGWALK_WRLOCK': ({ user, count }) => mm.walkPageRangeVma(vmaLookup(user, AT), AT, AT + 2, WALK_COUNT_LOCKED, count),
  'walk_page_range_novma, user': ({ user, count }) => mm.walkPageRangeNovma(user, AT, AT + 2, WALK_PTDUMP, 0, count),
  'walk_page_range_novma, init_mm': ({ init, count }) => mm.walkPageRangeNovma(init, AT, AT + 2, WALK_PTDUMP, 0, count),
  'walk_page_range, empty': ({ user, count }) => mm.walkPageRange(user, AT, AT, WALK_COUNT_LOCKED, count),
  'walk_page_range_novma, empty': ({ user, count }) => mm.walkPageRangeNovma(user, AT, AT, WALK_PTDUMP, 0, count),
};

/** What a walk answers under a lock of its mm: 0, an errno, or the rule that it breaks. */
function answer(mode: string, name: string, lock: Lock): number | string {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20, mode });
  const process = machine.spawn();
  const page = machine.pageSize;
  process.syscall('mmap', AT * page, 2 * page, 3, 0x32, -1, 0);
  process.store(BigInt(AT * page), 4, 7n);
  machine.enter();
  const init = machine.kernel.makeInitMm();
  const at = { user: process.mm, init, count: allocWalkCount() };
  const held = name.includes('init_mm') ? init : process.mm;
  const scheduler = new Scheduler({ cpus: 1 });
  const run = function* (): Op<number> {
    if (lock === 'read') yield* mmapReadLock(held);
    if (lock === 'write') yield* mmapWriteLock(held);
    const result = yield* WALKS[name](at);
    if (lock === 'read') yield* mmapReadUnlock(held);
    if (lock === 'write') yield* mmapWriteUnlock(held);
    return result;
  };
  scheduler.spawn([{ run, args: [], name }]);
  try {
    scheduler.run((actions) => actions[0]);
    return scheduler.results[0][0];
  } catch (error) {
    if (!(error instanceof KernelBug)) throw error;
    return error.rule;
  }
}

/** By walk: what it answers without a lock, under that for reading, for writing (mm/pagewalk.c: process_mm_walk_lock, process_vma_walk_lock). */
const EXPECTED: Record<string, readonly (number | string)[]> = {
  'walk_page_range, PGWALK_RDLOCK': ['I23', 0, 0],
  'walk_page_range, PGWALK_WRLOCK': ['I23', 'I23', 0],
  'walk_page_vma, PGWALK_RDLOCK': ['I23', 0, 0],
  'walk_page_vma, PGWALK_WRLOCK': ['I23', 'I23', 0],
  'walk_page_range_vma, PGWALK_WRLOCK': ['I23', 'I23', 0],
  'walk_page_range_novma, user': ['I23', 'I23', 0],
  'walk_page_range_novma, init_mm': ['I23', 0, 0],
  'walk_page_range, empty': [-EINVAL, -EINVAL, -EINVAL],
  'walk_page_range_novma, empty': [-EINVAL, -EINVAL, -EINVAL],
};

describe.each(['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'])('%s', (mode) => {
  test.each(Object.keys(WALKS))('%s', (name) => {
    expect(LOCKS.map((lock) => answer(mode, name, lock))).toEqual(EXPECTED[name]);
  });
});
