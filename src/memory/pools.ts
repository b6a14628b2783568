/**
 * Pools: free objects that belong to one task, as SLUB's lists belong to CPUs. What a task allocates comes from its own pool, and goes back to the pool that it
 * came from, so that the addresses of its objects do not hang on what others did meanwhile: states that differ in nothing else are the same state.
 *
 * Invariants: pools lie one after the other in the heap, all alike, from the `pool` object in SLOT_POOLS on; each begins with the heads of its lists. A
 * list of a pool is in the order of addresses: it says which objects are free, not in which order they became so. When a pool has none of a
 * kind left the shared lists serve. A machine has pools only while tasks are explored.
 */
import { allocObject, freeObject, heap, MAX_TYPES, POOL_LISTS, SLOT_FREE, SLOT_POOLS, setSlot } from './state.ts';
import { array, defineStruct, layouts } from './struct.ts';

export const Pool = defineStruct('pool', {
  /** Slots of a pool with its objects. */
  slots: 'count',
  /** Pools that there are. */
  pools: 'count',
  lists: array(MAX_TYPES),
});

if (Pool.lists !== POOL_LISTS) throw new Error('the lists of a pool are elsewhere');

/** Objects of a kind that a pool has: more of the small ones. Kinds that nobody allocates in a call have none. */
const NEVER = new Set([
  'none',
  'memory',
  'zone',
  'pcp',
  'memoryRange',
  'presentRange',
  'cmaArea',
  'cmaBits',
  'pageblocks',
  'kernel',
  'task',
  'cpu',
  'globals',
  'pool',
]);
const countOf = (name: string, size: number): number => (NEVER.has(name) ? 0 : size <= 128 ? 8 : size <= 512 ? 2 : 1);

/** Gives tasks 0 … count − 1 pools. The machine has none. */
export function makePools(count: number): void {
  if (heap[SLOT_POOLS] !== 0) throw new Error('the machine has pools already');
  const kinds = layouts.map(({ name, size, type }) => ({ type, size, count: countOf(name, size) }));
  const slots = Pool.$size + kinds.reduce((sum, kind) => sum + kind.size * kind.count, 0);
  for (let number = 0; number < count; number++) {
    const pool = newObject(Pool.$type, Pool.$size);
    setSlot(pool + Pool.slots, slots);
    setSlot(pool + Pool.pools, count);
    if (number === 0) setSlot(SLOT_POOLS, pool);
    for (const kind of kinds) fillList(pool, kind);
  }
}

/** An object at the end of the heap. */
function newObject(type: number, size: number): number {
  const shared = heap[SLOT_FREE + type];
  setSlot(SLOT_FREE + type, 0);
  const ref = allocObject(type, size);
  setSlot(SLOT_FREE + type, shared);
  return ref;
}

/** Makes free objects of a kind. */
function fillList(pool: number, { type, size, count }: { type: number; size: number; count: number }): void {
  const made = Array.from({ length: count }, () => newObject(type, size));
  made.forEach((ref, i) => {
    setSlot(ref, -type);
    setSlot(ref + 1, made[i + 1] ?? 0);
  });
  setSlot(pool + Pool.lists + type, made[0] ?? 0);
}

/** The pools' free objects become everybody's: the machine has no pools any longer. */
export function dropPools(): void {
  const first = heap[SLOT_POOLS];
  if (first === 0) return;
  const slots = heap[first + Pool.slots];
  const pools = heap[first + Pool.pools];
  setSlot(SLOT_POOLS, 0);
  for (let pool = first; pool < first + pools * slots; pool += slots) {
    for (let type = 1; type < layouts.length; type++) {
      let last = heap[pool + Pool.lists + type];
      if (last === 0) continue;
      const begin = last;
      while (heap[last + 1] !== 0) last = heap[last + 1];
      setSlot(last + 1, heap[SLOT_FREE + type]);
      setSlot(SLOT_FREE + type, begin);
    }
    freeObject(pool, Pool.$size);
  }
}
