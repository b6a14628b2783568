/**
 * R08: an upper entry that is read more than once on the way down: what was seen to be a table at the first look is followed as what it is at the second.
 *
 * Only entries that lead to tables of the lowest level change under the mmap lock held for reading; that of a huge page one level above would be followed alike.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector } from '../mm/gup-types.ts';

const MADV_DONTNEED = 4;

export default scenario({
  id: 'R08',
  title: 'get_user_pages() walks down to a page while MADV_DONTNEED empties the upper entry that it has just looked at',
  source: 'mm/gup: cache *pudp in follow_pud_mask() (6.10), and its kin of the other levels',
  setup(stage) {
    const { machine, notes, tablePages } = stage;
    map(stage, WINDOW, tablePages);
    store(stage, WINDOW + 1, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    zap: ({ process, page, tablePages }) => task(call('sysMadvise', process.ref, WINDOW * page, tablePages * page, MADV_DONTNEED)),
    get: ({ process, notes }) => task(call('getUserPagesUnlocked', process.mm, WINDOW + 1, 1, 0, notes.vector), call('putUserPages', notes.vector)),
  },
  variants: {
    twice: {
      switches: ['upperEntryTwice'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'there is a table at the first look and none at the second',
    },
    fixed: { expect: 'clean' },
  },
});
