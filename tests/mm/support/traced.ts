/** A kernel call that runs as the step program: through which kernel functions it came, and which operations it performed. */
import { step } from 'pxd:step';
import { advance, beginTask, type Descriptor, EVERYWHERE, functions, S, TASK, useStack } from '../../../src/kernel/compile/runtime.ts';
import { operations } from '../../../src/kernel/op.ts';

const SIZE = 1 << 11;
const stack = new Float64Array(SIZE);

export interface Traced {
  readonly result: number;
  /** Functions that have performed an operation, or called one that has. */
  readonly through: ReadonlySet<string>;
  /** How often each operation was performed. */
  readonly performed: ReadonlyMap<string, number>;
}

/** Calls a kernel function of the mm in the mounted machine. `after` hears of each operation that was performed, with its first argument, and may change the machine. */
export function tracedWith(after: (operation: string, first: number) => void, name: string, ...args: number[]): Traced {
  useStack(stack, EVERYWHERE);
  stack.fill(0);
  beginTask(0, SIZE, (step as unknown as Record<string, Descriptor>)[name], args);
  const ids = new Set<number>();
  const performed = new Map<string, number>();
  while (advance(0)) {
    for (let fp = S[TASK.frame]; fp > 0; fp = S[fp + 2] === 0 ? 0 : fp - S[fp + 2]) ids.add(S[fp]);
    const [code, a, b, c, d] = [TASK.code, TASK.a, TASK.b, TASK.c, TASK.d].map((at) => stack[at]);
    const { name: operation, effect, enabled } = operations[code];
    if (enabled !== undefined && !enabled(a, b, c, d)) throw new Error(`a lone task waits for ever: ${operation}(${a}, ${b}, ${c}, ${d})`);
    stack[TASK.result] = effect(a, b, c, d);
    performed.set(operation, (performed.get(operation) ?? 0) + 1);
    after(operation, a);
  }
  return { result: stack[TASK.result], through: new Set([...ids].map((id) => functions[id].name)), performed };
}

export const traced = (name: string, ...args: number[]): Traced => tracedWith(() => {}, name, ...args);
