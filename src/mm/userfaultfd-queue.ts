/**
 * Waiting for a userfaultfd, and waking (fs/userfaultfd.c: the wait queues, userfaultfd_ctx_get and _put, wake_userfault).
 *
 * Invariant: queues change under their lock; who is woken leaves its queue in the same step.
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, get, kfree, kmalloc, set, spinLock, spinUnlock, waitFor, writeOnce } from '../kernel/ops.ts';
import type { Field, Ref } from '../memory/struct.ts';
import { globals } from './globals.ts';
import { mmdrop, mmgrab } from './process.ts';
import { Globals, type MmRef, Process, type ProcessRef, Vma } from './types.ts';
import { Uffd, type UffdRef, Uwq, type UwqRef } from './userfaultfd-types.ts';
import { firstVma } from './vma-tree.ts';

/** __add_wait_queue: the newest is the last. `head` is the place of the first. */
export function uwqAdd(ctx: UffdRef, head: Field<'uffd'>, uwq: UwqRef): void {
  set(uwq, Uwq.next, 0);
  set(uwq, Uwq.queued, 1);
  let last = get(ctx, head);
  if (last === 0) set(ctx, head, uwq);
  else {
    while (get(last, Uwq.next) !== 0) last = get(last, Uwq.next);
    set(last, Uwq.next, uwq);
  }
  noteReadable(ctx);
}

function noteReadable(ctx: UffdRef): void {
  set(ctx, Uffd.readable, get(ctx, Uffd.pending) !== 0 || get(ctx, Uffd.events) !== 0 ? 1 : 0);
}

/** list_del: when it stands in that queue. */
export function uwqRemove(ctx: UffdRef, head: Field<'uffd'>, uwq: UwqRef): void {
  let before: Ref<'uwq'> = 0;
  let at = get(ctx, head);
  while (at !== 0 && at !== uwq) {
    before = at;
    at = get(at, Uwq.next);
  }
  if (at === 0) return;
  if (before === 0) set(ctx, head, get(uwq, Uwq.next));
  else set(before, Uwq.next, get(uwq, Uwq.next));
  set(uwq, Uwq.next, 0);
  set(uwq, Uwq.queued, 0);
  noteReadable(ctx);
}

/** A context for an address space, with one reference; 0 without memory. */
export function* newUffd(mm: MmRef, flags: number): Op<UffdRef> {
  const ctx = yield* kmalloc(Uffd.$type);
  if (ctx === 0) return 0;
  set(ctx, Uffd.refcount, 1);
  set(ctx, Uffd.flags, flags);
  set(ctx, Uffd.mm, mm);
  yield* mmgrab(mm);
  yield* atomicAdd(globals, Globals.userfaultfds, 1);
  return ctx;
}

/** userfaultfd_ctx_get. */
export function* uffdGet(ctx: UffdRef): Op<number> {
  return yield* atomicAdd(ctx, Uffd.refcount, 1);
}

/** userfaultfd_ctx_put. */
export function* uffdPut(ctx: UffdRef): Op<number> {
  if ((yield* atomicAdd(ctx, Uffd.refcount, -1)) !== 0) return 0;
  yield* mmdrop(get(ctx, Uffd.mm));
  yield* atomicAdd(globals, Globals.userfaultfds, -1);
  return yield* kfree(Uffd.$type, ctx);
}

/** Sleeps until it is woken. */
export function* uwqSleep(uwq: UwqRef): Op<number> {
  return yield* waitFor(uwq, Uwq.waken, 1);
}

/** A fatal signal for a process that sleeps in a userfaultfd of its own address space: its waits end, and no new ones begin. */
export function* killSleeping(process: ProcessRef): Op<number> {
  set(process, Process.groupExit, 1);
  const mm = get(process, Process.mm);
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
    const ctx = get(vma, Vma.uffd);
    if (ctx === 0) continue;
    yield* wakeUserfault(ctx, 0, 0);
    yield* wakeEvents(ctx);
  }
  return 0;
}

/** userfaultfd_wake_function on a queue of faults: those in [start, start + bytes), all of them with 0 bytes. Needs the lock. */
function* wakeQueue(ctx: UffdRef, head: Field<'uffd'>, start: number, bytes: number): Op<number> {
  let uwq = get(ctx, head);
  while (uwq !== 0) {
    const next = get(uwq, Uwq.next);
    const address = get(uwq, Uwq.a);
    if (bytes === 0 || (address >= start && address < start + bytes)) {
      uwqRemove(ctx, head, uwq);
      yield* writeOnce(uwq, Uwq.waken, 1);
    }
    uwq = next;
  }
  return 0;
}

/** wake_userfault: faults of [start, start + bytes) start again, whether they were read or not. */
export function* wakeUserfault(ctx: UffdRef, start: number, bytes: number): Op<number> {
  yield* spinLock(ctx + Uffd.faultLock);
  yield* wakeQueue(ctx, Uffd.pending, start, bytes);
  yield* wakeQueue(ctx, Uffd.faults, start, bytes);
  return yield* spinUnlock(ctx + Uffd.faultLock);
}

/** wake_up_all(&ctx->event_wqh) of a context that is released: nobody waits for an event to be read any longer. */
export function* wakeEvents(ctx: UffdRef): Op<number> {
  yield* spinLock(ctx + Uffd.eventLock);
  let uwq = get(ctx, Uffd.events);
  while (uwq !== 0) {
    const next = get(uwq, Uwq.next);
    yield* writeOnce(uwq, Uwq.waken, 1);
    uwq = next;
  }
  return yield* spinUnlock(ctx + Uffd.eventLock);
}
