/** R24: two that remove the same page table: the second must see, under the locks, that there is none any longer. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'R24',
  title: 'two MADV_DONTNEED give the same emptied page table back, one of which had to wait for the lock of its upper entry',
  source: 'try_to_free_pte(): pte_offset_map_rw_nolock() under the lock; collapse_pte_mapped_thp(), mails of August 2023',
  setup(stage) {
    map(stage, WINDOW, 2 * stage.tablePages);
    store(stage, WINDOW + 1, 1);
  },
  tasks: {
    // The store makes the next page table: whoever wants to give one back meanwhile has to wait for the lock of the upper entries.
    other: (stage) => task(call('threadStore', stage.process.ref, WINDOW + stage.tablePages, 2), ...zapTable(stage).calls),
    one: zapTable,
  },
  variants: {
    stale: {
      switches: ['reclaimStaleUpper'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I13', 'I1'],
      preemptions: 1,
      note: 'one goes by what the upper entry was before he had its lock',
    },
    fixed: { expect: 'clean' },
  },
});
