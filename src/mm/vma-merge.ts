/**
 * Merging VMAs (mm/vma.c): ranges that came to be alike, and touch, are one VMA.
 *
 * Two neighbours are alike when flags (soft-dirty apart), file and name are equal, their offsets continue, and their anon_vmas can be one: both the same; or
 * only one has any and that one was never copied by a fork (its chain has one link), since pages found through a long chain cost more than a VMA does.
 * Special VMAs (VM_SPECIAL) are left alone, and a VMA that must hear of its end (vm_ops->close) is never the one that disappears.
 *
 * Invariants: nothing changes unless everything that may fail has been done; the caller holds the mmap lock for writing and passes as prev and next the
 * neighbours of the range; the VMA that stays is write-locked (vmaStartWrite) by then.
 */
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { anonVmaClone, chainIsSingular } from './anon-vma.ts';
import { ENOMEM } from './errno.ts';
import { fileGet } from './file.ts';
import { vmaAdjustTransHuge } from './huge-memory.ts';
import { khugepagedEnterVma } from './khugepaged-slots.ts';
import { vmaStartWrite } from './mmap-lock.ts';
import { type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_IGNORE_MERGE, VM_SPECIAL, VM_STICKY } from './vm-flags.ts';
import { vmaIsAnonymous, vmOpen, vmOpsHasClose } from './vm-ops.ts';
import { splitVma, vmAreaDup, vmAreaFree, vmaComplete, vmaLink, vmaPages, vmaPrepare, vmaSetRange } from './vma.ts';
import { findVma, findVmaPrev, vmaTreeAdjust, vmaTreeRemove } from './vma-tree.ts';
import { allocVmg, freeVmg, VMG_NOMEM, VMG_NOMERGE, VMG_SUCCESS, Vmg, type VmgRef } from './vmg.ts';

/** A merge state for a range of an mm between two neighbours (VMG_STATE, VMG_MMAP_STATE); the caller frees it. */
export function newVmg(mm: MmRef, prev: VmaRef, next: VmaRef, start: Vpn, end: Vpn, flags: number, pgoff: Vpn): VmgRef {
  const vmg = allocVmg();
  set(vmg, Vmg.mm, mm);
  set(vmg, Vmg.prev, prev);
  set(vmg, Vmg.next, next);
  set(vmg, Vmg.start, start);
  set(vmg, Vmg.end, end);
  set(vmg, Vmg.flags, flags);
  set(vmg, Vmg.pgoff, pgoff);
  return vmg;
}

/** The same for a range that has a VMA's properties (VMG_VMA_STATE). It may lie beyond the VMA. */
function newVmgOf(vma: VmaRef, prev: VmaRef, next: VmaRef, start: Vpn, end: Vpn): VmgRef {
  const vmg = newVmg(get(vma, Vma.mm), prev, next, start, end, get(vma, Vma.flags), get(vma, Vma.pgoff) + start - get(vma, Vma.start));
  set(vmg, Vmg.file, get(vma, Vma.file));
  set(vmg, Vmg.anonVma, get(vma, Vma.anonVma));
  set(vmg, Vmg.anonName, get(vma, Vma.anonName));
  set(vmg, Vmg.highFlags, get(vma, Vma.highFlags));
  set(vmg, Vmg.uffd, get(vma, Vma.uffd));
  return vmg;
}

/** vma_is_fork_child: has pages that a fork may have shared. */
const isForkChild = (vma: VmaRef): boolean => vma !== 0 && get(vma, Vma.anonVma) !== 0 && !chainIsSingular(vma);

/** is_mergeable_vma. */
const isMergeable = (vmg: VmgRef, vma: VmaRef): boolean =>
  ((get(vma, Vma.flags) ^ get(vmg, Vmg.flags)) & ~VM_IGNORE_MERGE) === 0 &&
  get(vma, Vma.highFlags) === get(vmg, Vmg.highFlags) &&
  get(vma, Vma.file) === get(vmg, Vmg.file) &&
  get(vma, Vma.anonName) === get(vmg, Vmg.anonName) &&
  get(vma, Vma.uffd) === get(vmg, Vmg.uffd);

/** is_mergeable_anon_vma. */
function isMergeableAnonVma(vmg: VmgRef, target: VmaRef): boolean {
  const theirs = get(target, Vma.anonVma);
  const ours = get(vmg, Vmg.anonVma);
  if (theirs === 0 && ours !== 0) return !isForkChild(get(vmg, Vmg.middle)) && !isForkChild(get(vmg, Vmg.copiedFrom));
  if (theirs !== 0 && ours === 0) return !isForkChild(target);
  return theirs === ours;
}

/** can_vma_merge_left. */
function canMergeLeft(vmg: VmgRef): boolean {
  const prev = get(vmg, Vmg.prev);
  return (
    prev !== 0 &&
    get(prev, Vma.end) === get(vmg, Vmg.start) &&
    isMergeable(vmg, prev) &&
    isMergeableAnonVma(vmg, prev) &&
    get(prev, Vma.pgoff) + vmaPages(prev) === get(vmg, Vmg.pgoff)
  );
}

/** can_vma_merge_right; with `left`, prev and next become one VMA and must agree with each other, too. */
function canMergeRight(vmg: VmgRef, left: boolean): boolean {
  const next = get(vmg, Vmg.next);
  if (
    next === 0 ||
    get(next, Vma.start) !== get(vmg, Vmg.end) ||
    !isMergeable(vmg, next) ||
    !isMergeableAnonVma(vmg, next) ||
    get(next, Vma.pgoff) !== get(vmg, Vmg.pgoff) + get(vmg, Vmg.end) - get(vmg, Vmg.start)
  )
    return false;
  if (!left) return true;
  const prevAnonVma = get(get(vmg, Vmg.prev), Vma.anonVma);
  const nextAnonVma = get(next, Vma.anonVma);
  return prevAnonVma === 0 || nextAnonVma === 0 || prevAnonVma === nextAnonVma;
}

/** dup_anon_vma: `dst` takes over the chains of `src` when it has none. 1 when it did, 0 when there was nothing to do, -ENOMEM. */
function* dupAnonVma(dst: VmaRef, src: VmaRef): Op<number> {
  if (get(src, Vma.anonVma) === 0 || get(dst, Vma.anonVma) !== 0) return 0;
  set(dst, Vma.anonVma, get(src, Vma.anonVma));
  const error = yield* anonVmaClone(dst, src);
  return error === 0 ? 1 : error;
}

/** A merged VMA has every sticky flag that one of its parts had. */
function addSticky(vma: VmaRef, flags: number): void {
  const missing = flags & VM_STICKY & ~get(vma, Vma.flags);
  if (missing !== 0) set(vma, Vma.flags, get(vma, Vma.flags) | missing);
}

/** commit_merge: gives the VMAs their new ranges. The state says which go and which of the others changes with the target. */
function* commitMerge(vmg: VmgRef): Op<number> {
  const mm = get(vmg, Vmg.mm);
  const middle = get(vmg, Vmg.middle);
  const next = get(vmg, Vmg.next);
  const start = get(vmg, Vmg.start);
  const end = get(vmg, Vmg.end);
  // Where next grows downwards, middle is what start and end describe.
  const vma = get(vmg, Vmg.adjustNextStart) !== 0 ? middle : get(vmg, Vmg.target);
  let adjust = 0;
  if (get(vmg, Vmg.adjustMiddleStart) !== 0) adjust = middle;
  else if (get(vmg, Vmg.adjustNextStart) !== 0) adjust = next;
  let remove = get(vmg, Vmg.removeMiddle) !== 0 ? middle : 0;
  let remove2 = get(vmg, Vmg.removeNext) !== 0 ? next : 0;
  if (remove === 0) {
    remove = remove2;
    remove2 = 0;
  }
  yield* vmaPrepare(vma, adjust, 0);
  yield* vmaAdjustTransHuge(vma, start, end, get(vmg, Vmg.adjustMiddleStart) !== 0 ? middle : 0);
  if (remove !== 0) vmaTreeRemove(mm, remove);
  if (remove2 !== 0) vmaTreeRemove(mm, remove2);
  // Whichever of two neighbours shrinks does so first.
  if (adjust !== 0 && adjust === middle) {
    set(middle, Vma.pgoff, get(middle, Vma.pgoff) + end - get(middle, Vma.start));
    vmaTreeAdjust(mm, middle, end, get(middle, Vma.end));
  }
  set(vma, Vma.pgoff, get(vmg, Vmg.pgoff));
  vmaTreeAdjust(mm, vma, start, end);
  if (adjust !== 0 && adjust === next) {
    set(next, Vma.pgoff, get(next, Vma.pgoff) - (get(next, Vma.start) - end));
    vmaTreeAdjust(mm, next, end, get(next, Vma.end));
  }
  return yield* vmaComplete(vma, adjust, 0, remove, remove2);
}

/**
 * vma_merge_existing_range: a part of `middle` (at one end of it, or all) has the properties in the state now; joins it to the neighbours that have
 * the same. The VMA that the part belongs to afterwards, or 0 with the reason in `Vmg.state`.
 */
function* vmaMergeExistingRange(vmg: VmgRef): Op<VmaRef> {
  const middle = get(vmg, Vmg.middle);
  const prev = get(vmg, Vmg.prev);
  const start = get(vmg, Vmg.start);
  const leftSide = start === get(middle, Vma.start);
  const rightSide = get(vmg, Vmg.end) === get(middle, Vma.end);
  set(vmg, Vmg.state, VMG_NOMERGE);
  if ((get(vmg, Vmg.flags) & VM_SPECIAL) !== 0 || (!leftSide && !rightSide)) return 0;
  const mergeLeft = leftSide && canMergeLeft(vmg);
  let next = 0;
  let mergeRight = false;
  if (rightSide) {
    next = get(middle, Vma.next);
    set(vmg, Vmg.next, next);
    mergeRight = canMergeRight(vmg, mergeLeft);
  }
  if (!mergeLeft && !mergeRight) return 0;
  const removeMiddle = leftSide && rightSide;
  if (removeMiddle && vmOpsHasClose(middle)) return 0;
  // Without being able to remove next, prev and middle still become one.
  if (mergeLeft && mergeRight && vmOpsHasClose(next)) mergeRight = false;
  if (removeMiddle) set(vmg, Vmg.removeMiddle, 1);
  yield* vmaStartWrite(middle);
  if (mergeRight) yield* vmaStartWrite(next);
  if (mergeLeft) yield* vmaStartWrite(prev);
  const target = mergeLeft ? prev : next;
  set(vmg, Vmg.target, target);
  const sticky = get(vmg, Vmg.flags) | (mergeLeft ? get(prev, Vma.flags) : 0) | (mergeRight ? get(next, Vma.flags) : 0);
  let dup = 0;
  if (mergeLeft) {
    set(vmg, Vmg.start, get(prev, Vma.start));
    set(vmg, Vmg.pgoff, get(prev, Vma.pgoff));
    if (mergeRight) {
      set(vmg, Vmg.removeNext, 1);
      set(vmg, Vmg.end, get(next, Vma.end));
      dup = yield* dupAnonVma(prev, get(next, Vma.anonVma) !== 0 ? next : middle);
    } else {
      if (!removeMiddle) set(vmg, Vmg.adjustMiddleStart, 1);
      dup = yield* dupAnonVma(prev, middle);
    }
  } else {
    if (removeMiddle) {
      set(vmg, Vmg.pgoff, get(next, Vma.pgoff) - (get(vmg, Vmg.end) - start));
      set(vmg, Vmg.end, get(next, Vma.end));
    } else {
      set(vmg, Vmg.adjustNextStart, 1);
      set(vmg, Vmg.start, get(middle, Vma.start));
      set(vmg, Vmg.end, start);
      set(vmg, Vmg.pgoff, get(middle, Vma.pgoff));
    }
    dup = yield* dupAnonVma(next, middle);
  }
  if (dup < 0) {
    if (get(vmg, Vmg.giveUpOnOom) === 0) set(vmg, Vmg.state, VMG_NOMEM);
    return 0;
  }
  yield* commitMerge(vmg);
  addSticky(target, sticky);
  yield* khugepagedEnterVma(target, get(vmg, Vmg.flags));
  set(vmg, Vmg.state, VMG_SUCCESS);
  return target;
}

/**
 * vma_merge_new_range: a range in which nothing is mapped (any longer) joins neighbours that have the properties in the state. The VMA that it belongs
 * to afterwards, or 0 when a VMA of its own is needed; `Vmg.state` tells VMG_NOMEM from that.
 */
export function* vmaMergeNewRange(vmg: VmgRef): Op<VmaRef> {
  const prev = get(vmg, Vmg.prev);
  const next = get(vmg, Vmg.next);
  const end = get(vmg, Vmg.end);
  set(vmg, Vmg.state, VMG_NOMERGE);
  if ((get(vmg, Vmg.flags) & VM_SPECIAL) !== 0 || (prev === 0 && next === 0)) return 0;
  const left = canMergeLeft(vmg);
  const right = get(vmg, Vmg.justExpand) === 0 && canMergeRight(vmg, left);
  let target = 0;
  if (right) {
    target = next;
    set(vmg, Vmg.end, get(next, Vma.end));
  }
  if (left) {
    target = prev;
    set(vmg, Vmg.start, get(prev, Vma.start));
    set(vmg, Vmg.pgoff, get(prev, Vma.pgoff));
    if (right && vmOpsHasClose(next)) set(vmg, Vmg.end, end);
  }
  if (target === 0) return 0;
  set(vmg, Vmg.target, target);
  if ((yield* vmaExpand(vmg)) !== 0) return 0;
  yield* khugepagedEnterVma(target, get(vmg, Vmg.flags));
  set(vmg, Vmg.state, VMG_SUCCESS);
  return target;
}

/** vma_expand: the target grows to the state's range, over next where that ends with it. 0 or -ENOMEM. */
export function* vmaExpand(vmg: VmgRef): Op<number> {
  const target = get(vmg, Vmg.target);
  const next = get(vmg, Vmg.next);
  const copiedFrom = get(vmg, Vmg.copiedFrom);
  yield* vmaStartWrite(target);
  const removeNext = next !== 0 && target !== next && get(vmg, Vmg.end) === get(next, Vma.end);
  const sticky = get(vmg, Vmg.flags) | (removeNext ? get(next, Vma.flags) : 0);
  let dup = 0;
  if (removeNext) dup = yield* dupAnonVma(target, next);
  if (dup >= 0 && copiedFrom !== 0) {
    const more = yield* dupAnonVma(target, copiedFrom);
    if (more !== 0) dup = more;
  }
  if (dup < 0) return dup;
  if (removeNext) {
    yield* vmaStartWrite(next);
    set(vmg, Vmg.removeNext, 1);
  }
  yield* commitMerge(vmg);
  addSticky(target, sticky);
  return 0;
}

/** vma_modify: merges the range with neighbours, or else splits it off. The VMA that is exactly the range or contains it merged; -errno. */
function* vmaModify(vmg: VmgRef): Op<number> {
  const vma = get(vmg, Vmg.middle);
  const start = get(vmg, Vmg.start);
  const end = get(vmg, Vmg.end);
  const merged = yield* vmaMergeExistingRange(vmg);
  if (merged !== 0) return merged;
  if (get(vmg, Vmg.state) === VMG_NOMEM) return -ENOMEM;
  if (get(vma, Vma.start) < start) {
    const error = yield* splitVma(vma, start, 1);
    if (error !== 0) return error;
  }
  if (get(vma, Vma.end) > end) {
    const error = yield* splitVma(vma, end, 0);
    if (error !== 0) return error;
  }
  return vma;
}

/** Whether a range is all of a VMA that touches neither neighbour: there is nothing to merge with, and nothing to split off. */
function standsAlone(vma: VmaRef, prev: VmaRef, start: Vpn, end: Vpn): boolean {
  if (get(vma, Vma.start) !== start || get(vma, Vma.end) !== end || (prev !== 0 && get(prev, Vma.end) === start)) return false;
  const next = get(vma, Vma.next);
  return next === 0 || get(next, Vma.start) !== end;
}

/**
 * vma_modify_flags: prepares [start, end) of a VMA for other flags, which the caller then sets on the VMA returned (vmaResetFlags); -errno. `prev` is the
 * VMA before the range (`vma` itself when the range begins inside it).
 */
export function* vmaModifyFlags(prev: VmaRef, vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  if (standsAlone(vma, prev, start, end)) return vma;
  const vmg = newVmgOf(vma, prev, 0, start, end);
  set(vmg, Vmg.middle, vma);
  set(vmg, Vmg.flags, flags);
  const result = yield* vmaModify(vmg);
  freeVmg(vmg);
  return result;
}

/** vma_modify_flags_uffd: the same for another context and other modes, as newUffdVmg() was told them. */
export function* vmaModifyFlagsUffd(vmg: VmgRef, prev: VmaRef, vma: VmaRef): Op<number> {
  if (standsAlone(vma, prev, get(vmg, Vmg.start), get(vmg, Vmg.end))) return vma;
  return yield* vmaModify(vmg);
}

/** What vmaModifyFlagsUffd() takes: [start, end) of a VMA with another context, flags and high flags; the caller frees it. */
export function newUffdVmg(prev: VmaRef, vma: VmaRef, start: Vpn, end: Vpn, ctx: number, flags: number, highFlags: number): VmgRef {
  const vmg = newVmgOf(vma, prev, 0, start, end);
  set(vmg, Vmg.middle, vma);
  set(vmg, Vmg.flags, flags);
  set(vmg, Vmg.highFlags, highFlags);
  set(vmg, Vmg.uffd, ctx);
  return vmg;
}

/** vm_flags_reset of a VMA that vmaModifyFlags() returned: sticky flags that came with a merge stay. */
export function vmaResetFlags(vma: VmaRef, flags: number): void {
  set(vma, Vma.flags, flags | (get(vma, Vma.flags) & VM_STICKY));
}

/** vma_merge_extend: a VMA grows by so many pages at its end (mremap in place), perhaps into its neighbour. The VMA, or 0. */
export function* vmaMergeExtend(vma: VmaRef, pages: number): Op<VmaRef> {
  const end = get(vma, Vma.end);
  const vmg = newVmgOf(vma, vma, get(vma, Vma.next), end, end + pages);
  const merged = yield* vmaMergeNewRange(vmg);
  freeVmg(vmg);
  return merged;
}

/**
 * copy_vma: a VMA with the properties of `vma` at [vpn, vpn + pages), where nothing is mapped, for mremap() to move pages into; merged with what is there
 * already where that is possible. 0 without memory. The source itself may be what it is merged with: then `vma` may be gone, and the returned VMA
 * contains the address where it began.
 */
export function* copyVma(vma: VmaRef, vpn: Vpn, pages: number, offset: Vpn): Op<VmaRef> {
  const mm = get(vma, Vma.mm);
  const untouched = vmaIsAnonymous(vma) && get(vma, Vma.anonVma) === 0;
  const pgoff = untouched ? vpn : offset;
  const prev = findVmaPrev(mm, vpn);
  const next = findVma(mm, vpn);
  if (next !== 0 && get(next, Vma.start) < vpn + pages) return 0;
  const vmg = newVmgOf(vma, prev, next, vpn, vpn + pages);
  set(vmg, Vmg.pgoff, pgoff);
  set(vmg, Vmg.copiedFrom, vma);
  let copy = yield* vmaMergeNewRange(vmg);
  freeVmg(vmg);
  if (copy !== 0) return copy;
  copy = yield* vmAreaDup(vma);
  if (copy === 0) return 0;
  vmaSetRange(copy, vpn, vpn + pages, pgoff);
  if ((yield* anonVmaClone(copy, vma)) !== 0) {
    yield* vmAreaFree(copy);
    return 0;
  }
  const file = get(copy, Vma.file);
  if (file !== 0) yield* fileGet(file);
  yield* vmOpen(copy);
  yield* vmaLink(mm, copy);
  return copy;
}
