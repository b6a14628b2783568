/**
 * Unmapping (mm/vma.c: vms_gather_munmap_vmas, vms_complete_munmap_vmas, do_vmi_munmap; free_pgtables of mm/memory.c).
 *
 * Invariants: all that can fail (splits, seals, the number of VMAs) is done while the VMAs are still in the mm's tree, so that a failure leaves a mapping as it
 * was, split perhaps. From the moment they have left the tree nobody can find them by address; only then may the mmap lock be downgraded, and page tables are
 * freed under it because page faults of the neighbours cannot use tables that map nothing of theirs. Rmap finds the VMAs until their entries are gone.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, get, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageShift } from '../memory/state.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { EINVAL, ENOMEM, EPERM } from './errno.ts';
import { globals } from './globals.ts';
import { updateHiwaterVm } from './mm-counters.ts';
import { mmapReadUnlock, mmapWriteDowngrade, mmapWriteLock, mmapWriteUnlock, vmaMarkAttached, vmaMarkDetached, vmaStartWrite } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { freePgdRange } from './pgtable.ts';
import { type GatherRef, Globals, Mm, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { dropUffdUnmaps, takeUffdUnmaps, userfaultfdUnmapComplete, userfaultfdUnmapPrep } from './userfaultfd-events.ts';
import { isDataMapping, isExecMapping, isStackMapping, pfnUp, vmUnacctMemory } from './util.ts';
import { VM_ACCOUNT, VM_LOCKED } from './vm-flags.ts';
import { vmClose } from './vm-ops.ts';
import { removeVma, splitVmaUnchecked, unlinkFileVma, vmaIsSealed, vmaPages } from './vma.ts';
import { findVma, vmaTreeRemove } from './vma-tree.ts';
import { allocVms, freeVms, Vms, type VmsRef } from './vmg.ts';
import { unmapSingleVma, ZAP_DROP_MARKER, ZAP_UNMAP } from './zap.ts';

/** init_vma_munmap: the state of unmapping [start, end), whose first VMA is `vma` (0 when nothing is mapped there). */
export function newVms(mm: MmRef, vma: VmaRef, start: Vpn, end: Vpn, unlock: number): VmsRef {
  const vms = allocVms();
  set(vms, Vms.mm, mm);
  set(vms, Vms.vma, vma);
  if (vma !== 0) {
    set(vms, Vms.start, start);
    set(vms, Vms.end, end);
  }
  set(vms, Vms.unlock, unlock);
  set(vms, Vms.unmapEnd, Infinity);
  return vms;
}

/** reattach_vmas: the VMAs that were detached so far stay after all. */
function reattachVmas(vms: VmsRef): void {
  let vma = get(vms, Vms.vma);
  for (let left = get(vms, Vms.vmaCount); left > 0; left--) {
    vmaMarkAttached(vma);
    vma = get(vma, Vma.next);
  }
  set(vms, Vms.nrPages, 0);
}

/** vms_gather_munmap_vmas: splits at the ends, detaches the VMAs of the range and adds up what they count for. 0 or -errno. */
export function* vmsGather(vms: VmsRef): Op<number> {
  const mm = get(vms, Vms.mm);
  const start = get(vms, Vms.start);
  const end = get(vms, Vms.end);
  let vma = get(vms, Vms.vma);
  if (start > get(vma, Vma.start)) {
    // Cutting a hole leaves one VMA more than there was. Other splits may exceed the limit for a moment, so that memory can be given back.
    if (end < get(vma, Vma.end) && get(mm, Mm.mapCount) >= get(globals, Globals.maxMapCount)) return -ENOMEM;
    if (vmaIsSealed(vma)) return -EPERM;
    const error = yield* splitVmaUnchecked(vma, start, 1);
    if (error !== 0) return error;
  }
  const prev = get(vma, Vma.prev);
  set(vms, Vms.prev, prev);
  if (prev !== 0) set(vms, Vms.unmapStart, get(prev, Vma.end));
  while (vma !== 0 && get(vma, Vma.start) < end) {
    let error = 0;
    if (vmaIsSealed(vma)) error = -EPERM;
    else if (get(vma, Vma.end) > end) error = yield* splitVmaUnchecked(vma, end, 0);
    if (error !== 0) {
      reattachVmas(vms);
      return error;
    }
    yield* vmaStartWrite(vma);
    yield* vmaMarkDetached(vma);
    const pages = vmaPages(vma);
    const flags = get(vma, Vma.flags);
    add(vms, Vms.vmaCount, 1);
    add(vms, Vms.nrPages, pages);
    if ((flags & VM_LOCKED) !== 0) add(vms, Vms.lockedVm, pages);
    if ((flags & VM_ACCOUNT) !== 0) add(vms, Vms.nrAccounted, pages);
    if (isExecMapping(flags)) add(vms, Vms.execVm, pages);
    else if (isStackMapping(flags)) add(vms, Vms.stackVm, pages);
    else if (isDataMapping(flags)) add(vms, Vms.dataVm, pages);
    // Without memory for that the VMAs stay as they are, split perhaps.
    if (get(vma, Vma.uffd) !== 0 && get(vms, Vms.uf) !== 0) {
      const failed = yield* userfaultfdUnmapPrep(vma, start, end);
      if (failed !== 0) {
        reattachVmas(vms);
        return failed;
      }
    }
    vma = get(vma, Vma.next);
  }
  set(vms, Vms.next, vma);
  if (vma !== 0) set(vms, Vms.unmapEnd, get(vma, Vma.start));
  set(vms, Vms.clearPtes, 1);
  return 0;
}

/** vma_iter_clear of the range, once: the gathered VMAs leave the tree; they still follow each other by `next`. */
export function vmsClearTree(vms: VmsRef): void {
  if (get(vms, Vms.cleared) !== 0) return;
  set(vms, Vms.cleared, 1);
  const mm = get(vms, Vms.mm);
  let vma = get(vms, Vms.vma);
  let before = 0;
  for (let left = get(vms, Vms.vmaCount); left > 0; left--) {
    const next = get(vma, Vma.next);
    vmaTreeRemove(mm, vma);
    if (before !== 0) set(before, Vma.next, vma);
    before = vma;
    vma = next;
  }
}

/** free_pgtables: `count` VMAs from `first` on leave rmap, and the tables that mapped them go, as far as they map nothing below `floor` or above `ceiling`. */
export function* freePgtables(tlb: GatherRef, mm: MmRef, first: VmaRef, count: number, floor: Vpn, ceiling: Vpn): Op<number> {
  const near = spanPages(1);
  let vma = first;
  let left = count;
  while (left > 0) {
    const start = get(vma, Vma.start);
    if (switched(SW.tablesBeforeUnlink)) yield* freePgdRange(tlb, mm, start, get(vma, Vma.end), floor, left > 1 ? get(get(vma, Vma.next), Vma.start) : ceiling);
    // Rmap and truncation must not find it any longer when its tables go.
    yield* unlinkAnonVmas(vma);
    yield* unlinkFileVma(vma);
    let end = get(vma, Vma.end);
    let next = left > 1 ? get(vma, Vma.next) : 0;
    left--;
    // Neighbours within reach of one table are done together.
    while (next !== 0 && get(next, Vma.start) <= end + near) {
      yield* unlinkAnonVmas(next);
      yield* unlinkFileVma(next);
      end = get(next, Vma.end);
      left--;
      next = left > 0 ? get(next, Vma.next) : 0;
    }
    yield* freePgdRange(tlb, mm, start, end, floor, next === 0 ? ceiling : get(next, Vma.start));
    vma = next;
  }
  return 0;
}

/** unmap_vmas: what `count` VMAs from `first` on map, each in full. */
export function* unmapVmas(tlb: GatherRef, first: VmaRef, count: number): Op<number> {
  let vma = first;
  for (let left = count; left > 0; left--) {
    yield* unmapSingleVma(tlb, vma, get(vma, Vma.start), get(vma, Vma.end), ZAP_DROP_MARKER | ZAP_UNMAP);
    vma = get(vma, Vma.next);
  }
  return 0;
}

/** unmap_region: what a VMA that is in no tree yet maps, and its tables; a failed mmap() of a file takes itself back. */
export function* unmapRegion(vma: VmaRef, prev: VmaRef, next: VmaRef): Op<number> {
  const mm = get(vma, Vma.mm);
  const tlb = yield* tlbGather(mm);
  yield* unmapSingleVma(tlb, vma, get(vma, Vma.start), get(vma, Vma.end), ZAP_DROP_MARKER | ZAP_UNMAP);
  yield* freePgdRange(tlb, mm, get(vma, Vma.start), get(vma, Vma.end), prev === 0 ? 0 : get(prev, Vma.end), next === 0 ? Infinity : get(next, Vma.start));
  return yield* tlbFinish(tlb);
}

/** vms_clear_ptes: unmaps the pages of the gathered VMAs and frees their tables, once. */
function* vmsClearPtes(vms: VmsRef): Op<number> {
  if (get(vms, Vms.clearPtes) === 0) return 0;
  const mm = get(vms, Vms.mm);
  const first = get(vms, Vms.vma);
  const count = get(vms, Vms.vmaCount);
  const tlb = yield* tlbGather(mm);
  yield* unmapVmas(tlb, first, count);
  yield* freePgtables(tlb, mm, first, count, get(vms, Vms.unmapStart), get(vms, Vms.unmapEnd));
  yield* tlbFinish(tlb);
  set(vms, Vms.clearPtes, 0);
  return 0;
}

/**
 * vms_clean_up_area: mmap() over something empties it while it is still in the tree, so that a truncation of a file that is mapped there cannot come
 * between; the VMAs are told of their end.
 */
export function* vmsCleanUpArea(vms: VmsRef): Op<number> {
  if (get(vms, Vms.nrPages) === 0) return 0;
  yield* vmsClearPtes(vms);
  let vma = get(vms, Vms.vma);
  for (let left = get(vms, Vms.vmaCount); left > 0; left--) {
    yield* vmClose(vma);
    set(vma, Vma.ops, 0);
    vma = get(vma, Vma.next);
  }
  return 0;
}

/** vms_complete_munmap_vmas: the VMAs have left the tree; downgrades the lock if asked to, unmaps, gives back, and unlocks if asked to. */
export function* vmsComplete(vms: VmsRef): Op<number> {
  const mm = get(vms, Vms.mm);
  const unlock = get(vms, Vms.unlock);
  add(mm, Mm.mapCount, -get(vms, Vms.vmaCount));
  add(mm, Mm.lockedVm, -get(vms, Vms.lockedVm));
  if (unlock !== 0) yield* mmapWriteDowngrade(mm);
  if (get(vms, Vms.nrPages) === 0) return 0;
  yield* vmsClearPtes(vms);
  updateHiwaterVm(mm);
  add(mm, Mm.totalVm, -get(vms, Vms.nrPages));
  add(mm, Mm.execVm, -get(vms, Vms.execVm));
  add(mm, Mm.stackVm, -get(vms, Vms.stackVm));
  add(mm, Mm.dataVm, -get(vms, Vms.dataVm));
  let vma = get(vms, Vms.vma);
  for (let left = get(vms, Vms.vmaCount); left > 0; left--) {
    const next = get(vma, Vma.next);
    yield* removeVma(vma, get(vms, Vms.filesLater));
    vma = next;
  }
  const accounted = get(vms, Vms.nrAccounted);
  if (accounted !== 0) yield* vmUnacctMemory(accounted);
  if (unlock !== 0) yield* mmapReadUnlock(mm);
  return 0;
}

/** vms_abort_munmap_vmas: a mapping that should have replaced the gathered VMAs failed. What was emptied already cannot come back and stays a hole. */
export function* vmsAbort(vms: VmsRef): Op<number> {
  if (get(vms, Vms.nrPages) === 0) return 0;
  if (get(vms, Vms.clearPtes) !== 0) {
    reattachVmas(vms);
    return 0;
  }
  vmsClearTree(vms);
  return yield* vmsComplete(vms);
}

/**
 * do_vmi_align_munmap: unmaps [start, end), of which `vma` is the first VMA. 0 (and, if `unlock`, the mmap lock released) or -errno with the lock
 * held. Who keeps the lock tells userfaultfds of it when he releases it (takeUffdUnmaps).
 */
export function* doAlignMunmap(vma: VmaRef, start: Vpn, end: Vpn, unlock: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const vms = newVms(mm, vma, start, end, unlock);
  set(vms, Vms.uf, 1);
  const error = yield* vmsGather(vms);
  const unmaps = unlock !== 0 && error === 0 ? takeUffdUnmaps(mm) : 0;
  if (error === 0) {
    vmsClearTree(vms);
    yield* vmsComplete(vms);
  }
  freeVms(vms);
  if (unmaps !== 0) yield* userfaultfdUnmapComplete(unmaps);
  if (error !== 0 && get(mm, Mm.uffdUnmaps) !== 0) yield* dropUffdUnmaps(mm);
  return error;
}

/** do_vmi_munmap for a range of pages: 0 (and, if `unlock`, the mmap lock released) or -errno with the lock held. */
export function* doVmiMunmap(mm: MmRef, start: Vpn, pages: number, unlock: number): Op<number> {
  if (start > get(mm, Mm.taskSize) || pages > get(mm, Mm.taskSize) - start || pages === 0) return -EINVAL;
  const vma = findVma(mm, start);
  if (vma === 0 || get(vma, Vma.start) >= start + pages) {
    if (unlock !== 0) yield* mmapWriteUnlock(mm);
    return 0;
  }
  return yield* doAlignMunmap(vma, start, start + pages, unlock);
}

/** do_munmap: with the mmap lock held for writing, before and after. */
export function* doMunmap(mm: MmRef, start: Vpn, pages: number): Op<number> {
  return yield* doVmiMunmap(mm, start, pages, 0);
}

/** munmap(2); bytes. */
export function* sysMunmap(process: ProcessRef, address: number, length: number): Op<number> {
  const mm = get(process, Process.mm);
  const start = address / (1 << pageShift);
  yield* mmapWriteLock(mm);
  const error = Number.isInteger(start) ? yield* doVmiMunmap(mm, start, pfnUp(length), 1) : -EINVAL;
  if (error !== 0) yield* mmapWriteUnlock(mm);
  return error;
}
