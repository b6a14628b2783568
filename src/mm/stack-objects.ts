/**
 * Objects that Linux keeps on the stack of a call (struct mmu_gather, struct vm_fault, …): in the heap here, so that a call in the middle is
 * flat memory. Allocating one is not an allocation of the modelled kernel: it cannot fail and is no interruption point.
 */
import { allocObject, freeObject } from '../memory/state.ts';
import { Gather, type GatherRef } from './types.ts';

export const allocGather = (): GatherRef => allocObject(Gather.$type, Gather.$size);
export const freeGather = (tlb: GatherRef): void => freeObject(tlb, Gather.$size);
