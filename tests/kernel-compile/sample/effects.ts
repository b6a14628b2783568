/** What the sample kernel's primitives do. Each records itself, so that programs can be compared. */
import { clampIndex, memory, record, trace } from './state.ts';

export function readWord(index: number): number {
  record(1, index);
  return memory[clampIndex(index)];
}

export function writeWord(index: number, value: number): number {
  record(2, index, value);
  memory[clampIndex(index)] = value;
  return 0;
}

/** Adds, returns what was there before. */
export function addWord(index: number, value: number): number {
  record(3, index, value);
  const at = clampIndex(index);
  const before = memory[at];
  memory[at] = before + value;
  return before;
}

/** Swaps when equal to `expected`; 1 when it did. */
export function compareExchange(index: number, expected: number, value: number, tag: number): number {
  record(4, index, expected, value, tag);
  const at = clampIndex(index);
  if (memory[at] !== expected) return 0;
  memory[at] = value;
  return 1;
}

export function tick(): number {
  record(5);
  return trace.length;
}

/** Without a record, for measuring. */
export function readQuietly(index: number): number {
  return memory[index];
}

export function writeQuietly(index: number, value: number): number {
  memory[index] = value;
  return 0;
}
