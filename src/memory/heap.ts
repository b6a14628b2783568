/**
 * Objects of described structs in the heap.
 *
 * Invariants: every object is reached through its reference and a described field; a freed object is all zero but for its type (negated).
 */
import { allocObject, freeObject, heap, setSlot } from './state.ts';
import { type Field, layouts, type Ref } from './struct.ts';

/** Reads a field. */
export const get = <T extends string, V>(ref: Ref<T>, field: Field<T, V>): number => heap[ref + field];

/** Writes a field. */
export const set = <T extends string, V>(ref: Ref<T>, field: Field<T, V>, value: number): void => setSlot(ref + field, value);

/** Adds to a field and returns the new value. */
export function add<T extends string, V>(ref: Ref<T>, field: Field<T, V>, delta: number): number {
  const value = heap[ref + field] + delta;
  setSlot(ref + field, value);
  return value;
}

interface Described<T extends string> {
  readonly $type: number;
  readonly $size: number;
  readonly $of?: T;
}

/** A new zeroed object. Never fails; kernel code allocates through `kmalloc` (kernel/ops), which may. */
export const alloc = <T extends string>(struct: Described<T>): number => allocObject(struct.$type, struct.$size);

export const free = <T extends string>(struct: Described<T>, ref: Ref<T>): void => freeObject(ref, struct.$size);

/** Number of the type of an object, negative once freed. */
export const typeOf = (ref: number): number => heap[ref];

/** Slots of an object of a type. */
export const sizeOf = (type: number): number => layouts[Math.abs(type)].size;
