/** Types of the two programs, as functions of the type of the source. */
import type { Descriptor } from './runtime.ts';

/** The direct program: each generator function is an ordinary one of the same parameters and result. */
export type Direct<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => Generator<unknown, infer R, unknown> ? (...args: A) => R : T[K];
};

/** The step program: each generator function is a descriptor that `startTask` takes. */
export type Steps<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => Generator<unknown, unknown, unknown> ? Descriptor<A> : T[K];
};
