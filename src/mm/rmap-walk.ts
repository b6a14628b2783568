/**
 * From a page to its mappings (the second half of mm/rmap.c): every VMA that may map it, by the interval trees of its anon_vma or its file.
 *
 * What is done for each VMA is told by a number, RMAP_*, where Linux has a pointer to a function.
 *
 * Invariants: the page is locked, so that it keeps its file; an anonymous page keeps its anon_vma as long as it is mapped, and that one's tree is looked
 * at with the root's lock held for reading, that of a file with i_mmap_rwsem. The order is rwsem, then the lock of a page table.
 */
import type { Op } from '../kernel/op.ts';
import {
  atomicAdd,
  clearFlags,
  cmpxchg,
  downRead,
  downReadTrylock,
  entryGet,
  flushTlbRange,
  get,
  rcuReadLock,
  rcuReadUnlock,
  readOnce,
  refAdd,
  set,
  setFlags,
  spinUnlock,
  switched,
  upRead,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, folioMapcount, folioTestLarge } from '../memory/folio.ts';
import { PG_DIRTY, PG_REFERENCED, PG_SWAPBACKED } from '../memory/page-flags.ts';
import { pageIndex, pageMapcount, pageMapping } from '../memory/state.ts';
import { anonVmaDropped, putAnonVma } from './anon-vma.ts';
import { contPtes, ptepGetAndClear, ptepTestAndClearYoung, setPteAt } from './contpte.ts';
import { anonVmaIntervalTreeIterFirst, anonVmaIntervalTreeIterNext, vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { addMmCounter, mmCounter, updateHiwaterRss } from './mm-counters.ts';
import { pageVmaMappedWalk } from './page-vma-mapped.ts';
import { pteDirty, pteLockptr } from './pgtable.ts';
import { Pra, type PraRef } from './pra.ts';
import { pteInstallUffdWpIfNeeded } from './pte-install-uffd-wp.ts';
import { anonVmaLock, folioRemoveRmap, pageIsMapped, vmaAddress } from './rmap.ts';
import { discardLargeOne, referencedLargeOne } from './rmap-large.ts';
import { folioMarkDirty, folioPut, folioTestAnon, folioTestSwapbacked, mlockVmaFolio } from './swap.ts';
import { AnonVma, type AnonVmaRef, Avc, Inode, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_DROPPABLE, VM_LOCKED, VM_RAND_READ, VM_SEQ_READ } from './vm-flags.ts';

/** try_to_unmap_one. */
const RMAP_UNMAP = 0;
/** folio_referenced_one. */
const RMAP_REFERENCED = 1;

/** A walk that does not wait found a lock taken. */
const CONTENDED = -1;

/** try_to_unmap: mlock() does not keep it. */
export const TTU_IGNORE_MLOCK = 1;

// --- the walk ---------------------------------------------------------------------------------------------------------------

/** rmap_walk: does what `walk` says for each VMA in which the locked page may be; 0, or CONTENDED. */
function* rmapWalk(page: Page, walk: number, arg: number): Op<number> {
  return folioTestAnon(page) ? yield* rmapWalkAnon(page, walk, arg) : yield* rmapWalkFile(page, walk, arg);
}

/** rmap_walk_anon. */
function* rmapWalkAnon(page: Page, walk: number, arg: number): Op<number> {
  const anonVma = yield* folioLockAnonVmaRead(page, walk === RMAP_REFERENCED ? 1 : 0);
  if (anonVma <= 0) return anonVma;
  const index = pageIndex[page];
  const last = index + compoundPages(page) - 1;
  let avc = anonVmaIntervalTreeIterFirst(anonVma + AnonVma.tree, index, last);
  while (avc !== 0) {
    if ((yield* rmapOne(page, walk, arg, get(avc, Avc.vma), index)) === 0) break;
    avc = anonVmaIntervalTreeIterNext(avc, index, last);
  }
  yield* upRead(anonVmaLock(anonVma));
  return 0;
}

/** rmap_walk_file. */
function* rmapWalkFile(page: Page, walk: number, arg: number): Op<number> {
  const inode = pageMapping[page];
  if (inode === 0) return 0;
  const lock = inode + Inode.iMmapLock;
  if ((yield* downReadTrylock(lock)) === 0) {
    if (walk === RMAP_REFERENCED) return CONTENDED;
    yield* downRead(lock);
  }
  const index = pageIndex[page];
  const last = index + compoundPages(page) - 1;
  let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, index, last);
  while (vma !== 0) {
    if ((yield* rmapOne(page, walk, arg, vma, index)) === 0) break;
    vma = vmaIntervalTreeIterNext(vma, index, last);
  }
  yield* upRead(lock);
  return 0;
}

/** One VMA of a walk; 0 when the walk is over. */
function* rmapOne(page: Page, walk: number, arg: number, vma: VmaRef, index: number): Op<number> {
  if (folioTestLarge(page)) return yield* rmapOneLarge(page, walk, arg, vma);
  const vpn = vmaAddress(vma, index);
  if (vpn < 0) return 1;
  switch (walk) {
    case RMAP_UNMAP:
      if ((yield* tryToUnmapOne(page, vma, vpn, arg)) === 0) return 0;
      return pageIsMapped(page) ? 1 : 0;
    case RMAP_REFERENCED:
      // Whoever reads on in a line, or at random, tells nothing by it (vma_has_recency).
      if ((get(vma, Vma.flags) & (VM_SEQ_READ | VM_RAND_READ)) !== 0) return 1;
      return yield* folioReferencedOne(page, vma, vpn, arg);
    default:
      return 0;
  }
}

/** The same of a large folio. */
function* rmapOneLarge(folio: Page, walk: number, arg: number, vma: VmaRef): Op<number> {
  if (walk === RMAP_REFERENCED) return (get(vma, Vma.flags) & (VM_SEQ_READ | VM_RAND_READ)) !== 0 ? 1 : yield* referencedLargeOne(folio, vma, arg);
  return (yield* discardLargeOne(folio, vma)) === 0 || !pageIsMapped(folio) ? 0 : 1;
}

/**
 * folio_lock_anon_vma_read: the anon_vma of a page that may lose its last mapping at any moment, with its lock held for reading; 0 when that has
 * happened, CONTENDED when the lock would have to be waited for and `dontWait` is set.
 */
export function* folioLockAnonVmaRead(page: Page, dontWait: number): Op<number> {
  for (;;) {
    // While the page is mapped its anon_vma lives; before it is looked at again the memory may be another anon_vma's, but no other thing's.
    yield* rcuReadLock();
    const anonVma = pageMapping[page];
    if (!folioTestAnon(page) || !pageIsMapped(page)) {
      yield* rcuReadUnlock();
      return 0;
    }
    const lock = anonVmaLock(anonVma);
    if ((yield* downReadTrylock(lock)) !== 0) {
      // folio_move_anon_rmap() may have given it another.
      const moved = pageMapping[page] !== anonVma;
      const mapped = pageIsMapped(page);
      // A mapping keeps the anon_vma from now on. Without one it may be free already: its lock can be given up all the same while RCU keeps its type.
      if (moved || !mapped) yield* upRead(lock);
      yield* rcuReadUnlock();
      if (moved) continue;
      return mapped ? anonVma : 0;
    }
    if (dontWait !== 0 || (yield* anonVmaGet(anonVma)) === 0) {
      yield* rcuReadUnlock();
      return dontWait !== 0 ? CONTENDED : 0;
    }
    const stillMapped = pageIsMapped(page);
    yield* rcuReadUnlock();
    if (!stillMapped) {
      yield* putAnonVma(anonVma);
      return 0;
    }
    yield* downRead(lock);
    if (pageMapping[page] !== anonVma) {
      yield* upRead(lock);
      yield* putAnonVma(anonVma);
      continue;
    }
    if ((yield* atomicAdd(anonVma, AnonVma.refcount, -1)) !== 0) return anonVma;
    // Ours was the last reference: it goes, which takes its lock for writing.
    yield* upRead(lock);
    yield* anonVmaDropped(anonVma);
    return 0;
  }
}

/** atomic_inc_not_zero of an anon_vma's references; 1 when taken. */
export function* anonVmaGet(anonVma: AnonVmaRef): Op<number> {
  for (;;) {
    const count = yield* readOnce(anonVma, AnonVma.refcount);
    if (count === 0) return 0;
    if ((yield* cmpxchg(anonVma, AnonVma.refcount, count, count + 1)) === count) return 1;
  }
}

// --- unmapping --------------------------------------------------------------------------------------------------------------

/**
 * try_to_unmap: takes all mappings of a locked page away, its dirty bits gathered in PG_dirty. Whoever wants to know whether it worked asks
 * pageIsMapped(). Anonymous pages that need swap stay. Flags: TTU_*. Not for large folios of files (tryToUnmapLarge).
 */
export function* tryToUnmap(page: Page, flags: number): Op<number> {
  return yield* rmapWalk(page, RMAP_UNMAP, flags);
}

/** try_to_unmap_one; 0 when the page must stay mapped. */
function* tryToUnmapOne(page: Page, vma: VmaRef, vpn: Vpn, flags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const anon = folioTestAnon(page);
  const ptep = yield* pageVmaMappedWalk(page, vma, vpn);
  if (ptep === 0) return 1;
  const lock = pteLockptr(ptep);
  if ((get(vma, Vma.flags) & VM_LOCKED) !== 0 && (flags & TTU_IGNORE_MLOCK) === 0) {
    // It escaped mlock() before, else it would not have come here.
    yield* mlockVmaFolio(page, vma);
    yield* spinUnlock(lock);
    return 0;
  }
  if (anon && folioTestSwapbacked(page)) {
    // Without a place in swap its content would be lost.
    yield* spinUnlock(lock);
    return 0;
  }
  const early = switched(SW.lazyfreeDirtyFirst) ? yield* entryGet(ptep, 0) : 0;
  const pte = yield* ptepGetAndClear(mm, vpn, ptep, contPtes() === 1 ? 0 : yield* entryGet(ptep, 0));
  yield* flushTlbRange(mm, vpn, vpn + 1);
  if (!anon) yield* pteInstallUffdWpIfNeeded(vma, ptep, pte);
  if (pteDirty(early !== 0 ? early : pte)) yield* folioMarkDirty(page);
  if (anon) {
    // With the entry gone: get_user_pages_fast() takes its reference and then looks at the entry. And the count before the flag: whoever has written
    // through a reference sets the flag before it drops it.
    let pageState = switched(SW.lazyfreeCountLast) ? yield* setFlags(page, 0) : 0;
    const references = yield* refAdd(page, 0);
    if (!switched(SW.lazyfreeCountLast)) pageState = yield* setFlags(page, 0);
    const dirty = (pageState & PG_DIRTY) !== 0;
    // Written after MADV_FREE: it is wanted after all. Droppable memory goes all the same.
    const wanted = dirty && (get(vma, Vma.flags) & VM_DROPPABLE) === 0;
    // One reference is that of whoever isolated it; more of them than mappings could write without a trace.
    if (wanted || (references !== 1 + pageMapcount[page] && !switched(SW.lazyfreeUncounted))) {
      yield* setPteAt(mm, vpn, ptep, pte);
      if (wanted) yield* setFlags(page, PG_SWAPBACKED);
      yield* spinUnlock(lock);
      return 0;
    }
  }
  updateHiwaterRss(mm);
  yield* addMmCounter(mm, mmCounter(page), -1);
  yield* folioRemoveRmap(page, vma);
  yield* folioPut(page);
  yield* spinUnlock(lock);
  return 1;
}

// --- references -------------------------------------------------------------------------------------------------------------

/**
 * folio_referenced: through how many mappings a locked page was accessed since the last time that they were asked (their accessed bits go). −1 when
 * it cannot be told; the flags of the VMAs are left in `Pra`.
 */
export function* folioReferenced(page: Page, pra: PraRef): Op<number> {
  set(pra, Pra.mapcount, folioMapcount(page));
  set(pra, Pra.referenced, 0);
  set(pra, Pra.vmFlags, 0);
  if (!pageIsMapped(page)) return 0;
  if ((yield* rmapWalk(page, RMAP_REFERENCED, pra)) === CONTENDED) return -1;
  return get(pra, Pra.referenced);
}

/** folio_referenced_one; 0 when the walk is over. */
function* folioReferencedOne(page: Page, vma: VmaRef, vpn: Vpn, pra: PraRef): Op<number> {
  const mm = get(vma, Vma.mm);
  const ptep = yield* pageVmaMappedWalk(page, vma, vpn);
  if (ptep === 0) return 1;
  const lock = pteLockptr(ptep);
  const vmFlags = get(vma, Vma.flags);
  if ((vmFlags & VM_LOCKED) !== 0) {
    yield* mlockVmaFolio(page, vma);
    yield* spinUnlock(lock);
    set(pra, Pra.vmFlags, get(pra, Pra.vmFlags) | VM_LOCKED);
    return 0;
  }
  if (get(mm, Mm.users) === 0 && folioTestAnon(page) && folioTestSwapbacked(page) && pageMapcount[page] <= 1) {
    // Its only process is ending: it will be free without us.
    yield* spinUnlock(lock);
    set(pra, Pra.referenced, -1);
    return 0;
  }
  if ((yield* ptepTestAndClearYoung(vpn, ptep, contPtes() === 1 ? 0 : yield* entryGet(ptep, 0))) !== 0) {
    yield* flushTlbRange(mm, vpn, vpn + 1);
    set(pra, Pra.referenced, get(pra, Pra.referenced) + 1);
    set(pra, Pra.vmFlags, get(pra, Pra.vmFlags) | (vmFlags & ~VM_LOCKED));
  }
  yield* spinUnlock(lock);
  set(pra, Pra.mapcount, get(pra, Pra.mapcount) - 1);
  return get(pra, Pra.mapcount) === 0 ? 0 : 1;
}

/** folio_test_clear_referenced. */
export function* folioTestClearReferenced(page: Page): Op<boolean> {
  return ((yield* clearFlags(page, PG_REFERENCED)) & PG_REFERENCED) !== 0;
}
