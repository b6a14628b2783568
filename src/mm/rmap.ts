/**
 * Which entries map a page: mapcounts, and the way from a page to its mappings (mm/rmap.c).
 *
 * Invariants: the mapcount is the number of present entries that map the page; an anonymous page's mapping is the anon_vma under which it was
 * made (or moved to), its index the linear page index there; PG_anon_exclusive means that exactly one entry maps it and no other
 * process can come to share it but by fork, which clears the flag.
 */

import type { Op } from '../kernel/op.ts';
import { clearFlags, get, mapcountAdd, setFlags } from '../kernel/ops.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_SWAPBACKED } from '../memory/page-flags.ts';
import { pageFlags, pageMapcount, setPageIndex, setPageMapping } from '../memory/state.ts';
import { folioMaybeDmaPinned } from './dma-pinned.ts';
import { folioOrder } from './folio-order.ts';
import { mlockVmaFolio, munlockVmaFolio } from './swap.ts';
import { AnonVma, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_DROPPABLE } from './vm-flags.ts';

/** linear_page_index: where a page of a VMA stands in its object. */
export const linearPageIndex = (vma: VmaRef, vpn: Vpn): number => get(vma, Vma.pgoff) + vpn - get(vma, Vma.start);

/** vma_address: where a VMA maps an index of its object, −1 when it does not. */
export function vmaAddress(vma: VmaRef, index: number): Vpn {
  const vpn = get(vma, Vma.start) + index - get(vma, Vma.pgoff);
  return vpn >= get(vma, Vma.start) && vpn < get(vma, Vma.end) ? vpn : -1;
}

export const pageAnonExclusive = (page: Page): boolean => (pageFlags[page] & PG_ANON_EXCLUSIVE) !== 0;

/** folio_add_new_anon_rmap: the first mapping of a fresh anonymous page, exclusive. */
export function* folioAddNewAnonRmap(page: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  const droppable = (get(vma, Vma.flags) & VM_DROPPABLE) !== 0;
  yield* mapcountAdd(page, 1);
  // An exclusive page belongs to the VMA's own anon_vma, else it would to the root's.
  setPageMapping(page, get(vma, Vma.anonVma));
  setPageIndex(page, linearPageIndex(vma, vpn));
  yield* setFlags(page, PG_ANON | PG_ANON_EXCLUSIVE | (droppable ? 0 : PG_SWAPBACKED));
  return 0;
}

/** folio_add_file_rmap_pte. A part of a large folio does not lock it in memory. */
export function* folioAddFileRmap(page: Page, vma: VmaRef): Op<number> {
  yield* mapcountAdd(page, 1);
  if (folioOrder(page) !== 0) return 0;
  return yield* mlockVmaFolio(page, vma);
}

/** folio_dup_file_rmap_pte: fork maps the page once more. */
export function* folioDupFileRmap(page: Page): Op<number> {
  return yield* mapcountAdd(page, 1);
}

/** folio_try_dup_anon_rmap_pte: fork shares an anonymous page; 0, or −1 when it may be pinned and must be copied instead. */
export function* folioTryDupAnonRmap(page: Page, mayBePinned: number): Op<number> {
  if (pageAnonExclusive(page)) {
    if (mayBePinned !== 0) return -1;
    yield* clearFlags(page, PG_ANON_EXCLUSIVE);
  }
  yield* mapcountAdd(page, 1);
  return 0;
}

/**
 * folio_try_share_anon_rmap_pte: an exclusive page, whose entry was emptied, may be shared or replaced from now on; −1 when it may be pinned, and stays
 * as it is. Entry first, then the look for pins: who pins it without a lock looks at the entry again after that.
 */
export function* folioTryShareAnonRmap(page: Page): Op<number> {
  if (yield* folioMaybeDmaPinned(page)) return -1;
  yield* clearFlags(page, PG_ANON_EXCLUSIVE);
  return 0;
}

/** folio_remove_rmap_pte. */
export function* folioRemoveRmap(page: Page, vma: VmaRef): Op<number> {
  yield* mapcountAdd(page, -1);
  return yield* munlockVmaFolio(page, vma);
}

/** folio_move_anon_rmap: the only user takes the page into its own anon_vma. */
export function folioMoveAnonRmap(page: Page, vma: VmaRef): void {
  setPageMapping(page, get(vma, Vma.anonVma));
}

export const pageIsMapped = (page: Page): boolean => pageMapcount[page] > 0;

/** The rw_semaphore of an anon_vma: the root's. */
export const anonVmaLock = (anonVma: number): number => get(anonVma, AnonVma.root) + AnonVma.rwsem;
