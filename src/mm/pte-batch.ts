/** Entries in a row that map pages of one folio in a row (mm/internal.h: folio_pte_batch). */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet } from '../kernel/ops.ts';
import { compoundPages, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_SOFT_DIRTY, PTE_WRITE } from '../pagetable/canonical.ts';
import { PTE_PAYLOAD, pteClear, ptePage } from './pgtable.ts';

/** What entries of a run may differ in: what accesses leave behind. */
const TRACES = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY;

/** What entries of a batch may differ in. */
const IGNORED = TRACES | PTE_WRITE;

/**
 * How many entries from `ptep` on, at most `most`, map pages in a row with the rights of `pte`, which is the first or was. What the pages are is for the caller to know: of one
 * folio as long as `pte` maps one of it, and `most` does not lead out of it.
 */
export function* pteRun(ptep: number, pte: number, from: number, most: number): Op<number> {
  const want = pteClear(pte, TRACES);
  let run = from;
  while (run < most && pteClear(yield* entryGet(ptep + run * entryStride(0), 0), TRACES) === want + run * PTE_PAYLOAD) run++;
  return run;
}

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
