/**
 * Guard regions (mm/madvise.c: madvise_guard_install, madvise_guard_remove): markers in page tables whose access raises SIGSEGV.
 *
 * Invariants: a marker stands only where nothing is mapped; it survives MADV_DONTNEED, is inherited by fork, moves with mremap, and goes with the
 * mapping. A VMA that may hold markers has VM_MAYBE_GUARD.
 */
import type { Op } from '../kernel/op.ts';
import { flushTlbRange, get, readOnce, switched, writeOnce } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { EINVAL, ERESTARTNOINTR } from './errno.ts';
import { WALK_GUARD_INSTALL, WALK_GUARD_REMOVE } from './mm-walk.ts';
import { walkPageRangeMm, walkPageRangeVma } from './pagewalk.ts';
import { Mm, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_LOCKED, VM_MAYBE_GUARD, VM_SPECIAL } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { zapPageRangeSingle } from './zap.ts';

/** MAX_MADVISE_GUARD_RETRIES: after so many the locks are released once. */
const MAX_RETRIES = 3;

/** is_valid_guard_vma: not where tables have an owner of their own, and pages that are locked are not zapped. */
const isValidGuardVma = (vma: VmaRef, allowLocked: boolean): boolean => (get(vma, Vma.flags) & (VM_SPECIAL | VM_HUGETLB | (allowLocked ? 0 : VM_LOCKED))) === 0;

/**
 * madvise_guard_install: markers in all of [start, end); what is mapped there goes. 0, −EINVAL, −ENOMEM, −ERESTARTNOINTR when others map pages faster
 * than we take them away.
 */
export function* madviseGuardInstall(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!isValidGuardVma(vma, false)) return -EINVAL;
  // Whoever must see the flag takes a lock for writing later (fork); that it is set under a lock for reading disturbs nobody (vma_set_atomic_flag).
  yield* writeOnce(vma, Vma.flags, get(vma, Vma.flags) | VM_MAYBE_GUARD);
  // Anonymous memory with page tables has an anon_vma.
  if (vmaIsAnonymous(vma)) {
    const error = yield* anonVmaPrepare(vma);
    if (error !== 0) return error;
  }
  for (let i = 0; i < MAX_RETRIES; i++) {
    const result = yield* walkPageRangeMm(get(vma, Vma.mm), start, end, WALK_GUARD_INSTALL, i > 0 && switched(SW.guardNoSecondLook) ? 1 : 0);
    if (result === 0 && switched(SW.guardFlushesPending) && (yield* readOnce(get(vma, Vma.mm), Mm.tlbFlushPending)) > 0)
      yield* flushTlbRange(get(vma, Vma.mm), start, end);
    if (result <= 0) return result;
    // Something is mapped: it goes, markers that are there stay, and again from the start.
    yield* zapPageRangeSingle(vma, start, end, 0);
  }
  return -ERESTARTNOINTR;
}

/** madvise_guard_remove: the markers of [start, end) go; anything else stays. */
export function* madviseGuardRemove(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!isValidGuardVma(vma, true)) return -EINVAL;
  return yield* walkPageRangeVma(vma, start, end, WALK_GUARD_REMOVE, 0);
}
