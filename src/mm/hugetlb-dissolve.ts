/**
 * Huge pages that leave their pool to become small ones (mm/hugetlb.c: dissolve_free_hugetlb_folio).
 *
 * Invariants: only a free page that is promised to nobody is dissolved; it counts as gone from the pool before its struct pages are asked for, and where there is no memory
 * for these it is in the pool again as it was.
 */
import type { Op } from '../kernel/op.ts';
import { get, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PG_HUGETLB } from '../memory/page-flags.ts';
import { pageFlags, pageNext, pageOrder, pageRefcount, pfnOfPage } from '../memory/state.ts';
import { nodeOfPage } from '../memory/zone.ts';
import { EBUSY } from './errno.ts';
import { countPage, enqueue, folioHstate, freeWhole, hugetlbLock, unlinkPage } from './hugetlb-pool.ts';
import { surplusHugePagesOfNode } from './hugetlb-resize.ts';
import { Hstate, type HstateRef } from './hugetlb-types.ts';
import { hugetlbVmemmapRestoreFolio } from './hugetlb-vmemmap.ts';
import type { Page } from './types.ts';

function isFree(h: HstateRef, page: Page): boolean {
  let at = get(h, Hstate.free);
  while (at !== 0 && at !== page) at = pageNext[at];
  return at !== 0;
}

/** dissolve_free_hugetlb_folio: 0 when the page is no huge one any longer, or never was; −EBUSY while it is in use or promised; −ENOMEM. */
export function* dissolveFreeHugetlbFolio(page: Page): Op<number> {
  if ((pageFlags[page] & PG_HUGETLB) === 0) return 0;
  yield* spinLock(hugetlbLock());
  const huge = (pageFlags[page] & PG_HUGETLB) !== 0;
  const h = huge ? folioHstate(page) : 0;
  if (!huge || pageRefcount[page] !== 0 || get(h, Hstate.freePages) <= get(h, Hstate.resv) || !isFree(h, page)) {
    yield* spinUnlock(hugetlbLock());
    return huge ? -EBUSY : 0;
  }
  const surplus = surplusHugePagesOfNode(h, nodeOfPage(page)) > 0;
  unlinkPage(h, page);
  countPage(h, page, -1, surplus);
  yield* spinUnlock(hugetlbLock());
  const error = yield* hugetlbVmemmapRestoreFolio(pfnOfPage(page), pageOrder[page]);
  if (error < 0) {
    yield* spinLock(hugetlbLock());
    countPage(h, page, 1, surplus);
    enqueue(h, page);
    yield* spinUnlock(hugetlbLock());
    return error;
  }
  yield* freeWhole(page);
  return 0;
}
