/**
 * mmap(2) and what its flags mean (mm/mmap.c: do_mmap, ksys_mmap_pgoff, vm_mmap_pgoff).
 *
 * Units: addresses, lengths and offsets of system calls are bytes, exact below 2^53; anything larger is beyond user space whatever its exact value.
 * Invariants: checks come in Linux's order, so the first thing wrong decides the errno; nothing is changed before the last of them.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageShift } from '../memory/state.ts';
import { EACCES, EAGAIN, EBADF, EEXIST, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM } from './errno.ts';
import { fdGet, filePut, releaseFiles, takeFilesToRelease } from './file.ts';
import { FMODE_READ, FMODE_WRITE, INODE_HUGETLB_ANON, INODE_SECRETMEM, kindIsHugetlb, kindIsRegular } from './file-types.ts';
import { globals } from './globals.ts';
import { mmPopulate } from './gup.ts';
import { hstateSizelog, hugeBytes, hugetlbFileSetup } from './hugetlbfs.ts';
import { nameOf } from './inode.ts';
import { memfdCheckSealsMmap } from './memfd.ts';
import {
  LEGACY_MAP_MASK,
  MAP_ANONYMOUS,
  MAP_DROPPABLE,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_GROWSDOWN,
  MAP_HUGE_MASK,
  MAP_HUGE_SHIFT,
  MAP_HUGETLB,
  MAP_LOCKED,
  MAP_NONBLOCK,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_STACK,
  MAP_SYNC,
  MAP_TYPE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from './mman.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { mmapRegion } from './mmap-region.ts';
import { File, type FileRef, Globals, Inode, Mm, type MmRef, type NameRef, Process, type ProcessRef, type Vpn } from './types.ts';
import { getUnmappedArea, mmapMinAddr } from './unmapped-area.ts';
import { takeUffdUnmaps, userfaultfdUnmapComplete } from './userfaultfd-events.ts';
import { canDoMlock, mlockFutureOk, OVERCOMMIT_NEVER, pfnDown, pfnUp } from './util.ts';
import {
  VM_DONTDUMP,
  VM_DROPPABLE,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_GROWSUP,
  VM_LOCKED,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_NOHUGEPAGE,
  VM_NORESERVE,
  VM_READ,
  VM_SHARED,
  VM_WIPEONFORK,
  VM_WRITE,
  VMH_SYNC,
} from './vm-flags.ts';
import { findVmaIntersection } from './vma-tree.ts';

export { exitMmap } from './exit-mmap.ts';
export { expandStackLocked } from './stack.ts';

/** calc_vm_prot_bits: VM_READ, VM_WRITE, VM_EXEC of PROT_*. */
export const calcVmProtBits = (prot: number): number =>
  ((prot & PROT_READ) !== 0 ? VM_READ : 0) | ((prot & PROT_WRITE) !== 0 ? VM_WRITE : 0) | ((prot & PROT_EXEC) !== 0 ? VM_EXEC : 0);

/** calc_vm_flag_bits. */
const calcVmFlagBits = (flags: number): number =>
  ((flags & MAP_GROWSDOWN) !== 0 ? VM_GROWSDOWN : 0) | ((flags & MAP_LOCKED) !== 0 ? VM_LOCKED : 0) | ((flags & MAP_STACK) !== 0 ? VM_NOHUGEPAGE : 0);

/** First page number that an unsigned long cannot hold. */
const pgoffLimit = (): number => (codec.mode.vaBits > 32 ? 2 ** 64 : 2 ** 32);

/** round_hint_to_min: whole pages, not below mmap_min_addr. */
function roundHintToMin(address: number): number {
  const size = 1 << pageShift;
  const hint = Math.floor(address / size) * size;
  const min = mmapMinAddr();
  return hint !== 0 && hint < min ? Math.ceil(min / size) * size : hint;
}

/** file_mmap_ok: the range ends below the largest size of a file (MAX_LFS_FILESIZE, 2^63 - 1). */
const fileMmapOk = (pgoff: Vpn, pages: number): boolean => pgoff + pages < 2 ** (63 - pageShift);

/** Flags of a mapping of a file, by its kind of sharing; -errno. `flags` may have bits above the 32nd. */
function fileVmFlags(file: FileRef, flags: number, prot: number, given: number): number {
  const mode = get(file, File.mode);
  let vmFlags = given;
  const type = flags & MAP_TYPE;
  if (type !== MAP_SHARED && type !== MAP_SHARED_VALIDATE && type !== MAP_PRIVATE) return -EINVAL;
  if (type !== MAP_PRIVATE) {
    // Only MAP_SHARED_VALIDATE promises to refuse what it does not know.
    if (type === MAP_SHARED_VALIDATE && (flags >= 2 ** 32 || (flags & ~LEGACY_MAP_MASK) !== 0)) return -EOPNOTSUPP;
    if ((prot & PROT_WRITE) !== 0 && (mode & FMODE_WRITE) === 0) return -EACCES;
    vmFlags |= VM_SHARED | VM_MAYSHARE;
    if ((mode & FMODE_WRITE) === 0) vmFlags &= ~(VM_MAYWRITE | VM_SHARED);
  }
  if ((mode & FMODE_READ) === 0) return -EACCES;
  if (!kindIsRegular(get(get(file, File.inode), Inode.kind)) && get(get(file, File.inode), Inode.kind) !== INODE_SECRETMEM) return -ENODEV;
  if ((vmFlags & (VM_GROWSDOWN | VM_GROWSUP)) !== 0) return -EINVAL;
  return memfdCheckSealsMmap(file, vmFlags);
}

/** The same for memory without a file. */
function anonVmFlags(flags: number, given: number): number {
  const type = flags & MAP_TYPE;
  const grows = (given & (VM_GROWSDOWN | VM_GROWSUP)) !== 0;
  if (type === MAP_PRIVATE) return given;
  if (type === MAP_SHARED) return grows ? -EINVAL : given | VM_SHARED | VM_MAYSHARE;
  if (type !== MAP_DROPPABLE) return -EINVAL;
  if (codec.mode.vaBits <= 32) return -EOPNOTSUPP;
  if ((flags & (MAP_LOCKED | MAP_HUGETLB)) !== 0 || grows) return -EINVAL;
  return given | VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
}

/** Whether a result of the two functions above is an error: small negative numbers are no flags, as VM_READ and others would be set in them. */
const isFlagError = (vmFlags: number): boolean => vmFlags < 0 && vmFlags > -4096;

/**
 * do_mmap: maps a range of a file (0: of memory) with the mmap lock held for writing. `address` and `length` are bytes, `pgoff` pages; `extra`
 * are VM_* that the caller adds. The address in bytes, or -errno. `Mm.populate` says how many pages from there the caller must populate (mmPopulate) once it has
 * released the lock.
 */
export function* doMmap(mm: MmRef, file: FileRef, address: number, length: number, prot: number, mapFlags: number, extra: number, pgoff: Vpn): Op<number> {
  set(mm, Mm.populate, 0);
  if (length === 0) return -EINVAL;
  const flags = (mapFlags & MAP_FIXED_NOREPLACE) !== 0 ? mapFlags | MAP_FIXED : mapFlags;
  const at = (flags & MAP_FIXED) !== 0 ? address : roundHintToMin(address);
  const pages = pfnUp(length);
  // Rounding up overflows in the last page of an unsigned long.
  if (pages >= 2 ** (codec.mode.vaBits > 32 ? 64 : 32) / (1 << pageShift)) return -ENOMEM;
  if (pgoff + pages >= pgoffLimit()) return -EOVERFLOW;
  if (get(mm, Mm.mapCount) > get(globals, Globals.maxMapCount)) return -ENOMEM;
  let vmFlags = extra | calcVmProtBits(prot) | calcVmFlagBits(flags) | get(mm, Mm.defFlags) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
  const vpn = getUnmappedArea(mm, file, at, pages, pgoff, flags, flags & MAP_SHARED);
  if (vpn < 0) return vpn;
  if ((flags & MAP_FIXED_NOREPLACE) !== 0 && findVmaIntersection(mm, vpn, vpn + pages) !== 0) return -EEXIST;
  if ((flags & MAP_LOCKED) !== 0 && !canDoMlock(mm)) return -EPERM;
  if (!mlockFutureOk(mm, vmFlags, pages)) return -EAGAIN;
  if (file !== 0 && !fileMmapOk(pgoff, pages)) return -EOVERFLOW;
  vmFlags = file !== 0 ? fileVmFlags(file, mapFlags, prot, vmFlags) : anonVmFlags(flags, vmFlags);
  if (isFlagError(vmFlags)) return vmFlags;
  let offset = pgoff;
  // Memory has offsets of its own: private memory its address, so that neighbours continue each other.
  if (file === 0) offset = (flags & MAP_TYPE) === MAP_SHARED ? 0 : vpn;
  // Huge pages are never overcommitted unless that is asked for, whatever holds for others.
  const huge = file !== 0 && kindIsHugetlb(get(get(file, File.inode), Inode.kind));
  if ((flags & MAP_NORESERVE) !== 0 && (huge || get(globals, Globals.overcommitMemory) !== OVERCOMMIT_NEVER)) vmFlags |= VM_NORESERVE;
  const result = yield* mmapRegion(mm, file, vpn, pages, vmFlags, (flags & MAP_SYNC) !== 0 ? VMH_SYNC : 0, offset);
  if (result < 0) return result;
  if ((vmFlags & VM_LOCKED) !== 0 || (flags & (MAP_POPULATE | MAP_NONBLOCK)) === MAP_POPULATE) set(mm, Mm.populate, pages);
  return result * (1 << pageShift);
}

/** MAP_FIXED_NOREPLACE as switches change it: other flags, or −EEXIST. */
function* noreplaceSwitched(mm: MmRef, address: number, length: number, flags: number): Op<number> {
  if ((flags & MAP_FIXED_NOREPLACE) === 0) return flags;
  const others = flags & ~MAP_FIXED_NOREPLACE;
  if (switched(SW.noreplaceUnknown)) return others;
  if (switched(SW.noreplaceReplaces)) return others | MAP_FIXED;
  if (!switched(SW.noreplaceEarly)) return flags;
  yield* mmapReadLock(mm);
  const found = findVmaIntersection(mm, pfnDown(address), pfnUp(address + length));
  yield* mmapReadUnlock(mm);
  return found !== 0 ? -EEXIST : others | MAP_FIXED;
}

/** vm_mmap_pgoff: takes the mmap lock around do_mmap(), and populates afterwards. */
export function* vmMmapPgoff(mm: MmRef, file: FileRef, address: number, length: number, prot: number, mapFlags: number, pgoff: Vpn): Op<number> {
  const flags = yield* noreplaceSwitched(mm, address, length, mapFlags);
  if (flags < 0) return flags;
  yield* mmapWriteLock(mm);
  const result = yield* doMmap(mm, file, address, length, prot, flags, 0, pgoff);
  const populate = get(mm, Mm.populate);
  const files = takeFilesToRelease(mm);
  const unmaps = takeUffdUnmaps(mm);
  yield* mmapWriteUnlock(mm);
  if (unmaps !== 0) yield* userfaultfdUnmapComplete(unmaps);
  if (populate !== 0) yield* mmPopulate(mm, pfnDown(result), populate);
  if (files !== 0) yield* releaseFiles(files);
  return result;
}

/** HUGETLB_ANON_FILE. */
const anonHugeName = (): NameRef => nameOf('anon_hugepage');

/** ALIGN of a number of bytes. */
const alignUp = (bytes: number, unit: number): number => Math.ceil(bytes / unit) * unit;

/** mmap(2): the address, or -errno. */
export function* sysMmap(process: ProcessRef, address: number, length: number, prot: number, flags: number, fd: number, offset: number): Op<number> {
  const mm = get(process, Process.mm);
  // 2^64 stands for the last, odd, offsets of 64 bits.
  if (offset % (1 << pageShift) !== 0 || offset >= 2 ** 64) return -EINVAL;
  let file = 0;
  let size = length;
  if ((flags & MAP_ANONYMOUS) === 0) {
    file = yield* fdGet(process, fd);
    if (file < 0) return -EBADF;
    const inode = get(file, File.inode);
    if (kindIsHugetlb(get(inode, Inode.kind))) size = alignUp(length, hugeBytes(get(inode, Inode.hstate)));
    else if ((flags & MAP_HUGETLB) !== 0) {
      yield* filePut(file);
      return -EINVAL;
    }
  } else if ((flags & MAP_HUGETLB) !== 0) {
    const log = (flags >>> MAP_HUGE_SHIFT) & MAP_HUGE_MASK;
    const h = hstateSizelog(log);
    if (h === 0) return -EINVAL;
    size = alignUp(length, hugeBytes(h));
    // Reserved is what the mapping reserves.
    file = yield* hugetlbFileSetup(INODE_HUGETLB_ANON, anonHugeName(), size, VM_NORESERVE, log);
    if (file < 0) return file;
  }
  const result = yield* vmMmapPgoff(mm, file, address, size, prot, flags, pfnDown(offset));
  if (file !== 0) yield* filePut(file);
  return result;
}
