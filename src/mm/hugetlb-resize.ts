/**
 * The sizes of pools of huge pages, as users set them (mm/hugetlb.c: set_max_huge_pages, adjust_pool_surplus, alloc_pool_huge_folio).
 *
 * Invariants: pages in use and promised ones stay in a pool that is made smaller: they are surplus from then on, counted for nodes that have so many pages. Surplus pages become
 * the pool's own before others are allocated.
 */
import type { Op } from '../kernel/op.ts';
import { add, get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PG_HUGETLB } from '../memory/page-flags.ts';
import { pageFlags, pageNext, pageOrder, pagesEnd, setPageNext } from '../memory/state.ts';
import { nodeCount, nodeOfPage } from '../memory/zone.ts';
import { allocFresh, countPage, enqueue, giveBackList, hugetlbLock, unlinkPoolPage } from './hugetlb-pool.ts';
import { Hstate, type HstateRef } from './hugetlb-types.ts';
import type { Page } from './types.ts';

// --- nodes --------------------------------------------------------------------------------------------------------------------

/** nr_huge_pages_node: pages of a size that are in the pool and of a node. */
export function hugePagesOfNode(h: HstateRef, node: number): number {
  let sum = 0;
  for (let page = 1; page < pagesEnd(); page++)
    if ((pageFlags[page] & PG_HUGETLB) !== 0 && pageOrder[page] === get(h, Hstate.order) && nodeOfPage(page) === node) sum++;
  return sum;
}

/** free_huge_pages_node. */
export function freeHugePagesOfNode(h: HstateRef, node: number): number {
  let sum = 0;
  for (let page = get(h, Hstate.free); page !== 0; page = pageNext[page]) if (nodeOfPage(page) === node) sum++;
  return sum;
}

/** surplus_huge_pages_node. */
export const surplusHugePagesOfNode = (h: HstateRef, node: number): number => get(h, Hstate.surplusOfNode + node);

/** adjust_pool_surplus: one page more or less (`by`) is surplus, of the next node that can say so, or of one alone. Whether there is one. */
function adjustSurplus(h: HstateRef, node: number, by: number): boolean {
  const nodes = nodeCount();
  for (let tries = 0; tries < nodes; tries++) {
    let at = node;
    if (node < 0) {
      const turn = by < 0 ? Hstate.nextToAlloc : Hstate.nextToFree;
      at = get(h, turn);
      set(h, turn, (at + 1) % nodes);
    } else if (tries > 0) return false;
    const surplus = get(h, Hstate.surplusOfNode + at);
    if (by < 0 ? surplus === 0 : nodes > 1 && surplus >= hugePagesOfNode(h, at)) continue;
    add(h, Hstate.surplus, by);
    add(h, Hstate.surplusOfNode + at, by);
    return true;
  }
  return false;
}

/** alloc_pool_huge_folio: one page more for the pool, of the next node that has one (`node` −1) or of one alone; 0 for none. */
function* allocPoolPage(h: HstateRef, node: number): Op<number> {
  const nodes = nodeCount();
  if (nodes === 1 || node >= 0) return yield* allocFresh(h, nodes === 1 ? -1 : node);
  for (let tries = 0; tries < nodes; tries++) {
    const next = get(h, Hstate.nextToAlloc);
    set(h, Hstate.nextToAlloc, (next + 1) % nodes);
    const page = yield* allocFresh(h, next);
    if (page !== 0) return page;
  }
  return 0;
}

// --- size ---------------------------------------------------------------------------------------------------------------------

/** set_max_huge_pages: what is written to nr_hugepages, for all nodes. As many pages as can be had; 0. */
export function* setMaxHugePages(h: HstateRef, wanted: number): Op<number> {
  return yield* resizePool(h, wanted, -1);
}

/** The same for one node, of which `wanted` pages shall be. */
export function* setMaxHugePagesNode(h: HstateRef, node: number, wanted: number): Op<number> {
  return yield* resizePool(h, wanted + persistent(h) - (hugePagesOfNode(h, node) - surplusHugePagesOfNode(h, node)), node);
}

/** persistent_huge_pages: without surplus ones; also max_huge_pages, between two changes of it. */
const persistent = (h: HstateRef): number => get(h, Hstate.nr) - get(h, Hstate.surplus);

function* resizePool(h: HstateRef, wanted: number, node: number): Op<number> {
  yield* spinLock(hugetlbLock());
  while (get(h, Hstate.surplus) > 0 && wanted > persistent(h)) if (!adjustSurplus(h, node, -1)) break;
  while (wanted > persistent(h)) {
    yield* spinUnlock(hugetlbLock());
    const page = yield* allocPoolPage(h, node);
    yield* spinLock(hugetlbLock());
    if (page === 0) break;
    countPage(h, page, 1, false);
    enqueue(h, page);
  }
  // Promised pages stay, and so do those in use.
  const least = Math.max(wanted, get(h, Hstate.resv) + get(h, Hstate.nr) - get(h, Hstate.freePages));
  let list: Page = 0;
  while (least < persistent(h)) {
    const page = unlinkPoolPage(h, node, false);
    if (page === 0) break;
    setPageNext(page, list);
    list = page;
  }
  yield* spinUnlock(hugetlbLock());
  yield* giveBackList(list);
  yield* spinLock(hugetlbLock());
  while (wanted < persistent(h)) if (!adjustSurplus(h, node, 1)) break;
  return yield* spinUnlock(hugetlbLock());
}

/** What is written to nr_overcommit_hugepages. */
export function* setOvercommitHugePages(h: HstateRef, pages: number): Op<number> {
  yield* spinLock(hugetlbLock());
  set(h, Hstate.overcommit, pages);
  return yield* spinUnlock(hugetlbLock());
}
