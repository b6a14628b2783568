/**
 * What walks over page tables do at each step: the functions that Linux's struct mm_walk_ops point to, told by the walk's number (mm-walk.ts).
 *
 * A function returns 0 to go on; anything else ends the walk and is its result (of a test: above 0 passes the VMA over). It may set the walk's action.
 */
import type { Op } from '../kernel/op.ts';
import { add, entryGet, get, spinUnlock } from '../kernel/ops.ts';
import { clearRefsPteRange, clearRefsTestWalk } from './clear-refs.ts';
import { guardRemovePteRange } from './guard-entries.ts';
import { clearRefsHuge, coldOrPageoutHuge, freeHuge, lockHuge, mlockHuge, walkSplitHuge } from './huge-walks.ts';
import { coldOrPageoutPteRange } from './madvise-cold.ts';
import { freePteRange } from './madvise-free.ts';
import { mincoreHuge, mincorePteRange, mincoreUnmappedRange } from './mincore.ts';
import { mlockPteRange } from './mlock.ts';
import {
  MmWalk,
  type MmWalkRef,
  WALK_CLEAR_REFS,
  WALK_COLD,
  WALK_COUNT,
  WALK_COUNT_LOCKED,
  WALK_FREE,
  WALK_GUARD_REMOVE,
  WALK_MINCORE,
  WALK_MLOCK,
  WALK_PAGEMAP,
  WALK_PAGEMAP_SCAN,
  WALK_PAGEOUT,
  WALK_PTDUMP,
  WalkCount,
} from './mm-walk.ts';
import { pagemapHuge, pagemapPmdRange } from './pagemap.ts';
import { pagemapScanHuge, pagemapScanPmdEntry, pagemapScanPteHole, pagemapScanTestWalk } from './pagemap-scan.ts';
import { ptePresent } from './pgtable.ts';
import type { Vpn } from './types.ts';

/** mm_walk_ops.test_walk: whether a VMA is walked over: 0 yes, 1 no, −errno. */
export function walkTest(walk: MmWalkRef): number {
  switch (get(walk, MmWalk.ops)) {
    case WALK_CLEAR_REFS:
      return clearRefsTestWalk(walk);
    case WALK_PAGEMAP_SCAN:
      return pagemapScanTestWalk(get(walk, MmWalk.arg), get(walk, MmWalk.vma));
    default:
      return 0;
  }
}

/** mm_walk_ops.pmd_entry: a table of the lowest level, of which [start, end) is meant. */
export function* walkPmdEntry(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  const arg = get(walk, MmWalk.arg);
  switch (get(walk, MmWalk.ops)) {
    case WALK_FREE:
      return yield* freePteRange(arg, pmdp, start, end);
    case WALK_COLD:
      return yield* coldOrPageoutPteRange(arg, pmdp, start, end, 0);
    case WALK_PAGEOUT:
      return yield* coldOrPageoutPteRange(arg, pmdp, start, end, 1);
    case WALK_GUARD_REMOVE:
      return yield* guardRemovePteRange(pmdp, start, end);
    case WALK_MLOCK:
      return yield* mlockPteRange(walk, pmdp, start, end);
    case WALK_MINCORE:
      return yield* mincorePteRange(walk, pmdp, start, end);
    case WALK_CLEAR_REFS:
      return yield* clearRefsPteRange(walk, pmdp, start, end);
    case WALK_PAGEMAP:
      return yield* pagemapPmdRange(walk, pmdp, start, end);
    case WALK_PAGEMAP_SCAN:
      return yield* pagemapScanPmdEntry(walk, pmdp, start, end);
    default:
      return 0;
  }
}

/** The part of mm_walk_ops.pmd_entry for an entry that maps a huge page, of which [start, end) is meant. ACTION_AGAIN: the entry is another one now. */
export function* walkHugeEntry(walk: MmWalkRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  switch (get(walk, MmWalk.ops)) {
    case WALK_FREE:
      return yield* freeHuge(walk, pmdp, start, end);
    case WALK_COLD:
      return yield* coldOrPageoutHuge(walk, pmdp, start, end, 0);
    case WALK_PAGEOUT:
      return yield* coldOrPageoutHuge(walk, pmdp, start, end, 1);
    case WALK_MLOCK:
      return yield* mlockHuge(walk, pmdp);
    case WALK_CLEAR_REFS:
      return yield* clearRefsHuge(walk, pmdp);
    case WALK_GUARD_REMOVE:
      return 0;
    case WALK_MINCORE: {
      const lock = yield* lockHuge(walk, pmdp);
      if (lock === 0) return 0;
      mincoreHuge(walk, start, end);
      return yield* spinUnlock(lock);
    }
    case WALK_PAGEMAP:
      return yield* pagemapHuge(walk, pmdp, start, end);
    case WALK_PAGEMAP_SCAN:
      return yield* pagemapScanHuge(walk, pmdp, start, end);
    default:
      return yield* walkSplitHuge(walk, pmdp, start);
  }
}

/** mm_walk_ops.pte_entry: an entry of the lowest level, whose lock is held but in walks without VMAs. */
export function* walkPteEntry(walk: MmWalkRef, ptep: number, _vpn: Vpn): Op<number> {
  switch (get(walk, MmWalk.ops)) {
    case WALK_PTDUMP:
    case WALK_COUNT:
    case WALK_COUNT_LOCKED:
      if (ptePresent(yield* entryGet(ptep, 0))) add(get(walk, MmWalk.arg), WalkCount.present, 1);
      return 0;
    default:
      return 0;
  }
}

/** mm_walk_ops.pte_hole: pages [start, end) without tables. */
export function walkHole(walk: MmWalkRef, start: Vpn, end: Vpn): number {
  switch (get(walk, MmWalk.ops)) {
    case WALK_MINCORE:
      return mincoreUnmappedRange(walk, start, end);
    case WALK_PAGEMAP_SCAN:
      return pagemapScanPteHole(walk, start, end);
    case WALK_PTDUMP:
    case WALK_COUNT:
    case WALK_COUNT_LOCKED:
      add(get(walk, MmWalk.arg), WalkCount.holes, end - start);
      return 0;
    default:
      return 0;
  }
}
