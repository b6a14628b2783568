/**
 * System calls with little behind them: membarrier (kernel/sched/membarrier.c), protection keys (mm/mprotect.c) on processors that have none,
 * map_shadow_stack and memfd_secret where neither is configured, getpid.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { cmpxchg, get, readOnce, set } from '../kernel/ops.ts';
import { EINVAL, ENOSPC, ENOSYS, EPERM } from './errno.ts';
import { MMF_PKEY_0 } from './mm-flags.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { Mm, type MmRef, Process, type ProcessRef } from './types.ts';

const MEMBARRIER_CMD_QUERY = 0;
const MEMBARRIER_CMD_GLOBAL = 1;
const MEMBARRIER_CMD_GLOBAL_EXPEDITED = 2;
const MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 4;
const MEMBARRIER_CMD_PRIVATE_EXPEDITED = 8;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 16;
const MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 32;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64;
const MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 128;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 256;
const MEMBARRIER_CMD_GET_REGISTRATIONS = 512;
const MEMBARRIER_CMD_FLAG_CPU = 1;
/** All commands. */
const MEMBARRIER_CMD_BITMASK = 1023;
/** Mm.membarriers: by how much the bits of barriers that may be asked for lie above those of registrations that are shown. */
const READY = 1024;

/** PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE. */
const PKEY_ACCESS_MASK = 3;

/** membarrier(2). The barriers themselves have nothing to do: memory is seen in order. Registrations are what the mm keeps. */
export function* sysMembarrier(process: ProcessRef, command: number, flags: number, _cpu: number): Op<number> {
  const mm = get(process, Process.mm);
  if (command === MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ ? (flags & ~MEMBARRIER_CMD_FLAG_CPU) !== 0 : flags !== 0) return -EINVAL;
  switch (command) {
    case MEMBARRIER_CMD_QUERY:
      return MEMBARRIER_CMD_BITMASK;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
      return 0;
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
      return yield* register(mm, command, command);
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ:
      // Registering for either of the stronger barriers shows as having registered for the plain one, which is refused nevertheless.
      return yield* register(mm, command, command | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ:
      return ((yield* readOnce(mm, Mm.membarriers)) & (command * 2 * READY)) !== 0 ? 0 : -EPERM;
    case MEMBARRIER_CMD_GET_REGISTRATIONS:
      return (yield* readOnce(mm, Mm.membarriers)) & MEMBARRIER_CMD_BITMASK;
    default:
      return -EINVAL;
  }
}

function* register(mm: MmRef, command: number, shown: number): Op<number> {
  const bits = shown | (command * READY);
  for (;;) {
    const old = yield* readOnce(mm, Mm.membarriers);
    if ((yield* cmpxchg(mm, Mm.membarriers, old, old | bits)) === old) return 0;
  }
}

const isX86 = (): boolean => codec.mode.family === 'x86';
/** ARCH_HAS_PKEYS. */
const hasPkeys = (): boolean => isX86() || codec.mode.family === 'arm64' || codec.mode.family === 'powerpc';

/**
 * pkey_alloc(2). On x86 without protection keys there is key 0 to be had, once, but no way to give it rights; it is not taken back either, as
 * it is not told apart from the key of memory that may only be executed. Where keys are an option of the processor that it does not have, there is none;
 * other architectures do not have the call.
 */
export function* sysPkeyAlloc(process: ProcessRef, flags: number, rights: number): Op<number> {
  if (!hasPkeys()) return -ENOSYS;
  if (flags !== 0 || rights > PKEY_ACCESS_MASK) return -EINVAL;
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  const free = isX86() && (get(mm, Mm.flags) & MMF_PKEY_0) === 0;
  if (free) set(mm, Mm.flags, get(mm, Mm.flags) | MMF_PKEY_0);
  yield* mmapWriteUnlock(mm);
  return free ? -EINVAL : -ENOSPC;
}

/** pkey_free(2): no key is anybody's. */
export function* sysPkeyFree(process: ProcessRef, _pkey: number): Op<number> {
  const mm = get(process, Process.mm);
  if (!hasPkeys()) return -ENOSYS;
  yield* mmapWriteLock(mm);
  yield* mmapWriteUnlock(mm);
  return -EINVAL;
}

/** map_shadow_stack(2). */
export const sysMapShadowStack = (_process: ProcessRef, _address: number, _length: number, _flags: number): number => -ENOSYS;

/** getpid(2). */
export const sysGetpid = (process: ProcessRef): number => get(process, Process.pid);
