/**
 * The lines about memory in /proc/PID/status, VmPeak to HugetlbPages.
 *
 * Source: fs/proc/task_mmu.c (task_mem), mm/hugetlb.c (hugetlb_report_usage).
 */
import type { MmCounters, ProcessView } from './view.ts';

/** Numbers of the lines, in their order, kB; `pageKb`: of a base page. Text and libraries are one number here: `exec_vm`. */
export function statusNumbers(counters: MmCounters, pageKb = 4): Record<string, number> {
  const { rssAnon, rssFile, rssShmem } = counters;
  const rss = rssAnon + rssFile + rssShmem;
  return {
    VmPeak: Math.max(counters.highestVm, counters.totalVm) * pageKb,
    VmSize: counters.totalVm * pageKb,
    VmLck: counters.lockedVm * pageKb,
    VmPin: counters.pinnedVm * pageKb,
    VmHWM: Math.max(counters.highestRss, rss) * pageKb,
    VmRSS: rss * pageKb,
    RssAnon: rssAnon * pageKb,
    RssFile: rssFile * pageKb,
    RssShmem: rssShmem * pageKb,
    VmData: counters.dataVm * pageKb,
    VmStk: counters.stackVm * pageKb,
    VmExe: 0,
    VmLib: counters.execVm * pageKb,
    VmPTE: Math.floor(counters.pageTableBytes / 1024),
    VmSwap: counters.swapEntries * pageKb,
    HugetlbPages: counters.hugetlb * pageKb,
  };
}

/** The text: `VmPeak:\t       4 kB`, … */
export const statusText = (process: ProcessView): string =>
  Object.entries(statusNumbers(process.counters, process.pageBytes / 1024))
    .map(([name, kb]) => `${name}:\t${String(kb).padStart(8)} kB\n`)
    .join('');
