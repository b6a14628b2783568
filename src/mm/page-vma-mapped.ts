/** Where a VMA maps a page (mm/page_vma_mapped.c). */
import type { Op } from '../kernel/op.ts';
import { entryGet, get, spinUnlock } from '../kernel/ops.ts';
import { entryPointer, pteLockptr, ptePage, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { type Page, Vma, type VmaRef, type Vpn } from './types.ts';

/** page_vma_mapped_walk: the entry by which a VMA maps a page at its place there, with the entry's lock held; 0 when it does not. */
export function* pageVmaMappedWalk(page: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  const pmdp = yield* entryPointer(get(vma, Vma.mm), vpn, 1);
  if (pmdp === 0) return 0;
  const ptep = yield* pteOffsetMapLock(pmdp, vpn);
  if (ptep === 0) return 0;
  const pte = yield* entryGet(ptep, 0);
  if (ptePresent(pte) && ptePage(pte) === page) return ptep;
  yield* spinUnlock(pteLockptr(ptep));
  return 0;
}
