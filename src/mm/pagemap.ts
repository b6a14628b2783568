/**
 * /proc/PID/pagemap (fs/proc/task_mmu.c: pagemap_read): what each page of an address space maps, 64 bits for each.
 *
 * Invariant: looking changes nothing.
 */
import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { pageMapcount } from '../memory/state.ts';
import { PTE_SOFT_DIRTY, PTE_TABLE, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { globals } from './globals.ts';
import { vmNormalPage } from './memory.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { isGuardPte, PTE_MARKER_UFFD_WP, pteLockptr, pteMarker, ptePfn, ptePresent, tablePage } from './pgtable.ts';
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
import { Globals, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_SOFTDIRTY } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';

/**
 * Fills an object with the entries of `pages` pages (at most PAGEMAP_BUFFER) from `start`; how many: fewer where user space ends. With `showPfn` 0, as for
 * readers without CAP_SYS_ADMIN, frames read as 0.
 */
export function* pagemapRead(mm: MmRef, start: Vpn, pages: number, showPfn: number, into: PagemapRef): Op<number> {
  const end = Math.min(start + Math.min(pages, PAGEMAP_BUFFER), get(mm, Mm.taskSize));
  set(into, Pagemap.start, start);
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
    yield* readTable(into, vma, get(mm, Mm.pgd), topLevel, from, to, showPfn);
    vma = get(vma, Vma.next);
  }
  yield* mmapReadUnlock(mm);
  return end - start;
}

function* readTable(into: PagemapRef, vma: VmaRef, table: Page, level: number, start: Vpn, end: Vpn, showPfn: number): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* readTable(into, vma, tablePage(entry), level - 1, vpn, next, showPfn);
      else yield* readPteRange(into, tablePage(entry), vpn, next, showPfn);
    }
    vpn = next;
  }
  return 0;
}

/** pagemap_pmd_range. */
function* readPteRange(into: PagemapRef, table: Page, start: Vpn, end: Vpn, showPfn: number): Op<number> {
  let ptep = entryAt(table, 0, start);
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    if (pte !== 0) {
      const at = vpn - get(into, Pagemap.start);
      if (showPfn !== 0) set(into, Pagemap.frames + at, ptePfn(pte));
      set(into, Pagemap.flags + at, get(into, Pagemap.flags + at) | entryFlags(pte));
    }
    ptep += entryStride(0);
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
    if (pageMapcount[page] === 1) flags |= PM_MMAP_EXCLUSIVE;
  }
  return flags | PM_PRESENT;
}
