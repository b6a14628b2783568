/**
 * The numbers of /proc/PID/smaps (fs/proc/task_mmu.c: smap_gather_stats, smaps_account, smaps_page_accumulate, smaps_hugetlb_range): what a VMA maps, and what part
 * of it is its own.
 *
 * Invariant: each page's share is rounded down on its own, with 12 fractional bits. Units: bytes; of `pss`, `pssDirty`, `swapPss` and `locked` bytes << 12.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, get } from '../kernel/ops.ts';
import { folioMaybeMappedShared, nextPage, pageFolio, precisePageMapcount } from '../memory/folio.ts';
import { PG_ANON, PG_DIRTY, PG_KSM, PG_REFERENCED, PG_SWAPBACKED } from '../memory/page-flags.ts';
import { pageFlags, pageRefcount, pageShift } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { hugePmdPage } from './huge-memory.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { hugetlbPmdShared } from './hugetlb-share.ts';
import { vmNormalPage } from './memory.ts';
import { pfnSwapEntryPage } from './migration-entry.ts';
import { MmWalk, type MmWalkRef, WALK_SMAPS, walkArg } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageVma } from './pagewalk.ts';
import { isSwapPte, pteMarker, ptePresent } from './pgtable.ts';
import { MemSizeStats, type MemSizeStatsRef } from './task-mmu.ts';
import { type MmRef, type Page, Vma, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_LOCKED } from './vm-flags.ts';
import { vmaLookup } from './vma-tree.ts';

const PSS_SHIFT = 12;

/** show_smap, its numbers: of the VMA at a page, added to the object. 1 when there is one. Takes the mmap lock for reading. */
export function* showSmap(mm: MmRef, vpn: Vpn, stats: MemSizeStatsRef): Op<number> {
  yield* mmapReadLock(mm);
  const vma = vmaLookup(mm, vpn);
  if (vma !== 0) yield* walkPageVma(vma, WALK_SMAPS, stats);
  yield* mmapReadUnlock(mm);
  return vma !== 0 ? 1 : 0;
}

/** smaps_pte_entry, smaps_pmd_entry, smaps_hugetlb_range: of a leaf. */
export function smapsLeaf(walk: MmWalkRef, at: number, entry: number, level: number, start: Vpn, end: Vpn): number {
  const stats = walkArg(walk, WALK_SMAPS);
  const vma = get(walk, MmWalk.vma);
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) {
    if (!ptePresent(entry)) return 0;
    const h = hstateVma(vma);
    const shared = folioMaybeMappedShared(pageFolio(hugePmdPage(entry))) || hugetlbPmdShared(h, at);
    add(stats, shared ? MemSizeStats.sharedHugetlb : MemSizeStats.privateHugetlb, hugePages(h) * 2 ** pageShift);
    return 0;
  }
  if (!ptePresent(entry)) {
    const moving = pfnSwapEntryPage(entry);
    if (moving !== 0) {
      if (level > 0) addHuge(stats, moving, end - start);
      smapsAccount(stats, moving, 0, end - start, 0, (get(vma, Vma.flags) & VM_LOCKED) !== 0, false);
    }
    // There is no swap whose slots others could use, too.
    else if (isSwapPte(entry) && pteMarker(entry) === 0) {
      add(stats, MemSizeStats.swap, 2 ** pageShift);
      add(stats, MemSizeStats.swapPss, 2 ** (pageShift + PSS_SHIFT));
    }
    return 0;
  }
  const page = level === 0 ? vmNormalPage(entry) : hugePmdPage(entry);
  if (page === 0) return 0;
  const locked = (get(vma, Vma.flags) & VM_LOCKED) !== 0;
  if (level > 0) addHuge(stats, page, end - start);
  const offset = level === 0 ? 0 : start % spanPages(level);
  smapsAccount(stats, page, offset, end - start, entry, locked, true);
  return 0;
}

/** The part of smaps_pmd_entry about the kind of a huge page, `pages` of which a leaf maps. */
function addHuge(stats: MemSizeStatsRef, page: Page, pages: number): void {
  const flags = pageFlags[pageFolio(page)];
  const kind = (flags & PG_ANON) !== 0 ? MemSizeStats.anonHuge : (flags & PG_SWAPBACKED) !== 0 ? MemSizeStats.shmemPmdMapped : MemSizeStats.filePmdMapped;
  add(stats, kind, pages * 2 ** pageShift);
}

/** smaps_account: `pages` of a folio from `offset` behind `first` on, by one leaf; not `present` while they are migrated, and when they are poisoned. */
function smapsAccount(stats: MemSizeStatsRef, first: Page, offset: number, pages: number, entry: number, locked: boolean, present: boolean): void {
  const folio = pageFolio(first);
  const flags = pageFlags[folio];
  const size = 2 ** pageShift;
  const dirty = (entry & PTE_DIRTY) !== 0 || (flags & PG_DIRTY) !== 0;
  if ((flags & PG_ANON) !== 0) {
    add(stats, MemSizeStats.anonymous, pages * size);
    if ((flags & PG_SWAPBACKED) === 0 && !dirty) add(stats, MemSizeStats.lazyFree, pages * size);
  }
  if ((flags & PG_KSM) !== 0) add(stats, MemSizeStats.ksm, pages * size);
  add(stats, MemSizeStats.rss, pages * size);
  if ((entry & PTE_ACCESSED) !== 0 || (flags & PG_REFERENCED) !== 0) add(stats, MemSizeStats.referenced, pages * size);
  // A single reference is the one of this mapping.
  if (pageRefcount[folio] === 1 || !present) {
    accumulate(stats, pages * size, pages * size * 2 ** PSS_SHIFT, dirty, locked, present);
    return;
  }
  for (let i = 0; i < pages; i++) {
    const uses = precisePageMapcount(offset + i === 0 ? first : nextPage(first, offset + i));
    accumulate(stats, size, uses >= 2 ? Math.floor((size * 2 ** PSS_SHIFT) / uses) : size * 2 ** PSS_SHIFT, dirty, locked, uses < 2);
  }
}

/** smaps_page_accumulate. */
function accumulate(stats: MemSizeStatsRef, size: number, pss: number, dirty: boolean, locked: boolean, own: boolean): void {
  add(stats, MemSizeStats.pss, pss);
  if (locked) add(stats, MemSizeStats.locked, pss);
  if (dirty) add(stats, MemSizeStats.pssDirty, pss);
  if (own) add(stats, dirty ? MemSizeStats.privateDirty : MemSizeStats.privateClean, size);
  else add(stats, dirty ? MemSizeStats.sharedDirty : MemSizeStats.sharedClean, size);
}
