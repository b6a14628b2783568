/**
 * No store is lost (I6): a page of a disk's file that nobody calls dirty, neither its flag nor an entry that maps it, holds what its block holds. A store that
 * lost its dirty bit on the way leaves a page that differs from the disk and will never be written to it.
 */
import { compoundPages, pageFolio } from '../../memory/folio.ts';
import { get } from '../../memory/heap.ts';
import { PG_UPTODATE } from '../../memory/page-flags.ts';
import { knownPageOfPfn, pageFlags, pageOfPfn, pageShift, pfnOfPage, wordShift, words } from '../../memory/state.ts';
import { PTE_DIRTY, PTE_PRESENT } from '../../pagetable/canonical.ts';
import { blockState } from '../disk-block.ts';
import { BLOCK_UNWRITTEN, INODE_DISK } from '../file-types.ts';
import { blockDirty } from '../folio-buffers.ts';
import { ptePfn } from '../pgtable.ts';
import { Block, Inode } from '../types.ts';
import { type Census, eachXaEntry, liveOf } from './census.ts';
import type { Findings } from './findings.ts';

/** 4 KiB of a block in each object. */
const WORDS = 1024;

/** Folios of which some entry calls a page dirty. */
function dirtyByEntry(census: Census): Set<number> {
  const dirty = new Set<number>();
  for (const { entries } of census.spaces)
    for (const { pte } of entries) if ((pte & PTE_PRESENT) !== 0 && (pte & PTE_DIRTY) !== 0) dirty.add(pageFolio(pageOfPfn(ptePfn(pte))));
  return dirty;
}

/** First word below `end` in which a page differs from its block, −1 for none. */
function firstDifference(inode: number, index: number, page: number, end: number): number {
  const state = blockState(inode, index);
  let block = state > BLOCK_UNWRITTEN ? state : 0;
  for (let i = 0; i < end; i++) {
    if (i > 0 && i % WORDS === 0 && block !== 0) block = get(block, Block.next);
    const onDisk = block === 0 ? 0 : get(block, Block.words + (i % WORDS));
    if (words[(page << wordShift) + i] !== onDisk) return i;
  }
  return -1;
}

export function checkDirty(census: Census, found: Findings): void {
  const disks = liveOf(census, Inode).filter((inode) => get(inode, Inode.kind) === INODE_DISK);
  if (disks.length === 0) return;
  const dirty = dirtyByEntry(census);
  for (const inode of disks)
    eachXaEntry(inode + Inode.pages, (at, folio) => {
      if (folio <= 0 || dirty.has(folio) || (pageFlags[folio] & PG_UPTODATE) === 0) return;
      for (let i = 0; i < compoundPages(folio); i++) {
        // Of a page that nobody has looked at the block holds nothing.
        const page = knownPageOfPfn(pfnOfPage(folio) + i);
        if (page === 0 || blockDirty(folio, i)) continue;
        const index = at + i;
        // What lies behind the end of the file is nobody's.
        const bytes = Math.min(2 ** pageShift, get(inode, Inode.size) - index * 2 ** pageShift);
        const differs = firstDifference(inode, index, page, Math.max(0, bytes >> 2));
        if (differs >= 0) found.add('I6', `inode ${inode}: page ${page} at ${index} is clean, but differs from the disk at word ${differs}`);
      }
    });
}
