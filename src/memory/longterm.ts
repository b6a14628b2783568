/**
 * Which frames may be kept where they are for as long as somebody likes (include/linux/mm.h: folio_is_longterm_pinnable): none of an area for contiguous
 * allocations, none of the movable zone, none that is being isolated. Memory is taken away there by moving what it holds.
 */
import { MIGRATE_CMA, MIGRATE_ISOLATE, ZONE_MOVABLE } from './gfp.ts';
import { get } from './heap.ts';
import { basePfn, blockType, locate, Zone, zoneOfFrame } from './zone.ts';

/** Whether the frame of a number, which was handed out, may be pinned for long. */
export function frameIsLongtermPinnable(pfn: number): boolean {
  locate();
  const frame = pfn - basePfn;
  const type = blockType(frame);
  return type !== MIGRATE_CMA && type !== MIGRATE_ISOLATE && get(zoneOfFrame(frame), Zone.kind) !== ZONE_MOVABLE;
}
