/**
 * Ranges of frames that must be free, or must not be where they are: pages in use are moved away (mm/page_alloc.c: alloc_contig_range; mm/cma.c: cma_alloc;
 * mm/gup.c: migrate_longterm_unpinnable_folios).
 *
 * Invariants: while a range is emptied its pageblocks are isolated, so that nothing that is freed there is handed out, and no page moves to another place in it; they are
 * of their type again afterwards, whether it was emptied or not. What cannot be moved keeps the range from being had.
 */
import type { Op } from '../kernel/op.ts';
import { folioLock, get, refGetUnlessZero } from '../kernel/ops.ts';
import { allocContigRange, cmaTake, firstBusyFrame, isolatePageblock, unisolatePageblock, zoneOfPfn } from '../memory/cma.ts';
import { folioOfFrame, folioTestLarge, pageFolio } from '../memory/folio.ts';
import { __GFP_MOVABLE, GFP_USER } from '../memory/gfp.ts';
import { PG_HUGETLB, PG_RESERVED, PG_TABLE } from '../memory/page-flags.ts';
import { pageFlags, pagePrev, pageRefcount, setPagePrev } from '../memory/state.ts';
import { CmaArea, Memory, memory } from '../memory/zone.ts';
import { EAGAIN, EBUSY, ENOMEM, ENOSYS } from './errno.ts';
import { folioIsLongtermPinnable } from './gup-pin.ts';
import { PageVector, type PageVectorRef } from './gup-types.ts';
import { migrateFolio, migrateHugetlbFolio } from './migrate.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioPut } from './swap.ts';
import type { Page } from './types.ts';
import { folioIsolateLru, folioPutbackLru } from './vmscan.ts';

const pageblockPages = (): number => 2 ** get(memory(), Memory.pageblockOrder);

/**
 * What migrate_pages does with an isolated folio, of which the caller has one reference that is gone afterwards: 0 when it has moved, or was split because there is no
 * place for all of it together: its parts are to be moved one by one. −errno when it is where it was.
 */
function* migrateOrSplit(folio: Page, gfp: number): Op<number> {
  let error = yield* migrateFolio(folio, gfp);
  if (error === 0) return yield* folioPut(folio);
  if ((error === -ENOSYS || error === -ENOMEM) && folioTestLarge(folio)) {
    yield* folioLock(folio);
    if ((yield* splitFolioOf(folio)) === 0) error = 0;
  }
  yield* folioPutbackLru(folio);
  return error;
}

/** Moves a page in use to somewhere else, with all of its folio: 0 when its frame may be free, −EBUSY when it must stay. */
function* moveAway(pfn: number): Op<number> {
  const folio = folioOfFrame(pfn);
  if ((pageFlags[folio] & (PG_TABLE | PG_RESERVED)) !== 0 || pageRefcount[folio] === 0) return -EBUSY;
  if ((yield* refGetUnlessZero(folio)) === 0) return 0;
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) {
    const error = yield* migrateHugetlbFolio(folio);
    yield* folioPut(folio);
    return error === 0 ? 0 : -EBUSY;
  }
  const isolated = yield* folioIsolateLru(folio);
  yield* folioPut(folio);
  if (isolated === 0) return -EBUSY;
  return (yield* migrateOrSplit(folio, GFP_USER | __GFP_MOVABLE)) !== 0 ? -EBUSY : 0;
}

/**
 * alloc_contig_range: the frames [start, end), each as a page of its own with one reference. 0, or −EBUSY when one is not there, or in use by what cannot be moved. Free
 * pages of the pageblocks are of no use to others meanwhile.
 */
export function* allocContigRangeMoving(start: number, end: number): Op<number> {
  const size = pageblockPages();
  const first = start - (start % size);
  if (zoneOfPfn(start) === 0 || zoneOfPfn(end - 1) !== zoneOfPfn(start)) return -EBUSY;
  // All pageblocks are of the type of the first.
  let isolatedTo = first;
  let type = -1;
  let error = 0;
  while (isolatedTo < end && error === 0) {
    const was = isolatePageblock(isolatedTo);
    if (was < 0 || (type >= 0 && was !== type)) {
      if (was >= 0) unisolatePageblock(isolatedTo, was);
      error = -EBUSY;
    } else {
      type = was;
      isolatedTo += size;
    }
  }
  for (let busy = start; error === 0; ) {
    busy = firstBusyFrame(busy, end);
    if (busy < 0) break;
    error = yield* moveAway(busy);
  }
  for (let pfn = first; pfn < isolatedTo; pfn += size) unisolatePageblock(pfn, type);
  return error !== 0 ? error : allocContigRange(start, end);
}

/** cma_alloc: `count` frames that follow each other, from an area, each as a page with one reference; the first pfn, −1 when no place can be emptied. Freed by `cmaRelease`. */
export function* cmaAllocMoving(area: number, count: number): Op<number> {
  const from = get(area, CmaArea.start);
  const last = get(area, CmaArea.end) - count;
  for (let pfn = from; pfn <= last; pfn += count) {
    // Two at once would see each other's pageblocks isolated (cma->alloc_mutex).
    if ((yield* allocContigRangeMoving(pfn, pfn + count)) !== 0) continue;
    cmaTake(area, pfn, count);
    return pfn;
  }
  return -1;
}

// --- pins that last ---------------------------------------------------------------------------------------------------------

/** collect_longterm_unpinnable_folios: isolates the folios of pages of a vector, from a place on, that may not stay where they are: a list by `pagePrev`; −1 for none at all. */
export function* collectLongtermUnpinnable(vector: PageVectorRef, from: number): Op<number> {
  let list = -1;
  let before = 0;
  for (let i = from; i < get(vector, PageVector.count); i++) {
    const folio = pageFolio(get(vector, PageVector.pages + i));
    if (folio === before || folioIsLongtermPinnable(folio)) continue;
    before = folio;
    if (list < 0) list = 0;
    // Of hugetlb the list has a reference, all others are off the LRU with theirs.
    const taken = (pageFlags[folio] & PG_HUGETLB) !== 0 ? yield* refGetUnlessZero(folio) : yield* folioIsolateLru(folio);
    if (taken === 0) continue;
    setPagePrev(folio, list);
    list = folio;
  }
  return list;
}

/** migrate_longterm_unpinnable_folios without the part that unpins: −EAGAIN when all of a list have moved, and pins may be taken again; −ENOMEM when one has not. */
export function* migrateForPin(list: Page): Op<number> {
  let error = 0;
  let folio = list;
  while (folio !== 0) {
    const next = pagePrev[folio];
    setPagePrev(folio, 0);
    if ((pageFlags[folio] & PG_HUGETLB) !== 0) {
      if (error === 0 && (yield* migrateHugetlbFolio(folio)) !== 0) error = -ENOMEM;
      yield* folioPut(folio);
    } else if (error !== 0) yield* folioPutbackLru(folio);
    else if ((yield* migrateOrSplit(folio, GFP_USER)) !== 0) error = -ENOMEM;
    folio = next;
  }
  return error !== 0 ? error : -EAGAIN;
}
