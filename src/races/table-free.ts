/**
 * Freeing a page table that somebody may be looking at without a lock: after a grace period, after an interrupt that he keeps from his CPU, or at once.
 */
import { scenario } from '../explore/scenario.ts';
import { loadPage, pageInTable, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'table-free',
  title: 'a fault reads an entry of a page table without a lock while MADV_DONTNEED empties the table and gives it back',
  source: 'mm/mmu_gather.c: tlb_remove_table_free(), tlb_remove_table_smp_sync()',
  setup: pageInTable,
  hardware: () => ({ ipis: true }),
  tasks: {
    zap: zapTable,
    fault: loadPage,
  },
  variants: {
    'at-once': { switches: ['tableFreeAtOnce'], expect: 'violation', rule: 'I3', preemptions: 1, note: 'readers under RCU, and nobody waits for them' },
    rcu: { expect: 'clean', note: 'readers under RCU, freed after a grace period' },
    ipi: { switches: ['tableFreeAtOnce', 'pteMapIrqsOff'], expect: 'clean', note: 'readers with interrupts off, freed after the flush by interrupts' },
  },
});
