import { array, defineStruct, type Ref } from '../memory/struct.ts';
import { MAX_NODES } from '../memory/zone.ts';

export type HstateRef = Ref<'hstate'>;
export type HugetlbRef = Ref<'hugetlb'>;
export type ResvMapRef = Ref<'resvMap'>;
export type SubpoolRef = Ref<'subpool'>;
export type VmemmapWalkRef = Ref<'vmemmapWalk'>;
export type HugetlbSuperRef = Ref<'hugetlbSuper'>;

/** Most sizes that a mode has (HUGE_MAX_HSTATE). */
export const MAX_HSTATES = 8;
/** hugetlb_fault_mutex_table's length. */
export const FAULT_MUTEXES = 8;

/** struct hstate: the pool of one size. Counters are guarded by `Hugetlb.lock`. */
export const Hstate = defineStruct('hstate', {
  /** log2 of the base pages of a huge page (huge_page_order). */
  order: 'number',
  /** Level of its entries, and how many of them one page takes (1, or a contiguous group). */
  level: 'number',
  entries: 'count',
  /** Where these lead to tables that map the page: entries in each of them; else 0. */
  fill: 'count',
  /** Bits that tell its entries from ordinary ones: PTE_HUGE above the lowest level, PTE_GROUP where several map a page. */
  bits: 'number',
  /** First of the free pages, chained by the column `next`. */
  free: 'page',
  /** nr_huge_pages: all that exist. */
  nr: 'count',
  freePages: 'count',
  /** resv_huge_pages: of these, promised. */
  resv: 'count',
  /** surplus_huge_pages: beyond the pool's own size, given back when they are free. */
  surplus: 'count',
  /** surplus_huge_pages_node. */
  surplusOfNode: array(MAX_NODES, 'count'),
  overcommit: 'count',
  /** next_nid_to_alloc, next_nid_to_free: the pool grows and shrinks by nodes in turn. */
  nextToAlloc: 'number',
  nextToFree: 'number',
});

/** All of hugetlb. */
export const Hugetlb = defineStruct('hugetlb', {
  /** hugetlb_lock. */
  lock: 'lock',
  hstates: array(MAX_HSTATES, 'ref:hstate'),
  count: 'count',
  /** Number of the size that is taken where none is named (default_hstate_idx). */
  default: 'number',
  /** vm.hugetlb_optimize_vmemmap: pages that join a pool give back most of their struct pages. */
  optimizeVmemmap: 'number',
  /** 1 when a table was ever shared: hugetlb_usage of address spaces says little from then on. */
  shared: 'number',
  /** What is mounted on each directory that it can be mounted on, in the order of MOUNT_POINTS. */
  mounts: array(4, 'ref:hugetlbSuper'),
  /** hugetlb_fault_mutex_table: faults on the same page of the same file come one after the other. */
  mutexes: array(FAULT_MUTEXES, 'ref:faultMutex'),
});

/** One mutex of the table: a rw_semaphore that is only taken for writing. */
export const FaultMutex = defineStruct('faultMutex', { mutex: { kind: 'lock', slots: 2 } });

/** struct resv_map: which huge pages of a file are reserved (shared), or of a private mapping have used their reservation. */
export const ResvMap = defineStruct('resvMap', {
  refs: 'count',
  /** Guards the regions. */
  lock: 'lock',
  /** Regions in order, apart from each other. */
  regions: 'ref:fileRegion',
  /** Descriptors in reserve, so that what was announced (region_chg) can be done without memory (region_add). */
  cache: 'ref:fileRegion',
  cacheCount: 'count',
  /** Announced and neither done nor taken back. */
  addsInProgress: 'count',
  /** rw_semaphore rw_sema: what a private mapping has instead of a lock of its VMA. */
  rwSema: { kind: 'lock', slots: 2 },
});

/** struct file_region: huge pages [from, to). */
export const FileRegion = defineStruct('fileRegion', { from: 'count', to: 'count', next: 'ref:fileRegion' });

/** struct hugepage_subpool: limits of a mounted file system. −1 means that there is none. */
export const Subpool = defineStruct('subpool', {
  lock: 'lock',
  count: 'count',
  maxPages: 'number',
  usedPages: 'count',
  hstate: 'ref:hstate',
  minPages: 'number',
  /** Of the minimum, what is still reserved in the pool. */
  rsvPages: 'count',
});

/** A mounted file system of huge pages (struct hugetlbfs_sb_info, its super block and its mount). −1 where there is no limit. */
export const HugetlbSuper = defineStruct('hugetlbSuper', {
  hstate: 'ref:hstate',
  /** Its limits in pages; 0: none. */
  subpool: 'ref:subpool',
  maxInodes: 'number',
  freeInodes: 'number',
  /** Of its root: permissions and owner. */
  mode: 'number',
  uid: 'number',
  gid: 'number',
  /** The mount in the tree of directories, and open files. With the last of them the file system goes. */
  users: 'count',
  /** Directory that it is mounted on; 0 when it is not mounted any longer. */
  directory: 'number',
  /** What is mounted under it on the same directory. */
  below: 'ref:hugetlbSuper',
  /** What its options ask for until it is mounted: limits in huge pages. */
  maxPages: 'number',
  minPages: 'number',
});

/** struct hugetlb_vma_lock: faults and walks of a shared mapping hold it for reading, who unshares its tables for writing. */
export const HugetlbVmaLock = defineStruct('hugetlbVmaLock', { refs: 'count', rwSema: { kind: 'lock', slots: 2 }, vma: 'ref:vma' });

/** A walk over a huge page's part of the array of struct pages (struct vmemmap_remap_walk). */
export const VmemmapWalk = defineStruct('vmemmapWalk', { step: 'number', first: 'vpn', reuse: 'page', list: 'ref:vmStruct' });
