/**
 * E18, the other half: the page is written to through a reference that was taken before MADV_FREE, and not through an entry.
 *
 * Who has written so sets the dirty flag, without the page's lock, and then drops the reference: reclaim must count the references first and look at the
 * flag then.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, store, WINDOW } from '../explore/setup.ts';
import { MADV_FREE } from '../mm/madv.ts';

export default scenario({
  id: 'E18-reference',
  title: 'a driver ends its write to a page while reclaim looks whether it may discard it after MADV_FREE',
  source: '6c8e2a256915 (mm: fix race between MADV_FREE reclaim and blkdev direct IO read)',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    stage.notes.page = pageAt(stage.process.ref, WINDOW);
    stage.machine.enter();
    stage.machine.kernel.folioGet(stage.notes.page);
    must(stage.process, 'madvise', WINDOW * stage.page, stage.page, MADV_FREE);
  },
  tasks: {
    reclaim: ({ notes }) => task(call('reclaimFolio', notes.page, 1)),
    driver: ({ notes }) => task(call('folioMarkDirty', notes.page), call('folioPut', notes.page)),
  },
  holds: {
    kept: ({ process, notes }) => (pageAt(process.ref, WINDOW) === notes.page ? undefined : 'the page that was written to is gone'),
  },
  variants: {
    uncounted: {
      switches: ['lazyfreeUncounted'],
      expect: 'violation',
      rule: 'kept',
      preemptions: 0,
      note: 'nobody counts the references',
    },
    'count-last': {
      switches: ['lazyfreeCountLast'],
      expect: 'violation',
      rule: 'kept',
      preemptions: 1,
      note: 'the dirty flag is looked at before the references are counted',
    },
    fixed: { expect: 'clean' },
  },
});
