/**
 * R32: a page walk under the mmap lock against faults that need none.
 *
 * The walker counts twice what a range maps: what comes in between is what a walk that changes or collects entries would miss.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { WALK_COUNT_LOCKED } from '../mm/mm-walk.ts';

export default scenario({
  id: 'R32',
  title: 'a page walk that holds the mmap lock for writing takes for granted that no fault runs',
  source: '49b0638502da (mm: enable page walking API to lock vmas during the walk)',
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
  },
  tasks: {
    walker: ({ process }) => task(call('walkTwice', process.mm, WINDOW, WINDOW + 2, WALK_COUNT_LOCKED)),
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW + 1, 1)),
  },
  holds: {
    still: ({ results }) => (results.walker[0] === 0 ? undefined : `${results.walker[0]} page was mapped behind the walk`),
  },
  variants: {
    unlocked: { switches: ['walkNoVmaLock'], expect: 'violation', rule: 'still', preemptions: 1, note: 'the fault has the lock of its VMA and no other' },
    'no-vma-locks': { switches: ['walkNoVmaLock', 'noVmaLocks'], expect: 'clean', note: 'as before 6.4: every fault needs the mmap lock' },
    fixed: { expect: 'clean', note: 'PGWALK_WRLOCK: each VMA is locked for writing before its entries are walked' },
  },
});
