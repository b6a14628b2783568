/** What a look at the references of a page found out (mm/rmap.c: struct folio_referenced_arg): in Linux an object on the stack. */
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';

export type PraRef = Ref<'pra'>;

export const Pra = defineStruct('pra', {
  /** Mappings not yet looked at. */
  mapcount: 'count',
  /** Mappings through which the page was accessed, −1 for a page that is not worth looking at. */
  referenced: 'number',
  /** Flags of the VMAs of those; VM_LOCKED for a page that one locks. */
  vmFlags: 'flags',
});

export const allocPra = (): PraRef => allocObject(Pra.$type, Pra.$size);
export const freePra = (pra: PraRef): void => freeObject(pra, Pra.$size);
