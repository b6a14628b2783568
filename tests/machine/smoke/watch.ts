/**
 * What a call takes away is gone when it returns (I4, stale after zap): a translation that a CPU had before munmap(), MADV_DONTNEED, mprotect() or
 * mremap() began is not used after it has succeeded, whoever emptied the entries.
 */
import { KernelBug } from '../../../src/kernel/bug.ts';
import type { Call } from '../../../src/kernel/scheduler.ts';
import { Cpu, firstCpu } from '../../../src/kernel/task.ts';
import { watchFills } from '../../../src/kernel/tlb.ts';
import { get } from '../../../src/memory/heap.ts';
import { Process } from '../../../src/mm/types.ts';
import { PTE_EXEC, PTE_READ, PTE_WRITE } from '../../../src/pagetable/canonical.ts';
import { PAGE } from './scenario.ts';

/** Range of pages and rights that a successful call leaves at most; undefined for calls that take nothing away. */
function takenAway(run: string, args: readonly number[], result: number): { start: number; end: number; rights: number } | undefined {
  const pages = (bytes: number): number => Math.ceil(bytes / PAGE);
  const [, at, length] = args;
  const range = { start: at / PAGE, end: at / PAGE + pages(length), rights: 0 };
  if (run === 'sysMunmap' && result === 0) return range;
  if (run === 'sysMadvise' && args[3] === 4 && result === 0) return range;
  if (run === 'sysMprotect' && result === 0)
    return { ...range, rights: (args[3] & 7) === 0 ? 0 : PTE_READ | ((args[3] & 2) !== 0 ? PTE_WRITE : 0) | ((args[3] & 4) !== 0 ? PTE_EXEC : 0) };
  if (run === 'sysMremap' && result >= 0 && result !== at && length > 0) return range;
  return undefined;
}

export class ZapWatch {
  /** By CPU, mm and page: number of the fill. */
  readonly #fills = new Map<string, number>();
  readonly #begun: number[] = [];
  #serial = 0;

  constructor() {
    watchFills((cpu, mm, vpn) => this.#fills.set(`${cpu}:${mm}:${vpn}`, ++this.#serial));
  }

  readonly onStart = (task: number): void => {
    this.#begun[task] = this.#serial;
  };

  readonly onReturn = (task: number, call: Call, result: number): void => {
    const taken = takenAway(call.run.name, call.args, result);
    const mm = get(call.args[0], Process.mm);
    if (taken === undefined || mm === 0) return;
    for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
      for (let i = 0; i < get(cpu, Cpu.count); i++) {
        const vpn = get(cpu, Cpu.vpns + i);
        if (get(cpu, Cpu.mms + i) !== mm || get(cpu, Cpu.pages + i) === 0 || vpn < taken.start || vpn >= taken.end) continue;
        if ((get(cpu, Cpu.bits + i) & (PTE_READ | PTE_WRITE | PTE_EXEC) & ~taken.rights) === 0) continue;
        if ((this.#fills.get(`${cpu}:${mm}:${vpn}`) as number) <= this.#begun[task])
          throw new KernelBug(
            'I4',
            `task ${task} returns from ${call.name}, and CPU ${get(cpu, Cpu.number)} still has the translation of vpn 0x${vpn.toString(16)} that it had before`,
          );
      }
  };
}
