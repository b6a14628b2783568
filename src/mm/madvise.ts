/**
 * madvise(2): what a process says of its memory (mm/madvise.c).
 *
 * Advice that changes flags splits and merges VMAs under the mmap lock for writing; advice that works on pages needs it for reading.
 * Holes in the range do not stop it: the rest is done and the answer is −ENOMEM.
 */
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from '../kernel/mmap-lock.ts';
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EACCES, EAGAIN, EFAULT, EHWPOISON, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { vfsFallocate } from './fallocate.ts';
import { fileGet, filePut } from './file.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from './file-types.ts';
import { madviseGuardInstall, madviseGuardRemove } from './guard.ts';
import { faultinPageRange } from './gup.ts';
import { madviseFreeSingleVma } from './madvise-free.ts';
import { madviseCold, madvisePageout } from './madvise-reclaim.ts';
import { type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
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
import { isSharedMaywrite } from './vma.ts';
import { vmaModifyFlags, vmaResetFlags } from './vma-merge.ts';
import { findVma, findVmaPrev } from './vma-tree.ts';
import { ZAP_RECLAIM_PT, zapPageRangeSingle } from './zap.ts';

export const MADV_NORMAL = 0;
export const MADV_RANDOM = 1;
export const MADV_SEQUENTIAL = 2;
export const MADV_WILLNEED = 3;
export const MADV_DONTNEED = 4;
export const MADV_FREE = 8;
export const MADV_REMOVE = 9;
export const MADV_DONTFORK = 10;
export const MADV_DOFORK = 11;
export const MADV_MERGEABLE = 12;
export const MADV_UNMERGEABLE = 13;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
export const MADV_DONTDUMP = 16;
export const MADV_DODUMP = 17;
export const MADV_WIPEONFORK = 18;
export const MADV_KEEPONFORK = 19;
export const MADV_COLD = 20;
export const MADV_PAGEOUT = 21;
export const MADV_POPULATE_READ = 22;
export const MADV_POPULATE_WRITE = 23;
export const MADV_DONTNEED_LOCKED = 24;
export const MADV_COLLAPSE = 25;
export const MADV_GUARD_INSTALL = 102;
export const MADV_GUARD_REMOVE = 103;

/** How an advice locks the address space. */
const LOCK_WRITE = 0;
const LOCK_READ = 1;

/** madvise_behavior_valid, and the lock that the advice takes; −1 for what is no advice (poison injection is not built in). */
function lockOf(behavior: number): number {
  switch (behavior) {
    case MADV_REMOVE:
    case MADV_WILLNEED:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_FREE:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_COLLAPSE:
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
      return LOCK_READ;
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
      return LOCK_WRITE;
    default:
      return -1;
  }
}

export const madviseBehaviorValid = (behavior: number): boolean => lockOf(behavior) >= 0;

/** Discards content: refused for sealed memory that may not be written (is_discard of mm/madvise.c). */
function isDiscard(behavior: number): boolean {
  return (
    behavior === MADV_FREE ||
    behavior === MADV_DONTNEED ||
    behavior === MADV_DONTNEED_LOCKED ||
    behavior === MADV_REMOVE ||
    behavior === MADV_DONTFORK ||
    behavior === MADV_WIPEONFORK ||
    behavior === MADV_GUARD_INSTALL
  );
}

/** can_madvise_modify. */
function canModify(vma: VmaRef, behavior: number): boolean {
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_SEALED) === 0 || !isDiscard(behavior)) return true;
  if ((vmFlags & VM_SHARED) !== 0) return true;
  return (vmFlags & VM_WRITE) !== 0;
}

/** madvise(2); bytes. */
export function* sysMadvise(process: ProcessRef, address: number, length: number, behavior: number): Op<number> {
  return yield* doMadvise(get(process, Process.mm), address, length, behavior);
}

/** do_madvise on any address space; bytes. */
export function* doMadvise(mm: MmRef, address: number, length: number, behavior: number): Op<number> {
  const valid = madviseCheck(address, length, behavior);
  if (valid !== 0) return valid > 0 ? 0 : valid;
  const start = address / 2 ** pageShift;
  const end = start + Math.ceil(length / 2 ** pageShift);
  const lock = lockOf(behavior);
  if (lock === LOCK_WRITE) yield* mmapWriteLock(mm);
  else yield* mmapReadLock(mm);
  let error = 0;
  if (behavior === MADV_POPULATE_READ || behavior === MADV_POPULATE_WRITE)
    error = yield* madvisePopulate(mm, start, end, behavior === MADV_POPULATE_WRITE ? 1 : 0);
  else error = yield* madviseWalkVmas(mm, start, end, behavior);
  if (lock === LOCK_WRITE) yield* mmapWriteUnlock(mm);
  else yield* mmapReadUnlock(mm);
  return error;
}

/** is_valid_madvise and madvise_should_skip: −EINVAL, 1 for nothing to do, 0. */
export function madviseCheck(address: number, length: number, behavior: number): number {
  const size = 2 ** pageShift;
  if (!madviseBehaviorValid(behavior)) return -EINVAL;
  if (address % size !== 0 || address >= 2 ** 64) return -EINVAL;
  const rounded = Math.ceil(length / size) * size;
  if (rounded >= 2 ** 64 || address + rounded > 2 ** 64) return -EINVAL;
  return rounded === 0 ? 1 : 0;
}

/** madvise_walk_vmas. Advice may let the lock go; then the next VMA is looked up anew. */
export function* madviseWalkVmas(mm: MmRef, start: Vpn, end: Vpn, behavior: number): Op<number> {
  let vma = findVma(mm, start);
  let prev = vma !== 0 && start > get(vma, Vma.start) ? vma : findVmaPrev(mm, start);
  let from = start;
  let unmapped = 0;
  for (;;) {
    if (vma === 0) return -ENOMEM;
    if (from < get(vma, Vma.start)) {
      unmapped = -ENOMEM;
      from = get(vma, Vma.start);
      if (from >= end) break;
    }
    const to = end < get(vma, Vma.end) ? end : get(vma, Vma.end);
    const result = yield* madviseVmaBehavior(vma, prev, from, to, behavior);
    if (result < 0) return result;
    // A VMA where it was changed (or the same); 0 where the lock was away.
    prev = result;
    from = to;
    if (prev !== 0 && from < get(prev, Vma.end)) from = get(prev, Vma.end);
    if (from >= end) break;
    vma = prev !== 0 ? get(prev, Vma.next) : findVma(mm, from);
  }
  return unmapped;
}

/** madvise_vma_behavior on [start, end) of a VMA: the VMA that covers the range afterwards, 0 when the lock was dropped, −errno. */
function* madviseVmaBehavior(vma: VmaRef, prev: VmaRef, start: Vpn, end: Vpn, behavior: number): Op<number> {
  if (!canModify(vma, behavior)) return -EPERM;
  const vmFlags = get(vma, Vma.flags);
  let newFlags = vmFlags;
  let error = 0;
  switch (behavior) {
    case MADV_REMOVE:
      return yield* madviseRemove(vma, start, end);
    case MADV_WILLNEED:
      // Nothing is in swap, and cached pages of files are there already.
      return vma;
    case MADV_COLD:
      error = yield* madviseCold(vma, start, end);
      return error < 0 ? error : vma;
    case MADV_PAGEOUT:
      error = yield* madvisePageout(vma, start, end);
      return error < 0 ? error : vma;
    case MADV_FREE:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
      error = yield* madviseDontneedFree(vma, start, end, behavior);
      return error < 0 ? error : vma;
    case MADV_COLLAPSE:
      // No huge pages yet: a VMA that could not have them answers so.
      return -EINVAL;
    case MADV_GUARD_INSTALL:
      error = yield* madviseGuardInstall(vma, start, end);
      return error < 0 ? error : vma;
    case MADV_GUARD_REMOVE:
      error = yield* madviseGuardRemove(vma, start, end);
      return error < 0 ? error : vma;
    case MADV_NORMAL:
      newFlags &= ~(VM_RAND_READ | VM_SEQ_READ);
      break;
    case MADV_SEQUENTIAL:
      newFlags = (newFlags & ~VM_RAND_READ) | VM_SEQ_READ;
      break;
    case MADV_RANDOM:
      newFlags = (newFlags & ~VM_SEQ_READ) | VM_RAND_READ;
      break;
    case MADV_DONTFORK:
      newFlags |= VM_DONTCOPY;
      break;
    case MADV_DOFORK:
      if ((vmFlags & VM_IO) !== 0) return -EINVAL;
      newFlags &= ~VM_DONTCOPY;
      break;
    case MADV_WIPEONFORK:
      // Only what is private and anonymous can be wiped.
      if (get(vma, Vma.file) !== 0 || (vmFlags & VM_SHARED) !== 0) return -EINVAL;
      newFlags |= VM_WIPEONFORK;
      break;
    case MADV_KEEPONFORK:
      if ((vmFlags & VM_DROPPABLE) !== 0) return -EINVAL;
      newFlags &= ~VM_WIPEONFORK;
      break;
    case MADV_DONTDUMP:
      newFlags |= VM_DONTDUMP;
      break;
    case MADV_DODUMP:
      if (((vmFlags & VM_HUGETLB) === 0 && (vmFlags & VM_SPECIAL) !== 0) || (vmFlags & VM_DROPPABLE) !== 0) return -EINVAL;
      newFlags &= ~VM_DONTDUMP;
      break;
    case MADV_MERGEABLE:
      if (vmaKsmCompatible(vmFlags)) newFlags |= VM_MERGEABLE;
      break;
    case MADV_UNMERGEABLE:
      newFlags &= ~VM_MERGEABLE;
      break;
    case MADV_HUGEPAGE:
      newFlags = (newFlags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
      break;
    case MADV_NOHUGEPAGE:
      newFlags = (newFlags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
      break;
    default:
      return -EINVAL;
  }
  return yield* madviseUpdateVma(vma, prev, start, end, newFlags);
}

/** vma_ksm_compatible. */
const vmaKsmCompatible = (vmFlags: number): boolean => (vmFlags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)) === 0;

/** madvise_update_vma: other flags for [start, end). */
function* madviseUpdateVma(vma: VmaRef, prev: VmaRef, start: Vpn, end: Vpn, newFlags: number): Op<number> {
  if (newFlags === get(vma, Vma.flags)) return vma;
  const target = yield* vmaModifyFlags(prev, vma, start, end, newFlags);
  // Kernel memory may be there again when the caller tries once more.
  if (target < 0) return target === -ENOMEM ? -EAGAIN : target;
  yield* vmaStartWrite(target);
  vmaResetFlags(target, newFlags);
  return target;
}

/** madvise_dontneed_free. */
function* madviseDontneedFree(vma: VmaRef, start: Vpn, end: Vpn, behavior: number): Op<number> {
  let forbidden = VM_PFNMAP;
  if (behavior !== MADV_DONTNEED_LOCKED) forbidden |= VM_LOCKED;
  if ((get(vma, Vma.flags) & forbidden) !== 0) return -EINVAL;
  if (behavior === MADV_FREE) return yield* madviseFreeSingleVma(vma, start, end);
  return yield* zapPageRangeSingle(vma, start, end, ZAP_RECLAIM_PT);
}

/** madvise_remove: punches a hole into the file, with the mmap lock away. */
function* madviseRemove(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if ((get(vma, Vma.flags) & VM_LOCKED) !== 0) return -EINVAL;
  const file = get(vma, Vma.file);
  if (file === 0) return -EINVAL;
  if (!isSharedMaywrite(get(vma, Vma.flags))) return -EACCES;
  const mm = get(vma, Vma.mm);
  const offset = (get(vma, Vma.pgoff) + start - get(vma, Vma.start)) * 2 ** pageShift;
  yield* fileGet(file);
  yield* mmapReadUnlock(mm);
  const error = yield* vfsFallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (end - start) * 2 ** pageShift);
  yield* filePut(file);
  yield* mmapReadLock(mm);
  return error;
}

/** madvise_populate. */
function* madvisePopulate(mm: MmRef, start: Vpn, end: Vpn, write: number): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const vma = findVma(mm, vpn);
    if (vma === 0 || get(vma, Vma.start) > vpn) return -ENOMEM;
    const to = end < get(vma, Vma.end) ? end : get(vma, Vma.end);
    const done = yield* faultinPageRange(vma, vpn, to, write);
    if (done < 0) return done === -EINVAL || done === -EFAULT || done === -EHWPOISON ? done : -ENOMEM;
    vpn += done;
  }
  return 0;
}
