/** E47 for shared memory, which is exclusive to nobody: only its references tell that somebody has the page. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { FOLL_WRITE } from '../mm/gup-types.ts';
import { migrate, noteFrameAndVector, vectorRoot } from './support/migration.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'E47-file',
  title: 'soft offline migrates a page of shared memory while get_user_pages_fast() pins it',
  source: '__folio_migrate_mapping(): folio_ref_freeze()',
  setup(stage) {
    map(stage, WINDOW, 1, { fd: memfd(stage, 1) });
    store(stage, WINDOW, 1);
    noteFrameAndVector(stage);
  },
  roots: vectorRoot,
  tasks: {
    migrate,
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector)),
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    'no-count': { switches: ['migrateNoCount'], expect: 'violation', rule: ['I5', 'I1'], preemptions: 0, note: 'references are not counted' },
    'counts-first': {
      switches: ['migrateCountsFirst'],
      expect: 'violation',
      rule: ['I5', 'I1'],
      preemptions: 1,
      note: 'they are counted while entries lead to the page',
    },
    fixed: { expect: 'clean' },
  },
});
