/**
 * Entries of one large folio in a row as one of hardware's contiguous runs, and back (arch/arm64/mm/contpte.c: contpte_try_fold, contpte_try_unfold, contpte_convert).
 *
 * The mm here maps parts of large folios by entries for themselves; this is the conversion alone, for who asks for it. Invariants: a run maps an aligned block of one
 * folio, all entries with the same rights; hardware may set accessed and dirty in any of them, for all. Converting is break before make: all entries are emptied, each
 * together with reading what hardware has set in it, and CPUs have forgotten them before the new ones are written. Needs the lock of the table throughout; who
 * comes without locks meanwhile finds nothing.
 */
import { codec, entryStride, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, entryGetAndClear, entrySet, flushTlbRange, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_SOFT_DIRTY, PTE_SPECIAL } from '../pagetable/canonical.ts';
import { entryPointer, PTE_PAYLOAD, pteClear, pteLockptr, ptePage, ptePfn, ptePresent, pteSet } from './pgtable.ts';
import type { MmRef, Vpn } from './types.ts';

/** CONT_PTES: entries of a run; 1 where a mode has none. */
export const contPtes = (): number => (codec.levels[0].groups.length === 0 ? 1 : codec.levels[0].groups[0].entries);
const contBits = (): number => codec.levels[0].groups[0].bits;

/** What hardware sets, and what goes with it. */
const USED = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY;

/** __contpte_try_fold: the run around a page becomes one where its entries map an aligned block of one folio with the same rights. 1 when it did. */
export function* contpteTryFold(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* change(mm, vpn, 1);
}

/** __contpte_try_unfold: the entries of the run around a page are for themselves. 1 when they were none before. */
export function* contpteTryUnfold(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* change(mm, vpn, 0);
}

/** Makes a run of the entries around a page, or takes it apart, under the table's lock. 1 when there was something to do. */
function* change(mm: MmRef, vpn: Vpn, fold: number): Op<number> {
  const entries = contPtes();
  const first = vpn - (vpn % (entries * spanPages(0)));
  const ptep = yield* entryPointer(mm, first, 0);
  if (ptep === 0 || entries === 1) return 0;
  const ptl = pteLockptr(ptep);
  yield* spinLock(ptl);
  const changes = fold !== 0 ? yield* mayFold(ptep, entries) : yield* isRun(ptep);
  if (changes !== 0) yield* contpteConvert(mm, first, ptep, entries, fold !== 0 ? contBits() : 0);
  yield* spinUnlock(ptl);
  return changes;
}

function* isRun(ptep: number): Op<number> {
  return ((yield* entryGet(ptep, 0)) & PTE_GROUP) !== 0 ? 1 : 0;
}

function* mayFold(ptep: number, entries: number): Op<number> {
  const pte = yield* entryGet(ptep, 0);
  if (!ptePresent(pte) || (pte & (PTE_GROUP | PTE_SPECIAL)) !== 0 || ptePfn(pte) % entries !== 0) return 0;
  const page = ptePage(pte);
  if (!pageIsCompound(page) || compoundPages(page) - subPageIndex(page) < entries) return 0;
  for (let i = 1; i < entries; i++) {
    const next = yield* entryGet(ptep + i * entryStride(0), 0);
    if (pteClear(next, USED) !== pteClear(pte, USED) + i * PTE_PAYLOAD) return 0;
  }
  return 1;
}

/** contpte_convert. */
function* contpteConvert(mm: MmRef, first: Vpn, ptep: number, entries: number, bits: number): Op<number> {
  let used = 0;
  let base = 0;
  for (let i = 0; i < entries; i++) {
    const at = ptep + i * entryStride(0);
    const pte = switched(SW.contpteNoBreak) ? yield* entryGet(at, 0) : yield* entryGetAndClear(at, 0);
    if (i === 0) base = pte;
    used |= pte & USED;
  }
  if (!switched(SW.contpteNoBreak)) yield* flushTlbRange(mm, first, first + entries);
  const made = pteSet(pteSet(pteClear(base, PTE_GROUP), used), bits);
  for (let i = 0; i < entries; i++) yield* entrySet(ptep + i * entryStride(0), 0, made + i * PTE_PAYLOAD);
  return 0;
}
