/** E18: reclaim of a lazily freed page against a store to it. What a write through a reference does is E18-reference. */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, store, WINDOW } from '../explore/setup.ts';
import { MADV_FREE } from '../mm/madv.ts';

export default scenario({
  id: 'E18',
  title: 'a page is written to after MADV_FREE while reclaim looks whether it may discard it',
  source: 'try_to_unmap_one(): the entry is emptied in one step that says whether it was dirty',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    must(stage.process, 'madvise', WINDOW * stage.page, stage.page, MADV_FREE);
    stage.notes.page = pageAt(stage.process.ref, WINDOW);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    reclaim: ({ notes }) => task(call('reclaimFolio', notes.page, 1)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 7), call('threadLoad', process.ref, WINDOW)),
  },
  holds: {
    'own store': ({ results }) => (results.thread[1] === 7 ? undefined : `the thread stores 7 and loads ${results.thread[1]}`),
  },
  variants: {
    early: {
      switches: ['lazyfreeDirtyFirst'],
      expect: 'violation',
      rule: ['I32', 'own store'],
      preemptions: 2,
      note: 'the dirty bit is looked at before the entry is emptied',
    },
    fixed: { expect: 'clean' },
  },
});
