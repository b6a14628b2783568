/**
 * The hash of a whole state, found from all that tasks are: searches know it from step to step (kernel/known-steps.ts).
 *
 * Invariants: equal states have equal hashes, whatever way led to them.
 */
import type { Scheduler } from '../kernel/scheduler.ts';
import { beginLanes, laneHigh, laneLow, mixLanes, wholeHigh, wholeLow } from '../kernel/task-hash.ts';
import { stateHashHigh, stateHashLow } from '../memory/state.ts';

/** Its two halves as text: of what the journal hashed of memory, and of the stacks and results of tasks 0 … count − 1. */
export function wholeHash(scheduler: Scheduler, count: number): string {
  let low = 0;
  let high = 0;
  for (let number = 0; number < count; number++) {
    mixTask(scheduler, number);
    low = (low + laneLow) | 0;
    high = (high + laneHigh) | 0;
  }
  return `${wholeLow(stateHashLow(), low)} ${wholeHigh(stateHashHigh(), high)}`;
}

function mixTask(scheduler: Scheduler, number: number): void {
  beginLanes(number);
  const { stack } = scheduler;
  const base = scheduler.baseOf(number);
  const end = scheduler.endOf(number);
  for (let i = base; i < end; i++) mixLanes(stack[i]);
  const results = scheduler.results[number];
  for (let i = 0; i < results.length; i++) mixLanes(results[i]);
}
