/**
 * Moving entries from one range to another (mm/mremap.c: move_page_tables, move_ptes).
 *
 * Invariants: both tables' locks are held while entries move; what was present is flushed at the old place before the old lock is dropped; rmap
 * walks are kept out where they might visit the new VMA before the old and miss an entry at both.
 */

import { codec, entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { downWrite, entryGet, entryGetAndClear, entrySet, flushTlbRange, get, spinLock, spinUnlock, upWrite } from '../kernel/ops.ts';
import { PTE_SOFT_DIRTY } from '../pagetable/canonical.ts';
import { pteAlloc, pteLockptr, ptePointer, ptePresent, pteSet } from './pgtable.ts';
import { anonVmaLock } from './rmap.ts';
import { File, Inode, Vma, type VmaRef, type Vpn } from './types.ts';

/** Moves what is mapped at [from, from + pages) to `to`. The pages that were gone through: fewer than asked when a table could not be made. */
export function* movePageTables(source: VmaRef, from: Vpn, target: VmaRef, to: Vpn, pages: number): Op<number> {
  const mm = get(source, Vma.mm);
  let done = 0;
  while (done < pages) {
    // As far as one table reaches on both sides.
    const left = entryEnd(from + done, from + pages, 1) - (from + done);
    const right = entryEnd(to + done, to + pages, 1) - (to + done);
    const count = left < right ? left : right;
    const oldPtep = yield* ptePointer(mm, from + done);
    if (oldPtep !== 0) {
      const newPtep = yield* pteAlloc(mm, to + done);
      if (newPtep === 0) return done;
      yield* movePtes(source, target, oldPtep, newPtep, from + done, count);
    }
    done += count;
  }
  return done;
}

/** move_ptes. */
function* movePtes(source: VmaRef, target: VmaRef, oldPtep: number, newPtep: number, from: Vpn, count: number): Op<number> {
  yield* takeRmapLocks(source);
  const oldLock = pteLockptr(oldPtep);
  const newLock = pteLockptr(newPtep);
  yield* spinLock(oldLock);
  if (newLock !== oldLock) yield* spinLock(newLock);
  const step = entryStride(0);
  let flush = 0;
  for (let i = 0; i < count; i++) {
    if ((yield* entryGet(oldPtep + i * step, 0)) === 0) continue;
    const pte = yield* entryGetAndClear(oldPtep + i * step, 0);
    if (ptePresent(pte)) flush = 1;
    // A page that moved counts as changed for those who watch soft-dirty bits.
    yield* entrySet(newPtep + i * step, 0, ptePresent(pte) ? pteSet(pte, codec.supports & PTE_SOFT_DIRTY) : pte);
  }
  if (flush !== 0) yield* flushTlbRange(get(target, Vma.mm), from, from + count);
  if (newLock !== oldLock) yield* spinUnlock(newLock);
  yield* spinUnlock(oldLock);
  return yield* dropRmapLocks(source);
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
