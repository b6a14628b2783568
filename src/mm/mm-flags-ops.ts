/** Flags of an address space (MMF_*, mm-flags.ts) that others set and look at without a lock: mm_flags_set, mm_flags_test. */
import type { Op } from '../kernel/op.ts';
import { cmpxchg, readOnce } from '../kernel/ops.ts';
import { MMF_UNSTABLE } from './mm-flags.ts';
import { Mm, type MmRef } from './types.ts';
import { VM_FAULT_SIGBUS } from './vmf.ts';

/** mm_flags_set: sets a flag in one step; the flags before. */
export function* mmFlagsSet(mm: MmRef, flag: number): Op<number> {
  for (;;) {
    const flags = yield* readOnce(mm, Mm.flags);
    if ((flags & flag) !== 0 || (yield* cmpxchg(mm, Mm.flags, flags, flags | flag)) === flags) return flags;
  }
}

/** mm_flags_test. */
export function* mmFlagsTest(mm: MmRef, flag: number): Op<boolean> {
  return ((yield* readOnce(mm, Mm.flags)) & flag) !== 0;
}

/** check_stable_address_space: pages of an address space that is being taken away must not appear again as empty ones. 0 or VM_FAULT_SIGBUS. */
export function* checkStableAddressSpace(mm: MmRef): Op<number> {
  return (yield* mmFlagsTest(mm, MMF_UNSTABLE)) ? VM_FAULT_SIGBUS : 0;
}
