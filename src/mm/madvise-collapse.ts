/**
 * MADV_COLLAPSE (mm/khugepaged.c: madvise_collapse): which ranges could become huge pages (mm/huge_memory.c: thp_vma_allowable_orders).
 *
 * There are no huge pages yet: where Linux would make one, the answer is the one of a machine that has none free (−ENOMEM).
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get } from '../kernel/ops.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { INODE_DISK } from './file-types.ts';
import { pageCacheFind } from './filemap.ts';
import { MMF_DISABLE_THP } from './mm-flags.ts';
import { entryPointer } from './pgtable.ts';
import { linearPageIndex } from './rmap.ts';
import { File, Inode, Mm, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_NOHUGEPAGE, VM_SPECIAL } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';

/** thp_vma_suitable_order: one huge page has room in the VMA, in line with its file. */
function isSuitable(vma: VmaRef, huge: number): boolean {
  const start = get(vma, Vma.start);
  const end = get(vma, Vma.end);
  if (!vmaIsAnonymous(vma) && (start - get(vma, Vma.pgoff)) % huge !== 0) return false;
  const first = Math.floor((end - huge) / huge) * huge;
  return first >= start && first + huge <= end;
}

/** thp_vma_allowable_order for a collapse that was asked for: settings for the whole machine do not count. */
function isAllowable(vma: VmaRef, huge: number): boolean {
  if ((get(vma, Vma.flags) & (VM_NOHUGEPAGE | VM_SPECIAL | VM_HUGETLB)) !== 0) return false;
  if ((get(get(vma, Vma.mm), Mm.flags) & MMF_DISABLE_THP) !== 0 || !isSuitable(vma, huge)) return false;
  if (vmaIsAnonymous(vma)) return get(vma, Vma.anonVma) !== 0;
  // Files of disks are not collapsed (CONFIG_READ_ONLY_THP_FOR_FS is off).
  return get(get(get(vma, Vma.file), File.inode), Inode.kind) !== INODE_DISK;
}

/** madvise_collapse for [start, end) of a VMA; 0 or −errno. */
export function* madviseCollapse(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const huge = spanPages(1);
  if (!isAllowable(vma, huge)) return -EINVAL;
  const from = Math.ceil(start / huge) * huge;
  const to = Math.floor(end / huge) * huge;
  for (let vpn = from; vpn < to; vpn += huge) if (yield* hasPages(vma, vpn, huge)) return -ENOMEM;
  // A range without any whole huge page is done, one that lies within one (rounding turns it about) is refused.
  return from === to ? 0 : -EINVAL;
}

/** Whether there is something to collapse: a page table, or pages of the object. */
function* hasPages(vma: VmaRef, vpn: Vpn, huge: number): Op<boolean> {
  if (!vmaIsAnonymous(vma)) {
    const index = linearPageIndex(vma, vpn);
    return pageCacheFind(get(get(vma, Vma.file), File.inode), index, index + huge - 1) >= 0;
  }
  const pmdp = yield* entryPointer(get(vma, Vma.mm), vpn, 1);
  return pmdp !== 0 && ((yield* entryGet(pmdp, 1)) & PTE_TABLE) !== 0;
}
