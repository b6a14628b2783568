/** E03: get_user_pages_fast() pins a page that fork is about to share. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'E03',
  title: 'get_user_pages_fast() pins a page while another thread forks, which then stores to it',
  source: '57efa1fe5957 (mm/gup: prevent gup_fast from racing with COW during fork); 70e806e4e645 (mm: Do early cow for pinned pages during fork() for ptes)',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    fork: ({ process }) => task(call('sysFork', process.ref), call('threadStore', process.ref, WINDOW, 2)),
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector)),
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    'no-count': {
      switches: ['gupFastNoSeq'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'who pins does not look whether fork was at work',
    },
    'fork-silent': {
      switches: ['forkNoPinSeq'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'fork does not say that it is at work',
    },
    'shares-pinned': {
      switches: ['forkSharesPinned'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'fork shares pages whether pinned or not',
    },
    fixed: { expect: 'clean' },
  },
});
