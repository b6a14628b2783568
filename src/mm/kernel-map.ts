/**
 * Mappings in the kernel's own address space (mm/vmalloc.c: vmap_range, vunmap_range): runs of frames under one protection, with the largest leaves that fit.
 *
 * Invariants: nobody faults here, so who maps a range owns it; tables stay when what they mapped is gone, until a leaf takes their place (vmap_try_huge): then
 * nothing below is mapped any longer, CPUs may still walk through the table, and it is freed after a flush. Entries change under their table's lock;
 * no flush is made here but that one.
 */
import { codec, entryAt, entryEnd, entryStride, loadEntry, spanPages, tableLevel, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, entryGet, entrySet, flushTlbRange, get, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_GROUP, PTE_HUGE, PTE_PRESENT, PTE_READ, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { hugepdAlloc } from './huge-leaf.ts';
import { FOR_NOTHING, leafAllowed, sizeAllowed } from './kernel-layout.ts';
import { entryPointer, installTable, PTE_PAYLOAD, pteClear, pteFree, pteLockptr, ptePfn, pteSet, tablePage, upperLock } from './pgtable.ts';
import { Globals, Mm, type MmRef, type Page, type Vpn } from './types.ts';

const init = (): MmRef => get(globals, Globals.initMm);

/** PAGE_KERNEL, PAGE_KERNEL_RO, PAGE_KERNEL_EXEC, PAGE_KERNEL_ROX as far as the mode has bits for them. */
export const PAGE_KERNEL = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;
export const PAGE_KERNEL_RO = PTE_PRESENT | PTE_READ | PTE_ACCESSED;
export const PAGE_KERNEL_EXEC = PAGE_KERNEL | PTE_EXEC;
export const PAGE_KERNEL_ROX = PAGE_KERNEL_RO | PTE_EXEC;

/**
 * vmap_range_noflush: maps pages [start, end) to frames from `pfn` on. `use` (FOR_*) says which sizes of leaves the mode's kernel has for it, `maxPages` the largest
 * that is wanted. 0 or −ENOMEM, and then a part may be mapped.
 */
export function* vmapRange(start: Vpn, end: Vpn, pfn: number, prot: number, use: number, maxPages: number): Op<number> {
  return yield* vmapTable(get(init(), Mm.pgd), topLevel, start, end, pfn, prot, use, maxPages);
}

/** vmap_p4d_range, vmap_pud_range, vmap_pmd_range, vmap_pte_range, by level. */
function* vmapTable(table: Page, level: number, start: Vpn, end: Vpn, pfn: number, prot: number, use: number, maxPages: number): Op<number> {
  if (level === 0) return yield* vmapPteRange(table, start, end, pfn, prot, use, maxPages);
  let vpn = start;
  while (vpn < end) {
    let next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    const frame = pfn + (vpn - start);
    const run = runPages(level, vpn, end, frame, use, maxPages);
    let leaf = 0;
    const directory = directoryFor(level, vpn, end, frame, use, maxPages);
    if (directory !== 0) {
      const ptep = yield* hugepdAlloc(init(), vpn, directory);
      if (ptep === 0) return -ENOMEM;
      yield* setKernelLeaf(upperLock(init(), table, directory), ptep, directory, frame, prot);
      vpn += spanPages(directory);
      continue;
    }
    const filled = filledPages(level, vpn, end, frame, use, maxPages);
    if (filled !== 0) {
      const error = yield* vmapFilled(table, level, vpn, frame, prot, filled);
      if (error !== 0) return error;
      vpn += filled;
      continue;
    }
    if (run !== 0) leaf = yield* vmapTryRun(table, at, level, vpn, frame, prot, run);
    if (leaf !== 0) next = vpn + run;
    else if (wantsLeaf(level, vpn, next, frame, use, maxPages)) leaf = yield* vmapTryHuge(table, at, level, vpn, frame, prot);
    if (leaf === 0) {
      let entry = yield* entryGet(at, level);
      if ((entry & PTE_TABLE) === 0) entry = yield* installTable(init(), table, at, level);
      if (entry === 0) return -ENOMEM;
      const error = yield* vmapTable(tablePage(entry), level - 1, vpn, next, frame, prot, use, maxPages);
      if (error !== 0) return error;
    }
    vpn = next;
  }
  return 0;
}

function* vmapPteRange(table: Page, start: Vpn, end: Vpn, pfn: number, prot: number, use: number, maxPages: number): Op<number> {
  let ptep = entryAt(table, 0, start);
  const ptl = pteLockptr(ptep);
  let runEnd = start;
  let bits = 0;
  yield* spinLock(ptl);
  for (let vpn = start; vpn < end; vpn++) {
    if (vpn >= runEnd) {
      const run = runPages(0, vpn, end, pfn + (vpn - start), use, maxPages);
      bits = run === 0 ? 0 : runBits(0, run);
      runEnd = vpn + Math.max(1, run);
    }
    yield* entrySet(ptep, 0, (pfn + (vpn - start)) * PTE_PAYLOAD + (prot | bits));
    ptep += entryStride(0);
  }
  return yield* spinUnlock(ptl);
}

/**
 * arch_vmap_pte_range_map_size, and the like where the kernel maps runs of larger leaves: pages of the largest group of a level's entries that begins at `vpn` and
 * serves [vpn, end); 0 for none.
 */
function runPages(level: number, vpn: Vpn, end: Vpn, pfn: number, use: number, maxPages: number): number {
  let largest = 0;
  for (const group of codec.levels[level].groups) {
    const pages = group.entries * spanPages(level);
    if (pages <= maxPages && pages <= end - vpn && vpn % pages === 0 && pfn % pages === 0 && sizeAllowed(group.shift, use)) largest = pages;
  }
  return largest;
}

/** The same for pages that stand in huge page directories (8xx's 8M until Linux 6.10, map_kernel_page of hugepd_populate_kernel): level of the directory's entries. */
function directoryFor(level: number, vpn: Vpn, end: Vpn, pfn: number, use: number, maxPages: number): number {
  for (const { shift, level: own, slotLevel } of codec.directories) {
    const pages = spanPages(own);
    if (slotLevel === level && pages <= maxPages && pages <= end - vpn && vpn % pages === 0 && pfn % pages === 0 && sizeAllowed(shift, use)) return own;
  }
  return 0;
}

/** The same for pages that are mapped by all of the tables below several entries of a level (8M on 8xx). */
function filledPages(level: number, vpn: Vpn, end: Vpn, pfn: number, use: number, maxPages: number): number {
  for (const { shift, level: upper, entries } of codec.filled) {
    const pages = entries * spanPages(upper);
    if (upper === level && pages <= maxPages && pages <= end - vpn && vpn % pages === 0 && pfn % pages === 0 && sizeAllowed(shift, use)) return pages;
  }
  return 0;
}

/** What tells the entries of such a table. */
const filledBits = (): number => codec.filled[0].bits;

/** Maps one such page (__early_map_kernel_hugepage): its tables are filled, then the entries that lead to them tell the size. 0 or −ENOMEM. */
function* vmapFilled(table: Page, level: number, vpn: Vpn, pfn: number, prot: number, pages: number): Op<number> {
  const span = spanPages(level);
  for (let done = 0; done < pages; done += span) {
    const at = entryAt(table, level, vpn + done);
    let entry = yield* entryGet(at, level);
    if (entry === 0) entry = yield* installTable(init(), table, at, level);
    if (entry === 0) return -ENOMEM;
    yield* vmapPteRange(tablePage(entry), vpn + done, vpn + done + span, pfn + done, prot | filledBits(), FOR_NOTHING, 1);
    const lock = upperLock(init(), table, level);
    yield* spinLock(lock);
    yield* entrySet(at, level, pteSet(entry, PTE_HUGE));
    yield* spinUnlock(lock);
  }
  return 0;
}

/** What tells entries of a group of so many pages. */
function runBits(level: number, pages: number): number {
  for (const group of codec.levels[level].groups) if (group.entries * spanPages(level) === pages) return group.bits;
  return 0;
}

/** A run of leaves above the lowest level: 1 when they were put there. A table of the lowest level does not give way to one of a run. */
function* vmapTryRun(table: Page, at: number, level: number, vpn: Vpn, pfn: number, prot: number, pages: number): Op<number> {
  const span = spanPages(level);
  for (let i = 0; i * span < pages; i++) if ((yield* entryGet(at + i * entryStride(level), level)) !== 0) return 0;
  for (let i = 0; i * span < pages; i++)
    yield* vmapTryHuge(table, at + i * entryStride(level), level, vpn + i * span, pfn + i * span, prot | runBits(level, pages));
  return 1;
}

/** Whether one leaf of a level serves all of [vpn, next). */
function wantsLeaf(level: number, vpn: Vpn, next: Vpn, pfn: number, use: number, maxPages: number): boolean {
  const span = spanPages(level);
  return span <= maxPages && next - vpn === span && vpn % span === 0 && pfn % span === 0 && leafAllowed(level, use);
}

/** vmap_try_huge_pmd, vmap_try_huge_pud: 1 when the leaf was put there. Above a table of the lowest level it takes the table's place. */
function* vmapTryHuge(table: Page, at: number, level: number, vpn: Vpn, pfn: number, prot: number): Op<number> {
  const old = yield* entryGet(at, level);
  if ((old & PTE_TABLE) !== 0) {
    if (level > 1) return 0;
    yield* pmdFreePtePage(table, at, tablePage(old), vpn);
  }
  yield* setKernelLeaf(upperLock(init(), table, level), at, level, pfn, prot);
  return 1;
}

/** The bits of a leaf: those of the mode's own words for writable data (`CodecLevel.kernelLeaves`), where it has such. */
function leafBits(level: number, prot: number): number {
  if (pteClear(prot, PTE_GROUP) === PAGE_KERNEL)
    for (const { bits } of codec.tables[level].kernelLeaves) if ((bits & PTE_GROUP) === (prot & PTE_GROUP)) return bits;
  return prot | PTE_HUGE;
}

function* setKernelLeaf(lock: number, at: number, level: number, pfn: number, prot: number): Op<number> {
  yield* spinLock(lock);
  yield* entrySet(at, level, pfn * PTE_PAYLOAD + leafBits(level, prot));
  return yield* spinUnlock(lock);
}

/** pmd_free_pte_page: a table that maps nothing any longer goes. CPUs may have remembered it on their way to what it mapped, also to nothing. */
function* pmdFreePtePage(upper: Page, pmdp: number, table: Page, vpn: Vpn): Op<number> {
  const lock = upperLock(init(), upper, 1);
  yield* spinLock(lock);
  yield* entrySet(pmdp, 1, 0);
  yield* spinUnlock(lock);
  if (!switched(SW.kernelTableFreeNoFlush)) yield* flushTlbRange(init(), vpn, vpn + 1);
  add(init(), Mm.pgtablesBytes, -codec.levels[0].tableBytes);
  return yield* pteFree(table);
}

/** vunmap_range_noflush: nothing of [start, end) is mapped any longer. Leaves lie inside as a whole. */
export function* vunmapRangeNoflush(start: Vpn, end: Vpn): Op<number> {
  return yield* vunmapTable(get(init(), Mm.pgd), topLevel, start, end);
}

function* vunmapTable(table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  const lock = upperLock(init(), table, level);
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    if ((entry & PTE_TABLE) !== 0) yield* vunmapTable(tablePage(entry), tableLevel(entry, level), vpn, next);
    else if (entry !== 0) {
      yield* spinLock(lock);
      yield* entrySet(at, level, 0);
      yield* spinUnlock(lock);
    }
    vpn = next;
  }
  return 0;
}

/** lookup_address: level of the entry that maps a page of the kernel's; −1 where a table is missing or the entry is empty. */
export function* kernelLeafLevel(vpn: Vpn): Op<number> {
  for (let level = topLevel; level >= 0; level--) {
    const at = yield* entryPointer(init(), vpn, level);
    if (at === 0) return -1;
    const entry = yield* entryGet(at, level);
    if ((entry & PTE_PRESENT) !== 0) return level;
    if (entry === 0) return -1;
  }
  return -1;
}

/** vmalloc_to_pfn, slow_virt_to_phys: the frame of a page of the kernel's, −1 where nothing is mapped. Without locks: each entry is read once. */
export function* kernelPfn(vpn: Vpn): Op<number> {
  let table = get(init(), Mm.pgd);
  let level = topLevel;
  for (;;) {
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_PRESENT) !== 0) return ptePfn(entry) + (vpn % spanPages(level));
    if ((entry & PTE_TABLE) === 0) return -1;
    table = tablePage(entry);
    level = tableLevel(entry, level);
  }
}

/** The entry that maps a page of an address space, read at once; 0 for none. For who asks when nobody is inside the kernel. */
export function loadedEntry(mm: MmRef, vpn: Vpn): number {
  let table = get(mm, Mm.pgd);
  let level = topLevel;
  for (;;) {
    const entry = loadEntry(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) === 0) return entry;
    table = tablePage(entry);
    level = tableLevel(entry, level);
  }
}

/** The same of the kernel's own. */
export const loadedKernelEntry = (vpn: Vpn): number => loadedEntry(init(), vpn);

/** kernelPfn(), read at once. */
export function loadedKernelPfn(vpn: Vpn): number {
  let table = get(init(), Mm.pgd);
  let level = topLevel;
  for (;;) {
    const entry = loadEntry(entryAt(table, level, vpn), level);
    if ((entry & PTE_PRESENT) !== 0) return ptePfn(entry) + (vpn % spanPages(level));
    if ((entry & PTE_TABLE) === 0) return -1;
    table = tablePage(entry);
    level = tableLevel(entry, level);
  }
}
