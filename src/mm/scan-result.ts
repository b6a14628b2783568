/** What a look at a range for a huge page comes to (mm/khugepaged.c: enum scan_result; the names are those of the trace events). */

/** By number; `SCAN_…` of Linux. */
export const SCAN_RESULTS = [
  'failed',
  'succeeded',
  'pmd_null',
  'pmd_none',
  'pmd_mapped',
  'exceed_none_pte',
  'exceed_swap_pte',
  'exceed_shared_pte',
  'pte_non_present',
  'pte_uffd_wp',
  'pte_mapped_hugepage',
  'lack_referenced_page',
  'page_null',
  'scan_aborted',
  'page_count',
  'page_lru',
  'page_locked',
  'page_anon',
  'page_compound',
  'no_process_for_page',
  'vma_null',
  'vma_check_failed',
  'not_suitable_address_range',
  'page_swap_cache',
  'could_not_delete_page_from_lru',
  'alloc_huge_page_failed',
  'cgroup_charge_failed',
  'truncated',
  'page_has_private',
  'store_failed',
  'copy_poisoned_page',
  'page_filled',
] as const;

export const SCAN_FAIL = 0;
export const SCAN_SUCCEED = 1;
/** No table above leads to the range. */
export const SCAN_PMD_NULL = 2;
/** No table of the lowest level. */
export const SCAN_PMD_NONE = 3;
/** A huge page is there. */
export const SCAN_PMD_MAPPED = 4;
export const SCAN_EXCEED_NONE_PTE = 5;
export const SCAN_EXCEED_SWAP_PTE = 6;
export const SCAN_EXCEED_SHARED_PTE = 7;
export const SCAN_PTE_NON_PRESENT = 8;
export const SCAN_PTE_UFFD_WP = 9;
/** The page cache has a huge page, which entries of the lowest level map, or none. */
export const SCAN_PTE_MAPPED_HUGEPAGE = 10;
export const SCAN_LACK_REFERENCED_PAGE = 11;
export const SCAN_PAGE_NULL = 12;
/** Somebody beside page tables and page cache has a reference. */
export const SCAN_PAGE_COUNT = 14;
export const SCAN_PAGE_LRU = 15;
export const SCAN_PAGE_LOCK = 16;
export const SCAN_PAGE_ANON = 17;
export const SCAN_PAGE_COMPOUND = 18;
/** The address space is ending, or wants no huge pages. */
export const SCAN_ANY_PROCESS = 19;
export const SCAN_VMA_NULL = 20;
export const SCAN_VMA_CHECK = 21;
export const SCAN_ADDRESS_RANGE = 22;
export const SCAN_DEL_PAGE_LRU = 24;
export const SCAN_ALLOC_HUGE_PAGE_FAIL = 25;
export const SCAN_TRUNCATED = 27;
export const SCAN_PAGE_HAS_PRIVATE = 28;
export const SCAN_STORE_FAILED = 29;
/** A hole of the file was filled meanwhile. */
export const SCAN_PAGE_FILLED = 31;

/** Set in what functions return that had the mmap lock and have released it. */
export const MMAP_RELEASED = 64;
/** The result alone. */
export const scanResult = (returned: number): number => returned & 63;
