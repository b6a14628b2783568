/**
 * The page allocator: per-CPU lists over buddy lists over untouched memory (mm/page_alloc.c).
 *
 * Invariants: pages on a CPU's list have PG_PCP and are linked through `pageNext`, 0 at the end. All other columns of a free page are zero, so that equal
 * uses lead to equal memory. Numbers of the pages of a block follow each other only within one group of frames (64 KiB): a page of a larger
 * block is reached by its pfn.
 * Nothing here reclaims or waits: 0 says that the watermarks forbid. Fault injection is the caller's.
 */
import {
  ALLOC_CMA,
  ALLOC_HIGHATOMIC,
  ALLOC_KSWAPD,
  ALLOC_MIN_RESERVE,
  ALLOC_NO_WATERMARKS,
  ALLOC_NOFRAGMENT,
  ALLOC_NON_BLOCK,
  ALLOC_OOM,
  ALLOC_RESERVES,
  ALLOC_WMARK_LOW,
  ALLOC_WMARK_MASK,
  ALLOC_WMARK_MIN,
} from './alloc-flags.ts';
import { retypePageblock, takeOfType } from './fallback.ts';
import { account, freeOneBlock, frontierLargest, frontierOrder, listOf, removeFromFreeList, setTypeOfRange, takeSmallest } from './free-lists.ts';
import {
  __GFP_COMP,
  __GFP_DIRECT_RECLAIM,
  __GFP_HIGH,
  __GFP_KSWAPD_RECLAIM,
  __GFP_MEMALLOC,
  __GFP_NOMEMALLOC,
  __GFP_THISNODE,
  __GFP_ZERO,
  gfpMigratetype,
  gfpZone,
  MIGRATE_CMA,
  MIGRATE_HIGHATOMIC,
  MIGRATE_ISOLATE,
  MIGRATE_MOVABLE,
  MIGRATE_PCPTYPES,
  ZONE_DMA32,
  ZONE_MOVABLE,
  ZONE_NORMAL,
} from './gfp.ts';
import { PG_ANON, PG_CHECK_AT_FREE, PG_HEAD, PG_HWPOISON, PG_PCP } from './page-flags.ts';
import {
  clearFrame,
  GROUP_BYTES,
  heap,
  knownPageOfPfn,
  pageFlags,
  pageIndex,
  pageMapcount,
  pageMapping,
  pageNext,
  pageOfPfn,
  pageOrder,
  pagePincount,
  pagePrivate,
  pageRefcount,
  pageShift,
  pfnOfPage,
  setPageFlags,
  setPageIndex,
  setPageMapping,
  setPageNext,
  setPageOrder,
  setPagePrivate,
  setPageRefcount,
  setSlot,
} from './state.ts';
import {
  basePfn,
  blockInfo,
  blockType,
  firstPcp,
  firstZone,
  locate,
  Memory,
  memory,
  Pcp,
  pcpOf,
  WMARK_MIN,
  ZONELIST_SLOTS,
  Zone,
  type ZoneRef,
  zoneOfFrame,
} from './zone.ts';

// --- watermarks -------------------------------------------------------------------------------------------------------------

/** __zone_watermark_ok: whether a request may take 2^order pages from a zone and leave `mark`. */
export function zoneWatermarkOk(zone: ZoneRef, order: number, mark: number, highest: number, flags: number): boolean {
  let free = heap[zone + Zone.free] - ((1 << order) - 1);
  if ((flags & ALLOC_RESERVES) === 0) free -= heap[zone + Zone.freeHighatomic];
  if ((flags & ALLOC_CMA) === 0) free -= unusableCma(zone);
  let min = mark;
  if ((flags & ALLOC_MIN_RESERVE) !== 0) {
    min -= Math.floor(min / 2);
    if ((flags & ALLOC_NON_BLOCK) !== 0) min -= Math.floor(min / 4);
  }
  if ((flags & ALLOC_OOM) !== 0) min -= Math.floor(min / 2);
  if (free <= min + heap[zone + Zone.lowmemReserve + highest]) return false;
  return order === 0 || hasBlock(zone, order, flags);
}

/** CMA pages stand free where only movable requests may use them; in ZONE_MOVABLE every request that gets there is movable. */
const unusableCma = (zone: ZoneRef): number => (heap[zone + Zone.kind] === ZONE_MOVABLE ? 0 : heap[zone + Zone.freeCma]);

/** True when some block of at least `order` stands on a list that the request may use. */
function hasBlock(zone: ZoneRef, order: number, flags: number): boolean {
  const maxOrder = heap[memory() + Memory.maxOrder];
  const cma = (flags & ALLOC_CMA) !== 0;
  for (let o = order; o <= maxOrder; o++) {
    if (heap[zone + Zone.nrFree + o] === 0) continue;
    for (let type = 0; type < MIGRATE_PCPTYPES; type++) if (heap[listOf(zone, o, type)] !== 0) return true;
    if (cma && heap[listOf(zone, o, MIGRATE_CMA)] !== 0) return true;
    if ((flags & (ALLOC_HIGHATOMIC | ALLOC_OOM)) !== 0 && heap[listOf(zone, o, MIGRATE_HIGHATOMIC)] !== 0) return true;
  }
  return frontierLargest(zone, MIGRATE_MOVABLE) >= order || (cma && frontierLargest(zone, MIGRATE_CMA) >= order);
}

// --- per-CPU lists ----------------------------------------------------------------------------------------------------------

const PCP_COUNT = Pcp.count;
const PCP_LISTS = Pcp.lists;
const PCP_HIGH = Pcp.high;
const ZONE_ROOM = Zone.room;

/** Takes the first page off a list of a CPU that is not empty. */
function popPcp(pcp: number, head: number, page: number): void {
  const next = pageNext[page];
  setSlot(head, next);
  if (next !== 0) setPageNext(page, 0);
  setSlot(pcp + PCP_COUNT, heap[pcp + PCP_COUNT] - 1);
}

/** rmqueue_pcplist: a page from the CPU's list, which is refilled by a batch when empty (rmqueue_bulk). */
function takeFromPcp(zone: ZoneRef, cpu: number, type: number, flags: number): number {
  const pcp = heap[zone + Zone.pcps + cpu];
  const head = pcp + PCP_LISTS + type;
  if (heap[head] === 0) {
    // Pages keep the order in which they come out of the zone's lists.
    let last = 0;
    for (let n = heap[pcp + Pcp.batch]; n > 0; n--) {
      const page = takeFromZone(zone, 0, type, flags);
      if (page === 0) break;
      setPageFlags(page, PG_PCP);
      if (last === 0) setSlot(head, page);
      else setPageNext(last, page);
      setSlot(pcp + PCP_COUNT, heap[pcp + PCP_COUNT] + 1);
      last = page;
    }
  }
  const page = heap[head];
  if (page !== 0) popPcp(pcp, head, page);
  return page;
}

/** free_pcppages_bulk: gives pages back to the zone, taking the types in turn; the pages freed last first (Linux: those freed first). */
export function drainPcp(zone: ZoneRef, pcp: number, pages: number): void {
  let type = 0;
  for (let left = Math.min(pages, heap[pcp + PCP_COUNT]); left > 0; left--) {
    while (heap[pcp + PCP_LISTS + type] === 0) type = (type + 1) % MIGRATE_PCPTYPES;
    const page = heap[pcp + PCP_LISTS + type];
    popPcp(pcp, pcp + PCP_LISTS + type, page);
    setPageFlags(page, 0);
    const frame = pfnOfPage(page) - basePfn;
    freeOneBlock(zone, frame, 0, blockType(frame));
    type = (type + 1) % MIGRATE_PCPTYPES;
  }
}

/** drain_all_pages: empties the lists of every CPU. */
export function drainAllPages(): void {
  locate();
  const root = memory();
  for (let i = 0; i < heap[root + Memory.nrZones]; i++) {
    const zone = heap[root + Memory.zones + i];
    for (let cpu = 0; cpu < heap[root + Memory.cpus]; cpu++) {
      const pcp = heap[zone + Zone.pcps + cpu];
      drainPcp(zone, pcp, heap[pcp + Pcp.count]);
    }
  }
}

// --- allocation -------------------------------------------------------------------------------------------------------------

/** gfp_to_alloc_flags: what the second attempt may do, below the low watermark. */
export function gfpToAllocFlags(gfp: number, order: number): number {
  let flags = ALLOC_WMARK_MIN | (gfp & (__GFP_HIGH | __GFP_KSWAPD_RECLAIM));
  if ((gfp & (__GFP_DIRECT_RECLAIM | __GFP_NOMEMALLOC)) === 0) {
    flags |= ALLOC_NON_BLOCK;
    if (order > 0 && (gfp & __GFP_HIGH) !== 0) flags |= ALLOC_HIGHATOMIC;
  }
  return gfpMigratetype(gfp) === MIGRATE_MOVABLE ? flags | ALLOC_CMA : flags;
}

/** The page that an allocation of one page takes from the CPU's own list, 0 when that does not serve it. */
export function peekPage(gfp: number, cpu: number): number {
  locate();
  const at = (cpu << 4) + (gfp & 15);
  const pcp = firstPcp[at];
  return pcp !== 0 && heap[firstZone[at] + ZONE_ROOM] > 0 ? heap[pcp + PCP_LISTS + gfpMigratetype(gfp)] : 0;
}

/**
 * Allocates 2^order pages; the first one, or 0 when the watermarks forbid it or no block is large enough (reclaim, compaction and killing
 * are the caller's: mm/). Reference count 1, all other columns zero but for the order and PG_HEAD of a compound page.
 */
export function allocPages(order: number, gfp: number, cpu = 0): number {
  locate();
  if (order === 0) {
    const at = (cpu << 4) + (gfp & 15);
    const pcp = firstPcp[at];
    const head = pcp + PCP_LISTS + gfpMigratetype(gfp);
    const page = heap[head];
    if (page !== 0 && heap[firstZone[at] + ZONE_ROOM] > 0 && pcp !== 0) {
      popPcp(pcp, head, page);
      setPageFlags(page, 0);
      setPageRefcount(page, 1);
      if ((gfp & __GFP_ZERO) !== 0) clearFrame(page);
      return page;
    }
  }
  const cma = gfpMigratetype(gfp) === MIGRATE_MOVABLE ? ALLOC_CMA : 0;
  const page = getPageFromFreelist(order, gfp, ALLOC_WMARK_LOW | cma | avoidsMixing(gfp, cpu), cpu);
  return page !== 0 ? page : allocPagesSlowly(order, gfp, cpu);
}

/** The same of one node alone (alloc_pages_node with __GFP_THISNODE). */
export function allocPagesNode(order: number, gfp: number, node: number, cpu = 0): number {
  const cma = gfpMigratetype(gfp) === MIGRATE_MOVABLE ? ALLOC_CMA : 0;
  const page = getPageFromFreelist(order, gfp | __GFP_THISNODE, ALLOC_WMARK_LOW | cma, cpu, node);
  return page !== 0 ? page : getPageFromFreelist(order, gfp | __GFP_THISNODE, gfpToAllocFlags(gfp, order), cpu, node);
}

/** alloc_flags_nofragment: where a zone of DMA32 lies below, requests for NORMAL go there rather than mix types in a pageblock. */
function avoidsMixing(gfp: number, cpu: number): number {
  const root = memory();
  const first = firstZone[(cpu << 4) + (gfp & 15)];
  if (first === 0 || heap[first + Zone.kind] !== ZONE_NORMAL || (heap[root + Memory.zoneKinds] & (1 << ZONE_DMA32)) === 0) return 0;
  // The zone below in the node's order of zones.
  const below = heap[root + Memory.zones + heap[first + Zone.number] - 1];
  return heap[root + Memory.nodes] > 1 && heap[below + Zone.present] === 0 ? 0 : ALLOC_NOFRAGMENT;
}

/** What __alloc_pages_slowpath does without reclaim: wakes kswapd, tries down to the min watermark, into the reserves when allowed. */
function allocPagesSlowly(order: number, gfp: number, cpu: number): number {
  const flags = gfpToAllocFlags(gfp, order);
  if ((flags & ALLOC_KSWAPD) !== 0) wakeKswapd(gfp, cpu);
  const page = getPageFromFreelist(order, gfp, flags, cpu);
  if (page !== 0 || (gfp & (__GFP_MEMALLOC | __GFP_NOMEMALLOC)) !== __GFP_MEMALLOC) return page;
  return getPageFromFreelist(order, gfp, ALLOC_NO_WATERMARKS | (flags & ALLOC_CMA), cpu);
}

/** Notes for kswapd of the node that memory is short for requests up to a zone. */
function wakeKswapd(gfp: number, cpu: number): void {
  const root = memory();
  const slot = root + Memory.kswapdWanted + heap[root + Memory.cpuNode + cpu];
  const wanted = heap[slot] | (1 << gfpZone(gfp));
  if (wanted !== heap[slot]) setSlot(slot, wanted);
}

/** get_page_from_freelist: the first zone, downward from the highest that the request may use, whose watermark allows it. `node`: other than the CPU's. */
export function getPageFromFreelist(order: number, gfp: number, flags: number, cpu = 0, node = heap[memory() + Memory.cpuNode + cpu]): number {
  locate();
  const root = memory();
  const highest = gfpZone(gfp);
  if (highest < 0 || order > heap[root + Memory.maxOrder]) return 0;
  let at = root + Memory.zonelists + node * ZONELIST_SLOTS;
  for (let zone = heap[at]; zone !== 0; zone = heap[++at]) {
    if (heap[zone + Zone.kind] > highest) continue;
    // Mixing types on the own node is better than to go to another one.
    if ((flags & ALLOC_NOFRAGMENT) !== 0 && heap[zone + Zone.node] !== node) break;
    if ((gfp & __GFP_THISNODE) !== 0 && heap[zone + Zone.node] !== node) break;
    if ((flags & ALLOC_NO_WATERMARKS) === 0) {
      const mark = heap[zone + Zone.watermark + (flags & ALLOC_WMARK_MASK)] + heap[zone + Zone.boost];
      if (!zoneWatermarkOk(zone, order, mark, highest, flags) && !withoutBoost(zone, order, highest, flags)) continue;
    }
    const page = order === 0 ? takeFromPcp(zone, cpu, gfpMigratetype(gfp), flags) : takeFromZone(zone, order, gfpMigratetype(gfp), flags);
    if (page === 0) continue;
    prepare(page, order, gfp);
    if ((flags & ALLOC_HIGHATOMIC) !== 0) reserveHighatomic(zone, page, order);
    return page;
  }
  return (flags & ALLOC_NOFRAGMENT) === 0 ? 0 : getPageFromFreelist(order, gfp, flags & ~ALLOC_NOFRAGMENT, cpu, node);
}

/** reserve_highatomic_pageblock: the pageblock of a block that was needed at once is kept for such requests, up to 1 % of the zone. */
function reserveHighatomic(zone: ZoneRef, page: number, order: number): void {
  const pageblockOrder = heap[memory() + Memory.pageblockOrder];
  const pageblock = 2 ** pageblockOrder;
  const percent = Math.floor(heap[zone + Zone.managed] / 100);
  if (percent < pageblock || heap[zone + Zone.reservedHighatomic] >= Math.ceil(percent / pageblock) * pageblock) return;
  const frame = pfnOfPage(page) - basePfn;
  const type = blockType(frame);
  if (type >= MIGRATE_PCPTYPES) return;
  if (order >= pageblockOrder) setTypeOfRange(frame, order, MIGRATE_HIGHATOMIC);
  else if (!retypePageblock(zone, frame, type, MIGRATE_HIGHATOMIC)) return;
  setSlot(zone + Zone.reservedHighatomic, heap[zone + Zone.reservedHighatomic] + Math.max(pageblock, 2 ** order));
}

/**
 * unreserve_highatomic_pageblock: gives one pageblock with free pages of the atomic reserve to requests of a type, before reclaim gives up.
 * One pageblock is kept back unless `force`. True when pages came free.
 */
export function unreserveHighatomic(gfp: number, force = false): boolean {
  locate();
  const root = memory();
  const pageblock = 2 ** heap[root + Memory.pageblockOrder];
  for (let i = 0; i < heap[root + Memory.nrZones]; i++) {
    const zone = heap[root + Memory.zones + i];
    if (heap[zone + Zone.kind] > gfpZone(gfp) || (!force && heap[zone + Zone.reservedHighatomic] <= pageblock)) continue;
    for (let order = 0; order <= heap[root + Memory.maxOrder]; order++) {
      const page = heap[listOf(zone, order, MIGRATE_HIGHATOMIC)];
      if (page === 0) continue;
      const frame = pfnOfPage(page) - basePfn;
      const type = gfpMigratetype(gfp);
      const pages = Math.max(pageblock, 2 ** order);
      setSlot(zone + Zone.reservedHighatomic, heap[zone + Zone.reservedHighatomic] - Math.min(pages, heap[zone + Zone.reservedHighatomic]));
      if (2 ** order <= pageblock) retypePageblock(zone, frame, MIGRATE_HIGHATOMIC, type);
      else {
        removeFromFreeList(zone, page, order, MIGRATE_HIGHATOMIC);
        account(zone, MIGRATE_HIGHATOMIC, -(2 ** order));
        setTypeOfRange(frame, order, type);
        freeOneBlock(zone, frame, order, type);
      }
      return true;
    }
  }
  return false;
}

/** Requests that may use the reserve do not wait for a boosted watermark (zone_watermark_fast). */
const withoutBoost = (zone: ZoneRef, order: number, highest: number, flags: number): boolean =>
  order === 0 &&
  heap[zone + Zone.boost] !== 0 &&
  (flags & ALLOC_WMARK_MASK) === WMARK_MIN &&
  (flags & ALLOC_MIN_RESERVE) !== 0 &&
  zoneWatermarkOk(zone, order, heap[zone + Zone.watermark + WMARK_MIN], highest, flags);

/** rmqueue_buddy: a block from the lists of a zone. */
export function takeFromZone(zone: ZoneRef, order: number, type: number, flags: number): number {
  let page = 0;
  if ((flags & ALLOC_HIGHATOMIC) !== 0) page = takeSmallest(zone, order, MIGRATE_HIGHATOMIC);
  if (page === 0) page = takeOfType(zone, order, type, flags);
  if (page === 0 && (flags & (ALLOC_OOM | ALLOC_NON_BLOCK)) !== 0) page = takeSmallest(zone, order, MIGRATE_HIGHATOMIC);
  return page;
}

/** prep_new_page. */
function prepare(page: number, order: number, gfp: number): number {
  setPageFlags(page, order > 0 && (gfp & __GFP_COMP) !== 0 ? PG_HEAD : 0);
  setPageRefcount(page, 1);
  if (order !== 0) setPageOrder(page, order);
  if ((gfp & __GFP_ZERO) === 0) return page;
  if (order === 0) clearFrame(page);
  else eachKnownPage(page, order, clearFrame);
  return page;
}

/** Calls back for the pages of a block; those never touched are all zero and left out. */
function eachKnownPage(page: number, order: number, visit: (page: number) => void): void {
  const group = GROUP_BYTES >> pageShift;
  const pages = 2 ** order;
  if (pages <= group) {
    for (let i = 0; i < pages; i++) visit(page + i);
    return;
  }
  const pfn = pfnOfPage(page);
  for (let i = 0; i < pages; i += group) {
    const first = knownPageOfPfn(pfn + i);
    if (first !== 0) for (let j = 0; j < group; j++) visit(first + j);
  }
}

// --- freeing ----------------------------------------------------------------------------------------------------------------

/** Flags that no page may have that is freed; PG_PCP: it is free already. */
const BAD_FLAGS = PG_CHECK_AT_FREE | PG_PCP;

/** Gives back 2^order pages that nobody refers to. @throws {Error} when a page is still in use. */
export function freePages(page: number, order: number, cpu = 0): void {
  locate();
  if (order !== 0) {
    freeBlock(page, order);
    return;
  }
  if (!prepareToFree(page)) return;
  const info = blockInfo(pfnOfPage(page) - basePfn);
  const type = info & 7;
  if (type === MIGRATE_ISOLATE) {
    const frame = pfnOfPage(page) - basePfn;
    setPageFlags(page, 0);
    freeOneBlock(zoneOfFrame(frame), frame, 0, type);
    return;
  }
  setPageFlags(page, PG_PCP);
  const pcp = pcpOf[(cpu << 5) + (info >> 3)];
  // Pages of CMA and of the atomic reserve serve movable requests meanwhile.
  const head = pcp + PCP_LISTS + (type < MIGRATE_PCPTYPES ? type : MIGRATE_MOVABLE);
  const first = heap[head];
  if (first !== 0) setPageNext(page, first);
  setSlot(head, page);
  const count = heap[pcp + PCP_COUNT] + 1;
  setSlot(pcp + PCP_COUNT, count);
  if (count >= heap[pcp + PCP_HIGH])
    drainPcp(heap[pcp + Pcp.zone], pcp, Math.max(1, Math.min(heap[pcp + Pcp.batch], heap[pcp + PCP_HIGH] - heap[pcp + Pcp.batch])));
}

function freeBlock(page: number, order: number): void {
  const frame = pfnOfPage(page) - basePfn;
  eachKnownPage(page, order, (p) => {
    prepareToFree(p);
    if (pageFlags[p] !== 0) setPageFlags(p, 0);
  });
  freeOneBlock(zoneOfFrame(frame), frame, order, blockType(frame));
}

/** Frees frames of one zone in the largest aligned blocks, past the CPUs' lists, each page checked as by freePages. */
export function freeFrameRange(start: number, end: number): void {
  for (let frame = start; frame < end; ) {
    const order = frontierOrder(frame, end - frame, heap[memory() + Memory.pageblockOrder]);
    freeBlock(pageOfPfn(basePfn + frame), order);
    frame += 2 ** order;
  }
}

/** free_pages_prepare of one page: checks it and clears its columns; false when it is poisoned and must stay out of use. */
function prepareToFree(page: number): boolean {
  const flags = pageFlags[page];
  if (((flags & BAD_FLAGS) | pageMapping[page] | pageMapcount[page] | pageRefcount[page] | pagePincount[page]) !== 0) checkFree(page, flags);
  if (pageIndex[page] !== 0) setPageIndex(page, 0);
  if (pagePrivate[page] !== 0) setPagePrivate(page, 0);
  if (pageOrder[page] !== 0) setPageOrder(page, 0);
  return (flags & PG_HWPOISON) === 0;
}

/** Says what is wrong with a page that is freed. An anonymous page may keep its anon_vma until here. */
function checkFree(page: number, flags: number): void {
  if ((flags & BAD_FLAGS) !== 0) badPage(page, `flags 0x${(flags & BAD_FLAGS).toString(16)} are set`);
  if (pageMapcount[page] !== 0) badPage(page, `its mapcount is ${pageMapcount[page]}`);
  if (pageRefcount[page] !== 0) badPage(page, `its reference count is ${pageRefcount[page]}`);
  if (pagePincount[page] !== 0) badPage(page, `its pincount is ${pagePincount[page]}`);
  if ((flags & PG_ANON) === 0) badPage(page, 'its mapping is not empty');
  setPageMapping(page, 0);
}

function badPage(page: number, reason: string): never {
  throw new Error(`bad page state: page ${page} (frame ${pfnOfPage(page)}) is freed although ${reason}`);
}
