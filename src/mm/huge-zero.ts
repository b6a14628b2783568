/**
 * The huge zero page: one for the machine, made when the first process reads untouched memory where a huge page fits (mm/huge_memory.c: get_huge_zero_folio,
 * mm_get_huge_zero_folio, mm_put_huge_zero_folio).
 *
 * Invariants: each address space that maps it counts once (MMF_HUGE_ZERO_FOLIO), and the shrinker one more, which gives the page back when it is the only one;
 * nobody counts mappings. Its content is never touched, so it takes no memory.
 */
import type { Op } from '../kernel/op.ts';
import { allocPage, atomicAdd, cmpxchg, get, readOnce, set, setFlags, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { __GFP_MOVABLE, __GFP_ZERO, GFP_TRANSHUGE } from '../memory/gfp.ts';
import { PG_UPTODATE } from '../memory/page-flags.ts';
import { globals } from './globals.ts';
import { pmdOrder } from './huge-orders.ts';
import { MMF_HUGE_ZERO_FOLIO } from './mm-flags.ts';
import { ptePage, ptePresent } from './pgtable.ts';
import { folioPut } from './swap.ts';
import { Globals, Mm, type MmRef } from './types.ts';
import { countVmEvent } from './vm-event.ts';
import { THP_ZERO_PAGE_ALLOC, THP_ZERO_PAGE_ALLOC_FAILED } from './vm-event-types.ts';

/** is_huge_zero_pmd. */
export const isHugeZeroPmd = (pmd: number): boolean =>
  get(globals, Globals.hugeZeroFolio) !== 0 && ptePresent(pmd) && ptePage(pmd) === get(globals, Globals.hugeZeroFolio);

/** get_huge_zero_folio: one more user; 0 without memory. */
function* getHugeZeroFolio(): Op<number> {
  for (;;) {
    let users = yield* readOnce(globals, Globals.hugeZeroUsers);
    while (users !== 0) {
      if (switched(SW.hugeZeroPlainGet)) {
        yield* atomicAdd(globals, Globals.hugeZeroUsers, 1);
        return 1;
      }
      const seen = yield* cmpxchg(globals, Globals.hugeZeroUsers, users, users + 1);
      if (seen === users) return 1;
      users = seen;
    }
    const folio = yield* allocPage((GFP_TRANSHUGE | __GFP_ZERO) & ~__GFP_MOVABLE, pmdOrder());
    if (folio === 0) {
      countVmEvent(THP_ZERO_PAGE_ALLOC_FAILED);
      return 0;
    }
    yield* setFlags(folio, PG_UPTODATE);
    if ((yield* cmpxchg(globals, Globals.hugeZeroFolio, 0, folio)) === 0) {
      // One for the caller, one for the shrinker.
      set(globals, Globals.hugeZeroUsers, 2);
      countVmEvent(THP_ZERO_PAGE_ALLOC);
      return 1;
    }
    yield* folioPut(folio);
  }
}

/** mm_get_huge_zero_folio: 0 without memory. */
export function* mmGetHugeZeroFolio(mm: MmRef): Op<number> {
  if (((yield* readOnce(mm, Mm.flags)) & MMF_HUGE_ZERO_FOLIO) !== 0) return get(globals, Globals.hugeZeroFolio);
  if ((yield* getHugeZeroFolio()) === 0) return 0;
  for (;;) {
    const flags = yield* readOnce(mm, Mm.flags);
    if ((flags & MMF_HUGE_ZERO_FOLIO) !== 0) {
      yield* atomicAdd(globals, Globals.hugeZeroUsers, -1);
      break;
    }
    if ((yield* cmpxchg(mm, Mm.flags, flags, flags | MMF_HUGE_ZERO_FOLIO)) === flags) break;
  }
  return get(globals, Globals.hugeZeroFolio);
}

/** mm_put_huge_zero_folio, at the end of an address space. */
export function* mmPutHugeZeroFolio(mm: MmRef): Op<number> {
  if ((get(mm, Mm.flags) & MMF_HUGE_ZERO_FOLIO) !== 0) yield* atomicAdd(globals, Globals.hugeZeroUsers, -1);
  return 0;
}

/** shrink_huge_zero_folio_scan: the page goes when nobody but the shrinker has it. 1 when it went. */
export function* shrinkHugeZeroFolio(): Op<number> {
  if (switched(SW.hugeZeroShrinkUnchecked)) {
    if ((yield* readOnce(globals, Globals.hugeZeroUsers)) !== 1) return 0;
    yield* atomicAdd(globals, Globals.hugeZeroUsers, -1);
  } else if ((yield* cmpxchg(globals, Globals.hugeZeroUsers, 1, 0)) !== 1) return 0;
  const folio = get(globals, Globals.hugeZeroFolio);
  set(globals, Globals.hugeZeroFolio, 0);
  yield* folioPut(folio);
  return 1;
}
