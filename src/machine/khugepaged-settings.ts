/** /sys/kernel/mm/transparent_hugepage/khugepaged: what khugepaged goes by, and how far it is (mm/khugepaged.c: khugepaged_attr_group, khugepaged_init). */
import { alloc, get, set } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { pmdOrder } from '../mm/huge-orders.ts';
import { Khugepaged } from '../mm/khugepaged-types.ts';
import { Globals } from '../mm/types.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Setting } from './thp-settings.ts';

const UINT_MAX = 2 ** 32 - 1;

/** Files by name: field, and the least and greatest number (with huge pages of so many pages) that they take; what counts is not written. */
const NUMBERS: Readonly<Record<string, readonly [field: number, least?: number, greatest?: (pages: number) => number]>> = {
  pages_to_scan: [Khugepaged.pagesToScan, 1, () => UINT_MAX],
  max_ptes_none: [Khugepaged.maxPtesNone, 0, (pages) => pages - 1],
  max_ptes_swap: [Khugepaged.maxPtesSwap, 0, (pages) => pages - 1],
  max_ptes_shared: [Khugepaged.maxPtesShared, 0, (pages) => pages - 1],
  defrag: [Khugepaged.defrag, 0, () => 1],
  scan_sleep_millisecs: [Khugepaged.scanSleepMillisecs, 0, () => UINT_MAX],
  alloc_sleep_millisecs: [Khugepaged.allocSleepMillisecs, 0, () => UINT_MAX],
  pages_collapsed: [Khugepaged.pagesCollapsed],
  full_scans: [Khugepaged.fullScans],
};

/** A file of the directory; undefined when there is none of the name. */
export function khugepagedSetting(name: string): Setting | undefined {
  if (NUMBERS[name] === undefined) return undefined;
  const [field, least, greatest] = NUMBERS[name];
  return {
    read: () => String(get(get(globals, Globals.khugepaged), field)),
    write: (value) => {
      if (least === undefined || greatest === undefined) throw new PxdError('usage', `${name} is not written to`);
      const most = greatest(2 ** pmdOrder());
      const number = Number(value);
      if (!/^\d+$/.test(value.trim()) || number < least || number > most) throw new PxdError('usage', `"${value}" is no number from ${least} to ${most}`);
      set(get(globals, Globals.khugepaged), field, number);
    },
  };
}

/** khugepaged_init, in modes with huge pages. */
export function bootKhugepaged(): void {
  const pages = 2 ** pmdOrder();
  const khugepaged = alloc(Khugepaged);
  set(globals, Globals.khugepaged, khugepaged);
  set(khugepaged, Khugepaged.pagesToScan, 8 * pages);
  set(khugepaged, Khugepaged.maxPtesNone, pages - 1);
  set(khugepaged, Khugepaged.maxPtesSwap, pages / 8);
  set(khugepaged, Khugepaged.maxPtesShared, pages / 2);
  set(khugepaged, Khugepaged.defrag, 1);
  set(khugepaged, Khugepaged.scanSleepMillisecs, 10000);
  set(khugepaged, Khugepaged.allocSleepMillisecs, 60000);
}
