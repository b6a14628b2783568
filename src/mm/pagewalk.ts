/**
 * Walks over the page tables of a range (mm/pagewalk.c), for whoever looks at entries or changes many. There is no other walker for that.
 *
 * Invariants: with VMAs the mmap lock held for reading is enough to go down the tables: free_pgtables() never frees what a VMA that remains needs, and
 * tables of the lowest level that are empty (PT_RECLAIM) go only with their own lock held, under which they are looked at again. Where no VMA is, a
 * table may go while munmap() holds the lock downgraded: who goes there holds it for writing. Who changes entries and must not meet faults locks the
 * VMAs for writing, since those faults need no mmap lock.
 *
 * Levels are Linux's five, whatever the mode has: 4 pgd, 3 p4d, 2 pud, 1 pmd, 0 pte. Those above the mode's top are folded: they have the entries of the top,
 * which are never empty there, so that a hole is found by the lowest of them; its depth (0 for the top, 4 for a pte) is that of the real level.
 */
import { entryAt, entryEnd, entryStride, tableEnd, tableLevel, topLevel } from '../kernel/arch.ts';
import { assertHeld, HELD_READ, HELD_WRITE } from '../kernel/lockdep.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, get, set, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import type { Ref } from '../memory/struct.ts';
import { PTE_GROUP, PTE_TABLE } from '../pagetable/canonical.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { splitHugePmd, splitHugePud } from './huge-memory.ts';
import { walkHugetlbRange } from './hugetlb-walk.ts';
import { initMm } from './init-mm.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { walkLeafPtes, walkLeafUpper } from './leaf-walk.ts';
import {
  ACTION_AGAIN,
  ACTION_CONTINUE,
  ACTION_SUBTREE,
  freeWalk,
  HAS_HOLE,
  HAS_HUGETLB,
  HAS_INSTALL,
  HAS_LEAF,
  HAS_P4D,
  HAS_PGD,
  HAS_PMD,
  HAS_POST_VMA,
  HAS_PRE_VMA,
  HAS_PTE,
  HAS_PUD,
  HAS_TEST,
  hasBelow,
  MmWalk,
  type MmWalkRef,
  newWalk,
  PGWALK_RDLOCK,
  PGWALK_VMA_RDLOCK_VERIFY,
  PGWALK_WRLOCK,
  PGWALK_WRLOCK_VERIFY,
  type WalkOps,
  walkLock,
} from './mm-walk.ts';
import { mmapAssertLocked, mmapAssertWriteLocked, vmaAssertLocked, vmaAssertWriteLocked, vmaStartWrite } from './mmap-lock.ts';
import { installTable, pteLockptr, ptePresent, tablePage } from './pgtable.ts';
import { pteMap, pteOffsetMapLock, pteUnmap } from './pgtable-generic.ts';
import { Inode, type InodeRef, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_PFNMAP } from './vm-flags.ts';
import { findVma } from './vma-tree.ts';
import { walkEntry, walkHole, walkInstall, walkPostVma, walkPreVma, walkPteEntry, walkTest } from './walk-ops.ts';

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

const hasStep = (walk: MmWalkRef, step: number): boolean => (get(walk, MmWalk.has) & step) !== 0;

/**
 * walk_page_range: what the walk `ops` (WALK_*) does for each entry of [start, end), with holes between VMAs where it has a function for them. 0, −EINVAL
 * for no range, no mm, or a walk that fills entries, or what a function returned that was not 0: that ends the walk.
 */
export function* walkPageRange<T extends string>(mm: MmRef, start: Vpn, end: Vpn, ops: WalkOps<T>, arg: Ref<NoInfer<T>>): Op<number> {
  if (start >= end || mm === 0) return -EINVAL;
  const walk = newWalk(mm, 0, ops, arg, start);
  const error = hasStep(walk, HAS_INSTALL) ? -EINVAL : yield* walkVmas(walk, start, end);
  freeWalk(walk);
  return error;
}

/** walk_page_range_mm_unsafe: the same for the mm's own code, which may fill entries. */
export function* walkPageRangeMm<T extends string>(mm: MmRef, start: Vpn, end: Vpn, ops: WalkOps<T>, arg: Ref<NoInfer<T>>): Op<number> {
  if (start >= end || mm === 0) return -EINVAL;
  const walk = newWalk(mm, 0, ops, arg, start);
  const error = yield* walkVmas(walk, start, end);
  freeWalk(walk);
  return error;
}

function* walkVmas(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const mm = get(walk, MmWalk.mm);
  const lock = walkLock(get(walk, MmWalk.ops), get(walk, MmWalk.arg));
  checkMmLock(mm, lock);
  let from = start;
  let error = 0;
  let vma = findVma(mm, from);
  while (from < end && error === 0) {
    let next = end;
    if (vma === 0 || from < get(vma, Vma.start)) {
      if (vma !== 0) next = Math.min(end, get(vma, Vma.start));
      set(walk, MmWalk.vma, 0);
      if (hasStep(walk, HAS_HOLE)) error = yield* walkHole(walk, from, next, -1);
    } else {
      yield* lockVma(vma, lock);
      set(walk, MmWalk.vma, vma);
      next = Math.min(end, get(vma, Vma.end));
      error = yield* walkPageTest(walk, from, next);
      // What is above 0 passes the VMA over and is nobody else's concern.
      if (error > 0) error = 0;
      else if (error === 0) error = yield* walkVma(walk, from, next);
      vma = findVma(mm, next);
    }
    from = next;
  }
  return error;
}

/** walk_page_vma: all of a VMA. 0 or what a function returned. */
export function* walkPageVma<T extends string>(vma: VmaRef, ops: WalkOps<T>, arg: Ref<NoInfer<T>>): Op<number> {
  const mm = get(vma, Vma.mm);
  if (mm === 0) return -EINVAL;
  checkMmLock(mm, walkLock(ops, arg));
  yield* lockVma(vma, walkLock(ops, arg));
  const walk = newWalk(mm, vma, ops, arg, get(vma, Vma.start));
  let error = hasStep(walk, HAS_INSTALL) ? -EINVAL : yield* walkPageTest(walk, get(vma, Vma.start), get(vma, Vma.end));
  if (error > 0) error = 0;
  else if (error === 0) error = yield* walkVma(walk, get(vma, Vma.start), get(vma, Vma.end));
  freeWalk(walk);
  return error;
}

/** walk_page_range_vma: [start, end), which lies in the VMA and is not asked about (walk_page_test); −EINVAL when it does not. */
export function* walkPageRangeVma<T extends string>(vma: VmaRef, start: Vpn, end: Vpn, ops: WalkOps<T>, arg: Ref<NoInfer<T>>): Op<number> {
  const mm = get(vma, Vma.mm);
  if (start >= end || mm === 0) return -EINVAL;
  if (start < get(vma, Vma.start) || end > get(vma, Vma.end)) return -EINVAL;
  checkMmLock(mm, walkLock(ops, arg));
  yield* lockVma(vma, walkLock(ops, arg));
  const walk = newWalk(mm, vma, ops, arg, start);
  const error = hasStep(walk, HAS_INSTALL) ? -EINVAL : yield* walkVma(walk, start, end);
  freeWalk(walk);
  return error;
}

/**
 * walk_page_mapping: pages [first, first + count) of a file, wherever they are mapped. Needs the file's i_mmap_rwsem, which keeps VMAs and tables; no mmap lock, so
 * that flags of a VMA may change meanwhile. A test that passes a VMA over ends the walk.
 */
export function* walkPageMapping<T extends string>(inode: InodeRef, first: number, count: number, ops: WalkOps<T>, arg: Ref<NoInfer<T>>): Op<number> {
  assertHeld(inode + Inode.iMmapLock, HELD_READ, HELD_WRITE);
  const walk = newWalk(0, 0, ops, arg, 0);
  const last = first + count - 1;
  let error = hasStep(walk, HAS_INSTALL) ? -EINVAL : 0;
  let vma = error === 0 ? vmaIntervalTreeIterFirst(inode + Inode.iMmap, first, last) : 0;
  while (vma !== 0 && error === 0) {
    const offset = get(vma, Vma.start) - get(vma, Vma.pgoff);
    const start = Math.max(first + offset, get(vma, Vma.start));
    set(walk, MmWalk.vma, vma);
    set(walk, MmWalk.mm, get(vma, Vma.mm));
    set(walk, MmWalk.start, start);
    error = yield* walkPageTest(walk, get(vma, Vma.start), get(vma, Vma.end));
    if (error === 0) error = yield* walkVma(walk, start, Math.min(last + 1 + offset, get(vma, Vma.end)));
    else if (error > 0) {
      error = 0;
      break;
    }
    vma = vmaIntervalTreeIterNext(vma, first, last);
  }
  freeWalk(walk);
  return error;
}

/**
 * walk_page_range_novma (walk_page_range_debug and walk_kernel_page_table_range since 6.16): tables of whatever they map, without a look at VMAs. Entries of
 * the lowest level are shown without their lock, since they may be unusual ones. `pgd`: another top table than the mm's, or 0.
 */
export function* walkPageRangeNovma<T extends string>(mm: MmRef, start: Vpn, end: Vpn, ops: WalkOps<T>, pgd: Page, arg: Ref<NoInfer<T>>): Op<number> {
  if (start >= end || mm === 0) return -EINVAL;
  const walk = newWalk(mm, 0, ops, arg, start);
  set(walk, MmWalk.noVma, 1);
  let error = -EINVAL;
  if (!hasStep(walk, HAS_INSTALL)) {
    if (novmaNeedsWrite(mm)) mmapAssertWriteLocked(mm);
    else mmapAssertLocked(mm);
    error = yield* walkPgdRange(walk, pgd !== 0 ? pgd : get(mm, Mm.pgd), start, end);
  }
  freeWalk(walk);
  return error;
}

// --- tables -----------------------------------------------------------------------------------------------------------------

/** walk_page_test: 0 to walk over a part of the walk's VMA, above 0 to pass it over, or an error. */
function* walkPageTest(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  if (hasStep(walk, HAS_TEST)) return walkTest(walk, start, end);
  if ((get(get(walk, MmWalk.vma), Vma.flags) & VM_PFNMAP) === 0) return 0;
  // Nothing there has a struct page; who wants to hear of every address hears of a hole.
  const error = hasStep(walk, HAS_HOLE) ? yield* walkHole(walk, start, end, -1) : 0;
  return error !== 0 ? error : 1;
}

/** __walk_page_range: a part of the walk's VMA. */
function* walkVma(walk: MmWalkRef, start: Vpn, end: Vpn): Op<number> {
  const huge = (get(get(walk, MmWalk.vma), Vma.flags) & VM_HUGETLB) !== 0;
  if (huge && hasStep(walk, HAS_INSTALL)) return -EINVAL;
  let error = hasStep(walk, HAS_PRE_VMA) ? walkPreVma(walk, start, end) : 0;
  if (error !== 0) return error;
  if (!huge) error = yield* walkPgdRange(walk, get(get(walk, MmWalk.mm), Mm.pgd), start, end);
  else if (hasStep(walk, HAS_HUGETLB)) error = yield* walkHugetlbRange(walk, start, end);
  if (hasStep(walk, HAS_POST_VMA)) walkPostVma(walk);
  return error;
}

/** The function for entries of a level of Linux's. */
const STEPS = [HAS_PTE, HAS_PMD, HAS_PUD, HAS_P4D, HAS_PGD];

/** walk_pgd_range. Folded levels that the walk has no function for are left out. */
function* walkPgdRange(walk: MmWalkRef, pgd: Page, start: Vpn, end: Vpn): Op<number> {
  const has = get(walk, MmWalk.has);
  let level = 4;
  while (level > topLevel && (has & STEPS[level]) === 0 && (hasBelow(has, level) || (has & HAS_INSTALL) !== 0)) level--;
  return yield* walkTable(walk, pgd, level, start, end);
}

/** walk_pgd_range, walk_p4d_range, walk_pud_range and walk_pmd_range: the entries of a table, as those of a level of Linux's. */
function* walkTable(walk: MmWalkRef, table: Page, linux: number, start: Vpn, end: Vpn): Op<number> {
  const has = get(walk, MmWalk.has);
  const level = Math.min(linux, topLevel);
  const folded = linux > topLevel;
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    let entry = yield* entryGet(at, level);
    let error = 0;
    if (entry === 0 && !folded) {
      if ((has & HAS_INSTALL) === 0) {
        if ((has & HAS_HOLE) !== 0) error = yield* walkHole(walk, vpn, next, level === topLevel ? 0 : 4 - level);
        if (error !== 0) return error;
        vpn = next;
        continue;
      }
      entry = yield* installTable(get(walk, MmWalk.mm), table, at, level);
      if (entry === 0) return -ENOMEM;
    }
    set(walk, MmWalk.action, ACTION_SUBTREE);
    set(walk, MmWalk.next, next);
    if ((has & STEPS[linux]) !== 0) error = yield* walkEntry(walk, STEPS[linux], at, entry, vpn, next);
    if (error !== 0) return error;
    // Functions for pgd and p4d entries say nothing of what comes next.
    if (linux > 2 || get(walk, MmWalk.action) === ACTION_SUBTREE) {
      error = yield* walkBelow(walk, table, linux, at, entry, vpn, next, end);
      if (error !== 0) return error;
    }
    if (get(walk, MmWalk.action) !== ACTION_AGAIN) vpn = get(walk, MmWalk.next);
    else set(walk, MmWalk.action, ACTION_SUBTREE);
  }
  return 0;
}

/** What lies below an entry. Where it has become another one the walk's action is ACTION_AGAIN; a group of leaves is done up to MmWalk.next. */
function* walkBelow(walk: MmWalkRef, table: Page, linux: number, at: number, seen: number, vpn: Vpn, next: Vpn, end: Vpn): Op<number> {
  const has = get(walk, MmWalk.has);
  const installs = (has & HAS_INSTALL) !== 0;
  const handles = hasBelow(has, linux);
  if (!handles && !installs) return 0;
  let error = 0;
  if (linux > topLevel) error = yield* walkTable(walk, table, linux - 1, vpn, next);
  else {
    let entry = seen;
    if ((entry & PTE_TABLE) === 0) {
      if ((has & HAS_LEAF) !== 0) return yield* walkLeafUpper(walk, table, at, linux, entry, vpn, end);
      // Who only fills empty entries leaves a huge one alone; one that is not present has nothing below.
      if (!handles || !ptePresent(entry) || get(walk, MmWalk.vma) === 0) return 0;
      if (linux === 1) yield* splitHugePmd(get(walk, MmWalk.vma), at, vpn);
      else {
        yield* splitHugePud(get(walk, MmWalk.vma), table, at, vpn);
        entry = yield* entryGet(at, linux);
        if ((entry & PTE_TABLE) === 0) {
          set(walk, MmWalk.action, ACTION_AGAIN);
          return 0;
        }
      }
    }
    if ((entry & PTE_GROUP) !== 0) return yield* walkHugepdRange(walk, tablePage(entry), tableLevel(entry, linux), vpn, end);
    if (linux === 1) return yield* walkPteRange(walk, at, vpn, next, has & HAS_LEAF);
    error = yield* walkTable(walk, tablePage(entry), linux - 1, vpn, next);
  }
  // What was said of entries below is theirs.
  set(walk, MmWalk.action, ACTION_CONTINUE);
  set(walk, MmWalk.next, next);
  return error;
}

/** walk_hugepd_range: the entries of a huge page directory, as leaves of the level that they are of. It goes on behind all that the directory maps. */
function* walkHugepdRange(walk: MmWalkRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  const last = tableEnd(start, end, level);
  let vpn = start;
  let error = 0;
  while (vpn < last && error === 0) {
    const next = entryEnd(vpn, last, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    if (entry !== 0 && (get(walk, MmWalk.has) & HAS_LEAF) !== 0) error = yield* walkLeafUpper(walk, table, at, level, entry, vpn, next);
    vpn = next;
  }
  set(walk, MmWalk.action, ACTION_CONTINUE);
  set(walk, MmWalk.next, last);
  return error;
}

/** walk_pte_range; by leaves where `leaves` is not 0. Without a table the action is ACTION_AGAIN. */
function* walkPteRange(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn, leaves: number): Op<number> {
  if (get(walk, MmWalk.noVma) === 0) {
    const ptep = yield* pteOffsetMapLock(pmdp, start);
    if (ptep === 0) {
      set(walk, MmWalk.action, ACTION_AGAIN);
      return 0;
    }
    const lock = pteLockptr(ptep);
    const error = leaves !== 0 ? yield* walkLeafPtes(walk, ptep, start, end) : yield* walkPtes(walk, ptep, start, end);
    yield* spinUnlock(lock);
    return error;
  }
  const users = usersTable(walk, start);
  if (users) yield* pteMap();
  const pmd = yield* entryGet(pmdp, 1);
  let error = 0;
  if ((pmd & PTE_TABLE) !== 0) {
    const first = entryAt(tablePage(pmd), 0, start);
    error = leaves !== 0 ? yield* walkLeafPtes(walk, first, start, end) : yield* walkPtes(walk, first, start, end);
  } else set(walk, MmWalk.action, ACTION_AGAIN);
  if (users) yield* pteUnmap();
  return error;
}

/** Whether a table is a user's (pte_offset_map), and not the kernel's (pte_offset_kernel), which goes without a grace period. */
const usersTable = (walk: MmWalkRef, vpn: Vpn): boolean => {
  const mm = get(walk, MmWalk.mm);
  return mm !== initMm() && vpn < get(mm, Mm.taskSize);
};

/** walk_pte_range_inner. */
function* walkPtes(walk: MmWalkRef, first: number, start: Vpn, end: Vpn): Op<number> {
  const has = get(walk, MmWalk.has);
  let ptep = first;
  for (let vpn = start; vpn < end; vpn++) {
    let error = 0;
    if ((has & HAS_INSTALL) !== 0 && (yield* entryGet(ptep, 0)) === 0) {
      const pte = walkInstall(walk, vpn);
      if (pte > 0) yield* entrySet(ptep, 0, pte);
      else error = pte;
    } else if ((has & HAS_PTE) !== 0) error = yield* walkPteEntry(walk, ptep, vpn);
    if (error !== 0) return error;
    ptep += entryStride(0);
  }
  return 0;
}
