/** Address space identifiers: a number that tags translations, and the generation in which it was given out (arch/arm64/mm/context.c). */
import { tagBy } from '../kernel/tlb.ts';
import { get } from '../memory/heap.ts';
import { Mm } from './types.ts';

/** What separates an ASID from its generation (ASID_FIRST_VERSION). Numbers begin at 1: 0 tags what belongs to no process. */
export const ASID_SPAN = 65536;

/** __ctxid2asid. */
export const asidOf = (context: number): number => context % ASID_SPAN;
/** The generation of a context id. */
export const generationOf = (context: number): number => Math.floor(context / ASID_SPAN);

tagBy((mm) => asidOf(get(mm, Mm.contextId)));
