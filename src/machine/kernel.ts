/** The kernel's code in one of its programs, called as ordinary functions that run to their end. */
import { direct } from 'pxd:direct';
import { step } from 'pxd:step';
import type { Direct } from '../kernel/compile/program-types.ts';
import { advance, type Descriptor, S, startTask, TASK, useStack } from '../kernel/compile/runtime.ts';
import { type Op, operations, runNative } from '../kernel/op.ts';
import * as source from '../mm/index.ts';

export type Kernel = Direct<typeof source>;
/** `direct`: straight JavaScript. `step`: tasks in flat memory, driven one operation at a time. `native`: the source itself as generators. They do the same. */
export type ProgramName = 'direct' | 'native' | 'step';

const made = new Map<ProgramName, Kernel>([['direct', direct as unknown as Kernel]]);

/** The functions of the mm, each run to its end when called. */
export function kernelOf(name: ProgramName): Kernel {
  const known = made.get(name);
  if (known) return known;
  const entries = Object.entries(source).map(([key, value]) => [key, isGenerator(value) ? wrapped(name, key, value as GeneratorSource) : value]);
  const kernel = Object.fromEntries(entries) as unknown as Kernel;
  made.set(name, kernel);
  return kernel;
}

type GeneratorSource = (...args: number[]) => Op<number>;

const isGenerator = (value: unknown): boolean => typeof value === 'function' && value.constructor.name === 'GeneratorFunction';

function wrapped(name: ProgramName, key: string, value: GeneratorSource): (...args: number[]) => number {
  if (name === 'native') return (...args) => runNative(value(...args));
  const descriptor = (step as unknown as Record<string, Descriptor>)[key];
  return (...args) => runSteps(descriptor, args);
}

/** Doubles of the stack of the one task that runs a call to its end. */
const STACK = 1024;
const stack = new Float64Array(STACK);

/** Runs a kernel function of the step program as the only task. */
function runSteps(descriptor: Descriptor, args: readonly number[]): number {
  useStack(stack);
  startTask(0, STACK, descriptor, ...args.slice(0, descriptor.params));
  while (advance(0)) {
    const operation = operations[S[TASK.code]];
    const { effect, enabled } = operation;
    const a = S[TASK.a];
    const b = S[TASK.b];
    const c = S[TASK.c];
    const d = S[TASK.d];
    if (enabled && !enabled(a, b, c, d)) throw new Error(`a lone task waits for ever: ${operation.name}(${a}, ${b}, ${c}, ${d})`);
    S[TASK.result] = effect(a, b, c, d);
  }
  return S[TASK.result];
}
