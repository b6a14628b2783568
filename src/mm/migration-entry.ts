/**
 * Migration entries: what stands in the place of a page to which nobody may come for a while (include/linux/swapops.h: make_readable_migration_entry and its kin).
 *
 * Invariants: one swap type serves all of them; the offset is the page's frame with, below it, what the entry was: young, dirty, writable, of a page that is exclusive.
 * Soft-dirty and userfaultfd's bits stay where swap entries have them.
 */
import { codec } from '../kernel/arch.ts';
import { pageOfPfn, pfnOfPage } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_SOFT_DIRTY, PTE_SWAP, PTE_UFFD_WP, PTE_WRITE } from '../pagetable/canonical.ts';
import { mkPte, mkSwapPte, PTE_PAYLOAD, pteMkdirty, pteMkold, pteMkwrite, pteMkyoung, pteSet, swapOffset, swapType } from './pgtable.ts';
import type { Page } from './types.ts';

const YOUNG = 1;
const DIRTY = 2;
const WRITE = 4;
const EXCLUSIVE = 8;
const KEPT = 16;

/** −1 where the mode has none. */
const migrationType = (): number => codec.typeOf('migration', 'read');

/** is_migration_entry. */
export const isMigrationEntry = (pte: number): boolean => (pte & PTE_SWAP) !== 0 && swapType(pte) === migrationType();

/** The entry in the place of `pte`, which maps `page`. */
export function mkMigrationEntry(page: Page, pte: number, exclusive: boolean): number {
  let kept = (pte & PTE_ACCESSED) !== 0 ? YOUNG : 0;
  if ((pte & PTE_DIRTY) !== 0) kept |= DIRTY;
  if ((pte & PTE_WRITE) !== 0) kept |= WRITE;
  if (exclusive) kept |= EXCLUSIVE;
  return mkSwapPte(migrationType(), pfnOfPage(page) * KEPT + kept, pte & (PTE_SOFT_DIRTY | PTE_UFFD_WP));
}

/** How far the entries of two pages in a row are apart, in frames (storeEntries). */
export const migrationStep = (): number => Math.round((mkSwapPte(0, KEPT, 0) - mkSwapPte(0, 0, 0)) / PTE_PAYLOAD);

/** make_readable_migration_entry of an entry that stands already: nobody may write to the page, nor has it for himself. */
export const migrationMkReadable = (entry: number): number => entry - (swapOffset(entry) & (WRITE | EXCLUSIVE)) * 32 * PTE_PAYLOAD;

/** The same without the right to write: a page that is exclusive stays so. */
export const migrationWrprotect = (entry: number): number => entry - (swapOffset(entry) & WRITE) * 32 * PTE_PAYLOAD;

/** −1 where the kernel has no memory failure. */
const hwpoisonType = (): number => codec.typeOf('hwpoison');

/** CONFIG_MEMORY_FAILURE can be had: the mode has entries for what is poisoned. */
export const hasHwpoison = (): boolean => hwpoisonType() >= 0;

/** is_hwpoison_entry. */
export const isHwpoisonEntry = (pte: number): boolean => (pte & PTE_SWAP) !== 0 && swapType(pte) === hwpoisonType();

/** make_hwpoison_entry: what stands in the place of a page that must not be touched. */
export const mkHwpoisonEntry = (page: Page): number => mkSwapPte(hwpoisonType(), pfnOfPage(page), 0);

/** pfn_swap_entry_to_page: the page that a migration entry or one of poison stands for, 0 for all others. */
export function pfnSwapEntryPage(entry: number): Page {
  if (isMigrationEntry(entry)) return pageOfPfn(migrationPfn(entry));
  return isHwpoisonEntry(entry) ? pageOfPfn(swapOffset(entry)) : 0;
}

/** Frame of the page that it stands for. */
export const migrationPfn = (entry: number): number => Math.floor(swapOffset(entry) / KEPT);

export const migrationExclusive = (entry: number): boolean => (swapOffset(entry) & EXCLUSIVE) !== 0;

/** The entry that it stands for, with a page and a protection. */
export function pteOfMigration(entry: number, page: Page, prot: number): number {
  const kept = swapOffset(entry) % KEPT;
  let pte = mkPte(page, prot);
  pte = (kept & YOUNG) !== 0 ? pteMkyoung(pte) : pteMkold(pte);
  if ((kept & DIRTY) !== 0) pte = pteMkdirty(pte);
  if ((kept & WRITE) !== 0) pte = pteMkwrite(pte);
  return pteSet(pte, entry & (PTE_SOFT_DIRTY | PTE_UFFD_WP));
}
