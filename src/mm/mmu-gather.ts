/**
 * mmu_gather: unmapped pages and tables wait here until no CPU translates to them any more (mm/mmu_gather.c).
 *
 * Invariants: a page is given back only after the flush that covers its address; tables go after a grace period. While a gather is open
 * its mm's tlbFlushPending is raised, so that a second one knows that entries it finds empty may still be cached.
 */
import { tableOrder } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { atomicAdd, callRcuFreeTable, flushTlbMm, flushTlbRange, get, kfree, kmallocNowait, readOnce, refAdd, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageMapcount } from '../memory/state.ts';
import { allocGather, freeGather } from './stack-objects.ts';
import { folioPut, freeFolio } from './swap.ts';
import { pagetableDtor, pagetableFree } from './table-page.ts';
import { Batch, Gather, type GatherRef, Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** Pages that one batch holds. */
const BATCH_PAGES = Batch.$size - Batch.pages;

/** tlb_gather_mmu. Never fails: a gather is part of the caller's stack in Linux. */
export function* tlbGather(mm: MmRef): Op<number> {
  const tlb = allocGather();
  set(tlb, Gather.mm, mm);
  set(tlb, Gather.start, Number.MAX_SAFE_INTEGER);
  yield* atomicAdd(mm, Mm.tlbFlushPending, 1);
  return tlb;
}

/** tlb_gather_mmu_fullmm: the whole address space goes. */
export function* tlbGatherFullmm(mm: MmRef): Op<number> {
  const tlb = yield* tlbGather(mm);
  set(tlb, Gather.fullmm, 1);
  return tlb;
}

/** tlb_remove_tlb_entry: a translation in [start, end) was removed or narrowed. */
export function tlbRemoveEntry(tlb: GatherRef, start: Vpn, end: Vpn): void {
  if (start < get(tlb, Gather.start)) set(tlb, Gather.start, start);
  if (end > get(tlb, Gather.end)) set(tlb, Gather.end, end);
}

/** tlb_remove_page: drops a reference after the flush. */
export function* tlbRemovePage(tlb: GatherRef, page: Page): Op<number> {
  let batch = get(tlb, Gather.batch);
  if (batch === 0 || get(batch, Batch.count) === BATCH_PAGES) {
    const fresh = yield* kmallocNowait(Batch.$type);
    if (fresh === 0) {
      // No memory for a batch: flush at once and free (tlb_next_batch fails, the caller flushes).
      yield* tlbFlush(tlb);
      yield* tlbFlushTlb(tlb);
      return yield* folioPut(page);
    }
    set(fresh, Batch.next, 0);
    if (batch === 0) set(tlb, Gather.first, fresh);
    else set(batch, Batch.next, fresh);
    set(tlb, Gather.batch, fresh);
    batch = fresh;
  }
  const count = get(batch, Batch.count);
  set(batch, Batch.pages + count, page);
  set(batch, Batch.count, count + 1);
  return 0;
}

/** tlb_remove_table: frees a table of a level after the flush and a grace period. */
export function* tlbRemoveTable(tlb: GatherRef, table: Page, level: number): Op<number> {
  set(tlb, Gather.freedTables, 1);
  yield* tlbFlushTlb(tlb);
  // __tlb_remove_table: whoever may look at the table must keep the interrupt of the flush from its CPU.
  if (switched(SW.tableFreeAtOnce)) return yield* pagetableFree(table, tableOrder(level));
  if (switched(SW.tableBatchFails)) {
    // tlb_remove_table_sync_one: whoever keeps interrupts from his CPU is waited for.
    yield* flushTlbMm(get(tlb, Gather.mm));
    return yield* pagetableFree(table, tableOrder(level));
  }
  if (switched(SW.tableDtorEarly)) pagetableDtor(table);
  return yield* callRcuFreeTable(table, tableOrder(level));
}

/** tlb_flush_mmu_tlbonly. */
export function* tlbFlushTlb(tlb: GatherRef): Op<number> {
  const mm = get(tlb, Gather.mm);
  if (get(tlb, Gather.fullmm) !== 0 || get(tlb, Gather.needFlushAll) !== 0) yield* flushTlbMm(mm);
  // Also where no entry was emptied, when a table goes: CPUs remember which tables they came through.
  else if (get(tlb, Gather.end) > 0 || get(tlb, Gather.freedTables) !== 0) yield* flushTlbRange(mm, get(tlb, Gather.start), get(tlb, Gather.end));
  set(tlb, Gather.start, Number.MAX_SAFE_INTEGER);
  set(tlb, Gather.end, 0);
  set(tlb, Gather.freedTables, 0);
  return 0;
}

/** tlb_flush_mmu: flushes, then lets the gathered pages go. */
export function* tlbFlush(tlb: GatherRef): Op<number> {
  if (get(tlb, Gather.end) > 0 || get(tlb, Gather.fullmm) !== 0) yield* tlbFlushTlb(tlb);
  let batch = get(tlb, Gather.first);
  while (batch !== 0) {
    const count = get(batch, Batch.count);
    for (let i = 0; i < count; i++) {
      const page = get(batch, Batch.pages + i);
      if (switched(SW.gatherIgnoresReferences) && pageMapcount[page] === 0) {
        yield* refAdd(page, -1);
        yield* freeFolio(page);
      } else yield* folioPut(page);
    }
    const next = get(batch, Batch.next);
    yield* kfree(Batch.$type, batch);
    batch = next;
  }
  set(tlb, Gather.first, 0);
  set(tlb, Gather.batch, 0);
  return 0;
}

/** tlb_finish_mmu. */
export function* tlbFinish(tlb: GatherRef): Op<number> {
  const mm = get(tlb, Gather.mm);
  // Another gather on this mm may have emptied entries that we skipped: everything goes (tlb_finish_mmu's nested case).
  if (!switched(SW.gathersUnaware) && (yield* readOnce(mm, Mm.tlbFlushPending)) > 1) {
    set(tlb, Gather.needFlushAll, 1);
    tlbRemoveEntry(tlb, 0, 1);
  }
  yield* tlbFlush(tlb);
  yield* atomicAdd(mm, Mm.tlbFlushPending, -1);
  freeGather(tlb);
  return 0;
}
