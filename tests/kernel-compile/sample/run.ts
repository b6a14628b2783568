/** Runs kernel code of the sample in its three forms, each to the end. */
import { advance, type Descriptor, S, startTask, TASK, useStack } from '../../../src/kernel/compile/runtime.ts';
import { effects, type Op, pending } from './op.ts';
import { memory, reset, trace } from './state.ts';

export interface Outcome {
  readonly result: number | string;
  readonly trace: readonly (readonly number[])[];
  readonly memory: readonly number[];
}

/** Doubles of a task's area in these tests. */
export const AREA = 512;

function outcome(run: () => unknown, initial: readonly number[]): Outcome {
  reset();
  memory.set(initial);
  let result: number | string;
  try {
    // Kernel code may hand out a boolean where the step program has a number; nothing is 0.
    result = Number(run() ?? 0);
  } catch (error) {
    result = String((error as Error).message);
  }
  return { result, trace: [...trace], memory: [...memory] };
}

// biome-ignore lint/suspicious/noExplicitAny: kernel functions of any parameters
type AnyFunction = (...args: any[]) => unknown;

export const runDirect = (fn: AnyFunction, args: readonly number[], initial: readonly number[] = []): Outcome => outcome(() => fn(...args), initial);

/** Native generators, driven; `seen` is told every operation before it takes effect. */
export function runNative(
  fn: (...args: number[]) => Op<unknown>,
  args: readonly number[],
  initial: readonly number[] = [],
  seen?: (operation: number[]) => void,
): Outcome {
  return outcome(() => {
    const op = fn(...args);
    for (;;) {
      const { done, value } = op.next();
      if (done) return value;
      seen?.([pending.code, pending.a, pending.b, pending.c, pending.d]);
    }
  }, initial);
}

/**
 * The step program. `moved`: at every operation everything there is, the stack and the memory, goes to fresh arrays, and to another place in the
 * stack; the old ones are filled with rubbish. `stops`: it only waits before these operations.
 */
export function runStep(
  // biome-ignore lint/suspicious/noExplicitAny: kernel functions of any parameters
  descriptor: Descriptor<any>,
  args: readonly number[],
  initial: readonly number[] = [],
  options: { moved?: boolean; stops?: Uint8Array<ArrayBuffer>; seen?: (operation: number[]) => void } = {},
): Outcome {
  useStack(new Float64Array(3 * AREA), options.stops);
  let base = AREA;
  return outcome(() => {
    startTask(base, AREA, descriptor, ...args);
    while (advance(base)) {
      if (S[base + TASK.result] !== 0) throw new Error('a result is left of the operation before');
      if (options.moved) {
        const words = [...memory];
        const old = S;
        const next = base === AREA ? 0 : AREA;
        const fresh = new Float64Array(3 * AREA);
        fresh.set(old.subarray(base, base + AREA), next);
        old.fill(Number.NaN);
        memory.fill(-1);
        useStack(fresh, options.stops);
        memory.set(words);
        base = next;
      }
      const at = base + TASK.code;
      options.seen?.([...S.subarray(at, at + 5)]);
      S[base + TASK.result] = effects[S[at]](S[at + 1], S[at + 2], S[at + 3], S[at + 4]);
    }
    const result = S[base + TASK.result];
    // Whoever has ended leaves nothing behind.
    S[base + TASK.result] = 0;
    S[base + TASK.size] = 0;
    const left = S.findIndex((value) => !Object.is(value, 0));
    if (left >= 0) throw new Error(`double ${left - base} of an ended task's area is ${S[left]}`);
    return result;
  }, initial);
}
