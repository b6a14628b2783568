/**
 * Frames of pages larger than the allocator's blocks, and of their content (alloc_contig_pages and free_contig_range of mm/page_alloc.c,
 * folio_zero_user and copy_user_large_folio of mm/memory.c).
 *
 * A huge page is known by its head. Frames that were never touched are zero and take no memory; they stay so.
 */
import { allocContigRange, freeContigRange } from './cma.ts';
import { clearFrame, copyFrame, heap, knownPageOfPfn, pageOfPfn, pfnOfPage, setPageFlags, setPageIndex, setPageOrder, setPagePrivate } from './state.ts';
import { Memory, memory, Zone } from './zone.ts';

/** Whether a block of an order is more than the buddy allocator hands out. */
export const isContigOrder = (order: number): boolean => order > heap[memory() + Memory.maxOrder];

/** alloc_contig_pages: 2^order frames that follow each other and are aligned, as one compound page; its head, or 0. The highest zone comes first. `node`: of that one alone. */
export function allocContigPages(order: number, node = -1): number {
  const pages = 2 ** order;
  for (let i = heap[memory() + Memory.nrZones] - 1; i >= 0; i--) {
    const zone = heap[memory() + Memory.zones + i];
    if (node >= 0 && heap[zone + Zone.node] !== node) continue;
    const end = heap[zone + Zone.startPfn] + heap[zone + Zone.spanned];
    for (let pfn = Math.ceil(heap[zone + Zone.startPfn] / pages) * pages; pfn + pages <= end; pfn += pages)
      if (allocContigRange(pfn, pfn + pages, order) === 0) return pageOfPfn(pfn);
  }
  return 0;
}

/** Gives such a block back; nobody refers to it. */
export function freeContigPages(head: number, order: number): void {
  const pfn = pfnOfPage(head);
  setPageFlags(head, 0);
  setPageOrder(head, 0);
  setPageIndex(head, 0);
  setPagePrivate(head, 0);
  freeContigRange(pfn, pfn + 2 ** order);
}

/** Zeroes 2^order frames. */
export function clearFrames(head: number, order: number): void {
  const pfn = pfnOfPage(head);
  for (let i = 0; i < 2 ** order; i++) {
    const page = knownPageOfPfn(pfn + i);
    if (page !== 0) clearFrame(page);
  }
}

/** Copies 2^order frames. */
export function copyFrames(to: number, from: number, order: number): void {
  const source = pfnOfPage(from);
  const target = pfnOfPage(to);
  for (let i = 0; i < 2 ** order; i++) {
    const page = knownPageOfPfn(source + i);
    if (page !== 0) copyFrame(pageOfPfn(target + i), page);
    else {
      const old = knownPageOfPfn(target + i);
      if (old !== 0) clearFrame(old);
    }
  }
}
