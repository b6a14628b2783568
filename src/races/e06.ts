/**
 * E06: a stack that grows because it is touched.
 *
 * Growing changes the tree of VMAs and the range that rmap computes addresses from: with the mmap lock held for reading alone nothing keeps lookups and
 * other faults out (StackRot, CVE-2023-3269), which the first write to the VMA shows without any preemption.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, map, store, WINDOW } from '../explore/setup.ts';
import { MAP_GROWSDOWN } from '../mm/mman.ts';

const STACK = WINDOW + 8;

export default scenario({
  id: 'E06',
  title: 'two threads touch a stack below its end, and one of them unmaps it',
  source: '8d7071af8907 (mm: always expand the stack with the mmap write lock held), lock_mm_and_find_vma(), expand_downwards()',
  setup(stage) {
    map(stage, STACK, 1, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN });
    store(stage, STACK, 1);
  },
  tasks: {
    fault: ({ process }) => task(call('threadStore', process.ref, STACK - 2, 1)),
    other: ({ process, page }) => task(call('threadStore', process.ref, STACK - 4, 2), call('sysMunmap', process.ref, WINDOW * page, 16 * page)),
  },
  variants: {
    'read-lock': { switches: ['stackReadLock'], expect: 'violation', rule: 'guard', preemptions: 1, note: 'the stack grows under the mmap lock for reading' },
    'one-look': {
      switches: ['stackNoSecondLook'],
      expect: 'violation',
      rule: ['I19', 'guard'],
      preemptions: 1,
      note: 'the stack is not looked up again after the lock was let go',
    },
    fixed: { expect: 'clean' },
  },
});
