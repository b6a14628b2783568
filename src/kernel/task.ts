/**
 * Tasks and CPUs: who runs kernel code, as objects of the machine's heap, so that a machine in the middle of calls is flat memory.
 *
 * Invariants: a machine without tasks (one that only the direct program runs) has none of these objects. `running` is the task whose code is
 * being executed, 0 when none of them is: then nothing is recorded about locks. What a task is about to do (`code`, `a` … `d`) is what it
 * announced last; it has not happened yet.
 */
import { alloc, free, get, set } from '../memory/heap.ts';
import { dropPools } from '../memory/pools.ts';
import { heap, setSlot, usePool } from '../memory/state.ts';
import { array, defineStruct, type Ref } from '../memory/struct.ts';
import { Memory, memory } from '../memory/zone.ts';
import { setCurrent } from './current.ts';

export type TaskRef = Ref<'task'>;
export type CpuRef = Ref<'cpu'>;
export type RcuHeadRef = Ref<'rcuHead'>;

/** Heap slot that refers to the machine's `kernel` object, 0 without tasks. */
export const SLOT_KERNEL = 4;
/** Tasks that a machine may have: sets of them are bits of one number. */
export const MAX_TASKS = 30;
/** Locks that one task may hold. */
export const MAX_HELD = 40;
/** Stores that a CPU's buffer holds. */
export const STORES = 4;
/** Bits of KernelState.hardware. */
export const HW_DEFER_RCU = 1;
export const HW_WALK_CACHES = 2;
export const HW_STORE_BUFFERS = 4;
export const HW_TORN_ENTRIES = 8;
export const HW_CACHED_REFUSALS = 16;
/** Words of 32 switches. */
export const SWITCH_WORDS = 8;
/** Translations that one CPU may hold. */
export const TLB_ENTRIES = 32;

/** What ties tasks, CPUs and deferred work to the machine. */
export const KernelState = defineStruct('kernel', {
  tasks: 'ref:task',
  cpus: 'ref:cpu',
  /** What waits for readers, oldest first. */
  rcu: 'ref:rcuHead',
  rcuLast: 'ref:rcuHead',
  /** HW_ bits: what the hardware is like (hardware.ts). */
  hardware: 'flags',
  /** Switches that are thrown (switches.ts), as bits. */
  switches: array(SWITCH_WORDS),
  /** Address space identifiers that the hardware has, 0 when translations are tagged by none: then loading tables empties the TLB. */
  asids: 'count',
  /** Allocator of ASIDs (mm/context.ts): generation, those given out in it as bits, the last one given, its lock (cpu_asid_lock). */
  asidGeneration: 'count',
  asidMap: 'flags',
  asidLast: 'number',
  asidLock: 'lock',
});

export const TASK_RUNNING = 0;
/** All calls of its program are done. */
export const TASK_DONE = 1;

export const Task = defineStruct('task', {
  number: 'number',
  next: 'ref:task',
  cpu: 'ref:cpu',
  /** TASK_RUNNING, TASK_DONE. */
  state: 'number',
  /** Number of the call of its program that it is in. */
  call: 'count',
  /** Result of the call before. */
  result: 'number',
  /** The operation that it is about to perform. */
  code: 'number',
  a: 'number',
  b: 'number',
  c: 'number',
  d: 'number',
  /** 1 once the first half of an operation of two halves is done: what it sent out is awaited. */
  phase: 'number',
  rcuDepth: 'count',
  /** Spin locks held. */
  atomicDepth: 'count',
  irqsOff: 'count',
  heldCount: 'count',
  /** Locks in the order in which they were taken (lockdep.ts), and how. */
  held: array(MAX_HELD),
  modes: array(MAX_HELD),
});

/** A CPU: the translations that it holds. Its caches of tables are part of them: each tells the tables that it was read from. */
export const Cpu = defineStruct('cpu', {
  number: 'number',
  next: 'ref:cpu',
  /** Address space that is loaded, 0 for none. */
  mm: 'ref:mm',
  /** Set while a flush that another CPU asked for is not done yet. */
  ipi: 'number',
  ipiMm: 'ref:mm',
  ipiStart: 'vpn',
  ipiEnd: 'vpn',
  count: 'count',
  mms: array(TLB_ENTRIES, 'number'),
  vpns: array(TLB_ENTRIES, 'vpn'),
  /** Page that is translated to, 0 for a cached upper entry. */
  pages: array(TLB_ENTRIES, 'page'),
  /** PTE_READ, PTE_WRITE, PTE_EXEC, PTE_DIRTY as the entry had them. */
  bits: array(TLB_ENTRIES, 'flags'),
  /** Table of the lowest level that the CPU remembers to have come through, 0 when it has forgotten that. */
  tables: array(TLB_ENTRIES, 'page'),
  /** Tasks whose current call began when the translation was there already (`tlbCallBegins`): 1 << number. */
  older: array(TLB_ENTRIES, 'flags'),
  /** A device that shares page tables: no task runs on it, no interrupt reaches it. */
  device: 'number',
  /** Stores that have not reached memory, oldest first: operation and its first three arguments (store-buffer.ts). */
  stores: 'count',
  storeCodes: array(STORES),
  storeA: array(STORES),
  storeB: array(STORES),
  storeC: array(STORES),
  /** Top table that switch_mm() loaded; 0 while the CPU has what it was given at the beginning (`Scheduler.load`), or the kernel's tables. */
  pgd: 'page',
  /** LAZY_: whether a kernel thread runs on the tables of whoever ran before it. */
  lazy: 'number',
  /** The address space that this CPU's current task uses or has borrowed (active_mm). */
  activeMm: 'ref:mm',
  /** Tag of the translations that it takes up now: number of the loaded ASID. */
  tag: 'number',
  /** ASIDs with their generation: in use here (active_asids), kept over a change of generation (reserved_asids). */
  activeAsid: 'number',
  reservedAsid: 'number',
  /** 1 when all translations must go before another ASID is loaded (tlb_flush_pending). */
  flushPending: 'number',
  /** Tags of the translations. */
  tags: array(TLB_ENTRIES),
});

/** A CPU that is lazy: it has counted the address space, and leaves its tables when it is asked to flush. */
export const LAZY = 1;
/** A lazy CPU of which nobody knows. */
export const LAZY_UNKNOWN = 2;

/** A page table (or what else call_rcu is asked for) that waits until all who may look at it have gone. */
export const RcuHead = defineStruct('rcuHead', {
  next: 'ref:rcuHead',
  page: 'page',
  order: 'number',
  /** Readers that were inside when it was queued: 1 << number of the task. */
  readers: 'flags',
});

/** The task whose code is being executed, 0 for none. */
export let running: TaskRef = 0;

/** Makes `task` (0: none) the one that is accounted for what happens now. */
export function setRunning(task: TaskRef): void {
  running = task;
  usePool(task === 0 ? -1 : heap[task + Task.number]);
  if (task === 0) setCurrent(0, 0);
  else setCurrent(heap[task + Task.number], heap[heap[task + Task.cpu] + Cpu.number]);
}

/** The kernel object, 0 when the machine has no tasks. */
export const kernelState = (): number => heap[SLOT_KERNEL];

/**
 * Whether the step that is being taken has looked at what CPUs hold, at other tasks, or at more of told objects than is told: what it does hangs on them then
 * (known-steps.ts). Plain accesses to slots [from, to) are looks at tasks (guards.ts).
 */
export const looked = { cpus: false, tasks: false, told: false, from: 0, to: 0 };

export const firstTask = (): TaskRef => (kernelState() === 0 ? 0 : get(kernelState(), KernelState.tasks));
export function firstCpu(): CpuRef {
  looked.cpus = true;
  return kernelState() === 0 ? 0 : get(kernelState(), KernelState.cpus);
}

/** The CPU of the running task. */
export function ownCpu(): CpuRef {
  looked.cpus = true;
  return heap[running + Task.cpu];
}

/** Gives the mounted machine CPUs that tasks run on. */
export function makeCpus(count: number, device = false): void {
  if (kernelState() !== 0) throw new Error('the machine has CPUs already');
  // Each has lists of free pages of its own.
  const booted = heap[memory() + Memory.cpus];
  if (count > booted) throw new Error(`the machine was booted with ${booted} CPU${booted === 1 ? '' : 's'}, not with ${count}`);
  const kernel = alloc(KernelState);
  setSlot(SLOT_KERNEL, kernel);
  for (let number = device ? count : count - 1; number >= 0; number--) {
    const cpu = alloc(Cpu);
    set(cpu, Cpu.number, number);
    if (number === count) set(cpu, Cpu.device, 1);
    set(cpu, Cpu.next, get(kernel, KernelState.cpus));
    set(kernel, KernelState.cpus, cpu);
  }
}

export function cpuOf(number: number): CpuRef {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) if (get(cpu, Cpu.number) === number) return cpu;
  throw new Error(`the machine has no CPU ${number}`);
}

/** A new task, the last of the list. Numbers are 0, 1, 2 … in the order of creation. */
export function createTask(cpu: CpuRef): TaskRef {
  const task = alloc(Task);
  let number = 0;
  let last = 0;
  for (let t = firstTask(); t !== 0; t = get(t, Task.next)) {
    number++;
    last = t;
  }
  if (number >= MAX_TASKS) throw new Error(`more than ${MAX_TASKS} tasks`);
  set(task, Task.number, number);
  set(task, Task.cpu, cpu);
  if (last === 0) set(kernelState(), KernelState.tasks, task);
  else set(last, Task.next, task);
  return task;
}

export function taskOf(number: number): TaskRef {
  for (let task = firstTask(); task !== 0; task = get(task, Task.next)) if (get(task, Task.number) === number) return task;
  return 0;
}

/** Takes tasks and CPUs away again: the machine is as one that never had any. */
export function removeTasks(): void {
  const kernel = kernelState();
  if (kernel === 0) return;
  setRunning(0);
  dropPools();
  freeList(get(kernel, KernelState.rcu), RcuHead, RcuHead.next);
  freeList(get(kernel, KernelState.tasks), Task, Task.next);
  freeList(get(kernel, KernelState.cpus), Cpu, Cpu.next);
  free(KernelState, kernel);
  setSlot(SLOT_KERNEL, 0);
}

function freeList(first: number, struct: { readonly $type: number; readonly $size: number }, next: number): void {
  for (let ref = first; ref !== 0; ) {
    const after = heap[ref + next];
    free(struct, ref);
    ref = after;
  }
}
