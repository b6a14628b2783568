/** process_madvise(2): advice for several ranges at once, of our own memory or another process's (mm/madvise.c). */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { EINVAL, EPERM, ERESTARTNOINTR } from './errno.ts';
import { freeMadv, MADV_COLD, MADV_COLLAPSE, MADV_PAGEOUT, MADV_WILLNEED, Madv, type MadvRef } from './madv.ts';
import { checkInputRange, madvFor, madviseBehaviorValid, madviseDoBehavior, madviseLock, madviseUnlock } from './madvise.ts';
import { pidfdGetTask } from './pidfd.ts';
import { mmput } from './process.ts';
import { mmAccess } from './process-vm.ts';
import { Process, type ProcessRef } from './types.ts';
import { freeIovec, importIovec } from './uio.ts';
import { Iovec, type IovecRef } from './uio-types.ts';

const CAP_SYS_NICE = 23;

/** process_madvise_remote_valid: what does no more than cost time. */
const remoteValid = (behavior: number): boolean =>
  behavior === MADV_COLD || behavior === MADV_PAGEOUT || behavior === MADV_WILLNEED || behavior === MADV_COLLAPSE;

/** process_madvise(2): bytes of the ranges that were done; an error when there are none. */
export function* sysProcessMadvise(process: ProcessRef, pidfd: number, vector: number, count: number, behavior: number, flags: number): Op<number> {
  if (flags !== 0) return -EINVAL;
  const mm = get(process, Process.mm);
  const iovec = yield* importIovec(mm, vector, count);
  if (iovec < 0) return iovec;
  const target = pidfdGetTask(process, pidfd);
  const theirs = target < 0 ? target : yield* mmAccess(process, target, 1);
  let result = theirs < 0 ? theirs : mayAdvise(process, mm === theirs, behavior);
  if (result === 0) {
    const madv = madvFor(theirs, mm, behavior);
    result = yield* vectorMadvise(madv, iovec);
    freeMadv(madv);
  }
  if (theirs > 0) yield* mmput(theirs);
  freeIovec(iovec);
  return result;
}

/** Whether a process may give an advice to an address space that it may look into, its own or another's: 0, −EPERM, −EINVAL. */
function mayAdvise(process: ProcessRef, own: boolean, behavior: number): number {
  if (own) return 0;
  if (!remoteValid(behavior)) return -EINVAL;
  return (get(process, Process.capsLow) & (1 << CAP_SYS_NICE)) !== 0 ? 0 : -EPERM;
}

/** vector_madvise: range after range, up to the first error. */
function* vectorMadvise(madv: MadvRef, iovec: IovecRef): Op<number> {
  const total = get(iovec, Iovec.left);
  let left = total;
  let result = 0;
  // What is no advice is refused range by range.
  if (!madviseBehaviorValid(get(madv, Madv.behavior))) return total > 0 ? -EINVAL : 0;
  yield* madviseLock(madv);
  for (let segment = 0; left > 0; ) {
    const address = get(iovec, Iovec.bases + segment);
    const length = get(iovec, Iovec.lengths + segment);
    result = checkInputRange(address, length);
    if (result === 0 && length > 0) result = yield* madviseDoBehavior(madv, address, length);
    if (result === -ERESTARTNOINTR) {
      // Whoever is in the way gets the locks; what is done is not done again.
      yield* madviseUnlock(madv);
      yield* madviseLock(madv);
      continue;
    }
    if (result < 0) break;
    // Stepping on passes empty ranges, whatever they say; only the very first is looked at (iov_iter_advance).
    left -= length;
    do segment++;
    while (left > 0 && get(iovec, Iovec.lengths + segment) === 0);
  }
  yield* madviseUnlock(madv);
  return total > left ? total - left : result;
}
