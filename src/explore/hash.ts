/**
 * The hash of a whole state: what the journal hashed of the machine's memory, and the stacks and results of all tasks.
 *
 * Invariants: equal states have equal hashes, whatever way led to them; a task's part is computed anew only when it has moved.
 */
import type { Scheduler } from '../kernel/scheduler.ts';
import { stateHash } from '../memory/state.ts';

const bits = new DataView(new ArrayBuffer(8));

/** Mixes one number, at a place, into two lanes. */
let low = 0;
let high = 0;

function mix(place: number, value: number): void {
  let a = value | 0;
  let b = 0;
  if (a !== value) {
    bits.setFloat64(0, value);
    a = bits.getInt32(4);
    b = bits.getInt32(0);
  }
  let x = Math.imul(place ^ 0x165667b1, 0x85ebca6b) ^ a;
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) ^ b;
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  low = (low + (x ^ (x >>> 15))) | 0;
  let y = Math.imul(place ^ 0x27d4eb2f, 0x9e3779b1) ^ a;
  y = Math.imul(y ^ (y >>> 13), 0x7feb352d) ^ b;
  y = Math.imul(y ^ (y >>> 16), 0x846ca68b);
  high = (high + (y ^ (y >>> 14))) | 0;
}

/** Where results begin in the numbering of places: beyond any stack. */
const RESULTS = 1 << 24;

/** Hash of what one task is outside of the machine's memory, into `taskHash`. */
export const taskHash = { low: 0, high: 0 };
export function hashTask(scheduler: Scheduler, number: number): void {
  low = 0;
  high = 0;
  const { base, end } = scheduler.areaOf(number);
  const { stack } = scheduler;
  // Position in the whole stack, so that tasks that swap their states are another state.
  for (let i = base; i < end; i++) if (stack[i] !== 0) mix(i, stack[i]);
  const results = scheduler.results[number];
  for (let i = 0; i < results.length; i++) mix(RESULTS + number * 64 + i, results[i]);
  taskHash.low = low;
  taskHash.high = high;
}

/** The state's hash, into `whole`; `low` and `high` are the sums of the tasks'. */
export const whole = { low: 0, high: 0 };
export function hashWhole(tasksLow: number, tasksHigh: number): void {
  const memory = stateHash();
  whole.low = memory.low ^ Math.imul(tasksLow, 0x2c1b3c6d);
  whole.high = memory.high ^ Math.imul(tasksHigh, 0x297a2d39);
}
