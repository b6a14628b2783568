/**
 * Every frame that was ever touched: references (I1), what a free page looks like and where it stands (I25, I26), the zero page (I30), page caches.
 */
import { compoundPages, folioMapcount } from '../../memory/folio.ts';
import { listOf } from '../../memory/free-lists.ts';
import { MIGRATE_ISOLATE, MIGRATE_PCPTYPES, MIGRATE_TYPES } from '../../memory/gfp.ts';
import { get } from '../../memory/heap.ts';
import {
  PG_ANON,
  PG_BUDDY,
  PG_HUGETLB,
  PG_HWPOISON,
  PG_LOCKED,
  PG_LRU,
  PG_MLOCKED,
  PG_PCP,
  PG_RESERVED,
  PG_TABLE,
  PG_TAIL,
  PG_UNEVICTABLE,
  PG_WRITEBACK,
} from '../../memory/page-flags.ts';
import {
  heap,
  knownPageOfPfn,
  pageFlags,
  pageIndex,
  pageMapcount,
  pageMapping,
  pageNext,
  pageOrder,
  pagePincount,
  pagePrev,
  pagePrivate,
  pageRefcount,
  pagesEnd,
  pfnOfPage,
  wordShift,
  words,
} from '../../memory/state.ts';
import { xaFind } from '../../memory/xarray.ts';
import { locate, Memory, MemoryRange, memory, Pcp, Zone } from '../../memory/zone.ts';
import { INODE_SYSV } from '../file-types.ts';
import { pagesInCache } from '../filemap.ts';
import { globals } from '../globals.ts';
import { Globals, Inode } from '../types.ts';
import { type Census, eachXaEntry, liveOf } from './census.ts';
import type { Findings } from './findings.ts';

/** Where a page is as far as the allocator says. */
const NOT_FREE = 0;
const BUDDY_HEAD = 1;
const BUDDY_TAIL = 2;
const ON_PCP = 3;
const UNTOUCHED = 4;

/** Walks the allocator's lists; where each page is. */
function readAllocator(found: Findings): Uint8Array {
  locate();
  const place = new Uint8Array(pagesEnd());
  const put = (page: number, as: number): void => {
    if (place[page] !== NOT_FREE) found.add('I25', `page ${page} is free in two places`);
    place[page] = as;
  };
  const root = memory();
  const maxOrder = heap[root + Memory.maxOrder];
  for (let number = 0; number < heap[root + Memory.nrZones]; number++) {
    const zone = heap[root + Memory.zones + number];
    let free = 0;
    for (let order = 0; order <= maxOrder; order++) {
      let blocks = 0;
      for (let type = 0; type < MIGRATE_TYPES; type++)
        for (let page = heap[listOf(zone, order, type)]; page !== 0; page = pageNext[page]) {
          if (place[page] === BUDDY_HEAD) {
            found.add('I25', `zone ${number}: a list of order ${order} comes back to page ${page}`);
            break;
          }
          blocks++;
          if (type !== MIGRATE_ISOLATE) free += 2 ** order;
          if ((pageFlags[page] & PG_BUDDY) === 0 || pageOrder[page] !== order)
            found.add('I25', `page ${page} stands in a list of order ${order}, but says order ${pageOrder[page]}`);
          put(page, BUDDY_HEAD);
          const pfn = pfnOfPage(page);
          for (let i = 1; i < 2 ** order; i++) {
            const tail = knownPageOfPfn(pfn + i);
            if (tail !== 0) put(tail, BUDDY_TAIL);
          }
        }
      found.equal('I25', `zone ${number}: blocks of order ${order}`, heap[zone + Zone.nrFree + order], blocks);
    }
    for (const head of [Zone.frontier, Zone.cmaFrontier])
      for (let range = heap[zone + head]; range !== 0; range = heap[range + MemoryRange.next])
        free += heap[range + MemoryRange.end] - heap[range + MemoryRange.cursor];
    found.equal('I25', `zone ${number}: free pages`, heap[zone + Zone.free], free);
    for (let cpu = 0; cpu < heap[root + Memory.cpus]; cpu++) {
      const pcp = heap[zone + Zone.pcps + cpu];
      let count = 0;
      for (let type = 0; type < MIGRATE_PCPTYPES; type++)
        for (let page = heap[pcp + Pcp.lists + type]; page !== 0 && place[page] !== ON_PCP; page = pageNext[page]) {
          if ((pageFlags[page] & PG_PCP) === 0) found.add('I25', `page ${page} stands in a CPU's list, but does not say so`);
          put(page, ON_PCP);
          count++;
        }
      found.equal('I25', `zone ${number}: pages in the list of CPU ${cpu}`, heap[pcp + Pcp.count], count);
    }
  }
  markUntouched(root, place);
  return place;
}

/** Pages of frontiers, and frames that no zone manages. */
function markUntouched(root: number, place: Uint8Array): void {
  const managed = new Uint8Array(place.length);
  for (let range = heap[root + Memory.ranges]; range !== 0; range = heap[range + MemoryRange.nextOfAll]) {
    const cursor = heap[range + MemoryRange.cursor];
    for (let page = 1; page < place.length; page++) {
      const pfn = pfnOfPage(page);
      if (pfn < heap[range + MemoryRange.start] || pfn >= heap[range + MemoryRange.end]) continue;
      managed[page] = 1;
      if (pfn >= cursor) place[page] = UNTOUCHED;
    }
  }
  for (let page = 1; page < place.length; page++) if (managed[page] === 0) place[page] = UNTOUCHED;
}

/** Page 0 of the columns and the rest of its group are no pages. */
const isPage = (page: number): boolean => page !== 0 && knownPageOfPfn(pfnOfPage(page)) === page;

/** I26: a free page keeps nothing of its former life. */
function checkFreePage(page: number, as: number, found: Findings): void {
  const allowed = as === BUDDY_HEAD ? PG_BUDDY : as === ON_PCP ? PG_PCP : 0;
  const flags = pageFlags[page] & ~allowed;
  const links = as === BUDDY_HEAD ? 0 : as === ON_PCP ? pagePrev[page] | pageOrder[page] : pageNext[page] | pagePrev[page] | pageOrder[page];
  const rest = pageRefcount[page] | pageMapcount[page] | pagePincount[page] | pageMapping[page] | pagePrivate[page] | links;
  if (flags !== 0 || rest !== 0 || pageIndex[page] !== 0)
    found.add(
      'I26',
      `free page ${page}: flags ${flags.toString(2)}, refcount ${pageRefcount[page]}, mapcount ${pageMapcount[page]}, pins ${pagePincount[page]}, mapping ${pageMapping[page]}, index ${pageIndex[page]}, private ${pagePrivate[page]}, links ${links}`,
    );
}

/** What is counted of all pages of a folio. */
function partsSum(folio: number, counts: Int32Array): number {
  let sum = counts[folio];
  for (let i = 1; i < compoundPages(folio); i++) sum += counts[knownPageOfPfn(pfnOfPage(folio) + i)] ?? 0;
  return sum;
}

/** What the entries of all address spaces map: by page, and by head of folios that are mapped as a whole. */
interface Counted {
  readonly mapcount: Int32Array;
  readonly entire: ReadonlyMap<number, number>;
}

/** I1 and I25 of a page in use. */
function checkUsedPage(page: number, census: Census, { mapcount, entire }: Counted, leaks: boolean, found: Findings): void {
  const flags = pageFlags[page];
  if ((flags & PG_TAIL) !== 0) {
    found.equal('I1', `references of page ${page}, which is a tail`, pageRefcount[page], 0);
    return;
  }
  const { cached, piped, held } = census;
  const expected =
    partsSum(page, mapcount) +
    (entire.get(page) ?? 0) +
    partsSum(page, cached) +
    partsSum(page, piped) +
    partsSum(page, held) +
    pagePincount[page] +
    ((flags & PG_HWPOISON) !== 0 ? 1 : 0);
  if (page !== get(globals, Globals.hugeZeroFolio) && pageRefcount[page] !== expected)
    found.add(
      'I1',
      `page ${page}: refcount is ${pageRefcount[page]}, but ${partsSum(page, mapcount) + (entire.get(page) ?? 0)} mappings, ${cached[page]} page caches, ${piped[page]} pipes, ${pagePincount[page]} pins and ${held[page]} others hold it`,
    );
  if ((flags & (PG_BUDDY | PG_PCP)) !== 0) found.add('I25', `page ${page} is in use, but says that it is free`);
  if ((flags & PG_LOCKED) !== 0) found.add('lock', `page ${page} is locked`);
  if ((flags & PG_WRITEBACK) !== 0) found.add('I25', `page ${page} is under writeback`);
  if ((flags & (PG_ANON | PG_HUGETLB)) === PG_ANON && folioMapcount(page) > 0 && (flags & PG_LRU) === 0)
    found.add('I25', `anonymous page ${page} is on no LRU list`);
  if ((flags & PG_MLOCKED) !== 0 && (flags & PG_UNEVICTABLE) === 0) found.add('I25', `page ${page} is mlocked, but evictable`);
  if (!leaks && (flags & PG_UNEVICTABLE) !== 0 && pageNext[page] > folioMapcount(page))
    found.add('I25', `page ${page} is locked by ${pageNext[page]} of ${folioMapcount(page)} mappings`);
}

/** The zero page: one reference, no mapping that counts, all zero. */
function checkZeroPage(found: Findings): void {
  const zero = get(globals, Globals.zeroPage);
  found.equal('I30', 'references of the zero page', pageRefcount[zero], 1);
  found.equal('I30', 'mapcount of the zero page', pageMapcount[zero], 0);
  for (let i = 0; i < 1 << wordShift; i++)
    if (words[(zero << wordShift) + i] !== 0) {
      found.add('I30', `the zero page holds ${words[(zero << wordShift) + i]} at word ${i}`);
      break;
    }
}

/** Page caches: each page says where it stands; nrpages and alloced count them. */
function checkCaches(census: Census, leaks: boolean, found: Findings): void {
  for (const inode of liveOf(census, Inode)) {
    let pages = 0;
    eachXaEntry(inode + Inode.pages, (index, page) => {
      if (page < 0) return;
      const size = pagesInCache(inode, page);
      pages += size;
      if (pageMapping[page] !== inode || pageIndex[page] !== index)
        found.add('I10', `inode ${inode} caches page ${page} at ${index}, which says inode ${pageMapping[page]}, ${pageIndex[page]}`);
      if (census.cached[page] > size) found.add('I10', `page ${page} stands in ${census.cached[page] / size} places of page caches`);
      if (size === 1) return;
      if (index % size !== 0) found.add('I10', `inode ${inode} caches a folio of ${size} pages at ${index}`);
      if ((get(inode, Inode.orders) & size) === 0) found.add('I10', `inode ${inode} caches a folio of ${size} pages and does not know of any`);
      const inside = xaFind(inode + Inode.pages, index + 1, index + size - 1);
      if (inside >= 0) found.add('I10', `inode ${inode}: something stands at ${inside}, which is a part of the folio at ${index}`);
    });
    found.equal('I10', `inode ${inode}: cached pages`, get(inode, Inode.nrPages), pages);
    const kind = get(inode, Inode.kind);
    if (kind > INODE_SYSV) continue;
    const held = pages + get(inode, Inode.swapped);
    const alloced = get(inode, Inode.alloced);
    if (!leaks || alloced < held) found.equal('I10', `inode ${inode}: pages of shared memory`, alloced, held);
  }
}

export function checkPages(census: Census, counted: Counted, isTable: Uint8Array, leaks: boolean, found: Findings): void {
  const place = readAllocator(found);
  for (let page = 1; page < place.length; page++) {
    if (!isPage(page)) continue;
    if (place[page] !== NOT_FREE) {
      if (isTable[page] !== 0) found.add('I2', `page ${page} is a page table, and free`);
      else checkFreePage(page, place[page], found);
    } else if (isTable[page] === 0 && (pageFlags[page] & (PG_RESERVED | PG_TABLE)) === 0) checkUsedPage(page, census, counted, leaks, found);
  }
  checkZeroPage(found);
  checkCaches(census, leaks, found);
}
