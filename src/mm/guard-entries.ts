/** The entries of guard regions: markers whose access raises SIGSEGV (mm/madvise.c: guard_install_walk_ops, guard_remove_walk_ops). */
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, set } from '../kernel/ops.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { ACTION_CONTINUE, MmWalk, type MmWalkRef } from './mm-walk.ts';
import { isGuardPte, mkPteMarker, PTE_MARKER_GUARD, ptePresent } from './pgtable.ts';

const isHuge = (entry: number): boolean => (entry & PTE_TABLE) === 0 && ptePresent(entry);

/** guard_install_pud_entry, guard_install_pmd_entry: 1 for a huge page, which is taken away first as anything else that is mapped. */
export const guardInstallHuge = (entry: number): number => (isHuge(entry) ? 1 : 0);

/** guard_install_pte_entry: 1 for what is no marker. `blind`: what stands there is not looked at (a mutation). */
export function* guardInstallPte(ptep: number, blind: number): Op<number> {
  if (isGuardPte(yield* entryGet(ptep, 0))) return 0;
  return blind !== 0 ? yield* entrySet(ptep, 0, guardInstallSetPte()) : 1;
}

/** guard_install_set_pte: what an empty entry is filled with. */
export const guardInstallSetPte = (): number => mkPteMarker(PTE_MARKER_GUARD);

/** guard_remove_pud_entry, guard_remove_pmd_entry: no marker stands where a huge page is. */
export function guardRemoveHuge(walk: MmWalkRef, entry: number): number {
  if (isHuge(entry)) set(walk, MmWalk.action, ACTION_CONTINUE);
  return 0;
}

/** guard_remove_pte_entry: a marker goes, anything else stays. */
export function* guardRemovePte(ptep: number): Op<number> {
  return isGuardPte(yield* entryGet(ptep, 0)) ? yield* entrySet(ptep, 0, 0) : 0;
}
