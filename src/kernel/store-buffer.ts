/**
 * Store buffers, for those who ask what total store order does to an argument: a plain store of kernel code is kept by its CPU and reaches memory later,
 * in order; the CPU itself sees it at once.
 *
 * Invariants: only WRITE_ONCE and entries are buffered. Whatever is atomic in Linux (locks, reference counts, cmpxchg, flags, ptep_get_and_clear, flushes, RCU and
 * interrupts) waits until its CPU's buffer is empty, as locked instructions do on x86; releases of locks do so too, which is more than
 * x86 promises: a load that Linux could see moved up before an unlock is not (docs/fidelity.md). Hardware walks see memory, not buffers.
 */
import { get, set } from '../memory/heap.ts';
import { heap, setSlot } from '../memory/state.ts';
import { operations } from './op.ts';
import { entryGet, entrySet, readOnce, writeOnce } from './ops.ts';
import { Cpu, type CpuRef, STORES } from './task.ts';

/** Operations that need not find the buffer empty. */
const plain = (code: number): boolean => code === writeOnce.code || code === entrySet.code || code === readOnce.code || code === entryGet.code;

/** Whether a task may perform an operation now, as far as its CPU's buffer is concerned. */
export const bufferAllows = (cpu: CpuRef, code: number): boolean =>
  get(cpu, Cpu.stores) === 0 || (plain(code) && (get(cpu, Cpu.stores) < STORES || (code !== writeOnce.code && code !== entrySet.code)));

/** Columns of a buffered store: code and its arguments. */
const COLUMNS = [Cpu.storeCodes, Cpu.storeA, Cpu.storeB, Cpu.storeC] as const;

/** Performs an operation of a task on a CPU with a store buffer: the result. */
export function performBuffered(cpu: CpuRef, code: number, a: number, b: number, c: number, d: number): number {
  if (code === writeOnce.code || code === entrySet.code) {
    const at = get(cpu, Cpu.stores);
    [code, a, b, c].forEach((value, i) => setSlot(cpu + COLUMNS[i] + at, value));
    set(cpu, Cpu.stores, at + 1);
    return 0;
  }
  // The newest store to the same place is what the CPU reads.
  const wanted = code === readOnce.code ? writeOnce.code : code === entryGet.code ? entrySet.code : 0;
  if (wanted !== 0)
    for (let i = get(cpu, Cpu.stores) - 1; i >= 0; i--) {
      if (heap[cpu + Cpu.storeCodes + i] !== wanted) continue;
      const same = wanted === entrySet.code ? heap[cpu + Cpu.storeA + i] === a : heap[cpu + Cpu.storeA + i] + heap[cpu + Cpu.storeB + i] === a + b;
      if (same) return heap[cpu + Cpu.storeC + i];
    }
  return operations[code].effect(a, b, c, d);
}

/** The oldest store reaches memory. */
export function drainOldest(cpu: CpuRef): void {
  const [code, a, b, c] = COLUMNS.map((column) => heap[cpu + column]);
  const last = get(cpu, Cpu.stores) - 1;
  for (const column of COLUMNS) {
    for (let i = 0; i < last; i++) setSlot(cpu + column + i, heap[cpu + column + i + 1]);
    setSlot(cpu + column + last, 0);
  }
  set(cpu, Cpu.stores, last);
  operations[code].effect(a, b, c, 0);
}
