/** E55: giving back an emptied page table against faults in its range. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'E55',
  title: 'MADV_DONTNEED of all that a page table maps gives the table back while another thread faults in its range',
  source: '6375e95f381e (mm: pgtable: reclaim empty PTE page in madvise(MADV_DONTNEED)); try_to_free_pte(), pte_offset_map_lock()',
  setup(stage) {
    const { tablePages } = stage;
    map(stage, WINDOW, 2 * tablePages);
    store(stage, WINDOW + 1, 1);
  },
  tasks: {
    zap: zapTable,
    // The first store makes the next page table: its upper entry has the lock that the zap tries to get.
    fault: ({ process, tablePages }) => task(call('threadStore', process.ref, WINDOW + tablePages, 2), call('threadStore', process.ref, WINDOW + 1, 3)),
  },
  variants: {
    'no-recheck': {
      switches: ['pteMapNoRecheck'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'the fault maps its page in a table that has left the tree',
    },
    unverified: {
      switches: ['reclaimUnverified'],
      expect: 'violation',
      rule: ['I12', 'I1', 'I2'],
      preemptions: 1,
      note: 'a page that was mapped since the range was emptied goes with the table',
    },
    fixed: { expect: 'clean' },
  },
});
