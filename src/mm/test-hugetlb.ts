/** What a process does to a table of hugetlb that it shares with others, without the hundreds of empty entries of a whole munmap(), for races and tests. */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { hugetlbZapBegin, hugetlbZapEnd, unmapHugepageRange } from './hugetlb-vma.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { freePgdRange } from './pgtable.ts';
import { Process, type ProcessRef, type Vpn } from './types.ts';
import { vmaLookup } from './vma-tree.ts';

/** munmap() of a hugetlb mapping of which nothing but `count` huge pages from `vpn` on can be mapped: they and the tables that map them go. The VMA stays. */
export function* hugetlbUnmapTable(process: ProcessRef, vpn: Vpn, count: number): Op<number> {
  const mm = get(process, Process.mm);
  yield* mmapWriteLock(mm);
  const vma = vmaLookup(mm, vpn);
  const end = vpn + count * hugePages(hstateVma(vma));
  yield* vmaStartWrite(vma);
  const tlb = yield* tlbGather(mm);
  yield* hugetlbZapBegin(vma);
  yield* unmapHugepageRange(tlb, vma, vpn, end, 0, 0);
  yield* hugetlbZapEnd(vma, true);
  yield* freePgdRange(tlb, mm, vpn, end, 0, Infinity);
  yield* tlbFinish(tlb);
  return yield* mmapWriteUnlock(mm);
}
