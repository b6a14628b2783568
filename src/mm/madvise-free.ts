/**
 * MADV_FREE (mm/madvise.c: madvise_free_pte_range): private pages whose content the kernel may drop until they are written again.
 *
 * Invariants: a lazily freed folio has lost PG_swapbacked and PG_dirty, its entries are clean and old; a store sets the entry's dirty bit, by which
 * reclaim sees that the page is wanted again.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryClearBits, entryGet, entryGetAndClear, folioTrylock, folioUnlock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, folioMapcount, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { splitIfOurs } from './madvise-cold.ts';
import { vmNormalPage } from './memory.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import { isSwapPte, PTE_MARKER_POISONED, pteLockptr, pteMarker, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioPteBatch } from './pte-batch.ts';
import type { GatherRef, Page, Vpn } from './types.ts';

/** madvise_free_pte_range. */
export function* freePteRange(tlb: GatherRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const step = entryStride(0);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  let vpn = start;
  while (ptep !== 0 && vpn < end) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    const large = page !== 0 && pageIsCompound(page);
    const count = large ? yield* folioPteBatch(ptep, pte, end - vpn) : 1;
    if (large && count < compoundPages(page)) {
      const split = yield* splitIfOurs(pageFolio(page), ptep);
      if (split <= 0) ptep = yield* pteOffsetMapLock(pmdp, vpn);
      if (ptep === 0) break;
      if (split === 0) continue;
    } else if (page !== 0) yield* freeFolioLazily(tlb, large ? pageFolio(page) : page, ptep, pte, vpn, count);
    else if (isSwapPte(pte) && (pteMarker(pte) & PTE_MARKER_POISONED) !== 0) yield* entryGetAndClear(ptep, 0);
    vpn += count;
    ptep += count * step;
  }
  return ptep !== 0 ? yield* spinUnlock(pteLockptr(ptep - step)) : 0;
}

/** A folio all of which `count` entries map, the first of them read as `first`: they are clean and old, and it may be dropped; unless somebody else needs what was written. */
function* freeFolioLazily(tlb: GatherRef, folio: Page, ptep: number, first: number, vpn: Vpn, count: number): Op<number> {
  if (!(yield* cleanForFree(folio))) return 0;
  for (let i = 0; i < count; i++) {
    const at = ptep + i * entryStride(0);
    const pte = i === 0 ? first : yield* entryGet(at, 0);
    if ((pte & (PTE_ACCESSED | PTE_DIRTY)) === 0) continue;
    yield* entryClearBits(at, 0, PTE_ACCESSED | PTE_DIRTY);
    tlbRemoveEntry(tlb, vpn + i, vpn + i + 1);
  }
  return yield* folioMarkLazyfree(folio);
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
