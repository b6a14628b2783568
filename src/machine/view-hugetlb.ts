/** What hugetlb VMAs map, page by page of the mode, and the pools as /proc/meminfo and sysfs show them. Looking changes nothing. */
import { folioMapcount, pageFolio } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pageOfPfn } from '../memory/state.ts';
import { globals } from '../mm/globals.ts';
import { hugetlbPmdShared } from '../mm/hugetlb-share.ts';
import { Hstate, Hugetlb } from '../mm/hugetlb-types.ts';
import { leafFrame } from '../mm/leaves.ts';
import { ptePfn, ptePresent } from '../mm/pgtable.ts';
import { File, Globals, Inode, Vma } from '../mm/types.ts';
import { PAGE, type PageView } from './proc/view.ts';
import { entryFlags, markerKind } from './view-entry.ts';

/** The pool of a hugetlb VMA. */
export const hstateOf = (vma: number): number => get(get(get(vma, Vma.file), File.inode), Inode.hstate);

/** Base pages of a huge page. */
export const hugePagesOf = (h: number): number => 2 ** get(h, Hstate.order);

/** The pages [vpn, end) that a leaf of a hugetlb VMA maps. */
export function hugetlbLeaf(h: number, vpn: number, end: number, pte: number, at: number, found: PageView[]): void {
  if (!ptePresent(pte)) {
    const kind = markerKind(pte);
    if (kind === undefined) return;
    for (let v = vpn; v < end; v++) found.push({ vpn: v, kind, key: 0, flags: PAGE.HUGETLB, mapcount: 0, order: 0, index: 0 });
    return;
  }
  const frame = leafFrame(pte, get(h, Hstate.level), vpn);
  const page = pageFolio(pageOfPfn(ptePfn(pte)));
  const mapcount = folioMapcount(page);
  const shared = hugetlbPmdShared(h, at);
  let flags = PAGE.HUGETLB | entryFlags(pte);
  if ((pageFlags[page] & PG_ANON) !== 0) flags |= PAGE.ANON;
  if ((pageFlags[page] & PG_ANON_EXCLUSIVE) !== 0) flags |= PAGE.ANON_EXCLUSIVE;
  if ((pageFlags[page] & PG_DIRTY) !== 0) flags |= PAGE.DIRTY;
  if (shared || mapcount > 1) flags |= PAGE.HUGETLB_SHARED;
  // /proc/PID/pagemap calls a page shared also when only its table is.
  if (shared && mapcount === 1) flags |= PAGE.EXCLUSIVE_DIFFERS;
  for (let i = 0; i < end - vpn; i++) found.push({ vpn: vpn + i, kind: 'page', key: frame + i, flags, mapcount, order: 0, index: 0 });
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
