/**
 * Which free block serves a request of a migratetype when none of its own is left (mm/page_alloc.c: __rmqueue, __rmqueue_claim,
 * __rmqueue_steal): first whole pageblocks change their type, so that kinds stay apart; only then single pages are mixed in.
 */
import { ALLOC_CMA, ALLOC_NOFRAGMENT } from './alloc-flags.ts';
import { account, addToFreeList, expand, listOf, removeFromFreeList, setTypeOfRange, settle, takeBlock, takeSmallest, topUp } from './free-lists.ts';
import { MIGRATE_CMA, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE } from './gfp.ts';
import { PG_BUDDY, PG_LRU } from './page-flags.ts';
import { heap, knownPageOfPfn, pageFlags, pageOrder, pfnOfPage, setSlot } from './state.ts';
import { updateRoom } from './watermark.ts';
import { basePfn, Memory, memory, setBlockType, WMARK_HIGH, Zone, type ZoneRef, zoneOfFrame } from './zone.ts';

/** Types to take from, best first. */
const FALLBACKS = [
  [MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE],
  [MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE],
  [MIGRATE_UNMOVABLE, MIGRATE_MOVABLE],
];

/** __rmqueue: a block for a request of a type, from wherever the flags allow; 0 when there is none. */
export function takeOfType(zone: ZoneRef, order: number, type: number, flags: number): number {
  const cma = (flags & ALLOC_CMA) !== 0 && heap[zone + Zone.cma] !== 0;
  // CMA and ordinary memory are used up evenly.
  if (cma && heap[memory() + Memory.cmaLast] === 0 && heap[zone + Zone.freeCma] > heap[zone + Zone.free] / 2) {
    const page = takeSmallest(zone, order, MIGRATE_CMA);
    if (page !== 0) return page;
  }
  let page = takeSmallest(zone, order, type);
  if (page === 0 && cma) page = takeSmallest(zone, order, MIGRATE_CMA);
  if (page === 0) page = claim(zone, order, type, flags);
  if (page === 0 && (flags & ALLOC_NOFRAGMENT) === 0) page = steal(zone, order, type);
  return page;
}

/** find_suitable_fallback: the type that a block of an order can be had from, −1 none. */
function fallbackAt(zone: ZoneRef, order: number, type: number): number {
  if (heap[zone + Zone.nrFree + order] === 0) return -1;
  for (const other of FALLBACKS[type]) if (heap[listOf(zone, order, other)] !== 0) return other;
  return -1;
}

/** should_try_claim_block: movable pages may lie among others for a while, they can be moved away; others may not lie among movable ones. */
const mayClaim = (order: number, type: number, pageblockOrder: number): boolean => order >= pageblockOrder >> 1 || type !== MIGRATE_MOVABLE;

/** __rmqueue_claim: turns the pageblock of the largest free block of another type into one of the request's type. */
function claim(zone: ZoneRef, order: number, type: number, flags: number): number {
  const maxOrder = heap[memory() + Memory.maxOrder];
  const pageblockOrder = heap[memory() + Memory.pageblockOrder];
  const least = (flags & ALLOC_NOFRAGMENT) !== 0 && order < pageblockOrder ? pageblockOrder : order;
  for (let o = maxOrder; o >= least; o--) {
    if (!mayClaim(o, type, pageblockOrder)) break;
    if (heap[listOf(zone, o, MIGRATE_MOVABLE)] === 0) topUp(zone, o, MIGRATE_MOVABLE);
    const other = fallbackAt(zone, o, type);
    if (other < 0) continue;
    const page = claimBlock(zone, heap[listOf(zone, o, other)], o, order, type, other);
    if (page !== 0) return page;
  }
  return 0;
}

/** try_to_claim_block. */
function claimBlock(zone: ZoneRef, page: number, have: number, order: number, type: number, other: number): number {
  const pageblockOrder = heap[memory() + Memory.pageblockOrder];
  const frame = pfnOfPage(page) - basePfn;
  if (have >= pageblockOrder) {
    removeFromFreeList(zone, page, have, other);
    account(zone, other, -(2 ** have));
    setTypeOfRange(frame, have, type);
    account(zone, type, 2 ** have - 2 ** order);
    expand(zone, frame, have, order, type);
    return page;
  }
  boostWatermark(zone);
  const start = (frame >> pageblockOrder) << pageblockOrder;
  const pages = 2 ** pageblockOrder;
  if (!wholeBlock(zone, start, pages)) return 0;
  settle(zone, start, start + pages);
  const { free, movable } = countBlock(start, pages);
  let alike = movable;
  if (type !== MIGRATE_MOVABLE) alike = other === MIGRATE_MOVABLE ? pages - free - movable : 0;
  if (free + alike < pages / 2) return 0;
  moveFreePages(zone, start, other, type);
  return takeSmallest(zone, order, type);
}

/** Free and movable pages of a pageblock. */
function countBlock(start: number, pages: number): { free: number; movable: number } {
  let free = 0;
  let movable = 0;
  for (let frame = start; frame < start + pages; ) {
    const page = knownPageOfPfn(basePfn + frame);
    const flags = page === 0 ? 0 : pageFlags[page];
    const size = page === 0 ? 1 : 2 ** pageOrder[page];
    if ((flags & PG_BUDDY) !== 0) free += size;
    else if ((flags & PG_LRU) !== 0) movable += size;
    frame += (flags & (PG_BUDDY | PG_LRU)) === 0 ? 1 : size;
  }
  return { free, movable };
}

/** move_freepages_block: the free blocks of a pageblock go to the lists of another type, which becomes the pageblock's. Pages moved. */
export function moveFreePages(zone: ZoneRef, start: number, from: number, to: number): number {
  const pages = 2 ** heap[memory() + Memory.pageblockOrder];
  let moved = 0;
  for (let frame = start; frame < start + pages; ) {
    const page = knownPageOfPfn(basePfn + frame);
    if (page === 0 || (pageFlags[page] & PG_BUDDY) === 0 || zoneOfFrame(frame) !== zone) {
      frame++;
      continue;
    }
    const order = pageOrder[page];
    removeFromFreeList(zone, page, order, from);
    addToFreeList(zone, page, order, to);
    frame += 2 ** order;
    moved += 2 ** order;
  }
  account(zone, from, -moved);
  account(zone, to, moved);
  setBlockType(start, to);
  return moved;
}

/** Brings all of a frame's pageblock to the lists and makes its free pages of another type; false at the edge of a zone. */
export function retypePageblock(zone: ZoneRef, frame: number, from: number, to: number): boolean {
  const shift = heap[memory() + Memory.pageblockOrder];
  const start = (frame >> shift) << shift;
  if (!wholeBlock(zone, start, 2 ** shift)) return false;
  settle(zone, start, start + 2 ** shift);
  moveFreePages(zone, start, from, to);
  return true;
}

/** A pageblock that is not all in the zone keeps its type (prep_move_freepages_block). */
function wholeBlock(zone: ZoneRef, start: number, pages: number): boolean {
  const from = heap[zone + Zone.startPfn] - basePfn;
  return start >= from && start + pages <= from + heap[zone + Zone.spanned];
}

/** __rmqueue_steal: a single block of another type, the smallest that is large enough; its pageblock keeps its type. */
function steal(zone: ZoneRef, order: number, type: number): number {
  const maxOrder = heap[memory() + Memory.maxOrder];
  for (let attempt = 0; attempt < 2; attempt++) {
    for (let o = order; o <= maxOrder; o++) {
      const other = fallbackAt(zone, o, type);
      if (other >= 0) return takeBlock(zone, heap[listOf(zone, o, other)], o, order, other);
    }
    if (!topUp(zone, order, MIGRATE_MOVABLE)) return 0;
  }
  return 0;
}

/** boost_watermark: more is kept free for a while, so that kinds of pages mix less. */
function boostWatermark(zone: ZoneRef): void {
  const root = memory();
  const factor = heap[root + Memory.watermarkBoostFactor];
  if (factor === 0) return;
  const pageblock = 2 ** heap[root + Memory.pageblockOrder];
  // Small zones would be boosted all the time.
  if (pageblock * 4 > heap[zone + Zone.managed]) return;
  const most = Math.max(pageblock, Math.floor((heap[zone + Zone.watermark + WMARK_HIGH] * factor) / 10000));
  setSlot(zone + Zone.boost, Math.min(heap[zone + Zone.boost] + pageblock, most));
  updateRoom(zone);
}
