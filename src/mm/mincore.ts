/**
 * mincore(2) (mm/mincore.c): which pages of a range are in memory.
 *
 * A page is when it is mapped, or when the file that is mapped there has it cached. The answer is one byte a page, written to user memory as
 * many at a time as a page holds, without the mmap lock.
 */

import { entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { allocPage, entryGet, freePage, get, refAdd, set, spinUnlock } from '../kernel/ops.ts';
import { GFP_USER } from '../memory/gfp.ts';
import { pageShift, setByte } from '../memory/state.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from './errno.ts';
import { filemapIsUptodate } from './filemap.ts';
import { ACTION_AGAIN, MmWalk, type MmWalkRef, WALK_MINCORE } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRange } from './pagewalk.ts';
import { isSwapPte, pteLockptr, pteMarker } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { File, Mm, type MmRef, type Page, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { byteOf, copyToUser } from './uaccess.ts';
import { vmaLookup } from './vma-tree.ts';

/** mincore(2); bytes. 0 or −errno. */
export function* sysMincore(process: ProcessRef, address: number, length: number, vec: number): Op<number> {
  const mm = get(process, Process.mm);
  const size = 2 ** pageShift;
  if (address % size !== 0 || address >= 2 ** 64) return -EINVAL;
  const limit = get(mm, Mm.taskSize) * size;
  if (address + length > limit) return -ENOMEM;
  const pages = Math.ceil(length / size);
  if (vec + pages > limit) return -EFAULT;
  const buffer = yield* allocPage(GFP_USER, 0);
  if (buffer === 0) return -EAGAIN;
  const result = yield* mincorePieces(mm, address / size, pages, vec, buffer);
  yield* refAdd(buffer, -1);
  yield* freePage(buffer, 0);
  return result;
}

function* mincorePieces(mm: MmRef, start: Vpn, pages: number, vec: number, buffer: Page): Op<number> {
  let done = 0;
  while (done < pages) {
    yield* mmapReadLock(mm);
    const count = yield* doMincore(mm, start + done, Math.min(pages - done, 2 ** pageShift), buffer);
    yield* mmapReadUnlock(mm);
    if (count <= 0) return count;
    if ((yield* copyToUser(mm, vec + done, buffer, 0, count)) !== 0) return -EFAULT;
    done += count;
  }
  return 0;
}

/** do_mincore: answers for the pages of one VMA, into the buffer; their number or −ENOMEM. */
function* doMincore(mm: MmRef, start: Vpn, pages: number, buffer: Page): Op<number> {
  const vma = vmaLookup(mm, start);
  if (vma === 0) return -ENOMEM;
  const end = Math.min(get(vma, Vma.end), start + pages);
  yield* walkPageRange(mm, start, end, WALK_MINCORE, buffer);
  return end - start;
}

/** mincore_pte_range. */
export function* mincorePteRange(walk: MmWalkRef, pmdp: number, from: Vpn, to: Vpn): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, from);
  if (ptep === 0) {
    set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  const lock = pteLockptr(ptep);
  for (let vpn = from; vpn < to; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    let present = 1;
    // Markers stand for nothing, like an empty entry; migration entries and other non-swap ones for a page in memory.
    if (pte === 0 || pteMarker(pte) !== 0) present = mincorePage(get(walk, MmWalk.vma), vpn);
    else if (isSwapPte(pte)) present = mincoreSwap();
    answer(walk, vpn, present);
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

/** mincore_pte_range of a huge page. */
export function mincoreHuge(walk: MmWalkRef, from: Vpn, to: Vpn): number {
  for (let vpn = from; vpn < to; vpn++) answer(walk, vpn, 1);
  return 0;
}

/** mincore_unmapped_range: pages without a table. */
export function mincoreUnmappedRange(walk: MmWalkRef, from: Vpn, to: Vpn): number {
  for (let vpn = from; vpn < to; vpn++) answer(walk, vpn, mincorePage(get(walk, MmWalk.vma), vpn));
  return 0;
}

/** mincore_hugetlb: pages of a huge page, of which there is one, or none (an empty entry or a marker). */
export function mincoreHugetlb(walk: MmWalkRef, pte: number, from: Vpn, to: Vpn): number {
  for (let vpn = from; vpn < to; vpn++) answer(walk, vpn, pte !== 0 && pteMarker(pte) === 0 ? 1 : 0);
  return 0;
}

/** Writes the answer for a page into the walk's buffer. */
function answer(walk: MmWalkRef, vpn: Vpn, present: number): void {
  setByte(byteOf(get(walk, MmWalk.arg), vpn - get(walk, MmWalk.start)), present);
}

/** mincore_page of what no entry says (__mincore_unmapped_range): a file's page may be cached. 1 or 0. */
function mincorePage(vma: VmaRef, vpn: Vpn): number {
  const file = get(vma, Vma.file);
  if (file === 0) return 0;
  return filemapIsUptodate(get(file, File.inode), get(vma, Vma.pgoff) + vpn - get(vma, Vma.start)) ? 1 : 0;
}

/** mincore_swap: a page in swap is in memory while the swap cache has it. There is no swap. */
const mincoreSwap = (): number => 0;
