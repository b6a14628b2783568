/** rss_stat: how many pages of each kind an address space maps (include/linux/mm.h: mm_counter). */
import type { Op } from '../kernel/op.ts';
import { atomicAdd, get, set } from '../kernel/ops.ts';
import { pageFolio } from '../memory/folio.ts';
import { PG_ANON, PG_SWAPBACKED } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, Mm, type MmRef, type Page } from './types.ts';

/** mm_counter_file: shared memory counts apart from files. */
export const fileCounter = (page: Page): number => ((pageFlags[pageFolio(page)] & PG_SWAPBACKED) !== 0 ? MM_SHMEMPAGES : MM_FILEPAGES);

/** mm_counter: which counter a mapped page belongs to. */
export const mmCounter = (page: Page): number => ((pageFlags[pageFolio(page)] & PG_ANON) !== 0 ? MM_ANONPAGES : fileCounter(page));

/** add_mm_counter. */
export function* addMmCounter(mm: MmRef, member: number, delta: number): Op<number> {
  return yield* atomicAdd(mm, Mm.rss + member, delta);
}

/** get_mm_rss: pages of RAM that are mapped. */
export const getMmRss = (mm: MmRef): number => get(mm, Mm.rss + MM_FILEPAGES) + get(mm, Mm.rss + MM_ANONPAGES) + get(mm, Mm.rss + MM_SHMEMPAGES);

/** update_hiwater_rss: before pages are unmapped. */
export function updateHiwaterRss(mm: MmRef): void {
  const rss = getMmRss(mm);
  if (rss > get(mm, Mm.hiwaterRss)) set(mm, Mm.hiwaterRss, rss);
}

/** reset_mm_hiwater_rss. */
export function resetHiwaterRss(mm: MmRef): void {
  set(mm, Mm.hiwaterRss, getMmRss(mm));
}

/** update_hiwater_vm: before an address space becomes smaller. */
export function updateHiwaterVm(mm: MmRef): void {
  if (get(mm, Mm.totalVm) > get(mm, Mm.hiwaterVm)) set(mm, Mm.hiwaterVm, get(mm, Mm.totalVm));
}
