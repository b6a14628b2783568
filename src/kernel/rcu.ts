/**
 * Read-copy-update: what readers may still look at is freed after a grace period.
 *
 * Invariants: what is queued names the tasks that were inside a read section at that moment; it is freed the moment the last of them leaves, which is
 * the earliest that Linux could. While nobody reads, a grace period is over at once: a lone task frees at the place where it asks to. Interrupts off
 * are a read section as well: a CPU that takes no interrupt passes no quiescent state.
 */
import { freePages } from '../memory/buddy.ts';
import { alloc, free, get, set } from '../memory/heap.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { heap, pageFlags, pageRefcount, setPageFlags, setPageRefcount, setSlot } from '../memory/state.ts';
import { KernelBug } from './bug.ts';
import { cpu } from './current.ts';
import { SW, switched } from './switches.ts';
import { forgetLock } from './table-lock.ts';
import { firstTask, HW_DEFER_RCU, KernelState, kernelState, looked, RcuHead, running, Task } from './task.ts';
import { checkTableFree } from './tlb.ts';

export function rcuReadLock(): number {
  if (running !== 0) setSlot(running + Task.rcuDepth, heap[running + Task.rcuDepth] + 1);
  return 0;
}

export function rcuReadUnlock(): number {
  if (running === 0) return 0;
  const depth = heap[running + Task.rcuDepth] - 1;
  if (depth < 0) throw new KernelBug('I23', `task ${heap[running + Task.number]} leaves an RCU read section that it is not in`);
  setSlot(running + Task.rcuDepth, depth);
  if (!reads(running)) readerLeaves(1 << heap[running + Task.number]);
  return 0;
}

/** local_irq_save: the CPU takes no interrupt until the last of as many local_irq_restore, so flushes that others ask it for wait. */
export function localIrqDisable(): number {
  if (running !== 0) setSlot(running + Task.irqsOff, heap[running + Task.irqsOff] + 1);
  return 0;
}

/** local_irq_restore. */
export function localIrqEnable(): number {
  if (running === 0) return 0;
  const depth = heap[running + Task.irqsOff] - 1;
  if (depth < 0) throw new KernelBug('I23', `task ${heap[running + Task.number]} switches interrupts on, which are on`);
  setSlot(running + Task.irqsOff, depth);
  if (!reads(running)) readerLeaves(1 << heap[running + Task.number]);
  return 0;
}

/** Whether every other CPU would take an interrupt now. */
export function interruptsTaken(): boolean {
  for (let task = firstTask(); task !== 0; task = heap[task + Task.next]) if (heap[task + Task.irqsOff] > 0) return false;
  return true;
}

/** Waits until every other CPU has taken an interrupt: has passed a moment with interrupts on. */
export const syncInterrupts = (): number => 0;

/** Whether grace periods wait for a task. */
const reads = (task: number): boolean => heap[task + Task.rcuDepth] > 0 || (heap[task + Task.irqsOff] > 0 && !switched(SW.rcuIgnoresIrqsOff));

/** A task left its read section: what waited for it alone goes. */
function readerLeaves(bit: number): void {
  const kernel = kernelState();
  let before = 0;
  for (let head = get(kernel, KernelState.rcu); head !== 0; ) {
    const next = get(head, RcuHead.next);
    const readers = get(head, RcuHead.readers) & ~bit;
    set(head, RcuHead.readers, readers);
    if (readers !== 0 || deferred()) before = head;
    else {
      if (before === 0) set(kernel, KernelState.rcu, next);
      else set(before, RcuHead.next, next);
      if (next === 0) set(kernel, KernelState.rcuLast, before);
      freeTable(get(head, RcuHead.page), get(head, RcuHead.order));
      free(RcuHead, head);
    }
    head = next;
  }
}

/** Callbacks run later than they could (hardware.ts). */
const deferred = (): boolean => (heap[kernelState() + KernelState.hardware] & HW_DEFER_RCU) !== 0;

/** The oldest callback whose grace period is over, 0 for none. */
export function rcuCallbackReady(): number {
  for (let head = get(kernelState(), KernelState.rcu); head !== 0; head = get(head, RcuHead.next)) if (get(head, RcuHead.readers) === 0) return head;
  return 0;
}

/** Runs it. */
export function runRcuCallback(): void {
  const ready = rcuCallbackReady();
  const kernel = kernelState();
  const next = get(ready, RcuHead.next);
  let before = 0;
  for (let head = get(kernel, KernelState.rcu); head !== ready; head = get(head, RcuHead.next)) before = head;
  if (before === 0) set(kernel, KernelState.rcu, next);
  else set(before, RcuHead.next, next);
  if (next === 0) set(kernel, KernelState.rcuLast, before);
  freeTable(get(ready, RcuHead.page), get(ready, RcuHead.order));
  free(RcuHead, ready);
}

/** rcu_barrier(): all callbacks run. Nobody reads. */
export function rcuBarrier(): void {
  while (kernelState() !== 0 && rcuCallbackReady() !== 0) runRcuCallback();
}

/** Tasks inside a read section, as bits. */
function readersNow(): number {
  looked.tasks = true;
  let readers = 0;
  for (let task = firstTask(); task !== 0; task = heap[task + Task.next]) if (reads(task)) readers |= 1 << heap[task + Task.number];
  return readers;
}

/** tlb_remove_table: frees a page table after the grace period. */
export function callRcuFreeTable(table: number, order: number): number {
  const readers = running === 0 ? 0 : readersNow();
  if (readers === 0 && (running === 0 || !deferred())) {
    freeTable(table, order);
    return 0;
  }
  const kernel = kernelState();
  const head = alloc(RcuHead);
  set(head, RcuHead.page, table);
  set(head, RcuHead.order, order);
  set(head, RcuHead.readers, readers);
  const last = get(kernel, KernelState.rcuLast);
  if (last === 0) set(kernel, KernelState.rcu, head);
  else set(last, RcuHead.next, head);
  set(kernel, KernelState.rcuLast, head);
  return 0;
}

function freeTable(table: number, order: number): void {
  checkTableFree(table);
  forgetLock(table);
  setPageFlags(table, pageFlags[table] & ~PG_TABLE);
  const left = pageRefcount[table] - 1;
  setPageRefcount(table, left);
  if (left === 0) freePages(table, order, cpu);
  // Somebody took a reference to the page that this was before it became a table, and has yet to see that it is another: he frees the first page (__free_pages).
  else for (let part = order - 1; part >= 0; part--) freePages(table + (1 << part), part, cpu);
}
