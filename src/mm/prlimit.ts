/**
 * prlimit64(2): limits of a process (kernel/sys.c: do_prlimit).
 *
 * Units: bytes or counts, as the resource has them; −1 in a process's tables stands for infinity. A limit of 2^53 and more is kept as the nearest double.
 */
import type { Op } from '../kernel/op.ts';
import { get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { EFAULT, EINVAL, EPERM, ESRCH } from './errno.ts';
import { globals } from './globals.ts';
import { RLIM_NLIMITS } from './process.ts';
import { Globals, type MmRef, Process, type ProcessRef } from './types.ts';
import { getUserInt, putUserInt } from './uaccess.ts';
import { CAP_SYS_RESOURCE } from './util.ts';

const RLIMIT_NOFILE = 7;
/** sysctl_nr_open. */
const NR_OPEN = 1048576;
const RLIM_INFINITY = -1;

/** find_task_by_vpid: the process of a number, which may have exited; 0 for none. */
export function findProcess(pid: number): ProcessRef {
  let process: ProcessRef = get(globals, Globals.processes);
  while (process !== 0 && get(process, Process.pid) !== pid) process = get(process, Process.next);
  return process;
}

/** One limit of a struct rlimit64 in user memory: RLIM_INFINITY, a number, or −EFAULT, which no limit is. */
function* getUserLimit(mm: MmRef, from: number): Op<number> {
  const low = yield* getUserInt(mm, from, 4);
  if (low < 0) return -EFAULT;
  const high = yield* getUserInt(mm, from + 4, 4);
  if (high < 0) return -EFAULT;
  return low === 0xffffffff && high === 0xffffffff ? RLIM_INFINITY : high * 2 ** 32 + low;
}

function* putUserLimit(mm: MmRef, to: number, limit: number): Op<number> {
  const infinite = limit < 0 || limit >= 2 ** 64;
  if ((yield* putUserInt(mm, to, infinite ? 0xffffffff : limit % 2 ** 32, 4)) !== 0) return -EFAULT;
  return yield* putUserInt(mm, to + 4, infinite ? 0xffffffff : Math.floor(limit / 2 ** 32), 4);
}

/** Limits as numbers that compare. */
const limitValue = (limit: number): number => (limit < 0 ? Infinity : limit);

/**
 * do_prlimit: gives `target` other limits of a resource; 0 or −errno. The limits as numbers, −1 infinity.
 */
export function* doPrlimit(process: ProcessRef, target: ProcessRef, resource: number, soft: number, hard: number): Op<number> {
  if (resource >= RLIM_NLIMITS) return -EINVAL;
  if (limitValue(soft) > limitValue(hard)) return -EINVAL;
  if (resource === RLIMIT_NOFILE && limitValue(hard) > NR_OPEN) return -EPERM;
  yield* spinLock(target + Process.allocLock);
  // The hard limit comes down for everybody and goes up for those who may.
  const allowed = limitValue(hard) <= limitValue(get(target, Process.rlimitMax + resource)) || (get(process, Process.capsLow) & (1 << CAP_SYS_RESOURCE)) !== 0;
  if (allowed) {
    set(target, Process.rlimitCur + resource, soft);
    set(target, Process.rlimitMax + resource, hard);
  }
  yield* spinUnlock(target + Process.allocLock);
  return allowed ? 0 : -EPERM;
}

/** setrlimit(2): `limit` points to a struct rlimit. 0 or −errno. */
export function* sysSetrlimit(process: ProcessRef, resource: number, limit: number): Op<number> {
  return yield* sysPrlimit64(process, 0, resource, limit, 0);
}

/** getrlimit(2). */
export function* sysGetrlimit(process: ProcessRef, resource: number, limit: number): Op<number> {
  return yield* sysPrlimit64(process, 0, resource, 0, limit);
}

/** prlimit64(2): `newLimit` and `oldLimit` point to a struct rlimit64 or are 0. 0 or −errno. */
export function* sysPrlimit64(process: ProcessRef, pid: number, resource: number, newLimit: number, oldLimit: number): Op<number> {
  const mm = get(process, Process.mm);
  let soft = 0;
  let hard = 0;
  if (newLimit !== 0) {
    soft = yield* getUserLimit(mm, newLimit);
    if (soft === -EFAULT) return -EFAULT;
    hard = yield* getUserLimit(mm, newLimit + 8);
    if (hard === -EFAULT) return -EFAULT;
  }
  const target = pid === 0 ? process : findProcess(pid);
  if (target === 0) return -ESRCH;
  if (resource >= RLIM_NLIMITS) return -EINVAL;
  const oldSoft = get(target, Process.rlimitCur + resource);
  const oldHard = get(target, Process.rlimitMax + resource);
  if (newLimit !== 0) {
    const error = yield* doPrlimit(process, target, resource, soft, hard);
    if (error !== 0) return error;
  }
  if (oldLimit === 0) return 0;
  if ((yield* putUserLimit(mm, oldLimit, oldSoft)) !== 0) return -EFAULT;
  return yield* putUserLimit(mm, oldLimit + 8, oldHard);
}
