/**
 * E09: two faults allocate the same page table.
 *
 * The other half of the entry in the catalogue, that a table must be seen empty before it is seen at all (smp_wmb() in pmd_install()), is none here: whoever
 * publishes a table has filled it in a step that others cannot split.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E09',
  title: 'two faults find no page table and make one each',
  source: '__pte_alloc(), pmd_install(): the entry is looked at again under the lock of the table above',
  setup(stage) {
    // The page below has the anon_vma, and another table.
    map(stage, WINDOW - 1, 3);
    store(stage, WINDOW - 1, 0);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    first: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1), call('threadLoad', process.ref, WINDOW)),
    second: ({ process }) => task(call('threadStore', process.ref, WINDOW + 1, 2)),
  },
  holds: {
    'own store': ({ results }) => (results.first[1] === 1 ? undefined : `a thread stores 1 and loads ${results.first[1]}`),
  },
  variants: {
    twice: {
      switches: ['tableNoRecheck'],
      expect: 'violation',
      rule: ['own store', 'I1', 'I2', 'I4', 'I12'],
      preemptions: 1,
      note: 'the second table takes the place of the first, with what is mapped there',
    },
    fixed: { expect: 'clean' },
  },
});
