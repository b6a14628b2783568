/**
 * E47: a page is migrated while a thread stores to it and get_user_pages_fast() pins it; E80: soft offline against a pin.
 *
 * Whoever empties the entry of a page that is exclusive looks for pins then, and puts it back; so it does not hang on the count of references that a pinned page stays.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { FOLL_WRITE } from '../mm/gup-types.ts';
import { migrate, noteFrameAndVector, vectorRoot } from './support/migration.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'E47',
  title: 'soft offline migrates a page while a thread stores to it and get_user_pages_fast() pins it',
  source: 'try_to_migrate(), __migrate_folio(), migration_entry_wait(); soft_offline_in_use_page()',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    noteFrameAndVector(stage);
  },
  roots: vectorRoot,
  tasks: {
    migrate,
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector)),
    owner: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    I5: pinnedStaysMapped,
    'own store': ({ process }) => (wordAt(process.ref, WINDOW) === 2 ? undefined : `the page holds ${wordAt(process.ref, WINDOW)}, and 2 was stored`),
  },
  variants: {
    'pins-first': {
      switches: ['migratePinsFirst'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'pins are looked for before the entry is empty',
    },
    'no-count': { switches: ['migrateNoCount'], expect: 'clean', note: 'a page that may be pinned keeps its mapping' },
    fixed: { expect: 'clean' },
  },
});
