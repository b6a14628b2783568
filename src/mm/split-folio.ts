/**
 * Splitting a large folio into small pages (mm/huge_memory.c: __folio_split; the parts that migrate its mappings: mm/rmap.c try_to_migrate, mm/migrate.c
 * remove_migration_ptes).
 *
 * Invariants: the folio is locked, and the caller has one reference; its entries are migration entries while its references are frozen, so that nobody can
 * come to it; pages that nobody maps afterwards are free, and pages full of zeroes give way to the zero page.
 */
import type { Op } from '../kernel/op.ts';
import { downWrite, entryGet, entrySet, folioTrylock, folioUnlock, get, refFreeze, spinUnlock, upWrite } from '../kernel/ops.ts';
import { compoundOrder, compoundPages, destroyCompound, folioMapcount, subPage } from '../memory/folio.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_LOCKED, PG_LRU, PG_MLOCKED } from '../memory/page-flags.ts';
import {
  noteFrameRead,
  pageFlags,
  pageIndex,
  pageMapping,
  pageOfPfn,
  pageRefcount,
  pfnOfPage,
  setPageFlags,
  setPageIndex,
  setPageMapping,
  setPageNext,
  setPageRefcount,
  wordShift,
  words,
} from '../memory/state.ts';
import { deferredSplitUnqueue } from './deferred-split.ts';
import { EAGAIN, EBUSY } from './errno.ts';
import { globals } from './globals.ts';
import { freezeHugePmd, pmdTransHuge } from './huge-memory.ts';
import { anonVmaIntervalTreeIterFirst, anonVmaIntervalTreeIterNext } from './interval-tree.ts';
import { removeMigrationPte, tryToMigrateOne } from './migrate-rmap.ts';
import { isMigrationEntry, migrationPfn } from './migration-entry.ts';
import { addMmCounter } from './mm-counters.ts';
import { entryPointer, mkPte, pteLockptr, pteMkspecial, ptePage, ptePresent } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { anonVmaLock } from './rmap.ts';
import { SPLIT_UNIFORM, splitFileFolio } from './split-file-folio.ts';
import { folioAddLru, folioPut } from './swap.ts';
import { AnonVma, type AnonVmaRef, Avc, Globals, MM_ANONPAGES, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { countSplitPage } from './vm-event.ts';
import { VM_LOCKED } from './vm-flags.ts';
import { vmaPageProt } from './vm-prot.ts';

/** split_folio to order 0, for whoever has the lock and a reference. 0; −EAGAIN or −EBUSY when somebody has a reference beside the caller. The lock is gone. */
export function* splitFolioOf(folio: Page): Op<number> {
  const error = yield* trySplitFolio(folio);
  if (error !== 0) yield* folioUnlock(folio);
  return error;
}

/** The same; the lock is gone only when it was split. */
export function* trySplitFolio(folio: Page): Op<number> {
  if ((pageFlags[folio] & PG_ANON) === 0) {
    const failed = yield* splitFileFolio(folio, SPLIT_UNIFORM);
    if (failed === 0) yield* folioUnlock(folio);
    return failed;
  }
  const order = compoundOrder(folio);
  const error = yield* splitAnonFolio(folio, pageMapping[folio]);
  countSplitPage(order, error);
  return error;
}

function* splitAnonFolio(folio: Page, anonVma: AnonVmaRef): Op<number> {
  if (anonVma === 0) return -EBUSY;
  const lock = anonVmaLock(anonVma);
  yield* downWrite(lock);
  const error = yield* splitLocked(folio, anonVma);
  yield* upWrite(lock);
  return error;
}

function* splitLocked(folio: Page, anonVma: AnonVmaRef): Op<number> {
  const pages = compoundPages(folio);
  const isolated = (pageFlags[folio] & PG_LRU) === 0;
  // can_split_folio.
  if (pageRefcount[folio] !== folioMapcount(folio) + 1) return -EAGAIN;
  yield* walkMappings(folio, anonVma, pages, 1);
  if ((yield* refFreeze(folio, 1)) === 0) {
    yield* walkMappings(folio, anonVma, pages, 0);
    return -EAGAIN;
  }
  yield* deferredSplitUnqueue(folio);
  takeApart(folio, pages);
  // They come to be locked, nobody is waited for: no order of locks is meant.
  for (let i = 1; i < pages; i++) yield* folioTrylock(pageOfPfn(pfnOfPage(folio) + i));
  for (let i = 0; i < pages; i++) setPageRefcount(pageOfPfn(pfnOfPage(folio) + i), 1);
  yield* walkMappings(folio, anonVma, pages, 0);
  // The tails were held while they had no mapping; the head keeps the caller's reference.
  const first = pfnOfPage(folio);
  for (let i = 1; i < pages; i++) {
    const page = pageOfPfn(first + i);
    yield* folioUnlock(page);
    // Reclaim would have the parts on its list, and find them as unfit for it as the whole.
    if (isolated) yield* folioAddLru(page);
    yield* folioPut(page);
  }
  yield* folioUnlock(folio);
  return 0;
}

/** __split_folio_to_order: every page is a folio of its own. Nobody can take a reference of one yet. */
function takeApart(folio: Page, pages: number): void {
  const flags = pageFlags[folio];
  const mapping = pageMapping[folio];
  const index = pageIndex[folio];
  for (let i = 1; i < pages; i++) subPage(folio, i);
  destroyCompound(folio);
  const first = pfnOfPage(folio);
  const kept = pageFlags[folio] & ~(PG_ANON_EXCLUSIVE | PG_LOCKED);
  for (let i = 1; i < pages; i++) {
    const page = pageOfPfn(first + i);
    setPageFlags(page, kept | (pageFlags[page] & PG_ANON_EXCLUSIVE));
    setPageMapping(page, mapping);
    setPageIndex(page, index + i);
    if ((flags & PG_MLOCKED) !== 0) setPageNext(page, 0);
  }
}

/** try_to_migrate (`unmap`) or remove_migration_ptes for all mappings of the pages that are, or were, a folio's. */
function* walkMappings(folio: Page, anonVma: AnonVmaRef, pages: number, unmap: number): Op<number> {
  const index = pageIndex[folio];
  let avc = anonVmaIntervalTreeIterFirst(anonVma + AnonVma.tree, index, index + pages - 1);
  while (avc !== 0) {
    const vma = get(avc, Avc.vma);
    const base = get(vma, Vma.start) - get(vma, Vma.pgoff) + index;
    const from = Math.max(base, get(vma, Vma.start));
    const to = Math.min(base + pages, get(vma, Vma.end));
    for (let vpn = from; vpn < to; vpn++) yield* oneMapping(folio, vma, vpn, vpn - base, unmap);
    avc = anonVmaIntervalTreeIterNext(avc, index, index + pages - 1);
  }
  return 0;
}

/** What walkMappings does at one place: `part` is the page's place in the folio. */
function* oneMapping(folio: Page, vma: VmaRef, vpn: Vpn, part: number, unmap: number): Op<number> {
  const pmdp = yield* entryPointer(get(vma, Vma.mm), vpn, 1);
  if (pmdp === 0) return 0;
  if (unmap !== 0 && pmdTransHuge(yield* entryGet(pmdp, 1))) {
    if (ptePage(yield* entryGet(pmdp, 1)) !== folio) return 0;
    yield* freezeHugePmd(vma, pmdp, vpn);
  }
  const ptep = yield* pteOffsetMapLock(pmdp, vpn);
  if (ptep === 0) return 0;
  const pfn = pfnOfPage(folio) + part;
  const pte = yield* entryGet(ptep, 0);
  if (unmap !== 0) {
    if (ptePresent(pte) && ptePage(pte) === pageOfPfn(pfn)) yield* tryToMigrateOne(vma, vpn, ptep, pte);
  } else if (isMigrationEntry(pte) && migrationPfn(pte) === pfn) yield* fromMigration(vma, vpn, ptep, pte, pageOfPfn(pfn));
  return yield* spinUnlock(pteLockptr(ptep));
}

/** remove_migration_pte, with RMP_USE_SHARED_ZEROPAGE. */
function* fromMigration(vma: VmaRef, vpn: Vpn, ptep: number, old: number, page: Page): Op<number> {
  if (isZeroFilled(page) && (pageFlags[page] & PG_MLOCKED) === 0 && (get(vma, Vma.flags) & VM_LOCKED) === 0 && compoundPages(page) === 1) {
    // try_to_map_unused_to_zeropage.
    yield* addMmCounter(get(vma, Vma.mm), MM_ANONPAGES, -1);
    return yield* entrySet(ptep, 0, pteMkspecial(mkPte(get(globals, Globals.zeroPage), vmaPageProt(vma))));
  }
  return yield* removeMigrationPte(page, vma, vpn, ptep, old);
}

/** memchr_inv(page, 0). */
export function isZeroFilled(page: Page): boolean {
  noteFrameRead(page);
  const at = page << wordShift;
  for (let i = 0; i < 1 << wordShift; i++) if (words[at + i] !== 0) return false;
  return true;
}
