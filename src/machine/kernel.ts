/** The kernel's code in one of its programs, called as ordinary functions that run to their end. */
import { direct } from 'pxd:direct';
import { step } from 'pxd:step';
import type { Direct } from '../kernel/compile/program-types.ts';
import { advance, callTask, type Descriptor, EVERYWHERE, NOWHERE, TASK, useStack } from '../kernel/compile/runtime.ts';
import { type Op, operations, runNative } from '../kernel/op.ts';
import * as source from '../mm/index.ts';

export type Kernel = Direct<typeof source>;
/**
 * `direct`: plain JavaScript. `step`: tasks in flat memory, driven one operation at a time; `straight`: the same code without a stop. `native`: the
 * source itself as generators. They do the same.
 */
export type ProgramName = 'direct' | 'native' | 'step' | 'straight';

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
  const where = name === 'step' ? EVERYWHERE : NOWHERE;
  return (a, b, c, d, e, f, g) => runSteps(where, descriptor, a, b, c, d, e, f, g);
}

/** Doubles of the stack of the one task that runs a call to its end. */
const STACK = 1024;
const stack = new Float64Array(STACK);
/** The stack holds nothing but zeroes: every call has ended, and frames are zeroed when they end. */
let clean = false;

/** Runs a kernel function of the step program as the only task; arguments beyond its parameters are not looked at. */
function runSteps(where: Uint8Array<ArrayBuffer>, descriptor: Descriptor, a: number, b: number, c: number, d: number, e: number, f: number, g: number): number {
  useStack(stack, where);
  if (!clean) stack.fill(0);
  clean = false;
  if (callTask(0, STACK, descriptor, a, b, c, d, e, f, g) && !runOn(stack)) {
    const { name } = operations[stack[TASK.code] | 0];
    throw new Error(`a lone task waits for ever: ${name}(${stack.slice(TASK.a, TASK.d + 1).join(', ')})`);
  }
  clean = true;
  return stack[TASK.result];
}

/** Goes on with the task of a stack, which is the one in use, until it has ended (true) or is about to do what it would have to wait for (false). */
export function runOn(stack: Float64Array<ArrayBuffer>): boolean {
  const places = TASK;
  do {
    const { effect, enabled } = operations[stack[places.code] | 0];
    const a = stack[places.a];
    const b = stack[places.b];
    const c = stack[places.c];
    const d = stack[places.d];
    if (enabled !== undefined && !enabled(a, b, c, d)) return false;
    stack[places.result] = effect(a, b, c, d);
  } while (advance(0));
  return true;
}
