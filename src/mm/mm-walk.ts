/**
 * A walk over page tables (include/linux/pagewalk.h: struct mm_walk, in Linux an object on the stack) and what is known of each kind of walk.
 *
 * Linux has a table of function pointers for each (struct mm_walk_ops); here a walk is a number, WALK_*. Which steps it has a function for, and which
 * lock it needs, stands here; what is done at each step is told in walk-ops.ts.
 */
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';

export type MmWalkRef = Ref<'mmWalk'>;

export const MmWalk = defineStruct('mmWalk', {
  /** WALK_*. */
  ops: 'number',
  mm: 'ref:mm',
  /** The VMA that the walk is in, 0 outside of any. */
  vma: 'ref:vma',
  /** 1 when VMAs are not looked at. */
  noVma: 'number',
  /** ACTION_*: what the last entry's function wants next. */
  action: 'number',
  /** First page of the whole range. */
  start: 'vpn',
  /** What the caller hands to the functions (`private`): often an object. */
  arg: 'number',
});

export const allocWalk = (): MmWalkRef => allocObject(MmWalk.$type, MmWalk.$size);
export const freeWalk = (walk: MmWalkRef): void => freeObject(walk, MmWalk.$size);

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

// What a walk has a function for.
export const HAS_PMD = 1;
export const HAS_PTE = 2;
export const HAS_HOLE = 4;
export const HAS_TEST = 8;

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
export const WALK_PTDUMP = 7;
/** Pages that are mapped, under the mmap lock for reading; arg: WalkCount. */
export const WALK_COUNT = 8;
/** The same by a walker that wants no faults meanwhile: it locks the VMAs for writing. */
export const WALK_COUNT_LOCKED = 9;
/** pagemap_ops; arg: Pagemap. */
export const WALK_PAGEMAP = 10;
/** pagemap_scan_ops; arg: PmScan. */
export const WALK_PAGEMAP_SCAN = 11;

const FORMS: readonly { readonly lock: number; readonly has: number }[] = [
  { lock: PGWALK_VMA_RDLOCK_VERIFY, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD },
  { lock: PGWALK_VMA_RDLOCK_VERIFY, has: HAS_PMD },
  { lock: PGWALK_WRLOCK_VERIFY, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD | HAS_HOLE },
  { lock: PGWALK_WRLOCK, has: HAS_PMD | HAS_TEST },
  { lock: PGWALK_RDLOCK, has: HAS_PTE | HAS_HOLE },
  { lock: PGWALK_RDLOCK, has: HAS_PTE | HAS_HOLE },
  { lock: PGWALK_WRLOCK, has: HAS_PTE | HAS_HOLE },
  { lock: PGWALK_RDLOCK, has: HAS_PMD },
  { lock: PGWALK_RDLOCK, has: HAS_PMD | HAS_HOLE | HAS_TEST },
];

/** PGWALK_* of a walk (mm_walk_ops.walk_lock). */
export const walkLock = (ops: number): number => FORMS[ops].lock;
/** Whether a walk has a function for a step, HAS_*. */
export const walkHas = (ops: number, step: number): boolean => (FORMS[ops].has & step) !== 0;

/** What walks that count have counted. */
export const WalkCount = defineStruct('walkCount', { present: 'count', holes: 'count' });
export type WalkCountRef = Ref<'walkCount'>;

export const allocWalkCount = (): WalkCountRef => allocObject(WalkCount.$type, WalkCount.$size);
export const freeWalkCount = (count: WalkCountRef): void => freeObject(count, WalkCount.$size);
