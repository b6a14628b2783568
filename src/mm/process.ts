/**
 * Processes: birth, fork, death (kernel/fork.c, kernel/exit.c), as far as the mm takes part.
 *
 * Invariants: a process has an mm and descriptors until it exits; an mm's mappings go when its last user does, with every page that they alone held, and
 * the mm itself when nobody has grabbed it. A process's mm may be taken by others under its `allocLock` only (getTaskMm).
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, cmpxchg, get, kfree, kmalloc, readOnce, set, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { forgetSpace } from '../kernel/tlb.ts';
import { contextSwitch, leaveMm, runsIn } from './context.ts';
import { ENOMEM } from './errno.ts';
import { fileGet, filePut } from './file.ts';
import { dupMm } from './fork-mm.ts';
import { globals } from './globals.ts';
import { mmPutHugeZeroFolio } from './huge-zero.ts';
import { khugepagedExit } from './khugepaged-slots.ts';
import { MMF_TOPDOWN } from './mm-flags.ts';
import { exitMmap } from './mmap.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { pgdAlloc, pgdFree } from './pgtable.ts';
import { Globals, Mm, type MmRef, Process, type ProcessRef } from './types.ts';

export const RLIM_NLIMITS = 16;
export const NR_FILES = 256;

/** mm_alloc: an address space without VMAs, or 0. */
export function* mmAlloc(process: ProcessRef): Op<number> {
  const mm = yield* kmalloc(Mm.$type);
  if (mm === 0) return 0;
  const pgd = yield* pgdAlloc();
  if (pgd === 0) {
    yield* kfree(Mm.$type, mm);
    return 0;
  }
  set(mm, Mm.pgd, pgd);
  set(mm, Mm.users, 1);
  set(mm, Mm.count, 1);
  set(mm, Mm.flags, MMF_TOPDOWN);
  set(mm, Mm.process, process);
  return mm;
}

// --- references to address spaces ------------------------------------------------------------------------------------------

/** mmgrab: the struct stays, what it maps may go. */
export function* mmgrab(mm: MmRef): Op<number> {
  return yield* atomicAdd(mm, Mm.count, 1);
}

/** mmdrop. */
export function* mmdrop(mm: MmRef): Op<number> {
  if ((yield* atomicAdd(mm, Mm.count, -1)) !== 0) return 0;
  forgetSpace(mm);
  yield* pgdFree(get(mm, Mm.pgd));
  return yield* kfree(Mm.$type, mm);
}

/** mmget: for whoever has it already, or keeps others from dropping it. */
export function* mmget(mm: MmRef): Op<number> {
  return yield* atomicAdd(mm, Mm.users, 1);
}

/** mmget_not_zero: 1, or 0 when its mappings are going already. For whoever has grabbed it. */
export function* mmgetNotZero(mm: MmRef): Op<number> {
  for (;;) {
    const users = yield* readOnce(mm, Mm.users);
    if (users === 0) return 0;
    if ((yield* cmpxchg(mm, Mm.users, users, users + 1)) === users) return 1;
  }
}

/** mmput: the last user ends the mappings. */
export function* mmput(mm: MmRef): Op<number> {
  if ((yield* atomicAdd(mm, Mm.users, -1)) !== 0) return 0;
  yield* khugepagedExit(mm);
  yield* exitMmap(mm);
  yield* mmPutHugeZeroFolio(mm);
  return yield* mmdrop(mm);
}

/** get_task_mm: the address space that a process has now, as one of its users; 0 when it has none. */
export function* getTaskMm(process: ProcessRef): Op<number> {
  const locked = !switched(SW.taskMmUnlocked);
  if (locked) yield* spinLock(process + Process.allocLock);
  const mm = get(process, Process.mm);
  if (mm !== 0) yield* mmget(mm);
  if (locked) yield* spinUnlock(process + Process.allocLock);
  return mm;
}

// --- birth and death --------------------------------------------------------------------------------------------------------

/** A process without parent, limits and capabilities unset, with an empty mm; or 0. */
export function* processCreate(): Op<number> {
  const process = yield* kmalloc(Process.$type);
  if (process === 0) return 0;
  const mm = yield* mmAlloc(process);
  if (mm === 0) {
    yield* kfree(Process.$type, process);
    return 0;
  }
  set(process, Process.mm, mm);
  linkProcess(process);
  return process;
}

/** Gives a process its number and a place in the list. */
function linkProcess(process: ProcessRef): void {
  const pid = get(globals, Globals.nextPid);
  set(process, Process.pid, pid);
  set(globals, Globals.nextPid, pid + 1);
  set(process, Process.next, get(globals, Globals.processes));
  set(globals, Globals.processes, process);
  set(process, Process.alive, 1);
}

/** fork(2): the child, or −ENOMEM. */
export function* sysFork(parent: ProcessRef): Op<number> {
  const child = yield* kmalloc(Process.$type);
  if (child === 0) return -ENOMEM;
  for (let i = 0; i < RLIM_NLIMITS; i++) {
    set(child, Process.rlimitCur + i, get(parent, Process.rlimitCur + i));
    set(child, Process.rlimitMax + i, get(parent, Process.rlimitMax + i));
  }
  set(child, Process.capsLow, get(parent, Process.capsLow));
  set(child, Process.capsHigh, get(parent, Process.capsHigh));
  set(child, Process.prctl, get(parent, Process.prctl));
  set(child, Process.parent, parent);
  const mm = yield* dupMm(child, get(parent, Process.mm));
  if (mm < 0) {
    yield* kfree(Process.$type, child);
    // copy_mm() does not tell why dup_mm() failed: also where a pinned page of hugetlb could not be copied (ENOSPC).
    return -ENOMEM;
  }
  set(child, Process.mm, mm);
  for (let fd = 0; fd < NR_FILES; fd++) {
    const file = get(parent, Process.files + fd);
    if (file !== 0) {
      yield* fileGet(file);
      set(child, Process.files + fd, file);
    }
  }
  linkProcess(child);
  return child;
}

/** exit_mm: the process has no address space any longer; the last to have it ends it. */
function* exitMm(process: ProcessRef): Op<number> {
  const mm = get(process, Process.mm);
  // Who holds the mmap lock may rely on the process having the mm.
  yield* mmapReadLock(mm);
  yield* spinLock(process + Process.allocLock);
  set(process, Process.groupExit, 1);
  set(process, Process.mm, 0);
  yield* spinUnlock(process + Process.allocLock);
  yield* mmapReadUnlock(mm);
  // A CPU that has switched here goes on without an address space of its own, lazily, and over to the kernel's tables when the task is gone.
  const lazily = runsIn(mm);
  if (lazily) yield* contextSwitch(0);
  yield* mmput(mm);
  return lazily ? yield* leaveMm() : 0;
}

/** exit_group(2), or death by a signal. The record of the process stays, as a zombie that nobody reaps would. */
export function* sysExit(process: ProcessRef, status: number): Op<number> {
  yield* exitMm(process);
  for (let fd = 0; fd < NR_FILES; fd++) {
    const file = get(process, Process.files + fd);
    if (file !== 0) {
      set(process, Process.files + fd, 0);
      yield* filePut(file);
    }
  }
  set(process, Process.exitStatus, status);
  set(process, Process.alive, 0);
  return 0;
}
