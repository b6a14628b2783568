/**
 * E47-dirty (S02): a page that was given up with MADV_FREE and written to since is called dirty by its entry alone; the entry goes when the page is migrated, and reclaim
 * comes then.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, store, WINDOW } from '../explore/setup.ts';
import { MADV_FREE, MADV_PAGEOUT } from '../mm/madv.ts';
import { migrate, noteFrame } from './support/migration.ts';

export default scenario({
  id: 'E47-dirty',
  title: 'a page that its entry alone calls dirty is migrated, and reclaimed',
  source: 'try_to_migrate_one(): folio_mark_dirty(); fd35ca3d12cc (mm/migrate_device.c: copy pte dirty bit to page)',
  setup(stage) {
    const { process, page } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    must(process, 'madvise', WINDOW * page, page, MADV_FREE);
    noteFrame(stage);
  },
  tasks: {
    owner: ({ process, page }) => task(call('threadStore', process.ref, WINDOW, 2), call('sysMadvise', process.ref, WINDOW * page, page, MADV_PAGEOUT)),
    migrate,
  },
  holds: {
    I6: ({ process }) => (wordAt(process.ref, WINDOW) === 2 ? undefined : `the page holds ${wordAt(process.ref, WINDOW) ?? 'nothing'}, and 2 was stored`),
  },
  variants: {
    dropped: { switches: ['migrateDropsDirty'], expect: 'violation', rule: 'I6', preemptions: 1, note: 'what the entry says is forgotten with it' },
    fixed: { expect: 'clean' },
  },
});
