/** The page allocator against a naive model: no page is given twice, counts are right, all that is freed merges back, undo leads back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  __GFP_DMA32,
  allocPages,
  allZones,
  arraysOf,
  cmaAlloc,
  cmaRelease,
  drainAllPages,
  freePages,
  GFP_ATOMIC,
  GFP_DMA,
  GFP_HIGHUSER_MOVABLE,
  GFP_KERNEL,
  heap,
  journalMark,
  Memory,
  memory,
  mounted,
  pageRefcount,
  pagesEnd,
  pfnOfPage,
  setPageRefcount,
  startJournal,
  stateHash,
  stopJournal,
  undo,
  ZONE_DMA,
  ZONE_DMA32,
  Zone,
} from './all.ts';
import { boot, checkAllocator, SMALL, WITH_CMA } from './support.ts';

const release = (page: number, order: number, cpu = 0): void => {
  setPageRefcount(page, 0);
  freePages(page, order, cpu);
};

/** Free blocks of the zones, whatever their list. */
const lists = (): number[][] => [...allZones()].map((zone) => Array.from({ length: 11 }, (_, o) => heap[zone + Zone.nrFree + o]));
const frontiers = (): number[] => [...allZones()].map((zone) => heap[zone + Zone.frontier]);

const kinds = [GFP_KERNEL, GFP_HIGHUSER_MOVABLE, GFP_DMA | GFP_KERNEL, __GFP_DMA32 | GFP_KERNEL, GFP_ATOMIC, GFP_KERNEL | 0x10];

describe('page allocator', () => {
  it('gives each frame to one owner, keeps its counts, merges back and undoes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            order: fc.integer({ min: 0, max: 10 }),
            gfp: fc.integer({ min: 0, max: kinds.length - 1 }),
            free: fc.double({ min: 0, max: 1, noNaN: true }),
            cpu: fc.integer({ min: 0, max: 1 }),
            times: fc.integer({ min: 1, max: 40 }),
          }),
          { maxLength: 60 },
        ),
        fc.constantFrom(SMALL, WITH_CMA, { ...WITH_CMA, cmaInMovable: true }, { ...WITH_CMA, watermarkBoostFactor: 15000, cmaLast: true }),
        (steps, config) => {
          boot({ ...config, cpus: [0, 0] });
          const area = heap[memory() + Memory.cmaAreas];
          const contiguous: { pfn: number; count: number }[] = [];
          const total = checkAllocator();
          startJournal();
          const owner = new Map<number, number>();
          const live: { page: number; order: number }[] = [];
          for (const { order, gfp, free, cpu, times } of steps) {
            for (let n = 0; n < (order > 4 ? 3 : times); n++) {
              if (free < 0.45 && live.length > 0) {
                const [block] = live.splice(Math.floor(free * 1000 * (n + 1)) % live.length, 1);
                for (let i = 0; i < 2 ** block.order; i++) owner.delete(pfnOfPage(block.page) + i);
                release(block.page, block.order, cpu);
                continue;
              }
              if (area !== 0 && free > 0.95) {
                const count = 1 + (Math.floor(free * 1e6) % 900);
                const pfn = cmaAlloc(area, count, order % 4);
                if (pfn < 0) continue;
                expect(pfn % 2 ** (order % 4)).toBe(0);
                for (let i = 0; i < count; i++) {
                  expect(owner.has(pfn + i)).toBe(false);
                  owner.set(pfn + i, -1);
                }
                contiguous.push({ pfn, count });
                continue;
              }
              const page = allocPages(order, kinds[gfp], cpu);
              if (page === 0) continue;
              const pfn = pfnOfPage(page);
              expect(pfn % 2 ** order).toBe(0);
              for (let i = 0; i < 2 ** order; i++) {
                expect(owner.has(pfn + i)).toBe(false);
                expect(SMALL.ranges.some((r) => pfn + i >= r.start && pfn + i < r.end)).toBe(true);
                expect(SMALL.reserved?.some((r) => pfn + i >= r.start && pfn + i < r.end)).toBe(false);
                owner.set(pfn + i, page);
              }
              if (kinds[gfp] === (GFP_DMA | GFP_KERNEL)) expect(pfn).toBeLessThan(4096);
              if (kinds[gfp] === (__GFP_DMA32 | GFP_KERNEL)) expect(pfn).toBeLessThan(131072);
              expect(pageRefcount[page]).toBe(1);
              live.push({ page, order });
            }
          }
          checkAllocator();
          for (const { page, order } of live) release(page, order);
          for (const { pfn, count } of contiguous) expect(cmaRelease(area, pfn, count)).toBe(true);
          drainAllPages();
          expect(checkAllocator()).toEqual(total);
          undo(0);
          expect(stateHash()).toEqual({ low: 0, high: 0 });
          stopJournal();
          expect(checkAllocator()).toEqual(total);
          expect(pagesEnd()).toBe(16);
          for (const array of arraysOf(mounted()).slice(1)) expect(array.every((v) => v === 0)).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('merges back to what was cut off untouched memory', () => {
    boot({ ranges: [{ start: 1, end: 70000 }], zoneBounds: { dma: 4096 } });
    const pages: number[] = [];
    for (let page = allocPages(0, GFP_KERNEL); page !== 0; page = allocPages(0, GFP_KERNEL)) pages.push(page);
    // Down to the min watermarks (a refill of a CPU's list, which is checked once, may go below by its size).
    for (const zone of allZones())
      if (heap[zone + Zone.managed] > 0) expect(heap[zone + Zone.free]).toBeGreaterThanOrEqual(heap[zone + Zone.watermark] - heap[zone + Zone.pcpBatch]);
    const cut = frontiers();
    for (const page of pages) release(page, 0);
    drainAllPages();
    checkAllocator();
    const [dma, normal] = lists();
    // Every frame but the lowest and the tail is part of a block of the largest order, or was never cut.
    expect(normal.slice(0, 10).reduce((a, n) => a + n, 0)).toBeLessThanOrEqual(10);
    expect(dma.slice(0, 10).every((n) => n <= 1)).toBe(true);
    expect(cut).toEqual(frontiers());
  });

  it.each([
    { shift: 16, maxOrder: 13, pageblockOrder: 13, base: 0 },
    { shift: 14, maxOrder: 11, pageblockOrder: 11, base: 1 << 18 },
    { shift: 12, maxOrder: 10, pageblockOrder: 10, base: 2 ** 40 },
    { shift: 12, maxOrder: 3, pageblockOrder: 9, base: 1024 },
  ])('works with pages of 2^$shift bytes, blocks up to 2^$maxOrder and memory from frame $base on', ({ shift, maxOrder, pageblockOrder, base }) => {
    const config = { ranges: [{ start: base + 3, end: base + 40000 }], maxOrder, pageblockOrder };
    boot(config, base + 40000, shift, base);
    const total = checkAllocator();
    startJournal();
    const live: [number, number][] = [];
    for (let i = 0; i < 3000; i++) {
      const order = (i * 7) % (maxOrder + 1);
      const page = allocPages(order, i % 3 === 0 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE);
      if (page !== 0) {
        expect(pfnOfPage(page)).toBeGreaterThanOrEqual(base + 3);
        expect((pfnOfPage(page) - base) % 2 ** order).toBe(0);
        live.push([page, order]);
      }
      if (i % 3 === 2 && live.length > 0) release(...(live.splice((i * 31) % live.length, 1)[0] as [number, number]));
    }
    expect(live.length).toBeGreaterThan(5);
    checkAllocator();
    for (const [page, order] of live) release(page, order);
    drainAllPages();
    expect(checkAllocator()).toEqual(total);
    undo(0);
    stopJournal();
    expect(checkAllocator()).toEqual(total);
  });

  it('refuses bounds that no map can have', () => {
    expect(() => boot({ ranges: [{ start: 1, end: 5000 }], zoneBounds: { dma: 4095 } })).toThrow(/no multiple of a pageblock/);
    expect(() => boot({ ranges: [{ start: 1, end: 5000 }], maxOrder: 14 })).toThrow(/order 14/);
    expect(() => boot({ ranges: [{ start: 700, end: 5000 }] }, 5000, 12, 512)).toThrow(/no multiple of the largest block/);
    const two = [
      { start: 100, end: 200 },
      { start: 50, end: 99 },
    ];
    expect(() => boot({ ranges: two })).toThrow(/out of order/);
    const shared = [
      { start: 0, end: 700 },
      { start: 700, end: 2048, node: 1 },
    ];
    expect(() => boot({ ranges: shared })).toThrow(/two nodes/);
  });

  it('falls back downward only', () => {
    boot(SMALL);
    const zones = [...allZones()];
    while (allocPages(0, GFP_DMA | GFP_KERNEL) !== 0);
    expect(heap[zones[ZONE_DMA32] + Zone.free]).toBe(heap[zones[ZONE_DMA32] + Zone.managed]);
    expect(heap[zones[ZONE_DMA] + Zone.free]).toBeLessThan(64);
    expect(allocPages(0, GFP_KERNEL)).not.toBe(0);
  });

  it('touches little of a large machine', () => {
    boot({ ranges: [{ start: 1, end: 6 << 20 }], zoneBounds: { dma: 4096, dma32: 1 << 20 }, thp: true }, 6 << 20);
    expect(mounted().ram.buffer.byteLength).toBe(65536);
    for (let i = 0; i < 1000; i++) expect(allocPages(0, GFP_HIGHUSER_MOVABLE)).not.toBe(0);
    expect(pagesEnd() / 16).toBeLessThan(90);
  });

  it('gives a CPU the page back that it freed last', () => {
    boot(SMALL);
    const a = allocPages(0, GFP_KERNEL);
    const b = allocPages(0, GFP_KERNEL);
    release(a, 0);
    release(b, 0);
    expect(allocPages(0, GFP_KERNEL, 1)).not.toBe(b);
    expect(allocPages(0, GFP_KERNEL)).toBe(b);
    expect(allocPages(0, GFP_KERNEL)).toBe(a);
    const mark = journalMark();
    expect(mark).toBe(0);
  });
});
