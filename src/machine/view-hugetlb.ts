/** What hugetlb VMAs map, page by page of the mode, and the pools as /proc/meminfo and sysfs show them. Looking changes nothing. */
import { entryAt, entryStride, loadEntry, topLevel } from '../kernel/arch.ts';
import { folioMapcount } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pageOfPfn } from '../memory/state.ts';
import { globals } from '../mm/globals.ts';
import { hugetlbPmdShared } from '../mm/hugetlb-share.ts';
import { Hstate, Hugetlb } from '../mm/hugetlb-types.ts';
import { ptePfn, ptePresent } from '../mm/pgtable.ts';
import { File, Globals, Inode, Vma } from '../mm/types.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_TABLE } from '../pagetable/canonical.ts';
import { PAGE, type PageView } from './proc/view.ts';

/** The pool of a hugetlb VMA. */
const hstateOf = (vma: number): number => get(get(get(vma, Vma.file), File.inode), Inode.hstate);

/** Base pages of one page of a hugetlb VMA. */
export const hugePagesOf = (vma: number): number => 2 ** get(hstateOf(vma), Hstate.order);

/** The pages that a hugetlb VMA maps, in order of address. */
export function hugetlbPages(vma: number, pgd: number): PageView[] {
  const h = hstateOf(vma);
  const size = 2 ** get(h, Hstate.order);
  const found: PageView[] = [];
  for (let vpn = get(vma, Vma.start); vpn < get(vma, Vma.end); vpn += size) {
    const at = entryOf(pgd, vpn, get(h, Hstate.level));
    if (at !== 0) pagesOf(h, at, vpn, size, found);
  }
  return found;
}

/** The first entry of a huge page, 0 without a table. */
function entryOf(pgd: number, vpn: number, level: number): number {
  let table = pgd;
  for (let l = topLevel; l > level; l--) {
    const entry = loadEntry(entryAt(table, l, vpn), l);
    if ((entry & PTE_TABLE) === 0) return 0;
    table = pageOfPfn(ptePfn(entry));
  }
  return entryAt(table, level, vpn);
}

function pagesOf(h: number, at: number, vpn: number, size: number, found: PageView[]): void {
  const level = get(h, Hstate.level);
  const pte = loadEntry(at, level);
  if (!ptePresent(pte)) return;
  let used = pte & (PTE_ACCESSED | PTE_DIRTY);
  for (let i = 1; i < get(h, Hstate.entries); i++) used |= loadEntry(at + i * entryStride(level), level) & (PTE_ACCESSED | PTE_DIRTY);
  const page = pageOfPfn(ptePfn(pte));
  const mapcount = folioMapcount(page);
  const shared = hugetlbPmdShared(h, at);
  let flags: number = PAGE.HUGETLB;
  if ((used & PTE_ACCESSED) !== 0) flags |= PAGE.YOUNG;
  if ((used & PTE_DIRTY) !== 0) flags |= PAGE.ENTRY_DIRTY;
  if ((pageFlags[page] & PG_ANON) !== 0) flags |= PAGE.ANON;
  if ((pageFlags[page] & PG_ANON_EXCLUSIVE) !== 0) flags |= PAGE.ANON_EXCLUSIVE;
  if ((pageFlags[page] & PG_DIRTY) !== 0) flags |= PAGE.DIRTY;
  if (shared || mapcount > 1) flags |= PAGE.HUGETLB_SHARED;
  // /proc/PID/pagemap calls a page shared also when only its table is.
  if (shared && mapcount === 1) flags |= PAGE.EXCLUSIVE_DIFFERS;
  for (let i = 0; i < size; i++) found.push({ vpn: vpn + i, kind: 'page', key: ptePfn(pte) + i, flags, mapcount, order: 0, index: 0 });
}

/** One pool as /sys/kernel/mm/hugepages shows it; sizes in KiB. */
export interface HugePool {
  readonly kilobytes: number;
  readonly nr: number;
  readonly free: number;
  readonly resv: number;
  readonly surplus: number;
  readonly overcommit: number;
}

/** The pools of the mounted machine, smallest size first. `pageKilobytes` of the mode. */
export function hugePools(pageKilobytes: number): HugePool[] {
  const hugetlb = get(globals, Globals.hugetlb);
  const pools: HugePool[] = [];
  for (let i = 0; hugetlb !== 0 && i < get(hugetlb, Hugetlb.count); i++) {
    const h = get(hugetlb, Hugetlb.hstates + i);
    pools.push({
      kilobytes: 2 ** get(h, Hstate.order) * pageKilobytes,
      nr: get(h, Hstate.nr),
      free: get(h, Hstate.freePages),
      resv: get(h, Hstate.resv),
      surplus: get(h, Hstate.surplus),
      overcommit: get(h, Hstate.overcommit),
    });
  }
  return pools;
}
