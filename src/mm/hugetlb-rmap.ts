/** Rmap and counters of hugetlb pages, each of which is mapped by one entry as a whole (hugetlb_add_new_anon_rmap and its kin of mm/rmap.c). */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, clearFlags, entireMapcountAdd, get, setFlags } from '../kernel/ops.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_HUGETLB_RESTORE_RESERVE } from '../memory/page-flags.ts';
import { setPageIndex, setPageMapping } from '../memory/state.ts';
import { mkHugePte } from './huge-leaf.ts';
import { hugePages } from './hugetlb-resv.ts';
import type { HstateRef } from './hugetlb-types.ts';
import { pteMkdirty, pteMkwrite, pteMkyoung, pteWrprotect } from './pgtable.ts';
import { linearPageIndex, pageAnonExclusive } from './rmap.ts';
import { Mm, type MmRef, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_WRITE } from './vm-flags.ts';
import { vmaPageProt } from './vm-prot.ts';

/** hugetlb_add_new_anon_rmap: the first mapping of a fresh private page, exclusive. Its reservation is used for good. */
export function* hugetlbAddNewAnonRmap(page: Page, vma: VmaRef, vpn: Vpn): Op<number> {
  yield* entireMapcountAdd(page, 1, get(vma, Vma.mm));
  yield* clearFlags(page, PG_HUGETLB_RESTORE_RESERVE);
  setPageMapping(page, get(vma, Vma.anonVma));
  setPageIndex(page, linearPageIndex(vma, vpn));
  return yield* setFlags(page, PG_ANON | PG_ANON_EXCLUSIVE);
}

/** hugetlb_add_anon_rmap: of a private page that was mapped before. `exclusive`: it is mapped nowhere else. */
export function* hugetlbAddAnonRmap(page: Page, vma: VmaRef, exclusive: number): Op<number> {
  yield* entireMapcountAdd(page, 1, get(vma, Vma.mm));
  return exclusive !== 0 ? yield* setFlags(page, PG_ANON_EXCLUSIVE) : 0;
}

/** hugetlb_add_file_rmap. */
export function* hugetlbAddFileRmap(page: Page, vma: VmaRef): Op<number> {
  return yield* entireMapcountAdd(page, 1, get(vma, Vma.mm));
}

/** hugetlb_try_dup_anon_rmap: fork shares a private page; 0, or −1 when it may be pinned and must be copied instead. */
export function* hugetlbTryDupAnonRmap(page: Page, child: VmaRef, mayBePinned: boolean): Op<number> {
  if (pageAnonExclusive(page)) {
    if (mayBePinned) return -1;
    yield* clearFlags(page, PG_ANON_EXCLUSIVE);
  }
  yield* entireMapcountAdd(page, 1, get(child, Vma.mm));
  return 0;
}

/** hugetlb_remove_rmap. */
export function* hugetlbRemoveRmap(page: Page, vma: VmaRef): Op<number> {
  return yield* entireMapcountAdd(page, -1, get(vma, Vma.mm));
}

/** hugetlb_count_add, hugetlb_count_sub: pages of the mode that an address space maps. */
export function* hugetlbCountAdd(h: HstateRef, mm: MmRef, huge: number): Op<number> {
  return yield* atomicAdd(mm, Mm.hugetlbPages, huge * hugePages(h));
}

/** make_huge_pte: the entry of a page in a VMA; writable and dirty at once when `writable` and the VMA allows it. */
export function makeHugePte(h: HstateRef, vma: VmaRef, page: Page, writable: boolean): number {
  const pte = pteMkyoung(mkHugePte(h, page, vmaPageProt(vma)));
  return writable && (get(vma, Vma.flags) & VM_WRITE) !== 0 ? pteMkwrite(pteMkdirty(pte)) : pteWrprotect(pte);
}
