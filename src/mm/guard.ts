/**
 * Guard regions (mm/madvise.c: madvise_guard_install, madvise_guard_remove): markers in page tables whose access raises SIGSEGV.
 *
 * Invariants: a marker stands only where nothing is mapped; it survives MADV_DONTNEED, is inherited by fork, moves with mremap, and goes with the
 * mapping. A VMA that may hold markers has VM_MAYBE_GUARD.
 */
import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entrySet, get, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { EINVAL, ENOMEM } from './errno.ts';
import { isGuardPte, mkPteMarker, PTE_MARKER_GUARD, pteAlloc, pteLockptr, tablePage } from './pgtable.ts';
import { Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_LOCKED, VM_MAYBE_GUARD, VM_SPECIAL } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';
import { zapPageRangeSingle } from './zap.ts';

/** is_valid_guard_vma. */
const validGuardVma = (vma: VmaRef, allowLocked: boolean): boolean => (get(vma, Vma.flags) & (VM_SPECIAL | VM_HUGETLB | (allowLocked ? 0 : VM_LOCKED))) === 0;

/** madvise_guard_install: markers in all of [start, end); what is mapped there goes. 0 or −errno. */
export function* madviseGuardInstall(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!validGuardVma(vma, false)) return -EINVAL;
  // The flag is set atomically under the read lock: fork must see it before it could miss a marker.
  set(vma, Vma.flags, get(vma, Vma.flags) | VM_MAYBE_GUARD);
  // Anonymous memory with page tables has an anon_vma.
  if (vmaIsAnonymous(vma)) {
    const error = yield* anonVmaPrepare(vma);
    if (error !== 0) return error;
  }
  for (;;) {
    const result = yield* installMarkers(vma, start, end);
    if (result <= 0) return result;
    // Something is mapped: it goes, markers that are there stay, and again from the start.
    yield* zapPageRangeSingle(vma, start, end, 0);
  }
}

/** 0 when all entries are markers, 1 at the first that maps something, −ENOMEM. */
function* installMarkers(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    let ptep = yield* pteAlloc(get(vma, Vma.mm), vpn);
    if (ptep === 0) return -ENOMEM;
    const next = entryEnd(vpn, end, 1);
    const lock = pteLockptr(ptep);
    yield* spinLock(lock);
    for (; vpn < next; vpn++) {
      const pte = yield* entryGet(ptep, 0);
      if (pte === 0) yield* entrySet(ptep, 0, mkPteMarker(PTE_MARKER_GUARD));
      else if (!isGuardPte(pte)) {
        yield* spinUnlock(lock);
        return 1;
      }
      ptep += entryStride(0);
    }
    yield* spinUnlock(lock);
  }
  return 0;
}

/** madvise_guard_remove: the markers of [start, end) go; anything else stays. */
export function* madviseGuardRemove(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!validGuardVma(vma, true)) return -EINVAL;
  return yield* removeFromTable(get(get(vma, Vma.mm), Mm.pgd), topLevel, start, end);
}

function* removeFromTable(table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* removeFromTable(tablePage(entry), level - 1, vpn, next);
      else yield* removeMarkers(tablePage(entry), vpn, next);
    }
    vpn = next;
  }
  return 0;
}

function* removeMarkers(table: Page, start: Vpn, end: Vpn): Op<number> {
  let ptep = entryAt(table, 0, start);
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  for (let vpn = start; vpn < end; vpn++) {
    if (isGuardPte(yield* entryGet(ptep, 0))) yield* entrySet(ptep, 0, 0);
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}
