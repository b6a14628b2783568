/** Top tables of 32-bit x86, and the list of them (pgd-list.ts). */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

/** Entries of the kernel's half that are looked at. */
export const KERNEL_ENTRIES = 2;

/** The top table of a process. */
export const PgdCopy = defineStruct('pgdCopy', {
  next: 'ref:pgdCopy',
  entries: array(KERNEL_ENTRIES, 'number'),
});
export type PgdCopyRef = Ref<'pgdCopy'>;

export const PgdList = defineStruct('pgdList', {
  /** pgd_lock. */
  lock: 'lock',
  first: 'ref:pgdCopy',
  /** The kernel's own top table (swapper_pg_dir). */
  entries: array(KERNEL_ENTRIES, 'number'),
});
export type PgdListRef = Ref<'pgdList'>;
