/** The end of an address space (mm/mmap.c: exit_mmap). */
import type { Op } from '../kernel/op.ts';
import { get, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { MMF_OOM_SKIP } from './mm-flags.ts';
import { mmFlagsSet } from './mm-flags-ops.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaMarkDetached } from './mmap-lock.ts';
import { tlbFinish, tlbGatherFullmm } from './mmu-gather.ts';
import { freePgtables, unmapVmas } from './munmap.ts';
import { Mm, type MmRef, Vma } from './types.ts';
import { vmUnacctMemory } from './util.ts';
import { VM_ACCOUNT } from './vm-flags.ts';
import { removeVma, vmaPages } from './vma.ts';
import { firstVma, vmaTreeRemove } from './vma-tree.ts';

/**
 * exit_mmap: gives back all that an mm maps, when nobody uses it any longer. The OOM reaper may work on it at the same time until tables go, hence the
 * lock for reading first; one that is still at work is waited for by the lock for writing, and who comes later sees the flag.
 */
export function* exitMmap(mm: MmRef): Op<number> {
  yield* mmapReadLock(mm);
  let vma = firstVma(mm);
  if (vma === 0) return yield* mmapReadUnlock(mm);
  const count = get(mm, Mm.mapCount);
  const tlb = yield* tlbGatherFullmm(mm);
  yield* unmapVmas(tlb, vma, count);
  yield* mmapReadUnlock(mm);
  yield* mmFlagsSet(mm, MMF_OOM_SKIP);
  const locked = !switched(SW.exitMmapUnlocked);
  if (locked) yield* mmapWriteLock(mm);
  yield* freePgtables(tlb, mm, vma, count, 0, Infinity);
  yield* tlbFinish(tlb);
  let accounted = 0;
  while (vma !== 0) {
    const next = get(vma, Vma.next);
    if ((get(vma, Vma.flags) & VM_ACCOUNT) !== 0) accounted += vmaPages(vma);
    yield* vmaMarkDetached(vma);
    vmaTreeRemove(mm, vma);
    yield* removeVma(vma, 0);
    vma = next;
  }
  set(mm, Mm.mapCount, 0);
  if (locked) yield* mmapWriteUnlock(mm);
  yield* vmUnacctMemory(accounted);
  return 0;
}
