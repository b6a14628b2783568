/**
 * What a merge and an unmapping of VMAs know while they run (mm/vma.h): in Linux objects on the stack, so making one cannot fail.
 */
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';

export type VmgRef = Ref<'vmg'>;
export type VmsRef = Ref<'vms'>;

/** struct vma_merge_struct: a range that may become part of its neighbours, and what it must have in common with them. */
export const Vmg = defineStruct('vmg', {
  mm: 'ref:mm',
  prev: 'ref:vma',
  /** The VMA whose part changes; 0 for a range that is no VMA yet. */
  middle: 'ref:vma',
  next: 'ref:vma',
  /** The VMA that a merge extends. */
  target: 'ref:vma',
  /** The VMA that mremap() copies. */
  copiedFrom: 'ref:vma',
  start: 'vpn',
  end: 'vpn',
  pgoff: 'vpn',
  flags: 'flags',
  highFlags: 'flags',
  file: 'ref:file',
  anonVma: 'ref:anonVma',
  anonName: 'number',
  uffd: 'ref:uffd',
  /** Only extend prev (brk). */
  justExpand: 'number',
  /** Failing for want of memory is the same as not merging. */
  giveUpOnOom: 'number',
  removeMiddle: 'number',
  removeNext: 'number',
  adjustMiddleStart: 'number',
  adjustNextStart: 'number',
  /** Result: VMG_NOMERGE, VMG_SUCCESS or VMG_NOMEM. */
  state: 'number',
});

export const VMG_NOMERGE = 0;
export const VMG_SUCCESS = 1;
export const VMG_NOMEM = 2;

export const allocVmg = (): VmgRef => allocObject(Vmg.$type, Vmg.$size);
export const freeVmg = (vmg: VmgRef): void => freeObject(vmg, Vmg.$size);

/** struct vma_munmap_struct: the VMAs of a range that go, and what accounting takes back for them. */
export const Vms = defineStruct('vms', {
  mm: 'ref:mm',
  /** First VMA of the range, 0 when nothing is mapped there. The others follow by `next`, in the tree and afterwards. */
  vma: 'ref:vma',
  prev: 'ref:vma',
  next: 'ref:vma',
  start: 'vpn',
  end: 'vpn',
  /** Between which addresses tables may go. */
  unmapStart: 'vpn',
  unmapEnd: 'vpn',
  vmaCount: 'count',
  /** The mmap lock is downgraded on the way and released at the end. */
  unlock: 'number',
  /** The call goes on with what it maps here: files are released at its end (`Mm.filesToRelease`). */
  filesLater: 'number',
  /** The caller tells userfaultfds what went (`Mm.uffdUnmaps`). */
  uf: 'number',
  /** Entries are still to be cleared. */
  clearPtes: 'number',
  /** The VMAs have left the tree. */
  cleared: 'number',
  nrPages: 'count',
  lockedVm: 'count',
  nrAccounted: 'count',
  execVm: 'count',
  stackVm: 'count',
  dataVm: 'count',
});

export const allocVms = (): VmsRef => allocObject(Vms.$type, Vms.$size);
export const freeVms = (vms: VmsRef): void => freeObject(vms, Vms.$size);
