/** A kernel call that runs as the step program, and through which kernel functions it came. */
import { step } from 'pxd:step';
import { advance, beginTask, type Descriptor, EVERYWHERE, functions, S, TASK, useStack } from '../../../src/kernel/compile/runtime.ts';
import { operations } from '../../../src/kernel/op.ts';

const SIZE = 1 << 11;
const stack = new Float64Array(SIZE);

/** Calls a kernel function of the mm in the mounted machine. Its result, and the functions that have performed an operation, or called one that has. */
export function traced(name: string, ...args: number[]): { result: number; through: ReadonlySet<string> } {
  useStack(stack, EVERYWHERE);
  stack.fill(0);
  beginTask(0, SIZE, (step as unknown as Record<string, Descriptor>)[name], args);
  const ids = new Set<number>();
  while (advance(0)) {
    for (let fp = S[TASK.frame]; fp > 0; fp = S[fp + 2] === 0 ? 0 : fp - S[fp + 2]) ids.add(S[fp]);
    const [code, a, b, c, d] = [TASK.code, TASK.a, TASK.b, TASK.c, TASK.d].map((at) => stack[at]);
    const { name: operation, effect, enabled } = operations[code];
    if (enabled !== undefined && !enabled(a, b, c, d)) throw new Error(`a lone task waits for ever: ${operation}(${a}, ${b}, ${c}, ${d})`);
    stack[TASK.result] = effect(a, b, c, d);
  }
  return { result: stack[TASK.result], through: new Set([...ids].map((id) => functions[id].name)) };
}
