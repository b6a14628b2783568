/** vma->vm_page_prot: what the entries of a VMA may allow (vma_set_page_prot of mm/vma.c). */
import { get } from '../kernel/ops.ts';
import { protOf } from './pgtable.ts';
import { Vma, type VmaRef } from './types.ts';
import { VM_SHARED, VM_UFFD_WP } from './vm-flags.ts';
import { vmOpsHasPageMkwrite } from './vm-ops.ts';

/** The protection of entries. A shared mapping that wants to hear of first writes (vma_wants_writenotify), or whose userfaultfd does, gets them write-protected. */
export function vmaPageProt(vma: VmaRef): number {
  const flags = get(vma, Vma.flags);
  return protOf((flags & VM_SHARED) !== 0 && ((flags & VM_UFFD_WP) !== 0 || vmOpsHasPageMkwrite(vma)) ? flags & ~VM_SHARED : flags);
}
