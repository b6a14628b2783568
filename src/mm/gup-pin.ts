/**
 * The references and pins that get_user_pages takes, and how they are given back (mm/gup.c: try_grab_folio, try_grab_folio_fast, gup_put_folio,
 * gup_must_unshare, unpin_user_page and its kin).
 *
 * A large folio has its references and pins at the head, one for each page that was asked for.
 * Invariants: pin and reference change in one step (dma-pinned.ts); the zero page is never pinned, it goes nowhere; an anonymous page that is pinned is
 * exclusive, and stays so until it is free (sanity_check_pinned_pages).
 */
import { KernelBug } from '../kernel/bug.ts';
import type { Op } from '../kernel/op.ts';
import { folioLock, folioUnlock, get, refAdd, refGetUnlessZero, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { frameIsLongtermPinnable } from '../memory/longterm.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_HUGETLB } from '../memory/page-flags.ts';
import { pageFlags, pagePincount, pageRefcount, pfnOfPage, setPagePincount } from '../memory/state.ts';
import { isCowMapping } from './copy-page-range.ts';
import { ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { FOLL_GET, FOLL_LONGTERM, FOLL_PIN, FOLL_WRITE, PageVector, type PageVectorRef } from './gup-types.ts';
import { pageAnonExclusive } from './rmap.ts';
import { folioMarkDirty, folioPutRefs, folioTestDirty, freeFolio } from './swap.ts';
import { Globals, type Page, Vma, type VmaRef } from './types.ts';

export const isZeroPage = (page: Page): boolean => page === get(globals, Globals.zeroPage);

/** folio_is_longterm_pinnable. */
export const folioIsLongtermPinnable = (page: Page): boolean => isZeroPage(page) || frameIsLongtermPinnable(pfnOfPage(page));

/**
 * What gup_must_unshare() looks at, as flags: PG_ANON of the folio, PG_ANON_EXCLUSIVE of the page; of a hugetlb folio, which is shared as a whole, that of the head.
 */
export function sharingState(page: Page): number {
  const folio = pageFolio(page);
  const whole = (pageFlags[folio] & PG_HUGETLB) !== 0 && !switched(SW.gupAsksTail);
  return (pageFlags[folio] & PG_ANON) | (pageAnonExclusive(whole ? folio : page) ? PG_ANON_EXCLUSIVE : 0);
}

/**
 * gup_must_unshare: whether who pins a page for reading would go on seeing it when the process, after its next write, sees another. Asked only where the
 * entry is not writable: the page behind one that is can only be shared memory or exclusive.
 *
 * `vma` is 0 where it is not known: then a page of a file that is pinned for long may be one of a private mapping. `state`: sharingState() of the page.
 */
export function gupMustUnshare(vma: VmaRef, follFlags: number, state: number): boolean {
  if ((follFlags & (FOLL_WRITE | FOLL_PIN)) !== FOLL_PIN || switched(SW.gupNoUnshare)) return false;
  if ((state & PG_ANON) !== 0) return (state & PG_ANON_EXCLUSIVE) === 0;
  if ((follFlags & FOLL_LONGTERM) === 0) return false;
  return vma === 0 || switched(SW.gupUnshareUnasked) || isCowMapping(get(vma, Vma.flags));
}

// --- taking -----------------------------------------------------------------------------------------------------------------

/**
 * try_grab_folio: references or pins of the folio of a page that is mapped, under the lock of its entry, or that is held already. 0; −ENOMEM for one
 * without references, which cannot be.
 */
export function* tryGrabFolio(page: Page, refs: number, follFlags: number): Op<number> {
  const folio = pageFolio(page);
  if (pageRefcount[folio] <= 0) return -ENOMEM;
  if ((follFlags & FOLL_GET) !== 0) {
    yield* refAdd(folio, refs);
    return 0;
  }
  if ((follFlags & FOLL_PIN) === 0 || isZeroPage(page)) return 0;
  yield* refAdd(folio, refs);
  setPagePincount(folio, pagePincount[folio] + refs);
  return 0;
}

/** try_get_folio: references of the folio of a page that may be anybody's by now, or nobody's; the folio, 0 when there is none to be had. */
function* tryGetFolio(page: Page, refs: number): Op<number> {
  for (;;) {
    const folio = pageFolio(page);
    if ((yield* refGetUnlessZero(folio, refs)) === 0) return 0;
    if (pageFolio(page) === folio) return folio;
    // It was split before we had it: that is another folio's by now.
    yield* folioPutRefs(folio, refs);
  }
}

/** try_grab_folio_fast: references or pins of the folio of a page that may be anybody's by now, or nobody's; 1 when taken. */
export function* tryGrabFolioFast(page: Page, refs: number, follFlags: number): Op<number> {
  if ((follFlags & FOLL_PIN) !== 0 && isZeroPage(page)) return 1;
  const folio = yield* tryGetFolio(page, refs);
  if (folio === 0) return 0;
  if ((follFlags & FOLL_PIN) === 0) return 1;
  if ((follFlags & FOLL_LONGTERM) !== 0 && !folioIsLongtermPinnable(page)) {
    yield* folioPutRefs(folio, refs);
    return 0;
  }
  setPagePincount(folio, pagePincount[folio] + refs);
  return 1;
}

// --- giving back ------------------------------------------------------------------------------------------------------------

/** gup_put_folio: of the folio that a page belongs to. */
export function* gupPutFolio(page: Page, refs: number, follFlags: number): Op<number> {
  const folio = pageFolio(page);
  if ((follFlags & FOLL_PIN) === 0) return yield* folioPutRefs(folio, refs);
  if (isZeroPage(page)) return 0;
  const left = yield* refAdd(folio, -refs);
  setPagePincount(folio, pagePincount[folio] - refs);
  return left === 0 ? yield* freeFolio(folio) : 0;
}

/**
 * sanity_check_pinned_pages, for one: of a large folio that is no hugetlb page either the head is exclusive, which one entry maps it with, or the page itself.
 * @throws {KernelBug} I8 for a page that is pinned without being exclusive
 */
export function sanityCheckPinnedPage(page: Page): void {
  const folio = pageFolio(page);
  const state = sharingState(page);
  if ((state & PG_ANON) === 0 || ((state | pageFlags[folio]) & PG_ANON_EXCLUSIVE) !== 0) return;
  throw new KernelBug('I8', `anonymous page ${page} is pinned, and not exclusive: the process may come to map another`);
}

/**
 * sanity_check_pinned_pages: of those of a vector from the place `from` on. Whose head is exclusive, or is not anonymous, need not be asked for each.
 * @throws {KernelBug} I8 for one that is pinned without being exclusive
 */
export function sanityCheckPinnedPages(vector: PageVectorRef, from: number): void {
  const count = get(vector, PageVector.count);
  for (let i = from; i < count; ) {
    const page = get(vector, PageVector.pages + i);
    const run = folioRun(vector, i);
    const flags = pageFlags[pageFolio(page)];
    if (!isZeroPage(page) && (flags & PG_ANON) !== 0 && (flags & PG_ANON_EXCLUSIVE) === 0)
      for (let k = i; k < i + run; k++) sanityCheckPinnedPage(get(vector, PageVector.pages + k));
    i += run;
  }
}

/** unpin_user_page. */
export function* unpinUserPage(page: Page): Op<number> {
  if (!isZeroPage(page)) sanityCheckPinnedPage(page);
  return yield* gupPutFolio(page, 1, FOLL_PIN);
}

/** gup_folio_next: how many pages of a vector, from a place on, belong to one folio, which is held: what its frames are does not change. */
function folioRun(vector: PageVectorRef, from: number): number {
  const page = get(vector, PageVector.pages + from);
  const count = get(vector, PageVector.count);
  let end = from + 1;
  if (!pageIsCompound(page)) {
    while (end < count && get(vector, PageVector.pages + end) === page) end++;
    return end - from;
  }
  const first = pfnOfPage(pageFolio(page));
  const last = first + compoundPages(page) - 1;
  for (; end < count; end++) {
    const pfn = pfnOfPage(get(vector, PageVector.pages + end));
    if (pfn < first || pfn > last) break;
  }
  return end - from;
}

/** The pages of a vector from the place `from` on have been given back. */
function shorten(vector: PageVectorRef, from: number): void {
  for (let i = from; i < get(vector, PageVector.count); i++) set(vector, PageVector.pages + i, 0);
  set(vector, PageVector.count, from);
}

/** unpin_user_pages: those of a vector from the place `from` on; folio by folio. */
export function* unpinUserPages(vector: PageVectorRef, from: number): Op<number> {
  sanityCheckPinnedPages(vector, from);
  return yield* gupFastUnpinUserPages(vector, from);
}

/** gup_fast_unpin_user_pages: the same without a look at them; fork may have shared them, which is why they are given back. */
export function* gupFastUnpinUserPages(vector: PageVectorRef, from: number): Op<number> {
  let i = from;
  while (i < get(vector, PageVector.count)) {
    const refs = folioRun(vector, i);
    yield* gupPutFolio(get(vector, PageVector.pages + i), refs, FOLL_PIN);
    i += refs;
  }
  shorten(vector, from);
  return 0;
}

/** unpin_user_pages_dirty_lock: all pages of a vector; with `makeDirty` they are dirty. */
export function* unpinUserPagesDirtyLock(vector: PageVectorRef, makeDirty: number): Op<number> {
  let i = 0;
  while (i < get(vector, PageVector.count)) {
    const page = get(vector, PageVector.pages + i);
    if (!isZeroPage(page)) sanityCheckPinnedPage(page);
    if (makeDirty !== 0 && !folioTestDirty(page)) yield* folioMarkDirtyLock(page);
    const refs = folioRun(vector, i);
    yield* gupPutFolio(page, refs, FOLL_PIN);
    i += refs;
  }
  shorten(vector, 0);
  return 0;
}

/** release_pages: of all pages of a vector, folio by folio. */
export function* putUserPages(vector: PageVectorRef): Op<number> {
  let i = 0;
  while (i < get(vector, PageVector.count)) {
    const refs = folioRun(vector, i);
    yield* folioPutRefs(pageFolio(get(vector, PageVector.pages + i)), refs);
    i += refs;
  }
  shorten(vector, 0);
  return 0;
}

/** folio_mark_dirty_lock: by somebody who has but a reference. */
export function* folioMarkDirtyLock(page: Page): Op<number> {
  const folio = pageFolio(page);
  yield* folioLock(folio);
  yield* folioMarkDirty(folio);
  return yield* folioUnlock(folio);
}
