/**
 * What /proc/PID/pagemap, clear_refs, smaps and numa_maps speak of (fs/proc/task_mmu.c, include/uapi/linux/fs.h): numbers, and the objects that answers
 * are written to.
 */
import { allocObject, freeObject } from '../memory/state.ts';
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type PmScanRef = Ref<'pmScan'>;
export type PmRegionsRef = Ref<'pmRegions'>;
export type PagemapRef = Ref<'pagemap'>;

// Categories of pages (PAGE_IS_*).
/** Of a VMA: userfaultfd write protection that is resolved asynchronously. */
export const PAGE_IS_WPALLOWED = 1;
/** Not write-protected by userfaultfd. */
export const PAGE_IS_WRITTEN = 2;
export const PAGE_IS_FILE = 4;
export const PAGE_IS_PRESENT = 8;
export const PAGE_IS_SWAPPED = 16;
export const PAGE_IS_PFNZERO = 32;
export const PAGE_IS_HUGE = 64;
export const PAGE_IS_SOFT_DIRTY = 128;
export const PAGE_IS_GUARD = 256;
/** All that PAGEMAP_SCAN knows (PM_SCAN_CATEGORIES). */
export const PM_SCAN_CATEGORIES = 511;

export const PM_SCAN_WP_MATCHING = 1;
export const PM_SCAN_CHECK_WPASYNC = 2;
export const PM_SCAN_FLAGS = 3;

/** Regions that a buffer of a scan holds (PAGEMAP_WALK_SIZE, in pages of 4 KiB). */
export const PM_SCAN_BUFFER = 512;

/** struct pm_scan_arg and what a scan knows while it goes on (struct pagemap_scan_private). */
export const PmScan = defineStruct('pmScan', {
  mm: 'ref:mm',
  /** PM_SCAN_*; a number beyond 2^32 is as wrong as any other unknown flag. */
  flags: 'number',
  start: 'vpn',
  /** Byte of the page at which the range begins: anything but 0 is refused. */
  startOffset: 'bytes',
  end: 'vpn',
  endOffset: 'bytes',
  /** Where the scan ended; unchanged by a request that is refused. */
  walkEnd: 'vpn',
  /** Regions that there is room for. */
  vecLen: 'count',
  /** 0: all. */
  maxPages: 'count',
  inverted: 'number',
  mask: 'number',
  anyMask: 'number',
  returnMask: 'number',
  /** Categories that decide about anything (masks_of_interest). */
  interest: 'number',
  vmaCategory: 'number',
  found: 'count',
  /** List of filled buffers; the last is being filled. */
  first: 'ref:pmRegions',
  buffer: 'ref:pmRegions',
  /** Regions that the buffer in use may take. */
  bufferLimit: 'count',
});

/** Regions of pages of the same categories, in order (struct page_region). */
export const PmRegions = defineStruct('pmRegions', {
  next: 'ref:pmRegions',
  count: 'count',
  start: array(PM_SCAN_BUFFER, 'vpn'),
  end: array(PM_SCAN_BUFFER, 'vpn'),
  categories: array(PM_SCAN_BUFFER, 'flags'),
});

// Entries of pagemap, in two numbers: bits 0 to 54 in one, bits 55 to 63 in the other (as these).
export const PM_SOFT_DIRTY = 1;
export const PM_MMAP_EXCLUSIVE = 2;
export const PM_UFFD_WP = 4;
export const PM_GUARD_REGION = 8;
/** A page of a file or of shared memory. */
export const PM_FILE = 64;
export const PM_SWAP = 128;
export const PM_PRESENT = 256;

/** Entries that one read fills (PAGEMAP_WALK_SIZE, in pages of 4 KiB). */
export const PAGEMAP_BUFFER = 512;

/** Entries of /proc/PID/pagemap. */
export const Pagemap = defineStruct('pagemap', {
  /** Page that the first entry is of. */
  start: 'vpn',
  count: 'count',
  /** Whether the reader may know frames. */
  showPfn: 'number',
  /** Bits 0 to 54: frame number, or type and offset of a swap entry; 0 where the reader may not know it. */
  frames: array(PAGEMAP_BUFFER),
  /** Bits from 55 on: PM_*. */
  flags: array(PAGEMAP_BUFFER, 'flags'),
});

// What a number written to clear_refs asks for.
export const CLEAR_REFS_ALL = 1;
export const CLEAR_REFS_ANON = 2;
export const CLEAR_REFS_MAPPED = 3;
export const CLEAR_REFS_SOFT_DIRTY = 4;
export const CLEAR_REFS_MM_HIWATER_RSS = 5;

/** struct mem_size_stats. */
export const MemSizeStats = defineStruct('memSizeStats', {
  rss: 'bytes',
  pss: 'number',
  pssDirty: 'number',
  sharedClean: 'bytes',
  sharedDirty: 'bytes',
  privateClean: 'bytes',
  privateDirty: 'bytes',
  referenced: 'bytes',
  anonymous: 'bytes',
  ksm: 'bytes',
  lazyFree: 'bytes',
  anonHuge: 'bytes',
  shmemPmdMapped: 'bytes',
  filePmdMapped: 'bytes',
  sharedHugetlb: 'bytes',
  privateHugetlb: 'bytes',
  swap: 'bytes',
  swapPss: 'number',
  locked: 'number',
});
export type MemSizeStatsRef = Ref<'memSizeStats'>;

export const allocMemSizeStats = (): MemSizeStatsRef => allocObject(MemSizeStats.$type, MemSizeStats.$size);
export const freeMemSizeStats = (stats: MemSizeStatsRef): void => freeObject(stats, MemSizeStats.$size);

/** struct numa_maps. */
export const NumaMaps = defineStruct('numaMaps', {
  pages: 'count',
  anon: 'count',
  active: 'count',
  writeback: 'count',
  mapcountMax: 'count',
  dirty: 'count',
  swapcache: 'count',
});
export type NumaMapsRef = Ref<'numaMaps'>;

export const allocNumaMaps = (): NumaMapsRef => allocObject(NumaMaps.$type, NumaMaps.$size);
export const freeNumaMaps = (md: NumaMapsRef): void => freeObject(md, NumaMaps.$size);
