/**
 * Zones: struct zone, the per-CPU lists, the pageblocks and the zonelists, as objects of the heap.
 *
 * Invariants: a block of free pages is on exactly one list, of its order and of the migratetype of its list, in the zone of its pageblock; or
 * it has never been touched and lies in a *frontier*, the part of a range from `cursor` on, of which nothing is stored. `free` counts both.
 * Pages on per-CPU lists are not counted. A frontier is cut into the largest aligned blocks, low addresses first, as the boot allocator
 * hands memory over (memblock_free_all), so no block of a frontier has its buddy outside of it.
 * Zone boundaries are multiples of a pageblock: one word tells type and zone of a pageblock.
 */
import { gfpZone, MIGRATE_TYPES } from './gfp.ts';
import { alloc } from './heap.ts';
import { heap, type MachineState, mounted, pfnOfPage, setSlot } from './state.ts';
import { array, defineStruct, type Ref } from './struct.ts';

export type ZoneRef = Ref<'zone'>;
export type PcpRef = Ref<'pcp'>;
export type MemoryRef = Ref<'memory'>;

/** Orders that a zone has lists for; what a machine uses ends at its `maxOrder`. */
export const NR_ORDERS = 14;
export const MAX_CPUS = 64;
export const MAX_ZONES = 31;
export const MAX_NODES = 4;
/** Zones that one zonelist names, with the 0 at its end. */
export const ZONELIST_SLOTS = MAX_ZONES + 1;

export const WMARK_MIN = 0;
export const WMARK_LOW = 1;
export const WMARK_HIGH = 2;
export const WMARK_PROMO = 3;

/** Everything that the allocator knows: one object a machine. */
export const Memory = defineStruct('memory', {
  maxOrder: 'number',
  pageblockOrder: 'number',
  /** Bits of the zones (1 << ZONE_*) that the machine is built with. */
  zoneKinds: 'flags',
  nodes: 'count',
  cpus: 'count',
  nrZones: 'count',
  zones: array(MAX_ZONES, 'ref:zone'),
  /** Node of each CPU. */
  cpuNode: array(MAX_CPUS),
  /** Zones in the order in which each node falls back, 0-ended. */
  zonelists: array(ZONELIST_SLOTS * MAX_NODES, 'ref:zone'),
  /** First of the pageblock tables, which stand one after the other: 512 pageblocks each, counted from the machine's first frame. */
  pageblocks: 'ref:pageblocks',
  ranges: 'ref:memoryRange',
  /** Every range that is present, reserved frames included. */
  present: 'ref:presentRange',
  cmaAreas: 'ref:cmaArea',
  /** CMA pages are in the movable zone. */
  cmaInMovable: 'number',
  /** Movable requests take CMA pages only when others are used up, as kernels before 5.8 did. */
  cmaLast: 'number',
  minFreeKbytes: 'count',
  /** min_free_kbytes as the user set it, −1 never. */
  userMinFreeKbytes: 'number',
  watermarkScaleFactor: 'number',
  watermarkBoostFactor: 'number',
  lowmemReserveRatio: array(6),
  /** ZONE_MOVABLE takes its share of min_free_kbytes, as in kernels before 6.4. */
  movableShares: 'number',
  /** percpu_pagelist_high_fraction. */
  highFraction: 'number',
  /** Watermark failures that woke kswapd: per node a bit mask of the highest zones asked for. */
  kswapdWanted: array(MAX_NODES, 'flags'),
});

export const Zone = defineStruct('zone', {
  /** ZONE_* */
  kind: 'number',
  node: 'number',
  number: 'number',
  startPfn: 'number',
  spanned: 'count',
  present: 'count',
  managed: 'count',
  cma: 'count',
  free: 'count',
  /**
   * Free pages of ordinary types above what the low watermark and the largest of the reserves ask for: while it is positive no request for
   * one page needs to be compared with watermarks. Follows from the other fields.
   */
  room: 'number',
  freeCma: 'count',
  /** Pages in pageblocks of MIGRATE_HIGHATOMIC, and the free ones of them. */
  reservedHighatomic: 'count',
  freeHighatomic: 'count',
  watermark: array(4, 'count'),
  boost: 'count',
  lowmemReserve: array(6, 'count'),
  /** Blocks on the lists, by order. */
  nrFree: array(NR_ORDERS, 'count'),
  /** First block by order and type; the first one's `prev` is the last one, the last one's `next` is 0. */
  lists: array(NR_ORDERS * MIGRATE_TYPES, 'page'),
  /** First range with a frontier: of ordinary memory, of CMA. */
  frontier: 'ref:memoryRange',
  cmaFrontier: 'ref:memoryRange',
  pcps: array(MAX_CPUS, 'ref:pcp'),
  pcpBatch: 'count',
  pcpHighMin: 'count',
  pcpHighMax: 'count',
});

/** per_cpu_pages: pages of order 0 that one CPU keeps at hand, linked through `pageNext`. */
export const Pcp = defineStruct('pcp', { zone: 'ref:zone', cpu: 'number', count: 'count', high: 'count', batch: 'count', lists: array(3, 'page') });

/** A run of managed frames within one zone; [cursor, end) has never been touched. */
export const MemoryRange = defineStruct('memoryRange', {
  zone: 'ref:zone',
  /** Next range of the zone and kind. */
  next: 'ref:memoryRange',
  start: 'number',
  end: 'number',
  cursor: 'number',
  /** Migratetype of its pageblocks at the start: MOVABLE or CMA. */
  type: 'number',
  /** Every range of the machine. */
  nextOfAll: 'ref:memoryRange',
});

/** Frames that are present in a zone. */
export const PresentRange = defineStruct('presentRange', { zone: 'ref:zone', next: 'ref:presentRange', start: 'number', end: 'number' });

/** An area for cma_alloc. `bitmap` is the first of the tables of frames in use, which stand one after the other. */
export const CmaArea = defineStruct('cmaArea', { next: 'ref:cmaArea', start: 'number', end: 'number', used: 'count', bitmap: 'ref:cmaBits' });

/** 2048 frames of an area, 32 a slot: 1 in use. */
export const CmaBits = defineStruct('cmaBits', { words: array(64, 'flags') });

/** 512 pageblocks, four a slot: each 3 bits of migratetype, 5 bits of the zone's number + 1; 0 before anything of it is handed out. */
export const Pageblocks = defineStruct('pageblocks', { types: array(128, 'flags') });

/** Heap slot that refers to the machine's `memory` object. */
export const SLOT_MEMORY = 3;

export const memory = (): MemoryRef => heap[SLOT_MEMORY];

// --- where things are -------------------------------------------------------------------------------------------------------

/** The machine that the addresses below are of. They never change once its zones are made. */
let known: MachineState | undefined;
/** First frame of the machine. */
export let basePfn = 0;
let pageblockShift = 0;
let pageblockTable = 0;
/** By CPU and the four zone bits of GFP flags: the zone to try first, and the CPU's list of it; 0 when no zone may serve. */
export const firstZone = new Int32Array(MAX_CPUS * 16);
export const firstPcp = new Int32Array(MAX_CPUS * 16);
/** By CPU (× 32) and number of the zone + 1: the CPU's list. */
export const pcpOf = new Int32Array(MAX_CPUS * 32);

/** Takes up the addresses of the mounted machine. Every way into the allocator begins so. */
export function locate(): void {
  if (mounted() !== known) relocate();
}

/** Forgets the addresses: zones are made anew. */
export function forgetAddresses(): void {
  known = undefined;
}

function relocate(): void {
  const root = memory();
  if (root === 0) throw new Error('the mounted machine has no memory map: initMemory was not called');
  known = mounted();
  basePfn = known.basePfn;
  pageblockShift = heap[root + Memory.pageblockOrder];
  pageblockTable = heap[root + Memory.pageblocks];
  for (let cpu = 0; cpu < heap[root + Memory.cpus]; cpu++) {
    for (let number = 0; number < heap[root + Memory.nrZones]; number++)
      pcpOf[(cpu << 5) + number + 1] = heap[heap[root + Memory.zones + number] + Zone.pcps + cpu];
    for (let bits = 0; bits < 16; bits++) {
      let at = root + Memory.zonelists + heap[root + Memory.cpuNode + cpu] * ZONELIST_SLOTS;
      while (heap[at] !== 0 && heap[heap[at] + Zone.kind] > gfpZone(bits)) at++;
      firstZone[(cpu << 4) + bits] = heap[at];
      firstPcp[(cpu << 4) + bits] = heap[at] === 0 ? 0 : heap[heap[at] + Zone.pcps + cpu];
    }
  }
}

// --- pageblocks -------------------------------------------------------------------------------------------------------------

const TABLE_SLOTS = Pageblocks.$size;
const TABLE_TYPES = Pageblocks.types;

/** Slot of a pageblock's type. */
const blockSlot = (block: number): number => pageblockTable + (block >> 9) * TABLE_SLOTS + TABLE_TYPES + ((block >> 2) & 127);

/** Type (low 3 bits) and number of the zone + 1 of the pageblock of a frame, counted from the machine's first; 0: never touched. */
export function blockInfo(frame: number): number {
  const block = frame >> pageblockShift;
  return (heap[blockSlot(block)] >> ((block & 3) << 3)) & 0xff;
}

/** Nodes of the machine. */
export const nodeCount = (): number => heap[memory() + Memory.nodes];

/** cpu_to_node. */
export const nodeOfCpu = (cpu: number): number => heap[memory() + Memory.cpuNode + cpu];

/** The node of the n-th zone that a node falls back on, −1 after the last. */
export function nodeInFallback(node: number, n: number): number {
  const zone = n < ZONELIST_SLOTS ? heap[memory() + Memory.zonelists + node * ZONELIST_SLOTS + n] : 0;
  return zone === 0 ? -1 : heap[zone + Zone.node];
}

/** page_to_nid: the node of a page that was allocated, by its pageblock's zone. */
export function nodeOfPage(page: number): number {
  locate();
  return heap[heap[memory() + Memory.zones + (blockInfo(pfnOfPage(page) - basePfn) >> 3) - 1] + Zone.node];
}

/** get_pageblock_migratetype. */
export const blockType = (frame: number): number => blockInfo(frame) & 7;

/** page_zone of a frame that was touched. */
export const zoneOfFrame = (frame: number): ZoneRef => heap[heap[SLOT_MEMORY] + Memory.zones - 1 + (blockInfo(frame) >> 3)];

/** set_pageblock_migratetype. */
export function setBlockType(frame: number, type: number): void {
  const block = frame >> pageblockShift;
  const slot = blockSlot(block);
  const shift = (block & 3) << 3;
  setSlot(slot, (heap[slot] & ~(7 << shift)) | (type << shift));
}

/** Says which zone and type a frame's pageblock has, before anything of it is handed out; the type stays once it is told. */
export function describeBlock(frame: number, zone: ZoneRef, type: number): void {
  const block = frame >> pageblockShift;
  const slot = blockSlot(block);
  const shift = (block & 3) << 3;
  if (((heap[slot] >> shift) & 0xff) === 0) setSlot(slot, heap[slot] | ((type | ((heap[zone + Zone.number] + 1) << 3)) << shift));
}

/** Makes tables that stand one after the other; the first one. */
export function allocTables(struct: { readonly $type: number; readonly $size: number }, count: number): number {
  const first = alloc(struct);
  for (let i = 1; i < count; i++) if (alloc(struct) !== first + i * struct.$size) throw new Error('tables do not stand one after the other');
  return first;
}

/** Makes the tables of pageblocks for a machine. */
export function makePageblocks(root: MemoryRef): void {
  const blocks = Math.ceil(mounted().frames / 2 ** heap[root + Memory.pageblockOrder]);
  setSlot(root + Memory.pageblocks, allocTables(Pageblocks, Math.ceil(blocks / 512)));
}
