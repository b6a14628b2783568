/**
 * E54: an upper entry that leads to a table, to nothing, and is a huge page, one after the other, under a walk that has the mmap lock for reading.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others; not the 8xx.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, mapCollapsible, WINDOW } from '../explore/setup.ts';
import { allocPageVector } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'E54',
  title: 'a walk comes down to a page table that MADV_DONTNEED gives back and in whose place a fault puts a huge page',
  source: 'pte_offset_map_lock(), 0d940a9b270b; 1a5a9906d4e8 (mm: thp: fix pmd_bad() triggering in code paths holding mmap_sem read mode)',
  modes: hasThp,
  setup(stage) {
    const { machine, notes } = stage;
    mapCollapsible(stage, WINDOW + 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    get: ({ process, notes }) => task(call('getUserPagesUnlocked', process.mm, WINDOW + 1, 1, 0, notes.vector), call('putUserPages', notes.vector)),
    thread: ({ process, page }) =>
      task(call('sysMadvise', process.ref, WINDOW * page, hugePages() * page, MADV_DONTNEED), call('threadStore', process.ref, WINDOW + 1, 3)),
  },
  variants: {
    twice: {
      switches: ['upperEntryTwice'],
      expect: 'violation',
      rule: ['I3', 'I27'],
      preemptions: 2,
      note: 'what was a table at the first look is a huge page at the second, and its data are taken for entries',
    },
    'no-recheck': {
      switches: ['pteMapNoRecheck'],
      expect: 'violation',
      rule: ['I3', 'I5', 'I12', 'I1', 'I2'],
      preemptions: 2,
      note: 'under the lock of the table nobody looks whether it still is in the tree',
    },
    fixed: { expect: 'clean' },
  },
});
