/**
 * What top tables have of the kernel's half on 32-bit x86 (arch/x86/mm/pgtable.c: pgd_ctor; arch/x86/mm/fault.c: arch_sync_kernel_mappings).
 *
 * Top tables of processes have no kernel half here; this is the protocol alone. Invariants: every top table is on the list from the moment on at which it was
 * copied from the kernel's, and both happen under pgd_lock; who changes the kernel's top table writes to it first and goes over the list, under the
 * lock, afterwards.
 */
import type { Op } from '../kernel/op.ts';
import { get, kmalloc, readOnce, set, spinLock, spinUnlock, switched, writeOnce } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { allocObject } from '../memory/state.ts';
import { KERNEL_ENTRIES, PgdCopy, type PgdCopyRef, PgdList, type PgdListRef } from './pgd-list-types.ts';

export const allocPgdList = (): PgdListRef => allocObject(PgdList.$type, PgdList.$size);

/** clone_pgd_range of the kernel's half. */
function* clonePgdRange(list: PgdListRef, copy: PgdCopyRef): Op<number> {
  for (let i = 0; i < KERNEL_ENTRIES; i++) yield* writeOnce(copy, PgdCopy.entries + i, yield* readOnce(list, PgdList.entries + i));
  return 0;
}

/** pgd_ctor: a top table with the kernel's half; it, or 0. */
export function* pgdCtor(list: PgdListRef): Op<number> {
  const copy = yield* kmalloc(PgdCopy.$type);
  if (copy === 0) return 0;
  if (switched(SW.pgdCtorUnlocked)) yield* clonePgdRange(list, copy);
  yield* spinLock(list + PgdList.lock);
  if (!switched(SW.pgdCtorUnlocked)) yield* clonePgdRange(list, copy);
  set(copy, PgdCopy.next, get(list, PgdList.first));
  set(list, PgdList.first, copy);
  yield* spinUnlock(list + PgdList.lock);
  return copy;
}

/** A new entry of the kernel's top table, as vmalloc makes, and arch_sync_kernel_mappings(). */
export function* setKernelEntry(list: PgdListRef, index: number, value: number): Op<number> {
  yield* writeOnce(list, PgdList.entries + index, value);
  yield* spinLock(list + PgdList.lock);
  for (let copy = get(list, PgdList.first); copy !== 0; copy = get(copy, PgdCopy.next)) yield* writeOnce(copy, PgdCopy.entries + index, value);
  return yield* spinUnlock(list + PgdList.lock);
}
