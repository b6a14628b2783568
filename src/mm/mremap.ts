/**
 * mremap(2): resizing and moving (mm/mremap.c of 6.18).
 *
 * Invariants: the mmap lock is held for writing throughout; entries move under the locks of both tables, and the old place is flushed before its
 * lock is dropped, so that no CPU writes through an old translation to a page that has a new place; a move that fails half way is
 * moved back, which cannot fail.
 */
import type { Op } from '../kernel/op.ts';
import { get, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { allocObject, freeObject, pageShift } from '../memory/state.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { globals } from './globals.ts';
import { mmPopulate } from './gup.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { clearVmaResvHugePages } from './hugetlb-vma.ts';
import { MAP_FIXED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from './mman.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { movePageTables } from './move-page-tables.ts';
import { doMunmap, doVmiMunmap } from './munmap.ts';
import { Globals, Mm, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { getUnmappedArea } from './unmapped-area.ts';
import { mremapUserfaultfdComplete, mremapUserfaultfdPrep, takeUffdUnmaps, userfaultfdUnmapComplete } from './userfaultfd-events.ts';
import { userfaultfdArmed } from './userfaultfd-vma.ts';
import { enoughMemory, mayExpandVm, mlockFutureOk, vmAcctMemory, vmStatAccount, vmUnacctMemory } from './util.ts';
import { VM_ACCOUNT, VM_DONTEXPAND, VM_HUGETLB, VM_LOCKED, VM_LOCKED_MASK, VM_MAYSHARE, VM_PFNMAP, VM_SHARED } from './vm-flags.ts';
import { VMOPS_SHM } from './vm-ops-types.ts';
import { splitVma, vmaIsSealed } from './vma.ts';
import { copyVma, vmaMergeExtend } from './vma-merge.ts';
import { findVma, findVmaIntersection, vmaLookup } from './vma-tree.ts';
import { REMAP_EXPAND, REMAP_NO_RESIZE, REMAP_SHRINK, Vrm, type VrmRef } from './vrm.ts';

/** mremap(2); bytes. The new address or −errno. */
export function* sysMremap(process: ProcessRef, address: number, oldLength: number, newLength: number, flags: number, newAddress: number): Op<number> {
  const mm = get(process, Process.mm);
  const invalid = checkMremapParams(mm, address, oldLength, newLength, flags, newAddress);
  if (invalid !== 0) return invalid;
  const vrm: VrmRef = allocObject(Vrm.$type, Vrm.$size);
  set(vrm, Vrm.mm, mm);
  set(vrm, Vrm.addr, address / 2 ** pageShift);
  set(vrm, Vrm.oldLen, alignedPages(oldLength));
  set(vrm, Vrm.newLen, alignedPages(newLength));
  set(vrm, Vrm.flags, flags);
  // As it was given, also where nobody asked for it: huge pages must not be moved to an odd place that is not meant.
  set(vrm, Vrm.newAddr, newAddress / 2 ** pageShift);
  yield* mmapWriteLock(mm);
  set(vrm, Vrm.locked, 1);
  const result = moveOnly(vrm) ? yield* remapMove(vrm) : yield* remapOne(vrm);
  const unmaps = get(vrm, Vrm.locked) !== 0 ? takeUffdUnmaps(mm) : 0;
  if (get(vrm, Vrm.locked) !== 0) yield* mmapWriteUnlock(mm);
  // A locked VMA that grew is filled at once.
  if (result >= 0 && get(vrm, Vrm.populateExpand) !== 0) yield* mmPopulate(mm, get(vrm, Vrm.newAddr) + get(vrm, Vrm.oldLen), get(vrm, Vrm.delta));
  // notify_uffd.
  if (get(vrm, Vrm.unmapsEarly) !== 0) yield* userfaultfdUnmapComplete(get(vrm, Vrm.unmapsEarly));
  if (get(vrm, Vrm.uffd) !== 0)
    yield* mremapUserfaultfdComplete(get(vrm, Vrm.uffd), get(vrm, Vrm.addr), get(vrm, Vrm.newAddr), get(vrm, Vrm.oldLen), result < 0 ? 1 : 0);
  if (unmaps !== 0) yield* userfaultfdUnmapComplete(unmaps);
  freeObject(vrm, Vrm.$size);
  return result >= 0 ? result * 2 ** pageShift : result;
}

/** PAGE_ALIGN, which wraps to nothing above the last page. */
function alignedPages(length: number): number {
  const pages = Math.ceil(length / 2 ** pageShift);
  return pages >= 2 ** (64 - pageShift) ? 0 : pages;
}

const impliesNewAddress = (flags: number): boolean => (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0;

/** check_mremap_params. */
function checkMremapParams(mm: MmRef, address: number, oldLength: number, newLength: number, flags: number, newAddress: number): number {
  const size = 2 ** pageShift;
  if (flags > 7 || (flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP)) !== 0) return -EINVAL;
  if (address % size !== 0 || address >= 2 ** 64) return -EINVAL;
  const oldLen = alignedPages(oldLength);
  const newLen = alignedPages(newLength);
  const taskSize = get(mm, Mm.taskSize);
  if (newLen === 0 || newLen > taskSize) return -EINVAL;
  if (!impliesNewAddress(flags)) return 0;
  if (newAddress > (taskSize - newLen) * size) return -EINVAL;
  if (newAddress % size !== 0) return -EINVAL;
  if ((flags & MREMAP_MAYMOVE) === 0) return -EINVAL;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && oldLen !== newLen) return -EINVAL;
  const from = address / size;
  const to = newAddress / size;
  // The end of the old range may lie beyond the last address, where it starts anew.
  const limit = 2 ** (64 - pageShift);
  const oldEnd = from + oldLen >= limit ? from + oldLen - limit : from + oldLen;
  if (oldEnd > to && to + newLen > from) return -EINVAL;
  if (get(mm, Mm.mapCount) + 2 >= get(globals, Globals.maxMapCount) - 3) return -ENOMEM;
  return 0;
}

const moveOnly = (vrm: VrmRef): boolean => (get(vrm, Vrm.flags) & MREMAP_FIXED) !== 0 && get(vrm, Vrm.oldLen) === get(vrm, Vrm.newLen);

function* remapOne(vrm: VrmRef): Op<number> {
  set(vrm, Vrm.vma, vmaLookup(get(vrm, Vrm.mm), get(vrm, Vrm.addr)));
  const error = checkPrepVma(vrm);
  if (error !== 0) return error;
  return impliesNewAddress(get(vrm, Vrm.flags)) ? yield* mremapTo(vrm) : yield* mremapAt(vrm);
}

/** align_hugetlb: lengths become whole huge pages; places must be, and no mapping grows, whose reservation would not fit. */
function alignHugetlb(vrm: VrmRef, vma: VmaRef): boolean {
  const size = hugePages(hstateVma(vma));
  set(vrm, Vrm.oldLen, Math.ceil(get(vrm, Vrm.oldLen) / size) * size);
  set(vrm, Vrm.newLen, Math.ceil(get(vrm, Vrm.newLen) / size) * size);
  return get(vrm, Vrm.addr) % size === 0 && get(vrm, Vrm.newAddr) % size === 0 && get(vrm, Vrm.newLen) <= get(vrm, Vrm.oldLen);
}

/** check_prep_vma. */
function checkPrepVma(vrm: VrmRef): number {
  const vma = get(vrm, Vrm.vma);
  if (vma === 0) return -EFAULT;
  if (vmaIsSealed(vma)) return -EPERM;
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0 && !alignHugetlb(vrm, vma)) return -EINVAL;
  const mm = get(vrm, Vrm.mm);
  const flags = get(vrm, Vrm.flags);
  const addr = get(vrm, Vrm.addr);
  const newLen = get(vrm, Vrm.newLen);
  let oldLen = get(vrm, Vrm.oldLen);
  const delta = Math.abs(oldLen - newLen);
  const type = delta === 0 ? REMAP_NO_RESIZE : oldLen > newLen ? REMAP_SHRINK : REMAP_EXPAND;
  set(vrm, Vrm.delta, delta);
  set(vrm, Vrm.type, type);
  if (!impliesNewAddress(flags)) set(vrm, Vrm.newAddr, addr);
  if (type !== REMAP_EXPAND && !impliesNewAddress(flags)) return 0;
  const vmFlags = get(vma, Vma.flags);
  // A length of 0 asks for a second mapping of the same object: private ones have none.
  if (oldLen === 0 && (vmFlags & (VM_SHARED | VM_MAYSHARE)) === 0) return -EINVAL;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && (vmFlags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0) return -EINVAL;
  if (type === REMAP_SHRINK) oldLen = newLen;
  if (oldLen > get(vma, Vma.end) - addr) return -EFAULT;
  if (newLen === oldLen) return 0;
  if ((vmFlags & VM_LOCKED) !== 0) set(vrm, Vrm.populateExpand, 1);
  const pgoff = addr - get(vma, Vma.start) + get(vma, Vma.pgoff);
  if (pgoff + newLen >= 2 ** (64 - pageShift) * 2 ** pageShift) return -EINVAL;
  if ((vmFlags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0) return -EFAULT;
  if (!mlockFutureOk(mm, vmFlags, delta)) return -EAGAIN;
  return mayExpandVm(mm, vmFlags, delta) ? 0 : -ENOMEM;
}

/**
 * vma_multi_allowed: VMAs that may be moved together with others. An attached SysV segment finds places by itself, and might not end up where it was
 * to go; a userfaultfd is told of one move at a time.
 */
const multiAllowed = (vma: VmaRef): boolean => get(vma, Vma.ops) !== VMOPS_SHM && !userfaultfdArmed(vma);

/** remap_move: all VMAs of the range go to the new place, their gaps with them. What was moved before one that cannot be stays moved. */
function* remapMove(vrm: VrmRef): Op<number> {
  const mm = get(vrm, Vrm.mm);
  const start = get(vrm, Vrm.addr);
  const end = start + get(vrm, Vrm.oldLen);
  let target = get(vrm, Vrm.newAddr);
  let result = -EFAULT;
  let seen = 0;
  let lastEnd = 0;
  let vma = findVma(mm, start);
  while (vma !== 0 && get(vma, Vma.start) < end) {
    const from = get(vma, Vma.start) > start ? get(vma, Vma.start) : start;
    const length = (end < get(vma, Vma.end) ? end : get(vma, Vma.end)) - from;
    if (seen === 0 && start < from) return -EFAULT;
    const offset = seen !== 0 ? get(vma, Vma.start) - lastEnd : 0;
    lastEnd = get(vma, Vma.end);
    set(vrm, Vrm.vma, vma);
    set(vrm, Vrm.addr, from);
    set(vrm, Vrm.newAddr, target + offset);
    set(vrm, Vrm.oldLen, length);
    set(vrm, Vrm.newLen, length);
    if (!multiAllowed(vma) && (seen !== 0 || lastEnd < end)) return -EFAULT;
    let moved = checkPrepVma(vrm);
    if (moved === 0) moved = yield* mremapTo(vrm);
    if (moved < 0) return moved;
    if (seen === 0) result = moved;
    target = moved + length;
    seen = 1;
    vma = lastEnd < end ? findVma(mm, lastEnd) : 0;
  }
  return result;
}

/** mremap_to: to the place that the caller named, or (DONTUNMAP alone) hinted at. */
function* mremapTo(vrm: VrmRef): Op<number> {
  const mm = get(vrm, Vrm.mm);
  const flags = get(vrm, Vrm.flags);
  if ((flags & MREMAP_FIXED) !== 0) {
    const error = yield* doMunmap(mm, get(vrm, Vrm.newAddr), get(vrm, Vrm.newLen));
    if (error !== 0) return error;
    set(vrm, Vrm.unmapsEarly, takeUffdUnmaps(mm));
    set(vrm, Vrm.vma, vmaLookup(mm, get(vrm, Vrm.addr)));
    if (get(vrm, Vrm.vma) === 0) return -EFAULT;
  }
  if (get(vrm, Vrm.type) === REMAP_SHRINK) {
    const error = yield* shrinkVma(vrm, 0);
    if (error !== 0) return error;
    set(vrm, Vrm.vma, vmaLookup(mm, get(vrm, Vrm.addr)));
    if (get(vrm, Vrm.vma) === 0) return -EFAULT;
    set(vrm, Vrm.oldLen, get(vrm, Vrm.newLen));
    set(vrm, Vrm.delta, 0);
  }
  if ((flags & MREMAP_DONTUNMAP) !== 0 && !mayExpandVm(mm, get(get(vrm, Vrm.vma), Vma.flags), get(vrm, Vrm.oldLen))) return -ENOMEM;
  const error = setNewAddress(vrm);
  return error !== 0 ? error : yield* moveVma(vrm);
}

/** mremap_at: in place where possible. */
function* mremapAt(vrm: VrmRef): Op<number> {
  const type = get(vrm, Vrm.type);
  if (type === REMAP_NO_RESIZE) return get(vrm, Vrm.addr);
  if (type === REMAP_SHRINK) {
    const error = yield* shrinkVma(vrm, 1);
    return error !== 0 ? error : get(vrm, Vrm.addr);
  }
  if (canExpandInPlace(vrm)) {
    const error = yield* expandInPlace(vrm);
    return error !== 0 ? error : get(vrm, Vrm.addr);
  }
  if ((get(vrm, Vrm.flags) & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  const error = setNewAddress(vrm);
  return error !== 0 ? error : yield* moveVma(vrm);
}

/** shrink_vma. */
function* shrinkVma(vrm: VrmRef, dropLock: number): Op<number> {
  const error = yield* doVmiMunmap(get(vrm, Vrm.mm), get(vrm, Vrm.addr) + get(vrm, Vrm.newLen), get(vrm, Vrm.delta), dropLock);
  set(vrm, Vrm.vma, 0);
  if (error === 0 && dropLock !== 0) set(vrm, Vrm.locked, 0);
  return error;
}

/** vrm_can_expand_in_place. */
function canExpandInPlace(vrm: VrmRef): boolean {
  const mm = get(vrm, Vrm.mm);
  const vma = get(vrm, Vrm.vma);
  const end = get(vma, Vma.end);
  if (end - get(vrm, Vrm.addr) !== get(vrm, Vrm.oldLen)) return false;
  const to = end + get(vrm, Vrm.delta);
  if (findVmaIntersection(mm, end, to) !== 0) return false;
  const start = get(vma, Vma.start);
  return getUnmappedArea(mm, 0, start * 2 ** pageShift, to - start, 0, MAP_FIXED, 0) >= 0;
}

function* expandInPlace(vrm: VrmRef): Op<number> {
  if (!(yield* calcCharge(vrm))) return -ENOMEM;
  const vma = yield* vmaMergeExtend(get(vrm, Vrm.vma), get(vrm, Vrm.delta));
  if (vma === 0) {
    yield* uncharge(vrm);
    return -ENOMEM;
  }
  set(vrm, Vrm.vma, vma);
  statAccount(vrm, get(vrm, Vrm.delta));
  return 0;
}

/** vrm_calc_charge. */
function* calcCharge(vrm: VrmRef): Op<boolean> {
  if ((get(get(vrm, Vrm.vma), Vma.flags) & VM_ACCOUNT) === 0) return true;
  const charged = (get(vrm, Vrm.flags) & MREMAP_DONTUNMAP) !== 0 ? get(vrm, Vrm.newLen) : get(vrm, Vrm.delta);
  if ((yield* enoughMemory(get(vrm, Vrm.mm), charged)) !== 0) return false;
  set(vrm, Vrm.charged, charged);
  return true;
}

function* uncharge(vrm: VrmRef): Op<number> {
  yield* vmUnacctMemory(get(vrm, Vrm.charged));
  set(vrm, Vrm.charged, 0);
  return 0;
}

/** vrm_stat_account. */
function statAccount(vrm: VrmRef, pages: number): void {
  const mm = get(vrm, Vrm.mm);
  const vmFlags = get(get(vrm, Vrm.vma), Vma.flags);
  vmStatAccount(mm, vmFlags, pages);
  if ((vmFlags & VM_LOCKED) !== 0) set(mm, Mm.lockedVm, get(mm, Mm.lockedVm) + pages);
}

/** vrm_set_new_addr. */
function setNewAddress(vrm: VrmRef): number {
  const vma = get(vrm, Vrm.vma);
  const flags = get(vrm, Vrm.flags);
  const pgoff = get(vma, Vma.pgoff) + get(vrm, Vrm.addr) - get(vma, Vma.start);
  const hint = impliesNewAddress(flags) ? get(vrm, Vrm.newAddr) : 0;
  const shared = (get(vma, Vma.flags) & VM_MAYSHARE) !== 0 ? 1 : 0;
  const mapFlags = (flags & MREMAP_FIXED) !== 0 ? MAP_FIXED : 0;
  const place = getUnmappedArea(get(vrm, Vrm.mm), get(vma, Vma.file), hint * 2 ** pageShift, get(vrm, Vrm.newLen), pgoff, mapFlags, shared);
  if (place < 0) return place;
  set(vrm, Vrm.newAddr, place);
  return 0;
}

/** move_vma: a copy of the VMA at the new place, the entries moved there, the old place unmapped (or left empty with DONTUNMAP). */
function* moveVma(vrm: VrmRef): Op<number> {
  const mm = get(vrm, Vrm.mm);
  if (get(mm, Mm.mapCount) >= get(globals, Globals.maxMapCount) - 3) return -ENOMEM;
  if (!(yield* calcCharge(vrm))) return -ENOMEM;
  yield* vmaStartWrite(get(vrm, Vrm.vma));
  const old = get(vrm, Vrm.vma);
  if ((get(old, Vma.flags) & VM_HUGETLB) !== 0 && switched(SW.hugetlbMoveSplitsFirst)) {
    const cut = yield* splitAround(old, get(vrm, Vrm.addr), get(vrm, Vrm.addr) + get(vrm, Vrm.oldLen));
    if (cut !== 0) return cut;
  }
  const from = get(vrm, Vrm.addr);
  const to = get(vrm, Vrm.newAddr);
  const length = get(vrm, Vrm.oldLen);
  const copy = yield* copyVma(old, to, get(vrm, Vrm.newLen), get(old, Vma.pgoff) + from - get(old, Vma.start));
  if (copy === 0) {
    yield* uncharge(vrm);
    return -ENOMEM;
  }
  // A merge may have taken the source in.
  const source = vmaLookup(mm, from);
  set(vrm, Vrm.vma, source);
  // A VMA that was there before may come before the source where rmap walks.
  const merged = get(copy, Vma.end) - get(copy, Vma.start) > get(vrm, Vrm.newLen);
  const needRmapLocks = merged && get(copy, Vma.pgoff) <= get(source, Vma.pgoff) && !switched(SW.mremapNoRmapLocks) ? 1 : 0;
  const moved = yield* movePageTables(source, from, copy, to, length, needRmapLocks);
  let error = 0;
  if (moved < length) {
    // The tables of the old place are still there: this cannot fail.
    yield* movePageTables(copy, to, source, from, moved, 1);
    // Now the new place goes instead of the old.
    set(vrm, Vrm.vma, copy);
    set(vrm, Vrm.oldLen, get(vrm, Vrm.newLen));
    set(vrm, Vrm.addr, to);
    error = -ENOMEM;
  }
  if (error === 0) set(vrm, Vrm.uffd, yield* mremapUserfaultfdPrep(copy));
  if (error === 0 && (get(source, Vma.flags) & VM_HUGETLB) !== 0) yield* clearVmaResvHugePages(source);
  // Both places count for a moment, which is no peak.
  const hiwater = get(mm, Mm.hiwaterVm);
  statAccount(vrm, get(vrm, Vrm.newLen));
  if (error === 0 && (get(vrm, Vrm.flags) & MREMAP_DONTUNMAP) !== 0) yield* dontunmapComplete(vrm, copy);
  else yield* unmapSourceVma(vrm);
  set(mm, Mm.hiwaterVm, hiwater);
  return error !== 0 ? error : to;
}

/** Cuts a VMA so that it is [start, end) alone. 0 or −errno. */
function* splitAround(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const error = start > get(vma, Vma.start) ? yield* splitVma(vma, start, 1) : 0;
  return error === 0 && end < get(vma, Vma.end) ? yield* splitVma(vma, end, 0) : error;
}

/** dontunmap_complete: the old VMA stays, empty, unlocked. */
function* dontunmapComplete(vrm: VrmRef, copy: VmaRef): Op<number> {
  const vma = get(vrm, Vrm.vma);
  const start = get(vrm, Vrm.addr);
  const whole = start === get(vma, Vma.start) && start + get(vrm, Vrm.oldLen) === get(vma, Vma.end);
  set(vma, Vma.flags, get(vma, Vma.flags) & ~VM_LOCKED_MASK);
  if (copy !== vma && whole) yield* unlinkAnonVmas(vma);
  return 0;
}

/** unmap_source_vma. What was accounted stays accounted to the new place: the flag is away while the old one goes, and back on what remains. */
function* unmapSourceVma(vrm: VrmRef): Op<number> {
  const mm = get(vrm, Vrm.mm);
  const vma = get(vrm, Vrm.vma);
  const addr: Vpn = get(vrm, Vrm.addr);
  const length = get(vrm, Vrm.oldLen);
  const vmFlags = get(vma, Vma.flags);
  const accounted = (vmFlags & VM_ACCOUNT) !== 0 && (get(vrm, Vrm.flags) & MREMAP_DONTUNMAP) === 0;
  const start = get(vma, Vma.start);
  const end = get(vma, Vma.end);
  if (accounted) set(vma, Vma.flags, vmFlags & ~VM_ACCOUNT);
  const error = yield* doVmiMunmap(mm, addr, length, 0);
  set(vrm, Vrm.vma, 0);
  if (error !== 0) {
    yield* vmAcctMemory(length);
    return 0;
  }
  if (accounted) {
    if (start < addr) reaccount(vmaLookup(mm, addr - 1));
    if (end > addr + length) reaccount(vmaLookup(mm, addr + length));
  }
  return 0;
}

function reaccount(vma: VmaRef): void {
  set(vma, Vma.flags, get(vma, Vma.flags) | VM_ACCOUNT);
}
