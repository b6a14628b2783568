/**
 * Watermarks and the texts of /proc against a running kernel's (fixtures: Linux 6.18, x86-64, 2 CPUs, THP on; CONFIG_CMA off), and against
 * the figures that the series "min_free_kbytes without ZONE_MOVABLE" gives for 22 GB on two nodes.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  allZones,
  buddyinfo,
  freePagesInBlocks,
  freeReservedArea,
  heap,
  Memory,
  type MemoryMapConfig,
  memory,
  moveFreePages,
  pagetypeinfo,
  readAllocatorSysctl,
  setSlot,
  settle,
  setupWatermarks,
  thpChanged,
  writeAllocatorSysctl,
  ZONE_DMA,
  ZONE_MOVABLE,
  ZONE_NORMAL,
  Zone,
  zoneinfo,
} from './all.ts';
import { boot, checkAllocator, zoneOf } from './support.ts';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');

/** The memory of the machine that the fixtures are of. */
const RECORDED: MemoryMapConfig = {
  ranges: [
    { start: 1, end: 159 },
    { start: 256, end: 786432 },
    { start: 1048576, end: 6553600 },
  ],
  reserved: [
    { start: 1, end: 159 },
    { start: 777014, end: 786432 },
    { start: 1048576 + 2260992, end: 6553600 },
  ],
  zoneBounds: { dma: 4096, dma32: 1048576 },
  cpus: [0, 0],
  thp: true,
};

/** Names and values that follow a line of zoneinfo until one of the last names. */
function statistics(text: string, after: string, before: string): [string, number][] {
  const part = text.slice(text.indexOf(after) + after.length);
  const rows = part.slice(part.indexOf('\n') + 1, part.indexOf(before));
  return [...rows.matchAll(/^ {6}(\S+) +(\d+)$/gm)].map((m) => [m[1], Number(m[2])]);
}

describe('/proc/zoneinfo', () => {
  it('is that of Linux 6.18 for the same memory, but for pages in use', () => {
    boot(RECORDED);
    const real = fixture('zoneinfo-6.18.txt');
    const zones = real.split(/^(?=Node)/m);
    const section = (zone: number): string => zones[heap[zone + Zone.number]];
    const ours = zoneinfo({
      nodeStats: () => statistics(real, 'per-node stats', '  pages free'),
      zoneStats: (zone) => statistics(section(zone), 'nr_free_pages_blocks', '      nr_free_cma'),
      eventStats: (zone) => statistics(section(zone), 'nr_free_cma', '  pagesets'),
    });
    // What depends on use: free pages, and lists of CPUs, whose `high` a running kernel tunes.
    const still = (text: string): string => text.replace(/(pages free|nr_free_pages|nr_free_pages_blocks|count:|high:)( +)\d+/g, '$1$2#');
    expect(still(ours).split('\n')).toEqual(still(real).split('\n'));
    // Nothing of DMA was in use.
    expect(heap[zoneOf(ZONE_DMA) + Zone.free]).toBe(3840);
    expect(zones[0]).toContain('pages free     3840\n');
    expect(zones[0]).toContain(`nr_free_pages_blocks ${freePagesInBlocks(zoneOf(ZONE_DMA))}\n`);
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(67584);
    expect(readAllocatorSysctl('lowmem_reserve_ratio')).toBe('256\t256\t32\t0\t0');
  });

  it('gives pagetypeinfo and buddyinfo of the same form, DMA to the letter', () => {
    boot(RECORDED);
    const zone = zoneOf(ZONE_DMA);
    // The recorded kernel had made the first pageblock one of unmovable pages.
    settle(zone, 0, 512);
    moveFreePages(zone, 0, 1, 0);
    checkAllocator();
    const real = fixture('pagetypeinfo-6.18.txt').split('\n');
    const ours = pagetypeinfo().split('\n');
    const masked = (line: string): string =>
      line.replace(
        /(zone .*?(?:type +\w+)?)((?: +\d+)+ *)$/,
        (_, head: string, cells: string) => head + cells.replace(/[ \d]{7}/g, '      #').replace(/\d/g, '#'),
      );
    expect(ours.length).toBe(real.length);
    for (const [i, line] of real.entries())
      if (/zone +DMA,/.test(line) || !/zone/.test(line)) expect(ours[i]).toBe(line);
      else expect(masked(ours[i]).length).toBe(masked(line).length);
    expect(ours.find((line) => line.startsWith('Node 0, zone    DMA32 '))).toBe(real.find((line) => line.startsWith('Node 0, zone    DMA32 ')));
    expect(buddyinfo().split('\n')[0]).toBe('Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 ');
  });
});

/** 22 GB on two nodes: frames managed by zone as they follow from both published tables. */
const TWO_NODES: MemoryMapConfig = {
  ranges: [
    { start: 1, end: 1 + 3977 },
    { start: 4096, end: 4096 + 761735 },
    { start: 1048576, end: 1048576 + 2054570 },
    { start: 3103232, end: 3103232 + 2831180, node: 1 },
    { start: 5934592, end: 5934592 + 25706, node: 1 },
  ],
  zoneBounds: { dma: 4096, dma32: 1048576 },
  movableStart: [2 ** 40, 5934592],
  cpus: [0, 0, 1, 1],
  thp: true,
  movableSharesMinFree: true,
};
const mins = (): number[] => [...allZones()].map((zone) => heap[zone + Zone.watermark]);

describe('min_free_kbytes', () => {
  it('is 112640 with ZONE_MOVABLE counted, 90112 without, and is shared out as published', () => {
    boot({ ...TWO_NODES, thpCountsMovable: true });
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(112640);
    expect(mins()).toEqual([19, 3778, 10191, 0, 0, 0, 0, 14043, 127, 0]);
    boot(TWO_NODES);
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(90112);
    expect(mins()).toEqual([15, 3022, 8152, 0, 0, 0, 0, 11234, 102, 0]);
  });

  it('gives ZONE_MOVABLE between 32 and 128 pages since 6.4, and all of the rest to the others', () => {
    boot({ ...TWO_NODES, movableSharesMinFree: false });
    expect(heap[zoneOf(ZONE_MOVABLE, 1) + Zone.watermark]).toBe(32);
    expect(heap[zoneOf(ZONE_MOVABLE, 0) + Zone.watermark]).toBe(32);
    const lowmem = [...allZones()].filter((zone) => heap[zone + Zone.kind] <= ZONE_NORMAL).reduce((sum, zone) => sum + heap[zone + Zone.watermark], 0);
    expect(lowmem).toBeGreaterThan(22528 - 4);
    expect(lowmem).toBeLessThanOrEqual(22528);
  });

  it('is 4 √kB of lowmem without huge pages, within 128 and 262144', () => {
    boot({ ranges: [{ start: 0, end: 262144 }] });
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(4096);
    boot({ ranges: [{ start: 0, end: 128 }] });
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(128);
    thpChanged(true);
    // The recommendation never takes more than a twentieth.
    expect(heap[memory() + Memory.minFreeKbytes]).toBe(128);
  });

  it('gives HIGHMEM no share, and lowmem keeps nothing back from it with ratio 0', () => {
    boot({ ranges: [{ start: 0, end: 524288 }], zoneBounds: { dma: 4096, normal: 229376 } });
    const [dma, normal, high] = [...allZones()];
    const pages = heap[memory() + Memory.minFreeKbytes] / 4;
    expect(heap[dma + Zone.watermark] + heap[normal + Zone.watermark]).toBeGreaterThanOrEqual(pages - 2);
    expect(heap[high + Zone.watermark]).toBe(128);
    const protection = (zone: number): number[] => [0, 2, 3, 4, 5].map((kind) => heap[zone + Zone.lowmemReserve + kind]);
    expect(protection(dma)).toEqual([0, Math.floor(225280 / 256), Math.floor((225280 + 294912) / 256), 2032, 2032]);
    expect(protection(normal)).toEqual([0, 0, Math.floor(294912 / 32), 9216, 9216]);
    expect(protection(high)).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('/proc/sys/vm', () => {
  it('recomputes what depends on it and refuses what Linux refuses', () => {
    boot(RECORDED);
    const normal = zoneOf(ZONE_NORMAL);
    expect(writeAllocatorSysctl('min_free_kbytes', [135168])).toBe(0);
    expect(heap[normal + Zone.watermark]).toBe(25151);
    // User's choice stays above what huge pages recommend, and below.
    expect(writeAllocatorSysctl('watermark_scale_factor', [100])).toBe(0);
    expect(heap[normal + Zone.watermark + 1] - heap[normal + Zone.watermark]).toBe(22609);
    expect(writeAllocatorSysctl('watermark_scale_factor', [0])).toBe(-22);
    expect(writeAllocatorSysctl('watermark_scale_factor', [3001])).toBe(-22);
    expect(writeAllocatorSysctl('min_free_kbytes', [-1])).toBe(-22);
    expect(writeAllocatorSysctl('percpu_pagelist_high_fraction', [7])).toBe(-22);
    expect(writeAllocatorSysctl('percpu_pagelist_high_fraction', [8])).toBe(0);
    expect(heap[normal + Zone.pcpHighMin]).toBe(141312);
    expect(writeAllocatorSysctl('lowmem_reserve_ratio', [128, 0])).toBe(0);
    expect(zoneinfo()).toContain('protection: (0, 6038, 23702, 23702, 23702)');
    expect(zoneinfo()).not.toContain('protection: (0, 0, 8832');
    expect(readAllocatorSysctl('lowmem_reserve_ratio')).toBe('128\t0\t32\t0\t0');
  });

  it('keeps Zone.room what it follows from', () => {
    boot(RECORDED);
    const zone = zoneOf(ZONE_NORMAL);
    setSlot(zone + Zone.free, 20000);
    setupWatermarks();
    expect(heap[zone + Zone.room]).toBe(20000 - 15718);
  });
});

describe('memory handed over', () => {
  it('counts each frame once', () => {
    boot(RECORDED);
    const free = (): number => [...allZones()].reduce((sum, zone) => sum + heap[zone + Zone.free], 0);
    expect(free()).toBe(3840 + 772918 + 2260992);
    expect(freeReservedArea({ start: 777014, end: 786432 })).toBe(9418);
    checkAllocator();
    expect(free()).toBe(3840 + 782336 + 2260992);
    expect(() => freeReservedArea({ start: 777014, end: 777015 })).toThrow(/managed already/);
    expect(() => freeReservedArea({ start: 200, end: 210 })).toThrow(/not all present/);
    // The hole between is closed: all of the zone is made of the largest blocks.
    settle(zoneOf(1), 4096, 786432);
    checkAllocator();
    expect(buddyinfo()).toContain('DMA32      0      0      0      0      0      0      0      0      0      0    764 ');
  });
});
