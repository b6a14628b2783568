/**
 * memfd_create() and seals (mm/memfd.c).
 *
 * Invariants: seals are only ever added, under the inode's lock; F_SEAL_WRITE stands only where no shared mapping may be written and no page was
 * handed out for writing.
 */
import type { Op } from '../kernel/op.ts';
import { downWrite, get, set, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { folioMapcount } from '../memory/folio.ts';
import { pageRefcount } from '../memory/state.ts';
import { EBUSY, EFAULT, EINVAL, EPERM } from './errno.ts';
import { fdPublish, intArgument } from './file.ts';
import {
  F_ALL_SEALS,
  F_SEAL_EXEC,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  FMODE_WRITE,
  INODE_HUGETLB,
  INODE_MEMFD,
  kindHasSeals,
  MFD_ALL_FLAGS,
  MFD_ALLOW_SEALING,
  MFD_EXEC,
  MFD_HUGETLB,
  MFD_NOEXEC_SEAL,
  O_LARGEFILE,
} from './file-types.ts';
import { LAST_INDEX, pageCacheEntry, pageCacheFind, pageCacheNext, pagesInCache } from './filemap.ts';
import { hugetlbFileSetup } from './hugetlbfs.ts';
import { freeName, mappingAllowWritable, mappingDenyWritable, nameAppend, newName } from './inode.ts';
import { shmemFileSetup } from './shmem.ts';
import { File, type FileRef, Inode, type InodeRef, type MmRef, type NameRef, Process, type ProcessRef } from './types.ts';
import { getUserByte } from './uaccess.ts';
import { VM_MAYWRITE, VM_NORESERVE, VM_SHARED, VM_WRITE } from './vm-flags.ts';

/** Longest name, without the "memfd:" that /proc puts before it. */
const MFD_NAME_MAX_LEN = 255 - 6;
/** Sizes of huge pages stand in these bits of the flags. */
const MFD_HUGE_SHIFT = 26;
const MFD_HUGE_BITS = 63 * 2 ** MFD_HUGE_SHIFT;

/** alloc_name: reads a name from user memory; the name, −EFAULT, or −EINVAL when it is too long. */
function* memfdName(mm: MmRef, address: number): Op<number> {
  const name: NameRef = newName();
  let error = -EINVAL;
  for (let length = 0; length <= MFD_NAME_MAX_LEN; length++) {
    const byte = yield* getUserByte(mm, address + length);
    if (byte === 0) return name;
    if (byte < 0) {
      error = -EFAULT;
      break;
    }
    if (length < MFD_NAME_MAX_LEN) nameAppend(name, byte);
  }
  freeName(name);
  return error;
}

/** memfd_create(2), with vm.memfd_noexec = 0. */
export function* sysMemfdCreate(process: ProcessRef, nameAddress: number, flagsArgument: number): Op<number> {
  const flags = intArgument(flagsArgument);
  const known = (flags & MFD_HUGETLB) !== 0 ? MFD_ALL_FLAGS | (MFD_HUGE_BITS | 0) : MFD_ALL_FLAGS;
  if ((flags & ~known) !== 0) return -EINVAL;
  if ((flags & MFD_EXEC) !== 0 && (flags & MFD_NOEXEC_SEAL) !== 0) return -EINVAL;
  const mm = get(process, Process.mm);
  const name = yield* memfdName(mm, nameAddress);
  if (name < 0) return name;
  const file: FileRef =
    (flags & MFD_HUGETLB) !== 0
      ? yield* hugetlbFileSetup(INODE_HUGETLB, name, 0, VM_NORESERVE, (flags >>> MFD_HUGE_SHIFT) & 63)
      : yield* shmemFileSetup(INODE_MEMFD, name, 0, VM_NORESERVE, mm);
  if (file < 0) return file;
  set(file, File.flags, get(file, File.flags) | O_LARGEFILE);
  const inode = get(file, File.inode);
  if ((flags & MFD_NOEXEC_SEAL) !== 0) {
    set(inode, Inode.mode, get(inode, Inode.mode) & ~0o111);
    set(inode, Inode.seals, F_SEAL_EXEC);
  } else if ((flags & MFD_ALLOW_SEALING) !== 0) set(inode, Inode.seals, 0);
  return yield* fdPublish(process, file);
}

/** F_GET_SEALS: the seals, or −EINVAL where there can be none. */
export function memfdGetSeals(file: FileRef): number {
  const inode = get(file, File.inode);
  return kindHasSeals(get(inode, Inode.kind)) ? get(inode, Inode.seals) : -EINVAL;
}

/** memfd_wait_for_pins: whether a page of the file is held by somebody who may write to it without mapping it. */
function hasPins(inode: InodeRef): boolean {
  for (let index = pageCacheFind(inode, 0, LAST_INDEX); index >= 0; index = pageCacheFind(inode, pageCacheNext(inode, index), LAST_INDEX)) {
    const page = pageCacheEntry(inode, index);
    if (page > 0 && pageRefcount[page] - folioMapcount(page) !== pagesInCache(inode, page)) return true;
  }
  return false;
}

/** F_ADD_SEALS: 0, −EPERM, −EINVAL, −EBUSY. Linux waits 150 ms for pages to be released before it gives up; here nobody waits. */
export function* memfdAddSeals(file: FileRef, seals: number): Op<number> {
  if ((get(file, File.mode) & FMODE_WRITE) === 0) return -EPERM;
  if (seals > F_ALL_SEALS) return -EINVAL;
  const inode = get(file, File.inode);
  yield* downWrite(inode + Inode.lock);
  const error = yield* addSealsLocked(inode, seals);
  yield* upWrite(inode + Inode.lock);
  return error;
}

function* addSealsLocked(inode: InodeRef, asked: number): Op<number> {
  if (!kindHasSeals(get(inode, Inode.kind))) return -EINVAL;
  const old = get(inode, Inode.seals);
  if ((old & F_SEAL_SEAL) !== 0) return -EPERM;
  let seals = asked;
  // What can be executed and no longer be made otherwise must not change either.
  if ((asked & F_SEAL_EXEC) !== 0 && (get(inode, Inode.mode) & 0o111) !== 0) seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  if ((seals & F_SEAL_WRITE) !== 0 && (old & F_SEAL_WRITE) === 0) {
    const error = yield* mappingDenyWritable(inode);
    if (error !== 0) return error;
    if (hasPins(inode) && !switched(SW.sealNoPinCheck)) {
      yield* mappingAllowWritable(inode);
      return -EBUSY;
    }
  }
  set(inode, Inode.seals, old | seals);
  return 0;
}

/** memfd_check_seals_mmap: the flags of a new mapping as seals allow them, or −EPERM. */
export function memfdCheckSealsMmap(file: FileRef, vmFlags: number): number {
  const inode = get(file, File.inode);
  if (!kindHasSeals(get(inode, Inode.kind)) || (get(inode, Inode.seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) === 0) return vmFlags;
  if ((vmFlags & VM_SHARED) === 0) return vmFlags;
  if ((vmFlags & VM_WRITE) !== 0) return -EPERM;
  return vmFlags & ~VM_MAYWRITE;
}
