/**
 * What kernel code yields: operations that others may see. In the notation of kernel code a function that may be interrupted is a
 * `function*` of type `Op<T>` and is called with `yield*` (DESIGN: one source, two programs; the dialect is checked by `npm run dialect`).
 */

/** A run of kernel code with a result; each `yield` inside is a point where another task may go on. */
export type Op<T = void> = Generator<void, T, void>;

/** The operation that a task is about to perform. */
export const pending = { code: 0, a: 0, b: 0, c: 0, d: 0 };

type Effect = (a: number, b: number, c: number, d: number) => number;
type Enabled = (a: number, b: number, c: number, d: number) => boolean;

/** By code: name, what the operation does, when it may be performed (a lock is free). */
export const operations: { readonly name: string; readonly effect: Effect; readonly enabled: Enabled | undefined }[] = [
  { name: 'none', effect: () => 0, enabled: undefined },
];

/**
 * Makes a primitive operation. As a native generator it announces itself, waits to be resumed, and takes effect then; `enabled` tells
 * the scheduler when it may resume.
 */
export function primitive<A extends number[], R>(
  name: string,
  effect: (...args: A) => R,
  enabled?: (...args: A) => boolean,
): ((...args: A) => Op<R>) & { readonly code: number; readonly effect: (...args: A) => R } {
  const code = operations.length;
  operations.push({ name, effect: effect as unknown as Effect, enabled: enabled as unknown as Enabled | undefined });
  function* announce(...args: A): Op<R> {
    pending.code = code;
    pending.a = args[0] ?? 0;
    pending.b = args[1] ?? 0;
    pending.c = args[2] ?? 0;
    pending.d = args[3] ?? 0;
    yield;
    return effect(...args);
  }
  // The step program stops before its code, or performs its effect.
  return Object.assign(announce, { code, effect });
}

/** Runs kernel code to its end with nothing in between: what the direct program computes, by the native generators. */
export function runNative<T>(op: Op<T>): T {
  for (;;) {
    const step = op.next();
    if (step.done) return step.value;
    const { code, a, b, c, d } = pending;
    const enabled = operations[code].enabled;
    if (enabled && !enabled(a, b, c, d)) throw new Error(`a lone task waits for ever: ${operations[code].name}(${a}, ${b}, ${c}, ${d})`);
  }
}
