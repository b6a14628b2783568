/**
 * Watermarks, reserves and sizes of per-CPU lists, recomputed from the sysctls (mm/page_alloc.c: __setup_per_zone_wmarks,
 * setup_per_zone_lowmem_reserve, calculate_min_free_kbytes, zone_highsize, zone_batchsize; mm/khugepaged.c: set_recommended_min_free_kbytes).
 */
import { MAX_NR_ZONES, MIGRATE_PCPTYPES, ZONE_HIGHMEM, ZONE_MOVABLE, ZONE_NORMAL } from './gfp.ts';
import { heap, pageShift, setSlot } from './state.ts';
import { MAX_CPUS, Memory, memory, Pcp, WMARK_HIGH, WMARK_LOW, WMARK_MIN, WMARK_PROMO, Zone, type ZoneRef } from './zone.ts';

/** Bounds of the min watermark of zones that the kernel itself cannot use, pages (SWAP_CLUSTER_MAX). */
const MOVABLE_MIN_LEAST = 32;
const MOVABLE_MIN_MOST = 128;
/** Least fraction of a zone that its per-CPU lists may take (MIN_PERCPU_PAGELIST_HIGH_FRACTION). */
const LEAST_HIGH_FRACTION = 8;

/** Every zone of the machine, empty ones too. */
export function* allZones(): Generator<ZoneRef> {
  const root = memory();
  for (let i = 0; i < heap[root + Memory.nrZones]; i++) yield heap[root + Memory.zones + i];
}

const isLowmem = (zone: ZoneRef): boolean => heap[zone + Zone.kind] !== ZONE_HIGHMEM && heap[zone + Zone.kind] !== ZONE_MOVABLE;

/** __setup_per_zone_wmarks and what follows from it: lists of CPUs, too. */
export function setupWatermarks(): void {
  const root = memory();
  const minPages = Math.floor((heap[root + Memory.minFreeKbytes] * 1024) / 2 ** pageShift);
  const movableShares = heap[root + Memory.movableShares] !== 0;
  const shares = (zone: ZoneRef): boolean => isLowmem(zone) || (movableShares && heap[zone + Zone.kind] === ZONE_MOVABLE);
  let lowmem = 0;
  for (const zone of allZones()) if (shares(zone)) lowmem += heap[zone + Zone.managed];
  for (const zone of allZones()) {
    const managed = heap[zone + Zone.managed];
    const share = lowmem === 0 ? 0 : Math.floor((minPages * managed) / lowmem);
    const min = shares(zone) ? share : Math.min(Math.max(Math.floor(managed / 1024), MOVABLE_MIN_LEAST), MOVABLE_MIN_MOST);
    const step = Math.max(Math.floor(share / 4), Math.floor((managed * heap[root + Memory.watermarkScaleFactor]) / 10000));
    setSlot(zone + Zone.watermark + WMARK_MIN, min);
    setSlot(zone + Zone.watermark + WMARK_LOW, min + step);
    setSlot(zone + Zone.watermark + WMARK_HIGH, min + 2 * step);
    setSlot(zone + Zone.watermark + WMARK_PROMO, min + 3 * step);
    setSlot(zone + Zone.boost, 0);
    setupPcp(zone);
    updateRoom(zone);
  }
}

/** Zone.room, after watermarks, reserves or the boost became others. */
export function updateRoom(zone: ZoneRef): void {
  let reserve = 0;
  for (let kind = 0; kind < MAX_NR_ZONES; kind++) reserve = Math.max(reserve, heap[zone + Zone.lowmemReserve + kind]);
  const free = heap[zone + Zone.free] - heap[zone + Zone.freeCma] - heap[zone + Zone.freeHighatomic];
  setSlot(zone + Zone.room, free - heap[zone + Zone.watermark + WMARK_LOW] - heap[zone + Zone.boost] - reserve);
}

/** zone_batchsize: pages that move at once between the lists of a CPU and of the zone. */
function batchSize(managed: number): number {
  const batch = Math.max(1, Math.floor(Math.min(Math.floor(managed / 1024), 1048576 / 2 ** pageShift) / 4));
  return Math.max(1, 2 ** Math.floor(Math.log2(batch + Math.floor(batch / 2))) - 1);
}

/** zone_set_pageset_high_and_batch. */
function setupPcp(zone: ZoneRef): void {
  const root = memory();
  const batch = batchSize(heap[zone + Zone.managed]);
  let cpus = 0;
  for (let cpu = 0; cpu < heap[root + Memory.cpus]; cpu++) if (heap[root + Memory.cpuNode + cpu] === heap[zone + Zone.node]) cpus++;
  const fraction = heap[root + Memory.highFraction];
  const size = (divisor: number): number => {
    const pages = divisor === 0 ? heap[zone + Zone.watermark + WMARK_LOW] : Math.floor(heap[zone + Zone.managed] / divisor);
    return Math.max(Math.floor(pages / Math.max(1, cpus)), batch * 4);
  };
  setSlot(zone + Zone.pcpBatch, batch);
  setSlot(zone + Zone.pcpHighMin, size(fraction));
  setSlot(zone + Zone.pcpHighMax, size(fraction === 0 ? LEAST_HIGH_FRACTION : fraction));
  for (let cpu = 0; cpu < MAX_CPUS; cpu++) {
    const pcp = heap[zone + Zone.pcps + cpu];
    if (pcp === 0) continue;
    setSlot(pcp + Pcp.batch, batch);
    setSlot(pcp + Pcp.high, heap[zone + Zone.pcpHighMin]);
  }
}

/**
 * setup_per_zone_lowmem_reserve: what a request that could go higher must leave in each zone. Ratio 0: no reserve.
 */
export function setupLowmemReserve(): void {
  const root = memory();
  for (const zone of allZones()) {
    const kind = heap[zone + Zone.kind];
    const ratio = heap[root + Memory.lowmemReserveRatio + kind];
    let above = 0;
    for (let upper = kind + 1; upper < MAX_NR_ZONES; upper++) {
      above += managedOf(heap[zone + Zone.node], upper);
      setSlot(zone + Zone.lowmemReserve + upper, ratio === 0 || heap[zone + Zone.managed] === 0 ? 0 : Math.floor(above / ratio));
    }
    updateRoom(zone);
  }
}

function managedOf(node: number, kind: number): number {
  for (const zone of allZones()) if (heap[zone + Zone.node] === node && heap[zone + Zone.kind] === kind) return heap[zone + Zone.managed];
  return 0;
}

/** nr_free_buffer_pages: pages above the high watermarks in the zones that GFP_USER may use. */
export function nrFreeBufferPages(): number {
  let sum = 0;
  for (const zone of allZones()) {
    if (heap[zone + Zone.kind] > ZONE_NORMAL) continue;
    const above = heap[zone + Zone.managed] - heap[zone + Zone.watermark + WMARK_HIGH];
    if (above > 0) sum += above;
  }
  return sum;
}

/** calculate_min_free_kbytes: what the kernel chooses at boot. */
export function calculateMinFreeKbytes(): void {
  const root = memory();
  const kbytes = Math.floor(Math.sqrt(((nrFreeBufferPages() * 2 ** pageShift) / 1024) * 16));
  if (kbytes > heap[root + Memory.userMinFreeKbytes]) setSlot(root + Memory.minFreeKbytes, Math.min(Math.max(kbytes, 128), 262144));
}

/**
 * set_recommended_min_free_kbytes, when transparent huge pages are on: two pageblocks a zone, and one for each pair of migratetypes. Zones
 * above the one of GFP_USER hold movable pages only and are not counted, unless `countMovable` asks for what kernels before 4.18 did.
 */
export function recommendMinFreeKbytes(countMovable = false): void {
  const root = memory();
  let zones = 0;
  for (const zone of allZones()) if (heap[zone + Zone.managed] > 0 && (countMovable || heap[zone + Zone.kind] <= ZONE_NORMAL)) zones++;
  const pages = Math.min(2 ** heap[root + Memory.pageblockOrder] * zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES), Math.floor(nrFreeBufferPages() / 20));
  const kbytes = (pages * 2 ** pageShift) / 1024;
  if (kbytes > heap[root + Memory.minFreeKbytes]) setSlot(root + Memory.minFreeKbytes, kbytes);
}
