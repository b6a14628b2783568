/** Areas of vmalloc space and what is mapped in them (include/linux/vmalloc.h). */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type VmapAreaRef = Ref<'vmapArea'>;
export type VmStructRef = Ref<'vmStruct'>;

// VM_* of an area.
export const VM_IOREMAP = 0x1;
export const VM_ALLOC = 0x2;
export const VM_MAP = 0x4;
export const VM_USERMAP = 0x8;
export const VM_NO_GUARD = 0x40;
export const VM_ALLOW_HUGE_VMAP = 0x400;

/** A range of the space, free or not (struct vmap_area). */
export const VmapArea = defineStruct('vmapArea', {
  /** First page, and the page behind the last. */
  start: 'vpn',
  end: 'vpn',
  next: 'ref:vmapArea',
  /** What is in it; 0 when it is free or waits for its flush. */
  vm: 'ref:vmStruct',
});

/** Who has a range (struct vm_struct). */
export const VmStruct = defineStruct('vmStruct', {
  addr: 'vpn',
  /** Pages, the guard page included. */
  size: 'count',
  flags: 'flags',
  /** VM_ALLOC and VM_MAP: its pages. Only those of VM_ALLOC are its own. */
  pages: 'ref:vmPages',
  nrPages: 'count',
  /** log2 of the pages of a leaf that it was allocated for (page_order). */
  pageOrder: 'number',
  /** VM_IOREMAP: first frame. */
  physAddr: 'count',
});

/** A part of an area's pages. */
export const VmPages = defineStruct('vmPages', { next: 'ref:vmPages', count: 'count', pages: array(64, 'page') });
/** Pages of one part. */
export const VM_PAGES = 64;
