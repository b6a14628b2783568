/** Files of /sys/kernel/mm/hugepages, /sys/devices/system/node and /proc/sys/vm about pools of huge pages. nr_hugepages_mempolicy is nr_hugepages: there are no memory policies. */
import { get, set } from '../memory/heap.ts';
import { pageShift } from '../memory/state.ts';
import { nodeCount } from '../memory/zone.ts';
import { globals } from '../mm/globals.ts';
import { freeHugePagesOfNode, hugePagesOfNode, surplusHugePagesOfNode } from '../mm/hugetlb-resize.ts';
import { Hstate, Hugetlb } from '../mm/hugetlb-types.ts';
import { Globals } from '../mm/types.ts';
import { poolOf } from './boot-hugetlb.ts';
import type { Kernel } from './kernel.ts';

export interface PoolSetting {
  read(): number;
  write(kernel: Kernel, value: number): void;
}

const FIELDS: Readonly<Record<string, number>> = {
  nr_hugepages: Hstate.nr,
  nr_hugepages_mempolicy: Hstate.nr,
  nr_overcommit_hugepages: Hstate.overcommit,
  free_hugepages: Hstate.freePages,
  resv_hugepages: Hstate.resv,
  surplus_hugepages: Hstate.surplus,
};

const NODE_FILES: Readonly<Record<string, (pool: number, node: number) => number>> = {
  nr: hugePagesOfNode,
  free: freeHugePagesOfNode,
  surplus: surplusHugePagesOfNode,
};

/** The files of one node, /sys/devices/system/node/nodeN/hugepages/…: what is there, free and surplus, and how many shall be there. */
function nodeSetting(path: string): PoolSetting | undefined {
  const found = /^\/sys\/devices\/system\/node\/node(\d+)\/hugepages\/hugepages-(\d+)kB\/(nr|free|surplus)_hugepages$/.exec(path);
  if (!found) return undefined;
  const node = Number(found[1]);
  const pool = poolOf(Number(found[2]), pageShift);
  if (pool === 0 || node >= nodeCount()) return undefined;
  return {
    read: () => NODE_FILES[found[3]](pool, node),
    write: (kernel, value) => {
      if (found[3] === 'nr') kernel.setMaxHugePagesNode(pool, node, value);
    },
  };
}

/** Only pages that come into a pool from then on are meant. */
const optimizeVmemmap: PoolSetting = {
  read: () => get(get(globals, Globals.hugetlb), Hugetlb.optimizeVmemmap),
  write: (_, value) => set(get(globals, Globals.hugetlb), Hugetlb.optimizeVmemmap, Math.min(1, value)),
};

/** The setting behind a path, of the mounted machine; undefined where there is none. */
export function hugePoolSetting(path: string): PoolSetting | undefined {
  if (path === '/proc/sys/vm/hugetlb_optimize_vmemmap') return optimizeVmemmap;
  const ofNode = nodeSetting(path);
  if (ofNode !== undefined) return ofNode;
  const sysfs = /^\/sys\/kernel\/mm\/hugepages\/hugepages-(\d+)kB\/(\w+)$/.exec(path);
  const sysctl = /^\/proc\/sys\/vm\/(nr_\w*hugepages\w*)$/.exec(path);
  const hugetlb = get(globals, Globals.hugetlb);
  const pool = sysfs ? poolOf(Number(sysfs[1]), pageShift) : sysctl ? get(hugetlb, Hugetlb.hstates + get(hugetlb, Hugetlb.default)) : 0;
  const name = sysfs?.[2] ?? sysctl?.[1] ?? '';
  const field = FIELDS[name];
  if (pool === 0 || field === undefined) return undefined;
  return {
    read: () => get(pool, field),
    write: (kernel, value) => {
      if (field === Hstate.nr) kernel.setMaxHugePages(pool, value);
      else if (field === Hstate.overcommit) kernel.setOvercommitHugePages(pool, value);
    },
  };
}
