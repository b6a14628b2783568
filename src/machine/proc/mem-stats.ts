/**
 * /proc/PID/smaps and numa_maps as the kernel itself counts them, by its page walks (show_smap, show_numa_map): under the mmap lock, VMA by VMA. What a `ProcessView`
 * says of the same VMA is counted from outside (smaps.ts).
 */
import { get } from '../../memory/heap.ts';
import { allocMemSizeStats, allocNumaMaps, freeMemSizeStats, freeNumaMaps, MemSizeStats, NumaMaps } from '../../mm/task-mmu.ts';
import { Process as ProcessStruct } from '../../mm/types.ts';
import type { Machine } from '../machine.ts';
import { specialName } from './maps.ts';
import type { Smaps } from './smaps.ts';
import type { ProcessView, VmaView } from './view.ts';
import { hasFlag } from './vm-bits.ts';

const PSS_SHIFT = 12;
const KEYS = [
  'rss',
  'pss',
  'pssDirty',
  'sharedClean',
  'sharedDirty',
  'privateClean',
  'privateDirty',
  'referenced',
  'anonymous',
  'ksm',
  'lazyFree',
  'anonHuge',
  'shmemPmdMapped',
  'filePmdMapped',
  'sharedHugetlb',
  'privateHugetlb',
  'swap',
  'swapPss',
  'locked',
] as const;
const SHIFTED: readonly string[] = ['pss', 'pssDirty', 'swapPss', 'locked'];

/** The numbers of smaps of a process's VMA; bytes. */
export function readSmaps(machine: Machine, process: number, vma: VmaView): Smaps {
  machine.enter();
  const stats = allocMemSizeStats();
  machine.kernel.showSmap(get(process, ProcessStruct.mm), vma.start, stats);
  const numbers = Object.fromEntries(
    KEYS.map((key) => [key, Math.floor(get(stats, MemSizeStats[key]) / (SHIFTED.includes(key) ? 2 ** PSS_SHIFT : 1))]),
  ) as unknown as Smaps;
  freeMemSizeStats(stats);
  return { ...numbers, size: (vma.end - vma.start) * machine.pageSize, pageBytes: vma.pageBytes, thpEligible: vma.thpEligible };
}

/** What numa_maps counts of a VMA: pages; of hugetlb huge pages. */
export interface NumaNumbers {
  readonly pages: number;
  readonly anon: number;
  readonly dirty: number;
  readonly active: number;
  readonly writeback: number;
  readonly swapcache: number;
  readonly mapcountMax: number;
}

export function readNumaMaps(machine: Machine, process: number, vma: VmaView): NumaNumbers {
  machine.enter();
  const md = allocNumaMaps();
  machine.kernel.showNumaMap(get(process, ProcessStruct.mm), vma.start, md);
  const of = (field: keyof NumaNumbers): number => get(md, NumaMaps[field]);
  const numbers = {
    pages: of('pages'),
    anon: of('anon'),
    dirty: of('dirty'),
    active: of('active'),
    writeback: of('writeback'),
    swapcache: of('swapcache'),
    mapcountMax: of('mapcountMax'),
  };
  freeNumaMaps(md);
  return numbers;
}

/** The text of /proc/PID/numa_maps. There is one node, and no policy but the default. */
export const numaMapsText = (machine: Machine, process: number, view: ProcessView): string =>
  view.vmas.map((vma) => `${numaMapsLine(view, vma, readNumaMaps(machine, process, vma), machine.pageSize)}\n`).join('');

/** show_numa_map. */
export function numaMapsLine(view: ProcessView, vma: VmaView, md: NumaNumbers, pageSize: number): string {
  const huge = hasFlag(vma.flags, 'VM_HUGETLB');
  const special = specialName(view, vma);
  let line = `${(BigInt(vma.start) * BigInt(pageSize)).toString(16).padStart(8, '0')} default`;
  if (vma.file !== undefined) line += ` file=${vma.file.path}`;
  else if (special === '[heap]' || special === '[stack]') line += ` ${special.slice(1, -1)}`;
  if (huge) line += ' huge';
  if (md.pages === 0) return line;
  if (md.anon > 0) line += ` anon=${md.anon}`;
  if (md.dirty > 0) line += ` dirty=${md.dirty}`;
  if (md.pages !== md.anon && md.pages !== md.dirty) line += ` mapped=${md.pages}`;
  if (md.mapcountMax > 1) line += ` mapmax=${md.mapcountMax}`;
  if (md.swapcache > 0) line += ` swapcache=${md.swapcache}`;
  if (md.active < md.pages && !huge) line += ` active=${md.active}`;
  if (md.writeback > 0) line += ` writeback=${md.writeback}`;
  return `${line} N0=${md.pages} kernelpagesize_kB=${vma.pageBytes / 1024}`;
}
