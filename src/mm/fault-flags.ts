/**
 * What goes into a fault and what comes out, as text, and which combinations cannot be (include/linux/mm.h, mm_types.h: VM_FAULT_RESULT_TRACE, FAULT_FLAG_TRACE;
 * mm/memory.c: sanitize_fault_flags).
 *
 * Invariant: nothing here is an operation. Where Linux would warn once and end the process, or only says in a comment that something is not to be, an error of the
 * kernel's own code is thrown.
 */
import { KernelBug } from '../kernel/bug.ts';
import { isCowMapping } from './copy-page-range.ts';
import { VM_MAYWRITE, VM_WRITE } from './vm-flags.ts';
import {
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_MEMALLOC_PIN,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_VMA_LOCK,
  FAULT_FLAG_WRITE,
  faultGetHindex,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
} from './vmf.ts';

/** By bit; those that are empty have no meaning. */
const FLAGS = Object.freeze(
  'WRITE MKWRITE ALLOW_RETRY RETRY_NOWAIT KILLABLE TRIED USER REMOTE INSTRUCTION INTERRUPTIBLE UNSHARE ORIG_PTE_VALID VMA_LOCK'.split(' '),
);
const RESULTS = Object.freeze([
  'OOM',
  'SIGBUS',
  'MAJOR',
  '',
  'HWPOISON',
  'HWPOISON_LARGE',
  'SIGSEGV',
  '',
  'NOPAGE',
  'LOCKED',
  'RETRY',
  'FALLBACK',
  'DONE_COW',
  'NEEDDSYNC',
  'COMPLETED',
]);

/** Names with bars between, bits without a name as one number at the end, `0` for none. */
function barred(bits: number, names: readonly string[]): string {
  let rest = bits;
  const parts: string[] = [];
  names.forEach((name, bit) => {
    if (name === '' || (bits & (1 << bit)) === 0) return;
    parts.push(name);
    rest &= ~(1 << bit);
  });
  if (rest !== 0) parts.push(`0x${(rest >>> 0).toString(16)}`);
  return parts.length === 0 ? '0' : parts.join('|');
}

/** FAULT_FLAG_*, as `WRITE|ALLOW_RETRY|USER`. */
export const faultFlagsText = (flags: number): string =>
  [barred(flags & ~FAULT_FLAG_MEMALLOC_PIN, FLAGS), ...((flags & FAULT_FLAG_MEMALLOC_PIN) !== 0 ? ['MEMALLOC_PIN'] : [])].filter((s) => s !== '0').join('|') ||
  '0';

/** VM_FAULT_*, as `MAJOR|RETRY`; of a poisoned huge page with the number of its pool, as `HWPOISON_LARGE(1)`. */
export const faultResultText = (result: number): string =>
  (result & VM_FAULT_HWPOISON_LARGE) === 0
    ? barred(result, RESULTS)
    : barred(result & ~(15 << 16), RESULTS).replace('HWPOISON_LARGE', `HWPOISON_LARGE(${faultGetHindex(result)})`);

/** Flags that ask for more than a look: without any of them, and in a VMA that may be written, everything is in order. */
export const UNCOMMON_FAULT_FLAGS = FAULT_FLAG_UNSHARE | FAULT_FLAG_TRIED | FAULT_FLAG_RETRY_NOWAIT;

const impossible = (flags: number, why: string): never => {
  throw new KernelBug('WARN_ON', `a fault with ${faultFlagsText(flags)}: ${why}`);
};

/** sanitize_fault_flags: the flags that a fault in a VMA goes on with. @throws {KernelBug} for a combination that nobody may ask for */
export function sanitizeFaultFlags(vmFlags: number, flags: number): number {
  if ((flags & FAULT_FLAG_UNSHARE) !== 0) {
    if ((flags & FAULT_FLAG_WRITE) !== 0) impossible(flags, 'who writes has no page unshared for reading');
  } else if ((flags & FAULT_FLAG_WRITE) !== 0) {
    if ((vmFlags & VM_MAYWRITE) === 0) impossible(flags, 'the mapping can never be written');
    if ((vmFlags & VM_WRITE) === 0 && !isCowMapping(vmFlags)) impossible(flags, 'only private mappings are written by force');
  }
  // VM_FAULT_RETRY says that a VMA's lock was dropped, but with RETRY_NOWAIT that nothing was.
  if ((flags & FAULT_FLAG_VMA_LOCK) !== 0 && (flags & FAULT_FLAG_RETRY_NOWAIT) !== 0)
    impossible(flags, 'the lock of a VMA is dropped where the caller must not wait');
  if ((flags & FAULT_FLAG_TRIED) !== 0 && (flags & FAULT_FLAG_ALLOW_RETRY) === 0) impossible(flags, 'a second try of what may not be tried again');
  return (flags & FAULT_FLAG_UNSHARE) !== 0 && !isCowMapping(vmFlags) ? flags & ~FAULT_FLAG_UNSHARE : flags;
}

/** @throws {KernelBug} for a result that tells of a poisoned page twice */
export function checkFaultResult(result: number): void {
  if ((result & VM_FAULT_HWPOISON) !== 0 && (result & VM_FAULT_HWPOISON_LARGE) !== 0)
    throw new KernelBug('WARN_ON', `a fault ended with ${faultResultText(result)}: a page is small or huge`);
}
