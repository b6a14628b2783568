/**
 * A list of operations in the making: which processes, descriptors and mappings it has asked for so far, and how the next range or
 * number is chosen. It believes that all it asked for was granted, and never learns what a kernel answered.
 *
 * Whatever it makes must be harmless: nothing reaches the executor's own mapping, nothing can block, and memory that can come to be
 * present is bounded (`roomy` lists may map terabytes but lock nothing, others the other way round).
 */
import { MAP, PAGE, PROT } from './numbers.ts';
import { Random } from './random.ts';
import type { Operation } from './recorder.ts';

export type Num = number | bigint;
export type Argument = Num | string | null | readonly Argument[];

/** Whole pages: start address and length. */
export interface Range {
  readonly start: number;
  readonly bytes: number;
}

/** Where operations happen: two areas, the heap, the area below mmap_base (which Linux fills downwards). */
export const LOW = 0x10000000;
export const SECOND = 0x20000000;
export const HEAP = 0x7e0000011000;
export const TOP = 0x7ffff7fff000;
/** The executor's hard limit of locked bytes; it cannot be raised. */
export const MEMLOCK_HARD = 8 * 2 ** 20;
export const TASK_SIZE = 2 ** 47 - PAGE;
const EXECUTOR = { start: 0x7e0000000000, end: 0x7e0000011000 };

/** JSON of an argument: integers from 2^20 on as hexadecimal text. */
const written = (x: Argument): unknown => {
  if (typeof x === 'string' || x === null) return x;
  if (typeof x === 'object') return x.map(written);
  return x >= 2 ** 20 ? `0x${x.toString(16)}` : Number(x);
};

/** What a list believes of a process. */
interface Belief {
  readonly descriptors: Set<number>;
  /** Numbers of mapped pages. */
  readonly mapped: Set<number>;
}

/** No longer mappings are remembered. */
const MOST_PAGES = 64;

/** A range's whole pages; undefined where it can be none. */
const pagesOf = (start: Num, bytes: Num): Range | undefined => {
  const [s, n] = [Number(start), Number(bytes)];
  return s < PAGE || n <= 0 || s + n > TASK_SIZE || s % PAGE !== 0 ? undefined : { start: s, bytes: Math.ceil(n / PAGE) * PAGE };
};

const areas: readonly (readonly [Range, number])[] = [
  [{ start: LOW, bytes: 28 * PAGE }, 10],
  [{ start: SECOND, bytes: 14 * PAGE }, 2],
  [{ start: TOP - 16 * PAGE, bytes: 16 * PAGE }, 2],
  [{ start: HEAP, bytes: 8 * PAGE }, 0.5],
  [{ start: LOW + 2 ** 21 - 8 * PAGE, bytes: 16 * PAGE }, 1.2], // across the border of two page-table pages
];

export class Draft {
  readonly operations: Operation[] = [];
  readonly r: Random;
  readonly roomy: boolean;
  /** The list uses what makes Referenced unreliable. */
  noref = false;
  /** Segments made so far, and files named. */
  segments = 0;
  files = 0;
  /** The pipe's ends, where the list has one. */
  pipe: readonly [number, number] | undefined;
  /** The list has a pool of huge pages; private hugetlb mappings reserve nothing; a mapping lies where processes share page tables. */
  pool = false;
  reservesNothing = false;
  sharing = false;
  /** Processes ever made. */
  made = 1;
  /** The process that the next operation is for. */
  process = 0;
  readonly #alive = new Map<number, Belief>([[0, { descriptors: new Set(), mapped: new Set() }]]);
  readonly #named: Range[] = [];

  constructor(seed: string, mayBeRoomy: boolean) {
    this.r = new Random(seed);
    this.roomy = this.r.chance(0.5) && mayBeRoomy;
  }

  // ---- output ----
  emit(op: string, ...a: readonly Argument[]): void {
    this.operations.push({ op, p: this.process, a: a.map(written) });
  }

  /** For operations that change mappings: left out where they would reach the executor's own. The range is remembered. */
  emitRange(op: string, start: Num, bytes: Num, ...rest: readonly Argument[]): void {
    if (this.reachesExecutor(start, bytes)) return;
    this.emit(op, start, bytes, ...rest);
    this.note(start, bytes);
  }

  reachesExecutor(start: Num, bytes: Num): boolean {
    const [s, n] = [Number(start), Number(bytes)];
    return s < EXECUTOR.end && s + n > EXECUTOR.start && s + n < 2 ** 64;
  }

  /** Remembers a range that an operation named. */
  note(start: Num, bytes: Num): void {
    const range = pagesOf(start, bytes);
    if (range !== undefined) this.#named.push(range);
  }

  /** Believes a range of the present process to be mapped from now on, or no longer. */
  believe(start: Num, bytes: Num, mapped: boolean): void {
    const range = pagesOf(start, bytes);
    if (range === undefined) return;
    const first = range.start / PAGE;
    for (let i = 0; i < Math.min(range.bytes / PAGE, MOST_PAGES); i++) {
      if (mapped) this.#belief.mapped.add(first + i);
      else this.#belief.mapped.delete(first + i);
    }
  }

  // ---- processes and descriptors ----
  get processes(): number[] {
    return [...this.#alive.keys()];
  }

  forked(): void {
    this.#alive.set(this.made++, { descriptors: new Set(this.descriptors), mapped: new Set(this.#belief.mapped) });
  }

  left(): void {
    this.#alive.delete(this.process);
  }

  get #belief(): Belief {
    return this.#alive.get(this.process) ?? { descriptors: new Set(), mapped: new Set() };
  }

  /** Open descriptors. */
  get descriptors(): Set<number> {
    return this.#belief.descriptors;
  }

  /** The number that the next opened file gets. */
  opened(): number {
    let fd = 0;
    while (this.descriptors.has(fd)) fd++;
    this.descriptors.add(fd);
    return fd;
  }

  /** A descriptor of a file, now and then none. */
  fd(): number {
    const open = [...this.descriptors].filter((fd) => !this.pipe?.includes(fd));
    return open.length === 0 || this.r.chance(0.01) ? this.r.pick([0, 5, 77, -1]) : this.r.pick(open);
  }

  // ---- addresses ----
  pages(most = 10): number {
    return this.r.weighted([1, 5], [2, 4], [3, 3], [4, 2], [this.r.between(1, most), 4]);
  }

  /** A run of pages that are believed to be mapped; undefined where there are none. */
  #run(): Range | undefined {
    const { mapped } = this.#belief;
    if (mapped.size === 0) return undefined;
    const page = this.r.pick([...mapped]);
    let [first, end] = [page, page + 1];
    while (mapped.has(first - 1) && page - first < MOST_PAGES) first--;
    while (mapped.has(end) && end - page < MOST_PAGES) end++;
    return { start: first * PAGE, bytes: (end - first) * PAGE };
  }

  /** In some relation to what is mapped or was named before: the same, a part, beside it, across its borders. Or anywhere. */
  range(most = 10, aim = 0.9): Range {
    const { r } = this;
    const named = this.#named.length > 0 ? this.#named[this.#named.length - 1 - r.below(Math.min(this.#named.length, 12))] : undefined;
    const old = r.chance(aim) ? (r.chance(0.85) ? this.#run() : named) : undefined;
    if (old === undefined) {
      const { start, bytes } = r.weighted<Range>(...areas);
      return { start: start + r.below(bytes / PAGE) * PAGE, bytes: this.pages(most) * PAGE };
    }
    const n = Math.min(old.bytes / PAGE, MOST_PAGES);
    const end = old.start + n * PAGE;
    const some = this.pages(most);
    const first = r.below(n);
    const from = (start: number, pages: number): Range => ({ start: Math.max(start, PAGE), bytes: pages * PAGE });
    return r.weighted<Range>(
      [from(old.start, n), 1],
      [from(old.start + first * PAGE, 1), 1.5],
      [from(old.start, first + 1), 1.5],
      [from(old.start + first * PAGE, n - first), 1.5],
      [from(old.start + first * PAGE, r.between(1, n - first)), 2.5],
      [from(end, some), 0.4],
      [from(old.start - some * PAGE, some), 0.4],
      [from(old.start - PAGE, n + 2), 0.3],
      [from(end - PAGE, 1 + some), 0.5],
    );
  }

  /** A range as arguments: whole pages but for the odd mistake. Never long: what is asked for may come to be present. */
  asked(most = 10, mistakes = 0.05, aim = 0.9): [Num, Num] {
    const { r } = this;
    const { start, bytes } = this.range(most, aim);
    if (!r.chance(mistakes)) return [start, bytes];
    return r.weighted<[Num, Num]>(
      [[start + r.pick([1, 8, 100, PAGE / 2, PAGE - 1]), bytes], 4],
      [[start, bytes + r.pick([1, -1, 100, PAGE / 2])], 5],
      [[start, 0], 2],
      [[start, -r.pick([1, PAGE, 2 * PAGE])], 1],
      [[start, 2n ** 64n - BigInt(start)], 0.5],
      [[TASK_SIZE - PAGE, r.pick([PAGE, 2 * PAGE])], 0.7],
      [[2n ** 47n, bytes], 0.3],
      [[2n ** 63n + BigInt(start), bytes], 0.3],
      [[0, bytes], 0.5],
    );
  }

  /** The start of a page, mostly of a mapped one. */
  address(): number {
    const { mapped } = this.#belief;
    if (mapped.size > 0 && this.r.chance(0.85)) return this.r.pick([...mapped]) * PAGE;
    const { start, bytes } = this.range();
    return start + this.r.below(bytes / PAGE) * PAGE;
  }

  /** The start of a page, or something inside it. */
  place(exact: number): number {
    return this.address() + (this.r.chance(exact) ? 0 : this.r.below(PAGE));
  }

  protection(): number {
    const { READ, WRITE, EXEC, NONE, SEM } = PROT;
    const junk = READ | WRITE | this.r.pick([SEM, 0x10, 0x40000000]);
    return this.r.weighted<number>(
      ...([
        [READ | WRITE, 11],
        [READ, 4],
        [NONE, 2],
        [READ | EXEC, 0.7],
        [READ | WRITE | EXEC, 0.6],
        [WRITE, 0.6],
        [EXEC, 0.4],
        [WRITE | EXEC, 0.2],
        [junk, 0.15],
      ] as const),
    );
  }

  /** Where a new mapping is to lie. */
  placement(): number {
    const { FIXED, FIXED_NOREPLACE, BIT32, ABOVE4G } = MAP;
    return this.r.weighted<number>([FIXED, 10], [FIXED_NOREPLACE, 1.5], [0, 2.5], [FIXED | FIXED_NOREPLACE, 0.1], [BIT32, 0.1], [ABOVE4G, 0.1]);
  }
}
