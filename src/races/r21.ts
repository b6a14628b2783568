/** R21: a page table waits for a grace period, and what belongs to it does not: its lock, which may be allocated apart from it, is gone at once. */
import { scenario } from '../explore/scenario.ts';
import { pageInTable, storePage, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'R21',
  title: 'a fault that reads under RCU takes the lock of a page table that has just been given back',
  source: 'pte_free_defer(), pagetable_dtor_free(); 32cc0b7c9d50 (powerpc: add pte_free_defer() for pgtables sharing page)',
  setup: pageInTable,
  tasks: {
    zap: zapTable,
    fault: storePage,
  },
  variants: {
    'lock-first': {
      switches: ['tableDtorEarly'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'the lock does not wait for the reader who is about to take it',
    },
    fixed: { expect: 'clean', note: 'table and lock go after the grace period; the reader sees by the upper entry that it is the wrong one' },
  },
});
