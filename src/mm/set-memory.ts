/**
 * Attributes of the direct map (arch/x86/mm/pat/set_memory.c, arch/s390/mm/pageattr.c, arch/riscv/mm/pageattr.c, arch/arm64/mm/pageattr.c).
 *
 * Invariants
 * - A leaf that is larger than what changes is split first: a table that maps the same frames with the same rights takes its place. Who splits looks again under
 *   cpa_lock and pgd_lock whether the leaf is still the one that he has read, since others may have split it.
 * - A walker that comes meanwhile sees the leaf or the whole table: the table is filled before it is put in.
 * - When set_memory_*() returns, no CPU uses the old attributes; set_direct_map_*_noflush() leave the flush to the caller.
 * - A page that is not to be mapped has an empty entry (Linux keeps its frame there), so that its place in the direct map tells which frame it was.
 */
import { codec, entryStride, fillTable, pageOfEntry, spanPages, tableOrder } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, entryGet, entrySet, flushTlbRange, get, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PTE_DIRTY, PTE_EXEC, PTE_GROUP, PTE_HUGE, PTE_TABLE, PTE_USER, PTE_WRITE } from '../pagetable/canonical.ts';
import { canSetDirectMap } from './direct-map.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { directMapStart, directMapVpn, hasKernelLayout, vmallocEnd, vmallocStart } from './kernel-layout.ts';
import { kernelLeafLevel, PAGE_KERNEL } from './kernel-map.ts';
import { leafPages } from './leaf.ts';
import { accounted, entryPointer, mkPte, PTE_PAYLOAD, pteClear, ptePfn, pteSet, tableAlloc, upperLock } from './pgtable.ts';
import { pagetableFree } from './table-page.ts';
import { Globals, Mm, type MmRef, type Page, type Vpn } from './types.ts';

const init = (): MmRef => get(globals, Globals.initMm);

/** What set_memory_*() may change. */
export const CPA_RO = 1;
export const CPA_RW = 2;
export const CPA_NX = 3;
export const CPA_X = 4;
/** Not to be mapped at all, and as it was (set_memory_np, set_memory_p; set_direct_map_invalid, _default). */
export const CPA_NP = 5;
export const CPA_P = 6;

/** The entry with another attribute; frame and level are the entry's own, `pfn` is what a page that is not mapped had. */
function changed(entry: number, change: number, pfn: number, level: number): number {
  const old = pteClear(entry, PTE_USER);
  switch (change) {
    case CPA_RO:
      return pteClear(old, PTE_WRITE | PTE_DIRTY);
    case CPA_RW:
      return pteSet(old, PTE_WRITE | PTE_DIRTY);
    case CPA_NX:
      return pteClear(old, PTE_EXEC);
    case CPA_X:
      return pteSet(old, PTE_EXEC);
    case CPA_NP:
      return 0;
    default:
      return pfn * PTE_PAYLOAD + (PAGE_KERNEL | (level > 0 ? PTE_HUGE : 0));
  }
}

/**
 * change_page_attr_set_clr: pages [start, end) of the kernel's, where `pfn` is the frame of `start`. 0, −ENOMEM, or −EINVAL where nothing is mapped. What was changed
 * before an error stays. No flush.
 */
export function* changePageAttr(start: Vpn, end: Vpn, pfn: number, change: number): Op<number> {
  let vpn = start;
  while (vpn < end) {
    yield* spinLock(globals + Globals.cpaLock);
    const done = yield* cpaOne(vpn, end, pfn + (vpn - start), change);
    yield* spinUnlock(globals + Globals.cpaLock);
    if (done > 0) vpn += done;
    else if (done === 0) {
      // Memory for a table is asked for without locks.
      const error = yield* splitLargePage(vpn);
      if (error !== 0) return error;
    } else return done;
  }
  return 0;
}

/** __change_page_attr: pages that it has changed; 0 when the leaf must be split first; −EINVAL. */
function* cpaOne(vpn: Vpn, end: Vpn, pfn: number, change: number): Op<number> {
  let level = yield* kernelLeafLevel(vpn);
  if (level < 0) {
    if (change !== CPA_P && change !== CPA_NP) return -EINVAL;
    level = yield* emptyLevel(vpn);
  }
  const span = spanPages(level);
  const at = yield* entryPointer(init(), vpn, level);
  let entry = yield* entryGet(at, level);
  if ((entry & PTE_GROUP) !== 0) {
    yield* ungroup(at, level, vpn, leafPages(entry, level) / span);
    entry = pteClear(entry, PTE_GROUP);
  }
  if (level > 0 && (vpn % span !== 0 || end - vpn < span)) return 0;
  if (entry === 0 && level > 0 && change === CPA_P && pfn % span !== 0) return 0;
  const lock = upperLock(init(), pageOfEntry(at, level), level);
  yield* spinLock(lock);
  yield* entrySet(at, level, changed(entry, change, pfn, level));
  yield* spinUnlock(lock);
  return span;
}

/** split_contpte, split_contpmd: the entries of a run map each for itself, so that one can be changed. */
function* ungroup(at: number, level: number, vpn: Vpn, entries: number): Op<number> {
  const first = at - (Math.floor(vpn / spanPages(level)) % entries) * entryStride(level);
  const lock = upperLock(init(), pageOfEntry(at, level), level);
  yield* spinLock(lock);
  for (let i = 0; i < entries; i++) {
    const entry = yield* entryGet(first + i * entryStride(level), level);
    yield* entrySet(first + i * entryStride(level), level, pteClear(entry, PTE_GROUP));
  }
  return yield* spinUnlock(lock);
}

/** The level at which nothing is mapped. */
function* emptyLevel(vpn: Vpn): Op<number> {
  for (let level = codec.levels.length - 1; level > 0; level--) {
    const at = yield* entryPointer(init(), vpn, level);
    if (((yield* entryGet(at, level)) & PTE_TABLE) === 0) return level;
  }
  return 0;
}

/** split_large_page: the leaf that maps a page becomes a table of the level below. 0 (somebody else's split will do), −ENOMEM, or −EINVAL. */
export function* splitLargePage(vpn: Vpn): Op<number> {
  const level = yield* kernelLeafLevel(vpn);
  if (level <= 0) return level === 0 ? 0 : -EINVAL;
  const at = yield* entryPointer(init(), vpn, level);
  const leaf = yield* entryGet(at, level);
  // Somebody has split it since.
  if ((leaf & PTE_TABLE) !== 0) return 0;
  const table = yield* tableAlloc(level - 1);
  if (table === 0) return -ENOMEM;
  yield* spinLock(globals + Globals.cpaLock);
  yield* spinLock(globals + Globals.pgdLock);
  const now = yield* entryGet(at, level);
  // Somebody was faster: his table has the attributes that he has changed since.
  if (now !== leaf && !switched(SW.cpaSplitNoRecheck)) {
    yield* spinUnlock(globals + Globals.pgdLock);
    yield* spinUnlock(globals + Globals.cpaLock);
    yield* pagetableFree(table, tableOrder(level - 1));
    return 0;
  }
  if (!switched(SW.cpaFillLate)) fillSplit(table, level - 1, leaf);
  yield* entrySet(at, level, mkPte(table, PTE_TABLE));
  add(init(), Mm.pgtablesBytes, accounted(level - 1));
  if (switched(SW.cpaFillLate)) {
    yield* spinLock(upperLock(init(), table, level - 1));
    fillSplit(table, level - 1, leaf);
    yield* spinUnlock(upperLock(init(), table, level - 1));
  }
  // CPUs must not have the large and the small translation at the same time (x86: erratum AAJ1; arm64: BBM).
  yield* flushTlbRange(init(), vpn - (vpn % spanPages(level)), vpn - (vpn % spanPages(level)) + spanPages(level));
  yield* spinUnlock(globals + Globals.pgdLock);
  return yield* spinUnlock(globals + Globals.cpaLock);
}

/** The leaf's frames with its rights, a leaf of the level below each. Nobody sees the table yet. */
function fillSplit(table: Page, level: number, leaf: number): void {
  const bits = (leaf & 0xfffff & ~(PTE_HUGE | PTE_GROUP | PTE_USER)) | (level > 0 ? PTE_HUGE : 0);
  fillTable(table, level, ptePfn(leaf) * PTE_PAYLOAD + bits, spanPages(level) * PTE_PAYLOAD);
}

/** flush_tlb_kernel_range. */
export function* flushTlbKernelRange(start: Vpn, end: Vpn): Op<number> {
  return yield* flushTlbRange(init(), start, end);
}

/** Whether set_memory_*() may be asked to change pages: arm64 does so in vmalloc space, and in the direct map where its leaves can be split. */
function mayChange(start: Vpn, end: Vpn): boolean {
  if (!hasKernelLayout() || init() === 0) return false;
  if (start >= vmallocStart() && end <= vmallocEnd()) return true;
  return canSetDirectMap();
}

/** No CONFIG_ARCH_HAS_SET_MEMORY, of those whose layout is known: include/linux/set_memory.h has functions that do nothing. */
const lacksSetMemory = (): boolean => codec.mode.family === 'sparc64';

/** The frame of a page of the direct map, or 0 in vmalloc space, whose empty pages have none. */
const frameOf = (vpn: Vpn): number => (vpn >= vmallocStart() && vpn < vmallocEnd() ? 0 : vpn - directMapStart());

/**
 * set_memory_ro, set_memory_rw, set_memory_nx, set_memory_x, set_memory_np, set_memory_p: pages [start, start + count) of the kernel's get another attribute (CPA_*).
 * 0 (of sparc64 always), −EINVAL where nothing is mapped or the mode's kernel cannot change it, −ENOMEM for a table.
 */
export function* setMemory(start: Vpn, count: number, change: number): Op<number> {
  if (lacksSetMemory()) return 0;
  if (!mayChange(start, start + count)) return -EINVAL;
  const error = yield* changePageAttr(start, start + count, frameOf(start), change);
  // What was changed before an error is flushed too.
  if (!switched(SW.cpaNoFlush)) yield* flushTlbKernelRange(start, start + count);
  return error;
}

/** set_direct_map_invalid_noflush, set_direct_map_default_noflush: a frame leaves the direct map, or comes back. 0 (also where that cannot be done), −errno. */
export function* setDirectMapInvalidNoflush(pfn: number): Op<number> {
  return canSetDirectMap() ? yield* changePageAttr(directMapVpn(pfn), directMapVpn(pfn) + 1, pfn, CPA_NP) : 0;
}

export function* setDirectMapDefaultNoflush(pfn: number): Op<number> {
  return canSetDirectMap() ? yield* changePageAttr(directMapVpn(pfn), directMapVpn(pfn) + 1, pfn, CPA_P) : 0;
}
