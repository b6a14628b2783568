/**
 * Large folios in the page cache of disk files, as far as they show: which pages were made together, and what happens when a part of them goes.
 *
 * Invariants: each page keeps a struct page, mapcount and references of its own; the column `private` of a cached disk page holds the order of the
 * folio that Linux would have made of it and its neighbours. A folio of order n starts at a multiple of 2^n, and all its pages are cached and say n.
 */

import { pageIsCompound } from '../memory/folio.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags, pagePrivate, setPagePrivate } from '../memory/state.ts';
import { xaLoad } from '../memory/xarray.ts';
import { Inode, type InodeRef, type Page } from './types.ts';

/** folio_order of a page of a disk file's cache; 0 for what is no page, and for parts of folios that are compound (they say it themselves). */
export const folioOrder = (page: Page): number => (page > 0 && !pageIsCompound(page) ? pagePrivate[page] : 0);

/** Makes pages [first, first + 2^order) of a file one folio. */
export function setFolioOrder(inode: InodeRef, first: number, order: number): void {
  for (let index = first; index < first + 2 ** order; index++) setPagePrivate(xaLoad(inode + Inode.pages, index), order);
}

/** Whether a folio is dirty: one of its pages is. */
export function folioGroupDirty(inode: InodeRef, first: number, end: number): boolean {
  for (let index = first; index < end; index++) {
    const page = xaLoad(inode + Inode.pages, index);
    if (page > 0 && (pageFlags[page] & PG_DIRTY) !== 0) return true;
  }
  return false;
}

/** folio_split to order 0 at an index: halves that the index does not lie in stay whole. */
export function splitFolio(inode: InodeRef, from: number, ofOrder: number, at: number): void {
  let first = from;
  for (let order = ofOrder - 1; order >= 0; order--) {
    const middle = first + 2 ** order;
    setFolioOrder(inode, at < middle ? middle : first, order);
    if (at >= middle) first = middle;
  }
  setFolioOrder(inode, first, 0);
}

/** The same for whatever folio the index belongs to. */
export function splitFolioAt(inode: InodeRef, at: number): void {
  const order = folioOrder(xaLoad(inode + Inode.pages, at));
  if (order > 0) splitFolio(inode, at - (at % 2 ** order), order, at);
}
