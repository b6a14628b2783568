/**
 * ioctl(2) on a userfaultfd (fs/userfaultfd.c: userfaultfd_ioctl): how the arguments lie in user memory, which are refused, and what is written back.
 *
 * Invariant: what was done before a failure is reported in the argument's last field, and waiters of exactly that range are woken.
 */
import type { Op } from '../kernel/op.ts';
import { cmpxchg, get, readOnce } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EAGAIN, EBADF, EFAULT, EINVAL, ENOTTY, EPERM, ESRCH } from './errno.ts';
import { fdGet, filePut } from './file.ts';
import { INODE_UFFD } from './file-types.ts';
import { mmgetNotZero, mmput } from './process.ts';
import { File, Inode, type MmRef, Process, type ProcessRef } from './types.ts';
import { getUserInt, putUserInt } from './uaccess.ts';
import { MFILL_CONTINUE, MFILL_COPY, MFILL_POISON, MFILL_WP, MFILL_ZEROPAGE, mfillAtomic } from './userfaultfd-fill.ts';
import { wakeUserfault } from './userfaultfd-queue.ts';
import { userfaultfdRegister, userfaultfdUnregister, validateRange, validateUnalignedRange } from './userfaultfd-register.ts';
import {
  UFFD_API,
  UFFD_API_FEATURES,
  UFFD_FEATURE_EVENT_FORK,
  UFFD_FEATURE_WP_ASYNC,
  UFFD_FEATURE_WP_UNPOPULATED,
  UFFD_INITIALIZED,
  UFFD_MINOR,
  Uffd,
  type UffdRef,
} from './userfaultfd-types.ts';
import { mwriteprotectRange } from './userfaultfd-wp.ts';
import { CAP_SYS_PTRACE, processCapable } from './util.ts';
import { VM_UFFD_MISSING, VM_UFFD_WP } from './vm-flags.ts';

// Numbers of the commands (_UFFDIO_*), the low byte of an ioctl number whose next byte is 0xaa.
const UFFDIO_REGISTER = 0x00;
const UFFDIO_UNREGISTER = 0x01;
const UFFDIO_WAKE = 0x02;
const UFFDIO_COPY = 0x03;
const UFFDIO_ZEROPAGE = 0x04;
const UFFDIO_MOVE = 0x05;
const UFFDIO_WRITEPROTECT = 0x06;
const UFFDIO_CONTINUE = 0x07;
const UFFDIO_POISON = 0x08;
const UFFDIO_API = 0x3f;
const UFFDIO_TYPE = 0xaa;

/** UFFD_API_RANGE_IOCTLS, and those for ranges with huge pages of hugetlb (UFFD_API_RANGE_IOCTLS_BASIC): bits by command. */
const RANGE_IOCTLS = 0x1fc;
const RANGE_IOCTLS_BASIC = 0x1cc;

const REGISTER_MODE_MISSING = 1;
const REGISTER_MODE_WP = 2;
const REGISTER_MODE_MINOR = 4;
/** UFFDIO_*_MODE_DONTWAKE of all commands but UFFDIO_WRITEPROTECT. */
const MODE_DONTWAKE = 1;
/** UFFDIO_COPY_MODE_WP, UFFDIO_CONTINUE_MODE_WP. */
const MODE_WP = 2;
const WRITEPROTECT_MODE_WP = 1;
const WRITEPROTECT_MODE_DONTWAKE = 2;

/** ioctl(2): of a userfaultfd; −ENOTTY for other files. */
export function* sysIoctl(process: ProcessRef, fd: number, command: number, argument: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return -EBADF;
  const inode = get(file, File.inode);
  const result = get(inode, Inode.kind) === INODE_UFFD ? yield* userfaultfdIoctl(process, get(inode, Inode.uffd), command, argument) : -ENOTTY;
  yield* filePut(file);
  return result;
}

function* userfaultfdIoctl(process: ProcessRef, ctx: UffdRef, command: number, at: number): Op<number> {
  if (((command >>> 8) & 0xff) !== UFFDIO_TYPE) return -EINVAL;
  const number = command & 0xff;
  const callerMm = get(process, Process.mm);
  if (number === UFFDIO_API) return yield* apiHandshake(process, ctx, at);
  if ((get(ctx, Uffd.features) & UFFD_INITIALIZED) === 0) return -EINVAL;
  switch (number) {
    case UFFDIO_REGISTER:
      return yield* register(ctx, callerMm, at);
    case UFFDIO_UNREGISTER:
    case UFFDIO_WAKE:
      return yield* rangeCommand(ctx, callerMm, at, number);
    case UFFDIO_COPY:
      return yield* fill(ctx, callerMm, at, MFILL_COPY);
    case UFFDIO_ZEROPAGE:
      return yield* fill(ctx, callerMm, at, MFILL_ZEROPAGE);
    case UFFDIO_CONTINUE:
      return yield* fill(ctx, callerMm, at, MFILL_CONTINUE);
    case UFFDIO_POISON:
      return yield* fill(ctx, callerMm, at, MFILL_POISON);
    case UFFDIO_WRITEPROTECT:
      return yield* writeprotect(ctx, callerMm, at);
    case UFFDIO_MOVE:
      return yield* move(ctx, callerMm, at);
    default:
      return -EINVAL;
  }
}

/** put_user of 64 bits that need not be an exact number: two halves. */
function* putUser64(mm: MmRef, to: number, low: number, high: number): Op<number> {
  const error = yield* putUserInt(mm, to, low, 4);
  return error === 0 ? yield* putUserInt(mm, to + 4, high, 4) : error;
}

/** put_user of a signed result: bytes, or −errno in two's complement. */
function* putResult(mm: MmRef, to: number, value: number): Op<number> {
  return value >= 0 ? yield* putUserInt(mm, to, value, 8) : yield* putUser64(mm, to, value + 2 ** 32, 2 ** 32 - 1);
}

/** userfaultfd_api: struct uffdio_api { api, features, ioctls }. */
function* apiHandshake(process: ProcessRef, ctx: UffdRef, at: number): Op<number> {
  const mm = get(process, Process.mm);
  const api = yield* getUserInt(mm, at, 8);
  const wanted = yield* getUserInt(mm, at + 8, 8);
  if (api < 0 || wanted < 0) return -EFAULT;
  let error = 0;
  let features = (wanted % 2 ** 32) | 0;
  if (api !== UFFD_API || wanted >= 2 ** 32 || (features & ~UFFD_API_FEATURES) !== 0) error = -EINVAL;
  else if ((features & UFFD_FEATURE_EVENT_FORK) !== 0 && !processCapable(process, CAP_SYS_PTRACE)) error = -EPERM;
  if (error === 0) {
    if ((features & UFFD_FEATURE_WP_ASYNC) !== 0) features |= UFFD_FEATURE_WP_UNPOPULATED;
    error = yield* putUserInt(mm, at + 8, UFFD_API_FEATURES, 8);
    // UFFD_API_IOCTLS: register, unregister, api.
    if (error === 0) error = yield* putUser64(mm, at + 16, 3, 2 ** 31);
    if (error !== 0) return error;
    if ((yield* cmpxchg(ctx, Uffd.features, 0, features | UFFD_INITIALIZED)) === 0) return 0;
    error = -EINVAL;
  }
  for (let i = 0; i < 3; i++) if ((yield* putUserInt(mm, at + i * 8, 0, 8)) !== 0) return -EFAULT;
  return error;
}

/** userfaultfd_register: struct uffdio_register { start, len, mode, ioctls }. */
function* register(ctx: UffdRef, callerMm: MmRef, at: number): Op<number> {
  const start = yield* getUserInt(callerMm, at, 8);
  const length = yield* getUserInt(callerMm, at + 8, 8);
  const mode = yield* getUserInt(callerMm, at + 16, 8);
  if (start < 0 || length < 0 || mode < 0) return -EFAULT;
  if (mode === 0 || mode > (REGISTER_MODE_MISSING | REGISTER_MODE_WP | REGISTER_MODE_MINOR)) return -EINVAL;
  let modes = (mode & REGISTER_MODE_MISSING) !== 0 ? VM_UFFD_MISSING : 0;
  if ((mode & REGISTER_MODE_WP) !== 0) modes |= VM_UFFD_WP;
  if ((mode & REGISTER_MODE_MINOR) !== 0) modes |= UFFD_MINOR;
  const invalid = validateRange(get(ctx, Uffd.mm), start, length);
  if (invalid !== 0) return invalid;
  const basic = yield* userfaultfdRegister(ctx, start / 2 ** pageShift, (start + length) / 2 ** pageShift, modes);
  if (basic < 0) return basic;
  let ioctls = basic !== 0 ? RANGE_IOCTLS_BASIC : RANGE_IOCTLS;
  if ((mode & REGISTER_MODE_WP) === 0) ioctls &= ~(1 << UFFDIO_WRITEPROTECT);
  if ((mode & REGISTER_MODE_MINOR) === 0) ioctls &= ~(1 << UFFDIO_CONTINUE);
  return yield* putUserInt(callerMm, at + 24, ioctls, 8);
}

/** userfaultfd_unregister, userfaultfd_wake: struct uffdio_range { start, len }. */
function* rangeCommand(ctx: UffdRef, callerMm: MmRef, at: number, number: number): Op<number> {
  const start = yield* getUserInt(callerMm, at, 8);
  const length = yield* getUserInt(callerMm, at + 8, 8);
  if (start < 0 || length < 0) return -EFAULT;
  const invalid = validateRange(get(ctx, Uffd.mm), start, length);
  if (invalid !== 0) return invalid;
  if (number === UFFDIO_WAKE) return yield* wakeUserfault(ctx, start, length);
  return yield* userfaultfdUnregister(ctx, start / 2 ** pageShift, (start + length) / 2 ** pageShift);
}

/**
 * userfaultfd_copy: struct uffdio_copy { dst, src, len, mode, copy }; userfaultfd_zeropage, userfaultfd_continue, userfaultfd_poison: struct { start, len, mode, result }.
 */
function* fill(ctx: UffdRef, callerMm: MmRef, at: number, how: number): Op<number> {
  const mm = get(ctx, Uffd.mm);
  const copies = how === MFILL_COPY;
  const result = at + (copies ? 32 : 24);
  if ((yield* readOnce(ctx, Uffd.mmapChanging)) !== 0) return (yield* putResult(callerMm, result, -EAGAIN)) !== 0 ? -EFAULT : -EAGAIN;
  const start = yield* getUserInt(callerMm, at, 8);
  const source = copies ? yield* getUserInt(callerMm, at + 8, 8) : 0;
  const length = yield* getUserInt(callerMm, at + (copies ? 16 : 8), 8);
  const mode = yield* getUserInt(callerMm, at + (copies ? 24 : 16), 8);
  if (start < 0 || source < 0 || length < 0 || mode < 0) return -EFAULT;
  let invalid = copies ? validateUnalignedRange(mm, source, length) : 0;
  if (invalid === 0) invalid = validateRange(mm, start, length);
  if (invalid !== 0) return invalid;
  if (mode > (copies || how === MFILL_CONTINUE ? MODE_DONTWAKE | MODE_WP : MODE_DONTWAKE)) return -EINVAL;
  if ((yield* mmgetNotZero(mm)) === 0) return -ESRCH;
  const flags = how | ((mode & MODE_WP) !== 0 ? MFILL_WP : 0);
  const done = yield* mfillAtomic(ctx, start / 2 ** pageShift, callerMm, source, length / 2 ** pageShift, flags);
  yield* mmput(mm);
  if ((yield* putResult(callerMm, result, done)) !== 0) return -EFAULT;
  if (done < 0) return done;
  if ((mode & MODE_DONTWAKE) === 0) yield* wakeUserfault(ctx, start, done);
  return done === length ? 0 : -EAGAIN;
}

/** userfaultfd_writeprotect: struct uffdio_writeprotect { start, len, mode }. */
function* writeprotect(ctx: UffdRef, callerMm: MmRef, at: number): Op<number> {
  const mm = get(ctx, Uffd.mm);
  if ((yield* readOnce(ctx, Uffd.mmapChanging)) !== 0) return -EAGAIN;
  const start = yield* getUserInt(callerMm, at, 8);
  const length = yield* getUserInt(callerMm, at + 8, 8);
  const mode = yield* getUserInt(callerMm, at + 16, 8);
  if (start < 0 || length < 0 || mode < 0) return -EFAULT;
  const invalid = validateRange(mm, start, length);
  if (invalid !== 0) return invalid;
  // Who protects wakes nobody.
  if (mode > WRITEPROTECT_MODE_DONTWAKE) return -EINVAL;
  if ((yield* mmgetNotZero(mm)) === 0) return -ESRCH;
  const error = yield* mwriteprotectRange(ctx, start / 2 ** pageShift, (start + length) / 2 ** pageShift, mode & WRITEPROTECT_MODE_WP);
  yield* mmput(mm);
  if (error !== 0) return error;
  return mode === 0 ? yield* wakeUserfault(ctx, start, length) : 0;
}

/** userfaultfd_move: struct uffdio_move { dst, src, len, mode, move }. Within one address space only. */
function* move(ctx: UffdRef, callerMm: MmRef, at: number): Op<number> {
  if ((yield* readOnce(ctx, Uffd.mmapChanging)) !== 0) return -EAGAIN;
  if ((yield* getUserInt(callerMm, at, 8)) < 0) return -EFAULT;
  if (get(ctx, Uffd.mm) !== callerMm) return -EINVAL;
  return -EINVAL;
}
