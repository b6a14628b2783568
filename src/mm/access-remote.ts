/**
 * The memory of another process as debuggers reach it: /proc/PID/mem, PTRACE_PEEKDATA and POKEDATA (mm/memory.c: __access_remote_vm; fs/proc/base.c:
 * proc_mem_open, mem_rw).
 *
 * Invariants: the target's page tables are changed only by faults that it could have taken itself, or by a private copy for a forced write;
 * a page is copied from or to while the mmap lock is held. Stacks grow to what is accessed.
 */
import type { Op } from '../kernel/op.ts';
import { pageShift } from '../memory/state.ts';
import { getUserPageRemote } from './gup.ts';
import { folioMarkDirtyLock } from './gup-pin.ts';
import { FOLL_FORCE, FOLL_WRITE } from './gup-types.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { getTaskMm, mmdrop, mmgetNotZero, mmgrab, mmput } from './process.ts';
import { mmAccess } from './process-vm.ts';
import { expandStack } from './stack.ts';
import { folioPut } from './swap.ts';
import type { MmRef, Page, ProcessRef, Vpn } from './types.ts';
import { byteOf, copyBytes } from './uaccess.ts';
import { vmaLookup } from './vma-tree.ts';

/**
 * __access_remote_vm: copies between `length` bytes of an address space, from byte `offset` of page `vpn` on, and a page of the kernel's from its byte
 * 0 on (`length` is at most a page). With FOLL_WRITE to the address space, else from it. Bytes copied: as far as it goes.
 */
export function* accessRemoteVm(mm: MmRef, vpn: Vpn, offset: number, buffer: Page, length: number, follFlags: number): Op<number> {
  const size = 2 ** pageShift;
  let done = 0;
  let at = vpn;
  let inPage = offset;
  yield* mmapReadLock(mm);
  if (vmaLookup(mm, at) === 0 && (yield* expandStack(mm, at)) === 0) return 0;
  while (done < length) {
    const page = yield* getUserPageRemote(mm, at, follFlags);
    if (page < 0) {
      if (vmaLookup(mm, at) !== 0) break;
      // Behind the end of a VMA a stack may begin that grows down to here.
      if ((yield* expandStack(mm, at)) === 0) return done;
      continue;
    }
    const part = Math.min(length - done, size - inPage);
    if ((follFlags & FOLL_WRITE) !== 0) {
      copyBytes(byteOf(page, inPage), byteOf(buffer, done), part);
      yield* folioMarkDirtyLock(page);
    } else copyBytes(byteOf(buffer, done), byteOf(page, inPage), part);
    yield* folioPut(page);
    done += part;
    at++;
    inPage = 0;
  }
  yield* mmapReadUnlock(mm);
  return done;
}

/** access_process_vm: the same of the address space that a process has now, which stays while it lasts. 0 bytes of one that has none. */
export function* accessProcessVm(target: ProcessRef, vpn: Vpn, offset: number, buffer: Page, length: number, follFlags: number): Op<number> {
  const mm = yield* getTaskMm(target);
  if (mm === 0) return 0;
  const done = yield* accessRemoteVm(mm, vpn, offset, buffer, length, follFlags);
  yield* mmput(mm);
  return done;
}

// --- /proc/PID/mem ----------------------------------------------------------------------------------------------------------

/** proc_mem_open: the address space that a process has now, grabbed: an open file keeps the struct, not what it maps. −ESRCH, −EACCES. */
export function* procMemOpen(process: ProcessRef, target: ProcessRef): Op<number> {
  const mm = yield* mmAccess(process, target, 0);
  if (mm < 0) return mm;
  yield* mmgrab(mm);
  yield* mmput(mm);
  return mm;
}

/** mem_release. */
export function* procMemRelease(mm: MmRef): Op<number> {
  return yield* mmdrop(mm);
}

/** mem_rw: one step of it, in an address space that nobody may use any longer. */
function* memRw(mm: MmRef, vpn: Vpn, offset: number, buffer: Page, length: number, follFlags: number): Op<number> {
  if ((yield* mmgetNotZero(mm)) === 0) return 0;
  const done = yield* accessRemoteVm(mm, vpn, offset, buffer, length, follFlags);
  yield* mmput(mm);
  return done;
}

/** What one step of reading /proc/PID/mem does, into a page of the kernel's. Bytes, 0 where the first cannot be had or all is gone. */
export function* procMemRead(mm: MmRef, vpn: Vpn, offset: number, buffer: Page, length: number): Op<number> {
  return yield* memRw(mm, vpn, offset, buffer, length, FOLL_FORCE);
}

/** What one step of writing /proc/PID/mem does, from a page of the kernel's. */
export function* procMemWrite(mm: MmRef, vpn: Vpn, offset: number, buffer: Page, length: number): Op<number> {
  return yield* memRw(mm, vpn, offset, buffer, length, FOLL_FORCE | FOLL_WRITE);
}
