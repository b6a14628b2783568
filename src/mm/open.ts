/**
 * open, unlink, ftruncate, fsync, fadvise64 (fs/open.c, fs/namei.c, fs/sync.c, mm/fadvise.c).
 *
 * There are two directories with files, DIRECTORIES of paths.ts: one of a tmpfs, one of a disk; and those that hugetlbfs is mounted on. Inodes with a name are on
 * the list Globals.directory, and have one reference for it.
 */
import type { Op } from '../kernel/op.ts';
import { downWrite, get, set, upWrite } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { diskFsync, diskInvalidate, diskSetSize } from './disk.ts';
import { EACCES, EEXIST, EFAULT, EFBIG, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EOPNOTSUPP, ESPIPE } from './errno.ts';
import { fdGet, fdPublish, fileAlloc, filePut, unusedFd } from './file.ts';
import {
  FMODE_READ,
  FMODE_WRITE,
  INODE_DISK,
  INODE_HUGETLBFS,
  INODE_PIDFD,
  INODE_PIPE,
  INODE_SECRETMEM,
  INODE_TMPFS,
  kindIsHugetlb,
  kindIsRegular,
  O_ACCMODE,
  O_CREAT,
  O_CREATION_FLAGS,
  O_DIRECTORY,
  O_EXCL,
  O_LARGEFILE,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from './file-types.ts';
import { LAST_INDEX } from './filemap.ts';
import { globals } from './globals.ts';
import { hugetlbfsGetInode, superOf } from './hugetlb-mount.ts';
import { hugetlbSetSize } from './hugetlbfs.ts';
import { freeName, igrab, iput, NAME_MAX, nameAppend, nameEquals, newInode, newName } from './inode.ts';
import { pathBegin, pathDirectory, pathStep } from './paths.ts';
import { maxBytes } from './read-write.ts';
import { forcePageCacheReadahead } from './readahead.ts';
import { secretmemSetSize } from './secretmem.ts';
import { shmemGetInode, shmemSetSize } from './shmem.ts';
import { File, type FileRef, Globals, Inode, type InodeRef, type MmRef, Name, type NameRef, Process, type ProcessRef } from './types.ts';
import { getUserByte } from './uaccess.ts';
import { rlimit } from './util.ts';
import { VM_NORESERVE } from './vm-flags.ts';

const PATH_MAX = 4096;
const RLIMIT_FSIZE = 1;
const SLASH = 47;
const S_ALLUGO = 0o7777;

// --- names ------------------------------------------------------------------------------------------------------------------

/**
 * Walks a path in user memory: the number of the directory that its last component is looked up in, with the component in `name` (empty when
 * the path leads to a directory); or −ENOENT, −ENOTDIR, −EFAULT, −ENAMETOOLONG.
 */
function* walkPath(mm: MmRef, address: number, name: NameRef): Op<number> {
  let state = pathBegin();
  let error = 0;
  for (let at = 0; ; at++) {
    if (at === PATH_MAX) return -ENAMETOOLONG;
    const byte = yield* getUserByte(mm, address + at);
    if (byte < 0) return -EFAULT;
    if (byte === 0) return error !== 0 ? error : at === 0 ? -ENOENT : state;
    if (error !== 0) continue;
    if (byte !== SLASH) {
      if (get(name, Name.length) === NAME_MAX) error = -ENAMETOOLONG;
      else nameAppend(name, byte);
      continue;
    }
    // A component has ended: it must be a directory.
    if (get(name, Name.length) === 0) continue;
    state = pathStep(state, name);
    if (state < 0) error = findInode(-state, name) !== 0 ? -ENOTDIR : -ENOENT;
    clearName(name);
  }
}

function clearName(name: NameRef): void {
  set(name, Name.length, 0);
  for (let i = 0; i < 43; i++) set(name, Name.chars + i, 0);
}

/** Kind of the inodes that a directory has now, 0 where there can be none. */
const kindIn = (directory: number): number => (superOf(directory) !== 0 ? INODE_HUGETLBFS : pathDirectory(directory));

/** The inode that a name of a directory leads to, 0 for none. */
function findInode(directory: number, name: NameRef): InodeRef {
  const kind = kindIn(directory);
  const sb = superOf(directory);
  let inode: InodeRef = kind === 0 ? 0 : get(globals, Globals.directory);
  while (inode !== 0 && !(get(inode, Inode.kind) === kind && get(inode, Inode.super) === sb && nameEquals(get(inode, Inode.name), name)))
    inode = get(inode, Inode.next);
  return inode;
}

/** Walks a path to its end, a directory or a file: the directory that it is or is in, `name` empty where it is one; or an error as walkPath() and −ENOENT. */
export function* walkTo(mm: MmRef, address: number, name: NameRef): Op<number> {
  const state = yield* walkPath(mm, address, name);
  if (state < 0 || get(name, Name.length) === 0) return state;
  const step = pathStep(state, name);
  if (step < 0) return findInode(state, name) !== 0 ? state : -ENOENT;
  clearName(name);
  return step;
}

/** The directory that a path leads to, or an error. */
export function* walkDirectory(mm: MmRef, address: number): Op<number> {
  const name = newName();
  const found = yield* walkTo(mm, address, name);
  const file = found >= 0 && get(name, Name.length) !== 0;
  freeName(name);
  return file ? -ENOTDIR : found;
}

/** Removes an inode from the list of those with a name. */
export function unlinkInode(inode: InodeRef): void {
  let before: InodeRef = 0;
  let at: InodeRef = get(globals, Globals.directory);
  while (at !== inode) {
    before = at;
    at = get(at, Inode.next);
  }
  if (before === 0) set(globals, Globals.directory, get(inode, Inode.next));
  else set(before, Inode.next, get(inode, Inode.next));
  set(inode, Inode.next, 0);
  set(inode, Inode.nlink, 0);
}

/** A new file with a name, which it takes over; one reference is the directory's. 0 without memory. */
function* createInode(directory: number, name: NameRef, mode: number): Op<number> {
  const sb = superOf(directory);
  const kind = kindIn(directory);
  let inode = 0;
  if (sb !== 0) inode = yield* hugetlbfsGetInode(sb, mode);
  else inode = kind === INODE_TMPFS ? yield* shmemGetInode(kind, mode, VM_NORESERVE) : yield* newInode(kind, mode);
  if (inode === 0) return 0;
  set(inode, Inode.name, name);
  set(inode, Inode.nlink, 1);
  set(inode, Inode.next, get(globals, Globals.directory));
  set(globals, Globals.directory, inode);
  return inode;
}

/** open(2). */
export function* sysOpen(process: ProcessRef, path: number, flags: number, mode: number): Op<number> {
  const name = newName();
  const directory = yield* walkPath(get(process, Process.mm), path, name);
  // The descriptor comes before the file: without one nothing is made.
  let result = directory < 0 ? directory : unusedFd(process, 0);
  if (result >= 0) {
    yield* downWrite(globals + Globals.directoryLock);
    result = yield* openAt(process, directory, name, flags, mode & S_ALLUGO);
    yield* upWrite(globals + Globals.directoryLock);
  } else freeName(name);
  // The name of a new file is the inode's by now.
  if (result > 0) return yield* fdPublish(process, result);
  return result;
}

/** The open file of a name in a directory, or an error. Takes the name over. */
function* openAt(process: ProcessRef, directory: number, name: NameRef, flags: number, mode: number): Op<number> {
  const kind = kindIn(directory);
  let inode = findInode(directory, name);
  let error = 0;
  if (get(name, Name.length) === 0) error = (flags & (O_ACCMODE | O_CREAT)) !== 0 ? -EISDIR : -ENOENT;
  else if (inode === 0 && (kind === 0 || (flags & O_CREAT) === 0)) error = -ENOENT;
  else if (inode !== 0 && (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) error = -EEXIST;
  else if (inode !== 0 && (flags & O_DIRECTORY) !== 0) error = -ENOTDIR;
  if (error !== 0 || inode !== 0) freeName(name);
  if (error !== 0) return error;
  let fresh = 0;
  if (inode === 0) {
    inode = yield* createInode(directory, name, mode);
    if (inode === 0) {
      freeName(name);
      return -ENOSPC;
    }
    fresh = 1;
  }
  yield* igrab(inode);
  const access = flags & O_ACCMODE;
  const fileMode = access === O_RDWR ? FMODE_READ | FMODE_WRITE : access === O_WRONLY ? FMODE_WRITE : access === O_ACCMODE ? 0 : FMODE_READ;
  const file = yield* fileAlloc(inode, (flags & ~O_CREATION_FLAGS) | O_LARGEFILE, fileMode);
  if (file === 0) {
    yield* iput(inode);
    return -ENOMEM;
  }
  if (fresh === 0 && (flags & O_TRUNC) !== 0) {
    error = yield* setSize(inode, 0, get(process, Process.mm));
    if (error !== 0) {
      yield* filePut(file);
      return error;
    }
  }
  return file;
}

/** do_open_execat: the file of a path, open for being executed; or −ENOENT, −EACCES (a directory, no right to execute), −ENOMEM and what a path may lead to. */
export function* openExec(process: ProcessRef, path: number): Op<number> {
  const name = newName();
  const directory = yield* walkPath(get(process, Process.mm), path, name);
  let error = directory < 0 ? directory : get(name, Name.length) === 0 || pathStep(directory, name) >= 0 ? -EACCES : 0;
  let inode = 0;
  if (error === 0) {
    yield* downWrite(globals + Globals.directoryLock);
    inode = findInode(directory, name);
    if (inode !== 0) yield* igrab(inode);
    yield* upWrite(globals + Globals.directoryLock);
  }
  freeName(name);
  if (error !== 0) return error;
  if (inode === 0) return -ENOENT;
  // Whoever may do everything needs one of the three bits all the same.
  error = (get(inode, Inode.mode) & 0o111) === 0 ? -EACCES : 0;
  const file = error === 0 ? yield* fileAlloc(inode, O_LARGEFILE, FMODE_READ) : 0;
  if (file !== 0) return file;
  yield* iput(inode);
  return error !== 0 ? error : -ENOMEM;
}

/** unlink(2). */
export function* sysUnlink(process: ProcessRef, path: number): Op<number> {
  const name = newName();
  const directory = yield* walkPath(get(process, Process.mm), path, name);
  let error = directory;
  let inode = 0;
  if (directory >= 0) {
    yield* downWrite(globals + Globals.directoryLock);
    inode = findInode(directory, name);
    error = get(name, Name.length) === 0 ? -EISDIR : -ENOENT;
    if (inode !== 0) unlinkInode(inode);
    yield* upWrite(globals + Globals.directoryLock);
  }
  freeName(name);
  if (inode === 0) return error;
  yield* iput(inode);
  return 0;
}

// --- size -------------------------------------------------------------------------------------------------------------------

/** do_truncate: a new size. 0 or an error. */
function* setSize(inode: InodeRef, bytes: number, mm: MmRef): Op<number> {
  yield* downWrite(inode + Inode.lock);
  let error = 0;
  // inode_newsize_ok
  if (bytes > get(inode, Inode.size) && (bytes > rlimit(mm, RLIMIT_FSIZE) || bytes > maxBytes(inode))) error = -EFBIG;
  else if (get(inode, Inode.kind) === INODE_DISK) error = yield* diskSetSize(inode, bytes);
  else if (kindIsHugetlb(get(inode, Inode.kind))) error = yield* hugetlbSetSize(inode, bytes);
  else error = yield* shmemSetSize(inode, bytes, mm);
  yield* upWrite(inode + Inode.lock);
  return error;
}

/** ftruncate(2). */
export function* sysFtruncate(process: ProcessRef, fd: number, bytes: number): Op<number> {
  if (bytes < 0) return -EINVAL;
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const inode = get(file, File.inode);
  // A pidfd is a regular file to look at, which no attribute can be set of.
  let error = get(inode, Inode.kind) === INODE_PIDFD ? -EOPNOTSUPP : -EINVAL;
  if (kindIsRegular(get(inode, Inode.kind)) && (get(file, File.mode) & FMODE_WRITE) !== 0) error = yield* setSize(inode, bytes, get(process, Process.mm));
  if (get(inode, Inode.kind) === INODE_SECRETMEM) error = yield* secretmemSetSize(inode, bytes);
  yield* filePut(file);
  return error;
}

// --- writing back, advice ---------------------------------------------------------------------------------------------------

/** vfs_fsync: also msync's. Shared memory has nothing to write. */
export function* vfsFsync(file: FileRef): Op<number> {
  const kind = get(get(file, File.inode), Inode.kind);
  if (!kindIsRegular(kind)) return -EINVAL;
  return kind === INODE_DISK ? yield* diskFsync(file) : 0;
}

/** fsync(2). */
export function* sysFsync(process: ProcessRef, fd: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const error = yield* vfsFsync(file);
  yield* filePut(file);
  return error;
}

export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;
const POSIX_FADV_NOREUSE = 5;

/** vfs_fadvise: also MADV_WILLNEED's. `length` 0 means to the end. */
export function* vfsFadvise(file: FileRef, offset: number, length: number, advice: number): Op<number> {
  const inode = get(file, File.inode);
  const kind = get(inode, Inode.kind);
  if (kind === INODE_PIPE) return -ESPIPE;
  if (length < 0 || advice < 0 || advice > POSIX_FADV_NOREUSE) return -EINVAL;
  if (kind !== INODE_DISK) return 0;
  const size = 2 ** pageShift;
  const last = length === 0 ? LAST_INDEX * size - 1 : offset + length - 1;
  const first = Math.floor(offset / size);
  let lastIndex = Math.floor(last / size);
  if (advice === POSIX_FADV_WILLNEED) yield* forcePageCacheReadahead(file, first, Math.min(lastIndex, LAST_INDEX) - first + 1);
  if (advice === POSIX_FADV_DONTNEED) {
    // Whole pages only; the last page of the file may be a part.
    if ((last + 1) % size !== 0 && last !== get(inode, Inode.size) - 1) lastIndex--;
    if (lastIndex >= 0) yield* diskInvalidate(inode, Math.ceil(offset / size), lastIndex + 1);
  }
  return 0;
}

/** fadvise64(2). */
export function* sysFadvise64(process: ProcessRef, fd: number, offset: number, length: number, advice: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const error = yield* vfsFadvise(file, offset, length, advice);
  yield* filePut(file);
  return error;
}
