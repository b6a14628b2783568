/**
 * What fork does to page tables: copy_page_range (mm/memory.c).
 *
 * Invariants: after it, a private page is writable on neither side and exclusive on none, unless it may be pinned, and then the child has a copy of
 * its own; both mms' mmap locks are held for writing and the parent's VMAs are write-locked. While private pages are shared the parent's
 * writeProtectSeq is odd.
 */
import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { allocPage, atomicAdd, entryGet, entrySet, get, refAdd, setFlags, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageFolio } from '../memory/folio.ts';
import { GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { PG_UPTODATE } from '../memory/page-flags.ts';
import { copyFrame } from '../memory/state.ts';
import { PTE_DIRTY, PTE_TABLE, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { contPtes, isWholeRun, ptepGathered, ptepSetWrprotect, setPteAt, setPtes, wrprotectRun } from './contpte.ts';
import { folioNeedsCowForDma } from './dma-pinned.ts';
import { ENOMEM } from './errno.ts';
import { copyHugePmd, pmdTransHuge } from './huge-memory.ts';
import { copyHugetlbPageRange } from './hugetlb-vma.ts';
import { vmNormalPage } from './memory.ts';
import { copyMigrationPmd } from './migrate-pmd.ts';
import { isHwpoisonEntry, isMigrationEntry, migrationMkReadable, pfnSwapEntryPage } from './migration-entry.ts';
import { addMmCounter, mmCounter } from './mm-counters.ts';
import {
  entryAlloc,
  mkPte,
  mkPteMarker,
  PTE_MARKER_UFFD_WP,
  pteAlloc,
  pteClear,
  pteLockptr,
  pteMarker,
  pteMkdirty,
  pteMkold,
  pteMkyoung,
  ptePage,
  ptePresent,
  pteSet,
  tablePage,
} from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { folioAddNewAnonRmap, folioDupFileRmapPtes, folioTryDupAnonRmapPtes } from './rmap.ts';
import { folioAddLruVma, folioGet, folioPut, folioTestAnon } from './swap.ts';
import { MM_ANONPAGES, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { userfaultfdWp } from './userfaultfd-vma.ts';
import { VM_COPY_ON_FORK, VM_HUGETLB, VM_MAYWRITE, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { vmaPageProt } from './vm-prot.ts';

/** Returned by copyPresentPte when the page must be copied and no page is at hand. */
const NEEDS_COPY = -1;

export const isCowMapping = (vmFlags: number): boolean => (vmFlags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE;

/** vma_needs_copy: file pages can be faulted in again, private ones cannot. */
const vmaNeedsCopy = (dst: VmaRef, src: VmaRef): boolean => (get(dst, Vma.flags) & VM_COPY_ON_FORK) !== 0 || get(src, Vma.anonVma) !== 0;

/** copy_page_range: the child's entries for a VMA. 0 or −ENOMEM. */
export function* copyPageRange(dst: VmaRef, src: VmaRef): Op<number> {
  if (!vmaNeedsCopy(dst, src)) return 0;
  if ((get(src, Vma.flags) & VM_HUGETLB) !== 0) return yield* copyHugetlbPageRange(dst, src);
  const mm = get(src, Vma.mm);
  // Who pins pages without a lock looks at the count before and after, and gives them back when fork was at work (raw_write_seqcount_begin).
  const cow = isCowMapping(get(src, Vma.flags)) && !switched(SW.forkNoPinSeq);
  if (cow) yield* atomicAdd(mm, Mm.writeProtectSeq, 1);
  const error = yield* copyTable(dst, src, get(mm, Mm.pgd), topLevel, get(src, Vma.start), get(src, Vma.end));
  if (cow) yield* atomicAdd(mm, Mm.writeProtectSeq, 1);
  return error;
}

function* copyTable(dst: VmaRef, src: VmaRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    let entry = yield* entryGet(at, level);
    if (level === 1 && pmdTransHuge(entry)) {
      const to = yield* entryAlloc(get(dst, Vma.mm), vpn, 1);
      const error = to === 0 ? -ENOMEM : yield* copyHugePmd(dst, src, to, at, vpn);
      if (error === -ENOMEM) return error;
      entry = error === 0 ? 0 : yield* entryGet(at, level);
    } else if (level === 1 && isMigrationEntry(entry)) {
      const to = yield* entryAlloc(get(dst, Vma.mm), vpn, 1);
      const copied = to === 0 ? -1 : yield* copyMigrationPmd(dst, src, to, at);
      if (copied < 0) return -ENOMEM;
      if (copied === 0) continue;
    }
    if ((entry & PTE_TABLE) !== 0) {
      // The child gets the upper tables that the parent has, even where nothing hangs below them (copy_pmd_range begins with pmd_alloc).
      if (level > 1 && (yield* entryAlloc(get(dst, Vma.mm), vpn, level - 1)) === 0) return -ENOMEM;
      const error = level > 1 ? yield* copyTable(dst, src, tablePage(entry), level - 1, vpn, next) : yield* copyPteRange(dst, src, at, vpn, next);
      if (error !== 0) return error;
    }
    vpn = next;
  }
  return 0;
}

/** copy_pte_range. `pmdp` is the entry of the parent's table, which may be gone by now (retract_page_tables): then there was nothing private in it. */
function* copyPteRange(dst: VmaRef, src: VmaRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  let to = yield* pteAlloc(get(dst, Vma.mm), start);
  if (to === 0) return -ENOMEM;
  const step = entryStride(0);
  const toLock = pteLockptr(to);
  let prealloc = 0;
  let vpn = start;
  yield* spinLock(toLock);
  let from = yield* pteOffsetMapLock(pmdp, vpn);
  if (from === 0) return yield* spinUnlock(toLock);
  const fromLock = pteLockptr(from);
  while (vpn < end) {
    const pte = yield* entryGet(from, 0);
    if (isWholeRun(pte, vpn, end) && (yield* copyPresentRun(dst, src, to, from, pte, vpn)) !== 0) {
      to += (contPtes() - 1) * step;
      from += (contPtes() - 1) * step;
      vpn += contPtes() - 1;
    } else if (pte !== 0) {
      const result = ptePresent(pte) ? yield* copyPresentPte(dst, src, to, from, pte, vpn, prealloc) : yield* copyNonpresentPte(dst, src, to, from, pte);
      if (result === NEEDS_COPY) {
        yield* spinUnlock(fromLock);
        yield* spinUnlock(toLock);
        prealloc = yield* allocPage(GFP_HIGHUSER_MOVABLE, 0);
        if (prealloc === 0) return -ENOMEM;
        yield* spinLock(toLock);
        yield* spinLock(fromLock);
        continue;
      }
      if (result === 1) prealloc = 0;
    }
    to += step;
    from += step;
    vpn++;
  }
  yield* spinUnlock(fromLock);
  yield* spinUnlock(toLock);
  if (prealloc !== 0) yield* folioPut(prealloc);
  return 0;
}

/** copy_present_ptes for a contiguous run, the first entry of which was read as `seen`: 1, or 0 where its pages must be dealt with one by one. */
function* copyPresentRun(dst: VmaRef, src: VmaRef, to: number, from: number, seen: number, vpn: Vpn): Op<number> {
  const vmFlags = get(src, Vma.flags);
  const page = ptePage(seen);
  const folio = pageFolio(page);
  const pages = contPtes();
  yield* refAdd(folio, pages);
  if (folioTestAnon(page)) {
    const pinned = !switched(SW.forkSharesPinned) && (yield* folioNeedsCowForDma(src, page));
    if ((yield* folioTryDupAnonRmapPtes(page, pages, pinned ? 1 : 0, dst)) !== 0) {
      yield* refAdd(folio, -pages);
      return 0;
    }
  } else yield* folioDupFileRmapPtes(page, pages, dst);
  yield* addMmCounter(get(dst, Vma.mm), mmCounter(page), pages);
  let pte = yield* ptepGathered(vpn, from, seen);
  if ((pte & PTE_WRITE) !== 0 && isCowMapping(vmFlags)) {
    pte = pteClear(pte, PTE_WRITE);
    yield* wrprotectRun(from);
  }
  if ((vmFlags & VM_SHARED) !== 0) pte = pteClear(pte, PTE_DIRTY);
  yield* setPtes(get(dst, Vma.mm), vpn, to, pteMkold(keepUffdWp(dst, pte)), pages);
  return 1;
}

/** copy_present_ptes for one entry: 0 shared, 1 the prepared page was used for a copy, NEEDS_COPY. */
function* copyPresentPte(dst: VmaRef, src: VmaRef, to: number, from: number, seen: number, vpn: Vpn, prealloc: Page): Op<number> {
  const vmFlags = get(src, Vma.flags);
  const page = vmNormalPage(seen);
  let pte = seen;
  if (page !== 0) {
    if (folioTestAnon(page)) {
      yield* folioGet(page);
      const pinned = !switched(SW.forkSharesPinned) && (yield* folioNeedsCowForDma(src, page));
      if ((yield* folioTryDupAnonRmapPtes(page, 1, pinned ? 1 : 0, dst)) !== 0) {
        yield* folioPut(page);
        return yield* copyPresentPage(dst, to, page, vpn, prealloc);
      }
    } else {
      yield* folioGet(page);
      yield* folioDupFileRmapPtes(page, 1, dst);
    }
    yield* addMmCounter(get(dst, Vma.mm), mmCounter(page), 1);
  }
  if ((pte & PTE_WRITE) !== 0 && isCowMapping(vmFlags)) {
    pte = pteClear(pte, PTE_WRITE);
    yield* ptepSetWrprotect(get(src, Vma.mm), vpn, from, seen);
  }
  if ((vmFlags & VM_SHARED) !== 0) pte = pteClear(pte, PTE_DIRTY);
  pte = pteMkold(keepUffdWp(dst, pte));
  yield* setPteAt(get(dst, Vma.mm), vpn, to, pte);
  return 0;
}

/** copy_present_page: a page that may be pinned stays the parent's; the child gets its content. */
function* copyPresentPage(dst: VmaRef, to: number, page: Page, vpn: Vpn, prealloc: Page): Op<number> {
  if (prealloc === 0) return NEEDS_COPY;
  copyFrame(prealloc, page);
  yield* setFlags(prealloc, PG_UPTODATE);
  yield* addMmCounter(get(dst, Vma.mm), MM_ANONPAGES, 1);
  yield* folioAddNewAnonRmap(prealloc, dst, vpn);
  yield* folioAddLruVma(prealloc, dst);
  let pte = pteMkdirty(pteMkyoung(mkPte(prealloc, vmaPageProt(dst))));
  if ((get(dst, Vma.flags) & VM_WRITE) !== 0) pte = pteSet(pte, PTE_WRITE);
  yield* entrySet(to, 0, pte);
  return 1;
}

/** copy_nonpresent_pte: guard markers are inherited, uffd-wp markers with their VMA only; so is poison, and pages that are migrated right now. */
function* copyNonpresentPte(dst: VmaRef, src: VmaRef, to: number, from: number, pte: number): Op<number> {
  if (isMigrationEntry(pte) && !switched(SW.forkSkipsMigration)) {
    yield* addMmCounter(get(dst, Vma.mm), mmCounter(pfnSwapEntryPage(pte)), 1);
    const shared = isCowMapping(get(src, Vma.flags)) ? migrationMkReadable(pte) : pte;
    if (shared !== pte) yield* entrySet(from, 0, shared);
    return yield* entrySet(to, 0, keepUffdWp(dst, shared));
  }
  if (isHwpoisonEntry(pte)) return yield* entrySet(to, 0, pte);
  const marker = userfaultfdWp(dst) ? pteMarker(pte) : pteMarker(pte) & ~PTE_MARKER_UFFD_WP;
  return marker !== 0 ? yield* entrySet(to, 0, mkPteMarker(marker)) : 0;
}

/** A child that has no userfaultfd for a VMA is not write-protected by one. */
const keepUffdWp = (dst: VmaRef, pte: number): number => (userfaultfdWp(dst) ? pte : pteClear(pte, PTE_UFFD_WP));
