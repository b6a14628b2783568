/** The heap: brk(2) (mm/mmap.c) and its VMA (do_brk_flags of mm/vma.c). */
import type { Op } from '../kernel/op.ts';
import { add, get, set } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EAGAIN, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { mmPopulate } from './gup.ts';
import { MAP_FIXED } from './mman.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { ksmVmaFlags } from './mmap-region.ts';
import { doAlignMunmap, doMunmap } from './munmap.ts';
import { Globals, Mm, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { getUnmappedArea } from './unmapped-area.ts';
import { takeUffdUnmaps, userfaultfdUnmapComplete } from './userfaultfd-events.ts';
import { enoughMemory, mayExpandVm, mlockFutureOk, pfnUp, RLIMIT_DATA, rlimit, vmUnacctMemory } from './util.ts';
import { VM_ACCOUNT, VM_LOCKED, VM_MAYEXEC, VM_MAYREAD, VM_MAYWRITE, VM_READ, VM_SOFTDIRTY, VM_WRITE } from './vm-flags.ts';
import { vmAreaAlloc, vmaSetRange, vmaStoreNew } from './vma.ts';
import { newVmg, vmaMergeNewRange } from './vma-merge.ts';
import { findVma, findVmaPrev, vmStartGap } from './vma-tree.ts';
import { freeVmg, VMG_NOMEM, Vmg } from './vmg.ts';

/** VM_DATA_DEFAULT_FLAGS of a process whose data is not executable. */
const VM_DATA_DEFAULT_FLAGS = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

/** brk(2): the end of the heap afterwards, in bytes: the one asked for, or the old one when that cannot be. */
export function* sysBrk(process: ProcessRef, brk: number): Op<number> {
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  const before = get(mm, Mm.brk);
  const from = pfnUp(before);
  const to = pfnUp(brk);
  // Before the limit is looked at page by page: it need not be a multiple of pages.
  const data = brk - get(mm, Mm.startBrk) + get(mm, Mm.dataBytes);
  if (brk < get(mm, Mm.startBrk) || data > rlimit(mm, RLIMIT_DATA)) {
    yield* mmapWriteUnlock(mm);
    return before;
  }
  if (to < from) {
    const vma = findVma(mm, to);
    if (vma !== 0 && get(vma, Vma.start) < from) {
      set(mm, Mm.brk, brk);
      // Releases the lock on success.
      if ((yield* doAlignMunmap(vma, to, from, 1)) === 0) return brk;
      set(mm, Mm.brk, before);
    }
    yield* mmapWriteUnlock(mm);
    return before;
  }
  if (to > from && (yield* growBrk(mm, from, to)) !== 0) {
    yield* mmapWriteUnlock(mm);
    return before;
  }
  set(mm, Mm.brk, brk);
  const populate = to > from && (get(mm, Mm.defFlags) & VM_LOCKED) !== 0;
  yield* mmapWriteUnlock(mm);
  if (populate) yield* mmPopulate(mm, from, to - from);
  return brk;
}

/** vm_brk_flags: private memory at [vpn, vpn + pages) in the place of what is mapped there; `extra` is VM_EXEC or 0. 0 or an error. */
export function* vmBrkFlags(mm: MmRef, vpn: Vpn, pages: number, extra: number): Op<number> {
  if (pages === 0) return 0;
  yield* mmapWriteLock(mm);
  // check_brk_limits
  let error = getUnmappedArea(mm, 0, vpn * (1 << pageShift), pages, 0, MAP_FIXED, 0);
  if (error >= 0) error = mlockFutureOk(mm, get(mm, Mm.defFlags), pages) ? 0 : -EAGAIN;
  if (error === 0) error = yield* doMunmap(mm, vpn, pages);
  if (error === 0) error = yield* doBrkFlags(mm, findVmaPrev(mm, vpn), vpn, pages, extra);
  const populate = (get(mm, Mm.defFlags) & VM_LOCKED) !== 0;
  const unmaps = takeUffdUnmaps(mm);
  yield* mmapWriteUnlock(mm);
  if (unmaps !== 0) yield* userfaultfdUnmapComplete(unmaps);
  if (populate && error === 0) yield* mmPopulate(mm, vpn, pages);
  return error;
}

/** Adds [from, to) to the heap unless something is in the way. 0 or an error. */
function* growBrk(mm: MmRef, from: Vpn, to: Vpn): Op<number> {
  const pages = to - from;
  // check_brk_limits
  const place = getUnmappedArea(mm, 0, from * (1 << pageShift), pages, 0, MAP_FIXED, 0);
  if (place < 0) return place;
  if (!mlockFutureOk(mm, get(mm, Mm.defFlags), pages)) return -ENOMEM;
  // One page stays free above, and a stack's guard gap.
  const next = findVma(mm, from);
  if (next !== 0 && get(next, Vma.start) < to + 1 + get(globals, Globals.stackGuardGap) && to + 1 > vmStartGap(next)) return -ENOMEM;
  const prev = findVmaPrev(mm, from);
  const heap = prev !== 0 && get(prev, Vma.end) * (1 << pageShift) > get(mm, Mm.startBrk) ? prev : 0;
  return yield* doBrkFlags(mm, heap, from, pages, 0);
}

/** do_brk_flags: private memory at [vpn, vpn + pages), where nothing is mapped; `vma` (0: none) grows if it ends there and is alike. 0 or -ENOMEM. */
export function* doBrkFlags(mm: MmRef, vma: VmaRef, vpn: Vpn, pages: number, extra: number): Op<number> {
  const flags = ksmVmaFlags(mm, extra | VM_DATA_DEFAULT_FLAGS | VM_ACCOUNT | get(mm, Mm.defFlags));
  if (!mayExpandVm(mm, flags, pages)) return -ENOMEM;
  if (get(mm, Mm.mapCount) > get(globals, Globals.maxMapCount)) return -ENOMEM;
  if ((yield* enoughMemory(mm, pages)) !== 0) return -ENOMEM;
  let heap = 0;
  let failed = 0;
  if (vma !== 0 && get(vma, Vma.end) === vpn) {
    const vmg = newVmg(mm, vma, 0, vpn, vpn + pages, flags, vpn);
    set(vmg, Vmg.justExpand, 1);
    heap = yield* vmaMergeNewRange(vmg);
    if (get(vmg, Vmg.state) === VMG_NOMEM) failed = 1;
    freeVmg(vmg);
  }
  if (heap === 0) {
    if (failed === 0) heap = yield* vmAreaAlloc(mm);
    if (heap === 0) {
      yield* vmUnacctMemory(pages);
      return -ENOMEM;
    }
    vmaSetRange(heap, vpn, vpn + pages, vpn);
    set(heap, Vma.flags, flags);
    yield* vmaStoreNew(mm, heap);
  }
  add(mm, Mm.totalVm, pages);
  add(mm, Mm.dataVm, pages);
  if ((flags & VM_LOCKED) !== 0) add(mm, Mm.lockedVm, pages);
  if (get(globals, Globals.softDirty) !== 0) set(heap, Vma.flags, get(heap, Vma.flags) | VM_SOFTDIRTY);
  return 0;
}
