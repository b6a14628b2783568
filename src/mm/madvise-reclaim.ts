/** MADV_COLD and MADV_PAGEOUT (mm/madvise.c: madvise_cold_or_pageout_pte_range). */

import { entryAt, entryEnd, entryStride, topLevel } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryGet, entrySet, flushTlbRange, get, spinLock, spinUnlock } from '../kernel/ops.ts';
import { PG_REFERENCED } from '../memory/page-flags.ts';
import { PTE_ACCESSED, PTE_TABLE } from '../pagetable/canonical.ts';
import { EINVAL } from './errno.ts';
import { vmNormalPage } from './memory.ts';
import { pteClear, pteLockptr, ptePresent, tablePage } from './pgtable.ts';
import { Mm, type Page, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGETLB, VM_LOCKED, VM_PFNMAP } from './vm-flags.ts';

/** can_madv_lru_vma. */
const canMadvLruVma = (vma: VmaRef): boolean => (get(vma, Vma.flags) & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB)) === 0;

export function* madviseCold(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!canMadvLruVma(vma)) return -EINVAL;
  return yield* coldTable(vma, get(get(vma, Vma.mm), Mm.pgd), topLevel, start, end);
}

export function* madvisePageout(vma: VmaRef, start: Vpn, end: Vpn): Op<number> {
  if (!canMadvLruVma(vma)) return -EINVAL;
  return yield* coldTable(vma, get(get(vma, Vma.mm), Mm.pgd), topLevel, start, end);
}

function* coldTable(vma: VmaRef, table: Page, level: number, start: Vpn, end: Vpn): Op<number> {
  let vpn = start;
  while (vpn < end) {
    const next = entryEnd(vpn, end, level);
    const entry = yield* entryGet(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) !== 0) {
      if (level > 1) yield* coldTable(vma, tablePage(entry), level - 1, vpn, next);
      else yield* coldPteRange(vma, tablePage(entry), vpn, next);
    }
    vpn = next;
  }
  return 0;
}

function* coldPteRange(vma: VmaRef, table: Page, start: Vpn, end: Vpn): Op<number> {
  let ptep = entryAt(table, 0, start);
  const lock = pteLockptr(ptep);
  yield* spinLock(lock);
  for (let vpn = start; vpn < end; vpn++) {
    const pte = yield* entryGet(ptep, 0);
    const page = ptePresent(pte) ? vmNormalPage(pte) : 0;
    if (page !== 0) {
      if ((pte & PTE_ACCESSED) !== 0) {
        yield* entrySet(ptep, 0, pteClear(pte, PTE_ACCESSED));
        yield* flushTlbRange(get(vma, Vma.mm), vpn, vpn + 1);
      }
      yield* clearFlags(page, PG_REFERENCED);
    }
    ptep += entryStride(0);
  }
  return yield* spinUnlock(lock);
}
