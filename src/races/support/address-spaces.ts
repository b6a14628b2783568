/** Tasks that run on other address spaces than that of the first process. */
import type { Stage, TaskCall, TaskSpec } from '../../explore/scenario.ts';
import type { Process } from '../../machine/process.ts';
import { get } from '../../memory/heap.ts';
import { globals } from '../../mm/globals.ts';
import { Globals } from '../../mm/types.ts';

/** Calls of a process (its reference), on a CPU that has its address space loaded. */
export const byProcess = ({ machine }: Stage, process: number, ...calls: readonly TaskCall[]): TaskSpec => ({ calls, process: machine.processAt(process) });

/** Calls of a kernel thread, on a CPU that has the kernel's own tables loaded. */
export const byKernel = (...calls: readonly TaskCall[]): TaskSpec => ({ calls, process: { mm: get(globals, Globals.initMm) } as Process });
