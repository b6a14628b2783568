/** Which operations wait for locks or may sleep: what is checked when a task announces them, before they happen. */
import { __GFP_DIRECT_RECLAIM } from '../memory/gfp.ts';
import { HELD_FOLIO, HELD_READ, HELD_SPIN, HELD_WRITE, mightSleep, wants } from './lockdep.ts';
import { allocPage, downRead, downWrite, folioLock, kmalloc, spinLock, waitFor } from './ops.ts';

export interface Intent {
  readonly lock: number;
  /** HELD_* */
  readonly mode: number;
}

const MODES = new Map<number, number>([
  [spinLock.code, HELD_SPIN],
  [downRead.code, HELD_READ],
  [downWrite.code, HELD_WRITE],
  [folioLock.code, HELD_FOLIO],
]);

/** The lock that an operation waits for, undefined when it waits for none. `a` is its first argument. */
export function intentOf(code: number, a: number): Intent | undefined {
  const mode = MODES.get(code);
  return mode === undefined ? undefined : { lock: a, mode };
}

/** Checks an operation that the running task announces. @throws {KernelBug} I21, I22 */
export function checkIntent(code: number, a: number): void {
  const mode = MODES.get(code);
  if (mode !== undefined) wants(a, mode);
  else if (code === kmalloc.code) mightSleep('allocates memory');
  else if (code === waitFor.code) mightSleep('waits');
  else if (code === allocPage.code && (a & __GFP_DIRECT_RECLAIM) !== 0) mightSleep('allocates a page');
}
