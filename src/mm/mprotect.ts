/**
 * mprotect(2) and pkey_mprotect(2) (mm/mprotect.c).
 *
 * Invariants: the range is worked through VMA by VMA; one that cannot be changed ends the call with the VMAs before it changed. The mmap lock is held
 * for writing throughout, each VMA is write-locked before its entries change.
 */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { changeProtection, MM_CP_TRY_CHANGE_WRITABLE, vmaWantsManualPteWriteUpgrade } from './change-protection.ts';
import { EACCES, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { populateVmaPageRange } from './gup.ts';
import { PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE } from './mman.ts';
import { calcVmProtBits } from './mmap.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { mapDenyWriteExec } from './mmap-region.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { type GatherRef, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { enoughMemory, mayExpandVm, pfnUp, vmStatAccount, vmUnacctMemory } from './util.ts';
import { VM_ACCESS_FLAGS, VM_ACCOUNT, VM_GROWSDOWN, VM_GROWSUP, VM_HUGETLB, VM_LOCKED, VM_NORESERVE, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { vmaIsSealed } from './vma.ts';
import { vmaModifyFlags, vmaResetFlags } from './vma-merge.ts';
import { findVma } from './vma-tree.ts';

/** PROT_* that every architecture takes (arch_validate_prot). */
const PROT_VALID = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM;

/**
 * mprotect_fixup: gives [start, end) of a VMA other flags. `prev` is the VMA before the range (`vma` itself when the range begins inside it). The VMA that the range
 * belongs to afterwards, or -errno.
 */
export function* mprotectFixup(tlb: GatherRef, vma: VmaRef, prev: VmaRef, start: Vpn, end: Vpn, wanted: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const oldFlags = get(vma, Vma.flags);
  const pages = end - start;
  let flags = wanted;
  if (vmaIsSealed(vma)) return -EPERM;
  if (flags === oldFlags) return vma;
  let charged = 0;
  if ((flags & VM_WRITE) !== 0) {
    // Memory becomes data: the limit applies that it was exempt from.
    if (!mayExpandVm(mm, flags, pages) && mayExpandVm(mm, oldFlags, pages)) return -ENOMEM;
    if ((oldFlags & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE)) === 0) {
      charged = pages;
      if ((yield* enoughMemory(mm, charged)) !== 0) return -ENOMEM;
      flags |= VM_ACCOUNT;
    }
  } else if ((oldFlags & VM_ACCOUNT) !== 0 && vmaIsAnonymous(vma) && get(vma, Vma.anonVma) === 0) {
    // Never written: what was promised can be taken back.
    flags &= ~VM_ACCOUNT;
  }
  const changed = yield* vmaModifyFlags(prev, vma, start, end, flags);
  if (changed < 0) {
    if (charged !== 0) yield* vmUnacctMemory(charged);
    return changed;
  }
  yield* vmaStartWrite(changed);
  vmaResetFlags(changed, flags);
  yield* changeProtection(tlb, changed, start, end, vmaWantsManualPteWriteUpgrade(changed) ? MM_CP_TRY_CHANGE_WRITABLE : 0);
  if ((oldFlags & VM_ACCOUNT) !== 0 && (flags & VM_ACCOUNT) === 0) yield* vmUnacctMemory(pages);
  // Locked private memory becomes writable: its pages are copied now rather than at the first write.
  if ((oldFlags & (VM_WRITE | VM_SHARED | VM_LOCKED)) === VM_LOCKED && (flags & VM_WRITE) !== 0) yield* populateVmaPageRange(changed, start, end);
  vmStatAccount(mm, oldFlags, -pages);
  vmStatAccount(mm, flags, pages);
  return changed;
}

/** The range of VMAs in do_mprotect_pkey(), with the lock held. PROT_GROWSDOWN and PROT_GROWSUP stretch it to the end of a stack. 0 or -errno. */
function* mprotectRange(mm: MmRef, from: Vpn, to: Vpn, prot: number, grows: number): Op<number> {
  let start = from;
  let end = to;
  let vma = findVma(mm, start);
  if (vma === 0 || get(vma, Vma.start) >= end) return -ENOMEM;
  if (grows === PROT_GROWSDOWN) {
    start = get(vma, Vma.start);
    if ((get(vma, Vma.flags) & VM_GROWSDOWN) === 0) return -EINVAL;
  } else {
    if (get(vma, Vma.start) > start) return -ENOMEM;
    if (grows === PROT_GROWSUP) {
      end = get(vma, Vma.end);
      if ((get(vma, Vma.flags) & VM_GROWSUP) === 0) return -EINVAL;
    }
  }
  const tlb = yield* tlbGather(mm);
  let prev = start > get(vma, Vma.start) ? vma : get(vma, Vma.prev);
  let done = get(vma, Vma.start);
  let error = 0;
  while (error === 0 && vma !== 0 && get(vma, Vma.start) < end) {
    const oldFlags = get(vma, Vma.flags);
    const flags = calcVmProtBits(prot) | (oldFlags & ~VM_ACCESS_FLAGS);
    if (get(vma, Vma.start) !== done) error = -ENOMEM;
    // VM_MAYREAD and its kin stand four bits above VM_READ and its kin.
    else if ((flags & ~(flags >> 4) & VM_ACCESS_FLAGS) !== 0) error = -EACCES;
    else if (mapDenyWriteExec(mm, oldFlags, flags)) error = -EACCES;
    else {
      const changed = yield* mprotectFixup(tlb, vma, prev, start, Math.min(get(vma, Vma.end), end), flags);
      if (changed < 0) error = changed;
      else {
        prev = changed;
        done = get(changed, Vma.end);
        start = done;
        vma = get(changed, Vma.next);
      }
    }
  }
  yield* tlbFinish(tlb);
  return error === 0 && done < end ? -ENOMEM : error;
}

/** do_mprotect_pkey; bytes. `pkey` is -1 without one: no processor here has protection keys, so any other is not allocated. */
export function* doMprotectPkey(mm: MmRef, address: number, length: number, protection: number, pkey: number): Op<number> {
  const grows = protection & (PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows === (PROT_GROWSDOWN | PROT_GROWSUP)) return -EINVAL;
  const start = address / (1 << pageShift);
  if (!Number.isInteger(start) || address >= 2 ** 64) return -EINVAL;
  if (length === 0) return 0;
  const end = start + pfnUp(length);
  if (end >= 2 ** 64 / (1 << pageShift)) return -ENOMEM;
  const prot = protection & ~grows;
  if ((prot & ~PROT_VALID) !== 0 || protection >= 2 ** 32) return -EINVAL;
  yield* mmapWriteLock(mm);
  const error = pkey !== -1 ? -EINVAL : yield* mprotectRange(mm, start, end, prot, grows);
  yield* mmapWriteUnlock(mm);
  return error;
}

/** mprotect(2); bytes. 0 or -errno. */
export function* sysMprotect(process: ProcessRef, address: number, length: number, prot: number): Op<number> {
  return yield* doMprotectPkey(get(process, Process.mm), address, length, prot, -1);
}

/** pkey_mprotect(2); bytes. 0 or -errno. */
export function* sysPkeyMprotect(process: ProcessRef, address: number, length: number, prot: number, pkey: number): Op<number> {
  return yield* doMprotectPkey(get(process, Process.mm), address, length, prot, pkey);
}
