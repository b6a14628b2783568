/**
 * R05: a pin for reading that lasts, of a page that others share: the owner's next write would give him another page.
 *
 * The slow way unshares the page by a fault and looks again; fork may share it once more until then.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_LONGTERM } from '../mm/gup-types.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'R05',
  title: 'a page that a child shares is pinned for reading while other threads fork and store to it',
  source: 'a7f226604170 (mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly shared anonymous page)',
  setup(stage) {
    const { machine, notes, process } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    process.fork();
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_LONGTERM, notes.vector)),
    fork: ({ process }) => task(call('sysFork', process.ref)),
    owner: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    shared: {
      switches: ['gupNoUnshare'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'whoever shares the page is not asked about',
    },
    fixed: { expect: 'clean' },
  },
});
