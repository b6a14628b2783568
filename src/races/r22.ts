/**
 * R22: page tables that share a page, given back at the same time: the page has one callback and one count.
 *
 * The fragments are those of powerpc, apart from any tree (mm/pgtable-frag.ts): the tables of the modes here take whole pages. s390 handed fragments out again.
 */
import { call, scenario, task } from '../explore/scenario.ts';

export default scenario({
  id: 'R22',
  title: 'two page tables that share a page are given back while somebody walks through one of them',
  source: '32cc0b7c9d50 (powerpc: add pte_free_defer() for pgtables sharing page); s390: add pte_free_defer() for pgtables sharing page',
  setup({ machine, notes }) {
    machine.enter();
    notes.frags = machine.kernel.pteFragPage();
  },
  roots: ({ notes }) => [notes.frags],
  tasks: {
    one: ({ notes }) => task(call('pteFragRemove', notes.frags, 0)),
    two: ({ notes }) => task(call('pteFragBorrow', notes.frags, 0, 9), call('pteFragRemove', notes.frags, 1)),
    walker: ({ notes }) => task(call('pteFragWalk', notes.frags, 0)),
  },
  holds: {
    I3: ({ results }) => (results.walker[0] === 0 ? undefined : 'the walk reads a table that another owner has filled by then'),
  },
  variants: {
    'queued-twice': {
      switches: ['fragQueuesEach'],
      expect: 'violation',
      rule: ['I3', 'I1', 'I2', 'I26'],
      preemptions: 1,
      note: 'the first of two callbacks frees the page under the other table',
    },
    reused: { switches: ['fragReused'], expect: 'violation', rule: 'I3', preemptions: 1, note: 'nobody waits for the readers of a single fragment' },
    fixed: { expect: 'clean', note: 'who drops the last count queues the one callback; no fragment is used again' },
  },
});
