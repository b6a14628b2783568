/**
 * Calls that sleep: a fault or a call that waits for a userfaultfd to be read or to resolve something.
 *
 * Calls run to their end at once, by the direct program, as long as there is no userfaultfd. While there is one they run as tasks of the step program, each on a stack
 * of its own, and stop where they would have to wait; they go on as soon as they can, which is looked at after each call.
 *
 * Invariants: a process has at most one call that sleeps, and starts no other meanwhile; a call that sleeps holds no lock that another would have to wait for without sleeping
 * itself; stacks are not part of the machine's memory, so that it can be copied only while nobody sleeps.
 */
import { step } from 'pxd:step';
import { callTask, type Descriptor, EVERYWHERE, TASK, useStack } from '../kernel/compile/runtime.ts';
import { setCurrent } from '../kernel/current.ts';
import { operations } from '../kernel/op.ts';
import { runOn } from './kernel.ts';

/** Doubles of a task's stack. */
const STACK = 2048;

interface Sleeper {
  readonly number: number;
  readonly stack: Float64Array<ArrayBuffer>;
  /** What follows when the call is over, as if it had returned at once; it may sleep again. */
  readonly done: (result: number) => void;
}

/** Tasks stop before what may have to wait, and nowhere else. */
const AT_WAITS = EVERYWHERE.map((_, code) => (operations[code]?.enabled === undefined ? 0 : 1));

/** Whether there is by now what a task waits for. */
const mayGoOn = ({ stack }: Sleeper): boolean =>
  operations[stack[TASK.code] | 0].enabled?.(stack[TASK.a], stack[TASK.b], stack[TASK.c], stack[TASK.d]) !== false;

/** The calls of a machine that sleep, by process. */
export class Sleepers {
  readonly #tasks = new Map<number, Sleeper>();
  #numbers = 0;

  get count(): number {
    return this.#tasks.size;
  }

  has(process: number): boolean {
    return this.#tasks.has(process);
  }

  /** Forgets them all: the machine was taken back to before they slept. */
  clear(): void {
    this.#tasks.clear();
  }

  /** Calls a kernel function for a process. Its result; undefined when it sleeps, and then `done` is called with the result when it has woken up. */
  call(process: number, name: string, args: readonly number[], done: (result: number) => void): number | undefined {
    const descriptor = (step as unknown as Record<string, Descriptor>)[name];
    const sleeper: Sleeper = { number: ++this.#numbers, stack: new Float64Array(STACK), done };
    this.#enter(sleeper);
    const [a, b, c, d, e, f, g] = args;
    const ended = !callTask(0, STACK, descriptor, a, b, c, d, e, f, g) || runOn(sleeper.stack);
    setCurrent(0);
    if (ended) return sleeper.stack[TASK.result];
    this.#tasks.set(process, sleeper);
    return undefined;
  }

  /** Lets those go on who can, until nobody can. */
  settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      // What follows a call may let others go on, which are then no longer in the list.
      for (const [process, sleeper] of this.#tasks) {
        this.#enter(sleeper);
        const goes = mayGoOn(sleeper);
        const ended = goes && runOn(sleeper.stack);
        setCurrent(0);
        moved ||= goes;
        if (!ended) continue;
        this.#tasks.delete(process);
        sleeper.done(sleeper.stack[TASK.result]);
      }
    }
  }

  #enter(sleeper: Sleeper): void {
    setCurrent(sleeper.number);
    useStack(sleeper.stack, AT_WAITS);
  }
}
