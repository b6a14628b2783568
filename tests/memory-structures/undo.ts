import { expect } from 'vitest';
import { arraysOf, journalMark, mounted, startJournal, stateHash, stopJournal, undo } from '../../src/memory/state.ts';

/** Runs something with the journal on, takes it back, and expects every array of the machine to be what it was. */
export function expectUndone(run: () => void): void {
  const copies = arraysOf(mounted()).map((a) => a.slice());
  startJournal();
  const mark = journalMark();
  run();
  undo(mark);
  const hash = stateHash();
  stopJournal();
  expect(hash).toEqual({ low: 0, high: 0 });
  // Arrays may have grown; what is beyond was never there.
  arraysOf(mounted()).forEach((a, i) => {
    const old = copies[i];
    if (a.subarray(0, old.length).some((value, at) => value !== old[at])) expect(a.subarray(0, old.length)).toEqual(old);
    if (a.subarray(old.length).some((value) => value !== 0)) expect.fail(`array ${i} has values where it grew`);
  });
}

/** `expect(a).toBe(b)` for loops that ask it a million times. */
export function same(a: unknown, b: unknown): void {
  if (a !== b) expect(a).toBe(b);
}
