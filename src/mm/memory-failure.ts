/**
 * Frames that shall not be used any longer (mm/memory-failure.c): soft offline, as an administrator or madvise(MADV_SOFT_OFFLINE) asks for it.
 *
 * Invariants: a frame that was taken out has PG_HWPOISON and one reference, which nobody gives back; all other frames of a huge page that it was part of are free. What is in
 * use stays in use: Linux moves it to another place, which needs migration; here the answer is then −EBUSY, as Linux gives it for what cannot be moved.
 */
import type { Op } from '../kernel/op.ts';
import { get, setFlags } from '../kernel/ops.ts';
import { allocContigRange, zoneOfPfn } from '../memory/cma.ts';
import { compoundOrder, pageFolio } from '../memory/folio.ts';
import { PG_BUDDY, PG_HEAD, PG_HWPOISON, PG_PCP, PG_RESERVED, PG_TABLE } from '../memory/page-flags.ts';
import { knownPageOfPfn, pageFlags, pageOfPfn, pageOrder, pageRefcount, pageShift, pfnOfPage } from '../memory/state.ts';
import { EBUSY, EIO, ENXIO, EPERM } from './errno.ts';
import { getUserPagesFast } from './gup-fast.ts';
import { allocPageVector, freePageVector, PageVector } from './gup-types.ts';
import { dissolveFreeHugetlbFolio } from './hugetlb-dissolve.ts';
import { MADV_SOFT_OFFLINE } from './madv.ts';
import { folioPut } from './swap.ts';
import type { MmRef, Page } from './types.ts';
import { CAP_SYS_ADMIN, capable } from './util.ts';

/** Of the largest huge page of any mode, with pages of 4 KiB. */
const LARGEST_ORDER = 24;

/** The folio that a frame is part of: parts of it that nobody has asked for say nothing of it themselves. */
function folioOfFrame(pfn: number): Page {
  for (let order = 1; order <= LARGEST_ORDER; order++) {
    const head = knownPageOfPfn(pfn - (pfn % 2 ** order));
    if (head !== 0 && (pageFlags[head] & PG_HEAD) !== 0 && pageOrder[head] >= order) return head;
  }
  return pageFolio(pageOfPfn(pfn));
}

/** __page_handle_poison and page_handle_poison of a free page or one of a free huge page: 0, or −EBUSY where it is in use by now or cannot be had. */
function* takeFree(page: Page): Op<number> {
  const pfn = pfnOfPage(page);
  if ((yield* dissolveFreeHugetlbFolio(folioOfFrame(pfn))) !== 0) return -EBUSY;
  if (allocContigRange(pfn, pfn + 1) !== 0) return -EBUSY;
  yield* setFlags(page, PG_HWPOISON);
  return 0;
}

/** Whether nobody uses a frame: it is free, or part of a huge page that waits in its pool. */
const isUnused = (page: Page): boolean => (pageFlags[page] & (PG_BUDDY | PG_PCP)) !== 0 || pageRefcount[folioOfFrame(pfnOfPage(page))] === 0;

/** soft_offline_page: a frame is taken out of use. 0, also where it was before; −ENXIO where there is no memory; −EIO for what the kernel uses itself; −EBUSY. */
export function* softOfflinePage(pfn: number): Op<number> {
  if (zoneOfPfn(pfn) === 0) return -ENXIO;
  const page = pageOfPfn(pfn);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) return 0;
  if ((pageFlags[page] & (PG_TABLE | PG_RESERVED)) !== 0) return -EIO;
  return isUnused(page) ? yield* takeFree(page) : -EBUSY;
}

/** madvise_inject_error: for each page of [start, end), bytes. 0 or −errno of the first that failed. The mmap lock is not held. */
export function* madviseInjectError(mm: MmRef, start: number, end: number, behavior: number): Op<number> {
  if (!capable(mm, CAP_SYS_ADMIN)) return -EPERM;
  const vector = allocPageVector();
  let error = 0;
  let at = start;
  while (at < end && error === 0) {
    const got = yield* getUserPagesFast(mm, Math.floor(at / 2 ** pageShift), 1, 0, vector);
    if (got !== 1) {
      error = got;
      break;
    }
    const page = get(vector, PageVector.pages + get(vector, PageVector.count) - 1);
    at += 2 ** (compoundOrder(page) + pageShift);
    yield* folioPut(pageFolio(page));
    // A page that was poisoned by force would be unmapped from all processes: that is not here.
    error = behavior === MADV_SOFT_OFFLINE ? yield* softOfflinePage(pfnOfPage(page)) : -EBUSY;
  }
  freePageVector(vector);
  return error;
}
