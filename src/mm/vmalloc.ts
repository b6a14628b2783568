/**
 * vmalloc() and vmap(): pages that need not follow each other in memory, mapped side by side in the kernel's space (mm/vmalloc.c).
 *
 * Invariants
 * - A range has an area (vmap-area.ts) and a vm_struct, which says what is mapped in it. Behind what is mapped one page stays empty, so that who runs over the end faults.
 * - What vfree() and vunmap() take away is unmapped at once and flushed later: pages of vfree() may be somebody else's by then, since nobody uses addresses that he has
 *   given back. So a CPU may still translate them (`lazyVmap`); it does not when the address is given out anew.
 */
import { pageSizes } from '../arch/linux/page-sizes.ts';
import { codec, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { allocPage, freePage, get, kfree, kmalloc, refAdd, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { __GFP_NOWARN, GFP_KERNEL } from '../memory/gfp.ts';
import { pageOfPfn, pfnOfPage, setPageRefcount } from '../memory/state.ts';
import { EINVAL, ENOMEM, ENOSYS } from './errno.ts';
import { globals } from './globals.ts';
import { PageVector, type PageVectorRef } from './gup-types.ts';
import { makeInitMm } from './init-mm.ts';
import { FOR_VMAP, hasKernelLayout, leafAllowed, vmallocEnd, vmallocStart } from './kernel-layout.ts';
import { kernelPfn, PAGE_KERNEL, vmapRange, vunmapRangeNoflush } from './kernel-map.ts';
import { Globals, type Page, type Vpn } from './types.ts';
import { VM_ALLOC, VM_ALLOW_HUGE_VMAP, VM_IOREMAP, VM_MAP, VM_NO_GUARD, VM_PAGES, VmapArea, VmPages, VmStruct, type VmStructRef } from './vmalloc-types.ts';
import { allocVmapArea, findUnlinkVmapArea, freeVmapAreaNoflush, purgeVmapAreaLazy, vmallocInit } from './vmap-area.ts';

// --- areas ------------------------------------------------------------------------------------------------------------------

/** __get_vm_area_node: a range for so many pages and its guard, aligned to `align` pages; its vm_struct or −errno. */
function* getVmArea(pages: number, align: number, flags: number): Op<number> {
  if (!hasKernelLayout()) return -ENOSYS;
  const mm = yield* makeInitMm();
  if (mm < 0) return mm;
  const ready = yield* vmallocInit();
  if (ready !== 0) return ready;
  const vm = yield* kmalloc(VmStruct.$type);
  if (vm === 0) return -ENOMEM;
  const size = pages + ((flags & VM_NO_GUARD) !== 0 ? 0 : 1);
  const area = yield* allocVmapArea(size, align, vmallocStart(), vmallocEnd());
  if (area < 0) {
    yield* kfree(VmStruct.$type, vm);
    return area;
  }
  set(vm, VmStruct.addr, get(area, VmapArea.start));
  set(vm, VmStruct.size, size);
  set(vm, VmStruct.flags, flags);
  // setup_vmalloc_vm
  yield* spinLock(globals + Globals.vmapBusyLock);
  set(area, VmapArea.vm, vm);
  yield* spinUnlock(globals + Globals.vmapBusyLock);
  return vm;
}

/** remove_vm_area: nothing is mapped in the range that begins at a page; its vm_struct, which is the caller's now, or 0. */
function* removeVmArea(start: Vpn): Op<number> {
  const area = yield* findUnlinkVmapArea(start);
  if (area === 0) return 0;
  const vm = get(area, VmapArea.vm);
  yield* vunmapRangeNoflush(get(area, VmapArea.start), get(area, VmapArea.end));
  yield* freeVmapAreaNoflush(area);
  return vm;
}

// --- pages of an area -------------------------------------------------------------------------------------------------------

/** The i-th page of an area. */
export function vmPage(vm: VmStructRef, i: number): Page {
  let part = get(vm, VmStruct.pages);
  for (let skip = Math.floor(i / VM_PAGES); skip > 0; skip--) part = get(part, VmPages.next);
  return get(part, VmPages.pages + (i % VM_PAGES));
}

/** Puts a page behind those that an area has; 0 or −ENOMEM. */
export function* addVmPage(vm: VmStructRef, page: Page): Op<number> {
  const n = get(vm, VmStruct.nrPages);
  if (n % VM_PAGES === 0) {
    const part = yield* kmalloc(VmPages.$type);
    if (part === 0) return -ENOMEM;
    if (n === 0) set(vm, VmStruct.pages, part);
    else set(lastPart(vm), VmPages.next, part);
  }
  const last = lastPart(vm);
  set(last, VmPages.pages + get(last, VmPages.count), page);
  set(last, VmPages.count, get(last, VmPages.count) + 1);
  set(vm, VmStruct.nrPages, n + 1);
  return 0;
}

function lastPart(vm: VmStructRef): number {
  let part = get(vm, VmStruct.pages);
  while (get(part, VmPages.next) !== 0) part = get(part, VmPages.next);
  return part;
}

/** The end of a vm_struct; its pages too when they are its own. */
export function* freeVm(vm: VmStructRef): Op<number> {
  let part = get(vm, VmStruct.pages);
  while (part !== 0) {
    const next = get(part, VmPages.next);
    if ((get(vm, VmStruct.flags) & VM_ALLOC) !== 0)
      for (let i = 0; i < get(part, VmPages.count); i++) {
        const page = get(part, VmPages.pages + i);
        if ((yield* refAdd(page, -1)) === 0) yield* freePage(page, 0);
      }
    yield* kfree(VmPages.$type, part);
    part = next;
  }
  return yield* kfree(VmStruct.$type, vm);
}

/** Maps an area's pages: runs of frames that follow each other as one range, with leaves of at most 2^pageOrder pages (vmap_pages_range_noflush). 0 or −ENOMEM. */
function* mapVmPages(vm: VmStructRef, prot: number): Op<number> {
  const pages = get(vm, VmStruct.nrPages);
  const step = 2 ** get(vm, VmStruct.pageOrder);
  for (let i = 0; i < pages; i += step) {
    const vpn = get(vm, VmStruct.addr) + i;
    const error = yield* vmapRange(vpn, vpn + Math.min(step, pages - i), pfnOfPage(vmPage(vm, i)), prot, FOR_VMAP, step);
    if (error !== 0) return error;
  }
  return 0;
}

// --- vmalloc ----------------------------------------------------------------------------------------------------------------

/**
 * The order of the leaves that an allocation of so many pages gets with VM_ALLOW_HUGE_VMAP: PMD leaves from the size of one on (arch_vmap_pmd_supported), below that
 * the largest run of entries that fits (arch_vmap_pte_supported_shift). 0: pages.
 */
export function hugeVmapOrder(pages: number): number {
  if (leafAllowed(1, FOR_VMAP) && pages >= spanPages(1)) return Math.log2(spanPages(1));
  return runOrder(pages);
}

/** The largest run of entries of the lowest level that vmap knows and that has no more than so many pages, as an order; 0 for none. */
function runOrder(pages: number): number {
  let order = 0;
  for (const { shift, vmap } of pageSizes(codec.mode)) {
    const o = shift - codec.pageShift;
    if (vmap && o > 0 && o < Math.log2(spanPages(1)) && 2 ** o <= pages) order = o;
  }
  return order;
}

/** __vmalloc_node_range: so many pages, mapped; the first page of the range, −ENOMEM, −EBUSY (no room), −EINVAL for none, −ENOSYS. */
export function* vmallocRange(pages: number, flags: number, prot: number): Op<number> {
  if (pages <= 0) return -EINVAL;
  const order = (flags & VM_ALLOW_HUGE_VMAP) !== 0 ? hugeVmapOrder(pages) : 0;
  const result = yield* vmallocOrder(pages, flags, prot, order);
  // Smaller pages may be had where large ones were not.
  return result < 0 && order > 0 ? yield* vmallocOrder(pages, flags, prot, 0) : result;
}

function* vmallocOrder(pages: number, flags: number, prot: number, order: number): Op<number> {
  const size = Math.ceil(pages / 2 ** order) * 2 ** order;
  const vm = yield* getVmArea(size, 2 ** order, VM_ALLOC | flags);
  if (vm < 0) return vm;
  set(vm, VmStruct.pageOrder, order);
  let error = yield* allocVmPages(vm, size, order);
  if (error === 0) error = yield* mapVmPages(vm, prot);
  if (error === 0) return get(vm, VmStruct.addr);
  yield* vfree(get(vm, VmStruct.addr));
  return error;
}

/** vm_area_alloc_pages. Blocks are taken apart (split_page): each page has its own reference. */
function* allocVmPages(vm: VmStructRef, pages: number, order: number): Op<number> {
  for (let i = 0; i < pages; i += 2 ** order) {
    const block = yield* allocPage(order === 0 ? GFP_KERNEL : GFP_KERNEL | __GFP_NOWARN, order);
    if (block === 0) return -ENOMEM;
    for (let k = 1; k < 2 ** order; k++) setPageRefcount(pageOfPfn(pfnOfPage(block) + k), 1);
    for (let k = 0; k < 2 ** order; k++) {
      const error = yield* addVmPage(vm, pageOfPfn(pfnOfPage(block) + k));
      if (error !== 0) {
        // What the area has no room for is given back at once.
        for (let rest = k; rest < 2 ** order; rest++)
          if ((yield* refAdd(pageOfPfn(pfnOfPage(block) + rest), -1)) === 0) yield* freePage(pageOfPfn(pfnOfPage(block) + rest), 0);
        return error;
      }
    }
  }
  return 0;
}

/** vmalloc: pages of the mode's size. As vmallocRange(). */
export function* vmalloc(pages: number): Op<number> {
  return yield* vmallocRange(pages, 0, PAGE_KERNEL);
}

/** vmalloc_huge: with large leaves where they fit. */
export function* vmallocHuge(pages: number): Op<number> {
  return yield* vmallocRange(pages, VM_ALLOW_HUGE_VMAP, PAGE_KERNEL);
}

/** vfree: the range that begins at a page, and its pages. 0, or −EINVAL where none begins. */
export function* vfree(start: Vpn): Op<number> {
  const vm = yield* removeVmArea(start);
  return vm === 0 ? -EINVAL : yield* freeVm(vm);
}

// --- vmap -------------------------------------------------------------------------------------------------------------------

/** vmap: pages of somebody's, side by side; the first page of the range or −errno. The pages stay his, who keeps them as long as they are mapped. */
export function* vmap(vector: PageVectorRef, prot: number): Op<number> {
  const pages = get(vector, PageVector.count);
  if (pages === 0) return -EINVAL;
  const vm = yield* getVmArea(pages, 1, VM_MAP);
  if (vm < 0) return vm;
  let error = 0;
  for (let i = 0; i < pages && error === 0; i++) error = yield* addVmPage(vm, get(vector, PageVector.pages + i));
  if (error === 0) error = yield* mapVmPages(vm, prot);
  if (error === 0) return get(vm, VmStruct.addr);
  yield* vunmap(get(vm, VmStruct.addr));
  return error;
}

/** vmap of one page, for who has no vector. */
export function* vmapPage(page: Page, prot: number): Op<number> {
  const vm = yield* getVmArea(1, 1, VM_MAP);
  if (vm < 0) return vm;
  let error = yield* addVmPage(vm, page);
  if (error === 0) error = yield* mapVmPages(vm, prot);
  if (error === 0) return get(vm, VmStruct.addr);
  yield* vunmap(get(vm, VmStruct.addr));
  return error;
}

/** vunmap. 0 or −EINVAL. */
export function* vunmap(start: Vpn): Op<number> {
  return yield* vfree(start);
}

/** ioremap, generic_ioremap_prot: frames from `pfn` on, whatever is behind them, with the largest leaves that fit; aligned like those. The first page of the range or −errno. */
export function* ioremap(pfn: number, pages: number, prot: number): Op<number> {
  if (pages <= 0) return -EINVAL;
  const align = ioremapAlign(pages);
  const vm = yield* getVmArea(pages, align, VM_IOREMAP);
  if (vm < 0) return vm;
  set(vm, VmStruct.physAddr, pfn);
  const vpn = get(vm, VmStruct.addr);
  const error = yield* vmapRange(vpn, vpn + pages, pfn, prot, FOR_VMAP, 2 ** 40);
  if (error === 0) return vpn;
  yield* vunmap(vpn);
  return error;
}

/** Alignment of a range for devices: its size as a power of two, at most that of the largest leaf (IOREMAP_MAX_ORDER), in pages. */
function ioremapAlign(pages: number): number {
  let largest = 1;
  for (const { shift, vmap } of pageSizes(codec.mode)) if (vmap) largest = 2 ** (shift - codec.pageShift);
  return Math.min(largest, 2 ** Math.ceil(Math.log2(pages)));
}

/** iounmap. */
export function* iounmap(start: Vpn): Op<number> {
  return yield* vfree(start);
}

/** vmalloc_to_pfn: the frame behind a page of vmalloc space, whatever the size of its leaf; −1 for none. */
export function* vmallocToPfn(vpn: Vpn): Op<number> {
  return yield* kernelPfn(vpn);
}

/** vm_unmap_aliases: nothing that was unmapped is translated any longer. Pages that were waiting. */
export function* vmUnmapAliases(): Op<number> {
  return yield* purgeVmapAreaLazy();
}
