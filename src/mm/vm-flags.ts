/**
 * vm_flags (include/linux/mm.h) in 32 bits.
 *
 * Bits 0 to 31 are Linux's. Two that Linux keeps above bit 31 take places that nothing here can have: VM_SEALED bit 28
 * (VM_MIXEDMAP), VM_DROPPABLE bit 23 (VM_SYNC: VMH_SYNC).
 */
export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
export const VM_GROWSDOWN = 0x100;
export const VM_UFFD_MISSING = 0x200;
export const VM_PFNMAP = 0x400;
/** The range may hold guard markers: entries must be copied at fork (6.18 stable). Sticky: a merge keeps it. */
export const VM_MAYBE_GUARD = 0x800;
export const VM_UFFD_WP = 0x1000;
export const VM_LOCKED = 0x2000;
export const VM_IO = 0x4000;
export const VM_SEQ_READ = 0x8000;
export const VM_RAND_READ = 0x10000;
export const VM_DONTCOPY = 0x20000;
export const VM_DONTEXPAND = 0x40000;
export const VM_LOCKONFAULT = 0x80000;
export const VM_ACCOUNT = 0x100000;
export const VM_NORESERVE = 0x200000;
export const VM_HUGETLB = 0x400000;
export const VM_DROPPABLE = 0x800000;
/** VM_ARCH_1: VM_GROWSUP where stacks grow upward (parisc). */
export const VM_GROWSUP = 0x1000000;
export const VM_WIPEONFORK = 0x2000000;
export const VM_DONTDUMP = 0x4000000;
export const VM_SOFTDIRTY = 0x8000000;
export const VM_SEALED = 0x10000000;
export const VM_HUGEPAGE = 0x20000000;
export const VM_NOHUGEPAGE = 0x40000000;
/** Bit 31: negative as a 32-bit integer. */
export const VM_MERGEABLE = 0x80000000 | 0;

export const VM_NONE = 0;
export const VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC;
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP;
export const VM_STACK = VM_GROWSDOWN;
export const VM_STACK_INCOMPLETE_SETUP = VM_RAND_READ | VM_SEQ_READ;
export const VM_LOCKED_MASK = VM_LOCKED | VM_LOCKONFAULT;
/** Flags that do not keep VMAs from merging; the merged VMA has them when one part had (VM_STICKY, which VM_IGNORE_MERGE follows). */
export const VM_STICKY = VM_SOFTDIRTY | VM_MAYBE_GUARD;
export const VM_IGNORE_MERGE = VM_STICKY;
export const VM_COPY_ON_FORK = VM_PFNMAP | VM_UFFD_WP | VM_MAYBE_GUARD;

/** VM_SYNC (MAP_SYNC), in Vma.highFlags. */
export const VMH_SYNC = 1;
/** VM_UFFD_MINOR, likewise. */
export const VMH_UFFD_MINOR = 2;
