/** Pages that hold page tables: what they carry beside their entries, and their end. */
import type { Op } from '../kernel/op.ts';
import { freePage, refAdd } from '../kernel/ops.ts';
import { forgetLock } from '../kernel/table-lock.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { pageFlags, setPageFlags } from '../memory/state.ts';
import type { Page } from './types.ts';

/** pagetable_dtor: the page is no table any longer, its lock no lock. */
export function pagetableDtor(table: Page): void {
  setPageFlags(table, pageFlags[table] & ~PG_TABLE);
  forgetLock(table);
}

/** pagetable_free: a table of 2^order pages that nobody looks at. */
export function* pagetableFree(table: Page, order: number): Op<number> {
  const left = yield* refAdd(table, -1);
  pagetableDtor(table);
  if (left === 0) return yield* freePage(table, order);
  // get_user_pages_fast() took a reference to the page that this was before it became a table, and has yet to see that it is another: there the first page
  // is freed (__free_pages).
  for (let part = order - 1; part >= 0; part--) yield* freePage(table + 2 ** part, part);
  return 0;
}
