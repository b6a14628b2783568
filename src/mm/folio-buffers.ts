/**
 * Which blocks of a disk file's folio must be written (fs/buffer.c: a buffer_head for each block; block_dirty_folio, block_commit_write, discard_buffer,
 * try_to_free_buffers). Blocks are of the size of pages.
 *
 * Invariants: a folio without PG_DIRTY has no dirty block; with it all its blocks are dirty, or with PG_PARTLY_DIRTY those whose page has PG_BLOCK_DIRTY, which may be
 * none. Only large folios are dirty in part, and pages have PG_BLOCK_DIRTY only while their folio is. Needs the folio's lock, but that anybody may make all of it dirty.
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, setFlags } from '../kernel/ops.ts';
import { compoundPages, folioTestLarge, subPage } from '../memory/folio.ts';
import { PG_BLOCK_DIRTY, PG_DIRTY, PG_PARTLY_DIRTY } from '../memory/page-flags.ts';
import { knownPageOfPfn, pageFlags, pfnOfPage, setPageFlags } from '../memory/state.ts';
import { folioMarkDirty, forgetBlocks } from './swap.ts';
import type { Page } from './types.ts';

/** buffer_dirty of the block of the folio's ith page. */
export function blockDirty(folio: Page, i: number): boolean {
  const flags = pageFlags[folio];
  if ((flags & PG_DIRTY) === 0) return false;
  if ((flags & PG_PARTLY_DIRTY) === 0) return true;
  const page = knownPageOfPfn(pfnOfPage(folio) + i);
  return page !== 0 && (pageFlags[page] & PG_BLOCK_DIRTY) !== 0;
}

/** block_commit_write: the blocks of pages [from, end) of a folio were written to. */
export function* commitBlocks(folio: Page, from: number, end: number): Op<number> {
  const flags = pageFlags[folio];
  if (end - from >= compoundPages(folio)) return (yield* folioMarkDirty(folio)) ? 1 : 0;
  if ((flags & PG_DIRTY) !== 0 && (flags & PG_PARTLY_DIRTY) === 0) return 0;
  for (let i = from; i < end; i++) setBlock(folio, i);
  yield* setFlags(folio, PG_DIRTY | PG_PARTLY_DIRTY);
  return 1;
}

function setBlock(folio: Page, i: number): void {
  const page = subPage(folio, i);
  setPageFlags(page, pageFlags[page] | PG_BLOCK_DIRTY);
}

/** block_invalidate_folio of a part: the blocks of pages [from, end) need not be written any longer. The folio stays dirty. */
export function* discardBlocks(folio: Page, from: number, end: number): Op<number> {
  const flags = pageFlags[folio];
  if ((flags & PG_DIRTY) === 0 || end <= from || !folioTestLarge(folio)) return 0;
  if ((flags & PG_PARTLY_DIRTY) === 0) {
    for (let i = 0; i < compoundPages(folio); i++) if (i < from || i >= end) setBlock(folio, i);
    yield* setFlags(folio, PG_PARTLY_DIRTY);
    return 0;
  }
  for (let i = from; i < end; i++) {
    const page = knownPageOfPfn(pfnOfPage(folio) + i);
    if (page !== 0 && (pageFlags[page] & PG_BLOCK_DIRTY) !== 0) setPageFlags(page, pageFlags[page] & ~PG_BLOCK_DIRTY);
  }
  return 0;
}

/** folio_cancel_dirty, folio_clear_dirty_for_io: none of a folio's blocks is dirty. Flags as they were. */
export function* cleanFolio(folio: Page): Op<number> {
  if ((pageFlags[folio] & PG_PARTLY_DIRTY) !== 0) forgetBlocks(folio);
  return yield* clearFlags(folio, PG_DIRTY | PG_PARTLY_DIRTY);
}

/** filemap_release_folio: whether a folio can be without buffers, in part or as a whole: one with a dirty block cannot. It is clean then. */
export function* filemapReleaseFolio(folio: Page): Op<boolean> {
  for (let i = 0; i < compoundPages(folio); i++) if (blockDirty(folio, i)) return false;
  yield* cleanFolio(folio);
  return true;
}
