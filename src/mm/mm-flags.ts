/** Flags of an address space (MMF_*), our own numbering. */
export const MMF_HAS_PINNED = 1;
export const MMF_HAS_MDWE = 2;
export const MMF_HAS_MDWE_NO_INHERIT = 4;
export const MMF_DISABLE_THP = 8;
export const MMF_OOM_SKIP = 16;
export const MMF_UNSTABLE = 32;
export const MMF_TOPDOWN = 64;
/** PR_SET_MEMORY_MERGE: new VMAs are mergeable by KSM. */
export const MMF_VM_MERGE_ANY = 128;
/** PR_SET_THP_DISABLE with PR_THP_DISABLE_EXCEPT_ADVISED: huge pages only where MADV_HUGEPAGE asked. */
export const MMF_DISABLE_THP_EXCEPT_ADVISED = 256;
/** pkey_allocation_map of a processor without protection keys: key 0 was given out. */
export const MMF_PKEY_0 = 512;
/** khugepaged goes through it (mm/khugepaged-slots.ts). */
export const MMF_VM_HUGEPAGE = 2048;
/** It maps, or mapped, the huge zero page (mm/huge-zero.ts). */
export const MMF_HUGE_ZERO_FOLIO = 1024;
