/**
 * The files by which a machine is set as root sets a kernel: of /sys/kernel/mm/transparent_hugepage (thp-settings.ts), of pools of huge pages (hugetlb-settings.ts), and
 * of /proc/sys/vm those that are one number, with drop_caches.
 */
import { get, set } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { Globals } from '../mm/types.ts';
import { PxdError } from '../pagetable/error.ts';
import { hugePoolSetting } from './hugetlb-settings.ts';
import type { Machine } from './machine.ts';
import { type Setting, thpSetting } from './thp-settings.ts';

/** Settings of /proc/sys/vm that are globals of the machine. */
export const SYSCTLS: Readonly<Record<string, number>> = {
  overcommit_memory: Globals.overcommitMemory,
  overcommit_ratio: Globals.overcommitRatio,
  overcommit_kbytes: Globals.overcommitKbytes,
  max_map_count: Globals.maxMapCount,
  mmap_min_addr: Globals.mmapMinAddr,
  admin_reserve_kbytes: Globals.adminReserveKbytes,
  user_reserve_kbytes: Globals.userReserveKbytes,
};

/** Each of the two forms of the limit switches the other off (overcommit_ratio_handler, overcommit_kbytes_handler). */
const INSTEAD: Readonly<Record<string, number>> = { overcommit_ratio: Globals.overcommitKbytes, overcommit_kbytes: Globals.overcommitRatio };

function numberOf(path: string, text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isSafeInteger(value)) throw new PxdError('usage', `${path} takes a number, not "${text}"`);
  return value;
}

/** A number of /proc/sys/vm; undefined for another file. */
function sysctlSetting(path: string): Setting | undefined {
  const name = /^\/proc\/sys\/vm\/(\w+)$/.exec(path)?.[1] ?? '';
  const field = SYSCTLS[name];
  if (field === undefined) return undefined;
  return {
    read: () => String(get(globals, field)),
    write: (value) => {
      set(globals, field, numberOf(path, value));
      if (INSTEAD[name] !== undefined) set(globals, INSTEAD[name], 0);
    },
  };
}

/** drop_caches: of what shrinkers have (2) the folios to split; the page cache (1) is left alone. It reads as nothing. */
const dropCaches = (machine: Machine, path: string): Setting => ({
  read: () => '',
  write: (value) => {
    if ((numberOf(path, value) & 2) !== 0) machine.shrinkFolios();
  },
});

/** The setting behind a path, of a machine that is mounted; undefined where it has no such file. */
export function settingOf(machine: Machine, path: string): Setting | undefined {
  if (path === '/proc/sys/vm/drop_caches') return dropCaches(machine, path);
  const pool = hugePoolSetting(path);
  if (pool !== undefined) return { read: () => String(pool.read()), write: (value) => pool.write(machine.kernel, numberOf(path, value)) };
  return thpSetting(path) ?? sysctlSetting(path);
}
