/** Where a VMA maps a page, or pages of a folio (mm/page_vma_mapped.c). */
import type { Op } from '../kernel/op.ts';
import { entryGet, get, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, pageFolio } from '../memory/folio.ts';
import { pageIndex } from '../memory/state.ts';
import { PTE_SPECIAL } from '../pagetable/canonical.ts';
import { entryPointer, pteLockptr, ptePage, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { type Page, Vma, type VmaRef, type Vpn } from './types.ts';

/** Where a VMA would map the first page of a folio, be it before its start. */
export const folioBase = (folio: Page, vma: VmaRef): Vpn => get(vma, Vma.start) - get(vma, Vma.pgoff) + pageIndex[folio];

/** First page of the part of a VMA that a folio belongs to, and the first one behind it. */
export const partStart = (folio: Page, vma: VmaRef): Vpn => Math.max(folioBase(folio, vma), get(vma, Vma.start));
export const partEnd = (folio: Page, vma: VmaRef): Vpn => Math.min(folioBase(folio, vma) + compoundPages(folio), get(vma, Vma.end));

/** Whether an entry of the lowest level maps a part of the folio. */
export const mapsPartOf = (folio: Page, pte: number): boolean => ptePresent(pte) && (pte & PTE_SPECIAL) === 0 && pageFolio(ptePage(pte)) === folio;

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
