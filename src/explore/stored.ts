/**
 * Private memory keeps what was stored last (I6, I32): what a thread loads from a page of private anonymous memory is the last value that any thread of its address
 * space stored there, whatever reclaim, copies of pages and changes of rights have done to the page meanwhile.
 *
 * Invariants: nothing is kept while a call runs that may take memory away or write to it (any that is not in `HARMLESS`), so that what is
 * kept is true. It lies in the heap, in the order of addresses, and is a function of what memory should hold: it makes no state two.
 */
import { KernelBug } from '../kernel/bug.ts';
import { userLoad, userStore } from '../kernel/ops.ts';
import type { Call } from '../kernel/scheduler.ts';
import { Task, taskOf } from '../kernel/task.ts';
import { alloc, get, set } from '../memory/heap.ts';
import { heap, setSlot } from '../memory/state.ts';
import { array, defineStruct } from '../memory/struct.ts';
import { Vma } from '../mm/types.ts';
import { VM_SHARED } from '../mm/vm-flags.ts';
import { vmaLookup } from '../mm/vma-tree.ts';

/** Words that are kept: what a scenario's threads store to. */
const WORDS = 8;

export const StoredWords = defineStruct('storedWords', {
  /** Calls that run and may take memory away. */
  discards: 'count',
  count: 'count',
  mms: array(WORDS, 'number'),
  vpns: array(WORDS, 'vpn'),
  values: array(WORDS),
});

/** Calls that leave private memory as it is. */
const HARMLESS: ReadonlySet<string> = new Set([
  'threadLoad',
  'threadStore',
  'reclaimFolio',
  'deferredSplitScan',
  'sysMprotect',
  'sysMlock',
  'sysMunlock',
  'sysMincore',
  'sysMsync',
  'sysFsync',
  'sysMseal',
  'clearRefs',
  'sysFork',
]);

/** Whether calls of a kernel function leave what is kept as it is. */
export const isHarmless = (name: string): boolean => HARMLESS.has(name);

const COLUMNS = [StoredWords.mms, StoredWords.vpns, StoredWords.values] as const;

export class StoredMemory {
  readonly ref = alloc(StoredWords);

  callBegins({ run }: Call): void {
    if (HARMLESS.has(run.name)) return;
    set(this.ref, StoredWords.discards, get(this.ref, StoredWords.discards) + 1);
    for (let i = get(this.ref, StoredWords.count) - 1; i >= 0; i--) for (const column of COLUMNS) setSlot(this.ref + column + i, 0);
    set(this.ref, StoredWords.count, 0);
  }

  callReturns({ run }: Call): void {
    if (!HARMLESS.has(run.name)) set(this.ref, StoredWords.discards, get(this.ref, StoredWords.discards) - 1);
  }

  /** An operation of a task has given a result. @throws {KernelBug} I32 */
  operation(number: number, result: number): void {
    const task = taskOf(number);
    const code = get(task, Task.code);
    if (code !== userLoad.code && code !== userStore.code) return;
    if (result === 0 || get(this.ref, StoredWords.discards) !== 0) return;
    const mm = get(task, Task.a);
    const vpn = get(task, Task.c);
    const at = this.#find(mm, vpn);
    const known = at < get(this.ref, StoredWords.count) && heap[this.ref + StoredWords.mms + at] === mm && heap[this.ref + StoredWords.vpns + at] === vpn;
    if (code === userStore.code) this.#keep(at, known, mm, vpn, get(task, Task.d) & 0x7fffffff);
    else if (known && heap[this.ref + StoredWords.values + at] !== result - 1)
      throw new KernelBug(
        'I32',
        `task ${number} loads ${result - 1} from vpn 0x${vpn.toString(16)}, the last store there was of ${heap[this.ref + StoredWords.values + at]}`,
      );
  }

  /** Where the word of a page stands, or would stand. */
  #find(mm: number, vpn: number): number {
    let at = 0;
    for (const count = get(this.ref, StoredWords.count); at < count; at++) {
      const other = heap[this.ref + StoredWords.mms + at];
      if (other > mm || (other === mm && heap[this.ref + StoredWords.vpns + at] >= vpn)) break;
    }
    return at;
  }

  #keep(at: number, known: boolean, mm: number, vpn: number, value: number): void {
    if (!known) {
      const count = get(this.ref, StoredWords.count);
      const vma = vmaLookup(mm, vpn);
      if (count === WORDS || vma === 0 || get(vma, Vma.file) !== 0 || (get(vma, Vma.flags) & VM_SHARED) !== 0) return;
      for (const column of COLUMNS) for (let i = count; i > at; i--) setSlot(this.ref + column + i, heap[this.ref + column + i - 1]);
      set(this.ref, StoredWords.count, count + 1);
    }
    [mm, vpn, value].forEach((word, i) => setSlot(this.ref + COLUMNS[i] + at, word));
  }
}
