/**
 * E70: a fault uses a table that hugetlb shares while another page is punched out of the file, by which the faulting process loses the table, and the other
 * unmaps it. Who is in a table has the lock of his VMA.
 *
 * Where hugetlb shares tables: x86-64, arm64, riscv64.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hugePages } from '../explore/setup.ts';
import { childFrees, sharedAt, sharedTable, sharesTables } from './support/shared-table.ts';

export default scenario({
  id: 'E70',
  title: 'a store through a table that hugetlb shares while the other process punches another page out and unmaps the table',
  source: 'huge_pmd_share(), huge_pmd_unshare(), hugetlb_vma_lock_read()',
  modes: sharesTables,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => sharedTable(stage, 2),
  roots: ({ notes }) => [notes.vector],
  tasks: {
    thread: ({ process }) => task(call('threadStore', process.ref, sharedAt() + hugePages(), 2)),
    child: childFrees,
  },
  variants: {
    'no-lock': {
      switches: ['hugetlbFaultUnlocked'],
      expect: 'violation',
      rule: ['I3', 'I19', 'I1'],
      preemptions: 1,
      note: 'the fault writes into a table that its process has lost',
    },
    fixed: { expect: 'clean' },
  },
});
