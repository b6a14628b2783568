/**
 * The primitive operations of the direct program: the same names as in ops.ts, as plain functions.
 *
 * Invariant: the direct program runs only while no task is inside a call, so every lock is free when it starts and free again when it ends;
 * taking one leaves no trace in memory, and locks are therefore not written at all. Everything else has the effect that it has in ops.ts.
 */
import { emptyEntry, loadEntry, storeEntry } from './arch.ts';

export { add, get, set } from '../memory/heap.ts';
// Entries, without the questions that tasks are asked.
export { loadEntry as entryGet } from './arch.ts';
export {
  atomicAdd,
  clearFlags,
  cmpxchg,
  entireMapcountAdd,
  entryClearBits,
  kfree,
  kmalloc,
  kmallocNowait,
  mapcountAdd,
  mappingGet,
  mappingSet,
  readOnce,
  refAdd,
  refFreeze,
  refGetUnlessZero,
  setFlags,
  writeOnce,
} from './effects.ts';
export { allocPage, freePage } from './pages.ts';
export { callRcuFreeTable } from './rcu.ts';
export { borrowPgd, flushTlbMm, flushTlbRange, loadedAdd, loadPgd, localFlushTlbAll } from './tlb.ts';
export { userLoad, userStore } from './user.ts';

export function entrySet(at: number, level: number, entry: number): number {
  storeEntry(at, level, entry);
  return 0;
}

export function entryGetAndClear(at: number, level: number): number {
  const entry = loadEntry(at, level);
  emptyEntry(at, level);
  return entry;
}

/** Kernels of another time are explored, not run. */
export const switched = (_number: number): boolean => false;

export const spinLock = (_lock: number): number => 0;
export const spinTrylock = (_lock: number): number => 1;
export const spinUnlock = (_lock: number): number => 0;
export const downRead = (_sem: number): number => 0;
export const downReadTrylock = (_sem: number): number => 1;
export const upRead = (_sem: number): number => 0;
export const downWrite = (_sem: number): number => 0;
export const downWriteTrylock = (_sem: number): number => 1;
export const upWrite = (_sem: number): number => 0;
export const downgradeWrite = (_sem: number): number => 0;
export const folioLock = (_page: number): number => 0;
export const folioTrylock = (_page: number): number => 1;
export const folioUnlock = (_page: number): number => 0;
export const folioWaitLocked = (_page: number): number => 0;
export const vmaReadTrylock = (_vma: number, _count: number): number => 1;
export const vmaReadUnlock = (_vma: number, _count: number): number => 0;
export const localIrqDisable = (): number => 0;
export const localIrqEnable = (): number => 0;
export const syncInterrupts = (): number => 0;
export const waitFor = (_ref: number, _field: number, _value: number): number => 0;
export const rcuReadLock = (): number => 0;
export const rcuReadUnlock = (): number => 0;
