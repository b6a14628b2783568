/**
 * E47-hugetlb: get_user_pages() comes to a page of hugetlb while it is migrated, by the walk of Linux 6.18 and by the function that hugetlb had for it in 2022.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePool, MAP_ANONYMOUS, MAP_SHARED, mapHugetlb, store, WINDOW } from '../explore/setup.ts';
import { migrate, noteFrameAndVector, vectorRoot } from './support/migration.ts';

export default scenario({
  id: 'E47-hugetlb',
  title: 'get_user_pages() comes to a page of hugetlb while soft offline migrates it',
  source: 'hugetlb_follow_page_mask() of 6.1, its fourth version of October 2022; follow_page_mask(), hugetlb_fault()',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 2);
    mapHugetlb(stage, WINDOW, 1, { flags: MAP_SHARED | MAP_ANONYMOUS });
    store(stage, WINDOW, 1);
    noteFrameAndVector(stage);
  },
  roots: vectorRoot,
  tasks: {
    migrate,
    get: ({ process, notes: { vector } }) => task(call('getUserPagesUnlocked', process.mm, WINDOW, 1, 0, vector), call('putUserPages', vector)),
  },
  holds: {
    found: ({ results }) => (results.get[0] === 1 ? undefined : `get_user_pages() gives ${results.get[0]}`),
  },
  variants: {
    relocks: {
      switches: ['migrateHugetlbRelocks'],
      expect: 'violation',
      rule: 'I22',
      preemptions: 0,
      note: 'the lock of the mappings is taken with the page locked: who punches a hole takes them the other way round',
    },
    leftover: {
      switches: ['hugetlbFollowOwn', 'hugetlbFollowLeftover'],
      expect: 'violation',
      rule: 'I23',
      preemptions: 1,
      note: 'a lock that was not taken is released before the wait',
    },
    own: { switches: ['hugetlbFollowOwn'], expect: 'clean', note: 'waits by itself until the migration is over, and looks again' },
    fixed: { expect: 'clean', note: 'a fault waits' },
  },
});
