/**
 * process_vm_readv, process_vm_writev: copying between two address spaces (mm/process_vm_access.c), and who may (kernel/ptrace.c, kernel/fork.c:
 * mm_access).
 *
 * Invariants: the other process's pages are pinned, so that they stay the ones it has while its mmap lock is away; they are pinned in runs, ahead of
 * what is copied, so pages are faulted in there that no byte is moved for. Its rights count: nothing is forced, no stack grows.
 */
import type { Op } from '../kernel/op.ts';
import { downRead, get, kmalloc, set, switched, upRead } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { allocObject, freeObject, pageShift } from '../memory/state.ts';
import { EACCES, EFAULT, EINVAL, ENOMEM, EPERM, ESRCH } from './errno.ts';
import { globals } from './globals.ts';
import { pinUserPagesRemote } from './gup-calls.ts';
import { unpinUserPagesDirtyLock } from './gup-pin.ts';
import { allocGup, FOLL_WRITE, freeGup, Gup, PAGE_VECTOR, PageVector, type PageVectorRef } from './gup-types.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { getTaskMm, mmput } from './process.ts';
import { Globals, type MmRef, Process, type ProcessRef } from './types.ts';
import { copyPageFromIter, copyPageToIter, freeIovec, importIovec, iovecFromUser } from './uio.ts';
import { Iovec, type IovecRef } from './uio-types.ts';
import { CAP_SYS_ADMIN, CAP_SYS_PTRACE, processCapable } from './util.ts';

const CAP_PERFMON = 38;
/** Runs of so many pages need no memory of the kernel's (PVM_MAX_PP_ARRAY_COUNT). */
const PVM_MAX_PP_ARRAY_COUNT = 16;

/** find_task_by_vpid: the living process of a number, 0 for none. */
export function findLiveProcess(pid: number): ProcessRef {
  let process: ProcessRef = get(globals, Globals.processes);
  while (process !== 0 && !(get(process, Process.pid) === pid && get(process, Process.alive) !== 0)) process = get(process, Process.next);
  return process;
}

/** ptrace_may_access, among processes of one user: nobody reaches into a process that may do more than he. */
export function ptraceMayAccess(process: ProcessRef, target: ProcessRef): boolean {
  if (process === target || processCapable(process, CAP_SYS_PTRACE)) return true;
  const low = get(target, Process.capsLow) & ~get(process, Process.capsLow);
  return low === 0 && (get(target, Process.capsHigh) & ~get(process, Process.capsHigh)) === 0;
}

/** perfmon_capable. */
const perfmonCapable = (process: ProcessRef): boolean =>
  processCapable(process, CAP_SYS_ADMIN) || (get(process, Process.capsHigh) & (1 << (CAP_PERFMON - 32))) !== 0;

/**
 * mm_access: the address space of a process whom the caller may look into, as one of its users; −ESRCH when it has none, −EACCES. Who only `reads` (PTRACE_MODE_READ)
 * may do so with the right to watch all processes, too (may_access_mm). Credentials and address
 * space belong together: exec changes both under the lock that is held here, so that rights over a program are not taken for rights over the next one.
 */
export function* mmAccess(process: ProcessRef, target: ProcessRef, reads: number): Op<number> {
  const locked = !switched(SW.execAccessUnlocked);
  if (locked) yield* downRead(target + Process.execUpdateLock);
  const mm = yield* getTaskMm(target);
  let result = mm === 0 ? -ESRCH : mm;
  if (mm !== 0 && mm !== get(process, Process.mm) && !ptraceMayAccess(process, target) && !(reads !== 0 && perfmonCapable(process))) {
    yield* mmput(mm);
    result = -EACCES;
  }
  if (locked) yield* upRead(target + Process.execUpdateLock);
  return result;
}

/** process_vm_readv(2). */
export function* sysProcessVmReadv(
  process: ProcessRef,
  pid: number,
  localVector: number,
  localCount: number,
  remoteVector: number,
  remoteCount: number,
  flags: number,
): Op<number> {
  return yield* processVmRw(process, pid, localVector, localCount, remoteVector, remoteCount, flags, 0);
}

/** process_vm_writev(2). */
export function* sysProcessVmWritev(
  process: ProcessRef,
  pid: number,
  localVector: number,
  localCount: number,
  remoteVector: number,
  remoteCount: number,
  flags: number,
): Op<number> {
  return yield* processVmRw(process, pid, localVector, localCount, remoteVector, remoteCount, flags, 1);
}

/** process_vm_rw: bytes moved, or an error when there are none. */
function* processVmRw(
  process: ProcessRef,
  pid: number,
  localVector: number,
  localCount: number,
  remoteVector: number,
  remoteCount: number,
  flags: number,
  write: number,
): Op<number> {
  if (flags !== 0) return -EINVAL;
  const mm = get(process, Process.mm);
  const local = yield* importIovec(mm, localVector, localCount);
  if (local < 0) return local;
  let result = 0;
  if (get(local, Iovec.left) > 0) {
    const remote = yield* iovecFromUser(mm, remoteVector, remoteCount);
    if (remote < 0) result = remote;
    else {
      result = yield* processVmRwCore(process, pid, local, remote, write);
      freeIovec(remote);
    }
  }
  freeIovec(local);
  return result;
}

/** Pages that the longest of the buffers touches. */
function mostPages(iovec: IovecRef): number {
  let most = 0;
  for (let i = 0; i < get(iovec, Iovec.count); i++) most = Math.max(most, pagesOf(get(iovec, Iovec.bases + i), get(iovec, Iovec.lengths + i)));
  return most;
}

/** Pages that [address, address + length) touches. */
function pagesOf(address: number, length: number): number {
  const size = 2 ** pageShift;
  return length === 0 ? 0 : Math.floor((address + length - 1) / size) - Math.floor(address / size) + 1;
}

function* processVmRwCore(process: ProcessRef, pid: number, local: IovecRef, remote: IovecRef, write: number): Op<number> {
  const most = mostPages(remote);
  if (most === 0) return 0;
  const vector = most > PVM_MAX_PP_ARRAY_COUNT ? yield* kmalloc(PageVector.$type) : allocObject(PageVector.$type, PageVector.$size);
  if (vector === 0) return -ENOMEM;
  const target = findLiveProcess(pid);
  const theirs = target === 0 ? -ESRCH : yield* mmAccess(process, target, 0);
  let result = theirs === -EACCES ? -EPERM : theirs < 0 ? theirs : 0;
  const total = get(local, Iovec.left);
  const ours = get(process, Process.mm);
  for (let i = 0; i < get(remote, Iovec.count) && get(local, Iovec.left) > 0 && result === 0; i++)
    result = yield* singleVec(ours, theirs, get(remote, Iovec.bases + i), get(remote, Iovec.lengths + i), local, vector, write);
  if (theirs > 0) yield* mmput(theirs);
  freeObject(vector, PageVector.$size);
  const moved = total - get(local, Iovec.left);
  return moved > 0 ? moved : result;
}

/** process_vm_rw_single_vec: one buffer of the other process. 0 or −EFAULT; what was moved the iterator knows. */
function* singleVec(ours: MmRef, theirs: MmRef, address: number, length: number, local: IovecRef, vector: PageVectorRef, write: number): Op<number> {
  const size = 2 ** pageShift;
  let vpn = Math.floor(address / size);
  let offset = address - vpn * size;
  let pages = pagesOf(address, length);
  let rest = length;
  let result = 0;
  while (result === 0 && pages > 0 && get(local, Iovec.left) > 0) {
    const pinned = yield* pinRemote(theirs, vpn, Math.min(pages, PAGE_VECTOR), vector, write);
    if (pinned <= 0) return -EFAULT;
    const bytes = Math.min(pinned * size - offset, rest);
    result = yield* rwPages(ours, vector, offset, bytes, local, write);
    rest -= bytes;
    offset = 0;
    pages -= pinned;
    vpn += pinned;
    yield* unpinUserPagesDirtyLock(vector, write);
  }
  return result;
}

/** The pages of a run of the other address space, pinned. */
function* pinRemote(mm: MmRef, vpn: number, count: number, vector: PageVectorRef, write: number): Op<number> {
  const gup = allocGup();
  set(gup, Gup.mm, mm);
  set(gup, Gup.vector, vector);
  set(gup, Gup.flags, write !== 0 ? FOLL_WRITE : 0);
  yield* mmapReadLock(mm);
  set(gup, Gup.locked, 1);
  const pinned = yield* pinUserPagesRemote(gup, vpn, count);
  if (get(gup, Gup.locked) !== 0) yield* mmapReadUnlock(mm);
  freeGup(gup);
  return pinned;
}

/** process_vm_rw_pages: between the pinned pages and our memory. −EFAULT where ours cannot be accessed. */
function* rwPages(mm: MmRef, vector: PageVectorRef, start: number, length: number, local: IovecRef, write: number): Op<number> {
  let offset = start;
  let rest = length;
  for (let i = 0; rest > 0 && get(local, Iovec.left) > 0; i++) {
    const page = get(vector, PageVector.pages + i);
    const part = Math.min(2 ** pageShift - offset, rest);
    const copied = write !== 0 ? yield* copyPageFromIter(mm, page, offset, part, local) : yield* copyPageToIter(mm, page, offset, part, local);
    rest -= copied;
    if (copied < part && get(local, Iovec.left) > 0) return -EFAULT;
    offset = 0;
  }
  return 0;
}
