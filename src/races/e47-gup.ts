/**
 * E47-gup: get_user_pages() comes to a page while it is migrated: the walk without locks gives up, the one with locks waits and has the page.
 */
import { call, type Ending, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { FOLL_WRITE } from '../mm/gup-types.ts';
import { migrate, noteFrameAndVector, vectorRoot } from './support/migration.ts';

/** Who does not wait may have nothing; who waits has the page. */
function found({ results }: Ending): string | undefined {
  const [fast, , slow] = results.get;
  if (fast !== 0 && fast !== 1) return `get_user_pages_fast_only() gives ${fast}`;
  return slow === 1 ? undefined : `get_user_pages() gives ${slow}`;
}

export default scenario({
  id: 'E47-gup',
  title: 'get_user_pages(), without locks and with them, comes to a page while soft offline migrates it',
  source: 'gup_fast_pte_range(), follow_page_pte(), migration_entry_wait()',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    noteFrameAndVector(stage);
  },
  roots: vectorRoot,
  tasks: {
    migrate,
    get: ({ process, notes: { vector } }) =>
      task(
        call('getUserPagesFastOnly', process.mm, WINDOW, 1, FOLL_WRITE, vector),
        call('putUserPages', vector),
        call('getUserPagesUnlocked', process.mm, WINDOW, 1, FOLL_WRITE, vector),
        call('putUserPages', vector),
      ),
  },
  holds: { found },
  variants: {
    alien: {
      switches: ['migrationEntryAlien'],
      expect: 'violation',
      rule: 'found',
      preemptions: 1,
      note: 'a migration entry is taken for nothing that is known',
    },
    fixed: { expect: 'clean' },
  },
});
