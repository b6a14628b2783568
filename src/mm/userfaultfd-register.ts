/**
 * Ranges of a userfaultfd: UFFDIO_REGISTER, UFFDIO_UNREGISTER, the end (fs/userfaultfd.c: userfaultfd_register, userfaultfd_unregister; mm/userfaultfd.c:
 * userfaultfd_register_range, userfaultfd_clear_vma, userfaultfd_release_all).
 *
 * Invariant: the mmap lock is held for writing while VMAs get or lose a context; write protection goes before the context does.
 */
import type { Op } from '../kernel/op.ts';
import { get, set, writeOnce } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EBUSY, EINVAL, ENOMEM, EPERM } from './errno.ts';
import { globals } from './globals.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { mmgetNotZero, mmput } from './process.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { wakeUserfault } from './userfaultfd-queue.ts';
import { UFFD_FEATURE_WP_ASYNC, UFFD_MINOR, UFFD_MODES, Uffd, type UffdRef } from './userfaultfd-types.ts';
import { uffdModes, userfaultfdMissing, userfaultfdSetCtx, userfaultfdWp } from './userfaultfd-vma.ts';
import { uffdWpRange } from './userfaultfd-wp.ts';
import { VM_DROPPABLE, VM_HUGETLB, VM_MAYWRITE, VM_UFFD_MISSING, VM_UFFD_WP, VMH_UFFD_MINOR } from './vm-flags.ts';
import { vmaIsAnonymous, vmaIsShmem } from './vm-ops.ts';
import { newUffdVmg, vmaModifyFlagsUffd } from './vma-merge.ts';
import { findVma, firstVma } from './vma-tree.ts';
import { freeVmg, Vmg } from './vmg.ts';

/** validate_unaligned_range; bytes. 0 or −EINVAL. */
export function validateUnalignedRange(mm: MmRef, start: number, length: number): number {
  const taskSize = get(mm, Mm.taskSize) * 2 ** pageShift;
  if (length === 0 || start < get(globals, Globals.mmapMinAddr) || start >= taskSize || length > taskSize - start) return -EINVAL;
  return 0;
}

/** validate_range: whole pages. */
export function validateRange(mm: MmRef, start: number, length: number): number {
  return start % 2 ** pageShift !== 0 || length % 2 ** pageShift !== 0 ? -EINVAL : validateUnalignedRange(mm, start, length);
}

/** vma_can_userfault. */
function vmaCanUserfault(vma: VmaRef, modes: number, wpAsync: boolean): boolean {
  const flags = get(vma, Vma.flags);
  const huge = (flags & VM_HUGETLB) !== 0;
  if ((flags & VM_DROPPABLE) !== 0) return false;
  if ((modes & UFFD_MINOR) !== 0 && !huge && !vmaIsShmem(vma)) return false;
  if (wpAsync && (modes & UFFD_MODES) === VM_UFFD_WP) return true;
  return vmaIsAnonymous(vma) || huge || vmaIsShmem(vma);
}

const wpAsyncOf = (ctx: UffdRef): boolean => (get(ctx, Uffd.features) & UFFD_FEATURE_WP_ASYNC) !== 0;

/** Whether a page lies at the start of a page of a VMA's own size. */
const aligned = (vma: VmaRef, vpn: Vpn): boolean => (get(vma, Vma.flags) & VM_HUGETLB) === 0 || vpn % hugePages(hstateVma(vma)) === 0;

/** The VMA before a range that begins in or with `vma`. */
const prevOf = (vma: VmaRef, start: Vpn): VmaRef => (get(vma, Vma.start) < start ? vma : get(vma, Vma.prev));

/** The checks of userfaultfd_register() for each VMA: 1 when some hold huge pages, 0, or −errno. */
function checkRegister(ctx: UffdRef, first: VmaRef, end: Vpn, modes: number): number {
  let basic = 0;
  for (let vma = first; vma !== 0 && get(vma, Vma.start) < end; vma = get(vma, Vma.next)) {
    if (!vmaCanUserfault(vma, modes, wpAsyncOf(ctx))) return -EINVAL;
    if ((get(vma, Vma.flags) & VM_MAYWRITE) === 0) return -EPERM;
    if (end <= get(vma, Vma.end) && !aligned(vma, end)) return -EINVAL;
    const owner = get(vma, Vma.uffd);
    if (owner !== 0 && owner !== ctx) return -EBUSY;
    if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) basic = 1;
  }
  return basic;
}

/** userfaultfd_register_range. 0 or −ENOMEM. */
function* registerRange(ctx: UffdRef, first: VmaRef, from: Vpn, end: Vpn, modes: number): Op<number> {
  let vma = first;
  let start = from;
  let prev = prevOf(vma, start);
  while (vma !== 0 && get(vma, Vma.start) < end) {
    if (get(vma, Vma.uffd) !== ctx || (uffdModes(vma) & modes) !== modes) {
      if (get(vma, Vma.start) > start) start = get(vma, Vma.start);
      vma = yield* modifyUffd(prev, vma, start, Math.min(end, get(vma, Vma.end)), ctx, modes);
      if (vma < 0) return vma;
    }
    prev = vma;
    start = get(vma, Vma.end);
    vma = get(vma, Vma.next);
  }
  return 0;
}

/** vma_modify_flags_uffd and userfaultfd_set_ctx: a part of a VMA gets a context and modes (0 and 0: none). The VMA that it belongs to afterwards, or −ENOMEM. */
function* modifyUffd(prev: VmaRef, vma: VmaRef, start: Vpn, end: Vpn, ctx: UffdRef, modes: number): Op<number> {
  const flags = (get(vma, Vma.flags) & ~(VM_UFFD_MISSING | VM_UFFD_WP)) | (modes & (VM_UFFD_MISSING | VM_UFFD_WP));
  const high = (get(vma, Vma.highFlags) & ~VMH_UFFD_MINOR) | ((modes & UFFD_MINOR) !== 0 ? VMH_UFFD_MINOR : 0);
  const vmg = newUffdVmg(prev, vma, start, end, ctx, flags, high);
  // What only takes a context away does not fail for want of memory where nothing has to be split.
  if (ctx === 0 && start === get(vma, Vma.start) && end === get(vma, Vma.end)) set(vmg, Vmg.giveUpOnOom, 1);
  const changed = yield* vmaModifyFlagsUffd(vmg, prev, vma);
  freeVmg(vmg);
  if (changed < 0) return changed;
  yield* vmaStartWrite(changed);
  // retract_page_tables() reads them without a lock of ours.
  yield* writeOnce(changed, Vma.flags, flags);
  userfaultfdSetCtx(changed, ctx, modes);
  return changed;
}

/** userfaultfd_register: [start, end) is the context's. 1 when there are huge pages in it, 0, or −errno. */
export function* userfaultfdRegister(ctx: UffdRef, start: Vpn, end: Vpn, modes: number): Op<number> {
  const mm = get(ctx, Uffd.mm);
  if ((yield* mmgetNotZero(mm)) === 0) return -ENOMEM;
  yield* mmapWriteLock(mm);
  const vma = findVma(mm, start);
  let result = -EINVAL;
  if (vma !== 0 && get(vma, Vma.start) < end && aligned(vma, start)) result = checkRegister(ctx, vma, end, modes);
  if (result >= 0) {
    const error = yield* registerRange(ctx, vma, start, end, modes);
    if (error < 0) result = error;
  }
  yield* mmapWriteUnlock(mm);
  yield* mmput(mm);
  return result;
}

/** userfaultfd_clear_vma: [start, end) of a VMA is no userfaultfd's any longer. The VMA that it belongs to afterwards, or −ENOMEM. */
function* clearVma(prev: VmaRef, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (userfaultfdWp(vma)) yield* uffdWpRange(vma, start, end, 0);
  return yield* modifyUffd(prev, vma, start, end, 0, 0);
}

/** userfaultfd_unregister. 0 or −errno. */
export function* userfaultfdUnregister(ctx: UffdRef, from: Vpn, end: Vpn): Op<number> {
  const mm = get(ctx, Uffd.mm);
  if ((yield* mmgetNotZero(mm)) === 0) return -ENOMEM;
  yield* mmapWriteLock(mm);
  const error = yield* unregisterRange(ctx, mm, from, end);
  yield* mmapWriteUnlock(mm);
  yield* mmput(mm);
  return error;
}

function* unregisterRange(ctx: UffdRef, mm: MmRef, from: Vpn, end: Vpn): Op<number> {
  let vma = findVma(mm, from);
  if (vma === 0 || get(vma, Vma.start) >= end || !aligned(vma, from)) return -EINVAL;
  for (let at = vma; at !== 0 && get(at, Vma.start) < end; at = get(at, Vma.next)) {
    const owner = get(at, Vma.uffd);
    if ((owner !== 0 && owner !== ctx) || !vmaCanUserfault(at, uffdModes(at), wpAsyncOf(ctx))) return -EINVAL;
  }
  let start = from;
  let prev = prevOf(vma, start);
  while (vma !== 0 && get(vma, Vma.start) < end) {
    if (get(vma, Vma.uffd) !== 0) {
      if (get(vma, Vma.start) > start) start = get(vma, Vma.start);
      const to = Math.min(end, get(vma, Vma.end));
      // Faults that wait find the VMA without a context when they start again.
      if (userfaultfdMissing(vma)) yield* wakeUserfault(get(vma, Vma.uffd), start * 2 ** pageShift, (to - start) * 2 ** pageShift);
      vma = yield* clearVma(prev, vma, start, to);
      if (vma < 0) return vma;
    }
    prev = vma;
    start = get(vma, Vma.end);
    vma = get(vma, Vma.next);
  }
  return 0;
}

/** userfaultfd_release_all: no VMA is the context's any longer. */
export function* releaseAll(ctx: UffdRef): Op<number> {
  const mm = get(ctx, Uffd.mm);
  if ((yield* mmgetNotZero(mm)) === 0) return 0;
  yield* mmapWriteLock(mm);
  let vma = firstVma(mm);
  let prev = 0;
  while (vma !== 0) {
    if (get(vma, Vma.uffd) === ctx) {
      const cleared: VmaRef = yield* clearVma(prev, vma, get(vma, Vma.start), get(vma, Vma.end));
      if (cleared > 0) vma = cleared;
    }
    prev = vma;
    vma = get(vma, Vma.next);
  }
  yield* mmapWriteUnlock(mm);
  return yield* mmput(mm);
}
