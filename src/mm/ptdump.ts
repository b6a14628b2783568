/**
 * Dumps of page tables (mm/ptdump.c), and counting what a range maps: the walks that look at everything and change nothing.
 *
 * Invariant: a dump asks for no VMA, so nothing keeps the tables of users but the mmap lock held for writing, and those of the kernel but the lock that
 * keeps memory from being removed.
 */
import type { Op } from '../kernel/op.ts';
import { get, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { getOnlineMems, putOnlineMems } from './init-mm.ts';
import { allocWalkCount, freeWalkCount, WALK_COUNT, WALK_PTDUMP, WalkCount } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { novmaNeedsWrite, walkPageRange, walkPageRangeNovma } from './pagewalk.ts';
import type { MmRef, Vpn } from './types.ts';

/** ptdump_walk_pgd for a range: how many of its pages are mapped. */
export function* ptdumpWalkPgd(mm: MmRef, start: Vpn, end: Vpn): Op<number> {
  const write = novmaNeedsWrite(mm);
  const online = !switched(SW.ptdumpNoHotplugLock);
  if (online) yield* getOnlineMems();
  if (write) yield* mmapWriteLock(mm);
  else yield* mmapReadLock(mm);
  const count = allocWalkCount();
  yield* walkPageRangeNovma(mm, start, end, WALK_PTDUMP, 0, count);
  const present = get(count, WalkCount.present);
  freeWalkCount(count);
  if (write) yield* mmapWriteUnlock(mm);
  else yield* mmapReadUnlock(mm);
  if (online) yield* putOnlineMems();
  return present;
}

/** How many pages of [start, end) are mapped, by the walk WALK_COUNT or WALK_COUNT_LOCKED, whose lock is held. */
export function* walkCountPresent(mm: MmRef, start: Vpn, end: Vpn, ops: number): Op<number> {
  const count = allocWalkCount();
  yield* walkPageRange(mm, start, end, ops, count);
  const present = get(count, WalkCount.present);
  freeWalkCount(count);
  return present;
}

/** The same by WALK_COUNT, taking the mmap lock for reading. */
export function* walkCountReading(mm: MmRef, start: Vpn, end: Vpn): Op<number> {
  yield* mmapReadLock(mm);
  const present = yield* walkCountPresent(mm, start, end, WALK_COUNT);
  yield* mmapReadUnlock(mm);
  return present;
}

/**
 * A walker that needs a range to stand still: it counts twice what is mapped, with VMAs locked for writing (PGWALK_WRLOCK), and returns how many
 * pages more it saw the second time. Takes the mmap lock for writing.
 */
export function* walkTwice(mm: MmRef, start: Vpn, end: Vpn, ops: number): Op<number> {
  yield* mmapWriteLock(mm);
  const before = yield* walkCountPresent(mm, start, end, ops);
  const after = yield* walkCountPresent(mm, start, end, ops);
  yield* mmapWriteUnlock(mm);
  return after - before;
}
