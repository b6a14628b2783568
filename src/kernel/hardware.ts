/**
 * Hardware as actors beside the tasks: CPUs that take the interrupt of a flush, read translations ahead of time, forget them, drain their store buffers; a
 * device that shares an address space's page tables; RCU callbacks. What hardware may do is a list of numbers, as tasks' actions are.
 *
 * Invariants: all of its state lies in CPU objects of the heap. An action below `IDLE_BASE` lets others go on (somebody waits for it); the others
 * may happen at any moment or never.
 */
import { get, set } from '../memory/heap.ts';
import { heap } from '../memory/state.ts';
import { rcuBarrier, rcuCallbackReady, runRcuCallback } from './rcu.ts';
import { drainOldest } from './store-buffer.ts';
import {
  Cpu,
  cpuOf,
  firstCpu,
  firstTask,
  HW_CACHED_REFUSALS,
  HW_DEFER_RCU,
  HW_STORE_BUFFERS,
  HW_TORN_ENTRIES,
  HW_WALK_CACHES,
  KernelState,
  kernelState,
  Task,
  type TaskRef,
} from './task.ts';
import { evict, speculate, speculatesInVain, takeIpi, tlbFind } from './tlb.ts';

export interface HardwareOptions {
  /** Virtual pages whose translations any CPU may read ahead of time, at any moment, on the CPUs whose address space is loaded. */
  readonly speculate?: readonly number[];
  /** CPUs may forget translations at any moment, as if others had taken their place. */
  readonly evict?: boolean;
  /** Flushes are sent to other CPUs as interrupts that these take when they get to it (default: done everywhere at once). */
  readonly ipis?: boolean;
  /** What waited for RCU readers is freed at any moment after the last has left (default: at once, the earliest that Linux could). */
  readonly rcuCallbacks?: boolean;
  /** CPUs walk from a table of the lowest level that they remember, whatever the entries above say now, until they are flushed. */
  readonly walkCaches?: boolean;
  /** Plain stores of kernel code (WRITE_ONCE, entries) wait in a first-in-first-out buffer of their CPU (x86's total store order, store-buffer.ts). */
  readonly storeBuffers?: boolean;
  /** An entry of two words is written one word after the other, where the mode's kernel does so (torn.ts). */
  readonly tornEntries?: boolean;
  /** A translation that does not allow an access raises the fault as it stands and stays (default: the CPU forgets it and reads the entry again, as x86 does). */
  readonly cachedRefusals?: boolean;
  /** Translations are tagged by address space identifiers, of which there are so many (more than CPUs); mm/context.ts gives them out. Default: none. */
  readonly asids?: number;
  /** A device walks the page tables of the first address space as a CPU does (SVA) and is flushed with the CPUs, without an interrupt. */
  readonly device?: boolean;
}

/** Actions of hardware begin here; those below are tasks. */
export const ACTOR_BASE = 64;
/** CPU c takes its interrupt: IPI_BASE + c. */
const IPI_BASE = ACTOR_BASE;
/** The oldest store that CPU c has not made yet reaches memory: DRAIN_BASE + c. */
const DRAIN_BASE = 128;
/** The oldest RCU callback that is due runs. */
const RCU_CALLBACK = 192;
/** From here on nobody waits for what happens. */
export const IDLE_BASE = 512;
/** CPU c forgets the i-th translation: EVICT_BASE + c · 32 + i. */
const EVICT_BASE = IDLE_BASE;
const EVICT_SPAN = 32;
/** CPU c reads the i-th page of `speculate`: SPECULATE_BASE + c · 1024 + i. */
export const SPECULATE_BASE = 4096;
const SPECULATE_SPAN = 1024;

/** Tells the machine what its hardware is like. It has CPUs (`makeCpus`, one more for a device). */
export function setHardware(options: HardwareOptions): void {
  const bits =
    (options.rcuCallbacks ? HW_DEFER_RCU : 0) |
    (options.walkCaches ? HW_WALK_CACHES : 0) |
    (options.storeBuffers ? HW_STORE_BUFFERS : 0) |
    (options.tornEntries ? HW_TORN_ENTRIES : 0) |
    (options.cachedRefusals ? HW_CACHED_REFUSALS : 0);
  if (bits !== 0) set(kernelState(), KernelState.hardware, bits);
  if (options.asids === undefined) return;
  let cpus = 0;
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) cpus++;
  if (!(options.asids > cpus && options.asids <= 30)) throw new Error(`${options.asids} ASIDs for ${cpus} CPUs: more than CPUs are needed, and 30 at most`);
  set(kernelState(), KernelState.asids, options.asids);
}

/** Nobody runs: stores reach memory, callbacks that are due run. */
export function settleHardware(): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) while (get(cpu, Cpu.stores) !== 0) drainOldest(cpu);
  rcuBarrier();
}

/** Whether hardware ever does anything by itself. */
export const actsByItself = ({ speculate, evict, ipis, rcuCallbacks, storeBuffers }: HardwareOptions): boolean =>
  speculate !== undefined || evict === true || ipis === true || rcuCallbacks === true || storeBuffers === true;

/** Writes what hardware may do now into a list that has `count` actions: how many it has then. */
export function hardwareActions(options: HardwareOptions, found: number[], count: number): number {
  const pages = options.speculate;
  let n = count;
  if (options.rcuCallbacks && rcuCallbackReady() !== 0) found[n++] = RCU_CALLBACK;
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
    // Numbers come out of the heap as doubles: the engine is told that actions are none.
    const number = get(cpu, Cpu.number) | 0;
    if (get(cpu, Cpu.ipi) !== 0 && !irqsOff(cpu)) found[n++] = IPI_BASE + number;
    if (get(cpu, Cpu.stores) !== 0) found[n++] = DRAIN_BASE + number;
    if (options.evict) for (let i = 0; i < get(cpu, Cpu.count); i++) found[n++] = EVICT_BASE + number * EVICT_SPAN + i;
    if (pages === undefined || get(cpu, Cpu.mm) === 0) continue;
    // What a CPU holds already it does not read again.
    for (let i = 0; i < pages.length; i++) if (tlbFind(cpu, get(cpu, Cpu.mm), pages[i]) < 0) found[n++] = SPECULATE_BASE + number * SPECULATE_SPAN + i;
  }
  return n;
}

function irqsOff(cpu: number): boolean {
  for (let task: TaskRef = firstTask(); task !== 0; task = heap[task + Task.next])
    if (heap[task + Task.cpu] === cpu && heap[task + Task.irqsOff] > 0) return true;
  return false;
}

/** Hardware does something that it may do. `pgdOf`: top table of an mm. */
export function performHardware(action: number, options: HardwareOptions, pgdOf: (mm: number) => number): void {
  if (action >= SPECULATE_BASE) {
    const cpu = cpuOf(Math.floor((action - SPECULATE_BASE) / SPECULATE_SPAN));
    const mm = get(cpu, Cpu.mm);
    speculate(cpu, mm, get(cpu, Cpu.pgd) !== 0 ? get(cpu, Cpu.pgd) : pgdOf(mm), (options.speculate as number[])[(action - SPECULATE_BASE) % SPECULATE_SPAN]);
  } else if (action >= EVICT_BASE) evict(cpuOf(Math.floor((action - EVICT_BASE) / EVICT_SPAN)), (action - EVICT_BASE) % EVICT_SPAN);
  else if (action === RCU_CALLBACK) runRcuCallback();
  else if (action >= DRAIN_BASE) drainOldest(cpuOf(action - DRAIN_BASE));
  else takeIpi(cpuOf(action - IPI_BASE));
}

/** Whether hardware that reads ahead would find nothing new. False for what else it does. */
export function changesNothing(action: number, options: HardwareOptions, pgdOf: (mm: number) => number): boolean {
  if (action < SPECULATE_BASE) return false;
  const cpu = cpuOf(Math.floor((action - SPECULATE_BASE) / SPECULATE_SPAN));
  const mm = get(cpu, Cpu.mm);
  const pgd = get(cpu, Cpu.pgd) !== 0 ? get(cpu, Cpu.pgd) : pgdOf(mm);
  return speculatesInVain(cpu, mm, pgd, (options.speculate as number[])[(action - SPECULATE_BASE) % SPECULATE_SPAN]);
}

export type HardwareKind = 'interrupt' | 'drain' | 'callback' | 'evict' | 'speculate';

/** What an action of hardware is, its CPU (−1 for none), and the page that is read ahead. */
export function hardwareAction(action: number, options: HardwareOptions): { kind: HardwareKind; cpu: number; vpn: number } {
  const cpu = hardwareCpu(action);
  if (action >= SPECULATE_BASE) return { kind: 'speculate', cpu, vpn: (options.speculate as number[])[(action - SPECULATE_BASE) % SPECULATE_SPAN] };
  if (action >= EVICT_BASE) return { kind: 'evict', cpu, vpn: 0 };
  if (action === RCU_CALLBACK) return { kind: 'callback', cpu, vpn: 0 };
  return { kind: action >= DRAIN_BASE ? 'drain' : 'interrupt', cpu, vpn: 0 };
}

/** The CPU of an action of hardware, −1 for what happens on none. */
export function hardwareCpu(action: number): number {
  if (action >= SPECULATE_BASE) return Math.floor((action - SPECULATE_BASE) / SPECULATE_SPAN);
  if (action >= EVICT_BASE) return Math.floor((action - EVICT_BASE) / EVICT_SPAN);
  if (action === RCU_CALLBACK) return -1;
  return action - (action >= DRAIN_BASE ? DRAIN_BASE : IPI_BASE);
}

/** What an action of hardware is, for people. */
export function describeHardware(action: number, options: HardwareOptions): string {
  const cpu = `CPU ${hardwareCpu(action)}`;
  if (action >= SPECULATE_BASE) return `${cpu} reads vpn 0x${(options.speculate as number[])[(action - SPECULATE_BASE) % SPECULATE_SPAN].toString(16)} ahead`;
  if (action >= EVICT_BASE) return `${cpu} forgets translation ${(action - EVICT_BASE) % EVICT_SPAN}`;
  if (action === RCU_CALLBACK) return 'an RCU callback runs';
  if (action >= DRAIN_BASE) return `a store of ${cpu} reaches memory`;
  return `${cpu} takes the interrupt of a flush`;
}
