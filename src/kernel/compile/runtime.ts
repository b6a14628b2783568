/**
 * What the step program stands on: tasks whose stacks lie in one typed array, `S`. Shared by all step modules; there is one copy of it.
 *
 * A task has an area of the stack: a header, then frames, innermost last. Everything that a waiting task is, is in its area: where it waits, what
 * it waits to do, its frames. Positions are relative, so that an area may be copied to another place. Doubles that hold nothing are 0.
 *
 *     area:   frame (0: ended) · code a b c d (of the operation it is about to perform) · result · size
 *     frame:  function · block · size of the caller's frame (0: none) · slots
 *
 * Who schedules: `startTask`, then `advance` until it answers false; at each true, perform the operation of `S[base + TASK.code…]` whenever it is
 * due, put its result into `S[base + TASK.result]`, and advance again.
 */

/** The stacks of all tasks of the machine that is mounted (`useStack`). */
export let S = new Float64Array(0);

/** By code of an operation: whether a task stops before it, so that others may come first, or performs it at once. */
export let stops = new Uint8Array(0);

/** Tasks stop at every operation. */
export const EVERYWHERE = new Uint8Array(256).fill(1);
/** Tasks run through: right where there is only one. Nobody asks whether a lock is free. */
export const NOWHERE = new Uint8Array(256);

/** Makes `stack` the one that tasks run on, and says where they stop. */
export function useStack(stack: Float64Array<ArrayBuffer>, where = EVERYWHERE): void {
  S = stack;
  stops = where;
}

/** The task that runs: its area, its innermost frame when it waits, the end of its area, the result that is being handed over. */
export const T = { base: 0, fp: 0, limit: 0, rv: 0 };

/** Places in a task's area, counted from its base. */
export const TASK = { frame: 0, code: 1, a: 2, b: 3, c: 4, d: 5, result: 6, size: 7 } as const;
/** Doubles before a task's first frame. */
export const TASK_HEADER = 8;
const FRAME_HEADER = 3;

type Enter = ($fp: number, ...args: number[]) => number | undefined;

/** A kernel function in the step program. */
export interface Descriptor<A extends unknown[] = number[]> {
  /** From 1, in the order in which modules are evaluated. */
  readonly id: number;
  readonly name: string;
  /** Path of its source. */
  readonly file: string;
  /** Number of parameters. */
  readonly params: number;
  /** Doubles of its frame. */
  readonly frameSize: number;
  /** By block that a frame may wait in: line of the source. */
  readonly lines: Readonly<Record<number, number>>;
  /** Calls it with the frame at `fp`, whose memory is zero: its result, undefined when the task waits inside. */
  readonly enter: Enter;
  /** Goes on from the frame at `fp`; answers the same. */
  readonly run: (fp: number) => number | undefined;
  /** Of the source's parameters; never there. */
  readonly type?: (...args: A) => void;
}

// biome-ignore lint/suspicious/noExplicitAny: of any parameters
type AnyDescriptor = Descriptor<any>;

/** All kernel functions by number. Filled as modules are loaded, not changed afterwards. */
export const functions: AnyDescriptor[] = [];
functions.length = 1;

/** Used by step modules: makes a kernel function known. */
export function kernelFunction(
  name: string,
  file: string,
  params: number,
  frameSize: number,
  lines: Readonly<Record<number, number>>,
  enter: Enter,
  run: (fp: number) => number | undefined,
): Descriptor {
  const descriptor: Descriptor = { id: functions.length, name, file, params, frameSize, lines, enter, run };
  functions.push(descriptor);
  return descriptor;
}

/** Used by step modules: the innermost function waits. */
export function wait(fp: number, frameSize: number): void {
  if (fp + frameSize > T.limit) throw new Error(`a task's stack of ${T.limit - T.base} doubles is too small:\n${backtrace(T.base, fp).join('\n')}`);
  T.fp = fp;
}

/** Used by step modules: a frame that names a block which its function does not have. */
export function lost(fp: number, pc: number): never {
  throw new Error(`the frame at ${fp} is none: no block ${pc}`);
}

/**
 * Makes a task that will run a kernel function: `base` and `size` of its area in `S`, which is made zero. It has not run yet: `advance`.
 */
export function startTask<A extends unknown[]>(base: number, size: number, descriptor: Descriptor<A>, ...args: { [K in keyof A]: number }): void {
  if (size < TASK_HEADER + descriptor.frameSize) throw new Error(`a stack of ${size} doubles is too small for ${descriptor.name}`);
  if (base < 0 || base + size > S.length) throw new Error(`a task's area ${base}+${size} is not in the stack of ${S.length} doubles`);
  if (args.length !== descriptor.params) throw new Error(`${descriptor.name} takes ${descriptor.params} arguments, not ${args.length}`);
  S.fill(0, base, base + size);
  beginTask(base, size, descriptor, args);
}

/** The same in an area that is zero but for its header (a task that ended leaves it so), without checks; arguments beyond the parameters are not looked at. */
export function beginTask(base: number, size: number, descriptor: AnyDescriptor, args: readonly number[]): void {
  S[base + TASK.size] = size;
  S[base + TASK.result] = 0;
  S[base + TASK.frame] = TASK_HEADER;
  const fp = base + TASK_HEADER;
  S[fp] = descriptor.id;
  S[fp + 1] = 1;
  for (let i = 0; i < descriptor.params; i++) S[fp + FRAME_HEADER + i] = args[i];
}

/**
 * Makes a task, in an area that is zero but for its header, and runs it as `advance` does: without writing its first frame to read it again. Arguments
 * beyond the parameters are not looked at.
 */
export function callTask(
  base: number,
  size: number,
  descriptor: AnyDescriptor,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
  g: number,
): boolean {
  const stack = S;
  const places = TASK;
  T.base = base;
  T.limit = base + size;
  stack[base + places.size] = size;
  stack[base + places.result] = 0;
  const result = descriptor.enter(base + TASK_HEADER, a, b, c, d, e, f, g);
  if (result === undefined) {
    stack[base + places.frame] = T.fp - base;
    return true;
  }
  stack[base + places.result] = result;
  return false;
}

/**
 * Runs the task at `base` until it is about to perform an operation (true: `S[base + TASK.code]` and its arguments) or has ended (false: its result
 * is `S[base + TASK.result]`). The result of the operation before, in the same place, is handed over.
 */
export function advance(base: number): boolean {
  const stack = S;
  const places = TASK;
  // Places are made 32-bit integers at once: the engine then computes addresses with them, and jumps by table.
  const frame = stack[base + places.frame] | 0;
  if (frame === 0) return false;
  T.base = base;
  T.limit = base + (stack[base + places.size] | 0);
  T.rv = stack[base + places.result];
  stack[base + places.code] = 0;
  stack[base + places.a] = 0;
  stack[base + places.b] = 0;
  stack[base + places.c] = 0;
  stack[base + places.d] = 0;
  stack[base + places.result] = 0;
  let fp = base + frame;
  for (;;) {
    const caller = stack[fp + 2] | 0;
    const result = functions[stack[fp] | 0].run(fp);
    if (result === undefined) {
      // The calls that waited have written their frames; the innermost knows none of those that were there before.
      stack[base + places.frame] = T.fp - base;
      return true;
    }
    if (caller === 0) {
      stack[base + places.frame] = 0;
      stack[base + places.result] = result;
      return false;
    }
    T.rv = result;
    fp -= caller;
  }
}

/** Whether the task at `base` has ended (or was never started). */
export const ended = (base: number): boolean => S[base + TASK.frame] === 0;

/** First double behind the task's last frame: what lies beyond, in its area, is 0. */
export function stackEnd(base: number): number {
  const frame = S[base + TASK.frame];
  if (frame === 0) return base + TASK_HEADER;
  const innermost = functions[S[base + frame]];
  // A step that threw has left its frames behind as they were: its innermost call may have returned already.
  return innermost === undefined ? base + S[base + TASK.size] : base + frame + innermost.frameSize;
}

/** Where a waiting task is, innermost first: `fault (src/mm/fault.ts:57)`. */
export function backtrace(base: number, innermost = base + S[base + TASK.frame]): string[] {
  const found: string[] = [];
  for (let fp = innermost; fp > base; fp -= S[fp + 2]) {
    const { name, file, lines } = functions[S[fp]] ?? { name: '?', file: '?', lines: {} };
    const line = lines[S[fp + 1]];
    found.push(line === undefined ? `${name} (${file})` : `${name} (${file}:${line})`);
    if (S[fp + 2] === 0) break;
  }
  return found;
}
