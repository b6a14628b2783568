/**
 * Limits and accounting of address spaces (mm/util.c, mm/mmap.c, kernel/capability.c).
 *
 * Units: limits are bytes, -1 in the process's tables and Infinity here standing for none; accounts are pages.
 */
import type { Op } from '../kernel/op.ts';
import { add, atomicAdd, get, readOnce } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { Globals, Mm, type MmRef, Process, type ProcessRef } from './types.ts';
import { VM_EXEC, VM_GROWSDOWN, VM_GROWSUP, VM_LOCKED, VM_SHARED, VM_WRITE } from './vm-flags.ts';

export const RLIMIT_DATA = 2;
export const RLIMIT_STACK = 3;
export const RLIMIT_MEMLOCK = 8;
export const RLIMIT_AS = 9;

export const CAP_IPC_LOCK = 14;
export const CAP_SYS_RAWIO = 17;
export const CAP_SYS_PTRACE = 19;
export const CAP_SYS_ADMIN = 21;
export const CAP_SYS_RESOURCE = 24;

const OVERCOMMIT_GUESS = 0;
const OVERCOMMIT_ALWAYS = 1;
export const OVERCOMMIT_NEVER = 2;

/** rlimit(): the soft limit of the mm's process. */
export function rlimit(mm: MmRef, resource: number): number {
  const value = get(get(mm, Mm.process), Process.rlimitCur + resource);
  return value < 0 ? Infinity : value;
}

/** rlimit_max(): its hard limit. */
export function rlimitMax(mm: MmRef, resource: number): number {
  const value = get(get(mm, Mm.process), Process.rlimitMax + resource);
  return value < 0 ? Infinity : value;
}

/** PFN_DOWN: whole pages of a number of bytes. */
export const pfnDown = (bytes: number): number => Math.floor(bytes / (1 << pageShift));

/** PFN_UP: pages that hold a number of bytes. */
export const pfnUp = (bytes: number): number => Math.ceil(bytes / (1 << pageShift));

/** A process has a capability (CAP_*, below 32). */
export const processCapable = (process: ProcessRef, cap: number): boolean => (get(process, Process.capsLow) & (1 << cap)) !== 0;
/** capable(), for the mm's process. */
export const capable = (mm: MmRef, cap: number): boolean => processCapable(get(mm, Mm.process), cap);

// --- overcommit -------------------------------------------------------------------------------------------------------------

/** vm_commit_limit: pages that may be promised in mode 2. */
export function vmCommitLimit(): number {
  const kbytes = get(globals, Globals.overcommitKbytes);
  const ram = get(globals, Globals.totalRam);
  const allowed = kbytes !== 0 ? pfnDown(kbytes * 1024) : Math.floor((ram * get(globals, Globals.overcommitRatio)) / 100);
  return allowed + get(globals, Globals.totalSwap);
}

/** vm_acct_memory: promises pages; the new total. */
export function* vmAcctMemory(pages: number): Op<number> {
  return yield* atomicAdd(globals, Globals.committed, pages);
}

/** vm_unacct_memory. */
export function* vmUnacctMemory(pages: number): Op<number> {
  return yield* atomicAdd(globals, Globals.committed, -pages);
}

/**
 * security_vm_enough_memory_mm: promises pages to an mm if there may be enough memory for them. 0, or -ENOMEM with nothing promised. `mm` is 0 for the
 * kernel's own needs (shared memory without a mapping), which count as an administrator's.
 */
export function* enoughMemory(mm: MmRef, pages: number): Op<number> {
  const mode = get(globals, Globals.overcommitMemory);
  yield* vmAcctMemory(pages);
  if (mode === OVERCOMMIT_ALWAYS) return 0;
  if (mode === OVERCOMMIT_GUESS) {
    if (pages <= get(globals, Globals.totalRam) + get(globals, Globals.totalSwap)) return 0;
  } else {
    let allowed = vmCommitLimit();
    if (mm !== 0 && !capable(mm, CAP_SYS_ADMIN)) allowed -= pfnDown(get(globals, Globals.adminReserveKbytes) * 1024);
    // A single process does not get the last pages, with which a user could recover.
    if (mm !== 0) allowed -= Math.min(Math.floor(get(mm, Mm.totalVm) / 32), pfnDown(get(globals, Globals.userReserveKbytes) * 1024));
    if ((yield* readOnce(globals, Globals.committed)) < allowed) return 0;
  }
  yield* vmUnacctMemory(pages);
  return -ENOMEM;
}

// --- what a VMA counts as ---------------------------------------------------------------------------------------------------

/** VM_STACK: the flag of stacks, down- or upward. */
const VM_STACK = VM_GROWSDOWN | VM_GROWSUP;

/** is_exec_mapping: code, which is not written. */
export const isExecMapping = (flags: number): boolean => (flags & (VM_EXEC | VM_WRITE | VM_STACK)) === VM_EXEC;

/** is_stack_mapping. */
export const isStackMapping = (flags: number): boolean => (flags & VM_STACK) !== 0;

/** is_data_mapping: private writable memory. */
export const isDataMapping = (flags: number): boolean => (flags & (VM_WRITE | VM_SHARED | VM_STACK)) === VM_WRITE;

/** vm_stat_account: pages of a VMA come (or, negative, go). */
export function vmStatAccount(mm: MmRef, flags: number, pages: number): void {
  add(mm, Mm.totalVm, pages);
  if (isExecMapping(flags)) add(mm, Mm.execVm, pages);
  else if (isStackMapping(flags)) add(mm, Mm.stackVm, pages);
  else if (isDataMapping(flags)) add(mm, Mm.dataVm, pages);
}

/** may_expand_vm: RLIMIT_AS and RLIMIT_DATA allow so many pages more of a kind. */
export function mayExpandVm(mm: MmRef, flags: number, pages: number): boolean {
  if (get(mm, Mm.totalVm) + pages > pfnDown(rlimit(mm, RLIMIT_AS))) return false;
  if (!isDataMapping(flags)) return true;
  const data = get(mm, Mm.dataVm) + pages;
  if (data <= pfnDown(rlimit(mm, RLIMIT_DATA))) return true;
  // Valgrind sets a soft limit of 0, which used to bind brk() alone.
  return rlimit(mm, RLIMIT_DATA) === 0 && data <= pfnDown(rlimitMax(mm, RLIMIT_DATA));
}

/** can_do_mlock: the process may lock any memory at all. */
export const canDoMlock = (mm: MmRef): boolean => rlimit(mm, RLIMIT_MEMLOCK) !== 0 || capable(mm, CAP_IPC_LOCK);

/** mlock_future_ok: so many pages more of VMAs with these flags stay within RLIMIT_MEMLOCK. */
export const mlockFutureOk = (mm: MmRef, flags: number, pages: number): boolean =>
  (flags & VM_LOCKED) === 0 || capable(mm, CAP_IPC_LOCK) || get(mm, Mm.lockedVm) + pages <= pfnDown(rlimit(mm, RLIMIT_MEMLOCK));
