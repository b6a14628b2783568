/**
 * madvise(2): what a process says of its memory (mm/madvise.c).
 *
 * Advice that changes flags splits and merges VMAs under the mmap lock for writing; advice that works on pages needs it for reading, or
 * only the lock of the VMA where the range lies in one. Holes in the range do not stop it: the rest is done and the answer is −ENOMEM.
 */
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EACCES, EAGAIN, EFAULT, EHWPOISON, EINVAL, ENOMEM, EPERM, ERESTARTNOINTR } from './errno.ts';
import { vfsFallocate } from './fallocate.ts';
import { fileGet, filePut } from './file.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, INODE_DISK } from './file-types.ts';
import { globals } from './globals.ts';
import { madviseGuardInstall, madviseGuardRemove } from './guard.ts';
import { faultinPageRange } from './gup.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { khugepagedEnterVma } from './khugepaged-slots.ts';
import {
  allocMadv,
  freeMadv,
  LOCK_MMAP_READ,
  LOCK_MMAP_WRITE,
  LOCK_NONE,
  LOCK_VMA_READ,
  lockModeOf,
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_DONTNEED_LOCKED,
  MADV_FREE,
  MADV_GUARD_INSTALL,
  MADV_GUARD_REMOVE,
  MADV_HUGEPAGE,
  MADV_HWPOISON,
  MADV_KEEPONFORK,
  MADV_MERGEABLE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_SEQUENTIAL,
  MADV_SOFT_OFFLINE,
  MADV_UNMERGEABLE,
  MADV_WILLNEED,
  MADV_WIPEONFORK,
  Madv,
  type MadvRef,
} from './madv.ts';
import { madviseCollapse } from './madvise-collapse.ts';
import { madviseInjectError } from './memory-failure.ts';
import { WALK_COLD, WALK_FREE, WALK_PAGEOUT } from './mm-walk.ts';
import { lockVmaUnderRcu, mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaEndRead, vmaStartWrite } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { POSIX_FADV_WILLNEED, vfsFadvise } from './open.ts';
import { walkPageRangeVma } from './pagewalk.ts';
import { linearPageIndex } from './rmap.ts';
import { File, Globals, Inode, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { userfaultfdRemove } from './userfaultfd-events.ts';
import {
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_DROPPABLE,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_IO,
  VM_LOCKED,
  VM_MAYSHARE,
  VM_MERGEABLE,
  VM_NOHUGEPAGE,
  VM_PFNMAP,
  VM_RAND_READ,
  VM_SEALED,
  VM_SEQ_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WIPEONFORK,
  VM_WRITE,
} from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { isSharedMaywrite } from './vma.ts';
import { vmaModifyFlags, vmaResetFlags } from './vma-merge.ts';
import { findVma, findVmaPrev, vmaLookup } from './vma-tree.ts';
import { unmapPageRange, unmapSingleVma, ZAP_RECLAIM_PT } from './zap.ts';

// --- the call ---------------------------------------------------------------------------------------------------------------

/** The address space that an advice is for, and who gives it. */
export function madvFor(mm: MmRef, callerMm: MmRef, behavior: number): MadvRef {
  const madv = allocMadv();
  set(madv, Madv.mm, mm);
  set(madv, Madv.callerMm, callerMm);
  set(madv, Madv.behavior, behavior);
  return madv;
}

/** madvise(2); bytes. */
export function* sysMadvise(process: ProcessRef, address: number, length: number, behavior: number): Op<number> {
  const mm = get(process, Process.mm);
  const madv = madvFor(mm, mm, behavior);
  let result = -ERESTARTNOINTR;
  while (result === -ERESTARTNOINTR) result = yield* doMadvise(madv, address, length);
  freeMadv(madv);
  return result;
}

/** do_madvise; bytes. */
function* doMadvise(madv: MadvRef, address: number, length: number): Op<number> {
  if (!madviseBehaviorValid(get(madv, Madv.behavior))) return -EINVAL;
  const error = checkInputRange(address, length);
  if (error !== 0 || length === 0) return error;
  yield* madviseLock(madv);
  const result = yield* madviseDoBehavior(madv, address, length);
  yield* madviseUnlock(madv);
  return result;
}

/** is_memory_failure. */
const isMemoryFailure = (behavior: number): boolean => behavior === MADV_HWPOISON || behavior === MADV_SOFT_OFFLINE;

export const madviseBehaviorValid = (behavior: number): boolean =>
  isMemoryFailure(behavior) ? get(globals, Globals.memoryFailure) !== 0 : lockModeOf(behavior) >= 0;

/** check_input_range: 0 or −EINVAL; bytes. */
export function checkInputRange(address: number, length: number): number {
  const size = 2 ** pageShift;
  if (address % size !== 0 || address >= 2 ** 64) return -EINVAL;
  const rounded = Math.ceil(length / size) * size;
  return rounded >= 2 ** 64 || (rounded > 0 && address + rounded >= 2 ** 64) ? -EINVAL : 0;
}

/** madvise_lock and madvise_init_tlb. */
export function* madviseLock(madv: MadvRef): Op<number> {
  const mm = get(madv, Madv.mm);
  const mode = lockModeOf(get(madv, Madv.behavior));
  if (mode === LOCK_MMAP_WRITE) yield* mmapWriteLock(mm);
  else if (mode === LOCK_MMAP_READ) yield* mmapReadLock(mm);
  set(madv, Madv.lockMode, mode);
  // What flushes once for the whole call is the same that may do with a VMA's lock.
  if (mode === LOCK_VMA_READ) set(madv, Madv.tlb, yield* tlbGather(mm));
  return 0;
}

/** madvise_finish_tlb and madvise_unlock. A VMA's lock is released before the flush. */
export function* madviseUnlock(madv: MadvRef): Op<number> {
  const mm = get(madv, Madv.mm);
  const tlb = get(madv, Madv.tlb);
  if (tlb !== 0) yield* tlbFinish(tlb);
  set(madv, Madv.tlb, 0);
  const mode = get(madv, Madv.lockMode);
  set(madv, Madv.lockMode, LOCK_NONE);
  if (mode === LOCK_MMAP_WRITE) return yield* mmapWriteUnlock(mm);
  return mode === LOCK_MMAP_READ ? yield* mmapReadUnlock(mm) : 0;
}

/** madvise_do_behavior for a range that checkInputRange() let pass; bytes. */
export function* madviseDoBehavior(madv: MadvRef, address: number, length: number): Op<number> {
  const start = address / 2 ** pageShift;
  const behavior = get(madv, Madv.behavior);
  set(madv, Madv.start, start);
  set(madv, Madv.end, start + Math.ceil(length / 2 ** pageShift));
  if (isMemoryFailure(behavior)) return yield* madviseInjectError(get(madv, Madv.mm), address, address + length, behavior);
  if (behavior === MADV_POPULATE_READ || behavior === MADV_POPULATE_WRITE) return yield* madvisePopulate(madv, behavior === MADV_POPULATE_WRITE ? 1 : 0);
  return yield* madviseWalkVmas(madv);
}

/** madvise_walk_vmas: the advice for each VMA of the range. 0, −ENOMEM when there were holes, or the error that ended it. */
function* madviseWalkVmas(madv: MadvRef): Op<number> {
  const mm = get(madv, Madv.mm);
  const last = get(madv, Madv.end);
  if (get(madv, Madv.lockMode) === LOCK_VMA_READ && (yield* tryVmaReadLock(madv))) {
    const result = yield* madviseVmaBehavior(madv);
    yield* vmaEndRead(get(madv, Madv.vma));
    return result;
  }
  let start = get(madv, Madv.start);
  let vma = findVma(mm, start);
  let prev = vma !== 0 && start > get(vma, Vma.start) ? vma : findVmaPrev(mm, start);
  let unmapped = 0;
  for (;;) {
    if (vma === 0) return -ENOMEM;
    if (start < get(vma, Vma.start)) {
      unmapped = -ENOMEM;
      start = get(vma, Vma.start);
      if (start >= last) break;
    }
    set(madv, Madv.start, start);
    set(madv, Madv.end, Math.min(last, get(vma, Vma.end)));
    set(madv, Madv.vma, vma);
    set(madv, Madv.prev, prev);
    const error = yield* madviseVmaBehavior(madv);
    if (error !== 0) return error;
    vma = get(madv, Madv.lockDropped) !== 0 ? 0 : get(madv, Madv.vma);
    set(madv, Madv.lockDropped, 0);
    prev = vma;
    start = get(madv, Madv.end);
    // A VMA that was merged may reach beyond the part that was asked for.
    if (vma !== 0 && start < get(vma, Vma.end)) start = get(vma, Vma.end);
    if (start >= last) break;
    vma = vma !== 0 ? get(vma, Vma.next) : findVma(mm, start);
  }
  return unmapped;
}

/** try_vma_read_lock: with the lock of the one VMA that the range lies in; else false, with the mmap lock held for reading. */
function* tryVmaReadLock(madv: MadvRef): Op<boolean> {
  const mm = get(madv, Madv.mm);
  const vma = yield* lockVmaUnderRcu(mm, get(madv, Madv.start));
  if (vma !== 0) {
    // is_vma_lock_sufficient: who is told of what goes waits without the mmap lock.
    if (get(madv, Madv.end) <= get(vma, Vma.end) && get(vma, Vma.uffd) === 0 && get(madv, Madv.callerMm) === mm) {
      set(madv, Madv.vma, vma);
      return true;
    }
    yield* vmaEndRead(vma);
  }
  yield* mmapReadLock(mm);
  set(madv, Madv.lockMode, LOCK_MMAP_READ);
  return false;
}

// --- one VMA ----------------------------------------------------------------------------------------------------------------

/** is_discard: content is lost by it. */
function isDiscard(behavior: number): boolean {
  switch (behavior) {
    case MADV_FREE:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_WIPEONFORK:
    case MADV_GUARD_INSTALL:
      return true;
    default:
      return false;
  }
}

/** can_madvise_modify: content of sealed anonymous memory is discarded only by who could overwrite it as well. */
const canModify = (vma: VmaRef, behavior: number): boolean =>
  (get(vma, Vma.flags) & VM_SEALED) === 0 || !isDiscard(behavior) || !vmaIsAnonymous(vma) || (get(vma, Vma.flags) & VM_WRITE) !== 0;

/** madvise_vma_behavior: the advice for the part in hand; 0 or −errno. */
function* madviseVmaBehavior(madv: MadvRef): Op<number> {
  const vma = get(madv, Madv.vma);
  const start = get(madv, Madv.start);
  const end = get(madv, Madv.end);
  const behavior = get(madv, Madv.behavior);
  if (!canModify(vma, behavior)) return -EPERM;
  switch (behavior) {
    case MADV_REMOVE:
      return yield* madviseRemove(madv, vma, start, end);
    case MADV_WILLNEED:
      return yield* madviseWillneed(madv, vma, start, end);
    case MADV_COLD:
      return yield* madviseColdOrPageout(vma, start, end, WALK_COLD);
    case MADV_PAGEOUT:
      return yield* madviseColdOrPageout(vma, start, end, WALK_PAGEOUT);
    case MADV_FREE:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
      return yield* madviseDontneedFree(madv, vma, start, end, behavior);
    case MADV_COLLAPSE:
      return yield* madviseCollapse(madv, vma, start, end);
    case MADV_GUARD_INSTALL:
      return yield* madviseGuardInstall(vma, start, end);
    case MADV_GUARD_REMOVE:
      return yield* madviseGuardRemove(vma, start, end);
    default: {
      if (!flagsAllow(vma, behavior)) return -EINVAL;
      const vmFlags = flagsAfter(get(vma, Vma.flags), behavior);
      if (behavior === MADV_HUGEPAGE) yield* khugepagedEnterVma(vma, vmFlags);
      const error = yield* madviseUpdateVma(madv, vmFlags);
      // Kernel memory may be there again when the caller tries once more.
      return error === -ENOMEM ? -EAGAIN : error;
    }
  }
}

// --- flags of VMAs ----------------------------------------------------------------------------------------------------------

/** Whether a VMA can take an advice that changes its flags. */
function flagsAllow(vma: VmaRef, behavior: number): boolean {
  const vmFlags = get(vma, Vma.flags);
  switch (behavior) {
    case MADV_DOFORK:
      return (vmFlags & VM_IO) === 0;
    case MADV_WIPEONFORK:
      // Only what is private and anonymous can be wiped.
      return get(vma, Vma.file) === 0 && (vmFlags & VM_SHARED) === 0;
    case MADV_KEEPONFORK:
      return (vmFlags & VM_DROPPABLE) === 0;
    case MADV_DODUMP:
      return ((vmFlags & VM_HUGETLB) !== 0 || (vmFlags & VM_SPECIAL) === 0) && (vmFlags & VM_DROPPABLE) === 0;
    default:
      return true;
  }
}

/** The flags of a VMA that was given an advice. */
function flagsAfter(vmFlags: number, behavior: number): number {
  switch (behavior) {
    case MADV_NORMAL:
      return vmFlags & ~(VM_RAND_READ | VM_SEQ_READ);
    case MADV_SEQUENTIAL:
      return (vmFlags & ~VM_RAND_READ) | VM_SEQ_READ;
    case MADV_RANDOM:
      return (vmFlags & ~VM_SEQ_READ) | VM_RAND_READ;
    case MADV_DONTFORK:
      return vmFlags | VM_DONTCOPY;
    case MADV_DOFORK:
      return vmFlags & ~VM_DONTCOPY;
    case MADV_WIPEONFORK:
      return vmFlags | VM_WIPEONFORK;
    case MADV_KEEPONFORK:
      return vmFlags & ~VM_WIPEONFORK;
    case MADV_DONTDUMP:
      return vmFlags | VM_DONTDUMP;
    case MADV_DODUMP:
      return vmFlags & ~VM_DONTDUMP;
    case MADV_MERGEABLE:
      return vmaKsmCompatible(vmFlags) ? vmFlags | VM_MERGEABLE : vmFlags;
    case MADV_UNMERGEABLE:
      return vmFlags & ~VM_MERGEABLE;
    case MADV_HUGEPAGE:
      return (vmFlags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
    case MADV_NOHUGEPAGE:
      return (vmFlags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
    default:
      return vmFlags;
  }
}

/** vma_ksm_compatible: what KSM leaves alone ignores the advice. */
const vmaKsmCompatible = (vmFlags: number): boolean => (vmFlags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)) === 0;

/** madvise_update_vma: other flags for the part in hand. 0 or −ENOMEM. */
function* madviseUpdateVma(madv: MadvRef, newFlags: number): Op<number> {
  const vma = get(madv, Madv.vma);
  if (newFlags === get(vma, Vma.flags)) return 0;
  const target = yield* vmaModifyFlags(get(madv, Madv.prev), vma, get(madv, Madv.start), get(madv, Madv.end), newFlags);
  if (target < 0) return target;
  set(madv, Madv.vma, target);
  yield* vmaStartWrite(target);
  vmaResetFlags(target, newFlags);
  return 0;
}

// --- pages ------------------------------------------------------------------------------------------------------------------

/** madvise_dontneed_free_valid_vma: the page up to which content goes: of huge pages no part of one, so that nothing goes that was not meant. −EINVAL. */
function dontneedFreeEnd(vma: VmaRef, start: Vpn, end: Vpn, behavior: number): number {
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) {
    const size = hugePages(hstateVma(vma));
    return behavior === MADV_FREE || start % size !== 0 ? -EINVAL : Math.floor(end / size) * size;
  }
  const forbidden = behavior === MADV_DONTNEED_LOCKED ? VM_PFNMAP : VM_PFNMAP | VM_LOCKED;
  return (get(vma, Vma.flags) & forbidden) !== 0 ? -EINVAL : end;
}

/** madvise_dontneed_free. */
function* madviseDontneedFree(madv: MadvRef, first: VmaRef, start: Vpn, wanted: Vpn, behavior: number): Op<number> {
  let vma = first;
  let end = dontneedFreeEnd(vma, start, wanted, behavior);
  if (end <= start) return end < 0 ? end : 0;
  if (get(vma, Vma.uffd) !== 0 && (yield* userfaultfdRemove(vma, start, end)) === 0) {
    // The lock was away: it may be another VMA, or a shorter one.
    const mm = get(madv, Madv.mm);
    set(madv, Madv.lockDropped, 1);
    yield* mmapReadLock(mm);
    vma = vmaLookup(mm, start);
    if (vma === 0) return -ENOMEM;
    end = dontneedFreeEnd(vma, start, end, behavior);
    if (end < 0) return end;
    if (end > get(vma, Vma.end)) end = get(vma, Vma.end);
    if (end <= start) return 0;
  }
  const tlb = get(madv, Madv.tlb);
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) return yield* unmapSingleVma(tlb, vma, start, end, 0);
  if (behavior !== MADV_FREE) return yield* unmapPageRange(tlb, vma, start, end, ZAP_RECLAIM_PT);
  // madvise_free_single_vma.
  return vmaIsAnonymous(vma) ? yield* walkPageRangeVma(vma, start, end, WALK_FREE, tlb) : -EINVAL;
}

/** madvise_cold and madvise_pageout: not where pages are not the LRU's (can_madv_lru_vma). */
function* madviseColdOrPageout(vma: VmaRef, start: Vpn, end: Vpn, walk: number): Op<number> {
  if ((get(vma, Vma.flags) & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB)) !== 0) return -EINVAL;
  const tlb = yield* tlbGather(get(vma, Vma.mm));
  yield* walkPageRangeVma(vma, start, end, walk, tlb);
  return yield* tlbFinish(tlb);
}

/** madvise_willneed: reads ahead what a file has of the range, with the mmap lock away. Nothing is in swap that could be read. */
function* madviseWillneed(madv: MadvRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const mm = get(madv, Madv.mm);
  const file = get(vma, Vma.file);
  if (file === 0 || get(get(file, File.inode), Inode.kind) !== INODE_DISK) return 0;
  const offset = linearPageIndex(vma, start) * 2 ** pageShift;
  set(madv, Madv.lockDropped, 1);
  yield* fileGet(file);
  yield* mmapReadUnlock(mm);
  yield* vfsFadvise(file, offset, (end - start) * 2 ** pageShift, POSIX_FADV_WILLNEED);
  yield* filePut(file);
  return yield* mmapReadLock(mm);
}

/** madvise_remove: punches a hole into the file, with the mmap lock away. */
function* madviseRemove(madv: MadvRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const mm = get(madv, Madv.mm);
  const file = get(vma, Vma.file);
  if ((get(vma, Vma.flags) & VM_LOCKED) !== 0 || file === 0) return -EINVAL;
  if (!isSharedMaywrite(get(vma, Vma.flags))) return -EACCES;
  const offset = linearPageIndex(vma, start) * 2 ** pageShift;
  set(madv, Madv.lockDropped, 1);
  yield* fileGet(file);
  if ((yield* userfaultfdRemove(vma, start, end)) !== 0) yield* mmapReadUnlock(mm);
  const error = yield* vfsFallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (end - start) * 2 ** pageShift);
  yield* filePut(file);
  yield* mmapReadLock(mm);
  return error;
}

/** madvise_populate. */
function* madvisePopulate(madv: MadvRef, write: number): Op<number> {
  const end = get(madv, Madv.end);
  let vpn = get(madv, Madv.start);
  while (vpn < end) {
    const done = yield* faultinPageRange(get(madv, Madv.mm), vpn, end, write);
    if (done < 0) return done === -EINVAL || done === -EFAULT || done === -EHWPOISON ? done : -ENOMEM;
    vpn += done;
  }
  return 0;
}
