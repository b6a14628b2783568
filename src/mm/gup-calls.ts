/**
 * get_user_pages and pin_user_pages as their callers know them (mm/gup.c): which flags may be said, who holds the mmap lock, pins that last.
 *
 * Invariants: references and pins are never mixed, and FOLL_LONGTERM is for pins; what callers may not say is refused without anything done
 * (is_valid_gup_args): −EINVAL, or 0 by pin_user_pages() and its kin, which callers must take for nothing pinned. Pages go behind those that the vector
 * has already; of a negative result none is new.
 *
 * `start` counts in pages of the address space, as everywhere: Linux takes any byte of the first page.
 */
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { EAGAIN, EINVAL } from './errno.ts';
import { getUserPagesLocked } from './gup.ts';
import { unpinUserPages } from './gup-pin.ts';
import {
  allocGup,
  FOLL_GET,
  FOLL_LONGTERM,
  FOLL_PIN,
  FOLL_REMOTE,
  FOLL_TOUCH,
  FOLL_UNLOCKABLE,
  freeGup,
  Gup,
  type GupRef,
  INTERNAL_GUP_FLAGS,
  PageVector,
  type PageVectorRef,
} from './gup-types.ts';
import { collectLongtermUnpinnable, migrateForPin } from './migrate-contig.ts';
import type { MmRef, Vpn } from './types.ts';

/** is_valid_gup_args: the flags of a call, with those that its name stands for; −EINVAL where these do not go with what the caller says. */
export function gupFlags(said: number, implied: number, vector: PageVectorRef): number {
  if ((said & INTERNAL_GUP_FLAGS) !== 0) return -EINVAL;
  const flags = said | implied;
  if ((flags & (FOLL_PIN | FOLL_GET)) === (FOLL_PIN | FOLL_GET)) return -EINVAL;
  if ((flags & (FOLL_PIN | FOLL_LONGTERM)) === FOLL_LONGTERM) return -EINVAL;
  return (flags & (FOLL_GET | FOLL_PIN)) !== 0 && vector === 0 ? -EINVAL : flags;
}

// --- pins that last ---------------------------------------------------------------------------------------------------------

/**
 * check_and_migrate_movable_pages: 0 when all pages of a vector from a place on may stay pinned. Else none is pinned any more: −EAGAIN when those that may
 * not stay where they are have been moved, and all are to be pinned again; −ENOMEM when one could not be moved.
 */
function* checkAndMigrateMovablePages(vector: PageVectorRef, from: number): Op<number> {
  const list = yield* collectLongtermUnpinnable(vector, from);
  if (list < 0) return 0;
  // With pins on them they could not be moved.
  yield* unpinUserPages(vector, from);
  return yield* migrateForPin(list);
}

/** __gup_longterm_locked: __get_user_pages_locked() that sees to it, for FOLL_LONGTERM, that pages are pinned only where they may stay. */
export function* gupLongtermLocked(gup: GupRef, start: Vpn, count: number): Op<number> {
  if ((get(gup, Gup.flags) & FOLL_LONGTERM) === 0) return yield* getUserPagesLocked(gup, start, count);
  const vector = get(gup, Gup.vector);
  const from = get(vector, PageVector.count);
  for (;;) {
    const pinned = yield* getUserPagesLocked(gup, start, count);
    if (pinned <= 0) return pinned;
    const moved = yield* checkAndMigrateMovablePages(vector, from);
    if (moved !== -EAGAIN) return moved !== 0 ? moved : pinned;
  }
}

// --- our own memory ---------------------------------------------------------------------------------------------------------

/** A call with flags that are all right. `locked`: whether the caller holds the mmap lock; he holds it at the end then. */
export function* gupCall(mm: MmRef, start: Vpn, count: number, flags: number, vector: PageVectorRef, locked: number): Op<number> {
  const gup = allocGup();
  set(gup, Gup.mm, mm);
  set(gup, Gup.flags, flags);
  set(gup, Gup.vector, vector);
  set(gup, Gup.locked, locked);
  const got = yield* gupLongtermLocked(gup, start, count);
  freeGup(gup);
  return got;
}

/** get_user_pages: referenced pages; with no vector they are only faulted in. How many, or −errno. Needs the mmap lock, which is never released. */
export function* getUserPages(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_TOUCH, vector);
  return flags < 0 ? flags : yield* gupCall(mm, start, count, flags, vector, 1);
}

/** get_user_pages_unlocked: the same for who does not hold the mmap lock. */
export function* getUserPagesUnlocked(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_TOUCH | FOLL_UNLOCKABLE, vector);
  return flags < 0 ? flags : yield* gupCall(mm, start, count, flags, vector, 0);
}

/** pin_user_pages: pinned pages; 0 for flags that do not go together. Needs the mmap lock, which is never released. */
export function* pinUserPages(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_PIN, vector);
  return flags < 0 ? 0 : yield* gupCall(mm, start, count, flags, vector, 1);
}

/** pin_user_pages_unlocked: the same for who does not hold the mmap lock. */
export function* pinUserPagesUnlocked(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_PIN | FOLL_TOUCH | FOLL_UNLOCKABLE, vector);
  return flags < 0 ? 0 : yield* gupCall(mm, start, count, flags, vector, 0);
}

// --- another one's ----------------------------------------------------------------------------------------------------------

/**
 * get_user_pages_remote, of the address space that `gup` names, by the flags that it says. `Gup.locked` is 1, as the caller holds the mmap lock for reading;
 * it is 0 at the end where that was released on the way.
 */
export function* getUserPagesRemote(gup: GupRef, start: Vpn, count: number): Op<number> {
  const flags = gupFlags(get(gup, Gup.flags), FOLL_TOUCH | FOLL_REMOTE, get(gup, Gup.vector));
  if (flags < 0 || get(gup, Gup.locked) !== 1) return -EINVAL;
  set(gup, Gup.flags, flags | FOLL_UNLOCKABLE);
  return yield* getUserPagesLocked(gup, start, count);
}

/** pin_user_pages_remote: the same with pins; 0 for flags that do not go together. */
export function* pinUserPagesRemote(gup: GupRef, start: Vpn, count: number): Op<number> {
  const flags = gupFlags(get(gup, Gup.flags), FOLL_PIN | FOLL_TOUCH | FOLL_REMOTE, get(gup, Gup.vector));
  if (flags < 0 || get(gup, Gup.locked) !== 1) return 0;
  set(gup, Gup.flags, flags | FOLL_UNLOCKABLE);
  return yield* gupLongtermLocked(gup, start, count);
}
