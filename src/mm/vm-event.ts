/** Counting events for /proc/vmstat (include/linux/vmstat.h: count_vm_event). One counter for the machine where Linux has one a CPU: only their sum is shown. */
import { add } from '../kernel/ops.ts';
import { globals } from './globals.ts';
import { pmdOrder } from './huge-orders.ts';
import { Globals } from './types.ts';
import { THP_SPLIT_PAGE, THP_SPLIT_PAGE_FAILED } from './vm-event-types.ts';

/** count_vm_event. */
export function countVmEvent(event: number): void {
  add(globals, Globals.vmEvents + event, 1);
}

/** What __folio_split counts of a folio that was of this order: those of huge pages alone. */
export function countSplitPage(order: number, error: number): void {
  if (order === pmdOrder()) countVmEvent(error === 0 ? THP_SPLIT_PAGE : THP_SPLIT_PAGE_FAILED);
}
