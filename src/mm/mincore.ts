/**
 * mincore(2) (mm/mincore.c): which pages of a range are in memory.
 *
 * A page is when it is mapped, or when the file that is mapped there has it cached. The answer is one byte a page, written to user memory as
 * many at a time as a page holds, without the mmap lock.
 */
import type { Op } from '../kernel/op.ts';
import { allocPage, freePage, get, refAdd } from '../kernel/ops.ts';
import { GFP_USER } from '../memory/gfp.ts';
import { pageShift, setByte } from '../memory/state.ts';
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from './errno.ts';
import { filemapIsUptodate } from './filemap.ts';
import { hstateVma, hugePages } from './hugetlb-resv.ts';
import { pfnSwapEntryPage } from './migration-entry.ts';
import { MmWalk, type MmWalkRef, WALK_MINCORE } from './mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { walkPageRange } from './pagewalk.ts';
import { isSwapPte, pteNoneMostly } from './pgtable.ts';
import { File, Mm, type MmRef, type Page, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { byteOf, copyToUser } from './uaccess.ts';
import { VM_HUGETLB } from './vm-flags.ts';
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

/**
 * mincore_pte_range, mincore_hugetlb: of a leaf. Markers stand for nothing, like an empty entry; migration entries and other non-swap ones for a page in memory.
 * Of hugetlb there is a page or none.
 */
export function mincoreLeaf(walk: MmWalkRef, entry: number, from: Vpn, to: Vpn): number {
  const vma = get(walk, MmWalk.vma);
  const none = pteNoneMostly(entry);
  const huge = (get(vma, Vma.flags) & VM_HUGETLB) !== 0;
  let present = none ? 0 : 1;
  if (!none && isSwapPte(entry) && pfnSwapEntryPage(entry) === 0) present = mincoreSwap();
  for (let vpn = from; vpn < to; vpn++) answer(walk, vpn, none && !huge ? mincorePage(vma, vpn) : present);
  return 0;
}

/** mincore_unmapped_range: pages without a table. */
export function mincoreUnmappedRange(walk: MmWalkRef, from: Vpn, to: Vpn): number {
  for (let vpn = from; vpn < to; vpn++) answer(walk, vpn, mincorePage(get(walk, MmWalk.vma), vpn));
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
  let index = get(vma, Vma.pgoff) + vpn - get(vma, Vma.start);
  // A huge page stands in the cache at its first index.
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) index -= index % hugePages(hstateVma(vma));
  return filemapIsUptodate(get(file, File.inode), index) ? 1 : 0;
}

/** mincore_swap: a page in swap is in memory while the swap cache has it. There is no swap. */
const mincoreSwap = (): number => 0;
