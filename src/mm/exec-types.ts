/** What an exec knows while it runs (include/linux/binfmts.h). */
import { defineStruct, type Ref } from '../memory/struct.ts';

export type BprmRef = Ref<'bprm'>;

/**
 * struct linux_binprm. Addresses are bytes of the new address space, at the places that they have in the end: where strings lie first may be above 2^53, where numbers
 * are not exact.
 */
export const Bprm = defineStruct('bprm', {
  process: 'ref:process',
  /** The new address space; 0 once the process has it. */
  mm: 'ref:mm',
  /** The new stack, at the highest place that a stack can have until the program's format has decided. */
  vma: 'ref:vma',
  /** The program; 0 for one without a file (execProgram). */
  file: 'ref:file',
  /** Where the next string goes: just below. */
  p: 'bytes',
  /** Pages by which the new stack lies too high until it is moved (setup_arg_pages). */
  shift: 'count',
  /** Strings may not come below. */
  argmin: 'bytes',
  argc: 'count',
  envc: 'count',
  /** RLIMIT_STACK as it was when the exec began (rlim_stack): all of the exec goes by this. Bytes, −1 infinity. */
  stackSoft: 'bytes',
  stackHard: 'bytes',
  /** The program gains rights (set-user-ID): new credentials, no inherited limits (secureexec). */
  secure: 'number',
  /** The old program cannot be returned to (point_of_no_return). */
  committed: 'number',
  /** The page that a string is being copied into and its number, referenced; 0 for none. */
  keptPage: 'page',
  keptVpn: 'vpn',
  /** EXSTACK_* */
  executableStack: 'number',
});

export const EXSTACK_DEFAULT = 0;
export const EXSTACK_DISABLE_X = 1;
export const EXSTACK_ENABLE_X = 2;
