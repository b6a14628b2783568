/** Pages that hold page tables: what they carry beside their entries. */
import { forgetLock } from '../kernel/table-lock.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { pageFlags, setPageFlags } from '../memory/state.ts';
import type { Page } from './types.ts';

/** pagetable_dtor: the page is no table any longer. */
export function clearTableFlag(table: Page): void {
  setPageFlags(table, pageFlags[table] & ~PG_TABLE);
  forgetLock(table);
}
