/**
 * Contiguous memory (mm/cma.c; mm/page_alloc.c: alloc_contig_range) and isolated pageblocks (mm/page_isolation.c).
 *
 * Invariants: the bitmap of an area has a bit for each frame that cma_alloc gave out and cma_release did not take back; the pages of an area
 * that it does not name are the buddy allocator's and serve movable requests. Nothing is migrated here: a range that holds a page in use is
 * busy. Who can migrate looks at `firstBusyFrame`, moves that page away and tries again (mm/migrate-contig.ts).
 */
import { drainAllPages, freeFrameRange } from './buddy.ts';
import { moveFreePages } from './fallback.ts';
import { account, addToFreeList, freeFrames, freeOneBlock, orderOfFree, removeFromFreeList, settle } from './free-lists.ts';
import { MIGRATE_ISOLATE } from './gfp.ts';
import { PG_HEAD } from './page-flags.ts';
import { heap, knownPageOfPfn, pageOfPfn, setPageFlags, setPageOrder, setPageRefcount, setSlot } from './state.ts';
import { basePfn, blockInfo, blockType, CmaArea, CmaBits, locate, Memory, memory, PresentRange, type ZoneRef, zoneOfFrame } from './zone.ts';

const EBUSY = 16;

/** The zone of a frame that is present, touched or not; 0 none. */
export function zoneOfPfn(pfn: number): ZoneRef {
  for (let range = heap[memory() + Memory.present]; range !== 0; range = heap[range + PresentRange.next])
    if (pfn >= heap[range + PresentRange.start] && pfn < heap[range + PresentRange.end]) return heap[range + PresentRange.zone];
  return 0;
}

/** First frame (pfn) of [start, end) that is not free, −1 when all are. CPUs' lists are drained before. */
export function firstBusyFrame(start: number, end: number): number {
  locate();
  drainAllPages();
  const zone = zoneOfPfn(start);
  if (zone === 0) return start;
  settle(zone, start - basePfn, end - basePfn);
  for (let frame = start - basePfn; frame < end - basePfn; ) {
    const order = orderOfFree(zone, frame);
    if (order < 0) return frame + basePfn;
    frame = (frame & -(1 << order)) + (1 << order);
  }
  return -1;
}

/**
 * alloc_contig_range: takes the frames [start, end) (pfns), each as a page of its own with reference count 1, or as one compound page of
 * 2^`compound` frames, of which only the head is touched. 0, or −EBUSY when a frame is in use or not there.
 */
export function allocContigRange(start: number, end: number, compound = 0): number {
  if (firstBusyFrame(start, end) >= 0) return -EBUSY;
  const zone = zoneOfPfn(start);
  const from = start - basePfn;
  const to = end - basePfn;
  for (let frame = from; frame < to; ) {
    const order = orderOfFree(zone, frame);
    const head = frame & -(1 << order);
    const type = blockType(head);
    removeFromFreeList(zone, pageOfPfn(basePfn + head), order, type);
    account(zone, type, -(2 ** order));
    // What the block has outside of the range goes back.
    if (head < from) freeFrames(zone, head, from);
    frame = head + 2 ** order;
    if (frame > to) freeFrames(zone, to, frame);
  }
  if (compound !== 0) {
    const page = pageOfPfn(start);
    setPageFlags(page, PG_HEAD);
    setPageOrder(page, compound);
    setPageRefcount(page, 1);
  } else for (let pfn = start; pfn < end; pfn++) setPageRefcount(pageOfPfn(pfn), 1);
  return 0;
}

/** free_contig_range. The pages are as freePages wants them, reference counts 0. */
export function freeContigRange(start: number, end: number): void {
  locate();
  freeFrameRange(start - basePfn, end - basePfn);
}

// --- areas ------------------------------------------------------------------------------------------------------------------

const bitSlot = (area: number, frame: number): number => heap[area + CmaArea.bitmap] + (frame >> 11) * CmaBits.$size + CmaBits.words + ((frame >> 5) & 63);

/** Marks frames of an area, counted from its start, as in use or not. */
function mark(area: number, from: number, to: number, used: boolean): void {
  for (let i = from; i < to; i++) {
    const slot = bitSlot(area, i);
    const bit = 1 << (i & 31);
    setSlot(slot, used ? heap[slot] | bit : heap[slot] & ~bit);
  }
  setSlot(area + CmaArea.used, heap[area + CmaArea.used] + (used ? to - from : from - to));
}

const inUse = (area: number, i: number): boolean => ((heap[bitSlot(area, i)] >> (i & 31)) & 1) !== 0;

/**
 * cma_alloc: takes `count` frames that follow each other, aligned to 2^`align`, from an area; the first pfn, or −1 when no place is free.
 * Places whose pages are in use are passed over. Pages have reference count 1, are not cleared, and are freed by `cmaRelease`.
 */
export function cmaAlloc(area: number, count: number, align = 0): number {
  locate();
  const start = heap[area + CmaArea.start];
  const size = heap[area + CmaArea.end] - start;
  const step = 2 ** align;
  const offset = (step - (start % step)) % step;
  for (let at = offset; at + count <= size; ) {
    let used = at + count - 1;
    while (used >= at && !inUse(area, used)) used--;
    if (used >= at) {
      at = offset + Math.ceil((used + 1 - offset) / step) * step;
      continue;
    }
    if (allocContigRange(start + at, start + at + count) === 0) {
      mark(area, at, at + count, true);
      return start + at;
    }
    at += step;
  }
  return -1;
}

/** The part of cma_alloc that remembers frames, which are had already, as given out. */
export function cmaTake(area: number, pfn: number, count: number): void {
  locate();
  const at = pfn - heap[area + CmaArea.start];
  mark(area, at, at + count, true);
}

/** cma_release: gives frames back; false when they are no part of the area. @throws {Error} when one was not given out. */
export function cmaRelease(area: number, pfn: number, count: number): boolean {
  locate();
  const at = pfn - heap[area + CmaArea.start];
  if (at < 0 || pfn + count > heap[area + CmaArea.end]) return false;
  for (let i = at; i < at + count; i++) {
    if (!inUse(area, i)) throw new Error(`frame ${heap[area + CmaArea.start] + i} is released to its area, which did not give it out`);
    setPageRefcount(pageOfPfn(pfn + i - at), 0);
  }
  freeFrameRange(pfn - basePfn, pfn - basePfn + count);
  mark(area, at, at + count, false);
  return true;
}

// --- isolation --------------------------------------------------------------------------------------------------------------

/** set_migratetype_isolate: the free pages of a frame's pageblock can no longer be had, those freed later neither; the type before, −1 none. */
export function isolatePageblock(pfn: number): number {
  locate();
  const zone = zoneOfPfn(pfn);
  if (zone === 0) return -1;
  const shift = heap[memory() + Memory.pageblockOrder];
  const start = ((pfn - basePfn) >> shift) << shift;
  settle(zone, start, start + (1 << shift));
  splitAround(zone, start, shift);
  const type = blockInfo(start) === 0 ? -1 : blockType(start);
  if (type < 0 || type === MIGRATE_ISOLATE) return -1;
  moveFreePages(zone, start, type, MIGRATE_ISOLATE);
  return type;
}

/** unset_migratetype_isolate: the pageblock's pages are of a type again. */
export function unisolatePageblock(pfn: number, type: number): void {
  locate();
  const shift = heap[memory() + Memory.pageblockOrder];
  const start = ((pfn - basePfn) >> shift) << shift;
  const zone = zoneOfFrame(start);
  moveFreePages(zone, start, MIGRATE_ISOLATE, type);
  // A block of a pageblock's size or more may join its neighbour now.
  const page = knownPageOfPfn(basePfn + start);
  const order = orderOfFree(zone, start);
  if (page === 0 || order < shift) return;
  removeFromFreeList(zone, page, order, type);
  account(zone, type, -(2 ** order));
  freeOneBlock(zone, start, order, type);
}

/** Splits a free block that is larger than the pageblock at its start, so that the pageblock can be of a type of its own. */
function splitAround(zone: ZoneRef, start: number, shift: number): void {
  const order = orderOfFree(zone, start);
  if (order <= shift) return;
  const head = start & -(1 << order);
  const type = blockType(head);
  removeFromFreeList(zone, pageOfPfn(basePfn + head), order, type);
  for (let o = order - 1, at = head; o >= shift; o--) {
    // The half without the pageblock is a free block, the other one is cut on.
    const upper = at + (1 << o);
    const inUpper = start >= upper;
    addToFreeList(zone, pageOfPfn(basePfn + (inUpper ? at : upper)), o, type);
    if (inUpper) at = upper;
    if (o === shift) addToFreeList(zone, pageOfPfn(basePfn + at), o, type);
  }
}
