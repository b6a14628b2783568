/**
 * MADV_COLD and MADV_PAGEOUT (mm/madvise.c: madvise_cold_or_pageout_pte_range): pages that will not be used soon are made old, or reclaimed.
 *
 * Only pages that are mapped once are touched: others are not this process's alone to judge. All files belong to whoever runs the processes, so
 * Linux's question whether he may write to them (can_do_file_pageout) has one answer.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryClearBits, entryGet, folioTrylock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, folioMapcount, folioMaybeMappedShared, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { PG_ACTIVE, PG_LRU, PG_REFERENCED, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags, setPagePrev } from '../memory/state.ts';
import { PTE_ACCESSED } from '../pagetable/canonical.ts';
import { vmNormalPage } from './memory.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import { pteLockptr, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioPteBatch } from './pte-batch.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioGet, folioPut } from './swap.ts';
import type { GatherRef, Page, Vpn } from './types.ts';
import { folioIsolateLru, folioPutbackLru, reclaimPages } from './vmscan.ts';

/** madvise_cold_or_pageout_pte_range. */
export function* coldOrPageoutPteRange(tlb: GatherRef, pmdp: number, start: Vpn, end: Vpn, pageout: number): Op<number> {
  const step = entryStride(0);
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  // Isolated pages, linked as mm/vmscan.ts has it.
  let first = 0;
  let last = 0;
  let vpn = start;
  while (ptep !== 0 && vpn < end) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    const large = page !== 0 && pageIsCompound(page);
    const folio = large ? pageFolio(page) : page;
    const count = large ? yield* folioPteBatch(ptep, pte, end - vpn) : 1;
    if (large && count < compoundPages(page)) {
      const split = yield* splitIfOurs(folio, ptep);
      if (split <= 0) ptep = yield* pteOffsetMapLock(pmdp, vpn);
      if (ptep === 0) break;
      if (split === 0) continue;
    } else if (page !== 0 && (pageFlags[folio] & PG_LRU) !== 0 && folioMapcount(folio) === count) {
      if (pageout === 0) yield* coolFolio(tlb, folio, ptep, vpn, count);
      else if ((yield* isolateForReclaim(folio)) !== 0) {
        if (first === 0) first = folio;
        else setPagePrev(last, folio);
        last = folio;
      }
    }
    vpn += count;
    ptep += count * step;
  }
  if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep - step));
  return yield* reclaimPages(first);
}

/**
 * A large folio of which only a part is meant is split, if it is ours alone. Of entries' lock, at `ptep`: kept where nothing could be tried, 1; else released, 0 when the
 * folio is split, −errno when it is not.
 */
export function* splitIfOurs(folio: Page, ptep: number): Op<number> {
  if (folioMaybeMappedShared(folio) || (yield* folioTrylock(folio)) === 0) return 1;
  yield* folioGet(folio);
  yield* spinUnlock(pteLockptr(ptep));
  const error = yield* splitFolioOf(folio);
  yield* folioPut(folio);
  return error;
}

/** The part of MADV_COLD for a folio all of which `count` entries map: old, and on the inactive list (folio_deactivate). */
function* coolFolio(tlb: GatherRef, folio: Page, ptep: number, vpn: Vpn, count: number): Op<number> {
  for (let i = 0; i < count; i++) {
    if (((yield* entryClearBits(ptep + i * entryStride(0), 0, PTE_ACCESSED)) & PTE_ACCESSED) !== 0) tlbRemoveEntry(tlb, vpn + i, vpn + i + 1);
  }
  return yield* clearFlags(folio, (pageFlags[folio] & PG_UNEVICTABLE) !== 0 ? PG_REFERENCED : PG_REFERENCED | PG_ACTIVE);
}

/** folio_isolate_lru for a list of pages to reclaim; 1 when isolated. The unevictable ones go back at once. */
export function* isolateForReclaim(page: Page): Op<number> {
  yield* clearFlags(page, PG_REFERENCED);
  if ((yield* folioIsolateLru(page)) === 0) return 0;
  if ((pageFlags[page] & PG_UNEVICTABLE) === 0) return 1;
  yield* folioPutbackLru(page);
  return 0;
}
