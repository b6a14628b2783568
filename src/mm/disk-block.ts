/**
 * What a disk file's blocks hold when no page of the page cache does.
 *
 * Invariants: `Inode.extents` has an entry for each block that is no hole: BLOCK_DATA (content is zero, or only in the page cache yet),
 * BLOCK_UNWRITTEN (reads as zero until it is written), or a Block with the content. `Inode.alloced` counts the entries.
 */
import { alloc, free, get, set } from '../memory/heap.ts';
import { clearFrame, noteFrameRead, setWord, wordShift, words } from '../memory/state.ts';
import { xaErase, xaFind, xaLoad, xaStore } from '../memory/xarray.ts';
import { BLOCK_DATA, BLOCK_UNWRITTEN } from './file-types.ts';
import { Block, type BlockRef, Inode, type InodeRef, type Page } from './types.ts';

/** Words of a Block. */
const WORDS = 1024;

/** What stands at a block: 0 for a hole. */
export const blockState = (inode: InodeRef, index: number): number => xaLoad(inode + Inode.extents, index);

/** Whether a block may hold anything but zeroes. */
export const blockHasContent = (inode: InodeRef, index: number): boolean => blockState(inode, index) > BLOCK_UNWRITTEN;

/** Lowest block from `first` to `last` that is no hole, −1 if none. */
export const findBlock = (inode: InodeRef, first: number, last: number): number => xaFind(inode + Inode.extents, first, last);

function freeBlock(entry: number): void {
  let block: BlockRef = entry > BLOCK_UNWRITTEN ? entry : 0;
  while (block !== 0) {
    const next = get(block, Block.next);
    free(Block, block);
    block = next;
  }
}

/** Makes a block something else; what it held is lost. */
export function setBlock(inode: InodeRef, index: number, state: number): void {
  const old = state === 0 ? xaErase(inode + Inode.extents, index) : xaStore(inode + Inode.extents, index, state);
  if (old !== state) freeBlock(old);
  set(inode, Inode.alloced, get(inode, Inode.alloced) + (state === 0 ? 0 : 1) - (old === 0 ? 0 : 1));
}

/** A block that is about to be written through the page cache: a hole gets one. */
export function reserveBlock(inode: InodeRef, index: number): void {
  if (blockState(inode, index) === 0) setBlock(inode, index, BLOCK_DATA);
}

/** Frees the blocks from `first` up to and without `end`. */
export function freeBlocks(inode: InodeRef, first: number, end: number): void {
  for (let index = findBlock(inode, first, end - 1); index >= 0; index = findBlock(inode, index + 1, end - 1)) setBlock(inode, index, 0);
}

/** Makes blocks from `first` up to and without `end` read as zero without being holes; those that hold something stay with `keep`. */
export function preallocateBlocks(inode: InodeRef, first: number, end: number, keep: number): void {
  for (let index = first; index < end; index++) if (keep === 0 || blockState(inode, index) === 0) setBlock(inode, index, BLOCK_UNWRITTEN);
}

/** Moves all blocks from `from` on by `distance` blocks, upwards or downwards (where nothing may be in the way). */
export function shiftBlocks(inode: InodeRef, from: number, last: number, distance: number): void {
  const step = distance < 0 ? 1 : -1;
  for (let index = distance < 0 ? from : last; index >= from && index <= last; index += step) {
    const entry = xaErase(inode + Inode.extents, index);
    if (entry !== 0) xaStore(inode + Inode.extents, index + distance, entry);
  }
}

/** Reads a block into a page. */
export function readBlock(inode: InodeRef, index: number, page: Page): void {
  let block: BlockRef = blockState(inode, index);
  if (block <= BLOCK_UNWRITTEN) {
    clearFrame(page);
    return;
  }
  const from = page << wordShift;
  for (let i = 0; i < 1 << wordShift; i++) {
    if (i !== 0 && i % WORDS === 0) block = get(block, Block.next);
    setWord(from + i, get(block, Block.words + (i % WORDS)));
  }
}

/** Writes a page to a block. */
export function writeBlock(inode: InodeRef, index: number, page: Page): void {
  noteFrameRead(page);
  const from = page << wordShift;
  const count = 1 << wordShift;
  let last = count - 1;
  while (last >= 0 && words[from + last] === 0) last--;
  if (last < 0) {
    setBlock(inode, index, BLOCK_DATA);
    return;
  }
  let block: BlockRef = 0;
  // The last part first, so that each part knows the next.
  for (let part = count - WORDS; part >= 0; part -= WORDS) {
    const fresh = alloc(Block);
    set(fresh, Block.next, block);
    for (let i = 0; i < WORDS; i++) if (words[from + part + i] !== 0) set(fresh, Block.words + i, words[from + part + i]);
    block = fresh;
  }
  setBlock(inode, index, block);
}
