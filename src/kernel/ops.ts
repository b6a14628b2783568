/**
 * The primitive operations of kernel code, as generators: every one is a point where other tasks, CPUs and hardware may act.
 * The direct program takes the functions of the same names from ops-direct.ts; the step program performs the effects by code.
 *
 * Plain field access (`get`, `set`) is no such point: it is legal only under the field's guard, which checked runs verify.
 */
import * as memory from '../memory/heap.ts';
import { heap, setSlot } from '../memory/state.ts';
import type { Field, Ref } from '../memory/struct.ts';
import * as effect from './effects.ts';
import { checkAccess, checking } from './guards.ts';
import { primitive } from './op.ts';
import * as pages from './pages.ts';
import * as rcu from './rcu.ts';
import * as tlb from './tlb.ts';
import * as user from './user.ts';

// Whether anything is checked is asked here, so that engines put the plain access where the call stands.

/** Reads a field under its guard. */
export function get<T extends string>(ref: Ref<T>, field: Field<T>): number {
  if (checking) checkAccess(ref, field, false);
  return heap[ref + field];
}

/** Writes a field under its guard. */
export function set<T extends string>(ref: Ref<T>, field: Field<T>, value: number): void {
  if (checking) checkAccess(ref, field, true);
  setSlot(ref + field, value);
}

/** Adds to a field under its guard; the new value. */
export function add<T extends string>(ref: Ref<T>, field: Field<T>, delta: number): number {
  if (checking) checkAccess(ref, field, true);
  return memory.add(ref, field, delta);
}

export { switched } from './switches.ts';

export const spinLock = primitive('spinLock', effect.spinLock, effect.spinIsFree);
export const spinTrylock = primitive('spinTrylock', effect.spinTrylock);
export const spinUnlock = primitive('spinUnlock', effect.spinUnlock);
export const downRead = primitive('downRead', effect.downRead, effect.readIsFree);
export const downReadTrylock = primitive('downReadTrylock', effect.downReadTrylock);
export const upRead = primitive('upRead', effect.upRead);
export const downWrite = primitive('downWrite', effect.downWrite, effect.writeIsFree);
export const downWriteTrylock = primitive('downWriteTrylock', effect.downWriteTrylock);
export const upWrite = primitive('upWrite', effect.upWrite);
export const downgradeWrite = primitive('downgradeWrite', effect.downgradeWrite);
export const folioLock = primitive('folioLock', effect.folioLock, effect.folioIsUnlocked);
export const folioTrylock = primitive('folioTrylock', effect.folioTrylock);
export const folioUnlock = primitive('folioUnlock', effect.folioUnlock);
export const vmaReadTrylock = primitive('vmaReadTrylock', effect.vmaReadTrylock);
export const vmaReadUnlock = primitive('vmaReadUnlock', effect.vmaReadUnlock);
export const localIrqDisable = primitive('localIrqDisable', rcu.localIrqDisable);
export const localIrqEnable = primitive('localIrqEnable', rcu.localIrqEnable);
export const readOnce = primitive('readOnce', effect.readOnce);
export const writeOnce = primitive('writeOnce', effect.writeOnce);
export const atomicAdd = primitive('atomicAdd', effect.atomicAdd);
export const cmpxchg = primitive('cmpxchg', effect.cmpxchg);
/** Waits until a shared word has a value. */
export const waitFor = primitive('waitFor', effect.readOnce, (ref: number, field: number, value?: number) => memory.get(ref, field) === value) as ((
  ref: number,
  field: number,
  value: number,
) => Generator<void, number, void>) & { readonly code: number; readonly effect: typeof effect.readOnce };
export const refAdd = primitive('refAdd', effect.refAdd);
export const refFreeze = primitive('refFreeze', effect.refFreeze);
export const refGetUnlessZero = primitive('refGetUnlessZero', effect.refGetUnlessZero);
export const mapcountAdd = primitive('mapcountAdd', effect.mapcountAdd);
export const mappingGet = primitive('mappingGet', effect.mappingGet);
export const mappingSet = primitive('mappingSet', effect.mappingSet);
export const setFlags = primitive('setFlags', effect.setFlags);
export const clearFlags = primitive('clearFlags', effect.clearFlags);
export const entryGet = primitive('entryGet', effect.entryGet);
export const entrySet = primitive('entrySet', effect.entrySet);
export const entryGetAndClear = primitive('entryGetAndClear', effect.entryGetAndClear);
export const entryClearBits = primitive('entryClearBits', effect.entryClearBits);
export const kmalloc = primitive('kmalloc', effect.kmalloc);
export const kmallocNowait = primitive('kmallocNowait', effect.kmallocNowait);
export const kfree = primitive('kfree', effect.kfree);
export const allocPage = primitive('allocPage', pages.allocPage);
export const freePage = primitive('freePage', pages.freePage);
export const flushTlbRange = primitive('flushTlbRange', tlb.flushTlbRange);
export const flushTlbMm = primitive('flushTlbMm', tlb.flushTlbMm);
export const localFlushTlbAll = primitive('localFlushTlbAll', tlb.localFlushTlbAll);
export const loadPgd = primitive('loadPgd', tlb.loadPgd);
export const borrowPgd = primitive('borrowPgd', tlb.borrowPgd);
export const loadedAdd = primitive('loadedAdd', tlb.loadedAdd);
export const rcuReadLock = primitive('rcuReadLock', rcu.rcuReadLock);
export const rcuReadUnlock = primitive('rcuReadUnlock', rcu.rcuReadUnlock);
export const callRcuFreeTable = primitive('callRcuFreeTable', rcu.callRcuFreeTable);
export const userLoad = primitive('userLoad', user.userLoad);
export const userStore = primitive('userStore', user.userStore);
export const entireMapcountAdd = primitive('entireMapcountAdd', effect.entireMapcountAdd);
/** folio_wait_locked: the wait alone. */
export const folioWaitLocked = primitive('folioWaitLocked', effect.folioWaitLocked, effect.folioIsUnlocked);
/** tlb_remove_table_sync_one: an interrupt to all CPUs, which those take that have them off as soon as they have them on. */
export const syncInterrupts = primitive('syncInterrupts', rcu.syncInterrupts, rcu.interruptsTaken);
