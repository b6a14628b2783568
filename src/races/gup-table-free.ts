/**
 * Freeing a page table that get_user_pages_fast() is walking: its interrupts are off, which keeps grace periods from ending where tables are freed by RCU, and
 * the flush from being answered where they are freed after it.
 */
import { scenario } from '../explore/scenario.ts';
import { getPage, walkedTable, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'gup-table-free',
  title: 'get_user_pages_fast() walks a page table while MADV_DONTNEED empties the table and gives it back',
  source: 'mm/mmu_gather.c: tlb_remove_table_free(), tlb_remove_table_smp_sync(); gup_fast(): local_irq_save()',
  ...walkedTable,
  hardware: ({ notes }) => ({ ipis: notes.ipis === 1 }),
  tasks: {
    zap: zapTable,
    get: getPage('getUserPagesFastOnly'),
  },
  variants: {
    'at-once': { switches: ['tableFreeAtOnce'], expect: 'violation', rule: 'I3', preemptions: 1, note: 'freed after a flush that nobody has to answer' },
    'irqs-ignored': {
      switches: ['rcuIgnoresIrqsOff'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'freed after a grace period that does not wait for who has interrupts off',
    },
    rcu: { expect: 'clean', note: 'freed after a grace period' },
    ipi: { switches: ['tableFreeAtOnce'], notes: { ipis: 1 }, expect: 'clean', note: 'freed after a flush by interrupts, which waits until they are on' },
  },
});
