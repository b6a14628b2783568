/**
 * Page walks over hugetlb VMAs (walk_hugetlb_range of mm/pagewalk.c): by huge pages, with the VMA's lock held, so that no table is unshared meanwhile. Walks
 * that have no function for huge pages (mm_walk_ops.hugetlb_entry) pass them over.
 */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { hugePteOffset, hugePtepGet } from './huge-leaf.ts';
import { hugetlbVmaLockRead, hugetlbVmaUnlockRead } from './hugetlb-lock.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { mincoreHugetlb } from './mincore.ts';
import { MmWalk, type MmWalkRef, WALK_MINCORE } from './mm-walk.ts';
import type { Vpn } from './types.ts';

/** walk_hugetlb_range. 0 or what the function returned. */
export function* walkHugetlbRange(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  if (get(walk, MmWalk.ops) !== WALK_MINCORE) return 0;
  const vma = get(walk, MmWalk.vma);
  const h = hstateVma(vma);
  const size = hugePages(h);
  let vpn = start;
  yield* hugetlbVmaLockRead(vma);
  while (vpn < end) {
    const next = Math.min(end, (Math.floor(vpn / size) + 1) * size);
    const ptep = yield* hugePteOffset(get(walk, MmWalk.mm), vpn - (vpn % size), h);
    mincoreHugetlb(walk, ptep === 0 ? 0 : yield* hugePtepGet(h, ptep), vpn, next);
    vpn = next;
  }
  return yield* hugetlbVmaUnlockRead(vma);
}
