/**
 * The numbers of /proc/PID/numa_maps (fs/proc/task_mmu.c: gather_stats, gather_pte_stats, gather_hugetlb_stats): pages of a VMA. There is one node.
 *
 * Units: pages of the mode; of hugetlb huge pages.
 */
import type { Op } from '../kernel/op.ts';
import { add, get, set } from '../kernel/ops.ts';
import { nextPage, pageFolio, precisePageMapcount } from '../memory/folio.ts';
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_SWAPCACHE, PG_UNEVICTABLE, PG_WRITEBACK } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_DIRTY } from '../pagetable/canonical.ts';
import { hugePmdPage } from './huge-memory.ts';
import { vmNormalPage } from './memory.ts';
import { MmWalk, type MmWalkRef, WALK_NUMA_MAPS, walkArg } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageVma } from './pagewalk.ts';
import { ptePresent } from './pgtable.ts';
import { NumaMaps, type NumaMapsRef } from './task-mmu.ts';
import { type MmRef, type Page, Vma, type Vpn } from './types.ts';
import { VM_HUGETLB } from './vm-flags.ts';
import { vmaLookup } from './vma-tree.ts';

/** show_numa_map, its numbers: of the VMA at a page, added to the object. 1 when there is one. Takes the mmap lock for reading. */
export function* showNumaMap(mm: MmRef, vpn: Vpn, md: NumaMapsRef): Op<number> {
  yield* mmapReadLock(mm);
  const vma = vmaLookup(mm, vpn);
  if (vma !== 0) yield* walkPageVma(vma, WALK_NUMA_MAPS, md);
  yield* mmapReadUnlock(mm);
  return vma !== 0 ? 1 : 0;
}

/** gather_pte_stats, gather_hugetlb_stats: of a leaf. A page of hugetlb counts once. */
export function gatherNumaLeaf(walk: MmWalkRef, entry: number, level: number, start: Vpn, end: Vpn): number {
  if (!ptePresent(entry)) return 0;
  const hugetlb = (get(get(walk, MmWalk.vma), Vma.flags) & VM_HUGETLB) !== 0;
  const page = level === 0 && !hugetlb ? vmNormalPage(entry) : hugePmdPage(entry);
  if (page === 0) return 0;
  const md = walkArg(walk, WALK_NUMA_MAPS);
  if (hugetlb) gatherStats(md, pageFolio(page), entry, 1);
  // A huge page is asked for its first page's mapcount.
  else if (level > 0) gatherStats(md, page, entry, end - start);
  else for (let vpn = start; vpn < end; vpn++) gatherStats(md, vpn === start ? page : nextPage(page, vpn - start), entry, 1);
  return 0;
}

/** gather_stats. */
function gatherStats(md: NumaMapsRef, page: Page, entry: number, pages: number): void {
  const flags = pageFlags[pageFolio(page)];
  const uses = precisePageMapcount(page);
  add(md, NumaMaps.pages, pages);
  if ((entry & PTE_DIRTY) !== 0 || (flags & PG_DIRTY) !== 0) add(md, NumaMaps.dirty, pages);
  if ((flags & PG_SWAPCACHE) !== 0) add(md, NumaMaps.swapcache, pages);
  if ((flags & (PG_ACTIVE | PG_UNEVICTABLE)) !== 0) add(md, NumaMaps.active, pages);
  if ((flags & PG_WRITEBACK) !== 0) add(md, NumaMaps.writeback, pages);
  if ((flags & PG_ANON) !== 0) add(md, NumaMaps.anon, pages);
  if (uses > get(md, NumaMaps.mapcountMax)) set(md, NumaMaps.mapcountMax, uses);
}
