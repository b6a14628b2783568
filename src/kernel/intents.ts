/** Which operations wait for locks or may sleep: what is checked when a task announces them, before they happen. */
import { __GFP_DIRECT_RECLAIM } from '../memory/gfp.ts';
import { HELD_FOLIO, HELD_READ, HELD_SPIN, HELD_WRITE, mightSleep, wants } from './lockdep.ts';
import { allocPage, downRead, downWrite, folioLock, folioWaitLocked, kmalloc, spinLock, waitFor } from './ops.ts';

export interface Intent {
  readonly lock: number;
  /** HELD_* */
  readonly mode: number;
}

/** By code: how the lock is held that the operation waits for, 0 for none. */
const MODES = new Uint8Array(256);
for (const [{ code }, mode] of [
  [spinLock, HELD_SPIN],
  [downRead, HELD_READ],
  [downWrite, HELD_WRITE],
  [folioLock, HELD_FOLIO],
  [folioWaitLocked, HELD_FOLIO],
] as const)
  MODES[code] = mode;

/** The lock that an operation waits for, undefined when it waits for none. `a` is its first argument. */
export function intentOf(code: number, a: number): Intent | undefined {
  const mode = MODES[code];
  return mode === 0 ? undefined : { lock: a, mode };
}

/** Checks an operation that the running task announces. @throws {KernelBug} I21, I22 */
export function checkIntent(code: number, a: number): void {
  const mode = MODES[code];
  if (mode !== 0) wants(a, mode);
  else if (code === kmalloc.code) mightSleep('allocates memory');
  else if (code === waitFor.code) mightSleep('waits');
  else if (code === allocPage.code && (a & __GFP_DIRECT_RECLAIM) !== 0) mightSleep('allocates a page');
}
