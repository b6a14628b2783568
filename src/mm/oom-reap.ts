/**
 * Taking the memory of a process away that was killed and has not ended yet: the OOM reaper and process_mrelease(2) (mm/oom_kill.c). Who decides that a
 * process must go, and when memory is short, is not told here.
 *
 * Invariants: what the reaper takes away is private and anonymous or a private copy, so that nobody's data are lost but the victim's. MMF_UNSTABLE is set
 * before: whoever maps pages there from then on must not take zeroes for content. The reaper works under the mmap lock for reading; exit_mmap() sets
 * MMF_OOM_SKIP before it takes that lock for writing to free tables and VMAs, so a reaper that has the lock and does not see the flag is waited for.
 */
import type { Op } from '../kernel/op.ts';
import { downReadTrylock, get, set, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { EINVAL, ESRCH } from './errno.ts';
import { MMF_OOM_SKIP, MMF_UNSTABLE } from './mm-flags.ts';
import { mmFlagsSet, mmFlagsTest } from './mm-flags-ops.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { pidfdGetTask } from './pidfd.ts';
import { mmdrop, mmgrab } from './process.ts';
import { Mm, type MmRef, Process, type ProcessRef, Vma } from './types.ts';
import { VM_HUGETLB, VM_PFNMAP, VM_SHARED } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { lastVma } from './vma-tree.ts';
import { unmapPageRange } from './zap.ts';

/** MAX_OOM_REAP_RETRIES. */
const MAX_OOM_REAP_RETRIES = 10;

/** __oom_reap_task_mm: takes away what can be spared of an address space, from its end on, where the exiting process is not yet. Needs the mmap lock. */
function* reapVmas(mm: MmRef): Op<number> {
  yield* mmFlagsSet(mm, MMF_UNSTABLE);
  for (let vma = lastVma(mm); vma !== 0; vma = get(vma, Vma.prev)) {
    const flags = get(vma, Vma.flags);
    if ((flags & (VM_HUGETLB | VM_PFNMAP)) !== 0) continue;
    if (!vmaIsAnonymous(vma) && (flags & VM_SHARED) !== 0) continue;
    const tlb = yield* tlbGather(mm);
    yield* unmapPageRange(tlb, vma, get(vma, Vma.start), get(vma, Vma.end), 0);
    yield* tlbFinish(tlb);
  }
  return 1;
}

/** oom_reap_task_mm: one attempt. 1 when it is done, be it because the process has done it; 0 when somebody holds the mmap lock for writing. */
export function* oomReapTaskMm(mm: MmRef): Op<number> {
  if (switched(SW.reaperIgnoresExit)) return yield* reapVmas(mm);
  if ((yield* downReadTrylock(mm + Mm.mmapLock)) === 0) return 0;
  if (!(yield* mmFlagsTest(mm, MMF_OOM_SKIP))) yield* reapVmas(mm);
  yield* mmapReadUnlock(mm);
  return 1;
}

/** oom_reap_task: what the reaper's thread does for one victim, whose struct was grabbed for it (mark_oom_victim: mmgrab) and is dropped at the end. */
export function* oomReapTask(mm: MmRef): Op<number> {
  let reaped = 0;
  for (let attempt = 0; attempt < MAX_OOM_REAP_RETRIES && reaped === 0; attempt++) reaped = yield* oomReapTaskMm(mm);
  // Nobody need choose it again, whether or not it was to be had.
  yield* mmFlagsSet(mm, MMF_OOM_SKIP);
  yield* mmdrop(mm);
  return reaped;
}

/** A process is killed (SIGNAL_GROUP_EXIT): it ends when it gets to it, and its memory may be taken away before. */
export function* sendSigkill(process: ProcessRef): Op<number> {
  yield* spinLock(process + Process.allocLock);
  set(process, Process.groupExit, 1);
  return yield* spinUnlock(process + Process.allocLock);
}

/** process_mrelease(2): −ESRCH when the process has no address space any longer, −EINVAL when it was not killed. */
export function* sysProcessMrelease(process: ProcessRef, pidfd: number, flags: number): Op<number> {
  if (flags !== 0) return -EINVAL;
  const target = pidfdGetTask(process, pidfd);
  if (target < 0) return target;
  yield* spinLock(target + Process.allocLock);
  const mm = get(target, Process.mm);
  const dying = get(target, Process.groupExit) !== 0;
  if (mm !== 0) yield* mmgrab(mm);
  yield* spinUnlock(target + Process.allocLock);
  if (mm === 0) return -ESRCH;
  let result = 0;
  if (!dying) result = (yield* mmFlagsTest(mm, MMF_OOM_SKIP)) ? 0 : -EINVAL;
  else {
    yield* mmapReadLock(mm);
    if (!(yield* mmFlagsTest(mm, MMF_OOM_SKIP))) yield* reapVmas(mm);
    yield* mmapReadUnlock(mm);
  }
  yield* mmdrop(mm);
  return result;
}
