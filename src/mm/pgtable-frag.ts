/**
 * Several page tables in one page (arch/powerpc/mm/pgtable-frag.c): where a table is smaller than a page its page is handed out in fragments.
 *
 * The mm here gives every table a page of its own; this is the allocator alone, with tables that stand in no tree but are found by a word of their own. Invariants:
 * a page has one callback for RCU, whatever it holds; a fragment that was given back is not handed out again; whoever gives back the last one queues the callback,
 * after whose grace period nobody looks at any of them.
 */
import { clearTable, entryAt, tableEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import {
  allocPage,
  atomicAdd,
  callRcuFreeTable,
  cmpxchg,
  entryGet,
  entrySet,
  get,
  rcuReadLock,
  rcuReadUnlock,
  readOnce,
  set,
  setFlags,
  spinLock,
  spinUnlock,
  switched,
  writeOnce,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { GFP_PGTABLE_USER } from '../memory/gfp.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { allocObject } from '../memory/state.ts';
import { PTE_SWAP } from '../pagetable/canonical.ts';
import { mkSwapPte, pteLockptr } from './pgtable.ts';
import { FRAGS, FragPage, type FragPageRef } from './pgtable-frag-types.ts';
import type { Page } from './types.ts';

const first = (page: Page, frag: number): number => entryAt(page, 0, (frag * tableEntries(0)) / FRAGS);
/** What the entries of an owner's table hold. */
const entryOfOwner = (owner: number): number => mkSwapPte(1, owner, 0);

/** A page whose fragments are all in use, by the owners 1, 2 …: tables of whom the first entry says so. 0 without memory. */
export function* pteFragPage(): Op<number> {
  const page = yield* allocPage(GFP_PGTABLE_USER, 0);
  if (page === 0) return 0;
  clearTable(page, 0);
  yield* setFlags(page, PG_TABLE);
  const frags = allocObject(FragPage.$type, FragPage.$size);
  set(frags, FragPage.page, page);
  set(frags, FragPage.refcount, FRAGS);
  for (let i = 0; i < FRAGS; i++) {
    set(frags, FragPage.upper + i, 1);
    set(frags, FragPage.owner + i, i + 1);
    yield* entrySet(first(page, i), 0, entryOfOwner(i + 1));
  }
  return frags;
}

/** pte_fragment_free: a fragment is out of use; the last one's page waits for a grace period. */
function* pteFragmentFree(frags: FragPageRef): Op<number> {
  const left = yield* atomicAdd(frags, FragPage.refcount, -1);
  if (left !== 0 && !switched(SW.fragQueuesEach)) return 0;
  return yield* callRcuFreeTable(get(frags, FragPage.page), 0);
}

/** Takes a table out of its tree, empties it and gives it back (retract_page_tables(), pte_free_defer()). */
export function* pteFragRemove(frags: FragPageRef, frag: number): Op<number> {
  yield* writeOnce(frags, FragPage.upper + frag, 0);
  return yield* pteFragmentFree(frags);
}

/**
 * pte_fragment_alloc for another owner, who fills the table and gives it back: of a page that is in use it gets the fragment that is not, if that may be handed out
 * again. 1 when it did.
 */
export function* pteFragBorrow(frags: FragPageRef, frag: number, owner: number): Op<number> {
  if (!switched(SW.fragReused) || (yield* readOnce(frags, FragPage.upper + frag)) !== 0) return 0;
  const count = yield* readOnce(frags, FragPage.refcount);
  if (count === 0 || count === FRAGS || (yield* cmpxchg(frags, FragPage.refcount, count, count + 1)) !== count) return 0;
  const ptep = first(get(frags, FragPage.page), frag);
  yield* spinLock(pteLockptr(ptep));
  yield* entrySet(ptep, 0, entryOfOwner(owner));
  yield* spinUnlock(pteLockptr(ptep));
  yield* pteFragmentFree(frags);
  return 1;
}

/** A walk without locks: what the first entry of a table holds that stands in the tree; 0 when it does not. */
export function* pteFragWalk(frags: FragPageRef, frag: number): Op<number> {
  yield* rcuReadLock();
  let entry = 0;
  if ((yield* readOnce(frags, FragPage.upper + frag)) !== 0) entry = yield* entryGet(first(get(frags, FragPage.page), frag), 0);
  yield* rcuReadUnlock();
  return (entry & PTE_SWAP) === 0 || entry === entryOfOwner(get(frags, FragPage.owner + frag)) ? 0 : 1;
}
