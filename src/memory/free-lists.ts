/**
 * Lists of free blocks of a zone, and its untouched memory (mm/page_alloc.c: __free_one_page, expand, free lists).
 *
 * Invariants: a free block is linked through `pageNext` / `pagePrev` of its first page, which has PG_BUDDY and its order; the first block's
 * `prev` is the last one. Two free buddies of mergeable types never stand side by side. What is cut off a frontier has the type of its
 * pageblock, which may have changed since another part of it was touched.
 */
import { MIGRATE_CMA, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE, MIGRATE_MOVABLE, MIGRATE_PCPTYPES, MIGRATE_TYPES } from './gfp.ts';
import { PG_BUDDY } from './page-flags.ts';
import {
  heap,
  knownPageOfPfn,
  pageFlags,
  pageNext,
  pageOfPfn,
  pageOrder,
  pagePrev,
  pfnOfPage,
  setPageFlags,
  setPageNext,
  setPageOrder,
  setPagePrev,
  setSlot,
} from './state.ts';
import { basePfn, blockType, describeBlock, Memory, MemoryRange, memory, setBlockType, Zone, type ZoneRef, zoneOfFrame } from './zone.ts';

/** Heap slot of the first block of a list. */
export const listOf = (zone: ZoneRef, order: number, type: number): number => zone + Zone.lists + order * MIGRATE_TYPES + type;

/** Links a block at the head or the tail of a list. */
export function link(head: number, page: number, atTail: boolean): void {
  const first = heap[head];
  if (first === 0) {
    setPagePrev(page, page);
    setPageNext(page, 0);
    setSlot(head, page);
    return;
  }
  const last = pagePrev[first];
  setPagePrev(first, page);
  setPagePrev(page, last);
  if (atTail) {
    setPageNext(last, page);
    setPageNext(page, 0);
    setPagePrev(first, page);
  } else {
    setPageNext(page, first);
    setSlot(head, page);
  }
}

export function unlink(head: number, page: number): void {
  const first = heap[head];
  const next = pageNext[page];
  const prev = pagePrev[page];
  if (page === first) {
    setSlot(head, next);
    if (next !== 0) setPagePrev(next, prev);
  } else {
    setPageNext(prev, next);
    setPagePrev(next === 0 ? first : next, prev);
  }
  if (next !== 0) setPageNext(page, 0);
  setPagePrev(page, 0);
}

/** Free pages of a type go into or out of the zone's counts, isolated ones excepted. */
export function account(zone: ZoneRef, type: number, pages: number): void {
  if (type === MIGRATE_ISOLATE) return;
  setSlot(zone + Zone.free, heap[zone + Zone.free] + pages);
  if (type === MIGRATE_CMA) setSlot(zone + Zone.freeCma, heap[zone + Zone.freeCma] + pages);
  else if (type === MIGRATE_HIGHATOMIC) setSlot(zone + Zone.freeHighatomic, heap[zone + Zone.freeHighatomic] + pages);
  else setSlot(zone + Zone.room, heap[zone + Zone.room] + pages);
}

export function addToFreeList(zone: ZoneRef, page: number, order: number, type: number, atTail = false): void {
  setPageFlags(page, pageFlags[page] | PG_BUDDY);
  if (order !== 0) setPageOrder(page, order);
  link(listOf(zone, order, type), page, atTail);
  setSlot(zone + Zone.nrFree + order, heap[zone + Zone.nrFree + order] + 1);
}

export function removeFromFreeList(zone: ZoneRef, page: number, order: number, type: number): void {
  unlink(listOf(zone, order, type), page);
  setPageFlags(page, pageFlags[page] & ~PG_BUDDY);
  if (order !== 0) setPageOrder(page, 0);
  setSlot(zone + Zone.nrFree + order, heap[zone + Zone.nrFree + order] - 1);
}

/** expand: gives back the upper halves until a block of `order` remains. */
export function expand(zone: ZoneRef, frame: number, from: number, order: number, type: number): void {
  const base = basePfn;
  for (let o = from - 1; o >= order; o--) addToFreeList(zone, pageOfPfn(base + frame + (1 << o)), o, type);
}

/** Order of the block that a frontier starts with: the largest that is aligned and fits. */
export function frontierOrder(frame: number, pages: number, maxOrder: number): number {
  let order = Math.min(maxOrder, 31 - Math.clz32(pages));
  if (frame !== 0) order = Math.min(order, 31 - Math.clz32(frame & -frame));
  return order;
}

/** Cuts blocks off a zone's frontier until one of at least `order` has come to the lists; false when there is none. */
export function topUp(zone: ZoneRef, order: number, type: number): boolean {
  const head = zone + (type === MIGRATE_CMA ? Zone.cmaFrontier : Zone.frontier);
  for (;;) {
    const range = heap[head];
    if (range === 0) return false;
    const page = cutBlock(zone, range, head);
    if (pageOrder[page] >= order && blockType(pfnOfPage(page) - basePfn) === type) return true;
  }
}

/** Cuts the first block off a range's frontier and puts it on the list of its pageblock's type; the page of the block that it becomes part of.
 * `link` is the slot that refers to the range. */
export function cutBlock(zone: ZoneRef, range: number, link: number): number {
  const root = memory();
  const cursor = heap[range + MemoryRange.cursor];
  const end = heap[range + MemoryRange.end];
  const frame = cursor - basePfn;
  const order = frontierOrder(frame, end - cursor, heap[root + Memory.maxOrder]);
  const next = cursor + 2 ** order;
  setSlot(range + MemoryRange.cursor, next);
  if (next === end) setSlot(link, heap[range + MemoryRange.next]);
  const pageblock = 2 ** heap[root + Memory.pageblockOrder];
  for (let f = frame; f < frame + 2 ** order; f += pageblock) describeBlock(f, zone, heap[range + MemoryRange.type]);
  const type = blockType(frame);
  // Only the count of the whole zone knew these pages until now, and that of CMA.
  if (type === MIGRATE_HIGHATOMIC) {
    setSlot(zone + Zone.freeHighatomic, heap[zone + Zone.freeHighatomic] + 2 ** order);
    setSlot(zone + Zone.room, heap[zone + Zone.room] - 2 ** order);
  }
  return insertBlock(zone, frame, order, type, true);
}

/** Largest order of a block that a frontier can give, −1 none. */
export function frontierLargest(zone: ZoneRef, type: number): number {
  const maxOrder = heap[memory() + Memory.maxOrder];
  let range = heap[zone + (type === MIGRATE_CMA ? Zone.cmaFrontier : Zone.frontier)];
  let largest = -1;
  for (; range !== 0 && largest < maxOrder; range = heap[range + MemoryRange.next]) {
    const from = heap[range + MemoryRange.cursor] - basePfn;
    const to = heap[range + MemoryRange.end] - basePfn;
    for (let order = maxOrder; order > largest; order--) if (Math.ceil(from / 2 ** order) * 2 ** order + 2 ** order <= to) largest = order;
  }
  return largest;
}

// --- freeing ----------------------------------------------------------------------------------------------------------------

/** The free block of `order` that stands at a frame of a zone, 0 when there is none (page_is_buddy). */
function freeBlockAt(zone: ZoneRef, frame: number, order: number): number {
  const page = knownPageOfPfn(basePfn + frame);
  if (page === 0 || (pageFlags[page] & PG_BUDDY) === 0 || pageOrder[page] !== order) return 0;
  return zoneOfFrame(frame) === zone ? page : 0;
}

/** Types whose blocks may be parts of one larger block (migratetype_is_mergeable). */
const mergeable = (type: number): boolean => type < MIGRATE_PCPTYPES;

/** __free_one_page: joins a block with its free buddies and puts what comes out on its list. */
export function freeOneBlock(zone: ZoneRef, frame: number, order: number, type: number): void {
  account(zone, type, 1 << order);
  insertBlock(zone, frame, order, type, false);
}

/** Joins a block that is counted already with its buddies; the page of what comes out. */
function insertBlock(zone: ZoneRef, frame: number, order: number, type: number, atTail: boolean): number {
  const root = memory();
  const maxOrder = heap[root + Memory.maxOrder];
  const pageblockOrder = heap[root + Memory.pageblockOrder];
  let at = frame;
  let o = order;
  for (; o < maxOrder; o++) {
    const other = at ^ (1 << o);
    const buddy = freeBlockAt(zone, other, o);
    if (buddy === 0) break;
    let buddyType = type;
    if (o >= pageblockOrder) {
      buddyType = blockType(other);
      if (buddyType !== type && !(mergeable(type) && mergeable(buddyType))) break;
    }
    removeFromFreeList(zone, buddy, o, buddyType);
    if (buddyType !== type) setTypeOfRange(other, o, type);
    at &= other;
  }
  // A block whose buddy's other half is free will probably grow soon: it is used last (buddy_merge_likely).
  const last = atTail || (o < maxOrder - 1 && freeBlockAt(zone, (at & ~(1 << o)) ^ (1 << (o + 1)), o + 1) !== 0);
  const page = pageOfPfn(basePfn + at);
  addToFreeList(zone, page, o, type, last);
  return page;
}

/** change_pageblock_range: every pageblock of a block becomes of a type. */
export function setTypeOfRange(frame: number, order: number, type: number): void {
  const pageblock = 2 ** heap[memory() + Memory.pageblockOrder];
  for (let f = frame; f < frame + 2 ** order; f += pageblock) setBlockType(f, type);
}

/** Removes a block from its list and what it was counted in, gives back all but the first 2^order pages. */
export function takeBlock(zone: ZoneRef, page: number, have: number, order: number, type: number): number {
  const frame = pfnOfPage(page) - basePfn;
  removeFromFreeList(zone, page, have, type);
  account(zone, type, -(1 << order));
  expand(zone, frame, have, order, type);
  return page;
}

/** __rmqueue_smallest: a block of a type, cut from the smallest one that is large enough; 0 when there is none. */
export function takeSmallest(zone: ZoneRef, order: number, type: number): number {
  const maxOrder = heap[memory() + Memory.maxOrder];
  for (let attempt = 0; attempt < 2; attempt++) {
    for (let o = order; o <= maxOrder; o++) {
      const page = heap[listOf(zone, o, type)];
      if (page !== 0) return takeBlock(zone, page, o, order, type);
    }
    if ((type !== MIGRATE_MOVABLE && type !== MIGRATE_CMA) || !topUp(zone, order, type)) return 0;
  }
  return 0;
}

/** Frees frames that nobody holds in the largest aligned blocks; each pageblock that is not told yet becomes movable. */
export function freeFrames(zone: ZoneRef, start: number, end: number): void {
  const root = memory();
  const pageblock = 2 ** heap[root + Memory.pageblockOrder];
  for (let frame = start; frame < end; ) {
    const order = frontierOrder(frame, end - frame, heap[root + Memory.maxOrder]);
    for (let f = frame; f < frame + 2 ** order; f += pageblock) describeBlock(f, zone, MIGRATE_MOVABLE);
    freeOneBlock(zone, frame, order, blockType(frame));
    frame += 2 ** order;
  }
}

/** Order of the free block that holds a frame, −1 when the frame is not on a list. */
export function orderOfFree(zone: ZoneRef, frame: number): number {
  const maxOrder = heap[memory() + Memory.maxOrder];
  for (let order = 0; order <= maxOrder; order++) if (freeBlockAt(zone, frame & -(1 << order), order) !== 0) return order;
  return -1;
}

/** Brings the untouched memory of ranges that overlap [start, end) to the lists, as far as it lies below `end`. */
export function settle(zone: ZoneRef, start: number, end: number): void {
  for (const head of [zone + Zone.frontier, zone + Zone.cmaFrontier]) {
    let link = head;
    for (let range = heap[link]; range !== 0; range = heap[link])
      if (heap[range + MemoryRange.cursor] - basePfn < end && heap[range + MemoryRange.end] - basePfn > start) cutBlock(zone, range, link);
      else link = range + MemoryRange.next;
  }
}
