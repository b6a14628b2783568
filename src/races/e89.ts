/**
 * E89: there is no memory for the batch in which page tables wait for their grace period, and they cannot wait without one: an interrupt to all CPUs stands in.
 *
 * Who keeps interrupts off, as get_user_pages_fast() does, is waited for then; who only reads under RCU, as faults do, is not. Where a table's descriptor has
 * place for the callback (CONFIG_PT_RECLAIM since 6.14) nothing needs to be allocated.
 */
import { scenario } from '../explore/scenario.ts';
import { getPage, loadPage, walkedTable, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'E89',
  title: 'a page table is given back, without memory for a batch, while somebody walks through it',
  source: 'mm/mmu_gather.c: tlb_remove_table_one(), tlb_remove_table_sync_one(); 718b13861d22 (x86: mm: free page table pages by RCU instead of semi RCU)',
  ...walkedTable,
  hardware: () => ({ ipis: true }),
  tasks: {
    zap: zapTable,
    walker: (stage) => (stage.notes.fast === 1 ? getPage('getUserPagesFastOnly') : loadPage)(stage),
  },
  variants: {
    fault: {
      switches: ['tableBatchFails'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'a fault reads the table under RCU, with interrupts on: its CPU answers, and the table is freed',
    },
    'gup-fast': { switches: ['tableBatchFails'], notes: { fast: 1 }, expect: 'clean', note: 'get_user_pages_fast() keeps the interrupt from its CPU' },
    fixed: { expect: 'clean', note: 'a grace period all the same' },
    'fixed-gup-fast': { notes: { fast: 1 }, expect: 'clean', note: 'a grace period waits for interrupts that are off, too' },
  },
});
