/**
 * Frames that shall not be used any longer (mm/memory-failure.c): soft offline, as an administrator or madvise(MADV_SOFT_OFFLINE) asks for it, and memory whose
 * content is lost (MADV_HWPOISON).
 *
 * Invariants: a frame that was taken out has PG_HWPOISON and one reference, which nobody gives back; all other frames of a huge page that it was part of are free, or in
 * use as before. By soft offline what is in use moves to another place first; what cannot be moved stays, and the answer is −EBUSY. A page that is lost is mapped nowhere any
 * longer: whoever comes to it gets SIGBUS by the entry in its place, or finds it poisoned in its file's cache.
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, folioLock, folioUnlock, get, refAdd, refGetUnlessZero, set, setFlags, upWrite } from '../kernel/ops.ts';
import { allocContigRange, zoneOfPfn } from '../memory/cma.ts';
import { compoundOrder, folioOfFrame, folioTestLarge, pageFolio, subPage } from '../memory/folio.ts';
import { __GFP_MOVABLE, GFP_USER } from '../memory/gfp.ts';
import {
  PG_ACTIVE,
  PG_BUDDY,
  PG_DIRTY,
  PG_HUGETLB,
  PG_HWPOISON,
  PG_LRU,
  PG_MLOCKED,
  PG_PCP,
  PG_RESERVED,
  PG_TABLE,
  PG_UNEVICTABLE,
} from '../memory/page-flags.ts';
import { pageFlags, pageMapping, pageNext, pageOfPfn, pageRefcount, pageShift, pfnOfPage, setPageIndex, setPageMapping, setPageNext } from '../memory/state.ts';
import { putAnonVma } from './anon-vma.ts';
import { folioMkclean } from './disk.ts';
import { EAGAIN, EBUSY, EHWPOISON, EIO, ENXIO, EPERM } from './errno.ts';
import { BUS_MCEERR_AR } from './fault.ts';
import { INODE_DISK, kindIsShmem } from './file-types.ts';
import { pagesInCache } from './filemap.ts';
import { getUserPagesFast } from './gup-fast.ts';
import { allocPageVector, freePageVector, PageVector } from './gup-types.ts';
import { dissolveFreeHugetlbFolio } from './hugetlb-dissolve.ts';
import { MADV_SOFT_OFFLINE } from './madv.ts';
import { migrateFolio, migrateHugetlbFolio } from './migrate.ts';
import { folioGetAnonVma, hugetlbMappingTrylock, tryToMigrate } from './migrate-rmap.ts';
import { hasHwpoison } from './migration-entry.ts';
import { pageIsMapped } from './rmap.ts';
import { TTU_IGNORE_MLOCK, tryToUnmap } from './rmap-walk.ts';
import { splitFolioOf } from './split-folio.ts';
import { folioMarkDirty, folioPut, folioTestAnon, folioTestDirty } from './swap.ts';
import { truncateInodeFolio } from './truncate.ts';
import { Inode, Mm, type MmRef, type Page, Process, type Vpn } from './types.ts';
import { CAP_SYS_ADMIN, capable } from './util.ts';
import { folioIsolateLru, folioPutbackLru, removeMapping } from './vmscan.ts';

/** __page_handle_poison and page_handle_poison of a free page or one of a free huge page: 0, or −EBUSY where it is in use by now or cannot be had. */
function* takeFree(page: Page): Op<number> {
  const pfn = pfnOfPage(page);
  if ((yield* dissolveFreeHugetlbFolio(folioOfFrame(pfn))) !== 0) return -EBUSY;
  if (allocContigRange(pfn, pfn + 1) !== 0) return -EBUSY;
  yield* setFlags(page, PG_HWPOISON);
  return 0;
}

/** mapping_evict_folio: a locked page of a file that is clean and that nobody uses leaves its cache; 1 when the caller's reference is the last. */
function* mappingEvictFolio(page: Page): Op<number> {
  const inode = pageMapping[page];
  if (inode === 0 || (pageFlags[page] & PG_DIRTY) !== 0 || pageRefcount[page] > pagesInCache(inode, page) + 1) return 0;
  if ((yield* removeMapping(inode, page)) === 0) return 0;
  yield* refAdd(page, 1);
  return 1;
}

/** page_handle_poison of a page that has moved, or was thrown away, and has one reference left: this is the one that nobody gives back. */
function* keepOut(page: Page): Op<number> {
  yield* clearFlags(page, ~PG_HWPOISON);
  setPageMapping(page, 0);
  setPageIndex(page, 0);
  if (pageNext[page] !== 0) setPageNext(page, 0);
  return yield* setFlags(page, PG_HWPOISON);
}

/**
 * try_to_split_thp_page: the one page is to go, not all of its folio; 1 when it is for itself and the caller's reference is its own, 0 when nobody needed it: it is free
 * then. −EBUSY when somebody has a reference of the folio: the caller's is gone.
 */
function* trySplitThpPage(folio: Page, page: Page): Op<number> {
  yield* folioLock(folio);
  if ((yield* splitFolioOf(folio)) !== 0) {
    yield* folioPut(folio);
    return -EBUSY;
  }
  if (page === folio) return 1;
  const kept = yield* refGetUnlessZero(page);
  yield* folioPut(folio);
  return kept;
}

/** The part of soft_offline_in_use_page for hugetlb: all that the page is part of moves, and is small pages where it was. */
function* softOfflineHugetlb(folio: Page, page: Page): Op<number> {
  const error = yield* migrateHugetlbFolio(folio);
  yield* folioPut(folio);
  if (error !== 0) return error === -EAGAIN ? -EBUSY : error;
  return yield* takeFree(page);
}

/**
 * soft_offline_in_use_page: a page that somebody uses, of which the caller has a reference, goes out of use: what is thrown away easily is, the rest is moved. 0, or
 * −EBUSY, and −ENOMEM where there is no other place; the caller's reference is gone.
 */
function* softOfflineInUsePage(page: Page): Op<number> {
  const folio = pageFolio(page);
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) return yield* softOfflineHugetlb(folio, page);
  if (folioTestLarge(folio)) {
    const split = yield* trySplitThpPage(folio, page);
    if (split <= 0) return split === 0 ? yield* takeFree(page) : split;
  }
  yield* folioLock(page);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) {
    yield* folioUnlock(page);
    yield* folioPut(page);
    return 0;
  }
  const evicted = (pageFlags[page] & PG_LRU) !== 0 && !folioTestAnon(page) ? yield* mappingEvictFolio(page) : 0;
  yield* folioUnlock(page);
  if (evicted !== 0) {
    yield* keepOut(page);
    return 0;
  }
  const isolated = yield* folioIsolateLru(page);
  yield* folioPut(page);
  if (isolated === 0) return -EBUSY;
  const error = yield* migrateFolio(page, GFP_USER | __GFP_MOVABLE);
  if (error !== 0) yield* folioPutbackLru(page);
  else yield* keepOut(page);
  return error === -EAGAIN ? -EBUSY : error;
}

/** Whether nobody uses a frame: it is free, or part of a huge page that waits in its pool. */
const isUnused = (page: Page): boolean => (pageFlags[page] & (PG_BUDDY | PG_PCP)) !== 0 || pageRefcount[folioOfFrame(pfnOfPage(page))] === 0;

/** soft_offline_page: a frame is taken out of use. 0, also where it was before; −ENXIO where there is no memory; −EIO for what the kernel uses itself; −EBUSY. */
export function* softOfflinePage(pfn: number): Op<number> {
  if (zoneOfPfn(pfn) === 0) return -ENXIO;
  const page = pageOfPfn(pfn);
  if ((pageFlags[page] & PG_HWPOISON) !== 0) return 0;
  if ((pageFlags[page] & (PG_TABLE | PG_RESERVED)) !== 0) return -EIO;
  for (let pass = 0; pass < 3; pass++) {
    if (isUnused(page)) return yield* takeFree(page);
    const folio = folioOfFrame(pfn);
    // It may be given back just now, and used by others at once: it is looked at again (get_any_page).
    if ((yield* refGetUnlessZero(folio)) === 0) continue;
    if (folioOfFrame(pfn) === folio) return yield* softOfflineHeld(subPage(folio, pfn - pfnOfPage(folio)));
    yield* folioPut(folio);
  }
  return -EBUSY;
}

/** The same of a page of which the caller has a reference (MF_COUNT_INCREASED), which is gone afterwards. −EIO for what is no page of a process or a file. */
function* softOfflineHeld(page: Page): Op<number> {
  const folio = pageFolio(page);
  const poisoned = (pageFlags[page] & PG_HWPOISON) !== 0;
  const handled = (pageFlags[folio] & (PG_LRU | PG_HUGETLB)) !== 0;
  if (!poisoned && handled) return yield* softOfflineInUsePage(page);
  yield* folioPut(page);
  return poisoned ? 0 : -EIO;
}

// --- memory that has failed -------------------------------------------------------------------------------------------------

/** kill_procs for the process that asked, which has the page at `vpn`: SIGBUS, with the bytes that are lost (2^shift). Others hear of it when they come to the page. */
function killProc(mm: MmRef, vpn: Vpn, shift: number): void {
  const process = get(mm, Mm.process);
  set(process, Process.signal, BUS_MCEERR_AR + 65536 * shift);
  set(process, Process.signalPage, vpn);
}

/** The part of unmap_poisoned_folio that leaves poison in the place of all mappings of a locked folio, as far as they can be had. */
function* poisonMappings(folio: Page): Op<number> {
  const anonVma = folioTestAnon(folio) ? yield* folioGetAnonVma(folio) : 0;
  const locked = yield* hugetlbMappingTrylock(folio);
  if (locked >= 0) yield* tryToMigrate(folio, anonVma, locked);
  if (locked > 0) yield* upWrite(locked);
  return anonVma !== 0 ? yield* putAnonVma(anonVma) : 0;
}

/** hwpoison_user_mappings of a locked page: 1 when nobody maps it any longer; who may have lost something hears of it. */
function* hwpoisonUserMappings(page: Page, mm: MmRef, vpn: Vpn): Op<number> {
  const disk = !folioTestAnon(page) && pageMapping[page] !== 0 && get(pageMapping[page], Inode.kind) === INODE_DISK;
  if (!pageIsMapped(page)) return 1;
  if (disk && !folioTestDirty(page)) {
    // What is clean can be read again: then nobody needs to know.
    if ((yield* folioMkclean(page)) === 0) {
      yield* tryToUnmap(page, TTU_IGNORE_MLOCK);
      return pageIsMapped(page) ? 0 : 1;
    }
    yield* folioMarkDirty(page);
  }
  yield* poisonMappings(page);
  const done = !pageIsMapped(page);
  if (folioTestDirty(page) || !done) killProc(mm, vpn, pageShift);
  return done ? 1 : 0;
}

/** me_pagecache_clean, me_pagecache_dirty: a locked page that nobody maps goes out of use; 0, or −EBUSY when somebody has it all the same. Unlocks it. */
function* pageAction(page: Page): Op<number> {
  yield* clearFlags(page, PG_LRU | PG_ACTIVE | PG_UNEVICTABLE | PG_MLOCKED);
  const inode = folioTestAnon(page) ? 0 : pageMapping[page];
  const shared = inode !== 0 && kindIsShmem(get(inode, Inode.kind));
  // What was written and is lost stays in its place, lest somebody read zeroes there; a disk has what it had.
  if (inode !== 0 && !shared) yield* truncateInodeFolio(inode, page);
  yield* folioUnlock(page);
  const held = pageRefcount[page] > (shared ? 2 : 1);
  if (!shared && !held) yield* keepOut(page);
  return held && !folioTestAnon(page) ? -EBUSY : 0;
}

/**
 * memory_failure of a page of which the caller has a reference (MF_COUNT_INCREASED), for the process that has it at `vpn`: nobody comes to it again. 0; −EHWPOISON
 * where that was known; −EBUSY for what the kernel uses, and when it could not be kept from all. The reference is never given back, but where nothing was done.
 */
function* memoryFailureHeld(page: Page, mm: MmRef, vpn: Vpn): Op<number> {
  const folio = pageFolio(page);
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) return yield* memoryFailureHugetlb(folio, page, mm, vpn);
  if ((pageFlags[page] & PG_HWPOISON) !== 0 || (pageFlags[folio] & PG_LRU) === 0) {
    const known = (pageFlags[page] & PG_HWPOISON) !== 0;
    yield* folioPut(folio);
    return known ? -EHWPOISON : -EBUSY;
  }
  if (folioTestLarge(folio)) {
    const split = yield* trySplitThpPage(folio, page);
    if (split === 0) return yield* takeFree(page);
    if (split < 0) {
      killProc(mm, vpn, pageShift);
      return split;
    }
  }
  yield* setFlags(page, PG_HWPOISON);
  yield* folioLock(page);
  if ((yield* hwpoisonUserMappings(page, mm, vpn)) === 0) {
    yield* folioUnlock(page);
    return -EBUSY;
  }
  return yield* pageAction(page);
}

/** try_memory_failure_hugetlb, me_huge_page. */
function* memoryFailureHugetlb(folio: Page, page: Page, mm: MmRef, vpn: Vpn): Op<number> {
  if (((yield* setFlags(folio, PG_HWPOISON)) & PG_HWPOISON) !== 0) {
    yield* folioPut(folio);
    return -EHWPOISON;
  }
  yield* folioLock(folio);
  const inode = folioTestAnon(folio) ? 0 : pageMapping[folio];
  yield* poisonMappings(folio);
  const mapped = pageIsMapped(folio);
  if (folioTestDirty(folio) || mapped) killProc(mm, vpn, compoundOrder(folio) + pageShift);
  yield* folioUnlock(folio);
  const held = mapped || pageRefcount[folio] > (inode === 0 ? 1 : 2);
  if (held) return -EBUSY;
  if (inode !== 0) return 0;
  // Its other parts are good.
  yield* clearFlags(folio, PG_HWPOISON);
  yield* folioPut(folio);
  return yield* takeFree(page);
}

/** Where entries have no way to say that a page is poisoned (ARCH_SUPPORTS_MEMORY_FAILURE) nothing is done. */
function* refuse(page: Page): Op<number> {
  yield* folioPut(pageFolio(page));
  return -EBUSY;
}

/** madvise_inject_error: for each page of [start, end), bytes. 0 or −errno of the first that failed. The mmap lock is not held. */
export function* madviseInjectError(mm: MmRef, start: number, end: number, behavior: number): Op<number> {
  if (!capable(mm, CAP_SYS_ADMIN)) return -EPERM;
  const vector = allocPageVector();
  let error = 0;
  let at = start;
  while (at < end && error === 0) {
    const vpn = Math.floor(at / 2 ** pageShift);
    const got = yield* getUserPagesFast(mm, vpn, 1, 0, vector);
    if (got !== 1) {
      error = got;
      break;
    }
    const page = get(vector, PageVector.pages + get(vector, PageVector.count) - 1);
    at += 2 ** (compoundOrder(page) + pageShift);
    if (behavior === MADV_SOFT_OFFLINE) error = yield* softOfflineHeld(page);
    else error = hasHwpoison() ? yield* memoryFailureHeld(page, mm, vpn) : yield* refuse(page);
  }
  freePageVector(vector);
  return error;
}
