/**
 * userfaultfd(2): a file through which a process is told of faults in its memory, or of changes of it (fs/userfaultfd.c). What it answers goes by ioctl
 * (userfaultfd-ioctl.ts).
 *
 * Invariants: before the UFFDIO_API handshake the file does nothing; a fault that is read stays in a queue until it is woken; closing the file ends all waiting.
 */
import type { Op } from '../kernel/op.ts';
import { get, set, spinLock, spinUnlock, waitFor, writeOnce } from '../kernel/ops.ts';
import { EAGAIN, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { fdPublish, fileAlloc, intArgument } from './file.ts';
import { FMODE_READ, FMODE_WRITE, INODE_UFFD, O_CLOEXEC, O_NONBLOCK, O_RDWR } from './file-types.ts';
import { iput, newInode } from './inode.ts';
import { File, type FileRef, Inode, type InodeRef, Mm, type MmRef, Process, type ProcessRef } from './types.ts';
import { putUserInt } from './uaccess.ts';
import { newUffd, uffdGet, uffdPut, uwqAdd, uwqRemove, wakeEvents, wakeUserfault } from './userfaultfd-queue.ts';
import { releaseAll } from './userfaultfd-register.ts';
import {
  UFFD_EVENT_FORK,
  UFFD_EVENT_PAGEFAULT,
  UFFD_EVENT_REMAP,
  UFFD_FEATURE_THREAD_ID,
  UFFD_INITIALIZED,
  UFFD_USER_MODE_ONLY,
  Uffd,
  type UffdRef,
  Uwq,
  type UwqRef,
} from './userfaultfd-types.ts';
import { CAP_SYS_PTRACE, processCapable } from './util.ts';

/** Bytes of a struct uffd_msg. */
const MESSAGE = 32;

/** userfaultfd(2): the descriptor, or −errno. vm.unprivileged_userfaultfd is 0: faults of the kernel are for the privileged. */
export function* sysUserfaultfd(process: ProcessRef, flagsArgument: number): Op<number> {
  const flags = intArgument(flagsArgument);
  if ((flags & UFFD_USER_MODE_ONLY) === 0 && !processCapable(process, CAP_SYS_PTRACE)) return -EPERM;
  if ((flags & ~(UFFD_USER_MODE_ONLY | O_CLOEXEC | O_NONBLOCK)) !== 0) return -EINVAL;
  const ctx = yield* newUffd(get(process, Process.mm), flags & UFFD_USER_MODE_ONLY);
  return ctx === 0 ? -ENOMEM : yield* newFd(process, ctx, flags & O_NONBLOCK);
}

/** anon_inode_create_getfd: a descriptor of a context, whose reference it takes over. −ENOMEM, −EMFILE. */
function* newFd(process: ProcessRef, ctx: UffdRef, flags: number): Op<number> {
  const inode = yield* newInode(INODE_UFFD, 0o600);
  if (inode === 0) {
    yield* uffdPut(ctx);
    return -ENOMEM;
  }
  const file = yield* fileAlloc(inode, O_RDWR | flags, FMODE_READ | FMODE_WRITE);
  if (file === 0) {
    yield* iput(inode);
    yield* uffdPut(ctx);
    return -ENOMEM;
  }
  set(inode, Inode.uffd, ctx);
  return yield* fdPublish(process, file);
}

/** userfaultfd_release: the last descriptor is closed. */
export function* userfaultfdRelease(inode: InodeRef): Op<number> {
  const ctx = get(inode, Inode.uffd);
  // A file that did not come to be.
  if (ctx === 0) return 0;
  yield* writeOnce(ctx, Uffd.released, 1);
  yield* releaseAll(ctx);
  yield* wakeUserfault(ctx, 0, 0);
  yield* wakeEvents(ctx);
  return yield* uffdPut(ctx);
}

/** userfaultfd_ctx_read: the next message, taken from its queue and copied: a message of the caller's own, or −EAGAIN. `process` gets a fork's new descriptor. */
function* nextMessage(ctx: UffdRef, process: ProcessRef, file: FileRef, to: number): Op<number> {
  yield* spinLock(ctx + Uffd.faultLock);
  const fault = get(ctx, Uffd.pending);
  if (fault !== 0) {
    uwqRemove(ctx, Uffd.pending, fault);
    uwqAdd(ctx, Uffd.faults, fault);
    const address = get(fault, Uwq.a);
    const flags = get(fault, Uwq.b);
    yield* spinUnlock(ctx + Uffd.faultLock);
    const thread = (get(ctx, Uffd.features) & UFFD_FEATURE_THREAD_ID) !== 0 ? get(get(get(ctx, Uffd.mm), Mm.process), Process.pid) : 0;
    return yield* putMessage(get(process, Process.mm), to, UFFD_EVENT_PAGEFAULT, flags, address, thread);
  }
  yield* spinUnlock(ctx + Uffd.faultLock);
  yield* spinLock(ctx + Uffd.eventLock);
  const ewq = get(ctx, Uffd.events);
  if (ewq === 0) {
    yield* spinUnlock(ctx + Uffd.eventLock);
    return -EAGAIN;
  }
  const event = get(ewq, Uwq.event);
  const a = get(ewq, Uwq.a);
  const b = get(ewq, Uwq.b);
  const c = get(ewq, Uwq.c);
  uwqRemove(ctx, Uffd.events, ewq);
  if (event !== UFFD_EVENT_FORK) {
    yield* completeEvent(ewq);
    yield* spinUnlock(ctx + Uffd.eventLock);
    return yield* putMessage(get(process, Process.mm), to, event, a, b, event === UFFD_EVENT_REMAP ? c : 0);
  }
  yield* spinUnlock(ctx + Uffd.eventLock);
  // resolve_userfault_fork: a descriptor of the child's context for the reader. The descriptor has a reference of its own until the event is complete.
  yield* uffdGet(a);
  const fd = yield* newFd(process, a, get(file, File.flags) & O_NONBLOCK);
  yield* spinLock(ctx + Uffd.eventLock);
  if (fd < 0) uwqAdd(ctx, Uffd.events, ewq);
  else yield* completeEvent(ewq);
  yield* spinUnlock(ctx + Uffd.eventLock);
  if (fd < 0) return fd;
  yield* uffdPut(a);
  return yield* putMessage(get(process, Process.mm), to, event, fd, 0, 0);
}

/** userfaultfd_event_complete: who waits for its event to be read goes on. Needs the lock of events. */
function* completeEvent(ewq: UwqRef): Op<number> {
  set(ewq, Uwq.event, 0);
  return yield* writeOnce(ewq, Uwq.waken, 1);
}

/** copy_to_user of a struct uffd_msg. 0 or −EFAULT. */
function* putMessage(mm: MmRef, to: number, event: number, a: number, b: number, c: number): Op<number> {
  let error = yield* putUserInt(mm, to, event, 8);
  if (error === 0) error = yield* putUserInt(mm, to + 8, a, 8);
  if (error === 0) error = yield* putUserInt(mm, to + 16, b, 8);
  return error === 0 ? yield* putUserInt(mm, to + 24, c, 8) : error;
}

/** userfaultfd_read: as many messages as there are and fit; without any it waits for one, unless O_NONBLOCK. Bytes, or −errno. */
export function* userfaultfdRead(file: FileRef, mm: MmRef, to: number, length: number): Op<number> {
  const process = get(mm, Mm.process);
  const ctx = get(get(file, File.inode), Inode.uffd);
  if ((get(ctx, Uffd.features) & UFFD_INITIALIZED) === 0) return -EINVAL;
  let done = 0;
  while (length - done >= MESSAGE) {
    const error = yield* nextMessage(ctx, process, file, to + done);
    if (error === -EAGAIN && done === 0 && (get(file, File.flags) & O_NONBLOCK) === 0) {
      yield* waitFor(ctx, Uffd.readable, 1);
      continue;
    }
    if (error !== 0) return done > 0 ? done : error;
    done += MESSAGE;
  }
  return done > 0 ? done : -EINVAL;
}
