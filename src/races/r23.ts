/**
 * R23: an upper entry of two words is read without its lock while it is emptied and filled again, twice: the first word is the same at both looks, the second is
 * of the value in between.
 *
 * Of 32-bit machines with entries of 64 bits (x86 PAE, arm LPAE, e500). The protocol stands apart from the tables (mm/pmd-pair.ts), so it is the same in all modes.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { allocPmdPair, pairOf } from '../mm/pmd-pair.ts';

/** Values that the entry has, one after the other: the third has the low word of the first. */
const VALUES = [
  [1, 10],
  [2, 20],
  [1, 30],
];

export default scenario({
  id: 'R23',
  title: 'the two halves of an upper entry are read one after the other while tables are taken out of it and put into it',
  source: '146b42e07494 (mm/pgtable: add PAE safety to __pte_offset_map()); pmdp_get_lockless_sync()',
  setup({ machine, notes }) {
    machine.enter();
    notes.pair = allocPmdPair();
    machine.kernel.pairSet(notes.pair, VALUES[0][0], VALUES[0][1]);
  },
  roots: ({ notes }) => [notes.pair],
  hardware: () => ({ ipis: true }),
  tasks: {
    walker: ({ notes }) => task(call('pairWalk', notes.pair)),
    first: ({ process, notes }) => task(call('pairReplace', notes.pair, VALUES[1][0], VALUES[1][1], process.mm)),
    second: ({ process, notes }) => task(call('pairReplace', notes.pair, VALUES[2][0], VALUES[2][1], process.mm)),
  },
  holds: {
    I3: ({ results }) => {
      const [found] = results.walker;
      return found === 0 || VALUES.some(([low, high]) => pairOf(low, high) === found)
        ? undefined
        : `the walk follows an entry of the halves ${Math.floor(found / 1000)} and ${found % 1000}, which it never was`;
    },
  },
  variants: {
    'no-recheck': { switches: ['pmdPairNoRecheck'], expect: 'violation', rule: 'I3', preemptions: 1, note: 'the first half is not read again' },
    'no-sync': {
      switches: ['pmdPairNoSync'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 2,
      note: 'the first half is the same again, of a third value: nobody waited for the walk before that was written',
    },
    fixed: { expect: 'clean' },
  },
});
