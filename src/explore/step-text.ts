/** What a step is, for people: the task by the scenario's name for it, its call, the operation that it performs. */
import { operations } from '../kernel/op.ts';
import { ACTOR_BASE, type Action } from '../kernel/scheduler.ts';
import { Task, taskOf } from '../kernel/task.ts';
import { get } from '../memory/heap.ts';
import type { Staged } from './stage.ts';

/** The step that an action would be now: `task a in increase(5), at readOnce(5, 1)`. */
export function stepText({ scheduler, names }: Pick<Staged, 'scheduler' | 'names'>, action: Action): string {
  if (action >= ACTOR_BASE) return scheduler.describe(action);
  const { name } = scheduler.callOf(taskOf(action)) ?? {};
  return `task ${names[action]} in ${name ?? 'no call'}, at ${operationOf(action)}`;
}

/** What a task is about to do: `readOnce(5, 1)`. */
export function operationOf(number: number): string {
  const task = taskOf(number);
  const code = get(task, Task.code);
  if (code === 0) return 'its beginning';
  const args = [get(task, Task.a), get(task, Task.b), get(task, Task.c), get(task, Task.d)];
  while (args.length > 0 && args[args.length - 1] === 0) args.pop();
  return `${operations[code].name}(${args.join(', ')})`;
}

/** The first line of what was thrown: a sentence. */
export const firstLine = (error: unknown): string => String((error as Error)?.message ?? error).split('\n')[0];
