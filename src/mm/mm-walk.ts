/**
 * A walk over page tables (include/linux/pagewalk.h: struct mm_walk, in Linux an object on the stack) and what is known of each kind of walk.
 *
 * Linux has a table of function pointers for each (struct mm_walk_ops); here a walk is a number, WALK_*. Which steps it has a function for, and which
 * lock it needs, stands here; what is done at each step is told in walk-ops.ts.
 */
import { get, set } from '../kernel/ops.ts';
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';
import { TestWalk } from './test-pagewalk-types.ts';

export type MmWalkRef = Ref<'mmWalk'>;

export const MmWalk = defineStruct('mmWalk', {
  /** WALK_*. */
  ops: 'number',
  /** HAS_*: what the walk has functions for. */
  has: 'number',
  mm: 'ref:mm',
  /** The VMA that the walk is in, 0 outside of any. */
  vma: 'ref:vma',
  /** 1 when VMAs are not looked at. */
  noVma: 'number',
  /** ACTION_*: what the last entry's function wants next. */
  action: 'number',
  /** Where the walk goes on behind the entry. */
  next: 'vpn',
  /** First page of the whole range. */
  start: 'vpn',
  /** What the caller hands to the functions (`private`): often an object. */
  arg: 'number',
});

export const freeWalk = (walk: MmWalkRef): void => freeObject(walk, MmWalk.$size);

declare const argument: unique symbol;

/** A walk (WALK_*) whose functions are handed an object of struct `T`: another one is a type error, where it is handed in and where it is taken out. */
export type WalkOps<T extends string> = number & { readonly [argument]?: T };

/** What the walk's caller has handed to its functions. */
export const walkArg = <T extends string>(walk: MmWalkRef, _ops: WalkOps<T>): Ref<T> => get(walk, MmWalk.arg);

/** On to what lies below the entry. */
export const ACTION_SUBTREE = 0;
/** On to the next entry. */
export const ACTION_CONTINUE = 1;
/** The same entry once more. */
export const ACTION_AGAIN = 2;

/** The mmap lock is held, in any mode. */
export const PGWALK_RDLOCK = 0;
/** It is held for writing, and each VMA is locked for writing on the way. */
export const PGWALK_WRLOCK = 1;
/** The caller has locked the VMAs for writing. */
export const PGWALK_WRLOCK_VERIFY = 2;
/** The VMA's lock is held for reading, or the mmap lock. */
export const PGWALK_VMA_RDLOCK_VERIFY = 3;

// What a walk has a function for (mm_walk_ops).
export const HAS_PGD = 1;
export const HAS_P4D = 2;
export const HAS_PUD = 4;
export const HAS_PMD = 8;
export const HAS_PTE = 16;
export const HAS_HOLE = 32;
export const HAS_HUGETLB = 64;
export const HAS_TEST = 128;
export const HAS_PRE_VMA = 256;
export const HAS_POST_VMA = 512;
/** Fills empty entries of the lowest level, and makes the tables for that. The mm's own walks alone may. */
export const HAS_INSTALL = 1024;
/** One function for leaves of any level (leaf-walk.ts) instead of those for entries of pud, pmd and pte; with HAS_HUGETLB for those of hugetlb, too. */
export const HAS_LEAF = 2048;

/** What a walk may have functions for below an entry of a level of Linux's (0 pte, 1 pmd, 2 pud, 3 p4d, 4 pgd). */
const BELOW = [0, HAS_PTE | HAS_LEAF, HAS_PMD | HAS_PTE | HAS_LEAF, HAS_PUD | HAS_PMD | HAS_PTE | HAS_LEAF, HAS_P4D | HAS_PUD | HAS_PMD | HAS_PTE | HAS_LEAF];
export const hasBelow = (has: number, level: number): boolean => (has & BELOW[level]) !== 0;

/** madvise_free_walk_ops; arg: gather. */
export const WALK_FREE = 0;
/** cold_walk_ops; arg: gather. */
export const WALK_COLD = 1;
/** The same with pageout set. */
export const WALK_PAGEOUT = 2;
/** guard_remove_walk_ops. */
export const WALK_GUARD_REMOVE = 3;
/** mlock_walk_ops. */
export const WALK_MLOCK = 4;
/** mincore_walk_ops; arg: page that the answers go to. */
export const WALK_MINCORE = 5;
/** clear_refs_walk_ops; arg: CLEAR_REFS_*. */
export const WALK_CLEAR_REFS = 6;
/** ptdump_ops; arg: WalkCount. */
export const WALK_PTDUMP: WalkOps<'walkCount'> = 7;
/** Pages that are mapped, under the mmap lock for reading; arg: WalkCount. */
export const WALK_COUNT: WalkOps<'walkCount'> = 8;
/** The same by a walker that wants no faults meanwhile: it locks the VMAs for writing. */
export const WALK_COUNT_LOCKED: WalkOps<'walkCount'> = 9;
/** pagemap_ops; arg: Pagemap. */
export const WALK_PAGEMAP: WalkOps<'pagemap'> = 10;
/** pagemap_scan_ops; arg: PmScan. */
export const WALK_PAGEMAP_SCAN: WalkOps<'pmScan'> = 11;
/** guard_install_walk_ops; arg: 1 when what stands there is not looked at (a mutation). */
export const WALK_GUARD_INSTALL = 12;
/** smaps_walk_ops; arg: MemSizeStats. */
export const WALK_SMAPS: WalkOps<'memSizeStats'> = 13;
/** show_numa_ops; arg: NumaMaps. */
export const WALK_NUMA_MAPS: WalkOps<'numaMaps'> = 14;
/** A walk that notes what it is called with (test-pagewalk.ts); arg: TestWalk, which says what it has functions for and its lock. */
export const WALK_TEST: WalkOps<'testWalk'> = 15;
/** vmemmap_remap_ops; arg: VmemmapWalk. */
export const WALK_VMEMMAP: WalkOps<'vmemmapWalk'> = 16;

const FORMS: readonly { readonly lock: number; readonly has: number }[] = [
  { lock: PGWALK_VMA_RDLOCK_VERIFY, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD },
  { lock: PGWALK_VMA_RDLOCK_VERIFY, has: HAS_PUD | HAS_PMD | HAS_PTE },
  { lock: PGWALK_WRLOCK_VERIFY, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB | HAS_HOLE },
  { lock: PGWALK_WRLOCK, has: HAS_LEAF | HAS_TEST },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HOLE },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB | HAS_HOLE },
  { lock: PGWALK_WRLOCK, has: HAS_LEAF | HAS_HUGETLB | HAS_HOLE },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB | HAS_HOLE },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB | HAS_HOLE | HAS_TEST },
  { lock: PGWALK_RDLOCK, has: HAS_PUD | HAS_PMD | HAS_PTE | HAS_INSTALL },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB },
  { lock: PGWALK_RDLOCK, has: HAS_LEAF | HAS_HUGETLB },
  // A test's walk says so itself.
  { lock: PGWALK_RDLOCK, has: 0 },
  { lock: PGWALK_RDLOCK, has: HAS_PMD | HAS_PTE },
];

/** PGWALK_* of a walk (mm_walk_ops.walk_lock). */
export const walkLock = (ops: number, arg: number): number => (ops === WALK_TEST ? get(arg, TestWalk.lock) : FORMS[ops].lock);
/** What a walk has functions for, HAS_*. */
const walkHas = (ops: number, arg: number): number => (ops === WALK_TEST ? get(arg, TestWalk.has) : FORMS[ops].has);

export function newWalk(mm: number, vma: number, ops: number, arg: number, start: number): MmWalkRef {
  const walk = allocObject(MmWalk.$type, MmWalk.$size);
  set(walk, MmWalk.ops, ops);
  set(walk, MmWalk.has, walkHas(ops, arg));
  set(walk, MmWalk.mm, mm);
  set(walk, MmWalk.vma, vma);
  set(walk, MmWalk.start, start);
  set(walk, MmWalk.arg, arg);
  return walk;
}

/** What walks that count have counted. */
export const WalkCount = defineStruct('walkCount', { present: 'count', holes: 'count', leaves: 'count' });
export type WalkCountRef = Ref<'walkCount'>;

export const allocWalkCount = (): WalkCountRef => allocObject(WalkCount.$type, WalkCount.$size);
export const freeWalkCount = (count: WalkCountRef): void => freeObject(count, WalkCount.$size);
