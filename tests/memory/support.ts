import {
  allZones,
  blockType,
  createState,
  drainAllPages,
  heap,
  initMemory,
  knownPageOfPfn,
  listOf,
  locate,
  Memory,
  type MemoryMapConfig,
  MemoryRange,
  MIGRATE_TYPES,
  memory,
  mount,
  mounted,
  NR_ORDERS,
  Pcp,
  PG_BUDDY,
  PG_PCP,
  pageFlags,
  pageNext,
  pageOrder,
  pagePrev,
  pagesEnd,
  pfnOfPage,
  Zone,
  zoneOfFrame,
} from './all.ts';

/** A fresh machine with memory as configured; mounted. */
export function boot(config: MemoryMapConfig, frames = Math.max(...config.ranges.map((r) => r.end)), shift = 12, base = 0): void {
  mount(createState(frames - base, shift, base));
  initMemory(config);
  locate();
}

/** 1 GiB with one hole and the zones of x86-64. */
export const SMALL: MemoryMapConfig = {
  ranges: [
    { start: 1, end: 160 },
    { start: 256, end: 100000 },
    { start: 131072, end: 200000 },
  ],
  reserved: [{ start: 4096, end: 9000 }],
  zoneBounds: { dma: 4096, dma32: 131072 },
  cpus: [0, 0],
};

/** Looks at every list of the allocator and compares it with the columns and the counts. Returns the free pages by zone. */
export function checkAllocator(): number[] {
  const base = mounted().basePfn;
  const listed = new Set<number>();
  const result: number[] = [];
  for (const zone of allZones()) {
    let free = 0;
    let cma = 0;
    let atomic = 0;
    for (let order = 0; order < NR_ORDERS; order++) {
      let blocks = 0;
      for (let type = 0; type < MIGRATE_TYPES; type++) {
        const first = heap[listOf(zone, order, type)];
        let previous = first === 0 ? 0 : pagePrev[first];
        for (let page = first; page !== 0; page = pageNext[page]) {
          if (pagePrev[page] !== previous) throw new Error(`page ${page}: prev is ${pagePrev[page]}, not ${previous}`);
          previous = page;
          if (listed.has(page)) throw new Error(`page ${page} is listed twice`);
          listed.add(page);
          const frame = pfnOfPage(page) - base;
          if ((pageFlags[page] & PG_BUDDY) === 0 || pageOrder[page] !== order) throw new Error(`page ${page} is on a list of order ${order}`);
          if (frame % 2 ** order !== 0) throw new Error(`block of order ${order} at frame ${frame}`);
          if (zoneOfFrame(frame) !== zone) throw new Error(`page ${page} is on another zone's list`);
          if (blockType(frame) !== type) throw new Error(`page ${page}: type ${blockType(frame)} on a list of type ${type}`);
          if (order < heap[memory() + Memory.maxOrder]) {
            const buddy = knownPageOfPfn(base + (frame ^ (2 ** order)));
            if (buddy !== 0 && (pageFlags[buddy] & PG_BUDDY) !== 0 && pageOrder[buddy] === order && zoneOfFrame(frame ^ (2 ** order)) === zone) {
              const other = blockType(frame ^ (2 ** order));
              if (other === type || (other < 3 && type < 3)) throw new Error(`buddies ${page} and ${buddy} of order ${order} are both free`);
            }
          }
          blocks++;
          if (type !== 5) free += 2 ** order;
          if (type === 4) cma += 2 ** order;
          if (type === 3) atomic += 2 ** order;
        }
        if (first !== 0 && previous !== pagePrev[first]) throw new Error(`list of order ${order}: its end is not the first one's prev`);
      }
      if (blocks !== heap[zone + Zone.nrFree + order]) throw new Error(`order ${order}: ${blocks} blocks, ${heap[zone + Zone.nrFree + order]} counted`);
    }
    for (const head of [Zone.frontier, Zone.cmaFrontier])
      for (let range = heap[zone + head]; range !== 0; range = heap[range + MemoryRange.next]) {
        const left = heap[range + MemoryRange.end] - heap[range + MemoryRange.cursor];
        free += left;
        if (head === Zone.cmaFrontier) cma += left;
      }
    if (free !== heap[zone + Zone.free]) throw new Error(`zone ${heap[zone + Zone.number]}: ${free} free, ${heap[zone + Zone.free]} counted`);
    if (cma !== heap[zone + Zone.freeCma]) throw new Error(`${cma} free of CMA, ${heap[zone + Zone.freeCma]} counted`);
    if (atomic !== heap[zone + Zone.freeHighatomic]) throw new Error(`${atomic} free of the atomic reserve, ${heap[zone + Zone.freeHighatomic]} counted`);
    for (let cpu = 0; cpu < heap[memory() + Memory.cpus]; cpu++) {
      const pcp = heap[zone + Zone.pcps + cpu];
      let count = 0;
      for (let type = 0; type < 3; type++)
        for (let page = heap[pcp + Pcp.lists + type]; page !== 0; page = pageNext[page]) {
          if (listed.has(page) || (pageFlags[page] & PG_PCP) === 0) throw new Error(`page ${page} is on a CPU's list`);
          listed.add(page);
          count++;
        }
      if (count !== heap[pcp + Pcp.count]) throw new Error(`${count} pages on a CPU's list, ${heap[pcp + Pcp.count]} counted`);
    }
    result.push(free);
  }
  for (let page = 16; page < pagesEnd(); page++)
    if ((pageFlags[page] & (PG_BUDDY | PG_PCP)) !== 0 && !listed.has(page)) throw new Error(`page ${page} has a free page's flags but is on no list`);
  return result;
}

/** Blocks by zone and order after all CPUs' lists are empty, untouched memory as it would be cut. */
export function drained(): void {
  drainAllPages();
  checkAllocator();
}

/** SMALL with an area of CMA in its DMA32 zone. */
export const WITH_CMA: MemoryMapConfig = { ...SMALL, cma: [{ start: 20480, end: 28672 }] };

export const zoneOf = (kind: number, node = 0): number => {
  for (const zone of allZones()) if (heap[zone + Zone.kind] === kind && heap[zone + Zone.node] === node) return zone;
  throw new Error(`no zone ${kind}`);
};
