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
import { entryAt } from '../kernel/arch.ts';
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
import { copyFrame } from '../memory/state.ts';
import { ENOMEM, ENOTSUPP } from './errno.ts';
import { globals } from './globals.ts';
import { initMm } from './init-mm.ts';
import { kernelLeafLevel, loadedKernelPfn, PAGE_KERNEL, PAGE_KERNEL_RO } from './kernel-map.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { entryPointer, mkPte, pteLockptr, ptePage, tablePage } from './pgtable.ts';
import { splitLargePage } from './set-memory.ts';
import { Globals, type Page, type Vpn } from './types.ts';
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

/** The entry of the lowest level of a page of the array, 0 under a leaf. */
function* arrayPtep(vpn: Vpn): Op<number> {
  const pmdp = yield* entryPointer(initMm(), vpn, 1);
  return entryAt(tablePage(yield* entryGet(pmdp, 1)), 0, vpn);
}

function* setArrayPte(vpn: Vpn, page: Page, prot: number): Op<number> {
  const ptep = yield* arrayPtep(vpn);
  yield* spinLock(pteLockptr(ptep));
  yield* entrySet(ptep, 0, mkPte(page, prot));
  return yield* spinUnlock(pteLockptr(ptep));
}

/** vmemmap_split_pmd for a range: pages of the array are mapped one by one. 0 or −ENOMEM. */
function* splitArray(start: Vpn, end: Vpn): Op<number> {
  for (let vpn = start; vpn < end; vpn++)
    while ((yield* kernelLeafLevel(vpn)) > 0) {
      const error = yield* splitLargePage(vpn);
      if (error !== 0) return error;
    }
  return 0;
}

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
  let error = yield* splitArray(head, head + 1 + tails);
  for (let i = 1; i <= tails && error === 0; i++) error = yield* addVmPage(list, ptePage(yield* entryGet(yield* arrayPtep(head + i), 0)));
  if (error !== 0) return error;
  const reuse = ptePage(yield* entryGet(yield* arrayPtep(head), 0));
  for (let i = 1; i <= tails; i++) yield* setArrayPte(head + i, reuse, PAGE_KERNEL_RO);
  yield* flushTlbRange(initMm(), head, head + 1 + tails);
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
    yield* remapAlloc(vmemmapVpn(pfn), tails, list);
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

/** vmemmap_restore_pte, for all: each gets what the page that all share holds. */
function* remapAlloc(head: Vpn, tails: number, list: VmStructRef): Op<number> {
  const shared = ptePage(yield* entryGet(yield* arrayPtep(head), 0));
  for (let i = 0; i < tails; i++) {
    const page = vmPage(list, i);
    copyFrame(page, shared);
    yield* setFlags(page, PG_RESERVED);
    yield* setArrayPte(head + 1 + i, page, PAGE_KERNEL);
  }
  return yield* flushTlbRange(initMm(), head, head + 1 + tails);
}
