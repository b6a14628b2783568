/**
 * A page walk that is told what it is (mm_walk_ops as data) and writes down what it is called with: which functions it has, its lock, and what it answers
 * to one of the calls.
 */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type TestWalkRef = Ref<'testWalk'>;

/** Calls that are written down. */
export const TEST_WALK_CALLS = 64;

export const TestWalk = defineStruct('testWalk', {
  /** HAS_*. */
  has: 'number',
  /** PGWALK_*. */
  lock: 'number',
  /** Number of the call that is answered (from 1), by this result and by this action where it is not 0. */
  answerAt: 'number',
  result: 'number',
  action: 'number',
  /** What entries are filled with. */
  install: 'number',
  /** Calls so far; the first are in the lists. */
  calls: 'count',
  /** HAS_* of the function. */
  step: array(TEST_WALK_CALLS, 'number'),
  start: array(TEST_WALK_CALLS, 'vpn'),
  end: array(TEST_WALK_CALLS, 'vpn'),
  /** Of holes their depth, of leaves their level, of others the entry. */
  more: array(TEST_WALK_CALLS, 'number'),
  vma: array(TEST_WALK_CALLS, 'ref:vma'),
});
