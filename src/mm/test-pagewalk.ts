/** The functions of the walk that writes down what it is called with (test-pagewalk-types.ts): no kernel's, for tests of walks. */
import { add, get, set } from '../kernel/ops.ts';
import { MmWalk, type MmWalkRef } from './mm-walk.ts';
import { TEST_WALK_CALLS, TestWalk } from './test-pagewalk-types.ts';
import type { Vpn } from './types.ts';

/** A call of the function `step` (HAS_*): what it answers. */
export function testWalkCall(walk: MmWalkRef, step: number, start: Vpn, end: Vpn, more: number): number {
  const test = get(walk, MmWalk.arg);
  const i = get(test, TestWalk.calls);
  if (i < TEST_WALK_CALLS) {
    set(test, TestWalk.step + i, step);
    set(test, TestWalk.start + i, start);
    set(test, TestWalk.end + i, end);
    set(test, TestWalk.more + i, more);
    set(test, TestWalk.vma + i, get(walk, MmWalk.vma));
  }
  if (add(test, TestWalk.calls, 1) !== get(test, TestWalk.answerAt)) return 0;
  if (get(test, TestWalk.action) !== 0) set(walk, MmWalk.action, get(test, TestWalk.action));
  return get(test, TestWalk.result);
}
