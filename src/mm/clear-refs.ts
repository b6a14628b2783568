/**
 * /proc/PID/clear_refs (fs/proc/task_mmu.c: clear_refs_write): what was accessed or written is forgotten, so that one sees what is from now on.
 *
 * Invariants: no translation is flushed for accessed bits, so a CPU that holds one may go on without setting the bit again; for soft-dirty bits all
 * are, since a write that is not noticed would be lost. Pages that may be pinned keep their write access: somebody else writes to them anyway.
 */
import { codec, entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { atomicAdd, clearFlags, entryGet, entrySet, flushTlbMm, get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PG_REFERENCED } from '../memory/page-flags.ts';
import { pagePincount } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_SOFT_DIRTY, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { isCowMapping } from './copy-page-range.ts';
import { EINVAL } from './errno.ts';
import { globals } from './globals.ts';
import { vmNormalPage } from './memory.ts';
import { resetHiwaterRss } from './mm-counters.ts';
import { MMF_HAS_PINNED } from './mm-flags.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { pteClear, pteLockptr, ptePresent, tablePage } from './pgtable.ts';
import { CLEAR_REFS_ALL, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED, CLEAR_REFS_MM_HIWATER_RSS, CLEAR_REFS_SOFT_DIRTY } from './task-mmu.ts';
import { Globals, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_PFNMAP, VM_SOFTDIRTY } from './vm-flags.ts';
import { firstVma } from './vma-tree.ts';

/** CONFIG_MEM_SOFT_DIRTY, in a mode that has the bit. */
const hasSoftDirty = (): boolean => get(globals, Globals.softDirty) !== 0 && (codec.supports & PTE_SOFT_DIRTY) !== 0;

/** A number (CLEAR_REFS_*) written to clear_refs of an address space: 0 or −EINVAL. */
export function* clearRefs(mm: MmRef, type: number): Op<number> {
  if (!(type >= CLEAR_REFS_ALL && type <= CLEAR_REFS_MM_HIWATER_RSS)) return -EINVAL;
  yield* mmapWriteLock(mm);
  if (type === CLEAR_REFS_SOFT_DIRTY) {
    if (hasSoftDirty()) yield* clearSoftDirty(mm);
  } else if (type === CLEAR_REFS_MM_HIWATER_RSS) resetHiwaterRss(mm);
  else {
    for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next))
      if (wanted(vma, type)) yield* clearTable(vma, CLEAR_REFS_ALL, get(mm, Mm.pgd), topLevel, get(vma, Vma.start), get(vma, Vma.end));
  }
  return yield* mmapWriteUnlock(mm);
}

/** clear_refs_test_walk. */
function wanted(vma: VmaRef, type: number): boolean {
  if ((get(vma, Vma.flags) & VM_PFNMAP) !== 0) return false;
  if (type === CLEAR_REFS_ANON) return get(vma, Vma.file) === 0;
  if (type === CLEAR_REFS_MAPPED) return get(vma, Vma.file) !== 0;
  return true;
}

/** CLEAR_REFS_SOFT_DIRTY: VMAs, then entries. Whoever changes entries meanwhile sees that a flush is to come. */
function* clearSoftDirty(mm: MmRef): Op<number> {
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) set(vma, Vma.flags, get(vma, Vma.flags) & ~VM_SOFTDIRTY);
  yield* atomicAdd(mm, Mm.tlbFlushPending, 1);
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next))
    if (wanted(vma, CLEAR_REFS_ALL)) yield* clearTable(vma, CLEAR_REFS_SOFT_DIRTY, get(mm, Mm.pgd), topLevel, get(vma, Vma.start), get(vma, Vma.end));
  yield* flushTlbMm(mm);
  return yield* atomicAdd(mm, Mm.tlbFlushPending, -1);
}

function* clearTable(vma: VmaRef, type: number, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* clearTable(vma, type, tablePage(entry), level - 1, vpn, next);
      else yield* clearPteRange(vma, type, tablePage(entry), vpn, next);
    }
    vpn = next;
  }
  return 0;
}

/** clear_refs_pte_range. */
function* clearPteRange(vma: VmaRef, type: number, table: Page, start: Vpn, end: Vpn): Op<number> {
  let ptep = entryAt(table, 0, start);
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    if (type === CLEAR_REFS_SOFT_DIRTY) {
      if (pte !== 0) yield* clearSoftDirtyPte(vma, ptep, pte);
    } else {
      const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
      if (page !== 0) {
        if ((pte & PTE_ACCESSED) !== 0) yield* entrySet(ptep, 0, pteClear(pte, PTE_ACCESSED));
        yield* clearFlags(page, PG_REFERENCED);
      }
    }
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}

/** clear_soft_dirty: the next write faults and sets the bit again. */
function* clearSoftDirtyPte(vma: VmaRef, ptep: number, pte: number): Op<number> {
  if (!ptePresent(pte)) return yield* entrySet(ptep, 0, pteClear(pte, PTE_SOFT_DIRTY));
  if (pteIsPinned(vma, pte)) return 0;
  return yield* entrySet(ptep, 0, pteClear(pte, PTE_WRITE | PTE_SOFT_DIRTY));
}

/** pte_is_pinned: writable, private, and maybe pinned. */
function pteIsPinned(vma: VmaRef, pte: number): boolean {
  if ((pte & PTE_WRITE) === 0 || !isCowMapping(get(vma, Vma.flags))) return false;
  if ((get(get(vma, Vma.mm), Mm.flags) & MMF_HAS_PINNED) === 0) return false;
  const page = vmNormalPage(pte);
  return page !== 0 && pagePincount[page] > 0;
}
