/**
 * Descriptors of processes: pidfd_open (kernel/pid.c, fs/pidfs.c).
 *
 * Invariant: a pidfd leads to its process as long as it is open; one that has ended is not found (ESRCH).
 */
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { EBADF, EINVAL, ENOMEM, ESRCH } from './errno.ts';
import { fdFile, fdPublish, fileAlloc, intArgument } from './file.ts';
import { FMODE_PREAD, FMODE_PWRITE, FMODE_READ, FMODE_WRITE, INODE_PIDFD, O_EXCL, O_NONBLOCK, O_RDWR } from './file-types.ts';
import { iput, newInode } from './inode.ts';
import { findLiveProcess } from './process-vm.ts';
import { File, Inode, Process, type ProcessRef } from './types.ts';

const PIDFD_NONBLOCK = O_NONBLOCK;
const PIDFD_THREAD = O_EXCL;
/** Descriptors that mean the caller, its thread and its process. */
const PIDFD_SELF_THREAD = -10000;
const PIDFD_SELF_THREAD_GROUP = -10001;

/** pidfd_open(2). */
export function* sysPidfdOpen(process: ProcessRef, pidArgument: number, flags: number): Op<number> {
  const pid = intArgument(pidArgument);
  if ((flags & ~(PIDFD_NONBLOCK | PIDFD_THREAD)) !== 0) return -EINVAL;
  if (pid <= 0) return -EINVAL;
  const target = findLiveProcess(pid);
  if (target === 0) return -ESRCH;
  const inode = yield* newInode(INODE_PIDFD, 0o700);
  if (inode === 0) return -ENOMEM;
  set(inode, Inode.process, target);
  const file = yield* fileAlloc(inode, O_RDWR | (flags & PIDFD_NONBLOCK), FMODE_READ | FMODE_WRITE | FMODE_PREAD | FMODE_PWRITE);
  if (file === 0) {
    yield* iput(inode);
    return -ENOMEM;
  }
  return yield* fdPublish(process, file);
}

/** pidfd_get_task: the process behind a descriptor; −EBADF when it is no pidfd, −ESRCH when the process has ended. */
export function pidfdGetTask(process: ProcessRef, fd: number): number {
  if (intArgument(fd) === PIDFD_SELF_THREAD || intArgument(fd) === PIDFD_SELF_THREAD_GROUP) return process;
  const file = fdFile(process, intArgument(fd));
  if (file === 0 || get(get(file, File.inode), Inode.kind) !== INODE_PIDFD) return -EBADF;
  const target = get(get(file, File.inode), Inode.process);
  return get(target, Process.alive) !== 0 ? target : -ESRCH;
}
