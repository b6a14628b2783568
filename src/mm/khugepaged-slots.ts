/**
 * Which address spaces khugepaged goes through (mm/khugepaged.c: __khugepaged_enter, khugepaged_enter_vma, __khugepaged_exit, collect_mm_slot).
 *
 * Invariants: khugepaged-types.ts. An address space that ends either takes its slot out itself, or, when khugepaged is at it, waits by the mmap lock until
 * khugepaged lets it go; khugepaged looks under that lock whether the address space is ending, so it never comes to page tables that are being freed.
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, get, kfree, kmalloc, readOnce, set, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { globals } from './globals.ts';
import { hasOrder, pmdOrder, THP_NEVER, TVA_KHUGEPAGED, thpVmaAllowableOrders } from './huge-orders.ts';
import { Khugepaged, type KhugepagedRef, MAX_PTE_MAPPED_THP, MmSlot, type MmSlotRef } from './khugepaged-types.ts';
import { MMF_DISABLE_THP, MMF_VM_HUGEPAGE } from './mm-flags.ts';
import { mmFlagsSet } from './mm-flags-ops.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { mmdrop } from './process.ts';
import { shmemHpagePmdEnabled } from './shmem-huge.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';

/** 0 in machines whose mode has no huge pages. */
export const khugepaged = (): KhugepagedRef => get(globals, Globals.khugepaged);
/** khugepaged_mm_lock. */
export const khugepagedLock = (): number => khugepaged() + Khugepaged.lock;

/** hugepage_pmd_enabled: whether any setting allows huge pages. */
export function hugepagePmdEnabled(): boolean {
  const order = pmdOrder();
  if (hasOrder(get(globals, Globals.thpOrdersAlways), order) || hasOrder(get(globals, Globals.thpOrdersMadvise), order)) return true;
  if (hasOrder(get(globals, Globals.thpOrdersInherit), order) && get(globals, Globals.thpEnabled) !== THP_NEVER) return true;
  return shmemHpagePmdEnabled();
}

/** hpage_collapse_test_exit: nobody uses what the address space maps any longer. */
export function* testExit(mm: MmRef): Op<boolean> {
  return (yield* readOnce(mm, Mm.users)) === 0 && !switched(SW.collapseIgnoresExit);
}

/** hpage_collapse_test_exit_or_disable. */
export function* testExitOrDisable(mm: MmRef): Op<boolean> {
  return (yield* testExit(mm)) || (get(mm, Mm.flags) & MMF_DISABLE_THP) !== 0;
}

/** __khugepaged_enter: an address space joins the list, behind all others. Needs somebody who uses it. */
export function* khugepagedEnter(mm: MmRef): Op<number> {
  if (khugepaged() === 0 || ((yield* mmFlagsSet(mm, MMF_VM_HUGEPAGE)) & MMF_VM_HUGEPAGE) !== 0) return 0;
  const slot = yield* kmalloc(MmSlot.$type);
  // It is never gone through then.
  if (slot === 0) return 0;
  set(slot, MmSlot.mm, mm);
  yield* spinLock(khugepagedLock());
  const last = get(khugepaged(), Khugepaged.last);
  set(slot, MmSlot.prev, last);
  if (last === 0) set(khugepaged(), Khugepaged.first, slot);
  else set(last, MmSlot.next, slot);
  set(khugepaged(), Khugepaged.last, slot);
  yield* spinUnlock(khugepagedLock());
  // mmgrab.
  return yield* atomicAdd(mm, Mm.count, 1);
}

/** khugepaged_enter_vma: the same, when a VMA may have huge pages by settings and flags. */
export function* khugepagedEnterVma(vma: VmaRef, vmFlags: number): Op<number> {
  const mm = get(vma, Vma.mm);
  if ((get(mm, Mm.flags) & MMF_VM_HUGEPAGE) !== 0 || khugepaged() === 0 || !hugepagePmdEnabled()) return 0;
  if (!hasOrder(thpVmaAllowableOrders(vma, vmFlags, TVA_KHUGEPAGED, 1 << pmdOrder()), pmdOrder())) return 0;
  return yield* khugepagedEnter(mm);
}

/** Takes a slot out of the list. Needs the lock. */
export function unlinkSlot(slot: MmSlotRef): void {
  const next = get(slot, MmSlot.next);
  const prev = get(slot, MmSlot.prev);
  if (prev === 0) set(khugepaged(), Khugepaged.first, next);
  else set(prev, MmSlot.next, next);
  if (next === 0) set(khugepaged(), Khugepaged.last, prev);
  else set(next, MmSlot.prev, prev);
}

/** mm_slot_lookup. Needs the lock. */
function slotOf(mm: MmRef): MmSlotRef {
  let slot = get(khugepaged(), Khugepaged.first);
  while (slot !== 0 && get(slot, MmSlot.mm) !== mm) slot = get(slot, MmSlot.next);
  return slot;
}

/** khugepaged_add_pte_mapped_thp: khugepaged shall see to a place in a busy address space, when it knows that one and has room. */
export function* khugepagedAddPteMapped(mm: MmRef, vpn: Vpn): Op<number> {
  if (khugepaged() === 0) return 0;
  yield* spinLock(khugepagedLock());
  const slot = slotOf(mm);
  const count = slot === 0 ? MAX_PTE_MAPPED_THP : get(slot, MmSlot.pteMapped);
  if (count < MAX_PTE_MAPPED_THP) {
    set(slot, MmSlot.places + count, vpn);
    set(slot, MmSlot.pteMapped, count + 1);
  }
  return yield* spinUnlock(khugepagedLock());
}

/** khugepaged_exit: an address space that nobody uses any longer leaves the list, before its mappings go. */
export function* khugepagedExit(mm: MmRef): Op<number> {
  if (((yield* readOnce(mm, Mm.flags)) & MMF_VM_HUGEPAGE) === 0) return 0;
  yield* spinLock(khugepagedLock());
  const slot = slotOf(mm);
  const ours = slot !== 0 && get(khugepaged(), Khugepaged.slot) !== slot;
  if (ours) unlinkSlot(slot);
  yield* spinUnlock(khugepagedLock());
  if (ours) {
    yield* kfree(MmSlot.$type, slot);
    return yield* mmdrop(mm);
  }
  if (slot === 0) return 0;
  // khugepaged is at it, and takes the slot out when it comes back: until then its tables stay.
  if (!switched(SW.khugepagedExitNoWait)) {
    yield* mmapWriteLock(mm);
    yield* mmapWriteUnlock(mm);
  }
  return 0;
}

/** collect_mm_slot: takes out the slot that the cursor was at, if its address space is ending. Needs the lock; comes back without it. */
export function* collectMmSlot(slot: MmSlotRef): Op<number> {
  const mm = get(slot, MmSlot.mm);
  const ends = yield* testExit(mm);
  if (ends) unlinkSlot(slot);
  yield* spinUnlock(khugepagedLock());
  if (!ends) return 0;
  yield* kfree(MmSlot.$type, slot);
  return yield* mmdrop(mm);
}
