/**
 * msync(2) (mm/msync.c): writes shared mappings of files back.
 *
 * Holes in the range do not stop it: what is mapped is written and the answer is −ENOMEM. MS_ASYNC and MS_INVALIDATE do nothing but look.
 */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EBUSY, EINVAL, ENOMEM } from './errno.ts';
import { fileGet, filePut } from './file.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { vfsFsync } from './open.ts';
import { type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_LOCKED, VM_SHARED } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';

const MS_ASYNC = 1;
const MS_INVALIDATE = 2;
const MS_SYNC = 4;

/** msync(2); bytes. 0 or −errno. */
export function* sysMsync(process: ProcessRef, address: number, length: number, flags: number): Op<number> {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0) return -EINVAL;
  const start = address / 2 ** pageShift;
  if (!Number.isInteger(start) || address >= 2 ** 64) return -EINVAL;
  if ((flags & MS_ASYNC) !== 0 && (flags & MS_SYNC) !== 0) return -EINVAL;
  let pages = Math.ceil(length / 2 ** pageShift);
  // PAGE_ALIGN of the last page of all wraps to nothing.
  if (pages >= 2 ** (64 - pageShift)) pages = 0;
  if (start + pages >= 2 ** (64 - pageShift)) return -ENOMEM;
  if (pages === 0) return 0;
  return yield* syncRange(get(process, Process.mm), start, start + pages, flags);
}

/** What keeps msync() from going on with the next VMA at or above `start`; 0 if nothing does. */
function lookedAt(vma: VmaRef, start: Vpn, end: Vpn, flags: number): number {
  if (vma === 0) return -ENOMEM;
  // After a hole, MS_ASYNC alone has nothing to do that would be worth going on for.
  if (start < get(vma, Vma.start) && (flags === MS_ASYNC || get(vma, Vma.start) >= end)) return -ENOMEM;
  return (flags & MS_INVALIDATE) !== 0 && (get(vma, Vma.flags) & VM_LOCKED) !== 0 ? -EBUSY : 0;
}

function* syncRange(mm: MmRef, from: Vpn, end: Vpn, flags: number): Op<number> {
  let start = from;
  let unmapped = 0;
  yield* mmapReadLock(mm);
  let vma = findVma(mm, start);
  for (;;) {
    let error = lookedAt(vma, start, end, flags);
    if (error !== 0) {
      yield* mmapReadUnlock(mm);
      return error;
    }
    if (start < get(vma, Vma.start)) unmapped = -ENOMEM;
    const file = get(vma, Vma.file);
    start = get(vma, Vma.end);
    if ((flags & MS_SYNC) !== 0 && file !== 0 && (get(vma, Vma.flags) & VM_SHARED) !== 0) {
      yield* fileGet(file);
      yield* mmapReadUnlock(mm);
      error = yield* vfsFsync(file);
      yield* filePut(file);
      if (error !== 0 || start >= end) return error !== 0 ? error : unmapped;
      yield* mmapReadLock(mm);
      vma = findVma(mm, start);
    } else if (start >= end) {
      yield* mmapReadUnlock(mm);
      return unmapped;
    } else vma = findVma(mm, start);
  }
}
