/**
 * mseal(2): what is mapped in a range can neither be unmapped, moved, replaced nor get other rights from now on (mm/mseal.c). The refusals stand where
 * those things are done: vmsGather(), mprotectFixup(), mremap, madvise.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EINVAL, ENOMEM, ENOSYS } from './errno.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { type MmRef, Process, type ProcessRef, Vma, type Vpn } from './types.ts';
import { pfnUp } from './util.ts';
import { VM_SEALED } from './vm-flags.ts';
import { vmaModifyFlags } from './vma-merge.ts';
import { findVma } from './vma-tree.ts';

/** range_contains_unmapped: a hole anywhere in [start, end), ends included. */
function rangeContainsUnmapped(mm: MmRef, start: Vpn, end: Vpn): boolean {
  let done = start;
  for (let vma = findVma(mm, start); vma !== 0 && get(vma, Vma.start) < end; vma = get(vma, Vma.next)) {
    if (get(vma, Vma.start) > done) return true;
    done = get(vma, Vma.end);
  }
  return done < end;
}

/** mseal_apply. 0 or -errno of a split. */
function* msealApply(mm: MmRef, start: Vpn, end: Vpn): Op<number> {
  let vma = findVma(mm, start);
  let prev = start > get(vma, Vma.start) ? vma : get(vma, Vma.prev);
  while (vma !== 0 && get(vma, Vma.start) < end) {
    const flags = get(vma, Vma.flags);
    if ((flags & VM_SEALED) === 0) {
      const from = Math.max(get(vma, Vma.start), start);
      const to = Math.min(get(vma, Vma.end), end);
      const sealed = yield* vmaModifyFlags(prev, vma, from, to, flags | VM_SEALED);
      if (sealed < 0) return sealed;
      vma = sealed;
      set(vma, Vma.flags, get(vma, Vma.flags) | VM_SEALED);
    }
    prev = vma;
    vma = get(vma, Vma.next);
  }
  return 0;
}

/** mseal(2); bytes. 0 or -errno. Systems of 32 bits have no such call. */
export function* sysMseal(process: ProcessRef, address: number, length: number, flags: number): Op<number> {
  if (codec.mode.vaBits <= 32) return -ENOSYS;
  if (flags !== 0) return -EINVAL;
  const start = address / (1 << pageShift);
  if (!Number.isInteger(start) || address >= 2 ** 64) return -EINVAL;
  // A length that rounding wraps, or that leads beyond the last address.
  const end = start + pfnUp(length);
  if (end >= 2 ** 64 / (1 << pageShift)) return -EINVAL;
  if (end === start) return 0;
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  const error = rangeContainsUnmapped(mm, start, end) ? -ENOMEM : yield* msealApply(mm, start, end);
  yield* mmapWriteUnlock(mm);
  return error;
}
