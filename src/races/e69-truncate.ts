/**
 * E69, the end of a file: it is cut to nothing while a thread faults in its page. What is behind the end is neither in the file nor mapped afterwards.
 *
 * The fault looks at the size and takes the page later; truncate passes over mappings in which a fault is, and looks for pages of the file when there is none yet.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, map, memfd, WINDOW } from '../explore/setup.ts';
import { MFD_HUGETLB } from '../mm/file-types.ts';

export default scenario({
  id: 'E69-truncate',
  title: 'ftruncate() of a hugetlb file to nothing while a thread faults in its first page',
  source: 'hugetlb_vmtruncate(), hugetlb_vmdelete_list(): hugetlb_vma_trylock_write(); hugetlb_no_page(): i_size_read()',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 1);
    stage.notes.fd = memfd(stage, hugePages(), MFD_HUGETLB);
    map(stage, WINDOW, hugePages(), { fd: stage.notes.fd });
  },
  tasks: {
    truncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  variants: {
    linux: {
      expect: 'violation',
      rule: ['I24', 'I25'],
      preemptions: 1,
      note: 'Linux 6.18 as it is: the reservation is used by the fault and taken back by truncate',
    },
    fixed: { switches: ['hugetlbTruncateWaits'], expect: 'clean', note: 'truncate waits for faults that may have seen the old size' },
  },
});
