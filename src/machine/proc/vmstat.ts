/**
 * /proc/vmstat (mm/vmstat.c: vmstat_start): zones and nodes together, then events, in Linux's order. What nothing here keeps (slabs, reclaim by zone, faults) has no line.
 */
import { get } from '../../memory/heap.ts';
import { allZones } from '../../memory/watermark.ts';
import { locate, Zone, type ZoneRef } from '../../memory/zone.ts';
import { freePagesInBlocks } from '../../memory/zoneinfo.ts';
import { globals } from '../../mm/globals.ts';
import { Globals } from '../../mm/types.ts';
import { VM_EVENT_NAMES } from '../../mm/vm-event-types.ts';
import { nodeStatistics } from './node-stats.ts';

/** The mounted machine's counters by name, in the order of the file's lines. */
export function vmstat(): Map<string, number> {
  locate();
  const zones = [...allZones()];
  const sum = (of: (zone: ZoneRef) => number): number => zones.reduce((total, zone) => total + of(zone), 0);
  const counters = new Map([
    ['nr_free_pages', sum((zone) => get(zone, Zone.free))],
    ['nr_free_pages_blocks', sum(freePagesInBlocks)],
  ]);
  for (const node of new Set(zones.map((zone) => get(zone, Zone.node))))
    for (const [name, value] of nodeStatistics(node)) counters.set(name, (counters.get(name) ?? 0) + value);
  VM_EVENT_NAMES.forEach((name, event) => counters.set(name, get(globals, Globals.vmEvents + event)));
  return counters;
}

/** Text of the file. */
export const vmstatText = (): string => [...vmstat()].map(([name, value]) => `${name} ${value}\n`).join('');
