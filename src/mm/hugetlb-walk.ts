/**
 * Page walks over hugetlb VMAs (walk_hugetlb_range of mm/pagewalk.c): by huge pages, with the VMA's lock held, so that no table is unshared meanwhile. Where there
 * is no table there is a hole; where there is one the walk has its function for leaves called, under the entry's lock, whatever level and however many entries it
 * is made of.
 */
import { spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, spinLock, spinUnlock } from '../kernel/ops.ts';
import { hugePteLockptr, hugePtepGet } from './huge-leaf.ts';
import { hugetlbWalkBegin, hugetlbWalkEnd } from './hugetlb-lock.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { hugetlbWalk } from './hugetlb-share.ts';
import { Hstate } from './hugetlb-types.ts';
import { HAS_HOLE, MmWalk, type MmWalkRef } from './mm-walk.ts';
import { PTE_PAYLOAD, ptePresent } from './pgtable.ts';
import type { Vpn } from './types.ts';
import { walkHole, walkLeaf } from './walk-ops.ts';

/** walk_hugetlb_range. 0 or what the function returned. */
export function* walkHugetlbRange(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const vma = get(walk, MmWalk.vma);
  const h = hstateVma(vma);
  const size = hugePages(h);
  const level = get(h, Hstate.level);
  let vpn = start;
  let error = 0;
  yield* hugetlbWalkBegin(vma);
  while (vpn < end && error === 0) {
    const next = Math.min(end, (Math.floor(vpn / size) + 1) * size);
    const ptep = yield* hugetlbWalk(vma, vpn - (vpn % size), h);
    if (ptep !== 0) {
      const lock = hugePteLockptr(h, get(walk, MmWalk.mm), ptep);
      yield* spinLock(lock);
      let entry = yield* hugePtepGet(h, ptep);
      // Of a group the entry of the first page that is asked for.
      if (ptePresent(entry)) entry += Math.floor((vpn % size) / spanPages(level)) * spanPages(level) * PTE_PAYLOAD;
      error = yield* walkLeaf(walk, ptep, entry, level, vpn, next);
      yield* spinUnlock(lock);
    } else if ((get(walk, MmWalk.has) & HAS_HOLE) !== 0) error = yield* walkHole(walk, vpn, next, -1);
    vpn = next;
  }
  yield* hugetlbWalkEnd(vma);
  return error;
}
