/**
 * E11: spurious faults. A translation with fewer rights than the entry is no danger, so nobody need flush it; but the CPU that has it must come on.
 *
 * The CPUs are of the kind that raises a fault for what they have cached without looking at the entry again.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E11',
  title: 'one thread makes an entry writable while the CPU of another one has it cached as read-only',
  source: 'handle_pte_fault(): flush_tlb_fix_spurious_fault(); ptep_set_access_flags()',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    // A child that has come and gone leaves the page write-protected.
    stage.process.fork().exit();
  },
  hardware: () => ({ speculate: [WINDOW], cachedRefusals: true }),
  tasks: {
    first: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
    second: ({ process }) => task(call('threadStore', process.ref, WINDOW, 3)),
  },
  holds: {
    access: ({ results }) =>
      results.first[0] === 0 && results.second[0] === 0 ? undefined : `stores to writable memory end with ${results.first[0]} and ${results.second[0]}`,
  },
  variants: {
    'no-flush': {
      switches: ['upgradeNoFlush', 'spuriousNoFlush'],
      expect: 'violation',
      rule: 'I27',
      preemptions: 1,
      note: 'the fault that finds nothing to do leaves the translation as it is, and comes again',
    },
    lazy: { switches: ['upgradeNoFlush'], expect: 'clean', note: 'more rights are flushed when somebody misses them' },
    fixed: { expect: 'clean' },
  },
});
