/**
 * The structs of the memory manager, under Linux's names, with the lock that guards each field.
 *
 * Units: `Vpn` counts pages of the paging mode from address 0, sizes named …Pages count pages, `bytes` count bytes. Flags are 32 bits.
 * Rules named in the second argument of `defineStruct` are the guards of kernel/guards.ts.
 */
import { array, defineStruct, type Ref } from '../memory/struct.ts';
import { NR_VM_EVENTS } from './vm-event-types.ts';

export type MmRef = Ref<'mm'>;
export type VmaRef = Ref<'vma'>;
export type AnonVmaRef = Ref<'anonVma'>;
export type AvcRef = Ref<'avc'>;
export type ProcessRef = Ref<'process'>;
export type FileRef = Ref<'file'>;
export type InodeRef = Ref<'inode'>;
export type GatherRef = Ref<'gather'>;
export type BatchRef = Ref<'batch'>;
export type ShmRef = Ref<'shm'>;
export type NameRef = Ref<'name'>;
export type BlockRef = Ref<'block'>;
export type PipeRef = Ref<'pipe'>;
export type GlobalsRef = Ref<'globals'>;
/** Virtual page number. */
export type Vpn = number;
/** A page of RAM, as `struct page *` (memory/state.ts). */
export type Page = number;

/** Kernel-wide variables: one object, always the first of the heap. */
export const Globals = defineStruct('globals', {
  /** Pages that the allocator manages (totalram_pages). */
  totalRam: 'count',
  totalSwap: 'count',
  /** vm_committed_as, pages. */
  committed: 'count',
  overcommitMemory: 'number',
  overcommitRatio: 'number',
  overcommitKbytes: 'number',
  adminReserveKbytes: 'number',
  userReserveKbytes: 'number',
  maxMapCount: 'count',
  /** vm.mmap_min_addr (dac_mmap_min_addr), bytes: below it a process needs CAP_SYS_RAWIO. */
  mmapMinAddr: 'bytes',
  /** CONFIG_LSM_MMAP_MIN_ADDR, bytes: with the setting above, whichever is higher, what hints and stacks keep clear of (mmap_min_addr). */
  lsmMmapMinAddr: 'bytes',
  /** stack_guard_gap, pages. */
  stackGuardGap: 'count',
  faultAroundPages: 'count',
  zeroPage: 'page',
  /** huge_zero_folio, 0 before anybody needed it, and huge_zero_refcount: its users. */
  hugeZeroFolio: 'page',
  hugeZeroUsers: 'count',
  /** List of processes, newest first. */
  processes: 'ref:process',
  nextPid: 'number',
  /** Number of the next inode made. */
  nextInode: 'number',
  /** Linked list of SysV segments. */
  segments: 'ref:shm',
  nextShmid: 'number',
  /** rw_semaphore of the directories with files (their i_rwsem). */
  directoryLock: { kind: 'lock', slots: 2 },
  /** rw_semaphore shm_ids.rwsem, for the list of segments and their attachments. */
  shmLock: { kind: 'lock', slots: 2 },
  /** Names of tmpfs files that are linked: list of inodes. */
  directory: 'ref:inode',
  /** Fault injection: n, the n-th allocation from now fails; −n, that one and all after it; 0, none. */
  failAllocation: 'number',
  zones: array(8, 'ref:zone'),
  /** Inverse of the soft TLB's generation: grows with every flush of everything. */
  tlbGeneration: 'number',
  /** Transparent huge pages (mm/huge-orders.ts): `enabled`, `defrag`, use_zero_page off, and by order (bits) what each size says. */
  thpEnabled: 'number',
  thpDefrag: 'number',
  /** 1 once huge pages may have been made. */
  thpUsed: 'number',
  /** vm_event_states, by event (vm-event.ts). */
  vmEvents: array(NR_VM_EVENTS, 'count'),
  thpNoZeroPage: 'number',
  /** shrink_underused is off: only partially mapped folios are split when memory is short. */
  thpKeepUnderused: 'number',
  thpOrdersAlways: 'flags',
  thpOrdersMadvise: 'flags',
  thpOrdersInherit: 'flags',
  /** The same of shared memory (mm/shmem-huge.ts). */
  shmemHuge: 'number',
  /** `huge=` of the mount that memfds, shared anonymous memory and SysV segments live on, and of the tmpfs with names (SHMEM_HUGE_NEVER to SHMEM_HUGE_ADVISE). */
  shmemMountHuge: 'number',
  tmpfsHuge: 'number',
  shmemOrdersAlways: 'flags',
  shmemOrdersMadvise: 'flags',
  shmemOrdersInherit: 'flags',
  shmemOrdersWithinSize: 'flags',
  /** Large folios of which a part is not mapped any longer (mm/deferred-split.ts): first, last, and the lock of the list. */
  splitListFirst: 'page',
  splitListLast: 'page',
  splitListLock: 'lock',
  ksmRun: 'number',
  /** CONFIG_MEM_SOFT_DIRTY. */
  softDirty: 'number',
  /** vm.legacy_va_layout. */
  legacyVaLayout: 'number',
  /** lru_add and mlock batches are drained at each step when 0. */
  /** Pages of a disk that are read ahead at most (read_ahead_kb); 0: 8 MiB. */
  readAheadPages: 'count',
  /** Tables that empty slots above the lowest level point to, by level of the table from the lowest; where the mode has them. */
  emptyTables: array(5, 'page'),
  /** init_mm, the kernel's own address space; 0 in machines that were given none (init-mm.ts). */
  initMm: 'ref:mm',
  /** LINEAR_*: how RAM is mapped in it (direct-map.ts); 0: not at all. */
  linearMap: 'flags',
  /** Frames [0, linearEnd) are mapped there. */
  linearEnd: 'count',
  /** cpa_lock, pgd_lock (x86; other architectures' locks of the same use): who changes attributes of the direct map, who splits its leaves. */
  cpaLock: 'lock',
  pgdLock: 'lock',
  // vmalloc: areas that are free, in use, and unmapped but not yet flushed, each a list in order of address (free) or of their coming.
  vmapFree: 'ref:vmapArea',
  vmapBusy: 'ref:vmapArea',
  vmapLazy: 'ref:vmapArea',
  /** free_vmap_area_lock, and the lock of the areas in use and of those that wait (vmap_node.busy.lock, lazy.lock). */
  vmapFreeLock: 'lock',
  vmapBusyLock: 'lock',
  vmapLazyLock: 'lock',
  /** vmap_purge_lock: a mutex. */
  vmapPurgeLock: { kind: 'lock', slots: 2 },
  /** vmap_lazy_nr, pages. */
  vmapLazyNr: 'count',
  /** Most pages that may wait for their flush; 0: lazy_max_pages() as Linux computes it. */
  vmapLazyMax: 'count',
  /** Frames [0, vmemmapEnd) have their struct page in the vmemmap (vmemmap.ts). */
  vmemmapEnd: 'count',
  /** rw_semaphore mem_hotplug_lock: for reading, no memory is removed. */
  memHotplugLock: { kind: 'lock', slots: 2 },
  /** What PIN_LONGTERM_TEST_START has pinned (mm/gup-test.ts). */
  pinLongtermTest: 'ref:pageVector',
  /** What khugepaged keeps (mm/khugepaged-types.ts); 0 in modes without huge pages. */
  khugepaged: 'ref:khugepaged',
  /** CONFIG_MEMORY_FAILURE: frames can be taken out of use (memory-failure.ts). */
  memoryFailure: 'number',
  /** Pools of huge pages (mm/hugetlb-types.ts). */
  hugetlb: 'ref:hugetlb',
  /** Contexts of userfaultfd that there are: while there are any, calls may sleep until a process does something. */
  userfaultfds: 'count',
});

export const Mm = defineStruct(
  'mm',
  {
    /** Page of the top table. */
    pgd: 'page',
    /** mm_users: who uses what it maps (mmget, mmput). The last one ends the mappings. */
    users: 'count',
    /** mm_count: who keeps the struct (mmgrab, mmdrop); all users together are one. */
    count: 'count',
    /** rw_semaphore: writer (task + 1), readers. */
    mmapLock: { kind: 'lock', slots: 2 },
    /** mm_lock_seq: odd while the mmap lock is held for writing. */
    lockSeq: 'number',
    pageTableLock: 'lock',
    /** Root of the tree of VMAs (by address). */
    vmas: 'ref:vma',
    mapCount: 'count',
    totalVm: 'count',
    lockedVm: 'count',
    pinnedVm: 'count',
    dataVm: 'count',
    execVm: 'count',
    stackVm: 'count',
    /** rss_stat: file, anon, swap entries, shmem. */
    rss: array(4, 'count'),
    pgtablesBytes: 'bytes',
    /** hugetlb_usage: pages of the mode that hugetlb maps. */
    hugetlbPages: 'count',
    /** hiwater_rss, hiwater_vm: the most pages that were mapped (that the VMAs had) when they became fewer. */
    hiwaterRss: 'count',
    hiwaterVm: 'count',
    defFlags: 'flags',
    /** MMF_* */
    flags: 'flags',
    startBrk: 'bytes',
    brk: 'bytes',
    startStack: 'bytes',
    /** Bytes of the program's initialised data, which RLIMIT_DATA counts together with the heap (end_data - start_data). */
    dataBytes: 'bytes',
    taskSize: 'vpn',
    /** DEFAULT_MAP_WINDOW: mappings lie below unless a hint above asks for more. */
    mapWindow: 'vpn',
    mmapBase: 'vpn',
    /** Legacy layout: bottom-up from here. */
    mmapLegacyBase: 'vpn',
    tlbFlushPending: 'count',
    /** write_protect_seq: odd while fork shares private pages; who pins without a lock looks at it before and after. */
    writeProtectSeq: 'count',
    /** membarrier_state: registrations as membarrier() shows them, and above them which barriers may be asked for (mm/misc-calls.ts). */
    membarriers: 'flags',
    /** RLIMIT_STACK as exec laid the address space out for, bytes (-1 infinity). */
    execStackLimit: 'bytes',
    /** RLIMIT_STACK as exec measured the arguments by; for checks alone. */
    execArgumentLimit: 'bytes',
    /** Pages that the last do_mmap() wants populated once the mmap lock is released. */
    populate: 'count',
    /** Files whose last reference went with what the last do_mmap() replaced, linked by File.next: they are released when the call is over (task_work_add). */
    filesToRelease: 'ref:file',
    /** What the call that holds the mmap lock for writing has unmapped of VMAs whose userfaultfd wants to hear of it (mm/userfaultfd-events.ts). */
    uffdUnmaps: 'ref:uffdUnmap',
    /** While it is copied from its parent's: contexts of userfaultfds that were copied (mm/userfaultfd-events.ts). */
    uffdForks: 'ref:uffdFork',
    process: 'ref:process',
    /** Address space identifier with its generation (mm/context.ts), 0 before the first. */
    contextId: 'number',
  },
  { mapCount: 'mmapWrite', totalVm: 'mmapWrite', dataVm: 'mmapWrite', stackVm: 'mmapWrite', execVm: 'mmapWrite', brk: 'mmapWrite', defFlags: 'mmapWrite' },
);

export const Vma = defineStruct(
  'vma',
  {
    start: 'vpn',
    end: 'vpn',
    mm: 'ref:mm',
    flags: 'flags',
    /** vm_flags that have no room there: VMH_* (vm-flags.ts). */
    highFlags: 'flags',
    /** Offset of `start` in the object, pages; for anonymous private VMAs the vpn where it was first mapped. */
    pgoff: 'vpn',
    file: 'ref:file',
    anonVma: 'ref:anonVma',
    /** List of anon_vma_chain (avc.sameVma…). */
    avcs: 'ref:avc',
    /** Neighbours in order of address. */
    next: 'ref:vma',
    prev: 'ref:vma',
    // Node of the mm's tree.
    left: 'ref:vma',
    right: 'ref:vma',
    parent: 'ref:vma',
    /** Largest gap in the subtree, pages (below each VMA, to its predecessor). */
    maxGap: 'count',
    /** Rank of the node: hash of `start` (vma-tree.ts). */
    priority: 'number',
    // Node of the mapping's interval tree (address_space.i_mmap).
    sharedLeft: 'ref:vma',
    sharedRight: 'ref:vma',
    sharedParent: 'ref:vma',
    sharedLast: 'vpn',
    /** vm_lock_seq: equal to the mm's when write-locked. */
    lockSeq: 'number',
    /** vm_refcnt: 0 detached, 1 attached, more: readers. */
    refcnt: 'count',
    /** What the VMA maps when not anonymous: VMOPS_* (mm/vm-ops.ts). */
    ops: 'number',
    /** PR_SET_VMA_ANON_NAME: number of the interned name, 0 none. */
    anonName: 'number',
    privateData: 'number',
    /** vm_userfaultfd_ctx (mm/userfaultfd-types.ts). */
    uffd: 'ref:uffd',
  },
  { start: 'vmaWrite', end: 'vmaWrite', pgoff: 'vmaWrite', flags: 'vmaWrite' },
);

export const AnonVma = defineStruct('anonVma', {
  root: 'ref:anonVma',
  parent: 'ref:anonVma',
  /** rw_semaphore (used on the root only). Who comes through a page may take it for reading when the anon_vma has just been freed, and sees it then. */
  rwsem: { kind: 'lock', slots: 2, outlives: true },
  refcount: 'count',
  numChildren: 'count',
  numActiveVmas: 'count',
  /** Root of the interval tree of avcs. */
  tree: 'ref:avc',
});

export const Avc = defineStruct('avc', {
  vma: 'ref:vma',
  anonVma: 'ref:anonVma',
  /** List of the VMA's chains (list_head same_vma): next and previous, 0-ended. */
  next: 'ref:avc',
  prev: 'ref:avc',
  left: 'ref:avc',
  right: 'ref:avc',
  parent: 'ref:avc',
  last: 'vpn',
});

/** A process: thread group, signal struct, files_struct and credentials together, as far as the mm asks for them. */
export const Process = defineStruct('process', {
  pid: 'number',
  mm: 'ref:mm',
  next: 'ref:process',
  parent: 'ref:process',
  alive: 'number',
  /** 1 once it was killed or began to end (SIGNAL_GROUP_EXIT): guarded by `allocLock`. */
  groupExit: 'number',
  exitStatus: 'number',
  /** Soft and hard limits by resource, bytes (−1 infinity). */
  rlimitCur: array(16),
  rlimitMax: array(16),
  /** task_lock (alloc_lock): guards `mm` and the limits. */
  allocLock: 'lock',
  /** rw_semaphore signal->exec_update_lock: held for writing while exec changes address space and credentials, so that who holds it sees them agree. */
  execUpdateLock: { kind: 'lock', slots: 2 },
  /** Effective capabilities: two words. */
  capsLow: 'flags',
  capsHigh: 'flags',
  /** PR_SET_MDWE bits, PR_SET_THP_DISABLE. */
  prctl: 'flags',
  /** A signal that was sent and not taken yet, as userFault() says one (0 none), and the page of its address. */
  signal: 'number',
  signalPage: 'number',
  /** Descriptors. */
  files: array(256, 'ref:file'),
  cpu: 'number',
});

/** An open file (struct file) with its read-ahead state. */
export const File = defineStruct('file', {
  inode: 'ref:inode',
  refcount: 'count',
  /** FMODE_* (mm/file-types.ts). */
  mode: 'flags',
  /** O_* flags as F_GETFL gives them. */
  flags: 'flags',
  position: 'bytes',
  /** Attached SysV segment whose file this is (shm_file_data), else 0. */
  shm: 'ref:shm',
  /** struct file_ra_state: last window that was read ahead, pages; what is left of it when the next is asked for. */
  raStart: 'count',
  raSize: 'count',
  raAsyncSize: 'count',
  /** Order of the folios that are read ahead. */
  raOrder: 'number',
  raMmapMiss: 'count',
  /** Last byte that was read, -1 before the first. */
  raPrevPos: 'bytes',
  /** The next one of those that nobody refers to and that are released when a call is over. */
  next: 'ref:file',
});

/** An inode and its address_space. */
export const Inode = defineStruct('inode', {
  /** INODE_* kind (mm/file-types.ts). */
  kind: 'number',
  number: 'number',
  refcount: 'count',
  nlink: 'count',
  size: 'bytes',
  /** Permission bits of i_mode. */
  mode: 'flags',
  /** Root of the xarray of pages (i_pages). */
  pages: 'number',
  nrPages: 'count',
  /** Orders of large folios that the cache has held: a bit each. Bit 0: it may hold some of every order (AS_LARGE_FOLIO_SUPPORT). */
  orders: 'flags',
  /** shmem: index behind what fallocate() has asked for; pages behind the end of the file up to there stay (shmem_inode_info.fallocend). */
  fallocEnd: 'count',
  /** Root of the interval tree of VMAs. */
  iMmap: 'ref:vma',
  /** rw_semaphore i_mmap_rwsem. */
  iMmapLock: { kind: 'lock', slots: 2 },
  /** i_mmap_writable: shared mappings that may be written; negative: denied. */
  iMmapWritable: 'count',
  /** rw_semaphore i_rwsem (inode_lock). */
  lock: { kind: 'lock', slots: 2 },
  /** rw_semaphore invalidate_lock. */
  invalidateLock: { kind: 'lock', slots: 2 },
  /** Disk: rw_semaphore i_data_sem, held for writing while blocks go. */
  dataLock: { kind: 'lock', slots: 2 },
  /** i_pages.xa_lock. */
  pagesLock: 'lock',
  /** F_SEAL_* (shmem_inode_info.seals). */
  seals: 'flags',
  /** Pages that count in st_blocks and in accounting: shmem_inode_info.alloced; blocks of a disk file. */
  alloced: 'count',
  /** Of these, pages that are in swap (shmem_inode_info.swapped). */
  swapped: 'count',
  /** shmem: VM_NORESERVE given, VM_LOCKED (SHM_LOCK). */
  flags: 'flags',
  /** shmem: pages of a hole that is being punched, from `punchFirst` to before `punchEnd`; 0 and 0 at other times (struct shmem_falloc). */
  punchFirst: 'count',
  punchEnd: 'count',
  /** Disk: root of the xarray of blocks that are not holes (index of the page → BLOCK_*). */
  extents: 'number',
  pipe: 'ref:pipe',
  /** hugetlbfs: the pool of its pages, which of them are reserved, its mounted file system (0: the kernel's own). */
  hstate: 'ref:hstate',
  resvMap: 'ref:resvMap',
  super: 'ref:hugetlbSuper',
  /** Whom a pidfd is of. */
  process: 'ref:process',
  /** Of a userfaultfd. */
  uffd: 'ref:uffd',
  /** Name without directory, as the directory entry has it. */
  name: 'ref:name',
  /** Next in Globals.directory while a name leads here. */
  next: 'ref:inode',
});

/** Content of a page of a disk file as the disk has it, 4 KiB in each (struct buffer_head of nothing but data). */
export const Block = defineStruct('block', { next: 'ref:block', words: array(1024) });

/** A name: bytes, six a slot. */
export const Name = defineStruct('name', { length: 'count', chars: array(43) });

/** A pipe: ring of buffers, each a part of a page (struct pipe_inode_info). */
export const Pipe = defineStruct('pipe', {
  /** A mutex: a rw_semaphore that is only taken for writing. */
  mutex: { kind: 'lock', slots: 2 },
  /** Buffers ever filled and ever emptied. */
  head: 'count',
  tail: 'count',
  readers: 'count',
  writers: 'count',
  /** Length of the ring. */
  ringSize: 'count',
  /** 1 while nobody could read (write) without waiting; what sleepers wait for. */
  empty: 'number',
  full: 'number',
  /** By head modulo ring size. */
  pages: array(16, 'page'),
  offsets: array(16),
  lengths: array(16),
  bufferFlags: array(16, 'flags'),
});

/** mmu_gather: what an unmapping collects until translations are flushed. */
export const Gather = defineStruct('gather', {
  mm: 'ref:mm',
  start: 'vpn',
  end: 'vpn',
  fullmm: 'number',
  needFlushAll: 'number',
  freedTables: 'number',
  clearedPtes: 'number',
  batch: 'ref:batch',
  first: 'ref:batch',
  tables: 'ref:batch',
});

/** Pages waiting for the flush. */
export const Batch = defineStruct('batch', { next: 'ref:batch', count: 'count', pages: array(28, 'page') });

/** SysV shared memory segment (struct shmid_kernel). */
export const Shm = defineStruct('shm', {
  id: 'number',
  key: 'number',
  file: 'ref:file',
  attaches: 'count',
  /** IPC_RMID was asked for: goes with the last attachment (SHM_DEST). */
  removed: 'number',
  segmentBytes: 'bytes',
  mode: 'flags',
  creatorPid: 'number',
  next: 'ref:shm',
});

/** rss_stat members. */
export const MM_FILEPAGES = 0;
export const MM_ANONPAGES = 1;
export const MM_SWAPENTS = 2;
export const MM_SHMEMPAGES = 3;
