/**
 * fallocate (fs/open.c): room for a range of a file, a hole in it, or what else its file system does to ranges.
 *
 * Units: bytes, negative where the register held a negative number.
 */
import type { Op } from '../kernel/op.ts';
import { downWrite, get, upWrite } from '../kernel/ops.ts';
import { diskFallocate } from './disk.ts';
import { EBADF, EFBIG, EINVAL, EOPNOTSUPP, ESPIPE } from './errno.ts';
import { fdGet, filePut } from './file.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_MODE_MASK,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_ZERO_RANGE,
  FMODE_WRITE,
  INODE_DISK,
  INODE_PIPE,
  kindIsHugetlb,
  kindIsRegular,
  LOFF_LIMIT,
} from './file-types.ts';
import { hugetlbFallocate } from './hugetlbfs.ts';
import { maxBytes } from './read-write.ts';
import { shmemFallocate } from './shmem-fallocate.ts';
import { File, type FileRef, Inode, type MmRef, Process, type ProcessRef } from './types.ts';
import { rlimit } from './util.ts';

const RLIMIT_FSIZE = 1;

/** Whether exactly one or no bit of several is set. */
const oneBit = (bits: number): boolean => (bits & (bits - 1)) === 0;

/** vfs_fallocate on the kernel's own account: MADV_REMOVE's. */
export function* vfsFallocate(file: FileRef, mode: number, offset: number, length: number): Op<number> {
  return yield* fallocateFor(file, mode, offset, length, 0);
}

/** vfs_fallocate for an address space, whose limits count. */
export function* fallocateFor(file: FileRef, mode: number, offset: number, length: number, mm: MmRef): Op<number> {
  if (offset < 0 || length <= 0) return -EINVAL;
  if ((mode & ~(FALLOC_FL_MODE_MASK | FALLOC_FL_KEEP_SIZE)) !== 0) return -EOPNOTSUPP;
  const kindOfChange = mode & FALLOC_FL_MODE_MASK;
  if (!oneBit(kindOfChange)) return -EOPNOTSUPP;
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  if (kindOfChange === FALLOC_FL_PUNCH_HOLE && !keep) return -EOPNOTSUPP;
  const mayKeep =
    kindOfChange === 0 || kindOfChange === FALLOC_FL_PUNCH_HOLE || kindOfChange === FALLOC_FL_ZERO_RANGE || kindOfChange === FALLOC_FL_UNSHARE_RANGE;
  if (keep && !mayKeep) return -EOPNOTSUPP;
  if ((get(file, File.mode) & FMODE_WRITE) === 0) return -EBADF;
  const inode = get(file, File.inode);
  if (get(inode, Inode.kind) === INODE_PIPE) return -ESPIPE;
  if (!kindIsRegular(get(inode, Inode.kind))) return -EOPNOTSUPP;
  // Sums of 2^63 and more overflow.
  if (offset + length >= LOFF_LIMIT || offset + length > maxBytes(inode)) return -EFBIG;
  yield* downWrite(inode + Inode.lock);
  const limit = mm === 0 ? Infinity : rlimit(mm, RLIMIT_FSIZE);
  let error = 0;
  if (get(inode, Inode.kind) === INODE_DISK) error = yield* diskFallocate(inode, mode, offset, length, limit);
  else if (kindIsHugetlb(get(inode, Inode.kind))) error = yield* hugetlbFallocate(inode, file, mode, offset, length, mm);
  else error = yield* shmemFallocate(inode, mode, offset, length, limit, mm);
  yield* upWrite(inode + Inode.lock);
  return error;
}

/** fallocate(2). */
export function* sysFallocate(process: ProcessRef, fd: number, mode: number, offset: number, length: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const error = yield* fallocateFor(file, mode, offset, length, get(process, Process.mm));
  yield* filePut(file);
  return error;
}
