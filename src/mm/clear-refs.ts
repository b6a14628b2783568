/**
 * /proc/PID/clear_refs (fs/proc/task_mmu.c: clear_refs_write): what was accessed or written is forgotten, so that one sees what is from now on.
 *
 * Invariants: no translation is flushed for accessed bits, so a CPU that holds one may go on without setting the bit again; for soft-dirty bits all
 * are, since a write that is not noticed would be lost. Pages that may be pinned keep their write access: somebody else writes to them anyway.
 */
import { codec, entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { atomicAdd, clearFlags, entryClearBits, entryGet, entrySet, flushTlbMm, get, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageFolio } from '../memory/folio.ts';
import { PG_REFERENCED } from '../memory/page-flags.ts';
import { pagePincount } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_SOFT_DIRTY, PTE_WRITE } from '../pagetable/canonical.ts';
import { ptepGetAndClear, setPteAt } from './contpte.ts';
import { isCowMapping } from './copy-page-range.ts';
import { EINVAL } from './errno.ts';
import { globals } from './globals.ts';
import { hugePmdPage } from './huge-memory.ts';
import { vmNormalPage } from './memory.ts';
import { resetHiwaterRss } from './mm-counters.ts';
import { MMF_HAS_PINNED } from './mm-flags.ts';
import { MmWalk, type MmWalkRef, WALK_CLEAR_REFS } from './mm-walk.ts';
import { mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { walkPageRange } from './pagewalk.ts';
import { pteClear, ptePresent } from './pgtable.ts';
import { CLEAR_REFS_ALL, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED, CLEAR_REFS_MM_HIWATER_RSS, CLEAR_REFS_SOFT_DIRTY } from './task-mmu.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_PFNMAP, VM_SOFTDIRTY } from './vm-flags.ts';
import { firstVma } from './vma-tree.ts';

/** CONFIG_MEM_SOFT_DIRTY, in a mode that has the bit. */
const hasSoftDirty = (): boolean => get(globals, Globals.softDirty) !== 0 && (codec.supports & PTE_SOFT_DIRTY) !== 0;

/** A number (CLEAR_REFS_*) written to clear_refs of an address space: 0 or −EINVAL. */
export function* clearRefs(mm: MmRef, type: number): Op<number> {
  if (!(type >= CLEAR_REFS_ALL && type <= CLEAR_REFS_MM_HIWATER_RSS)) return -EINVAL;
  yield* mmapWriteLock(mm);
  if (type === CLEAR_REFS_MM_HIWATER_RSS) resetHiwaterRss(mm);
  else if (type !== CLEAR_REFS_SOFT_DIRTY) yield* walkPageRange(mm, 0, Infinity, WALK_CLEAR_REFS, type);
  else if (hasSoftDirty()) yield* clearSoftDirty(mm);
  yield* mmapWriteUnlock(mm);
  return switched(SW.clearRefsFlushLate) ? yield* flushTlbMm(mm) : 0;
}

/** CLEAR_REFS_SOFT_DIRTY: VMAs, then entries. Whoever changes entries meanwhile sees that a flush is to come. */
function* clearSoftDirty(mm: MmRef): Op<number> {
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
    if ((get(vma, Vma.flags) & VM_SOFTDIRTY) === 0) continue;
    yield* vmaStartWrite(vma);
    set(vma, Vma.flags, get(vma, Vma.flags) & ~VM_SOFTDIRTY);
  }
  yield* atomicAdd(mm, Mm.tlbFlushPending, 1);
  yield* walkPageRange(mm, 0, Infinity, WALK_CLEAR_REFS, CLEAR_REFS_SOFT_DIRTY);
  if (!switched(SW.clearRefsNoFlush) && !switched(SW.clearRefsFlushLate)) yield* flushTlbMm(mm);
  return yield* atomicAdd(mm, Mm.tlbFlushPending, -1);
}

/** clear_refs_test_walk. */
export function clearRefsTestWalk(walk: MmWalkRef): number {
  const vma = get(walk, MmWalk.vma);
  const type = get(walk, MmWalk.arg);
  if ((get(vma, Vma.flags) & VM_PFNMAP) !== 0) return 1;
  if (type === CLEAR_REFS_ANON) return get(vma, Vma.file) === 0 ? 0 : 1;
  if (type === CLEAR_REFS_MAPPED) return get(vma, Vma.file) !== 0 ? 0 : 1;
  return 0;
}

/** clear_refs_pte_range, of a leaf: each of its entries. */
export function* clearRefsLeaf(walk: MmWalkRef, first: number, entry: number, level: number, start: Vpn, end: Vpn): Op<number> {
  const vma = get(walk, MmWalk.vma);
  const soft = get(walk, MmWalk.arg) === CLEAR_REFS_SOFT_DIRTY;
  let at = first;
  let pte = entry;
  for (let vpn = start; vpn < end; vpn = entryEnd(vpn, end, level)) {
    if (vpn !== start) pte = yield* entryGet(at, level);
    if (soft && level === 0) {
      if (pte !== 0) yield* clearSoftDirtyPte(vma, vpn, at, pte);
    } else if (soft) {
      if (ptePresent(pte)) yield* entryClearBits(at, level, PTE_WRITE | PTE_SOFT_DIRTY);
    } else if (ptePresent(pte)) {
      const page = level === 0 ? vmNormalPage(pte) : hugePmdPage(pte);
      if ((pte & PTE_ACCESSED) !== 0 && (page !== 0 || level > 0)) yield* entryClearBits(at, level, PTE_ACCESSED);
      if (page !== 0) yield* clearFlags(pageFolio(page), PG_REFERENCED);
    }
    at += entryStride(level);
  }
  return 0;
}

/** clear_soft_dirty: the next write faults and sets the bit again. */
function* clearSoftDirtyPte(vma: VmaRef, vpn: Vpn, ptep: number, pte: number): Op<number> {
  if (!ptePresent(pte)) return yield* entrySet(ptep, 0, pteClear(pte, PTE_SOFT_DIRTY));
  if (pteIsPinned(vma, pte)) return 0;
  // Emptied in one step: hardware may set the dirty bit until then.
  const old = yield* ptepGetAndClear(get(vma, Vma.mm), vpn, ptep, pte);
  return yield* setPteAt(get(vma, Vma.mm), vpn, ptep, pteClear(old, PTE_WRITE | PTE_SOFT_DIRTY));
}

/** pte_is_pinned: writable, private, and maybe pinned. */
function pteIsPinned(vma: VmaRef, pte: number): boolean {
  if ((pte & PTE_WRITE) === 0 || !isCowMapping(get(vma, Vma.flags))) return false;
  if ((get(get(vma, Vma.mm), Mm.flags) & MMF_HAS_PINNED) === 0) return false;
  const page = vmNormalPage(pte);
  return page !== 0 && pagePincount[page] > 0;
}
