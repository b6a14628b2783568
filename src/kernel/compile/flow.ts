/**
 * What must lie in the frame, and when. A variable lives in a JavaScript variable of the generated function; only at a point where the task may wait
 * do those that are still needed go to the frame, each to its slot, and the slots that hold nothing needed become zero.
 *
 * Thus the bytes of a waiting task's stack are a function of what it will still look at: two tasks that will do the same have the same bytes.
 *
 * A call that has not waited yet has no frame: its memory is zero (emit.ts). What is told of the frame's memory here concerns calls that go on.
 */
import { type Block, codesOf, type End, type Graph, successors } from './blocks.ts';
import type { Variable } from './scope.ts';

/** Memory of a slot: zero, equal to a variable, or something else. */
type Slot = Variable | 'zero' | 'other';

/** Memory of the frame at a point of the program. */
export interface FrameState {
  readonly slots: readonly Slot[];
  /** Whether the frame's header may be written. */
  readonly header: boolean;
}

/** What is done to the frame where a task waits. */
export interface Wait {
  /** Variables that are needed later. */
  readonly alive: readonly Variable[];
  /** Those of them that a frame does not hold already. */
  readonly store: readonly Variable[];
  /** Slots that become zero. */
  readonly clear: readonly number[];
}

export interface Flow {
  readonly reachable: readonly Block[];
  /** Those that a call may come to after it has waited. */
  readonly resumed: ReadonlySet<Block>;
  /** Slots of the frame. */
  readonly slots: number;
  /** Every variable that the generated function uses. */
  readonly variables: ReadonlySet<Variable>;
  /** By block that ends in a call or primitive. */
  readonly waits: ReadonlyMap<Block, Wait>;
  /** Slots that may not be zero when a block returns, and whether its header may be written. */
  readonly leftovers: ReadonlyMap<Block, { readonly clear: readonly number[]; readonly header: boolean }>;
}

const waits = (end: End | undefined): end is End & { kind: 'call' | 'primitive' } => end?.kind === 'call' || end?.kind === 'primitive';

function reachableFrom(entry: Block, blocks: readonly Block[]): Block[] {
  const found = new Set<Block>([entry]);
  for (const block of found) for (const next of successors(block)) found.add(next);
  return blocks.filter((block) => found.has(block));
}

/** Variables that are read later, at the beginning of each block. */
function liveness(blocks: readonly Block[]): Map<Block, ReadonlySet<Variable>> {
  const live = new Map<Block, ReadonlySet<Variable>>(blocks.map((block) => [block, new Set()]));
  const at = (block: Block): ReadonlySet<Variable> => live.get(block) ?? new Set();
  let changed = true;
  while (changed) {
    changed = false;
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i];
      const now = new Set<Variable>();
      const end = block.end;
      if (end) {
        const own =
          end.kind === 'jump'
            ? [end.to]
            : end.kind === 'branch'
              ? [end.yes, end.no]
              : end.kind === 'switch'
                ? [...end.cases.map(({ to }) => to), end.otherwise]
                : waits(end)
                  ? [end.next]
                  : [];
        for (const next of own) for (const variable of at(next)) now.add(variable);
        for (const code of codesOf(end)) for (const variable of code.reads) now.add(variable);
      }
      for (let j = block.instructions.length - 1; j >= 0; j--) {
        const { code, kills } = block.instructions[j];
        for (const variable of kills) now.delete(variable);
        for (const variable of code.reads) now.add(variable);
        for (const exit of code.exits) for (const variable of at(exit)) now.add(variable);
      }
      if (now.size !== at(block).size) {
        live.set(block, now);
        changed = true;
      }
    }
  }
  return live;
}

/** Gives slots to what waits: parameters the first, in their order; others the lowest that none has that waits at the same time. */
function assignSlots(params: readonly Variable[], sets: readonly ReadonlySet<Variable>[]): number {
  params.forEach((param, i) => {
    param.slot = i;
  });
  let slots = params.length;
  for (const set of sets)
    for (const variable of set) {
      if (variable.slot >= 0) continue;
      const used = new Set<number>();
      for (const other of sets) if (other.has(variable)) for (const beside of other) used.add(beside.slot);
      let slot = 0;
      while (used.has(slot)) slot++;
      variable.slot = slot;
      slots = Math.max(slots, slot + 1);
    }
  return slots;
}

const same = (a: FrameState, b: FrameState): boolean => a.header === b.header && a.slots.every((slot, i) => slot === b.slots[i]);

function merge(a: FrameState | undefined, b: FrameState): FrameState {
  if (a === undefined) return b;
  return { header: a.header || b.header, slots: a.slots.map((slot, i) => (slot === b.slots[i] ? slot : 'other')) };
}

/** The state after some variables were given new values. */
function written(state: FrameState, variables: Iterable<Variable>): FrameState {
  const set = new Set(variables);
  return set.size === 0 ? state : { ...state, slots: state.slots.map((slot) => (typeof slot === 'object' && set.has(slot) ? 'other' : slot)) };
}

export function flowOf(graph: Graph, params: readonly Variable[]): Flow {
  const reachable = reachableFrom(graph.blocks[0], graph.blocks);
  const live = liveness(reachable);
  const liveAt = (block: Block): ReadonlySet<Variable> => live.get(block) ?? new Set();
  const suspending = reachable.filter((block) => waits(block.end));
  // The result is taken over first, so what waits is what lives behind that.
  const waiting = new Map(suspending.map((block) => [block, liveAt((block.end as End & { next: Block }).next)]));
  const slots = assignSlots(params, [...waiting.values()]);

  const before = new Map<Block, FrameState>();
  /** States inside and behind a block, given that before it. */
  function pass(block: Block, flows: (to: Block, state: FrameState) => void): FrameState {
    let state = before.get(block) as FrameState;
    for (const { code, kills } of block.instructions) {
      state = written(state, [...code.writes, ...kills]);
      for (const exit of code.exits) flows(exit, state);
    }
    const end = block.end;
    if (end === undefined) return state;
    for (const code of codesOf(end)) state = written(state, code.writes);
    if (end.kind === 'jump') flows(end.to, state);
    else if (end.kind === 'branch') for (const to of [end.yes, end.no]) flows(to, state);
    else if (end.kind === 'switch') for (const to of [...end.cases.map((one) => one.to), end.otherwise]) flows(to, state);
    // What did not wait leaves the frame as it was.
    else if (waits(end)) flows(end.next, state);
    return state;
  }
  let changed = true;
  const meet = (to: Block, state: FrameState): void => {
    const old = before.get(to);
    const merged = merge(old, state);
    if (old && same(old, merged)) return;
    before.set(to, merged);
    changed = true;
  };
  for (const [block, alive] of waiting) {
    const stored: Slot[] = new Array<Slot>(slots).fill('zero');
    for (const variable of alive) stored[variable.slot] = variable;
    meet((block.end as End & { next: Block }).next, { header: true, slots: stored });
  }
  while (changed) {
    changed = false;
    for (const block of reachable) if (before.has(block)) pass(block, meet);
  }

  const result = new Map<Block, Wait>();
  const leftovers = new Map<Block, { clear: number[]; header: boolean }>();
  const variables = new Set<Variable>();
  for (const block of reachable) {
    const start = before.get(block);
    const alive = waiting.get(block);
    let [store, clear] = [[...(alive ?? [])], [] as number[]];
    if (start) {
      leftovers.set(block, { clear: start.slots.flatMap((slot, i) => (slot === 'zero' ? [] : [i])), header: start.header });
      const after = pass(block, () => undefined);
      const kept = new Set(store.map((variable) => variable.slot));
      clear = after.slots.flatMap((slot, i) => (slot === 'zero' || kept.has(i) ? [] : [i]));
      store = store.filter((variable) => after.slots[variable.slot] !== variable);
    }
    if (alive) result.set(block, { alive: [...alive], store, clear });
    for (const { code, kills } of block.instructions) for (const variable of [...code.reads, ...code.writes, ...kills]) variables.add(variable);
    if (block.end) for (const code of codesOf(block.end)) for (const variable of [...code.reads, ...code.writes]) variables.add(variable);
  }
  return { reachable, resumed: new Set(before.keys()), slots, variables, waits: result, leftovers };
}
