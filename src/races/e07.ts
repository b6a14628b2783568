/**
 * E07: two faults prepare the anon_vma of one VMA.
 *
 * The anon_vma may also be the one of a neighbour, which is looked at for it: that needs the mmap lock, a fault's own lock keeps only its own VMA. Here the
 * neighbour is unmapped meanwhile.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, PROT_READ, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E07',
  title: 'two first faults of a VMA make an anon_vma each, while the neighbour whose anon_vma they could use is unmapped',
  source:
    '__anon_vma_prepare(), vmf_anon_prepare(), find_mergeable_anon_vma(); 657b5146955e (mm: lock_vma_under_rcu() must check vma->anon_vma under vma lock)',
  setup(stage) {
    map(stage, WINDOW + 2, 1);
    store(stage, WINDOW + 2, 1);
    must(stage.process, 'mprotect', (WINDOW + 2) * stage.page, stage.page, PROT_READ);
    map(stage, WINDOW, 2);
  },
  tasks: {
    first: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1)),
    second: ({ process, page }) => task(call('threadStore', process.ref, WINDOW + 1, 2), call('sysMunmap', process.ref, (WINDOW + 2) * page, page)),
  },
  variants: {
    twice: {
      switches: ['anonVmaNoRecheck'],
      expect: 'violation',
      rule: 'I31',
      preemptions: 1,
      note: 'the second fault gives the VMA another anon_vma',
    },
    neighbour: {
      switches: ['anonVmaNoMmapLock'],
      expect: 'violation',
      rule: 'guard',
      preemptions: 1,
      note: 'the neighbour is looked at with no lock that keeps it',
    },
    fixed: { expect: 'clean' },
  },
});
