/** The one object of kernel-wide variables. It is the first that a machine allocates, so its place is known before any machine exists. */
import { FIRST_OBJECT } from '../memory/state.ts';
import type { GlobalsRef } from './types.ts';

export const globals: GlobalsRef = FIRST_OBJECT;
