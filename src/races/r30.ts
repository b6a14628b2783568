/**
 * R30: a walk that asks for no VMAs, under the mmap lock for reading, against munmap().
 *
 * The catalogue says one preemption. It takes two: munmap() is left when it has downgraded its lock, or the walk could not begin; the walk is left between the
 * read of the upper entry and that of the table, for munmap() to free it. Neither waits for anything there.
 *
 * Where there are tables between the top and the page tables: a page table itself is read under RCU (pte_offset_map), which its end waits for.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';

export default scenario({
  id: 'R30',
  title: 'a dump walks over tables without VMAs while munmap(), which has downgraded its lock, frees them',
  source: '8782fb61cc848 (mm: pagewalk: Fix race between unmap and page walker)',
  modes: (mode) => codecFor(mode).levels.length > 2,
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
  },
  tasks: {
    walker: ({ process }) => task(call('ptdumpWalkPgd', process.mm, WINDOW, WINDOW + 2)),
    munmap: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, 2 * page)),
  },
  variants: {
    'read-lock': {
      switches: ['novmaReadLock'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 2,
      note: 'the lock for reading is granted as soon as munmap() has downgraded its own; the VMAs have left the tree, the tables have not',
    },
    fixed: { expect: 'clean', note: 'the walk takes the mmap lock for writing and waits for the rest of munmap()' },
  },
});
