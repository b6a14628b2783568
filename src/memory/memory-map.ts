/**
 * The map of a machine's memory, and the making of its zones from it (mm/mm_init.c: free_area_init, memmap_init; mm/memblock.c:
 * memblock_free_all). Nothing of the memory itself is touched: 24 GB of free frames cost a few objects.
 */
import { freeFrames } from './free-lists.ts';
import { MAX_NR_ZONES, MIGRATE_CMA, MIGRATE_MOVABLE, ZONE_DMA, ZONE_DMA32, ZONE_HIGHMEM, ZONE_MOVABLE, ZONE_NORMAL } from './gfp.ts';
import { alloc } from './heap.ts';
import { heap, mounted, setSlot } from './state.ts';
import { calculateMinFreeKbytes, recommendMinFreeKbytes, setupLowmemReserve, setupWatermarks } from './watermark.ts';
import {
  allocTables,
  basePfn,
  CmaArea,
  CmaBits,
  forgetAddresses,
  locate,
  MAX_CPUS,
  MAX_NODES,
  MAX_ZONES,
  Memory,
  MemoryRange,
  type MemoryRef,
  makePageblocks,
  memory,
  NR_ORDERS,
  Pcp,
  PresentRange,
  SLOT_MEMORY,
  ZONELIST_SLOTS,
  Zone,
  type ZoneRef,
} from './zone.ts';

/** Frames [start, end). */
export interface PfnRange {
  readonly start: number;
  readonly end: number;
}

export interface MemoryMapConfig {
  /** Frames that are present, ascending, with the node that they belong to (default 0). What lies between is a hole. */
  readonly ranges: readonly (PfnRange & { readonly node?: number })[];
  /** Frames present that the kernel image and early allocations keep: never managed. */
  readonly reserved?: readonly PfnRange[];
  /** First pfn above each zone; a zone not named does not exist. NORMAL is always built and has no bound unless HIGHMEM follows. */
  readonly zoneBounds?: { readonly dma?: number; readonly dma32?: number; readonly normal?: number };
  /** First pfn of ZONE_MOVABLE, by node (kernelcore=, movablecore=). */
  readonly movableStart?: readonly number[];
  /** Contiguous areas for cma_alloc. */
  readonly cma?: readonly PfnRange[];
  /** CMA pages belong to ZONE_MOVABLE instead of the zone of their pfn. */
  readonly cmaInMovable?: boolean;
  /** CMA pages serve movable requests only when others are used up (before 5.8), instead of evenly. */
  readonly cmaLast?: boolean;
  /** Largest order (MAX_PAGE_ORDER), default 10, and order of a pageblock, default 9. */
  readonly maxOrder?: number;
  readonly pageblockOrder?: number;
  /** Node of each CPU; default: one CPU of node 0. */
  readonly cpus?: readonly number[];
  readonly minFreeKbytes?: number;
  readonly watermarkScaleFactor?: number;
  /** Linux's 15000 wants a kswapd that takes the boost back; default 0. */
  readonly watermarkBoostFactor?: number;
  readonly lowmemReserveRatio?: readonly number[];
  readonly highFraction?: number;
  /** Transparent huge pages are on: min_free_kbytes as khugepaged recommends it. */
  readonly thp?: boolean;
  /** The recommendation counts zones of movable pages, as kernels before 4.18 did. */
  readonly thpCountsMovable?: boolean;
  /** ZONE_MOVABLE counts as other zones in sharing min_free_kbytes, as in kernels before 6.4. */
  readonly movableSharesMinFree?: boolean;
}

/** sysctl_lowmem_reserve_ratio, by zone (DMA, DMA32, NORMAL, HIGHMEM, MOVABLE). */
const LOWMEM_RESERVE_RATIO = [256, 256, 32, 0, 0, 0];

/** Makes zones over the mounted memory. @throws {RangeError} when bounds are not multiples of pageblocks or ranges do not fit. */
export function initMemory(config: MemoryMapConfig): MemoryRef {
  const base = mounted().basePfn;
  const maxOrder = config.maxOrder ?? 10;
  const pageblockOrder = Math.min(config.pageblockOrder ?? 9, maxOrder);
  const cpus = config.cpus ?? [0];
  const nodes = 1 + Math.max(0, ...cpus, ...config.ranges.map((r) => r.node ?? 0));
  if (maxOrder >= NR_ORDERS) throw new RangeError(`order ${maxOrder} is above the ${NR_ORDERS - 1} that zones have lists for`);
  if (base % 2 ** maxOrder !== 0) throw new RangeError(`memory starts at frame ${base}, which is no multiple of the largest block (2^${maxOrder})`);
  if (nodes > MAX_NODES || cpus.length > MAX_CPUS) throw new RangeError(`at most ${MAX_NODES} nodes and ${MAX_CPUS} CPUs`);
  forgetAddresses();
  const root = alloc(Memory);
  setSlot(SLOT_MEMORY, root);
  setSlot(root + Memory.maxOrder, maxOrder);
  setSlot(root + Memory.pageblockOrder, pageblockOrder);
  setSlot(root + Memory.nodes, nodes);
  setSlot(root + Memory.cpus, cpus.length);
  cpus.forEach((node, cpu) => setSlot(root + Memory.cpuNode + cpu, node));
  setSlot(root + Memory.watermarkScaleFactor, config.watermarkScaleFactor ?? 10);
  setSlot(root + Memory.watermarkBoostFactor, config.watermarkBoostFactor ?? 0);
  setSlot(root + Memory.userMinFreeKbytes, -1);
  setSlot(root + Memory.highFraction, config.highFraction ?? 0);
  setSlot(root + Memory.cmaInMovable, config.cmaInMovable ? 1 : 0);
  setSlot(root + Memory.cmaLast, config.cmaLast ? 1 : 0);
  setSlot(root + Memory.movableShares, config.movableSharesMinFree ? 1 : 0);
  for (let i = 0; i < MAX_NR_ZONES; i++) setSlot(root + Memory.lowmemReserveRatio + i, config.lowmemReserveRatio?.[i] ?? LOWMEM_RESERVE_RATIO[i]);
  makeZones(root, config, nodes, cpus.length);
  makePageblocks(root);
  placeMemory(root, config, pageblockOrder);
  spanZones(root, config);
  makeZonelists(root, nodes);
  for (const area of config.cma ?? []) addCmaArea(root, area);
  calculateMinFreeKbytes();
  if (config.thp) recommendMinFreeKbytes(config.thpCountsMovable);
  if (config.minFreeKbytes !== undefined) {
    setSlot(root + Memory.minFreeKbytes, config.minFreeKbytes);
    setSlot(root + Memory.userMinFreeKbytes, config.minFreeKbytes);
  }
  setupWatermarks();
  setupLowmemReserve();
  return root;
}

/** Zone kinds that a configuration is built with. Device memory has a zone on every machine. */
function kindsOf(config: MemoryMapConfig): number[] {
  const { dma, dma32, normal } = config.zoneBounds ?? {};
  const kinds = [];
  if (dma !== undefined) kinds.push(ZONE_DMA);
  if (dma32 !== undefined) kinds.push(ZONE_DMA32);
  kinds.push(ZONE_NORMAL);
  if (normal !== undefined) kinds.push(ZONE_HIGHMEM);
  kinds.push(ZONE_MOVABLE, MAX_NR_ZONES - 1);
  return kinds;
}

function makeZones(root: MemoryRef, config: MemoryMapConfig, nodes: number, cpus: number): void {
  const kinds = kindsOf(config);
  if (nodes * kinds.length > MAX_ZONES) throw new RangeError(`${nodes} nodes of ${kinds.length} zones are more than ${MAX_ZONES} zones`);
  let number = 0;
  let mask = 0;
  for (let node = 0; node < nodes; node++)
    for (const kind of kinds) {
      const zone = alloc(Zone);
      mask |= 1 << kind;
      setSlot(zone + Zone.kind, kind);
      setSlot(zone + Zone.node, node);
      setSlot(zone + Zone.number, number);
      setSlot(root + Memory.zones + number++, zone);
    }
  setSlot(root + Memory.nrZones, number);
  setSlot(root + Memory.zoneKinds, mask);
  for (let i = 0; i < number; i++)
    for (let cpu = 0; cpu < cpus; cpu++) {
      const zone = heap[root + Memory.zones + i];
      const pcp = alloc(Pcp);
      setSlot(pcp + Pcp.zone, zone);
      setSlot(pcp + Pcp.cpu, cpu);
      setSlot(zone + Zone.pcps + cpu, pcp);
    }
}

const zoneAt = (root: MemoryRef, node: number, kind: number): ZoneRef => {
  for (let i = 0; i < heap[root + Memory.nrZones]; i++) {
    const zone = heap[root + Memory.zones + i];
    if (heap[zone + Zone.node] === node && heap[zone + Zone.kind] === kind) return zone;
  }
  throw new RangeError(`node ${node} has no zone of kind ${kind}`);
};

interface Piece extends PfnRange {
  readonly zone: ZoneRef;
  readonly type: number;
}

/** Cuts ranges at zone boundaries and CMA areas, and gives them to the zones. */
function placeMemory(root: MemoryRef, config: MemoryMapConfig, pageblockOrder: number): void {
  const { dma, dma32, normal } = config.zoneBounds ?? {};
  const block = 2 ** pageblockOrder;
  const cma = config.cma ?? [];
  const movable = config.movableStart ?? [];
  const cuts = [dma, dma32, normal, ...movable, ...cma.flatMap((c) => [c.start, c.end])].filter((cut) => cut !== undefined);
  for (const cut of cuts) if (cut % block !== 0) throw new RangeError(`boundary at frame ${cut} is no multiple of a pageblock (${block} frames)`);
  const kindOf = (pfn: number, node: number): number => {
    if (config.cmaInMovable && cma.some((c) => pfn >= c.start && pfn < c.end)) return ZONE_MOVABLE;
    if (pfn >= (movable[node] ?? Number.POSITIVE_INFINITY)) return ZONE_MOVABLE;
    if (dma !== undefined && pfn < dma) return ZONE_DMA;
    if (dma32 !== undefined && pfn < dma32) return ZONE_DMA32;
    return normal === undefined || pfn < normal ? ZONE_NORMAL : ZONE_HIGHMEM;
  };
  const { basePfn, frames } = mounted();
  const lists = new Map<number, number>();
  let lastOfAll = 0;
  let previous = basePfn;
  let lastNode = config.ranges[0]?.node ?? 0;
  for (const range of config.ranges) {
    if (range.start < previous || range.end <= range.start || range.end > basePfn + frames)
      throw new RangeError(`range [${range.start}, ${range.end}) is out of order or outside of the ${frames} frames from ${basePfn}`);
    if (range.start % block !== 0 && lastNode !== (range.node ?? 0) && previous > range.start - (range.start % block))
      throw new RangeError(`frame ${range.start} shares its pageblock with frames of another node: a pageblock cannot be of two nodes`);
    previous = range.end;
    lastNode = range.node ?? 0;
    for (const part of split(range, cuts)) {
      const zone = zoneAt(root, range.node ?? 0, kindOf(part.start, range.node ?? 0));
      addPresent(root, zone, part);
      const type = cma.some((c) => part.start >= c.start && part.start < c.end) ? MIGRATE_CMA : MIGRATE_MOVABLE;
      for (const piece of without(part, config.reserved ?? [])) {
        const ref = addRange({ ...piece, zone, type }, lists);
        setSlot(lastOfAll === 0 ? root + Memory.ranges : lastOfAll + MemoryRange.nextOfAll, ref);
        lastOfAll = ref;
      }
    }
  }
}

function split(range: PfnRange, cuts: readonly number[]): PfnRange[] {
  const points = [...new Set(cuts.filter((cut) => cut > range.start && cut < range.end))].sort((a, b) => a - b);
  return [range.start, ...points].map((start, i) => ({ start, end: points[i] ?? range.end }));
}

function without(range: PfnRange, holes: readonly PfnRange[]): PfnRange[] {
  let parts: PfnRange[] = [range];
  for (const hole of holes)
    parts = parts.flatMap((p) =>
      hole.end <= p.start || hole.start >= p.end
        ? [p]
        : [
            { start: p.start, end: Math.max(p.start, hole.start) },
            { start: Math.min(p.end, hole.end), end: p.end },
          ].filter((q) => q.end > q.start),
    );
  return parts;
}

function addPresent(root: MemoryRef, zone: ZoneRef, part: PfnRange): void {
  setSlot(zone + Zone.present, heap[zone + Zone.present] + part.end - part.start);
  const ref = alloc(PresentRange);
  setSlot(ref + PresentRange.zone, zone);
  setSlot(ref + PresentRange.start, part.start);
  setSlot(ref + PresentRange.end, part.end);
  setSlot(ref + PresentRange.next, heap[root + Memory.present]);
  setSlot(root + Memory.present, ref);
}

/**
 * zone_spanned_pages_in_node: a zone spans its bounds as far as the node has memory, holes included. CMA frames that belong to the movable
 * zone lie within the span of another one.
 */
function spanZones(root: MemoryRef, config: MemoryMapConfig): void {
  const { dma, dma32, normal } = config.zoneBounds ?? {};
  const ends = [dma ?? 0, dma32 ?? dma ?? 0, normal ?? Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < heap[root + Memory.nrZones]; i++) {
    const zone = heap[root + Memory.zones + i];
    if (heap[zone + Zone.present] === 0) continue;
    const kind = heap[zone + Zone.kind];
    const node = heap[zone + Zone.node];
    const movable = config.movableStart?.[node] ?? Number.POSITIVE_INFINITY;
    const ranges = config.ranges.filter((r) => (r.node ?? 0) === node);
    const parts: PfnRange[] = [];
    for (let r = heap[root + Memory.present]; r !== 0; r = heap[r + PresentRange.next])
      if (heap[r + PresentRange.zone] === zone) parts.push({ start: heap[r + PresentRange.start], end: heap[r + PresentRange.end] });
    let start = Math.min(...parts.map((r) => r.start));
    let end = Math.max(...parts.map((r) => r.end));
    if (kind !== ZONE_MOVABLE) {
      start = Math.max(kind === 0 ? 0 : ends[kind - 1], Math.min(...ranges.map((r) => r.start)));
      end = Math.min(ends[kind], movable, Math.max(...ranges.map((r) => r.end)));
    }
    setSlot(zone + Zone.startPfn, start);
    setSlot(zone + Zone.spanned, end - start);
  }
}

function addRange(piece: Piece, lists: Map<number, number>): number {
  const { zone, start, end, type } = piece;
  const ref = alloc(MemoryRange);
  setSlot(ref + MemoryRange.zone, zone);
  setSlot(ref + MemoryRange.start, start);
  setSlot(ref + MemoryRange.end, end);
  setSlot(ref + MemoryRange.cursor, start);
  setSlot(ref + MemoryRange.type, type);
  const head = zone + (type === MIGRATE_CMA ? Zone.cmaFrontier : Zone.frontier);
  const last = lists.get(head) ?? 0;
  setSlot(last === 0 ? head : last + MemoryRange.next, ref);
  lists.set(head, ref);
  const counters = type === MIGRATE_CMA ? [Zone.managed, Zone.free, Zone.cma, Zone.freeCma] : [Zone.managed, Zone.free];
  for (const counter of counters) setSlot(zone + counter, heap[zone + counter] + end - start);
  return ref;
}

/** Zonelists: own zones from the top down, then those of the nodes that follow, round about (build_zonelists, distances by number). */
function makeZonelists(root: MemoryRef, nodes: number): void {
  for (let node = 0; node < nodes; node++) {
    let at = root + Memory.zonelists + node * ZONELIST_SLOTS;
    for (let step = 0; step < nodes; step++)
      for (let i = heap[root + Memory.nrZones] - 1; i >= 0; i--) {
        const zone = heap[root + Memory.zones + i];
        if (heap[zone + Zone.node] === (node + step) % nodes && heap[zone + Zone.managed] > 0) setSlot(at++, zone);
      }
  }
}

function addCmaArea(root: MemoryRef, area: PfnRange): void {
  const ref = alloc(CmaArea);
  setSlot(ref + CmaArea.start, area.start);
  setSlot(ref + CmaArea.end, area.end);
  setSlot(ref + CmaArea.next, heap[root + Memory.cmaAreas]);
  setSlot(root + Memory.cmaAreas, ref);
  setSlot(ref + CmaArea.bitmap, allocTables(CmaBits, Math.ceil((area.end - area.start) / 2048)));
}

/**
 * free_reserved_area: frames that the boot kept come under management, as those of init code and of an initrd do. Pages added.
 * @throws {RangeError} when a frame is not present or is managed already.
 */
export function freeReservedArea({ start, end }: PfnRange): number {
  locate();
  const root = memory();
  let added = 0;
  for (let range = heap[root + Memory.present]; range !== 0; range = heap[range + PresentRange.next]) {
    const from = Math.max(start, heap[range + PresentRange.start]);
    const to = Math.min(end, heap[range + PresentRange.end]);
    if (from >= to) continue;
    for (let r = heap[root + Memory.ranges]; r !== 0; r = heap[r + MemoryRange.nextOfAll])
      if (heap[r + MemoryRange.start] < to && heap[r + MemoryRange.end] > from) throw new RangeError(`frames [${from}, ${to}) are managed already`);
    const zone = heap[range + PresentRange.zone];
    const managed = alloc(MemoryRange);
    for (const [field, value] of [
      [MemoryRange.zone, zone],
      [MemoryRange.start, from],
      [MemoryRange.end, to],
      [MemoryRange.cursor, to],
      [MemoryRange.type, MIGRATE_MOVABLE],
      [MemoryRange.nextOfAll, heap[root + Memory.ranges]],
    ])
      setSlot(managed + field, value);
    setSlot(root + Memory.ranges, managed);
    setSlot(zone + Zone.managed, heap[zone + Zone.managed] + to - from);
    freeFrames(zone, from - basePfn, to - basePfn);
    added += to - from;
  }
  if (added !== end - start) throw new RangeError(`frames [${start}, ${end}) are not all present`);
  return added;
}
