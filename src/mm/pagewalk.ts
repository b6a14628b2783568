/**
 * Walks over the page tables of a range (mm/pagewalk.c), for whoever looks at entries or changes many.
 *
 * Invariants: with VMAs the mmap lock held for reading is enough to go down the tables: free_pgtables() never frees what a VMA that remains needs, and
 * tables of the lowest level that are empty (PT_RECLAIM) go only with their own lock held, under which they are looked at again. Where no VMA is, a
 * table may go while munmap() holds the lock downgraded: who goes there holds it for writing. Who changes entries and must not meet faults locks the
 * VMAs for writing, since those faults need no mmap lock.
 */
import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, set, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { EINVAL } from './errno.ts';
import { pmdTransHuge } from './huge-memory.ts';
import { walkHugetlbRange } from './hugetlb-walk.ts';
import { initMm } from './init-mm.ts';
import {
  ACTION_AGAIN,
  ACTION_CONTINUE,
  ACTION_SUBTREE,
  allocWalk,
  freeWalk,
  HAS_HOLE,
  HAS_PMD,
  HAS_PTE,
  HAS_TEST,
  MmWalk,
  type MmWalkRef,
  PGWALK_RDLOCK,
  PGWALK_VMA_RDLOCK_VERIFY,
  PGWALK_WRLOCK,
  PGWALK_WRLOCK_VERIFY,
  walkHas,
  walkLock,
} from './mm-walk.ts';
import { mmapAssertLocked, mmapAssertWriteLocked, vmaAssertLocked, vmaAssertWriteLocked, vmaStartWrite } from './mmap-lock.ts';
import { pteLockptr, tablePage } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_PFNMAP } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';
import { walkHole, walkHugeEntry, walkPmdEntry, walkPteEntry, walkTest } from './walk-ops.ts';

// --- locks ------------------------------------------------------------------------------------------------------------------

/** process_mm_walk_lock. @throws {KernelBug} I23 */
function checkMmLock(mm: MmRef, lock: number): void {
  if (lock === PGWALK_RDLOCK) mmapAssertLocked(mm);
  else if (lock !== PGWALK_VMA_RDLOCK_VERIFY) mmapAssertWriteLocked(mm);
}

/** process_vma_walk_lock. @throws {KernelBug} I23 */
function* lockVma(vma: VmaRef, lock: number): Op<number> {
  if ((lock === PGWALK_WRLOCK || lock === PGWALK_WRLOCK_VERIFY) && switched(SW.walkNoVmaLock)) return 0;
  if (lock === PGWALK_WRLOCK) return yield* vmaStartWrite(vma);
  if (lock === PGWALK_WRLOCK_VERIFY) vmaAssertWriteLocked(vma);
  if (lock === PGWALK_VMA_RDLOCK_VERIFY) vmaAssertLocked(vma);
  return 0;
}

/** Whether a walk without VMAs needs the mmap lock for writing: tables of the kernel stay, those of users may go under the lock for reading. */
export const novmaNeedsWrite = (mm: MmRef): boolean => mm !== initMm() && !switched(SW.novmaReadLock);

// --- ranges -----------------------------------------------------------------------------------------------------------------

function newWalk(mm: MmRef, ops: number, start: Vpn, arg: number): MmWalkRef {
  const walk = allocWalk();
  set(walk, MmWalk.ops, ops);
  set(walk, MmWalk.mm, mm);
  set(walk, MmWalk.start, start);
  set(walk, MmWalk.arg, arg);
  return walk;
}

/**
 * walk_page_range: what the walk `ops` (WALK_*) does for each entry of [start, end), with holes between VMAs where it has a function for them. 0, −EINVAL
 * for no range or no mm, or what a function returned that was not 0: that ends the walk.
 */
export function* walkPageRange(mm: MmRef, start: Vpn, end: Vpn, ops: number, arg: number): Op<number> {
  if (start >= end || mm === 0) return -EINVAL;
  checkMmLock(mm, walkLock(ops));
  const walk = newWalk(mm, ops, start, arg);
  const error = yield* walkVmas(walk, start, end);
  freeWalk(walk);
  return error;
}

function* walkVmas(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const ops = get(walk, MmWalk.ops);
  const mm = get(walk, MmWalk.mm);
  let from = start;
  let error = 0;
  let vma = findVma(mm, from);
  while (from < end && error === 0) {
    let next = end;
    if (vma === 0 || from < get(vma, Vma.start)) {
      if (vma !== 0) next = Math.min(end, get(vma, Vma.start));
      set(walk, MmWalk.vma, 0);
      if (walkHas(ops, HAS_HOLE)) error = walkHole(walk, from, next);
    } else {
      yield* lockVma(vma, walkLock(ops));
      set(walk, MmWalk.vma, vma);
      next = Math.min(end, get(vma, Vma.end));
      error = yield* walkVma(walk, from, next);
      vma = findVma(mm, next);
    }
    from = next;
  }
  return error;
}

/** walk_page_vma: all of a VMA. 0 or what a function returned. */
export function* walkPageVma(vma: VmaRef, ops: number, arg: number): Op<number> {
  const mm = get(vma, Vma.mm);
  if (mm === 0) return -EINVAL;
  checkMmLock(mm, walkLock(ops));
  yield* lockVma(vma, walkLock(ops));
  const walk = newWalk(mm, ops, get(vma, Vma.start), arg);
  set(walk, MmWalk.vma, vma);
  const error = yield* walkVma(walk, get(vma, Vma.start), get(vma, Vma.end));
  freeWalk(walk);
  return error;
}

/** walk_page_range_vma: [start, end), which lies in the VMA and is not asked about (walk_page_test); −EINVAL when it does not. */
export function* walkPageRangeVma(vma: VmaRef, start: Vpn, end: Vpn, ops: number, arg: number): Op<number> {
  const mm = get(vma, Vma.mm);
  if (start >= end || mm === 0) return -EINVAL;
  if (start < get(vma, Vma.start) || end > get(vma, Vma.end)) return -EINVAL;
  checkMmLock(mm, walkLock(ops));
  yield* lockVma(vma, walkLock(ops));
  const walk = newWalk(mm, ops, start, arg);
  set(walk, MmWalk.vma, vma);
  const error = yield* walkTable(walk, get(mm, Mm.pgd), topLevel, start, end);
  freeWalk(walk);
  return error;
}

/**
 * walk_page_range_novma (walk_page_range_debug and walk_kernel_page_table_range since 6.16): tables of whatever they map, without a look at VMAs. Entries of
 * the lowest level are shown without their lock, since they may be unusual ones. `pgd`: another top table than the mm's, or 0.
 */
export function* walkPageRangeNovma(mm: MmRef, start: Vpn, end: Vpn, ops: number, pgd: Page, arg: number): Op<number> {
  if (start >= end || mm === 0) return -EINVAL;
  if (novmaNeedsWrite(mm)) mmapAssertWriteLocked(mm);
  else mmapAssertLocked(mm);
  const walk = newWalk(mm, ops, start, arg);
  set(walk, MmWalk.noVma, 1);
  const error = yield* walkTable(walk, pgd !== 0 ? pgd : get(mm, Mm.pgd), topLevel, start, end);
  freeWalk(walk);
  return error;
}

// --- tables -----------------------------------------------------------------------------------------------------------------

/** walk_page_test, then __walk_page_range: a part of the walk's VMA. */
function* walkVma(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const ops = get(walk, MmWalk.ops);
  const vma = get(walk, MmWalk.vma);
  if (walkHas(ops, HAS_TEST)) {
    const test = walkTest(walk);
    // What is above 0 passes the VMA over and is nobody else's concern.
    if (test !== 0) return Math.min(test, 0);
  } else if ((get(vma, Vma.flags) & VM_PFNMAP) !== 0) {
    // Nothing there has a struct page; who wants to hear of every address hears of a hole.
    return walkHas(ops, HAS_HOLE) ? Math.min(walkHole(walk, start, end), 0) : 0;
  }
  if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) return yield* walkHugetlbRange(walk, start, end);
  return yield* walkTable(walk, get(get(walk, MmWalk.mm), Mm.pgd), topLevel, start, end);
}

/** walk_pgd_range and what lies below, by level. */
function* walkTable(walk: MmWalkRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  const ops = get(walk, MmWalk.ops);
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    let error = 0;
    if (entry === 0) {
      if (walkHas(ops, HAS_HOLE)) error = walkHole(walk, vpn, next);
    } else if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) error = yield* walkTable(walk, tablePage(entry), level - 1, vpn, next);
      else {
        error = yield* walkPmd(walk, at, vpn, next);
        // It went while we came: the entry is looked at again.
        if (error === 0 && get(walk, MmWalk.action) === ACTION_AGAIN) continue;
      }
    } else if (level === 1 && get(walk, MmWalk.noVma) === 0 && pmdTransHuge(entry)) {
      set(walk, MmWalk.action, ACTION_CONTINUE);
      error = yield* walkHugeEntry(walk, at, vpn, next);
      if (error === 0 && get(walk, MmWalk.action) === ACTION_AGAIN) continue;
    }
    if (error !== 0) return error;
    vpn = next;
  }
  return 0;
}

/** The entry of a table of the lowest level: its function, and each entry of the table when the walk has a function for those. */
function* walkPmd(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const ops = get(walk, MmWalk.ops);
  set(walk, MmWalk.action, ACTION_SUBTREE);
  if (walkHas(ops, HAS_PMD)) {
    const error = yield* walkPmdEntry(walk, pmdp, start, end);
    if (error !== 0 || get(walk, MmWalk.action) !== ACTION_SUBTREE) return error;
  }
  if (!walkHas(ops, HAS_PTE)) return 0;
  return yield* walkPteRange(walk, pmdp, start, end);
}

/** walk_pte_range. */
function* walkPteRange(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const noVma = get(walk, MmWalk.noVma) !== 0;
  let ptep = 0;
  if (noVma) {
    const pmd = yield* entryGet(pmdp, 1);
    if ((pmd & PTE_TABLE) !== 0) ptep = entryAt(tablePage(pmd), 0, start);
  } else ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) {
    set(walk, MmWalk.action, ACTION_AGAIN);
    return 0;
  }
  const lock = pteLockptr(ptep);
  let error = 0;
  for (let vpn = start; vpn < end && error === 0; vpn++) {
    error = yield* walkPteEntry(walk, ptep, vpn);
    ptep += entryStride(0);
  }
  if (!noVma) yield* spinUnlock(lock);
  set(walk, MmWalk.action, ACTION_CONTINUE);
  return error;
}
