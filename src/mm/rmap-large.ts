/**
 * What mm/rmap.c does of a large folio at one VMA: page_vma_mapped_walk over all that the VMA maps of it, by one entry or by many (folio_referenced_one; the part of
 * try_to_unmap_one about anonymous memory that nobody needs). Large folios of files are unmapped in split-file-folio.ts.
 *
 * Invariants: the folio is locked, and its tree of VMAs, too; entries are looked at and taken away under the lock of their table. Content is thrown away only when
 * the folio, with the entries gone, has no references but those of mappings and of who isolated it, and nobody has written to it: both are seen in this order.
 */
import { entryEnd, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryClearBits, entryGet, flushTlbRange, get, refAdd, set, setFlags, spinUnlock } from '../kernel/ops.ts';
import { compoundPages, folioMapcount, folioMaybeMappedShared } from '../memory/folio.ts';
import { PG_DIRTY, PG_SWAPBACKED } from '../memory/page-flags.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../pagetable/canonical.ts';
import { contPtes, getAndClearRun, isWholeRun, ptepGetAndClear, setPtes } from './contpte.ts';
import { pmdTransHuge, pmdTransHugeLock, splitHugePmd } from './huge-memory.ts';
import { addMmCounter, updateHiwaterRss } from './mm-counters.ts';
import { mapsPartOf, partEnd, partStart } from './page-vma-mapped.ts';
import { entryPointer, pteLockptr, ptePage, pteSet, pteWrite, pteYoung } from './pgtable.ts';
import { pteOffsetMapLock } from './pgtable-generic.ts';
import { Pra, type PraRef } from './pra.ts';
import { folioPteBatch } from './pte-batch.ts';
import { folioRemoveRmapPtes } from './rmap.ts';
import { folioMarkDirty, folioPutRefs, folioTestAnon, folioTestSwapbacked, mlockVmaFolio } from './swap.ts';
import { MM_ANONPAGES, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_DROPPABLE, VM_LOCKED } from './vm-flags.ts';

/** The lock of a huge entry; 0, and no lock, where a table may be. */
function* lockIfHuge(mm: MmRef, pmdp: number): Op<number> {
  return pmdTransHuge(yield* entryGet(pmdp, 1)) ? yield* pmdTransHugeLock(mm, pmdp) : 0;
}

// --- references -------------------------------------------------------------------------------------------------------------

/** folio_referenced_one of a large folio: one use for the whole VMA, however many entries say so; 0 when the walk is over. */
export function* referencedLargeOne(folio: Page, vma: VmaRef, pra: PraRef): Op<number> {
  const mm = get(vma, Vma.mm);
  const locked = (get(vma, Vma.flags) & VM_LOCKED) !== 0;
  if (!locked && get(mm, Mm.users) === 0 && folioTestAnon(folio) && folioTestSwapbacked(folio) && !folioMaybeMappedShared(folio)) {
    // Its only process is ending: it will be free without us.
    set(pra, Pra.referenced, -1);
    return 0;
  }
  const to = partEnd(folio, vma);
  let vpn = partStart(folio, vma);
  let entries = 0;
  let young = 0;
  let whole = 0;
  while (vpn < to) {
    const end = entryEnd(vpn, to, 1);
    const pmdp = yield* entryPointer(mm, vpn, 1);
    if (pmdp !== 0) {
      const lock = yield* lockIfHuge(mm, pmdp);
      if (lock !== 0) {
        if (ptePage(yield* entryGet(pmdp, 1)) === folio) {
          whole = 1;
          entries++;
          if (locked) yield* mlockVmaFolio(folio, vma);
          else if (pteYoung(yield* entryClearBits(pmdp, 1, PTE_ACCESSED))) {
            young = 1;
            yield* flushTlbRange(mm, vpn, end);
          }
        }
        yield* spinUnlock(lock);
      } else {
        const found = yield* referencedTable(folio, vma, pmdp, vpn, end, locked ? 1 : 0);
        entries += found % TABLE_YOUNG;
        if (found >= TABLE_YOUNG) young = 1;
      }
    }
    vpn = end;
  }
  if (locked && (whole !== 0 || entries === compoundPages(folio))) {
    set(pra, Pra.vmFlags, get(pra, Pra.vmFlags) | VM_LOCKED);
    return 0;
  }
  if (young !== 0) {
    set(pra, Pra.referenced, get(pra, Pra.referenced) + 1);
    set(pra, Pra.vmFlags, get(pra, Pra.vmFlags) | (get(vma, Vma.flags) & ~VM_LOCKED));
  }
  set(pra, Pra.mapcount, get(pra, Pra.mapcount) - entries);
  return get(pra, Pra.mapcount) === 0 ? 0 : 1;
}

/** Added to the number of entries of a table when one of them was accessed. */
const TABLE_YOUNG = 2 ** 20;

/** The part of it for the entries of one table: how many there are. Of locked memory they keep their accessed bits, and all of a folio is locked again. */
function* referencedTable(folio: Page, vma: VmaRef, pmdp: number, start: Vpn, end: Vpn, locked: number): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 0;
  const lock = pteLockptr(ptep);
  let found = 0;
  let young = 0;
  for (let vpn = start; vpn < end; vpn++, ptep += entryStride(0)) {
    if (!mapsPartOf(folio, yield* entryGet(ptep, 0))) continue;
    found++;
    if (locked !== 0 || !pteYoung(yield* entryClearBits(ptep, 0, PTE_ACCESSED))) continue;
    young = TABLE_YOUNG;
    yield* flushTlbRange(get(vma, Vma.mm), vpn, vpn + 1);
  }
  if (locked !== 0 && found === compoundPages(folio)) yield* mlockVmaFolio(folio, vma);
  yield* spinUnlock(lock);
  return found + young;
}

// --- discarding -------------------------------------------------------------------------------------------------------------

/**
 * try_to_unmap_one of a large anonymous folio: what MADV_FREE has given up loses its mappings in a VMA; 0 when it must stay mapped. What needs swap stays, and what
 * is in locked memory.
 */
export function* discardLargeOne(folio: Page, vma: VmaRef): Op<number> {
  if (folioTestSwapbacked(folio)) return 0;
  const mm = get(vma, Vma.mm);
  const locked = (get(vma, Vma.flags) & VM_LOCKED) !== 0;
  const to = partEnd(folio, vma);
  let vpn = partStart(folio, vma);
  while (vpn < to) {
    const end = entryEnd(vpn, to, 1);
    const pmdp = yield* entryPointer(mm, vpn, 1);
    if (pmdp !== 0) {
      const lock = yield* lockIfHuge(mm, pmdp);
      if (lock !== 0) {
        const ours = ptePage(yield* entryGet(pmdp, 1)) === folio;
        if (ours && locked) yield* mlockVmaFolio(folio, vma);
        yield* spinUnlock(lock);
        if (ours && locked) return 0;
        // 6.18 splits the entry (TTU_SPLIT_HUGE_PMD) also where it has code to discard the whole at once: so it was recorded.
        if (ours) yield* splitHugePmd(vma, pmdp, vpn);
      }
      if ((yield* discardTable(folio, vma, pmdp, vpn, end)) === 0) return 0;
    }
    vpn = end;
  }
  return 1;
}

/** Whether a folio whose entries are gone may be thrown away; else they must come back, and a folio that was written to is wanted after all. */
function* mayDiscard(folio: Page, vma: VmaRef): Op<number> {
  // The count before the flag: whoever has written through a reference sets the flag before it drops it.
  const references = yield* refAdd(folio, 0);
  const dirty = ((yield* setFlags(folio, 0)) & PG_DIRTY) !== 0;
  if (dirty && (get(vma, Vma.flags) & VM_DROPPABLE) === 0) {
    yield* setFlags(folio, PG_SWAPBACKED);
    return 0;
  }
  return references === 1 + folioMapcount(folio) ? 1 : 0;
}

/** The entries of one table, batch by batch; 0 when some must stay. */
function* discardTable(folio: Page, vma: VmaRef, pmdp: number, start: Vpn, end: Vpn): Op<number> {
  let ptep = yield* pteOffsetMapLock(pmdp, start);
  if (ptep === 0) return 1;
  const lock = pteLockptr(ptep);
  let vpn = start;
  let gone = 1;
  let locked = 0;
  while (vpn < end && gone !== 0) {
    let count = 1;
    const pte = yield* entryGet(ptep, 0);
    if (mapsPartOf(folio, pte)) {
      count = yield* folioPteBatch(ptep, pte, end - vpn);
      if ((get(vma, Vma.flags) & VM_LOCKED) !== 0) locked += count;
      else {
        count = yield* sameRight(ptep, pte, count);
        gone = yield* discardBatch(folio, vma, vpn, ptep, count);
      }
    }
    vpn += count;
    ptep += count * entryStride(0);
  }
  // Only what is locked as a whole is found to be so.
  if (locked === compoundPages(folio)) yield* mlockVmaFolio(folio, vma);
  yield* spinUnlock(lock);
  return locked !== 0 ? 0 : gone;
}

/** How many of `count` entries may be written as the first may (FPB_RESPECT_WRITE): so many can be put back as they were. */
function* sameRight(ptep: number, pte: number, count: number): Op<number> {
  for (let i = 1; i < count; i++) if (pteWrite(yield* entryGet(ptep + i * entryStride(0), 0)) !== pteWrite(pte)) return i;
  return count;
}

/** One batch of entries; 0 when they are back. */
function* discardBatch(folio: Page, vma: VmaRef, vpn: Vpn, ptep: number, count: number): Op<number> {
  const mm: MmRef = get(vma, Vma.mm);
  const step = entryStride(0);
  let used = 0;
  let first = 0;
  for (let i = 0; i < count; ) {
    const at = ptep + i * step;
    const seen = yield* entryGet(at, 0);
    const whole = isWholeRun(seen, vpn + i, vpn + count);
    const pte = whole ? yield* getAndClearRun(at) : yield* ptepGetAndClear(mm, vpn + i, at, seen);
    if (i === 0) first = pte;
    used |= pte & (PTE_ACCESSED | PTE_DIRTY);
    i += whole ? contPtes() : 1;
  }
  yield* flushTlbRange(mm, vpn, vpn + count);
  if ((used & PTE_DIRTY) !== 0) yield* folioMarkDirty(folio);
  if ((yield* mayDiscard(folio, vma)) === 0) {
    yield* setPtes(mm, vpn, ptep, pteSet(first, used), count);
    return 0;
  }
  updateHiwaterRss(mm);
  yield* addMmCounter(mm, MM_ANONPAGES, -count);
  yield* folioRemoveRmapPtes(ptePage(first), count, vma);
  yield* folioPutRefs(folio, count);
  return 1;
}
