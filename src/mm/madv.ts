/** Advice by number, and what one call of madvise() knows while it runs (mm/madvise.c: struct madvise_behavior). */
import { allocObject, freeObject } from '../memory/state.ts';
import { defineStruct, type Ref } from '../memory/struct.ts';

export const MADV_NORMAL = 0;
export const MADV_RANDOM = 1;
export const MADV_SEQUENTIAL = 2;
export const MADV_WILLNEED = 3;
export const MADV_DONTNEED = 4;
export const MADV_FREE = 8;
export const MADV_REMOVE = 9;
export const MADV_DONTFORK = 10;
export const MADV_DOFORK = 11;
export const MADV_MERGEABLE = 12;
export const MADV_UNMERGEABLE = 13;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
export const MADV_DONTDUMP = 16;
export const MADV_DODUMP = 17;
export const MADV_WIPEONFORK = 18;
export const MADV_KEEPONFORK = 19;
export const MADV_COLD = 20;
export const MADV_PAGEOUT = 21;
export const MADV_POPULATE_READ = 22;
export const MADV_POPULATE_WRITE = 23;
export const MADV_DONTNEED_LOCKED = 24;
export const MADV_COLLAPSE = 25;
export const MADV_HWPOISON = 100;
export const MADV_SOFT_OFFLINE = 101;
export const MADV_GUARD_INSTALL = 102;
export const MADV_GUARD_REMOVE = 103;

// How the address space is locked (enum madvise_lock_mode).
export const LOCK_NONE = 0;
export const LOCK_MMAP_READ = 1;
export const LOCK_MMAP_WRITE = 2;
/** One VMA for reading, if that is enough; else LOCK_MMAP_READ. */
export const LOCK_VMA_READ = 3;

/** get_lock_mode for what is an advice; −1 for what is none (madvise_behavior_valid): injection of errors is not built in. */
export function lockModeOf(behavior: number): number {
  switch (behavior) {
    case MADV_HWPOISON:
    case MADV_SOFT_OFFLINE:
      return LOCK_NONE;
    case MADV_REMOVE:
    case MADV_WILLNEED:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_COLLAPSE:
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE:
      return LOCK_MMAP_READ;
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
      return LOCK_VMA_READ;
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
      return LOCK_MMAP_WRITE;
    default:
      return -1;
  }
}

export type MadvRef = Ref<'madv'>;

export const Madv = defineStruct('madv', {
  mm: 'ref:mm',
  /** Address space of whoever calls. */
  callerMm: 'ref:mm',
  behavior: 'number',
  /** LOCK_*, as it is held. */
  lockMode: 'number',
  /** What is flushed at the end of the whole call, for advice that gathers so; else 0. */
  tlb: 'ref:gather',
  /** The part of the range that is in hand, within one VMA. */
  start: 'vpn',
  end: 'vpn',
  /** That VMA, or what has become of it; and the one before the range. */
  vma: 'ref:vma',
  prev: 'ref:vma',
  /** The mmap lock was released on the way: VMAs must be looked up again. */
  lockDropped: 'number',
});

export const allocMadv = (): MadvRef => allocObject(Madv.$type, Madv.$size);
export const freeMadv = (madv: MadvRef): void => freeObject(madv, Madv.$size);
