/**
 * R08: an upper entry that is read more than once on the way down: what was seen to be a table at the first look is followed as what it is at the second.
 *
 * Only entries that lead to tables of the lowest level change under the mmap lock held for reading; that of a huge page one level above would be followed alike.
 */
import { scenario } from '../explore/scenario.ts';
import { getPage, walkedTable, zapTable } from './support/walked-table.ts';

export default scenario({
  id: 'R08',
  title: 'get_user_pages() walks down to a page while MADV_DONTNEED empties the upper entry that it has just looked at',
  source: 'mm/gup: cache *pudp in follow_pud_mask() (6.10), and its kin of the other levels',
  ...walkedTable,
  tasks: {
    zap: zapTable,
    get: getPage('getUserPagesUnlocked'),
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
