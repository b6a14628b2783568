/**
 * Page tables that are kept for huge entries, so that one can be split without memory (mm/pgtable-generic.c: pgtable_trans_huge_deposit,
 * pgtable_trans_huge_withdraw; the list of struct ptdesc pmd_huge_pte).
 *
 * Invariants: the list hangs at the page of the table that the huge entries stand in (`next`), and goes on from table to table (`next`); it changes under that
 * table's lock, and is as long as that table has huge entries of anonymous memory or of the huge zero page (of anything with archNeedsPgtableDeposit). Its tables are empty and count in pgtables_bytes.
 */
import { codec, pageOfEntry } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add } from '../kernel/ops.ts';
import { pageNext, setPageNext } from '../memory/state.ts';
import { pteFree } from './pgtable.ts';
import { Mm, type MmRef, type Page } from './types.ts';

/** pgtable_trans_huge_deposit. Needs the lock of the entry at `pmdp`. */
export function pgtableDeposit(pmdp: number, table: Page): void {
  const holder = pageOfEntry(pmdp, 1);
  setPageNext(table, pageNext[holder]);
  setPageNext(holder, table);
}

/** pgtable_trans_huge_withdraw. */
export function pgtableWithdraw(pmdp: number): Page {
  const holder = pageOfEntry(pmdp, 1);
  const table = pageNext[holder];
  if (table === 0) throw new Error('a huge entry has no page table in reserve');
  setPageNext(holder, pageNext[table]);
  setPageNext(table, 0);
  return table;
}

/** arch_needs_pgtable_deposit: whether huge entries of files have a table in reserve, too. The hash of powerpc keeps there in which slots of it they stand. */
export const archNeedsPgtableDeposit = (): boolean => codec.mode.name.startsWith('ppc64-hash');

/** mm_inc_nr_ptes: a table counts from when it is deposited. */
export function mmIncNrPtes(mm: MmRef): void {
  add(mm, Mm.pgtablesBytes, codec.levels[0].tableBytes);
}

/** zap_deposited_table: the huge entry is gone, so its table goes, too. */
export function* zapDepositedTable(mm: MmRef, pmdp: number): Op<number> {
  const table = pgtableWithdraw(pmdp);
  add(mm, Mm.pgtablesBytes, -codec.levels[0].tableBytes);
  return yield* pteFree(table);
}
