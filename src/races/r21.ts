/** R21: a page table waits for a grace period, and what belongs to it does not: its lock, which may be allocated apart from it, is gone at once. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'R21',
  title: 'a fault that reads under RCU takes the lock of a page table that has just been given back',
  source: 'pte_free_defer(), pagetable_dtor_free(); 32cc0b7c9d50 (powerpc: add pte_free_defer() for pgtables sharing page)',
  setup(stage) {
    map(stage, WINDOW, stage.tablePages);
    store(stage, WINDOW + 1, 1);
  },
  tasks: {
    zap: ({ process, page, tablePages }) => task(call('sysMadvise', process.ref, WINDOW * page, tablePages * page, MADV_DONTNEED)),
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW + 1, 2)),
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
