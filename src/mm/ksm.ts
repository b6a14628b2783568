/**
 * What KSM does to a page before it compares it with others (mm/ksm.c: write_protect_page).
 *
 * Invariants: a page may be shared, or another put in its place, only when nobody has references to it but its mappings and whoever asks: who has read or
 * written it by a pin would go on with a page that the process has no longer. The entry is emptied first and the references are counted then:
 * get_user_pages_fast() takes its reference first and reads the entry again then, so one of the two notices the other.
 */
import type { Op } from '../kernel/op.ts';
import { clearFlags, entryGet, flushTlbRange, folioTrylock, folioUnlock, get, readOnce, refAdd, spinUnlock, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { PG_ANON_EXCLUSIVE } from '../memory/page-flags.ts';
import { pageMapcount } from '../memory/state.ts';
import { ptepGetAndClear, setPteAt } from './contpte.ts';
import { EFAULT } from './errno.ts';
import { followPage } from './gup.ts';
import { FOLL_GET } from './gup-types.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { pageVmaMappedWalk } from './page-vma-mapped.ts';
import { pteDirty, pteLockptr, pteMkclean, pteWrite, pteWrprotect } from './pgtable.ts';
import { folioTryShareAnonRmap, pageAnonExclusive } from './rmap.ts';
import { folioMarkDirty, folioPut, folioTestAnon } from './swap.ts';
import { Mm, type Page, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { vmaLookup } from './vma-tree.ts';

/** Whether a page has but the references of its mappings and the caller's. */
function* onlyMapped(page: Page): Op<boolean> {
  return (yield* refAdd(page, 0)) === pageMapcount[page] + 1;
}

/** Clears the flag without a question. */
function* clearExclusive(page: Page): Op<number> {
  yield* clearFlags(page, PG_ANON_EXCLUSIVE);
  return 0;
}

/** write_protect_page: a locked, referenced page that a VMA maps cannot be written without a fault any more. 0, or −EFAULT when it is in use. */
export function* writeProtectPage(vma: VmaRef, page: Page, vpn: Vpn): Op<number> {
  const mm = get(vma, Vma.mm);
  const ptep = yield* pageVmaMappedWalk(page, vma, vpn);
  if (ptep === 0) return -EFAULT;
  const lock = pteLockptr(ptep);
  const seen = yield* entryGet(ptep, 0);
  const exclusive = pageAnonExclusive(page);
  if (!pteWrite(seen) && !pteDirty(seen) && !exclusive && (yield* readOnce(mm, Mm.tlbFlushPending)) === 0) {
    yield* spinUnlock(lock);
    return 0;
  }
  const first = switched(SW.ksmCountsFirst);
  let free = first && (yield* onlyMapped(page));
  const pte = yield* ptepGetAndClear(mm, vpn, ptep, seen);
  yield* flushTlbRange(mm, vpn, vpn + 1);
  if (!first) free = yield* onlyMapped(page);
  if (free && exclusive) free = (first ? yield* clearExclusive(page) : yield* folioTryShareAnonRmap(page)) === 0;
  if (free && pteDirty(pte)) yield* folioMarkDirty(page);
  yield* setPteAt(mm, vpn, ptep, free ? pteMkclean(pteWrprotect(pte)) : pte);
  yield* spinUnlock(lock);
  return free ? 0 : -EFAULT;
}

/** The way of ksmd to a page of a process until it compares it (try_to_merge_one_page). 0, or −EFAULT when the page is none of KSM's, or in use. */
export function* ksmProtectPage(process: ProcessRef, vpn: Vpn): Op<number> {
  const mm = get(process, Process.mm);
  let result = -EFAULT;
  yield* mmapReadLock(mm);
  const vma = vmaLookup(mm, vpn);
  const page = vma === 0 ? 0 : yield* followPage(vma, vpn, FOLL_GET);
  if (page > 0) {
    if (folioTestAnon(page) && (yield* folioTrylock(page)) !== 0) {
      result = yield* writeProtectPage(vma, page, vpn);
      yield* folioUnlock(page);
    }
    yield* folioPut(page);
  }
  yield* mmapReadUnlock(mm);
  return result;
}
