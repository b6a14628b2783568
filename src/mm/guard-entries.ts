/** The entries of guard regions: markers whose access raises SIGSEGV (mm/madvise.c: guard_install_pte_entry, guard_remove_pte_entry and their kin). */
import { entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, spinUnlock } from '../kernel/ops.ts';
import { ENOMEM } from './errno.ts';
import { entryPointer, isGuardPte, mkPteMarker, NO_TABLE, PTE_MARKER_GUARD, pteAlloc, pteLockptr } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import type { MmRef, Vpn } from './types.ts';

/**
 * Fills empty entries of [start, end) with markers, tables made as needed; 0 when all are markers now, 1 at the first that holds something else, −ENOMEM.
 * `blind`: what stands there is not looked at (a mutation).
 */
export function* installMarkers(mm: MmRef, start: Vpn, end: Vpn, blind: number): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const made = yield* pteAlloc(mm, vpn);
    if (made === 0) return -ENOMEM;
    // A huge page is taken away in part, or as a whole, as anything else that is mapped.
    if (made === NO_TABLE) return 1;
    const pmdp = yield* entryPointer(mm, vpn, 1);
    let ptep = yield* pteOffsetMapLock(pmdp, vpn);
    // It was reclaimed at once: again.
    if (ptep === 0) continue;
    const lock = pteLockptr(ptep);
    const next = entryEnd(vpn, end, 1);
    let foreign = 0;
    for (; vpn < next && foreign === 0; vpn++) {
      const pte = yield* entryGet(ptep, 0);
      if (pte === 0 || blind !== 0) yield* entrySet(ptep, 0, mkPteMarker(PTE_MARKER_GUARD));
      else if (!isGuardPte(pte)) foreign = 1;
      ptep += entryStride(0);
    }
    yield* spinUnlock(lock);
    if (foreign !== 0) return 1;
  }
  return 0;
}

/** guard_remove_pte_entry for a range of one table: markers go, anything else stays. */
export function* guardRemovePteRange(pmdp: number, start: Vpn, end: Vpn): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  for (let vpn = start; vpn < end; vpn++) {
    if (isGuardPte(yield* entryGet(ptep, 0))) yield* entrySet(ptep, 0, 0);
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}
