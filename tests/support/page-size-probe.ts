/** Tries in a machine whether a size of pages is used as Linux would: asks the mm for such a mapping, and reads the tables back. Used by scripts/page-sizes.ts and by its test. */
import { pageSizes } from '../../src/arch/linux/page-sizes.ts';
import type { PagingMode } from '../../src/arch/mode.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { get } from '../../src/memory/heap.ts';
import { LINEAR_BBML2 } from '../../src/mm/direct-map.ts';
import { PAGE_KERNEL } from '../../src/mm/kernel-map.ts';
import { Mm } from '../../src/mm/types.ts';
import { kernelExtents, userExtents } from '../mm/support/kernel-extents.ts';

export type PageUse = 'thp' | 'hugetlb' | 'vmap' | 'directMap';
export const PAGE_USES: readonly PageUse[] = ['thp', 'hugetlb', 'vmap', 'directMap'];

/** Whether a machine runs in the mode at all. */
export function runs(mode: PagingMode): boolean {
  try {
    codecFor(mode.name);
    return true;
  } catch {
    return false;
  }
}

const MADV_HUGEPAGE = 14;

/** Whether leaves of 2^shift bytes come out for a use. */
export function probe(mode: PagingMode, shift: number, use: PageUse): boolean {
  if (!runs(mode) || !pageSizes(mode).some((s) => s.shift === shift && s[use])) return false;
  // Of the direct map twice as much is made: that may be one leaf of a larger size, but for it there may be too little in half of it.
  return tryOut(mode, shift, use, 2) || (use === 'directMap' && tryOut(mode, shift, use, 1));
}

function tryOut(mode: PagingMode, shift: number, use: PageUse, times: number): boolean {
  const order = shift - mode.pageShift;
  const ramBytes = Math.max(2 ** 26 * 2 ** (mode.pageShift - 12), Math.min(2 ** (shift + 1), mode.vaBits <= 32 ? 2 ** Math.max(29, shift + 1) : 2 ** 40));
  const machine = new Machine({ mode: mode.name, ramBytes });
  machine.enter();
  const { kernel } = machine;
  const has = (runsOf: readonly { leafPages: number }[]): boolean => runsOf.some((run) => run.leafPages === 2 ** order);
  if (use === 'directMap')
    return kernel.makeDirectMap(Math.min(ramBytes, times * 2 ** shift) / machine.pageSize, LINEAR_BBML2) === 0 && has(kernelExtents(machine));
  if (use === 'vmap') return kernel.ioremap(2 ** order, 2 ** order, PAGE_KERNEL) > 0 && has(kernelExtents(machine));
  if (use === 'thp') {
    // Without settings there are no large folios.
    thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('never');
    const size = thpSetting(`/sys/kernel/mm/transparent_hugepage/hugepages-${2 ** (shift - 10)}kB/enabled`);
    if (size === undefined) return false;
    size.write('always');
    const process = machine.spawn();
    const at = Math.max(2 ** shift, 0x10000000);
    const start = Math.ceil(at / 2 ** shift) * 2 ** shift;
    if (process.syscall('mmap', start, 2 ** shift, 3, 0x32, -1, 0) !== start || process.syscall('madvise', start, 2 ** shift, MADV_HUGEPAGE) !== 0)
      return false;
    process.store(BigInt(start), 4, 1n);
    return has(userExtents(machine, process.pid));
  }
  return hugetlb(machine, shift) && has(userExtents(machine, machine.processes[0].pid));
}

const MAP_HUGETLB = 0x40000;

/** Maps a page of a pool and stores to it; whether there was one. */
function hugetlb(machine: Machine, shift: number): boolean {
  const pool = poolOf(2 ** (shift - 10), machine.pageShift);
  if (pool === 0) return false;
  machine.kernel.setMaxHugePages(pool, 1);
  const process = machine.spawn();
  const limit = get(process.mm, Mm.taskSize) * machine.pageSize;
  const at = Math.max(1, Math.floor(limit / 4 / 2 ** shift)) * 2 ** shift;
  if (process.syscall('mmap', at, 2 ** shift, 3, (0x32 | MAP_HUGETLB | (shift << 26)) >>> 0, -1, 0) !== at) return false;
  return process.store(BigInt(at), 4, 1n) === undefined;
}
