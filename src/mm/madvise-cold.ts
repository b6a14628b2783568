/**
 * MADV_COLD and MADV_PAGEOUT (mm/madvise.c: madvise_cold_or_pageout_pte_range): pages that will not be used soon are made old, or reclaimed.
 *
 * Only pages that are mapped once are touched: others are not this process's alone to judge. All files belong to whoever runs the processes, so
 * Linux's question whether he may write to them (can_do_file_pageout) has one answer.
 */
import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryClearBits, entryGet, folioTrylock, folioUnlock, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, folioMapcount, folioMaybeMappedShared, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { PG_ACTIVE, PG_LRU, PG_REFERENCED, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags, pageMapcount, setPagePrev } from '../memory/state.ts';
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
    const count = large ? yield* folioPteBatch(ptep, pte, end - vpn) : 1;
    if (large) {
      const folio = pageFolio(page);
      if (count < compoundPages(page)) {
        // Only a part is meant: it is split, if it is ours alone.
        let split = 1;
        if (!folioMaybeMappedShared(folio) && (yield* folioTrylock(folio)) !== 0) {
          yield* folioGet(folio);
          yield* spinUnlock(pteLockptr(ptep));
          split = yield* splitFolioOf(folio);
          if (split !== 0) yield* folioUnlock(folio);
          yield* folioPut(folio);
          ptep = yield* pteOffsetMapLock(pmdp, vpn);
          if (ptep === 0) break;
        }
        if (split === 0) continue;
        vpn += count;
        ptep += count * step;
        continue;
      }
      if ((pageFlags[folio] & PG_LRU) !== 0 && folioMapcount(folio) === count) {
        if (pageout === 0)
          for (let i = 0; i < count; i++) {
            if (((yield* entryClearBits(ptep + i * step, 0, PTE_ACCESSED)) & PTE_ACCESSED) !== 0) tlbRemoveEntry(tlb, vpn + i, vpn + i + 1);
          }
        if (pageout === 0) yield* clearFlags(folio, (pageFlags[folio] & PG_UNEVICTABLE) !== 0 ? PG_REFERENCED : PG_REFERENCED | PG_ACTIVE);
        else if ((yield* isolateForReclaim(folio)) !== 0) {
          if (first === 0) first = folio;
          else setPagePrev(last, folio);
          last = folio;
        }
      }
      vpn += count;
      ptep += count * step;
      continue;
    }
    if (page !== 0 && (pageFlags[page] & PG_LRU) !== 0 && pageMapcount[page] === 1) {
      if (pageout === 0) yield* coolPage(tlb, page, ptep, vpn);
      else if ((yield* isolateForReclaim(page)) !== 0) {
        if (first === 0) first = page;
        else setPagePrev(last, page);
        last = page;
      }
    }
    vpn++;
    ptep += step;
  }
  if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep - step));
  return yield* reclaimPages(first);
}

/** The part of MADV_COLD for one page: old, and on the inactive list (folio_deactivate). */
function* coolPage(tlb: GatherRef, page: Page, ptep: number, vpn: Vpn): Op<number> {
  if (((yield* entryClearBits(ptep, 0, PTE_ACCESSED)) & PTE_ACCESSED) !== 0) tlbRemoveEntry(tlb, vpn, vpn + 1);
  return yield* clearFlags(page, (pageFlags[page] & PG_UNEVICTABLE) !== 0 ? PG_REFERENCED : PG_REFERENCED | PG_ACTIVE);
}

/** folio_isolate_lru for a list of pages to reclaim; 1 when isolated. The unevictable ones go back at once. */
export function* isolateForReclaim(page: Page): Op<number> {
  yield* clearFlags(page, PG_REFERENCED);
  if ((yield* folioIsolateLru(page)) === 0) return 0;
  if ((pageFlags[page] & PG_UNEVICTABLE) === 0) return 1;
  yield* folioPutbackLru(page);
  return 0;
}
