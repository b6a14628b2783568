/**
 * The hash of what a task is outside of the machine's memory: its stack, its results. Two lanes of 32 bits.
 *
 * Invariants: equal contents have equal hashes, in whatever order others were hashed between; of numbers of all kinds every bit counts.
 */

const bits = new DataView(new ArrayBuffer(8));

/** The two lanes of the hash that is being made. */
export let laneLow = 0;
export let laneHigh = 0;

/** The hash of a whole state: of memory's and the sums of the tasks', its two halves. */
export const wholeLow = (memory: number, tasks: number): number => memory ^ Math.imul(tasks, 0x2c1b3c6d);
export const wholeHigh = (memory: number, tasks: number): number => memory ^ Math.imul(tasks, 0x297a2d39);

/** Begins the hash of a task: tasks that swap their states are another state. */
export function beginLanes(number: number): void {
  laneLow = Math.imul(number + 1, 0x165667b1);
  laneHigh = Math.imul(number + 1, 0x27d4eb2f);
}

/** One number more: what was before decides what it does. */
export function mixLanes(value: number): void {
  let a = value | 0;
  if (a !== value) {
    bits.setFloat64(0, value);
    a = bits.getInt32(4);
    const b = bits.getInt32(0);
    laneLow = Math.imul(laneLow ^ b, 0x2c1b3c6d);
    laneHigh = Math.imul(laneHigh ^ b, 0x297a2d39);
  }
  laneLow = Math.imul(laneLow ^ a, 0x85ebca6b);
  laneLow ^= laneLow >>> 15;
  laneHigh = Math.imul(laneHigh + a, 0x9e3779b1);
  laneHigh ^= laneHigh >>> 13;
}

/** Numbers more, in a row. */
export function mixAll(values: Float64Array, from: number, to: number): void {
  let low = laneLow;
  let high = laneHigh;
  for (let i = from; i < to; i++) {
    const value = values[i];
    const a = value | 0;
    if (a === value) {
      low = Math.imul(low ^ a, 0x85ebca6b);
      low ^= low >>> 15;
      high = Math.imul(high + a, 0x9e3779b1);
      high ^= high >>> 13;
      continue;
    }
    laneLow = low;
    laneHigh = high;
    mixLanes(value);
    low = laneLow;
    high = laneHigh;
  }
  laneLow = low;
  laneHigh = high;
}
