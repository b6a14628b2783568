/** Operations of the sample kernel, in the form of src/kernel/op.ts. */

export type Op<T = void> = Generator<void, T, void>;

export const pending = { code: 0, a: 0, b: 0, c: 0, d: 0 };

type Effect = (a: number, b: number, c: number, d: number) => number;

/** Effects by code. */
export const effects: Effect[] = [() => 0];

export function primitive<A extends number[]>(
  effect: (...args: A) => number,
): ((...args: A) => Op<number>) & { readonly code: number; readonly effect: (...args: A) => number } {
  const code = effects.push(effect as unknown as Effect) - 1;
  function* announce(...args: A): Op<number> {
    pending.code = code;
    pending.a = args[0] ?? 0;
    pending.b = args[1] ?? 0;
    pending.c = args[2] ?? 0;
    pending.d = args[3] ?? 0;
    yield;
    return effect(...args);
  }
  return Object.assign(announce, { code, effect });
}
