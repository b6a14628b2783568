/**
 * anon_vma: which VMAs may map the anonymous pages that were first made in one VMA (the first half of mm/rmap.c).
 *
 * Invariants:
 * - every page of an anonymous or private mapping points to an anon_vma, and each VMA that can map it hangs below that one through a chain
 *   object (avc): in the VMA's list `avcs`, newest first, and in the anon_vma's interval tree;
 * - the anon_vmas of a family of forks share the root's rwsem, under which all their trees and counts change;
 * - `refcount` of a root counts itself and its descendants; `numChildren` counts child anon_vmas, a root being its own child;
 *   `numActiveVmas` counts VMAs whose `anonVma` it is;
 * - `Vma.anonVma` is set once, under the mmap lock held at least for reading and the page table lock, and cleared with the mmap lock held
 *   for writing (or by the last user of the mm).
 */
import type { Op } from '../kernel/op.ts';
import { add, atomicAdd, downReadTrylock, downWrite, get, kfree, kmalloc, readOnce, set, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { ENOMEM } from './errno.ts';
import { anonVmaIntervalTreeInsert, anonVmaIntervalTreeRemove } from './interval-tree.ts';
import { mmapReadUnlock, vmaEndRead } from './mmap-lock.ts';
import { AnonVma, type AnonVmaRef, Avc, type AvcRef, Mm, Vma, type VmaRef } from './types.ts';
import { VM_ACCESS_FLAGS, VM_IGNORE_MERGE } from './vm-flags.ts';
import { FAULT_FLAG_VMA_LOCK, VM_FAULT_OOM, VM_FAULT_RETRY } from './vmf.ts';

/** The rw_semaphore that guards an anon_vma: its root's. */
const rootLock = (anonVma: AnonVmaRef): number => get(anonVma, AnonVma.root) + AnonVma.rwsem;

/** anon_vma_lock_write. */
export function* anonVmaLockWrite(anonVma: AnonVmaRef): Op<number> {
  return yield* downWrite(rootLock(anonVma));
}

/** anon_vma_unlock_write. */
export function* anonVmaUnlockWrite(anonVma: AnonVmaRef): Op<number> {
  return yield* upWrite(rootLock(anonVma));
}

/** Whether a VMA's list of chains has exactly one element: it never took part in a fork with pages of its own (list_is_singular). */
export function chainIsSingular(vma: VmaRef): boolean {
  const first = get(vma, Vma.avcs);
  return first !== 0 && get(first, Avc.next) === 0;
}

/** anon_vma_alloc: a root without users, 0 without memory. */
function* anonVmaAlloc(): Op<AnonVmaRef> {
  const anonVma = yield* kmalloc(AnonVma.$type);
  if (anonVma === 0) return 0;
  set(anonVma, AnonVma.refcount, 1);
  set(anonVma, AnonVma.parent, anonVma);
  set(anonVma, AnonVma.root, anonVma);
  return anonVma;
}

/** anon_vma_free: waits for whoever came through a page and still holds the root's lock. */
function* anonVmaFree(anonVma: AnonVmaRef): Op<number> {
  const lock = rootLock(anonVma);
  yield* downWrite(lock);
  yield* upWrite(lock);
  return yield* kfree(AnonVma.$type, anonVma);
}

/** put_anon_vma: drops a reference. */
export function* putAnonVma(anonVma: AnonVmaRef): Op<number> {
  if ((yield* atomicAdd(anonVma, AnonVma.refcount, -1)) !== 0) return 0;
  return yield* anonVmaDropped(anonVma);
}

/** __put_anon_vma: the last reference was dropped; that of a descendant drops one of the root's. */
export function* anonVmaDropped(anonVma: AnonVmaRef): Op<number> {
  const root = get(anonVma, AnonVma.root);
  yield* anonVmaFree(anonVma);
  if (root !== anonVma && (yield* atomicAdd(root, AnonVma.refcount, -1)) === 0) yield* anonVmaFree(root);
  return 0;
}

/** anon_vma_chain_link: hangs a VMA below an anon_vma whose lock is held. */
function chainLink(vma: VmaRef, avc: AvcRef, anonVma: AnonVmaRef): void {
  const first = get(vma, Vma.avcs);
  set(avc, Avc.vma, vma);
  set(avc, Avc.anonVma, anonVma);
  set(avc, Avc.next, first);
  if (first !== 0) set(first, Avc.prev, avc);
  set(vma, Vma.avcs, avc);
  anonVmaIntervalTreeInsert(avc, anonVma + AnonVma.tree);
}

/** Takes a chain object out of its VMA's list. */
function chainUnlist(vma: VmaRef, avc: AvcRef): void {
  const prev = get(avc, Avc.prev);
  const next = get(avc, Avc.next);
  if (prev !== 0) set(prev, Avc.next, next);
  else set(vma, Vma.avcs, next);
  if (next !== 0) set(next, Avc.prev, prev);
}

/** anon_vma_interval_tree_pre_update_vma: takes a VMA out of its trees before its range changes. Needs the root's lock. */
export function anonTreesRemove(vma: VmaRef): void {
  for (let avc = get(vma, Vma.avcs); avc !== 0; avc = get(avc, Avc.next)) anonVmaIntervalTreeRemove(avc, get(avc, Avc.anonVma) + AnonVma.tree);
}

/** anon_vma_interval_tree_post_update_vma: puts it back with its new range. */
export function anonTreesInsert(vma: VmaRef): void {
  for (let avc = get(vma, Vma.avcs); avc !== 0; avc = get(avc, Avc.next)) anonVmaIntervalTreeInsert(avc, get(avc, Avc.anonVma) + AnonVma.tree);
}

/**
 * anon_vma_compatible: neighbours (`low` ends where `high` begins) that may share an anon_vma: the same object in one line, flags differing in nothing
 * but what mprotect changes, so that a later mprotect can merge them.
 */
function anonVmaCompatible(low: VmaRef, high: VmaRef): boolean {
  return (
    get(low, Vma.end) === get(high, Vma.start) &&
    get(low, Vma.file) === get(high, Vma.file) &&
    ((get(low, Vma.flags) ^ get(high, Vma.flags)) & ~(VM_ACCESS_FLAGS | VM_IGNORE_MERGE)) === 0 &&
    get(high, Vma.pgoff) === get(low, Vma.pgoff) + get(high, Vma.start) - get(low, Vma.start)
  );
}

/** reusable_anon_vma: the anon_vma of `old`, one of two neighbours, unless forks made it complicated. The reader holds the mmap lock for reading. */
function* reusableAnonVma(old: VmaRef, low: VmaRef, high: VmaRef): Op<AnonVmaRef> {
  if (!anonVmaCompatible(low, high)) return 0;
  const anonVma = yield* readOnce(old, Vma.anonVma);
  return anonVma !== 0 && chainIsSingular(old) ? anonVma : 0;
}

/** find_mergeable_anon_vma: a neighbour's anon_vma that a VMA may use, the upper neighbour's first; 0 if none. */
function* findMergeableAnonVma(vma: VmaRef): Op<AnonVmaRef> {
  const next = get(vma, Vma.next);
  if (next !== 0) {
    const anonVma = yield* reusableAnonVma(next, vma, next);
    if (anonVma !== 0) return anonVma;
  }
  const prev = get(vma, Vma.prev);
  return prev !== 0 ? yield* reusableAnonVma(prev, prev, vma) : 0;
}

/** anon_vma_prepare: makes sure that a VMA has an anon_vma. 0 or −ENOMEM. Needs the mmap lock, reading is enough. */
export function* anonVmaPrepare(vma: VmaRef): Op<number> {
  if (get(vma, Vma.anonVma) !== 0) return 0;
  const avc = yield* kmalloc(Avc.$type);
  if (avc === 0) return -ENOMEM;
  let anonVma = yield* findMergeableAnonVma(vma);
  let allocated = 0;
  if (anonVma === 0) {
    anonVma = yield* anonVmaAlloc();
    if (anonVma === 0) {
      yield* kfree(Avc.$type, avc);
      return -ENOMEM;
    }
    add(anonVma, AnonVma.numChildren, 1);
    allocated = anonVma;
  }
  yield* downWrite(rootLock(anonVma));
  // The page table lock decides between faults that prepare the same VMA.
  const lock = get(vma, Vma.mm) + Mm.pageTableLock;
  yield* spinLock(lock);
  let unused = avc;
  if (get(vma, Vma.anonVma) === 0 || switched(SW.anonVmaNoRecheck)) {
    set(vma, Vma.anonVma, anonVma);
    chainLink(vma, avc, anonVma);
    add(anonVma, AnonVma.numActiveVmas, 1);
    allocated = 0;
    unused = 0;
  }
  yield* spinUnlock(lock);
  yield* upWrite(rootLock(anonVma));
  if (allocated !== 0) yield* putAnonVma(allocated);
  if (unused !== 0) yield* kfree(Avc.$type, unused);
  return 0;
}

/**
 * vmf_anon_prepare: the same inside a fault, by its flags. A fault that holds only the VMA's lock needs the mmap lock for this; where that is not to be
 * had at once it gives up the VMA's lock and returns VM_FAULT_RETRY. 0 or VM_FAULT_*.
 */
export function* anonVmaPrepareFault(vma: VmaRef, flags: number): Op<number> {
  const result = yield* anonVmaPrepareHeld(vma, flags);
  if (result === VM_FAULT_RETRY) yield* vmaEndRead(vma);
  return result;
}

/** __vmf_anon_prepare: the same, but the VMA's lock stays held: who returns VM_FAULT_RETRY must give it up when he needs the VMA no longer. */
export function* anonVmaPrepareHeld(vma: VmaRef, flags: number): Op<number> {
  if (get(vma, Vma.anonVma) !== 0) return 0;
  const mm = get(vma, Vma.mm);
  const locks = (flags & FAULT_FLAG_VMA_LOCK) !== 0 && !switched(SW.anonVmaNoMmapLock);
  if (locks && (yield* downReadTrylock(mm + Mm.mmapLock)) === 0) return VM_FAULT_RETRY;
  const error = yield* anonVmaPrepare(vma);
  if (locks) yield* mmapReadUnlock(mm);
  return error === 0 ? 0 : VM_FAULT_OOM;
}

/** lock_anon_vma_root: the chains of one VMA have one root; it is locked when the first is met. `held` is the root locked before, or 0. */
function* lockAnonVmaRoot(held: AnonVmaRef, anonVma: AnonVmaRef): Op<AnonVmaRef> {
  const root = get(anonVma, AnonVma.root);
  if (root === held) return held;
  if (held !== 0) yield* upWrite(held + AnonVma.rwsem);
  yield* downWrite(root + AnonVma.rwsem);
  return root;
}

/**
 * anon_vma_clone: `dst` may map whatever `src` may. Where `dst` has no anon_vma yet (a fork), one of the chain that has neither VMAs of its own nor more
 * than one child is taken over instead of making a new one, which bounds the length of chains. 0 or −ENOMEM, with nothing linked.
 */
export function* anonVmaClone(dst: VmaRef, src: VmaRef): Op<number> {
  let root = 0;
  let parentAvc = get(src, Vma.avcs);
  // From the oldest to the newest, each put first: the lists end up in the same order.
  while (parentAvc !== 0 && get(parentAvc, Avc.next) !== 0) parentAvc = get(parentAvc, Avc.next);
  while (parentAvc !== 0) {
    // Once without sleeping; then, the lock released, with.
    let avc = yield* kmalloc(Avc.$type);
    if (avc === 0) {
      if (root !== 0) yield* upWrite(root + AnonVma.rwsem);
      root = 0;
      avc = yield* kmalloc(Avc.$type);
      if (avc === 0) {
        // Its count of active VMAs was not raised yet, so unlinking must not lower it.
        set(dst, Vma.anonVma, 0);
        yield* unlinkAnonVmas(dst);
        return -ENOMEM;
      }
    }
    const anonVma = get(parentAvc, Avc.anonVma);
    root = yield* lockAnonVmaRoot(root, anonVma);
    chainLink(dst, avc, anonVma);
    if (get(dst, Vma.anonVma) === 0 && get(src, Vma.anonVma) !== 0 && get(anonVma, AnonVma.numChildren) < 2 && get(anonVma, AnonVma.numActiveVmas) === 0)
      set(dst, Vma.anonVma, anonVma);
    parentAvc = get(parentAvc, Avc.prev);
  }
  const own = get(dst, Vma.anonVma);
  if (own !== 0) add(own, AnonVma.numActiveVmas, 1);
  if (root !== 0) yield* upWrite(root + AnonVma.rwsem);
  return 0;
}

/** anon_vma_fork: `vma`, the child's copy of `parent`, gets the parent's chains and an anon_vma of its own for pages made from now on. 0 or −ENOMEM. */
export function* anonVmaFork(vma: VmaRef, parent: VmaRef): Op<number> {
  const parentAnonVma = get(parent, Vma.anonVma);
  if (parentAnonVma === 0) return 0;
  set(vma, Vma.anonVma, 0);
  const error = yield* anonVmaClone(vma, parent);
  if (error !== 0) return error;
  if (get(vma, Vma.anonVma) !== 0) return 0;
  const anonVma = yield* anonVmaAlloc();
  if (anonVma === 0) {
    yield* unlinkAnonVmas(vma);
    return -ENOMEM;
  }
  add(anonVma, AnonVma.numActiveVmas, 1);
  const avc = yield* kmalloc(Avc.$type);
  if (avc === 0) {
    yield* putAnonVma(anonVma);
    yield* unlinkAnonVmas(vma);
    return -ENOMEM;
  }
  const root = get(parentAnonVma, AnonVma.root);
  set(anonVma, AnonVma.root, root);
  set(anonVma, AnonVma.parent, parentAnonVma);
  yield* atomicAdd(root, AnonVma.refcount, 1);
  set(vma, Vma.anonVma, anonVma);
  yield* downWrite(root + AnonVma.rwsem);
  chainLink(vma, avc, anonVma);
  add(parentAnonVma, AnonVma.numChildren, 1);
  yield* upWrite(root + AnonVma.rwsem);
  return 0;
}

/** unlink_anon_vmas: a VMA leaves all its anon_vmas; those without a VMA left go. */
export function* unlinkAnonVmas(vma: VmaRef): Op<number> {
  let root = 0;
  let avc = get(vma, Vma.avcs);
  while (avc !== 0) {
    const next = get(avc, Avc.next);
    const anonVma = get(avc, Avc.anonVma);
    root = yield* lockAnonVmaRoot(root, anonVma);
    anonVmaIntervalTreeRemove(avc, anonVma + AnonVma.tree);
    // An empty anon_vma stays in the list: freeing it takes the lock that we hold.
    if (get(anonVma, AnonVma.tree) === 0) add(get(anonVma, AnonVma.parent), AnonVma.numChildren, -1);
    else {
      chainUnlist(vma, avc);
      yield* kfree(Avc.$type, avc);
    }
    avc = next;
  }
  const own = get(vma, Vma.anonVma);
  if (own !== 0) {
    add(own, AnonVma.numActiveVmas, -1);
    set(vma, Vma.anonVma, 0);
  }
  if (root !== 0) yield* upWrite(root + AnonVma.rwsem);
  avc = get(vma, Vma.avcs);
  while (avc !== 0) {
    const next = get(avc, Avc.next);
    yield* putAnonVma(get(avc, Avc.anonVma));
    yield* kfree(Avc.$type, avc);
    avc = next;
  }
  set(vma, Vma.avcs, 0);
  return 0;
}
