/**
 * The second half of mmap(): __mmap_region (mm/vma.c). What lies in the range goes, the new range joins a neighbour or becomes a VMA, accounts follow.
 *
 * Invariants: the range was found valid and free or to be replaced (MAP_FIXED); the mmap lock is held for writing. A failure before the old
 * mapping's entries are cleared leaves it as it was (split perhaps); after that it leaves a hole.
 */
import type { Op } from '../kernel/op.ts';
import { add, get, set } from '../kernel/ops.ts';
import { EACCES, ENODEV, ENOMEM, EOPNOTSUPP } from './errno.ts';
import { fileGet, filePut } from './file.ts';
import { INODE_DISK, INODE_SECRETMEM, INODE_TMPFS, kindIsHugetlb, kindIsShmem } from './file-types.ts';
import { globals } from './globals.ts';
import { hugetlbfsMmap } from './hugetlbfs.ts';
import { mappingMapWritable, mappingUnmapWritable } from './inode.ts';
import { khugepagedEnterVma } from './khugepaged-slots.ts';
import { MMF_HAS_MDWE, MMF_VM_MERGE_ANY } from './mm-flags.ts';
import { newVms, unmapRegion, vmsAbort, vmsCleanUpArea, vmsClearTree, vmsComplete, vmsGather } from './munmap.ts';
import { secretmemMmap } from './secretmem.ts';
import { shmMmap } from './shm.ts';
import { shmemZeroSetup } from './shmem.ts';
import { File, type FileRef, Globals, Inode, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { enoughMemory, mayExpandVm, vmStatAccount, vmUnacctMemory } from './util.ts';
import {
  VM_ACCOUNT,
  VM_DROPPABLE,
  VM_EXEC,
  VM_HUGETLB,
  VM_LOCKED,
  VM_LOCKED_MASK,
  VM_MAYSHARE,
  VM_MERGEABLE,
  VM_NORESERVE,
  VM_SHARED,
  VM_SOFTDIRTY,
  VM_SPECIAL,
  VM_WRITE,
  VMH_SYNC,
} from './vm-flags.ts';
import { VMOPS_DISK, VMOPS_SHMEM, VMOPS_SHMEM_ANON } from './vm-ops-types.ts';
import { isSharedMaywrite, vmAreaAlloc, vmAreaFree, vmaLink, vmaSetRange } from './vma.ts';
import { newVmg, vmaMergeNewRange } from './vma-merge.ts';
import { findVma, findVmaPrev } from './vma-tree.ts';
import { freeVmg, freeVms, Vmg, Vms, type VmsRef } from './vmg.ts';

/** map_deny_write_exec: PR_SET_MDWE forbids memory that is writable and executable, and code where there was none. */
export function mapDenyWriteExec(mm: MmRef, oldFlags: number, newFlags: number): boolean {
  if ((get(mm, Mm.flags) & MMF_HAS_MDWE) === 0 || (newFlags & VM_EXEC) === 0) return false;
  return (newFlags & VM_WRITE) !== 0 || (oldFlags & VM_EXEC) === 0;
}

/** accountable_mapping: private writable memory is promised, unless the caller waived that. */
const accountable = (file: FileRef, flags: number): boolean =>
  (file === 0 || !kindIsHugetlb(get(get(file, File.inode), Inode.kind))) && (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) === VM_WRITE;

/** ksm_vma_flags: after PR_SET_MEMORY_MERGE every VMA that KSM can work on is its. */
export function ksmVmaFlags(mm: MmRef, flags: number): number {
  if ((get(mm, Mm.flags) & MMF_VM_MERGE_ANY) === 0 || (flags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)) !== 0) return flags;
  return flags | VM_MERGEABLE;
}

/** vma_supports_mlock. */
export const vmaSupportsMlock = (flags: number): boolean => (flags & (VM_SPECIAL | VM_DROPPABLE | VM_HUGETLB)) === 0;

/** f_op->mmap: what a VMA of a file maps. The file's reference is the VMA's already. 0 or -errno. */
function* mmapFile(vma: VmaRef): Op<number> {
  const file = get(vma, Vma.file);
  if (get(file, File.shm) !== 0) return yield* shmMmap(vma);
  const inode = get(file, File.inode);
  const kind = get(inode, Inode.kind);
  if (kind === INODE_DISK) {
    // Only DAX files keep the promise of MAP_SYNC.
    if ((get(vma, Vma.highFlags) & VMH_SYNC) !== 0) return -EOPNOTSUPP;
    set(vma, Vma.ops, VMOPS_DISK);
  } else if (kindIsHugetlb(kind)) return yield* hugetlbfsMmap(vma);
  else if (kind === INODE_TMPFS && get(inode, Inode.nlink) !== 0) set(vma, Vma.ops, VMOPS_SHMEM);
  else if (kindIsShmem(kind)) set(vma, Vma.ops, VMOPS_SHMEM_ANON);
  else if (kind === INODE_SECRETMEM) return secretmemMmap(vma);
  else return -ENODEV;
  return 0;
}

/**
 * mmap_region: maps `pages` of a file (or, with file 0, of memory) at `vpn`, replacing what is there. The page number, or -errno.
 */
export function* mmapRegion(mm: MmRef, file: FileRef, vpn: Vpn, pages: number, flags: number, highFlags: number, pgoff: Vpn): Op<number> {
  if (mapDenyWriteExec(mm, flags, flags)) return -EACCES;
  // Held while the mapping is made, so that no seal against writing can come in between.
  const inode = file !== 0 && isSharedMaywrite(flags) ? get(file, File.inode) : 0;
  if (inode !== 0) {
    const error = yield* mappingMapWritable(inode);
    if (error !== 0) return error;
  }
  const first = findVma(mm, vpn);
  const overlaps = first !== 0 && get(first, Vma.start) < vpn + pages ? first : 0;
  const vms = newVms(mm, overlaps, vpn, vpn + pages, 0);
  set(vms, Vms.filesLater, 1);
  set(vms, Vms.uf, 1);
  const result = yield* mapRange(mm, vms, file, vpn, pages, flags, highFlags, pgoff);
  freeVms(vms);
  if (inode !== 0) yield* mappingUnmapWritable(inode);
  return result;
}

/** __mmap_region. `vms` describes what is mapped in the range now. */
function* mapRange(mm: MmRef, vms: VmsRef, file: FileRef, vpn: Vpn, pages: number, wanted: number, highFlags: number, pgoff: Vpn): Op<number> {
  let flags = wanted;
  let prev = 0;
  let next = 0;
  // __mmap_prepare
  if (get(vms, Vms.vma) !== 0) {
    const error = yield* vmsGather(vms);
    if (error !== 0) return error;
    prev = get(vms, Vms.prev);
    next = get(vms, Vms.next);
  } else {
    prev = findVmaPrev(mm, vpn);
    next = findVma(mm, vpn);
  }
  if (!mayExpandVm(mm, flags, pages - get(vms, Vms.nrPages))) {
    yield* vmsAbort(vms);
    return -ENOMEM;
  }
  let promised = 0;
  if (accountable(file, flags)) {
    // What the old mapping was promised goes over to the new one.
    const charged = pages - get(vms, Vms.nrAccounted);
    if (charged !== 0) {
      const error = yield* enoughMemory(mm, charged);
      if (error !== 0) {
        yield* vmsAbort(vms);
        return error;
      }
    }
    set(vms, Vms.nrAccounted, 0);
    promised = pages;
    flags |= VM_ACCOUNT;
  }
  yield* vmsCleanUpArea(vms);
  vmsClearTree(vms);
  flags = ksmVmaFlags(mm, flags);
  let vma = 0;
  if (prev !== 0 || next !== 0) {
    const vmg = newVmg(mm, prev, next, vpn, vpn + pages, flags, pgoff);
    set(vmg, Vmg.file, file);
    set(vmg, Vmg.highFlags, highFlags);
    vma = yield* vmaMergeNewRange(vmg);
    freeVmg(vmg);
  }
  if (vma === 0) {
    vma = yield* newVma(mm, prev, next, file, vpn, pages, flags, highFlags, pgoff);
    if (vma < 0) {
      // Linux gives back what it promised on top and loses what the old mapping had; only want of memory leads here.
      if (promised !== 0) yield* vmUnacctMemory(promised);
      yield* vmsAbort(vms);
      return vma;
    }
  }
  // __mmap_complete
  yield* vmsComplete(vms);
  const now = get(vma, Vma.flags);
  vmStatAccount(mm, now, pages);
  if ((now & VM_LOCKED) !== 0) {
    if (vmaSupportsMlock(now)) add(mm, Mm.lockedVm, pages);
    else set(vma, Vma.flags, now & ~VM_LOCKED_MASK);
  }
  if (get(globals, Globals.softDirty) !== 0) set(vma, Vma.flags, get(vma, Vma.flags) | VM_SOFTDIRTY);
  return vpn;
}

/** __mmap_new_vma: a VMA of its own, in the tree and in that of its file. The VMA, or -errno with nothing left. */
function* newVma(mm: MmRef, prev: VmaRef, next: VmaRef, file: FileRef, vpn: Vpn, pages: number, flags: number, highFlags: number, pgoff: Vpn): Op<number> {
  const vma = yield* vmAreaAlloc(mm);
  if (vma === 0) return -ENOMEM;
  vmaSetRange(vma, vpn, vpn + pages, pgoff);
  set(vma, Vma.flags, flags);
  set(vma, Vma.highFlags, highFlags);
  let error = 0;
  if (file !== 0) {
    yield* fileGet(file);
    set(vma, Vma.file, file);
    error = yield* mmapFile(vma);
    if (error !== 0) {
      set(vma, Vma.file, 0);
      yield* filePut(file);
      yield* unmapRegion(vma, prev, next);
    }
  } else if ((flags & VM_SHARED) !== 0) error = yield* shmemZeroSetup(vma);
  if (error !== 0) {
    yield* vmAreaFree(vma);
    return error;
  }
  yield* vmaLink(mm, vma);
  // Private memory joins with its first fault.
  if (get(vma, Vma.ops) !== 0) yield* khugepagedEnterVma(vma, flags);
  return vma;
}
