/**
 * A fault that a userfaultfd is to resolve (fs/userfaultfd.c: handle_userfault).
 *
 * Invariants: the fault is in the queue before its entry is looked at for the last time, so that whoever fills the entry after that look finds it there to be woken;
 * the lock that the fault came with (the VMA's or the mmap lock) is released before it sleeps, and the answer is then VM_FAULT_RETRY.
 */
import { entryAt } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, readOnce, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { allocObject, freeObject, pageShift } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { hugePtepGet } from './huge-leaf.ts';
import { pmdTransHuge } from './huge-memory.ts';
import { hugetlbVmaLockRead, hugetlbVmaUnlockRead } from './hugetlb-lock.ts';
import { hstateVma } from './hugetlb-resv.ts';
import { hugetlbWalk } from './hugetlb-share.ts';
import { releaseFaultLock } from './mmap-lock.ts';
import { entryPointer, pteNoneMostly, pteWrite, tablePage } from './pgtable.ts';
import { pteMap, pteUnmap } from './pgtable-generic.ts';
import { Mm, type MmRef, Process, Vma, type VmaRef, type Vpn } from './types.ts';
import { uffdGet, uffdPut, uwqAdd, uwqRemove, uwqSleep } from './userfaultfd-queue.ts';
import {
  UFFD_EVENT_PAGEFAULT,
  UFFD_FEATURE_SIGBUS,
  UFFD_MINOR,
  UFFD_PAGEFAULT_FLAG_MINOR,
  UFFD_PAGEFAULT_FLAG_WP,
  UFFD_PAGEFAULT_FLAG_WRITE,
  UFFD_USER_MODE_ONLY,
  Uffd,
  Uwq,
  type UwqRef,
} from './userfaultfd-types.ts';
import { VM_HUGETLB, VM_UFFD_WP } from './vm-flags.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_USER,
  FAULT_FLAG_WRITE,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  Vmf,
  type VmfRef,
} from './vmf.ts';

/** userfaultfd_must_wait: 1 when the entry still has what the fault came for. */
function* mustWait(mm: MmRef, vpn: Vpn, reason: number): Op<number> {
  const pmdp = yield* entryPointer(mm, vpn, 1);
  if (pmdp === 0) return 1;
  const pmd = yield* entryGet(pmdp, 1);
  if (pmd === 0) return 1;
  if (pmdTransHuge(pmd)) return !pteWrite(pmd) && reason === VM_UFFD_WP ? 1 : 0;
  if ((pmd & PTE_TABLE) === 0) return 0;
  yield* pteMap();
  const pte = yield* entryGet(entryAt(tablePage(pmd), 0, vpn), 0);
  yield* pteUnmap();
  return pteNoneMostly(pte) || (!pteWrite(pte) && reason === VM_UFFD_WP) ? 1 : 0;
}

/** userfaultfd_huge_must_wait. Needs the lock of the VMA's tables (hugetlb_vma_lock_read). */
function* hugeMustWait(vma: VmaRef, vpn: Vpn, reason: number): Op<number> {
  const h = hstateVma(vma);
  const ptep = yield* hugetlbWalk(vma, vpn, h);
  if (ptep === 0) return 1;
  const pte = yield* hugePtepGet(h, ptep);
  return pteNoneMostly(pte) || (!pteWrite(pte) && reason === VM_UFFD_WP) ? 1 : 0;
}

/** userfault_msg. */
function newMessage(vmf: VmfRef, reason: number): UwqRef {
  const uwq: UwqRef = allocObject(Uwq.$type, Uwq.$size);
  set(uwq, Uwq.event, UFFD_EVENT_PAGEFAULT);
  set(uwq, Uwq.a, get(vmf, Vmf.vpn) * 2 ** pageShift);
  let flags = (get(vmf, Vmf.flags) & FAULT_FLAG_WRITE) !== 0 ? UFFD_PAGEFAULT_FLAG_WRITE : 0;
  if (reason === VM_UFFD_WP) flags |= UFFD_PAGEFAULT_FLAG_WP;
  if (reason === UFFD_MINOR) flags |= UFFD_PAGEFAULT_FLAG_MINOR;
  set(uwq, Uwq.b, flags);
  return uwq;
}

/** handle_userfault: `reason` is VM_UFFD_MISSING, VM_UFFD_WP or UFFD_MINOR. VM_FAULT_RETRY with the fault's lock released (but with RETRY_NOWAIT), or SIGBUS. */
export function* handleUserfault(vmf: VmfRef, reason: number): Op<number> {
  const vma = get(vmf, Vmf.vma);
  const mm = get(vmf, Vmf.mm);
  const flags = get(vmf, Vmf.flags);
  const ctx = get(vma, Vma.uffd);
  // Who is being killed waits for nobody.
  if (ctx === 0 || get(get(mm, Mm.process), Process.groupExit) !== 0) return VM_FAULT_SIGBUS;
  if ((get(ctx, Uffd.features) & UFFD_FEATURE_SIGBUS) !== 0) return VM_FAULT_SIGBUS;
  if ((flags & FAULT_FLAG_USER) === 0 && (get(ctx, Uffd.flags) & UFFD_USER_MODE_ONLY) !== 0) return VM_FAULT_SIGBUS;
  if ((flags & FAULT_FLAG_ALLOW_RETRY) === 0) return VM_FAULT_SIGBUS;
  if ((flags & FAULT_FLAG_RETRY_NOWAIT) !== 0) return VM_FAULT_RETRY;
  if ((yield* readOnce(ctx, Uffd.released)) !== 0) {
    yield* releaseFaultLock(vmf);
    return VM_FAULT_RETRY;
  }
  yield* uffdGet(ctx);
  const uwq = newMessage(vmf, reason);
  set(uwq, Uwq.ctx, ctx);
  const huge = (get(vma, Vma.flags) & VM_HUGETLB) !== 0;
  if (huge) yield* hugetlbVmaLockRead(vma);
  yield* spinLock(ctx + Uffd.faultLock);
  uwqAdd(ctx, Uffd.pending, uwq);
  yield* spinUnlock(ctx + Uffd.faultLock);
  const must = huge ? yield* hugeMustWait(vma, get(vmf, Vmf.vpn), reason) : yield* mustWait(mm, get(vmf, Vmf.vpn), reason);
  if (huge) yield* hugetlbVmaUnlockRead(vma);
  yield* releaseFaultLock(vmf);
  if (must !== 0 && (yield* readOnce(ctx, Uffd.released)) === 0) yield* uwqSleep(uwq);
  yield* spinLock(ctx + Uffd.faultLock);
  uwqRemove(ctx, Uffd.pending, uwq);
  uwqRemove(ctx, Uffd.faults, uwq);
  yield* spinUnlock(ctx + Uffd.faultLock);
  freeObject(uwq, Uwq.$size);
  yield* uffdPut(ctx);
  return VM_FAULT_RETRY;
}
