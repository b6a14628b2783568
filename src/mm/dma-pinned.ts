/**
 * Whether somebody may have pinned a page for a device (include/linux/mm.h: folio_maybe_dma_pinned, folio_needs_cow_for_dma; mm/gup.c).
 *
 * Invariants: a pin is a reference and counts in a column of its own; both change in one step, so whoever reads the reference count atomically knows the pins.
 * Linux has no such column for small folios, but adds GUP_PIN_COUNTING_BIAS to their reference count, so that as many references look like a pin there, and here:
 * what it reads is the references and, for each pin, the rest of the bias. An address space in which nothing was ever pinned
 * says so (MMF_HAS_PINNED), before its first pin.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { cmpxchg, get, readOnce, refAdd } from '../kernel/ops.ts';
import { compoundOrder, pageFolio } from '../memory/folio.ts';
import { pagePincount } from '../memory/state.ts';
import { MMF_HAS_PINNED } from './mm-flags.ts';
import { Mm, type MmRef, type Page, Vma, type VmaRef } from './types.ts';

/** What a pin of a small folio adds to its reference count in Linux. */
export const GUP_PIN_COUNTING_BIAS = 1024;

/** folio_has_pincount: large folios count their pins; of 32-bit kernels those that have a third page to do it in. */
const folioHasPincount = (folio: Page): boolean => compoundOrder(folio) > (codec.vaBits <= 32 ? 1 : 0);

/** folio_maybe_dma_pinned, of the folio that a page belongs to: one read of the count. False is certain, true is not: many references look like a pin. */
export function* folioMaybeDmaPinned(page: Page): Op<boolean> {
  const folio = pageFolio(page);
  const refs = yield* refAdd(folio, 0);
  if (folioHasPincount(folio)) return pagePincount[folio] > 0;
  return refs + pagePincount[folio] * (GUP_PIN_COUNTING_BIAS - 1) >= GUP_PIN_COUNTING_BIAS;
}

/** folio_needs_cow_for_dma: fork must not share the page. The mm's write_protect_seq is odd, so that whoever pins without a lock from now on notices. */
export function* folioNeedsCowForDma(vma: VmaRef, page: Page): Op<boolean> {
  if (((yield* readOnce(get(vma, Vma.mm), Mm.flags)) & MMF_HAS_PINNED) === 0) return false;
  return yield* folioMaybeDmaPinned(page);
}

/** mm_set_has_pinned_flag: it stays as long as the address space. */
export function* mmSetHasPinnedFlag(mm: MmRef): Op<number> {
  for (;;) {
    const flags = yield* readOnce(mm, Mm.flags);
    if ((flags & MMF_HAS_PINNED) !== 0) return 0;
    if ((yield* cmpxchg(mm, Mm.flags, flags, flags | MMF_HAS_PINNED)) === flags) return 0;
  }
}
