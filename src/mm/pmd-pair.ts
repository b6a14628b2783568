/**
 * Upper entries of two words on machines that read one at a time (include/linux/pgtable.h: pmdp_get_lockless, pmdp_get_lockless_sync; x86 PAE, arm LPAE, e500).
 *
 * The codecs read an entry of any size at once; this is the protocol alone, on two words of the heap. Invariants: the word that makes an entry present is written last
 * and emptied first, so what looks present has its other half; an entry that was emptied gets a new value only when nobody is reading it any more, or he could
 * see the same first word twice with another's second word in between.
 */
import type { Op } from '../kernel/op.ts';
import { flushTlbMm, localIrqDisable, localIrqEnable, readOnce, spinLock, spinUnlock, switched, writeOnce } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { allocObject } from '../memory/state.ts';
import { PmdPair, type PmdPairRef } from './pmd-pair-types.ts';
import type { MmRef } from './types.ts';

export const allocPmdPair = (): PmdPairRef => allocObject(PmdPair.$type, PmdPair.$size);

/** The two halves as one number: low · 1000 + high. */
export const pairOf = (low: number, high: number): number => low * 1000 + high;

/** set_pmd. */
export function* pairSet(pair: PmdPairRef, low: number, high: number): Op<number> {
  yield* writeOnce(pair, PmdPair.high, high);
  return yield* writeOnce(pair, PmdPair.low, low);
}

/** pmdp_get_lockless, with interrupts off: both halves of one value, 0 for an empty entry. */
function* pairGetLockless(pair: PmdPairRef): Op<number> {
  for (;;) {
    const low = yield* readOnce(pair, PmdPair.low);
    if (low === 0) return 0;
    const high = yield* readOnce(pair, PmdPair.high);
    if (switched(SW.pmdPairNoRecheck) || (yield* readOnce(pair, PmdPair.low)) === low) return pairOf(low, high);
  }
}

/** What a walker without locks finds. */
export function* pairWalk(pair: PmdPairRef): Op<number> {
  yield* localIrqDisable();
  const found = yield* pairGetLockless(pair);
  yield* localIrqEnable();
  return found;
}

/** Empties an entry, as who takes a table out of the tree does, and puts another into it, as a fault does afterwards. */
export function* pairReplace(pair: PmdPairRef, low: number, high: number, mm: MmRef): Op<number> {
  yield* spinLock(pair + PmdPair.lock);
  yield* writeOnce(pair, PmdPair.low, 0);
  yield* writeOnce(pair, PmdPair.high, 0);
  // pmdp_get_lockless_sync: an interrupt to all CPUs.
  if (!switched(SW.pmdPairNoSync)) yield* flushTlbMm(mm);
  yield* spinUnlock(pair + PmdPair.lock);
  yield* spinLock(pair + PmdPair.lock);
  // Who fills finds it empty, or leaves it to whom was faster.
  if ((yield* readOnce(pair, PmdPair.low)) === 0) yield* pairSet(pair, low, high);
  return yield* spinUnlock(pair + PmdPair.lock);
}
