/**
 * What a userfaultfd is told of changes of the address space (fs/userfaultfd.c: dup_userfaultfd, mremap_userfaultfd_prep, userfaultfd_remove, userfaultfd_unmap_prep …).
 *
 * Invariants: from the change on until its event was read nothing is filled through the context (mmap_changing); who waits for the event to be read holds no lock.
 */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, downWrite, get, kfree, kmalloc, readOnce, set, spinLock, spinUnlock, upWrite } from '../kernel/ops.ts';
import { allocObject, freeObject, pageShift } from '../memory/state.ts';
import { ENOMEM } from './errno.ts';
import { mmapReadUnlock } from './mmap-lock.ts';
import { Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { newUffd, uffdGet, uffdPut, uwqAdd, uwqRemove, uwqSleep } from './userfaultfd-queue.ts';
import { releaseAll } from './userfaultfd-register.ts';
import {
  UFFD_EVENT_FORK,
  UFFD_EVENT_REMAP,
  UFFD_EVENT_REMOVE,
  UFFD_EVENT_UNMAP,
  UFFD_FEATURE_EVENT_FORK,
  UFFD_FEATURE_EVENT_REMAP,
  UFFD_FEATURE_EVENT_REMOVE,
  UFFD_FEATURE_EVENT_UNMAP,
  Uffd,
  UffdFork,
  type UffdRef,
  UffdUnmap,
  type UffdUnmapRef,
  Uwq,
  type UwqRef,
} from './userfaultfd-types.ts';
import { userfaultfdSetCtx } from './userfaultfd-vma.ts';

/** The context that a call is about to change things of: referenced, and nothing is filled through it until its event was read. */
function* beginChange(ctx: UffdRef): Op<number> {
  yield* uffdGet(ctx);
  yield* downWrite(ctx + Uffd.mapChangingLock);
  yield* atomicAdd(ctx, Uffd.mmapChanging, 1);
  return yield* upWrite(ctx + Uffd.mapChangingLock);
}

/** What beginChange() began is over: its event was read, or there is nothing to tell. */
function* endChange(ctx: UffdRef): Op<number> {
  yield* atomicAdd(ctx, Uffd.mmapChanging, -1);
  return yield* uffdPut(ctx);
}

function newEvent(event: number, a: number, b: number, c: number): UwqRef {
  const ewq: UwqRef = allocObject(Uwq.$type, Uwq.$size);
  set(ewq, Uwq.event, event);
  set(ewq, Uwq.a, a);
  set(ewq, Uwq.b, b);
  set(ewq, Uwq.c, c);
  return ewq;
}

/** userfaultfd_event_wait_completion: sleeps until the event was read or the userfaultfd closed. Then the change is over. */
function* eventWaitCompletion(ctx: UffdRef, ewq: UwqRef): Op<number> {
  set(ewq, Uwq.ctx, ctx);
  yield* spinLock(ctx + Uffd.eventLock);
  uwqAdd(ctx, Uffd.events, ewq);
  yield* spinUnlock(ctx + Uffd.eventLock);
  if ((yield* readOnce(ctx, Uffd.released)) === 0) yield* uwqSleep(ewq);
  yield* spinLock(ctx + Uffd.eventLock);
  uwqRemove(ctx, Uffd.events, ewq);
  yield* spinUnlock(ctx + Uffd.eventLock);
  // Nobody has got the child's context: the child does without.
  if (get(ewq, Uwq.event) === UFFD_EVENT_FORK) yield* releaseNew(get(ewq, Uwq.a));
  freeObject(ewq, Uwq.$size);
  return yield* endChange(ctx);
}

// --- fork -------------------------------------------------------------------------------------------------------------------

/** dup_userfaultfd: the child's VMA gets a context of its own, noted in the child's mm, or none. 0 or −ENOMEM. */
export function* dupUserfaultfd(vma: VmaRef): Op<number> {
  const octx = get(vma, Vma.uffd);
  if (octx === 0) return 0;
  if ((get(octx, Uffd.features) & UFFD_FEATURE_EVENT_FORK) === 0) {
    userfaultfdSetCtx(vma, 0, 0);
    return 0;
  }
  const mm = get(vma, Vma.mm);
  for (let fctx = get(mm, Mm.uffdForks); fctx !== 0; fctx = get(fctx, UffdFork.next))
    if (get(fctx, UffdFork.orig) === octx) {
      set(vma, Vma.uffd, get(fctx, UffdFork.fresh));
      return 0;
    }
  const fctx = yield* kmalloc(UffdFork.$type);
  if (fctx === 0) return -ENOMEM;
  const ctx = yield* newUffd(mm, get(octx, Uffd.flags));
  if (ctx === 0) {
    yield* kfree(UffdFork.$type, fctx);
    return -ENOMEM;
  }
  set(ctx, Uffd.features, get(octx, Uffd.features));
  yield* beginChange(octx);
  set(fctx, UffdFork.orig, octx);
  set(fctx, UffdFork.fresh, ctx);
  set(fctx, UffdFork.next, get(mm, Mm.uffdForks));
  set(mm, Mm.uffdForks, fctx);
  set(vma, Vma.uffd, ctx);
  return 0;
}

/** dup_userfaultfd_complete: tells of a child, whose mm this is; `failed` (dup_userfaultfd_fail): there is none. */
export function* dupUserfaultfdComplete(mm: MmRef, failed: number): Op<number> {
  let fctx = get(mm, Mm.uffdForks);
  set(mm, Mm.uffdForks, 0);
  while (fctx !== 0) {
    const next = get(fctx, UffdFork.next);
    const octx = get(fctx, UffdFork.orig);
    const ctx = get(fctx, UffdFork.fresh);
    yield* kfree(UffdFork.$type, fctx);
    if (failed === 0) yield* eventWaitCompletion(octx, newEvent(UFFD_EVENT_FORK, ctx, 0, 0));
    else {
      yield* endChange(octx);
      yield* uffdPut(ctx);
    }
    fctx = next;
  }
  return 0;
}

/** userfaultfd_release_new: a context that nobody has a descriptor of. */
function* releaseNew(ctx: UffdRef): Op<number> {
  yield* releaseAll(ctx);
  return yield* uffdPut(ctx);
}

// --- mremap -----------------------------------------------------------------------------------------------------------------

/** mremap_userfaultfd_prep: the context that is told of the move when the locks are dropped; 0: none, and the VMA at the new place does without. */
export function* mremapUserfaultfdPrep(vma: VmaRef): Op<number> {
  const ctx = get(vma, Vma.uffd);
  if (ctx === 0) return 0;
  if ((get(ctx, Uffd.features) & UFFD_FEATURE_EVENT_REMAP) !== 0) {
    yield* beginChange(ctx);
    return ctx;
  }
  userfaultfdSetCtx(vma, 0, 0);
  return 0;
}

/** mremap_userfaultfd_complete, mremap_userfaultfd_fail. Pages. */
export function* mremapUserfaultfdComplete(ctx: UffdRef, from: Vpn, to: Vpn, pages: number, failed: number): Op<number> {
  if (ctx === 0) return 0;
  const size = 2 ** pageShift;
  if (failed === 0) return yield* eventWaitCompletion(ctx, newEvent(UFFD_EVENT_REMAP, from * size, to * size, pages * size));
  return yield* endChange(ctx);
}

// --- removal ----------------------------------------------------------------------------------------------------------------

/** userfaultfd_remove: before content is thrown away. 1 when nobody wants to know; else 0, after the event was read, without the mmap lock. */
export function* userfaultfdRemove(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const ctx = get(vma, Vma.uffd);
  if (ctx === 0 || (get(ctx, Uffd.features) & UFFD_FEATURE_EVENT_REMOVE) === 0) return 1;
  yield* beginChange(ctx);
  yield* mmapReadUnlock(get(vma, Vma.mm));
  yield* eventWaitCompletion(ctx, newEvent(UFFD_EVENT_REMOVE, start * 2 ** pageShift, end * 2 ** pageShift, 0));
  return 0;
}

/** userfaultfd_unmap_prep: a VMA of [start, end), which is going, is to be told of. 0 or −ENOMEM. Needs the mmap lock for writing. */
export function* userfaultfdUnmapPrep(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  const ctx = get(vma, Vma.uffd);
  if (ctx === 0 || (get(ctx, Uffd.features) & UFFD_FEATURE_EVENT_UNMAP) === 0) return 0;
  const mm = get(vma, Vma.mm);
  let last = 0;
  for (let at = get(mm, Mm.uffdUnmaps); at !== 0; at = get(at, UffdUnmap.next)) {
    if (get(at, UffdUnmap.ctx) === ctx && get(at, UffdUnmap.start) === start && get(at, UffdUnmap.end) === end) return 0;
    last = at;
  }
  const unmap = yield* kmalloc(UffdUnmap.$type);
  if (unmap === 0) return -ENOMEM;
  yield* beginChange(ctx);
  set(unmap, UffdUnmap.ctx, ctx);
  set(unmap, UffdUnmap.start, start);
  set(unmap, UffdUnmap.end, end);
  if (last === 0) set(mm, Mm.uffdUnmaps, unmap);
  else set(last, UffdUnmap.next, unmap);
  return 0;
}

/** What has gathered of what the call unmaps. Needs the mmap lock for writing. */
export function takeUffdUnmaps(mm: MmRef): UffdUnmapRef {
  const unmaps = get(mm, Mm.uffdUnmaps);
  if (unmaps !== 0) set(mm, Mm.uffdUnmaps, 0);
  return unmaps;
}

/** What has gathered is told to nobody: calls that give do_munmap() no list. Needs the mmap lock for writing. */
export function* dropUffdUnmaps(mm: MmRef): Op<number> {
  let unmap = takeUffdUnmaps(mm);
  while (unmap !== 0) {
    const next = get(unmap, UffdUnmap.next);
    const ctx = get(unmap, UffdUnmap.ctx);
    yield* kfree(UffdUnmap.$type, unmap);
    yield* endChange(ctx);
    unmap = next;
  }
  return 0;
}

/** userfaultfd_unmap_complete: tells of what was unmapped, one after the other. */
export function* userfaultfdUnmapComplete(first: UffdUnmapRef): Op<number> {
  let unmap = first;
  while (unmap !== 0) {
    const next = get(unmap, UffdUnmap.next);
    const ctx = get(unmap, UffdUnmap.ctx);
    const start = get(unmap, UffdUnmap.start) * 2 ** pageShift;
    const end = get(unmap, UffdUnmap.end) * 2 ** pageShift;
    yield* kfree(UffdUnmap.$type, unmap);
    yield* eventWaitCompletion(ctx, newEvent(UFFD_EVENT_UNMAP, start, end, 0));
    unmap = next;
  }
  return 0;
}
