/**
 * prctl(2), what of it concerns memory (kernel/sys.c): PR_SET_MDWE, PR_SET_THP_DISABLE, PR_SET_MEMORY_MERGE and their readers.
 *
 * Names of anonymous memory (PR_SET_VMA) are not configured; any other option is unknown here.
 */
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { EINVAL, EPERM } from './errno.ts';
import { MMF_DISABLE_THP, MMF_DISABLE_THP_EXCEPT_ADVISED, MMF_HAS_MDWE, MMF_HAS_MDWE_NO_INHERIT, MMF_VM_MERGE_ANY } from './mm-flags.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { ksmVmaFlags } from './mmap-region.ts';
import { Mm, type MmRef, Process, type ProcessRef, Vma } from './types.ts';
import { VM_MERGEABLE } from './vm-flags.ts';
import { firstVma } from './vma-tree.ts';

const PR_SET_THP_DISABLE = 41;
const PR_GET_THP_DISABLE = 42;
const PR_SET_MDWE = 65;
const PR_GET_MDWE = 66;
const PR_SET_MEMORY_MERGE = 67;
const PR_GET_MEMORY_MERGE = 68;

const PR_MDWE_REFUSE_EXEC_GAIN = 1;
const PR_MDWE_NO_INHERIT = 2;
const PR_THP_DISABLE_EXCEPT_ADVISED = 2;

/** prctl(2): −errno, or what the option answers. Arguments of 2^53 and more are no value that any option knows. */
export function* sysPrctl(process: ProcessRef, option: number, a: number, b: number, c: number, d: number): Op<number> {
  const mm = get(process, Process.mm);
  const rest = b !== 0 || c !== 0 || d !== 0;
  switch (option) {
    case PR_SET_MDWE:
      return rest ? -EINVAL : setMdwe(mm, a);
    case PR_GET_MDWE:
      return rest || a !== 0 ? -EINVAL : mdweBits(mm);
    case PR_SET_THP_DISABLE:
      return c !== 0 || d !== 0 ? -EINVAL : yield* setThpDisable(mm, a, b);
    case PR_GET_THP_DISABLE:
      return rest || a !== 0 ? -EINVAL : thpDisabled(mm);
    case PR_SET_MEMORY_MERGE:
      return rest ? -EINVAL : yield* setMemoryMerge(mm, a);
    case PR_GET_MEMORY_MERGE:
      if (rest || a !== 0) return -EINVAL;
      return (get(mm, Mm.flags) & MMF_VM_MERGE_ANY) !== 0 ? 1 : 0;
    default:
      return -EINVAL;
  }
}

/** get_current_mdwe. */
function mdweBits(mm: MmRef): number {
  const flags = get(mm, Mm.flags);
  return ((flags & MMF_HAS_MDWE) !== 0 ? PR_MDWE_REFUSE_EXEC_GAIN : 0) | ((flags & MMF_HAS_MDWE_NO_INHERIT) !== 0 ? PR_MDWE_NO_INHERIT : 0);
}

/** prctl_set_mdwe: what was promised once stays. */
function setMdwe(mm: MmRef, bits: number): number {
  if (bits > (PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT) || bits === PR_MDWE_NO_INHERIT) return -EINVAL;
  const current = mdweBits(mm);
  if (current !== 0 && current !== bits) return -EPERM;
  const noInherit = (bits & PR_MDWE_NO_INHERIT) !== 0 ? MMF_HAS_MDWE_NO_INHERIT : 0;
  const refuse = (bits & PR_MDWE_REFUSE_EXEC_GAIN) !== 0 ? MMF_HAS_MDWE : 0;
  set(mm, Mm.flags, get(mm, Mm.flags) | noInherit | refuse);
  return 0;
}

/** prctl_get_thp_disable. */
function thpDisabled(mm: MmRef): number {
  const flags = get(mm, Mm.flags);
  if ((flags & MMF_DISABLE_THP) !== 0) return 1;
  return (flags & MMF_DISABLE_THP_EXCEPT_ADVISED) !== 0 ? 1 | PR_THP_DISABLE_EXCEPT_ADVISED : 0;
}

/** prctl_set_thp_disable: wholly, or but for where MADV_HUGEPAGE asks for huge pages. */
function* setThpDisable(mm: MmRef, disable: number, how: number): Op<number> {
  if (how !== 0 && (how !== PR_THP_DISABLE_EXCEPT_ADVISED || disable === 0)) return -EINVAL;
  let bit = 0;
  if (disable !== 0) bit = how !== 0 ? MMF_DISABLE_THP_EXCEPT_ADVISED : MMF_DISABLE_THP;
  yield* mmapWriteLock(mm);
  set(mm, Mm.flags, (get(mm, Mm.flags) & ~(MMF_DISABLE_THP | MMF_DISABLE_THP_EXCEPT_ADVISED)) | bit);
  yield* mmapWriteUnlock(mm);
  return 0;
}

/** ksm_enable_merge_any and ksm_disable_merge_any, as far as flags of VMAs go. */
function* setMemoryMerge(mm: MmRef, on: number): Op<number> {
  yield* mmapWriteLock(mm);
  const flags = get(mm, Mm.flags);
  const was = (flags & MMF_VM_MERGE_ANY) !== 0;
  if (on !== 0 && !was) {
    set(mm, Mm.flags, flags | MMF_VM_MERGE_ANY);
    for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
      yield* vmaStartWrite(vma);
      set(vma, Vma.flags, ksmVmaFlags(mm, get(vma, Vma.flags)));
    }
  } else if (on === 0 && was) {
    for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
      yield* vmaStartWrite(vma);
      set(vma, Vma.flags, get(vma, Vma.flags) & ~VM_MERGEABLE);
    }
    set(mm, Mm.flags, flags & ~MMF_VM_MERGE_ANY);
  }
  yield* mmapWriteUnlock(mm);
  return 0;
}
