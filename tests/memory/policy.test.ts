/** Who may have which free page: zones by GFP flags, watermarks and reserves, migratetypes, CMA, checks at free. */
import { describe, expect, it } from 'vitest';
import {
  __GFP_COMP,
  __GFP_DIRECT_RECLAIM,
  __GFP_DMA,
  __GFP_DMA32,
  __GFP_HIGH,
  __GFP_HIGHMEM,
  __GFP_MEMALLOC,
  __GFP_MOVABLE,
  __GFP_NOFAIL,
  __GFP_NORETRY,
  __GFP_NOWARN,
  __GFP_RECLAIMABLE,
  __GFP_ZERO,
  ALLOC_CMA,
  ALLOC_WMARK_LOW,
  allocContigRange,
  allocPages,
  blockType,
  clearFrame,
  cmaAlloc,
  cmaRelease,
  countPageblocks,
  drainAllPages,
  freeBlocks,
  freeContigRange,
  freePages,
  GFP_ATOMIC,
  GFP_DMA,
  GFP_HIGHUSER,
  GFP_HIGHUSER_MOVABLE,
  GFP_KERNEL,
  GFP_NOFS,
  GFP_NOIO,
  GFP_NOWAIT,
  GFP_TRANSHUGE,
  GFP_TRANSHUGE_LIGHT,
  GFP_USER,
  gfpflagsAllowBlocking,
  gfpMigratetype,
  gfpZone,
  heap,
  isolatePageblock,
  Memory,
  MIGRATE_CMA,
  MIGRATE_HIGHATOMIC,
  MIGRATE_ISOLATE,
  MIGRATE_MOVABLE,
  MIGRATE_RECLAIMABLE,
  MIGRATE_UNMOVABLE,
  memory,
  PAGE_ALLOC_COSTLY_ORDER,
  PG_ANON,
  PG_BUDDY,
  PG_HEAD,
  PG_LOCKED,
  PG_LRU,
  PG_PCP,
  PG_RESERVED,
  PG_SWAPCACHE,
  PG_TABLE,
  PG_WRITEBACK,
  pageFlags,
  pageMapping,
  pageOfPfn,
  pageOrder,
  pageRefcount,
  pfnOfPage,
  setPageFlags,
  setPageMapcount,
  setPageMapping,
  setPagePincount,
  setPageRefcount,
  setWord,
  unisolatePageblock,
  unreserveHighatomic,
  WMARK_MIN,
  words,
  ZONE_DMA,
  ZONE_DMA32,
  ZONE_HIGHMEM,
  ZONE_MOVABLE,
  ZONE_NORMAL,
  Zone,
  zoneWatermarkOk,
} from './all.ts';
import { boot, checkAllocator, SMALL, zoneOf } from './support.ts';

const release = (page: number, order: number): void => {
  setPageRefcount(page, 0);
  freePages(page, order);
};
/** Takes all that a request can have; the pages. */
function exhaust(gfp: number, order = 0): number[] {
  const pages: number[] = [];
  for (let page = allocPages(order, gfp); page !== 0; page = allocPages(order, gfp)) pages.push(page);
  return pages;
}
const free = (zone: number): number => heap[zone + Zone.free];

describe('GFP flags', () => {
  it('allow sleeping exactly with direct reclaim', () => {
    // gfpflags_allow_blocking of the masks that include/linux/gfp_types.h defines.
    const table: [number, boolean][] = [
      [GFP_KERNEL, true],
      [GFP_USER, true],
      [GFP_HIGHUSER, true],
      [GFP_HIGHUSER_MOVABLE, true],
      [GFP_NOIO, true],
      [GFP_NOFS, true],
      [GFP_TRANSHUGE, true],
      [GFP_ATOMIC, false],
      [GFP_NOWAIT, false],
      [GFP_DMA, false],
      [GFP_TRANSHUGE_LIGHT, false],
      [__GFP_HIGH, false],
      [__GFP_NORETRY | __GFP_NOWARN, false],
      [__GFP_NOFAIL, false],
      [GFP_KERNEL & ~__GFP_DIRECT_RECLAIM, false],
      [GFP_ATOMIC | __GFP_DIRECT_RECLAIM, true],
    ];
    for (const [gfp, blocking] of table) expect(gfpflagsAllowBlocking(gfp)).toBe(blocking);
    // Values as Linux's trace events print them.
    expect([GFP_KERNEL, GFP_ATOMIC, GFP_HIGHUSER_MOVABLE, GFP_TRANSHUGE_LIGHT].map((g) => g.toString(16))).toEqual(['cc0', '820', '100cca', '1c20ca']);
  });

  it('name the highest zone, the movable one only with both bits', () => {
    const both = __GFP_HIGHMEM | __GFP_MOVABLE;
    const table: [number, number][] = [
      [0, ZONE_NORMAL],
      [__GFP_MOVABLE, ZONE_NORMAL],
      [__GFP_DMA, ZONE_DMA],
      [__GFP_DMA | __GFP_MOVABLE, ZONE_DMA],
      [__GFP_DMA32, ZONE_DMA32],
      [__GFP_DMA32 | __GFP_MOVABLE, ZONE_DMA32],
      [__GFP_HIGHMEM, ZONE_HIGHMEM],
      [both, ZONE_MOVABLE],
      [__GFP_DMA | __GFP_DMA32, -1],
      [__GFP_DMA | __GFP_HIGHMEM, -1],
      [both | __GFP_DMA32, -1],
    ];
    for (const [gfp, zone] of table) expect(gfpZone(gfp)).toBe(zone);
    expect([0, __GFP_MOVABLE, __GFP_RECLAIMABLE].map(gfpMigratetype)).toEqual([MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE]);
    boot(SMALL);
    expect(allocPages(0, __GFP_DMA | __GFP_DMA32)).toBe(0);
    expect(allocPages(11, GFP_KERNEL)).toBe(0);
  });

  it('keep requests without HIGHMEM out of ZONE_MOVABLE', () => {
    boot({ ranges: [{ start: 0, end: 131072 }], movableStart: [65536] });
    const movable = zoneOf(ZONE_MOVABLE);
    // Page cache of a block device: movable, but not HIGHMEM.
    for (const gfp of [GFP_KERNEL, GFP_KERNEL | __GFP_MOVABLE, GFP_HIGHUSER]) exhaust(gfp);
    expect(free(movable)).toBe(heap[movable + Zone.managed]);
    expect(pfnOfPage(allocPages(0, GFP_HIGHUSER_MOVABLE))).toBeGreaterThanOrEqual(65536);
  });
});

describe('watermarks', () => {
  it('leave sleepers min pages, atomic requests less, reserves for lower zones', () => {
    boot({ ranges: [{ start: 0, end: 131072 }], zoneBounds: { dma32: 65536 } });
    const normal = zoneOf(ZONE_NORMAL);
    const dma32 = zoneOf(ZONE_DMA32);
    const batch = heap[normal + Zone.pcpBatch];
    const reserve = heap[dma32 + Zone.lowmemReserve + ZONE_NORMAL];
    expect(reserve).toBe(256);
    const within = (pages: number, least: number): void => {
      expect(pages).toBeLessThanOrEqual(least);
      expect(pages).toBeGreaterThan(least - batch);
    };
    expect(heap[memory() + Memory.kswapdWanted]).toBe(0);
    exhaust(GFP_KERNEL);
    expect(heap[memory() + Memory.kswapdWanted]).toBe(1 << ZONE_NORMAL);
    const min = heap[normal + Zone.watermark + WMARK_MIN];
    within(free(normal), min);
    // What the other zone keeps back from those that have NORMAL as well.
    within(free(dma32), heap[dma32 + Zone.watermark] + reserve);
    exhaust(GFP_ATOMIC);
    within(free(normal), min - Math.floor(min / 2) - Math.floor((min - Math.floor(min / 2)) / 4));
    expect(allocPages(0, GFP_ATOMIC)).toBe(0);
    expect(allocPages(0, GFP_KERNEL)).toBe(0);
    exhaust(GFP_KERNEL | __GFP_DMA32);
    within(free(dma32), heap[dma32 + Zone.watermark]);
    exhaust(__GFP_MEMALLOC);
    expect(free(normal) + free(dma32)).toBe(0);
    checkAllocator();
  });

  it('look for a block that is large enough, not only for pages', () => {
    boot({ ranges: [{ start: 0, end: 32768 }] });
    const pages = exhaust(GFP_KERNEL | __GFP_MEMALLOC);
    for (const page of pages) if (pfnOfPage(page) % 16 !== 0) release(page, 0);
    drainAllPages();
    const zone = zoneOf(ZONE_NORMAL);
    expect(zoneWatermarkOk(zone, 3, 0, ZONE_NORMAL, 0)).toBe(true);
    expect(zoneWatermarkOk(zone, 4, 0, ZONE_NORMAL, 0)).toBe(false);
    expect(allocPages(PAGE_ALLOC_COSTLY_ORDER, GFP_KERNEL)).not.toBe(0);
    expect(allocPages(PAGE_ALLOC_COSTLY_ORDER + 1, GFP_KERNEL)).toBe(0);
  });
});

describe('migratetypes', () => {
  it('claim whole pageblocks and mix only when none is left', () => {
    boot({ ranges: [{ start: 0, end: 16384 }] });
    const zone = zoneOf(ZONE_NORMAL);
    expect(countPageblocks(zone)).toEqual([0, 32, 0, 0, 0, 0]);
    const kernel = allocPages(0, GFP_KERNEL);
    for (let i = 1; i < 300; i++) allocPages(0, GFP_KERNEL);
    // The largest free block, of two pageblocks, became one of unmovable pages.
    expect(countPageblocks(zone)).toEqual([2, 30, 0, 0, 0, 0]);
    expect(blockType(pfnOfPage(kernel))).toBe(MIGRATE_UNMOVABLE);
    const slab = allocPages(0, GFP_KERNEL | __GFP_RECLAIMABLE);
    expect(blockType(pfnOfPage(slab))).toBe(MIGRATE_RECLAIMABLE);
    expect(countPageblocks(zone)).toEqual([2, 28, 2, 0, 0, 0]);
    const users = exhaust(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC);
    // At last movable pages lie among the others: pageblocks of which less than half was free kept their type.
    const block = pfnOfPage(kernel) >> 9;
    expect(users.filter((page) => pfnOfPage(page) >> 9 === block).length).toBeGreaterThan(100);
    expect(countPageblocks(zone)).toEqual([1, 31, 0, 0, 0, 0]);
    checkAllocator();
  });

  it('change a pageblock when at least half of it is free or of a kind', () => {
    boot({ ranges: [{ start: 0, end: 4096 }] });
    const zone = zoneOf(ZONE_NORMAL);
    const pages = exhaust(GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC);
    expect(countPageblocks(zone)[MIGRATE_MOVABLE]).toBe(8);
    for (const page of pages) setPageFlags(page, PG_LRU);
    const give = (from: number, to: number): void => {
      for (const page of pages) {
        const pfn = pfnOfPage(page);
        if (pfn < from || pfn >= to) continue;
        setPageFlags(page, 0);
        release(page, 0);
      }
      drainAllPages();
    };
    give(512, 544);
    const mixed = allocPages(0, GFP_KERNEL | __GFP_MEMALLOC);
    // 32 free pages among 480 movable ones: no.
    expect(blockType(pfnOfPage(mixed))).toBe(MIGRATE_MOVABLE);
    give(1024, 1280);
    const claimed = allocPages(0, GFP_KERNEL | __GFP_MEMALLOC);
    // 256 free ones are half of the pageblock.
    expect(blockType(pfnOfPage(claimed))).toBe(MIGRATE_UNMOVABLE);
    expect(pfnOfPage(claimed) >> 9).toBe(2);
    checkAllocator();
  });

  it('prefer the zone below to mixing, where there is DMA32', () => {
    boot({ ranges: [{ start: 0, end: 16384 }], zoneBounds: { dma32: 8192 }, minFreeKbytes: 128 });
    const normal = zoneOf(ZONE_NORMAL);
    const pages: number[] = [];
    while (freeBlocks(normal).every((orders) => orders[9] + orders[10] > 0) || free(normal) > 1000) pages.push(allocPages(0, GFP_HIGHUSER_MOVABLE));
    while (
      freeBlocks(normal)
        [MIGRATE_MOVABLE].slice(9)
        .some((n) => n > 0)
    )
      pages.push(allocPages(0, GFP_HIGHUSER_MOVABLE));
    expect(free(normal)).toBeGreaterThan(heap[normal + Zone.watermark + 1]);
    expect(pfnOfPage(allocPages(0, GFP_KERNEL))).toBeLessThan(8192);
  });

  it('keep a pageblock for requests of several pages that cannot wait', () => {
    boot({ ranges: [{ start: 0, end: 131072 }] });
    const zone = zoneOf(ZONE_NORMAL);
    exhaust(GFP_KERNEL);
    const before = countPageblocks(zone)[MIGRATE_HIGHATOMIC];
    const page = allocPages(2, GFP_ATOMIC);
    expect(page).not.toBe(0);
    expect([before, countPageblocks(zone)[MIGRATE_HIGHATOMIC]]).toEqual([0, 1]);
    expect(heap[zone + Zone.reservedHighatomic]).toBe(512);
    checkAllocator();
    release(page, 2);
    expect(heap[zone + Zone.freeHighatomic]).toBeGreaterThanOrEqual(4);
    checkAllocator();
    expect(unreserveHighatomic(GFP_KERNEL)).toBe(false);
    expect(unreserveHighatomic(GFP_KERNEL, true)).toBe(true);
    expect(countPageblocks(zone)[MIGRATE_HIGHATOMIC]).toBe(0);
    expect(heap[zone + Zone.reservedHighatomic]).toBe(0);
    checkAllocator();
  });

  it('isolate a pageblock and give it back', () => {
    boot({ ranges: [{ start: 0, end: 8192 }] });
    const zone = zoneOf(ZONE_NORMAL);
    const page = allocPages(0, GFP_KERNEL);
    const total = free(zone);
    const type = isolatePageblock(1536);
    expect(type).toBe(blockType(1024));
    expect(isolatePageblock(1536)).toBe(-1);
    checkAllocator();
    expect(free(zone)).toBe(total - 512);
    expect(exhaust(GFP_KERNEL | __GFP_MEMALLOC).every((p) => pfnOfPage(p) >> 9 !== 3)).toBe(true);
    expect(freeBlocks(zone)[MIGRATE_ISOLATE][9]).toBe(1);
    unisolatePageblock(1536, type);
    checkAllocator();
    expect(free(zone)).toBe(512);
    expect(page).not.toBe(0);
    expect(pfnOfPage(allocPages(9, GFP_KERNEL | __GFP_MEMALLOC))).toBe(1536);
  });
});

/** One zone of 256 MiB, half of it CMA. */
const HALF_CMA = { ranges: [{ start: 0, end: 65536 }], cma: [{ start: 32768, end: 65536 }], minFreeKbytes: 1024 };

describe('CMA', () => {
  it('in the zone of its frames: movable requests only; free for unmovable ones is what is not CMA', () => {
    boot(HALF_CMA);
    const zone = zoneOf(ZONE_NORMAL);
    expect([heap[zone + Zone.cma], heap[zone + Zone.freeCma], free(zone)]).toEqual([32768, 32768, 65536]);
    const kernel = exhaust(GFP_KERNEL);
    expect(kernel.every((page) => pfnOfPage(page) < 32768)).toBe(true);
    expect(free(zone) - heap[zone + Zone.freeCma]).toBeLessThanOrEqual(heap[zone + Zone.watermark]);
    expect(zoneWatermarkOk(zone, 0, heap[zone + Zone.watermark + 1], ZONE_NORMAL, ALLOC_WMARK_LOW)).toBe(false);
    expect(zoneWatermarkOk(zone, 0, heap[zone + Zone.watermark + 1], ZONE_NORMAL, ALLOC_WMARK_LOW | ALLOC_CMA)).toBe(true);
    expect(pfnOfPage(allocPages(0, GFP_HIGHUSER_MOVABLE))).toBeGreaterThanOrEqual(32768);
    checkAllocator();
  });

  it('is used evenly since 5.8, last before', () => {
    const cmaUsed = (cmaLast: boolean): number => {
      boot({ ...HALF_CMA, cmaLast });
      for (let i = 0; i < 30000; i++) allocPages(0, GFP_HIGHUSER_MOVABLE);
      drainAllPages();
      return 32768 - heap[zoneOf(ZONE_NORMAL) + Zone.freeCma];
    };
    expect(cmaUsed(true)).toBe(0);
    expect(cmaUsed(false)).toBeGreaterThan(14000);
  });

  it('lets an atomic request fail with nobody woken, as its free pages count (R54); in ZONE_MOVABLE it does not', () => {
    const scenario = (cmaInMovable: boolean): { woken: boolean; atomic: boolean; free: number } => {
      boot({ ...HALF_CMA, cmaLast: true, cmaInMovable });
      // Movable requests eat the ordinary pages, as long as the watermarks are content.
      for (let i = 0; i < 32700 + (cmaInMovable ? 32700 : 0) && heap[memory() + Memory.kswapdWanted] === 0; i++) allocPages(0, GFP_HIGHUSER_MOVABLE);
      const woken = heap[memory() + Memory.kswapdWanted] !== 0;
      return { woken, atomic: exhaust(GFP_ATOMIC).length > 100, free: free(zoneOf(ZONE_NORMAL)) };
    };
    const old = scenario(false);
    expect(old).toEqual({ woken: false, atomic: false, free: expect.any(Number) });
    expect(old.free).toBeGreaterThan(32000);
    expect(scenario(true)).toMatchObject({ woken: true, atomic: true });
  });

  it('in ZONE_MOVABLE is taken first by users and never by the kernel', () => {
    boot({ ...HALF_CMA, cmaInMovable: true });
    const [normal, movable] = [zoneOf(ZONE_NORMAL), zoneOf(ZONE_MOVABLE)];
    expect([heap[normal + Zone.cma], heap[movable + Zone.cma], heap[movable + Zone.managed], heap[normal + Zone.managed]]).toEqual([0, 32768, 32768, 32768]);
    expect(pfnOfPage(allocPages(0, GFP_HIGHUSER_MOVABLE))).toBeGreaterThanOrEqual(32768);
    const left = free(movable);
    exhaust(GFP_KERNEL | __GFP_MOVABLE);
    expect(free(movable)).toBe(left);
    const area = heap[memory() + Memory.cmaAreas];
    expect(cmaAlloc(area, 4096)).toBeGreaterThanOrEqual(32768);
    checkAllocator();
  });

  it('gives ranges, passes over pages in use, takes ranges back', () => {
    boot(HALF_CMA);
    const zone = zoneOf(ZONE_NORMAL);
    const area = heap[memory() + Memory.cmaAreas];
    const first = cmaAlloc(area, 1000, 4);
    expect(first).toBe(32768);
    expect(cmaAlloc(area, 8, 4)).toBe(32768 + 1008);
    expect([0, 1, 999].map((i) => pageRefcount[pageOfPfn(first + i)])).toEqual([1, 1, 1]);
    expect(heap[zone + Zone.freeCma]).toBe(32768 - 1008);
    const user = allocContigRange(40000, 40001);
    expect(user).toBe(0);
    expect(allocContigRange(39999, 40002)).toBe(-16);
    // No place of 16384 frames from 33792 on holds none in use, but the upper half of the area.
    expect(cmaAlloc(area, 16384, 14)).toBe(49152);
    expect(cmaAlloc(area, 16384, 0)).toBe(-1);
    expect(cmaRelease(area, first, 1000)).toBe(true);
    expect(() => cmaRelease(area, first, 1)).toThrow(/did not give it out/);
    expect(cmaRelease(area, 100, 1)).toBe(false);
    checkAllocator();
    setPageRefcount(pageOfPfn(40000), 0);
    freeContigRange(40000, 40001);
    cmaRelease(area, 49152, 16384);
    cmaRelease(area, 33776, 8);
    checkAllocator();
    expect(heap[zone + Zone.freeCma]).toBe(32768);
    expect(freeBlocks(zone)[MIGRATE_CMA]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32]);
  });

  it('makes one compound page of a range, of which only the head is touched', () => {
    boot({ ranges: [{ start: 0, end: 1 << 20 }] });
    expect(allocContigRange(1 << 18, 1 << 19, 18)).toBe(0);
    const head = pageOfPfn(1 << 18);
    expect([pageRefcount[head], pageOrder[head], pageFlags[head]]).toEqual([1, 18, PG_HEAD]);
    checkAllocator();
    setPageRefcount(head, 0);
    freeContigRange(1 << 18, 1 << 19);
    expect([pageOrder[head] & 15, pageFlags[head] & PG_HEAD]).toEqual([10, 0]);
    checkAllocator();
  });
});

describe('a page', () => {
  it('comes clean and with one reference', () => {
    boot(SMALL);
    const page = allocPages(0, GFP_KERNEL);
    setWord((page << 10) + 5, 7);
    release(page, 0);
    expect(allocPages(0, GFP_KERNEL)).toBe(page);
    expect(words[(page << 10) + 5]).toBe(7);
    release(page, 0);
    expect(allocPages(0, GFP_KERNEL | __GFP_ZERO)).toBe(page);
    expect(words[(page << 10) + 5]).toBe(0);
    const huge = allocPages(9, GFP_TRANSHUGE);
    expect([pageFlags[huge], pageOrder[huge], pageRefcount[huge]]).toEqual([PG_HEAD, 9, 1]);
    expect(pageFlags[allocPages(9, GFP_KERNEL & ~__GFP_COMP)]).toBe(0);
    clearFrame(huge);
  });

  it('is refused when it is freed in use, by each reason', () => {
    boot(SMALL);
    const page = allocPages(0, GFP_KERNEL);
    const tail = allocPages(3, GFP_KERNEL);
    const refused = (p: number, order: number, reason: RegExp): void => expect(() => freePages(p, order)).toThrow(reason);
    refused(page, 0, /its reference count is 1/);
    setPageRefcount(page, 0);
    setPageRefcount(tail, 0);
    for (const flag of [PG_LOCKED, PG_WRITEBACK, PG_SWAPCACHE, PG_BUDDY, PG_TABLE, PG_RESERVED]) {
      setPageFlags(page, flag);
      refused(page, 0, new RegExp(`bad page state: page ${page} .*flags 0x${flag.toString(16)}`));
      setPageFlags(page, 0);
      setPageFlags(tail + 5, flag);
      refused(tail, 3, new RegExp(`page ${tail + 5} .*flags`));
      setPageFlags(tail + 5, 0);
    }
    setPageMapcount(page, 2);
    refused(page, 0, /mapcount is 2/);
    setPageMapcount(page, 0);
    setPagePincount(page, 1);
    refused(page, 0, /pincount is 1/);
    setPagePincount(page, 0);
    setPageMapping(page, 300);
    refused(page, 0, /mapping is not empty/);
    // An anonymous page may keep its anon_vma until it is freed.
    setPageFlags(page, PG_ANON);
    freePages(page, 0);
    expect([pageMapping[page], pageFlags[page]]).toEqual([0, PG_PCP]);
    refused(page, 0, /flags/);
    freePages(tail, 3);
    refused(tail, 3, /flags/);
    checkAllocator();
  });
});
