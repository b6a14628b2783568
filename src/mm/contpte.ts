/**
 * Entries of one large folio in a row as one of hardware's contiguous runs, in user mappings (arch/arm64/mm/contpte.c and what arch/arm64/include/asm/pgtable.h makes
 * of it). Whoever writes an entry of the lowest level that a large folio may be mapped by does so through these functions.
 *
 * Invariants
 * - A run maps an aligned block of one folio at an aligned place, all of its entries with the same rights; hardware may set accessed and dirty in any of them, for all.
 * - It becomes one when its entries are set together (setPtes), or with the last of them (setPteAt). Before one of its entries changes for itself it is taken apart;
 *   what is done to all of them (the batches of zap, fork, mprotect and mremap) keeps it, as does what makes the folio younger, older, dirty or clean.
 * - Converting is break before make: all entries are emptied, each together with reading what hardware has set in it, and CPUs have forgotten them before the new ones
 *   are written. Needs the lock of the table throughout; who comes without locks meanwhile finds nothing, or a run that is none (ptepGetLockless).
 * - Modes without runs never see PTE_GROUP outside of hugetlb, whose pages do not come here: for them all of this is one test of the entry in hand.
 */
import { codec, contMask, entryStride } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryClearBits, entryGet, entryGetAndClear, entrySet, flushTlbRange, spinLock, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_PROTNONE, PTE_SOFT_DIRTY, PTE_SPECIAL, PTE_WRITE } from '../pagetable/canonical.ts';
import { entryPointer, PTE_PAYLOAD, pteClear, pteLockptr, ptePage, ptePfn, ptePresent, pteSet } from './pgtable.ts';
import type { MmRef, Vpn } from './types.ts';

/** CONT_PTES: entries of a run; 1 where user mappings have none. */
export const contPtes = (): number => contMask + 1;
const contBits = (): number => codec.levels[0].groups[0].bits;

/** What hardware sets, and what goes with it. */
const USED = PTE_ACCESSED | PTE_DIRTY | PTE_SOFT_DIRTY;

/** Whether an entry is one that hardware follows (pte_valid), of a page that has a folio. */
const mayBeOfRun = (pte: number): boolean => ptePresent(pte) && (pte & (PTE_PROTNONE | PTE_SPECIAL)) === 0;

/** Where the run of an entry begins. */
const runStart = (ptep: number, vpn: Vpn): number => ptep - (vpn & contMask) * entryStride(0);

/** Whether an entry, of page `vpn`, begins a run that ends before `end`: then it can be dealt with as a whole. */
export const isWholeRun = (pte: number, vpn: Vpn, end: Vpn): boolean => (pte & PTE_GROUP) !== 0 && (vpn & contMask) === 0 && vpn + contMask < end;

// --- setting ----------------------------------------------------------------------------------------------------------------

/** set_pte_at: where no entry is, or one that is not of a run. The last entry of a block makes it a run where the others fit. */
export function* setPteAt(mm: MmRef, vpn: Vpn, ptep: number, pte: number): Op<number> {
  if (contMask === 0) return yield* entrySet(ptep, 0, pte);
  const own = pteClear(pte, PTE_GROUP);
  yield* entrySet(ptep, 0, own);
  // contpte_try_fold: ranges are written from low to high, mostly.
  return (vpn & contMask) === contMask && mayBeOfRun(own) ? yield* fold(mm, vpn, ptep, own) : 0;
}

/** set_ptes: entries for `count` pages of a folio in a row, where none are. Aligned blocks are runs at once. */
export function* setPtes(mm: MmRef, vpn: Vpn, ptep: number, pte: number, count: number): Op<number> {
  if (count === 1) return yield* setPteAt(mm, vpn, ptep, pte);
  const own = contMask === 0 ? pte : pteClear(pte, PTE_GROUP);
  const step = entryStride(0);
  const runs = contMask !== 0 && mayBeOfRun(own);
  let runEnd = 0;
  for (let i = 0; i < count; i++) {
    const entry = own + i * PTE_PAYLOAD;
    if (runs && ((vpn + i) & contMask) === 0 && i + contMask < count && (ptePfn(entry) & contMask) === 0) runEnd = i + contMask + 1;
    yield* entrySet(ptep + i * step, 0, i < runEnd ? pteSet(entry, contBits()) : entry);
  }
  return 0;
}

/** The bits that make entries from page `vpn` on, the first of them `pte`, runs when all of an aligned block are written: for tables that nobody can reach yet. */
export const contBitsOf = (vpn: Vpn, pte: number, count: number): number =>
  contMask !== 0 && mayBeOfRun(pte) && (vpn & contMask) === 0 && (ptePfn(pte) & contMask) === 0 && (count & contMask) === 0 ? contBits() : 0;

/**
 * ptep_set_access_flags: a present entry, read as `old`, gets younger, dirty or writable. Where that is no change of rights, hardware may set the same bits meanwhile:
 * they are put to what is there, in a run to each of its entries, and the run stays.
 */
export function* setAccessFlags(mm: MmRef, vpn: Vpn, ptep: number, old: number, entry: number): Op<number> {
  const inRun = (old & PTE_GROUP) !== 0;
  if ((old & PTE_WRITE) === (entry & PTE_WRITE)) {
    const first = inRun ? runStart(ptep, vpn) : ptep;
    const entries = inRun ? contPtes() : 1;
    for (let i = 0; i < entries; i++) yield* entryClearBits(first + i * entryStride(0), 0, 0, entry & USED);
    return 0;
  }
  if (!inRun) return yield* entrySet(ptep, 0, entry);
  yield* unfold(mm, vpn, ptep, old);
  const now = yield* entryGet(ptep, 0);
  return yield* entrySet(ptep, 0, pteSet(pteClear(entry, PTE_GROUP), now & USED));
}

/** ptep_set_wrprotect: of an entry, read as `old`; what hardware sets meanwhile stays. A run of which one entry becomes another is none any longer. */
export function* ptepSetWrprotect(mm: MmRef, vpn: Vpn, ptep: number, old: number): Op<number> {
  if ((old & PTE_GROUP) !== 0) yield* unfold(mm, vpn, ptep, old);
  return yield* entryClearBits(ptep, 0, PTE_WRITE);
}

/** wrprotect_ptes: of a whole run. Until the flush that follows its pages may or may not be written. */
export function* wrprotectRun(ptep: number): Op<number> {
  for (let i = 0; i <= contMask; i++) yield* entryClearBits(ptep + i * entryStride(0), 0, PTE_WRITE);
  return 0;
}

// --- taking away ------------------------------------------------------------------------------------------------------------

/** ptep_get_and_clear: of one entry, read as `old` under the lock. */
export function* ptepGetAndClear(mm: MmRef, vpn: Vpn, ptep: number, old: number): Op<number> {
  if ((old & PTE_GROUP) !== 0) yield* unfold(mm, vpn, ptep, old);
  return yield* entryGetAndClear(ptep, 0);
}

/** get_and_clear_full_ptes: of a whole run; its first entry, with what was done to any of its pages. */
export function* getAndClearRun(ptep: number): Op<number> {
  let pte = yield* entryGetAndClear(ptep, 0);
  for (let i = 1; i <= contMask; i++) pte = pteSet(pte, (yield* entryGetAndClear(ptep + i * entryStride(0), 0)) & USED);
  return pte;
}

/** ptep_test_and_clear_young: whether a page was accessed; of a run, which is of one folio, any page. */
export function* ptepTestAndClearYoung(vpn: Vpn, ptep: number, old: number): Op<number> {
  if ((old & PTE_GROUP) === 0) return (yield* entryClearBits(ptep, 0, PTE_ACCESSED)) & PTE_ACCESSED;
  const first = runStart(ptep, vpn);
  let young = 0;
  for (let i = 0; i <= contMask; i++) young |= (yield* entryClearBits(first + i * entryStride(0), 0, PTE_ACCESSED)) & PTE_ACCESSED;
  return young;
}

// --- blocks -----------------------------------------------------------------------------------------------------------------

/** The entry that the first of a block is to have when that of page `vpn` is `pte`, but for what hardware sets. */
const firstOf = (vpn: Vpn, pte: number): number => pteClear(pte, USED) - (vpn & contMask) * PTE_PAYLOAD;

/** What hardware has set in the entries of a block, the first at `start`; −1 where one is not what follows from `first`. */
function* usedOfBlock(start: number, first: number): Op<number> {
  let used = 0;
  for (let i = 0; i <= contMask; i++) {
    const pte = yield* entryGet(start + i * entryStride(0), 0);
    if (pteClear(pte, USED) !== first + i * PTE_PAYLOAD) return -1;
    used |= pte & USED;
  }
  return used;
}

// --- reading ----------------------------------------------------------------------------------------------------------------

/** contpte_ptep_get: an entry under the lock, read as `pte`, with what was done to any page of its run. */
export function* ptepGathered(vpn: Vpn, ptep: number, pte: number): Op<number> {
  if ((pte & PTE_GROUP) === 0) return pte;
  const first = runStart(ptep, vpn);
  let all = pte;
  for (let i = 0; i <= contMask; i++) all = pteSet(all, (yield* entryGet(first + i * entryStride(0), 0)) & USED);
  return all;
}

/** contpte_ptep_get_lockless: the same without the lock. A run that others convert meanwhile is no run, and looked at again. */
export function* ptepGetLockless(vpn: Vpn, ptep: number): Op<number> {
  for (;;) {
    const pte = yield* entryGet(ptep, 0);
    if ((pte & PTE_GROUP) === 0) return pte;
    const used = yield* usedOfBlock(runStart(ptep, vpn), firstOf(vpn, pte));
    if (used >= 0) return pteSet(pte, used);
  }
}

// --- converting -------------------------------------------------------------------------------------------------------------

/** __contpte_try_fold: the run around a page becomes one where its entries map an aligned block of one folio with the same rights. 1 when it did. */
export function* contpteTryFold(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* change(mm, vpn, 1);
}

/** __contpte_try_unfold: the entries of the run around a page are for themselves. 1 when they were none before. */
export function* contpteTryUnfold(mm: MmRef, vpn: Vpn): Op<number> {
  return yield* change(mm, vpn, 0);
}

/** Makes a run of the entries around a page, or takes it apart, under the table's lock. 1 when there was something to do. */
function* change(mm: MmRef, vpn: Vpn, make: number): Op<number> {
  const ptep = yield* entryPointer(mm, vpn, 0);
  if (ptep === 0 || contMask === 0) return 0;
  const ptl = pteLockptr(ptep);
  yield* spinLock(ptl);
  const pte = yield* entryGet(ptep, 0);
  let changed = 0;
  if (make !== 0) changed = (pte & PTE_GROUP) === 0 && mayBeOfRun(pte) ? yield* fold(mm, vpn, ptep, pte) : 0;
  else if ((pte & PTE_GROUP) !== 0) changed = yield* unfold(mm, vpn, ptep, pte);
  yield* spinUnlock(ptl);
  return changed;
}

/** __contpte_try_fold, for a present entry `pte` that is of no run. 1 when it is now. */
function* fold(mm: MmRef, vpn: Vpn, ptep: number, pte: number): Op<number> {
  const own = vpn & contMask;
  const page = ptePage(pte);
  if ((ptePfn(pte) & contMask) !== own || !pageIsCompound(page)) return 0;
  const part = subPageIndex(page) - own;
  if (part < 0 || part + contMask >= compoundPages(page)) return 0;
  const first = firstOf(vpn, pte);
  if ((yield* usedOfBlock(runStart(ptep, vpn), first)) < 0) return 0;
  return yield* convert(mm, vpn - own, runStart(ptep, vpn), pteSet(first, contBits()));
}

/** __contpte_try_unfold, for an entry of a run, read as `pte`. */
function* unfold(mm: MmRef, vpn: Vpn, ptep: number, pte: number): Op<number> {
  const own = vpn & contMask;
  return yield* convert(mm, vpn - own, runStart(ptep, vpn), pteClear(pte, PTE_GROUP | USED) - own * PTE_PAYLOAD);
}

/** contpte_convert: the entries of a block, the first at `ptep`, become `made` and what follows it, with what hardware has set until they were emptied. */
function* convert(mm: MmRef, first: Vpn, ptep: number, made: number): Op<number> {
  let used = 0;
  for (let i = 0; i <= contMask; i++) {
    const at = ptep + i * entryStride(0);
    used |= (switched(SW.contpteNoBreak) ? yield* entryGet(at, 0) : yield* entryGetAndClear(at, 0)) & USED;
  }
  if (!switched(SW.contpteNoBreak)) yield* flushTlbRange(mm, first, first + contMask + 1);
  for (let i = 0; i <= contMask; i++) yield* entrySet(ptep + i * entryStride(0), 0, pteSet(made, used) + i * PTE_PAYLOAD);
  return 1;
}
