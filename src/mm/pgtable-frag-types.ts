/** A page that holds several page tables (pgtable-frag.ts). */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

/** Fragments of a page. */
export const FRAGS = 2;

export const FragPage = defineStruct('fragPage', {
  page: 'page',
  /** Fragments that are in use (pt_frag_refcount). */
  refcount: 'count',
  /** 1 where an upper entry leads to a fragment. */
  upper: array(FRAGS, 'number'),
  /** Whom a fragment was made for: its first entry says so. */
  owner: array(FRAGS, 'number'),
});
export type FragPageRef = Ref<'fragPage'>;
