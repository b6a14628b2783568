/**
 * E53: the huge zero page: faults take it while the shrinker, who has seen that nobody has it, gives it back.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others; not the 8xx.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, mapHuge, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { Globals } from '../mm/types.ts';

export default scenario({
  id: 'E53',
  title: 'a fault maps the huge zero page while the shrinker gives it back',
  source:
    'get_huge_zero_folio(), shrink_huge_zero_folio_scan(): atomic_inc_not_zero, atomic_cmpxchg(1, 0); 97ae17497e99 (thp: implement refcounting for huge zero page)',
  modes: hasThp,
  setup(stage) {
    mapHuge(stage, WINDOW, 1);
    // One process had it, and is gone: only the shrinker has it.
    const other = stage.process.fork();
    other.load(BigInt(WINDOW) * BigInt(stage.page), 4);
    other.exit(0);
    stage.machine.enter();
    stage.notes.users = get(globals, Globals.hugeZeroUsers);
  },
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    shrinker: () => task(call('shrinkHugeZeroFolio')),
  },
  holds: {
    I30: ({ notes }) => {
      if (notes.users !== 1) return `the huge zero page has ${notes.users} users at the beginning`;
      return get(globals, Globals.hugeZeroUsers) === 0 || get(globals, Globals.hugeZeroFolio) !== 0
        ? undefined
        : 'there is no huge zero page, and it has users';
    },
  },
  variants: {
    unchecked: {
      switches: ['hugeZeroShrinkUnchecked'],
      expect: 'violation',
      rule: ['I1', 'I3', 'I26', 'I30', 'I4'],
      preemptions: 1,
      note: 'it is given back though a fault has taken it since',
    },
    'plain-get': {
      switches: ['hugeZeroPlainGet'],
      expect: 'violation',
      rule: ['I1', 'I3', 'I26', 'I30', 'I4'],
      preemptions: 1,
      note: 'a fault takes it that has seen users, and there are none any longer',
    },
    fixed: { expect: 'clean' },
  },
});
