/**
 * Migration: the content of a folio moves to other frames, and everybody who has it goes on with those (mm/migrate.c: migrate_pages and what is below it).
 *
 * Invariants: both folios are locked throughout; the old one's mappings are migration entries before its references are counted, so that nobody can take one by them;
 * it is left only when there are no references but the cache's and the caller's, which is seen with the count frozen where others can come to it by a cache. Whatever
 * fails before that leaves all as it was. A folio that others refer to is busy.
 *
 * Linux tries up to ten times, because references go; here twice, since who has one keeps it or is done after a few steps.
 */
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  clearFlags,
  entryGet,
  folioLock,
  folioTrylock,
  folioUnlock,
  folioWaitLocked,
  get,
  mappingSet,
  refAdd,
  refFreeze,
  setFlags,
  spinLock,
  spinUnlock,
  switched,
  upWrite,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundOrder, compoundPages, folioEntireMapcount, folioMapcount, folioTestLarge, prepCompound } from '../memory/folio.ts';
import { copyFrames } from '../memory/huge-frames.ts';
import {
  PG_ACTIVE,
  PG_ANON_EXCLUSIVE,
  PG_BUDDY,
  PG_DIRTY,
  PG_HEAD,
  PG_HUGETLB,
  PG_HUGETLB_RESTORE_RESERVE,
  PG_HUGETLB_TEMPORARY,
  PG_HWPOISON,
  PG_LOCKED,
  PG_LRU,
  PG_MLOCKED,
  PG_PARTIALLY_MAPPED,
  PG_PCP,
  PG_TAIL,
  PG_UNEVICTABLE,
  PG_WRITEBACK,
} from '../memory/page-flags.ts';
import {
  copyFrame,
  knownPageOfPfn,
  pageFlags,
  pageIndex,
  pageMapping,
  pageOfPfn,
  pagePrivate,
  pageRefcount,
  pfnOfPage,
  setPageFlags,
  setPageIndex,
  setPageMapping,
  setPagePrivate,
  setPageRefcount,
} from '../memory/state.ts';
import { xaStore } from '../memory/xarray.ts';
import { putAnonVma } from './anon-vma.ts';
import { deferredSplitUnqueue } from './deferred-split.ts';
import { EAGAIN, EBUSY, ENOMEM, ENOSYS } from './errno.ts';
import { pagesInCache } from './filemap.ts';
import { hugePteLockptr, hugePtepGet } from './huge-leaf.ts';
import { allocFresh, countPage, dequeue, folioHstate, hugetlbLock } from './hugetlb-pool.ts';
import { Hstate, type HstateRef } from './hugetlb-types.ts';
import { thpMigrationSupported } from './migrate-pmd.ts';
import { folioGetAnonVma, hugetlbMappingTrylock, removeMigrationPtes, tryToMigrate } from './migrate-rmap.ts';
import { isMigrationEntry, pfnSwapEntryPage } from './migration-entry.ts';
import { pteLockptr } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { pageIsMapped } from './rmap.ts';
import { folioAddLru, folioPut, folioTestAnon } from './swap.ts';
import { Inode, type InodeRef, type MmRef, type Page, type Vpn } from './types.ts';

/** NR_MAX_MIGRATE_PAGES_RETRY. */
const PASSES = 2;

// --- waiting ----------------------------------------------------------------------------------------------------------------

/** migration_entry_wait: a fault has met a migration entry, and is tried again when the folio has moved. No reference is taken: it would keep the folio from moving. */
export function* migrationEntryWait(pmdp: number, vpn: Vpn): Op<number> {
  const ptep = yield* pteOffsetMapLock(pmdp, vpn);
  if (ptep === 0) return 0;
  const pte = yield* entryGet(ptep, 0);
  yield* spinUnlock(pteLockptr(ptep));
  return isMigrationEntry(pte) ? yield* folioWaitLocked(pfnSwapEntryPage(pte)) : 0;
}

/** migration_entry_wait_huge. */
export function* migrationEntryWaitHuge(h: HstateRef, mm: MmRef, ptep: number): Op<number> {
  const lock = hugePteLockptr(h, mm, ptep);
  yield* spinLock(lock);
  const pte = yield* hugePtepGet(h, ptep);
  yield* spinUnlock(lock);
  return isMigrationEntry(pte) ? yield* folioWaitLocked(pfnSwapEntryPage(pte)) : 0;
}

// --- content and state ------------------------------------------------------------------------------------------------------

/** folio_expected_ref_count: references by the page cache and by mappings. */
const expectedRefs = (folio: Page): number =>
  (folioTestAnon(folio) || pageMapping[folio] === 0 ? 0 : pagesInCache(pageMapping[folio], folio)) + folioMapcount(folio);

/** What a frame does not give on: whose it is, where it lies, what its mappings bring with them. */
const OWN =
  PG_LOCKED |
  PG_LRU |
  PG_HEAD |
  PG_TAIL |
  PG_MLOCKED |
  PG_UNEVICTABLE |
  PG_ANON_EXCLUSIVE |
  PG_PARTIALLY_MAPPED |
  PG_BUDDY |
  PG_PCP |
  PG_WRITEBACK |
  PG_HWPOISON;

/** folio_migrate_flags, with what the parts of a large folio have of their own. The old folio is clean then. */
function* migrateFlags(dst: Page, src: Page): Op<number> {
  // Of hugetlb what concerns its pool is moved by itself.
  const own = OWN | PG_HUGETLB | PG_HUGETLB_RESTORE_RESERVE | PG_HUGETLB_TEMPORARY;
  yield* setFlags(dst, pageFlags[src] & ~own);
  for (let i = 1; i < compoundPages(src); i++) {
    const part = knownPageOfPfn(pfnOfPage(src) + i);
    if (part === 0) continue;
    const flags = pageFlags[part] & ~own;
    if (flags === 0) continue;
    const to = pageOfPfn(pfnOfPage(dst) + i);
    setPageFlags(to, pageFlags[to] | flags);
    setPageFlags(part, pageFlags[part] & ~flags);
  }
  if (pagePrivate[src] !== 0) {
    setPagePrivate(dst, pagePrivate[src]);
    setPagePrivate(src, 0);
  }
  return yield* clearFlags(src, PG_DIRTY | PG_ACTIVE);
}

/** migrate_folio: the new folio takes the place of a locked one that nobody maps; `expected` references are those that are accounted for. 0 or −EAGAIN. */
function* moveToNewFolio(dst: Page, src: Page): Op<number> {
  const expected = expectedRefs(src) + 1;
  const counts = !switched(SW.migrateNoCount);
  if (counts && !switched(SW.migrateCountsFirst) && (yield* refAdd(src, 0)) !== expected) return -EAGAIN;
  if (folioTestLarge(src)) copyFrames(dst, src, compoundOrder(src));
  else copyFrame(dst, src);
  if (folioTestAnon(src)) {
    if (folioTestLarge(src) && (pageFlags[src] & PG_HUGETLB) === 0) {
      if ((yield* refFreeze(src, expected)) === 0) return -EAGAIN;
      yield* deferredSplitUnqueue(src);
      setPageRefcount(src, expected);
    }
    setPageMapping(dst, pageMapping[src]);
    setPageIndex(dst, pageIndex[src]);
  } else {
    const inode = pageMapping[src];
    if (inode !== 0) {
      const error = yield* replaceInCache(inode, dst, src, expected);
      if (error !== 0) return error;
    }
  }
  yield* migrateFlags(dst, src);
  return 0;
}

/** The part of __folio_migrate_mapping for a folio of a cache. */
function* replaceInCache(inode: InodeRef, dst: Page, src: Page, expected: number): Op<number> {
  const pages = pagesInCache(inode, src);
  yield* spinLock(inode + Inode.pagesLock);
  const counted = !switched(SW.migrateNoCount) && !switched(SW.migrateCountsFirst);
  if (counted && (yield* refFreeze(src, expected)) === 0) {
    yield* spinUnlock(inode + Inode.pagesLock);
    return -EAGAIN;
  }
  setPageIndex(dst, pageIndex[src]);
  setPageMapping(dst, inode);
  yield* refAdd(dst, pages);
  xaStore(inode + Inode.pages, pageIndex[src], dst);
  if (counted) setPageRefcount(src, expected - pages);
  else yield* refAdd(src, -pages);
  yield* spinUnlock(inode + Inode.pagesLock);
  return 0;
}

// --- one folio --------------------------------------------------------------------------------------------------------------

/**
 * migrate_folio_unmap and migrate_folio_move, or the part of unmap_and_move_huge_page, for two locked folios. 0; −EAGAIN or −EBUSY where the old one is as it was.
 */
function* migrateLocked(dst: Page, src: Page): Op<number> {
  const hugetlb = (pageFlags[src] & PG_HUGETLB) !== 0;
  const anon = folioTestAnon(src);
  // On its way to be freed: of a file system with limits nobody would give its page back.
  if (hugetlb && pagePrivate[src] !== 0 && (anon || pageMapping[src] === 0)) return -EBUSY;
  const anonVma = anon ? yield* folioGetAnonVma(src) : 0;
  let error = 0;
  if (switched(SW.migrateCountsFirst) && (yield* refAdd(src, 0)) !== expectedRefs(src) + 1) error = -EAGAIN;
  // Until all entries are back: who has it and wants the lock of the page would wait for us, and we for him.
  let locked = error === 0 && pageIsMapped(src) ? yield* hugetlbMappingTrylock(src) : 0;
  const unmapped = error === 0 && locked >= 0 && pageIsMapped(src) ? yield* tryToMigrate(src, anonVma, locked) : 0;
  if (locked > 0 && switched(SW.migrateHugetlbRelocks)) {
    yield* upWrite(locked);
    locked = 0;
  }
  if (error === 0) error = pageIsMapped(src) ? -EAGAIN : yield* moveToNewFolio(dst, src);
  if (error === 0) {
    if (hugetlb) yield* moveHugetlbState(dst, src);
    else yield* folioAddLru(dst);
    // Nobody's, but for the caller's reference.
    if (!anon) yield* mappingSet(src, 0);
  }
  if (unmapped !== 0) yield* removeMigrationPtes(src, error === 0 ? dst : src, anonVma, locked);
  if (locked > 0) yield* upWrite(locked);
  if (anonVma !== 0) yield* putAnonVma(anonVma);
  return error;
}

/** What migrate_pages does for one folio whose new place is there: as often as it may help. 0, −EAGAIN or −EBUSY; the reference of who made the place is gone. */
function* migrateTo(dst: Page, src: Page): Op<number> {
  let error = -EAGAIN;
  for (let pass = 0; pass < PASSES && error === -EAGAIN; pass++) {
    yield* folioLock(src);
    yield* folioTrylock(dst);
    error = yield* migrateLocked(dst, src);
    yield* folioUnlock(dst);
    yield* folioUnlock(src);
  }
  yield* folioPut(dst);
  return error;
}

/** alloc_migration_target: a folio of the size of another that is none of hugetlb; 0 without memory. */
function* allocTarget(src: Page, gfp: number): Op<number> {
  const order = compoundOrder(src);
  const dst = yield* allocPage(gfp, order);
  if (dst !== 0 && order > 0 && !folioTestLarge(dst)) prepCompound(dst, order);
  return dst;
}

/**
 * migrate_pages for one folio that is off the LRU, with a reference by who isolated it: 0 when it has moved and is nobody's but the caller's; −EAGAIN, or
 * −ENOMEM without another place: then it is as it was. `gfp` is what the place may be.
 */
export function* migrateFolio(src: Page, gfp: number): Op<number> {
  if (pageRefcount[src] === 1 && !pageIsMapped(src)) return 0;
  if (folioEntireMapcount(src) > 0 && !thpMigrationSupported()) return -ENOSYS;
  const dst = yield* allocTarget(src, gfp);
  return dst === 0 ? -ENOMEM : yield* migrateTo(dst, src);
}

// --- hugetlb ----------------------------------------------------------------------------------------------------------------

/** alloc_hugetlb_folio_nodemask: a page of a pool that is promised to nobody, else one from the buddy allocator that is in no pool (temporary); 0 without either. */
function* allocHugetlbTarget(h: HstateRef): Op<number> {
  yield* spinLock(hugetlbLock());
  const page = get(h, Hstate.freePages) > get(h, Hstate.resv) ? yield* dequeue(h, true) : 0;
  yield* spinUnlock(hugetlbLock());
  if (page !== 0) return page;
  const fresh = yield* allocFresh(h, -1);
  if (fresh === 0) return 0;
  yield* spinLock(hugetlbLock());
  countPage(h, fresh, 1, false);
  yield* spinUnlock(hugetlbLock());
  yield* refAdd(fresh, 1);
  yield* setFlags(fresh, PG_HUGETLB_TEMPORARY);
  return fresh;
}

/**
 * unmap_and_move_huge_page for a page of which the caller has a reference: 0 when it has moved, and is its pool's as soon as the caller lets it go, or nobody's where
 * the other one came from outside. −EAGAIN, −EBUSY, or −ENOMEM: it is as it was.
 */
export function* migrateHugetlbFolio(src: Page): Op<number> {
  const dst = yield* allocHugetlbTarget(folioHstate(src));
  return dst === 0 ? -ENOMEM : yield* migrateTo(dst, src);
}

/** move_hugetlb_state: which of the two is from outside of the pool goes over. */
function* moveHugetlbState(dst: Page, src: Page): Op<number> {
  if ((pageFlags[dst] & PG_HUGETLB_TEMPORARY) === 0) return 0;
  yield* setFlags(src, PG_HUGETLB_TEMPORARY);
  return yield* clearFlags(dst, PG_HUGETLB_TEMPORARY);
}
