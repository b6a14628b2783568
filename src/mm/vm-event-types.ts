/** Events that /proc/vmstat counts, as far as the mm here has them (include/linux/vm_event_item.h): numbers in the order of its lines. */

/** Names as in mm/vmstat.c: vmstat_text. */
export const VM_EVENT_NAMES = [
  'htlb_buddy_alloc_success',
  'htlb_buddy_alloc_fail',
  'thp_fault_alloc',
  'thp_fault_fallback',
  'thp_collapse_alloc',
  'thp_collapse_alloc_failed',
  'thp_file_alloc',
  'thp_file_fallback',
  'thp_file_mapped',
  'thp_split_page',
  'thp_split_page_failed',
  'thp_deferred_split_page',
  'thp_underused_split_page',
  'thp_split_pmd',
  'thp_scan_exceed_none_pte',
  'thp_scan_exceed_swap_pte',
  'thp_scan_exceed_share_pte',
  'thp_split_pud',
  'thp_zero_page_alloc',
  'thp_zero_page_alloc_failed',
] as const;

export const NR_VM_EVENTS = 20;

/** Huge pages of hugetlb that the buddy allocator gave, or had not. */
export const HTLB_BUDDY_PGALLOC = 0;
export const HTLB_BUDDY_PGALLOC_FAIL = 1;
/** Faults that a huge page was mapped for, and those that none was to be had for. */
export const THP_FAULT_ALLOC = 2;
export const THP_FAULT_FALLBACK = 3;
/** Collapses that had a huge page, or none. */
export const THP_COLLAPSE_ALLOC = 4;
export const THP_COLLAPSE_ALLOC_FAILED = 5;
/** Huge pages of files: had, not to be had, mapped by one entry. */
export const THP_FILE_ALLOC = 6;
export const THP_FILE_FALLBACK = 7;
export const THP_FILE_MAPPED = 8;
/** Folios of a huge page's size that were split, or could not be; those that joined the list of whom a part is not mapped any longer; those split for their zeroes. */
export const THP_SPLIT_PAGE = 9;
export const THP_SPLIT_PAGE_FAILED = 10;
export const THP_DEFERRED_SPLIT_PAGE = 11;
export const THP_UNDERUSED_SPLIT_PAGE = 12;
/** Huge entries that were split. */
export const THP_SPLIT_PMD = 13;
/** Ranges that khugepaged passed over, by the limit that they were above. */
export const THP_SCAN_EXCEED_NONE_PTE = 14;
export const THP_SCAN_EXCEED_SWAP_PTE = 15;
export const THP_SCAN_EXCEED_SHARED_PTE = 16;
export const THP_SPLIT_PUD = 17;
/** Times that the huge zero page was made, or could not be. */
export const THP_ZERO_PAGE_ALLOC = 18;
export const THP_ZERO_PAGE_ALLOC_FAILED = 19;
