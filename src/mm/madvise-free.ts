/**
 * MADV_FREE (mm/madvise.c: madvise_free_pte_range): private pages whose content the kernel may drop until they are written again.
 *
 * Invariants: a lazily freed folio has lost PG_swapbacked and PG_dirty, its entries are clean and old; a store sets the entry's dirty bit, by which
 * reclaim sees that the page is wanted again.
 */

import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryGet, entrySet, folioTrylock, folioUnlock, get, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags, pageMapcount } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_TABLE } from '../pagetable/canonical.ts';
import { EINVAL } from './errno.ts';
import { vmNormalPage } from './memory.ts';
import { tlbFinish, tlbGather, tlbRemoveEntry } from './mmu-gather.ts';
import { pteClear, pteLockptr, ptePresent, tablePage } from './pgtable.ts';
import { type GatherRef, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';

/** madvise_free_single_vma: 0, or −EINVAL for what is not private and anonymous. */
export function* madviseFreeSingleVma(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (get(vma, Vma.ops) !== 0) return -EINVAL;
  const mm = get(vma, Vma.mm);
  const tlb = yield* tlbGather(mm);
  yield* freeTable(tlb, get(mm, Mm.pgd), topLevel, start, end);
  return yield* tlbFinish(tlb);
}

function* freeTable(tlb: GatherRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* freeTable(tlb, tablePage(entry), level - 1, vpn, next);
      else yield* freePteRange(tlb, tablePage(entry), vpn, next);
    }
    vpn = next;
  }
  return 0;
}

function* freePteRange(tlb: GatherRef, table: Page, start: Vpn, end: Vpn): Op<number> {
  let ptep = entryAt(table, 0, start);
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    if (page !== 0 && (yield* cleanForFree(page))) {
      if ((pte & (PTE_ACCESSED | PTE_DIRTY)) !== 0) {
        yield* entrySet(ptep, 0, pteClear(pte, PTE_ACCESSED | PTE_DIRTY));
        tlbRemoveEntry(tlb, vpn, vpn + 1);
      }
      yield* folioMarkLazyfree(page);
    }
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

/** A folio with a dirty flag loses it, if it is ours alone; false when it must stay as it is. */
function* cleanForFree(page: Page): Op<boolean> {
  if ((pageFlags[page] & (PG_DIRTY | PG_SWAPCACHE)) === 0) return true;
  if ((yield* folioTrylock(page)) === 0) return false;
  if (pageMapcount[page] !== 1) {
    yield* folioUnlock(page);
    return false;
  }
  yield* clearFlags(page, PG_DIRTY);
  yield* folioUnlock(page);
  return true;
}

/** folio_mark_lazyfree and lru_lazyfree: the folio goes to the inactive file list, to be dropped first. */
function* folioMarkLazyfree(page: Page): Op<number> {
  const wanted = PG_ANON | PG_SWAPBACKED | PG_LRU;
  if ((pageFlags[page] & (wanted | PG_SWAPCACHE | PG_UNEVICTABLE)) !== wanted) return 0;
  return yield* clearFlags(page, PG_SWAPBACKED | PG_ACTIVE | PG_REFERENCED);
}
