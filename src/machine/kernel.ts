/** The kernel's code in one of its programs, called as ordinary functions. */
import { type Op, runNative } from '../kernel/op.ts';
import * as source from '../mm/index.ts';
import { direct } from 'pxd:direct';
import type { Direct } from '../kernel/compile/program-types.ts';

export type Kernel = Direct<typeof source>;
export type ProgramName = 'direct' | 'native' | 'step';

const made = new Map<ProgramName, Kernel>([['direct', direct as unknown as Kernel]]);

/** The functions of the mm, each run to its end when called. */
export function kernelOf(name: ProgramName): Kernel {
  const known = made.get(name);
  if (known) return known;
  const kernel = {} as Record<string, unknown>;
  for (const [key, value] of Object.entries(source)) kernel[key] = isGenerator(value) ? (...args: number[]) => runNative((value as (...a: number[]) => Op<number>)(...args)) : value;
  made.set(name, kernel as unknown as Kernel);
  return kernel as unknown as Kernel;
}

const isGenerator = (value: unknown): boolean => typeof value === 'function' && value.constructor.name === 'GeneratorFunction';
