/**
 * What a step reads of objects of which everybody tells what he reads there (memory/struct.ts: `told`): by these words it is known again (known-steps.ts).
 *
 * Invariants: words stand in the order in which they are first touched, with what they held before the step; those that the operation itself is given
 * come first, those that are written without having been read last. That is the same order whenever the same was read so far.
 */
import { ALONE, FIRST_OBJECT, heap, SLOT_TOP } from '../memory/state.ts';
import { layouts, shapeOf } from '../memory/struct.ts';
import { accessLog, LOGGED } from './guards.ts';
import { downgradeWrite, downRead, downReadTrylock, downWrite, downWriteTrylock, upRead, upWrite } from './ops.ts';
import { looked, Task, type TaskRef } from './task.ts';

/** Operations on two words, a lock and the one behind it. */
const PAIRS = new Set([downRead, downReadTrylock, upRead, downWrite, downWriteTrylock, upWrite, downgradeWrite].map(({ code }) => code));

export class ToldReads {
  /** By slot of the heap: ALONE where words of told objects are. */
  readonly #parts: Uint8Array;
  readonly #heads = new Set<number>();
  readonly slots: Int32Array<ArrayBuffer>;
  readonly values: Float64Array<ArrayBuffer>;
  count = 0;

  /** Finds the told objects that there are, and marks their words in `parts`. `writes`: words that a step may write. */
  constructor(parts: Uint8Array, writes: number) {
    this.#parts = parts;
    for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ) {
      const { size, told } = layouts[Math.abs(heap[ref])];
      if (told && heap[ref] > 0) {
        this.#heads.add(ref);
        parts.fill(ALONE, ref + 1, ref + size);
      }
      ref += size;
    }
    const most = LOGGED + writes + 4;
    this.slots = new Int32Array(most);
    this.values = new Float64Array(most);
  }

  /** Whether any lock in a told object is held. */
  isLocked(): boolean {
    for (const ref of this.#heads) for (const slot of shapeOf(heap[ref]).locks) if (heap[ref + slot] !== 0) return true;
    return false;
  }

  /** A task is about to perform what it announced: what its operation is given. From now on plain code is listened to. */
  begin(task: TaskRef): void {
    this.count = 0;
    if (this.#heads.size === 0) return;
    const a = heap[task + Task.a];
    const b = a + heap[task + Task.b];
    this.#note(a, heap[a]);
    if (PAIRS.has(heap[task + Task.code])) this.#note(a + 1, heap[a + 1]);
    this.#note(b, heap[b]);
    accessLog.count = 0;
    accessLog.on = true;
  }

  /** It has done so: what plain code has read. */
  end(): void {
    if (this.#heads.size === 0) return;
    accessLog.on = false;
    if (accessLog.count > LOGGED) looked.told = true;
    else for (let i = 0; i < accessLog.count; i++) this.#note(accessLog.slots[i], accessLog.values[i]);
  }

  /** A word of the heap was written, which held a value before. */
  written(slot: number, value: number): void {
    if (this.#heads.size === 0) return;
    // Made, or freed: what links such objects is read by nobody who tells.
    if (this.#heads.has(slot)) looked.told = true;
    this.#note(slot, value);
  }

  #note(slot: number, value: number): void {
    if (this.#parts[slot] === ALONE) this.add(slot, value);
  }

  /** What else the step hangs on, as a slot and a value. */
  add(slot: number, value: number): void {
    const { slots } = this;
    for (let i = 0; i < this.count; i++) if (slots[i] === slot) return;
    slots[this.count] = slot;
    this.values[this.count++] = value;
  }
}
