/**
 * E13: mlock against a fault that maps the page it is to lock.
 *
 * mlock() gives the VMA its flag, counts what is mapped already, and maps the rest afterwards. A fault that looked at the flag before and maps its page behind
 * the walk would leave that page on a list where reclaim finds it.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { PG_MLOCKED } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';

export default scenario({
  id: 'E13',
  title: 'mlock() changes the flags of a VMA while a fault maps a page of it',
  source: 'mlock_fixup(): vma_start_write(); mlock_vma_pages_range(), folio_add_lru_vma()',
  setup(stage) {
    // The second page has the anon_vma: without it the fault would need the mmap lock.
    map(stage, WINDOW, 2);
    store(stage, WINDOW + 1, 1);
  },
  tasks: {
    mlock: ({ process, page }) => task(call('sysMlock', process.ref, WINDOW * page, 2 * page)),
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1)),
  },
  holds: {
    unevictable: ({ process }) =>
      (pageFlags[pageAt(process.ref, WINDOW)] & PG_MLOCKED) !== 0 ? undefined : 'a page of a locked VMA is on a list that reclaim works on',
  },
  variants: {
    unlocked: {
      switches: ['mlockFlagUnlocked', 'walkNoVmaLock'],
      expect: 'violation',
      rule: 'unevictable',
      racy: true,
      preemptions: 1,
      note: 'faults go on while the flag is set and what is mapped is counted',
    },
    asserted: {
      switches: ['mlockFlagUnlocked'],
      expect: 'violation',
      rule: 'I23',
      preemptions: 0,
      note: 'the same since 6.6, where the walk over the VMA asks for its lock',
    },
    fixed: { expect: 'clean' },
  },
});
