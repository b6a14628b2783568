/**
 * E68: two faults on one page of hugetlb for which one page is reserved: the second must wait for the first, not find the pool empty.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePool, MAP_ANONYMOUS, MAP_SHARED, mapHugetlb, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E68',
  title: 'two threads fault in the one page of a hugetlb mapping, for which one page is reserved',
  source: 'hugetlb_fault(): hugetlb_fault_mutex_table; hugepage: serialize hugepage allocation and instantiation (2.6.17)',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 1);
    mapHugetlb(stage, WINDOW, 1, { flags: MAP_SHARED | MAP_ANONYMOUS });
  },
  tasks: {
    one: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1)),
    two: ({ process }) => task(call('threadStore', process.ref, WINDOW + 1, 2)),
  },
  holds: {
    I24: ({ results }) =>
      results.one[0] === 0 && results.two[0] === 0
        ? undefined
        : `a store to reserved memory ends in signal ${Math.floor(-(results.one[0] || results.two[0]) / 256)}`,
  },
  variants: {
    'no-mutex': {
      switches: ['hugetlbNoFaultMutex'],
      expect: 'violation',
      rule: ['I24', 'I1'],
      preemptions: 1,
      note: 'the second finds nothing mapped, and nothing in the pool',
    },
    fixed: { expect: 'clean' },
  },
});
