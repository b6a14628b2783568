/** What one attempt of the allocator may do (mm/internal.h, Linux's bits). The low two bits name the watermark that counts. */
import { WMARK_LOW, WMARK_MIN } from './zone.ts';

export const ALLOC_WMARK_MIN = WMARK_MIN;
export const ALLOC_WMARK_LOW = WMARK_LOW;
export const ALLOC_WMARK_MASK = 3;
export const ALLOC_NO_WATERMARKS = 4;
/** For a task that the OOM killer chose. */
export const ALLOC_OOM = 8;
/** The request does not sleep: deeper into the reserve. */
export const ALLOC_NON_BLOCK = 0x10;
/** __GFP_HIGH: half of the min watermark is there for the request. */
export const ALLOC_MIN_RESERVE = 0x20;
export const ALLOC_CMA = 0x80;
/** Types must not be mixed within a pageblock. */
export const ALLOC_NOFRAGMENT = 0x100;
export const ALLOC_HIGHATOMIC = 0x200;
export const ALLOC_KSWAPD = 0x800;
export const ALLOC_RESERVES = ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE | ALLOC_HIGHATOMIC | ALLOC_OOM;
