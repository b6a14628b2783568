/** What one mremap() knows while it runs (mm/mremap.c): in Linux an object on the stack, so making one cannot fail. */
import { defineStruct, type Ref } from '../memory/struct.ts';

export type VrmRef = Ref<'vrm'>;

/** struct vma_remap_struct: one mremap while it runs. Lengths in pages. */
export const Vrm = defineStruct('vrm', {
  mm: 'ref:mm',
  vma: 'ref:vma',
  addr: 'vpn',
  oldLen: 'count',
  newLen: 'count',
  flags: 'flags',
  newAddr: 'vpn',
  /** REMAP_* */
  type: 'number',
  delta: 'count',
  charged: 'count',
  locked: 'number',
  populateExpand: 'number',
  /** A userfaultfd that is told of the move, and (vrm->uf_unmap_early) of what gave way to it. */
  uffd: 'ref:uffd',
  unmapsEarly: 'ref:uffdUnmap',
});

export const REMAP_NO_RESIZE = 1;
export const REMAP_SHRINK = 2;
export const REMAP_EXPAND = 3;
