/** Entries in a row that map pages of one folio in a row (mm/internal.h: folio_pte_batch). */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet } from '../kernel/ops.ts';
import { compoundPages, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_SOFT_DIRTY, PTE_WRITE } from '../pagetable/canonical.ts';
import { PTE_PAYLOAD, pteClear, ptePage } from './pgtable.ts';

/** What entries of a batch may differ in. */
const IGNORED = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY | PTE_WRITE;

/** How many of the next `limit` entries go on with what the first, `pte`, begins: pages of its folio in a row. */
export function* folioPteBatch(ptep: number, pte: number, limit: number): Op<number> {
  const page = ptePage(pte);
  if (!pageIsCompound(page)) return 1;
  const most = Math.min(limit, compoundPages(page) - subPageIndex(page));
  let count = 1;
  while (count < most) {
    const next = yield* entryGet(ptep + count * entryStride(0), 0);
    if (pteClear(next, IGNORED) !== pteClear(pte, IGNORED) + count * PTE_PAYLOAD) break;
    count++;
  }
  return count;
}
