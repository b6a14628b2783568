/**
 * `pxd/explore/kernel`: what kernel functions of a scenario are written with.
 *
 * The primitive operations (`yield* spinLock(lock)`, `yield* readOnce(ref, field)`, …) are the points at which other tasks, CPUs and hardware may act; plain
 * access to fields (`get`, `set`, `add`) is no such point, and is legal under the field's guard only. Structs of the mm are described here (`Mm`, `Vma`, …), and
 * `defineStruct` describes more of them: every field is a number in the machine's heap, so that it is part of a state, goes back with it, and is looked after.
 *
 * ```ts
 * import { defineStruct, readOnce, set, spinLock, spinUnlock, writeOnce, type Op } from 'pxd/explore/kernel';
 *
 * const Pair = defineStruct('pair', { lock: 'lock', low: 'number', high: 'number' }, { low: 'pairLock', high: 'pairLock' });
 *
 * function* move(pair: number, by: number): Op<number> {
 *   yield* spinLock(pair + Pair.lock);
 *   yield* writeOnce(pair, Pair.low, (yield* readOnce(pair, Pair.low)) + by);
 *   yield* spinUnlock(pair + Pair.lock);
 *   return 0;
 * }
 * ```
 *
 * Kernel functions are generator functions in a dialect (docs/check.md): locals are numbers, no closures, no try, nothing of the host.
 */
import { defineStruct as describe } from '../memory/struct.ts';

export { KernelBug } from '../kernel/bug.ts';
export { defineGuard, type GuardRule } from '../kernel/guards.ts';
export { HELD_FOLIO, HELD_READ, HELD_SPIN, HELD_VMA, HELD_WRITE, holds } from '../kernel/lockdep.ts';
export type { Op } from '../kernel/op.ts';
export * from '../kernel/ops.ts';
export { SW } from '../kernel/switches.ts';
export { alloc, free } from '../memory/heap.ts';
export { array, type Field, type FieldKind, type Ref, type Struct } from '../memory/struct.ts';
export * from '../mm/errno.ts';
export * from '../mm/types.ts';
export * from '../pagetable/canonical.ts';

/** Describes a struct of a scenario's own, whose fields are touched by `get`, `set`, `add` and operations alone (memory/struct.ts). */
export const defineStruct: typeof describe = (name, specs, guardedBy) => describe(name, specs, guardedBy, true);
