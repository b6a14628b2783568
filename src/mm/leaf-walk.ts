/**
 * Leaves in page walks, whatever level they are of: one function (walk-ops.ts: walkLeaf) for each entry of the lowest level, for each huge entry above it, for each
 * group of entries that map one block together (contiguous bit), and for each page of hugetlb.
 *
 * Invariants: a leaf is shown once, under the lock of its table (walks without VMAs have none), as the entry of the first page that is asked for, accessed and
 * dirty when any of its group is; empty entries of the lowest level are shown, too. `vpn` and `end` are clipped to what the walk asked for.
 */
import { entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_TABLE } from '../pagetable/canonical.ts';
import { leafEnd, leafPages } from './leaf.ts';
import { ACTION_AGAIN, ACTION_CONTINUE, MmWalk, type MmWalkRef } from './mm-walk.ts';
import { pteSet, upperLock } from './pgtable.ts';
import type { Page, Vpn } from './types.ts';
import { walkLeaf } from './walk-ops.ts';

/** The entry of a page, with what was done to any entry of its group. `at` is its place. */
function* groupEntry(at: number, level: number, entry: number, vpn: Vpn): Op<number> {
  const span = spanPages(level);
  const entries = leafPages(entry, level) / span;
  if (entries === 1) return entry;
  const first = at - (Math.floor(vpn / span) % entries) * entryStride(level);
  let all = entry;
  for (let i = 0; i < entries; i++) all = pteSet(all, (yield* entryGet(first + i * entryStride(level), level)) & (PTE_ACCESSED | PTE_DIRTY));
  return all;
}

/** walk_pte_range_inner, by leaves: the entries of a table of the lowest level, from `first` on. */
export function* walkLeafPtes(walk: MmWalkRef, first: number, start: Vpn, end: Vpn): Op<number> {
  let ptep = first;
  let vpn = start;
  while (vpn < end) {
    const pte = yield* entryGet(ptep, 0);
    let next = vpn + 1;
    let entry = pte;
    if ((pte & PTE_GROUP) !== 0) {
      next = leafEnd(pte, 0, vpn, end);
      entry = yield* groupEntry(ptep, 0, pte, vpn);
    }
    const error = yield* walkLeaf(walk, ptep, entry, 0, vpn, next);
    if (error !== 0) return error;
    ptep += (next - vpn) * entryStride(0);
    vpn = next;
  }
  return 0;
}

/** An entry above the lowest level that leads to no table: a huge page, or something that is not present. Where the walk goes on is in MmWalk.next. */
export function* walkLeafUpper(walk: MmWalkRef, table: Page, at: number, level: number, seen: number, vpn: Vpn, end: Vpn): Op<number> {
  const locked = get(walk, MmWalk.noVma) === 0;
  const lock = upperLock(get(walk, MmWalk.mm), table, level);
  set(walk, MmWalk.action, ACTION_CONTINUE);
  if (locked) yield* spinLock(lock);
  const entry = locked ? yield* entryGet(at, level) : seen;
  let error = 0;
  if (entry === 0 || (entry & PTE_TABLE) !== 0) set(walk, MmWalk.action, ACTION_AGAIN);
  else {
    const next = leafEnd(entry, level, vpn, end);
    set(walk, MmWalk.next, next);
    error = yield* walkLeaf(walk, at, yield* groupEntry(at, level, entry, vpn), level, vpn, next);
  }
  if (locked) yield* spinUnlock(lock);
  return error;
}
