/** Not in the dialect, and in no program. */
import type { Op } from './op.ts';
import { readWord } from './ops.ts';

export function* bad(): Op<number> {
  const text = 'a text';
  return text.length + (yield* readWord(0));
}

export function* worse(): Op<number> {
  yield;
  return 0;
}
