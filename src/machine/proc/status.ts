/**
 * The lines about memory in /proc/PID/status, VmPeak to HugetlbPages.
 *
 * Source: fs/proc/task_mmu.c (task_mem), mm/hugetlb.c (hugetlb_report_usage).
 */
import type { MmCounters, ProcessView } from './view.ts';

const PAGE_KB = 4;

/** Numbers of the lines, in their order, kB. Text and libraries are one number here: `exec_vm`. */
export function statusNumbers(counters: MmCounters): Record<string, number> {
  const { rssAnon, rssFile, rssShmem } = counters;
  const rss = rssAnon + rssFile + rssShmem;
  return {
    VmPeak: Math.max(counters.highestVm, counters.totalVm) * PAGE_KB,
    VmSize: counters.totalVm * PAGE_KB,
    VmLck: counters.lockedVm * PAGE_KB,
    VmPin: counters.pinnedVm * PAGE_KB,
    VmHWM: Math.max(counters.highestRss, rss) * PAGE_KB,
    VmRSS: rss * PAGE_KB,
    RssAnon: rssAnon * PAGE_KB,
    RssFile: rssFile * PAGE_KB,
    RssShmem: rssShmem * PAGE_KB,
    VmData: counters.dataVm * PAGE_KB,
    VmStk: counters.stackVm * PAGE_KB,
    VmExe: 0,
    VmLib: counters.execVm * PAGE_KB,
    VmPTE: Math.floor(counters.pageTableBytes / 1024),
    VmSwap: counters.swapEntries * PAGE_KB,
    HugetlbPages: counters.hugetlb * PAGE_KB,
  };
}

/** The text: `VmPeak:\t       4 kB`, … */
export const statusText = (process: ProcessView): string =>
  Object.entries(statusNumbers(process.counters))
    .map(([name, kb]) => `${name}:\t${String(kb).padStart(8)} kB\n`)
    .join('');
