/**
 * E71: who leaves a table that hugetlb shares flushes all that it mapped for him, not the page alone at which he met it: the other process has the table still, and
 * what it maps is taken away there, without a flush here.
 *
 * Where hugetlb shares tables: x86-64, arm64, riscv64.
 */
import { call, scenario } from '../explore/scenario.ts';
import { hugePages } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { PUNCH } from './support/files.ts';
import { byChild, sharedAt, sharedTable, sharesTables } from './support/shared-table.ts';

export default scenario({
  id: 'E71',
  title: 'MADV_DONTNEED of one page leaves a table that hugetlb shares; another page of it is punched out of the file; a thread has used that one',
  source: '__unmap_hugepage_range(), tlb_flush_pmd_range(); hugetlb: fix the flush of unshared PMD tables (5.16)',
  modes: sharesTables,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => sharedTable(stage, 2, { touched: 2 }),
  roots: ({ notes }) => [notes.vector],
  tasks: {
    thread: (stage) => byChild(stage, call('threadLoad', stage.notes.child, sharedAt() + hugePages())),
    zap: (stage) => {
      const { page, notes } = stage;
      const bytes = hugePages() * page;
      return byChild(
        stage,
        call('sysMadvise', notes.child, sharedAt() * page, bytes, MADV_DONTNEED),
        call('sysFallocate', notes.child, notes.fd, PUNCH, bytes, bytes),
      );
    },
  },
  variants: {
    narrow: {
      switches: ['hugetlbUnshareFlushesPage'],
      expect: 'violation',
      rule: 'I4',
      preemptions: 0,
      note: 'the CPU of the thread remembers a page that is free',
    },
    fixed: { expect: 'clean' },
  },
});
