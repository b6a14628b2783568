/** E12: MAP_FIXED over a range that is being faulted. */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, map, PROT_READ, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E12',
  title: 'mmap(MAP_FIXED) replaces a writable mapping by a read-only one while a fault on the old one is under way',
  source: 'vma_start_write(), vma_mark_detached(): readers inside are waited for; __mmap_region()',
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW + 1, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1)),
    mmap: ({ process, page }) => task(call('sysMmap', process.ref, WINDOW * page, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)),
  },
  variants: {
    hasty: {
      switches: ['vmaWriteNoWait', 'vmaDetachNoWait'],
      expect: 'violation',
      rule: ['I3', 'I11', 'I19', 'I23'],
      preemptions: 1,
      note: 'who locks and detaches the old VMA does not wait for the fault that is inside',
    },
    fixed: { expect: 'clean' },
  },
});
