import { addTwice, deadHistory, fault, lockTable, recursive } from 'sample:step';
import { beforeEach, describe, expect, it } from 'vitest';
import { advance, backtrace, ended, S, stackEnd, startTask, TASK, useStack } from '../../src/kernel/compile/runtime.ts';
import { effects } from './sample/op.ts';
import { memory, reset } from './sample/state.ts';

const AREA = 128;
beforeEach(() => {
  reset();
  useStack(new Float64Array(4 * AREA));
});

/** Performs what the task is about to do and runs it to the next operation. */
function step(base: number): boolean {
  const at = base + TASK.code;
  S[base + TASK.result] = effects[S[at]](S[at + 1], S[at + 2], S[at + 3], S[at + 4]);
  return advance(base);
}

describe('tasks', () => {
  it('keep to their areas, in any order of their steps', () => {
    // Three tasks add to one word; the one that reads, waits, and writes is between the others' operations.
    for (let i = 0; i < 3; i++) {
      startTask(i * AREA, AREA, addTwice, 7, 10 ** i);
      advance(i * AREA);
    }
    const order = [0, 1, 2, 2, 1, 0];
    for (const i of order) step(i * AREA);
    expect([0, 1, 2].map((i) => ended(i * AREA))).toEqual([true, true, true]);
    expect(memory[7]).toBe(222);
    expect([0, 1, 2].map((i) => S[i * AREA + TASK.result])).toEqual([1 + 122, 10 + 112 - 1 + 1, 100 + 11 + 0].map((_, i) => memoryBefore(order, i)));
  });

  it('say where they are', () => {
    startTask(0, AREA, fault, 5, 1, 10);
    for (let i = 0; i < 4; i++) i === 0 ? advance(0) : step(0);
    const lines = backtrace(0);
    expect(lines.map((line) => line.replace(/ .*/, ''))).toEqual(['allocate', 'fillEntry', 'fault']);
    for (const line of lines) expect(line).toMatch(/ \(tests\/kernel-compile\/sample\/fault\.ts:\d+\)$/);
  });

  it('have zeros behind their last frame, and nowhere a value that they will not look at', () => {
    const bytes = [1, 2].map((secret) => {
      useStack(new Float64Array(AREA));
      reset();
      startTask(0, AREA, deadHistory, secret, 5);
      advance(0);
      while (S[TASK.code] !== 5) step(0);
      expect(S.subarray(stackEnd(0)).every((value) => value === 0)).toBe(true);
      return [...S];
    });
    expect(bytes[0]).toEqual(bytes[1]);
  });

  it('may be copied to another place in mid-call', () => {
    startTask(0, AREA, recursive, 4, 1);
    advance(0);
    for (let i = 0; i < 5; i++) step(0);
    const words = [...memory];
    S.copyWithin(2 * AREA, 0, AREA);
    const finish = (base: number): number => {
      memory.set(words);
      while (!ended(base)) step(base);
      return S[base + TASK.result];
    };
    expect(finish(2 * AREA)).toBe(finish(0));
  });

  it('refuse what would go wrong', () => {
    expect(() => startTask(0, 10, fault, 1, 2, 3)).toThrow('a stack of 10 doubles is too small for fault');
    expect(() => startTask(3 * AREA + 1, AREA, fault, 1, 2, 3)).toThrow('is not in the stack of 512 doubles');
    expect(() => startTask(0, AREA, lockTable, ...([] as unknown as [number]))).toThrow('lockTable takes 1 arguments, not 0');
    startTask(0, AREA, recursive, 100, 1);
    advance(0);
    expect(() => {
      while (!ended(0)) step(0);
    }).toThrow(/a task's stack of 128 doubles is too small:\nrecursive \(/);
  });
});

/** What `addTwice` of task `i` gives: the word before its second addition. */
function memoryBefore(order: readonly number[], i: number): number {
  let word = 0;
  let seen = 0;
  const times = new Map<number, number>();
  for (const task of order) {
    times.set(task, (times.get(task) ?? 0) + 1);
    if (task === i && times.get(task) === 2) seen = word;
    word += 10 ** task;
  }
  return seen;
}
