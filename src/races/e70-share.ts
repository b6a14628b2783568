/**
 * E70, joining: a fault finds a table that another process has for the same pages, while that one unmaps it. Who joins is counted under i_mmap_rwsem, which who leaves
 * holds for writing.
 *
 * Where hugetlb shares tables: x86-64, arm64, riscv64.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hugePages } from '../explore/setup.ts';
import { byChild, sharedAt, sharedTable, sharesTables } from './support/shared-table.ts';

export default scenario({
  id: 'E70-share',
  title: 'a store comes to share a table of hugetlb whose only user unmaps it',
  source: 'huge_pmd_share(), huge_pmd_unshare()',
  modes: sharesTables,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => sharedTable(stage, 2, { joined: false }),
  roots: ({ notes }) => [notes.vector],
  tasks: {
    thread: (stage) => byChild(stage, call('threadStore', stage.notes.child, sharedAt() + hugePages(), 2)),
    other: ({ process }) => task(call('hugetlbUnmapTable', process.ref, sharedAt(), 2)),
  },
  variants: {
    'counted-late': {
      switches: ['hugetlbShareCountedLate'],
      expect: 'violation',
      rule: ['I3', 'I2', 'I19'],
      preemptions: 1,
      racy: true,
      note: 'the table is freed before the one who found it is counted',
    },
    fixed: { expect: 'clean' },
  },
});
