/**
 * The mmap lock and the locks of single VMAs (include/linux/mmap_lock.h).
 *
 * Invariants: `Mm.lockSeq` is odd while the mmap lock is held for writing; a VMA is write-locked while its `lockSeq` equals the mm's, so that
 * releasing the mmap lock releases them all. `Vma.refcnt` is 0 for a VMA that is not in a tree, 1 for one that is, plus one for every reader.
 */
import { KernelBug } from '../kernel/bug.ts';
import { assertHeld, HELD_READ, HELD_VMA, HELD_WRITE, holds } from '../kernel/lockdep.ts';
import type { Op } from '../kernel/op.ts';
import {
  atomicAdd,
  downgradeWrite,
  downRead,
  downWrite,
  get,
  rcuReadLock,
  rcuReadUnlock,
  readOnce,
  set,
  switched,
  upRead,
  upWrite,
  vmaReadTrylock,
  vmaReadUnlock,
  waitFor,
  writeOnce,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { running } from '../kernel/task.ts';
import { Mm, type MmRef, Vma, type VmaRef } from './types.ts';
import { vmaLookup } from './vma-tree.ts';
import { FAULT_FLAG_VMA_LOCK, Vmf, type VmfRef } from './vmf.ts';

export function* mmapReadLock(mm: MmRef): Op<number> {
  return yield* downRead(mm + Mm.mmapLock);
}

export function* mmapReadUnlock(mm: MmRef): Op<number> {
  return yield* upRead(mm + Mm.mmapLock);
}

export function* mmapWriteLock(mm: MmRef): Op<number> {
  yield* downWrite(mm + Mm.mmapLock);
  return yield* atomicAdd(mm, Mm.lockSeq, 1);
}

export function* mmapWriteUnlock(mm: MmRef): Op<number> {
  yield* atomicAdd(mm, Mm.lockSeq, 1);
  return yield* upWrite(mm + Mm.mmapLock);
}

/** mmap_write_downgrade: write locks of VMAs end, readers may come in, writers may not. */
export function* mmapWriteDowngrade(mm: MmRef): Op<number> {
  yield* atomicAdd(mm, Mm.lockSeq, 1);
  return yield* downgradeWrite(mm + Mm.mmapLock);
}

/** mmap_assert_locked: the running task holds the mmap lock, in any mode. @throws {KernelBug} I23 */
export function mmapAssertLocked(mm: MmRef): void {
  assertHeld(mm + Mm.mmapLock, HELD_READ, HELD_WRITE);
}

/** mmap_assert_write_locked. @throws {KernelBug} I23 */
export function mmapAssertWriteLocked(mm: MmRef): void {
  assertHeld(mm + Mm.mmapLock, HELD_WRITE);
}

/** vma_assert_locked, where the mmap lock will do as well: nobody changes the VMA. @throws {KernelBug} I23 */
export function vmaAssertLocked(vma: VmaRef): void {
  if (running !== 0 && !holds(vma, HELD_VMA)) mmapAssertLocked(get(vma, Vma.mm));
}

/** vma_assert_write_locked: vma_start_write() was done since the mmap lock was taken for writing. @throws {KernelBug} I23 */
export function vmaAssertWriteLocked(vma: VmaRef): void {
  const mm = get(vma, Vma.mm);
  mmapAssertWriteLocked(mm);
  if (running !== 0 && get(vma, Vma.lockSeq) !== get(mm, Mm.lockSeq)) throw new KernelBug('I23', `VMA ${vma} must be locked for writing`);
}

/** vma_start_write: keeps faults out of a VMA until the mmap lock is released. Needs the mmap lock for writing. */
export function* vmaStartWrite(vma: VmaRef): Op<number> {
  const seq = get(get(vma, Vma.mm), Mm.lockSeq);
  if (get(vma, Vma.lockSeq) === seq) return 0;
  yield* writeOnce(vma, Vma.lockSeq, seq);
  // New readers turn away as they see the sequence; those inside finish.
  if (!switched(SW.vmaWriteNoWait) && (yield* readOnce(vma, Vma.refcnt)) > 1) yield* waitFor(vma, Vma.refcnt, 1);
  return 0;
}

/** vma_mark_attached. */
export function vmaMarkAttached(vma: VmaRef): void {
  set(vma, Vma.refcnt, 1);
}

/** vma_mark_detached: no lookup may take it any more; the readers that did are waited for. */
export function* vmaMarkDetached(vma: VmaRef): Op<number> {
  if ((yield* atomicAdd(vma, Vma.refcnt, -1)) !== 0 && !switched(SW.vmaDetachNoWait)) yield* waitFor(vma, Vma.refcnt, 0);
  return 0;
}

/**
 * lock_vma_under_rcu: the VMA of a page, read-locked without the mmap lock, or 0 when it must be asked for under the mmap lock
 * (it is being written, is detached, has changed, or does not exist).
 */
export function* lockVmaUnderRcu(mm: MmRef, vpn: number): Op<number> {
  if (switched(SW.noVmaLocks)) return 0;
  yield* rcuReadLock();
  const vma = vmaLookup(mm, vpn);
  let found = 0;
  if (vma !== 0 && (yield* readOnce(vma, Vma.lockSeq)) !== (yield* readOnce(mm, Mm.lockSeq)) && (yield* vmaReadTrylock(vma, Vma.refcnt)) !== 0) {
    // A writer may have come between: it waits for us, so we go. The VMA may also be another one by now.
    const valid =
      (switched(SW.vmaNoRecheck) || (yield* readOnce(vma, Vma.lockSeq)) !== (yield* readOnce(mm, Mm.lockSeq))) &&
      (get(vma, Vma.mm) === mm || switched(SW.vmaNoMmCheck)) &&
      ((vpn >= get(vma, Vma.start) && vpn < get(vma, Vma.end)) || switched(SW.vmaNoRangeCheck));
    if (valid) found = vma;
    else yield* vmaReadUnlock(vma, Vma.refcnt);
  }
  yield* rcuReadUnlock();
  return found;
}

export function* vmaEndRead(vma: VmaRef): Op<number> {
  return yield* vmaReadUnlock(vma, Vma.refcnt);
}

/** release_fault_lock: the lock that a fault came with. */
export function* releaseFaultLock(vmf: VmfRef): Op<number> {
  if (switched(SW.retryKeepsLock)) return 0;
  if ((get(vmf, Vmf.flags) & FAULT_FLAG_VMA_LOCK) !== 0) return yield* vmaEndRead(get(vmf, Vmf.vma));
  return yield* mmapReadUnlock(get(vmf, Vmf.mm));
}
