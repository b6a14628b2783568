/**
 * How get_user_pages_fast() comes down through levels that a mode folds (include/asm-generic/pgtable-nop4d.h and its kin, arch/s390/include/asm/pgtable.h).
 *
 * Elsewhere here folded levels do not exist; this walk goes through all five of Linux's, to show what the ways of folding do to whoever reads each entry once into
 * a local. Static folding: the top level iterates, and those folded below it have one round each. s390's: an address space says when it runs how many levels it has;
 * the steps above hand the pointer on, and the level that is really the top one iterates.
 *
 * Invariants: interrupts are off; a pointer to an entry is a word of RAM, or, negative, a slot of the stack that copies lie on. The stack grows down: what lies
 * behind a copy is the copy of whoever has called.
 */
import { codec, entryAt, entryEnd, entryStride, spanPages, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, localIrqDisable, localIrqEnable, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { allocObject, heap } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { COPIES, FOLD_DYNAMIC_ENDS, FOLD_STATIC, GupStack, type GupStackRef } from './gup-fold-types.ts';
import { tryGrabFolioFast } from './gup-pin.ts';
import { FOLL_GET, PageVector, type PageVectorRef, pushPage } from './gup-types.ts';
import { ptePage, ptePresent, tablePage } from './pgtable.ts';
import { Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** Linux's levels: pgd, p4d, pud, pmd, pte. */
const PGD = 4;

/** A stack for a walk over an address space of `levels` levels. */
export function allocGupStack(fold: number, levels: number): GupStackRef {
  const stack = allocObject(GupStack.$type, GupStack.$size);
  set(stack, GupStack.fold, fold);
  set(stack, GupStack.top, levels - 1);
  set(stack, GupStack.pointer, COPIES);
  return stack;
}

/** READ_ONCE(*pXdp). */
function* readEntry(pointer: number, level: number): Op<number> {
  return pointer > 0 ? yield* entryGet(pointer, level) : heap[-pointer];
}

/** pXd_addr_end: of the level that is really the top one, `level` of Linux's. */
function addrEnd(stack: GupStackRef, vpn: Vpn, end: Vpn, level: number): Vpn {
  const top = get(stack, GupStack.top);
  const fold = get(stack, GupStack.fold);
  if (level < top) return entryEnd(vpn, end, level);
  if (fold === FOLD_STATIC) return level === PGD ? entryEnd(vpn, end, top) : end;
  if (fold === FOLD_DYNAMIC_ENDS || level === top) return entryEnd(vpn, end, top);
  return level <= topLevel ? entryEnd(vpn, end, level) : end;
}

/** gup_fast_pgd_range, _p4d_range, _pud_range, _pmd_range: entries from `pointer` on. 1 when all pages were taken. */
function* foldedRange(stack: GupStackRef, pointer: number, level: number, start: Vpn, end: Vpn, vector: PageVectorRef): Op<number> {
  const top = get(stack, GupStack.top);
  const own = get(stack, GupStack.pointer) - 1;
  set(stack, GupStack.pointer, own);
  let vpn = start;
  let at = pointer;
  let all = 1;
  while (vpn < end && all !== 0) {
    const entry = yield* readEntry(at, level > top ? top : level);
    set(stack, GupStack.copies + own, entry);
    const next = addrEnd(stack, vpn, end, level);
    if ((entry & PTE_TABLE) === 0) all = 0;
    else if (level === 1) all = yield* foldedPtes(tablePage(entry), vpn, next, vector);
    else {
      // pXd_offset_lockless: of a folded level it is the pointer that we came by; and pXd_offset of the copy, which is the copy then.
      const folded = switched(SW.gupFoldStack) ? -(stack + GupStack.copies + own) : at;
      const below = level > top ? folded : entryAt(tablePage(entry), level - 1, vpn);
      all = yield* foldedRange(stack, below, level - 1, vpn, next, vector);
    }
    // The next entry: of a table, or whatever lies behind a copy.
    at += at > 0 ? entryStride(level > top ? top : level) : -1;
    vpn = next;
  }
  set(stack, GupStack.pointer, own + 1);
  return all;
}

function* foldedPtes(table: Page, start: Vpn, end: Vpn, vector: PageVectorRef): Op<number> {
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(entryAt(table, 0, vpn), 0);
    if (!ptePresent(pte) || (yield* tryGrabFolioFast(ptePage(pte), 1, FOLL_GET)) === 0) return 0;
    pushPage(vector, ptePage(pte));
  }
  return 1;
}

/**
 * get_user_pages_fast_only for reading, of an address space of as many levels as `stack` says: where the machine's has more, of the part of it that one table of
 * that level translates. How many pages.
 */
export function* gupFastFolded(mm: MmRef, start: Vpn, count: number, stack: GupStackRef, vector: PageVectorRef): Op<number> {
  const from = get(vector, PageVector.count);
  yield* localIrqDisable();
  let table = get(mm, Mm.pgd);
  for (let level = topLevel; level > get(stack, GupStack.top); level--) table = tablePage(yield* entryGet(entryAt(table, level, start), level));
  yield* foldedRange(stack, entryAt(table, get(stack, GupStack.top), start), PGD, start, start + count, vector);
  yield* localIrqEnable();
  return get(vector, PageVector.count) - from;
}

/** The pages that one entry of the real top level of an address space of so many levels spans. */
export const foldedSpan = (levels: number): number => spanPages(levels - 1);

/** How many levels an address space can have here that has fewer than the machine's; all where there are but two. */
export const foldedLevels = (): number => Math.min(3, codec.levels.length);
