/**
 * Which address space a CPU has loaded: context switches, kernel threads that borrow one (lazy TLB), and address space identifiers (kernel/sched/core.c:
 * context_switch; arch/x86/mm/tlb.c for lazy CPUs; arch/arm64/mm/context.c for the allocator of ASIDs).
 *
 * Invariants: a CPU has tables loaded only of an address space whose struct it keeps (mm_count), be it through the task that runs or as a lazy one; a lazy
 * CPU that is asked to flush goes over to the kernel's tables instead. An ASID is loaded on a CPU only when no translation under it is left there of
 * whoever had it before: when numbers run out a new generation begins, in which CPUs keep the ASIDs that they are using and empty their TLBs before they
 * load another.
 *
 * Where ASIDs are off (the default) loading tables empties the CPU's TLB. CPUs that nobody switches have what `Scheduler.load` gave them.
 */
import type { Op } from '../kernel/op.ts';
import {
  atomicAdd,
  borrowPgd,
  cmpxchg,
  get,
  loadedAdd,
  loadPgd,
  localFlushTlbAll,
  localIrqDisable,
  localIrqEnable,
  readOnce,
  set,
  spinLock,
  spinUnlock,
  switched,
  writeOnce,
} from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { Cpu, type CpuRef, firstCpu, KernelState, kernelState, LAZY, LAZY_UNKNOWN, running, Task } from '../kernel/task.ts';
import { ASID_SPAN, asidOf, generationOf } from './context-id.ts';
import { mmdrop, mmput } from './process.ts';
import { Mm, type MmRef } from './types.ts';

/** The running task's CPU, 0 when no task runs. */
const ownCpu = (): CpuRef => (running === 0 ? 0 : get(running, Task.cpu));

/** Whether the running task's CPU has switched to an address space, and is not lazy with it. */
export function runsIn(mm: MmRef): boolean {
  const cpu = ownCpu();
  return cpu !== 0 && get(cpu, Cpu.mm) === mm && get(cpu, Cpu.pgd) !== 0 && get(cpu, Cpu.lazy) === 0;
}

// --- switches between tasks -------------------------------------------------------------------------------------------------

/**
 * context_switch and finish_task_switch: the CPU of the running task goes on with one that has the address space `next`, or with a kernel thread (0), which
 * leaves the tables loaded. The caller keeps `next` from going.
 */
export function* contextSwitch(next: MmRef): Op<number> {
  const cpu = ownCpu();
  if (cpu === 0) return 0;
  yield* localIrqDisable();
  let borrowed = 0;
  if (next === 0) yield* enterLazyTlb(cpu);
  else {
    borrowed = yield* readOnce(cpu, Cpu.activeMm);
    yield* writeOnce(cpu, Cpu.activeMm, 0);
    yield* switchMm(cpu, next);
  }
  yield* localIrqEnable();
  return borrowed === 0 ? 0 : yield* mmdrop(borrowed);
}

/** mmgrab_lazy_tlb with enter_lazy_tlb: the CPU keeps what it has loaded, for a task that needs no address space of its own. */
function* enterLazyTlb(cpu: CpuRef): Op<number> {
  if ((yield* readOnce(cpu, Cpu.lazy)) !== 0) return 0;
  const uncounted = switched(SW.lazyTlbUncounted);
  const mm = yield* loadedAdd(Mm.count, uncounted ? 0 : 1);
  if (mm === 0) return 0;
  const pgd = get(mm, Mm.pgd);
  if (!uncounted) yield* writeOnce(cpu, Cpu.activeMm, mm);
  return yield* borrowPgd(pgd, uncounted ? LAZY_UNKNOWN : LAZY);
}

/** The CPU loads the kernel's tables alone and gives back what it has borrowed (leave_mm, and the idle task's switch to init_mm when its CPU goes off). */
export function* leaveMm(): Op<number> {
  const cpu = ownCpu();
  if (cpu === 0) return 0;
  yield* localIrqDisable();
  const borrowed = yield* readOnce(cpu, Cpu.activeMm);
  yield* writeOnce(cpu, Cpu.activeMm, 0);
  yield* loadPgd(0, 0, 0);
  yield* localIrqEnable();
  return borrowed === 0 ? 0 : yield* mmdrop(borrowed);
}

/**
 * exit_mm of one thread of several: it stops using the address space, and its CPU goes on lazily with the tables. The last thread's takes all
 * mappings away. Each thread is one user (mmget).
 */
export function* exitThread(mm: MmRef): Op<number> {
  yield* contextSwitch(0);
  return yield* mmput(mm);
}

// --- loading tables ---------------------------------------------------------------------------------------------------------

/** switch_mm_irqs_off (check_and_switch_context where there are ASIDs). */
function* switchMm(cpu: CpuRef, next: MmRef): Op<number> {
  if (get(kernelState(), KernelState.asids) === 0) return yield* loadPgd(next, get(next, Mm.pgd), 0);
  const context = yield* checkAndSwitchContext(cpu, next);
  return yield* loadPgd(next, get(next, Mm.pgd), asidOf(context));
}

/** asid_gen_match: whether a context id is of a generation. */
const isOf = (context: number, generation: number): boolean => context !== 0 && generationOf(context) === generation;

/** check_and_switch_context: the context id that the CPU uses from now on. */
function* checkAndSwitchContext(cpu: CpuRef, mm: MmRef): Op<number> {
  const kernel = kernelState();
  let context = yield* readOnce(mm, Mm.contextId);
  // Without the lock as long as nobody has begun a new generation, which takes the CPU's ASID away.
  const active = yield* readOnce(cpu, Cpu.activeAsid);
  const generation = yield* readOnce(kernel, KernelState.asidGeneration);
  if (active !== 0 && isOf(context, generation) && (yield* cmpxchg(cpu, Cpu.activeAsid, active, context)) === active) return context;
  yield* spinLock(kernel + KernelState.asidLock);
  context = yield* readOnce(mm, Mm.contextId);
  if (!isOf(context, get(kernel, KernelState.asidGeneration))) {
    context = yield* newContext(context);
    yield* writeOnce(mm, Mm.contextId, context);
  }
  if ((yield* readOnce(cpu, Cpu.flushPending)) !== 0) {
    yield* writeOnce(cpu, Cpu.flushPending, 0);
    yield* localFlushTlbAll();
  }
  yield* writeOnce(cpu, Cpu.activeAsid, context);
  yield* spinUnlock(kernel + KernelState.asidLock);
  return context;
}

/** new_context: a context id of the current generation for who had `old`: the same ASID if it can keep it. Needs the allocator's lock. */
function* newContext(old: number): Op<number> {
  const kernel = kernelState();
  if (old !== 0) {
    const kept = get(kernel, KernelState.asidGeneration) * ASID_SPAN + asidOf(old);
    if (updateReserved(old, kept)) return kept;
    if (!isTaken(asidOf(old))) return take(asidOf(old));
  }
  let asid = freeAsid(get(kernel, KernelState.asidLast));
  if (asid === 0) {
    // The context ids of all others are of the past from here on.
    yield* atomicAdd(kernel, KernelState.asidGeneration, 1);
    yield* flushContext();
    asid = freeAsid(1);
  }
  set(kernel, KernelState.asidLast, asid);
  return take(asid);
}

/** flush_context: a generation begins with what CPUs are using. Their TLBs must go before they use anything else. */
function* flushContext(): Op<number> {
  set(kernelState(), KernelState.asidMap, 0);
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
    let context = yield* readOnce(cpu, Cpu.activeAsid);
    while ((yield* cmpxchg(cpu, Cpu.activeAsid, context, 0)) !== context) context = yield* readOnce(cpu, Cpu.activeAsid);
    // A CPU that has not switched since the generation before is still using what it had then.
    if (context === 0) context = get(cpu, Cpu.reservedAsid);
    if (context !== 0) take(asidOf(context));
    set(cpu, Cpu.reservedAsid, context);
  }
  if (switched(SW.asidReuseNoFlush)) return 0;
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) yield* writeOnce(cpu, Cpu.flushPending, 1);
  return 0;
}

/** check_update_reserved_asid: whether CPUs kept a context id over the change of generations; they have the new one now. */
function updateReserved(old: number, context: number): boolean {
  let hit = false;
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
    if (get(cpu, Cpu.reservedAsid) !== old) continue;
    set(cpu, Cpu.reservedAsid, context);
    hit = true;
  }
  return hit;
}

const isTaken = (asid: number): boolean => (get(kernelState(), KernelState.asidMap) & (1 << asid)) !== 0;

/** Marks an ASID as given out; the context id. */
function take(asid: number): number {
  const kernel = kernelState();
  set(kernel, KernelState.asidMap, get(kernel, KernelState.asidMap) | (1 << asid));
  return get(kernel, KernelState.asidGeneration) * ASID_SPAN + asid;
}

/** Lowest ASID from `from` on that is not given out, 0 when there is none. */
function freeAsid(from: number): number {
  for (let asid = Math.max(1, from); asid <= get(kernelState(), KernelState.asids); asid++) if (!isTaken(asid)) return asid;
  return 0;
}
