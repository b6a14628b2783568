/**
 * Switches: places in kernel code where a kernel of another time, or one that is broken on purpose, does something else. `switched(SW.x)` stands at that one
 * place; whoever explores schedules throws switches, the direct program has none (ops-direct.ts).
 *
 * Invariants: which switches are thrown is part of the machine's memory (the `kernel` object), so a machine in mid-call is complete; all are off
 * unless somebody throws them. Numbers of switches follow the order below and mean nothing outside of a run.
 */
import { heap, setSlot } from '../memory/state.ts';
import { KernelState, kernelState, SWITCH_WORDS } from './task.ts';

export interface Switch {
  /** What the code does when it is thrown: part of a sentence. */
  readonly does: string;
  /** Where it comes from: the kernels that did so, or `mutation` for what no kernel did. */
  readonly origin: string;
}

/** All switches by name: the place in the code says the name, a scenario's variant throws it. */
export const SWITCHES = {
  locksNotSplit: { does: 'entries of all page tables of an mm are guarded by its page_table_lock', origin: 'configuration: CONFIG_SPLIT_PTE_PTLOCKS off' },
  noVmaLocks: { does: 'faults take the mmap lock', origin: 'configuration: CONFIG_PER_VMA_LOCK off, as before 6.4' },
  mremapFlushLate: { does: 'mremap flushes the old place after it dropped the lock of its table', origin: 'before 4.19 (eb66ae030829)' },
  gathersUnaware: { does: 'an mmu_gather does not ask whether another one is at work on its mm', origin: 'before 4.14 (99baac21e458)' },
  novmaReadLock: { does: 'a walk over user tables without VMAs makes do with the mmap lock for reading', origin: 'before 6.1 (8782fb61cc848)' },
  walkNoVmaLock: { does: 'a page walk that changes entries neither locks the VMAs for writing nor asks whether they are', origin: 'before 6.6 (49b0638502da)' },
  hugetlbWalkUnlocked: {
    does: 'who walks the tables of a hugetlb VMA holds the mmap lock only, beside which a table that is shared can be left and freed',
    origin: 'before 6.2 (mm/hugetlb: make walk functions take the lock of the VMA)',
  },
  hugetlbFollowOwn: {
    does: 'get_user_pages() finds pages of hugetlb, unless it pins them, by a function of its own, which takes no lock of the VMA and waits for migrations itself',
    origin: 'in 2022 and 2023 (57a196a58421, hugetlb: simplify hugetlb handling in follow_page_mask)',
  },
  hugetlbFollowLeftover: {
    does: 'that function (hugetlbFollowOwn) releases, before it waits for a migration, a lock of the VMA that it has not taken',
    origin: 'fourth version of 57a196a58421, of October 2022, which was not taken',
  },
  migrationEntryAlien: { does: 'a fault takes a migration entry for something that nobody knows', origin: 'mutation' },
  migrateHugetlbRelocks: {
    does: 'who migrates a page of hugetlb of a file lets the lock of its mappings go when they are gone, and takes it again for those of the new page, with both pages locked',
    origin: 'before 6.19 (b7880cb166ab, migrate: correct lock ordering for hugetlb file folios)',
  },
  migratePinsFirst: { does: 'who migrates a page looks whether it is pinned before its entry is empty', origin: 'mutation' },
  migrateDropsDirty: {
    does: 'a page whose entry becomes a migration entry is not called dirty where the entry was',
    origin: 'migration to devices, before 6.0 (fd35ca3d12cc: mm/migrate_device.c: copy pte dirty bit to page)',
  },
  forkSkipsMigration: { does: 'fork passes over pages that are migrated right now', origin: 'mutation' },
  migrateNoCount: { does: 'a page is migrated however many references there are', origin: 'mutation' },
  migrateCountsFirst: { does: 'who migrates a page counts its references before its mappings are gone', origin: 'mutation' },
  faultMapsPoison: { does: 'a fault maps a page of a file without a look whether it is poisoned', origin: 'mutation' },
  ptdumpNoHotplugLock: { does: 'a dump of kernel tables does not keep memory from being removed', origin: 'x86 before 6.17' },
  faultNoMappingCheck: { does: 'who has locked a page of a file does not look whether it still belongs to it', origin: 'mutation' },
  faultNoSizeCheck: { does: 'a page of shared memory is not looked at again whether it lies beyond the end by now', origin: 'mutation' },
  truncateUnmapsOnce: { does: 'truncation unmaps what lies beyond the end only before it takes the pages away', origin: 'before 2.6.23 (d00806b18315)' },
  forkNoVmaLock: {
    does: 'fork does not lock the VMAs that it copies, so that faults under the lock of a VMA run beside it',
    origin: 'before 6.5 (fb49c455323f)',
  },
  forkNoFlush: { does: 'fork leaves translations that the parent has cached before its pages were write-protected', origin: 'mutation' },
  forkFlushLate: { does: 'fork flushes the parent after it let its mmap lock and the locks of its VMAs go', origin: 'mutation' },
  execStackLimitReread: { does: 'exec reads the stack limit again when it lays the address space out', origin: 'before 4.17 (c31dbb146dd4)' },
  execAccessUnlocked: {
    does: 'who looks into another process takes its mm and checks its credentials without keeping exec from changing them in between',
    origin: 'before 3.3 (8cdb878dcb35)',
  },
  mapPagesNoReload: { does: 'fault-around does not read the slot again once it has a reference to the page', origin: 'mutation' },
  mapPagesNoMappingCheck: { does: 'fault-around does not look whether the page that it has locked still belongs to the file', origin: 'mutation' },
  filemapNoReload: { does: 'a lookup in the page cache does not read the slot again once it has a reference to the page', origin: 'mutation' },
  filemapPlainGet: { does: 'a lookup in the page cache takes its reference without a look whether the page is being freed', origin: 'mutation' },
  wpReuseByMapcount: {
    does: 'a write fault takes an anonymous page that is mapped once, whoever else has a reference to it',
    origin: 'before 5.9 (09854ba94c6a)',
  },
  noreplaceUnknown: { does: 'mmap does not know MAP_FIXED_NOREPLACE and takes the address for a hint', origin: 'before 4.17 (a4ff8e8620d3)' },
  noreplaceReplaces: { does: 'mmap takes MAP_FIXED_NOREPLACE for MAP_FIXED, which programs used before', origin: 'mutation' },
  noreplaceEarly: { does: 'mmap looks what MAP_FIXED_NOREPLACE would replace before it takes the mmap lock for writing', origin: 'mutation' },
  clearRefsNoFlush: { does: 'clear_refs leaves translations that allow writes', origin: 'mutation' },
  clearRefsFlushLate: { does: 'clear_refs flushes after it let the mmap lock go, and nobody is told that a flush is to come', origin: 'mutation' },
  vmaWriteNoWait: { does: 'who locks a VMA for writing does not wait for the faults that are inside', origin: 'mutation' },
  vmaDetachNoWait: { does: 'who detaches a VMA does not wait for the faults that are inside', origin: 'before 6.15, where locking it for writing had done so' },
  vmaNoRecheck: { does: 'a fault does not look at the sequence number again once it holds the lock of the VMA', origin: 'mutation' },
  vmaDetachedTaken: { does: 'a fault takes the lock of a VMA that has left its address space', origin: 'mutation' },
  vmaNoRangeCheck: { does: 'a fault does not look at the range of a VMA again once it holds its lock', origin: 'mutation' },
  vmaNoMmCheck: { does: 'a fault does not look whose a VMA is once it holds its lock', origin: 'mutation' },
  lazyTlbUncounted: {
    does: 'a CPU that runs a kernel thread keeps the tables of the process before it, uncounted, and nobody asks it to leave them when they go',
    origin: 'mutation',
  },
  mkcleanNoFlush: { does: 'writeback takes the right to write away from entries without a flush', origin: 'mutation' },
  punchNoInvalidateLock: { does: 'a hole is punched without keeping faults and read-ahead from reading its pages', origin: 'ext4 before 4.5 (ea3d7209ca01)' },
  lazyfreeDirtyFirst: { does: 'reclaim of a lazily freed page looks at the dirty bit before it empties the entry', origin: 'mutation' },
  mlockFlagUnlocked: { does: 'mlock changes the flags of a VMA without locking it against faults', origin: 'mutation' },
  exitMmapUnlocked: { does: 'the end of an address space frees tables and VMAs without the mmap lock', origin: 'before 4.14 (212925802454)' },
  reaperIgnoresExit: {
    does: 'the OOM reaper takes memory away without the mmap lock and whether or not the process is freeing its tables',
    origin: 'mutation',
  },
  asidReuseNoFlush: { does: 'when ASIDs are given out anew no CPU is told to forget what it has translated under them', origin: 'mutation' },
  mapWritableUnchecked: { does: 'mmap counts a writable mapping of a file without a look whether these are denied', origin: 'mutation' },
  mayWriteUncounted: { does: 'a shared mapping that mprotect could make writable does not count as writable until it is', origin: 'mutation' },
  sealNoPinCheck: { does: 'F_SEAL_WRITE does not look who else has references to the pages', origin: 'mutation' },
  pteMapNoRecheck: { does: 'who has taken the lock of a page table does not look whether the table is still in the tree', origin: 'before 6.5 (0d940a9b270b)' },
  pteMapIrqsOff: {
    does: 'who looks at page tables without locks keeps interrupts off instead of reading under RCU',
    origin: 'as get_user_pages_fast() does where tables are freed after a flush by interrupts',
  },
  reclaimUnverified: { does: 'giving back an emptied page table does not look again whether it is empty once it has the locks', origin: 'mutation' },
  tableFreeAtOnce: { does: 'a page table is freed right after the flush', origin: 'configuration: CONFIG_MMU_GATHER_RCU_TABLE_FREE off' },
  stackReadLock: { does: 'a fault grows a stack with the mmap lock held for reading', origin: 'before 6.5 (8d7071af8907)' },
  stackNoSecondLook: { does: 'a fault that has let the mmap lock go to take it for writing does not look its stack up again', origin: 'mutation' },
  anonVmaNoRecheck: { does: 'who prepares an anon_vma does not look again, under the page table lock, whether the VMA has got one', origin: 'mutation' },
  anonVmaNoMmapLock: {
    does: 'a fault under the lock of a VMA prepares its anon_vma, by its neighbours, without the mmap lock',
    origin: 'before 6.5 (657b5146955e)',
  },
  rmapLocksDropped: { does: 'the range of a VMA changes while the locks of rmap are free, though the VMA is in none of its trees', origin: 'mutation' },
  tableNoRecheck: {
    does: 'who has made a page table puts it into an empty entry without looking, under the lock, whether it still is empty',
    origin: 'mutation',
  },
  retryKeepsLock: { does: 'a fault that must be tried again does not release its lock', origin: 'mutation' },
  retryReleasesTwice: { does: 'the fault handler releases the VMA also where the fault has done so to be tried again', origin: 'mutation' },
  retryNoLookup: { does: 'a fault that is tried again goes on with the VMA that it had', origin: 'mutation' },
  upgradeNoFlush: { does: 'a fault that gives an entry more rights flushes nothing: CPUs find out when they fault', origin: 'x86, ptep_set_access_flags()' },
  spuriousNoFlush: { does: 'a fault that finds all rights there already does not flush the translation that lacked them', origin: 'mutation' },
  guardNoSecondLook: { does: 'MADV_GUARD_INSTALL takes entries that it has emptied for empty when it comes back to them', origin: 'mutation' },
  mremapNoRmapLocks: { does: 'mremap keeps rmap out in no case while it moves entries', origin: 'mutation' },
  guardFlushesPending: {
    does: 'MADV_GUARD_INSTALL flushes its range when an mmu_gather is at work on the mm, whose entries it may have found empty before their flush',
    origin: 'not in Linux (6.18)',
  },
  taskMmUnlocked: { does: "who takes another process's mm as one of its users does not keep that process from dropping it", origin: 'mutation' },
  tablesBeforeUnlink: { does: 'page tables are freed before the VMA that they served leaves rmap', origin: 'mutation' },
  lazyfreeCountLast: {
    does: 'reclaim of a lazily freed page looks whether it is dirty before it counts who has references',
    origin: 'mutation',
  },
  forkNoPinSeq: { does: 'fork does not tell get_user_pages_fast() that it is sharing pages', origin: 'before 5.11 (57efa1fe5957)' },
  forkSharesPinned: { does: 'fork shares pages that may be pinned', origin: 'before 5.9 (70e806e4e645)' },
  gupNoUnshare: { does: 'who pins a page for reading does not ask whether others share it', origin: 'before 5.19 (a7f226604170)' },
  gupUnshareUnasked: {
    does: 'who pins a page of a file for long, for reading, unshares it whether or not the mapping is private',
    origin: '6.9-rc (a12083d721d7: the VMA was not handed on), fixed by 01d89b93e176',
  },
  gupFastNoReload: { does: 'get_user_pages_fast() does not read the entry again once it has a reference to the page', origin: 'mutation' },
  gupFastRunOnce: {
    does: 'get_user_pages_fast() takes the pages of a run of entries by the first of them, which it reads once',
    origin: 'before 6.9 (gup_hugepte), without its check',
  },
  gupFastRunReload: { does: 'the same, and reads the first again once it has the references', origin: 'before 6.12 (gup_hugepte)' },
  gupAsksTail: { does: 'who pins a part of a page of hugetlb asks that part whether it is exclusive, and not the head', origin: 'mutation' },
  gupFastUncut: {
    does: 'get_user_pages_fast() does not ask again, once it has references for entries of a large folio, whether all of them are of that folio',
    origin: 'mutation',
  },
  gupFastNoTableReload: {
    does: 'get_user_pages_fast() does not read the entry of the page table again once it has a reference to the page',
    origin: 'before 6.1 (70cbc3cc78a9)',
  },
  gupFastNoSeq: { does: 'get_user_pages_fast() does not look whether fork was sharing pages meanwhile', origin: 'before 5.11 (57efa1fe5957)' },
  gupFastAnyFile: { does: 'get_user_pages_fast() pins pages of any file for long, for writing', origin: 'before 6.5 (a6e79df92e4a)' },
  gupFastMappingTwice: { does: "get_user_pages_fast() reads a page's mapping again after it has seen that there is one", origin: 'mutation' },
  ksmCountsFirst: { does: 'KSM looks who has references to a page, or has pinned it, before it empties its entry', origin: 'mutation' },
  gupFastLooksEarly: { does: 'get_user_pages_fast() looks whether a page is exclusive before it has pinned it', origin: 'mutation' },
  rcuIgnoresIrqsOff: {
    does: 'grace periods end while a CPU has interrupts off',
    origin: 'RCU before 4.20 (flavours apart): call_rcu() waited for rcu_read_lock() alone, call_rcu_sched() for interrupts off',
  },
  lazyfreeUncounted: { does: 'reclaim of a lazily freed page does not count who has references', origin: 'before 5.18 (6c8e2a256915)' },
  gatherIgnoresReferences: { does: 'what an mmu_gather has unmapped is freed as soon as nobody maps it, whoever else has a reference', origin: 'mutation' },
  wpExclusiveUnasked: {
    does: 'a write fault copies an anonymous page that others have references to, also where it is marked as exclusive',
    origin: 'before 5.19 (6c287605fd56)',
  },
  deviceDirtiesFirst: {
    does: 'who lets a device write to pages says that they are dirty before the device writes',
    origin: 'drivers before pin_user_pages() (Documentation/core-api/pin_user_pages.rst)',
  },
  kernelTableFreeNoFlush: {
    does: "a page table of the kernel's that a huge leaf replaces is freed without a flush",
    origin: 'x86 before 4.18 (5e0fb5df2ee8)',
  },
  cpaSplitNoRecheck: {
    does: 'who splits a leaf of the direct map does not look, under the lock, whether somebody else has done so since',
    origin: 'mutation',
  },
  cpaFillLate: { does: 'the table that a leaf of the direct map is split into is filled when it is in the tree already', origin: 'mutation' },
  cpaNoFlush: { does: 'attributes of the direct map change without a flush', origin: 'mutation' },
  vmapPurgeNoFlush: { does: 'areas of vmalloc space that were unmapped go back to the free ones before they are flushed', origin: 'mutation' },
  gupFastSecretEarly: {
    does: 'get_user_pages_fast() asks whether a page is secret memory before it has taken it',
    origin: 'mutation',
  },
  tableDtorEarly: {
    does: 'who takes a page table out of the tree ends it as a table at once, its lock included, and only its memory waits for a grace period',
    origin: 'proposed for powerpc in 2023 (pte_free_defer(), before its second version)',
  },
  ptlRemembered: {
    does: 'a write fault that has let the lock of an entry go takes the same lock again, and looks only then whether the table is still in the tree',
    origin: 'before 6.5 (0d940a9b270b)',
  },
  reclaimStaleUpper: { does: 'giving back an emptied page table goes by the upper entry as it was before the locks were taken', origin: 'mutation' },
  upperEntryTwice: { does: 'a walk that has seen that an upper entry leads to a table reads it again to follow it', origin: 'follow_pud_mask() before 6.10' },
  moveTableFlushLate: { does: 'mremap that moves a whole page table flushes the old place after it dropped the locks', origin: 'before 4.19 (eb66ae030829)' },
  moveTableNoRmapLocks: {
    does: 'mremap keeps rmap out while it moves entries, and does not while it moves a whole page table',
    origin: 'mutation; 97113eb39fa7 (mm/mremap: hold the rmap lock in write mode when moving page table entries)',
  },
  tableBatchFails: {
    does: 'there is no memory for a batch of page tables: each is freed after an interrupt to all CPUs, not after a grace period',
    origin: 'tlb_remove_table_one() without CONFIG_PT_RECLAIM, as before 6.14',
  },
  pteMapNothing: { does: 'who looks at page tables without locks keeps nobody from freeing them', origin: 'mutation' },
  gupFoldStack: {
    does: 'where a level is folded get_user_pages_fast() goes on with the address of its own copy of the entry',
    origin: 'before 5.9 (d3f7b1bb2040, of s390)',
  },
  contpteNoBreak: { does: 'entries become a contiguous run, or leave one, without having been emptied in between', origin: 'mutation' },
  hugePartsOneByOne: {
    does: 'who empties a huge page that several page tables map (8M of 8xx) lets go of the lock between one table and the next',
    origin: 'mutation',
  },
  fragQueuesEach: { does: 'each fragment of a page of page tables that is given back queues the callback of the page', origin: 'mutation' },
  fragReused: {
    does: 'a fragment of a page of page tables is handed out again as soon as it was given back',
    origin: 's390 before 6.6 (8211dad62798), where tables were given back under the mmap lock alone',
  },
  pmdPairNoRecheck: { does: 'a read of an upper entry of two words, without its lock, does not read the first word again', origin: 'mutation' },
  pmdPairNoSync: {
    does: 'who has emptied an upper entry of two words fills it again without waiting for those who read it with interrupts off',
    origin: 'before 6.5 (146b42e07494, pmdp_get_lockless_sync())',
  },
  pgdCtorUnlocked: { does: 'a new top table copies what the kernel maps before it takes the lock of the list of all top tables', origin: 'mutation' },
  thpSplitReadsEarly: {
    does: 'who splits a huge entry goes by the dirty and accessed bits that it had before it was made invalid',
    origin: 'before 4.16 (mm: do not lose dirty and accessed bits in pmdp_invalidate())',
  },
  thpSplitInstallsFirst: { does: 'who splits a huge entry puts the page table in before it has filled it', origin: 'mutation' },
  hugeZeroShrinkUnchecked: {
    does: 'the shrinker of the huge zero page looks whether anybody has it, and gives it back without looking again',
    origin: 'mutation',
  },
  hugeZeroPlainGet: { does: 'who takes the huge zero page adds to its users without looking whether there are any left', origin: 'mutation' },
  hugetlbNoFaultMutex: { does: 'two faults of hugetlb may be on the same page of a file at the same time', origin: 'before 2.6.17' },
  hugetlbCowStrict: {
    does: 'a write to a private huge page counts who has references, as one to a small page does',
    origin: 'proposed in April 2024, not in Linux',
  },
  hugetlbZapNoRestore: {
    does: 'a private huge page that is thrown away does not give its reservation back',
    origin: 'before 6.9 (mm/hugetlb: restore the reservation if needed)',
  },
  hugetlbPunchNoMutex: {
    does: 'pages leave a hugetlb file, with their reservations, without the mutex that keeps faults out',
    origin: 'before 4.3 (hugetlbfs: truncate_hugepages() takes a range of pages)',
  },
  hugetlbTruncateWaits: {
    does: 'after the size of a hugetlb file has changed, truncate waits until faults that may have seen the old one are over',
    origin: 'repair, not in Linux (docs/findings.md)',
  },
  hugetlbWpNoRecheck: {
    does: 'who took a huge page away from his children does not look whether he maps it still before he writes to it',
    origin: 'mutation',
  },
  hugetlbZapRestoresLast: {
    does: 'a private huge page that is thrown away gives its reservation back only when nobody maps it any longer',
    origin: 'repair, not in Linux (docs/findings.md)',
  },
  hugetlbSubpoolKeepsFailed: {
    does: 'pages that a mapping of hugetlb could not have reserved count against the limit of their file system for ever',
    origin: 'before 6.19 and 6.18.y (1d3f9bb4c8af: restore failed global reservations to subpool)',
  },
  hugetlbSubpoolUnused: {
    does: 'a page of hugetlb that a fault could not have does not count against the limit of its file system any longer',
    origin: 'repair, under discussion since 7.1',
  },
  hugetlbSurplusKept: {
    does: 'a surplus page of hugetlb that was freed stays as long as more pages are promised than would be free without it',
    origin: 'repair',
  },
  hugetlbWalkRcu: {
    does: 'who walks the tables of a hugetlb VMA is in an RCU read section instead of holding the lock of the VMA',
    origin: 'proposed in October 2022, not in Linux',
  },
  hugetlbFaultUnlocked: {
    does: 'a fault of hugetlb does not hold the lock of the VMA, beside which a table that is shared can be left and freed',
    origin: 'before 6.1, without what i_mmap_rwsem did there',
  },
  hugetlbShareCountedLate: {
    does: 'who finds a table of hugetlb to share lets i_mmap_rwsem go before he counts himself among those who use it',
    origin: 'mutation',
  },
  hugetlbUnshareFlushesPage: {
    does: 'who leaves a table that is shared flushes the page at which he met it, not all that the table mapped',
    origin: 'before 5.16 (hugetlbfs: flush TLBs correctly after huge_pmd_unshare)',
  },
  hugetlbUnshareNoSync: {
    does: 'who leaves a table that is shared does not wait for walks without locks that are in it',
    origin: 'before 6.16 (mm/hugetlb: fix huge_pmd_unshare() vs GUP-fast race)',
  },
  hugetlbMoveSplitsFirst: {
    does: 'mremap cuts a hugetlb VMA at the ends of what it moves before it copies it, so that what stays keeps its reservations',
    origin: 'repair, not in Linux (docs/findings.md)',
  },
  collapseNoSync: {
    does: 'who collapses a range keeps its page table for the huge page without waiting for those who walk through it with interrupts off',
    origin: 'before 6.1 (2ba99c5e0881, mm/khugepaged: fix GUP-fast interaction by sending IPI)',
  },
  collapseNoRevalidate: { does: 'who collapses a range does not look at its VMA again once he has the mmap lock for writing', origin: 'mutation' },
  collapseFileUncounted: { does: 'who makes a huge page of a file does not look whether a hole that he found was filled meanwhile', origin: 'mutation' },
  retractUnlocked: { does: 'who takes emptied page tables from those who map a new huge page of a file has let the lock of that page go', origin: 'mutation' },
  retractNoRecheck: {
    does: 'who takes emptied page tables from those who map a new huge page of a file does not look again, under the locks, whether there may be private copies',
    origin: 'proposed in May 2023 (mm/khugepaged: retract_page_tables() without mmap or vma lock), before its recheck',
  },
  retractWpOnce: {
    does: 'who takes emptied page tables from those who map a new huge page of a file does not look again, under the locks, whether a userfaultfd write-protects them',
    origin: 'proposed in May 2023 (mm/khugepaged: retract_page_tables() without mmap or vma lock), before its recheck',
  },
  retractMmapLock: {
    does: 'who takes emptied page tables from those who map a new huge page of a file leaves alone whoever has the mmap lock just then: khugepaged sees to him later',
    origin: 'before 6.6 (1043173eb5eb, mm/khugepaged: retract_page_tables() without mmap or vma lock)',
  },
  collapseFillsUnasked: {
    does: 'who makes a huge page of a file fills holes also of those whom a userfaultfd tells of faults in them',
    origin: 'before 6.4 (mm/khugepaged: skip shmem with userfaultfd)',
  },
  collapseUffdUnlocked: {
    does: 'who maps a huge page of a file in place of its small entries lets the lock of their table go before he takes it away, also where UFFDIO_COPY may fill it',
    origin: '6.6-rc1, before a98460494b16 (mm/khugepaged: fix collapse_pte_mapped_thp() versus uffd)',
  },
  collapseTrylock: {
    does: 'who maps a huge page of a file in place of its small entries takes the lock of their upper entry at the end, begins anew where he had to wait for it',
    origin: 'second version of a98460494b16, of August 2023, which was not taken',
  },
  collapseLocked: {
    does: 'who maps a huge page of a file in place of small entries of a private mapping holds the lock of their table from the first entry to its end, armed or not',
    origin: 'repair, not in Linux (docs/findings.md)',
  },
  collapseCountsTwice: { does: 'who begins anew then (collapseTrylock) counts once more the entries that he took away before', origin: 'mutation' },
  collapseUncounted: { does: 'who collapses a range does not look whether somebody else has references of its pages', origin: 'mutation' },
  collapseIgnoresExit: { does: 'who collapses a range does not ask whether its address space is ending', origin: 'mutation' },
  khugepagedExitNoWait: { does: 'an address space that ends does not wait for khugepaged, which is at it', origin: 'mutation' },
  collapseNoFlush: { does: 'who collapses a range into a huge page lets CPUs use its small pages while he copies them', origin: 'mutation' },
} as const satisfies Record<string, Switch>;

export type SwitchName = keyof typeof SWITCHES;

/** Number of each switch. */
export const SW = Object.fromEntries(Object.keys(SWITCHES).map((name, i) => [name, i])) as Record<SwitchName, number>;

/** Whether a switch is thrown. */
export const switched = (number: number): boolean => kernelState() !== 0 && isThrown(number);

// Apart, so that engines put the question itself where it is asked.
const isThrown = (number: number): boolean => ((heap[kernelState() + KernelState.switches + (number >> 5)] >>> (number & 31)) & 1) !== 0;

/** Throws switches in the mounted machine, which has CPUs (`makeCpus`). */
export function throwSwitches(names: readonly SwitchName[]): void {
  const kernel = kernelState();
  if (kernel === 0) throw new Error('switches are thrown in a machine with CPUs');
  if (Object.keys(SWITCHES).length > SWITCH_WORDS * 32) throw new Error('there are more switches than a machine keeps');
  for (const name of names) {
    const number = SW[name];
    const slot = kernel + KernelState.switches + (number >> 5);
    setSlot(slot, (heap[slot] | (1 << (number & 31))) >>> 0);
  }
}
