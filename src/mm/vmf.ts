/**
 * struct vm_fault: what one fault knows and passes on (include/linux/mm.h), with the flags that go in and the results that come out.
 */
import { get } from '../kernel/ops.ts';
import { __GFP_MOVABLE, GFP_HIGHUSER_MOVABLE } from '../memory/gfp.ts';
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';

export type VmfRef = Ref<'vmf'>;

export const Vmf = defineStruct('vmf', {
  vma: 'ref:vma',
  mm: 'ref:mm',
  vpn: 'vpn',
  /** Offset of the page in the file. */
  pgoff: 'vpn',
  /** FAULT_FLAG_* */
  flags: 'flags',
  /** Entry at pte level, 0 while its table is missing. */
  ptep: 'number',
  /** Entry at pmd level while the pte table is missing. */
  pmdp: 'number',
  /** Pte table for that place, made before the object's page is locked. */
  prealloc: 'page',
  /** Entry as it was read when the fault began. */
  origPte: 'number',
  /** Page of the object, referenced (and locked with VM_FAULT_LOCKED). */
  page: 'page',
  /** Fresh page for a private copy. */
  cowPage: 'page',
});

/** current_gfp_context() for pages that a fault allocates: GFP_HIGHUSER_MOVABLE and `more`. */
export const faultGfp = (vmf: VmfRef, more: number): number =>
  (GFP_HIGHUSER_MOVABLE | more) & ((get(vmf, Vmf.flags) & FAULT_FLAG_MEMALLOC_PIN) !== 0 ? ~__GFP_MOVABLE : -1);

export const allocVmf = (): VmfRef => allocObject(Vmf.$type, Vmf.$size);
export const freeVmf = (vmf: VmfRef): void => freeObject(vmf, Vmf.$size);

export const FAULT_FLAG_WRITE = 1;
export const FAULT_FLAG_MKWRITE = 2;
export const FAULT_FLAG_ALLOW_RETRY = 4;
export const FAULT_FLAG_RETRY_NOWAIT = 8;
export const FAULT_FLAG_KILLABLE = 0x10;
export const FAULT_FLAG_TRIED = 0x20;
export const FAULT_FLAG_USER = 0x40;
export const FAULT_FLAG_REMOTE = 0x80;
export const FAULT_FLAG_INSTRUCTION = 0x100;
export const FAULT_FLAG_INTERRUPTIBLE = 0x200;
export const FAULT_FLAG_UNSHARE = 0x400;
export const FAULT_FLAG_ORIG_PTE_VALID = 0x800;
export const FAULT_FLAG_VMA_LOCK = 0x1000;
/** Pages are wanted that may stay where they are for long (PF_MEMALLOC_PIN, which in Linux is a flag of the task). Not one of Linux's numbers. */
export const FAULT_FLAG_MEMALLOC_PIN = 0x10000;

export const VM_FAULT_OOM = 1;
export const VM_FAULT_SIGBUS = 2;
export const VM_FAULT_MAJOR = 4;
export const VM_FAULT_HWPOISON = 0x10;
/** Of a huge page: which size it has stands in VM_FAULT_HINDEX_MASK. */
export const VM_FAULT_HWPOISON_LARGE = 0x20;
export const VM_FAULT_SIGSEGV = 0x40;
export const VM_FAULT_NOPAGE = 0x100;
export const VM_FAULT_LOCKED = 0x200;
export const VM_FAULT_RETRY = 0x400;
export const VM_FAULT_FALLBACK = 0x800;
export const VM_FAULT_DONE_COW = 0x1000;
export const VM_FAULT_NEEDDSYNC = 0x2000;
export const VM_FAULT_COMPLETED = 0x4000;
/** Number of a pool. */
const VM_FAULT_HINDEX_SHIFT = 16;
/** VM_FAULT_SET_HINDEX, VM_FAULT_GET_HINDEX. */
export const faultSetHindex = (index: number): number => index << VM_FAULT_HINDEX_SHIFT;
export const faultGetHindex = (result: number): number => (result >> VM_FAULT_HINDEX_SHIFT) & 15;
export const VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE;
