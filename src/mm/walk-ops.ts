/**
 * What walks over page tables do at each step: the functions that Linux's struct mm_walk_ops point to, told by the walk's number (mm-walk.ts).
 *
 * A function returns 0 to go on; anything else ends the walk and is its result (of a test: above 0 passes the VMA over). Those for entries of pud and pmd may
 * set the walk's action.
 */
import type { Op } from '../kernel/op.ts';
import { add, entryGet, get } from '../kernel/ops.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { clearRefsLeaf, clearRefsTestWalk } from './clear-refs.ts';
import { guardInstallHuge, guardInstallPte, guardInstallSetPte, guardRemoveHuge, guardRemovePte } from './guard-entries.ts';
import { coldOrPageoutHuge, freeHuge, mlockHuge } from './huge-walks.ts';
import { vmemmapPmd, vmemmapPte } from './hugetlb-vmemmap.ts';
import { coldOrPageoutPteRange } from './madvise-cold.ts';
import { freePteRange } from './madvise-free.ts';
import { mincoreLeaf, mincoreUnmappedRange } from './mincore.ts';
import { mlockPteRange } from './mlock.ts';
import {
  HAS_HOLE,
  HAS_INSTALL,
  HAS_LEAF,
  HAS_POST_VMA,
  HAS_PRE_VMA,
  HAS_PTE,
  HAS_TEST,
  MmWalk,
  type MmWalkRef,
  WALK_CLEAR_REFS,
  WALK_COLD,
  WALK_COUNT,
  WALK_COUNT_LOCKED,
  WALK_FREE,
  WALK_GUARD_INSTALL,
  WALK_GUARD_REMOVE,
  WALK_MINCORE,
  WALK_MLOCK,
  WALK_NUMA_MAPS,
  WALK_PAGEMAP,
  WALK_PAGEMAP_SCAN,
  WALK_PAGEOUT,
  WALK_PTDUMP,
  WALK_SMAPS,
  WALK_TEST,
  WALK_VMEMMAP,
  WalkCount,
  walkArg,
} from './mm-walk.ts';
import { gatherNumaLeaf } from './numa-maps.ts';
import { pagemapHole, pagemapLeaf } from './pagemap.ts';
import { pagemapScanLeaf, pagemapScanPteHole, pagemapScanTestWalk } from './pagemap-scan.ts';
import { ptePresent } from './pgtable.ts';
import { smapsLeaf } from './smaps.ts';
import { testWalkCall } from './test-pagewalk.ts';
import { TestWalk } from './test-pagewalk-types.ts';
import type { Vpn } from './types.ts';

/** mm_walk_ops.test_walk: whether a VMA is walked over: 0 yes, 1 no, −errno. */
export function walkTest(walk: MmWalkRef, start: Vpn, end: Vpn): number {
  switch (get(walk, MmWalk.ops)) {
    case WALK_CLEAR_REFS:
      return clearRefsTestWalk(walk);
    case WALK_PAGEMAP_SCAN:
      return pagemapScanTestWalk(get(walk, MmWalk.arg), get(walk, MmWalk.vma));
    case WALK_TEST:
      return testWalkCall(walk, HAS_TEST, start, end, 0);
    default:
      return 0;
  }
}

/** mm_walk_ops.pre_vma: before the tables of a VMA. */
export const walkPreVma = (walk: MmWalkRef, start: Vpn, end: Vpn): number =>
  get(walk, MmWalk.ops) === WALK_TEST ? testWalkCall(walk, HAS_PRE_VMA, start, end, 0) : 0;

/** mm_walk_ops.post_vma: after them, whatever came of it; it cannot fail. */
export const walkPostVma = (walk: MmWalkRef): number => (get(walk, MmWalk.ops) === WALK_TEST ? testWalkCall(walk, HAS_POST_VMA, 0, 0, 0) : 0);

/** mm_walk_ops.pgd_entry, p4d_entry, pud_entry, pmd_entry, as `step` (HAS_*) says: an entry, which led elsewhere than to nothing when it was read. */
export function* walkEntry(walk: MmWalkRef, step: number, at: number, entry: number, start: Vpn, end: Vpn): Op<number> {
  const arg = get(walk, MmWalk.arg);
  const huge = (entry & PTE_TABLE) === 0;
  // None, then present, then a leaf: what is neither empty nor present maps nothing, whatever its other bits are.
  if (huge && entry !== 0 && !ptePresent(entry) && get(walk, MmWalk.ops) !== WALK_TEST) return 0;
  switch (get(walk, MmWalk.ops)) {
    case WALK_FREE:
      return huge ? yield* freeHuge(walk, at, start, end) : yield* freePteRange(arg, at, start, end);
    case WALK_COLD:
      return huge ? yield* coldOrPageoutHuge(walk, at, start, end, 0) : yield* coldOrPageoutPteRange(arg, at, start, end, 0);
    case WALK_PAGEOUT:
      return huge ? yield* coldOrPageoutHuge(walk, at, start, end, 1) : yield* coldOrPageoutPteRange(arg, at, start, end, 1);
    case WALK_MLOCK:
      return huge ? yield* mlockHuge(walk, at) : yield* mlockPteRange(walk, at, start, end);
    case WALK_GUARD_REMOVE:
      return guardRemoveHuge(walk, entry);
    case WALK_GUARD_INSTALL:
      return guardInstallHuge(entry);
    case WALK_VMEMMAP:
      return yield* vmemmapPmd(walk, entry, start);
    case WALK_TEST:
      return testWalkCall(walk, step, start, end, entry);
    default:
      return 0;
  }
}

/** mm_walk_ops.pte_entry: an entry of the lowest level, whose lock is held but in walks without VMAs. */
export function* walkPteEntry(walk: MmWalkRef, ptep: number, vpn: Vpn): Op<number> {
  switch (get(walk, MmWalk.ops)) {
    case WALK_GUARD_REMOVE:
      return yield* guardRemovePte(ptep);
    case WALK_GUARD_INSTALL:
      return yield* guardInstallPte(ptep, get(walk, MmWalk.arg));
    case WALK_VMEMMAP:
      return yield* vmemmapPte(walkArg(walk, WALK_VMEMMAP), ptep, vpn);
    case WALK_TEST:
      return testWalkCall(walk, HAS_PTE, vpn, vpn + 1, yield* entryGet(ptep, 0));
    default:
      return 0;
  }
}

/** mm_walk_ops.install_pte: what an empty entry is filled with, or −errno. */
export function walkInstall(walk: MmWalkRef, vpn: Vpn): number {
  if (get(walk, MmWalk.ops) !== WALK_TEST) return guardInstallSetPte();
  const result = testWalkCall(walk, HAS_INSTALL, vpn, vpn + 1, 0);
  return result !== 0 ? result : get(get(walk, MmWalk.arg), TestWalk.install);
}

/** A leaf of any level (leaf-walk.ts): the entry of page `vpn`, which stands at `at` and maps [vpn, end) at least. */
export function* walkLeaf(walk: MmWalkRef, at: number, entry: number, level: number, vpn: Vpn, end: Vpn): Op<number> {
  switch (get(walk, MmWalk.ops)) {
    case WALK_MINCORE:
      return mincoreLeaf(walk, entry, vpn, end);
    case WALK_CLEAR_REFS:
      return yield* clearRefsLeaf(walk, at, entry, level, vpn, end);
    case WALK_PAGEMAP:
      return pagemapLeaf(walk, at, entry, level, vpn, end);
    case WALK_PAGEMAP_SCAN:
      return yield* pagemapScanLeaf(walk, at, entry, level, vpn, end);
    case WALK_SMAPS:
      return smapsLeaf(walk, at, entry, level, vpn, end);
    case WALK_NUMA_MAPS:
      return gatherNumaLeaf(walk, entry, level, vpn, end);
    case WALK_TEST:
      return testWalkCall(walk, HAS_LEAF, vpn, end, level);
    default: {
      const count = get(walk, MmWalk.arg);
      if (!ptePresent(entry)) return 0;
      add(count, WalkCount.present, end - vpn);
      add(count, WalkCount.leaves, 1);
      return 0;
    }
  }
}

/** mm_walk_ops.pte_hole: pages [start, end) without tables; `depth` of the entry that is empty, −1 where VMAs were looked at, or hugetlb. */
export function* walkHole(walk: MmWalkRef, start: Vpn, end: Vpn, depth: number): Op<number> {
  switch (get(walk, MmWalk.ops)) {
    case WALK_MINCORE:
      return mincoreUnmappedRange(walk, start, end);
    case WALK_PAGEMAP:
      return pagemapHole(walk, start, end);
    case WALK_PAGEMAP_SCAN:
      return yield* pagemapScanPteHole(walk, start, end);
    case WALK_PTDUMP:
    case WALK_COUNT:
    case WALK_COUNT_LOCKED:
      add(get(walk, MmWalk.arg), WalkCount.holes, end - start);
      return 0;
    case WALK_TEST:
      return testWalkCall(walk, HAS_HOLE, start, end, depth);
    default:
      return 0;
  }
}
