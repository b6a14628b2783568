/**
 * Pools of huge pages (mm/hugetlb.c: dequeue_hugetlb_folio_vma, alloc_hugetlb_folio, free_huge_folio, gather_surplus_pages).
 *
 * Invariants, under `Hugetlb.lock`: `freePages` of the `nr` pages are on the free list, with reference count 0; `resv` of the free ones are promised, never more
 * than there are; who has no reservation takes a page only while `freePages > resv`. A page that took a reservation carries
 * PG_HUGETLB_RESTORE_RESERVE until it is mapped or in a file for good; freed before that, it gives the reservation back. Surplus pages leave the
 * pool when they are freed.
 */
import type { Op } from '../kernel/op.ts';
import { add, allocPage, clearFlags, freePage, get, refAdd, set, setFlags, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { localNode } from '../kernel/pages.ts';
import { SW } from '../kernel/switches.ts';
import { compoundOrder, destroyCompound } from '../memory/folio.ts';
import { __GFP_COMP, GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import {
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_DIRTY,
  PG_HUGETLB,
  PG_HUGETLB_RESTORE_RESERVE,
  PG_HUGETLB_TEMPORARY,
  PG_REFERENCED,
  PG_UPTODATE,
} from '../memory/page-flags.ts';
import { pageFlags, pageNext, pageOrder, pagePrivate, pfnOfPage, setPageIndex, setPageMapping, setPageNext, setPagePrivate } from '../memory/state.ts';
import { MAX_ZONES, Memory, memory, nodeCount, nodeInFallback, nodeOfPage } from '../memory/zone.ts';
import { ENOMEM, ENOSPC } from './errno.ts';
import { globals } from './globals.ts';
import { hstateVma, inodeOfVma, vmaCommitReservation, vmaEndReservation, vmaNeedsReservation } from './hugetlb-resv.ts';
import { inodeSubpool, subpoolGetPages, subpoolPutPages, subpoolUnuse } from './hugetlb-subpool.ts';
import { Hstate, type HstateRef, Hugetlb, type HugetlbRef } from './hugetlb-types.ts';
import { hugetlbVmemmapOptimizeFolio, hugetlbVmemmapRestoreFolio } from './hugetlb-vmemmap.ts';
import { Globals, type Page, type VmaRef, type Vpn } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { HTLB_BUDDY_PGALLOC, HTLB_BUDDY_PGALLOC_FAIL } from './vm-event-types.ts';

export const hugetlb = (): HugetlbRef => get(globals, Globals.hugetlb);
/** hugetlb_lock. */
export const hugetlbLock = (): number => hugetlb() + Hugetlb.lock;
export const hstateAt = (index: number): HstateRef => get(hugetlb(), Hugetlb.hstates + index);
/** hstate_index. */
export function hstateIndex(h: HstateRef): number {
  let index = 0;
  while (hstateAt(index) !== h) index++;
  return index;
}
export const defaultHstate = (): HstateRef => (get(hugetlb(), Hugetlb.count) === 0 ? 0 : hstateAt(get(hugetlb(), Hugetlb.default)));

/** hstate_sizelog: the pool of a size given by its logarithm in bytes, the default's for 0; 0 where there is no such size. */
export function hstateOfOrder(order: number): HstateRef {
  for (let i = 0; i < get(hugetlb(), Hugetlb.count); i++) if (get(hstateAt(i), Hstate.order) === order) return hstateAt(i);
  return 0;
}

/** folio_hstate. */
export const folioHstate = (page: Page): HstateRef => hstateOfOrder(pageOrder[page]);

// --- free list --------------------------------------------------------------------------------------------------------------

/** enqueue_hugetlb_folio: a page without references goes to the free list. */
export function enqueue(h: HstateRef, page: Page): void {
  setPageNext(page, get(h, Hstate.free));
  set(h, Hstate.free, page);
  add(h, Hstate.freePages, 1);
}

/** A page off the free list, which is not empty. */
function unlinkFree(h: HstateRef): Page {
  const page = get(h, Hstate.free);
  set(h, Hstate.free, pageNext[page]);
  setPageNext(page, 0);
  add(h, Hstate.freePages, -1);
  return page;
}

/** A certain free page off the free list. */
export function unlinkPage(h: HstateRef, page: Page): void {
  let before = 0;
  for (let at = get(h, Hstate.free); at !== page; at = pageNext[at]) before = at;
  if (before === 0) set(h, Hstate.free, pageNext[page]);
  else setPageNext(before, pageNext[page]);
  setPageNext(page, 0);
  add(h, Hstate.freePages, -1);
}

/** A free page of a node off the free list, 0 when there is none. */
function unlinkFreeOf(h: HstateRef, node: number): Page {
  let page = get(h, Hstate.free);
  while (page !== 0 && nodeOfPage(page) !== node) page = pageNext[page];
  if (page !== 0) unlinkPage(h, page);
  return page;
}

/** dequeue_hugetlb_folio_nodemask: a free page of the nearest node that has one; there is one. */
function unlinkNearest(h: HstateRef): Page {
  if (nodeCount() === 1) return unlinkFree(h);
  for (let i = 0; i < MAX_ZONES; i++) {
    const node = nodeInFallback(localNode(), i);
    if (node < 0) break;
    const page = unlinkFreeOf(h, node);
    if (page !== 0) return page;
  }
  return unlinkFree(h);
}

/**
 * remove_pool_hugetlb_folio: a free page of the next node that has one, or of one node alone; with `surplus` of a node of which the pool has surplus pages. 0 for
 * none. It counts as gone from the pool.
 */
export function unlinkPoolPage(h: HstateRef, node: number, surplus: boolean): Page {
  if (get(h, Hstate.freePages) === 0) return 0;
  const nodes = nodeCount();
  let page = 0;
  if (nodes === 1) page = unlinkFree(h);
  else if (node >= 0) page = surplus && get(h, Hstate.surplusOfNode + node) === 0 ? 0 : unlinkFreeOf(h, node);
  else
    for (let tries = 0; tries < nodes && page === 0; tries++) {
      const next = get(h, Hstate.nextToFree);
      set(h, Hstate.nextToFree, (next + 1) % nodes);
      if (!surplus || get(h, Hstate.surplusOfNode + next) > 0) page = unlinkFreeOf(h, next);
    }
  if (page !== 0) countPage(h, page, -1, surplus);
  return page;
}

/** Counts a page that joins the pool or leaves it (`by` 1, −1), as a surplus one or not. */
export function countPage(h: HstateRef, page: Page, by: number, surplus: boolean): void {
  add(h, Hstate.nr, by);
  if (!surplus) return;
  add(h, Hstate.surplus, by);
  add(h, Hstate.surplusOfNode + nodeOfPage(page), by);
}

/** dequeue_hugetlb_folio_vma: a page with one reference, 0 when none is free, or none that is not promised (`unreserved`). Needs hugetlb_lock. */
export function* dequeue(h: HstateRef, unreserved: boolean): Op<number> {
  if (get(h, Hstate.freePages) === 0) return 0;
  // available_huge_pages counts without signs: where more are promised than are free, which should not be, it finds plenty.
  if (unreserved && get(h, Hstate.freePages) === get(h, Hstate.resv)) return 0;
  const page = unlinkNearest(h);
  yield* refAdd(page, 1);
  return page;
}

// --- pages of the buddy allocator ---------------------------------------------------------------------------------------------

/** alloc_fresh_hugetlb_folio: a page that is in no pool yet, with reference count 0; 0 without memory. `node`: of that one alone, −1 of any. */
export function* allocFresh(h: HstateRef, node: number): Op<number> {
  const gfp = GFP_HIGHUSER_MOVABLE | __GFP_COMP;
  const page = node < 0 ? yield* allocPage(gfp, get(h, Hstate.order)) : yield* allocPage(gfp, get(h, Hstate.order), node);
  // Pages that the buddy allocator has none of (alloc_gigantic_folio) are no event.
  if (get(h, Hstate.order) <= get(memory(), Memory.maxOrder)) countVmEvent(page === 0 ? HTLB_BUDDY_PGALLOC_FAIL : HTLB_BUDDY_PGALLOC);
  if (page === 0) return 0;
  yield* setFlags(page, PG_HUGETLB);
  yield* refAdd(page, -1);
  // A page that keeps all of its struct pages is as good.
  if (get(hugetlb(), Hugetlb.optimizeVmemmap) !== 0) yield* hugetlbVmemmapOptimizeFolio(pfnOfPage(page), get(h, Hstate.order));
  return page;
}

/**
 * update_and_free_hugetlb_folio: a page that left its pool goes back to where pages come from. One whose struct pages were given back needs them again first; if there is no
 * memory for these, it stays, free and surplus.
 */
export function* giveBack(page: Page): Op<number> {
  if ((yield* hugetlbVmemmapRestoreFolio(pfnOfPage(page), pageOrder[page])) < 0) {
    const h = folioHstate(page);
    yield* spinLock(hugetlbLock());
    countPage(h, page, 1, true);
    enqueue(h, page);
    return yield* spinUnlock(hugetlbLock());
  }
  return yield* freeWhole(page);
}

/** update_and_free_pages_bulk: a list of such pages. */
export function* giveBackList(list: Page): Op<number> {
  let page = list;
  while (page !== 0) {
    const next = pageNext[page];
    setPageNext(page, 0);
    yield* giveBack(page);
    page = next;
  }
  return 0;
}

/** __update_and_free_hugetlb_folio: a page that has all of its struct pages. */
export function* freeWhole(page: Page): Op<number> {
  yield* clearFlags(page, PG_HUGETLB | PG_HUGETLB_TEMPORARY | PG_HUGETLB_RESTORE_RESERVE | PG_ANON | PG_UPTODATE | PG_DIRTY | PG_REFERENCED);
  const order = compoundOrder(page);
  destroyCompound(page);
  return yield* freePage(page, order);
}

/** alloc_surplus_hugetlb_folio: one more page than the pool has, where overcommit allows; reference count 0, counted. 0 for none. */
function* allocSurplus(h: HstateRef): Op<number> {
  yield* spinLock(hugetlbLock());
  const allowed = get(h, Hstate.surplus) < get(h, Hstate.overcommit);
  yield* spinUnlock(hugetlbLock());
  if (!allowed) return 0;
  const page = yield* allocFresh(h, -1);
  if (page === 0) return 0;
  yield* spinLock(hugetlbLock());
  // The limit may have been reached meanwhile.
  if (get(h, Hstate.surplus) >= get(h, Hstate.overcommit)) {
    yield* spinUnlock(hugetlbLock());
    yield* giveBack(page);
    return 0;
  }
  countPage(h, page, 1, true);
  yield* spinUnlock(hugetlbLock());
  return page;
}

// --- reservations -----------------------------------------------------------------------------------------------------------

/** gather_surplus_pages: promises `delta` pages, with surplus ones where too few are free. 0 or −ENOMEM. Needs hugetlb_lock, which it drops meanwhile. */
function* gatherSurplus(h: HstateRef, delta: number): Op<number> {
  let needed = get(h, Hstate.resv) + delta - get(h, Hstate.freePages);
  let list = 0;
  let allocated = 0;
  let failed = 0;
  while (needed > 0 && failed === 0) {
    yield* spinUnlock(hugetlbLock());
    for (let i = 0; i < needed && failed === 0; i++) {
      const page = yield* allocSurplus(h);
      if (page === 0) failed = 1;
      else {
        setPageNext(page, list);
        list = page;
        allocated++;
      }
    }
    yield* spinLock(hugetlbLock());
    // Others have come and gone.
    needed = get(h, Hstate.resv) + delta - (get(h, Hstate.freePages) + allocated);
  }
  const enough = needed <= 0;
  let keep = 0;
  if (enough) {
    keep = needed + allocated;
    add(h, Hstate.resv, delta);
  }
  while (list !== 0 && keep > 0) {
    const page = list;
    list = pageNext[page];
    enqueue(h, page);
    keep--;
  }
  // What is not needed after all.
  while (list !== 0) {
    const page = list;
    list = pageNext[page];
    setPageNext(page, 0);
    countPage(h, page, -1, true);
    yield* spinUnlock(hugetlbLock());
    yield* giveBack(page);
    yield* spinLock(hugetlbLock());
  }
  return enough ? 0 : -ENOMEM;
}

/** return_unused_surplus_pages: `unused` promises end, and as many surplus pages go as are free. Needs hugetlb_lock, which it drops meanwhile. */
function* returnUnusedSurplus(h: HstateRef, unused: number): Op<number> {
  let left = Math.min(unused, get(h, Hstate.surplus));
  let list = 0;
  for (; left > 0; left--) {
    const page = unlinkPoolPage(h, -1, true);
    if (page === 0) break;
    setPageNext(page, list);
    list = page;
  }
  add(h, Hstate.resv, -unused);
  yield* spinUnlock(hugetlbLock());
  yield* giveBackList(list);
  return yield* spinLock(hugetlbLock());
}

/** hugetlb_acct_memory: promises `delta` pages, or takes promises back. 0 or −ENOMEM. */
export function* hugetlbAcctMemory(h: HstateRef, delta: number): Op<number> {
  if (delta === 0) return 0;
  let error = 0;
  yield* spinLock(hugetlbLock());
  if (delta > 0) {
    error = yield* gatherSurplus(h, delta);
    // allowed_mems_nr, for cpusets; on one that may use all nodes it tells only promises that have become fewer than none.
    if (error === 0 && delta > get(h, Hstate.freePages)) {
      yield* returnUnusedSurplus(h, delta);
      error = -ENOMEM;
    }
  } else yield* returnUnusedSurplus(h, -delta);
  yield* spinUnlock(hugetlbLock());
  return error;
}

// --- a page for a VMA -------------------------------------------------------------------------------------------------------

/**
 * alloc_hugetlb_folio: a page for a place of a VMA, with one reference: out of the VMA's reservation where it has one, else a free one that is promised to
 * nobody, else a surplus one. `fromOwner`: a copy of a page for which the reservation was used already. −ENOMEM, or −ENOSPC when the pool is empty.
 */
export function* allocHugetlbFolio(vma: VmaRef, vpn: Vpn, fromOwner: number): Op<number> {
  const h = hstateVma(vma);
  const spool = inodeSubpool(inodeOfVma(vma));
  let needed = 1;
  if (fromOwner === 0) {
    needed = yield* vmaNeedsReservation(h, vma, vpn);
    if (needed < 0) return -ENOMEM;
  }
  let unreserved = 0;
  if (needed !== 0) {
    unreserved = yield* subpoolGetPages(spool, 1);
    if (unreserved < 0) {
      if (fromOwner === 0) yield* vmaEndReservation(vma);
      return -ENOSPC;
    }
  }
  yield* spinLock(hugetlbLock());
  let page = yield* dequeue(h, unreserved !== 0);
  if (page === 0) {
    yield* spinUnlock(hugetlbLock());
    page = yield* allocSurplus(h);
    if (page === 0) {
      if (needed !== 0 && unreserved === 0) yield* hugetlbAcctMemory(h, -(yield* subpoolPutPages(spool, 1)));
      else if (needed !== 0 && switched(SW.hugetlbSubpoolUnused)) yield* subpoolUnuse(spool, 1);
      if (fromOwner === 0) yield* vmaEndReservation(vma);
      return -ENOSPC;
    }
    yield* refAdd(page, 1);
    yield* spinLock(hugetlbLock());
  }
  if (unreserved === 0) {
    yield* setFlags(page, PG_HUGETLB_RESTORE_RESERVE);
    add(h, Hstate.resv, -1);
  }
  yield* spinUnlock(hugetlbLock());
  setPagePrivate(page, spool);
  if (fromOwner === 0) {
    const committed = yield* vmaCommitReservation(h, vma, vpn);
    // Somebody reserved the page of the file in between: it was promised twice.
    if (needed === 1 && committed === 0) yield* hugetlbAcctMemory(h, -(yield* subpoolPutPages(spool, 1)));
  }
  return page;
}

/** free_huge_folio: the last reference is gone. */
export function* freeHugeFolio(page: Page): Op<number> {
  const h = folioHstate(page);
  const spool = pagePrivate[page];
  setPagePrivate(page, 0);
  setPageMapping(page, 0);
  setPageIndex(page, 0);
  const flags = yield* clearFlags(page, PG_ANON | PG_ANON_EXCLUSIVE | PG_HUGETLB_RESTORE_RESERVE | PG_UPTODATE | PG_DIRTY | PG_REFERENCED);
  let restore = (flags & PG_HUGETLB_RESTORE_RESERVE) !== 0;
  // A file system below its minimum keeps the page promised to itself.
  if (!restore && (yield* subpoolPutPages(spool, 1)) === 0) restore = true;
  yield* spinLock(hugetlbLock());
  if (restore) add(h, Hstate.resv, 1);
  const temporary = (pageFlags[page] & PG_HUGETLB_TEMPORARY) !== 0;
  // It may have been promised again just now.
  const kept = switched(SW.hugetlbSurplusKept) && get(h, Hstate.resv) > get(h, Hstate.freePages);
  const surplus = !temporary && !kept && get(h, Hstate.surplusOfNode + nodeOfPage(page)) > 0;
  if (surplus || temporary) {
    countPage(h, page, -1, surplus);
    yield* spinUnlock(hugetlbLock());
    return yield* giveBack(page);
  }
  enqueue(h, page);
  return yield* spinUnlock(hugetlbLock());
}
