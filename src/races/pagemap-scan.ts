/**
 * PAGEMAP_SCAN against what comes and goes below it: MADV_DONTNEED empties a page table and gives it back (PT_RECLAIM) with no more than the lock of the VMA,
 * a fault makes another one.
 *
 * Only scans that look: without userfaultfd there is nothing for PM_SCAN_WP_MATCHING to protect.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { PAGE_IS_PRESENT } from '../mm/task-mmu.ts';

export default scenario({
  id: 'pagemap-scan',
  title: 'PAGEMAP_SCAN walks page tables while MADV_DONTNEED gives an empty one back and a fault makes it anew',
  source: 'pagemap_scan_pmd_entry(), pte_offset_map_lock(); try_to_free_pte()',
  setup(stage) {
    // All of one page table, and the first page of the next.
    map(stage, WINDOW, stage.tablePages + 1);
    store(stage, WINDOW + stage.tablePages - 1, 1);
    store(stage, WINDOW + stage.tablePages, 2);
  },
  tasks: {
    scan: ({ process, tablePages }) => task(call('threadScan', process.ref, WINDOW + tablePages - 1, 2, PAGE_IS_PRESENT)),
    zap: ({ process, page, tablePages }) =>
      task(call('sysMadvise', process.ref, WINDOW * page, tablePages * page, MADV_DONTNEED), call('threadLoad', process.ref, WINDOW + tablePages - 1)),
  },
  variants: {
    'no-recheck': {
      switches: ['pteMapNoRecheck'],
      expect: 'violation',
      rule: ['I3', 'I23'],
      preemptions: 1,
      note: 'the scan takes the lock of a table that has left the tree',
    },
    fixed: { expect: 'clean' },
  },
});
