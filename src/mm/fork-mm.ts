/**
 * What fork does to an address space (kernel/fork.c: dup_mm, mm_init; mm/mmap.c: dup_mmap).
 *
 * Invariants: both mmap locks are held for writing throughout and every VMA of the parent is write-locked, so no fault changes what is being copied;
 * a failure leaves a child with the VMAs that were done, which its end gives back like any other's.
 */
import type { Op } from '../kernel/op.ts';
import { add, downWrite, flushTlbMm, get, set, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { anonVmaFork } from './anon-vma.ts';
import { copyPageRange } from './copy-page-range.ts';
import { ENOMEM } from './errno.ts';
import { fileGet } from './file.ts';
import { hugetlbDupVmaPrivate } from './hugetlb-vma.ts';
import { vmaIntervalTreeInsertAfter } from './interval-tree.ts';
import { khugepagedEnter } from './khugepaged-slots.ts';
import { getMmRss } from './mm-counters.ts';
import {
  MMF_DISABLE_THP,
  MMF_DISABLE_THP_EXCEPT_ADVISED,
  MMF_HAS_MDWE,
  MMF_HAS_MDWE_NO_INHERIT,
  MMF_PKEY_0,
  MMF_TOPDOWN,
  MMF_UNSTABLE,
  MMF_VM_HUGEPAGE,
  MMF_VM_MERGE_ANY,
} from './mm-flags.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaMarkAttached, vmaStartWrite } from './mmap-lock.ts';
import { mmAlloc, mmput } from './process.ts';
import { File, Inode, Mm, type MmRef, type ProcessRef, Vma, type VmaRef } from './types.ts';
import { dupUserfaultfd, dupUserfaultfdComplete } from './userfaultfd-events.ts';
import { enoughMemory, vmStatAccount, vmUnacctMemory } from './util.ts';
import { VM_ACCOUNT, VM_DONTCOPY, VM_HUGETLB, VM_LOCKED_MASK, VM_NOHUGEPAGE, VM_WIPEONFORK } from './vm-flags.ts';
import { vmOpen } from './vm-ops.ts';
import { isSharedMaywrite, vmAreaDup, vmAreaFree, vmaPages } from './vma.ts';
import { firstVma, vmaTreeInsert } from './vma-tree.ts';

/** MMF_INIT_MASK: flags of an address space that a child has too. */
const MMF_INIT_MASK = MMF_DISABLE_THP | MMF_DISABLE_THP_EXCEPT_ADVISED | MMF_HAS_MDWE | MMF_HAS_MDWE_NO_INHERIT | MMF_PKEY_0 | MMF_TOPDOWN | MMF_VM_MERGE_ANY;
/** VM_INIT_DEF_MASK. */
export const VM_INIT_DEF_MASK = VM_NOHUGEPAGE;

/** mmf_init_flags: PR_MDWE_NO_INHERIT ends with the process. */
export const inheritedFlags = (flags: number): number =>
  (flags & MMF_HAS_MDWE_NO_INHERIT) !== 0 ? flags & MMF_INIT_MASK & ~(MMF_HAS_MDWE | MMF_HAS_MDWE_NO_INHERIT) : flags & MMF_INIT_MASK;

/** What a child's mm has in common with its parent's before any VMA is copied. */
function copyLayout(mm: MmRef, old: MmRef): void {
  set(mm, Mm.flags, inheritedFlags(get(old, Mm.flags)));
  set(mm, Mm.defFlags, get(old, Mm.defFlags) & VM_INIT_DEF_MASK);
  set(mm, Mm.startBrk, get(old, Mm.startBrk));
  set(mm, Mm.brk, get(old, Mm.brk));
  set(mm, Mm.startStack, get(old, Mm.startStack));
  set(mm, Mm.dataBytes, get(old, Mm.dataBytes));
  set(mm, Mm.taskSize, get(old, Mm.taskSize));
  set(mm, Mm.mapWindow, get(old, Mm.mapWindow));
  set(mm, Mm.mmapBase, get(old, Mm.mmapBase));
  set(mm, Mm.mmapLegacyBase, get(old, Mm.mmapLegacyBase));
  set(mm, Mm.execStackLimit, get(old, Mm.execStackLimit));
  set(mm, Mm.execArgumentLimit, get(old, Mm.execArgumentLimit));
  set(mm, Mm.membarriers, get(old, Mm.membarriers));
}

/** dup_mm: a copy of an address space for a new process. The mm, or -errno. */
export function* dupMm(process: ProcessRef, old: MmRef): Op<number> {
  const mm = yield* mmAlloc(process);
  if (mm === 0) return -ENOMEM;
  copyLayout(mm, old);
  const error = yield* dupMmap(mm, old);
  if (error === 0) {
    set(mm, Mm.hiwaterRss, getMmRss(mm));
    set(mm, Mm.hiwaterVm, get(mm, Mm.totalVm));
    return mm;
  }
  yield* mmput(mm);
  return error;
}

/** dup_mmap: the VMAs and what they map. 0 or -errno. */
function* dupMmap(mm: MmRef, old: MmRef): Op<number> {
  yield* mmapWriteLock(old);
  yield* mmapWriteLock(mm);
  set(mm, Mm.totalVm, get(old, Mm.totalVm));
  set(mm, Mm.dataVm, get(old, Mm.dataVm));
  set(mm, Mm.execVm, get(old, Mm.execVm));
  set(mm, Mm.stackVm, get(old, Mm.stackVm));
  let error = 0;
  let vma = firstVma(old);
  while (vma !== 0 && error === 0) {
    if (!switched(SW.forkNoVmaLock)) yield* vmaStartWrite(vma);
    if ((get(vma, Vma.flags) & VM_DONTCOPY) !== 0) vmStatAccount(mm, get(vma, Vma.flags), -vmaPages(vma));
    else error = yield* dupVma(mm, vma);
    vma = get(vma, Vma.next);
  }
  if (error !== 0) set(mm, Mm.flags, get(mm, Mm.flags) | MMF_UNSTABLE);
  // khugepaged_fork: a child has what its parent's has.
  else if ((get(old, Mm.flags) & MMF_VM_HUGEPAGE) !== 0) yield* khugepagedEnter(mm);
  yield* mmapWriteUnlock(mm);
  // Entries of the parent lost their write access. Until no CPU writes through what it remembers of them, faults must not copy their pages.
  if (!switched(SW.forkFlushLate) && !switched(SW.forkNoFlush)) yield* flushTlbMm(old);
  yield* mmapWriteUnlock(old);
  if (switched(SW.forkFlushLate)) yield* flushTlbMm(old);
  if (get(mm, Mm.uffdForks) !== 0) yield* dupUserfaultfdComplete(mm, error !== 0 ? 1 : 0);
  return error;
}

/** One VMA of dup_mmap(). 0 or -errno; once the copy is in the child's tree it stays there. */
function* dupVma(mm: MmRef, vma: VmaRef): Op<number> {
  const flags = get(vma, Vma.flags);
  const charge = (flags & VM_ACCOUNT) !== 0 ? vmaPages(vma) : 0;
  // Measured against the parent: the child has no size yet.
  if (charge !== 0 && (yield* enoughMemory(get(vma, Vma.mm), charge)) !== 0) return -ENOMEM;
  const copy = yield* vmAreaDup(vma);
  if (copy === 0) {
    yield* vmUnacctMemory(charge);
    return -ENOMEM;
  }
  set(copy, Vma.mm, mm);
  let error = yield* dupUserfaultfd(copy);
  // Nothing is copied where the child starts with a clean slate.
  if ((flags & VM_WIPEONFORK) !== 0) set(copy, Vma.anonVma, 0);
  else if (error === 0 && (yield* anonVmaFork(copy, vma)) !== 0) error = -ENOMEM;
  if (error !== 0) {
    yield* vmAreaFree(copy);
    yield* vmUnacctMemory(charge);
    return error;
  }
  set(copy, Vma.flags, get(copy, Vma.flags) & ~VM_LOCKED_MASK);
  // Reservations are the parent's.
  if ((flags & VM_HUGETLB) !== 0) hugetlbDupVmaPrivate(copy);
  vmaMarkAttached(copy);
  vmaTreeInsert(mm, copy);
  add(mm, Mm.mapCount, 1);
  yield* vmOpen(copy);
  const file = get(copy, Vma.file);
  if (file !== 0) {
    const inode = get(file, File.inode);
    yield* fileGet(file);
    yield* downWrite(inode + Inode.iMmapLock);
    if (isSharedMaywrite(flags)) add(inode, Inode.iMmapWritable, 1);
    vmaIntervalTreeInsertAfter(copy, vma, inode + Inode.iMmap);
    yield* upWrite(inode + Inode.iMmapLock);
  }
  return (flags & VM_WIPEONFORK) !== 0 ? 0 : yield* copyPageRange(copy, vma);
}
