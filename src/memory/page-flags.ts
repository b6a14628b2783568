/** Flags of struct page (include/linux/page-flags.h), our own numbering, and what kind of use a page has. */
export const PG_LOCKED = 1 << 0;
export const PG_REFERENCED = 1 << 1;
export const PG_UPTODATE = 1 << 2;
export const PG_DIRTY = 1 << 3;
export const PG_LRU = 1 << 4;
export const PG_ACTIVE = 1 << 5;
export const PG_WRITEBACK = 1 << 6;
export const PG_SWAPBACKED = 1 << 7;
export const PG_UNEVICTABLE = 1 << 8;
export const PG_MLOCKED = 1 << 9;
export const PG_SWAPCACHE = 1 << 10;
export const PG_ANON_EXCLUSIVE = 1 << 11;
/** The mapping is an anon_vma (PAGE_MAPPING_ANON). */
export const PG_ANON = 1 << 12;
/** Page of a page table (PGTY_table). */
export const PG_TABLE = 1 << 13;
/** Free and in the buddy allocator (PGTY_buddy). */
export const PG_BUDDY = 1 << 14;
export const PG_RESERVED = 1 << 15;
/** On a per-CPU list. */
export const PG_PCP = 1 << 16;
export const PG_HEAD = 1 << 17;
export const PG_TAIL = 1 << 18;
export const PG_DROPBEHIND = 1 << 19;
export const PG_HWPOISON = 1 << 20;
export const PG_KSM = 1 << 21;
/** The next read-ahead starts when this page is reached. */
export const PG_READAHEAD = 1 << 22;
/** A part of the folio is no longer mapped (folio_test_partially_mapped). */
export const PG_PARTIALLY_MAPPED = 1 << 23;
/** Of a large folio of a disk's file only the blocks of pages with PG_BLOCK_DIRTY are dirty (mm/folio-buffers.ts; Linux has a buffer_head for each block). */
export const PG_PARTLY_DIRTY = 1 << 24;
export const PG_BLOCK_DIRTY = 1 << 25;
/** Flags that must be clear when a page is freed (PAGE_FLAGS_CHECK_AT_FREE). */
export const PG_CHECK_AT_FREE = PG_LOCKED | PG_WRITEBACK | PG_SWAPCACHE | PG_BUDDY | PG_TABLE | PG_RESERVED;
/** Head of a page of hugetlb (PGTY_hugetlb). */
export const PG_HUGETLB = 1 << 28;
/** It took a reservation that is given back if it is freed before it is used (folio_set_hugetlb_restore_reserve). */
export const PG_HUGETLB_RESTORE_RESERVE = 1 << 29;
/** It belongs to no pool (folio_set_hugetlb_temporary). */
export const PG_HUGETLB_TEMPORARY = 1 << 30;
