/**
 * Descriptions of kernel objects. Each kind of object is described once; offsets, guards and printers all come from here.
 *
 * Invariants: an object is a run of slots in the heap, one double each; slot 0 holds the type's number (negative once freed), so any
 * reference tells what it refers to. A field is its slot's offset; the brands keep fields of one struct from being used on another.
 * Numbers of types follow the order in which modules define them, which is the same in every program.
 */

declare const owner: unique symbol;
declare const content: unique symbol;

/** Reference to an object in the heap: index of its slot 0. 0 refers to nothing. */
export type Ref<T extends string> = number & { readonly [owner]?: T };

/** Offset of a field within objects of struct `T` that holds a value of type `V`. */
export type Field<T extends string, V = number> = number & { readonly [owner]?: T; readonly [content]?: V };

/** What a field holds, for printers and checks. `ref:NAME` refers to an object of that struct. */
export type FieldKind = 'number' | 'flags' | 'vpn' | 'bytes' | 'page' | 'lock' | 'count' | `ref:${string}`;

export interface FieldSpec {
  readonly kind: FieldKind;
  /** Consecutive slots that the field takes. */
  readonly slots: number;
  /** A rw_semaphore that a constructor of the slab made once (SLAB_TYPESAFE_BY_RCU): readers that came too late may hold it beyond the object's end. */
  readonly outlives?: boolean;
}

export interface Layout {
  readonly name: string;
  readonly type: number;
  /** Slots of an object, the type's own included. */
  readonly size: number;
  readonly fields: ReadonlyMap<string, FieldSpec & { readonly offset: number }>;
  /** Which lock must be held to read or write a field: field → name of a rule (kernel/guards.ts). */
  readonly guards: ReadonlyMap<number, string>;
  /** Offset of the count of readers that stays when an object is freed (`outlives`), 0 for none. */
  readonly stays: number;
  /** Whether nobody reads its fields but by `get` and operations that are given their slots: steps are known by what they read there (kernel/known-steps.ts). */
  readonly told: boolean;
}

/** All described structs, by type number (0 is none). */
export const layouts: Layout[] = [{ name: 'none', type: 0, size: 0, fields: new Map(), guards: new Map(), stays: 0, told: false }];

type Specs = Readonly<Record<string, FieldKind | FieldSpec>>;

export type Struct<T extends string, S extends Specs> = { readonly [K in keyof S]: Field<T> } & { readonly $type: number; readonly $size: number };

/** Describes a struct. `guardedBy` names, field by field, the rule that must hold at each access (rules read what they like: `told` is none of them). @throws {TypeError} when a guarded field does not exist. */
export function defineStruct<const T extends string, const S extends Specs>(
  name: T,
  specs: S,
  guardedBy: { readonly [K in keyof S]?: string } = {},
  told = false,
): Struct<T, S> {
  const fields = new Map<string, FieldSpec & { offset: number }>();
  const offsets: Record<string, number> = {};
  let size = 1;
  let stays = 0;
  for (const [field, spec] of Object.entries(specs)) {
    const full: FieldSpec = typeof spec === 'string' ? { kind: spec, slots: 1 } : spec;
    fields.set(field, { ...full, offset: size });
    offsets[field] = size;
    if (full.outlives) stays = size + 1;
    size += full.slots;
  }
  // A freed object keeps its type (negated) and the link of the free list.
  size = Math.max(size, 2);
  const guards = new Map<number, string>();
  for (const [field, rule] of Object.entries(guardedBy)) {
    if (offsets[field] === undefined) throw new TypeError(`struct ${name} has no field "${field}" to guard`);
    guards.set(offsets[field], rule as string);
  }
  const type = layouts.length;
  layouts.push({ name, type, size, fields, guards, stays, told: told && guards.size === 0 });
  return Object.freeze({ ...offsets, $type: type, $size: size }) as Struct<T, S>;
}

/** Several consecutive slots under one name. */
export const array = (slots: number, kind: FieldKind = 'number'): { kind: FieldKind; slots: number } => ({ kind, slots });

/** Name of the field at an offset, for messages: `vma.start`, `process.rlimit[3]`. */
export function fieldName(type: number, offset: number): string {
  const layout = layouts[Math.abs(type)];
  if (!layout) return `type ${type}, slot ${offset}`;
  for (const [name, f] of layout.fields)
    if (offset >= f.offset && offset < f.offset + f.slots) return f.slots === 1 ? `${layout.name}.${name}` : `${layout.name}.${name}[${offset - f.offset}]`;
  return `${layout.name}+${offset}`;
}

/** Slots of a struct that refer to objects, of which type, and those that are locks. */
export interface Shape {
  readonly refs: readonly { readonly slot: number; readonly type: number }[];
  readonly locks: readonly number[];
}

/** By type. Layouts never change. */
const shapes: Shape[] = [];

export const shapeOf = (type: number): Shape => (shapes[type] ??= findShape(type));

function findShape(type: number): Shape {
  const refs: { slot: number; type: number }[] = [];
  const locks: number[] = [];
  for (const { kind, slots, offset } of layouts[type].fields.values())
    for (let i = 0; i < slots; i++) {
      if (kind === 'lock') locks.push(offset + i);
      else if (kind.startsWith('ref:')) refs.push({ slot: offset + i, type: layouts.findIndex((l) => l.name === kind.slice(4)) });
    }
  return { refs, locks };
}
