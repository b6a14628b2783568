/**
 * Limits of a mounted file system of huge pages (mm/hugetlb.c: hugepage_new_subpool, hugepage_put_subpool, hugepage_subpool_get_pages and _put_pages).
 *
 * Invariants: `usedPages` are the pages that its files and mappings have or are promised, never more than the maximum. Of the minimum, `rsvPages` are not handed out:
 * these are promised by the pool of the size to the subpool itself. The subpool goes when its file system is gone and the last page came back.
 */
import type { Op } from '../kernel/op.ts';
import { add, get, kfree, kmalloc, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { ENOMEM } from './errno.ts';
import { hugetlbAcctMemory } from './hugetlb-pool.ts';
import { type HstateRef, HugetlbSuper, Subpool, type SubpoolRef } from './hugetlb-types.ts';
import { Inode, type InodeRef } from './types.ts';

/** subpool_inode: the limits that a file's pages count against; 0 for none. */
export const inodeSubpool = (inode: InodeRef): SubpoolRef => {
  const sb = get(inode, Inode.super);
  return sb === 0 ? 0 : get(sb, HugetlbSuper.subpool);
};

/** hugepage_new_subpool: limits in huge pages, −1 for none. The minimum is reserved at once. 0 where that cannot be. */
export function* newSubpool(h: HstateRef, max: number, min: number): Op<number> {
  const spool = yield* kmalloc(Subpool.$type);
  if (spool === 0) return 0;
  set(spool, Subpool.count, 1);
  set(spool, Subpool.hstate, h);
  set(spool, Subpool.maxPages, max);
  set(spool, Subpool.minPages, min);
  if (min !== -1 && (yield* hugetlbAcctMemory(h, min)) !== 0) {
    yield* kfree(Subpool.$type, spool);
    return 0;
  }
  set(spool, Subpool.rsvPages, Math.max(0, min));
  return spool;
}

/** subpool_is_free. */
function isFree(spool: SubpoolRef): boolean {
  if (get(spool, Subpool.count) !== 0) return false;
  if (get(spool, Subpool.maxPages) !== -1) return get(spool, Subpool.usedPages) === 0;
  return get(spool, Subpool.minPages) === -1 || get(spool, Subpool.rsvPages) === get(spool, Subpool.minPages);
}

/** unlock_or_release_subpool. */
export function* unlockOrReleaseSubpool(spool: SubpoolRef): Op<number> {
  const free = isFree(spool);
  yield* spinUnlock(spool + Subpool.lock);
  if (!free) return 0;
  const min = get(spool, Subpool.minPages);
  if (min !== -1) yield* hugetlbAcctMemory(get(spool, Subpool.hstate), -min);
  return yield* kfree(Subpool.$type, spool);
}

/** hugepage_put_subpool: the file system is gone. */
export function* putSubpool(spool: SubpoolRef): Op<number> {
  yield* spinLock(spool + Subpool.lock);
  add(spool, Subpool.count, -1);
  return yield* unlockOrReleaseSubpool(spool);
}

/** hugepage_subpool_get_pages: how many of `delta` pages the pool itself must promise, or −ENOMEM beyond the file system's limit. */
export function* subpoolGetPages(spool: SubpoolRef, delta: number): Op<number> {
  if (spool === 0) return delta;
  yield* spinLock(spool + Subpool.lock);
  let needed = delta;
  const max = get(spool, Subpool.maxPages);
  if (max !== -1 && get(spool, Subpool.usedPages) + delta > max) needed = -ENOMEM;
  else {
    if (max !== -1) add(spool, Subpool.usedPages, delta);
    const reserved = get(spool, Subpool.minPages) === -1 ? 0 : get(spool, Subpool.rsvPages);
    needed = Math.max(0, delta - reserved);
    if (reserved !== 0) add(spool, Subpool.rsvPages, needed - delta);
  }
  yield* spinUnlock(spool + Subpool.lock);
  return needed;
}

/** hugepage_subpool_put_pages: how many of `delta` reservations the pool itself can give up. */
export function* subpoolPutPages(spool: SubpoolRef, delta: number): Op<number> {
  if (spool === 0) return delta;
  yield* spinLock(spool + Subpool.lock);
  if (get(spool, Subpool.maxPages) !== -1) add(spool, Subpool.usedPages, -delta);
  let given = delta;
  const min = get(spool, Subpool.minPages);
  if (min !== -1 && get(spool, Subpool.usedPages) < min) {
    const total = get(spool, Subpool.rsvPages) + delta;
    given = Math.max(0, total - min);
    set(spool, Subpool.rsvPages, Math.min(total, min));
  }
  yield* unlockOrReleaseSubpool(spool);
  return given;
}

/** Takes back that `delta` pages are used, of which the subpool's own reservation had none: the pool itself could not promise them. */
export function* subpoolUnuse(spool: SubpoolRef, delta: number): Op<number> {
  if (spool === 0 || delta === 0) return 0;
  yield* spinLock(spool + Subpool.lock);
  if (get(spool, Subpool.maxPages) !== -1) add(spool, Subpool.usedPages, -delta);
  return yield* unlockOrReleaseSubpool(spool);
}
