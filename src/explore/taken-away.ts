/**
 * What a call takes away is gone when it returns (I4, stale after zap): a translation that a CPU had before munmap(), MADV_DONTNEED, mprotect() or
 * mremap() began is not used after it has succeeded, whoever emptied the entries.
 */
import { KernelBug } from '../kernel/bug.ts';
import type { Call } from '../kernel/scheduler.ts';
import { Cpu, firstCpu } from '../kernel/task.ts';
import { isDead, tlbCallBegins, tlbCallEnds } from '../kernel/tlb.ts';
import { get } from '../memory/heap.ts';
import { pageShift } from '../memory/state.ts';
import { Process } from '../mm/types.ts';
import { PTE_EXEC, PTE_READ, PTE_WRITE } from '../pagetable/canonical.ts';

const RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MADV_DONTNEED = 4;

const rightsOf = (prot: number): number =>
  (prot & 7) === 0 ? 0 : PTE_READ | ((prot & PROT_WRITE) !== 0 ? PTE_WRITE : 0) | ((prot & PROT_EXEC) !== 0 ? PTE_EXEC : 0);

/** By function: rights that are left in [address, address + length) when it succeeded, −1 for all. */
const LEFT: Readonly<Record<string, (args: readonly number[], result: number) => number>> = {
  sysMunmap: () => 0,
  sysMadvise: (args) => (args[3] === MADV_DONTNEED ? 0 : -1),
  sysMprotect: (args) => rightsOf(args[3]),
  sysMremap: (args, result) => (result !== args[1] ? 0 : -1),
};

/** Whether calls of a kernel function are asked what they left. */
export const takesAway = (name: string): boolean => name in LEFT;

/** A call begins: what CPUs translate now is older than it. Only for calls that take something away, so that others leave no trace in the state. */
export function noteCallBegins(task: number, { run }: Call): void {
  if (run.name in LEFT) tlbCallBegins(task);
}

/** A call has returned. @throws {KernelBug} I4 */
export function checkTakenAway(task: number, { run, args, name }: Call, result: number): void {
  if (!(run.name in LEFT)) return;
  const mm = get(args[0], Process.mm);
  const left = result < 0 || mm === 0 ? -1 : LEFT[run.name](args, result);
  if (left !== -1) checkRange(task, args, name, mm, left);
  tlbCallEnds(task);
}

function checkRange(task: number, args: readonly number[], name: string | undefined, mm: number, left: number): void {
  const size = 2 ** pageShift;
  const start = args[1] / size;
  const end = start + Math.ceil(args[2] / size);
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = 0; i < get(cpu, Cpu.count); i++) {
      const vpn = get(cpu, Cpu.vpns + i);
      if (get(cpu, Cpu.mms + i) !== mm || get(cpu, Cpu.pages + i) === 0 || isDead(cpu, i) || vpn < start || vpn >= end) continue;
      if ((get(cpu, Cpu.bits + i) & RIGHTS & ~left) === 0 || (get(cpu, Cpu.older + i) & (1 << task)) === 0) continue;
      throw new KernelBug(
        'I4',
        `task ${task} returns from ${name}, and CPU ${get(cpu, Cpu.number)} still has the translation of vpn 0x${vpn.toString(16)} that it had before`,
      );
    }
}
