/**
 * Open files and descriptors (fs/file_table.c, fs/file.c, fs/fcntl.c).
 *
 * Invariants: a file is referenced by each descriptor that leads to it and by each VMA that maps it; its last reference releases it. Linux does that when
 * the system call returns, which can be told from doing it at once where the call goes on to populate what it has mapped in the file's place: then
 * the file waits in a list (fputLater, releaseFiles).
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, get, kfree, kmalloc, set } from '../kernel/ops.ts';
import { EBADF, EINVAL, EMFILE } from './errno.ts';
import {
  F_ADD_SEALS,
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GET_SEALS,
  F_GETFD,
  F_GETFL,
  F_GETPIPE_SZ,
  F_SETFD,
  F_SETFL,
  FMODE_LSEEK,
  FMODE_PREAD,
  FMODE_PWRITE,
  INODE_PIPE,
  kindIsRegular,
  SETFL_MASK,
} from './file-types.ts';
import { superPut } from './hugetlb-mount.ts';
import { HugetlbSuper } from './hugetlb-types.ts';
import { iput } from './inode.ts';
import { memfdAddSeals, memfdGetSeals } from './memfd.ts';
import { pipeBytes, pipeRelease } from './pipe.ts';
import { NR_FILES } from './process.ts';
import { File, type FileRef, Inode, type InodeRef, Mm, type MmRef, Process, type ProcessRef } from './types.ts';

/** RLIMIT_NOFILE. */
const RLIMIT_NOFILE = 7;

/** alloc_file: an open file of an inode, whose reference it takes over; 0 without memory. */
export function* fileAlloc(inode: InodeRef, flags: number, mode: number): Op<number> {
  const file = yield* kmalloc(File.$type);
  if (file === 0) return 0;
  set(file, File.inode, inode);
  set(file, File.refcount, 1);
  set(file, File.flags, flags);
  set(file, File.mode, kindIsRegular(get(inode, Inode.kind)) ? mode | FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE : mode);
  set(file, File.raPrevPos, -1);
  const sb = get(inode, Inode.super);
  if (sb !== 0) yield* atomicAdd(sb, HugetlbSuper.users, 1);
  return file;
}

/** get_file. */
export function* fileGet(file: FileRef): Op<number> {
  return yield* atomicAdd(file, File.refcount, 1);
}

/** fput. */
export function* filePut(file: FileRef): Op<number> {
  return (yield* atomicAdd(file, File.refcount, -1)) === 0 ? yield* fputFinal(file) : 0;
}

/** fput in a call that goes on: a file that nobody refers to any longer waits in the mm's list for the call's end. Needs the mmap lock for writing. */
export function* fputLater(mm: MmRef, file: FileRef): Op<number> {
  if ((yield* atomicAdd(file, File.refcount, -1)) !== 0) return 0;
  set(file, File.next, get(mm, Mm.filesToRelease));
  set(mm, Mm.filesToRelease, file);
  return 0;
}

/** What has gathered in the mm's list: the call that has it releases it (releaseFiles). Needs the mmap lock for writing. */
export function takeFilesToRelease(mm: MmRef): FileRef {
  const files = get(mm, Mm.filesToRelease);
  if (files !== 0) set(mm, Mm.filesToRelease, 0);
  return files;
}

/** The end of a call (task_work_run, ____fput). */
export function* releaseFiles(first: FileRef): Op<number> {
  let file = first;
  while (file !== 0) {
    const next = get(file, File.next);
    yield* fputFinal(file);
    file = next;
  }
  return 0;
}

/** __fput. */
function* fputFinal(file: FileRef): Op<number> {
  const inode = get(file, File.inode);
  if (get(inode, Inode.kind) === INODE_PIPE) yield* pipeRelease(inode, get(file, File.mode));
  const sb = get(inode, Inode.super);
  yield* iput(inode);
  // What is mounted lives as long as files of it are open.
  if (sb !== 0) yield* superPut(sb);
  return yield* kfree(File.$type, file);
}

/** fget without a reference: the file of a descriptor, 0 for none. */
export function fdFile(process: ProcessRef, fd: number): FileRef {
  if (!(fd >= 0 && fd < NR_FILES)) return 0;
  return get(process, Process.files + Math.floor(fd));
}

/** An argument of type `int` from the number that stands in a register. */
export function intArgument(value: number): number {
  const low = value >= 2 ** 63 ? -(2 ** 64 - value) : value;
  return (low % 2 ** 32) | 0;
}

/** The file of a descriptor that a system call was given, with a reference; −EBADF. */
export function* fdGet(process: ProcessRef, fd: number): Op<number> {
  const file = fdFile(process, intArgument(fd));
  if (file === 0) return -EBADF;
  yield* fileGet(file);
  return file;
}

/** get_unused_fd: the lowest free descriptor from `first` on, or −EMFILE. */
export function unusedFd(process: ProcessRef, first: number): number {
  const limit = get(process, Process.rlimitCur + RLIMIT_NOFILE);
  const end = limit < 0 || limit > NR_FILES ? NR_FILES : limit;
  for (let fd = first; fd < end; fd++) if (get(process, Process.files + fd) === 0) return fd;
  return -EMFILE;
}

/** fd_install. */
export function fdInstall(process: ProcessRef, fd: number, file: FileRef): void {
  set(process, Process.files + fd, file);
}

/** Installs a file at the lowest free descriptor; without one the file is released. The descriptor or −EMFILE. */
export function* fdPublish(process: ProcessRef, file: FileRef): Op<number> {
  const fd = unusedFd(process, 0);
  if (fd < 0) yield* filePut(file);
  else fdInstall(process, fd, file);
  return fd;
}

/** close(2). */
export function* sysClose(process: ProcessRef, fdArgument: number): Op<number> {
  const fd = intArgument(fdArgument);
  const file = fdFile(process, fd);
  if (file === 0) return -EBADF;
  set(process, Process.files + fd, 0);
  yield* filePut(file);
  return 0;
}

/** dup(2). */
export function* sysDup(process: ProcessRef, fd: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  return yield* fdPublish(process, file);
}

/** F_DUPFD. */
function* dupFrom(process: ProcessRef, file: FileRef, first: number): Op<number> {
  const limit = get(process, Process.rlimitCur + RLIMIT_NOFILE);
  if (!(first >= 0) || (limit >= 0 && first >= limit)) return -EINVAL;
  const fd = unusedFd(process, first);
  if (fd < 0) return fd;
  yield* fileGet(file);
  fdInstall(process, fd, file);
  return fd;
}

/** fcntl(2): the commands that mm code meets. Close-on-exec is not kept: exec leaves descriptors open. */
export function* sysFcntl(process: ProcessRef, fd: number, command: number, argument: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const result = yield* doFcntl(process, file, intArgument(command), argument);
  yield* filePut(file);
  return result;
}

function* doFcntl(process: ProcessRef, file: FileRef, command: number, argument: number): Op<number> {
  if (command === F_DUPFD || command === F_DUPFD_CLOEXEC) return yield* dupFrom(process, file, intArgument(argument));
  if (command === F_GETFL) return get(file, File.flags);
  if (command === F_SETFL) {
    set(file, File.flags, (get(file, File.flags) & ~SETFL_MASK) | (intArgument(argument) & SETFL_MASK));
    return 0;
  }
  if (command === F_GETFD || command === F_SETFD) return 0;
  if (command === F_ADD_SEALS) return yield* memfdAddSeals(file, intArgument(argument) >>> 0);
  if (command === F_GET_SEALS) return memfdGetSeals(file);
  if (command === F_GETPIPE_SZ) return pipeBytes(get(file, File.inode));
  return -EINVAL;
}
