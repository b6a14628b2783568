/**
 * Which entries map a page: mapcounts, and the way from a page to its mappings (mm/rmap.c).
 *
 * Invariants: the mapcount is the number of present entries of the lowest level that map the page, and entries above map its folio as a whole
 * (memory/folio.ts); an anonymous folio's mapping is the anon_vma under which it was made (or moved to), its index the linear page index there; PG_anon_exclusive means
 * that exactly one entry maps the page and no other process can come to share it but by fork, which clears the flag. Of a folio that is mapped as a whole the head alone has it.
 */
import { KernelBug } from '../kernel/bug.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entireMapcountAdd, get, mapcountAdd, setFlags } from '../kernel/ops.ts';
import { compoundPages, folioEntireMapcount, folioMapcount, folioPagesMapped, nextPage, pageFolio, pageIsCompound } from '../memory/folio.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_HUGETLB, PG_PARTIALLY_MAPPED, PG_SWAPBACKED, PG_TAIL } from '../memory/page-flags.ts';
import { pageFlags, setPageIndex, setPageMapping } from '../memory/state.ts';
import { deferredSplitFolio } from './deferred-split.ts';
import { folioMaybeDmaPinned } from './dma-pinned.ts';
import { folioTestAnon, mlockVmaFolio, munlockVmaFolio } from './swap.ts';
import { AnonVma, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_DROPPABLE } from './vm-flags.ts';

/** linear_page_index: where a page of a VMA stands in its object. */
export const linearPageIndex = (vma: VmaRef, vpn: Vpn): number => get(vma, Vma.pgoff) + vpn - get(vma, Vma.start);

/** vma_address: where a VMA maps an index of its object, −1 when it does not. */
export function vmaAddress(vma: VmaRef, index: number): Vpn {
  const vpn = get(vma, Vma.start) + index - get(vma, Vma.pgoff);
  return vpn >= get(vma, Vma.start) && vpn < get(vma, Vma.end) ? vpn : -1;
}

/**
 * PageAnonExclusive.
 * @throws {KernelBug} I8 for a tail of hugetlb: such a folio is exclusive as a whole, and its head alone says so
 */
export function pageAnonExclusive(page: Page): boolean {
  const flags = pageFlags[page];
  if ((flags & PG_TAIL) !== 0 && (pageFlags[pageFolio(page)] & PG_HUGETLB) !== 0)
    throw new KernelBug('I8', `page ${page} is a tail of hugetlb: whether it is exclusive is its head's to say`);
  return (flags & PG_ANON_EXCLUSIVE) !== 0;
}

/** folio_add_new_anon_rmap: the first mapping of a fresh anonymous folio, exclusive: all its pages by entries of their own. */
export function* folioAddNewAnonRmap(folio: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  const pages = compoundPages(folio);
  yield* mapcountAdd(folio, 1, pages, get(vma, Vma.mm));
  yield* setNewAnon(folio, vma, vpn);
  if (pages > 1) yield* setFlags(folio, PG_ANON_EXCLUSIVE, pages);
  return 0;
}

/** folio_add_new_anon_rmap of a folio that one entry maps. */
export function* folioAddNewAnonRmapPmd(folio: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  yield* entireMapcountAdd(folio, 1, get(vma, Vma.mm));
  return yield* setNewAnon(folio, vma, vpn);
}

/** __folio_set_anon, for a folio that is exclusive. */
function* setNewAnon(folio: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  const droppable = (get(vma, Vma.flags) & VM_DROPPABLE) !== 0;
  // An exclusive page belongs to the VMA's own anon_vma, else it would to the root's.
  setPageMapping(folio, get(vma, Vma.anonVma));
  setPageIndex(folio, linearPageIndex(vma, vpn));
  return yield* setFlags(folio, PG_ANON | PG_ANON_EXCLUSIVE | (droppable ? 0 : PG_SWAPBACKED));
}

/** folio_add_anon_rmap_ptes: entries that come to map pages of an anonymous folio that was mapped before. `exclusive`: they are the only ones. */
export function* folioAddAnonRmapPtes(page: Page, pages: number, vma: VmaRef, exclusive: number): Op<number> {
  yield* mapcountAdd(page, 1, pages, get(vma, Vma.mm));
  if (exclusive !== 0) yield* setFlags(page, PG_ANON_EXCLUSIVE, pages);
  return yield* mlockIfWhole(page, pages, vma);
}

/** folio_add_anon_rmap_pmd: an entry that comes to map a whole anonymous folio that was mapped before. `exclusive`: it is the only one. */
export function* folioAddAnonRmapPmd(folio: Page, vma: VmaRef, exclusive: number): Op<number> {
  yield* entireMapcountAdd(folio, 1, get(vma, Vma.mm));
  if (exclusive !== 0) yield* setFlags(folio, PG_ANON_EXCLUSIVE);
  return yield* mlockVmaFolio(folio, vma);
}

/** folio_add_file_rmap_pmd. */
export function* folioAddFileRmapPmd(folio: Page, vma: VmaRef): Op<number> {
  yield* entireMapcountAdd(folio, 1, get(vma, Vma.mm));
  return yield* mlockVmaFolio(folio, vma);
}

/** folio_add_file_rmap_ptes. */
export function* folioAddFileRmapPtes(page: Page, pages: number, vma: VmaRef): Op<number> {
  yield* mapcountAdd(page, 1, pages, get(vma, Vma.mm));
  return yield* mlockIfWhole(page, pages, vma);
}

/** A locked VMA keeps a folio in memory when it comes to map all of it at once; of parts of a large one reclaim finds out. */
function* mlockIfWhole(page: Page, pages: number, vma: VmaRef): Op<number> {
  if (pageIsCompound(page) && pages !== compoundPages(pageFolio(page))) return 0;
  return yield* mlockVmaFolio(page, vma);
}

/** folio_dup_file_rmap_ptes: fork maps pages once more, in the child. */
export function* folioDupFileRmapPtes(page: Page, pages: number, child: VmaRef): Op<number> {
  return yield* mapcountAdd(page, 1, pages, get(child, Vma.mm));
}

/**
 * folio_try_dup_anon_rmap_ptes: fork shares pages of an anonymous folio with a child; 0, or −1 when they may be pinned, one of them is exclusive, and they must be
 * copied instead.
 */
export function* folioTryDupAnonRmapPtes(page: Page, pages: number, mayBePinned: number, child: VmaRef): Op<number> {
  let exclusive = 0;
  for (let i = 0; i < pages; i++) if (pageAnonExclusive(nextPage(page, i))) exclusive = 1;
  if (exclusive !== 0) {
    if (mayBePinned !== 0) return -1;
    yield* clearFlags(page, PG_ANON_EXCLUSIVE, pages);
  }
  yield* mapcountAdd(page, 1, pages, get(child, Vma.mm));
  return 0;
}

/** folio_try_dup_anon_rmap_pmd: the same of a folio that one entry maps as a whole. */
export function* folioTryDupAnonRmapPmd(folio: Page, mayBePinned: number, child: VmaRef): Op<number> {
  if (pageAnonExclusive(folio)) {
    if (mayBePinned !== 0) return -1;
    yield* clearFlags(folio, PG_ANON_EXCLUSIVE);
  }
  yield* entireMapcountAdd(folio, 1, get(child, Vma.mm));
  return 0;
}

/**
 * folio_try_share_anon_rmap_pte, folio_try_share_anon_rmap_pmd: an exclusive page (a whole folio by its head), whose entry was emptied, may be shared or replaced
 * from now on; −1 when it may be pinned, and stays as it is. Entry first, then the look for pins: who pins it without a lock looks at the entry again after that.
 */
export function* folioTryShareAnonRmap(page: Page): Op<number> {
  if (yield* folioMaybeDmaPinned(pageFolio(page))) return -1;
  yield* clearFlags(page, PG_ANON_EXCLUSIVE);
  return 0;
}

/** folio_remove_rmap_pte. */
export function* folioRemoveRmap(page: Page, vma: VmaRef): Op<number> {
  return yield* folioRemoveRmapPtes(page, 1, vma);
}

/** folio_remove_rmap_ptes: entries of the lowest level that mapped pages of one folio in a row are gone. */
export function* folioRemoveRmapPtes(page: Page, pages: number, vma: VmaRef): Op<number> {
  const folio = pageFolio(page);
  const mapped = pageIsCompound(page) ? folioPagesMapped(folio) : 0;
  yield* mapcountAdd(page, -1, pages, get(vma, Vma.mm));
  if (mapped !== 0 && folioTestAnon(folio) && folioEntireMapcount(folio) === 0) {
    // A part is unused now while another is in use: when memory is short it can be had.
    const now = folioPagesMapped(folio);
    if (now < mapped && now > 0 && (pageFlags[folio] & PG_PARTIALLY_MAPPED) === 0) yield* deferredSplitFolio(folio, 1);
  }
  return yield* munlockVmaFolio(folio, vma);
}

/** folio_remove_rmap_pmd: the entry that mapped a whole folio is gone. */
export function* folioRemoveRmapPmd(folio: Page, vma: VmaRef): Op<number> {
  yield* entireMapcountAdd(folio, -1, get(vma, Vma.mm));
  if (folioTestAnon(folio) && folioEntireMapcount(folio) === 0) {
    const mapped = folioPagesMapped(folio);
    if (mapped > 0 && mapped < compoundPages(folio) && (pageFlags[folio] & PG_PARTIALLY_MAPPED) === 0) yield* deferredSplitFolio(folio, 1);
  }
  return yield* munlockVmaFolio(folio, vma);
}

/** folio_move_anon_rmap: the only user takes the page into its own anon_vma. */
export function folioMoveAnonRmap(page: Page, vma: VmaRef): void {
  setPageMapping(pageFolio(page), get(vma, Vma.anonVma));
}

/** folio_mapped. */
export const pageIsMapped = (page: Page): boolean => folioMapcount(pageFolio(page)) > 0;

/** The rw_semaphore of an anon_vma: the root's. */
export const anonVmaLock = (anonVma: number): number => get(anonVma, AnonVma.root) + AnonVma.rwsem;
