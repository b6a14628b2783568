/**
 * Splitting a large folio of a file (mm/huge_memory.c: __folio_split for folios of files; the parts that unmap it: mm/rmap.c try_to_unmap).
 *
 * Invariants: the folio is locked, and the caller has one reference; nobody maps it when it is taken apart, and its references are frozen then, so that nobody
 * can come to it but by the cache, whose lock is held; what lies behind the end of the file leaves the cache. Nobody maps the parts again: they
 * can be faulted in.
 */
import { entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, downRead, entryGet, flushTlbRange, folioTrylock, folioUnlock, get, refFreeze, set, spinLock, spinUnlock, upRead } from '../kernel/ops.ts';
import { compoundOrder, compoundPages, destroyCompound, folioMapcount, pageFolio, prepCompound } from '../memory/folio.ts';
import { PG_HEAD, PG_LOCKED, PG_READAHEAD } from '../memory/page-flags.ts';
import {
  pageFlags,
  pageIndex,
  pageMapping,
  pageOfPfn,
  pageRefcount,
  pageShift,
  pfnOfPage,
  setPageFlags,
  setPageIndex,
  setPageMapping,
  setPageNext,
  setPagePrev,
  setPagePrivate,
  setPageRefcount,
} from '../memory/state.ts';
import { xaStore } from '../memory/xarray.ts';
import { ptepGetAndClear } from './contpte.ts';
import { EAGAIN, EBUSY } from './errno.ts';
import { INODE_DISK, kindIsShmem } from './file-types.ts';
import { filemapReleaseFolio } from './folio-buffers.ts';
import { pmdTransHuge, splitHugePmd } from './huge-memory.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { addMmCounter, mmCounter, updateHiwaterRss } from './mm-counters.ts';
import { mapsPartOf, partEnd, partStart } from './page-vma-mapped.ts';
import { entryPointer, pteDirty, pteLockptr, ptePage } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { pteInstallUffdWpIfNeeded } from './pte-install-uffd-wp.ts';
import { folioRemoveRmap } from './rmap.ts';
import { TTU_IGNORE_MLOCK } from './rmap-walk.ts';
import { shmemRecalcInode } from './shmem.ts';
import { folioMarkDirty, folioPut } from './swap.ts';
import { Inode, type InodeRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { countSplitPage } from './vm-event.ts';
import { VM_LOCKED } from './vm-flags.ts';

/** Split into pages of one size (split_huge_page), instead of into halves on the way to one page. */
export const SPLIT_UNIFORM = -1;

/**
 * folio_split: a folio of a file becomes single pages at its `at`th page, and as large ones as there can be elsewhere; all of it with SPLIT_UNIFORM. 0;
 * −EBUSY when it has left its file or has blocks that must be written to a disk, −EAGAIN when somebody has a reference beside the caller and the cache. What was its head stays locked and the caller's.
 */
export function* splitFileFolio(folio: Page, at: number): Op<number> {
  const order = compoundOrder(folio);
  const error = yield* splitCached(folio, pageMapping[folio], at);
  countSplitPage(order, error);
  return error;
}

function* splitCached(folio: Page, inode: InodeRef, at: number): Op<number> {
  if (inode === 0) return -EBUSY;
  // What must be written hangs on the buffers of the whole.
  if (get(inode, Inode.kind) === INODE_DISK && !(yield* filemapReleaseFolio(folio))) return -EBUSY;
  yield* downRead(inode + Inode.iMmapLock);
  const error = yield* splitLocked(folio, inode, at);
  yield* upRead(inode + Inode.iMmapLock);
  return error;
}

function* splitLocked(folio: Page, inode: InodeRef, at: number): Op<number> {
  const pages = compoundPages(folio);
  const shmem = kindIsShmem(get(inode, Inode.kind));
  if (pageRefcount[folio] !== pages + folioMapcount(folio) + 1) return -EAGAIN;
  yield* unmapLocked(folio, inode, TTU_IGNORE_MLOCK);
  // shmem_fallocend: what fallocate() has put behind the end stays.
  const end = Math.max(Math.ceil(get(inode, Inode.size) / 2 ** pageShift), get(inode, Inode.fallocEnd));
  const frame = pfnOfPage(folio);
  yield* spinLock(inode + Inode.pagesLock);
  if ((yield* refFreeze(folio, 1 + pages)) === 0) {
    yield* spinUnlock(inode + Inode.pagesLock);
    return -EAGAIN;
  }
  const dropped = takeApart(folio, inode, at, end);
  for (let i = compoundPages(folio); i < pages; i += compoundPages(pageOfPfn(frame + i))) yield* folioTrylock(pageOfPfn(frame + i));
  // One reference is the caller's of the head, ours of the others; from here on they can be found.
  for (let i = 0; i < pages; i += compoundPages(pageOfPfn(frame + i))) {
    const piece = pageOfPfn(frame + i);
    setPageRefcount(piece, pageMapping[piece] === 0 ? 1 : 1 + compoundPages(piece));
  }
  yield* spinUnlock(inode + Inode.pagesLock);
  if (dropped !== 0 && shmem) yield* shmemRecalcInode(inode, 0, 0);
  for (let i = compoundPages(folio); i < pages; ) {
    const piece = pageOfPfn(frame + i);
    i += compoundPages(piece);
    yield* folioUnlock(piece);
    yield* folioPut(piece);
  }
  return 0;
}

/** Size of the piece that begins at the ith page: as large as alignment allows without the `at`th. */
function pieceAt(i: number, at: number, pages: number): number {
  let size = 1;
  if (at === SPLIT_UNIFORM || i === at) return size;
  while (2 * size <= pages && i % (2 * size) === 0 && (at < i || at >= i + 2 * size)) size *= 2;
  return size;
}

/**
 * __split_folio_to_order: the pieces are folios of their own, at their places in the cache or, from index `end` on, nowhere. Nobody can take a reference of one
 * yet, nor see the cache between. The number of pages that have left it.
 */
function takeApart(folio: Page, inode: InodeRef, at: number, end: number): number {
  const pages = compoundPages(folio);
  const first = pageIndex[folio];
  const frame = pfnOfPage(folio);
  const kept = pageFlags[folio] & ~(PG_LOCKED | PG_HEAD | PG_READAHEAD);
  // What the whole has counted in its tails.
  for (let i = 1; i < Math.min(3, pages); i++) {
    const tail = pageOfPfn(frame + i);
    setPagePrivate(tail, 0);
    setPageNext(tail, 0);
    setPagePrev(tail, 0);
  }
  destroyCompound(folio);
  let dropped = 0;
  for (let i = 0; i < pages; ) {
    const piece = pageOfPfn(frame + i);
    const size = pieceAt(i, at, pages);
    const stays = i === 0 || first + i < end;
    if (i !== 0) {
      setPageFlags(piece, kept);
      setPageMapping(piece, stays ? inode : 0);
      setPageIndex(piece, first + i);
    }
    if (size > 1) {
      prepCompound(piece, Math.log2(size));
      set(inode, Inode.orders, get(inode, Inode.orders) | size);
    }
    if (stays) xaStore(inode + Inode.pages, first + i, piece);
    else dropped += size;
    i += size;
  }
  add(inode, Inode.nrPages, -dropped);
  return dropped;
}

/** try_to_unmap of a locked large folio of a file: takes all mappings of its pages away (TTU_*); private copies stay, and what is in locked memory unless asked. */
export function* tryToUnmapLarge(folio: Page, flags: number): Op<number> {
  const inode = pageMapping[folio];
  if (inode === 0) return 0;
  yield* downRead(inode + Inode.iMmapLock);
  yield* unmapLocked(folio, inode, flags);
  return yield* upRead(inode + Inode.iMmapLock);
}

function* unmapLocked(folio: Page, inode: InodeRef, flags: number): Op<number> {
  const first = pageIndex[folio];
  const pages = compoundPages(folio);
  let vma = folioMapcount(folio) === 0 ? 0 : vmaIntervalTreeIterFirst(inode + Inode.iMmap, first, first + pages - 1);
  while (vma !== 0) {
    if ((get(vma, Vma.flags) & VM_LOCKED) !== 0 && (flags & TTU_IGNORE_MLOCK) === 0) return 0;
    const to = partEnd(folio, vma);
    let vpn = partStart(folio, vma);
    while (vpn < to) {
      const end = entryEnd(vpn, to, 1);
      yield* unmapFromTable(folio, vma, vpn, end);
      vpn = end;
    }
    vma = vmaIntervalTreeIterNext(vma, first, first + pages - 1);
  }
  return 0;
}

/** try_to_unmap_one for the entries of one table, which map pages [start, end), or the one above them. */
function* unmapFromTable(folio: Page, vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const pmdp = yield* entryPointer(mm, start, 1);
  if (pmdp === 0) return 0;
  const pmd = yield* entryGet(pmdp, 1);
  if (pmdTransHuge(pmd)) return pageFolio(ptePage(pmd)) === folio ? yield* splitHugePmd(vma, pmdp, start) : 0;
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  updateHiwaterRss(mm);
  for (let vpn = start; vpn < end; vpn++, ptep += entryStride(0)) {
    const seen = yield* entryGet(ptep, 0);
    if (!mapsPartOf(folio, seen)) continue;
    const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
    yield* flushTlbRange(mm, vpn, vpn + 1);
    yield* pteInstallUffdWpIfNeeded(vma, ptep, pte);
    if (pteDirty(pte)) yield* folioMarkDirty(folio);
    yield* addMmCounter(mm, mmCounter(folio), -1);
    yield* folioRemoveRmap(ptePage(pte), vma);
    yield* folioPut(folio);
  }
  return yield* spinUnlock(lock);
}
