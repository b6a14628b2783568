/**
 * VMAs: making, linking, splitting (mm/vma.c, mm/vma_init.c). Merging is in vma-merge.ts, unmapping in munmap.ts.
 *
 * Invariants: a VMA in the mm's tree is attached (`refcnt` ≥ 1), counted in `mapCount`, and, when it maps a file, in the tree of its inode;
 * its range, offset and flags change only under the mmap lock held for writing after vmaStartWrite(), and never while it is in an interval tree:
 * vmaPrepare() takes those concerned out under the locks of rmap (i_mmap_rwsem, then the anon_vma's), vmaComplete() puts them back.
 */
import type { Op } from '../kernel/op.ts';
import { add, downWrite, get, kfree, kmalloc, set, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { anonTreesInsert, anonTreesRemove, anonVmaClone, anonVmaLockWrite, anonVmaUnlockWrite, unlinkAnonVmas } from './anon-vma.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { fileGet, filePut, fputLater } from './file.ts';
import { globals } from './globals.ts';
import { vmaAdjustTransHuge } from './huge-memory.ts';
import { hugetlbSplit } from './hugetlb-vma.ts';
import { vmaIntervalTreeInsert, vmaIntervalTreeRemove } from './interval-tree.ts';
import { vmaMarkAttached, vmaMarkDetached, vmaStartWrite } from './mmap-lock.ts';
import { type AnonVmaRef, File, Globals, Inode, type InodeRef, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_MAYWRITE, VM_SEALED, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { vmClose, vmMaySplit, vmOpen } from './vm-ops.ts';
import { vmaTreeAdjust, vmaTreeInsert } from './vma-tree.ts';

/** vm_area_alloc: a detached VMA of an mm without range, or 0. */
export function* vmAreaAlloc(mm: MmRef): Op<VmaRef> {
  const vma = yield* kmalloc(Vma.$type);
  if (vma !== 0) set(vma, Vma.mm, mm);
  return vma;
}

/** vm_area_dup: a detached copy without chains of its own, or 0. The copy holds no reference to the file yet. */
export function* vmAreaDup(vma: VmaRef): Op<VmaRef> {
  const copy = yield* kmalloc(Vma.$type);
  if (copy === 0) return 0;
  set(copy, Vma.mm, get(vma, Vma.mm));
  set(copy, Vma.start, get(vma, Vma.start));
  set(copy, Vma.end, get(vma, Vma.end));
  set(copy, Vma.flags, get(vma, Vma.flags));
  set(copy, Vma.highFlags, get(vma, Vma.highFlags));
  set(copy, Vma.pgoff, get(vma, Vma.pgoff));
  set(copy, Vma.file, get(vma, Vma.file));
  set(copy, Vma.anonVma, get(vma, Vma.anonVma));
  set(copy, Vma.ops, get(vma, Vma.ops));
  set(copy, Vma.anonName, get(vma, Vma.anonName));
  set(copy, Vma.privateData, get(vma, Vma.privateData));
  set(copy, Vma.uffd, get(vma, Vma.uffd));
  return copy;
}

/** vm_area_free of a detached VMA. */
export function* vmAreaFree(vma: VmaRef): Op<number> {
  return yield* kfree(Vma.$type, vma);
}

/** vma_set_range of a VMA that is in no tree. */
export function vmaSetRange(vma: VmaRef, start: Vpn, end: Vpn, pgoff: Vpn): void {
  set(vma, Vma.start, start);
  set(vma, Vma.end, end);
  set(vma, Vma.pgoff, pgoff);
}

export const vmaPages = (vma: VmaRef): number => get(vma, Vma.end) - get(vma, Vma.start);

/** vma_is_sealed: mseal() forbids to change or unmap it. */
export const vmaIsSealed = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_SEALED) !== 0;

/** is_shared_maywrite: such a mapping counts in i_mmap_writable, which write seals look at. */
export const isSharedMaywrite = (flags: number): boolean =>
  (flags & (VM_SHARED | VM_MAYWRITE)) === (VM_SHARED | VM_MAYWRITE) && !((flags & VM_WRITE) === 0 && switched(SW.mayWriteUncounted));

const inodeOf = (vma: VmaRef): InodeRef => {
  const file = get(vma, Vma.file);
  return file === 0 ? 0 : get(file, File.inode);
};

/** __vma_link_file: into the tree of the inode, whose i_mmap_rwsem is held for writing. */
function linkFile(vma: VmaRef, inode: InodeRef): void {
  if (isSharedMaywrite(get(vma, Vma.flags))) add(inode, Inode.iMmapWritable, 1);
  vmaIntervalTreeInsert(vma, inode + Inode.iMmap);
}

/** __remove_shared_vm_struct: the reverse. */
function unlinkFile(vma: VmaRef, inode: InodeRef): void {
  if (isSharedMaywrite(get(vma, Vma.flags))) add(inode, Inode.iMmapWritable, -1);
  vmaIntervalTreeRemove(vma, inode + Inode.iMmap);
}

/** vma_link_file. */
export function* vmaLinkFile(vma: VmaRef): Op<number> {
  const inode = inodeOf(vma);
  if (inode === 0) return 0;
  yield* downWrite(inode + Inode.iMmapLock);
  linkFile(vma, inode);
  return yield* upWrite(inode + Inode.iMmapLock);
}

/** unlink_file_vma: hides a VMA from rmap and truncation before its tables are freed. */
export function* unlinkFileVma(vma: VmaRef): Op<number> {
  const inode = inodeOf(vma);
  if (inode === 0) return 0;
  yield* downWrite(inode + Inode.iMmapLock);
  unlinkFile(vma, inode);
  return yield* upWrite(inode + Inode.iMmapLock);
}

/** vma_iter_store_new and what goes with it: a VMA becomes part of its mm. */
export function* vmaStoreNew(mm: MmRef, vma: VmaRef): Op<number> {
  yield* vmaStartWrite(vma);
  vmaMarkAttached(vma);
  vmaTreeInsert(mm, vma);
  add(mm, Mm.mapCount, 1);
  return 0;
}

/** vma_link. Never fails here: the tree needs no memory of its own. */
export function* vmaLink(mm: MmRef, vma: VmaRef): Op<number> {
  yield* vmaStoreNew(mm, vma);
  return yield* vmaLinkFile(vma);
}

/** The anon_vma whose lock guards a change of `vma` and of `adjust` (0 for none): where both have one it is the same. */
const anonVmaOf = (vma: VmaRef, adjust: VmaRef): AnonVmaRef => {
  const anonVma = get(vma, Vma.anonVma);
  return anonVma === 0 && adjust !== 0 ? get(adjust, Vma.anonVma) : anonVma;
};

/**
 * vma_prepare: takes a VMA that will change, and the neighbour that changes with it (or 0), out of the trees of rmap, whose locks it leaves held. `insert` is
 * the VMA that is split off, or 0: rmap knows it from here on.
 */
export function* vmaPrepare(vma: VmaRef, adjust: VmaRef, insert: VmaRef): Op<number> {
  const inode = inodeOf(vma);
  if (inode !== 0) {
    yield* downWrite(inode + Inode.iMmapLock);
    if (insert !== 0) linkFile(insert, inode);
  }
  const anonVma = anonVmaOf(vma, adjust);
  if (anonVma !== 0) {
    yield* anonVmaLockWrite(anonVma);
    anonTreesRemove(vma);
    if (adjust !== 0) anonTreesRemove(adjust);
  }
  if (inode !== 0) {
    vmaIntervalTreeRemove(vma, inode + Inode.iMmap);
    if (adjust !== 0) vmaIntervalTreeRemove(adjust, inode + Inode.iMmap);
  }
  if (switched(SW.rmapLocksDropped)) {
    if (anonVma !== 0) yield* anonVmaUnlockWrite(anonVma);
    if (inode !== 0) yield* upWrite(inode + Inode.iMmapLock);
  }
  return 0;
}

/** vma_complete: the reverse, with new ranges. `remove` and `remove2` (or 0), merged into `vma`, have left the mm's tree and go; `insert` joins it. */
export function* vmaComplete(vma: VmaRef, adjust: VmaRef, insert: VmaRef, remove: VmaRef, remove2: VmaRef): Op<number> {
  const mm = get(vma, Vma.mm);
  const inode = inodeOf(vma);
  const anonVma = anonVmaOf(vma, adjust);
  if (switched(SW.rmapLocksDropped)) {
    if (inode !== 0) yield* downWrite(inode + Inode.iMmapLock);
    if (anonVma !== 0) yield* anonVmaLockWrite(anonVma);
  }
  if (inode !== 0) {
    if (adjust !== 0) vmaIntervalTreeInsert(adjust, inode + Inode.iMmap);
    vmaIntervalTreeInsert(vma, inode + Inode.iMmap);
    if (remove !== 0) unlinkFile(remove, inode);
    if (remove2 !== 0) unlinkFile(remove2, inode);
  }
  if (insert !== 0) {
    vmaMarkAttached(insert);
    vmaTreeInsert(mm, insert);
    add(mm, Mm.mapCount, 1);
  }
  if (anonVma !== 0) {
    anonTreesInsert(vma);
    if (adjust !== 0) anonTreesInsert(adjust);
    yield* anonVmaUnlockWrite(anonVma);
  }
  if (inode !== 0) yield* upWrite(inode + Inode.iMmapLock);
  if (remove !== 0) yield* dropMerged(mm, remove);
  if (remove2 !== 0) yield* dropMerged(mm, remove2);
  return 0;
}

/** The end of a VMA that another one has taken in. */
function* dropMerged(mm: MmRef, vma: VmaRef): Op<number> {
  yield* vmaMarkDetached(vma);
  const file = get(vma, Vma.file);
  if (file !== 0) yield* filePut(file);
  if (get(vma, Vma.anonVma) !== 0) yield* unlinkAnonVmas(vma);
  add(mm, Mm.mapCount, -1);
  return yield* vmAreaFree(vma);
}

/** remove_vma: closes and frees a detached VMA that rmap does not know any longer. `later`: its file is not released before the call is over. */
export function* removeVma(vma: VmaRef, later: number): Op<number> {
  yield* vmClose(vma);
  const file = get(vma, Vma.file);
  if (file !== 0 && later !== 0) yield* fputLater(get(vma, Vma.mm), file);
  else if (file !== 0) yield* filePut(file);
  return yield* vmAreaFree(vma);
}

/** __split_vma: cuts a VMA in two at a page inside it; the new VMA is the lower part or the upper one. 0 or -errno. */
export function* splitVmaUnchecked(vma: VmaRef, vpn: Vpn, newBelow: number): Op<number> {
  const start = get(vma, Vma.start);
  if (vpn <= start || vpn >= get(vma, Vma.end)) return -EINVAL;
  const refused = vmMaySplit(vma, vpn);
  if (refused !== 0) return refused;
  const fresh = yield* vmAreaDup(vma);
  if (fresh === 0) return -ENOMEM;
  if (newBelow !== 0) set(fresh, Vma.end, vpn);
  else {
    set(fresh, Vma.start, vpn);
    set(fresh, Vma.pgoff, get(vma, Vma.pgoff) + vpn - start);
  }
  const error = yield* anonVmaClone(fresh, vma);
  if (error !== 0) {
    yield* vmAreaFree(fresh);
    return error;
  }
  const file = get(fresh, Vma.file);
  if (file !== 0) yield* fileGet(file);
  yield* vmOpen(fresh);
  yield* vmaStartWrite(vma);
  yield* vmaStartWrite(fresh);
  yield* vmaPrepare(vma, 0, fresh);
  yield* vmaAdjustTransHuge(vma, start, vpn, 0);
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) yield* hugetlbSplit(vma, vpn);
  const mm = get(vma, Vma.mm);
  if (newBelow !== 0) {
    set(vma, Vma.pgoff, get(vma, Vma.pgoff) + vpn - start);
    vmaTreeAdjust(mm, vma, vpn, get(vma, Vma.end));
  } else vmaTreeAdjust(mm, vma, start, vpn);
  yield* vmaComplete(vma, 0, fresh, 0, 0);
  return 0;
}

/** split_vma: the same unless the mm has as many VMAs as it may have. */
export function* splitVma(vma: VmaRef, vpn: Vpn, newBelow: number): Op<number> {
  if (get(get(vma, Vma.mm), Mm.mapCount) >= get(globals, Globals.maxMapCount)) return -ENOMEM;
  return yield* splitVmaUnchecked(vma, vpn, newBelow);
}

/** vma_shrink: gives up an end of a VMA, whose pages the caller has unmapped. */
export function* vmaShrink(vma: VmaRef, start: Vpn, end: Vpn, pgoff: Vpn): Op<number> {
  yield* vmaStartWrite(vma);
  yield* vmaPrepare(vma, 0, 0);
  yield* vmaAdjustTransHuge(vma, start, end, 0);
  set(vma, Vma.pgoff, pgoff);
  vmaTreeAdjust(get(vma, Vma.mm), vma, start, end);
  return yield* vmaComplete(vma, 0, 0, 0, 0);
}
