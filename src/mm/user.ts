/** Loads and stores of a thread of a process, with the page faults that they lead to: what tasks do between system calls. */
import type { Op } from '../kernel/op.ts';
import { get, userLoad, userStore } from '../kernel/ops.ts';
import { userFault } from './fault.ts';
import { Mm, Process, type ProcessRef, type Vpn } from './types.ts';

/** ACCESS_READ and ACCESS_WRITE of kernel/mmu.ts. */
const ACCESS_READ = 0;
const ACCESS_WRITE = 1;

/** Loads the first word of a page: its low 31 bits, or −(signal · 256 + code). */
export function* threadLoad(process: ProcessRef, vpn: Vpn): Op<number> {
  const mm = get(process, Process.mm);
  for (;;) {
    const value = yield* userLoad(mm, get(mm, Mm.pgd), vpn);
    if (value !== 0) return value - 1;
    const signal = yield* userFault(mm, vpn, ACCESS_READ);
    if (signal !== 0) return -signal;
  }
}

/** Stores to the first word of a page: 0, or −(signal · 256 + code). */
export function* threadStore(process: ProcessRef, vpn: Vpn, value: number): Op<number> {
  const mm = get(process, Process.mm);
  for (;;) {
    if ((yield* userStore(mm, get(mm, Mm.pgd), vpn, value)) !== 0) return 0;
    const signal = yield* userFault(mm, vpn, ACCESS_WRITE);
    if (signal !== 0) return -signal;
  }
}
