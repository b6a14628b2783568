/** The lines about huge pages in /proc/meminfo and in a node's meminfo (hugetlb_report_meminfo, hugetlb_report_node_meminfo of mm/hugetlb.c), of the mounted machine. */
import { get } from '../../memory/heap.ts';
import { pageShift } from '../../memory/state.ts';
import { globals } from '../../mm/globals.ts';
import { defaultHstate } from '../../mm/hugetlb-pool.ts';
import { freeHugePagesOfNode, hugePagesOfNode, surplusHugePagesOfNode } from '../../mm/hugetlb-resize.ts';
import { Hstate, Hugetlb } from '../../mm/hugetlb-types.ts';
import { Globals } from '../../mm/types.ts';

/** KiB of a huge page of a pool. */
const kilobytes = (h: number): number => 2 ** (get(h, Hstate.order) + pageShift - 10);

/** A line whose number ends in a column. */
const line = (name: string, value: number, column: number, unit = ''): string => name + String(value).padStart(column - name.length) + unit;

/** Of the default size; `Hugetlb` counts all sizes. Empty where the mode has no huge pages. */
export function hugetlbMeminfo(): string {
  const h = defaultHstate();
  if (h === 0) return '';
  const all = get(globals, Globals.hugetlb);
  let total = 0;
  for (let i = 0; i < get(all, Hugetlb.count); i++) {
    const each = get(all, Hugetlb.hstates + i);
    total += get(each, Hstate.nr) * kilobytes(each);
  }
  const lines = [
    line('HugePages_Total:', get(h, Hstate.nr), 24),
    line('HugePages_Free:', get(h, Hstate.freePages), 24),
    line('HugePages_Rsvd:', get(h, Hstate.resv), 24),
    line('HugePages_Surp:', get(h, Hstate.surplus), 24),
    line('Hugepagesize:', kilobytes(h), 24, ' kB'),
    line('Hugetlb:', total, 24, ' kB'),
  ];
  return `${lines.join('\n')}\n`;
}

/** Of one node, in /sys/devices/system/node/nodeN/meminfo. */
export function hugetlbNodeMeminfo(node: number): string {
  const h = defaultHstate();
  if (h === 0) return '';
  const lines = [
    line('HugePages_Total:', hugePagesOfNode(h, node), 22),
    line('HugePages_Free:', freeHugePagesOfNode(h, node), 22),
    line('HugePages_Surp:', surplusHugePagesOfNode(h, node), 22),
  ];
  return lines.map((text) => `Node ${node} ${text}\n`).join('');
}
