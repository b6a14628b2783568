/**
 * Compound pages: blocks of 2^order frames that are one folio (include/linux/page-flags.h: compound_head; mm/page_alloc.c: prep_compound_page;
 * include/linux/mm_types.h: struct folio).
 *
 * Invariants: a folio lies at a multiple of its size; the head has PG_HEAD, its order, all references, pins, flags and the mapping of the whole. A tail has PG_TAIL and the
 * same order, and of its own the mapcount by entries of the lowest level and PG_anon_exclusive; nothing else of it is ever counted. Tails are marked when
 * they are first reached (`subPage`), so that a huge page of which nobody has looked at the parts takes no memory here: who has a head goes to
 * its parts by `subPage`, and who has found a page in an entry, or was given one, asks `pageFolio` for the head.
 *
 * What Linux keeps in the tails stands there, too: in the first one how often the whole is mapped by one entry (`private`), how often all of it is mapped
 * (`next`: large mapcount), how many pages are mapped by entries of their own (`prev`), and which two address spaces map it how often (mm_ids: `mapping` and
 * `index` of the first two tails); in the second one whether others may map it, too, and whether it is on the list of folios to split (`private`), with its links (`next`, `prev`).
 */
import { PG_HEAD, PG_HUGETLB, PG_TAIL } from './page-flags.ts';
import {
  knownPageOfPfn,
  pageFlags,
  pageIndex,
  pageMapcount,
  pageMapping,
  pageNext,
  pageOfPfn,
  pageOrder,
  pagePrev,
  pagePrivate,
  pfnOfPage,
  setPageFlags,
  setPageIndex,
  setPageMapcount,
  setPageMapping,
  setPageNext,
  setPageOrder,
  setPagePrev,
  setPagePrivate,
} from './state.ts';

/** folio_test_large of a page or a folio. */
export const pageIsCompound = (page: number): boolean => (pageFlags[page] & (PG_HEAD | PG_TAIL)) !== 0;
/** folio_test_large of a head. */
export const folioTestLarge = (folio: number): boolean => (pageFlags[folio] & PG_HEAD) !== 0;

/** page_folio: the head of the folio that a page belongs to; itself when it is a small one. */
export function pageFolio(page: number): number {
  return (pageFlags[page] & PG_TAIL) === 0 ? page : headOf(page);
}

function headOf(tail: number): number {
  return pageOfPfn(pfnOfPage(tail) - subPageIndex(tail));
}

/** Of the largest huge page of any mode, with pages of 4 KiB. */
const LARGEST_ORDER = 24;

/** The folio that a frame is part of: parts of it that nobody has asked for say nothing of it themselves. */
export function folioOfFrame(pfn: number): number {
  for (let order = 1; order <= LARGEST_ORDER; order++) {
    const head = knownPageOfPfn(pfn - (pfn % 2 ** order));
    if (head !== 0 && (pageFlags[head] & PG_HEAD) !== 0 && pageOrder[head] >= order) return head;
  }
  return pageFolio(pageOfPfn(pfn));
}

/** folio_order of a compound page, by any of its pages; 0 for a small one. */
export const compoundOrder = (page: number): number => ((pageFlags[page] & (PG_HEAD | PG_TAIL)) === 0 ? 0 : pageOrder[page]);
/** folio_nr_pages. */
export const compoundPages = (page: number): number => ((pageFlags[page] & (PG_HEAD | PG_TAIL)) === 0 ? 1 : 1 << pageOrder[page]);

/** folio_page_idx: where in its folio a page stands: of the number of its frame, which may be wider than 32 bits, the low ones. */
export const subPageIndex = (page: number): number => ((pageFlags[page] & PG_TAIL) === 0 ? 0 : pfnOfPage(page) & ((1 << pageOrder[page]) - 1));

/** folio_page: a page of a folio, by the head. */
export function subPage(folio: number, index: number): number {
  if (index === 0) return folio;
  const page = pageOfPfn(pfnOfPage(folio) + index);
  if ((pageFlags[page] & PG_TAIL) === 0) {
    setPageFlags(page, pageFlags[page] | PG_TAIL);
    setPageOrder(page, pageOrder[folio]);
  }
  return page;
}

/** The page that lies so many behind one of the same folio (nth_page). */
export function nextPage(page: number, count: number): number {
  if (count === 0 || !pageIsCompound(page)) return page + count;
  const folio = pageFolio(page);
  return subPage(folio, subPageIndex(page) + count);
}

/** Calls back for the tails that were ever reached. */
function eachKnownTail(folio: number, order: number, visit: (page: number) => void): void {
  const first = pfnOfPage(folio);
  for (let i = 1; i < 2 ** order; i++) {
    const page = knownPageOfPfn(first + i);
    if (page !== 0 && (pageFlags[page] & PG_TAIL) !== 0) visit(page);
  }
}

/** prep_compound_page: a block becomes one folio. */
export function prepCompound(page: number, order: number): void {
  setPageFlags(page, pageFlags[page] | PG_HEAD);
  if (pageOrder[page] !== order) setPageOrder(page, order);
}

/** destroy_compound: the block is single pages again, the first of which has the head's references and flags. The counts in the tails are zero. */
export function destroyCompound(folio: number): void {
  const order = pageOrder[folio];
  eachKnownTail(folio, order, (page) => {
    setPageFlags(page, pageFlags[page] & ~PG_TAIL);
    setPageOrder(page, 0);
  });
  setPageFlags(folio, pageFlags[folio] & ~PG_HEAD);
  setPageOrder(folio, 0);
}

// --- mapcounts --------------------------------------------------------------------------------------------------------------

/** Whole mappings by one entry above the lowest level (folio_entire_mapcount). */
export const folioEntireMapcount = (folio: number): number => (folioTestLarge(folio) ? pagePrivate[subPage(folio, 1)] : 0);
/** folio_mapcount: all mappings, whole ones once each. */
export const folioMapcount = (folio: number): number => (folioTestLarge(folio) ? pageNext[subPage(folio, 1)] : pageMapcount[folio]);
/** folio_precise_page_mapcount: how many entries map a page, on their own or with the whole. */
export const precisePageMapcount = (page: number): number => pageMapcount[page] + (pageIsCompound(page) ? folioEntireMapcount(pageFolio(page)) : 0);
/** folio->_nr_pages_mapped without ENTIRELY_MAPPED: pages that have entries of their own. */
export const folioPagesMapped = (folio: number): number => pagePrev[subPage(folio, 1)];

const SHARED = 1;
const ON_SPLIT_LIST = 2;

/** folio_maybe_mapped_shared: whether more than one address space may map it. False says that it is one alone. Of hugetlb only mappings are counted. */
export const folioMaybeMappedShared = (folio: number): boolean =>
  (pageFlags[folio] & PG_HUGETLB) !== 0
    ? folioMapcount(folio) > 1
    : folioTestLarge(folio)
      ? folioMapcount(folio) > 1 && (pagePrivate[mmTail(folio)] & SHARED) !== 0
      : pageMapcount[folio] > 1;

/** The tail with the second address space: a folio of two pages has but one, and is told from others by nothing. */
const mmTail = (folio: number): number => subPage(folio, pageOrder[folio] > 1 ? 2 : 1);

/**
 * The large mapcount changes by mappings of an address space (folio_add_large_mapcount, folio_sub_large_mapcount). Two address spaces are remembered;
 * who comes third leaves the folio marked as shared until one of the two has all mappings that remain.
 */
function addLargeMapcount(folio: number, delta: number, mm: number): void {
  const first = subPage(folio, 1);
  const mapcount = pageNext[first] + delta;
  setPageNext(first, mapcount);
  // Whose the mappings of hugetlb are nobody remembers: tables that are shared are not mapped by the one who unmaps.
  if (pageOrder[folio] < 2 || (pageFlags[folio] & PG_HUGETLB) !== 0) return;
  const second = subPage(folio, 2);
  const slot = pageMapping[first] === mm ? first : pageMapping[second] === mm ? second : 0;
  let shared = pagePrivate[second] & SHARED;
  if (delta > 0) {
    if (slot !== 0) setPageIndex(slot, pageIndex[slot] + delta);
    else {
      const free = pageMapping[first] === 0 ? first : pageMapping[second] === 0 ? second : 0;
      if (free !== 0) {
        setPageMapping(free, mm);
        setPageIndex(free, delta);
        if (mapcount !== delta) shared = SHARED;
      }
    }
  } else {
    if (slot !== 0) {
      const left = pageIndex[slot] + delta;
      setPageIndex(slot, Math.max(0, left));
      if (left > 0) return;
      setPageMapping(slot, 0);
    }
    if (pageIndex[first] === mapcount || pageIndex[second] === mapcount) shared = 0;
  }
  if (shared !== (pagePrivate[second] & SHARED)) setPagePrivate(second, (pagePrivate[second] & ~SHARED) | shared);
}

/** Entries of the lowest level map `count` pages from one on, or no longer do; `mm` is whose they are. The mapcount of the first after that. */
export function addPageMapcounts(page: number, delta: number, count: number, mm: number): number {
  if (pageIsCompound(page)) return addPartMapcounts(page, delta, count, mm);
  const value = pageMapcount[page] + delta;
  setPageMapcount(page, value);
  return value;
}

function addPartMapcounts(page: number, delta: number, count: number, mm: number): number {
  const folio = pageFolio(page);
  const at = subPageIndex(page);
  let mapped = 0;
  for (let i = 0; i < count; i++) {
    const part = subPage(folio, at + i);
    const value = pageMapcount[part] + delta;
    if (value < 0) return value;
    if (delta > 0 ? value === delta : value === 0) mapped += delta > 0 ? 1 : -1;
    setPageMapcount(part, value);
  }
  const first = subPage(folio, 1);
  if (mapped !== 0) setPagePrev(first, pagePrev[first] + mapped);
  addLargeMapcount(folio, delta * count, mm);
  return pageMapcount[page];
}

/** One entry above the lowest level maps a whole folio, or no longer does. Whole mappings after that. */
export function addEntireMapcount(folio: number, delta: number, mm: number): number {
  const first = subPage(folio, 1);
  const value = pagePrivate[first] + delta;
  if (value < 0) return value;
  setPagePrivate(first, value);
  addLargeMapcount(folio, delta, mm);
  return value;
}

// --- the list of folios to split --------------------------------------------------------------------------------------------

/** Whether a folio is on the list of those to split when memory is short (mm/deferred-split.ts), and its neighbours there. */
export const folioOnSplitList = (folio: number): boolean => pageOrder[folio] > 1 && (pagePrivate[subPage(folio, 2)] & ON_SPLIT_LIST) !== 0;
export const splitListNext = (folio: number): number => pageNext[subPage(folio, 2)];
export const splitListPrev = (folio: number): number => pagePrev[subPage(folio, 2)];
export const setSplitListNext = (folio: number, next: number): void => setPageNext(subPage(folio, 2), next);
export const setSplitListPrev = (folio: number, prev: number): void => setPagePrev(subPage(folio, 2), prev);
export function setOnSplitList(folio: number, on: boolean): void {
  const second = subPage(folio, 2);
  setPagePrivate(second, on ? pagePrivate[second] | ON_SPLIT_LIST : pagePrivate[second] & ~ON_SPLIT_LIST);
}
