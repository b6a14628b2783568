/**
 * /proc/PID/pagemap (fs/proc/task_mmu.c: pagemap_read): what each page of an address space maps, 64 bits for each.
 *
 * Invariant: looking changes nothing.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { folioMaybeMappedShared, nextPage, pageFolio, precisePageMapcount } from '../memory/folio.ts';
import { PTE_SOFT_DIRTY, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { globals } from './globals.ts';
import { hugePmdPage } from './huge-memory.ts';
import { hstateVma } from './hugetlb-resv.ts';
import { hugetlbPmdShared } from './hugetlb-share.ts';
import { vmNormalPage } from './memory.ts';
import { pfnSwapEntryPage } from './migration-entry.ts';
import { MmWalk, type MmWalkRef, WALK_PAGEMAP, walkArg } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRange } from './pagewalk.ts';
import { isGuardPte, PTE_MARKER_UFFD_WP, pteMarker, ptePfn, ptePresent } from './pgtable.ts';
import { folioTestAnon } from './swap.ts';
import {
  PAGEMAP_BUFFER,
  Pagemap,
  type PagemapRef,
  PM_FILE,
  PM_GUARD_REGION,
  PM_MMAP_EXCLUSIVE,
  PM_PRESENT,
  PM_SOFT_DIRTY,
  PM_SWAP,
  PM_UFFD_WP,
} from './task-mmu.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_SOFTDIRTY } from './vm-flags.ts';

/**
 * Fills an object with the entries of `pages` pages (at most PAGEMAP_BUFFER) from `start`; how many: fewer where user space ends. With `showPfn` 0, as for
 * readers without CAP_SYS_ADMIN, frames read as 0.
 */
export function* pagemapRead(mm: MmRef, start: Vpn, pages: number, showPfn: number, into: PagemapRef): Op<number> {
  const end = Math.min(start + Math.min(pages, PAGEMAP_BUFFER), get(mm, Mm.taskSize));
  set(into, Pagemap.start, start);
  set(into, Pagemap.showPfn, showPfn);
  set(into, Pagemap.count, Math.max(0, end - start));
  for (let i = 0; i < end - start; i++) {
    set(into, Pagemap.frames + i, 0);
    set(into, Pagemap.flags + i, 0);
  }
  if (end <= start) return 0;
  yield* mmapReadLock(mm);
  yield* walkPageRange(mm, start, end, WALK_PAGEMAP, into);
  yield* mmapReadUnlock(mm);
  return end - start;
}

/** Writes into the entries of [start, end), with frames from `frame` on where it is not −1. */
function fill(walk: MmWalkRef, start: Vpn, end: Vpn, frame: number, flags: number): void {
  const into = walkArg(walk, WALK_PAGEMAP);
  const shown = frame >= 0 && get(into, Pagemap.showPfn) !== 0;
  for (let vpn = start; vpn < end; vpn++) {
    const at = vpn - get(into, Pagemap.start);
    if (shown) set(into, Pagemap.frames + at, frame + (vpn - start));
    set(into, Pagemap.flags + at, flags);
  }
}

/** Of a VMA that is soft-dirty every page is, mapped or not. */
const flagsOfVma = (vma: VmaRef): number => (vma !== 0 && (get(vma, Vma.flags) & VM_SOFTDIRTY) !== 0 ? PM_SOFT_DIRTY : 0);

/** pagemap_pte_hole: pages without a table. */
export function pagemapHole(walk: MmWalkRef, start: Vpn, end: Vpn): number {
  fill(walk, start, end, -1, flagsOfVma(get(walk, MmWalk.vma)));
  return 0;
}

/**
 * pagemap_pmd_range and pagemap_hugetlb_range, of a leaf. Whether a huge page is mapped but once is asked of its first page each time, as Linux does; of hugetlb
 * a page is shared, too, whose table is.
 */
export function pagemapLeaf(walk: MmWalkRef, at: number, entry: number, level: number, start: Vpn, end: Vpn): number {
  const vma = get(walk, MmWalk.vma);
  const flags = flagsOfVma(vma) | entryFlags(entry);
  if (!ptePresent(entry)) {
    const hugetlb = (get(vma, Vma.flags) & VM_HUGETLB) !== 0;
    // The frame field of swap-type entries is type and offset as they stand there.
    const moving = hugetlb ? 0 : pfnSwapEntryPage(entry);
    const file = moving !== 0 && !folioTestAnon(moving) ? PM_FILE : 0;
    fill(walk, start, end, entry === 0 || hugetlb ? -1 : ptePfn(entry), hugetlb ? flags & ~(PM_SWAP | PM_GUARD_REGION) : flags | file);
    return 0;
  }
  const page = level === 0 ? vmNormalPage(entry) : hugePmdPage(entry);
  const frame = ptePfn(entry) + (start % spanPages(level));
  if (page === 0) {
    fill(walk, start, end, frame, flags);
    return 0;
  }
  const file = folioTestAnon(page) ? 0 : PM_FILE;
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) {
    const shared = folioMaybeMappedShared(pageFolio(page)) || hugetlbPmdShared(hstateVma(vma), at);
    fill(walk, start, end, frame, flags | file | (shared ? 0 : PM_MMAP_EXCLUSIVE));
    return 0;
  }
  for (let vpn = start; vpn < end; vpn++) {
    const mapped = level === 0 && vpn !== start ? nextPage(page, vpn - start) : page;
    fill(walk, vpn, vpn + 1, frame + (vpn - start), flags | file | (precisePageMapcount(mapped) === 1 ? PM_MMAP_EXCLUSIVE : 0));
  }
  return 0;
}

/** What an entry alone says. */
function entryFlags(pte: number): number {
  if (pte === 0) return 0;
  let flags = (pte & PTE_SOFT_DIRTY) !== 0 && get(globals, Globals.softDirty) !== 0 ? PM_SOFT_DIRTY : 0;
  if ((pte & PTE_UFFD_WP) !== 0) flags |= PM_UFFD_WP;
  if (ptePresent(pte)) return flags | PM_PRESENT;
  if ((pteMarker(pte) & PTE_MARKER_UFFD_WP) !== 0) flags |= PM_UFFD_WP;
  return flags | (isGuardPte(pte) ? PM_SWAP | PM_GUARD_REGION : PM_SWAP);
}
