/**
 * /proc/PID/pagemap (fs/proc/task_mmu.c: pagemap_read): what each page of an address space maps, 64 bits for each.
 *
 * Invariant: looking changes nothing.
 */
import { entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, set, spinUnlock } from '../kernel/ops.ts';
import { precisePageMapcount } from '../memory/folio.ts';
import { PTE_SOFT_DIRTY, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { globals } from './globals.ts';
import { hugePmdPage } from './huge-memory.ts';
import { lockHuge } from './huge-walks.ts';
import { vmNormalPage } from './memory.ts';
import { ACTION_AGAIN, MmWalk, type MmWalkRef, WALK_PAGEMAP } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRangeVma } from './pagewalk.ts';
import { isGuardPte, PTE_MARKER_UFFD_WP, pteLockptr, pteMarker, ptePfn, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
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
import { Globals, Mm, type MmRef, Vma, type Vpn } from './types.ts';
import { VM_SOFTDIRTY } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';

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
  let vma = findVma(mm, start);
  while (vma !== 0 && get(vma, Vma.start) < end) {
    const from = Math.max(start, get(vma, Vma.start));
    const to = Math.min(end, get(vma, Vma.end));
    // Of a VMA that is soft-dirty every page is, mapped or not.
    if ((get(vma, Vma.flags) & VM_SOFTDIRTY) !== 0) for (let vpn = from; vpn < to; vpn++) set(into, Pagemap.flags + vpn - start, PM_SOFT_DIRTY);
    yield* walkPageRangeVma(vma, from, to, WALK_PAGEMAP, into);
    vma = get(vma, Vma.next);
  }
  yield* mmapReadUnlock(mm);
  return end - start;
}

/** pagemap_pmd_range. */
export function* pagemapPmdRange(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const into = get(walk, MmWalk.arg);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) {
    set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  const lock = pteLockptr(ptep);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    if (pte !== 0) {
      const at = vpn - get(into, Pagemap.start);
      if (get(into, Pagemap.showPfn) !== 0) set(into, Pagemap.frames + at, ptePfn(pte));
      set(into, Pagemap.flags + at, get(into, Pagemap.flags + at) | entryFlags(pte));
    }
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

/**
 * pagemap_pmd_range_thp: of a page that one entry maps with others. Whether it is mapped but once is asked of the first page each time, as Linux does.
 */
export function* pagemapHuge(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const into = get(walk, MmWalk.arg);
  const lock = yield* lockHuge(walk, pmdp);
  if (lock === 0) return 0;
  const pmd = yield* entryGet(pmdp, 1);
  const folio = hugePmdPage(pmd);
  let flags = PM_PRESENT;
  if ((pmd & PTE_SOFT_DIRTY) !== 0 && get(globals, Globals.softDirty) !== 0) flags |= PM_SOFT_DIRTY;
  if ((pmd & PTE_UFFD_WP) !== 0) flags |= PM_UFFD_WP;
  if (folio !== 0 && !folioTestAnon(folio)) flags |= PM_FILE;
  if (folio !== 0 && precisePageMapcount(folio) === 1) flags |= PM_MMAP_EXCLUSIVE;
  for (let vpn = start; vpn < end; vpn++) {
    const at = vpn - get(into, Pagemap.start);
    if (get(into, Pagemap.showPfn) !== 0) set(into, Pagemap.frames + at, ptePfn(pmd) + (vpn % spanPages(1)));
    set(into, Pagemap.flags + at, get(into, Pagemap.flags + at) | flags);
  }
  return yield* spinUnlock(lock);
}

/** pte_to_pagemap_entry: the flags of an entry that is not empty. The frame field of swap-type entries is type and offset as they stand there. */
function entryFlags(pte: number): number {
  let flags = (pte & PTE_SOFT_DIRTY) !== 0 && get(globals, Globals.softDirty) !== 0 ? PM_SOFT_DIRTY : 0;
  if ((pte & PTE_UFFD_WP) !== 0) flags |= PM_UFFD_WP;
  if (!ptePresent(pte)) {
    if ((pteMarker(pte) & PTE_MARKER_UFFD_WP) !== 0) flags |= PM_UFFD_WP;
    return flags | (isGuardPte(pte) ? PM_SWAP | PM_GUARD_REGION : PM_SWAP);
  }
  const page = vmNormalPage(pte);
  if (page !== 0) {
    if (!folioTestAnon(page)) flags |= PM_FILE;
    if (precisePageMapcount(page) === 1) flags |= PM_MMAP_EXCLUSIVE;
  }
  return flags | PM_PRESENT;
}
