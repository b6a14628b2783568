/**
 * MADV_FREE (mm/madvise.c: madvise_free_pte_range): private pages whose content the kernel may drop until they are written again.
 *
 * Invariants: a lazily freed folio has lost PG_swapbacked and PG_dirty, its entries are clean and old; a store sets the entry's dirty bit, by which
 * reclaim sees that the page is wanted again.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryClearBits, entryGet, entryGetAndClear, folioTrylock, folioUnlock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, folioMapcount, folioMaybeMappedShared, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { vmNormalPage } from './memory.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import { isSwapPte, PTE_MARKER_POISONED, pteLockptr, pteMarker, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioPteBatch } from './pte-batch.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioGet, folioPut } from './swap.ts';
import type { GatherRef, Page, Vpn } from './types.ts';

/** madvise_free_pte_range. */
export function* freePteRange(tlb: GatherRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  let split = 0;
  let skipTo = start;
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    if (page !== 0 && pageIsCompound(page) && split !== page && vpn >= skipTo) {
      // A large folio of which only a part is meant is split, if it is ours alone.
      const count = yield* folioPteBatch(ptep, pte, end - vpn);
      if (count < compoundPages(page)) {
        const folio = pageFolio(page);
        split = page;
        if (folioMaybeMappedShared(folio) || (yield* folioTrylock(folio)) === 0) {
          ptep += entryStride(0);
          continue;
        }
        yield* folioGet(folio);
        yield* spinUnlock(lock);
        const failed = yield* splitFolioOf(folio);
        if (failed !== 0) yield* folioUnlock(folio);
        yield* folioPut(folio);
        ptep = yield* pteOffsetMapLock(pmdp, vpn);
        if (ptep === 0) return 0;
        if (failed === 0) vpn--;
        else ptep += entryStride(0);
        continue;
      }
      skipTo = vpn + count;
    }
    if (ptePresent(pte)) yield* freePresentPte(tlb, ptep, pte, vpn);
    else if (isSwapPte(pte) && (pteMarker(pte) & PTE_MARKER_POISONED) !== 0) yield* entryGetAndClear(ptep, 0);
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

function* freePresentPte(tlb: GatherRef, ptep: number, pte: number, vpn: Vpn): Op<number> {
  const page = vmNormalPage(pte);
  if (page === 0 || !(yield* cleanForFree(pageFolio(page)))) return 0;
  if ((pte & (PTE_ACCESSED | PTE_DIRTY)) !== 0) {
    yield* entryClearBits(ptep, 0, PTE_ACCESSED | PTE_DIRTY);
    tlbRemoveEntry(tlb, vpn, vpn + 1);
  }
  return yield* folioMarkLazyfree(pageFolio(page));
}

/** A folio with a dirty flag loses it, if it is ours alone; false when it must stay as it is. */
function* cleanForFree(page: Page): Op<boolean> {
  if ((pageFlags[page] & (PG_DIRTY | PG_SWAPCACHE)) === 0) return true;
  if ((yield* folioTrylock(page)) === 0) return false;
  // Of a large folio we know that all of it is mapped here.
  if (folioMapcount(page) !== compoundPages(page)) {
    yield* folioUnlock(page);
    return false;
  }
  yield* clearFlags(page, PG_DIRTY);
  yield* folioUnlock(page);
  return true;
}

/** folio_mark_lazyfree and lru_lazyfree: the folio goes to the inactive file list, to be dropped first. */
export function* folioMarkLazyfree(page: Page): Op<number> {
  const wanted = PG_ANON | PG_SWAPBACKED | PG_LRU;
  if ((pageFlags[page] & (wanted | PG_SWAPCACHE | PG_UNEVICTABLE)) !== wanted) return 0;
  return yield* clearFlags(page, PG_SWAPBACKED | PG_ACTIVE | PG_REFERENCED);
}
