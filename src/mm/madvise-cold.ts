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
import { pageFlags, pageIndex, pageMapcount, pageMapping, setPagePrev } from '../memory/state.ts';
import { PTE_ACCESSED } from '../pagetable/canonical.ts';
import { pageCacheEntry } from './filemap.ts';
import { folioGroupDirty, folioOrder, setFolioOrder } from './folio-order.ts';
import { vmNormalPage } from './memory.ts';
import { tlbRemoveEntry } from './mmu-gather.ts';
import { pteLockptr, ptePage, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioPteBatch } from './pte-batch.ts';
import { TTU_IGNORE_MLOCK, tryToUnmap } from './rmap-walk.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioGet, folioPut, folioTestAnon } from './swap.ts';
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
    const order = page === 0 || large || folioTestAnon(page) ? 0 : folioOrder(page);
    const count = large ? yield* folioPteBatch(ptep, pte, end - vpn) : order === 0 ? 1 : yield* pteBatch(page, order, ptep, end - vpn);
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
    if (count < 2 ** order && !maybeMappedShared(page, order) && (yield* folioTrylock(page)) !== 0) {
      // Only a part of a large folio is meant: the entries' lock must go while it is split, and they are looked at again.
      yield* folioGet(page);
      yield* spinUnlock(pteLockptr(ptep));
      const split = yield* splitFolioWhole(page, order);
      yield* folioUnlock(page);
      yield* folioPut(page);
      ptep = yield* pteOffsetMapLock(pmdp, vpn);
      if (split !== 0) continue;
    } else if (page !== 0 && count === 2 ** order && isOurs(page, order)) {
      for (let i = 0; i < count; i++) {
        const part = ptePage(yield* entryGet(ptep + i * step, 0));
        if (pageout === 0) yield* coolPage(tlb, part, ptep + i * step, vpn + i);
        else if ((yield* isolateForReclaim(part)) !== 0) {
          if (first === 0) first = part;
          else setPagePrev(last, part);
          last = part;
        }
      }
    }
    vpn += count;
    if (ptep !== 0) ptep += count * step;
  }
  if (ptep !== 0) yield* spinUnlock(pteLockptr(ptep - step));
  return yield* reclaimPages(first);
}

/** The part of MADV_COLD for one page: old, and on the inactive list (folio_deactivate). */
function* coolPage(tlb: GatherRef, page: Page, ptep: number, vpn: Vpn): Op<number> {
  if (((yield* entryClearBits(ptep, 0, PTE_ACCESSED)) & PTE_ACCESSED) !== 0) tlbRemoveEntry(tlb, vpn, vpn + 1);
  return yield* clearFlags(page, (pageFlags[page] & PG_UNEVICTABLE) !== 0 ? PG_REFERENCED : PG_REFERENCED | PG_ACTIVE);
}

/** Whether a page is on the LRU, and mapped here alone: a large folio as often as it has pages. */
function isOurs(page: Page, order: number): boolean {
  if ((pageFlags[page] & PG_LRU) === 0) return false;
  return order === 0 ? pageMapcount[page] === 1 : groupMapcount(page, order) === 2 ** order;
}

/** folio_isolate_lru for a list of pages to reclaim; 1 when isolated. The unevictable ones go back at once. */
export function* isolateForReclaim(page: Page): Op<number> {
  yield* clearFlags(page, PG_REFERENCED);
  if ((yield* folioIsolateLru(page)) === 0) return 0;
  if ((pageFlags[page] & PG_UNEVICTABLE) === 0) return 1;
  yield* folioPutbackLru(page);
  return 0;
}

// --- large folios of files --------------------------------------------------------------------------------------------------

const firstIndex = (page: Page, order: number): number => pageIndex[page] - (pageIndex[page] % 2 ** order);

/** folio_mapcount of a large folio. */
function groupMapcount(page: Page, order: number): number {
  const first = firstIndex(page, order);
  let count = 0;
  for (let index = first; index < first + 2 ** order; index++) count += pageMapcount[pageCacheEntry(pageMapping[page], index)];
  return count;
}

/** folio_maybe_mapped_shared, as far as it can be told from the pages. */
function maybeMappedShared(page: Page, order: number): boolean {
  const first = firstIndex(page, order);
  for (let index = first; index < first + 2 ** order; index++) if (pageMapcount[pageCacheEntry(pageMapping[page], index)] > 1) return true;
  return false;
}

/** madvise_folio_pte_batch: how many of the next `limit` entries map the pages of a large folio in a row, from one of its pages on. */
function* pteBatch(page: Page, order: number, ptep: number, limit: number): Op<number> {
  const rest = Math.min(limit, firstIndex(page, order) + 2 ** order - pageIndex[page]);
  let count = 1;
  while (count < rest) {
    const pte = yield* entryGet(ptep + count * entryStride(0), 0);
    if (!ptePresent(pte) || ptePage(pte) !== pageCacheEntry(pageMapping[page], pageIndex[page] + count)) break;
    count++;
  }
  return count;
}

/** split_folio of a locked large folio to single pages, which are mapped nowhere then; 1 when done. A dirty one cannot be split (its buffers are). */
function* splitFolioWhole(page: Page, order: number): Op<number> {
  const inode = pageMapping[page];
  const first = firstIndex(page, order);
  const end = first + 2 ** order;
  if (inode === 0 || folioOrder(page) !== order || folioGroupDirty(inode, first, end)) return 0;
  for (let index = first; index < end; index++) yield* tryToUnmap(pageCacheEntry(inode, index), TTU_IGNORE_MLOCK);
  for (let index = first; index < end; index++) setFolioOrder(inode, index, 0);
  return 1;
}
