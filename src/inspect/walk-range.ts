/**
 * How Linux's generic loops walk a range: `pgd_addr_end` crops it, each level iterates over its part, and folded levels pass the pointer on.
 *
 * Where fewer tables exist than Linux has level names, several names share one table (a *fold*). Two conventions say which of them iterates:
 * - `top`: the highest name crops at the table's real boundary and the others run once (asm-generic/pgtable-nop4d.h and its kin; s390 with an
 *   `addr_end` that looks at the entry);
 * - `middle`: the upper names crop at their nominal size, which such an address space never reaches, and the lowest iterates, on a pointer that was
 *   handed down (s390 with the static `addr_end`).
 * Either is sound for a walker that holds pointers into the table. A lockless walker hands down the address of a *copy* of the entry: there
 * `middle` reads beyond the copy, which is why s390 changed (or passes the real pointer along: `lockless`).
 *
 * Invariants: pure, no memory but what `entry` gives; the entries visited are the same under both conventions; work is bounded by `maxSteps`.
 */
import type { Root } from '../arch/mode.ts';
import type { CompiledLevel, CompiledMode } from '../pagetable/compile.ts';
import { addressOf, decode, levelNamed } from '../pagetable/entry.ts';
import { PxdError } from '../pagetable/error.ts';
import { vpnOf } from '../pagetable/extents.ts';
import { FRAME_BYTES, type FrameSource } from '../pagetable/source.ts';
import { readTable } from '../pagetable/table.ts';
import { pointerToPhysical } from '../pagetable/tree.ts';
import { LINUX_LEVELS } from './walk.ts';

/** `pgd_addr_end` and its kin on 64-bit unsigned numbers: next boundary or the end, whichever comes first; an end of 0 is the top of the address space. */
export function addrEnd(addr: bigint, end: bigint, size: bigint): bigint {
  const wrap = (n: bigint): bigint => BigInt.asUintN(64, n);
  const boundary = wrap((addr + size) & ~(size - 1n));
  return wrap(boundary - 1n) < wrap(end - 1n) ? boundary : wrap(end);
}

/** The same in pages, where the top of the address space is an ordinary number. */
export const pagesEnd = (addr: number, end: number, pages: number): number => Math.min((Math.floor(addr / pages) + 1) * pages, end);

/** A table that exists. */
export interface RealLevel {
  readonly name: string;
  /** Pages that one entry spans. */
  readonly pages: number;
  readonly entries: number;
}

/** One of Linux's names, and the table that it stands on. */
export interface NamedLevel {
  readonly name: string;
  readonly real: number;
  /** Pages of the level's nominal size; infinite where the architecture never has the level. */
  readonly nominal: number;
}

export interface Geometry {
  readonly reals: readonly RealLevel[];
  /** Linux's five, top down. */
  readonly names: readonly NamedLevel[];
}

/** Which boundary each name of a fold crops at. `none` crops nowhere: no kernel does that, it is there to show that the law is checked. */
export type Convention = 'top' | 'middle' | 'none';

/** What a walker hands to the level below where that is folded: a pointer into the table, the address of its copy, or copy and pointer both. */
export type Handover = 'pointer' | 'copy' | 'lockless';

/** The tables walked. Table 0 is the root's; what other numbers mean is the source's affair. */
export interface RangeTables {
  readonly root: number;
  /** Index of the root table's entry that spans a page. */
  rootIndex(vpn: number): number;
  entry(table: number, real: number, index: number): { readonly kind: 'none' | 'table' | 'leaf' | 'other'; readonly child?: number };
}

export interface RangeStep {
  readonly level: string;
  /** Position among Linux's names, 0 the pgd. */
  readonly depth: number;
  readonly from: number;
  readonly to: number;
  /** The pointer: table and index of the entry that it means. */
  readonly table: number;
  readonly real: number;
  readonly index: number;
  /** True where the name shares the table of the one above. */
  readonly folded: boolean;
  /** True where the entry's contents are looked at: at the lowest name of a fold; above it `none()` and `bad()` are constants. */
  readonly tests: boolean;
  readonly kind: 'none' | 'table' | 'leaf' | 'other' | 'passed';
  /** The pointer was moved off a copy on the stack. */
  readonly overrun: boolean;
  readonly below: readonly RangeStep[];
}

export interface RangeTrace {
  readonly convention: Convention;
  readonly handover: Handover;
  readonly steps: readonly RangeStep[];
  /** Loop bodies run, by name. */
  readonly iterations: Readonly<Record<string, number>>;
  /** Calls of a level's function, the pgd's included: each returns once. */
  readonly calls: number;
  /** Entries looked at, in order: `table:index` of the tables that exist. */
  readonly entries: readonly string[];
  readonly overruns: number;
}

export interface RangeOptions {
  readonly handover?: Handover;
  /** Lowest name to descend to; default pte. */
  readonly depth?: string;
  readonly maxSteps?: number;
}

const MAX_STEPS = 200_000;

/** Runs the loops over pages [from, to). */
export function walkRange(geometry: Geometry, tables: RangeTables, from: number, to: number, convention: Convention, options: RangeOptions = {}): RangeTrace {
  return new Loops(geometry, tables, convention, options).run(from, to);
}

interface Pointer {
  readonly table: number;
  readonly real: number;
  readonly index: number;
  /** It points to a copy of that entry on the stack. */
  readonly copy: boolean;
}

class Loops {
  readonly #geometry: Geometry;
  readonly #tables: RangeTables;
  readonly #convention: Convention;
  readonly #handover: Handover;
  readonly #lowest: number;
  readonly #maxSteps: number;
  readonly #iterations: Record<string, number> = {};
  readonly #entries: string[] = [];
  #calls = 0;
  #steps = 0;
  #overruns = 0;

  constructor(geometry: Geometry, tables: RangeTables, convention: Convention, options: RangeOptions) {
    this.#geometry = geometry;
    this.#tables = tables;
    this.#convention = convention;
    this.#handover = options.handover ?? 'pointer';
    this.#maxSteps = options.maxSteps ?? MAX_STEPS;
    const lowest = geometry.names.findIndex((n) => n.name === (options.depth ?? 'pte'));
    if (lowest < 0) throw new PxdError('unknown', `there is no level "${options.depth}": expected one of ${geometry.names.map((n) => n.name).join(', ')}`);
    this.#lowest = lowest;
  }

  run(from: number, to: number): RangeTrace {
    const pointer = { table: this.#tables.root, real: 0, index: this.#tables.rootIndex(from), copy: false };
    const steps = this.#level(0, from, to, pointer);
    return {
      convention: this.#convention,
      handover: this.#handover,
      steps,
      iterations: this.#iterations,
      calls: this.#calls,
      entries: this.#entries,
      overruns: this.#overruns,
    };
  }

  /** One function of the walker: `do { next = pXd_addr_end(addr, end); … } while (pXd++, addr = next, addr != end)`. */
  #level(depth: number, from: number, to: number, first: Pointer): RangeStep[] {
    const { names } = this.#geometry;
    const own = names[depth];
    this.#calls++;
    const steps: RangeStep[] = [];
    for (let addr = from, moved = 0; addr !== to; moved++) {
      const next = this.#addrEnd(depth, addr, to);
      if (++this.#steps > this.#maxSteps)
        throw new PxdError('limit', `the walk takes more than ${this.#maxSteps} steps; give a shorter range, or a level to stop at`);
      this.#iterations[own.name] = (this.#iterations[own.name] ?? 0) + 1;
      // A pointer to a copy that was moved on points at whatever lies behind the copy.
      const overrun = first.copy && moved > 0;
      if (overrun) this.#overruns++;
      steps.push(this.#body(depth, addr, next, { ...first, index: first.index + moved }, overrun));
      addr = next;
    }
    return steps;
  }

  #body(depth: number, from: number, to: number, pointer: Pointer, overrun: boolean): RangeStep {
    const { names } = this.#geometry;
    const own = names[depth];
    const below = names[depth + 1];
    const tests = below === undefined || below.real !== own.real;
    const base = {
      level: own.name,
      depth,
      from,
      to,
      table: pointer.table,
      real: own.real,
      index: pointer.index,
      folded: names[depth - 1]?.real === own.real,
      tests,
      overrun,
    };
    if (!tests)
      return { ...base, kind: 'passed', below: depth < this.#lowest ? this.#level(depth + 1, from, to, { ...pointer, copy: this.#handover === 'copy' }) : [] };
    this.#entries.push(`${pointer.table}:${pointer.index}`);
    const { kind, child } = this.#tables.entry(pointer.table, own.real, pointer.index);
    if (kind !== 'table' || child === undefined || depth >= this.#lowest || below === undefined) return { ...base, kind, below: [] };
    const real = this.#geometry.reals[below.real];
    return {
      ...base,
      kind,
      below: this.#level(depth + 1, from, to, { table: child, real: below.real, index: Math.floor(from / real.pages) % real.entries, copy: false }),
    };
  }

  #addrEnd(depth: number, addr: number, end: number): number {
    const { names, reals } = this.#geometry;
    const own = names[depth];
    const { pages } = reals[own.real];
    const first = names[depth - 1]?.real !== own.real;
    const last = names[depth + 1]?.real !== own.real;
    // A name that has its table for itself always crops at that table's boundary, except under the broken convention.
    if (this.#convention === 'none' && !(first && last)) return end;
    if (this.#convention === 'top' ? first : last) return pagesEnd(addr, end, pages);
    if (this.#convention === 'top' || !Number.isFinite(own.nominal)) return end;
    return pagesEnd(addr, end, own.nominal);
  }
}

/** Steps in the order in which they happen. */
export function* flattened(steps: readonly RangeStep[]): Generator<RangeStep> {
  for (const step of steps) {
    yield step;
    yield* flattened(step.below);
  }
}

/**
 * The law that `pXd_offset` and `pXd_addr_end` must keep together: of the names that share a table at most one iterates, and every slot of the
 * range is visited once. @returns what is broken, a sentence each.
 */
export function checkTrace(geometry: Geometry, trace: RangeTrace): string[] {
  const broken: string[] = [];
  if (trace.overruns > 0) broken.push(`${trace.overruns} ${trace.overruns === 1 ? 'entry was' : 'entries were'} read beyond a copy on the stack`);
  if (new Set(trace.entries).size !== trace.entries.length) broken.push('an entry was visited twice');
  for (const step of flattened(trace.steps)) {
    const { pages } = geometry.reals[step.real];
    if (step.tests && Math.floor(step.from / pages) !== Math.floor((step.to - 1) / pages)) broken.push(`${step.level} took several slots for one`);
    if (step.kind === 'passed' && step.below.length > 1 && Math.floor(step.from / pages) === Math.floor((step.to - 1) / pages))
      broken.push(`${step.below[0].level} iterated within one slot`);
  }
  broken.push(...twoIterate(trace));
  return broken;
}

function twoIterate(trace: RangeTrace): string[] {
  const iterates = new Map<number, Set<string>>();
  const look = (steps: readonly RangeStep[]): void => {
    if (steps.length > 1) iterates.set(steps[0].real, (iterates.get(steps[0].real) ?? new Set()).add(steps[0].level));
    for (const s of steps) look(s.below);
  };
  look(trace.steps);
  return [...iterates.values()].filter((names) => names.size > 1).map((names) => `${[...names].join(' and ')} both iterate over one table`);
}

// ---- geometries and tables ----

/** The levels that a walk from a root goes through. */
export function chainOf(mode: CompiledMode, top: CompiledLevel): CompiledLevel[] {
  const chain: CompiledLevel[] = [];
  for (let level: CompiledLevel | undefined = top; level !== undefined && chain.length < mode.levels.length; ) {
    chain.push(level);
    const { next }: { next?: string | null } = level.level;
    level = next === null ? undefined : next === undefined ? mode.levels[level.index + 1] : mode.levels.find((l) => l.level.name === next);
  }
  return chain;
}

/** How a mode's tables below a root carry Linux's five names. */
export function geometryOf(mode: CompiledMode, topName: string): Geometry {
  const chain = chainOf(mode, levelNamed(mode, topName));
  const reals = chain.map((l) => ({ name: l.level.name, pages: l.pages, entries: l.entries }));
  let real = 0;
  const names = LINUX_LEVELS.map((name, i): NamedLevel => {
    const own = chain.findIndex((l) => l.level.name === name);
    if (own >= 0) real = own;
    // The lowest name always stands on the lowest table, whatever the mode calls it.
    else if (i === LINUX_LEVELS.length - 1) real = reals.length - 1;
    const declared = mode.levels.find((l) => l.level.name === name);
    return { name, real, nominal: declared?.pages ?? Number.POSITIVE_INFINITY };
  });
  return { reals, names };
}

/** Tables of which every slot is there, down to the lowest. */
export function populated(geometry: Geometry): RangeTables {
  const first = geometry.reals[0];
  const ids = new Map<string, number>();
  return {
    root: 0,
    rootIndex: (vpn) => Math.floor(vpn / first.pages) % first.entries,
    entry: (table, real, index) => {
      if (real === geometry.reals.length - 1) return { kind: 'leaf' };
      const key = `${table} ${index}`;
      const child = ids.get(key) ?? ids.size + 1;
      ids.set(key, child);
      return { kind: 'table', child };
    },
  };
}

/** The tables of an image. Numbers of tables are physical addresses. */
export function imageTables(mode: CompiledMode, source: FrameSource, root: Root, from: number, to: number): RangeTables {
  const top = levelNamed(mode, root.level);
  const { pageShift, pointers } = mode.mode;
  const range = root.ranges.find((r) => from >= vpnOf(r.va, pageShift) && to <= vpnOf(r.va, pageShift) + (r.to - r.from) * top.pages);
  if (range === undefined) throw new PxdError('usage', `the range does not lie within one half of the address space that ${root.label} translates`);
  const chain = chainOf(mode, top);
  return {
    root: Number(root.table),
    rootIndex: (vpn) => Math.floor((vpn - vpnOf(range.va, pageShift)) / top.pages) + range.from,
    entry: (table, real, index) => {
      const level = chain[real];
      const [chunk] = readTable(mode, level, source, Math.floor(table / FRAME_BYTES), table % FRAME_BYTES, index, index + 1);
      if (chunk?.words === undefined) return { kind: 'other' };
      const entry = decode(level, chunk.words[0], chunk.wide ? chunk.words[1] : 0);
      if (entry.kind === 'none' || entry.kind === 'leaf') return { kind: entry.kind };
      const address = entry.form?.address;
      if (entry.kind !== 'table' || address === undefined) return { kind: 'other' };
      const child = pointers === undefined ? addressOf(address, entry.lo, entry.hi) : pointerToPhysical(pointers, entry.lo, entry.hi, address.mask);
      return { kind: 'table', child: Number(child) };
    },
  };
}
