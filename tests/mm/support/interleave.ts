/** Tasks of kernel code, native generators, in turns: each runs to its next visible operation, and goes on when that can be taken. */
import { setCurrent } from '../../../src/kernel/current.ts';
import { type Op, operations, pending } from '../../../src/kernel/op.ts';

interface Task {
  readonly op: Op<number>;
  readonly number: number;
  /** What it does when it is resumed. */
  code: number;
  args: [number, number, number, number];
  ended: boolean;
}

/** Runs a task to its next visible operation. */
function advance(task: Task): void {
  setCurrent(task.number);
  const step = task.op.next();
  task.ended = step.done === true;
  task.code = pending.code;
  task.args = [pending.a, pending.b, pending.c, pending.d];
}

/** Interleaves tasks; `picks` says who goes on, for a run of operations each. @throws {Error} when all wait, or there is no end */
export function interleave(ops: readonly Op<number>[], picks: readonly { who: number; run: number }[]): void {
  const tasks = ops.map((op, number): Task => ({ op, number, code: 0, args: [0, 0, 0, 0], ended: false }));
  for (const task of tasks) advance(task);
  const ready = (t: Task): boolean => !t.ended && (operations[t.code].enabled?.(...t.args) ?? true);
  for (let i = 0; tasks.some((t) => !t.ended); i++) {
    const able = tasks.filter(ready);
    if (able.length === 0) {
      const waiting = tasks.filter((t) => !t.ended).map((t) => `${t.number}: ${operations[t.code].name}(${t.args.join(', ')})`);
      throw new Error(`all wait: ${waiting.join('; ')}`);
    }
    const { who, run } = picks[i % picks.length];
    const task = able[who % able.length];
    for (let n = 0; n < run && ready(task); n++) advance(task);
    if (i > 100_000) throw new Error('no end in sight');
  }
  setCurrent(0);
}
