/**
 * Write protection by userfaultfd outlives the entry of a file's page (include/linux/mm_inline.h: pte_install_uffd_wp_if_needed).
 *
 * Invariant: where an entry that was write-protected leaves nothing behind, a marker takes its place before the lock of the table is released.
 */
import type { Op } from '../kernel/op.ts';
import { entrySet } from '../kernel/ops.ts';
import { mkPteMarker, PTE_MARKER_UFFD_WP, PTE_UFFD_WP } from './pgtable.ts';
import type { VmaRef } from './types.ts';
import { userfaultfdWp } from './userfaultfd-vma.ts';
import { vmaIsAnonymous } from './vm-ops.ts';

/** Sets a marker where an entry was that held `pte`, if that was write-protected; 1 when it did. Needs the lock of the table; the entry is empty. */
export function* pteInstallUffdWpIfNeeded(vma: VmaRef, ptep: number, pte: number): Op<number> {
  if ((pte & PTE_UFFD_WP) === 0 || vmaIsAnonymous(vma) || !userfaultfdWp(vma)) return 0;
  yield* entrySet(ptep, 0, mkPteMarker(PTE_MARKER_UFFD_WP));
  return 1;
}
