/**
 * How get_user_pages() found pages of hugetlb for some months (mm/hugetlb.c of 6.1: hugetlb_follow_page_mask), for the switch hugetlbFollowOwn. Linux 6.18 has one walk
 * for all (gup.ts: followPageMask).
 *
 * Invariants: no lock of the VMA is taken, as who must not sleep comes here, too; what is found is looked at under the lock of its entry. Pins had a way of their own.
 */
import type { Op } from '../kernel/op.ts';
import { get, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { nextPage } from '../memory/folio.ts';
import { tryGrabFolio } from './gup-pin.ts';
import { FOLL_PIN } from './gup-types.ts';
import { hugePteLockptr, hugePteOffset, hugePtepGet } from './huge-leaf.ts';
import { hugetlbVmaUnlockRead } from './hugetlb-lock.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { migrationEntryWaitHuge } from './migrate.ts';
import { isMigrationEntry } from './migration-entry.ts';
import { ptePage, ptePresent } from './pgtable.ts';
import { Vma, type VmaRef, type Vpn } from './types.ts';

/** hugetlb_follow_page_mask: the page, referenced when asked; 0 where none is mapped, be it poisoned, and for who wants to pin. It waits until a migration is over. */
export function* hugetlbFollowPageMask(vma: VmaRef, vpn: Vpn, follFlags: number): Op<number> {
  if ((follFlags & FOLL_PIN) !== 0) return 0;
  const h = hstateVma(vma);
  const mm = get(vma, Vma.mm);
  const offset = vpn % hugePages(h);
  for (;;) {
    const ptep = yield* hugePteOffset(mm, vpn - offset, h);
    if (ptep === 0) return 0;
    const lock = hugePteLockptr(h, mm, ptep);
    yield* spinLock(lock);
    const pte = yield* hugePtepGet(h, ptep);
    let page = 0;
    if (ptePresent(pte)) {
      page = nextPage(ptePage(pte), offset);
      if ((yield* tryGrabFolio(page, 1, follFlags)) !== 0) page = 0;
    }
    yield* spinUnlock(lock);
    if (!isMigrationEntry(pte)) return page;
    if (switched(SW.hugetlbFollowLeftover)) yield* hugetlbVmaUnlockRead(vma);
    yield* migrationEntryWaitHuge(h, mm, ptep);
  }
}
