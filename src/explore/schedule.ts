/**
 * Schedules as text: the actions of a run, repetitions counted, `0*12.1*3.64.0`. Whoever has the string, the scenario, its variant and the mode can play the run
 * again.
 */
import type { Action } from '../kernel/scheduler.ts';
import { PxdError } from '../pagetable/error.ts';

export function scheduleText(actions: readonly Action[]): string {
  const runs: string[] = [];
  for (let i = 0; i < actions.length; ) {
    let end = i + 1;
    while (end < actions.length && actions[end] === actions[i]) end++;
    runs.push(end - i > 1 ? `${actions[i]}*${end - i}` : String(actions[i]));
    i = end;
  }
  return runs.join('.');
}

/** @throws {PxdError} 'usage' for what is no schedule */
export function parseSchedule(text: string): Action[] {
  if (text === '') return [];
  return text.split('.').flatMap((run) => {
    const found = /^(\d{1,7})(?:\*(\d{1,7}))?$/.exec(run);
    if (!found) throw new PxdError('usage', `"${run}" is no part of a schedule: expected actions like 0*12.1*3.64`);
    return new Array<Action>(Number(found[2] ?? 1)).fill(Number(found[1]));
  });
}
