/** E17: two mmu_gathers on one mm. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'E17',
  title: 'the second of two MADV_DONTNEED finds entries empty that the first has not flushed yet, and returns',
  source: '99baac21e458 (mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem), 1cf35d47712d (mm: split tlb_flush_mmu)',
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    first: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, 2 * page, MADV_DONTNEED)),
    second: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, 2 * page, MADV_DONTNEED)),
  },
  variants: {
    unaware: { switches: ['gathersUnaware'], expect: 'violation', rule: 'I4', preemptions: 1, note: 'a gather does not know of the other' },
    fixed: { expect: 'clean' },
  },
});
