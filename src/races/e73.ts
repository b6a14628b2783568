/**
 * E73: who made a private hugetlb mapping writes to a page that a child maps, too, and there is no page for a copy: the child loses it. Locks are given up
 * for that, and another thread throws the page away meanwhile.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, mapHugetlb, store, WINDOW } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'E73',
  title: 'a store to a private hugetlb page that a child maps, with an empty pool, and MADV_DONTNEED of it',
  source: 'hugetlb_wp(), unmap_ref_private()',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 1);
    mapHugetlb(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    stage.process.fork();
  },
  tasks: {
    owner: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
    thread: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, hugePages() * page, MADV_DONTNEED)),
  },
  variants: {
    'not-looked-at-again': {
      switches: ['hugetlbWpNoRecheck'],
      expect: 'violation',
      rule: 'I27',
      preemptions: 1,
      note: 'it tries for ever to copy a page that it maps no longer',
    },
    fixed: { expect: 'clean' },
  },
});
