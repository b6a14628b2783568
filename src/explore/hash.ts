/**
 * The hash of a whole state: what the journal hashed of the machine's memory, and the stacks and results of all tasks.
 *
 * Invariants: equal states have equal hashes, whatever way led to them; a task's part is computed anew only when it has moved.
 */
import type { Scheduler } from '../kernel/scheduler.ts';
import { stateHashHigh, stateHashLow } from '../memory/state.ts';

const bits = new DataView(new ArrayBuffer(8));

let low = 0;
let high = 0;

/** One number more, into two lanes: what was before decides what it does. */
function mix(value: number): void {
  let a = value | 0;
  if (a !== value) {
    bits.setFloat64(0, value);
    a = bits.getInt32(4);
    const b = bits.getInt32(0);
    low = Math.imul(low ^ b, 0x2c1b3c6d);
    high = Math.imul(high ^ b, 0x297a2d39);
  }
  low = Math.imul(low ^ a, 0x85ebca6b);
  low ^= low >>> 15;
  high = Math.imul(high + a, 0x9e3779b1);
  high ^= high >>> 13;
}

/** Hash of what one task is outside of the machine's memory, into `taskHash`. */
export const taskHash = { low: 0, high: 0 };
export function hashTask(scheduler: Scheduler, number: number): void {
  // Tasks that swap their states are another state.
  low = Math.imul(number + 1, 0x165667b1);
  high = Math.imul(number + 1, 0x27d4eb2f);
  const { stack } = scheduler;
  const base = scheduler.baseOf(number);
  const end = scheduler.endOf(number);
  for (let i = base; i < end; i++) mix(stack[i]);
  const results = scheduler.results[number];
  for (let i = 0; i < results.length; i++) mix(results[i]);
  taskHash.low = low;
  taskHash.high = high;
}

/** The state's hash, into `whole`; `low` and `high` are the sums of the tasks'. */
export const whole = { low: 0, high: 0 };
export function hashWhole(tasksLow: number, tasksHigh: number): void {
  whole.low = stateHashLow() ^ Math.imul(tasksLow, 0x2c1b3c6d);
  whole.high = stateHashHigh() ^ Math.imul(tasksHigh, 0x297a2d39);
}
