/** /proc/sys/vm files of the page allocator: reading, writing, and what is computed anew (mm/page_alloc.c: *_sysctl_handler). */
import { heap, setSlot } from './state.ts';
import { calculateMinFreeKbytes, recommendMinFreeKbytes, setupLowmemReserve, setupWatermarks } from './watermark.ts';
import { Memory, memory } from './zone.ts';

const EINVAL = 22;
const INT_MAX = 2 ** 31 - 1;

const FILES = {
  min_free_kbytes: { field: Memory.minFreeKbytes, least: 0, most: INT_MAX },
  watermark_scale_factor: { field: Memory.watermarkScaleFactor, least: 1, most: 3000 },
  watermark_boost_factor: { field: Memory.watermarkBoostFactor, least: 0, most: INT_MAX },
  percpu_pagelist_high_fraction: { field: Memory.highFraction, least: 0, most: INT_MAX },
} as const;

export type AllocatorSysctl = keyof typeof FILES | 'lowmem_reserve_ratio';

/** Least fraction that may be asked for (MIN_PERCPU_PAGELIST_HIGH_FRACTION). */
const LEAST_HIGH_FRACTION = 8;

/** The zones that lowmem_reserve_ratio lists: those that the machine is built with, but the last. */
function ratioKinds(): number[] {
  const mask = heap[memory() + Memory.zoneKinds];
  return [0, 1, 2, 3, 4, 5].filter((kind) => (mask & (1 << kind)) !== 0);
}

/** Text of a file, without its newline. */
export function readAllocatorSysctl(name: AllocatorSysctl): string {
  const root = memory();
  if (name === 'lowmem_reserve_ratio')
    return ratioKinds()
      .map((kind) => heap[root + Memory.lowmemReserveRatio + kind])
      .join('\t');
  return String(heap[root + FILES[name].field]);
}

/** Writes a file and recomputes what follows from it: 0, or −EINVAL and nothing changes. */
export function writeAllocatorSysctl(name: AllocatorSysctl, values: readonly number[]): number {
  const root = memory();
  if (values.length === 0 || values.some((v) => !Number.isInteger(v) || Math.abs(v) > INT_MAX)) return -EINVAL;
  if (name === 'lowmem_reserve_ratio') {
    // As many as are given; less than 1 is no reserve.
    ratioKinds().forEach((kind, i) => {
      if (i < values.length) setSlot(root + Memory.lowmemReserveRatio + kind, Math.max(0, values[i]));
    });
    setupLowmemReserve();
    return 0;
  }
  const { field, least, most } = FILES[name];
  const [value] = values;
  if (value < least || value > most) return -EINVAL;
  if (name === 'percpu_pagelist_high_fraction' && value !== 0 && value < LEAST_HIGH_FRACTION) return -EINVAL;
  setSlot(root + field, value);
  if (name === 'min_free_kbytes') setSlot(root + Memory.userMinFreeKbytes, value);
  // The boost factor counts when the next pageblock is claimed.
  if (name !== 'watermark_boost_factor') setupWatermarks();
  return 0;
}

/** Transparent huge pages were switched on or off: min_free_kbytes follows (start_stop_khugepaged). */
export function thpChanged(on: boolean): void {
  if (on) recommendMinFreeKbytes();
  else calculateMinFreeKbytes();
  setupWatermarks();
}
