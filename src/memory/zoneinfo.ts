/**
 * /proc/zoneinfo, /proc/buddyinfo and /proc/pagetypeinfo (mm/vmstat.c: zoneinfo_show_print, frag_show_print, pagetypeinfo_show).
 *
 * What is untouched shows as the blocks that it would be cut into. Statistics of reclaim, of LRU lists and of NUMA are no business of the
 * allocator: whoever keeps them passes them in, else their lines are left out.
 */
import { frontierOrder, listOf } from './free-lists.ts';
import { MAX_NR_ZONES, MIGRATE_CMA, MIGRATE_MOVABLE, MIGRATE_TYPES } from './gfp.ts';
import { heap, pageNext, pageShift } from './state.ts';
import { allZones } from './watermark.ts';
import { basePfn, blockInfo, locate, Memory, MemoryRange, memory, Pcp, PresentRange, WMARK_MIN, Zone, type ZoneRef } from './zone.ts';

export const ZONE_NAMES = ['DMA', 'DMA32', 'Normal', 'HighMem', 'Movable', 'Device'];
export const MIGRATE_NAMES = ['Unmovable', 'Movable', 'Reclaimable', 'HighAtomic', 'CMA', 'Isolate'];

/** Lines `name value` of others' statistics, in order. */
export type Statistics = readonly (readonly [name: string, value: number])[];

export interface ZoneinfoExtras {
  readonly nodeStats?: (node: number) => Statistics;
  /** Statistics of a zone that stand between nr_free_pages_blocks and nr_free_cma. */
  readonly zoneStats?: (zone: ZoneRef) => Statistics;
  /** What follows nr_free_cma: numa_hit and so on. */
  readonly eventStats?: (zone: ZoneRef) => Statistics;
}

const label = (zone: ZoneRef): string => ZONE_NAMES[heap[zone + Zone.kind]].padStart(8);
const lines = (stats: Statistics): string => stats.map(([name, value]) => `\n      ${name.padEnd(12)} ${value}`).join('');

/** Blocks by order and migratetype of a zone, untouched memory included: `[type][order]`. */
export function freeBlocks(zone: ZoneRef): number[][] {
  locate();
  const maxOrder = heap[memory() + Memory.maxOrder];
  const counts = Array.from({ length: MIGRATE_TYPES }, () => new Array<number>(maxOrder + 1).fill(0));
  for (let order = 0; order <= maxOrder; order++)
    for (let type = 0; type < MIGRATE_TYPES; type++) for (let page = heap[listOf(zone, order, type)]; page !== 0; page = pageNext[page]) counts[type][order]++;
  for (const head of [Zone.frontier, Zone.cmaFrontier])
    for (let range = heap[zone + head]; range !== 0; range = heap[range + MemoryRange.next]) {
      const end = heap[range + MemoryRange.end] - basePfn;
      for (let frame = heap[range + MemoryRange.cursor] - basePfn; frame < end; ) {
        const order = frontierOrder(frame, end - frame, maxOrder);
        const info = blockInfo(frame);
        // Blocks of the largest order that nothing of was touched are counted at once.
        const blocks = order === maxOrder && info === 0 ? untouchedRun(frame, end, maxOrder) : 1;
        counts[info === 0 ? heap[range + MemoryRange.type] : info & 7][order] += blocks;
        frame += blocks * 2 ** order;
      }
    }
  return counts;
}

/** Blocks of the largest order from a frame on, to the end or to the first one that is not untouched. */
function untouchedRun(frame: number, end: number, maxOrder: number): number {
  let blocks = 0;
  for (let at = frame; at + 2 ** maxOrder <= end && blockInfo(at) === 0; at += 2 ** maxOrder) blocks++;
  return blocks;
}

const sumByOrder = (counts: readonly number[][]): number[] => counts[0].map((_, order) => counts.reduce((sum, of) => sum + of[order], 0));

/** Free pages in blocks of a pageblock's size and above (NR_FREE_PAGES_BLOCKS). */
export const freePagesInBlocks = (zone: ZoneRef): number =>
  sumByOrder(freeBlocks(zone)).reduce((sum, n, order) => (order >= heap[memory() + Memory.pageblockOrder] ? sum + n * 2 ** order : sum), 0);

/** calculate_normal_threshold: how far a CPU's counters may run ahead of a zone's. */
function statThreshold(zone: ZoneRef): number {
  const memoryUnits = Math.floor((heap[zone + Zone.managed] * 2 ** pageShift) / 2 ** 27);
  const fls = (x: number): number => 32 - Math.clz32(x);
  return Math.min(125, 2 * fls(heap[memory() + Memory.cpus]) * (1 + fls(memoryUnits)));
}

/** /proc/zoneinfo. */
export function zoneinfo(extras: ZoneinfoExtras = {}): string {
  locate();
  const shown = new Set<number>();
  let text = '';
  for (const zone of allZones()) {
    const node = heap[zone + Zone.node];
    text += `Node ${node}, zone ${label(zone)}`;
    if (heap[zone + Zone.present] !== 0 && !shown.has(node)) {
      shown.add(node);
      text += `\n  per-node stats${lines(extras.nodeStats?.(node) ?? [])}`;
    }
    text += zoneText(zone, extras);
  }
  return text;
}

function zoneText(zone: ZoneRef, extras: ZoneinfoExtras): string {
  const root = memory();
  const marks = ['min', 'low', 'high', 'promo'].map((name, i) => [name, heap[zone + Zone.watermark + WMARK_MIN + i] + heap[zone + Zone.boost]] as const);
  const counts = (['spanned', 'present', 'managed', 'cma'] as const).map((name) => [name, heap[zone + Zone[name]]] as const);
  let text = `\n  pages free     ${heap[zone + Zone.free]}`;
  for (const [name, value] of [['boost', heap[zone + Zone.boost]] as const, ...marks, ...counts]) text += `\n        ${name.padEnd(8)} ${value}`;
  const protection = [];
  for (let kind = 0; kind < MAX_NR_ZONES; kind++)
    if ((heap[root + Memory.zoneKinds] & (1 << kind)) !== 0) protection.push(heap[zone + Zone.lowmemReserve + kind]);
  text += `\n        protection: (${protection.join(', ')})`;
  if (heap[zone + Zone.present] === 0) return `${text}\n`;
  text += lines([
    ['nr_free_pages', heap[zone + Zone.free]],
    ['nr_free_pages_blocks', freePagesInBlocks(zone)],
    ...(extras.zoneStats?.(zone) ?? []),
    ['nr_free_cma', heap[zone + Zone.freeCma]],
    ...(extras.eventStats?.(zone) ?? []),
  ]);
  text += '\n  pagesets';
  for (let cpu = 0; cpu < heap[root + Memory.cpus]; cpu++) {
    const pcp = heap[zone + Zone.pcps + cpu];
    const rows = [
      ['count', heap[pcp + Pcp.count]],
      ['high', heap[pcp + Pcp.high]],
      ['batch', heap[pcp + Pcp.batch]],
      ['high_min', heap[zone + Zone.pcpHighMin]],
      ['high_max', heap[zone + Zone.pcpHighMax]],
    ];
    text += `\n    cpu: ${cpu}${rows.map(([name, value]) => `\n              ${`${name}:`.padEnd(9)} ${value}`).join('')}`;
    text += `\n  vm stats threshold: ${statThreshold(zone)}`;
  }
  return `${text}\n  node_unreclaimable:  0\n  start_pfn:           ${heap[zone + Zone.startPfn]}\n`;
}

/** Zones that have memory. */
function* populated(): Generator<ZoneRef> {
  for (const zone of allZones()) if (heap[zone + Zone.present] !== 0) yield zone;
}

/** /proc/buddyinfo. */
export function buddyinfo(): string {
  let text = '';
  for (const zone of populated()) {
    const cells = sumByOrder(freeBlocks(zone)).map((n) => `${String(n).padStart(6)} `);
    text += `Node ${heap[zone + Zone.node]}, zone ${label(zone)} ${cells.join('')}\n`;
  }
  return text;
}

/** /proc/pagetypeinfo. The type CMA is listed on machines that have areas of it. */
export function pagetypeinfo(): string {
  locate();
  const root = memory();
  const types = MIGRATE_NAMES.map((_, type) => type).filter((type) => type !== MIGRATE_CMA || heap[root + Memory.cmaAreas] !== 0);
  const order = heap[root + Memory.pageblockOrder];
  const orders = Array.from({ length: heap[root + Memory.maxOrder] + 1 }, (_, o) => `${String(o).padStart(6)} `).join('');
  let text = `Page block order: ${order}\nPages per block:  ${2 ** order}\n\n${'Free pages count per migrate type at order '.padEnd(43)} ${orders}\n`;
  for (const zone of populated()) {
    const counts = freeBlocks(zone);
    for (const type of types) {
      const cells = counts[type].map((n) => `${String(Math.min(n, 100000)).padStart(6)} `).join('');
      text += `Node ${String(heap[zone + Zone.node]).padStart(4)}, zone ${label(zone)}, type ${MIGRATE_NAMES[type].padStart(12)} ${cells}\n`;
    }
  }
  text += `\n${'Number of blocks type'.padEnd(22)} ${types.map((type) => `${MIGRATE_NAMES[type].padStart(12)} `).join('')}\n`;
  for (const zone of populated()) {
    const blocks = countPageblocks(zone);
    text += `Node ${heap[zone + Zone.node]}, zone ${label(zone)} ${types.map((type) => `${String(blocks[type]).padStart(12)} `).join('')}\n`;
  }
  return text;
}

/** Pageblocks of a zone by type: those of which a frame is present. */
export function countPageblocks(zone: ZoneRef): number[] {
  locate();
  const root = memory();
  const shift = heap[root + Memory.pageblockOrder];
  const counts = new Array<number>(MIGRATE_TYPES).fill(0);
  const cma = new Set<number>();
  const seen = new Set<number>();
  for (let range = heap[root + Memory.ranges]; range !== 0; range = heap[range + MemoryRange.nextOfAll])
    if (heap[range + MemoryRange.type] === MIGRATE_CMA && heap[range + MemoryRange.zone] === zone)
      for (let b = (heap[range + MemoryRange.start] - basePfn) >> shift; b << shift < heap[range + MemoryRange.end] - basePfn; b++) cma.add(b);
  for (let range = heap[root + Memory.present]; range !== 0; range = heap[range + PresentRange.next]) {
    if (heap[range + PresentRange.zone] !== zone) continue;
    const end = heap[range + PresentRange.end] - basePfn;
    for (let block = (heap[range + PresentRange.start] - basePfn) >> shift; block << shift < end; block++) {
      if (seen.has(block)) continue;
      seen.add(block);
      const info = blockInfo(block << shift);
      counts[info === 0 ? (cma.has(block) ? MIGRATE_CMA : MIGRATE_MOVABLE) : info & 7]++;
    }
  }
  return counts;
}
