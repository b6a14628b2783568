/** What an entry of a page table says by itself, as views of pages have it. Looking changes nothing. */
import { PTE_MARKER_GUARD, PTE_MARKER_POISONED, pteMarker } from '../mm/pgtable.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_UFFD_WP } from '../pagetable/canonical.ts';
import { PAGE, type PageKind } from './proc/view.ts';

/** What a marker stands for; undefined for an entry that is none. */
export function markerKind(pte: number): PageKind | undefined {
  const marker = pteMarker(pte);
  if (marker === 0) return undefined;
  return (marker & PTE_MARKER_GUARD) !== 0 ? 'guard' : (marker & PTE_MARKER_POISONED) !== 0 ? 'poison' : 'uffd-wp';
}

/** Flags of a page (PAGE.…) that are bits of the entry that maps it. */
export const entryFlags = (pte: number): number =>
  ((pte & PTE_ACCESSED) !== 0 ? PAGE.YOUNG : 0) | ((pte & PTE_DIRTY) !== 0 ? PAGE.ENTRY_DIRTY : 0) | ((pte & PTE_UFFD_WP) !== 0 ? PAGE.UFFD_WP : 0);
