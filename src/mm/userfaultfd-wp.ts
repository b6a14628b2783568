/**
 * Write protection by userfaultfd: UFFDIO_WRITEPROTECT (mm/userfaultfd.c: uffd_wp_range, mwriteprotect_range).
 *
 * Invariant: only the bit of the entries changes, and their write access; the VMA stays writable.
 */
import type { Op } from '../kernel/op.ts';
import { downRead, get, readOnce, upRead } from '../kernel/ops.ts';
import { changeProtection, MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE, vmaWantsManualPteWriteUpgrade } from './change-protection.ts';
import { EAGAIN, EINVAL, ENOENT } from './errno.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { Vma, type VmaRef, type Vpn } from './types.ts';
import { Uffd, type UffdRef } from './userfaultfd-types.ts';
import { userfaultfdWp } from './userfaultfd-vma.ts';
import { VM_HUGETLB } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';

/** uffd_wp_range: the entries of [start, end) of a VMA are write-protected, or not any longer. Entries changed, or −ENOMEM. */
export function* uffdWpRange(vma: VmaRef, start: Vpn, end: Vpn, enable: number): Op<number> {
  let flags = enable !== 0 ? MM_CP_UFFD_WP : MM_CP_UFFD_WP_RESOLVE;
  // What needs no fault to be written becomes writable at once.
  if (enable === 0 && vmaWantsManualPteWriteUpgrade(vma)) flags |= MM_CP_TRY_CHANGE_WRITABLE;
  const tlb = yield* tlbGather(get(vma, Vma.mm));
  const changed = yield* changeProtection(tlb, vma, start, end, flags);
  yield* tlbFinish(tlb);
  return changed;
}

/** mwriteprotect_range. 0 or −errno. */
export function* mwriteprotectRange(ctx: UffdRef, start: Vpn, end: Vpn, enable: number): Op<number> {
  const mm = get(ctx, Uffd.mm);
  yield* mmapReadLock(mm);
  yield* downRead(ctx + Uffd.mapChangingLock);
  let error = (yield* readOnce(ctx, Uffd.mmapChanging)) !== 0 ? -EAGAIN : -ENOENT;
  if (error === -ENOENT) {
    let vma = findVma(mm, start);
    while (vma !== 0 && get(vma, Vma.start) < end) {
      error = -ENOENT;
      if (!userfaultfdWp(vma)) break;
      if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) {
        const size = hugePages(hstateVma(vma));
        error = -EINVAL;
        if (start % size !== 0 || (end - start) % size !== 0) break;
      }
      error = yield* uffdWpRange(vma, Math.max(get(vma, Vma.start), start), Math.min(get(vma, Vma.end), end), enable);
      if (error < 0) break;
      error = 0;
      vma = get(vma, Vma.next);
    }
  }
  yield* upRead(ctx + Uffd.mapChangingLock);
  yield* mmapReadUnlock(mm);
  return error;
}
