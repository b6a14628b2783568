/**
 * R12: get_user_pages_fast() is in a table that hugetlb shares while its address space loses it. Nobody frees the table, for the other process has it still; but that one
 * maps ordinary memory in it, and the walk comes upon a page that its own address space never had.
 *
 * Where hugetlb shares tables: x86-64, arm64, riscv64.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hugePages, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { PG_ANON } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PageVector } from '../mm/gup-types.ts';
import { PUNCH } from './support/files.ts';
import { byChild, sharedAt, sharedTable, sharesTables } from './support/shared-table.ts';

/** A huge page that nobody has touched. */
const at = (): number => sharedAt() + hugePages();

export default scenario({
  id: 'R12',
  title: 'get_user_pages_fast() walks a table that hugetlb shares and that its process loses; the other one maps memory of its own there',
  source: 'mm/hugetlb: fix huge_pmd_unshare() vs GUP-fast race (6.16)',
  modes: sharesTables,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => sharedTable(stage, 1),
  roots: ({ notes }) => [notes.vector],
  tasks: {
    get: ({ process, notes }) => task(call('getUserPagesFastOnly', process.mm, at(), 1, 0, notes.vector), call('putUserPages', notes.vector)),
    child: (stage) => {
      const { notes, page } = stage;
      const bytes = hugePages() * page;
      return byChild(
        stage,
        call('sysFallocate', notes.child, notes.fd, PUNCH, 0, bytes),
        call('sysMmap', notes.child, at() * page, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        call('threadStore', notes.child, at(), 2),
      );
    },
  },
  always: {
    'own page': ({ notes }) => {
      const page = get(notes.vector, PageVector.count) === 0 ? 0 : get(notes.vector, PageVector.pages);
      return page !== 0 && (pageFlags[page] & PG_ANON) !== 0 ? `page ${page} is the child's, of an anonymous mapping` : undefined;
    },
  },
  variants: {
    'no-sync': {
      switches: ['hugetlbUnshareNoSync'],
      expect: 'violation',
      rule: ['own page', 'I1'],
      preemptions: 1,
      note: 'the walk goes on in a table that belongs to the child alone',
    },
    fixed: { expect: 'clean' },
  },
});
