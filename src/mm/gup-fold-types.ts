/** Ways of folding levels, and the stack that copies of entries lie on (gup-fold.ts). */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

/** Where the levels above the real top one end their rounds. */
export const FOLD_STATIC = 0;
/** s390: nowhere, their spans are those of five levels. */
export const FOLD_MIDDLE = 1;
/** s390, as it was proposed: where the real top one does. */
export const FOLD_DYNAMIC_ENDS = 2;

/** Copies that a stack has room for: one a level, and what lies behind. */
export const COPIES = 8;

export const GupStack = defineStruct('gupStack', {
  /** FOLD_. */
  fold: 'number',
  /** The level that is really the top one. */
  top: 'number',
  /** Copies of entries; the caller's behind the callee's. */
  copies: array(COPIES),
  /** The lowest copy. */
  pointer: 'count',
});
export type GupStackRef = Ref<'gupStack'>;
