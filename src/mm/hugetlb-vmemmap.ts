/**
 * Huge pages without most of their struct pages (mm/hugetlb_vmemmap.c): the tail pages' part of the array is the same for all, so one page stands behind all of it.
 *
 * Invariants
 * - The first page of a huge page's part is its own and writable; the others lead to that page too, read-only: a write to a tail page's struct page would be seen in all.
 * - What is given back goes to the allocator after the flush. What cannot be had (a table for the split, pages to restore) is asked for before anything changes, so
 *   a failure leaves everything as it was.
 * - The mmap lock of init_mm for reading is enough: tables of the kernel stay, ranges of huge pages are apart. Several callers may be at work at once.
 * - Memory that holds its own array (memmap_on_memory) is not optimised: it must not go before what it describes.
 */
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  clearFlags,
  entryGet,
  entrySet,
  flushTlbRange,
  freePage,
  get,
  kmalloc,
  refAdd,
  set,
  setFlags,
  spinLock,
  spinUnlock,
} from '../kernel/ops.ts';
import { GFP_KERNEL } from '../memory/gfp.ts';
import { PG_RESERVED } from '../memory/page-flags.ts';
import { allocObject, copyFrame, freeObject } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { ENOMEM, ENOTSUPP } from './errno.ts';
import { globals } from './globals.ts';
import { VmemmapWalk, type VmemmapWalkRef } from './hugetlb-types.ts';
import { initMm } from './init-mm.ts';
import { loadedKernelPfn, PAGE_KERNEL, PAGE_KERNEL_RO } from './kernel-map.ts';
import { ACTION_AGAIN, MmWalk, type MmWalkRef, WALK_VMEMMAP } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRangeNovma } from './pagewalk.ts';
import { mkPte, pteLockptr, ptePage } from './pgtable.ts';
import { splitLargePage } from './set-memory.ts';
import { Globals, type Vpn } from './types.ts';
import { addVmPage, freeVm, vmPage } from './vmalloc.ts';
import { VM_ALLOC, VmStruct, type VmStructRef } from './vmalloc-types.ts';
import { framesPerVmemmapPage, vmemmapVpn } from './vmemmap.ts';

/** Pages of the array that a huge page of 2^order frames could do without (hugetlb_vmemmap_optimizable_size): all but the first. */
export function hugetlbVmemmapOptimizablePages(order: number): number {
  const pages = 2 ** order / framesPerVmemmapPage();
  return pages > 1 ? pages - 1 : 0;
}

/** Whether the array is there for a huge page (its head's frame), and larger than a page. */
const optimizable = (pfn: number, order: number): boolean => hugetlbVmemmapOptimizablePages(order) > 0 && pfn + 2 ** order <= get(globals, Globals.vmemmapEnd);

/** folio_test_hugetlb_vmemmap_optimized, as the tables say it. */
export const hugetlbVmemmapOptimized = (pfn: number, order: number): boolean =>
  optimizable(pfn, order) && loadedKernelPfn(vmemmapVpn(pfn) + 1) === loadedKernelPfn(vmemmapVpn(pfn));

/** A list of pages, in the shape of an area's. */
function* newList(): Op<number> {
  const list = yield* kmalloc(VmStruct.$type);
  if (list !== 0) set(list, VmStruct.flags, VM_ALLOC);
  return list;
}

// --- the walk over a huge page's part of the array ----------------------------------------------------------------------------

/** What a walk does with each page of the part but the first (VmemmapWalk.step): notes what stands there, lets it lead to the first, gives it one of its own. */
const STEP_COLLECT = 0;
const STEP_REMAP = 1;
const STEP_RESTORE = 2;

/** vmemmap_pmd_entry: pages of the array are mapped one by one. 0 or −ENOMEM. */
export function* vmemmapPmd(walk: MmWalkRef, entry: number, vpn: Vpn): Op<number> {
  if ((entry & PTE_TABLE) !== 0) return 0;
  // The walk goes on with the table that stands there then.
  set(walk, MmWalk.action, ACTION_AGAIN);
  return yield* splitLargePage(vpn);
}

/** vmemmap_pte_entry, with vmemmap_remap_pte and vmemmap_restore_pte. The page before all others is what these share. 0 or −ENOMEM. */
export function* vmemmapPte(arg: VmemmapWalkRef, ptep: number, vpn: Vpn): Op<number> {
  const list = get(arg, VmemmapWalk.list);
  const nth = vpn - get(arg, VmemmapWalk.first);
  if (nth === 0) {
    set(arg, VmemmapWalk.reuse, ptePage(yield* entryGet(ptep, 0)));
    return 0;
  }
  if (get(arg, VmemmapWalk.step) === STEP_COLLECT) return yield* addVmPage(list, ptePage(yield* entryGet(ptep, 0)));
  let page = get(arg, VmemmapWalk.reuse);
  let prot = PAGE_KERNEL_RO;
  if (get(arg, VmemmapWalk.step) === STEP_RESTORE) {
    page = vmPage(list, nth - 1);
    prot = PAGE_KERNEL;
    copyFrame(page, get(arg, VmemmapWalk.reuse));
    yield* setFlags(page, PG_RESERVED);
  }
  yield* spinLock(pteLockptr(ptep));
  yield* entrySet(ptep, 0, mkPte(page, prot));
  yield* spinUnlock(pteLockptr(ptep));
  return 0;
}

/** vmemmap_remap_range. init_mm is locked for reading. 0 or −ENOMEM, before anything has changed but leaves that were split. */
function* remapRange(head: Vpn, pages: number, step: number, list: VmStructRef): Op<number> {
  const arg = allocObject(VmemmapWalk.$type, VmemmapWalk.$size);
  set(arg, VmemmapWalk.step, step);
  set(arg, VmemmapWalk.first, head);
  set(arg, VmemmapWalk.list, list);
  const error = yield* walkPageRangeNovma(initMm(), head, head + pages, WALK_VMEMMAP, 0, arg);
  freeObject(arg, VmemmapWalk.$size);
  if (error === 0 && step !== STEP_COLLECT) yield* flushTlbRange(initMm(), head, head + pages);
  return error;
}

// --- giving back, getting back ------------------------------------------------------------------------------------------------

/** PageVmemmapSelfHosted: whether the array's part for a frame lies in the memory that it describes. */
export function vmemmapSelfHosted(pfn: number, order: number): boolean {
  const array = loadedKernelPfn(vmemmapVpn(pfn));
  return array >= pfn && array < pfn + 2 ** order;
}

/**
 * hugetlb_vmemmap_optimize_folio: gives back the pages behind the tail pages' part of the array, of the huge page of 2^order frames at `pfn`. How many; 0 where there is
 * nothing to give back, or it was done before; −ENOMEM, −ENOTSUPP for memory that holds its own array.
 */
export function* hugetlbVmemmapOptimizeFolio(pfn: number, order: number): Op<number> {
  if (!optimizable(pfn, order) || hugetlbVmemmapOptimized(pfn, order)) return 0;
  if (vmemmapSelfHosted(pfn, order)) return -ENOTSUPP;
  const list = yield* newList();
  if (list === 0) return -ENOMEM;
  yield* mmapReadLock(initMm());
  const freed = yield* remapFree(vmemmapVpn(pfn), hugetlbVmemmapOptimizablePages(order), list);
  yield* mmapReadUnlock(initMm());
  // free_vmemmap_page_list; nothing is in the list after an error but pages that are mapped.
  if (freed < 0) set(list, VmStruct.flags, 0);
  yield* freeVm(list);
  return freed;
}

/** vmemmap_remap_free. The list is filled with what goes before anything changes. */
function* remapFree(head: Vpn, tails: number, list: VmStructRef): Op<number> {
  const error = yield* remapRange(head, tails + 1, STEP_COLLECT, list);
  if (error !== 0) return error;
  yield* remapRange(head, tails + 1, STEP_REMAP, list);
  for (let i = 0; i < tails; i++) yield* clearFlags(vmPage(list, i), PG_RESERVED);
  return tails;
}

/** hugetlb_vmemmap_restore_folio: every page of the array's part is its own again. How many pages it took; 0 where nothing was given back; −ENOMEM, and nothing changes. */
export function* hugetlbVmemmapRestoreFolio(pfn: number, order: number): Op<number> {
  if (!hugetlbVmemmapOptimized(pfn, order)) return 0;
  const list = yield* newList();
  if (list === 0) return -ENOMEM;
  const tails = hugetlbVmemmapOptimizablePages(order);
  const error = yield* allocArrayPages(list, tails);
  if (error === 0) {
    yield* mmapReadLock(initMm());
    yield* remapRange(vmemmapVpn(pfn), tails + 1, STEP_RESTORE, list);
    yield* mmapReadUnlock(initMm());
    set(list, VmStruct.flags, 0);
  }
  yield* freeVm(list);
  return error === 0 ? tails : error;
}

/** alloc_vmemmap_page_list. */
function* allocArrayPages(list: VmStructRef, pages: number): Op<number> {
  for (let i = 0; i < pages; i++) {
    const page = yield* allocPage(GFP_KERNEL, 0);
    if (page === 0) return -ENOMEM;
    const error = yield* addVmPage(list, page);
    if (error !== 0) {
      if ((yield* refAdd(page, -1)) === 0) yield* freePage(page, 0);
      return error;
    }
  }
  return 0;
}
