/**
 * E69: a hole is punched into a hugetlb file while a thread faults there: the page goes together with its reservation, before the fault or after it.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, map, memfd, store, WINDOW } from '../explore/setup.ts';
import { MFD_HUGETLB } from '../mm/file-types.ts';
import { PUNCH } from './support/files.ts';

export default scenario({
  id: 'E69',
  title: 'fallocate() punches a page out of a hugetlb file to which a thread stores',
  source: 'remove_inode_hugepages(), hugetlb_no_page(): hugetlb_fault_mutex_table',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 1);
    stage.notes.fd = memfd(stage, hugePages(), MFD_HUGETLB);
    map(stage, WINDOW, hugePages(), { fd: stage.notes.fd });
    store(stage, WINDOW, 1);
  },
  tasks: {
    punch: ({ process, page, notes }) => task(call('sysFallocate', process.ref, notes.fd, PUNCH, 0, hugePages() * page)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  variants: {
    'no-mutex': {
      switches: ['hugetlbPunchNoMutex'],
      expect: 'violation',
      rule: ['I24', 'I25'],
      preemptions: 2,
      note: 'the fault finds the page gone and the reservation there, which is taken back a moment later',
    },
    fixed: { expect: 'clean' },
  },
});
