/**
 * The state of a process as one sees it from outside: VMAs with their pages, counters, files. What /proc/PID/maps, smaps and status and
 * the snapshots of traces are printed from.
 *
 * Invariants: a view is a copy, nothing in it changes when the machine goes on; VMAs ascend, pages of a VMA ascend and only those that
 * have an entry are listed.
 *
 * Units: vpn and counters in pages, unless the name says otherwise. Flags of a VMA are Linux's VM_ bits (vm-bits.ts).
 */

/** One page that a VMA has an entry for (a present page, a swap slot, a marker). */
export interface PageView {
  readonly vpn: number;
  readonly kind: PageKind;
  /**
   * What is mapped: the page frame number of a `page`, number of the slot of a `swap` entry; equal keys of one kind are one page, whichever
   * process maps it. 0 for other kinds.
   */
  readonly key: number;
  /** OR of `PAGE` bits. */
  readonly flags: number;
  /** How often this very page is mapped (`folio_precise_page_mapcount`); of a swap slot its uses (`swp_swapcount`). */
  readonly mapcount: number;
  /** Order of the folio and index of the page in it; 0 for a small one. */
  readonly order: number;
  readonly index: number;
}

export type PageKind =
  /** A page of a folio. */
  | 'page'
  /** The zero page, mapped by an entry of the lowest level. */
  | 'zero'
  /** A part of the huge zero page. */
  | 'huge-zero'
  | 'swap'
  /** Migration or device-private entry. */
  | 'migration'
  /** Markers: MADV_GUARD_INSTALL, UFFDIO_POISON, write-protected by userfaultfd while nothing is there. */
  | 'guard'
  | 'poison'
  | 'uffd-wp';

/** Bits of `PageView.flags`. The first ones tell of the folio (names as in /proc/kpageflags), the others of the entry that maps it. */
export const PAGE = {
  /** PAGE_MAPPING_ANON; absent: file or shmem. Of a swap entry: absent for one with the file/shared bit. */
  ANON: 1 << 0,
  SWAPBACKED: 1 << 1,
  /** PG_dirty. */
  DIRTY: 1 << 2,
  /** PG_referenced or young of page_idle. */
  REFERENCED: 1 << 3,
  /** PG_anon_exclusive, of the head page as /proc/kpageflags shows it. */
  ANON_EXCLUSIVE: 1 << 4,
  MLOCKED: 1 << 5,
  UNEVICTABLE: 1 << 6,
  KSM: 1 << 7,
  SWAPCACHE: 1 << 8,
  HUGETLB: 1 << 9,
  /** The page table of a hugetlb page is shared by processes, or its folio is mapped more than once: counts as Shared_Hugetlb. */
  HUGETLB_SHARED: 1 << 10,
  /** Accessed bit of the entry. */
  YOUNG: 1 << 16,
  /** Dirty bit of the entry. */
  ENTRY_DIRTY: 1 << 17,
  /** Write-protected by userfaultfd. */
  UFFD_WP: 1 << 18,
  /** The folio is mapped by a middle-level entry as a whole. */
  PMD_MAPPED: 1 << 19,
  /** Bit 56 of /proc/PID/pagemap says the opposite of `mapcount === 1` (a quirk of huge pages). */
  EXCLUSIVE_DIFFERS: 1 << 20,
} as const;

/** What kind of thing a file is; decides its name in a snapshot and what is shown of it. */
export type FileKind = 'memfd' | 'tmpfs' | 'disk' | 'shared-anon' | 'sysv' | 'hugetlb-anon' | 'hugetlbfs' | 'other';

/** A file (inode) that is mapped or open. */
export interface FileView {
  /** Identity of the inode: the same for all its names, descriptors and mappings, never used again. */
  readonly id: number;
  readonly kind: FileKind;
  /** Path as /proc/PID/maps prints it: `/memfd:name (deleted)`, `/dev/zero (deleted)`, `/SYSV00000000 (deleted)`, `/dev/shm/pxd/x`. */
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  readonly inode: number;
  readonly sizeBytes: number;
  /** `st_blocks` in pages: pages in the page cache and in swap. */
  readonly pages: number;
  /** Shmem: is its memory huge pages' (memfd with MFD_HUGETLB, MAP_HUGETLB)? */
  readonly hugetlb: boolean;
}

export interface VmaView {
  /** First page and the page after the last. */
  readonly start: number;
  readonly end: number;
  /** Linux's VM_ bits (vm-bits.ts), up to bit 42: a sum, not an OR, above bit 31. */
  readonly flags: number;
  /** Offset in the file; of a VMA without file whatever it is, it is not shown. */
  readonly pgoff: number;
  readonly file: FileView | undefined;
  /** Pages with an entry, ascending. */
  readonly pages: readonly PageView[];
  /** Bytes of one page of the VMA: of a base page, or of hugetlb's. */
  readonly pageBytes: number;
  /** THPeligible of smaps. */
  readonly thpEligible: boolean;
  /** Pages of shmem in swap that the VMA's range of the file has and no entry tells of (`shmem_partial_swap_usage`). */
  readonly shmemSwapped: number;
}

/** Counters of the mm as /proc/PID/status takes them. */
export interface MmCounters {
  readonly totalVm: number;
  readonly lockedVm: number;
  readonly pinnedVm: number;
  readonly dataVm: number;
  readonly stackVm: number;
  readonly execVm: number;
  readonly rssAnon: number;
  readonly rssFile: number;
  readonly rssShmem: number;
  readonly swapEntries: number;
  /** `mm_pgtables_bytes`. */
  readonly pageTableBytes: number;
  /** Base pages of hugetlb. */
  readonly hugetlb: number;
  /** Highest `totalVm` and resident set so far; only in /proc/PID/status. */
  readonly highestVm: number;
  readonly highestRss: number;
}

export interface ProcessView {
  /** Number in the trace, and what system calls know it by. */
  readonly process: number;
  readonly pid: number;
  /** Bytes of a base page, and of a pointer of the process. */
  readonly pageBytes: number;
  readonly pointerBytes: number;
  readonly vmas: readonly VmaView[];
  readonly counters: MmCounters;
  /** Heap (bytes): VMAs without file between them are `[heap]`. */
  readonly startBrk: bigint;
  readonly brk: bigint;
  /** Where the stack began (bytes): the VMA without file around it is `[stack]`. */
  readonly startStack: bigint;
  /** Counters of KSM and the like by the names of a snapshot (ksm_merging_pages, ksm_zero_pages). */
  readonly more?: Readonly<Record<string, number>>;
}
