/**
 * R11: who walks to an entry of a hugetlb mapping with the mmap lock alone holds a table that his address space can lose (a page leaves the file: no mmap lock is
 * needed for that), and that the other process who has it frees with its mapping.
 *
 * The lock of the VMA keeps the table while the walk lasts; an RCU read section keeps its memory, which is as good for who looks and looks again.
 *
 * Where hugetlb shares tables: x86-64, arm64, riscv64.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { childFrees, sharedAt, sharedTable, sharesTables } from './support/shared-table.ts';

export default scenario({
  id: 'R11',
  title: 'get_user_pages() walks a table that hugetlb shares, the page is punched out of the file, and who has the table still unmaps it',
  source: 'mm/hugetlb: make walk functions take the lock of the VMA (6.2); huge_pte_offset(), hugetlb_walk()',
  modes: sharesTables,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => sharedTable(stage, 1),
  roots: ({ notes }) => [notes.vector],
  tasks: {
    get: ({ process, notes }) => task(call('getUserPagesUnlocked', process.mm, sharedAt(), 1, 0, notes.vector), call('putUserPages', notes.vector)),
    child: childFrees,
  },
  variants: {
    'mmap-lock': {
      switches: ['hugetlbWalkUnlocked'],
      expect: 'violation',
      rule: ['I3', 'I19', 'I1'],
      preemptions: 1,
      note: 'the walk takes the lock of a table that is free',
    },
    rcu: { switches: ['hugetlbWalkRcu'], expect: 'clean', note: 'tables are freed after a grace period' },
    fixed: { expect: 'clean' },
  },
});
