/**
 * Which lock guards the entries of a page table (ptdesc's ptl): its own, named by the negated page, or one that it shares, whose heap slot stands in the page's
 * `mapping` while it is a table.
 */
import { pageMapping, setPageMapping } from '../memory/state.ts';

/** The lock of a table's entries. */
export const tableLock = (table: number): number => (pageMapping[table] === 0 ? -table : pageMapping[table]);

/** A fresh table's entries are guarded by the lock of a heap slot (kernels without split locks: the mm's page_table_lock). */
export function shareLock(table: number, lock: number): void {
  setPageMapping(table, lock);
}

/** The page is no table any longer. */
export function forgetLock(table: number): void {
  if (pageMapping[table] !== 0) setPageMapping(table, 0);
}
