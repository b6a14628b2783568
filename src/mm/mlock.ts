/**
 * Locking memory: mlock, mlock2, munlock, mlockall, munlockall (mm/mlock.c).
 *
 * Invariants: `Mm.lockedVm` counts the pages of VM_LOCKED VMAs; a folio's mlock count follows the present entries of such VMAs: it is
 * changed here for what is mapped already, by rmap and faults for what comes and goes.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, entryGet, get, set, spinUnlock, switched, writeOnce } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, pageIsCompound } from '../memory/folio.ts';
import { pageShift } from '../memory/state.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { mmPopulate, mmPopulateRange } from './gup.ts';
import { vmNormalPage } from './memory.ts';
import { ACTION_AGAIN, MmWalk, type MmWalkRef, WALK_MLOCK } from './mm-walk.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { vmaSupportsMlock } from './mmap-region.ts';
import { walkPageRange } from './pagewalk.ts';
import { pteLockptr, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioPteBatch } from './pte-batch.ts';
import { mlockFolio, munlockFolio } from './swap.ts';
import { Mm, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { CAP_IPC_LOCK, canDoMlock, capable, pfnDown, RLIMIT_MEMLOCK, rlimit } from './util.ts';
import { VM_IO, VM_LOCKED, VM_LOCKED_MASK, VM_LOCKONFAULT, VM_STICKY } from './vm-flags.ts';
import { vmaModifyFlags, vmaResetFlags } from './vma-merge.ts';
import { findVma, firstVma, vmaLookup } from './vma-tree.ts';

const MLOCK_ONFAULT = 1;
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;

/** mlock(2); bytes. */
export function* sysMlock(process: ProcessRef, address: number, length: number): Op<number> {
  return yield* doMlock(get(process, Process.mm), address, length, VM_LOCKED);
}

/** mlock2(2). */
export function* sysMlock2(process: ProcessRef, address: number, length: number, flags: number): Op<number> {
  if ((flags & ~MLOCK_ONFAULT) !== 0) return -EINVAL;
  return yield* doMlock(get(process, Process.mm), address, length, (flags & MLOCK_ONFAULT) !== 0 ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED);
}

/** PAGE_ALIGN of a length whose start was rounded down, in pages; lengths beyond 2^64 wrap, as the kernel's sum does. */
function alignedPages(address: number, length: number): number {
  const size = 2 ** pageShift;
  const start = Math.floor(address / size);
  const bytes = length + (address - start * size);
  // The sum of an absurd length and the page's own size wraps to nothing.
  if (bytes > 2 ** 64 - size) return 0;
  return Math.ceil(bytes / size);
}

function* doMlock(mm: MmRef, address: number, length: number, flags: number): Op<number> {
  if (!canDoMlock(mm)) return -EPERM;
  const start = Math.floor(address / 2 ** pageShift);
  const pages = alignedPages(address, length);
  const limit = pfnDown(rlimit(mm, RLIMIT_MEMLOCK));
  yield* mmapWriteLock(mm);
  let locked = pages + get(mm, Mm.lockedVm);
  const privileged = capable(mm, CAP_IPC_LOCK);
  // What is locked already does not count twice.
  if (locked > limit && !privileged) locked -= countMlocked(mm, start, pages);
  let error = -ENOMEM;
  if (locked <= limit || privileged) error = yield* applyVmaLockFlags(mm, start, pages, flags);
  yield* mmapWriteUnlock(mm);
  if (error !== 0) return error;
  error = yield* mmPopulateRange(mm, start, pages, 0);
  // __mlock_posix_error_return
  if (error === -EFAULT) return -ENOMEM;
  if (error === -ENOMEM) return -EAGAIN;
  return error;
}

/** count_mm_mlocked_page_nr. */
function countMlocked(mm: MmRef, start: Vpn, pages: number): number {
  const end = start + pages;
  let count = 0;
  for (let vma = findVma(mm, start); vma !== 0 && get(vma, Vma.start) < end; vma = get(vma, Vma.next)) {
    if ((get(vma, Vma.flags) & VM_LOCKED) === 0) continue;
    const from = start > get(vma, Vma.start) ? start : get(vma, Vma.start);
    const to = end < get(vma, Vma.end) ? end : get(vma, Vma.end);
    count += to - from;
  }
  return count;
}

/** munlock(2). */
export function* sysMunlock(process: ProcessRef, address: number, length: number): Op<number> {
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  const error = yield* applyVmaLockFlags(mm, Math.floor(address / 2 ** pageShift), alignedPages(address, length), 0);
  yield* mmapWriteUnlock(mm);
  return error;
}

/** apply_vma_lock_flags: every page of the range must be mapped. */
function* applyVmaLockFlags(mm: MmRef, start: Vpn, pages: number, flags: number): Op<number> {
  const end = start + pages;
  if (end >= 2 ** (64 - pageShift) && pages !== 0) return -EINVAL;
  if (pages === 0) return 0;
  let vma = vmaLookup(mm, start);
  if (vma === 0) return -ENOMEM;
  let prev = start > get(vma, Vma.start) ? vma : get(vma, Vma.prev);
  let from = start;
  while (vma !== 0 && get(vma, Vma.start) < end) {
    if (from > get(vma, Vma.end) || (from !== start && get(vma, Vma.start) !== from)) return -ENOMEM;
    const newFlags = (get(vma, Vma.flags) & ~VM_LOCKED_MASK) | flags;
    const to = end < get(vma, Vma.end) ? end : get(vma, Vma.end);
    const fixed = yield* mlockFixup(vma, prev, from, to, newFlags);
    if (fixed < 0) return fixed;
    prev = fixed;
    from = get(fixed, Vma.end);
    vma = get(fixed, Vma.next);
    if (from >= end) return 0;
  }
  return from < end ? -ENOMEM : 0;
}

/** mlock_fixup: other lock flags for [start, end) of a VMA. The VMA that holds the range then, or −errno. */
function* mlockFixup(vma: VmaRef, prev: VmaRef, start: Vpn, end: Vpn, newFlags: number): Op<number> {
  const oldFlags = get(vma, Vma.flags);
  if (newFlags === oldFlags || !vmaSupportsMlock(oldFlags)) return vma;
  const mm = get(vma, Vma.mm);
  const target = yield* vmaModifyFlags(prev, vma, start, end, newFlags);
  if (target < 0) return target;
  let pages = end - start;
  if ((newFlags & VM_LOCKED) === 0) pages = -pages;
  else if ((oldFlags & VM_LOCKED) !== 0) pages = 0;
  add(mm, Mm.lockedVm, pages);
  // Faults that need no mmap lock must not map pages while the flag and what is mapped do not agree.
  if (!switched(SW.mlockFlagUnlocked)) yield* vmaStartWrite(target);
  // Locked before and after: only the way of faulting changes, and counting twice would be wrong.
  if ((newFlags & VM_LOCKED) !== 0 && (oldFlags & VM_LOCKED) !== 0) vmaResetFlags(target, newFlags);
  else yield* mlockVmaPagesRange(target, start, end, newFlags);
  return target;
}

/**
 * mlock_vma_pages_range: the folios that are mapped already follow the VMA's flag. While they are gone through, rmap walks must not count the same
 * mappings (mlock_vma_folio): VM_IO, which a locked VMA never has, tells them.
 */
function* mlockVmaPagesRange(vma: VmaRef, start: Vpn, end: Vpn, newFlags: number): Op<number> {
  const flags = newFlags | (get(vma, Vma.flags) & VM_STICKY);
  const locking = (flags & VM_LOCKED) !== 0;
  yield* writeOnce(vma, Vma.flags, locking ? flags | VM_IO : flags);
  yield* walkPageRange(get(vma, Vma.mm), start, end, WALK_MLOCK, 0);
  return locking ? yield* writeOnce(vma, Vma.flags, flags) : 0;
}

/** mlock_pte_range. */
export function* mlockPteRange(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const locked = (get(get(walk, MmWalk.vma), Vma.flags) & VM_LOCKED) !== 0;
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) {
    set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  const lock = pteLockptr(ptep);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    if (page !== 0) {
      if (pageIsCompound(page)) {
        // allow_mlock_munlock: it is locked only when all of it is mapped here, and unlocked with any part.
        const count = yield* folioPteBatch(ptep, pte, end - vpn);
        if (!locked) yield* munlockFolio(page);
        else if (count === compoundPages(page)) yield* mlockFolio(page);
        vpn += count - 1;
        ptep += (count - 1) * entryStride(0);
      } else if (locked) yield* mlockFolio(page);
      else yield* munlockFolio(page);
    }
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

/** mlockall(2). */
export function* sysMlockall(process: ProcessRef, flags: number): Op<number> {
  const mm = get(process, Process.mm);
  if (flags === 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) !== 0 || flags === MCL_ONFAULT) return -EINVAL;
  if (!canDoMlock(mm)) return -EPERM;
  yield* mmapWriteLock(mm);
  const fits = (flags & MCL_CURRENT) === 0 || get(mm, Mm.totalVm) <= pfnDown(rlimit(mm, RLIMIT_MEMLOCK)) || capable(mm, CAP_IPC_LOCK);
  if (fits) yield* applyMlockallFlags(mm, flags);
  yield* mmapWriteUnlock(mm);
  if (!fits) return -ENOMEM;
  if ((flags & MCL_CURRENT) !== 0) yield* mmPopulate(mm, 0, get(mm, Mm.taskSize));
  return 0;
}

/** munlockall(2). */
export function* sysMunlockall(process: ProcessRef): Op<number> {
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  yield* applyMlockallFlags(mm, 0);
  return yield* mmapWriteUnlock(mm);
}

/** apply_mlockall_flags: what VMAs to come get, and those that are there. Errors of single VMAs are passed over. */
function* applyMlockallFlags(mm: MmRef, flags: number): Op<number> {
  let future = get(mm, Mm.defFlags) & ~VM_LOCKED_MASK;
  if ((flags & MCL_FUTURE) !== 0) future |= (flags & MCL_ONFAULT) !== 0 ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED;
  set(mm, Mm.defFlags, future);
  if ((flags & MCL_FUTURE) !== 0 && (flags & MCL_CURRENT) === 0) return 0;
  let added = 0;
  if ((flags & MCL_CURRENT) !== 0) added = (flags & MCL_ONFAULT) !== 0 ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED;
  let prev = 0;
  let vma = firstVma(mm);
  while (vma !== 0) {
    const newFlags = (get(vma, Vma.flags) & ~VM_LOCKED_MASK) | added;
    const fixed = yield* mlockFixup(vma, prev, get(vma, Vma.start), get(vma, Vma.end), newFlags);
    prev = fixed < 0 ? vma : fixed;
    vma = get(prev, Vma.next);
  }
  return 0;
}
