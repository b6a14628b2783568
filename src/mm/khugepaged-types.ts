/**
 * What khugepaged keeps (mm/khugepaged.c: struct khugepaged_scan, khugepaged_mm_slot, its settings and counters). One object of the
 * machine, where its mode has huge pages.
 *
 * Invariants: the list holds each address space that has MMF_VM_HUGEPAGE, once, with a reference of its struct (mmgrab); list, cursor and counters change under
 * `lock`. The slot under the cursor is taken out by khugepaged alone.
 */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type KhugepagedRef = Ref<'khugepaged'>;
export type MmSlotRef = Ref<'mmSlot'>;

/** How many places a slot remembers (MAX_PTE_MAPPED_THP). */
export const MAX_PTE_MAPPED_THP = 8;

export const MmSlot = defineStruct('mmSlot', {
  mm: 'ref:mm',
  next: 'ref:mmSlot',
  prev: 'ref:mmSlot',
  /** With the switch retractMmapLock: where small entries map a huge page of a file, because the address space was busy when it was made. */
  pteMapped: 'count',
  places: array(MAX_PTE_MAPPED_THP, 'vpn'),
});

export const Khugepaged = defineStruct('khugepaged', {
  /** khugepaged_mm_lock. */
  lock: 'lock',
  /** List of address spaces to go through. */
  first: 'ref:mmSlot',
  last: 'ref:mmSlot',
  /** Cursor: the address space that is being gone through (0: at the head of the list), and the page to go on from. */
  slot: 'ref:mmSlot',
  address: 'vpn',
  // Settings: pages a pass, what a range may have at most of each to become a huge page, milliseconds of sleep.
  pagesToScan: 'count',
  maxPtesNone: 'count',
  maxPtesSwap: 'count',
  maxPtesShared: 'count',
  /** 1: memory is reclaimed and compacted for a huge page. */
  defrag: 'number',
  scanSleepMillisecs: 'count',
  allocSleepMillisecs: 'count',
  pagesCollapsed: 'count',
  fullScans: 'count',
  /** SCAN_* of the last range that was looked at (trace event mm_khugepaged_scan_pmd). */
  lastResult: 'number',
  /** 1: there was no memory for the last huge page. */
  starved: 'number',
});
