/**
 * What a VMA maps, and the functions of it (struct vm_operations_struct). `Vma.ops` is a number of this table, 0 for anonymous memory.
 *
 * A pointer to a function in Linux is a case of a switch here: a call stays one that the compiler of the step program can follow.
 */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { diskPageMkwrite } from './disk.ts';
import { filemapFault, filemapMapPages } from './filemap-fault.ts';
import { hugetlbMaySplit, hugetlbVmClose, hugetlbVmOpen } from './hugetlb-vma.ts';
import { secretmemFault } from './secretmem.ts';
import { shmClose, shmOpen } from './shm.ts';
import { shmemFault } from './shmem.ts';
import { Vma, type VmaRef, type Vpn } from './types.ts';
import { VMOPS_DISK, VMOPS_HUGETLB, VMOPS_SECRETMEM, VMOPS_SHM, VMOPS_SHMEM, VMOPS_SHMEM_ANON } from './vm-ops-types.ts';
import { VM_FAULT_SIGBUS, Vmf, type VmfRef } from './vmf.ts';

export { VMOPS_ANON, VMOPS_DISK, VMOPS_HUGETLB, VMOPS_SHM, VMOPS_SHMEM, VMOPS_SHMEM_ANON } from './vm-ops-types.ts';

/** vm_ops->fault: VM_FAULT_* with the page, referenced, in `Vmf.page` (and locked with VM_FAULT_LOCKED). */
export function* vmFault(vmf: VmfRef): Op<number> {
  const ops = get(get(vmf, Vmf.vma), Vma.ops);
  if (ops === VMOPS_DISK) return yield* filemapFault(vmf);
  if (ops === VMOPS_SHMEM || ops === VMOPS_SHMEM_ANON || ops === VMOPS_SHM) return yield* shmemFault(vmf);
  if (ops === VMOPS_SECRETMEM) return yield* secretmemFault(vmf);
  return VM_FAULT_SIGBUS;
}

/** vm_ops->map_pages: maps what is cached of pages `first` to `last` of the object. */
export function* mapPages(vmf: VmfRef, first: number, last: number): Op<number> {
  return yield* filemapMapPages(vmf, first, last);
}

/** vm_ops->page_mkwrite: the first write to a page of a shared mapping is about to happen. */
export function* pageMkwrite(vmf: VmfRef): Op<number> {
  return yield* diskPageMkwrite(vmf);
}

/** vm_ops->open: the VMA was copied (split, fork, mremap). */
export function* vmOpen(vma: VmaRef): Op<number> {
  if (get(vma, Vma.ops) === VMOPS_SHM) return yield* shmOpen(vma);
  if (get(vma, Vma.ops) === VMOPS_HUGETLB) return yield* hugetlbVmOpen(vma);
  return 0;
}

/** vm_ops->close: the VMA goes. */
export function* vmClose(vma: VmaRef): Op<number> {
  if (get(vma, Vma.ops) === VMOPS_SHM) return yield* shmClose(vma);
  if (get(vma, Vma.ops) === VMOPS_HUGETLB) return yield* hugetlbVmClose(vma);
  return 0;
}

/** vm_ops->may_split: 0, or why a VMA cannot be cut at a page. */
export const vmMaySplit = (vma: VmaRef, vpn: Vpn): number => (get(vma, Vma.ops) === VMOPS_HUGETLB ? hugetlbMaySplit(vma, vpn) : 0);

/** A VMA that must hear of its end is not merged away (vma_merge: vm_ops->close). */
export const vmOpsHasClose = (vma: VmaRef): boolean => get(vma, Vma.ops) === VMOPS_SHM || get(vma, Vma.ops) === VMOPS_HUGETLB;

export const vmOpsHasMapPages = (vma: VmaRef): boolean => {
  const ops = get(vma, Vma.ops);
  return ops === VMOPS_DISK || ops === VMOPS_SHMEM || ops === VMOPS_SHMEM_ANON;
};

/** Shared mappings are told of first writes (vma_wants_writenotify). */
export const vmOpsHasPageMkwrite = (vma: VmaRef): boolean => get(vma, Vma.ops) === VMOPS_DISK;

/** vma_is_anonymous. */
export const vmaIsAnonymous = (vma: VmaRef): boolean => get(vma, Vma.ops) === 0;

/** vma_is_shmem: attached SysV segments are not (their operations are ipc/shm.c's). */
export const vmaIsShmem = (vma: VmaRef): boolean => {
  const ops = get(vma, Vma.ops);
  return ops === VMOPS_SHMEM || ops === VMOPS_SHMEM_ANON;
};
