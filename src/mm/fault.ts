/**
 * Page faults of user code as the architecture's handler takes them (arch/x86/mm/fault.c: do_user_addr_fault; mm/mmap_lock.c:
 * lock_mm_and_find_vma).
 *
 * Results are 0 when the access may be tried again, else `signal * 256 + code`.
 */
import { ACCESS_EXEC, ACCESS_WRITE, mmuPresent } from '../kernel/mmu.ts';
import type { Op } from '../kernel/op.ts';
import { get, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageShift } from '../memory/state.ts';
import { globals } from './globals.ts';
import { hstateAt } from './hugetlb-pool.ts';
import { Hstate } from './hugetlb-types.ts';
import { handleMmFault } from './memory.ts';
import { expandStackLocked } from './mmap.ts';
import { lockVmaUnderRcu, mmapReadLock, mmapReadUnlock, mmapWriteDowngrade, mmapWriteLock, mmapWriteUnlock, vmaEndRead } from './mmap-lock.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_ACCESS_FLAGS, VM_EXEC, VM_GROWSDOWN, VM_WRITE } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_INSTRUCTION,
  FAULT_FLAG_INTERRUPTIBLE,
  FAULT_FLAG_KILLABLE,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_USER,
  FAULT_FLAG_VMA_LOCK,
  FAULT_FLAG_WRITE,
  faultGetHindex,
  VM_FAULT_COMPLETED,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
} from './vmf.ts';

const SIGKILL = 9;
const SIGBUS = 7;
const SIGSEGV = 11;
export const SEGV_MAPERR = SIGSEGV * 256 + 1;
export const SEGV_ACCERR = SIGSEGV * 256 + 2;
export const BUS_ADRERR = SIGBUS * 256 + 2;
/** The page is poisoned, and the process tried to use it; log2 of its bytes (si_addr_lsb) stands above. */
export const BUS_MCEERR_AR = SIGBUS * 256 + 4;
/** Out of memory: the process would be killed. */
export const OOM_KILL = SIGKILL * 256;

/** access_error: the VMA does not allow it. A page that is there and still faulted is refused whatever the VMA says. */
function accessError(vma: VmaRef, access: number, present: boolean): boolean {
  const flags = get(vma, Vma.flags);
  if (access === ACCESS_WRITE) return (flags & VM_WRITE) === 0;
  if (access === ACCESS_EXEC && present) return (flags & VM_EXEC) === 0;
  return (flags & VM_ACCESS_FLAGS) === 0;
}

/** One fault of a user access (ACCESS_*) to a page. */
export function* userFault(mm: MmRef, vpn: Vpn, access: number): Op<number> {
  return yield* doUserAddrFault(mm, vpn, access, FAULT_FLAG_USER);
}

/** One fault of an access of the kernel's own to user memory (copy_from_user and its kin). */
export function* kernelFault(mm: MmRef, vpn: Vpn, access: number): Op<number> {
  return yield* doUserAddrFault(mm, vpn, access, 0);
}

/** do_user_addr_fault; `user` is FAULT_FLAG_USER for accesses of user code, else 0. */
function* doUserAddrFault(mm: MmRef, vpn: Vpn, access: number, user: number): Op<number> {
  if (vpn >= get(mm, Mm.taskSize)) return SEGV_MAPERR;
  const present = access === ACCESS_EXEC && mmuPresent(get(mm, Mm.pgd), vpn);
  let flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE | user;
  if (access === ACCESS_WRITE) flags |= FAULT_FLAG_WRITE;
  if (access === ACCESS_EXEC) flags |= FAULT_FLAG_INSTRUCTION;
  const locked = yield* lockVmaUnderRcu(mm, vpn);
  if (locked !== 0) {
    if (accessError(locked, access, present)) {
      yield* vmaEndRead(locked);
      return SEGV_ACCERR;
    }
    const result = yield* handleMmFault(locked, vpn, flags | FAULT_FLAG_VMA_LOCK);
    if ((result & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)) === 0 || switched(SW.retryReleasesTwice)) yield* vmaEndRead(locked);
    if ((result & VM_FAULT_RETRY) === 0) return faultSignal(result);
    flags |= FAULT_FLAG_TRIED;
  }
  for (;;) {
    const vma = locked !== 0 && switched(SW.retryNoLookup) ? yield* lockMmOf(locked) : yield* lockMmAndFindVma(mm, vpn);
    if (vma === 0) return SEGV_MAPERR;
    if (accessError(vma, access, present)) {
      yield* mmapReadUnlock(mm);
      return SEGV_ACCERR;
    }
    const result = yield* handleMmFault(vma, vpn, flags);
    // Completed: the handler has released the lock, the access may be tried again.
    if ((result & VM_FAULT_COMPLETED) !== 0) return 0;
    if ((result & VM_FAULT_RETRY) === 0) {
      yield* mmapReadUnlock(mm);
      return faultSignal(result);
    }
    flags |= FAULT_FLAG_TRIED;
  }
}

/** The mmap lock for reading, and the VMA that was found without it. */
function* lockMmOf(vma: VmaRef): Op<number> {
  yield* mmapReadLock(get(vma, Vma.mm));
  return vma;
}

function faultSignal(result: number): number {
  if ((result & VM_FAULT_OOM) !== 0) return OOM_KILL;
  // hstate_index_to_shift for a huge page.
  const failure = get(globals, Globals.memoryFailure) !== 0;
  // do_sigbus: kernels that know no poisoned frames (CONFIG_MEMORY_FAILURE) have no signal of its own for it.
  if ((result & (VM_FAULT_HWPOISON_LARGE | VM_FAULT_HWPOISON)) !== 0 && !failure) return BUS_ADRERR;
  if ((result & VM_FAULT_HWPOISON_LARGE) !== 0) return BUS_MCEERR_AR + 65536 * (get(hstateAt(faultGetHindex(result)), Hstate.order) + pageShift);
  if ((result & VM_FAULT_HWPOISON) !== 0) return BUS_MCEERR_AR + 65536 * pageShift;
  if ((result & VM_FAULT_SIGBUS) !== 0) return BUS_ADRERR;
  if ((result & VM_FAULT_SIGSEGV) !== 0) return SEGV_MAPERR;
  return 0;
}

/** lock_mm_and_find_vma: the VMA of a page with the mmap lock held for reading, a stack below which it lies grown to it; 0 without lock. */
export function* lockMmAndFindVma(mm: MmRef, vpn: Vpn): Op<number> {
  yield* mmapReadLock(mm);
  let vma = findVma(mm, vpn);
  if (vma !== 0 && get(vma, Vma.start) <= vpn) return vma;
  if (vma === 0 || (get(vma, Vma.flags) & VM_GROWSDOWN) === 0) {
    yield* mmapReadUnlock(mm);
    return 0;
  }
  if (switched(SW.stackReadLock)) {
    if ((yield* expandStackLocked(vma, vpn, 0)) === 0) return vma;
    yield* mmapReadUnlock(mm);
    return 0;
  }
  // Growing needs the lock for writing; the VMA is looked up again, as it was free in between.
  yield* mmapReadUnlock(mm);
  yield* mmapWriteLock(mm);
  if (!switched(SW.stackNoSecondLook)) vma = findVma(mm, vpn);
  let grown = vma !== 0;
  if (grown && get(vma, Vma.start) > vpn) grown = (get(vma, Vma.flags) & VM_GROWSDOWN) !== 0 && (yield* expandStackLocked(vma, vpn, 0)) === 0;
  if (!grown) {
    yield* mmapWriteUnlock(mm);
    return 0;
  }
  yield* mmapWriteDowngrade(mm);
  return vma;
}
