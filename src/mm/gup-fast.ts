/**
 * get_user_pages without locks (mm/gup.c: gup_fast and what is below it): pages that the tables map, taken from them as they stand.
 *
 * Invariants
 * - Interrupts are off while tables are walked: they are freed after a grace period of RCU, which waits for that, or after a flush by interrupts, which does
 *   so too. So whatever an entry led to can be read; whether it is still part of the tree is asked afterwards.
 * - Each entry is read once, and what is decided is decided on that number. A page is taken only if somebody else has a reference to it; it counts as mapped
 *   there only if then its entry, and that of the table it stands in, are read again and are what they were. Who takes a page away empties the entry
 *   first and looks for references and pins afterwards, so one of the two notices the other.
 * - Entries in a row that map a large folio are counted before its references are taken, all at once, and read again afterwards, but for what accesses leave in
 *   them (accessed, dirty). Whose the references are, and how far that folio goes, is asked when they are there. (Linux 6.18 takes one by one.)
 * - Whatever is in doubt is left to the slow way, which has locks and VMAs. Nothing here sleeps or faults.
 * - Fork shares pages without emptying entries: pins that were taken while it did so are given back (Mm.writeProtectSeq).
 */
import { codec, entryAt, entryEnd, entryStride, spanPages, tableLevel, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { entryGet, get, localIrqDisable, localIrqEnable, mappingGet, readOnce, setFlags, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { compoundPages, nextPage, pageFolio, pageIsCompound, subPageIndex } from '../memory/folio.ts';
import { PG_HEAD, PG_HUGETLB, PG_REFERENCED } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_GROUP, PTE_PROTNONE, PTE_READ, PTE_SPECIAL, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { canSetDirectMap } from './direct-map.ts';
import { mmSetHasPinnedFlag } from './dma-pinned.ts';
import { EFAULT, EINVAL, EOVERFLOW } from './errno.ts';
import { INODE_SECRETMEM, kindIsShmem } from './file-types.ts';
import { gupCall, gupFlags } from './gup-calls.ts';
import { gupFastUnpinUserPages, gupMustUnshare, gupPutFolio, sanityCheckPinnedPages, sharingState, tryGrabFolioFast } from './gup-pin.ts';
import {
  FOLL_FAST_ONLY,
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HONOR_NUMA_FAULT,
  FOLL_LONGTERM,
  FOLL_NOFAULT,
  FOLL_PIN,
  FOLL_TOUCH,
  FOLL_UNLOCKABLE,
  FOLL_WRITE,
  PageVector,
  type PageVectorRef,
  pushPage,
  recordSubpages,
} from './gup-types.ts';
import { leafEnd } from './leaf.ts';
import { ptePage, ptePresent, tablePage } from './pgtable.ts';
import { pteMap, pteUnmap } from './pgtable-generic.ts';
import { pteRun } from './pte-batch.ts';
import { folioIsSecretmem } from './secretmem.ts';
import { folioTestAnon } from './swap.ts';
import { Inode, Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** Architectures that select HAVE_GUP_FAST; arm does with LPAE. */
const FAMILIES: readonly string[] = ['x86', 'arm64', 'riscv', 's390', 'powerpc', 'loongarch', 'mips'];

/** CONFIG_HAVE_GUP_FAST, and CONFIG_ARCH_HAS_PTE_SPECIAL: where special entries cannot be told from others no entry is followed. */
export const haveGupFast = (): boolean =>
  (codec.supports & PTE_SPECIAL) !== 0 && (FAMILIES.includes(codec.mode.family) || (codec.mode.family === 'arm' && codec.levels[0].entryWords === 2));

// --- one page ---------------------------------------------------------------------------------------------------------------

/** Whether an entry may be followed at all: present, for user code, for what is wanted; neither PROT_NONE, where the VMA decides, nor without a page. */
const mayFollow = (pte: number, follFlags: number): boolean =>
  ptePresent(pte) && (pte & (PTE_PROTNONE | PTE_SPECIAL)) === 0 && (pte & PTE_READ) !== 0 && ((follFlags & FOLL_WRITE) === 0 || (pte & PTE_WRITE) !== 0);

/**
 * gup_fast_folio_allowed: pages of a file that wants to hear of writes are not pinned for long, for writing: writeback would clean them, and nobody
 * would say when they are written next. There is no VMA to ask, so what is known to be right passes: anonymous memory, shared memory. The page is
 * referenced and mapped; truncation may take it from its file at any moment, hence its mapping is read once.
 */
function* folioAllowed(folio: Page, follFlags: number): Op<boolean> {
  const lasting = FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE;
  const anyFile = (follFlags & lasting) !== lasting || switched(SW.gupFastAnyFile);
  // Where the kernel can take pages out of its own map, one that it has no mapping of is nobody's to look at.
  const secret = canSetDirectMap() && !switched(SW.gupFastSecretEarly) && (pageFlags[folio] & PG_HEAD) === 0;
  if (anyFile && !secret) return true;
  if ((pageFlags[folio] & PG_HUGETLB) !== 0) return true;
  let mapping = yield* mappingGet(folio);
  if (mapping === 0) return false;
  if (folioTestAnon(folio)) return true;
  if (switched(SW.gupFastMappingTwice)) mapping = yield* mappingGet(folio);
  if (get(mapping, Inode.kind) === INODE_SECRETMEM) return false;
  return anyFile || kindIsShmem(get(mapping, Inode.kind));
}

/**
 * What gup_fast_pte_range does for an entry, which stands at `ptep` in the table of `pmd`, and here for those behind it, too, that map what follows of the same folio
 * in the same way: of at most `limit` pages how many were referenced or pinned, and put behind those of the vector; 0 for none.
 */
function* gupFastPte(pmdp: number, pmd: number, ptep: number, limit: number, follFlags: number, vector: PageVectorRef): Op<number> {
  const pte = yield* entryGet(ptep, 0);
  if (!mayFollow(pte, follFlags)) return 0;
  const page = ptePage(pte);
  if (switched(SW.gupFastSecretEarly) && (yield* folioIsSecretmem(page))) return 0;
  if (limit > 1 && pageIsCompound(page) && !switched(SW.gupFastLooksEarly)) return yield* gupFastPtes(pmdp, pmd, ptep, pte, limit, follFlags, vector);
  const early = switched(SW.gupFastLooksEarly) ? yield* lookSharing(page) : 0;
  if ((yield* tryGrabFolioFast(page, 1, follFlags)) === 0) return 0;
  let valid = switched(SW.gupFastNoTableReload) || (yield* entryGet(pmdp, 1)) === pmd;
  if (valid && !switched(SW.gupFastNoReload)) valid = (yield* entryGet(ptep, 0)) === pte;
  if (valid && ((follFlags & FOLL_LONGTERM) !== 0 || canSetDirectMap())) valid = yield* folioAllowed(pageFolio(page), follFlags);
  // The flag is looked at after the pin: who shares the page looks for pins before he clears it.
  if (valid && (pte & PTE_WRITE) === 0) valid = !gupMustUnshare(0, follFlags, early !== 0 ? early : yield* lookSharing(page));
  if (!valid) {
    yield* gupPutFolio(page, 1, follFlags);
    return 0;
  }
  yield* setFlags(pageFolio(page), PG_REFERENCED);
  pushPage(vector, page);
  return 1;
}

/**
 * The same for a page of a large folio, `pte` read: entries that go on with it are taken with as many references at once. Each is read again when they are had, and of
 * each page it is asked whether it is shared: the pages before the first of which something is not as it was are good, and the other references go back.
 */
function* gupFastPtes(pmdp: number, pmd: number, ptep: number, pte: number, limit: number, follFlags: number, vector: PageVectorRef): Op<number> {
  const page = ptePage(pte);
  const refs = yield* pteRun(ptep, pte, 1, Math.min(limit, compoundPages(page) - subPageIndex(page)));
  if ((yield* tryGrabFolioFast(page, refs, follFlags)) === 0) return 0;
  // It may have been split, or be another's, until now; it is what it is from here on.
  let taken = switched(SW.gupFastUncut) ? refs : Math.min(refs, compoundPages(page) - subPageIndex(page));
  if (!switched(SW.gupFastNoTableReload) && (yield* entryGet(pmdp, 1)) !== pmd) taken = 0;
  if (!switched(SW.gupFastNoReload)) taken = yield* pteRun(ptep, pte, 0, taken);
  if (taken > 0 && ((follFlags & FOLL_LONGTERM) !== 0 || canSetDirectMap()) && !(yield* folioAllowed(pageFolio(page), follFlags))) taken = 0;
  if ((pte & PTE_WRITE) === 0) for (let i = 0; i < taken; i++) if (gupMustUnshare(0, follFlags, yield* lookSharing(nextPage(page, i)))) taken = i;
  if (taken < refs) yield* gupPutFolio(page, refs - taken, follFlags);
  if (taken === 0) return 0;
  yield* setFlags(pageFolio(page), PG_REFERENCED);
  recordSubpages(vector, page, 0, taken);
  return taken;
}

/** Flags of a page for gup_must_unshare(), read atomically. */
function* lookSharing(page: Page): Op<number> {
  yield* setFlags(pageFolio(page), 0);
  return sharingState(page);
}

/**
 * gup_fast_pmd_leaf, gup_fast_pud_leaf: the pages [start, end) of one entry above the lowest level, which was read as `entry` at `at`. All of them with as many
 * references or pins of their folio, or none; 1 when they were taken.
 */
function* gupFastLeaf(at: number, level: number, entry: number, start: Vpn, end: Vpn, follFlags: number, vector: PageVectorRef): Op<number> {
  if (!mayFollow(entry, follFlags)) return 0;
  const first = ptePage(entry);
  const refs = end - start;
  if ((yield* tryGrabFolioFast(first, refs, follFlags)) === 0) return 0;
  let valid = switched(SW.gupFastNoReload) || (yield* entryGet(at, level)) === entry;
  if (valid) valid = yield* folioAllowed(pageFolio(first), follFlags);
  // One entry maps all: the head knows for all.
  if (valid && (entry & PTE_WRITE) === 0) valid = !gupMustUnshare(0, follFlags, yield* lookSharing(first));
  if (!valid) {
    yield* gupPutFolio(first, refs, follFlags);
    return 0;
  }
  yield* setFlags(pageFolio(first), PG_REFERENCED);
  recordSubpages(vector, first, start % spanPages(level), refs);
  return 1;
}

/**
 * gup_hugepte() as it was: the pages up to `end` of a run of entries that map a larger page together, taken with as many references at once by what the first of them
 * says. How many, 0 for none.
 */
function* gupFastRun(ptep: number, vpn: Vpn, end: Vpn, follFlags: number, vector: PageVectorRef): Op<number> {
  const pte = yield* entryGet(ptep, 0);
  if (!mayFollow(pte, follFlags)) return 0;
  const page = ptePage(pte);
  const refs = leafEnd(pte, 0, vpn, end) - vpn;
  if ((yield* tryGrabFolioFast(page, refs, follFlags)) === 0) return 0;
  if (switched(SW.gupFastRunReload) && (yield* entryGet(ptep, 0)) !== pte) {
    yield* gupPutFolio(page, refs, follFlags);
    return 0;
  }
  recordSubpages(vector, page, 0, refs);
  return refs;
}

// --- the walk ---------------------------------------------------------------------------------------------------------------

/** gup_fast_pte_range: the pages [vpn, end) of one table; 1 when all were taken. `pmd` is the entry at `pmdp` as it was read. */
function* gupFastPteRange(pmdp: number, pmd: number, start: Vpn, end: Vpn, follFlags: number, vector: PageVectorRef): Op<number> {
  let ptep = entryAt(tablePage(pmd), 0, start);
  yield* pteMap();
  let vpn = start;
  while (vpn < end) {
    const old = switched(SW.gupFastRunOnce) || switched(SW.gupFastRunReload);
    const taken = old ? yield* gupFastRun(ptep, vpn, end, follFlags, vector) : yield* gupFastPte(pmdp, pmd, ptep, end - vpn, follFlags, vector);
    if (taken === 0) break;
    ptep += taken * entryStride(0);
    vpn += taken;
  }
  yield* pteUnmap();
  return vpn === end ? 1 : 0;
}

/** gup_fast_pgd_range, _p4d_range, _pud_range, _pmd_range, by level: levels that a mode folds are no levels. 1 when all was taken. */
function* gupFastRange(table: Page, level: number, start: Vpn, end: Vpn, follFlags: number, vector: PageVectorRef): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const at = entryAt(table, level, vpn);
    const entry = yield* entryGet(at, level);
    let all = 0;
    if ((entry & PTE_TABLE) !== 0) {
      // gup_fast_hugepd: the entries of a huge page directory are leaves as those above are.
      if (level > 1 || (entry & PTE_GROUP) !== 0) all = yield* gupFastRange(tablePage(entry), tableLevel(entry, level), vpn, next, follFlags, vector);
      else all = yield* gupFastPteRange(at, entry, vpn, next, follFlags, vector);
    } else if (ptePresent(entry)) all = yield* gupFastLeaf(at, level, entry, vpn, next, follFlags, vector);
    if (all === 0) return 0;
    vpn = next;
  }
  return 1;
}

/** gup_fast: pages from `start` to before `end` or to the first in doubt, behind those that the vector has. How many. */
function* gupFast(mm: MmRef, start: Vpn, end: Vpn, follFlags: number, vector: PageVectorRef): Op<number> {
  if (!haveGupFast()) return 0;
  const from = get(vector, PageVector.count);
  let seq = 0;
  if ((follFlags & FOLL_PIN) !== 0) {
    seq = yield* readOnce(mm, Mm.writeProtectSeq);
    if ((seq & 1) !== 0 && !switched(SW.gupFastNoSeq)) return 0;
  }
  yield* localIrqDisable();
  yield* gupFastRange(get(mm, Mm.pgd), topLevel, start, end, follFlags, vector);
  yield* localIrqEnable();
  if ((follFlags & FOLL_PIN) !== 0) {
    if (!switched(SW.gupFastNoSeq) && (yield* readOnce(mm, Mm.writeProtectSeq)) !== seq) {
      yield* gupFastUnpinUserPages(vector, from);
      return 0;
    }
    sanityCheckPinnedPages(vector, from);
  }
  return get(vector, PageVector.count) - from;
}

// --- calls ------------------------------------------------------------------------------------------------------------------

/** What the calls below may say (gup_fast_fallback). */
const FAST_FLAGS = FOLL_WRITE | FOLL_LONGTERM | FOLL_FORCE | FOLL_PIN | FOLL_GET | FOLL_FAST_ONLY | FOLL_NOFAULT | FOLL_HONOR_NUMA_FAULT;

/** Pages of all addresses that the kernel can name. */
const addressPages = (): number => 2 ** ((codec.vaBits <= 32 ? 32 : 64) - codec.pageShift);

/** gup_fast_fallback: without locks as far as it goes, then the slow way, unless FOLL_FAST_ONLY says that that is not wanted. */
function* gupFastFallback(mm: MmRef, start: Vpn, count: number, follFlags: number, vector: PageVectorRef): Op<number> {
  if ((follFlags & ~FAST_FLAGS) !== 0) return -EINVAL;
  if (count <= 0) return 0;
  if ((follFlags & FOLL_PIN) !== 0) yield* mmSetHasPinnedFlag(mm);
  if (start + count > addressPages()) return -EOVERFLOW;
  if (start + count > get(mm, Mm.taskSize)) return -EFAULT;
  const fast = yield* gupFast(mm, start, start + count, follFlags, vector);
  if (fast === count || (follFlags & FOLL_FAST_ONLY) !== 0) return fast;
  const slow = yield* gupCall(mm, start + fast, count - fast, follFlags | FOLL_TOUCH | FOLL_UNLOCKABLE, vector, 0);
  // What is held already has to be given back by the caller, so he must hear of it.
  if (slow < 0) return fast > 0 ? fast : slow;
  return fast + slow;
}

/**
 * get_user_pages_fast: referenced pages of our own memory, behind those that the vector has. How many, at least one; −errno for none: −EFAULT for
 * what is not ours, −EOVERFLOW where addresses wrap. 0 for no pages.
 */
export function* getUserPagesFast(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_GET, vector);
  return flags < 0 ? flags : yield* gupFastFallback(mm, start, count, flags, vector);
}

/** pin_user_pages_fast: the same with pins. */
export function* pinUserPagesFast(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_PIN, vector);
  return flags < 0 ? flags : yield* gupFastFallback(mm, start, count, flags, vector);
}

/**
 * get_user_pages_fast_only: what can be had without a lock, with interrupts on or off. How many, never negative: whatever is wrong, nothing was taken.
 * (Linux 6.18 itself answers −EFAULT, −EOVERFLOW and −EINVAL where get_user_pages_fast() would; its callers ask for 1.)
 */
export function* getUserPagesFastOnly(mm: MmRef, start: Vpn, count: number, said: number, vector: PageVectorRef): Op<number> {
  const flags = gupFlags(said, FOLL_GET | FOLL_FAST_ONLY, vector);
  const got = flags < 0 ? 0 : yield* gupFastFallback(mm, start, count, flags, vector);
  return got < 0 ? 0 : got;
}
