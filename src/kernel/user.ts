/**
 * Loads and stores of user code, as steps that others may come before and after: through the translation that the task's CPU holds, or a walk of its own.
 */
import { setWord, wordShift, words } from '../memory/state.ts';
import { ACCESS_READ, ACCESS_WRITE, mmuAccess } from './mmu.ts';
import { ownCpu, running } from './task.ts';
import { userAccess } from './tlb.ts';

const pageFor = (mm: number, pgd: number, vpn: number, access: number): number =>
  running === 0 ? mmuAccess(pgd, vpn, access) : userAccess(ownCpu(), mm, pgd, vpn, access);

/** Loads the first word of a page: its value (below 2^31) and 1, or 0 for a page fault. */
export function userLoad(mm: number, pgd: number, vpn: number): number {
  const page = pageFor(mm, pgd, vpn, ACCESS_READ);
  return page === 0 ? 0 : (words[page << wordShift] & 0x7fffffff) + 1;
}

/** Stores to the first word of a page: 1, or 0 for a page fault. */
export function userStore(mm: number, pgd: number, vpn: number, value: number): number {
  const page = pageFor(mm, pgd, vpn, ACCESS_WRITE);
  if (page === 0) return 0;
  setWord(page << wordShift, value);
  return 1;
}
