/** What changes beside the operation itself: translations that CPUs hold, tables that go. Compared before and after each action. */
import { Cpu, firstCpu } from '../../kernel/task.ts';
import { get } from '../../memory/heap.ts';
import { PG_TABLE } from '../../memory/page-flags.ts';
import { pageFlags } from '../../memory/state.ts';
import type { Objects } from './objects.ts';

/** A translation in a CPU's TLB; `page` 0 for a cached upper entry, which leads to `table`. */
export interface Translation {
  readonly cpu: number;
  readonly mm: number;
  readonly vpn: number;
  readonly page: number;
  readonly table: number;
  readonly bits: number;
}

/** All that CPUs hold. */
export function translations(): Translation[] {
  const found: Translation[] = [];
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = 0; i < get(cpu, Cpu.count); i++)
      found.push({
        cpu: get(cpu, Cpu.number),
        mm: get(cpu, Cpu.mms + i),
        vpn: get(cpu, Cpu.vpns + i),
        page: get(cpu, Cpu.pages + i),
        table: get(cpu, Cpu.tables + i),
        bits: get(cpu, Cpu.bits + i),
      });
  return found;
}

const same = (a: Translation, b: Translation): boolean =>
  a.cpu === b.cpu && a.mm === b.mm && a.vpn === b.vpn && a.page === b.page && a.bits === b.bits && (a.page !== 0 || a.table === b.table);

/** What is in one list and not in the other. */
export const without = (list: readonly Translation[], other: readonly Translation[]): Translation[] => list.filter((t) => !other.some((o) => same(t, o)));

/** Which of the tables that are known are tables now. */
export const liveTables = (objects: Objects): Set<number> => new Set(objects.tables().filter((table) => (pageFlags[table] & PG_TABLE) !== 0));
