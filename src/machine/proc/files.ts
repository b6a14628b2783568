/** Files of /proc/PID about memory that are text (fs/proc/task_mmu.c), of a process that lives: what Process.proc() gives. */
import type { Machine } from '../machine.ts';
import { viewProcess } from '../view.ts';
import { mapsLine, mapsText } from './maps.ts';
import { numaMapsText, readSmaps } from './mem-stats.ts';
import { smapsBlock } from './smaps.ts';
import { statusText } from './status.ts';
import type { ProcessView } from './view.ts';
import { flagLetters } from './vm-bits.ts';

/** Of `status` only the lines about memory, VmPeak to HugetlbPages. */
export type ProcFile = 'maps' | 'smaps' | 'numa_maps' | 'status';

const TEXTS: Readonly<Record<ProcFile, (machine: Machine, process: number, view: ProcessView) => string>> = {
  maps: (_machine, _process, view) => mapsText(view),
  smaps: (machine, process, view) =>
    view.vmas.map((vma) => mapsLine(view, vma) + smapsBlock(readSmaps(machine, process, vma), flagLetters(vma.flags))).join(''),
  numa_maps: numaMapsText,
  status: (_machine, _process, view) => statusText(view),
};

/** The text of a file. `process`: its struct. */
export const procText = (machine: Machine, process: number, file: ProcFile): string => TEXTS[file](machine, process, viewProcess(machine, process, 0));
