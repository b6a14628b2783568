/**
 * Page tables of shared hugetlb mappings that several mappings use together (mm/hugetlb.c: want_pmd_share, huge_pmd_share, huge_pmd_unshare).
 *
 * Invariants: a table is shared by mappings of the same pages of a file at the same place in their tables, with the same flags, that span all that the table maps and
 * have a lock (HugetlbVmaLock). It is found under i_mmap_rwsem, and a mapping leaves it under its VMA's lock and i_mmap_rwsem for writing, by emptying the
 * upper entry; the last who maps it frees it as its own. The count of others stands in the table's column `index` (pt_share_count).
 */
import { codec, entryAt, pageOfEntry, spanPages, topLevel } from '../kernel/arch.ts';
import { HELD_READ, HELD_WRITE, holds } from '../kernel/lockdep.ts';
import type { Op } from '../kernel/op.ts';
import { add, downRead, entryGet, entrySet, get, set, spinLock, spinUnlock, switched, syncInterrupts, upRead } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageIndex, setPageIndex } from '../memory/state.ts';
import { PTE_TABLE } from '../pagetable/canonical.ts';
import { hugePteAlloc, hugePteOffset } from './huge-leaf.ts';
import { assertVmaLocked, vmaShareableLock } from './hugetlb-lock.ts';
import { hugetlb } from './hugetlb-pool.ts';
import { hstateVma, inodeOfVma } from './hugetlb-resv.ts';
import { Hstate, type HstateRef, Hugetlb } from './hugetlb-types.ts';
import { vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from './interval-tree.ts';
import { accounted, entryAlloc, mkPte, tablePage, upperLock } from './pgtable.ts';
import { Inode, Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_LOCKED_MASK } from './vm-flags.ts';

/** Level of the tables that are shared. */
const PMD = 1;

/** CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING: x86-64, arm64 and riscv64, for pages of one pmd entry. */
const sharesTables = (h: HstateRef): boolean =>
  (codec.mode.family === 'x86' || codec.mode.family === 'arm64' || codec.mode.family === 'riscv') &&
  codec.mode.vaBits > 32 &&
  get(h, Hstate.level) === PMD &&
  get(h, Hstate.entries) === 1 &&
  topLevel > PMD;

/** What one table of huge pages maps. */
const tablePages = (): number => spanPages(PMD + 1);
const baseOf = (vpn: Vpn): Vpn => Math.floor(vpn / tablePages()) * tablePages();

/** range_in_vma of all that the table of a page maps. */
const spansTable = (vma: VmaRef, vpn: Vpn): boolean => get(vma, Vma.start) <= baseOf(vpn) && baseOf(vpn) + tablePages() <= get(vma, Vma.end);

/** want_pmd_share. */
export const wantPmdShare = (vma: VmaRef, vpn: Vpn): boolean => sharesTables(hstateVma(vma)) && vmaShareableLock(vma) && spansTable(vma, vpn);

/** ptdesc_pmd_is_shared, by an entry of the table. */
export const hugetlbPmdShared = (h: HstateRef, ptep: number): boolean => get(h, Hstate.level) === PMD && pageIndex[pageOfEntry(ptep, PMD)] > 0;

/** page_table_shareable: where another VMA maps the same page, when its table can be used; −1 when not. */
function shareableAt(other: VmaRef, vma: VmaRef, vpn: Vpn, index: number): Vpn {
  const there = index - get(other, Vma.pgoff) + get(other, Vma.start);
  if (there % tablePages() !== vpn % tablePages()) return -1;
  if ((get(vma, Vma.flags) & ~VM_LOCKED_MASK) !== (get(other, Vma.flags) & ~VM_LOCKED_MASK)) return -1;
  return spansTable(other, there) && vmaShareableLock(other) ? there : -1;
}

/** huge_pmd_share: the entry of a page in a table of others where there is one, else in one of its own; 0 without memory. */
export function* hugePmdShare(mm: MmRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const h = hstateVma(vma);
  const upper = yield* entryAlloc(mm, vpn, PMD + 1);
  if (upper === 0) return 0;
  if (((yield* entryGet(upper, PMD + 1)) & PTE_TABLE) !== 0) return yield* hugePteAlloc(mm, vpn, h);
  const inode = inodeOfVma(vma);
  const index = vpn - get(vma, Vma.start) + get(vma, Vma.pgoff);
  yield* downRead(inode + Inode.iMmapLock);
  let table: Page = 0;
  for (
    let other = vmaIntervalTreeIterFirst(inode + Inode.iMmap, index, index);
    other !== 0 && table === 0;
    other = vmaIntervalTreeIterNext(other, index, index)
  ) {
    if (other === vma) continue;
    const there = shareableAt(other, vma, vpn, index);
    const ptep = there < 0 ? 0 : yield* hugePteOffset(get(other, Vma.mm), there, h);
    if (ptep !== 0) table = pageOfEntry(ptep, PMD);
  }
  const late = switched(SW.hugetlbShareCountedLate);
  if (late) yield* upRead(inode + Inode.iMmapLock);
  if (table !== 0) {
    set(hugetlb(), Hugetlb.shared, 1);
    if (!late) setPageIndex(table, pageIndex[table] + 1);
    const lock = upperLock(mm, pageOfEntry(upper, PMD + 1), PMD + 1);
    yield* spinLock(lock);
    if (late) setPageIndex(table, pageIndex[table] + 1);
    if (((yield* entryGet(upper, PMD + 1)) & PTE_TABLE) === 0) {
      yield* entrySet(upper, PMD + 1, mkPte(table, PTE_TABLE));
      add(mm, Mm.pgtablesBytes, accounted(PMD));
    } else setPageIndex(table, pageIndex[table] - 1);
    yield* spinUnlock(lock);
  }
  const ptep = yield* hugePteAlloc(mm, vpn, h);
  if (!late) yield* upRead(inode + Inode.iMmapLock);
  return ptep;
}

/** huge_pmd_unshare: 1 when the table of a page was shared: the mapping has none there any longer. Needs the VMA's lock and i_mmap_rwsem for writing. */
export function* hugePmdUnshare(h: HstateRef, mm: MmRef, vpn: Vpn, ptep: number): Op<number> {
  if (!hugetlbPmdShared(h, ptep)) return 0;
  const table = pageOfEntry(ptep, PMD);
  let page = get(mm, Mm.pgd);
  for (let level = topLevel; level > PMD + 1; level--) {
    const entry = yield* entryGet(entryAt(page, level, vpn), level);
    page = tablePage(entry);
  }
  yield* entrySet(entryAt(page, PMD + 1, vpn), PMD + 1, 0);
  // As soon as the locks are let go it may be an ordinary table of the one who has it still. Who walks without locks must have left it by then.
  if (!switched(SW.hugetlbUnshareNoSync)) yield* syncInterrupts();
  setPageIndex(table, pageIndex[table] - 1);
  add(mm, Mm.pgtablesBytes, -accounted(PMD));
  return 1;
}

/**
 * hugetlb_walk: the first entry of a page, 0 when a table on the way is missing. Where tables can be shared the VMA's lock or i_mmap_rwsem is held, in any mode: the
 * mmap lock keeps nobody from unsharing one, which others may free then. @throws {KernelBug} I23
 */
export function* hugetlbWalk(vma: VmaRef, vpn: Vpn, h: HstateRef): Op<number> {
  if (sharesTables(h) && vmaShareableLock(vma) && !holds(inodeOfVma(vma) + Inode.iMmapLock, HELD_READ, HELD_WRITE)) assertVmaLocked(vma);
  return yield* hugePteOffset(get(vma, Vma.mm), vpn, h);
}

/** huge_pte_alloc for a VMA: with the tables of others where they can be shared. */
export function* hugePteAllocVma(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  return wantPmdShare(vma, vpn) ? yield* hugePmdShare(mm, vma, vpn) : yield* hugePteAlloc(mm, vpn, h);
}
