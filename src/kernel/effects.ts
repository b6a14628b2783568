/**
 * What the primitive operations do: the visible operations of kernel code, each one indivisible step.
 *
 * Invariants: an effect touches only typed memory; it never waits (whether it may run is told by the conditions of ops.ts).
 * A lock is named by a number: a heap slot, or the negated page of the table that it lives in (split page-table locks). While a task is
 * running (task.ts) its locks are noted, and misuse throws a KernelBug.
 */
import { addEntireMapcount, addPageMapcounts, nextPage, pageFolio } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { PG_HUGETLB, PG_LOCKED, PG_TAIL } from '../memory/page-flags.ts';
import {
  allocObject,
  freeObject,
  heap,
  pageFlags,
  pageMapping,
  pagePrivate,
  pageRefcount,
  setPageFlags,
  setPageMapping,
  setPagePrivate,
  setPageRefcount,
  setSlot,
} from '../memory/state.ts';
import { layouts } from '../memory/struct.ts';
import { emptyEntry, loadEntry, pageOfEntry, storeEntry } from './arch.ts';
import { KernelBug } from './bug.ts';
import { current } from './current.ts';
import { checkInUse } from './lifetimes.ts';
import { acquired, downgraded, HELD_FOLIO, HELD_READ, HELD_SPIN, HELD_VMA, HELD_WRITE, holdersOf, lockName, released } from './lockdep.ts';
import { SW, switched } from './switches.ts';
import { tableLock } from './table-lock.ts';
import { running } from './task.ts';
import { checkEntryAccess, checkTable } from './tlb.ts';
import { entriesAreTorn, loadTorn } from './torn.ts';

// --- locks ------------------------------------------------------------------------------------------------------------------

/** Owner of a spin lock (task + 1), 0 when free. */
const ownerOf = (lock: number): number => (lock > 0 ? heap[lock] : pagePrivate[-lock]);

function setOwner(lock: number, owner: number): void {
  if (lock > 0) setSlot(lock, owner);
  else setPagePrivate(-lock, owner);
}

export const spinIsFree = (lock: number): boolean => ownerOf(lock) === 0;

export function spinLock(lock: number): number {
  if (running !== 0 && lock < 0) checkTable(-lock, 'takes the lock of');
  if (ownerOf(lock) !== 0) throw new KernelBug('I23', `${lockName(lock, HELD_SPIN)} is taken although it is held`);
  setOwner(lock, current + 1);
  acquired(lock, HELD_SPIN);
  return 0;
}

export function spinTrylock(lock: number): number {
  if (ownerOf(lock) !== 0) return 0;
  setOwner(lock, current + 1);
  acquired(lock, HELD_SPIN);
  return 1;
}

export function spinUnlock(lock: number): number {
  if (ownerOf(lock) !== current + 1) throw new KernelBug('I23', `${lockName(lock, HELD_SPIN)} is released by task ${current}, who does not hold it`);
  setOwner(lock, 0);
  released(lock, HELD_SPIN);
  return 0;
}

/** rw_semaphore: slot = writer (task + 1), slot + 1 = readers. */
export const readIsFree = (sem: number): boolean => heap[sem] === 0;
export const writeIsFree = (sem: number): boolean => heap[sem] === 0 && heap[sem + 1] === 0;

export function downRead(sem: number): number {
  setSlot(sem + 1, heap[sem + 1] + 1);
  acquired(sem, HELD_READ);
  return 0;
}

export function downReadTrylock(sem: number): number {
  if (heap[sem] !== 0) return 0;
  return downRead(sem) + 1;
}

export function upRead(sem: number): number {
  if (heap[sem + 1] <= 0) throw new KernelBug('I23', `${lockName(sem, HELD_READ)} is released for reading although nobody reads`);
  setSlot(sem + 1, heap[sem + 1] - 1);
  released(sem, HELD_READ);
  return 0;
}

export function downWrite(sem: number): number {
  setSlot(sem, current + 1);
  acquired(sem, HELD_WRITE);
  return 0;
}

export function downWriteTrylock(sem: number): number {
  if (heap[sem] !== 0 || heap[sem + 1] !== 0) return 0;
  return downWrite(sem) + 1;
}

export function upWrite(sem: number): number {
  checkWriter(sem);
  setSlot(sem, 0);
  released(sem, HELD_WRITE);
  return 0;
}

function checkWriter(sem: number): void {
  if (heap[sem] === current + 1) return;
  throw new KernelBug(
    'I23',
    `${lockName(sem, HELD_WRITE)} is released for writing by task ${current}, who does not hold it; ${holdersOf(sem, HELD_WRITE)} does`,
  );
}

export function downgradeWrite(sem: number): number {
  checkWriter(sem);
  setSlot(sem, 0);
  setSlot(sem + 1, heap[sem + 1] + 1);
  downgraded(sem);
  return 0;
}

/** folio_lock: the PG_locked bit. */
export const folioIsUnlocked = (page: number): boolean => (pageFlags[page] & PG_LOCKED) === 0;

export function folioLock(page: number): number {
  setPageFlags(page, pageFlags[page] | PG_LOCKED);
  acquired(page, HELD_FOLIO);
  return 0;
}

/** A wait for the lock of a folio, which is not taken. */
export const folioWaitLocked = (_page: number): number => 0;

export function folioTrylock(page: number): number {
  if (!folioIsUnlocked(page)) return 0;
  return folioLock(page) + 1;
}

export function folioUnlock(page: number): number {
  setPageFlags(page, pageFlags[page] & ~PG_LOCKED);
  released(page, HELD_FOLIO);
  return 0;
}

/** vma_start_read's reference: takes a reader's share of a VMA that is attached (slot `count`); 1 when taken. */
export function vmaReadTrylock(vma: number, count: number): number {
  if (heap[vma + count] <= 0 && !switched(SW.vmaDetachedTaken)) return 0;
  setSlot(vma + count, heap[vma + count] + 1);
  acquired(vma, HELD_VMA);
  return 1;
}

/** vma_refcount_put: gives it back. */
export function vmaReadUnlock(vma: number, count: number): number {
  const value = heap[vma + count] - 1;
  if (value < 0) throw new KernelBug('I23', `VMA ${vma} is released for reading although nobody reads`);
  setSlot(vma + count, value);
  released(vma, HELD_VMA);
  return 0;
}

// --- shared words -----------------------------------------------------------------------------------------------------------

/** READ_ONCE of a field that no lock guards. */
export const readOnce = (ref: number, field: number): number => get(ref, field);

/** WRITE_ONCE. */
export function writeOnce(ref: number, field: number, value: number): number {
  setSlot(ref + field, value);
  return 0;
}

/** Atomic addition; the new value. */
export function atomicAdd(ref: number, field: number, delta: number): number {
  const value = heap[ref + field] + delta;
  setSlot(ref + field, value);
  return value;
}

/** cmpxchg: writes when the old value is as expected; the old value. */
export function cmpxchg(ref: number, field: number, expected: number, value: number): number {
  const old = heap[ref + field];
  if (old === expected) setSlot(ref + field, value);
  return old;
}

/** Changes a folio's reference count; the new value. */
export function refAdd(page: number, delta: number): number {
  if ((pageFlags[page] & PG_TAIL) !== 0) throw new KernelBug('I1', `page ${page} is a tail: the references are its folio's`);
  const value = pageRefcount[page] + delta;
  if (value < 0) throw new KernelBug('I1', `page ${page}: reference count falls below zero`);
  // What lies in a pool of hugetlb has no references either (folio_ref_unfreeze), and leaves it under the pool's lock.
  if (running !== 0 && delta > 0 && value === delta && (pageFlags[page] & PG_HUGETLB) === 0)
    throw new KernelBug('I1', `task ${current} takes a reference to page ${page}, which is free`);
  setPageRefcount(page, value);
  return value;
}

/** folio_try_get: takes a reference unless the page is being freed; 1 when taken. */
export function refGetUnlessZero(page: number, refs = 1): number {
  if (pageRefcount[page] === 0) return 0;
  setPageRefcount(page, pageRefcount[page] + (refs || 1));
  return 1;
}

/** folio_ref_freeze: nobody can take a reference any longer, if exactly so many are held; 1 when it is so. */
export function refFreeze(page: number, expected: number): number {
  if (pageRefcount[page] !== expected) return 0;
  setPageRefcount(page, 0);
  return 1;
}

/**
 * Changes the mapcounts of `count` pages of one folio from one on (0 stands for 1), by entries of an address space; the new value of the first. Linux changes them
 * one by one, and the large mapcount of the folio before them: who looks at them without the entries' lock may be told neither.
 */
export function mapcountAdd(page: number, delta: number, count = 1, mm = 0): number {
  if (running !== 0 && pageRefcount[pageFolio(page)] === 0) throw new KernelBug('I1', `task ${current} maps page ${page}, which is free`);
  const value = addPageMapcounts(page, delta, count || 1, mm);
  if (value < 0) throw new KernelBug('I1', `page ${page}: mapcount falls below zero`);
  return value;
}

/** Changes how often a folio is mapped as a whole, by one entry above the lowest level of an address space; the new value. */
export function entireMapcountAdd(folio: number, delta: number, mm = 0): number {
  if (running !== 0 && pageRefcount[folio] === 0) throw new KernelBug('I1', `task ${current} maps folio ${folio}, which is free`);
  const value = addEntireMapcount(folio, delta, mm);
  if (value < 0) throw new KernelBug('I1', `folio ${folio}: mapcount of the whole falls below zero`);
  return value;
}

/** READ_ONCE(folio->mapping). */
export const mappingGet = (page: number): number => pageMapping[page];

/** WRITE_ONCE(folio->mapping), where readers without a lock may look. */
export function mappingSet(page: number, mapping: number): number {
  setPageMapping(page, mapping);
  return 0;
}

/**
 * Sets flags of a page; the flags before but for PG_locked, which is asked for by folioTrylock alone. With `count` the same flags of as many pages of
 * one folio.
 */
export function setFlags(page: number, bits: number, count = 1): number {
  checkInUse(page, 'sets flags of');
  const old = pageFlags[page];
  if ((old & bits) !== bits) setPageFlags(page, old | bits);
  if (count > 1) changeFlagsBehind(page, bits, 0, count);
  return old & ~PG_LOCKED;
}

/** Clears flags of a page; the flags before but for PG_locked. With `count` those of as many pages of one folio. */
export function clearFlags(page: number, bits: number, count = 1): number {
  checkInUse(page, 'clears flags of');
  const old = pageFlags[page];
  if ((old & bits) !== 0) setPageFlags(page, old & ~bits);
  if (count > 1) changeFlagsBehind(page, 0, bits, count);
  return old & ~PG_LOCKED;
}

// Apart, as the functions before are called for small pages nearly always: engines put them where they are called.
function changeFlagsBehind(page: number, set: number, clear: number, count: number): void {
  for (let i = 1; i < count; i++) {
    const part = nextPage(page, i);
    const flags = (pageFlags[part] | set) & ~clear;
    if (flags !== pageFlags[part]) setPageFlags(part, flags);
  }
}

// --- entries ----------------------------------------------------------------------------------------------------------------

/** ptep_get, pmdp_get …: one read of an entry, canonical. */
export function entryGet(at: number, level: number): number {
  if (running === 0) return loadEntry(at, level);
  checkEntryAccess(at, level);
  return entriesAreTorn(level) ? loadTorn(at, level) : loadEntry(at, level);
}

/** set_pte_at and its kin. */
export function entrySet(at: number, level: number, entry: number): number {
  if (running !== 0) checkEntryChange(at, level);
  storeEntry(at, level, entry);
  return 0;
}

/** Entries of the lowest level change under their table's lock. */
function checkEntryChange(at: number, level: number): void {
  checkEntryAccess(at, level);
  const table = pageOfEntry(at, level);
  if (level === 0 && ownerOf(tableLock(table)) !== current + 1)
    throw new KernelBug(
      'I23',
      `task ${current} changes an entry of page table ${table} without its lock, which ${holdersOf(tableLock(table), HELD_SPIN)} holds`,
    );
}

/** ptep_get_and_clear: reads and empties in one step, so that no accessed or dirty bit is lost. */
export function entryGetAndClear(at: number, level: number): number {
  if (running !== 0) checkEntryChange(at, level);
  const entry = loadEntry(at, level);
  emptyEntry(at, level);
  return entry;
}

/** ptep_test_and_clear_young and its kin: takes bits off a present entry in one step, and puts others to it (pmdp_invalidate); the entry before. */
export function entryClearBits(at: number, level: number, bits: number, more = 0): number {
  if (running !== 0) checkEntryChange(at, level);
  const entry = loadEntry(at, level);
  const kept = entry - (entry & bits);
  const now = kept + (more & ~(kept & 0xfffff));
  if (now !== entry) storeEntry(at, level, now);
  return entry;
}

// --- allocation -------------------------------------------------------------------------------------------------------------

/** kmem_cache_alloc of a struct, zeroed; 0 when it fails. May sleep. */
export function kmalloc(type: number): number {
  if (allocationFails()) return 0;
  return allocObject(type, layouts[type].size);
}

/** The same with GFP_NOWAIT, under spin locks. */
export const kmallocNowait = (type: number): number => kmalloc(type);

/** kfree, kmem_cache_free. */
/** @throws {KernelBug} I19 when it is no object of the type (any longer) */
export function kfree(type: number, ref: number): number {
  if (running !== 0 && heap[ref] !== type)
    throw new KernelBug('I19', `task ${current} frees ${layouts[type].name} ${ref}, which ${heap[ref] === -type ? 'was freed before' : 'is none'}`);
  const { size, stays } = layouts[type];
  const readers = stays === 0 ? 0 : heap[ref + stays];
  freeObject(ref, size);
  if (readers !== 0) setSlot(ref + stays, readers);
  return 0;
}

/** Fault injection: counts down to the allocation that fails, or up to −1, from where on all do (Globals.failAllocation). */
export function allocationFails(): boolean {
  const left = heap[failSlot];
  if (left === 0) return false;
  const fails = left === 1 || left === -1;
  if (left !== -1) setSlot(failSlot, left - Math.sign(left));
  if (fails) failed?.();
  return fails;
}

/** Has `told` called at each allocation that fails, by whoever asks for it; undefined: no longer. */
export const watchFailures = (told: (() => void) | undefined): void => {
  failed = told;
};
let failed: (() => void) | undefined;

/** Slot of that counter while it counts, 0 otherwise. */
export const armedFailures = (): number => (heap[failSlot] === 0 ? 0 : failSlot);

/** Slot of the counter of fault injection. */
let failSlot = 0;
export const injectFailuresThrough = (slot: number): void => {
  failSlot = slot;
};
