/**
 * Stacks that grow when they are touched beyond their end (mm/vma.c: expand_downwards, expand_upwards, acct_stack_growth; mm/mmap.c: expand_stack).
 *
 * Invariants: a stack keeps `stack_guard_gap` pages from an accessible mapping on the side that it grows to, other stacks apart; growing needs the mmap lock for
 * writing, and an anon_vma, under whose lock range and offset change so that rmap never sees them disagree.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, get, set } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { anonTreesInsert, anonTreesRemove, anonVmaLockWrite, anonVmaPrepare, anonVmaUnlockWrite } from './anon-vma.ts';
import { EFAULT, ENOMEM, EPERM } from './errno.ts';
import { globals } from './globals.ts';
import { populateVmaPageRange } from './gup.ts';
import { mmapReadUnlock, mmapWriteDowngrade, mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { mmapMinAddr } from './unmapped-area.ts';
import { enoughMemory, mayExpandVm, mlockFutureOk, RLIMIT_STACK, rlimit, vmStatAccount } from './util.ts';
import { VM_ACCESS_FLAGS, VM_GROWSDOWN, VM_GROWSUP, VM_LOCKED } from './vm-flags.ts';
import { findVma, findVmaIntersection, findVmaPrev, vmaTreeAdjust } from './vma-tree.ts';

/** CONFIG_STACK_GROWSUP. */
export const stackGrowsUp = (): boolean => codec.mode.family === 'parisc';

/** vma_is_accessible. */
export const vmaIsAccessible = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_ACCESS_FLAGS) !== 0;

/** RLIMIT_STACK, bytes, of whoever reads another's memory here: root with the usual limits, and no others that count. */
const DEBUGGER_STACK = 8 * 2 ** 20;

/**
 * acct_stack_growth: a stack may have `size` pages, `grow` of them new. 0, with these promised, or -ENOMEM. Limits are those of who touches it:
 * with `remote` a debugger.
 */
function* acctStackGrowth(vma: VmaRef, size: number, grow: number, remote: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const flags = get(vma, Vma.flags);
  if (remote !== 0) {
    if (size * (1 << pageShift) > DEBUGGER_STACK) return -ENOMEM;
    return yield* enoughMemory(mm, grow);
  }
  if (!mayExpandVm(mm, flags, grow)) return -ENOMEM;
  if (size * (1 << pageShift) > rlimit(mm, RLIMIT_STACK)) return -ENOMEM;
  if (!mlockFutureOk(mm, flags, grow)) return -ENOMEM;
  return yield* enoughMemory(mm, grow);
}

/** Gives a stack, accounted for already, its new range. Needs the anon_vma's lock. */
function setStackRange(vma: VmaRef, start: Vpn, end: Vpn, grow: number): void {
  const mm = get(vma, Vma.mm);
  const flags = get(vma, Vma.flags);
  if ((flags & VM_LOCKED) !== 0) add(mm, Mm.lockedVm, grow);
  vmStatAccount(mm, flags, grow);
  anonTreesRemove(vma);
  set(vma, Vma.pgoff, get(vma, Vma.pgoff) - (get(vma, Vma.start) - start));
  vmaTreeAdjust(mm, vma, start, end);
  anonTreesInsert(vma);
}

/** expand_downwards: grows a stack above an address down to it. 0 or -errno. Needs the mmap lock for writing. */
export function* expandDownwards(vma: VmaRef, vpn: Vpn, remote: number): Op<number> {
  if ((get(vma, Vma.flags) & VM_GROWSDOWN) === 0) return -EFAULT;
  if (vpn * (1 << pageShift) < mmapMinAddr()) return -EPERM;
  const prev = get(vma, Vma.prev);
  if (
    prev !== 0 &&
    (get(prev, Vma.flags) & VM_GROWSDOWN) === 0 &&
    vmaIsAccessible(prev) &&
    // Unsigned in Linux: an address inside prev is far away.
    vpn >= get(prev, Vma.end) &&
    vpn - get(prev, Vma.end) < get(globals, Globals.stackGuardGap)
  )
    return -ENOMEM;
  if ((yield* anonVmaPrepare(vma)) !== 0) return -ENOMEM;
  yield* vmaStartWrite(vma);
  const anonVma = get(vma, Vma.anonVma);
  yield* anonVmaLockWrite(anonVma);
  let error = 0;
  const start = get(vma, Vma.start);
  // Another one may have grown it already.
  if (vpn < start) {
    const end = get(vma, Vma.end);
    const grow = start - vpn;
    error = -ENOMEM;
    if (grow <= get(vma, Vma.pgoff)) {
      error = yield* acctStackGrowth(vma, end - vpn, grow, remote);
      if (error === 0) setStackRange(vma, vpn, end, grow);
    }
  }
  yield* anonVmaUnlockWrite(anonVma);
  return error;
}

/** expand_upwards: grows a stack below an address up to it (parisc). */
export function* expandUpwards(vma: VmaRef, vpn: Vpn, remote: number): Op<number> {
  if ((get(vma, Vma.flags) & VM_GROWSUP) === 0) return -EFAULT;
  const mm = get(vma, Vma.mm);
  const taskSize = get(mm, Mm.taskSize);
  if (vpn >= taskSize) return -ENOMEM;
  const end = vpn + 1;
  const next = findVmaIntersection(mm, get(vma, Vma.end), Math.min(end + get(globals, Globals.stackGuardGap), taskSize));
  if (next !== 0 && vmaIsAccessible(next) && (get(next, Vma.flags) & VM_GROWSUP) === 0) return -ENOMEM;
  if ((yield* anonVmaPrepare(vma)) !== 0) return -ENOMEM;
  yield* vmaStartWrite(vma);
  const anonVma = get(vma, Vma.anonVma);
  yield* anonVmaLockWrite(anonVma);
  let error = 0;
  const before = get(vma, Vma.end);
  if (end > before) {
    const start = get(vma, Vma.start);
    error = yield* acctStackGrowth(vma, end - start, end - before, remote);
    if (error === 0) setStackRange(vma, start, end, end - before);
  }
  yield* anonVmaUnlockWrite(anonVma);
  return error;
}

/** expand_stack_locked. `remote`: a debugger touches it. */
export function* expandStackLocked(vma: VmaRef, vpn: Vpn, remote: number): Op<number> {
  return stackGrowsUp() ? yield* expandUpwards(vma, vpn, remote) : yield* expandDownwards(vma, vpn, remote);
}

/** find_extend_vma_locked: the VMA of an address, a stack grown to it; 0 if none. Needs the mmap lock for writing. */
export function* findExtendVmaLocked(mm: MmRef, vpn: Vpn): Op<VmaRef> {
  const vma = findVma(mm, vpn);
  if (vma !== 0 && get(vma, Vma.start) <= vpn) return vma;
  const stack = stackGrowsUp() ? findVmaPrev(mm, vpn) : vma;
  if (stack === 0) return 0;
  const start = get(stack, Vma.start);
  if ((yield* expandStackLocked(stack, vpn, 0)) !== 0) return 0;
  if ((get(stack, Vma.flags) & VM_LOCKED) !== 0) yield* populateVmaPageRange(stack, vpn, stackGrowsUp() ? get(stack, Vma.end) : start);
  return stack;
}

/**
 * expand_stack: called with the mmap lock held for reading where no VMA contains an address; takes it for writing and looks again. The VMA, grown to
 * the address, with the lock held for reading; 0 with the lock released.
 */
export function* expandStack(mm: MmRef, vpn: Vpn): Op<VmaRef> {
  yield* mmapReadUnlock(mm);
  yield* mmapWriteLock(mm);
  let vma = findVma(mm, vpn);
  let found = vma !== 0 && get(vma, Vma.start) <= vpn;
  if (!found) {
    if (stackGrowsUp()) vma = findVmaPrev(mm, vpn);
    found = vma !== 0 && (yield* expandStackLocked(vma, vpn, 1)) === 0;
  }
  if (!found) {
    yield* mmapWriteUnlock(mm);
    return 0;
  }
  yield* mmapWriteDowngrade(mm);
  return vma;
}
