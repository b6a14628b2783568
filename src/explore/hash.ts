/**
 * The hash of a whole state: what the journal hashed of the machine's memory, and the stacks and results of all tasks.
 *
 * Invariants: equal states have equal hashes, whatever way led to them; a task's part is computed anew only when it has moved.
 */
import type { Scheduler } from '../kernel/scheduler.ts';
import { beginLanes, laneHigh, laneLow, mixLanes } from '../kernel/task-hash.ts';
import { stateHashHigh, stateHashLow } from '../memory/state.ts';

/** Hash of what one task is outside of the machine's memory, into `taskHash`. */
export const taskHash = { low: 0, high: 0 };
export function hashTask(scheduler: Scheduler, number: number): void {
  beginLanes(number);
  const { stack } = scheduler;
  const base = scheduler.baseOf(number);
  const end = scheduler.endOf(number);
  for (let i = base; i < end; i++) mixLanes(stack[i]);
  const results = scheduler.results[number];
  for (let i = 0; i < results.length; i++) mixLanes(results[i]);
  taskHash.low = laneLow;
  taskHash.high = laneHigh;
}

/** The state's hash, into `whole`: of the sums of the tasks' and of memory's. */
export const whole = { low: 0, high: 0 };
export function hashWhole(tasksLow: number, tasksHigh: number, low = stateHashLow(), high = stateHashHigh()): void {
  whole.low = low ^ Math.imul(tasksLow, 0x2c1b3c6d);
  whole.high = high ^ Math.imul(tasksHigh, 0x297a2d39);
}
