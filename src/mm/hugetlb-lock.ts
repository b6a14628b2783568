/**
 * Locks of hugetlb: the lock of a VMA's tables (hugetlb_vma_lock_read and its kin) and the mutexes of faults (hugetlb_fault_mutex_table).
 *
 * Invariants: order is fault mutex → lock of the VMA → i_mmap_rwsem → table lock. A shared mapping has a lock of its own, of which each VMA has one; a private one
 * uses that of its map of reservations, which keeps faults out while MADV_DONTNEED gives a page and its reservation back. A child's private
 * mapping has none.
 */
import { assertHeld, HELD_READ, HELD_WRITE } from '../kernel/lockdep.ts';
import type { Op } from '../kernel/op.ts';
import {
  atomicAdd,
  downRead,
  downWrite,
  downWriteTrylock,
  get,
  kfree,
  kmalloc,
  rcuReadLock,
  rcuReadUnlock,
  set,
  switched,
  upRead,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { ENOMEM } from './errno.ts';
import { hugetlb } from './hugetlb-pool.ts';
import { privateRef, resvMapPut, vmaPrivateLock } from './hugetlb-resv.ts';
import { FAULT_MUTEXES, FaultMutex, Hugetlb, HugetlbVmaLock, ResvMap } from './hugetlb-types.ts';
import { Inode, type InodeRef, Vma, type VmaRef } from './types.ts';
import { VM_MAYSHARE } from './vm-flags.ts';

/** hugetlb_fault_mutex_hash, and the mutex: of a huge page of a file. */
export const faultMutex = (inode: InodeRef, index: number): number =>
  get(hugetlb(), Hugetlb.mutexes + ((get(inode, Inode.number) * 5 + index) % FAULT_MUTEXES)) + FaultMutex.mutex;

/** __vma_shareable_lock: a shared mapping that has a lock. */
export const vmaShareableLock = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_MAYSHARE) !== 0 && privateRef(vma) !== 0;

/** The rw_semaphore of a VMA, 0 where it has none. */
function vmaSemaphore(vma: VmaRef): number {
  if (vmaShareableLock(vma)) return privateRef(vma) + HugetlbVmaLock.rwSema;
  return vmaPrivateLock(vma) ? privateRef(vma) + ResvMap.rwSema : 0;
}

export function* hugetlbVmaLockRead(vma: VmaRef): Op<number> {
  const sem = vmaSemaphore(vma);
  return sem === 0 ? 0 : yield* downRead(sem);
}

export function* hugetlbVmaUnlockRead(vma: VmaRef): Op<number> {
  const sem = vmaSemaphore(vma);
  return sem === 0 ? 0 : yield* upRead(sem);
}

export function* hugetlbVmaLockWrite(vma: VmaRef): Op<number> {
  const sem = vmaSemaphore(vma);
  return sem === 0 ? 0 : yield* downWrite(sem);
}

/** hugetlb_vma_trylock_write: 1 where there is no lock, too. */
export function* hugetlbVmaTrylockWrite(vma: VmaRef): Op<number> {
  const sem = vmaSemaphore(vma);
  return sem === 0 ? 1 : yield* downWriteTrylock(sem);
}

export function* hugetlbVmaUnlockWrite(vma: VmaRef): Op<number> {
  const sem = vmaSemaphore(vma);
  return sem === 0 ? 0 : yield* upWrite(sem);
}

/** hugetlb_vma_assert_locked. @throws {KernelBug} I23 */
export function assertVmaLocked(vma: VmaRef): void {
  const sem = vmaSemaphore(vma);
  if (sem !== 0) assertHeld(sem, HELD_READ, HELD_WRITE);
}

/** vma_pgtable_walk_begin of a hugetlb VMA: what keeps its tables while somebody walks who is no fault. */
export function* hugetlbWalkBegin(vma: VmaRef): Op<number> {
  if (switched(SW.hugetlbWalkRcu)) return yield* rcuReadLock();
  return switched(SW.hugetlbWalkUnlocked) ? 0 : yield* hugetlbVmaLockRead(vma);
}

/** vma_pgtable_walk_end. */
export function* hugetlbWalkEnd(vma: VmaRef): Op<number> {
  if (switched(SW.hugetlbWalkRcu)) return yield* rcuReadUnlock();
  return switched(SW.hugetlbWalkUnlocked) ? 0 : yield* hugetlbVmaUnlockRead(vma);
}

/** hugetlb_vma_lock_alloc: gives a shared mapping its lock. 0 or −ENOMEM. */
export function* hugetlbVmaLockAlloc(vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & VM_MAYSHARE) === 0 || privateRef(vma) !== 0) return 0;
  const lock = yield* kmalloc(HugetlbVmaLock.$type);
  if (lock === 0) return -ENOMEM;
  set(lock, HugetlbVmaLock.refs, 1);
  set(lock, HugetlbVmaLock.vma, vma);
  set(vma, Vma.privateData, lock * 4);
  return 0;
}

/** What has the lock of a VMA, with a reference, so that it can be waited for when the VMA is gone: the lock of a shared one, the negated map of a private one. */
export function* hugetlbVmaLockGet(vma: VmaRef): Op<number> {
  const ref = privateRef(vma);
  if (vmaShareableLock(vma)) {
    yield* atomicAdd(ref, HugetlbVmaLock.refs, 1);
    return ref;
  }
  yield* atomicAdd(ref, ResvMap.refs, 1);
  return -ref;
}

/** Waits until nobody has the lock that hugetlbVmaLockGet() gave, and gives the reference back. */
export function* hugetlbVmaLockWaitPut(lock: number): Op<number> {
  const sem = lock > 0 ? lock + HugetlbVmaLock.rwSema : -lock + ResvMap.rwSema;
  yield* downWrite(sem);
  yield* upWrite(sem);
  return lock > 0 ? yield* hugetlbVmaLockPut(lock) : yield* resvMapPut(-lock);
}

/** hugetlb_vma_lock_put. */
export function* hugetlbVmaLockPut(lock: number): Op<number> {
  return (yield* atomicAdd(lock, HugetlbVmaLock.refs, -1)) === 0 ? yield* kfree(HugetlbVmaLock.$type, lock) : 0;
}

/** __hugetlb_vma_unlock_write_free: who holds the lock for writing takes it from the VMA, whose tables are gone. */
export function* hugetlbVmaUnlockWriteFree(vma: VmaRef): Op<number> {
  if (!vmaShareableLock(vma)) return yield* hugetlbVmaUnlockWrite(vma);
  const lock = privateRef(vma);
  set(lock, HugetlbVmaLock.vma, 0);
  set(vma, Vma.privateData, 0);
  yield* upWrite(lock + HugetlbVmaLock.rwSema);
  return yield* hugetlbVmaLockPut(lock);
}

/** hugetlb_vma_lock_free. */
export function* hugetlbVmaLockFree(vma: VmaRef): Op<number> {
  if (!vmaShareableLock(vma)) return 0;
  yield* hugetlbVmaLockWrite(vma);
  return yield* hugetlbVmaUnlockWriteFree(vma);
}
