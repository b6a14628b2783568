/**
 * Moving entries from one range to another (mm/mremap.c: move_page_tables, move_ptes, move_normal_pmd, move_normal_pud).
 *
 * Invariants: the mmap lock is held for writing and nothing is mapped at the new place, so it is only the locks of both tables (and, where rmap could visit the
 * new VMA before the old, those of rmap) that keep walks from missing an entry at both; what was present is flushed at the old place before the old
 * lock is dropped. Whole tables move by the entry that leads to them.
 */
import { codec, entryEnd, entryStride, pageOfEntry, spanPages, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { downWrite, entryGet, entrySet, flushTlbRange, get, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { tableLock } from '../kernel/table-lock.ts';
import { PTE_SOFT_DIRTY, PTE_TABLE, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { contPtes, getAndClearRun, isWholeRun, ptepGetAndClear, setPteAt, setPtes } from './contpte.ts';
import { EAGAIN } from './errno.ts';
import { moveHugePmd, pmdTransHuge, splitHugePmd } from './huge-memory.ts';
import { moveHugetlbPageTables } from './hugetlb-vma.ts';
import { moveMigrationPmd, splitMigrationPmd } from './migrate-pmd.ts';
import { isMigrationEntry } from './migration-entry.ts';
import { entryAlloc, entryPointer, PTE_MARKER_UFFD_WP, pteAlloc, pteClear, pteLockptr, pteMarker, ptePresent, pteSet } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { anonVmaLock } from './rmap.ts';
import { File, Inode, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { uffdWithoutEventRemap } from './userfaultfd-vma.ts';
import { VM_HUGETLB } from './vm-flags.ts';
import { findVmaIntersection } from './vma-tree.ts';

const PMD = 1;
const PUD = 2;

/** HAVE_MOVE_PMD, HAVE_MOVE_PUD: architectures where a table may be hung elsewhere (arm64, 64-bit powerpc, riscv, x86). */
function movesTables(): boolean {
  const family = codec.mode.family;
  return family === 'x86' || family === 'arm64' || family === 'riscv' || (family === 'powerpc' && codec.mode.vaBits > 32);
}

/** pmd_lockptr, pud_lockptr: the lock of an entry that leads to a table. */
const upperLock = (mm: MmRef, at: number, level: number): number => (level < topLevel ? tableLock(pageOfEntry(at, level)) : mm + Mm.pageTableLock);

/**
 * move_page_tables: moves what is mapped at [from, from + pages), in VMA `source`, to `to`, in VMA `target`. The pages that were gone through: fewer than
 * asked when a table could not be made.
 */
export function* movePageTables(source: VmaRef, from: Vpn, target: VmaRef, to: Vpn, pages: number, needRmapLocks: number): Op<number> {
  if ((get(source, Vma.flags) & VM_HUGETLB) !== 0) return yield* moveHugetlbPageTables(source, target, from, to, pages);
  const end = from + pages;
  const distance = to - from;
  let vpn = from - alignable(source, from, target, to, pages);
  while (vpn < end) {
    const next = yield* moveExtent(source, target, vpn, vpn + distance, end, needRmapLocks);
    if (next === 0) break;
    vpn = next;
  }
  return vpn < from ? 0 : vpn - from;
}

/** get_extent: pages up to the next end of an entry's span, at the old place or the new. */
function extentOf(vpn: Vpn, to: Vpn, end: Vpn, level: number): number {
  const left = entryEnd(vpn, end, level) - vpn;
  const right = entryEnd(to, to + left, level) - to;
  return left < right ? left : right;
}

/**
 * try_realign_addr: pages by which a move may begin earlier, where nothing is mapped, so that it begins with a whole table: both places lie alike in their
 * tables and begin their VMAs, and the range reaches the table's end.
 */
function alignable(source: VmaRef, from: Vpn, target: VmaRef, to: Vpn, pages: number): number {
  const span = spanPages(PMD);
  const back = from % span;
  if (back === 0 || to % span !== back || pages < span - back) return 0;
  if (get(source, Vma.start) !== from || get(target, Vma.start) !== to) return 0;
  const mm = get(source, Vma.mm);
  if (findVmaIntersection(mm, from - back, from) !== 0 || findVmaIntersection(mm, to - back, to) !== 0) return 0;
  return back;
}

/** One round of move_page_tables(): moves the part of [vpn, end) that one table holds, as a whole where it can. The page to go on from; 0 without memory. */
function* moveExtent(source: VmaRef, target: VmaRef, vpn: Vpn, to: Vpn, end: Vpn, needRmapLocks: number): Op<number> {
  const mm = get(source, Vma.mm);
  if (topLevel >= PUD) {
    const extent = extentOf(vpn, to, end, PUD);
    const old = yield* entryPointer(mm, vpn, PUD);
    if (old === 0 || ((yield* entryGet(old, PUD)) & PTE_TABLE) === 0) return vpn + extent;
    const fresh = yield* entryAlloc(mm, to, PUD);
    if (fresh === 0) return 0;
    if (extent === spanPages(PUD) && movesTables() && (yield* moveTable(source, vpn, old, fresh, PUD)) !== 0) return vpn + extent;
  }
  const extent = extentOf(vpn, to, end, PMD);
  const old = yield* entryPointer(mm, vpn, PMD);
  let entry = old === 0 ? 0 : yield* entryGet(old, PMD);
  if (entry === 0) return vpn + extent;
  const fresh = yield* entryAlloc(mm, to, PMD);
  if (fresh === 0) return 0;
  if (pmdTransHuge(entry)) {
    if (extent === spanPages(PMD) && (yield* moveHuge(source, vpn, old, fresh, needRmapLocks)) !== 0) return vpn + extent;
    yield* splitHugePmd(source, old, vpn);
    entry = yield* entryGet(old, PMD);
  }
  if (isMigrationEntry(entry)) {
    if (extent === spanPages(PMD) && (yield* moveMigrating(source, old, fresh, needRmapLocks)) !== 0) return vpn + extent;
    yield* splitMigrationPmd(source, old, vpn);
    // A huge entry again, or its parts.
    return vpn;
  }
  if ((entry & PTE_TABLE) === 0) return vpn + extent;
  if (extent === spanPages(PMD) && movesTables() && (yield* moveTable(source, vpn, old, fresh, PMD)) !== 0) return vpn + extent;
  const newPtep = yield* pteAlloc(mm, to);
  if (newPtep === 0) return 0;
  // A table that went while we came: the entry is looked at again.
  return (yield* movePtes(source, target, old, newPtep, vpn, to, extent, needRmapLocks)) === -EAGAIN ? vpn : vpn + extent;
}

/** move_pgt_entry of a huge page: 1 when done. */
function* moveHuge(source: VmaRef, vpn: Vpn, old: number, fresh: number, needRmapLocks: number): Op<number> {
  if (needRmapLocks !== 0) yield* takeRmapLocks(source);
  const moved = yield* moveHugePmd(source, vpn, old, fresh);
  if (needRmapLocks !== 0) yield* dropRmapLocks(source);
  return moved;
}

/** The same of one that is migrated right now. */
function* moveMigrating(source: VmaRef, old: number, fresh: number, needRmapLocks: number): Op<number> {
  if (needRmapLocks !== 0) yield* takeRmapLocks(source);
  const moved = yield* moveMigrationPmd(source, old, fresh);
  if (needRmapLocks !== 0) yield* dropRmapLocks(source);
  return moved;
}

/**
 * move_normal_pmd, move_normal_pud: hangs the table below one entry below another, which must be empty. 1 when done. rmap is always kept out: it would
 * not see the locks of the tables below change.
 */
function* moveTable(source: VmaRef, vpn: Vpn, old: number, fresh: number, level: number): Op<number> {
  const mm = get(source, Vma.mm);
  // Entries that lose their write protection are gone through one by one (uffd_supports_page_table_move).
  if (uffdWithoutEventRemap(source) || (yield* entryGet(fresh, level)) !== 0) return 0;
  const rmapLocks = !switched(SW.moveTableNoRmapLocks);
  const late = switched(SW.moveTableFlushLate);
  if (rmapLocks) yield* takeRmapLocks(source);
  const oldLock = upperLock(mm, old, level);
  const newLock = upperLock(mm, fresh, level);
  yield* spinLock(oldLock);
  if (newLock !== oldLock) yield* spinLock(newLock);
  let moved = 0;
  const entry = yield* entryGet(old, level);
  // It may have become a huge page, or nothing, meanwhile.
  if ((entry & PTE_TABLE) !== 0) {
    yield* entrySet(old, level, 0);
    yield* entrySet(fresh, level, entry);
    if (!late) yield* flushTlbRange(mm, vpn, vpn + spanPages(level));
    moved = 1;
  }
  if (newLock !== oldLock) yield* spinUnlock(newLock);
  yield* spinUnlock(oldLock);
  if (rmapLocks) yield* dropRmapLocks(source);
  if (moved !== 0 && late) yield* flushTlbRange(mm, vpn, vpn + spanPages(level));
  return moved;
}

/**
 * move_ptes: `count` entries of one table. `pmdp` is the entry of the old one; −EAGAIN when it leads to none any longer (the mmap lock does not keep a table that
 * held pages of a file: retract_page_tables). The new one is empty, and of a VMA that nobody finds before it is filled.
 */
function* movePtes(source: VmaRef, target: VmaRef, pmdp: number, newPtep: number, from: Vpn, to: Vpn, count: number, needRmapLocks: number): Op<number> {
  if (needRmapLocks !== 0) yield* takeRmapLocks(source);
  const mm = get(target, Vma.mm);
  const oldPtep = yield* pteOffsetMapLock(pmdp, from);
  if (oldPtep === 0) {
    if (needRmapLocks !== 0) yield* dropRmapLocks(source);
    return -EAGAIN;
  }
  const oldLock = pteLockptr(oldPtep);
  const newLock = pteLockptr(newPtep);
  if (newLock !== oldLock) yield* spinLock(newLock);
  const step = entryStride(0);
  const softDirty = codec.supports & PTE_SOFT_DIRTY;
  const clearWp = uffdWithoutEventRemap(source);
  let flush = 0;
  for (let i = 0; i < count; i++) {
    const seen = yield* entryGet(oldPtep + i * step, 0);
    if (seen === 0) continue;
    if (isWholeRun(seen, from + i, from + count)) {
      // It is one at the new place, too, where that is aligned alike.
      const run = yield* getAndClearRun(oldPtep + i * step);
      yield* setPtes(mm, to + i, newPtep + i * step, clearWp ? pteClear(run, PTE_UFFD_WP) : run, contPtes());
      flush = 1;
      i += contPtes() - 1;
      continue;
    }
    let pte = yield* ptepGetAndClear(mm, from + i, oldPtep + i * step, seen);
    if (ptePresent(pte)) flush = 1;
    if (clearWp) {
      if (pteMarker(pte) === PTE_MARKER_UFFD_WP) continue;
      pte = pteClear(pte, PTE_UFFD_WP);
    }
    // move_soft_dirty_pte: what moved counts as changed for those who watch.
    yield* setPteAt(mm, to + i, newPtep + i * step, ptePresent(pte) || isMigrationEntry(pte) ? pteSet(pte, softDirty) : pte);
  }
  const late = switched(SW.mremapFlushLate);
  if (flush !== 0 && !late) yield* flushTlbRange(mm, from, from + count);
  if (newLock !== oldLock) yield* spinUnlock(newLock);
  yield* spinUnlock(oldLock);
  if (flush !== 0 && late) yield* flushTlbRange(mm, from, from + count);
  return needRmapLocks !== 0 ? yield* dropRmapLocks(source) : 0;
}

/** take_rmap_locks. */
function* takeRmapLocks(vma: VmaRef): Op<number> {
  const file = get(vma, Vma.file);
  if (file !== 0) yield* downWrite(get(file, File.inode) + Inode.iMmapLock);
  if (get(vma, Vma.anonVma) !== 0) yield* downWrite(anonVmaLock(get(vma, Vma.anonVma)));
  return 0;
}

function* dropRmapLocks(vma: VmaRef): Op<number> {
  const file = get(vma, Vma.file);
  if (get(vma, Vma.anonVma) !== 0) yield* upWrite(anonVmaLock(get(vma, Vma.anonVma)));
  if (file !== 0) yield* upWrite(get(file, File.inode) + Inode.iMmapLock);
  return 0;
}
