/**
 * What happens to the huge pages of a VMA as a whole: unmapping, fork, mprotect, mremap (mm/hugetlb.c: __unmap_hugepage_range, copy_hugetlb_page_range,
 * hugetlb_change_protection, move_hugetlb_page_tables), and the VMA's own life (hugetlb_vm_op_open, _close, _split).
 *
 * Invariants: who empties or changes entries of a mapping holds the VMA's lock and i_mmap_rwsem for writing, so that a table that others share can be left; a private
 * page that is unmapped while its VMA lives on gives its reservation back with it; a VMA that goes gives up the reservations that it did not use.
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, clearFlags, downWrite, get, set, setFlags, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundOrder, folioMapcount } from '../memory/folio.ts';
import { copyFrames } from '../memory/huge-frames.ts';
import { PG_HUGETLB_RESTORE_RESERVE, PG_UPTODATE } from '../memory/page-flags.ts';
import { PTE_DIRTY, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { changedMigration, isUffdWpMarker, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE, uffdWpPte } from './change-protection.ts';
import { isCowMapping } from './copy-page-range.ts';
import { folioNeedsCowForDma } from './dma-pinned.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { hugeBits, hugePteLockptr, hugePteOffset, hugePtepGet, hugePtepGetAndClear, nextTable, setHugePteAt, tableSpan } from './huge-leaf.ts';
import {
  hugetlbVmaLockAlloc,
  hugetlbVmaLockFree,
  hugetlbVmaLockRead,
  hugetlbVmaLockWrite,
  hugetlbVmaUnlockRead,
  hugetlbVmaUnlockWrite,
  hugetlbVmaUnlockWriteFree,
} from './hugetlb-lock.ts';
import { allocHugetlbFolio, hugetlb, hugetlbAcctMemory } from './hugetlb-pool.ts';
import {
  HPAGE_RESV_OWNER,
  HPAGE_RESV_UNMAPPED,
  hstateVma,
  hugecacheOffset,
  hugePages,
  inodeOfVma,
  isVmaResvSet,
  privateRef,
  regionCount,
  resvMapPut,
  setVmaResvFlags,
  vmaAddReservation,
  vmaNeedsReservation,
  vmaPrivateLock,
  vmaResvMap,
} from './hugetlb-resv.ts';
import { hugetlbAddFileRmap, hugetlbAddNewAnonRmap, hugetlbCountAdd, hugetlbRemoveRmap, hugetlbTryDupAnonRmap, makeHugePte } from './hugetlb-rmap.ts';
import { hugePmdUnshare, hugePteAllocVma, hugetlbPmdShared } from './hugetlb-share.ts';
import { inodeSubpool, subpoolPutPages } from './hugetlb-subpool.ts';
import { Hstate, type HstateRef, Hugetlb, ResvMap } from './hugetlb-types.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { isMigrationEntry, migrationMkReadable } from './migration-entry.ts';
import { tlbFinish, tlbFlushTlb, tlbGather, tlbRemoveEntry, tlbRemovePage } from './mmu-gather.ts';
import { mkPteMarker, PTE_MARKER_UFFD_WP, pteClear, pteModify, ptePage, ptePresent, pteSet, pteWrprotect } from './pgtable.ts';
import { folioGet, folioMarkDirty, folioPut, folioTestAnon } from './swap.ts';
import { type GatherRef, Inode, Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { uffdWithoutEventRemap, userfaultfdWp } from './userfaultfd-vma.ts';
import { VM_MAYSHARE } from './vm-flags.ts';
import { vmaPageProt } from './vm-prot.ts';

// --- the VMA's life ---------------------------------------------------------------------------------------------------------

/** hugetlb_vm_op_open: a copy of a private VMA has a part in its map of reservations; one of a shared VMA gets a lock of its own. */
export function* hugetlbVmOpen(vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & VM_MAYSHARE) !== 0) {
    set(vma, Vma.privateData, 0);
    // Without memory for it the mapping works, but shares no tables.
    yield* hugetlbVmaLockAlloc(vma);
    return 0;
  }
  if (privateRef(vma) !== 0 && isVmaResvSet(vma, HPAGE_RESV_OWNER)) yield* atomicAdd(privateRef(vma), ResvMap.refs, 1);
  return 0;
}

/** hugetlb_vm_op_close: the VMA goes, with the reservations that it did not use. */
export function* hugetlbVmClose(vma: VmaRef): Op<number> {
  yield* hugetlbVmaLockFree(vma);
  if ((get(vma, Vma.flags) & VM_MAYSHARE) !== 0 || privateRef(vma) === 0 || !isVmaResvSet(vma, HPAGE_RESV_OWNER)) return 0;
  const h = hstateVma(vma);
  const map = vmaResvMap(vma);
  const start = hugecacheOffset(h, vma, get(vma, Vma.start));
  const end = hugecacheOffset(h, vma, get(vma, Vma.end));
  const unused = end - start - (yield* regionCount(map, start, end));
  if (unused !== 0) {
    const given = yield* subpoolPutPages(inodeSubpool(inodeOfVma(vma)), unused);
    yield* hugetlbAcctMemory(h, -given);
  }
  return yield* resvMapPut(map);
}

/** hugetlb_vm_op_split: VMAs are cut between huge pages only. 0 or −EINVAL. */
export const hugetlbMaySplit = (vma: VmaRef, vpn: Vpn): number => (vpn % hugePages(hstateVma(vma)) !== 0 ? -EINVAL : 0);

/** hugetlb_split: before a VMA is cut inside what a shared table maps, the table is left: neither part could share it. Rmap's locks are held. */
export function* hugetlbSplit(vma: VmaRef, vpn: Vpn): Op<number> {
  const h = hstateVma(vma);
  const span = tableSpan(h);
  if (!Number.isFinite(span) || vpn % span === 0) return 0;
  const base = Math.floor(vpn / span) * span;
  return base >= get(vma, Vma.start) && base + span <= get(vma, Vma.end) ? yield* hugetlbUnshareAt(vma, h, base) : 0;
}

function* hugetlbUnshareAt(vma: VmaRef, h: HstateRef, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const ptep = yield* hugePteOffset(mm, vpn, h);
  if (ptep === 0 || !hugetlbPmdShared(h, ptep)) return 0;
  const tlb = yield* tlbGather(mm);
  const lock = hugePteLockptr(h, mm, ptep);
  yield* spinLock(lock);
  yield* hugePmdUnshare(h, mm, vpn, ptep);
  yield* spinUnlock(lock);
  tlbRemoveTable(tlb, h, vpn);
  return yield* tlbFinish(tlb);
}

/** hugetlb_dup_vma_private: the copy of a VMA for a child has no reservations, and no lock yet. */
export function hugetlbDupVmaPrivate(vma: VmaRef): void {
  set(vma, Vma.privateData, 0);
}

/**
 * clear_vma_resv_huge_pages: mremap() has moved a VMA, whose copy has the map of reservations now. The whole of the old VMA loses map and ownership, also what of it
 * stays behind when only a part was moved: the reservations there are never given back (docs/findings.md).
 */
export function* clearVmaResvHugePages(vma: VmaRef): Op<number> {
  if ((get(vma, Vma.flags) & VM_MAYSHARE) === 0 && privateRef(vma) !== 0 && isVmaResvSet(vma, HPAGE_RESV_OWNER)) yield* resvMapPut(privateRef(vma));
  if ((get(vma, Vma.flags) & VM_MAYSHARE) === 0) set(vma, Vma.privateData, 0);
  return 0;
}

/** tlb_flush_pmd_range of a table that was left: all that it mapped is to be flushed, not only where it was met. */
function tlbRemoveTable(tlb: GatherRef, h: HstateRef, vpn: Vpn): void {
  if (switched(SW.hugetlbUnshareFlushesPage)) tlbRemoveEntry(tlb, vpn, vpn + hugePages(h));
  else tlbRemoveEntry(tlb, nextTable(h, vpn) - tableSpan(h), nextTable(h, vpn));
}

// --- unmapping --------------------------------------------------------------------------------------------------------------

/** hugetlb_zap_begin: keeps faults and walks out of a VMA that is about to be unmapped. */
export function* hugetlbZapBegin(vma: VmaRef): Op<number> {
  yield* hugetlbVmaLockWrite(vma);
  return yield* downWrite(inodeOfVma(vma) + Inode.iMmapLock);
}

/** hugetlb_zap_end. `last`: the VMA goes, nobody may come to share its tables again. */
export function* hugetlbZapEnd(vma: VmaRef, last: boolean): Op<number> {
  const inode = inodeOfVma(vma);
  if (last) yield* hugetlbVmaUnlockWriteFree(vma);
  else yield* hugetlbVmaUnlockWrite(vma);
  return yield* upWrite(inode + Inode.iMmapLock);
}

/**
 * The entry of a page in a table of the address space's own, its lock held; 0 where there is no table, −1 where others shared it: then the address space has
 * none any longer, and the gather knows.
 */
function* lockOwnEntry(tlb: GatherRef, h: HstateRef, mm: number, vpn: Vpn): Op<number> {
  const ptep = yield* hugePteOffset(mm, vpn, h);
  if (ptep === 0) return 0;
  const lock = hugePteLockptr(h, mm, ptep);
  yield* spinLock(lock);
  if ((yield* hugePmdUnshare(h, mm, vpn, ptep)) === 0) return ptep;
  yield* spinUnlock(lock);
  tlbRemoveTable(tlb, h, vpn);
  return -1;
}

/**
 * __unmap_hugepage_range: what a VMA maps in [start, end), of whole huge pages. With `only` (a page, else 0) that page alone, of which the VMA then knows that it
 * was taken away. Needs the locks of hugetlbZapBegin().
 */
export function* unmapHugepageRange(tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn, only: Page, dropMarkers: number): Op<number> {
  const h = hstateVma(vma);
  const mm = get(vma, Vma.mm);
  const size = hugePages(h);
  let vpn = start;
  let unshared = false;
  while (vpn < end) {
    const ptep = yield* lockOwnEntry(tlb, h, mm, vpn);
    if (ptep <= 0) {
      if (ptep < 0) unshared = true;
      vpn = nextTable(h, vpn);
      continue;
    }
    const lock = hugePteLockptr(h, mm, ptep);
    const pte = yield* hugePtepGet(h, ptep);
    if (!ptePresent(pte)) {
      if (pte !== 0 && (dropMarkers !== 0 || !isUffdWpMarker(pte))) yield* hugePtepGetAndClear(h, ptep);
      // Linux 6.18 goes on counting it (docs/findings.md).
      if (isMigrationEntry(pte)) yield* hugetlbCountAdd(h, mm, -1);
      yield* spinUnlock(lock);
    } else if (only !== 0 && ptePage(pte) !== only) yield* spinUnlock(lock);
    else {
      if (only !== 0) setVmaResvFlags(vma, HPAGE_RESV_UNMAPPED);
      yield* zapHugePage(tlb, vma, h, vpn, ptep, lock, dropMarkers);
      if (only !== 0) break;
    }
    vpn += size;
  }
  if (unshared) yield* tlbFlushTlb(tlb);
  return 0;
}

/** One present page of __unmap_hugepage_range(); releases the entry's lock. */
function* zapHugePage(tlb: GatherRef, vma: VmaRef, h: HstateRef, vpn: Vpn, ptep: number, lock: number, dropMarkers: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const pte = yield* hugePtepGetAndClear(h, ptep);
  // Write protection outlives the entry, as a marker.
  if (dropMarkers === 0 && (pte & PTE_UFFD_WP) !== 0) yield* setHugePteAt(h, ptep, mkPteMarker(PTE_MARKER_UFFD_WP));
  const page = ptePage(pte);
  tlbRemoveEntry(tlb, vpn, vpn + hugePages(h));
  if ((pte & PTE_DIRTY) !== 0) yield* folioMarkDirty(page);
  yield* hugetlbCountAdd(h, mm, -1);
  yield* hugetlbRemoveRmap(page, vma);
  yield* spinUnlock(lock);
  // A private page gives its reservation back, lest somebody else take it: whoever owns the mapping is sure of a page. Not where the page leaves the pool.
  let adjust = false;
  yield* spinLock(hugetlb() + Hugetlb.lock);
  const restores = !switched(SW.hugetlbZapNoRestore) && (!switched(SW.hugetlbZapRestoresLast) || folioMapcount(page) === 0);
  if (get(h, Hstate.surplus) === 0 && vmaPrivateLock(vma) && folioTestAnon(page) && restores) {
    yield* setFlags(page, PG_HUGETLB_RESTORE_RESERVE);
    adjust = true;
  }
  yield* spinUnlock(hugetlb() + Hugetlb.lock);
  if (adjust) {
    const needed = yield* vmaNeedsReservation(h, vma, vpn);
    if (needed < 0) yield* clearFlags(page, PG_HUGETLB_RESTORE_RESERVE);
    else if (needed > 0) yield* vmaAddReservation(h, vma, vpn);
  }
  return yield* tlbRemovePage(tlb, page);
}

/** unmap_ref_private: children lose a page, so that the owner, for whom the pool has none, can write to it. */
export function* unmapRefPrivate(h: HstateRef, vma: VmaRef, page: Page, vpn: Vpn): Op<number> {
  const inode = inodeOfVma(vma);
  const index = vpn - get(vma, Vma.start) + get(vma, Vma.pgoff);
  yield* downWrite(inode + Inode.iMmapLock);
  for (let other = vmaIntervalTreeIterFirst(inode + Inode.iMmap, index, index); other !== 0; other = vmaIntervalTreeIterNext(other, index, index)) {
    if (other === vma || (get(other, Vma.flags) & VM_MAYSHARE) !== 0 || isVmaResvSet(other, HPAGE_RESV_OWNER)) continue;
    const tlb = yield* tlbGather(get(other, Vma.mm));
    yield* unmapHugepageRange(tlb, other, vpn, vpn + hugePages(h), page, 0);
    yield* tlbFinish(tlb);
  }
  return yield* upWrite(inode + Inode.iMmapLock);
}

// --- fork -------------------------------------------------------------------------------------------------------------------

/** copy_hugetlb_page_range: the child's entries. 0 or −ENOMEM, −ENOSPC. */
export function* copyHugetlbPageRange(dst: VmaRef, src: VmaRef): Op<number> {
  const h = hstateVma(src);
  const mm = get(src, Vma.mm);
  const cow = isCowMapping(get(src, Vma.flags));
  if (cow) yield* atomicAdd(mm, Mm.writeProtectSeq, 1);
  else yield* hugetlbVmaLockRead(src);
  let error = 0;
  let vpn = get(src, Vma.start);
  while (vpn < get(src, Vma.end) && error === 0) {
    const from = yield* hugePteOffset(mm, vpn, h);
    if (from === 0) {
      vpn = nextTable(h, vpn);
      continue;
    }
    const to = yield* hugePteAllocVma(h, dst, vpn);
    if (to === 0) error = -ENOMEM;
    else if (hugetlbPmdShared(h, to)) vpn = nextTable(h, vpn);
    else {
      error = yield* copyHugePage(h, dst, src, vpn, to, from);
      vpn += hugePages(h);
    }
  }
  if (cow) yield* atomicAdd(mm, Mm.writeProtectSeq, 1);
  else yield* hugetlbVmaUnlockRead(src);
  return error;
}

/** One page of copy_hugetlb_page_range(). */
function* copyHugePage(h: HstateRef, dst: VmaRef, src: VmaRef, vpn: Vpn, to: number, from: number): Op<number> {
  const toLock = hugePteLockptr(h, get(dst, Vma.mm), to);
  const fromLock = hugePteLockptr(h, get(src, Vma.mm), from);
  yield* spinLock(toLock);
  yield* spinLock(fromLock);
  for (;;) {
    const pte = yield* hugePtepGet(h, from);
    let copied = pte;
    if (ptePresent(pte)) {
      const page = ptePage(pte);
      yield* folioGet(page);
      if (!folioTestAnon(page)) yield* hugetlbAddFileRmap(page, dst);
      else if ((yield* hugetlbTryDupAnonRmap(page, dst, yield* folioNeedsCowForDma(src, page))) !== 0) {
        yield* spinUnlock(fromLock);
        yield* spinUnlock(toLock);
        const fresh = yield* allocHugetlbFolio(dst, vpn, 0);
        if (fresh < 0) {
          yield* folioPut(page);
          return fresh;
        }
        copyFrames(fresh, page, compoundOrder(fresh));
        yield* setFlags(fresh, PG_UPTODATE);
        yield* folioPut(page);
        yield* spinLock(toLock);
        yield* spinLock(fromLock);
        if ((yield* hugePtepGet(h, from)) !== pte) {
          yield* folioPut(fresh);
          continue;
        }
        yield* hugetlbAddNewAnonRmap(fresh, dst, vpn);
        yield* setHugePteAt(h, to, makeHugePte(h, dst, fresh, true));
        yield* hugetlbCountAdd(h, get(dst, Vma.mm), 1);
        break;
      }
      if (isCowMapping(get(src, Vma.flags))) {
        copied = pteWrprotect(copied);
        if (copied !== pte) yield* setHugePteAt(h, from, copied);
      }
      yield* setHugePteAt(h, to, userfaultfdWp(dst) ? copied : pteClear(copied, PTE_UFFD_WP));
      yield* hugetlbCountAdd(h, get(dst, Vma.mm), 1);
    } else if (pte !== 0 && (userfaultfdWp(dst) || !isUffdWpMarker(pte))) {
      copied = isMigrationEntry(pte) && isCowMapping(get(src, Vma.flags)) ? migrationMkReadable(pte) : pte;
      if (copied !== pte) yield* setHugePteAt(h, from, copied);
      // Linux 6.18 does not count the page for the child (docs/findings.md).
      if (isMigrationEntry(pte)) yield* hugetlbCountAdd(h, get(dst, Vma.mm), 1);
      yield* setHugePteAt(h, to, copied);
    }
    break;
  }
  yield* spinUnlock(fromLock);
  return yield* spinUnlock(toLock);
}

// --- other rights, another place ----------------------------------------------------------------------------------------------

/** hugetlb_change_protection: the entries of [start, end) get the VMA's protection (`flags`: MM_CP_*). The number of base pages that were touched. */
export function* hugetlbChangeProtection(tlb: GatherRef, vma: VmaRef, start: Vpn, end: Vpn, flags: number): Op<number> {
  const h = hstateVma(vma);
  const mm = get(vma, Vma.mm);
  const prot = vmaPageProt(vma);
  let changed = 0;
  let vpn = start;
  yield* hugetlbZapBegin(vma);
  while (vpn < end) {
    const ptep = yield* lockOwnEntry(tlb, h, mm, vpn);
    if (ptep === 0 && (flags & MM_CP_UFFD_WP) !== 0) {
      // A table for the markers.
      if ((yield* hugePteAllocVma(h, vma, vpn)) === 0) {
        yield* hugetlbZapEnd(vma, false);
        return -ENOMEM;
      }
      continue;
    }
    if (ptep <= 0) {
      if (ptep < 0) changed++;
      vpn = nextTable(h, vpn);
      continue;
    }
    const seen = yield* hugePtepGet(h, ptep);
    if (isMigrationEntry(seen)) {
      const entry = changedMigration(seen, flags);
      if (entry !== seen) yield* setHugePteAt(h, ptep, entry);
      changed += entry !== seen ? 1 : 0;
    } else if (ptePresent(seen)) {
      const pte = yield* hugePtepGetAndClear(h, ptep);
      yield* setHugePteAt(h, ptep, uffdWpPte(pteSet(pteModify(pte, prot), hugeBits(h)), flags));
      tlbRemoveEntry(tlb, vpn, vpn + hugePages(h));
      changed++;
    } else if (seen === 0 && (flags & MM_CP_UFFD_WP) !== 0) yield* setHugePteAt(h, ptep, mkPteMarker(PTE_MARKER_UFFD_WP));
    else if ((flags & MM_CP_UFFD_WP_RESOLVE) !== 0 && isUffdWpMarker(seen)) yield* hugePtepGetAndClear(h, ptep);
    yield* spinUnlock(hugePteLockptr(h, mm, ptep));
    vpn += hugePages(h);
  }
  yield* tlbFlushTlb(tlb);
  yield* hugetlbZapEnd(vma, false);
  return changed * hugePages(h);
}

/** move_hugetlb_page_tables: moves what is mapped at [from, from + pages) to `to`. The pages that were gone through: fewer without memory for a table. */
export function* moveHugetlbPageTables(source: VmaRef, target: VmaRef, from: Vpn, to: Vpn, pages: number): Op<number> {
  const h = hstateVma(source);
  const mm = get(source, Vma.mm);
  const tlb = yield* tlbGather(mm);
  let done = 0;
  yield* hugetlbZapBegin(source);
  while (done < pages) {
    const vpn = from + done;
    const ptep = yield* hugePteOffset(mm, vpn, h);
    if (ptep === 0) {
      done = nextTable(h, vpn) - from;
      continue;
    }
    if ((yield* hugePtepGet(h, ptep)) !== 0) {
      if ((yield* hugePmdUnshare(h, mm, vpn, ptep)) !== 0) {
        tlbRemoveTable(tlb, h, vpn);
        done = nextTable(h, vpn) - from;
        continue;
      }
      const at = yield* hugePteAllocVma(h, target, to + done);
      if (at === 0) break;
      yield* moveHugePte(h, mm, ptep, at, uffdWithoutEventRemap(source));
      tlbRemoveEntry(tlb, vpn, vpn + hugePages(h));
    }
    done += hugePages(h);
  }
  yield* tlbFinish(tlb);
  yield* hugetlbZapEnd(source, false);
  return Math.min(done, pages);
}

/** move_huge_pte. */
function* moveHugePte(h: HstateRef, mm: number, from: number, to: number, clearWp: boolean): Op<number> {
  const toLock = hugePteLockptr(h, mm, to);
  const fromLock = hugePteLockptr(h, mm, from);
  yield* spinLock(toLock);
  if (fromLock !== toLock) yield* spinLock(fromLock);
  const pte = yield* hugePtepGetAndClear(h, from);
  if (!clearWp || !isUffdWpMarker(pte)) yield* setHugePteAt(h, to, clearWp && ptePresent(pte) ? pteClear(pte, PTE_UFFD_WP) : pte);
  if (fromLock !== toLock) yield* spinUnlock(fromLock);
  return yield* spinUnlock(toLock);
}
