/** An upper entry of two words (pmd-pair.ts). */
import { defineStruct, type Ref } from '../memory/struct.ts';

export const PmdPair = defineStruct('pmdPair', {
  /** The lock of the table that it stands in. */
  lock: 'lock',
  /** The word that makes it present; 0 when it is empty. */
  low: 'number',
  high: 'number',
});
export type PmdPairRef = Ref<'pmdPair'>;
